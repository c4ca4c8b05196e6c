# SPDX-License-Identifier: Apache-2.0
"""Certificates that were revoked: at listeners, and on the control stream."""
import datetime
import ssl

import pytest

from harness import http1
from harness.box import hold, wait
from harness.pki import Authority
from harness.secured import Manager, TlsEdge, tls_of
from harness.setup import admin_json, base, cluster, metric


class Door(TlsEdge):
    """A listener that wants a certificate of the authority, and asks its list."""

    def __init__(self, box, authority, **more):
        self.refusals = 0
        first = authority.issue("localhost", "localhost")
        for name in ("alice", "bob"):
            authority.issue(name)
        super().__init__(box, authority, tls={**first, "client-auth": "required",
                                              "client-ca": "./ca.pem", "client-crl": "./crl.pem",
                                              **more})

    def enters(self, name):
        """True, or how it was refused. In TLS 1.3 that comes behind the handshake, and is lost
        where the request crosses it: the kernel answers that with a reset."""
        try:
            with self.open(self.authority.context(name)) as client:
                return client.get().status == 200
        except ssl.SSLError as error:
            said = str(error)
        except (ConnectionError, http1.ProtocolError):
            said = "closed"
        self.refusals += 1
        return said

    def reloaded(self, act):
        before = self.edge.process.log().count("certificates replaced")
        act()
        wait("the reload",
             lambda: self.edge.process.log().count("certificates replaced") > before)

    def comes_to(self, name, words):
        """The workers hear of it a moment later."""
        wait(f"{name}: {words}", lambda: words in str(self.enters(name)))

    def all_counted(self):
        assert self.refusals > 0
        wait("the count", lambda: metric(self.edge, "tls_revoked") == self.refusals)


def test_who_was_revoked_is_refused(box, authority):
    authority.revoke()
    door = Door(box, authority)
    assert door.enters("alice") is True and door.enters("bob") is True
    with door.open(authority.context("bob")) as standing:
        assert standing.get().status == 200
        door.reloaded(lambda: authority.revoke("bob"))
        door.comes_to("bob", "revoked")
        assert door.enters("alice") is True
        assert standing.get().status == 200  # as it began, until it ends
    door.all_counted()
    # A list that is no good leaves the one before in force.
    (box.folder / "crl.pem").write_text("nonsense")
    wait("the refusal", lambda: "changed and are refused" in door.edge.process.log())
    assert door.enters("alice") is True
    door.comes_to("bob", "revoked")


def test_a_list_that_has_ended_lets_nobody_in(box, authority):
    authority.revoke(ends="20200201000000Z")
    door = Door(box, authority)
    assert door.enters("alice") is not True
    event = next(e for e in door.edge.process.events() if "revocation list" in e["event"])
    assert event["event"] == "a revocation list has ended, its certificates are refused"
    assert event["level"] == "warn" and event["file"] == "./crl.pem"
    assert event["seconds-left"] < 0
    door.all_counted()
    door.reloaded(authority.revoke)
    door.comes_to("alice", "True")


@pytest.mark.parametrize("hours, warned", [(71, True), (73, False)])
def test_the_log_warns_three_days_before(box, authority, hours, warned):
    """Over a weekend, and a day to act in."""
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
    authority.revoke(ends=ends.strftime("%Y%m%d%H%M%SZ"))
    door = Door(box, authority)
    assert door.enters("alice") is True
    said = [e for e in door.edge.process.events() if "revocation list" in e["event"]]
    assert [e["event"] for e in said] == ["a revocation list ends soon"] * warned


def test_a_list_of_another_authority_tells_nothing(box, authority):
    Authority(box.folder, "other").revoke(lists="crl")
    door = Door(box, authority)
    assert door.enters("alice") is not True
    # Both in one file, in any order.
    authority.revoke("bob", lists="ours")
    both = (box.folder / "crl.pem").read_text() + (box.folder / "ours.pem").read_text()
    door.reloaded(lambda: (box.folder / "crl.pem").write_text(both))
    door.comes_to("alice", "True")
    door.comes_to("bob", "revoked")


