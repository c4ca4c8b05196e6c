# SPDX-License-Identifier: Apache-2.0
"""Every row of the mission, driven from outside: real processes, real sockets, real HTTP.

The words are the design's: a member at its upper level makes the manager ask the responsible server
(an edge, or an allocator) for another one; under-utilized, for one less.
"""
import time

import pytest

from harness import http1
from harness.box import hold, wait
from harness.host import Host
from harness.load import Load
from harness.origin import Answer
from harness.setup import (Edge, Managed, Obedient, base, cluster, process_pool, ready, scale,
                           serves, static_pool)
from harness.stream import Tap, local


def managed_pair(box, **more):
    """One member and one server that stands by; limit 4 requests in flight."""
    member, spare = box.origin("member"), box.origin("spare")
    member.delay = spare.delay = 0.05
    system = Managed(box, {"web": cluster([member], limit=4, scale=scale("rack"))},
                     pools={"rack": static_pool(spare)}, **more)
    return system, member, spare


def utilization(report, server_id=None, address=None):
    """What a report says of a member; None when it does not show it."""
    for server in report.find("cluster/server"):
        if server.get("id") == server_id or (address and server.get("address") == address):
            return float(server.get("utilization") or "nan")
    return None


def push(system, threads=6):
    """A load of so many requests at once that one member is beyond its limit of 4."""
    return Load(system.edge.address, threads)


def test_c22_upper_level_allocates(box):
    system, member, spare = managed_pair(box)
    # At rest the data flows but nothing is asked for.
    before = system.tap.mark()
    wait("three further reports", lambda: len(system.tap.all("report")) >= before + 3)
    assert not system.tap.requests("allocate")
    assert spare.count() == 0

    with push(system) as load:
        request = system.tap.wait_request("allocate")
        result = system.tap.wait_result(request.get("id"))
        wait("requests on the new member", lambda: spare.count() > 5)
        load.wait_done(50)
    load.assert_clean()

    # The manager knew it from a report that shows the member at its level, sent before the request.
    crossed = [r for r in system.tap.all("report") if r.at <= request.at
               and (utilization(r, address=member.address) or 0) >= 0.8]
    assert crossed, "no report before the request shows the member at its upper level"
    assert request.sender == "manager" and request.get("cluster") == "web"
    # The responsible server found the other one and its connection information by itself.
    assert spare.address not in request.text()
    assert result.sender == "client" and result.get("status") == "done"
    assert [s.get("address") for s in result.find("server")] == [spare.address]
    assert spare.first_at > request.at


def test_c23_ledger_lists_allocated(box):
    system, member, spare = managed_pair(box)
    assert box.ledger_servers("web") == {}
    with push(system) as load:
        result = system.tap.wait_result(system.tap.wait_request("allocate").get("id"))
        assert result.get("status") == "done"
        servers = ready(box, "web", 1)
    load.assert_clean()
    (server_id, server), = servers.items()
    assert server["address"] == spare.address
    assert server["pool"] == "rack"
    assert [s.get("id") for s in result.find("server")] == [server_id]
    assert box.ledger()["generation"] >= int(result.get("generation"))


def allocate_one(system, box):
    """The ledger as it is then: read under load, without which nobody keeps the server long."""
    with push(system) as load:
        system.tap.wait_result(system.tap.wait_request("allocate").get("id"))
        ready(box, "web", 1)
        held = box.ledger()
    load.assert_clean()
    return held


def test_c24_under_utilized_deallocates(box):
    system, member, spare = managed_pair(box)
    allocate_one(system, box)
    # A light load: far under the lower level, and never interrupted.
    member.delay = spare.delay = 0.0
    with Load(system.edge.address, 1, pause=0.02) as load:
        request = system.tap.wait_request("deallocate")
        result = system.tap.wait_result(request.get("id"))
        assert result.get("status") == "done", result
        served = spare.count()
        load.wait_done(30)
        assert spare.count() == served, "the deallocated server still gets requests"
    load.assert_clean()
    assert request.sender == "manager" and request.get("cluster") == "web"
    seen = [utilization(r, address=member.address) for r in system.tap.all("report")
            if r.at <= request.at][-1]
    assert seen is not None and seen < 0.3
    # Only the one from the pool goes: the member of the configuration stays, whatever the load.
    hold("one request to deallocate", lambda: len(system.tap.requests("deallocate")) == 1, 1.0)
    assert http1.fetch(system.edge.address).get("X-Origin") == "member"


