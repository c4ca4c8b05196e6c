# SPDX-License-Identifier: Apache-2.0
"""The administration interface: a Unix socket by its mode, TCP by certificate or token and role."""
import json
import os
import re
import signal
import ssl
import subprocess

import pytest

from harness import http1
from harness.box import wait
from harness.pki import Authority
from harness.setup import base, cluster, metric_in


SERVER = "web-127.0.0.1-9"
READS = ("/status", "/metrics", "/cache")
CHANGES = (f"/clusters/web/drain?server={SERVER}", "/cache/purge?all")


class House:
    def __init__(self, box, tls=True):
        self.box = box
        self.authority = Authority(box.folder)
        self.authority.issue("edge", "edge", "localhost", "127.0.0.1")
        for name in ("looker", "op-1", "boss", "stranger"):
            self.authority.issue(name, name)
        self.tokens = dict(re.findall(r"^(token[^:]*): (\w+)$", box.run("pki", "secret").stdout,
                                      re.M))
        box.write("token", self.tokens["token"] + "\n")
        self.port = box.port()
        self.address = f"127.0.0.1:{self.port}"
        admin = {"listen": self.address,
                 "users": [{"certificate": "looker", "role": "read"},
                           {"certificate": "op-*", "role": "operate"},
                           {"certificate": "boss", "role": "admin"},
                           {"token-sha256": self.tokens["token-sha256"], "role": "operate"}]}
        if tls:
            admin["tls"] = {"certificate": "./edge.pem", "key": "./edge.key", "ca": "./ca.pem"}
        self.settings = base(None, {"web": cluster(["127.0.0.1:9"], health=None)},
                             listen=f"127.0.0.1:{box.port()}", cache={"memory": "1MiB"})
        self.settings["admin"] = admin
        box.config(self.settings)
        self.edge = box.start("edge", name="edge")
        box.serving(self.address, self.edge)

    def call(self, path, certificate=None, token=None, method=None, tls=True):
        """Status, and what else was said."""
        response = http1.fetch(self.address, path, method or ("GET" if path in READS else "POST"),
                               [("Authorization", f"Bearer {token}")] if token else (), b"",
                               tls=self.authority.context(certificate) if tls else None)
        return response.status, response.said

    def metric(self, name, **who):
        return metric_in(self.call("/metrics", **who)[1], "admin_" + name)


def test_roles_by_certificate_and_token(box):
    house = House(box)
    good = house.tokens["token"]
    reload = "/certificates/reload"
    rows = [ # who; reads, changes, certificates
        ({"certificate": "looker"}, 200, 403, 403),
        ({"certificate": "op-1"}, 200, 200, 403),
        ({"certificate": "boss"}, 200, 200, 200),
        ({"token": good}, 200, 200, 403),
        ({"certificate": "looker", "token": good}, 200, 200, 403),
        ({"certificate": "stranger"}, 403, 403, 403),
        ({}, 401, 401, 401),
        ({"token": good[:-1]}, 401, 401, 401),
    ]
    for who, read, change, certificates in rows:
        for paths, status in ((READS, read), (CHANGES, change), ((reload,), certificates)):
            for path in paths:
                got, said = house.call(path, **who)
                assert got == status, (who, path, said)
                if status == 401:
                    assert "WWW-Authenticate: Bearer" in said
                    assert "client certificate or a bearer token of admin.users" in said
                if status == 403:
                    assert "admin.users gives" in said and "needs the role" in said
    assert house.metric("unauthorized", certificate="boss") == 12
    assert house.metric("forbidden", certificate="boss") == 12
    assert "admin refused" in house.edge.log()


def test_only_tls_1_3_and_certificates_of_the_authority(box):
    house = House(box)
    before = house.metric("handshakes_failed", certificate="boss")
    assert not http_answers(house)
    with pytest.raises(OSError):
        http1.connect(house.address, tls=house.authority.context(version=ssl.TLSVersion.TLSv1_2))
    other = Authority(box.folder, "others")
    other.issue("boss2", "boss")
    with pytest.raises((OSError, http1.ProtocolError)):
        house.call("/status", certificate="boss2")
    wait("three to be counted",
         lambda: house.metric("handshakes_failed", certificate="boss") == before + 3)


def http_answers(house):
    with http1.connect(house.address) as sock:
        sock.sendall(http1.head("GET", "/status"))
        try:
            return b"HTTP" in sock.recv(65536)
        except ConnectionError:
            return False


def test_loopback_without_tls_reads_and_changes_by_token(box):
    house = House(box, tls=False)
    assert house.call("/status", tls=False)[0] == 200
    status, said = house.call(CHANGES[0], tls=False)
    assert status == 401 and "show a bearer token" in said
    assert house.call(CHANGES[0], tls=False, token=house.tokens["token"])[0] == 200


