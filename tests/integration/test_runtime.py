# SPDX-License-Identifier: Apache-2.0
"""Reconfiguration requests, sent by a manager made by hand: done, refused, repeated."""
import signal

import pytest

from harness import http1
from harness.box import hold, wait
from harness.load import Load
from harness.setup import (Edge, Obedient, cluster, origins, process_pool, ready, scale,
                           static_pool)
from harness.stream import Validator


def ids_of(result):
    return [server.get("id") for server in result.find("server")]


def static_system(box, spares=2, **more):
    servers = [box.origin(f"s{n}") for n in range(spares)]
    base_member = box.origin("base")
    system = Obedient(box, {"web": cluster([{"address": base_member.address, "id": "base"}],
                                           scale=scale("rack", min=1, max=3)),
                            "api": cluster(scale=scale("rack", min=0))},
                      routes=[{"cluster": "web"},
                              {"match": {"path": "/api/"}, "cluster": "api"}],
                      pools={"rack": static_pool(*servers)}, **more)
    return system, servers


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_allocate_and_deallocate(box, tcp):
    system, servers = static_system(box, tcp=tcp)
    assert system.manager.peer["role"] == "edge"
    result = system.done('<allocate count="2"/>', "web")
    assert {s.get("address") for s in result.find("server")} == {s.address for s in servers}
    assert set(ready(box, "web", 2)) == {s.get("id") for s in result.find("server")}
    wait("requests on all", lambda: origins(system.edge.address) == {"base", "s0", "s1"})
    named = result.find("server")[0]
    gone = system.done(f'<deallocate server="{named.get("id")}"/>', "web")
    assert [s.get("id") for s in gone.find("server")] == [named.get("id")]
    assert int(gone.get("generation")) > int(result.get("generation"))
    name = next(s.name for s in servers if s.address == named.get("address"))
    assert origins(system.edge.address) == {"base", "s0", "s1"} - {name}
    # Without a name: the least loaded that came from a pool.
    system.done('<deallocate count="1"/>', "web")
    assert origins(system.edge.address) == {"base"}
    validator = Validator()
    for stanza in system.manager.stanzas:
        assert validator.stanza_problem(stanza.root, stanza.element) is None, stanza


def test_least_loaded_is_the_one_that_goes(box):
    system, (one, two) = static_system(box)
    system.done('<allocate count="2"/>', "web")
    wait("requests on all", lambda: origins(system.edge.address) == {"base", "s0", "s1"})
    one.hold()
    clients = []

    def one_more():
        clients.append(http1.Client(system.edge.address))
        clients[-1].send(http1.head("GET", "/hang"))
        return one.in_flight >= 1
    wait("a request held by the one", one_more)
    seen = system.manager.mark()
    for _ in range(3):
        system.manager.wait("report", after=seen)
        seen = system.manager.mark()
    result = system.done('<deallocate count="1"/>', "web")
    assert [s.get("address") for s in result.find("server")] == [two.address]
    one.release()
    for client in clients:
        assert client.read_response().status == 200
        client.close()


def test_allocate_processes(box):
    system = Obedient(box, {"web": cluster(scale=scale("local", min=0), park={"length": 0})},
                      pools={"local": process_pool(box, 3)})
    result = system.done('<allocate count="2"/>', "web")
    ids = {s.get("id") for s in result.find("server")}
    assert len(ids) == 2 and len(box.members()) == 2
    wait("requests on both", lambda: origins(system.edge.address) == ids)
    for server_id in ids:
        system.done(f'<deallocate server="{server_id}"/>', "web")
    assert not box.members(), "done means the process is gone"
    assert http1.fetch(system.edge.address).status == 503


def test_allocate_a_named_server(box):
    system, servers = static_system(box)
    result = system.done(f'<allocate server="{servers[1].address}"/>', "web")
    assert [s.get("address") for s in result.find("server")] == [servers[1].address]