def test_c25_ledger_drops_deallocated(box):
    system, member, spare = managed_pair(box)
    held = allocate_one(system, box)
    assert spare.address not in str(held["pools"]["rack"]["available"])
    system.tap.wait_result(system.tap.wait_request("deallocate").get("id"))
    ready(box, "web", 0)
    assert spare.address in box.ledger()["pools"]["rack"]["available"]
    assert box.ledger()["generation"] > held["generation"]


class Separate:
    """Member, agent, manager and allocator: four processes, each at an address of its own."""

    def __init__(self, box):
        self.box = box
        self.member = box.origin("member")
        self.spares = [box.origin(f"spare-{n}", address=(f"127.0.0.{n + 3}", 0)) for n in range(2)]
        self.host = Host(box)
        self.manager_address = f"127.0.0.2:{box.port()}"
        self.tap_address = f"127.0.0.1:{box.port()}"
        # Without a data plane nothing measures requests: the host's CPU alone counts.
        clusters = {"web": cluster([self.member], scale=scale(
            "rack", max=2, upper="90%", lower={"level": "45%", "for": "200ms"}))}
        pools = {"rack": static_pool(*self.spares)}
        box.config(base(None, clusters, pools, state="./manager-state",
                        manager={"listen": self.manager_address}), "manager.yaml")
        self.manager = box.start("manager", "-c", "manager.yaml", name="manager")
        box.serving(self.manager_address, self.manager)
        self.tap = Tap(self.tap_address, self.manager_address)
        box.closers.append(self.tap.close)
        box.config(base(None, clusters, pools, state="./allocator-state",
                        manager={"connect": self.tap_address}), "allocator.yaml")
        self.allocator = box.start("allocator", "-c", "allocator.yaml", name="allocator")
        self.agents = []
        self.agent(self.member, "agent-member")
        self.tap.wait("report", lambda r: r.root.get("role") == "allocator")
        self.tap.wait("report", lambda r: r.root.get("role") == "agent")

    def agent(self, origin, name):
        self.box.config({"id": name, "state": f"./{name}-state",
                         "manager": {"connect": self.tap_address},
                         "agent": {"address": origin.address, "interval": "100ms"}}, f"{name}.yaml")
        self.agents.append(self.box.start("agent", "-c", f"{name}.yaml", name=name,
                                          prefix=self.host.prefix))

    def allocate(self):
        self.host.set(1.0)
        request = self.tap.wait_request("allocate", timeout=40)
        result = self.tap.wait_result(request.get("id"))
        assert result.get("status") == "done", result
        self.host.set(0.05)
        return request, result


def test_c26_separate_roles(box):
    system = Separate(box)
    hold("nothing is allocated while the host is idle",
         lambda: not system.host.fake or not system.tap.requests("allocate"), 0.5)
    request, result = system.allocate()
    # The data came from the agent, the request went to the allocator, which named the server.
    assert request.root.get("role") == "manager"
    assert result.root.get("role") == "allocator"
    (server,) = result.find("server")
    assert server.get("address") in {spare.address for spare in system.spares}
    listed = ready(box, "web", 1, "allocator-state")
    assert [s["address"] for s in listed.values()] == [server.get("address")]
    # There is no data plane: nobody but health checks talked to any of them.
    assert all(o.count() == 0 for o in [system.member, *system.spares])
    assert not system.tap.errors


def test_c27_separate_roles_deallocate(box):
    system = Separate(box)
    _, result = system.allocate()
    (server,) = result.find("server")
    allocated = next(o for o in system.spares if o.address == server.get("address"))
    # Its host gets an agent too, so that nobody has to guess how it does.
    system.agent(allocated, "agent-spare")
    request = system.tap.wait_request("deallocate", timeout=60)
    result = system.tap.wait_result(request.get("id"))
    assert result.root.get("role") == "allocator" and result.get("status") == "done", result
    ready(box, "web", 0, "allocator-state")
    assert allocated.address in box.ledger("allocator-state")["pools"]["rack"]["available"]


