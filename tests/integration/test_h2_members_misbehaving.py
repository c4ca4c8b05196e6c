# SPDX-License-Identifier: Apache-2.0
"""Members that break HTTP/2, one row a way of it: what the member does, what the client sees, which
counter moves. After each row the edge holds no descriptor more than before, and the next client
gets what it asked for."""
import contextlib
import socket
import ssl
import struct
import time

import pytest

from harness import http1, wire2
from harness.box import wait
from harness.h2member import H2Member
from harness.pki import member_contexts
from harness.setup import Edge, descriptors, metric, own
from harness.wire2 import (CALM, CANCEL, CONNECT_PROTOCOL, CONT, DATA, END_HEADERS, END_STREAM,
                           GOAWAY, HEADERS, INITIAL_WINDOW, INTERNAL, NO_ERROR, PADDED, PING, PUSH,
                           REFUSED, RST, SETTINGS, WINDOW, frame, settings)

CUT = "cut"
# Those of a row in which nobody is late, and of one that is about them.
TIMEOUTS = {"connect": "8s", "response": "8s", "idle": "8s", "keepalive": "1min"}
HASTY = {"connect": "600ms", "response": "1s", "idle": "1s", "keepalive": "1min"}
OK = [(":status", "200")]


# ---- what members do ---------------------------------------------------------------------------

def raw(*pieces):
    """Frames with their stream in place of None, and nothing behind them."""
    def act(conn, request):
        for kind, flags, payload in pieces:
            conn.send(frame(kind, flags, request.stream, payload))
    return act


def on_connection(*frames):
    def act(conn, _):
        conn.send(b"".join(frames))
    return act


def head(fields, *after, end=False):
    def act(conn, request):
        conn.headers(request.stream, fields, end=end)
        for step in after:
            step(conn, request)
    return act


def data(payload, end=False):
    return lambda conn, request: conn.data(request.stream, payload, end)


def reset(code):
    return lambda conn, request: conn.reset(request.stream, code)


def goaway(last, code=NO_ERROR):
    return lambda conn, request: conn.goaway(last(request) if callable(last) else last, code)


def cut(conn, _):
    conn.member.cut(conn)


def pause(conn, _):
    """What was sent is on its way to the client before what follows."""
    time.sleep(0.05)


def trailers(fields, end=True):
    return lambda conn, request: conn.headers(request.stream, fields, end=end)


def floods(make):
    def act(conn, request):
        while not conn.member.released.is_set():
            conn.send(make(conn, request))
    return act


def steps(*acts):
    def act(conn, request):
        for one in acts:
            one(conn, request)
    return act


def continuations(conn, request):
    """A head that never ends."""
    conn.send(frame(HEADERS, 0, request.stream, conn.encoder.encode(OK)))
    while not conn.member.released.is_set():
        conn.send(frame(CONT, 0, request.stream, b"\x00\x01a\x01b"))


BROKEN, BAD, BODY, LARGE = ("member_h2_broken", "member_bad_responses", "member_bad_bodies",
                            "member_heads_too_long")
BODIES_CUT, RESET, REFUSALS, CLOSES, TIMEOUT = (
    "member_bodies_cut", "member_streams_reset", "member_streams_refused", "member_closes",
    "member_timeouts")


class Row:
    def __init__(self, name, act, sees, counter, method="GET", body=None, early=False,
                 whole=True):
        self.name, self.act, self.sees, self.counter = name, act, sees, counter
        self.method, self.body, self.early, self.whole = method, body, early, whole


def fields(*more):
    return head([*OK, *more], end=True)


