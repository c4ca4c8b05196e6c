# SPDX-License-Identifier: Apache-2.0
"""Clients that use HTTP/2 against us: each is ended in time, and counted (RFC 9113 section 10.5).
"""
import os
import time

import pytest

from harness.box import sanitized, wait
from harness.h2member import H2Member
from harness.origin import Answer, Origin
from harness.setup import WORKERS, Edge, cluster, metric, resident_kib
from harness.wire2 import (ACK, CALM, CONT, FLOW, NO_ERROR, PING, PREFACE, PRIORITY,
                           PRIORITY_UPDATE, REFUSED, Connection, block, data, frame, get, headers,
                           literal, reset, settings, window)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ends_calmly(edge, connection, counter, raw, most):
    """Sends raw over and over; GOAWAY has to come before `most` of them were taken."""
    before = metric(edge, counter)
    for _ in range(most):
        connection.send(raw() if callable(raw) else raw)
        if connection.read(lambda: connection.goaway is not None, 0):
            break
    assert connection.read(lambda: connection.goaway is not None)
    assert connection.goaway == CALM
    assert connection.read(lambda: connection.eof)
    wait("the counter", lambda: metric(edge, counter) == before + 1)


def greeted(edge):
    """What our SETTINGS say is in force."""
    connection = Connection(edge.address)
    connection.read(lambda: connection.settings is not None)
    assert connection.ping()
    return connection


def numbered(raw):
    number = [-1]

    def step():
        number[0] += 2
        return raw(number[0])
    return step


def test_rapid_reset(suite):
    connection = Connection(suite.edge.address)
    step = numbered(lambda n: headers(get("/wait"), n) + reset(n))
    ends_calmly(suite.edge, connection, "h2_calmed_resets", step, 400)
    assert connection.goaways[-1][0] < 2 * 200, "more than 200 streams were let through"


@pytest.mark.parametrize("ender", [
    reset, lambda n: window(0, n), lambda n: frame(PRIORITY, 0, n), lambda n: data(b"x", n)],
    ids=["by-its-client", "for-a-window", "for-a-priority", "for-data"])
def test_what_is_reset_at_once_asks_nobody(spare, ender):
    """HEADERS and RST_STREAM in one piece, or what we reset it for: no exchange begins, and no
    member hears of it."""
    member = spare.origin("m")
    edge = Edge(spare, {"web": cluster([member], health=None)}, workers=1)
    connection = greeted(edge)
    assert connection.ask("/before", 1).status == 200  # and a connection to the member is there
    connection.send(b"".join(headers(get("/gone"), n) + ender(n) for n in range(3, 103, 2)))
    connection.send(headers(get("/here"), 103))
    assert connection.read(lambda: connection.stream(103).ended)
    assert [request.path for request in member.requests] == ["/before", "/here"]
    assert metric(edge, "h2_streams") == 52
    connection.close()


def test_resets_that_we_are_made_to_send(suite):
    """A window that overflows has the server reset the stream: the client gains nothing by it."""
    connection = Connection(suite.edge.address)
    step = numbered(lambda n: headers(get("/wait"), n) + window((1 << 31) - 1, n))
    ends_calmly(suite.edge, connection, "h2_calmed_resets", step, 400)


def test_resets_within_an_answer_that_we_are_made_to_send(suite):
    """Its head is out and its body waits for a window, which comes as 0."""
    connection = Connection(suite.edge.address, pairs=[(4, 0)])

    def step(number):
        connection.send(headers(get("/files/big"), number))
        assert connection.read(lambda: connection.stream(number).status or
                               connection.goaway is not None)
        return window(0, number)
    ends_calmly(suite.edge, connection, "h2_calmed_resets", numbered(step), 400)


@pytest.mark.parametrize("raw", [reset(1), headers(get()), window(1, 1)],
                         ids=["reset", "headers", "window"])
