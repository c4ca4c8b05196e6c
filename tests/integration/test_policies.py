# SPDX-License-Identifier: Apache-2.0
"""Who decides how many: policies beside the levels, and what stands between decision and act."""
from harness import http1
from harness.box import hold, wait
from harness.load import Asker, Load
from harness.setup import Edge, cluster, metric, ready, scale, static_pool, why


def pair(box, spares=1, **more):
    """A cluster of one member; servers that stand by."""
    member = box.origin("member")
    pool = [box.origin("spare%d" % i) for i in range(spares)]
    member.delay = 0.05
    for server in pool:
        server.delay = 0.05
    edge = Edge(box, {"web": cluster([member], limit=8, scale=scale("rack", **more))},
                pools={"rack": static_pool(*pool)}, role="run")
    return edge


def allocated(box):
    return box.ledger_servers("web", only="ready")


def test_observe_says_what_it_would_do_and_does_nothing(box):
    edge = pair(box, mode="observe")
    with Load(edge.address, threads=10):
        wait("the decision to be written down",
             lambda: "only observing, else allocate 1" in why(box, edge))
        hold("nothing is allocated", lambda: not allocated(box), 1)
    assert "could not be asked for" not in why(box, edge)


def test_supervised_waits_for_approval(box):
    edge = pair(box, mode="supervised")
    with Load(edge.address, threads=10):
        wait("the proposal", lambda: "waiting for approval: allocate 1" in why(box, edge))
        assert not allocated(box)
        done = box.run("approve", "web", "-c", edge.file)
        assert done.returncode == 0 and "approved" in done.stdout, done.stderr
        ready(box, "web", 1)
    done = box.run("approve", "nowhere", "-c", edge.file)
    assert done.returncode == 1 and "no cluster" in done.stderr


def test_denied_is_not_done_and_rests(box):
    edge = pair(box, mode="supervised", approval="2s")
    with Load(edge.address, threads=10):
        wait("the proposal", lambda: "waiting for approval" in why(box, edge))
        assert box.run("deny", "web", "-c", edge.file).returncode == 0
        wait("the word on it", lambda: "denied, or not answered in time" in why(box, edge))
        assert not allocated(box)
        wait("a new proposal after the rest",
             lambda: why(box, edge).count("waiting for approval") >= 2)
        # Nobody answers this one: it counts as denied, too.
        wait("the time-out", lambda: why(box, edge).count("denied, or not answered in time") >= 2)
        assert not allocated(box)


def test_target_grows_to_the_number_at_once(box):
    edge = pair(box, spares=3, policy="target", target="50%")
    with Load(edge.address, threads=10) as load:
        ready(box, "web", 2)
        load.wait_done(50)
    load.assert_clean()
    assert "wanted at a mean of" in why(box, edge)


def test_forecast_learns_and_grows(box):
    edge = pair(box, spares=3, policy="forecast", spare=1)
    with Load(edge.address, threads=12) as load:
        # One and a half are busy: two, and one to spare.
        wait("what the load needs, and one to spare", lambda: 2 <= len(allocated(box)) <= 3, 60)
        load.wait_done(50)
    load.assert_clean()
    text = why(box, edge)
    assert "requests/s expected in" in text and "a member does" in text, text


def test_schedule_lifts_the_floor_while_its_window_is_open(box):
    always = {"at": "* * * * *", "for": "1h", "zone": "Europe/Berlin", "min": 2}
    never = {"at": "0 0 29 2 *", "for": "1min", "max": 2}
    edge = pair(box, spares=3, schedule=[always, never])
    ready(box, "web", 1)
    text = why(box, edge)
    assert "scheduled: at least 2 (* * * * * Europe/Berlin)" in text, text
    # It is idle, and yet stays at the floor.
    hold("nothing is given back", lambda: len(allocated(box)) == 1, 2)
    assert "the minimum is 2" in why(box, edge)


def test_a_missed_latency_goal_makes_levels_count_less(box):
    # Ten requests of 50 ms at a time on sixteen places: below the level, but later than 20 ms.
    member, *pool = [box.origin("member%d" % i) for i in range(3)]
    for server in (member, *pool):
        server.delay = 0.05
    edge = Edge(box, {
        "web": cluster([member], limit=16,
                       scale=scale("rack", upper=0.8, lower=0.01, slo="20ms"))},
        pools={"rack": static_pool(*pool)}, role="run")
    with Load(edge.address, threads=10) as load:
        wait("more members for the goal's sake", lambda: allocated(box), 40)
        load.wait_done(50)
    load.assert_clean()
    text = why(box, edge)
    assert "slower than 20 ms: " in text and "may be 1.0 %" in text, text
    assert "% of the level counts" in text, text


def test_a_goal_that_is_met_changes_nothing(box):
    edge = pair(box, spares=1, upper=0.95, lower=0.01, slo={"latency": "2s", "share": "95%"})
    with Load(edge.address, threads=4):
        wait("a tick that knows",
             lambda: "slower than 2000 ms: 0 %, may be 5.0 %" in why(box, edge))
        hold("nothing is allocated", lambda: not allocated(box), 6)
    assert "of the level counts" not in why(box, edge)


def test_the_limit_of_changes_holds_for_levels_too(box):
    edge = pair(box, spares=3, upper=0.5, lower=0.01, changes=1, cooldown="0s")
    with Load(edge.address, threads=16):
        ready(box, "web", 1)
        wait("what was held back",
             lambda: "no more than 1 may change in a minute" in why(box, edge))
        hold("one a minute", lambda: len(allocated(box)) == 1, 2)


def test_who_is_slower_than_the_goal_is_counted(box):
    """One by one, what was waited for a place included; who fails is not slow."""
    member = box.origin("member")
    edge = Edge(box, {"web": cluster([member], scale=scale("rack", slo="400ms"),
                                     **{"max-in-flight": 1, "queue": {"wait": "3s"}})},
                pools={"rack": static_pool(box.origin("spare"))})

    def counted():
        return tuple(metric(edge, f"slo_{what}", cluster="web") for what in ("requests", "late"))
    for _ in range(20):
        http1.fetch(edge.address, "/")
    assert counted() == (20, 0)
    member.hold()
    first = Asker(edge, "/late")
    wait("it to be under way", lambda: member.in_flight == 1)
    second = Asker(edge, "/late-for-it-waited")
    wait("the other to wait", lambda: metric(edge, "queue_waiting") == 1)
    hold("both are late", lambda: member.in_flight == 1, 0.5)
    member.release()
    for asker in (first, second):
        asker.join(20)
        assert asker.response.status == 200
    assert counted() == (22, 2)
    member.hold()
    first = Asker(edge, "/late")
    wait("it to be under way", lambda: member.in_flight == 1)
    assert http1.fetch(edge.address, "/gives-up").status == 503
    assert counted() == (23, 3)
    member.release()
    first.join(20)
    assert counted() == (24, 4)
    member.answer = lambda request: None
    assert http1.fetch(edge.address, "/").status == 502
    assert counted() == (24, 4)
