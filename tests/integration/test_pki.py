# SPDX-License-Identifier: Apache-2.0
"""`freshet pki` and `freshet join`: two machines secured by the commands of docs/security.md."""
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import threading

import pytest

from harness.box import BINARY, ROOT, wait
from harness.listener import Listener
from harness.pki import key_of, openssl
from harness.setup import admin_json, base, cluster, metric


def good(done, words=""):
    assert done.returncode == 0, done.stdout + done.stderr
    assert words in done.stdout, done.stdout
    return done.stdout


def bad(done, words, code=1):
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stderr, done.stderr


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def text_of(box, path):
    return subprocess.run(["openssl", "x509", "-in", str(box.folder / path), "-noout", "-text"],
                          check=True, capture_output=True, text=True).stdout


class House:
    """A manager whose authority lets machines join."""

    def __init__(self, box, users=(), pki="./pki", **tls):
        self.box = box
        good(box.run("pki", "init"), "ca.key")
        good(box.run("pki", "issue", "manager", "--also", "127.0.0.1"), "pki/manager.pem")
        self.tcp = f"127.0.0.1:{box.port()}"
        self.unix = f"unix:{box.folder}/m.sock"
        tls = {"certificate": "./pki/manager.pem", "key": "./pki/manager.key",
               "ca": "./pki/ca.pem", **tls}
        self.settings = base(None, {"web": cluster(["127.0.0.1:9"], health=None)},
                             state="./manager-state",
                             manager={"listen": [self.unix, self.tcp], "tls": tls, "pki": pki})
        self.settings["admin"] = {"users": list(users)}
        box.config(self.settings, "manager.yaml")
        self.process = box.start("manager", "-c", "manager.yaml", name="manager")
        box.serving(self.unix, self.process)

    def token(self, name, *more):
        return good(self.box.run("pki", "token", name, *more)).strip()

    def join(self, token, *more):
        return self.box.run("join", "--manager", self.tcp, "--token", token, "--dir", "second",
                            *more)

    def counter(self, name):
        return metric(self.unix, "manager_" + name)


def test_files_of_the_authority(box):
    good(box.run("pki", "init"))
    good(box.run("pki", "issue", "manager", "--also", "m.example", "--also", "192.0.2.1"),
         "tls: { certificate: ./pki/manager.pem, key: ./pki/manager.key, ca: ./pki/ca.pem }")
    for name in ("ca.pem", "ca.key", "manager.pem", "manager.key"):
        assert mode(box.folder / "pki" / name) == 0o600
    assert mode(box.folder / "pki") == 0o700
    said = text_of(box, "pki/manager.pem")
    for words in ("prime256v1", "ecdsa-with-SHA256", "DNS:manager, DNS:m.example, "
                  "IP Address:192.0.2.1", "CA:FALSE",
                  "TLS Web Server Authentication, TLS Web Client Authentication"):
        assert words in said, said
    assert "CA:TRUE, pathlen:0" in text_of(box, "pki/ca.pem")
    verified = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", "pki/ca.pem",
                               "pki/manager.pem"], cwd=box.folder, capture_output=True, check=False)
    assert verified.returncode == 0, verified.stderr
    listed = good(box.run("pki", "list"))
    day = r"\d{4}-\d\d-\d\d"
    assert re.search(rf"^manager +{day} +{day} +36[45] here ", listed, re.M), listed
    bad(box.run("pki", "init"), "has an authority already")
    bad(box.run("pki", "issue", "no/name"), "is not a name")
    bad(box.run("pki", "issue", "ca"), "is not a name")
    bad(box.run("pki", "issue", "a", "--also", "x,DNS:manager"), "neither a host name")
    bad(box.run("pki", "list", "--dir", "nowhere"), "No such file")
    bad(box.run("pki", "nonsense"), "no such verb", 2)


