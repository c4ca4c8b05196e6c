# SPDX-License-Identifier: Apache-2.0
"""One fetch for many: who waits, who streams along, who is freed, and what a leader's end means."""
import concurrent.futures
import socket
import threading
import time

import pytest

from harness import http1
from harness.box import wait
from harness.listener import Listener, read_head
from harness.origin import Answer, field
from harness.setup import Edge, cluster, metric, simple

CACHE = {"memory": "16MiB"}


def held(box, answer, **more):
    edge, member = simple(box, answer, cache=CACHE, **more)
    member.hold()
    return edge, member


def misses(edge, count):
    wait(f"{count} requests at the edge", lambda: metric(edge, "cache_misses") >= count)


@pytest.mark.parametrize("fields", [[], [("Transfer-Encoding", "chunked")]])
@pytest.mark.parametrize("workers", [1, 3])
def test_one_fetch_for_many(box, fields, workers):
    body = b"x" * 50_000 if not fields else b"c350\r\n" + b"x" * 50_000 + b"\r\n0\r\n\r\n"
    fields = [("Cache-Control", "max-age=60")] + fields
    edge, member = held(box, lambda _: Answer(200, body, fields), workers=workers)
    pool = concurrent.futures.ThreadPoolExecutor(40)
    asked = [pool.submit(http1.fetch, edge.address, "/one") for _ in range(40)]
    misses(edge, 40)
    member.release()
    answers = [a.result() for a in asked]
    assert all(a.status == 200 and a.body == b"x" * 50_000 for a in answers)
    assert member.count() == 1
    assert metric(edge, "cache_collapsed") == 39
    assert sum("collapsed" in a.get("Cache-Status") for a in answers) == 39


def test_uncacheable_ones_are_freed_together_and_remembered(box):
    others = threading.Barrier(19)  # one after another they would never be 19

    def answer(request):
        if request.path == "/p" and 1 < member.count("/p") <= 20:
            others.wait(20)
        return Answer(200, "mine", [("Cache-Control", "private")])
    edge, member = held(box, answer)
    pool = concurrent.futures.ThreadPoolExecutor(20)
    asked = [pool.submit(http1.fetch, edge.address, "/p", timeout=30) for _ in range(20)]
    misses(edge, 20)
    member.release()
    assert all(a.result().text == "mine" for a in asked)
    assert member.count() == 20 and not others.broken
    # Nobody waits for this target any more.
    member.hold()
    again = [pool.submit(http1.fetch, edge.address, "/p") for _ in range(5)]
    wait("all of them at the member", lambda: member.in_flight == 5)
    member.release()
    assert [a.result().status for a in again] == [200] * 5