def test_what_is_said_to_a_stream_that_is_gone(suite, raw):
    connection = Connection(suite.edge.address)
    connection.send(headers(get("/wait")) + window((1 << 31) - 1, 1))
    assert connection.answer(1).reset == FLOW
    ends_calmly(suite.edge, connection, "h2_calmed_frames", raw * 100, 100)


def test_data_of_padding_alone(suite):
    connection = Connection(suite.edge.address)
    connection.send(headers(get("/", method="POST"), end=False))
    raw = frame(0, 8, 1, b"\x04" + bytes(4)) * 100
    ends_calmly(suite.edge, connection, "h2_calmed_frames", raw, 100)


def test_settings_of_thousands(suite):
    connection = greeted(suite.edge)
    ends_calmly(suite.edge, connection, "h2_calmed_frames",
                settings(*[(4, number % 2 * 65535) for number in range(2000)]), 2)


def test_malformed_requests_without_end(suite):
    connection = Connection(suite.edge.address)
    step = numbered(lambda n: headers(get("/", ("X", "1")), n))
    ends_calmly(suite.edge, connection, "h2_calmed_resets", step, 400)


def test_a_client_may_change_its_mind(suite):
    connection = Connection(suite.edge.address)
    for number in range(1, 600, 6):
        connection.send(headers(get("/wait"), number) + reset(number))
        for other in (number + 2, number + 4):
            assert connection.ask("/", other).status == 200
    assert connection.goaway is None