def test_renewal_of_what_ends_soon(box):
    good(box.run("pki", "init"))
    good(box.run("pki", "issue", "old", "--days", "5", "--also", "192.0.2.9"))
    good(box.run("pki", "issue", "young"))
    before = {n: (box.folder / f"pki/{n}.pem").read_text() for n in ("old", "young")}
    out = good(box.run("pki", "renew"), "old: renewed until")
    assert "young" not in out
    assert (box.folder / "pki/old.pem").read_text() != before["old"]
    assert (box.folder / "pki/young.pem").read_text() == before["young"]
    assert "DNS:old, IP Address:192.0.2.9" in text_of(box, "pki/old.pem")
    good(box.run("pki", "renew"), "nothing ends within 30d")
    good(box.run("pki", "renew", "young"), "young: renewed")
    bad(box.run("pki", "renew", "nobody"), "no certificate of nobody")


def test_a_second_machine_joins_in_one_command(box):
    house = House(box)
    token = house.token("edge-2")
    out = good(house.join(token), "joined as edge-2")
    for name in ("ca.pem", "edge-2.key", "edge-2.pem"):
        assert mode(box.folder / "second" / name) == 0o600
    assert not (box.folder / "pki/edge-2.key").exists() # the key never left its machine
    assert "there" in next(x for x in good(box.run("pki", "list")).splitlines() if "edge-2" in x)
    # What it printed works as it stands.
    port = box.port()
    box.write("second.yaml", out[out.index("manager:"):] +
              f"listen: 127.0.0.1:{port}\nstate: ./second-state\nroutes: [{{ cluster: web }}]\n"
              "clusters: { web: { members: [\"127.0.0.1:9\"] } }\n")
    edge = box.start("edge", "-c", "second.yaml", name="second")

    def connected():
        sources = admin_json(house.unix)["sources"]
        return [s for s in sources if s["id"] == "edge-2" and s["connected"]]
    wait("the second machine", connected)
    assert house.counter("joins") == 1
    # Renewed over the stream's own TLS, and the stream goes on.
    before = (box.folder / "second/edge-2.pem").read_text()
    good(box.run("join", "--renew", "-c", "second.yaml"), "renewed as edge-2")
    assert (box.folder / "second/edge-2.pem").read_text() != before
    assert house.counter("renewals") == 1
    wait("the edge to take it", lambda: "certificate replaced" in edge.log())
    assert connected() and "session ended" not in house.process.log()
    # And the command line uses the same certificate.
    bad(box.run("approve", "web", "-c", "second.yaml"), "needs the role operate")
    good(box.run("why", "web", "--manager", house.unix))


def test_renewal_keeps_every_name_and_address(box):
    """Both ways of renewal: by the authority's folder, and by the manager."""
    also = [x for name in ("e.example", "192.0.2.9", "2001:db8::9") for x in ("--also", name)]
    said = "DNS:edge-2, DNS:e.example, IP Address:192.0.2.9, IP Address:2001:DB8:0:0:0:0:0:9"
    house = House(box)
    good(box.run("pki", "issue", "edge-2", *also))
    box.write("second.yaml", "state: ./second-state\nlisten: 127.0.0.1:1\n"
              f"manager: {{ connect: \"{house.tcp}\", tls: {{ certificate: ./pki/edge-2.pem, "
              "key: ./pki/edge-2.key, ca: ./pki/ca.pem } }\n"
              "routes: [{ cluster: web }]\n"
              "clusters: { web: { members: [\"127.0.0.1:9\"] } }\n")
    for command in (("pki", "renew", "edge-2"), ("join", "--renew", "-c", "second.yaml")):
        before = (box.folder / "pki/edge-2.pem").read_text()
        good(box.run(*command), "renewed")
        assert (box.folder / "pki/edge-2.pem").read_text() != before
        names = re.search(r"Alternative Name: *\n *(.*)", text_of(box, "pki/edge-2.pem")).group(1)
        assert names == said, (command, names)