def test_what_a_leader_cannot_be_told_is_nobody_elses_failure(box):
    """A transfer coding that nobody knows: 502 in HTTP/1.0, and an answer in HTTP/1.1."""
    def answer(request):
        return (b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    edge, member = held(box, answer)
    pool = concurrent.futures.ThreadPoolExecutor(5)

    def ask(version):
        with http1.Client(edge.address) as client:
            client.send(f"GET /c HTTP/1.{version}\r\nHost: a\r\n\r\n".encode())
            return client.read_response()
    leader = pool.submit(ask, 0)
    misses(edge, 1)
    others = [pool.submit(ask, 1) for _ in range(4)]
    misses(edge, 5)
    member.release()
    assert leader.result().status == 502
    assert [(o.result().status, o.result().body) for o in others] == [(200, b"hi")] * 4


def test_variants_are_fetched_once_each(box):
    def answer(request):
        return Answer(200, field(request, "X-Kind"), [("Cache-Control", "max-age=60"),
                                                      ("Vary", "X-Kind")])
    edge, member = held(box, answer)

    def ask(n):
        return http1.fetch(edge.address, "/v", fields=[("X-Kind", f"k{n % 3}")])
    pool = concurrent.futures.ThreadPoolExecutor(24)
    asked = [pool.submit(ask, n) for n in range(24)]
    misses(edge, 24)
    member.release()
    assert [a.result().text for a in asked] == [f"k{n % 3}" for n in range(24)]
    assert member.count() == 3


def test_waiters_stream_along(box):
    """What has come goes out before the rest is there."""
    go, asked = threading.Event(), []

    def serve(sock):
        asked.append(read_head(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                     b"Content-Length: 10\r\n\r\n01234")
        go.wait(20)
        sock.sendall(b"56789")
        sock.recv(1)
    member = Listener(box.closers, serve)
    edge = Edge(box, {"web": cluster([member.address], health=None)}, cache=CACHE)
    socks = []
    for _ in range(3):
        sock = socket.create_connection(edge.address.split(":"))
        sock.settimeout(10)
        sock.sendall(b"GET /s HTTP/1.1\r\nHost: a\r\n\r\n")
        socks.append(sock)
        time.sleep(0.1)
    got = [b""] * 3
    for i, sock in enumerate(socks):
        while b"01234" not in got[i]:
            piece = sock.recv(4096)
            assert piece, got[i]
            got[i] += piece
    assert not any(b"56789" in g for g in got)
    go.set()
    for i, sock in enumerate(socks):
        while not got[i].endswith(b"56789"):
            piece = sock.recv(4096)
            assert piece, got[i]
            got[i] += piece
    assert len(asked) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_long_bodies_in_pieces_stream_along(box, chunked):
    """Those who join in the middle of a part of what is stored get every byte, once."""
    body = bytes(i * 7 % 251 for i in range(400_000))
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    asked = []

    def serve(sock):
        asked.append(read_head(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n%b\r\n\r\n" % framing)
        for at in range(0, len(body), 9_999):
            piece = body[at:at + 9_999]
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(0.01)
        sock.sendall(b"0\r\n\r\n" if chunked else b"")
        sock.recv(1)
    member = Listener(box.closers, serve)
    edge = Edge(box, {"web": cluster([member.address], health=None)}, cache=CACHE, wait_for=False)
    wait("the edge to listen", lambda: http1.Client(edge.address).close() or True)
    got = []

    def ask():
        got.append(http1.fetch(edge.address, "/long").body)
    threads = []
    for _ in range(8):
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
        time.sleep(0.03)
    for thread in threads:
        thread.join()
    assert len(got) == 8 and all(g == body for g in got), [len(g) for g in got]
    assert metric(edge, "cache_collapsed") >= 4 and len(asked) == 1


def test_a_leader_that_goes_away_hands_over(box):
    edge, member = held(box, lambda _: Answer(200, "all", [("Cache-Control", "max-age=60")]))
    leader = socket.create_connection(edge.address.split(":"))
    leader.sendall(b"GET /l HTTP/1.1\r\nHost: a\r\n\r\n")
    misses(edge, 1)
    pool = concurrent.futures.ThreadPoolExecutor(5)
    asked = [pool.submit(http1.fetch, edge.address, "/l", host="a") for _ in range(5)]
    misses(edge, 6)
    leader.close()
    wait("the leader to be gone", lambda: metric(edge, "client_aborts") >= 1)
    member.release()
    assert [a.result().text for a in asked] == ["all"] * 5
    assert member.count() == 1 and metric(edge, "cache_fetches") == 1


def test_nobody_waits_for_a_leader_without_an_audience(box):
    edge, member = held(box, lambda _: Answer(200, "all", [("Cache-Control", "max-age=60")]))
    leader = socket.create_connection(edge.address.split(":"))
    leader.sendall(b"GET /l HTTP/1.1\r\nHost: a\r\n\r\n")
    misses(edge, 1)
    leader.close()
    wait("the leader to be gone", lambda: metric(edge, "client_aborts") >= 1)
    member.release()
    assert metric(edge, "cache_fetches") == 0
    assert http1.fetch(edge.address, "/l", host="a").status == 200


def test_failure_is_shared(box):
    edge, member = held(box, lambda _: None, web={"eject": {"failures": 0}})
    pool = concurrent.futures.ThreadPoolExecutor(10)
    asked = [pool.submit(http1.fetch, edge.address, "/f") for _ in range(10)]
    misses(edge, 10)
    member.release()
    assert {a.result().status for a in asked} == {502}
    assert member.count() <= 3, "each of them tried for itself"


def test_validation_is_collapsed(box):
    def answer(request):
        if field(request, "If-None-Match") == '"a"':
            return Answer(304, "", [("ETag", '"a"'), ("Cache-Control", "max-age=60")])
        return Answer(200, "body", [("ETag", '"a"'), ("Cache-Control", "max-age=1")])
    edge, member = simple(box, answer, cache=CACHE)
    http1.fetch(edge.address, "/c")
    time.sleep(1.2)
    member.hold()
    pool = concurrent.futures.ThreadPoolExecutor(10)
    asked = [pool.submit(http1.fetch, edge.address, "/c") for _ in range(10)]
    misses(edge, 11)
    member.release()
    assert [a.result().text for a in asked] == ["body"] * 10
    assert member.count() == 2 and metric(edge, "cache_validated") == 1


def test_stale_while_revalidate(box):
    counter = [0]

    def answer(_):
        counter[0] += 1
        return Answer(200, str(counter[0]),
                      [("Cache-Control", "max-age=1, stale-while-revalidate=60")])
    edge, member = simple(box, answer, cache=CACHE)
    http1.fetch(edge.address, "/w")
    time.sleep(1.2)
    member.hold()
    for _ in range(5):  # answered at once, while the new one is on its way
        stale = http1.fetch(edge.address, "/w")
        assert stale.text == "1" and "hit; ttl=-" in stale.get("Cache-Status")
    wait("the refresh", lambda: member.count() == 2)
    member.release()
    wait("the new one", lambda: http1.fetch(edge.address, "/w").text == "2")
    assert member.count() == 2 and metric(edge, "cache_fetches") == 1


def test_a_refresh_that_fails_leaves_what_is_there(box):
    broken = [False]

    def answer(_):
        if broken[0]:
            return None
        return Answer(200, "1", [("Cache-Control", "max-age=1, stale-while-revalidate=60")])
    edge, member = simple(box, answer, cache=CACHE, web={"eject": {"failures": 0}})
    http1.fetch(edge.address, "/w")
    broken[0] = True
    time.sleep(1.2)
    for n in range(3):
        assert http1.fetch(edge.address, "/w").text == "1"
        wait("the refresh", lambda: metric(edge, "cache_fetches") > n)
        time.sleep(0.1)


def test_stale_if_error_and_unreachable_members(box):
    failing = [None]

    def answer(_):
        if failing[0] == "cut":
            return None
        if failing[0]:
            return Answer(failing[0], "no")
        return Answer(200, "good", [("Cache-Control", "max-age=1, stale-if-error=60")])
    edge, member = simple(box, answer, cache=CACHE, web={"eject": {"failures": 0}})
    http1.fetch(edge.address, "/e")
    time.sleep(1.2)
    for failing[0] in (500, 503, "cut"):
        kept = http1.fetch(edge.address, "/e")
        assert (kept.status, kept.text) == (200, "good"), failing
        assert "stale-if-error" in kept.get("Cache-Status")
    failing[0] = 404
    assert http1.fetch(edge.address, "/e").status == 404
    assert metric(edge, "cache_stale_on_error") == 3


def test_purges_are_not_joined(box):
    edge, member = held(box, lambda _: Answer(200, "x", [("Cache-Control", "max-age=60")]))
    pool = concurrent.futures.ThreadPoolExecutor(4)
    first = pool.submit(http1.fetch, edge.address, "/x")
    misses(edge, 1)
    wait("the first at the member", lambda: member.in_flight == 1)
    # An unsafe request takes it back while it is on its way.
    put = pool.submit(http1.fetch, edge.address, "/x", method="PUT", body=b"new")
    wait("the second at the member", lambda: member.in_flight == 2)
    member.release()
    assert put.result().status == 200 and first.result().status == 200
    before = member.count()
    assert http1.fetch(edge.address, "/x").status == 200
    assert member.count() == before + 1