ROWS = [
    # Heads: RFC 9113 sections 8.2 and 8.3.
    Row("no status", head([("x-a", "b")], end=True), 502, BAD),
    Row("two statuses", head([*OK, (":status", "200")], end=True), 502, BAD),
    Row("a status behind a field", head([("x-a", "b"), (":status", "200")], end=True), 502, BAD),
    Row("an empty status", head([(":status", "")], end=True), 502, BAD),
    Row("a status of two digits", head([(":status", "20")], end=True), 502, BAD),
    Row("a status of four digits", head([(":status", "2000")], end=True), 502, BAD),
    Row("a status that is a word", head([(":status", "abc")], end=True), 502, BAD),
    Row("status 099", head([(":status", "099")], end=True), 502, BAD),
    Row("status 600", head([(":status", "600")], end=True), 502, BAD),
    Row("status 101", head([(":status", "101")]), 502, BAD),
    Row("a pseudo-field of requests", fields((":path", "/")), 502, BAD),
    Row("a pseudo-field of nobody", fields((":x", "y")), 502, BAD),
    Row("an upper-case name", fields(("X-Upper", "b")), 502, BAD),
    Row("an empty name", fields(("", "b")), 502, BAD),
    Row("a name with a space", fields(("x a", "b")), 502, BAD),
    Row("a name with a colon", fields(("x:a", "b")), 502, BAD),
    Row("a name with a line end", fields(("x\r\na", "b")), 502, BAD),
    Row("a value with a line end", fields(("x-a", "b\r\nx-c: d")), 502, BAD),
    Row("a value with a LF", fields(("x-a", "b\nx-c: d")), 502, BAD),
    Row("a value with a NUL", fields(("x-a", "b\0c")), 502, BAD),
    Row("a value that ends a head", fields(("x-a", "b\r\n\r\nHTTP/1.1 200 OK")), 502, BAD),
    Row("connection", fields(("connection", "close")), 502, BAD),
    Row("keep-alive", fields(("keep-alive", "5")), 502, BAD),
    Row("proxy-connection", fields(("proxy-connection", "close")), 502, BAD),
    Row("transfer-encoding", fields(("transfer-encoding", "chunked")), 502, BAD),
    Row("upgrade", fields(("upgrade", "websocket")), 502, BAD),
    Row("te", fields(("te", "gzip")), 502, BAD),
    Row("two lengths", head([*OK, ("content-length", "3"), ("content-length", "4")],
                            data(b"abc", True)), 502, BAD),
    Row("a length that is none", head([*OK, ("content-length", "3x")], data(b"abc", True)), 502,
        BAD),
    Row("a negative length", head([*OK, ("content-length", "-1")], data(b"", True)), 502, BAD),
    Row("a list of fields too long", fields(*[(f"x-{i}", "v" * 900) for i in range(60)]), 502,
        LARGE),
    Row("too many fields", fields(*[(f"x-{i}", "v") for i in range(200)]), 502, LARGE),
    Row("a head without an end", continuations, 502, BROKEN),
    Row("an interim one that ends the stream", head([(":status", "103")], end=True), 502, BAD),
    Row("a flood of interim ones", floods(lambda conn, request: frame(
        HEADERS, END_HEADERS, request.stream, b"\x48\x03103")), 502, "member_interim_floods"),
    Row("interim ones and no more", head([(":status", "103")]), 504, TIMEOUT),
    # Bodies.
    Row("a body before a head", raw((DATA, END_STREAM, b"hello")), 502, BROKEN),
    Row("a body behind an interim one", head([(":status", "103")], data(b"hello", True)), 502,
        BAD),
    Row("longer than told", head([*OK, ("content-length", "3")], pause, data(b"hello", True)), CUT,
        BODY),
    Row("shorter than told", head([*OK, ("content-length", "9")], data(b"hello"), pause,
                                  data(b"", True)), CUT, BODY),
    Row("no body, a length told", head([*OK, ("content-length", "9")], end=True), 502, BAD),
    Row("a body that stops", head(OK, data(b"hello")), CUT, TIMEOUT),
    Row("padding longer than its frame", head(OK, raw((DATA, PADDED, b"\xffhello"))), CUT,
        BROKEN),
    Row("more than the window", head(OK, lambda conn, request: [
        conn.data(request.stream, b"x" * 16384) for _ in range(200)]), CUT, BODY),
    # Trailers.
    Row("trailers that do not end", head(OK, data(b"hello"), pause,
                                         trailers([("x-a", "b")], end=False)), CUT, BODY),
    Row("a status in trailers", head(OK, data(b"hello"), pause, trailers([(":status", "200")])),
        CUT, BODY),
    Row("upper case in trailers", head(OK, data(b"hello"), pause, trailers([("X-A", "b")])), CUT,
        BODY),
    Row("a length in trailers", head(OK, data(b"hello"), pause,
                                     trailers([("content-length", "5")])), CUT, BODY),
    Row("trailers too long", head(OK, data(b"hello"), pause, trailers(
        [(f"x-{i}", "v" * 900) for i in range(60)])), CUT, BODY),
    Row("a body behind trailers", head(OK, trailers([("x-a", "b")]), data(b"hello", True)), b"",
        None, whole=False),
    # Resets.
    Row("reset before the head", reset(INTERNAL), 502, RESET),
    Row("cancelled before the head", reset(CANCEL), 502, RESET),
    Row("no error before the head", reset(NO_ERROR), 502, RESET),
    Row("calm, please", reset(CALM), 502, RESET),
    Row("an unknown error", reset(0x12345678), 502, RESET),
    Row("refused", reset(REFUSED), 503, REFUSALS),
    Row("refused, a POST", reset(REFUSED), 503, REFUSALS, "POST", b"x"),
    Row("reset behind an interim one", head([(":status", "103")], reset(INTERNAL)), 502,
        RESET),
    Row("reset behind the head", head(OK, pause, reset(INTERNAL)), CUT, BODIES_CUT),
    Row("reset in the body", head(OK, data(b"hello"), pause, reset(INTERNAL)), CUT,
        BODIES_CUT),
    Row("no error in the body", head(OK, data(b"hello"), pause, reset(NO_ERROR)), CUT, BODIES_CUT),
    Row("reset behind the length", head([*OK, ("content-length", "5")], data(b"hello"), pause,
                                        reset(INTERNAL)), b"hello", None),
    Row("reset in a POST", reset(INTERNAL), 502, RESET, "POST", b"x" * 100, early=True),
    Row("reset of an idle stream", on_connection(frame(RST, 0, 99, b"\0\0\0\1")), 502,
        BROKEN),
    Row("reset of a wrong size", raw((RST, 0, b"\0\0")), 502, BROKEN),
    # The connection's end.
    Row("closed before the head", cut, 502, CLOSES),
    Row("closed behind an interim one", head([(":status", "103")], cut), 502, "member_heads_cut"),
    Row("closed behind the head", head(OK, pause, cut), CUT, BODIES_CUT),
    Row("closed in the body", head(OK, data(b"hello"), pause, cut), CUT, BODIES_CUT),
    Row("closed behind the length", head([*OK, ("content-length", "9")], data(b"hello"), pause,
                                         cut), CUT, BODIES_CUT),
    Row("GOAWAY, an error, before the head", steps(goaway(lambda r: r.stream, INTERNAL),
                                                   cut), 502, CLOSES),
    Row("GOAWAY in the body", head(OK, data(b"hello"), goaway(lambda r: r.stream),
                                   data(b", world", True)), b"hello, world", None),
    Row("GOAWAY in the body, and closed", head(OK, data(b"hello"), goaway(lambda r: r.stream),
                                               pause, cut), CUT, BODIES_CUT),
    Row("GOAWAY with a growing stream", steps(goaway(1), goaway(5)), 502, BROKEN),
    Row("GOAWAY of a wrong size", on_connection(frame(GOAWAY, 0, 0, b"\0")), 502, BROKEN),
    Row("GOAWAY on a stream", raw((GOAWAY, 0, b"\0" * 8)), 502, BROKEN),
    # Frames that must not be.
    Row("HEADERS on stream 0", on_connection(frame(HEADERS, 5, 0, b"\x88")), 502, BROKEN),
    Row("DATA on stream 0", on_connection(frame(DATA, 1, 0, b"x")), 502, BROKEN),
    Row("HEADERS on an idle stream", on_connection(frame(HEADERS, 5, 99, b"\x88")), 502, BROKEN),
    Row("HEADERS on an even stream", on_connection(frame(HEADERS, 5, 2, b"\x88")), 502, BROKEN),
    Row("DATA on an idle stream", on_connection(frame(DATA, 1, 99, b"x")), 502, BROKEN),
    Row("CONTINUATION out of place", raw((CONT, 4, b"\x88")), 502, BROKEN),
    Row("a frame inside a head", steps(raw((HEADERS, 0, b"\x88")),
                                       on_connection(frame(PING, 0, 0, b"\0" * 8))), 502, BROKEN),
    Row("fields that are no HPACK", raw((HEADERS, 5, b"\xff\xff\xff\xff\xff")), 502, BROKEN),
    Row("an index beyond the table", raw((HEADERS, 5, b"\xbf")), 502, BROKEN),
    Row("a table too large", raw((HEADERS, 5, b"\x3f\xe1\xff\x03\x88")), 502, BROKEN),
    Row("a frame too large", raw((DATA, 0, b"x" * 16385)), 502, BROKEN),
    Row("PUSH_PROMISE", raw((PUSH, 4, b"\0\0\0\2\x82")), 502, BROKEN),
    Row("SETTINGS on a stream", raw((SETTINGS, 0, b"")), 502, BROKEN),
    Row("SETTINGS of a wrong size", on_connection(frame(SETTINGS, 0, 0, b"\0")), 502, BROKEN),
    Row("an ACK with settings", on_connection(frame(SETTINGS, 1, 0, b"\0" * 6)), 502, BROKEN),
    Row("a window too large in SETTINGS", on_connection(settings((INITIAL_WINDOW, 0x80000000))),
        502, BROKEN),
    Row("a frame size too small", on_connection(settings((5, 100))), 502, BROKEN),
    Row("push allowed by a server", on_connection(settings((2, 1))), 502, BROKEN),
    Row("PING of a wrong size", on_connection(frame(PING, 0, 0, b"\0")), 502, BROKEN),
    Row("PING on a stream", raw((PING, 0, b"\0" * 8)), 502, BROKEN),
    Row("a window update of nothing", raw((WINDOW, 0, b"\0\0\0\0")), 502, BROKEN),
    Row("one of nothing, of all", on_connection(frame(WINDOW, 0, 0, b"\0\0\0\0")), 502,
        BROKEN),
    Row("a window that overflows", on_connection(frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")),
        502, BROKEN),
    Row("a stream's that overflows", raw((WINDOW, 0, b"\x7f\xff\xff\xff")), 502, BAD),
    Row("a window update of a wrong size", raw((WINDOW, 0, b"\0")), 502, BROKEN),
    Row("HTTP/1.1", on_connection(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 502, BROKEN),
    # Floods of what carries nothing.
    Row("a flood of SETTINGS", floods(lambda conn, _: settings((INITIAL_WINDOW, 65535)) * 50), 502,
        BROKEN),
    Row("a flood of PING", floods(lambda conn, _: frame(PING, 0, 0, b"\0" * 8) * 50), 502, BROKEN),
    Row("a flood of window updates", floods(
        lambda conn, _: frame(WINDOW, 0, 0, b"\0\0\0\1") * 50), 502, BROKEN),
    Row("a flood of empty DATA", steps(head(OK), floods(
        lambda conn, request: frame(DATA, 0, request.stream) * 50)), CUT, BROKEN),
    Row("a flood of PRIORITY", floods(
        lambda conn, _: frame(2, 0, 1, b"\0\0\0\0\x10") * 50), 502, BROKEN),
    Row("a flood of unknown frames", floods(lambda conn, _: frame(77, 0, 0, b"x") * 50), 502,
        BROKEN),
    # What nobody knows: RFC 9113 sections 4.1, 5.5, 6.5.2.
    Row("an unknown frame", steps(
        raw((99, 255, b"abc")), on_connection(frame(99, 1, 0, b"x") + settings((0xabcd, 1)) +
                                              frame(PING, 0xfe, 0x80000000, bytes(8))),
        head([*OK, ("content-length", "2")]), data(b"ok", True)), b"ok", None),
    # Nothing.
    Row("nothing", lambda conn, request: None, 504, TIMEOUT),
]


# ---- the frame ---------------------------------------------------------------------------------

def start(box, member, **more):
    box.closers.append(member.stop)
    return Edge(box, {"web": {"members": [member.address], "protocol": "h2c", "slow-start": 0,
                              "timeouts": TIMEOUTS, "eject": {"failures": 0}, **more}}, workers=1)


def see(edge, row):
    if row.sees == CUT:
        got, was_reset = http1.everything(edge.address, http1.head(row.method, "/row"), 8)
        assert got.startswith(b"HTTP/1.1 200 OK") and not http1.looks_whole(got, was_reset), got
        return
    with http1.Client(edge.address, 8) as client:
        client.send(http1.head(row.method, "/row", body=row.body) + (row.body or b""))
        response = client.read_response(row.method)
    if isinstance(row.sees, bytes):
        assert (response.status, response.body) == (200, row.sees), response
    else:
        assert response.status == row.sees, response


@pytest.mark.parametrize("row", ROWS, ids=[row.name.replace(" ", "-") for row in ROWS])
def test_row(box, row):
    member = H2Member()
    edge = start(box, member, timeouts=HASTY if row.counter == TIMEOUT else TIMEOUTS)
    own(edge, "/begin")
    before, counted = descriptors(edge), row.counter and metric(edge, row.counter)
    member.early = row.early
    member.act = lambda conn, request: (row.act(conn, request) if request.path == "/row"
                                        else conn.answer(request))
    see(edge, row)
    if row.counter:
        wait("it to be counted", lambda: metric(edge, row.counter) > counted)
    if row.method == "POST":
        assert member.count("POST") == 1
    member.released.set()
    for turn in range(3):
        own(edge, f"/after/{turn}")
    wait("the descriptors of before", lambda: descriptors(edge) <= before)


UPGRADE = http1.head("GET", "/row", [("Connection", "Upgrade"), ("Upgrade", "websocket"),
                                     ("Sec-WebSocket-Version", "13"),
                                     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
LENGTH = [(":status", "403"), ("content-length", "5")]
REFUSED_UPGRADES = [
    ("longer than told", head(LENGTH, pause, data(b"0123456789")), CUT, BODY),
    ("longer by a frame", head(LENGTH, data(b"01234"), pause, data(b"5", True)), b"01234", BODY),
    ("shorter than told", head(LENGTH, pause, data(b"012", True)), CUT, BODY),
    ("shorter, trailers", head(LENGTH, pause, data(b"012"), trailers([("x-a", "b")])), CUT, BODY),
    ("no body, a length told", head(LENGTH, end=True), 502, BAD),
    ("a 304 with a body", head([(":status", "304")], pause, data(b"0123456789")), b"", None),
]


def ask_http1(edge, sees):
    """Two requests on one connection: what is behind the first response answers nothing."""
    if sees == CUT:
        got, was_reset = http1.everything(edge.address, UPGRADE, 8)
        assert got.startswith(b"HTTP/1.1 403") and not http1.looks_whole(got, was_reset), got
        return
    with http1.Client(edge.address, 8) as client:
        client.send(UPGRADE)
        response = client.read_response()
        if sees == 502:
            assert response.status == 502, response
            return
        assert response.status in (304, 403) and response.body == sees, response
        try:
            client.send(http1.head("GET", "/next"))
            said = client.read_response().text
        except (http1.ProtocolError, OSError):
            return  # closed instead, which is as good
        assert said == "own /next"


def ask_http2(edge, sees):
    fields = wire2.get("/row", ("sec-websocket-version", "13"), (":protocol", "websocket"),
                       method="CONNECT")
    with contextlib.closing(wire2.Connection(edge.address)) as conn:
        conn.send(wire2.headers(sorted(fields, key=lambda field: field[0][0] != ":"), end=False))
        stream = conn.answer(1)
    if sees == 502:
        assert stream.status == 502
    elif sees == CUT:
        assert stream.status == 403 and stream.reset not in (None, NO_ERROR)
    else:
        assert stream.status in (304, 403) and stream.body == sees
        assert stream.ended or stream.reset is not None


@pytest.mark.parametrize("ask", [ask_http1, ask_http2], ids=["http1", "http2"])
@pytest.mark.parametrize("name,act,sees,counter", REFUSED_UPGRADES,
                         ids=[row[0].replace(" ", "-") for row in REFUSED_UPGRADES])
def test_an_upgrade_that_is_refused_with_a_wrong_length(box, name, act, sees, counter, ask):
    """A refusal has a body as any response has, and its length is held to."""
    member = H2Member(lambda conn, request: (act(conn, request) if request.path == "/row"
                                             else conn.answer(request)),
                      early=True, values={CONNECT_PROTOCOL: 1})
    edge = start(box, member)
    own(edge, "/begin")
    ask(edge, sees)
    if counter and sees != b"01234":
        wait("it to be counted", lambda: metric(edge, counter) == 1)
    for turn in range(3):
        own(edge, f"/after/{turn}")
    assert member.opened == 1


GREETINGS = [
    ("no SETTINGS first", lambda conn: conn.send(frame(PING, 0, 0, b"\0" * 8)), 502),
    ("garbage", lambda conn: conn.send(bytes(range(128, 256)) * 4), 502),
    ("another protocol", lambda conn: conn.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), 502),
    ("HTTP/1.1", lambda conn: conn.send(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"), 502),
    ("closes", lambda conn: conn.member.cut(conn), 502),
    ("GOAWAY at once", lambda conn: (conn.send(settings()), conn.goaway(0)), 503),
    ("says nothing", lambda conn: setattr(conn.member, "acks", False), 504),
    ("no stream allowed", lambda conn: conn.send(settings((3, 0))), 504),
]


@pytest.mark.parametrize("secured", [False, True], ids=["h2c", "tls1.2"])
@pytest.mark.parametrize("name,greeting,sees", GREETINGS,
                         ids=[row[0].replace(" ", "-") for row in GREETINGS])
def test_greetings(box, name, greeting, sees, secured):
    member, more = H2Member(lambda conn, request: None), {}
    if secured:
        fresh, tls = member_contexts(box, ["h2"])
        member.context, more = fresh(), {"protocol": "h2", "tls": tls}
        member.context.maximum_version = ssl.TLSVersion.TLSv1_2
    member.greeting = greeting
    edge = start(box, member, timeouts=HASTY if sees == 504 else TIMEOUTS, **more)
    before = descriptors(edge)
    response = http1.fetch(edge.address, "/a", timeout=8)
    assert response.status == sees, response
    member.greeting, member.act, member.acks = None, None, True
    for conn in list(member.connections):
        member.cut(conn)
    for turn in range(2):
        wait("an answer", lambda t=turn: http1.fetch(edge.address, f"/{t}").status == 200)
    wait("the descriptors of before", lambda: descriptors(edge) <= before + 1)


def test_nobody_waits_for_a_connection_that_never_begins(box):
    """A WebSocket that gave up waiting for SETTINGS leaves no connection behind."""
    member = H2Member()
    member.greeting, member.acks = (lambda conn: None), False
    edge = start(box, member, timeouts=HASTY)
    before = descriptors(edge)
    with http1.Client(edge.address, 8) as client:
        client.send(UPGRADE)
        assert client.read_response().status == 504
    assert member.opened >= 1
    wait("the edge to close it", lambda: not member.connections)
    wait("the descriptors of before", lambda: descriptors(edge) <= before)


# ---- frames that come with the handshake's last -------------------------------------------------

def early_talk(fresh, opened, first):
    """The first frames leave in one piece with the Finished of TLS 1.2, which is the member's where
    no session is resumed."""
    def talk(sock):
        opened.append(sock)
        context = fresh()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(come, go, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(go.read())
                if not (more := sock.recv(65536)):
                    return
                come.write(more)
        http1_chosen = tls.selected_alpn_protocol() != "h2"
        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown" if http1_chosen else first)
        sock.sendall(go.read())
        while sock.recv(65536):
            pass
    return talk


LEAVES = settings() + frame(GOAWAY, 0, 0, struct.pack("!II", 0, NO_ERROR))
WANTS_HTTP1 = settings() + frame(GOAWAY, 0, 0, struct.pack("!II", 0, 13))
EARLY = [
    ("GOAWAY", "h2", LEAVES, 503, "member_goaways"),
    ("GOAWAY, auto", "auto", LEAVES, 503, "member_goaways"),
    ("no stream allowed", "h2", settings((3, 0)), 503, "member_goaways"),
    ("garbage", "h2", bytes(range(128, 256)) * 4, 502, BROKEN),
    ("HTTP/1.1 required", "h2", WANTS_HTTP1, 502, "member_http1_required"),
]


@pytest.mark.parametrize("name,protocol,first,sees,counter", EARLY,
                         ids=[row[0].replace(" ", "-") for row in EARLY])
def test_what_comes_with_the_handshake(box, name, protocol, first, sees, counter):
    fresh, tls = member_contexts(box, ["h2"])
    member, opened = H2Member(), []
    member.talk = early_talk(fresh, opened, first)
    edge = start(box, member, protocol=protocol, tls=tls)
    response = http1.fetch(edge.address, "/a", timeout=8)
    assert response.status == sees, response
    assert metric(edge, counter) == 1 and len(opened) <= 3


@pytest.mark.parametrize("first,sees", [(settings((3, 0), (CONNECT_PROTOCOL, 1)), 503),
                                        (bytes(range(128, 256)) * 4, 502)],
                         ids=["no-stream-allowed", "garbage"])
def test_a_websocket_to_a_member_that_takes_nothing(box, first, sees):
    member = H2Member()
    member.greeting = lambda conn: conn.send(first)
    edge = start(box, member)
    with http1.Client(edge.address, 8) as client:
        client.send(UPGRADE)
        assert client.read_response().status == sees
    assert member.opened <= 3


def test_interim_heads_for_a_client_that_does_not_read(box):
    """They wait in no window: what their client has not taken is not added to without end."""
    sent = []

    def act(conn, request):
        while request.reset is None and not conn.member.released.is_set():
            conn.headers(request.stream, [(":status", "103"),
                                          *[(f"x-{i}", "v" * 800) for i in range(20)]])
            sent.append(1)
    member = H2Member(act)
    edge = start(box, member, timeouts={**TIMEOUTS, "response": "1min"})
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = edge.address.rsplit(":", 1)
        sock.connect((host, int(port)))
        sock.sendall(http1.head("GET", "/a"))
        wait("the reset", lambda: member.requests and member.requests[0].reset is not None)
        assert member.requests[0].reset == CALM
    member.act = None
    own(edge, "/next")
    assert member.opened == 1


def test_one_bad_stream_harms_no_other(box):
    """A fault of a stream's is that stream's."""
    gate = []

    def act(conn, request):
        if request.path == "/good":
            conn.headers(request.stream, OK)
            conn.data(request.stream, b"own ")
            assert conn.until(lambda: gate)
            conn.data(request.stream, b"/good", end=True)
        elif request.path == "/bad":
            conn.headers(request.stream, [("x-a", "b")], end=True)
        else:
            conn.answer(request)
    member = H2Member(act)
    edge = start(box, member)
    with http1.Client(edge.address) as good:
        good.send(http1.head("GET", "/good"))
        wait("it there", lambda: "/good" in member.paths())
        for _ in range(5):
            assert http1.fetch(edge.address, "/bad").status == 502
            own(edge, "/other")
        with member.connections[0].changed:
            gate.append(1)
            member.connections[0].changed.notify_all()
        assert good.read_response().text == "own /good"
    assert member.opened == 1


def test_a_member_out_of_calm_is_ejected(box):
    """Resets count as any failure does."""
    bad = H2Member(lambda conn, request: conn.reset(request.stream, CALM))
    good = H2Member()
    box.closers += [bad.stop, good.stop]
    edge = Edge(box, {"web": {"members": [bad.address, good.address], "protocol": "h2c",
                              "slow-start": 0, "balance": "round-robin",
                              "eject": {"failures": 3, "max-share": 0.5}}}, workers=1)
    statuses = [http1.fetch(edge.address, f"/{turn}").status for turn in range(20)]
    assert statuses.count(502) == 3 and statuses[-10:] == [200] * 10


def test_control_frames_that_cost_nothing_are_answered(box):
    """What a well-meaning member sends of them is no flood."""
    def act(conn, request):
        conn.headers(request.stream, OK)
        for _ in range(300):
            conn.send(frame(PING, 0, 0, struct.pack("!Q", 7)))
        conn.data(request.stream, b"own " + request.path.encode(), end=True)
    edge = start(box, H2Member(act))
    for turn in range(2):
        own(edge, f"/{turn}")
    assert metric(edge, "member_h2_broken") == 0
