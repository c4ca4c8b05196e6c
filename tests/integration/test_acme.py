# SPDX-License-Identifier: Apache-2.0
"""Certificates that come by themselves, from pebble: both challenges, renewal, refusals."""
import re
import signal
import socket
import ssl
import stat

import pytest

from harness import http1
from harness.box import hold, wait
from harness.pebble import Pebble, issued, shown
from harness.pki import Authority
from harness.setup import base, cluster, metric


class House:
    def __init__(self, box, challenge, domains=("one.example",), pebble=None, member=None,
                 edge_env=None, **acme):
        self.box = box
        self.authority = Authority(box.folder)
        self.plain, self.tls = (f"127.0.0.1:{box.port()}" for _ in range(2))
        self.pebble = Pebble(box, self.authority, int(self.plain.rsplit(":", 1)[1]),
                             int(self.tls.rsplit(":", 1)[1]), **(pebble or {}))
        settings = {"directory": self.pebble.directory, "email": "me@one.example",
                    "domains": list(domains), "challenge": challenge, "ca": "./ca.pem"}
        settings.update(acme)
        self.member = member or box.origin("m")
        self.settings = base([{"cluster": "web"}],
                             {"web": cluster([self.member], health=None)},
                             listen=[{"address": self.plain},
                                     {"address": self.tls, "tls": {"acme": settings}}])
        box.config(self.settings)
        self.edge = box.start("edge", name="edge", env=edge_env)
        if not edge_env:
            box.serving(self.tls, self.edge)

    def metric(self, name):
        return metric(f"unix:{self.box.folder}/state/admin.sock", "acme_" + name)


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_certificate_comes_by_itself(box, challenge):
    house = House(box, challenge, domains=("one.example", "two.example"))
    found = issued(house.tls, house.pebble.root, "one.example")
    assert {"one.example", "two.example"} == {v for _, v in found["subjectAltName"]}
    assert shown(house.tls, house.pebble.root, "two.example")
    assert house.metric("certified") == 1 and house.metric("failed") == 0
    files = sorted((box.folder / "state/acme").iterdir())
    assert [re.sub(r"account-\w+", "account", f.name) for f in files] == \
        ["account.key", "one.example.key", "one.example.pem"]
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # A challenge is answered while it is under way, and by us alone while it is.
    assert http1.fetch(house.plain, "/.well-known/acme-challenge/nonsense").status == 200
    assert house.member.count() == 1 # that one: a member's own business
    # A restart finds it, and asks for nothing.
    house.edge.stop()
    orders = house.pebble.log().count("There are now")
    house.edge = box.start("edge", name="edge-again")
    box.serving(house.tls, house.edge)
    assert shown(house.tls, house.pebble.root, "one.example")["serialNumber"] == \
        found["serialNumber"]
    hold("no new order", lambda: house.pebble.log().count("There are now") == orders, 1.5)


def test_renewal_under_a_connection_that_goes_on(box):
    house = House(box, "tls-alpn-01", pebble={"certificateValidityPeriod": 12})
    first = issued(house.tls, house.pebble.root, "one.example")["serialNumber"]
    context = ssl.create_default_context(cafile=house.pebble.root)
    with http1.Client(house.tls, tls=context, name="one.example") as client:
        assert client.get().status == 200
        wait("the next certificate", lambda: (shown(
            house.tls, house.pebble.root, "one.example") or {"serialNumber": first}
            )["serialNumber"] != first, 40)
        assert client.get().status == 200
    assert house.metric("certified") >= 2 and house.metric("failed") == 0
    accounts = [f for f in (box.folder / "state/acme").iterdir() if "account" in f.name]
    assert len(accounts) == 1


def test_a_name_that_cannot_be_proved_is_not_hammered(box):
    # Nobody listens where the authority looks.
    house = House(box, "http-01", pebble={"httpPort": box.port()})
    wait("the failure to be told", lambda: "no certificate fetched" in house.edge.log(), 40)
    event = next(e for e in house.edge.events() if e["event"].startswith("no certificate fetched"))
    assert event["domain"] == "one.example"
    assert "one.example is not proved: urn:ietf:params:acme:error:connection" in event["why"]
    assert 60 <= event["next-seconds"] <= 70
    hold("one try", lambda: house.metric("failed") == 1, 2)
    # The listener is open all the while, and a reload does not make it try again.
    assert http1.connect(house.tls)
    house.edge.signal(signal.SIGHUP)
    wait("the reload", lambda: "configuration re-read" in house.edge.log())
    hold("one try", lambda: house.metric("failed") == 1, 1)


def orders(house):
    return house.pebble.log().count("There are now")


def test_a_pair_that_does_not_fit_is_fetched_anew(box):
    """Half of a backup, say: the edge starts, shows what it showed at the very first, and asks."""
    house = House(box, "tls-alpn-01")
    first = issued(house.tls, house.pebble.root, "one.example")["serialNumber"]
    house.edge.stop()
    Authority(box.folder, "others").issue("stray", "one.example")
    pair = box.folder / "state/acme"
    (pair / "one.example.key").write_bytes((box.folder / "stray.key").read_bytes())
    house.edge = box.start("edge", name="edge-again")
    box.serving(house.tls, house.edge)
    second = issued(house.tls, house.pebble.root, "one.example")["serialNumber"]
    assert second != first
    assert "a fetched certificate is no good, another is asked for" in house.edge.log()
    house.edge.stop()
    (pair / "one.example.pem").write_bytes(b"") # a disk that was full
    house.edge = box.start("edge", name="edge-once-more")
    box.serving(house.tls, house.edge)
    third = issued(house.tls, house.pebble.root, "one.example")["serialNumber"]
    assert third not in (first, second)


