# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every transition of the state machine, restart, and the invariants of the issue:
no server lost, none in two places, none allocated twice, files always parse, no orphans."""
import collections
import contextlib
import os
import pathlib
import signal
import sqlite3

import pytest
import yaml

from harness import http1
from harness.box import wait
from harness.faults import MANAGER_POINTS, POINTS, fault_points
from harness.load import Load
from harness.setup import Edge, Managed, Obedient, cluster, process_pool, scale, static_pool

def names():
    return fault_points() or ["no-fault-points-are-listed"]


def check_invariants(box, edge, pool):
    """What must hold once a restarted edge has settled."""
    def settled():
        servers = [*box.ledger_servers("web").values(), *box.ledger_servers("api").values()]
        return {s["state"] for s in servers} <= {"ready"}
    wait("the ledger to settle", settled, 40)
    ledger = yaml.safe_load((box.folder / "state/ledger.yaml").read_text())
    places = collections.Counter()
    for entry in (ledger.get("clusters") or {}).values():
        for server in entry.get("servers") or []:
            places[server["address"]] += 1
    if pool["provider"] == "static":
        for address in (ledger.get("pools") or {}).get("rack", {}).get("available") or []:
            places[address] += 1
        assert set(places) == set(pool["servers"]), "a server is lost"
    assert all(count == 1 for count in places.values()), f"a server in two places: {places}"
    if pool["provider"] == "process":
        wait("processes to be those of the ledger", lambda: set(box.members()) == {
            s.get("pid") for name in ("web", "api") for s in box.ledger_servers(name).values()}, 20)
        ports = [command[command.index("--port") + 1] for command in box.members().values()]
        assert len(ports) == len(set(ports)), ports
    assert box.run("check", "-c", edge.file).returncode == 0

    # One that died with the edge still reads as ready until the edge has written that it starts it.
    def all_answer():
        servers = [s for name in ("web", "api") for s in box.ledger_servers(name).values()]
        return all(s["state"] == "ready" and
                   http1.fetch(s["address"], "/direct").status == 200 for s in servers)
    wait("every server of the ledger to answer", all_answer, 40)


def requests_until_the_end(system):
    """Servers come, change their cluster and go, until the edge is dead or all is done."""
    process = system.edge.process

    def ask(operation, cluster_name):
        try:
            request = system.manager.send(operation, cluster_name)
        except OSError:
            return None
        def answered():
            system.manager.repeat(request)
            return system.manager.all("result", match=lambda s: s.get("id") == request)
        return wait("an answer, or the end", lambda: not process.alive() or answered(), 30)

    yield lambda: ask('<allocate count="2"/>', "web")
    yield lambda: ask('<allocate count="1"/>', "api")
    mover = next(iter(system.box.ledger_servers("web")), "nobody")
    yield lambda: ask(f'<move server="{mover}" to="api"/>', "web")
    yield lambda: ask(f'<move server="{mover}" to="web"/>', "api")
    for _ in range(2):  # started again, then replaced: the pool allows one restart
        yield lambda: kill_a_member(system)
    yield lambda: ask('<weight server="base" weight="50"/>', "web")
    yield lambda: ask('<deallocate count="1"/>', "api")
    yield lambda: ask('<deallocate count="1"/>', "web")


def kill_a_member(system):
    """The process of one member dies; the edge starts it again or another one in its place."""
    box, process = system.box, system.edge.process
    pids = [s.get("pid") for i, s in sorted(box.ledger_servers("web").items()) if s.get("pid")]
    if not pids:
        return
    os.kill(pids[0], signal.SIGKILL)
    wait("its replacement, or the end", lambda: not process.alive() or (
        len(box.ledger_servers("web", only="ready")) == len(pids)
        and pids[0] not in [s.get("pid") for s in box.ledger_servers("web").values()]), 30)


def survive(box, fault, kind, turn, role="edge"):
    """One life that dies at `fault`, then one that must cope. Whether the first one died there."""
    serves = role == "edge"
    spares = [box.origin(f"s{n}") for n in range(3)] if kind == "static" else []
    pool = (static_pool(*spares) if kind == "static" else
            process_pool(box, 4, restarts={"count": 1, "window": "60s"}))
    system = Obedient(box, {"web": cluster([{"address": box.origin("base").address, "id": "base"}],
                                           scale=scale("rack", min=0, max=6)),
                            "api": cluster(scale=scale("rack", min=0, max=6))},
                      routes=[{"cluster": "web"}, {"match": {"path": "/api/"}, "cluster": "api"}],
                      pools={"rack": pool}, env={"FRESHET_FAULT": f"{fault}:{turn}"}, role=role,
                      wait_for=serves)
    process = system.edge.process
    process.expected = {-signal.SIGKILL}
    for act in requests_until_the_end(system):
        act()
        if not process.alive():
            break
    died = not process.alive()
    if not died:
        process.kill9()
    system.edge.env = {}
    system.edge.start(serves)
    check_invariants(box, system.edge, pool)
    assert not serves or http1.fetch(system.edge.address).status == 200
    # It still works: everything can be given back, and all of the pool taken again.
    system.manager.wait("report", after=system.manager.mark())
    for name in ("web", "api"):
        for server in list(box.ledger_servers(name)):
            system.done(f'<deallocate server="{server}"/>', name)
    system.done(f'<allocate count="{3 if kind == "static" else 4}"/>', "web")
    check_invariants(box, system.edge, pool)
    return died


def test_fault_points_are_listed():
    assert len(fault_points()) >= 8, f"{POINTS} names {fault_points()}"
    assert len(fault_points(MANAGER_POINTS)) >= 8, f"{MANAGER_POINTS} names too few"


@pytest.mark.parametrize("fault", names())
def test_killed_at(box, fault):
    assert survive(box, fault, "process", 1), f"{fault} was never passed"


@pytest.mark.parametrize("fault", names())
def test_allocator_killed_at(box, fault):
    assert survive(box, fault, "process", 1, "allocator"), f"{fault} was never passed"


def servers_done(system, operation):
    """The servers of the requests that are done; an answer that was given twice counts once."""
    asked = {request.get("id") for request in system.tap.requests(operation)}
    done = {result.get("id"): [s.get("id") for s in result.find("server")]
            for result in system.tap.all("result")
            if result.get("status") == "done" and result.get("id") in asked}
    return [server for ids in done.values() for server in ids]


@pytest.mark.parametrize("fault", fault_points(MANAGER_POINTS))
def test_manager_killed_at(box, fault):
    """The load brings servers and its end takes them back; the manager dies on the way."""
    origins = [box.origin(name) for name in ("base", "one", "two")]
    for origin in origins:
        origin.delay = 0.04
    spares = [origin.address for origin in origins[1:]]
    web = cluster(origins[:1], limit=20, scale=scale(
        "rack", max=3, upper="20%", lower={"level": "10%", "for": "300ms"}))
    system = Managed(box, {"web": web}, pools={"rack": static_pool(*spares)},
                     manager_env={"FRESHET_FAULT": fault})
    first = system.manager
    first.expected = {-signal.SIGKILL}

    def until(what, condition):
        """The condition; a manager that dies meanwhile is started again."""
        wait(f"{what}, or the end", lambda: condition() or not system.manager.alive(), 40)
        if not system.manager.alive():
            system.start_manager()
        return wait(what, condition, 40)

    with Load(system.edge.address, 10) as load:
        until("both spares in the cluster",
              lambda: len(box.ledger_servers("web", only="ready")) == 2)
        load.wait_done(50)
    load.assert_clean()
    assert load.closed == 0
    # A little remains under way, or a server would be gone before anyone sees it drain.
    for origin in origins:
        origin.delay = 0.5
    with Load(system.edge.address, 3) as rest:
        until("both back", lambda: not box.ledger_servers("web"))
    rest.assert_clean()
    assert first is not system.manager, f"{fault} was never passed"
    assert sorted(box.ledger()["pools"]["rack"]["available"]) == sorted(spares)
    # Each request that was done brought or took servers of its own, however often it was sent.
    for operation in ("allocate", "deallocate"):
        wait(f"both to be answered: {operation}", lambda: len(servers_done(system, operation)) >= 2)
        servers = servers_done(system, operation)
        assert len(servers) == len(set(servers)), (operation, servers)
    # The tap saw the answers; the manager may still be at writing them down.
    with contextlib.closing(sqlite3.connect(box.folder / "manager-state/journal.sqlite")) as db:
        wait("every answer in the journal", lambda: not db.execute(
            "SELECT * FROM requests WHERE status = 'waiting' AND operation_name"
            " IN ('allocate', 'deallocate')").fetchall())
        system.manager.stop()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert http1.fetch(system.edge.address).status == 200


# A server that stands by has no process that could die.
@pytest.mark.parametrize("fault", [n for n in names() if "restart" not in n and "replace" not in n])
def test_killed_at_with_a_static_pool(box, fault):
    assert survive(box, fault, "static", 1), f"{fault} was never passed"


@pytest.mark.parametrize("fault", [n for n in names() if n.endswith("before-act")])
def test_killed_at_the_second_pass(box, fault):
    survive(box, fault, "process", 2)


def test_edge_killed_leaves_members_that_are_adopted(box):
    system = Obedient(box, {"web": cluster(scale=scale("local", min=0))},
                      pools={"local": process_pool(box, 3)})
    system.done('<allocate count="2"/>', "web")
    before = box.members()
    servers = box.ledger_servers("web")
    system.edge.process.kill9()
    assert set(box.members()) == set(before), "the servers go on without the edge"
    system.edge.start()
    wait("requests on the adopted ones", lambda: {
        http1.fetch(system.edge.address).get("X-Origin") for _ in range(12)} == set(servers))
    assert set(box.members()) == set(before)
    # They are ours again: one that dies is noticed and replaced.
    os.kill(next(iter(before)), signal.SIGKILL)
    wait("a new process", lambda: len(box.members()) == 2 and set(box.members()) != set(before))


def test_server_that_died_while_the_edge_was_away(box):
    system = Obedient(box, {"web": cluster(scale=scale("local", min=0))},
                      pools={"local": process_pool(box, 3)})
    system.done('<allocate count="2"/>', "web")
    system.edge.process.kill9()
    victim = next(iter(box.members()))
    os.kill(victim, signal.SIGKILL)
    wait("it to be gone", lambda: victim not in box.members())
    system.edge.start()
    wait("two processes that the ledger knows", lambda: len(box.members()) == 2 and
         {s.get("pid") for s in box.ledger_servers("web", only="ready").values()}
         == set(box.members()))


def test_orphan_that_no_ledger_knows_is_stopped(box):
    system = Obedient(box, {"web": cluster(scale=scale("local", min=0))},
                      pools={"local": process_pool(box, 3)})
    system.done('<allocate count="2"/>', "web")
    system.edge.process.kill9()
    path = pathlib.Path(box.folder / "state/ledger.yaml")
    ledger = yaml.safe_load(path.read_text())
    kept = ledger["clusters"]["web"]["servers"].pop()
    path.write_text(yaml.safe_dump(ledger))
    system.edge.start()
    wait("the orphan to be stopped", lambda: kept["pid"] not in box.members())
    assert len(box.members()) == 1


def test_pid_of_someone_else_is_left_alone(box):
    """A reused pid in the ledger is not our server: it is neither adopted nor killed."""
    system = Obedient(box, {"web": cluster(scale=scale("local", min=0))},
                      pools={"local": process_pool(box, 3)})
    system.done('<allocate count="1"/>', "web")
    system.edge.process.kill9()
    for pid in box.members():
        os.kill(pid, signal.SIGKILL)
    stranger = box.start("300", binary="sleep", name="stranger")
    path = pathlib.Path(box.folder / "state/ledger.yaml")
    ledger = yaml.safe_load(path.read_text())
    ledger["clusters"]["web"]["servers"][0]["pid"] = stranger.pid
    path.write_text(yaml.safe_dump(ledger))
    system.edge.start()
    wait("a server of ours", lambda: http1.fetch(system.edge.address).status == 200)
    assert stranger.alive()


def test_files_left_half_written_do_no_harm(box):
    edge = Edge(box, {"web": cluster([box.origin("m")])})
    edge.process.stop()
    for name in ("ledger.yaml.tmp", ".ledger.yaml.tmp", "ledger.yaml.new"):
        (box.folder / "state" / name).write_text("clusters: {")
    edge.start()
    assert http1.fetch(edge.address).status == 200
