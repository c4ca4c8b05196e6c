# SPDX-License-Identifier: Apache-2.0
"""Where a member's utilization comes from: agent-check, ORCA, the highest of them."""

import pytest

from harness import http1
from harness.box import hold, wait
from harness.listener import AgentCheck
from harness.load import Load
from harness.setup import Edge, admin_json, cluster, ready, scale, static_pool


def server(edge, name):
    for entry in admin_json(edge)["clusters"]:
        for row in entry["servers"]:
            if row["id"] == name:
                return row
    return None


def utilization(edge, name):
    return server(edge, name)["utilization"]


def checked(box, agent, **more):
    settings = {"agent-check": agent.address, "agent-check-interval": "50ms"}
    return cluster([{"address": box.origin("base").address, "id": "base"}], health=None,
                   utilization=settings, **more)


def test_agent_check_says_how_idle_the_member_is(box):
    agent = AgentCheck(box, "10%")
    edge = Edge(box, {"web": checked(box, agent)})
    # HAProxy's agent says what is left of the weight: 10 % is a member that is 90 % busy.
    wait("0.9", lambda: utilization(edge, "base") == pytest.approx(0.9))
    agent.line = "75%"
    wait("0.25", lambda: utilization(edge, "base") == pytest.approx(0.25))
    asked = agent.asked
    agent.line = "no such word"
    wait("it to be asked again", lambda: agent.asked > asked + 2)
    assert http1.fetch(edge.address).status == 200


def test_agent_check_takes_a_member_out_and_back(box):
    agent = AgentCheck(box, "10%")
    other = box.origin("other")
    edge = Edge(box, {"web": checked(box, agent)})
    agent.line = "down"
    wait("it to be out", lambda: server(edge, "base")["state"] == "unhealthy")
    assert http1.fetch(edge.address).status == 503
    agent.line = "up 50%"
    wait("it to be back", lambda: server(edge, "base")["state"] == "ready")
    assert http1.fetch(edge.address).status == 200
    agent.line = "drain"
    wait("no new requests", lambda: http1.fetch(edge.address).status == 503)
    agent.line = "ready"
    wait("requests again", lambda: http1.fetch(edge.address).status == 200)
    assert other.count() == 0


def test_agent_check_makes_the_cluster_grow(box):
    agent = AgentCheck(box, "10%")
    agent.line = "60%"
    edge = Edge(box, {"web": checked(box, agent, scale=scale("rack", upper="80%", max=2))},
                pools={"rack": static_pool(box.origin("spare"))}, role="run")
    wait("a number", lambda: utilization(edge, "base") == pytest.approx(0.4))
    hold("nothing asked for", lambda: box.ledger_servers("web") == {}, 0.5)
    agent.line = "5%"
    ready(box, "web", 1)


def test_orca_makes_the_cluster_grow(box):
    base = box.origin("base")
    base.utilization = 0.95
    edge = Edge(box, {"web": cluster([{"address": base.address, "id": "base"}],
                                     scale=scale("rack", upper="80%", max=2))},
                pools={"rack": static_pool(box.origin("spare"))}, role="run")
    with Load(edge.address, 2) as load:
        ready(box, "web", 1)
    load.assert_clean()
    assert utilization(edge, "base") == pytest.approx(0.95)


def test_the_highest_source_counts_and_each_can_be_left_out(box):
    agent = AgentCheck(box, "10%")
    agent.line = "70%"
    base = box.origin("base")
    base.utilization = 0.6
    settings = {"agent-check": agent.address, "agent-check-interval": "50ms"}
    edge = Edge(box, {"web": cluster([{"address": base.address, "id": "base"}], health=None,
                                     utilization=settings),
                      "deaf": cluster([{"address": base.address, "id": "deaf"}], health=None,
                                      utilization={**settings, "orca": False})},
                routes=[{"cluster": "web"}, {"match": {"path": "/deaf/"}, "cluster": "deaf"}])
    wait("the agent's word", lambda: utilization(edge, "deaf") == pytest.approx(0.3))
    http1.fetch(edge.address)
    http1.fetch(edge.address, "/deaf/")
    wait("the member's own word", lambda: utilization(edge, "base") == pytest.approx(0.6))
    assert utilization(edge, "deaf") == pytest.approx(0.3)
