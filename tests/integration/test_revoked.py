# SPDX-License-Identifier: Apache-2.0
"""Certificates that were revoked: at listeners, and on the control stream."""
import datetime
import ssl

import pytest

from harness import http1
from harness.box import wait
from harness.pki import Authority
from harness.secured import Manager, TlsEdge, tls_of
from harness.setup import base, metric


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