def test_users_change_with_a_reload(box):
    house = House(box)
    assert house.call("/status", certificate="stranger")[0] == 403
    house.settings["admin"]["users"].append({"certificate": "stranger", "role": "read"})
    house.settings["admin"]["users"] = house.settings["admin"]["users"][1:]
    box.config(house.settings)
    house.edge.signal(signal.SIGHUP)
    wait("the reload", lambda: house.call("/status", certificate="stranger")[0] == 200)
    assert house.call("/status", certificate="looker")[0] == 403


def test_the_command_line_over_tls(box):
    house = House(box)
    to = ["--admin", f"https://{house.address}", "--ca", "ca.pem"]
    done = box.run("status", *to, "--token-file", "token")
    assert done.returncode == 0 and SERVER in done.stdout, done.stderr
    done = box.run("status", *to, "--cert", "looker.pem", "--key", "looker.key", "--json")
    assert json.loads(done.stdout)["role"] == "edge"
    done = box.run("cluster", "drain", "web", SERVER, *to, "--cert=op-1.pem", "--key=op-1.key")
    assert done.returncode == 0, done.stderr
    for options, words in ((to, "show a client certificate or a bearer token"),
                           ([*to, "--cert", "looker.pem", "--key", "looker.key"],
                            "gives looker the role read, and this needs the role operate"),
                           (to[:2], "unable to get local issuer certificate"),
                           ([*to, "--name", "somebody-else"], "hostname mismatch"),
                           ([*to, "--token-file", "nowhere"], "cannot ask")):
        done = box.run("cluster", "drain", "web", SERVER, *options)
        assert done.returncode == 1 and words in done.stderr, (options, done.stderr)
    # The environment does as well, and the file knows where.
    done = box.run("status", env={"FRESHET_CA": "ca.pem", "FRESHET_TOKEN_FILE": "token"})
    assert done.returncode == 0, done.stderr
    # An empty one is as unset.
    done = box.run("status", env={"FRESHET_CA": "ca.pem", "FRESHET_TOKEN_FILE": "token",
                                  "FRESHET_CERT": "", "FRESHET_KEY": "", "FRESHET_NAME": ""})
    assert done.returncode == 0, done.stderr


def test_the_socket_is_for_who_may_open_it(box):
    box.config(base(None, {"web": cluster(["127.0.0.1:9"], health=None)},
                    listen=f"127.0.0.1:{box.port()}"))
    edge = box.start("edge", name="edge")
    path = box.folder / "state/admin.sock"
    box.serving(f"unix:{path}", edge)
    assert os.stat(path).st_mode & 0o077 == 0
    assert http1.fetch(f"unix:{path}", CHANGES[0], "POST").status == 200


def test_certificates_are_replaced_by_the_api(box):
    house = House(box)
    house.authority.issue("front", "localhost")
    port = box.port()
    house.settings["listen"] = [{"address": f"127.0.0.1:{port}", "tls": {
        "certificate": "./front.pem", "key": "./front.key"}}]
    box.config(house.settings)
    house.edge.signal(signal.SIGHUP)
    box.serving(f"127.0.0.1:{port}", house.edge)

    def serial():
        with http1.connect(f"127.0.0.1:{port}", tls=house.authority.context()) as sock:
            return sock.getpeercert()["serialNumber"]
    before = serial()
    house.authority.issue("front", "localhost")
    assert house.call("/certificates/reload", certificate="boss")[0] == 200
    after = serial()
    assert after != before
    (box.folder / "front.key").write_text("nonsense")
    status, said = house.call("/certificates/reload", certificate="boss")
    assert status == 409 and "refused, the old ones stay" in said
    assert serial() == after
    # Its own as well: what answers goes on with what it has, and says so.
    house.authority.issue("front", "localhost")
    own = house.settings["admin"]["tls"]["key"]
    (box.folder / own).write_text("nonsense")
    status, said = house.call("/certificates/reload", certificate="boss")
    assert status == 409 and "refused, the old one stays" in said and own.strip("./") in said, said


@pytest.mark.parametrize("admin, words", [
    ({"listen": "0.0.0.0:7401"}, "without admin.tls"),
    ({"listen": "127.0.0.1:0", "tls": {"certificate": "./a.pem"}}, "admin.tls has no key"),
    ({"users": [{"role": "read"}]}, "has neither, expected either certificate or token-sha256"),
    ({"users": [{"role": "root", "certificate": "a"}]}, "expected one of read, operate, admin"),
    ({"users": [{"role": "read", "token-sha256": "abc"}]}, "64 hexadecimal digits"),
])
def test_mistakes_are_told(box, admin, words):
    settings = base(None, {"web": cluster(["127.0.0.1:9"], health=None)}, listen="127.0.0.1:0")
    settings["admin"] = admin
    box.config(settings)
    done = box.run("check")
    assert done.returncode == 3 and words in done.stdout + done.stderr, done.stdout + done.stderr


def test_curl_with_a_token(box):
    house = House(box)
    done = subprocess.run(["curl", "-sS", "--cacert", "ca.pem", "-H",
                           f"Authorization: Bearer {house.tokens['token']}",
                           f"https://{house.address}/status"], cwd=box.folder, check=True,
                          capture_output=True, text=True)
    assert json.loads(done.stdout)["role"] == "edge"
