# SPDX-License-Identifier: Apache-2.0
"""Members given by name: several addresses, and changes, without a request lost."""
import signal
import time

from harness import http1
from harness.box import hold, wait
from harness.load import Load
from harness.names import A, AAAA, Names
from harness.setup import Edge, admin_json, metric


class Place:
    """A DNS server, and servers on 127.0.0.2, .3, ... that share a port."""

    def __init__(self, box, count=3):
        self.names = Names()
        box.closers.append(self.names.close)
        self.port = box.port()
        self.origins = {}
        for number in range(2, 2 + count):
            address = f"127.0.0.{number}"
            self.origins[address] = box.origin(address, address=(address, self.port))
        self.member = f"members.test:{self.port}"

    def edge(self, box, member=None, **more):
        cluster = {"members": [member or self.member], "slow-start": 0, "balance": "round-robin",
                   "timeouts": {"connect": "300ms"}}
        return Edge(box, {"web": {**cluster, **more.pop("web", {})}},
                    resolver={"server": self.names.address, "interval": "100ms"}, **more)


def members(edge):
    status = admin_json(edge)
    web = next(c for c in status["clusters"] if c["name"] == "web")
    return {s["id"]: s["address"] for s in web["servers"]}


def who(edge, turns=6):
    return {http1.fetch(edge.address).get("X-Origin") for _ in range(turns)}


def test_every_address_is_a_member(box):
    place = Place(box)
    place.names.put("members.test", *place.origins)
    edge = place.edge(box)
    # The first answer is there before anybody is served.
    assert who(edge) == set(place.origins)
    assert members(edge) == {f"web-{a}-{place.port}": f"{a}:{place.port}" for a in place.origins}


def test_addresses_come_and_go_under_load(box):
    place = Place(box)
    addresses = list(place.origins)
    place.names.put("members.test", addresses[0])
    edge = place.edge(box)
    with Load(edge.address, 4) as load:
        for turn in range(8):
            wanted = {addresses[turn % 3], addresses[(turn + 1) % 3]}
            place.names.put("members.test", *wanted)
            wait("the addresses", lambda: set(members(edge).values()) ==
                 {f"{a}:{place.port}" for a in wanted})
            load.wait_done(50)
    assert not load.failed, load.failed[:3]
    assert metric(edge, "name_changes") == 9
    assert all(origin.count() for origin in place.origins.values())


def test_a_name_server_that_fails_changes_nothing(box):
    place = Place(box, 2)
    place.names.put("members.test", *place.origins)
    edge = place.edge(box)
    for fault in ("failing", "silent"):
        setattr(place.names, fault, True)
        before = metric(edge, "name_failures")
        wait("failures", lambda: metric(edge, "name_failures") > before)
        assert who(edge) == set(place.origins)
        setattr(place.names, fault, False)
    del place.names.table["members.test"]
    before = metric(edge, "name_failures")
    wait("failures", lambda: metric(edge, "name_failures") > before)
    assert who(edge) == set(place.origins)
    assert any(e["event"].startswith("name without an address") and e["name"] == place.member
               for e in edge.process.events())


def test_a_silent_name_server_keeps_no_worker(box):
    """Look-ups take seconds; nothing else waits for them."""
    place = Place(box, 1)
    place.names.put("members.test", "127.0.0.2")
    edge = place.edge(box)
    place.names.silent = True
    asked = len(place.names.asked)
    wait("a look-up", lambda: len(place.names.asked) > asked)
    took = []
    for _ in range(100):
        began = time.monotonic()
        assert http1.fetch(edge.address).status == 200
        http1.fetch(edge.admin(), "/metrics")
        took.append(time.monotonic() - began)
    assert max(took) < 3, took  # one that waited for a look-up takes six
    # Nor does the end: of a look-up that has just begun six seconds are to come.
    wait("a look-up to begin", lambda: [kind for _, kind in place.names.asked[-2:]] == [AAAA, A])
    began = time.monotonic()
    assert edge.process.stop() == 0
    assert time.monotonic() - began < 4.5


def test_a_name_that_has_no_address_yet(box):
    place = Place(box, 1)
    edge = place.edge(box)
    assert http1.fetch(edge.address).status == 503
    assert metric(edge, "no_member") == 1
    place.names.put("members.test", "127.0.0.2")
    wait("its address", lambda: http1.fetch(edge.address).status == 200)
    done = box.run("check", "-c", "edge.yaml")
    assert done.returncode == 0 and "an address that resolves" in done.stderr + done.stdout


def test_a_name_with_an_id(box):
    place = Place(box, 2)
    place.names.put("members.test", "127.0.0.2")
    edge = place.edge(box, {"address": place.member, "id": "app"})
    assert members(edge) == {"app": f"127.0.0.2:{place.port}"}
    place.names.put("members.test", "127.0.0.2", "127.0.0.3")
    wait("both", lambda: members(edge) == {f"app-{a}-{place.port}": f"{a}:{place.port}"
                                           for a in place.origins})
    assert who(edge) == set(place.origins)


def test_a_name_of_many_addresses_and_strangers(box):
    """More than is taken, IPv6 beside IPv4, and one address twice."""
    place = Place(box, 1)
    place.names.put("members.test", "127.0.0.2", "127.0.0.2", "2001:db8::1")
    edge = place.edge(box)
    assert list(members(edge).values()) == [f"127.0.0.2:{place.port}"]
    place.names.put("members.test", *[f"127.0.1.{n}" for n in range(1, 101)])
    wait("as many as are taken", lambda: len(members(edge)) == 64, 30)


def test_the_name_leaves_with_the_reload(box):
    place = Place(box, 2)
    place.names.put("members.test", "127.0.0.2")
    edge = place.edge(box)
    assert who(edge) == {"127.0.0.2"}
    edge.settings["clusters"]["web"]["members"] = [f"127.0.0.3:{place.port}"]
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the reload", lambda: who(edge) == {"127.0.0.3"})
    asked = len(place.names.asked)
    time.sleep(0.3)  # a look-up that was under way
    asked = len(place.names.asked)
    hold("nobody asks", lambda: len(place.names.asked) == asked, 0.5)


def test_the_system_resolver(box):
    origin = box.origin("local")
    edge = Edge(box, {"web": {"members": [f"localhost:{origin.port}"]}},
                resolver={"interval": "100ms"})
    before = metric(edge, "name_lookups")
    wait("look-ups", lambda: metric(edge, "name_lookups") > before + 2)
    assert who(edge) == {"local"} and metric(edge, "name_failures") == 0
    assert list(members(edge)) == [f"web-127.0.0.1-{origin.port}"]