def test_c28_member_relieved(box):
    busy, idle = box.origin("busy"), box.origin("idle")
    idle.utilization = busy.utilization = 0.2
    system = Managed(box, {"web": cluster(
        [{"address": busy.address, "id": "busy"}, {"address": idle.address, "id": "idle"}],
        scale={"min": 1, "max": 2, "upper": "80%", "relief": ["weight"],
               "lower": {"level": "30%", "for": "300ms"}, "cooldown": "200ms"})})
    with Load(system.edge.address, 4, pause=0.005) as load:
        load.wait_done(200)
        assert 0.3 < load.share("busy") < 0.7
        assert not system.tap.requests("weight"), "nothing is at its level yet"
        busy.utilization = 0.95
        request = system.tap.wait_request(
            "weight", match=lambda s: s.child().get("server") == "busy")
        assert system.tap.wait_result(request.get("id")).get("status") == "done"
        assert int(request.child().get("weight")) < 100
        load.reset()
        load.wait_done(300)
        relieved = load.share("busy")
        assert relieved < 0.45, f"its share of the traffic is still {relieved:.2f}"
        # It cools down, and gets its weight back.
        busy.utilization = 0.1
        mark = system.tap.mark()
        system.tap.wait_request("weight", after=mark, match=lambda s: (
            s.child().get("server") == "busy" and s.child().get("weight") == "100"), timeout=40)
        load.reset()
        load.wait_done(300)
        assert load.share("busy") > relieved
    load.assert_clean()
    assert any(utilization(r, "busy") is not None and utilization(r, "busy") >= 0.8
               for r in system.tap.all("report") if r.at <= request.at)


@pytest.mark.alone  # its level is a share of a core
def test_c28_edge_relieved(box):
    """The edge at its own level: it serves stale, hands a route over, sheds what matters least."""
    own, other = box.origin("own"), box.origin("other")

    def answer(request):
        fields = [("Cache-Control", "max-age=1")] if request.path.startswith("/cached") else []
        return Answer(200, f"own {request.path}\n", fields)
    own.answer = answer
    system = Managed(
        box, {"web": cluster([own]), "away": cluster([other])},
        routes=[{"name": "low", "match": {"path": "/low"}, "cluster": "web", "priority": "low"},
                {"name": "movable", "match": {"path": "/movable"}, "cluster": "web",
                 "handover": "away"},
                {"name": "rest", "cluster": "web", "stale": "1h"}],
        cache={"memory": "16MiB"},
        edge={"relief": {"upper": {"level": "4%", "for": "100ms"},
                         "lower": {"level": "3%", "for": "300ms"},
                         "steps": ["stale", "handover", "shed"]}})
    address = system.edge.address

    def origin_of(path):
        return http1.fetch(address, path).get("X-Origin")
    # At rest: everything is served, by its own cluster, and what is stale is fetched anew.
    assert http1.fetch(address, "/low").status == 200
    assert origin_of("/movable") == "own"
    assert http1.fetch(address, "/cached").status == 200
    wait("the stored response to be stale", lambda: http1.fetch(address, "/cached") and
         own.count("/cached") >= 2, 10)

    with Load(address, 6, path="/load") as load:
        step = {}
        for number in (1, 2, 3):
            step[number] = system.tap.wait_request("relieve", match=lambda s, n=number: (
                s.child().get("step") == str(n)))
            assert system.tap.wait_result(step[number].get("id")).get("status") == "done"
        before = step[1]
        served = own.count("/cached")
        time.sleep(1.2)  # the stored response's max-age: now only relief may serve it
        stale = http1.fetch(address, "/cached")
        assert stale.status == 200 and stale.text == "own /cached\n"
        assert int(stale.get("Age")) >= 1 and own.count("/cached") == served
        assert stale.get("Cache-Status").endswith("; detail=relief")
        assert origin_of("/movable") == "other"
        mark = system.tap.mark()
        shed = http1.fetch(address, "/low")
        assert shed.status == 503 and shed.get("Retry-After")
    load.assert_clean()

    # The edge itself said that it was at its level, before the manager told it to relieve itself.
    def own_level(report):
        server = next((s for s in report.element if local(s) == "server"), None)
        return float(server.get("utilization") or 0) if server is not None else 0
    assert any(own_level(r) >= 0.04 for r in system.tap.all("report") if r.at <= before.at)
    # The load is gone: it takes the steps back, one by one.
    system.tap.wait_request("relieve", after=mark, timeout=30,
                            match=lambda s: s.child().get("step") == "0")
    wait("the routes to be as before", lambda: origin_of("/movable") == "own" and
         http1.fetch(address, "/low").status == 200)


