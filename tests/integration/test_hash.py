# SPDX-License-Identifier: Apache-2.0
"""balance: hash: a key's member, and what moves it, on the running edge."""
import signal

import pytest

from harness import http1
from harness.box import wait
from harness.load import Load
from harness.setup import Edge, cluster, metric, ready, static_pool


def hashed(members, **more):
    settings = {"balance": "hash"}
    settings.update(more)
    return cluster([{"address": o.address, "id": o.name} for o in members], health=None, **settings)


def owner(address, path="/", **more):
    response = http1.fetch(address, path, **more)
    assert response.status == 200, response
    return response.get("X-Origin")


def owners(address, count=60):
    return {f"/k/{n}": owner(address, f"/k/{n}") for n in range(count)}


def test_a_url_keeps_its_member(box):
    members = [box.origin(f"m{i}") for i in range(4)]
    edge = Edge(box, {"web": hashed(members)}, workers=2)
    first = owners(edge.address)
    assert set(first.values()) == {"m0", "m1", "m2", "m3"}
    assert owners(edge.address) == first
    assert len({owner(edge.address, f"/same?q={n}") for n in range(30)}) > 1, "the query counts"
    hosts = {owner(edge.address, "/same", host=f"h{n}.example") for n in range(30)}
    assert len(hosts) > 1, "the host counts"
    assert len({owner(edge.address, "/same", host=h) for h in
                ("a.example", "A.EXAMPLE", "a.example:80", "a.example.")}) == 1


KEYS = {
    "path": lambda n: {"path": f"/p/{n}"},
    "header": lambda n: {"fields": [("X-Tenant", f"t{n}")]},
    "cookie": lambda n: {"fields": [("Cookie", f"other={n * 7}; sid=s{n}")]},
}


@pytest.mark.parametrize("by", KEYS)
def test_other_keys(box, by):
    members = [box.origin(f"m{i}") for i in range(4)]
    name = {"header": {"name": "x-tenant"}, "cookie": {"name": "sid"}}.get(by, {})
    edge = Edge(box, {"web": hashed(members, hash={"by": by, **name})})
    seen = set()
    for n in range(40):
        key = dict(KEYS[by](n))
        path = key.pop("path", "/")
        once = owner(edge.address, path, **key)
        assert once == owner(edge.address, path + ("?x" if by == "path" else "x"), **key)
        seen.add(once)
    assert len(seen) == 4


def test_address(box):
    members = [box.origin(f"m{i}") for i in range(4)]
    edge = Edge(box, {"web": hashed(members, hash="address")})
    assert len({owner(edge.address, f"/{n}") for n in range(30)}) == 1


def test_without_its_key_a_request_is_balanced(box):
    members = [box.origin(f"m{i}") for i in range(4)]
    edge = Edge(box, {"web": hashed(members, hash={"by": "header", "name": "X-Tenant"})})
    assert len({owner(edge.address) for _ in range(60)}) == 4
    before = metric(edge, "hash_keyless")
    owner(edge.address, fields=[("X-Tenant", "")])
    assert metric(edge, "hash_keyless") == before + 1
    owner(edge.address, fields=[("X-Tenant", "a")])
    assert metric(edge, "hash_keyless") == before + 1


def test_two_edges_agree_whatever_the_order(box):
    members = [box.origin(f"m{i}") for i in range(5)]
    one = Edge(box, {"web": hashed(members)}, state="./one", name="one")
    two = Edge(box, {"web": hashed(members[::-1])}, state="./two", name="two")
    assert owners(one.address) == owners(two.address)


def test_a_dead_members_keys_come_back(box):
    members = [box.origin(f"m{i}") for i in range(4)]
    web = hashed(members)
    web["health"] = {"path": "/healthz", "interval": "50ms", "fall": 1}
    edge = Edge(box, {"web": web})
    first = owners(edge.address)
    members[1].healthy = False
    wait("its keys to be elsewhere", lambda: "m1" not in owners(edge.address).values())
    now = owners(edge.address)
    assert all(now[k] == first[k] for k in first if first[k] != "m1")
    assert len({now[k] for k in first if first[k] == "m1"}) > 1, "not one heir alone"
    assert metric(edge, "hash_next") > 0
    members[1].healthy = True
    wait("them to be back", lambda: owners(edge.address) == first)


def test_a_refused_connection_goes_to_the_next(box):
    members = [box.origin(f"m{i}") for i in range(3)]
    edge = Edge(box, {"web": hashed(members, eject={"failures": 0})})
    first = owners(edge.address)
    members[2].stop()
    now = owners(edge.address)
    assert all(now[k] == first[k] for k in first if first[k] != "m2")
    assert "m2" not in now.values()


def test_a_hot_key_spills(box):
    members = [box.origin(f"m{i}") for i in range(4)]
    for member in members:
        member.delay = 0.02
    edge = Edge(box, {"web": hashed(members, hash={"bound": 1.25})})
    with Load(edge.address, 16, path="/hot") as load:
        load.wait_done(400)
    load.assert_clean()
    assert max(load.share(m.name) for m in members) < 0.45
    assert metric(edge, "hash_spilled") > 0
    edge.settings["clusters"]["web"]["hash"] = {"bound": 0}
    edge.write()
    edge.process.signal(signal.SIGHUP)

    def one_alone():
        with Load(edge.address, 4, path="/hot") as unbound:
            unbound.wait_done(40)
        return len(unbound.seen) == 1
    wait("no bound", one_alone)


def test_joining_and_leaving_under_load(box):
    """Servers of a pool come and go while keys are asked for: nothing fails, and each change moves
    only keys to who came or from who went."""
    members = [box.origin(f"m{i}") for i in range(3)]
    spare = [box.origin(f"s{i}") for i in range(2)]
    web = hashed(members, drain="5s", hash={"bound": 0},
                 scale={"from": "rack", "min": 0, "max": 9, "upper": 1, "lower": 0})
    edge = Edge(box, {"web": web}, pools={"rack": static_pool(*spare)})
    first = owners(edge.address, 120)
    with Load(edge.address, 4, path=lambda n: f"/k/{n % 120}") as load:
        load.wait_done(100)
        for _ in spare:
            assert box.run("cluster", "allocate", "web", "-c", edge.file).returncode == 0
        servers = ready(box, "web", 2)
        grown = owners(edge.address, 120)
        moved = [k for k in first if grown[k] != first[k]]
        assert moved and all(grown[k] in ("s0", "s1") for k in moved)
        assert len(moved) < 120 * 0.6, "about two fifths"
        load.wait_done(200)
        for server in servers:
            done = box.run("cluster", "deallocate", "web", server, "-c", edge.file)
            assert done.returncode == 0, done.stdout + done.stderr
        ready(box, "web", 0)
        assert owners(edge.address, 120) == first
        load.wait_done(200)
    load.assert_clean()
