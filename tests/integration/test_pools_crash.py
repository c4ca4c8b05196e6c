# SPDX-License-Identifier: Apache-2.0
"""kill -9 of manager, allocator and edge while a server is taken from one cluster for another,
while one pool follows another, and while a cluster wakes: no server lost, none in two places,
and no failed request where the data plane lived on."""
import contextlib
import signal
import sqlite3

import pytest

from harness import http1
from harness.box import wait
from harness.faults import MANAGER_POINTS, fault_points
from harness.load import Asker, Load
from harness.pools import RIVAL_ROUTES, places, rival_settings
from harness.setup import (Edge, Managed, Obedient, base, cluster, process_pool, ready, scale,
                           static_pool)

OPERATIONS = ("allocate", "deallocate")
MANAGER = [name for name in fault_points(MANAGER_POINTS)
           if name.split("-")[1] in OPERATIONS]
ALLOCATOR = [name for name in fault_points() if name.endswith("before-act") or
             name.endswith("before-write")]
ALLOCATOR = [name for name in ALLOCATOR if name.split("-")[1] in
             ("start", "check", "join", "leave", "stop", "forget")]

def settled(box, pool, state="state"):
    """Every server of the pool is in one place and in no other, and none is on its way."""
    def listed():
        ledger = box.ledger(state)
        servers = [s for entry in (ledger.get("clusters") or {}).values()
                   for s in entry.get("servers") or []]
        return {s["state"] for s in servers} <= {"ready"}
    wait("the ledger to settle", listed, 40)
    ledger = box.ledger(state)
    found = [s["address"] for entry in ledger["clusters"].values()
             for s in entry.get("servers") or []]
    found += ledger["pools"]["rack"]["available"]
    assert sorted(found) == sorted(origin.address for origin in pool), ledger


def journal_is_whole(box, manager):
    with contextlib.closing(sqlite3.connect(box.folder / "manager-state/journal.sqlite")) as db:
        wait("every answer in the journal", lambda: not db.execute(
            "SELECT * FROM requests WHERE status = 'waiting' AND operation_name"
            " IN ('allocate', 'deallocate')").fetchall(), 40)
        manager.stop()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("fault", MANAGER)
def test_manager_killed_while_it_takes(box, fault):
    """The take is the first deallocate, what `high` gets for it the fourth allocate."""
    clusters, pools, pool = rival_settings(box)
    turn = 4 if "-allocate-" in fault else 1
    system = Managed(box, clusters, routes=RIVAL_ROUTES, pools=pools,
                     manager_env={"FRESHET_FAULT": f"{fault}:{turn}"})
    first = system.manager
    first.expected = {-signal.SIGKILL}

    def alive():
        if not system.manager.alive():
            system.start_manager()
        return True
    with Load(system.edge.address, threads=16, path="/low/") as low:
        wait("low to have them all", lambda: alive() and
             len(box.ledger_servers("low", only="ready")) == 3, 40)
        with Load(system.edge.address, threads=9, path="/high/") as high:
            wait("high to be given one", lambda: alive() and
                 box.ledger_servers("high", only="ready"), 40)
            wait("the manager to have died", lambda: alive() and system.manager is not first, 40)
            high.wait_done(50)
            low.wait_done(50)
    low.assert_clean()
    high.assert_clean()
    settled(box, pool)
    journal_is_whole(box, system.manager)


@pytest.mark.parametrize("fault", ALLOCATOR)
def test_allocator_killed_while_a_server_is_taken(box, fault):
    """It is killed on the way of the fourth server: the one that goes from `low` to `high`."""
    clusters, pools, pool = rival_settings(box)
    listen = f"unix:{box.folder}/manager.sock"
    box.config(base(RIVAL_ROUTES, clusters, pools, state="./manager-state",
                    manager={"listen": listen}), "manager.yaml")
    manager = box.start("manager", "-c", "manager.yaml", name="manager")
    box.serving(listen, manager)
    box.config(base(RIVAL_ROUTES, clusters, pools, state="./allocator-state",
                    manager={"connect": listen}), "allocator.yaml")
    turn = 1 if fault.split("-")[1] in ("leave", "stop", "forget") else 4
    running = [box.start("allocator", "-c", "allocator.yaml", name="allocator",
                         env={"FRESHET_FAULT": f"{fault}:{turn}"})]
    running[0].expected = {-signal.SIGKILL}
    followers = {name: {key: value for key, value in one.items() if key != "scale"}
                 for name, one in clusters.items()}
    edge = Edge(box, followers, routes=RIVAL_ROUTES, manager=listen, name="follower",
                state="./follower-state", id="follower")
    state = "allocator-state"

    def alive():
        if not running[-1].alive():
            running.append(box.start("allocator", "-c", "allocator.yaml", name="allocator"))
        return True
    with Load(edge.address, threads=16, path="/low/") as low:
        wait("low to have them all", lambda: alive() and
             len(box.ledger_servers("low", state, only="ready")) == 3, 40)
        with Load(edge.address, threads=9, path="/high/") as high:
            wait("high to be given one", lambda: alive() and
                 box.ledger_servers("high", state, only="ready"), 40)
            wait("the allocator to have died", lambda: alive() and len(running) > 1, 40)
            high.wait_done(50)
            low.wait_done(50)
    low.assert_clean()
    high.assert_clean()
    settled(box, pool, state)