def test_c29_handle_or_forward(box):
    one, two, other = box.origin("one"), box.origin("two"), box.origin("other")
    for origin in (one, two, other):
        origin.answer = lambda request, o=origin: Answer(
            200, f"{o.name} {request.path}\n",
            [("Cache-Control", "max-age=60" if request.path == "/keep" else "no-store")])
    edge = Edge(box, {"web": cluster([one, two]), "api": cluster([other])},
                cache={"memory": "8MiB"},
                routes=[{"cluster": "web"}, {"match": {"path": "/api/"}, "cluster": "api"}])

    def fetch(path):
        return http1.fetch(edge.address, path)
    # It has the data: it answers itself. It has not: it forwards to one that serves this type.
    kept = fetch("/keep").text
    assert kept in ("one /keep\n", "two /keep\n")
    for _ in range(3):
        assert fetch("/keep").text == kept
        assert fetch("/plain").get("X-Origin") in ("one", "two")
        assert fetch("/api/x").text == "other /api/x\n"
    assert one.count("/keep") + two.count("/keep") == 1
    assert one.count("/plain") + two.count("/plain") == 3 and other.count("/api/x") == 3
    assert one.count("/api/x") + two.count("/api/x") + other.count("/plain") == 0
    # A member that is not available is not asked: another one of its type is.
    one.healthy = False
    wait("the edge to see it", lambda: {fetch("/plain").get("X-Origin") for _ in range(12)}
         == {"two"})
    asked = one.count()
    for _ in range(12):
        assert fetch("/plain").text == "two /plain\n"
    assert one.count() == asked
    assert fetch("/keep").text == kept and fetch("/api/x").status == 200


def test_c30_request_types_updated(box):
    """The configuration file lists who serves which type of request, and follows every change."""
    one, two = box.origin("one"), box.origin("two")
    system = Obedient(box, {"web": cluster(scale=scale("rack", min=0), park={"length": 0}),
                            "api": cluster(scale=scale("rack", min=0))},
                      routes=[{"cluster": "web"},
                              {"match": {"host": "test.example", "path": "/api/"},
                               "cluster": "api"}],
                      pools={"rack": static_pool(one, two)})
    system.done('<allocate count="1"/>', "web")
    system.done('<allocate count="1"/>', "api")
    (mover, entry), = ready(box, "web", 1).items()
    ready(box, "api", 1)
    by_address = {o.address: o.name for o in (one, two)}
    name = by_address[entry["address"]]
    other = "two" if name == "one" else "one"
    clusters = box.ledger()["clusters"]
    assert "test.example/api/" in str(clusters["api"]["serves"])
    assert "/api/" not in str(clusters["web"]["serves"])
    assert http1.fetch(system.edge.address, "/x").get("X-Origin") == name
    assert http1.fetch(system.edge.address, "/api/x").get("X-Origin") == other

    def origins(path):
        return {http1.fetch(system.edge.address, path).get("X-Origin") for _ in range(16)}
    # From one type to the other …
    system.done(f'<move server="{mover}" to="api"/>', "web")
    assert set(box.ledger_servers("api", only="ready")) > {mover}
    assert mover not in box.ledger_servers("web")
    assert origins("/api/x") == {"one", "two"}
    assert http1.fetch(system.edge.address, "/x").status == 503
    # … and back.
    system.done(f'<move server="{mover}" to="web"/>', "api")
    assert set(box.ledger_servers("web", only="ready")) == {mover}
    assert mover not in box.ledger_servers("api")
    assert origins("/x") == {name} and origins("/api/x") == {other}
    # A new type of request is served by the same servers, and the file says so.
    system.done('<route name="extra" cluster="web"><match path="/extra/"/></route>')
    assert "/extra/" in str(box.ledger()["clusters"]["web"]["serves"])


def test_c31_edge_allocates(box):
    """`freshet run`: the edge starts a server of its own pool, and sends requests to it."""
    box.control(latency_ms=50)
    edge = Edge(box, {"web": cluster(limit=4, scale=scale("local"))},
                pools={"local": process_pool(box)}, role="run")
    first = ready(box, "web", 1)
    assert len(box.members()) == 1
    serves(edge.address)
    with Load(edge.address, 6) as load:
        wait("a second server in the ledger",
             lambda: len(box.ledger_servers("web", only="ready")) >= 2)
        servers = box.ledger_servers("web", only="ready")
        new = next(s for i, s in servers.items() if i not in first)
        wait("requests on the new server", lambda: load.seen[new["id"]] > 5)
        # The connection information in the file is the server's own: it answers there.
        assert http1.fetch(new["address"], "/direct").get("X-Origin") == new["id"]
        assert new["pid"] in box.members()
    load.assert_clean()
    assert load.seen[next(iter(first))] > 0