@pytest.mark.parametrize("tls, text, words", [
    ({"client-crl": "./crl.pem"}, "", "client-crl without client-ca"),
    ({"client-crl": "./crl.pem", "client-ca": "./ca.pem", "client-auth": "required"}, "nonsense",
     "revocation lists in ./crl.pem"),
])
def test_mistakes_are_told(box, authority, tls, text, words):
    (box.folder / "crl.pem").write_text(text)
    first = authority.issue("localhost", "localhost")
    box.config(base([{"respond": 204}], {}, listen=[{"address": "127.0.0.1:0",
                                                     "tls": {**first, **tls}}]))
    done = box.run("check")
    assert done.returncode == 3 and words in done.stdout + done.stderr, done.stdout + done.stderr


def test_a_machine_that_was_revoked_reaches_no_manager(box, authority):
    for name in ("edge-1", "edge-2"):
        authority.issue(name, name)
    authority.revoke()
    manager = Manager(box, authority, tls=tls_of("manager", crl="./crl.pem"))

    refusals = []

    def asks(name):
        try:
            with http1.connect(manager.tcp, tls=authority.context(name)) as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return sock.recv(4096).startswith(b"HTTP/1.1 ")
        except ssl.SSLError as error:
            refusals.append(str(error))
        except ConnectionError:
            refusals.append("closed")
        return refusals[-1]
    assert asks("edge-1") is True and asks("edge-2") is True
    authority.revoke("edge-2")
    wait("the reload", lambda: "certificate replaced" in manager.process.log())
    wait("the refusal", lambda: "revoked" in str(asks("edge-2")))
    assert asks("edge-1") is True
    wait("the count", lambda: manager.counter("handshakes_failed") == len(refusals))


# ---- `freshet pki revoke` ----