def test_who_is_refused_reads_why(box):
    """In TLS 1.3 the server refuses a certificate when the client has its handshake behind it."""
    house = House(box)
    good(box.run("pki", "init", "--dir", "other"))
    good(box.run("pki", "issue", "edge-2", "--dir", "other"))
    box.write("second.yaml", "state: ./second-state\nlisten: 127.0.0.1:1\n"
              f"manager: {{ connect: \"{house.tcp}\", tls: {{ certificate: ./other/edge-2.pem, "
              "key: ./other/edge-2.key, ca: ./pki/ca.pem } }\n"
              "routes: [{ cluster: web }]\n"
              "clusters: { web: { members: [\"127.0.0.1:9\"] } }\n")
    for command in (("join", "--renew"), ("approve", "web")):
        for _ in range(5): # sometimes it is seen by a send, sometimes by a receive
            bad(box.run(*command, "-c", "second.yaml"), "alert unknown ca")


def test_the_command_line_speaks_tls_1_3(box):
    """As every port of ours that it talks to: an older one is none of them."""
    good(box.run("pki", "init"))
    good(box.run("pki", "issue", "localhost"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(box.folder / "pki/localhost.pem", box.folder / "pki/localhost.key")
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def serve(sock):
        context.wrap_socket(sock, server_side=True).close()
    port = Listener(box.closers, serve).address.split(":")[1]
    bad(box.run("status", "--admin", f"https://localhost:{port}", "--ca", "pki/ca.pem"),
        "protocol version")


def test_a_token_is_good_once(box):
    house = House(box)
    token = house.token("edge-2")
    good(house.join(token))
    bad(house.join(token, "--dir", "third"), "no such token")
    assert house.counter("joins_refused") == 1
    assert not list((box.folder / "third").glob("*")) # not even a key
    assert not list((box.folder / "pki/tokens").iterdir())


def test_an_authority_that_has_ended(box):
    """It signs nothing, says so, and uses no token up for it."""
    ended = box.folder / "ended"
    ended.mkdir()
    (ended / "index").write_text("")
    (ended / "cnf").write_text("[ca]\ndefault_ca=it\n[it]\ndatabase=index\ndefault_md=sha256\n"
                               "policy=any\nnew_certs_dir=.\nrand_serial=yes\n"
                               "[any]\ncommonName=supplied\n"
                               "[x]\nbasicConstraints=critical,CA:TRUE\n")
    key_of(ended, "ca", "ec")
    key_of(ended, "machine", "ec")
    for name in ("ca", "machine"):
        openssl(ended, "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out",
                f"{name}.csr")
    openssl(ended, "ca", "-batch", "-selfsign", "-config", "cnf", "-extensions", "x", "-keyfile",
            "ca.key", "-in", "ca.csr", "-out", "ca.pem", "-startdate", "20200101000000Z",
            "-enddate", "20200102000000Z", "-notext")
    words = "the authority ended on 2020-01-02"
    bad(box.run("pki", "issue", "edge-3", "--dir", "ended"), words)
    house = House(box, pki="./ended")
    secret = good(box.run("pki", "token", "edge-2", "--dir", "ended")).split(".")[1]
    box.write("body", json.dumps({"token": secret, "request": (ended / "machine.csr").read_text()}))
    answer = subprocess.run(
        ["curl", "-sS", "--cacert", "pki/ca.pem", "-w", "%{http_code}", "--data-binary", "@body",
         f"https://{house.tcp}/join"], cwd=box.folder, capture_output=True, check=True,
        text=True).stdout
    assert words in answer and answer.endswith("500"), answer
    assert words in house.process.log()
    assert len(list((ended / "tokens").iterdir())) == 1


def test_of_two_at_once_one_joins(box):
    house = House(box)
    token = house.token("edge-2")
    done = []
    threads = [threading.Thread(target=lambda i=i: done.append(house.join(token, "--dir", f"d{i}")))
               for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(d.returncode for d in done) == [0, 1, 1, 1]


def test_tokens_end_and_are_kept_as_a_hash(box):
    house = House(box)
    token = house.token("edge-2", "--valid", "1s")
    secret = token.split(".")[1]
    (kept,) = (box.folder / "pki/tokens").iterdir()
    assert mode(kept) == 0o600
    assert secret not in kept.name + kept.read_text()
    name, ends = kept.read_text().split()
    kept.write_text(f"{name}\n{int(ends) - 10}\n") # it has ended
    bad(house.join(token), "the token has ended")
    bad(house.join(token), "no such token")


def test_another_authority_learns_nothing(box):
    house = House(box)
    real = house.token("edge-2")
    good(box.run("pki", "init", "--dir", "other"))
    other = good(box.run("pki", "token", "edge-2", "--dir", "other")).strip()
    # The fingerprint of the token is not that of the manager: as with somebody in the middle.
    done = house.join(".".join([*real.split(".")[:2], *other.split(".")[2:]]))
    bad(done, "cannot connect to")
    assert house.counter("handshakes_failed") == 1
    assert house.counter("joins_refused") == 0 # the secret was not told
    good(house.join(real))


def test_a_server_that_is_not_the_manager(box):
    house = House(box)
    done = house.join(house.token("edge-2"), "--manager-name", "edge-7")
    bad(done, "hostname mismatch")


def test_malformed_tokens(box):
    for token in ("", "x", "fj1.00.00.name", "fj1." + "0" * 32 + "." + "0" * 64 + "."):
        bad(box.run("join", "--manager", "127.0.0.1:1", "--token", token), "--token", 2)


def test_tokens_by_the_managers_admin(box):
    secret = good(box.run("pki", "secret"))
    token, digest = re.findall(r"[0-9a-f]{64}", secret)
    house = House(box, users=[{"role": "admin", "token-sha256": digest}])
    box.write("token", token + "\n")
    made = subprocess.run(
        ["curl", "-sS", "--cacert", "pki/ca.pem", "-X", "POST", "-H",
         f"Authorization: Bearer {token}", f"https://{house.tcp}/tokens?name=edge-3&seconds=60"],
        cwd=box.folder, capture_output=True, check=True, text=True).stdout
    good(house.join(json.loads(made)["token"]), "joined as edge-3")
    refused = subprocess.run(
        ["curl", "-sS", "--cacert", "pki/ca.pem", "-X", "POST", "-o", "/dev/null", "-w",
         "%{http_code}", f"https://{house.tcp}/tokens?name=edge-4"],
        cwd=box.folder, capture_output=True, check=True, text=True).stdout
    assert refused == "401"


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"token": "x", "request": "nonsense"}',
                                  '{"token": 7, "request": 8}'])