def test_refusals_say_why_and_change_nothing(box):
    system, servers = static_system(box)
    before = box.ledger().get("generation")
    system.refused('<allocate count="1"/>', "nowhere", "not-found")
    system.refused('<deallocate server="nobody"/>', "web", "not-found")
    system.refused('<weight server="nobody" weight="5"/>', "web", "not-found")
    system.refused('<move server="nobody" to="api"/>', "web", "not-found")
    system.refused('<remove-route name="none"/>', None, "not-found")
    system.refused('<remove-cluster name="none"/>', None, "not-found")
    system.refused('<remove-pool name="none"/>', None, "not-found")
    system.refused('<allocate server="10.9.9.9:99"/>', "web", "not-found")
    system.refused('<allocate count="3"/>', "web")          # two are there: all or nothing
    assert box.ledger_servers("web") == {}
    assert origins(system.edge.address) == {"base"}
    assert box.ledger().get("generation") == before


def test_pool_empty(box):
    system, servers = static_system(box)
    system.done('<allocate count="2"/>', "web")
    system.refused('<allocate count="1"/>', "api", "pool-empty")


def test_at_max(box):
    system, servers = static_system(box, spares=4)
    system.done('<allocate count="2"/>', "web")             # with the one of the file: max 3
    system.refused('<allocate count="1"/>', "web", "at-max")
    assert len(ready(box, "web", 2)) == 2


def test_provider_that_fails(box):
    system = Obedient(box, {"web": cluster([box.origin("base")], scale=scale("broken"))},
                      pools={"broken": {"provider": "process", "command": ["/bin/false", "{port}"],
                                        "ports": "%d-%d" % ((box.port_range(1),) * 2),
                                        "start-timeout": "2s", "restarts": 0}})
    result = system.refused('<allocate count="1"/>', "web", timeout=30)
    assert result.get("code") in ("provider", "timeout"), result
    assert box.ledger_servers("web") == {}
    assert http1.fetch(system.edge.address).status == 200


def test_server_that_never_gets_healthy(box):
    box.control(healthy=False)
    system = Obedient(box, {"web": cluster([box.origin("base")], scale=scale("local"))},
                      pools={"local": process_pool(box, 1, **{"start-timeout": "500ms"})})
    system.refused('<allocate count="1"/>', "web", timeout=30)
    assert box.ledger_servers("web") == {}
    wait("its process to be gone", lambda: not box.members())
    assert origins(system.edge.address) == {"base"}


def test_repeated_ids_are_answered_not_redone(box):
    system, servers = static_system(box)
    request_id = system.manager.next_id()
    first = system.done('<allocate count="1"/>', "web", request_id=request_id)
    again = system.done('<allocate count="1"/>', "web", request_id=request_id)
    assert ids_of(again) == ids_of(first)
    assert len(ready(box, "web", 1)) == 1
    # Also over a new connection.
    before = system.manager.connections
    system.manager.drop()
    wait("it to connect again", lambda: system.manager.connections > before)
    system.manager.wait("report", after=system.manager.mark())
    third = system.done('<allocate count="1"/>', "web", request_id=request_id)
    assert ids_of(third) == ids_of(first)
    assert len(ready(box, "web", 1)) == 1


@pytest.mark.parametrize("kind", ["static", "process"])
def test_repeated_allocate_is_not_redone_after_a_crash(box, kind):
    """Carried out, but the result was lost with the edge: the ledger knows the request."""
    spares = [box.origin(f"s{n}") for n in range(3)] if kind == "static" else []
    pool = static_pool(*spares) if kind == "static" else process_pool(box, 4)
    system = Obedient(box, {"web": cluster([{"address": box.origin("base").address, "id": "base"}],
                                           scale=scale("rack", min=0, max=6))},
                      pools={"rack": pool})
    request_id = system.manager.next_id()
    first = system.done('<allocate count="2"/>', "web", request_id=request_id)
    assert {s.get("request") for s in ready(box, "web", 2).values()} == {request_id}
    system.edge.process.kill9()
    after = system.manager.mark()
    system.edge.start()
    system.manager.wait("report", after=after)
    again = system.done('<allocate count="2"/>', "web", request_id=request_id)
    assert sorted(ids_of(again)) == sorted(ids_of(first))
    assert len(ready(box, "web", 2)) == 2
    assert ids_of(system.done('<allocate count="1"/>', "web")) not in ids_of(first)


@pytest.mark.parametrize("fault", ["allocator-start-after-act", "allocator-check-before-act",
                                   "allocator-join-before-act", "allocator-join-after-act"])