class Farm:
    """An authority of `freshet pki`, and every door that asks its list: a listener, the
    administration interface of an edge, and a manager, to which that edge connects."""

    def __init__(self, box):
        self.box = box
        self.pki("init")
        for name in ("manager", "edge-1", "alice", "bob"):
            self.pki("issue", name, "--also", "localhost")
        assert "list 1, revoked: 0" in self.pki("crl")
        self.doors = {name: f"127.0.0.1:{box.port()}" for name in ("listener", "admin", "manager")}
        self.unix = f"unix:{box.folder}/m.sock"
        web = {"web": cluster(["127.0.0.1:9"], health=None)}
        users = [{"certificate": name, "role": "read"} for name in ("alice", "bob")]
        manager = base(None, web, state="./manager-state", manager={
            "listen": [self.unix, self.doors["manager"]], "tls": self.tls("manager")})
        manager["admin"] = {"users": users}
        box.config(manager, "manager.yaml")
        site = self.tls("edge-1")
        edge = base([{"respond": 204}], {}, listen=[{"address": self.doors["listener"], "tls": {
            "certificate": site["certificate"], "key": site["key"], "client-auth": "required",
            "client-ca": site["ca"], "client-crl": site["crl"]}}],
            manager={"connect": self.doors["manager"], "tls": site})
        edge["admin"] = {"listen": self.doors["admin"], "tls": dict(site), "users": users}
        box.config(edge)
        self.manager = self.start_manager("manager")
        self.edge = box.start("edge", name="edge")
        for address in self.doors.values():
            box.serving(address)

    def start_manager(self, name):
        process = self.box.start("manager", "-c", "manager.yaml", name=name)
        self.box.serving(self.unix, process)
        return process

    def pki(self, *arguments):
        done = self.box.run("pki", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @staticmethod
    def tls(name):
        return {"certificate": f"./pki/{name}.pem", "key": f"./pki/{name}.key",
                "ca": "./pki/ca.pem", "crl": "./pki/crl.pem"}

    def asks(self, door, name):
        """True, or how it was refused."""
        context = ssl.create_default_context(cafile=self.box.folder / "pki/ca.pem")
        context.load_cert_chain(self.box.folder / f"pki/{name}.pem",
                                self.box.folder / f"pki/{name}.key")
        try:
            with http1.connect(self.doors[door], tls=context) as sock:
                sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return sock.recv(4096).startswith(b"HTTP/1.1 20")
        except ssl.SSLError as error:
            return str(error)
        except ConnectionError:
            return "closed"  # as in Door.enters

    def comes_to(self, name, words):
        for door in self.doors:
            wait(f"{name} at the {door}: {words}", lambda d=door: words in str(self.asks(d, name)))

    def connected(self):
        return any(s["id"] == "edge-1" and s["connected"]
                   for s in admin_json(self.unix)["sources"])


def test_who_the_command_revoked_is_refused_everywhere(box):
    farm = Farm(box)
    for suffix in (".pem", ".key"):
        (box.folder / f"pki/leaked{suffix}").write_bytes((box.folder / f"pki/bob{suffix}")
                                                         .read_bytes())
    farm.comes_to("leaked", "True")
    # What leaked was renewed since: that one is shut out, and bob goes on with the new one.
    farm.pki("renew", "bob")
    rows = [line.split() for line in farm.pki("list", "bob").splitlines()[1:]]
    (leaked,) = [row[6] for row in rows if row[4] == "there"]
    assert "certificates revoked: 1" in farm.pki("revoke", leaked, "--reason", "key-compromise")
    farm.comes_to("leaked", "revoked")
    for name in ("alice", "bob"):
        farm.comes_to(name, "True")
    # All that a name had, and what it is given then.
    assert "certificates revoked: 1\n" in farm.pki("revoke", "alice")
    farm.comes_to("alice", "revoked")
    (row,) = [x for x in farm.pki("list").splitlines() if x.startswith("alice ")]
    assert " revoked " in row
    assert "alice" not in farm.pki("renew", "--within", "900d")  # not by the way
    farm.comes_to("alice", "revoked")
    farm.pki("renew", "alice")
    farm.comes_to("alice", "True")
    farm.comes_to("leaked", "revoked")
    assert farm.edge.alive() and farm.manager.alive()
    assert metric(farm.unix, "manager_handshakes_failed") >= 3


def test_a_manager_that_was_revoked_is_left_alone(box):
    """The edge asks the list, too, when it connects."""
    farm = Farm(box)
    wait("the stream", farm.connected)
    farm.pki("revoke", "manager")
    wait("the edge to take the list", lambda: "certificate replaced" in farm.edge.log())
    assert farm.connected()  # as it began, until it ends
    farm.manager.stop()
    farm.manager = farm.start_manager("manager-again")
    wait("the edge to refuse it", lambda: "alert certificate revoked" in farm.manager.log())
    hold("no stream", lambda: not farm.connected(), 1)
    farm.pki("issue", "manager", "--also", "localhost")
    wait("the stream", farm.connected)


@pytest.mark.parametrize("arguments, words, code", [
    (("revoke",), "one of NAME, SERIAL and --cert FILE", 2),
    (("revoke", "a", "--cert", "pki/a.pem"), "one of NAME, SERIAL and --cert FILE", 2),
    (("revoke", "a", "--reason", "x"), "expected one of key-compromise, ", 2),
    (("revoke", "nobody"), "neither a name", 1),
    (("revoke", "--cert", "nowhere.pem"), "No such file", 1),
    (("revoke", "--cert", "pki/ca.pem"), "not a certificate that this authority signed", 1),
])
def test_what_cannot_be_revoked(box, arguments, words, code):
    for command in (("init",), ("issue", "a")):
        assert box.run("pki", *command).returncode == 0
    done = box.run("pki", *arguments)
    assert done.returncode == code and words in done.stderr, done.stderr
    assert not (box.folder / "pki/crl.pem").exists()