def test_join_takes_nothing_else(box, body):
    house = House(box)
    done = subprocess.run(
        ["curl", "-sS", "--cacert", "pki/ca.pem", "-o", "/dev/null", "-w", "%{http_code}",
         "--data-binary", body, f"https://{house.tcp}/join"],
        cwd=box.folder, capture_output=True, check=True, text=True).stdout
    assert done in ("400", "403")
    assert house.counter("joins") == 0


def test_modes_do_not_depend_on_the_umask(box):
    """With umask 0, what was made open to everybody would stay so."""
    house = House(box)

    def run(*arguments):
        done = subprocess.run(["sh", "-c", 'umask 0; exec "$0" "$@"', BINARY, *arguments],
                              cwd=box.folder, capture_output=True, text=True, timeout=60)
        return good(done)
    run("pki", "init", "--dir", "open")
    run("pki", "issue", "edge-1", "--dir", "open")
    run("pki", "renew", "edge-1", "--dir", "open")
    run("pki", "token", "edge-2", "--dir", "open")
    run("join", "--manager", house.tcp, "--token", house.token("edge-3"), "--dir", "joined")
    seen = 0
    for top in ("open", "joined"):
        for folder, _, names in os.walk(box.folder / top):
            assert mode(folder) == 0o700, folder
            for name in names:
                assert mode(os.path.join(folder, name)) == 0o600, (folder, name)
                seen += 1
    assert seen >= 8


