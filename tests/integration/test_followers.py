# SPDX-License-Identifier: Apache-2.0
"""Several edges on one cluster: the allocator is responsible, the edges follow, nobody
loses a request."""
import re

import pytest

from harness import http1
from harness.box import hold, wait
from harness.load import Load
from harness.setup import Edge, base, cluster, ready, scale, static_pool


class Followed:
    """Manager, allocator and two edges that learn of the servers from the manager."""

    # Of requests at a time on one member. Two loads of one thread each fill half of it at most:
    # what was given back for want of load is not allocated again as both happen to ask at once.
    LIMIT = 4

    def __init__(self, box, spares=2, **more):
        self.box = box
        self.base = box.origin("base")
        self.spares = [box.origin(f"spare-{n}") for n in range(spares)]
        self.listen = f"unix:{box.folder}/manager.sock"
        self.scale = scale("rack", **{"max": 1 + spares, "upper": "80%",
                                      "lower": {"level": "30%", "for": "500ms"}, **more})
        clusters = {"web": cluster([self.base], limit=self.LIMIT, scale=self.scale)}
        pools = {"rack": static_pool(*self.spares)}
        box.config(base(None, clusters, pools, state="./manager-state",
                        manager={"listen": self.listen}), "manager.yaml")
        self.start_manager()
        box.config(base(None, clusters, pools, state="./allocator-state",
                        manager={"connect": self.listen}), "allocator.yaml")
        self.allocator = box.start("allocator", "-c", "allocator.yaml", name="allocator")
        follower = {"web": cluster([self.base], limit=self.LIMIT)}
        self.edges = [Edge(box, follower, manager=self.listen, name=f"edge-{n}",
                           state=f"./edge-{n}-state", id=f"edge-{n}") for n in range(2)]

    def start_manager(self):
        self.manager = self.box.start("manager", "-c", "manager.yaml", name="manager")
        self.box.serving(self.listen, self.manager)

    def loads(self, threads, **more):
        return [Load(edge.address, threads, **more) for edge in self.edges]


def stop_clean(loads):
    for load in loads:
        load.stop()
    for load in loads:
        load.assert_clean()


def test_followers_join_and_let_go(box):
    """Load on both edges: a server is allocated, both send to it; it goes back, nothing fails."""
    system = Followed(box)
    for origin in [system.base, *system.spares]:
        origin.delay = 0.05
    loads = system.loads(6)
    try:
        ready(box, "web", 2, "allocator-state")
        for number, load in enumerate(loads):
            wait(f"edge {number} to use all of them", lambda load=load: all(
                load.share(o.name) > 0 for o in [system.base, *system.spares]), 30)
    finally:
        stop_clean(loads)
    # Nearly idle: both are given back, one after the other, while requests go on.
    for origin in [system.base, *system.spares]:
        origin.delay = 0.0
    loads = system.loads(1, pause=0.01)
    try:
        wait("both to be back in the pool",
             lambda: box.ledger_servers("web", "allocator-state") == {}, 40)
        for origin in system.spares:
            count = origin.count()
            for load in loads:
                load.wait_done(20)
            assert origin.count() == count, "a released server still gets requests"
    finally:
        stop_clean(loads)


def test_server_is_not_stopped_while_an_edge_uses_it(box):
    """Two-phase: one edge still has a request on the server, so the allocator keeps it."""
    # By hand, so that no policy has a say: by itself nobody gives it back within minutes.
    system = Followed(box, spares=1, lower=None)
    (spare,) = system.spares
    for origin in (system.base, spare):
        origin.delay = 0.05
    loads = system.loads(6)
    try:
        ready(box, "web", 1, "allocator-state")
        wait("requests on it", lambda: all(load.share(spare.name) > 0 for load in loads), 30)
    finally:
        stop_clean(loads)
    spare.hold()
    client = http1.Client(system.edges[0].address)
    while not spare.count("/slow"):
        client.close()
        client = http1.Client(system.edges[0].address)
        client.send(http1.head("GET", "/slow"))
        hold("a moment", lambda: True, 0.02)
    # The command returns when the server is back in its pool.
    asked = box.start("cluster", "deallocate", "web", "-c", "allocator.yaml", name="deallocate")
    wait("it to be leaving", lambda: "draining" in str(
        box.ledger_servers("web", "allocator-state")))
    hold("it is kept while an edge has a request on it", lambda: asked.alive() and
         "draining" in str(box.ledger_servers("web", "allocator-state")), 1.0)
    spare.release()
    assert client.read_response().status == 200
    client.close()
    ready(box, "web", 0, "allocator-state")
    assert asked.wait() == 0


def test_each_edge_has_a_ladder_and_why_tells_of_each(box):
    """Followers have no level of their own: the manager tells them, and they climb by it."""
    system = Followed(box, spares=1)
    for origin in [system.base, *system.spares]:
        origin.utilization = 1.0
    loads = system.loads(2, pause=0.01)
    try:
        def told():
            return box.run("why", "web", "-n", "1", "--manager", system.listen).stdout
        for edge in system.edges:
            wait(f"{edge.name} to be at the top", lambda edge=edge: re.search(
                rf"ladder now:.* {edge.name} at shed since ", told()))
        for origin in [system.base, *system.spares]:
            origin.utilization = 0.1
        wait("both to be down again", lambda: all(
            f"{edge.name} on the ground" in told() for edge in system.edges), 30)
    finally:
        stop_clean(loads)


@pytest.mark.parametrize("which", ["manager", "allocator"])
def test_followers_go_on_without(box, which):
    system = Followed(box)
    for origin in [system.base, *system.spares]:
        origin.delay = 0.05
    loads = system.loads(6)
    try:
        ready(box, "web", 2, "allocator-state")
        for load in loads:
            wait("all used", lambda load=load: all(
                load.share(o.name) > 0 for o in [system.base, *system.spares]), 30)
        victim = getattr(system, which)
        victim.kill9()
        for load in loads:
            done = load.done
            wait("requests to go on", lambda load=load, done=done: load.done > done + 50, 20)
        if which == "manager":
            system.start_manager()
        else:
            system.allocator = box.start("allocator", "-c", "allocator.yaml", name="allocator")
        for load in loads:
            load.wait_done(50)
        assert len(ready(box, "web", 2, "allocator-state")) == 2
    finally:
        stop_clean(loads)