def test_allocate_that_a_crash_cut_short_is_finished_once(box, fault):
    system = Obedient(box, {"web": cluster([{"address": box.origin("base").address, "id": "base"}],
                                           scale=scale("rack", min=0, max=6))},
                      pools={"rack": process_pool(box, 4)}, env={"FRESHET_FAULT": fault})
    process = system.edge.process
    process.expected = {-signal.SIGKILL}
    request_id = system.manager.send('<allocate count="2"/>', "web")
    wait("the edge to die", lambda: not process.alive())
    system.edge.env = {}
    after = system.manager.mark()
    system.edge.start()
    system.manager.wait("report", after=after)
    result = system.done('<allocate count="2"/>', "web", request_id=request_id)
    assert sorted(ids_of(result)) == sorted(ready(box, "web", 2))
    wait("two processes, no more", lambda: len(box.members()) == 2)


def test_deallocate_that_a_crash_cut_short_is_answered_when_it_is_done(box):
    system, servers = static_system(box, role="allocator", wait_for=False)
    system.manager.releasing = False
    (server,) = system.done('<allocate count="1"/>', "web").find("server")
    name = server.get("id")
    system.manager.send(f'<deallocate server="{name}"/>', "web")
    wait("it to drain", lambda: box.ledger_servers("web", only="draining"))
    system.edge.process.kill9()
    after = system.manager.mark()
    system.edge.start(wait_for=False)
    system.manager.wait("report", after=after)
    again = system.manager.send(f'<deallocate server="{name}"/>', "web")
    hold("no answer while it is not released", lambda: not system.manager.all(
        "result", match=lambda s: s.get("id") == again), 0.5)
    system.manager.releasing = True
    assert system.manager.wait_result(again).get("status") == "done"
    assert box.ledger_servers("web") == {}


def test_leave_asked_twice_waits_twice_for_the_last_request(box):
    """Another manager asks again under another id: "done" before its end would stop the server."""
    held = box.origin("held")
    system = Obedient(box, {"web": cluster([box.origin("base")])})
    system.done(f'<join server="far" address="{held.address}" pool="rack"/>', "web")
    held.hold()
    with Load(system.edge.address, 8) as load:
        wait("requests on it", lambda: held.in_flight > 0)
        first = system.manager.send('<leave server="far"/>', "web")
        second = system.manager.send('<leave server="far"/>', "web")
        hold("neither answered", lambda: not system.manager.all(
            "result", match=lambda s: s.get("id") in (first, second)), 0.5)
        held.release()
        for request_id in (first, second):
            assert system.manager.wait_result(request_id).get("status") == "done"
    load.assert_clean()


def test_requests_of_an_older_epoch_are_not_obeyed(box):
    system, servers = static_system(box)
    system.done('<allocate count="1"/>', "web")
    result = system.ask('<allocate count="1"/>', "web", request_id="3:1")
    assert result.get("status") == "refused"
    assert len(ready(box, "web", 1)) == 1


def test_stopping_while_a_request_waits(box):
    """The request ends with the edge, which ends well."""
    system, servers = static_system(box)
    for server in servers:
        server.healthy = False
    system.manager.send('<allocate count="1"/>', "web")
    wait("the server to be tried", lambda: box.ledger_servers("web"))
    assert system.edge.process.stop() == 0


def test_weight(box):
    # One worker sees every request under way; of several, each weighs only its own few.
    system, servers = static_system(box, workers=1)
    (server,) = system.done('<allocate count="1"/>', "web").find("server")
    name = server.get("id")
    address = system.edge.address
    system.done(f'<weight server="{name}" weight="0"/>', "web")
    assert origins(address) == {"base"}
    assert box.ledger_servers("web")[name]["weight"] == 0
    system.done(f'<weight server="{name}" weight="300"/>', "web")
    with Load(address, 4) as load:
        load.wait_done(400)
    load.assert_clean()
    assert 0.55 < load.share("s0") + load.share("s1") < 0.95, load.seen
    # Of a member of the file too; it survives a restart.
    system.done('<weight server="base" weight="0"/>', "web")
    wait("no request on it", lambda: "base" not in origins(address))
    system.edge.process.stop()
    system.edge.start()
    wait("the other one", lambda: origins(address) & {"s0", "s1"})
    assert "base" not in origins(address)