@pytest.mark.parametrize("fault", ALLOCATOR)
def test_edge_killed_between_two_pools(box, fault):
    own = [box.origin("own")]
    pools = {"own": static_pool(*own), "rented": process_pool(box, 3)}
    system = Obedient(box, {"web": cluster([box.origin("base")],
                                           scale=scale(["own", "rented"], min=1, max=4))},
                      pools=pools, env={"FRESHET_FAULT": f"{fault}:2"})
    process = system.edge.process
    process.expected = {-signal.SIGKILL}

    def ask(operation):
        try:
            request = system.manager.send(operation, "web")
        except OSError:
            return
        wait("an answer, or the end", lambda: not process.alive() or system.manager.all(
            "result", match=lambda s: s.get("id") == request), 30)
    ask('<allocate count="2"/>')
    for server in sorted(box.ledger_servers("web")):
        if process.alive():
            ask(f'<deallocate server="{server}"/>')
    assert not process.alive(), f"{fault} was never passed twice"
    system.edge.env = {}
    system.edge.start()
    system.manager.wait("report", after=system.manager.mark())
    wait("the ledger to settle", lambda: {s["state"] for s in
                                          box.ledger_servers("web").values()} <= {"ready"}, 40)
    servers = box.ledger_servers("web")
    assert set(places(box)) >= {own[0].address} and max(places(box).values()) == 1, places(box)
    wait("processes to be those of the ledger", lambda: set(box.members()) == {
        s["pid"] for s in servers.values() if s["pool"] == "rented"}, 20)
    assert all(s["address"] == own[0].address for s in servers.values() if s["pool"] == "own")
    for server in servers:
        system.done(f'<deallocate server="{server}"/>', "web")
    system.done('<allocate count="3"/>', "web")
    assert sorted(s["pool"] for s in box.ledger_servers("web").values()) == [
        "own", "rented", "rented"]


@pytest.mark.parametrize("fault", [name for name in MANAGER if "-allocate-" in name])
def test_manager_killed_while_a_cluster_wakes(box, fault):
    """Who is parked is served all the same: by the manager's next life, or by the edge itself."""
    server = box.origin("a")
    system = Managed(box, {"web": cluster(scale=scale("rack", min=0, max=1))},
                     pools={"rack": static_pool(server)}, wait_for=False,
                     manager_env={"FRESHET_FAULT": f"{fault}:1"})
    first = system.manager
    first.expected = {-signal.SIGKILL}
    askers = [Asker(system.edge, f"/{n}?{n}") for n in range(5)]
    wait("the manager to die", lambda: not first.alive(), 40)
    system.start_manager()
    for asker in askers:
        asker.join(30)
        assert asker.response is not None and asker.response.status == 200, asker.response
    settled(box, [server])
    journal_is_whole(box, system.manager)


@pytest.mark.parametrize("fault", [name for name in ALLOCATOR if name.split("-")[1] in
                                   ("start", "check", "join")])
def test_edge_killed_while_a_cluster_wakes(box, fault):
    """Its clients are gone with it; the next one's first request finds all in order."""
    server = box.origin("a")
    system = Managed(box, {"web": cluster(scale=scale("rack", min=0, max=1))},
                     pools={"rack": static_pool(server)}, wait_for=False,
                     env={"FRESHET_FAULT": f"{fault}:1"})
    process = system.edge.process
    process.expected = {-signal.SIGKILL}
    wait("it to listen", lambda: http1.connect(system.edge.address).close() is None)
    askers = [Asker(system.edge, f"/{n}?{n}") for n in range(3)]
    wait("the edge to die", lambda: not process.alive(), 40)
    for asker in askers:
        asker.join(20)
    system.edge.env = {}
    system.edge.start(False)
    wait("it to listen", lambda: http1.connect(system.edge.address).close() is None)
    late = [Asker(system.edge, f"/late/{n}?{n}") for n in range(3)]
    for asker in late:
        asker.join(30)
        assert asker.response is not None and asker.response.status == 200, asker.response
    ready(box, "web", 1)
    settled(box, [server])
    journal_is_whole(box, system.manager)
