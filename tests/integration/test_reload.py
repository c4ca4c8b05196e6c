# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: settings that are in force after a reload."""
import signal

from harness import http1
from harness.box import wait
from harness.load import Load
from harness.origin import Answer
from harness.setup import Edge, cluster, origins, ready, scale, static_pool


def reload(edge):
    edge.write()
    edge.process.signal(signal.SIGHUP)


def web(edge):
    return edge.settings["clusters"]["web"]


def test_health(box):
    def deep(request):
        return Answer(503 if request.path == "/deep" and one.delay == 0 else 200, "x")
    one, two = box.origin("one", answer=deep), box.origin("two")
    edge = Edge(box, {"web": cluster([{"address": o.address, "id": o.name} for o in (one, two)])})
    assert origins(edge.address) == {"one", "two"}
    web(edge)["health"] = {"path": "/deep", "interval": "50ms", "fall": 2}
    reload(edge)
    wait("the member that fails the new check to be left out",
         lambda: origins(edge.address) == {"two"})
    web(edge)["health"] = {"type": "tcp", "interval": "50ms"}
    reload(edge)
    wait("it to be back", lambda: origins(edge.address) == {"one", "two"})


def test_timeouts(box):
    member = box.origin("m")
    member.delay = 0.6
    edge = Edge(box, {"web": cluster([member], health=None)}, wait_for=False)
    wait("it to serve", lambda: http1.fetch(edge.address).status == 200)
    web(edge)["timeouts"] = {"response": "100ms"}
    reload(edge)
    wait("the new patience", lambda: http1.fetch(edge.address).status == 504)
    web(edge)["timeouts"] = {"response": "20s"}
    reload(edge)
    wait("the old patience", lambda: http1.fetch(edge.address).status == 200)


def test_weights_and_balance(box):
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([{"address": o.address, "id": o.name} for o in (one, two)])})
    assert origins(edge.address) == {"one", "two"}
    web(edge)["members"][0]["weight"] = 0
    reload(edge)
    wait("no request on it", lambda: origins(edge.address) == {"two"})
    web(edge)["members"][0]["weight"] = 100
    web(edge)["balance"] = "round-robin"
    reload(edge)

    def in_turn():
        seen = [http1.fetch(edge.address).get("X-Origin") for _ in range(8)]
        return all(a != b for a, b in zip(seen, seen[1:]))
    wait("one after the other", in_turn)


def test_the_manager_takes_new_levels_too(box):
    """Over the old upper level nothing happens; over the new one, a server is asked for."""
    base, spare = box.origin("base"), box.origin("spare")
    base.utilization = 0.5
    edge = Edge(box, {"web": cluster([base], scale=scale("rack", max=2, upper="80%", lower="10%"))},
                pools={"rack": static_pool(spare)}, role="run")
    with Load(edge.address, 2) as load:
        load.wait_done(200)
        assert box.ledger_servers("web") == {}
        web(edge)["scale"]["upper"] = "40%"
        reload(edge)
        ready(box, "web", 1)
    load.assert_clean()


def test_listeners(box):
    edge = Edge(box, {"web": cluster([box.origin("m")])})
    second = f"127.0.0.1:{box.port()}"
    edge.settings["listen"] = [{"address": second}]
    reload(edge)
    box.serving(second, edge.process)

    def refused():
        try:
            return http1.fetch(edge.address) is None
        except OSError:
            return True
    wait("the old one to be closed", refused)


def test_a_listener_that_cannot_be_had_changes_nothing(box):
    taken = box.origin("taken")
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([one])})
    edge.settings["listen"].append({"address": taken.address})
    web(edge)["members"] = [two.address]
    reload(edge)
    wait("the refusal to be logged", lambda: taken.address in edge.process.log())
    assert origins(edge.address) == {"one"}


def test_routes(box):
    edge = Edge(box, {"web": cluster([box.origin("w")]), "api": cluster([box.origin("a")])})
    assert origins(edge.address, "/api/x") == {"w"}
    edge.settings["routes"].append({"match": {"path": "/api/"}, "cluster": "api"})
    reload(edge)
    wait("the new route", lambda: origins(edge.address, "/api/x") == {"a"})
    edge.settings["routes"].pop()
    del edge.settings["clusters"]["api"]
    reload(edge)
    wait("the old one", lambda: origins(edge.address, "/api/x") == {"w"})