def test_move_under_load_fails_nothing(box):
    system, servers = static_system(box)
    (server,) = system.done('<allocate count="1"/>', "web").find("server")
    name = server.get("id")
    with Load(system.edge.address, 4) as load:
        for turn in range(6):
            source, target = (("web", "api"), ("api", "web"))[turn % 2]
            system.done(f'<move server="{name}" to="{target}"/>', source)
            load.wait_done(20)
            assert name in box.ledger_servers(target, only="ready")
            assert name not in box.ledger_servers(source)
    load.assert_clean()
    assert load.closed == 0


def test_routes_come_and_go(box):
    system, servers = static_system(box)
    system.done('<allocate count="1"/>', "api")
    address = system.edge.address
    system.done('<route name="new" cluster="api"><match path="/new/"/></route>')
    assert origins(address, "/new/x") <= {"s0", "s1"}
    system.done('<route name="new" cluster="web"><match path="/newer/"/></route>')  # replaced
    assert origins(address, "/new/x") == {"base"} and origins(address, "/newer/x") == {"base"}
    system.edge.process.stop()
    system.edge.start()
    assert "/newer/" in str(box.ledger()["routes"])
    system.manager.wait("report", after=system.manager.mark())
    system.done('<remove-route name="new"/>')
    assert not box.ledger().get("routes")
    system.refused('<route name="bad" cluster="nowhere"><match path="/z/"/></route>')
    system.refused('<route name="bad" cluster="web" colour="red"/>')


def test_clusters_and_pools_come_and_go(box):
    system, servers = static_system(box)
    late = box.origin("late")
    system.done(f'<pool name="fresh" provider="static"><servers><item>{late.address}</item>'
                "</servers></pool>")
    system.done('<cluster name="young" limit="10" slow-start="0">'
                '<scale from="fresh" min="0" max="2"/><park length="0"/>'
                '<health path="/healthz" starting-interval="20ms"/></cluster>')
    system.done('<route name="young" cluster="young"><match path="/young/"/></route>')
    address = system.edge.address
    assert http1.fetch(address, "/young/").status == 503
    system.done('<allocate count="1"/>', "young")
    assert origins(address, "/young/x") == {"late"}
    # A restart keeps what was introduced at run time.
    system.edge.process.stop()
    system.edge.start()
    wait("the young cluster again", lambda: origins(address, "/young/x") == {"late"})
    system.manager.wait("report", after=system.manager.mark())
    # What is in use is not removed.
    system.refused('<remove-cluster name="young"/>')
    system.refused('<remove-pool name="fresh"/>')
    system.done('<deallocate count="1"/>', "young")
    system.done('<remove-route name="young"/>')
    system.done('<remove-cluster name="young"/>')
    system.done('<remove-pool name="fresh"/>')
    assert origins(address, "/young/x") == {"base"}
    system.refused('<allocate count="1"/>', "young", "not-found")


def test_more_clusters_over_time_than_slots(box):
    """Reloads that exchange clusters: none is the last, and counters begin anew."""
    member = box.origin("m")
    web = cluster([member], health=None)
    edge = Edge(box, {"web": web})
    for turn in range(6):
        edge.settings["clusters"] = {
            "web": web, **{f"c{turn}-{i}": cluster([member], health=None) for i in range(900)}}
        edge.settings["routes"] = [{"match": {"path": "/new/"}, "cluster": f"c{turn}-7"},
                                   {"cluster": "web"}]
        edge.write()
        edge.process.signal(signal.SIGHUP)
        wait("the new file", lambda: sum(
            e["event"] == "configuration re-read" for e in edge.process.events()) > turn)
        assert http1.fetch(edge.address, "/new/x").status == 200
        assert http1.fetch(edge.address).status == 200


def test_removed_routes_leave_nothing_behind(box):
    """A manager that introduces routes and takes them back makes the ledger no longer for good."""
    system, servers = static_system(box)
    for turn in range(3):
        system.done(f'<route name="r{turn}" cluster="web"><match path="/r{turn}/"/></route>')
        system.done(f'<remove-route name="r{turn}"/>')
    assert not box.ledger().get("removed"), box.ledger()