def test_a_token_is_in_no_list_of_processes_and_no_log(box):
    house = House(box)
    token = house.token("edge-2")
    secret = token.split(".")[1]
    # A manager that never answers, so that the command can be looked at.
    silent = socket.create_server(("127.0.0.1", 0))
    box.closers.append(silent.close)
    address = "127.0.0.1:%d" % silent.getsockname()[1]
    waiting = box.start("join", "--manager", address, "--token", token, "--dir", "third",
                        name="waiting")
    waiting.expected = None
    heard, _ = silent.accept() # it has read its arguments, and connected
    box.closers.append(heard.close)
    listed = open(f"/proc/{waiting.pid}/cmdline", "rb").read()
    assert b"--token" in listed and secret.encode() not in listed, listed
    waiting.kill9()
    good(house.join(token), "joined as edge-2")
    bad(house.join(token, "--dir", "fourth"), "no such token")
    for process in box.processes:
        assert secret not in process.log() + process.out()
    assert secret not in json.dumps(admin_json(house.unix))


def test_a_token_from_a_file_or_standard_input(box):
    house = House(box)
    file = box.write("token", house.token("edge-2") + "\n")
    good(box.run("join", "--manager", house.tcp, "--token-file", file, "--dir", "a"),
         "joined as edge-2")
    done = subprocess.run([BINARY, "join", "--manager", house.tcp, "--token-file", "-", "--dir",
                           "b"], cwd=box.folder, input=house.token("edge-3"), text=True,
                          capture_output=True, timeout=60)
    good(done, "joined as edge-3")
    bad(box.run("join", "--manager", house.tcp, "--token-file", "nowhere"), "--token-file", 2)
    bad(box.run("join", "--manager", house.tcp, "--token-file", file, "--token", "x"),
        "--token-file FILE, are needed", 2)


def test_guesses_are_limited(box):
    house = House(box)
    real = house.token("edge-2")
    parts = real.split(".")
    for i in range(10):
        guess = ".".join([parts[0], f"{i:032x}", *parts[2:]])
        bad(house.join(guess), "no such token")
    for token in (guess, real): # nobody from here is heard for a while, and no token is used up
        bad(house.join(token), "limit of guesses")
    assert house.counter("joins_refused") == 12
    assert house.counter("joins_limited") == 2
    assert house.process.log().count("joins are not heard for a while") == 1
    refused = [e for e in house.process.events() if e["event"] == "join refused"]
    assert len(refused) == 10 and all(e["from"].startswith("127.0.0.1:") for e in refused)
    assert len(list((box.folder / "pki/tokens").iterdir())) == 1


def test_who_was_taken_off_the_list_is_out(box):
    """Its stream ends with the next report, it cannot come back, and gets no new certificate."""
    house = House(box)
    house.settings["manager"]["peers"] = [{"name": "edge-*"}]
    box.config(house.settings, "manager.yaml")
    house.process.signal(signal.SIGHUP)
    out = good(house.join(house.token("edge-2")))
    box.write("second.yaml", out[out.index("manager:"):] +
              f"listen: 127.0.0.1:{box.port()}\nstate: ./second-state\n"
              "stream: { report-interval: 100ms }\nroutes: [{ cluster: web }]\n"
              "clusters: { web: { members: [\"127.0.0.1:9\"] } }\n")
    edge = box.start("edge", "-c", "second.yaml", name="second")

    def connected():
        sources = admin_json(house.unix)["sources"]
        return any(s["id"] == "edge-2" and s["connected"] for s in sources)
    wait("the stream", connected)
    good(box.run("join", "--renew", "-c", "second.yaml"), "renewed as edge-2")
    house.settings["manager"]["peers"] = [{"name": "edge-3"}]
    box.config(house.settings, "manager.yaml")
    house.process.signal(signal.SIGHUP)
    words = "manager.peers: no rule is for edge-2"
    wait("the edge to name the rule", lambda: words in edge.log())
    wait("the manager to", lambda: words in house.process.log())
    wait("the stream to be gone", lambda: not connected())
    assert house.counter("forbidden") >= 1
    assert metric(f"unix:{box.folder}/second-state/admin.sock", "stream_refusals") >= 1
    bad(box.run("join", "--renew", "-c", "second.yaml"), words)
    assert house.counter("renewals") == 1


