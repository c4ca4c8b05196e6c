# SPDX-License-Identifier: Apache-2.0
"""The ladder of a cluster at its upper level: each rung up and down, without a manager and with."""

import signal

from harness import http1
from harness.box import hold, wait
from harness.ladder import at_rung, hot, laddered, status, steady
from harness.load import Asker
from harness.origin import Answer
from harness.setup import metric, why


def speak(edge, count=1):
    """Members say how they are with their answers."""
    for n in range(count):
        http1.fetch(edge.address, f"/say?{n}")


def test_less_for_a_hot_member(box):
    a, b = box.origin("a"), box.origin("b")
    hot(a, utilization=1.0)
    hot(b, utilization=0.2)
    edge = laddered(box, [a, b], ["weight", "stale", "queue", "shed"], balance="round-robin")
    with steady(edge) as load:
        at_rung(box, edge, "weight")
        # It says 1.0 however little it gets, so that it is left a quarter: a fifth of the requests.
        def share():
            load.reset()
            load.wait_done(200)
            return load.share("a")
        wait("it to have what is always left", lambda: 0.16 < share() < 0.24)
        assert 0.16 < share() < 0.24, load.seen
        hold("one hot member is nobody else's matter",
             lambda: status(box, edge)["rung"] == "weight", 0.5)
        hot(a, utilization=0.2)
        at_rung(box, edge, "")
        load.reset()
        load.wait_done(200)
        assert 0.45 < load.share("a") < 0.55, load.seen
    load.assert_clean()
    assert "ladder climbed" in edge.process.log() and "ladder descended" in edge.process.log()
    assert metric(edge, "ladder_climbs", cluster="web") == 1
    assert metric(edge, "ladder_descents", cluster="web") == 1


def test_stale_while_it_is_hot(box):
    """What of it is fetched anew meanwhile: test_ladder_stale.py."""
    state = {"version": 1}
    a = box.origin("a", answer=lambda request: Answer(
        200, str(state["version"]), [("Cache-Control", "max-age=1" if request.path == "/kept"
                                      else "no-store")]))
    edge = laddered(box, [a], ["stale"], more_ladder={"refreshes": 0})
    assert http1.fetch(edge.address, "/kept").text == "1"
    state["version"] = 2
    hot(a)
    with steady(edge):
        at_rung(box, edge, "stale")
        wait("it to be past its freshness", lambda: http1.fetch(edge.address, "/kept") and
             metric(edge, "cache_stale") > 0)
        assert http1.fetch(edge.address, "/kept").text == "1"
        hot(a, utilization=0.1)
        at_rung(box, edge, "")
        assert http1.fetch(edge.address, "/kept").text == "2"


def test_no_more_under_way_than_they_can_do(box):
    a = box.origin("a")
    a.hold()
    edge = laddered(box, [a], ["queue"], limit=4, queue={"wait": "20s"})
    askers = [Asker(edge, f"/{n}") for n in range(6)]
    wait("all of them to be under way", lambda: a.in_flight == 6)
    at_rung(box, edge, "queue")
    askers += [Asker(edge, f"/more/{n}") for n in range(5)]
    wait("the others to wait", lambda: metric(edge, "queue_waiting") == 5)
    assert status(box, edge)["queued"] == 5
    assert "web            5 requests queued" in box.run("status", "-c", edge.file).stdout
    hold("they wait", lambda: a.in_flight == 6, 0.3)
    a.release()
    for asker in askers:
        asker.join(20)
        assert asker.response.status == 200
    at_rung(box, edge, "")
    a.hold()
    askers = [Asker(edge, f"/free/{n}") for n in range(3)]
    wait("nobody to wait any more", lambda: a.in_flight == 3)
    a.release()


def test_low_priority_is_shed(box):
    a = box.origin("a")
    edge = laddered(box, [a], ["shed"], routes=[
        {"match": {"path": "/low"}, "cluster": "web", "priority": "low"}, {"cluster": "web"}])
    assert http1.fetch(edge.address, "/low").status == 200
    hot(a)
    with steady(edge) as load:
        at_rung(box, edge, "shed")
        response = http1.fetch(edge.address, "/low")
        assert response.status == 503 and response.get("Retry-After") == "1"
        assert metric(edge, "ladder_shed") == 1
        hot(a, utilization=0.1)
        at_rung(box, edge, "")
        assert http1.fetch(edge.address, "/low").status == 200
    load.assert_clean()


def test_all_rungs_in_order_and_why_says_so(box):
    a = box.origin("a")
    hot(a)
    edge = laddered(box, [a], ["weight", "stale", "queue", "shed"], role="run")
    with steady(edge):
        at_rung(box, edge, "shed")
        assert status(box, edge)["ladder_climbs"] == 4
        hot(a, utilization=0.1)
        at_rung(box, edge, "")
    assert status(box, edge)["ladder_descents"] == 4
    wait("the last word of the edge", lambda: "weight to the ground" in why(box, edge))
    text = why(box, edge)
    steps = ["the ground to weight", "weight to stale", "stale to queue", "queue to shed",
             "shed to queue", "queue to stale", "stale to weight", "weight to the ground"]
    # Two steps may share a report; none may be out of order.
    told = [text.index(step) for step in steps if step in text]
    assert len(told) >= 4, text
    assert told == sorted(told), text


def test_the_level_goes_with_the_configuration(box):
    a = box.origin("a")
    hot(a)
    edge = laddered(box, [a], ["weight", "stale"])
    with steady(edge):
        at_rung(box, edge, "stale")
        del edge.settings["clusters"]["web"]["scale"]
        edge.write()
        edge.process.signal(signal.SIGHUP)
        at_rung(box, edge, "")


def test_no_rung_is_a_ladder_too(box):
    a = box.origin("a")
    hot(a)
    edge = laddered(box, [a], [])
    with steady(edge):
        speak(edge)
        wait("it to be hot", lambda: (status(box, edge)["servers"][0]["utilization"] or 0) > 0.9)
        hold("nothing", lambda: status(box, edge)["rung"] == "", 0.5)