def test_settings_that_are_wrong_are_refused(box):
    system, servers = static_system(box)
    for operation in ('<cluster name="x" drain="5"/>', '<cluster name="x" nonsense="1"/>',
                      '<cluster name="x"><scale from="nowhere"/></cluster>',
                      '<pool name="x" provider="magic"/>', '<pool name="x"/>',
                      '<route name="x"/>'):
        result = system.refused(operation)
        assert len(result.get("reason")) > 10
    assert not box.ledger().get("new-clusters") and not box.ledger().get("new-pools")


def test_deallocating_waits_for_requests_under_way(box):
    """No new requests, then 0 in flight, then done."""
    system, (one, two) = static_system(box)
    system.done(f'<allocate server="{one.address}"/>', "web")
    wait("requests on it", lambda: "s0" in origins(system.edge.address))
    one.hold()
    clients = []
    while not one.count("/hang"):
        client = http1.Client(system.edge.address)
        client.send(http1.head("GET", "/hang"))
        clients.append(client)
        hold("a moment", lambda: True, 0.02)
    (name,) = ready(box, "web", 1)
    request_id = system.manager.send(f'<deallocate server="{name}"/>', "web")
    wait("it to be draining", lambda: box.ledger_servers("web").get(name, {}).get("state")
         == "draining")
    hold("no result while a request is under way", lambda: not system.manager.all(
        "result", match=lambda s: s.get("id") == request_id), 0.5)
    count = one.count()
    assert origins(system.edge.address) == {"base"} and one.count() == count
    one.release()
    assert system.manager.wait_result(request_id).get("status") == "done"
    for client in clients:
        assert client.read_response().status == 200
        client.close()


def test_drain_deadline(box):
    one, base_member = box.origin("one"), box.origin("base")
    system = Obedient(box, {"web": cluster([base_member], scale=scale("rack"), drain="500ms")},
                      pools={"rack": static_pool(one)})
    system.done('<allocate count="1"/>', "web")
    wait("requests on it", lambda: "one" in origins(system.edge.address))
    one.hold()
    clients = []
    while one.in_flight == 0:
        clients.append(http1.Client(system.edge.address))
        clients[-1].send(http1.head("GET", "/hang"))
        hold("a moment", lambda: True, 0.02)
    system.done('<deallocate count="1"/>', "web")
    assert box.ledger_servers("web") == {}


def test_dead_process_is_started_again(box):
    import os

    system = Obedient(box, {"web": cluster(scale=scale("local", min=0))},
                      pools={"local": process_pool(box, 3)})
    system.done('<allocate count="2"/>', "web")
    first = dict(box.members())
    victim = next(iter(first))
    with Load(system.edge.address, 2) as load:
        load.wait_done(20)
        os.kill(victim, signal.SIGKILL)
        wait("another process", lambda: len(box.members()) == 2 and victim not in box.members())
        wait("two ready servers", lambda: len(box.ledger_servers("web", only="ready")) == 2)
        wait("their pids in the ledger", lambda: {
            s.get("pid") for s in box.ledger_servers("web").values()} == set(box.members()))
        load.wait_done(50)
    # What was under way on the killed process may have failed, nothing after it.
    assert len(load.failed) <= 2, load.failed


def test_reports_show_every_member_and_pool(box):
    system, servers = static_system(box)
    system.done('<allocate count="1"/>', "web")
    for _ in range(20):
        assert http1.fetch(system.edge.address).status == 200

    def complete(stanza):
        rows = stanza.find("cluster/server")
        return sum(int(r.get("requests") or 0) for r in rows if r.get("state") == "ready") >= 20
    report = system.manager.wait("report", complete)
    names = {c.get("name"): c for c in report.find("cluster")}
    assert set(names) == {"web", "api"} and names["web"].get("responsible") == "true"
    pool = next(p for p in report.find("pool") if p.get("name") == "rack")
    assert (pool.get("available"), pool.get("allocated")) == ("1", "1")
    # Latencies are those of one interval: the requests may have been in an earlier one's.
    rows = [row for report in system.manager.all("report") for row in report.find("cluster/server")]
    measured = [row for row in rows if float(row.get("p50-ms") or 0) > 0]
    assert measured
    for row in measured:
        assert float(row.get("p99-ms")) >= float(row.get("p50-ms"))