def test_who_was_revoked_is_renewed_no_more(box):
    """Also by a manager that asks no list in its handshakes."""
    house = House(box)
    good(house.join(house.token("edge-2")))
    box.config(base(None, {"web": cluster(["127.0.0.1:9"], health=None)},
                    manager={"connect": house.tcp, "tls": {
                        "certificate": "./second/edge-2.pem", "key": "./second/edge-2.key",
                        "ca": "./second/ca.pem"}}), "second.yaml")
    renew = ("join", "--renew", "-c", "second.yaml")
    good(box.run(*renew), "renewed as edge-2")
    good(box.run("pki", "revoke", "edge-2"), "certificates revoked: 2")
    bad(box.run(*renew), "the certificate was revoked, and is not renewed")
    assert house.counter("renewals") == 1
    (box.folder / "pki/crl.pem").write_text("nonsense") # who was, nobody can tell
    bad(box.run(*renew), "authority cannot be used")
    (box.folder / "pki/crl.pem").unlink()
    good(box.run(*renew), "renewed as edge-2")


# ---- killed between the key and its certificate ----

POINTS = re.findall(r'^FR_FAULT_ROW\("([^"]+)"\)',
                    (ROOT / "src/base/fault_points.def").read_text(encoding="utf-8"), re.M)


def killed(done):
    assert done.returncode == -signal.SIGKILL, done


def fits(folder, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        return True
    except ssl.SSLError:
        return False


@pytest.mark.parametrize("point", POINTS)
def test_an_authority_killed_at(box, point):
    """Made whole by the next command, or not made at all."""
    killed(box.run("pki", "init", env={"FRESHET_FAULT": point}))
    done = box.run("pki", "init")
    assert ("already" in done.stderr) == ("moved" in point), done
    good(box.run("pki", "issue", "manager"))
    assert fits(box.folder / "pki", "ca") and fits(box.folder / "pki", "manager")


@pytest.mark.parametrize("point", POINTS)
def test_a_renewal_killed_at(box, point):
    """Old and old, or new and new: at the latest when somebody reads it."""
    house = House(box)
    house.process.stop()
    before = (box.folder / "pki/manager.key").read_bytes()
    killed(box.run("pki", "issue", "manager", "--also", "127.0.0.1",
                   env={"FRESHET_FAULT": point}))
    assert fits(box.folder / "pki", "manager") == ("first-moved" not in point)
    house.process = box.start("manager", "-c", "manager.yaml", name="manager-again")
    box.serving(house.unix, house.process)
    assert fits(box.folder / "pki", "manager")
    after = (box.folder / "pki/manager.key").read_bytes()
    assert (after != before) == ("moved" in point)


def test_a_machine_killed_while_it_renews(box):
    house = House(box)
    good(box.run("join", "--manager", house.tcp, "--token", house.token("edge-2"), "--dir",
                 "second"), "joined as edge-2")
    tls = {name: f"./second/{file}" for name, file in
           (("certificate", "edge-2.pem"), ("key", "edge-2.key"), ("ca", "ca.pem"))}
    box.config(base(None, {"web": cluster(["127.0.0.1:9"], health=None)},
                    manager={"connect": house.tcp, "tls": tls}), "second.yaml")
    killed(box.run("join", "--renew", "-c", "second.yaml",
                   env={"FRESHET_FAULT": "file-pair-first-moved"}))
    assert not fits(box.folder / "second", "edge-2")
    good(box.run("join", "--renew", "-c", "second.yaml"), "renewed as edge-2")
    assert fits(box.folder / "second", "edge-2")
