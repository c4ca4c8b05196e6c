# SPDX-License-Identifier: Apache-2.0
"""What is stored in part is completed by a request for the rest, and never with another's bytes."""
import concurrent.futures
import subprocess
import threading

import pytest

from harness import http1
from harness.box import wait
from harness.h2member import H2Member
from harness.origin import Answer, field
from harness.setup import Edge, metric, simple

CACHE = {"memory": "16MiB"}
SMALL = (b"0123456789", b"ABCDEFGHIJKL")
LARGE = (bytes(n % 251 for n in range(700_000)), bytes(n % 241 for n in range(900_001)))


class Ranged:
    """One resource in versions; each says what it does with Range and If-Range."""

    def __init__(self, box, bodies=SMALL, **more):
        self.bodies, self.version, self.tag = bodies, 0, '"%d"'
        self.heeds_if_range = True
        self.instead = None       # a function of the request, for requests of the rest
        self.gate = threading.Event()
        self.gate.set()
        self.edge, self.member = simple(box, self.answer, cache=CACHE, **more)

    def fields(self):
        return [("Cache-Control", "max-age=60"), ("X-Version", str(self.version))] + (
            [("ETag", self.tag % self.version)] if self.tag else [])

    def answer(self, request):
        body, asked = self.bodies[self.version], field(request, "Range")
        condition = field(request, "If-Range")
        if asked and asked.endswith("-"):
            self.gate.wait()
            body = self.bodies[self.version]
            if self.instead:
                return self.instead(request)
            if self.heeds_if_range and condition and condition != self.tag % self.version:
                asked = None
        if not asked:
            return Answer(200, body, self.fields())
        first, last = asked[len("bytes="):].split("-")
        return self.part(int(first), int(last or len(body) - 1))

    def part(self, first, last, **more):
        body = self.bodies[self.version]
        told = more.get("told", f"bytes {first}-{last}/{len(body)}")
        return Answer(206, body[first:last + 1], self.fields() + [("Content-Range", told)])

    def get(self, *fields):
        return http1.fetch(self.edge.address, "/it", fields=fields)

    def begin(self, count=5):
        first = self.get(("Range", f"bytes=0-{count - 1}"))
        assert (first.status, first.body) == (206, self.bodies[0][:count])

    def asked(self):
        return [(field(r, "Range"), field(r, "If-Range")) for r in self.member.requests]

    def whole(self, version, response=None):
        response = response or self.get()
        assert (response.status, response.body) == (200, self.bodies[version])
        assert response.get("X-Version") == str(version)
        assert response.get("Content-Range") is None
        return response.get("Cache-Status")


@pytest.mark.parametrize("bodies,count", [(SMALL, 1), (SMALL, 5), (SMALL, 9), (LARGE, 500_000)])
def test_the_rest_is_asked_for_and_both_are_one(box, bodies, count):
    it = Ranged(box, bodies)
    it.begin(count)
    status = it.whole(0)
    assert "fwd=partial; fwd-status=206; stored" in status, status
    assert it.asked()[1:] == [(f"bytes={count}-", '"0"')]
    assert "; hit" in it.whole(0)
    end = it.get(("Range", "bytes=-3"))
    assert (end.status, end.body) == (206, bodies[0][-3:]) and "; hit" in end.get("Cache-Status")
    assert it.member.count() == 2
    assert metric(it.edge, "cache_rests") == 1 and metric(it.edge, "cache_rests_refused") == 0


def test_it_has_changed_meanwhile(box):
    """RFC 9110 section 13.1.5: it answers with all of the new one, which takes its place."""
    it = Ranged(box)
    it.begin()
    it.version = 1
    assert "fwd=partial; fwd-status=200; stored" in it.whole(1)
    assert "; hit" in it.whole(1)
    assert it.get(("Range", "bytes=0-4")).body == SMALL[1][:5]
    assert len(it.asked()) == 2


def wrong_rests():
    return {
        "another tag": lambda it: it.part(5, len(SMALL[1]) - 1),
        "another length": lambda it: it.part(5, 9, told="bytes 5-9/11"),
        "from elsewhere": lambda it: it.part(6, 9),
        "with an overlap": lambda it: it.part(4, 9),
        "not to the end": lambda it: it.part(5, 8),
        "fewer bytes than told": lambda it: it.part(5, 7, told="bytes 5-9/10"),
        "no place": lambda it: it.part(5, 9, told="bytes */10"),
        "in chunks": lambda it: Answer(206, "5\r\n56789\r\n0\r\n\r\n", it.fields() + [
            ("Content-Range", "bytes 5-9/10"), ("Transfer-Encoding", "chunked")]),
        "not to be stored": lambda it: Answer(206, "56789", [
            ("Cache-Control", "no-store"), ("ETag", '"0"'), ("Content-Range", "bytes 5-9/10")]),
        "no tag": lambda it: Answer(206, "56789", [("Content-Range", "bytes 5-9/10")]),
        "416": lambda it: Answer(416, "", [("Content-Range", "bytes */10")]),
    }