@pytest.mark.parametrize("which", ["one.example.pem", "one.example.key"])
def test_a_pair_that_cannot_be_read_is_not_replaced(box, which):
    """A mount that is not there yet, a wrong owner: here a link that leads to itself."""
    house = House(box, "tls-alpn-01")
    issued(house.tls, house.pebble.root, "one.example")
    house.edge.stop()
    pair = box.folder / "state/acme"
    before = {name: (pair / name).read_bytes() for name in ("one.example.pem", "one.example.key")}
    (pair / which).unlink()
    (pair / which).symlink_to(which)
    house.edge = box.start("edge", name="edge-again")
    house.edge.expected = {1}
    assert house.edge.wait() == 1
    assert "cannot be read, and is not replaced" in house.edge.log()
    assert f"{which}: Too many levels of symbolic links" in house.edge.log()
    (pair / which).unlink()
    (pair / which).write_bytes(before[which])
    assert {name: (pair / name).read_bytes() for name in before} == before
    house.edge = box.start("edge", name="edge-once-more")
    box.serving(house.tls, house.edge)


def test_an_account_key_that_cannot_be_read_is_not_replaced(box):
    house = House(box, "tls-alpn-01")
    issued(house.tls, house.pebble.root, "one.example")
    house.edge.stop()
    (key,) = (box.folder / "state/acme").glob("account-*.key")
    key.unlink()
    key.symlink_to(key.name)
    (box.folder / "state/acme/one.example.pem").unlink()
    house.edge = box.start("edge", name="edge-again")
    wait("the failure to be told", lambda: "no certificate fetched" in house.edge.log(), 40)
    event = next(e for e in house.edge.events() if e["event"].startswith("no certificate fetched"))
    assert event["why"].startswith("account key: ")
    assert event["why"].endswith(": Too many levels of symbolic links")
    assert key.is_symlink()


def test_killed_between_the_key_and_its_certificate(box):
    """The first pair is the placeholder, the second what the authority signed."""
    house = House(box, "tls-alpn-01", edge_env={"FRESHET_FAULT": "file-pair-first-moved:2"})
    house.edge.expected = {-signal.SIGKILL}
    wait("its end", lambda: not house.edge.alive(), 40)
    pair = box.folder / "state/acme"
    assert (pair / "one.example.pem.pair").exists()
    asked = orders(house)
    house.edge = box.start("edge", name="edge-again")
    box.serving(house.tls, house.edge)
    assert issued(house.tls, house.pebble.root, "one.example")
    hold("no new order", lambda: orders(house) == asked, 1.5)
    assert not list(pair.glob("*.pair"))


def test_an_authority_of_the_wrong_certificate(box):
    Authority(box.folder, "others")
    house = House(box, "tls-alpn-01", ca="./others.pem")
    wait("the failure to be told", lambda: "no certificate fetched" in house.edge.log(), 40)
    assert "SSL certificate problem" in house.edge.log()


def test_an_account_elsewhere(box):
    keys = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {
        "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}}
    house = House(box, "tls-alpn-01", pebble=keys, **{
        "key-id": "kid-1", "hmac-key": keys["externalAccountMACKeys"]["kid-1"]})
    issued(house.tls, house.pebble.root, "one.example")


def test_an_account_elsewhere_is_asked_for(box):
    keys = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {
        "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}}
    house = House(box, "tls-alpn-01", pebble=keys)
    wait("the failure to be told", lambda: "wants key-id and hmac-key" in house.edge.log(), 40)


def test_the_end_does_not_wait_for_an_authority(box):
    silent = socket.create_server(("127.0.0.1", 0))
    box.closers.append(silent.close)
    house = House(box, "tls-alpn-01",
                  directory="https://127.0.0.1:%d/dir" % silent.getsockname()[1])
    silent.accept()
    house.edge.stop(10)


@pytest.mark.parametrize("acme, words", [
    ({}, "has no domains"),
    ({"domains": ["localhost"]}, "cannot be proved this way"),
    ({"domains": ["*.one.example"]}, "expected a name or a list of names"),
    ({"domains": "one.example", "directory": "http://x/"}, "no https URL"),
    ({"domains": "one.example", "key-id": "a"}, "expected both or neither"),
    ({"domains": "one.example", "challenge": "dns-01"}, "expected one of tls-alpn-01, http-01"),
])
def test_mistakes_are_told(box, acme, words):
    box.config(base([{"respond": 204}], {}, listen=[{"address": "127.0.0.1:0",
                                                     "tls": {"acme": acme}}]))
    done = box.run("check")
    assert done.returncode == 3 and words in done.stdout + done.stderr, done.stdout + done.stderr
