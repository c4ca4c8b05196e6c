# SPDX-License-Identifier: Apache-2.0
"""max-in-flight: a limit for the whole cluster, a bounded queue before it, 503 behind it."""
import signal
import threading

import pytest

from harness import http1
from harness.box import hold, wait
from harness.load import Asker, Load
from harness.setup import Edge, cluster, metric


def limited(box, origins, limit, workers=1, **queue):
    return Edge(box, {"web": cluster(origins, **{"max-in-flight": limit, "queue": queue})},
                workers=workers)


def fill(edge, origin, count, waiting):
    """`count` requests, of which `waiting` have to wait."""
    origin.hold()
    askers = [Asker(edge, f"/{n}") for n in range(count)]
    wait("the places to be taken", lambda: origin.in_flight == count - waiting)
    wait("the others to wait", lambda: metric(edge, "queue_waiting") == waiting)
    return askers


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_the_limit(box, workers):
    origin = box.origin("a")
    edge = limited(box, [origin], 3, workers, wait="20s")
    askers = fill(edge, origin, 12, 9)
    hold("the limit", lambda: origin.in_flight == 3, 0.2)
    origin.release()
    for asker in askers:
        asker.join(20)
        assert asker.response.status == 200
    assert metric(edge, "queued") == 9
    assert metric(edge, "queue_waiting") == 0


def test_first_come_first_served(box):
    origin = box.origin("a")
    edge = limited(box, [origin], 1, wait="20s", target="10s")
    askers = fill(edge, origin, 1, 0)
    for n in range(1, 6):
        askers.append(Asker(edge, f"/{n}"))
        wait("it to wait", lambda: metric(edge, "queue_waiting") == n)
    origin.release()
    for asker in askers:
        asker.join(20)
    assert origin.paths() == [f"/{n}" for n in range(6)]


def test_newest_first_once_the_queue_stands(box):
    origin = box.origin("a")
    edge = limited(box, [origin], 1, wait="20s", target="10ms")
    askers = fill(edge, origin, 1, 0)
    for n in range(1, 7):
        askers.append(Asker(edge, f"/{n}"))
        wait("it to wait", lambda: metric(edge, "queue_waiting") == n)
    origin.delay = 0.15  # each one served keeps the queue above its target for so long
    origin.release()
    for asker in askers:
        asker.join(20)
        assert asker.response.status == 200
    # /1 went first if the queue did not stand for long enough by then.
    assert origin.paths()[-1] in ("/1", "/2")


def test_a_full_queue_refuses(box):
    origin = box.origin("a")
    edge = limited(box, [origin], 1, length=2, wait="20s", target="10s")
    askers = fill(edge, origin, 3, 2)
    response = http1.fetch(edge.address, "/more")
    assert response.status == 503 and response.get("Retry-After") == "1"
    assert metric(edge, "queue_refusals") == 1
    origin.release()
    for asker in askers:
        asker.join(20)
        assert asker.response.status == 200
    assert "/more" not in origin.paths()


def test_without_a_queue(box):
    origin = box.origin("a")
    edge = limited(box, [origin], 1, length=0)
    fill(edge, origin, 1, 0)
    assert http1.fetch(edge.address, "/more").status == 503
    origin.release()


def test_the_longest_wait(box):
    origin = box.origin("a")
    edge = limited(box, [origin], 1, wait="100ms")
    askers = fill(edge, origin, 1, 0)
    with http1.Client(edge.address) as client:
        response = client.request("GET", "/late")
        assert response.status == 503 and response.get("Retry-After") == "1"
        origin.release()
        askers[0].join(20)
        assert client.request("GET", "/next").status == 200  # on the same connection
    assert metric(edge, "queue_timeouts") == 1
    assert "/late" not in origin.paths()


def test_who_goes_away_leaves_the_line(box):
    origin = box.origin("a")
    edge = limited(box, [origin], 1, wait="20s")
    askers = fill(edge, origin, 4, 3)
    for asker in askers[1:]:
        asker.leave()
    # Who stays has the place, or gets it from one who has left.
    wait("the line to be empty", lambda: metric(edge, "queue_waiting") == 0)
    origin.release()
    askers[0].join(20)
    assert askers[0].response.status == 200
    wait("the edge to be idle", lambda: metric(edge, "requests_active") == 0)
    assert http1.fetch(edge.address, "/after").status == 200


def test_posts_wait_with_their_bodies(box):
    origin = box.origin("a")
    edge = limited(box, [origin], 1, wait="20s")
    fill(edge, origin, 1, 0)
    body = b"x" * 200000
    answers = []
    asker = threading.Thread(target=lambda: answers.append(
        http1.fetch(edge.address, "/post", method="POST", body=body)))
    asker.start()
    wait("it to wait", lambda: metric(edge, "queue_waiting") == 1)
    origin.release()
    asker.join(20)
    assert answers[0].status == 200
    assert origin.requests[-1].body == body


def test_a_reload_changes_limit_and_members_for_those_who_wait(box):
    old, new = box.origin("old"), box.origin("new")
    edge = limited(box, [old], 1, wait="20s")
    askers = fill(edge, old, 4, 3)
    edge.settings["clusters"]["web"]["members"] = [new.address]
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the reload", lambda: new.address in http1.fetch(edge.admin(), "/status").text)
    old.release()
    for asker in askers:
        asker.join(20)
        assert asker.response.status == 200
    assert old.count() == 1 and new.count() == 3


def test_under_load_nothing_is_lost(box):
    origins = [box.origin(name) for name in "ab"]
    for origin in origins:
        origin.delay = 0.005
    edge = limited(box, origins, 4, workers=2, wait="10s")
    with Load(edge.address, 16) as load:
        load.wait_done(600)
    load.assert_clean()
    assert set(load.statuses) == {200}
    wait("the edge to be idle", lambda: metric(edge, "requests_active") == 0)
    assert metric(edge, "queued") > 0 and metric(edge, "queue_waiting") == 0