@pytest.mark.parametrize("name", wrong_rests())
def test_what_does_not_fit_is_never_put_together(box, name):
    it = Ranged(box)
    it.begin()
    if name == "another tag":
        it.version = 1
    it.instead = lambda request: wrong_rests()[name](it)
    status = it.whole(it.version)
    assert "fwd=uri-miss; fwd-status=200; stored" in status, status
    assert it.asked()[1:] == [("bytes=5-", '"0"'), (None, None)]
    assert "; hit" in it.whole(it.version)
    assert metric(it.edge, "cache_rests") == 0 and metric(it.edge, "cache_rests_refused") == 1


def test_a_rest_that_breaks_off_is_seen(box):
    it = Ranged(box, web={"eject": {"failures": 0}})
    it.begin()
    it.instead = lambda request: (
        b"HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"0\"\r\n"
        b"Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n567")
    with pytest.raises((http1.ProtocolError, OSError)):
        it.get()
    it.instead = None
    assert "fwd=partial; fwd-status=206; stored" in it.whole(0)


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_is_an_answer(box, status):
    it = Ranged(box)
    it.begin()
    it.instead = lambda request: Answer(status, "no")
    assert it.get().status == status
    it.instead = None
    assert "fwd=partial; fwd-status=206; stored" in it.whole(0)


@pytest.mark.parametrize("tag,asked", [('W/"%d"', [(None, None)]),
                                       ("", [("bytes=5-", None), (None, None)])])
def test_without_a_strong_validator(box, tag, asked):
    """RFC 9111 section 3.4. Without any it is asked for once, and given up."""
    it = Ranged(box)
    it.tag = tag
    it.begin()
    it.whole(0)
    assert it.asked()[1:] == asked
    assert "; hit" in it.whole(0)


@pytest.mark.parametrize("fields", [[("Cache-Control", "no-cache")], [("Range", "bytes=0-7")],
                                    [("If-None-Match", '"z"')], [("Authorization", "x")]])
def test_others_are_not_completed(box, fields):
    it = Ranged(box)
    it.begin()
    assert it.get(*fields).body in (SMALL[0], SMALL[0][:8])
    assert it.asked()[1] == (dict(fields).get("Range"), None)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("heeds", [False, True])
def test_one_rest_for_many(box, workers, changed, heeds):
    it = Ranged(box, LARGE, workers=workers)
    it.heeds_if_range = heeds
    it.begin(500_000)
    it.gate.clear()
    pool = concurrent.futures.ThreadPoolExecutor(12)
    asked = [pool.submit(it.get) for _ in range(12)]
    wait("all of them", lambda: metric(it.edge, "cache_misses") == 13)
    assert it.member.count() == 2
    it.version = int(changed)
    it.gate.set()
    for one in asked:
        it.whole(it.version, one.result())
    # The rest of something else is given up for all of them, and all of it is asked for once.
    assert it.member.count() == (3 if changed and not heeds else 2)


def test_a_client_that_goes_leaves_it_to_the_others(box):
    it = Ranged(box, LARGE)
    it.begin(500_000)
    it.gate.clear()
    first = http1.Client(it.edge.address, 20.0)
    first.send(b"GET /it HTTP/1.1\r\nHost: test.example\r\n\r\n")
    wait("it to ask", lambda: it.member.count() == 2)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(it.get)
        wait("another one to wait", lambda: metric(it.edge, "cache_misses") == 3)
        first.close()
        it.gate.set()
        it.whole(0, other.result())
    assert it.member.count() == 2


@pytest.mark.parametrize("tag,asked", [('"0"', ["bytes=0-499999", "bytes=500000-"]),
                                       ('"1"', ["bytes=0-499999", "bytes=500000-", None])])
def test_over_http2_on_both_sides(box, tag, asked):
    body, seen = LARGE[0], []

    def act(connection, request):
        seen.append(request.get("range"))
        first, last = (request.get("range") or "bytes=0-")[len("bytes="):].split("-")
        first, last = int(first or 0), int(last or len(body) - 1)
        given = body[first:last + 1]
        ranged = [("content-range", f"bytes {first}-{last}/{len(body)}")]
        connection.answer(request, given, "206" if seen[-1] else "200", [
            ("cache-control", "max-age=60"), ("etag", '"0"' if len(seen) == 1 else tag),
            *(ranged if seen[-1] else [])])
    member = H2Member(act)
    box.closers.append(member.stop)
    edge = Edge(box, {"web": {"members": [member.address], "protocol": "h2c"}}, cache=CACHE)

    def curl(*more):
        return subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "--max-time", "20", *more,
                               f"http://{edge.address}/it"], check=True, capture_output=True).stdout
    assert curl("-r", "0-499999") == body[:500_000]
    for _ in range(2):
        assert curl() == body
    assert seen == asked
