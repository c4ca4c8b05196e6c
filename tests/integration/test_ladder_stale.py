# SPDX-License-Identifier: Apache-2.0
"""Rung stale: what is past its freshness answers, and is fetched anew one at a time."""
import threading

import pytest

from harness import http1
from harness.box import hold, wait
from harness.ladder import at_rung, hot, laddered, steady
from harness.origin import Answer
from harness.setup import metric, why

KEPT = [f"/kept/{n}" for n in range(5)]


class Versions:
    """Each path's answers are numbered from 1 on; those of `gated` ones wait at the gate."""

    def __init__(self, box, control="max-age=1"):
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()
        self.control, self.failing = control, False
        self.given, self.inside, self.highest = {}, 0, 0
        self.member = box.origin("a", answer=self.answer)

    def answer(self, request):
        if not request.path.startswith("/kept"):
            return Answer(200, "x", [("Cache-Control", "no-store")])
        with self.lock:
            self.given[request.path] = self.given.get(request.path, 0) + 1
            version = self.given[request.path]
            self.inside += 1
            self.highest = max(self.highest, self.inside)
        self.gate.wait()
        with self.lock:
            self.inside -= 1
        if self.failing:
            return None
        return Answer(200, str(version), [("Cache-Control", self.control)])

    def asked(self):
        with self.lock:
            return sum(self.given.values())


def fetch(edge, path, *fields, method="GET"):
    return http1.fetch(edge.address, path, method=method, fields=fields)


def all_stale(box, origin, paths=KEPT, **more):
    """An edge at rung stale, in whose cache each path is past its freshness; with its load."""
    ladder = more.pop("ladder", {})
    edge = laddered(box, [origin.member], ["stale"], more_ladder=ladder, **more)
    for path in paths:
        assert fetch(edge, path).text == "1"
    hot(origin.member)
    load = steady(edge)
    at_rung(box, edge, "stale")
    last = paths[-1]  # HEAD fetches nothing anew
    wait("the last of them to be stale",
         lambda: "ttl=-" in fetch(edge, last, method="HEAD").get("Cache-Status"))
    return edge, load


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_one_at_a_time(box, at_a_time):
    origin = Versions(box)
    ladder = {} if at_a_time == 1 else {"refreshes": at_a_time}
    edge, load = all_stale(box, origin, ladder=ladder)
    with load:
        origin.gate.clear()
        for path in KEPT[:at_a_time]:
            first = fetch(edge, path)
            assert first.text == "1" and int(first.get("Age")) >= 1
            assert "; hit; ttl=-" in first.get("Cache-Status")
            assert first.get("Cache-Status").endswith("; detail=ladder-refresh")
        wait("the refreshes", lambda: origin.inside == at_a_time)
        # Thousands of requests for it and for others make no further one.
        for _ in range(20):
            for path in KEPT:
                other = fetch(edge, path)
                assert other.text == "1"
                assert other.get("Cache-Status").endswith("; detail=ladder")
        assert origin.asked() == len(KEPT) + at_a_time
        assert metric(edge, "ladder_refreshes") == at_a_time
        assert metric(edge, "ladder_refreshes_held") == 20 * len(KEPT)
        assert metric(edge, "ladder_stale") >= 20 * len(KEPT) + at_a_time
        origin.gate.set()
        # One after the other, all of them.
        for path in KEPT:
            wait(f"{path} anew", lambda p=path: fetch(edge, p).text != "1")
        assert origin.highest == at_a_time
    load.assert_clean()


def test_none_at_all(box):
    origin = Versions(box)
    edge, load = all_stale(box, origin, ladder={"refreshes": 0})
    with load:
        for path in KEPT:
            assert fetch(edge, path).get("Cache-Status").endswith("; detail=ladder")
        hold("nothing is fetched", lambda: origin.asked() == len(KEPT), 0.3)


def test_a_refresh_that_fails_makes_room_for_the_next(box):
    origin = Versions(box)
    edge, load = all_stale(box, origin, eject={"failures": 0})
    with load:
        origin.failing = True
        assert fetch(edge, KEPT[0]).get("Cache-Status").endswith("; detail=ladder-refresh")
        wait("a second one", lambda: fetch(edge, KEPT[1]).get("Cache-Status").endswith("refresh"))
        assert fetch(edge, KEPT[0]).text == "1"
        origin.failing = False
        wait("a new one", lambda: fetch(edge, KEPT[0]).text != "1")


@pytest.mark.parametrize("asked", ["no-cache", "max-age=0", "max-age=1", "min-fresh=1"])
def test_who_wants_it_fresh_gets_it_fresh(box, asked):
    origin = Versions(box)
    edge, load = all_stale(box, origin)
    with load:
        answer = fetch(edge, KEPT[0], ("Cache-Control", asked))
        assert answer.text == "2" and "; hit" not in answer.get("Cache-Status")


@pytest.mark.parametrize("said", ["max-age=1, must-revalidate", "max-age=1, proxy-revalidate",
                                  "s-maxage=1", "max-age=1, no-cache"])
def test_what_is_to_be_validated_is(box, said):
    origin = Versions(box, said)
    edge = laddered(box, [origin.member], ["stale"])
    hot(origin.member)
    with steady(edge):
        at_rung(box, edge, "stale")
        version = int(fetch(edge, KEPT[0]).text)
        wait("it to be stale", lambda: int(fetch(edge, KEPT[0]).text) > version)
        assert metric(edge, "ladder_stale") == 0


def test_stale_while_revalidate_keeps_to_it(box):
    """The response allows a fetch in the background; the ladder says how many at a time."""
    origin = Versions(box, "max-age=1, stale-while-revalidate=60")
    edge, load = all_stale(box, origin)
    with load:
        origin.gate.clear()
        fetch(edge, KEPT[0])
        wait("the refresh", lambda: origin.inside == 1)
        for path in KEPT:
            assert fetch(edge, path).text == "1"
        assert origin.asked() == len(KEPT) + 1
        origin.gate.set()
        wait("another one", lambda: fetch(edge, KEPT[1]).text == "2")
        assert origin.highest == 1


def test_why_says_what_it_did(box):
    origin = Versions(box)
    edge, load = all_stale(box, origin, role="run")
    with load:
        origin.gate.clear()
        for path in KEPT:
            fetch(edge, path)
        hot(origin.member, utilization=0.1)
        at_rung(box, edge, "")
    origin.gate.set()
    wait("the words", lambda: "answered stale meanwhile, 1 fetched anew" in why(box, edge))