@pytest.mark.parametrize("raw", [
    frame(PING, 0, 0, bytes(8)), frame(PING, ACK, 0, bytes(8)), settings(), settings((4, 65535)),
    frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"), window(1), frame(99, 0, 0, b"x"),
    frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1")],
    ids=["ping", "ping-ack", "settings", "settings-window", "priority", "window",
         "unknown", "priority-update"])
def test_frames_that_carry_nothing(suite, raw):
    ends_calmly(suite.edge, Connection(suite.edge.address), "h2_calmed_frames", raw * 100, 100)


def test_empty_data(suite):
    connection = Connection(suite.edge.address)
    connection.send(headers(get("/", method="POST"), end=False))
    ends_calmly(suite.edge, connection, "h2_calmed_frames", data(b"", end=False) * 100, 100)


def test_a_flood_of_continuations(suite):
    connection = greeted(suite.edge)
    connection.send(headers(get("/"), flags=0))
    sent = 0
    before = metric(suite.edge, "h2_calmed_heads")
    while connection.goaway is None and sent < 1 << 20:
        connection.send(frame(CONT, 0, 1, literal("x", "y" * 500)))
        sent += 520
        connection.read(lambda: connection.goaway is not None, 0.001)
    assert connection.goaway == CALM and sent < 65536
    wait("the counter", lambda: metric(suite.edge, "h2_calmed_heads") == before + 1)


def test_a_flood_of_empty_continuations(suite):
    connection = Connection(suite.edge.address)
    connection.send(headers(get("/"), flags=0) + frame(CONT, 0, 1) * 5000)
    assert connection.read(lambda: connection.goaway is not None or connection.eof)
    assert connection.goaway == CALM


def test_a_bomb_of_indices(suite):
    """One field of 4000 bytes goes into the table, then a frame of 16000 bytes names it 16000
    times: 64 MB, were they all written down."""
    connection = Connection(suite.edge.address)
    field = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000
    before, resident = metric(suite.edge, "h2_calmed_heads"), resident_kib(suite.edge.process.pid)
    cpu = cpu_seconds(suite.edge.process.pid)
    connection.send(headers(block(get("/")) + field))
    assert connection.answer(1).status == 200
    connection.send(headers(block(get("/")) + b"\xbe" * 12000, 3))
    assert connection.read(lambda: connection.goaway is not None)
    assert connection.goaway == CALM
    assert resident_kib(suite.edge.process.pid) - resident < 4096
    assert cpu_seconds(suite.edge.process.pid) - cpu < 1
    wait("the counter", lambda: metric(suite.edge, "h2_calmed_heads") == before + 1)


# ---- an edge with tight limits ----

def test_a_stream_too_many_is_refused(suite):
    connection = Connection(suite.tight.address)
    connection.send(b"".join(headers(get("/", method="POST"), n, end=False)
                             for n in range(1, 11, 2)))
    assert connection.answer(9).reset == REFUSED
    connection.send(data(b"x", 1))
    assert connection.answer(1).status == 200
    assert connection.ask("/", 11).status == 200


def test_more_than_the_window_of_a_stream(suite):
    connection = greeted(suite.tight)
    connection.send(headers(get("/", method="POST"), end=False) + data(bytes(2000)))
    one = connection.answer(1)
    assert FLOW in (one.reset, connection.goaway)


@pytest.mark.parametrize("raw", [b"", PREFACE[:10], PREFACE, PREFACE + settings(),
                                 PREFACE + settings() + headers(get("/"), flags=0)],
                         ids=["nothing", "half-preface", "preface", "settings", "half-head"])
def test_silence_ends(suite, raw):
    connection = Connection(suite.tight.address, greet=False)
    connection.send(raw)
    began = time.monotonic()
    assert connection.read(lambda: connection.eof, 5)
    assert time.monotonic() - began < 4


def test_half_a_head_behind_a_request(suite):
    connection = Connection(suite.tight.address)
    assert connection.ask().status == 200
    before = metric(suite.tight, "header_timeouts")
    connection.send(headers(get("/"), 3, flags=0))
    assert connection.read(lambda: connection.eof, 5)
    wait("the counter", lambda: metric(suite.tight, "header_timeouts") == before + 1)


def test_a_head_in_time_is_held_against_nobody(suite):
    """The limit for the preface and the first head ends with that head, answered or not."""
    connection = Connection(suite.tight.address)
    one = connection.ask("/slow")
    assert (one.status, connection.goaway) == (200, None)
    assert connection.ask("/", 3).status == 200


def test_a_window_that_stays_shut(suite):
    connection = Connection(suite.tight.address, pairs=[(4, 0)])
    before = metric(suite.tight, "read_timeouts")
    connection.send(headers(get("/big")))
    one = connection.answer(1)
    assert one.reset is not None
    wait("the counter", lambda: metric(suite.tight, "read_timeouts") == before + 1)
    connection.send(headers(get("/"), 3) + window(100, 3))
    assert connection.answer(3).body == b"ok"


def test_a_body_that_drips(suite):
    connection = Connection(suite.tight.address)
    before = metric(suite.tight, "body_timeouts")
    connection.send(headers(get("/", ("content-length", "100"), method="POST"), end=False))
    while connection.stream(1).status is None and connection.goaway is None:
        connection.send(data(b"x", end=False))
        connection.read(lambda: connection.stream(1).status, 0.1)
    assert connection.stream(1).status == 408
    assert metric(suite.tight, "body_timeouts") == before + 1
    assert connection.ask("/", 3).status == 200


# ---- memory ----

def test_a_client_that_does_not_read(spare):
    """Heads need no window: what it has asked for waits for it until there is too much, while
    others have what they ask for."""
    answer = Answer(200, "", [("X-Long", "y" * 30000), ("Cache-Control", "max-age=60")])
    member = spare.origin("m", answer=lambda request: answer if request.path == "/long" else
                          Answer(200, "ok"))
    edge = Edge(spare, {"web": cluster([member], health=None)}, workers=1,
                cache={"memory": "64MiB"}, limits={"http2-streams": 4000, "body-timeout": "1min"})
    other, deaf = Connection(edge.address), Connection(edge.address)
    assert other.ask("/long").status == 200  # it is stored
    step, number = numbered(lambda n: headers(get("/long"), n)), 3
    for _ in range(40):
        if metric(edge, "h2_calmed_unread"):
            break
        deaf.send(b"".join(step() for _ in range(100)))
        assert other.ask("/", number).body == b"ok"
        number += 2
    wait("the counter", lambda: metric(edge, "h2_calmed_unread") == 1)
    assert deaf.read(lambda: deaf.eof) and deaf.goaway is None, "it was told"
    assert other.ask("/", number).body == b"ok" and other.goaway is None
    assert metric(edge, "h2_calmed_heads") == metric(edge, "h2_calmed_frames") == 0


MEGABYTE = bytes(range(256)) * 4096


def big_member(box, kind, more=()):
    """The settings of a cluster whose member answers with a megabyte."""
    if kind == "http1":
        member = Origin("m", lambda request: Answer(
            200, MEGABYTE if request.path == "/big" else "", list(more)))
        settings = cluster([member], health=None)
    else:
        def act(connection, request):
            body = MEGABYTE if request.path == "/big" else b""
            connection.answer(request, body, fields=more)
        member = H2Member(act)
        settings = {"members": [member.address], "protocol": "h2c", "slow-start": 0}
    box.closers.append(member.stop)
    return settings


def grown_below(edge, before, kib_each):
    """8 MB for all of them. Under ASan every block has its fences, and what is freed is kept for a
    while: kib_each a stream holds there. What TSan keeps beside them says nothing about us."""
    grown = resident_kib(edge.process.pid) - before
    print(f"grown by {grown} KiB")
    if not sanitized():
        assert grown * 1024 < 8_000_000, grown
    assert WORKERS > 1 or grown < 500 * kib_each, grown


@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_500_streams_behind_a_zero_window(spare, kind):
    """What nobody takes is not gathered, whatever the member speaks; and each stream has its head,
    and goes on when its window opens."""
    edge = Edge(spare, {"web": big_member(spare, kind)}, workers=1, limits={"http2-streams": 500})
    connection = Connection(edge.address, pairs=[(4, 0)])
    assert connection.ask("/empty").status == 200
    before = resident_kib(edge.process.pid)
    numbers = [3 + 2 * i for i in range(500)]
    connection.send(b"".join(headers(get("/big"), number) for number in numbers))
    assert connection.read(lambda: all(connection.stream(n).status for n in numbers), 60)
    assert connection.ping()
    grown_below(edge, before, 36)
    assert metric(edge, "h2_held_small") >= 100
    connection.send(window(64 * len(MEGABYTE)))
    for number in (numbers[0], numbers[250], numbers[499]):
        connection.send(window(len(MEGABYTE), number))
        one = connection.answer(number, 30)
        assert one.ended and one.body == MEGABYTE
    connection.close()
    assert edge.process.stop() in (0, None)


@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_streams_that_are_taken_have_their_bodies(spare, kind):
    """More of them than there is room for at once."""
    edge = Edge(spare, {"web": big_member(spare, kind)}, workers=1)
    connection = Connection(edge.address, pairs=[(4, 100000)])
    connection.send(window(1 << 30))
    numbers = [1 + 2 * i for i in range(40)]
    connection.send(b"".join(headers(get("/big"), number) for number in numbers))
    for turn in range(1, 12):
        connection.read(lambda: all(len(connection.stream(n).body) == 100000 * turn or
                                    connection.stream(n).ended for n in numbers), 30)
        connection.send(b"".join(window(100000, number) for number in numbers
                                 if not connection.stream(number).ended))
    assert connection.read(lambda: all(connection.stream(n).ended for n in numbers), 30)
    assert all(connection.stream(n).body == MEGABYTE for n in numbers)


@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_what_others_wait_for_outlives_the_connection_it_was_asked_on(spare, kind):
    """The one who asked goes with its account of what it holds; the fetch goes on without it."""
    edge = Edge(spare, {"web": big_member(spare, kind, [("cache-control", "max-age=60")])},
                workers=1, cache={"memory": "64MiB"})
    first, second = (Connection(edge.address, pairs=[(4, 0)]) for _ in range(2))
    first.send(headers(get("/big")))
    assert first.read(lambda: first.stream(1).status)
    second.send(headers(get("/big")))
    assert second.read(lambda: second.stream(1).status)
    second.send(window(1 << 30) + window(1 << 21, 1))
    first.close()
    assert second.answer(1, 30).body == MEGABYTE
    wait("what went on", lambda: metric(edge, "cache_fetches") == 1)


def test_500_bodies_that_no_member_takes(spare):
    """Each stream has a little of its body here, and none has a whole buffer for it."""
    member = H2Member(lambda connection, request: None, values={4: 0})
    spare.closers.append(member.stop)
    edge = Edge(spare, {"web": {"members": [member.address], "protocol": "h2c", "slow-start": 0}},
                workers=1, limits={"http2-streams": 500})
    connection = greeted(edge)
    connection.send(headers(get("/", method="POST"), 1, end=False))
    wait("the first", lambda: any(c.requests for c in member.connections))
    before = resident_kib(edge.process.pid)
    numbers = [3 + 2 * i for i in range(499)]
    for number in numbers:
        connection.send(headers(get("/", method="POST"), number, end=False) +
                        data(b"x" * 2000, number, end=False))
    wait("all", lambda: sum(len(c.requests) for c in member.connections) == 500, 60)
    assert connection.ping()
    grown_below(edge, before, 28)
    # And they go on when somebody takes them.
    for one in list(member.connections):
        one.send(frame(4, 0, 0, b"\0\4\0\0\xff\xff") + window(1 << 22))
    connection.send(b"".join(data(b"y", number) for number in numbers))
    wait("the bodies", lambda: sum(r.body == b"x" * 2000 + b"y" and r.ended for c in
                                   member.connections for r in c.requests.values()) == 499, 60)
    connection.close()
    edge.process.stop()


def test_500_files_behind_a_shut_window(spare):
    """All see the window of the connection open when they begin, and one takes it."""
    folder = spare.folder / "www"
    folder.mkdir()
    (folder / "big").write_bytes(MEGABYTE)
    (folder / "small").write_bytes(b"ok")
    edge = Edge(spare, {}, workers=1, limits={"http2-streams": 500},
                routes=[{"files": {"folder": str(folder)}}])
    connection = Connection(edge.address, pairs=[(4, 1 << 20)])
    assert connection.ask("/small").body == b"ok"
    before = resident_kib(edge.process.pid)
    numbers = [3 + 2 * i for i in range(500)]
    connection.send(b"".join(headers(get("/big"), number) for number in numbers))
    assert connection.read(lambda: all(connection.stream(n).status for n in numbers), 60)
    assert connection.ping()
    grown_below(edge, before, 24)
    # What is allowed then comes, of whichever, and in its order.
    connection.send(window(8 << 20))
    bodies = [connection.stream(number) for number in numbers]
    allowed = 65535 - 2 + (8 << 20)
    assert connection.read(lambda: sum(len(one.body) for one in bodies) == allowed, 60)
    assert all(one.body == MEGABYTE[:len(one.body)] for one in bodies)
    connection.close()
    edge.process.stop()


# ---- leaving (section 6.8) ----

def test_leaving_in_two_steps(suite, spare):
    edge = Edge(spare, {"web": cluster([suite.member], health=None)}, workers=1)
    connection, idle = Connection(edge.address), Connection(edge.address)
    assert idle.ask().status == 200
    connection.send(headers(get("/wait")))
    wait("the request", lambda: metric(edge, "requests_forwarded") >= 2)
    edge.process.signal(15)
    assert connection.read(lambda: len(connection.goaways) == 1)
    assert connection.goaways[0] == (0x7fffffff, NO_ERROR)
    connection.send(headers(get("/"), 3))  # it was on its way
    assert connection.read(lambda: len(connection.goaways) == 2)
    assert connection.goaways[1] == (3, NO_ERROR)
    assert connection.read(lambda: connection.stream(3).ended)
    suite.release.set()
    assert connection.read(lambda: connection.stream(1).ended)
    assert connection.stream(1).status == connection.stream(3).status == 200
    assert connection.read(lambda: connection.eof, 5)
    assert idle.read(lambda: idle.eof, 5) and idle.goaway == NO_ERROR
    edge.process.wait()