def test_c32_edge_deallocates(box):
    box.control(latency_ms=50)
    edge = Edge(box, {"web": cluster(limit=4, scale=scale("local"))},
                pools={"local": process_pool(box)}, role="run")
    ready(box, "web", 1)
    serves(edge.address)
    with Load(edge.address, 6) as load:
        wait("a second server", lambda: len(box.ledger_servers("web", only="ready")) >= 2)
    load.assert_clean()
    box.control(latency_ms=1)
    with Load(edge.address, 1, pause=0.02) as load:
        ready(box, "web", 1)
        wait("one process", lambda: len(box.members()) == 1)
        load.wait_done(20)
    load.assert_clean()
    left = box.ledger_servers("web")
    assert {s["pid"] for s in left.values()} == set(box.members())
    hold("the minimum stays", lambda: len(box.members()) == 1, 1.0)


def test_c33_reallocated_from_pool(box):
    system, member, spare = managed_pair(box)
    for turn in range(2):
        mark = system.tap.mark()
        member.delay = spare.delay = 0.05
        with push(system) as load:
            request = system.tap.wait_request("allocate", after=mark)
            result = system.tap.wait_result(request.get("id"))
            assert [s.get("address") for s in result.find("server")] == [spare.address], turn
            served = spare.count()
            wait("requests on it", lambda: spare.count() > served + 5)
        load.assert_clean()
        back = system.tap.wait_request("deallocate", after=mark)
        assert system.tap.wait_result(back.get("id")).get("status") == "done"
        assert box.ledger()["pools"]["rack"]["available"] == [spare.address]


def test_c34_xml_streams(box):
    """Over a Unix socket: every stanza of a whole cycle is valid by the schema."""
    check_xml_cycle(box, tcp=False)


def test_c34_xml_streams_tcp(box):
    """The same over TCP."""
    check_xml_cycle(box, tcp=True)


def check_xml_cycle(box, tcp):
    system, member, spare = managed_pair(box, tcp=tcp)
    allocate_one(system, box)
    back = system.tap.wait_request("deallocate")
    system.tap.wait_result(back.get("id"))
    system.edge.process.stop()
    wait("both to have said goodbye", lambda: not system.edge.process.alive())
    tap = system.tap
    for name, sender in (("report", "client"), ("reconfigure", "manager"), ("result", "client")):
        assert tap.all(name, sender), f"no <{name}> from the {sender}"
        assert not tap.all(name, "manager" if sender == "client" else "client")
    tap.assert_valid()
    roles = {sender: attributes["role"] for sender, attributes in tap.roots}
    assert roles == {"client": "edge", "manager": "manager"}
    # Both sides measured by the edge are in the reports, with numbers that grow.
    last = [r for r in tap.all("report") if r.get("full") != "false"][-1]
    own = next(s for s in last.element if local(s) == "server")
    assert own.get("role") == "edge" and int(own.get("requests")) > 0
    requests = [int(s.get("requests")) for r in tap.all("report") for s in r.find("cluster/server")
                if s.get("address") == member.address]
    assert requests == sorted(requests) and requests[-1] > 0
    # A report sequence without gaps, and requests whose ids say epoch and sequence.
    assert all(":" in s.get("id") for s in tap.all("reconfigure"))


def test_c35_served_from_cache(box):
    member = box.origin("member", answer=lambda request: Answer(
        200, "x" * 5000, [("Cache-Control", "max-age=60"), ("ETag", '"v1"')]))
    edge = Edge(box, {"web": cluster([member])}, cache={"memory": "8MiB"})
    first = http1.fetch(edge.address, "/page")
    assert first.status == 200 and first.body == b"x" * 5000
    wait("a second answer from the cache", lambda: http1.fetch(edge.address, "/page").get("Age"))
    asked = member.count("/page")
    for _ in range(5):
        again = http1.fetch(edge.address, "/page")
        assert again.status == 200 and again.body == first.body and again.get("Age") is not None
        assert again.get("ETag") == '"v1"'
    assert member.count("/page") == asked
    # The members are gone: what is in the cache is still served, and only that.
    member.stop()
    assert http1.fetch(edge.address, "/page").body == first.body
    assert http1.fetch(edge.address, "/never-seen").status in (502, 503)
