# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards members: the same HTTP as ever, on few connections."""
import contextlib
import signal
import socket
import threading
import time

import pytest
from hpack import Decoder, Encoder

from harness import http1, wire2
from harness.box import wait
from harness.h2member import H2Member
from harness.pki import member_contexts
from harness.setup import Edge, metric, own
from harness.wire2 import (CANCEL, CONNECT_PROTOCOL, DATA, END_HEADERS, END_STREAM, HEADERS,
                           INITIAL_WINDOW, MAX_STREAMS, NO_ERROR, PREFACE, REFUSED, SETTINGS, frame,
                           settings)

BIG = bytes(range(256)) * 4096 * 2  # 2 MiB


def start(box, *members, **more):
    for member in members:
        box.closers.append(member.stop)
    settings = {"members": [member.address for member in members], "protocol": "h2c",
                "slow-start": 0, "balance": "round-robin"}
    edge_settings = more.pop("edge", {})
    return Edge(box, {"web": {**settings, **more}}, workers=1, **edge_settings)


def at_once(count, what):
    """Runs what(0..count-1) in as many threads; their results in order."""
    results = [None] * count

    def run(index):
        try:
            results[index] = what(index)
        except Exception as error:  # noqa: BLE001: it is the test that judges
            results[index] = error
    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


# ---- heads and bodies --------------------------------------------------------------------------

def test_a_request_as_the_member_sees_it(box):
    member = H2Member()
    edge = start(box, member)
    own(edge, "/a?b=c")
    request = member.requests[0]
    names = [name for name, _ in request.fields]
    assert names[:4] == [":method", ":scheme", ":path", ":authority"]
    assert (request.method, request.path) == ("GET", "/a?b=c")
    assert request.get(":scheme") == "http" and request.get(":authority") == "test.example"
    assert not {"host", "connection", "transfer-encoding", "te", "upgrade"} & set(names)
    assert all(name == name.lower() for name in names)
    assert request.get("via", "").startswith("1.1 ")


def test_what_is_between_two_neighbours_stays_there(box):
    member = H2Member()
    edge = start(box, member)
    fields = [("Connection", "X-Mine, TE"), ("X-Mine", "1"), ("TE", "trailers"),
              ("Keep-Alive", "5"), ("X-Theirs", "2")]
    assert http1.fetch(edge.address, "/a", fields=fields).status == 200
    request = member.requests[0]
    assert request.get("te") == "trailers" and request.get("x-theirs") == "2"
    assert not {"x-mine", "keep-alive", "connection"} & {name for name, _ in request.fields}


def test_the_response_as_the_client_sees_it(box):
    member = H2Member(lambda conn, request: conn.answer(
        request, b"text", "201", [("x-a", "1"), ("x-a", "2"), ("set-cookie", "c=d")]))
    edge = start(box, member)
    response = http1.fetch(edge.address, "/a")
    assert (response.status, response.reason, response.body) == (201, "Created", b"text")
    assert response.all("x-a") == ["1", "2"] and response.get("Content-Length") == "4"
    assert response.get("Via").startswith("2 ")


@pytest.mark.parametrize("status,end", [("200", True), ("204", True), ("304", True),
                                        ("200", False), ("404", False)])
def test_a_response_without_a_body(box, status, end):
    def act(conn, request):
        conn.headers(request.stream, [(":status", status)], end=end)
        if not end:
            conn.data(request.stream, b"", end=True)
    edge = start(box, H2Member(act))
    with http1.Client(edge.address) as client:
        for _ in range(2):
            response = client.request("GET", "/a")
            assert (response.status, response.body) == (int(status), b"")
    assert metric(edge, "member_bad_responses") == 0 and metric(edge, "member_connects") == 1


def test_head(box):
    def act(conn, request):
        conn.headers(request.stream, [(":status", "200"), ("content-length", "1234")], end=True)
    edge = start(box, H2Member(act))
    with http1.Client(edge.address) as client:
        response = client.request("HEAD", "/a")
        assert (response.status, response.get("Content-Length")) == (200, "1234")
        assert client.request("HEAD", "/b").status == 200


def test_interim_responses_go_on(box):
    def act(conn, request):
        conn.headers(request.stream, [(":status", "103"), ("link", "</a>")])
        conn.answer(request)
    edge = start(box, H2Member(act))
    interim = []
    with http1.Client(edge.address) as client:
        client.send(http1.head("GET", "/a"))
        response = client.read_response(interim=interim)
    assert [one.status for one in interim] == [103] and response.text == "own /a"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_body_there_and_back(box, chunked):
    member = H2Member(lambda conn, request: conn.answer(request, request.body))
    edge = start(box, member)
    with http1.Client(edge.address, 30) as client:
        if chunked:
            client.send(http1.head("POST", "/a", [("Transfer-Encoding", "chunked")]))
            for at in range(0, len(BIG), 100000):
                piece = BIG[at:at + 100000]
                client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
        else:
            client.send(http1.head("POST", "/a", body=BIG) + BIG)
        assert client.read_response().body == BIG
        assert client.request("GET", "/b").body == b""
    request = member.requests[0]
    assert request.body == BIG and request.trailers is None
    assert request.get("content-length") == (None if chunked else str(len(BIG)))


def test_no_length_told(box):
    def act(conn, request):
        conn.headers(request.stream, [(":status", "200")])
        conn.body(request.stream, BIG)
    edge = start(box, H2Member(act))
    with http1.Client(edge.address, 30) as client:
        response = client.request("GET", "/a")
        assert response.get("Transfer-Encoding") == "chunked" and response.body == BIG


def test_trailers_both_ways(box):
    def act(conn, request):
        conn.headers(request.stream, [(":status", "200")])
        conn.data(request.stream, b"hello")
        conn.headers(request.stream, [("x-sum", "5")], end=True)
    member = H2Member(act)
    edge = start(box, member)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/a", [("Transfer-Encoding", "chunked"),
                                              ("TE", "trailers"), ("Connection", "TE")]) +
                    b"3\r\nabc\r\n0\r\nX-Hash: 1\r\n\r\n")
        data = b""
        while not data.endswith(b"x-sum: 5\r\n\r\n"):
            piece = client.sock.recv(65536)
            assert piece, data
            data += piece
    assert b"\r\n5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n" in data
    assert member.requests[0].trailers == [("x-hash", "1")] and member.requests[0].body == b"abc"


def test_bytes_go_on_as_they_come_both_ways(box):
    """Neither side waits for the other's end: what is needed of a conversation."""
    def act(conn, request):
        conn.headers(request.stream, [(":status", "200")])
        for turn in range(5):
            assert conn.until(lambda t=turn: len(request.body) > t)
            conn.data(request.stream, request.body[turn:turn + 1].upper())
        conn.data(request.stream, b"", end=True)
    edge = start(box, H2Member(act, early=True))
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/a", [("Transfer-Encoding", "chunked")]))
        client.send(b"1\r\na\r\n")
        head = b""
        while b"A" not in head:
            more = client.sock.recv(65536)
            assert more, head
            head += more
        for letter in b"bcde":
            client.send(b"1\r\n%c\r\n" % letter)
            assert bytes([letter]).upper() in client.sock.recv(65536)


def test_the_cache_keeps_what_an_h2_member_says(box):
    member = H2Member(lambda conn, request: conn.answer(
        request, BIG[:100000], fields=[("cache-control", "max-age=60")]))
    edge = start(box, member, edge={"cache": {"memory": "16MiB"}})
    for _ in range(3):
        assert http1.fetch(edge.address, "/a", timeout=30).body == BIG[:100000]
    assert member.count() == 1


# ---- connections -------------------------------------------------------------------------------

def test_many_requests_share_a_connection(box):
    together = threading.Barrier(20)

    def act(conn, request):
        together.wait(10)
        conn.answer(request)
    member = H2Member(act)
    edge = start(box, member)
    answers = at_once(20, lambda i: http1.fetch(edge.address, f"/{i}"))
    assert [answer.text for answer in answers] == [f"own /{i}" for i in range(20)]
    assert member.opened == 1 and metric(edge, "member_connects") == 1


@pytest.mark.parametrize("by", ["member", "cluster"])
def test_more_than_a_connection_takes(box, by):
    """The member's limit and the cluster's: further connections, and no stream refused."""
    together = threading.Barrier(12)
    per = {}

    def act(conn, request):
        with conn.changed:
            per.setdefault(conn, []).append(request.stream)
        together.wait(10)
        conn.answer(request)
    member = H2Member(act, values={MAX_STREAMS: 4} if by == "member" else {})
    edge = start(box, member, **({"streams": 4} if by == "cluster" else {}))
    answers = at_once(12, lambda i: http1.fetch(edge.address, f"/{i}"))
    assert [answer.text for answer in answers] == [f"own /{i}" for i in range(12)]
    assert member.opened == 3 and all(len(streams) == 4 for streams in per.values())
    assert metric(edge, "member_streams_refused") == 0


def test_a_slow_client_holds_up_nobody_and_bounds_what_waits(box):
    sent = []

    def act(conn, request):
        if request.path != "/slow":
            conn.answer(request)
            return
        conn.headers(request.stream, [(":status", "200")])
        sent.append(conn.body(request.stream, BIG * 16))
    member = H2Member(act)
    edge = start(box, member)
    with http1.connect(edge.address) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(http1.head("GET", "/slow"))
        wait("its head", lambda: member.paths() == ["/slow"])
        for turn in range(20):
            own(edge, f"/{turn}")
        assert member.opened == 1
        conn = member.connections[0]

        def stands():
            with conn.changed:
                return conn.windows[1] <= 0
        wait("its window's end", stands)
        assert not sent
    wait("its end", lambda: sent)
    assert sent[0] < len(BIG * 16)
    assert conn.requests[1].reset == CANCEL


def test_a_slow_member_is_given_no_more_than_it_takes(box):
    member = H2Member(values={INITIAL_WINDOW: 1000})
    member.gives_window = False
    edge = start(box, member, timeouts={"idle": "1s"})
    own(edge)  # its SETTINGS are known
    response = http1.fetch(edge.address, "/a", "POST", body=b"x" * 5000)
    assert response.status == 504
    post = member.requests[1]
    wait("the reset", lambda: post.reset is not None)
    assert len(post.body) == 1000 and post.reset == CANCEL


def test_an_idle_connection_is_closed_in_time(box):
    member = H2Member()
    edge = start(box, member, timeouts={"keepalive": "300ms"})
    own(edge)
    conn = member.connections[0]
    wait("its end", lambda: conn.closed)
    assert conn.goaways == [NO_ERROR]
    own(edge)
    assert member.opened == 2


def test_a_client_that_goes_cancels_its_stream_only(box):
    member = H2Member(lambda conn, request: request.path == "/gone" or conn.answer(request))
    edge = start(box, member)
    own(edge)
    with http1.connect(edge.address) as sock:
        sock.sendall(http1.head("POST", "/gone", [("Content-Length", "10")]) + b"x")
        wait("it there", lambda: "/gone" in member.paths())
    gone = member.requests[-1]
    wait("the reset", lambda: gone.reset is not None)
    assert gone.reset == CANCEL
    own(edge)
    assert member.opened == 1


# ---- ends --------------------------------------------------------------------------------------

def test_a_goaway_between_requests(box):
    """Not one fails, and the old connection ends when its last stream has."""
    def act(conn, request):
        if request.path == "/last":
            conn.goaway(request.stream)
            assert member.released.wait(10)
        conn.answer(request)
    member = H2Member(act)
    edge = start(box, member)
    own(edge)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(http1.fetch(edge.address, "/last")))
    thread.start()
    wait("the GOAWAY", lambda: "/last" in member.paths())
    old = member.connections[0]
    for turn in range(5):
        own(edge, f"/{turn}")
    assert member.opened == 2 and not old.closed
    member.released.set()
    thread.join(10)
    assert answers[0].text == "own /last"
    wait("the old one's end", lambda: old.closed)
    assert metric(edge, "member_closes") == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_goaway_left_undone_is_sent_again(box, method):
    """Once more, on another connection, whatever the method: the member has done nothing."""
    def act(conn, request):
        if member.opened == 1 and request.stream > 1:
            conn.goaway(1)
            return
        conn.answer(request)
    member = H2Member(act)
    edge = start(box, member, eject={"failures": 1, "max-share": 1})
    own(edge)
    body = None if method == "GET" else b"body"
    response = http1.fetch(edge.address, "/again", method, body=body)
    assert (response.status, response.text) == (200, "own /again")
    assert member.paths() == ["/a", "/again", "/again"] and member.opened == 2
    assert member.requests[-1].body == (body or b"")
    assert metric(edge, "member_kept_closed") == 1 and metric(edge, "member_goaways") == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_stream_is_sent_to_another_member(box, method):
    busy = H2Member(lambda conn, request: conn.reset(request.stream, REFUSED))
    good = H2Member()
    edge = start(box, busy, good)
    for turn in range(4):
        response = http1.fetch(edge.address, f"/{turn}", method,
                               body=None if method == "GET" else b"body")
        assert response.text == f"own /{turn}"
    assert good.count() == 4 and busy.count() >= 1
    assert metric(edge, "member_streams_refused") == busy.count()


@pytest.mark.parametrize("method,sees,sent", [("GET", 200, 2), ("POST", 502, 1)])
def test_a_connection_lost_under_a_request(box, method, sees, sent):
    """Nobody knows what was done: only what may be done twice is sent again."""
    def act(conn, request):
        if request.path == "/lost" and member.count() == 2:
            member.cut(conn)
        else:
            conn.answer(request)
    member = H2Member(act)
    edge = start(box, member)
    own(edge)
    assert http1.fetch(edge.address, "/lost", method,
                       body=None if method == "GET" else b"x").status == sees
    assert member.paths().count("/lost") == sent
    own(edge)


def test_an_answer_before_the_request_is_whole(box):
    def act(conn, request):
        conn.headers(request.stream, [(":status", "413"), ("content-length", "5")])
        conn.data(request.stream, b"early", end=True)
        conn.reset(request.stream, NO_ERROR)
    member = H2Member(act, early=True)
    edge = start(box, member)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/big", [("Content-Length", "1000")]) + b"x" * 10)
        response = client.read_response()
        assert (response.status, response.body) == (413, b"early")
        assert response.get("Connection") == "close"
    member.act = None
    own(edge)
    assert metric(edge, "member_early_responses") == 1 and member.opened == 1


def test_an_early_answer_is_whole_for_a_slow_reader_that_still_sends(box):
    """The stream is over; that the rest of the request goes nowhere takes nothing of what came."""
    whole = bytes(range(256)) * 160

    def act(conn, request):
        conn.headers(request.stream, [(":status", "200"), ("content-length", str(len(whole)))])
        conn.body(request.stream, whole)
        conn.reset(request.stream, NO_ERROR)
        done.set()
    done = threading.Event()
    edge = start(box, H2Member(act, early=True))
    with contextlib.closing(wire2.Connection(edge.address, pairs=[(4, 0)])) as conn:
        conn.send(wire2.headers(wire2.get("/big", method="POST"), end=False))
        conn.send(wire2.data(b"first", end=False))
        assert done.wait(10)
        assert conn.read(lambda: conn.stream(1).status == 200)
        for _ in range(3):
            conn.send(wire2.data(b"more", end=False))
            assert conn.ping()
        conn.send(wire2.window(len(whole), 1))
        stream = conn.answer(1)
        assert conn.read(lambda: stream.ended or stream.reset is not None)
    assert stream.body == whole and stream.ended


def test_a_dead_connection_is_found_by_ping(box):
    """The member says nothing at all any more; requests behind the first need not wait for it."""
    member = H2Member(lambda conn, request: member.released.wait(20))
    member.answers_pings = False
    edge = start(box, member, timeouts={"ping": "200ms"})
    began = time.monotonic()
    assert http1.fetch(edge.address, "/a", "POST", body=b"x").status == 502
    assert 0.3 < time.monotonic() - began < 8  # and not the ten of its client
    assert metric(edge, "member_h2_pings_lost") == 1


def test_a_living_one_is_not(box):
    def act(conn, request):
        assert conn.until(lambda: conn.pings >= 3)
        conn.answer(request)
    edge = start(box, H2Member(act), timeouts={"ping": "400ms"})
    own(edge)
    assert metric(edge, "member_h2_pings_lost") == 0


def test_a_member_that_leaves_is_drained(box):
    """What is under way ends well; then its connection is closed."""
    def act(conn, request):
        if request.path == "/long":
            leaving.released.wait(10)
        conn.answer(request)
    leaving, staying = H2Member(act), H2Member()
    edge = start(box, leaving, staying)
    own(edge)
    own(edge)
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(
        [http1.fetch(edge.address, "/long"), http1.fetch(edge.address, "/long")]))
    thread.start()
    wait("it there", lambda: "/long" in leaving.paths())
    edge.settings["clusters"]["web"]["members"] = [staying.address]
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the reload", lambda: any(event["event"] == "configuration re-read"
                                   for event in edge.process.events()))
    for turn in range(5):
        own(edge, f"/{turn}")
    conn = leaving.connections[0]
    assert not conn.closed and "/0" not in leaving.paths()
    leaving.released.set()
    thread.join(10)
    assert [answer.text for answer in answers] == ["own /long"] * 2
    wait("its end", lambda: conn.closed)


def test_the_edge_stops_with_open_connections(box):
    member = H2Member()
    edge = start(box, member)
    at_once(8, lambda i: own(edge, f"/{i}"))
    assert edge.process.stop() in (0, None)


# ---- TLS ---------------------------------------------------------------------------------------

def tls_member(box, alpn, **more):
    fresh, tls = member_contexts(box, alpn)
    return H2Member(context=fresh(), **more), tls


@pytest.mark.parametrize("protocol", ["auto", "h2"])
def test_h2_by_alpn(box, protocol):
    member, tls = tls_member(box, ["h2", "http/1.1"])
    edge = start(box, member, protocol=protocol, tls=tls)
    for turn in range(5):
        own(edge, f"/{turn}")
    assert member.opened == 1 and member.requests[0].get(":scheme") == "https"


def test_h2_and_nothing_else(box):
    member, tls = tls_member(box, None)
    edge = start(box, member, protocol="h2", tls=tls)
    response = http1.fetch(edge.address, "/a")
    assert response.status == 502 and metric(edge, "member_tls_failed") == 1


@pytest.mark.parametrize("alpn", [["http/1.1"], None], ids=["http1", "none"])
def test_a_member_that_chooses_http1(box, alpn):
    """`auto` asks, and takes no for an answer."""
    member, tls = tls_member(box, alpn)

    def talk(sock):
        with member.context.wrap_socket(sock, server_side=True) as secured:
            client = http1.Client.__new__(http1.Client)
            client.sock, client.buffer, client.closed_by_peer = secured, b"", False
            try:
                while True:
                    path = client.read_line().split(" ")[1]
                    client.read_fields()
                    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nown %s" %
                                    (4 + len(path), path.encode()))
            except (OSError, http1.ProtocolError):
                pass
    member.talk = talk
    edge = start(box, member, protocol="auto", tls=tls)
    answers = at_once(6, lambda i: http1.fetch(edge.address, f"/{i}"))
    assert [answer.text for answer in answers] == [f"own /{i}" for i in range(6)]
    assert metric(edge, "member_h2_connections") == 0


# ---- WebSocket ---------------------------------------------------------------------------------

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3, as is the answer
ASK = http1.head("GET", "/chat", [("Connection", "Upgrade"), ("Upgrade", "websocket"),
                                  ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13")])


def echo(conn, request):
    """Takes the switch and says everything back in capitals; ends when the other side does."""
    if request.method != "CONNECT":
        conn.whole(request)
        conn.answer(request)
        return
    conn.headers(request.stream, [(":status", "200"), ("sec-websocket-protocol", "chat")])
    seen = 0
    while not request.ended:
        assert conn.until(lambda: len(request.body) > seen or request.ended)
        conn.data(request.stream, request.body[seen:].upper())
        seen = len(request.body)
    conn.data(request.stream, b"", end=True)


def switched(client):
    response = client.read_head()
    assert response.status == 101, response
    return response


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_a_websocket_by_extended_connect(box, warm):
    member = H2Member(echo, early=True, values={CONNECT_PROTOCOL: 1})
    edge = start(box, member)
    if warm:
        own(edge)
    with http1.Client(edge.address) as client:
        client.send(ASK)
        response = switched(client)
        assert response.get("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert response.get("Upgrade") == "websocket"
        assert response.get("sec-websocket-protocol") == "chat"
        assert response.get("Transfer-Encoding") is None
        for word in (b"hello", b"world" * 2000):
            client.send(word)
            assert client.read_exactly(len(word)) == word.upper()
        client.sock.shutdown(socket.SHUT_WR)
        assert client.at_end()
    request = member.requests[-1]
    assert (request.method, request.get(":protocol")) == ("CONNECT", "websocket")
    assert (request.get(":path"), request.get(":scheme")) == ("/chat", "http")
    assert request.get("sec-websocket-version") == "13"
    assert not {"upgrade", "connection", "sec-websocket-key"} & {name for name, _ in request.fields}
    own(edge)
    assert member.opened == 1 and metric(edge, "tunnels") == 1


def test_a_websocket_that_the_member_does_not_want(box):
    member = H2Member(lambda conn, request: conn.answer(request, b"no", "403"), early=True,
                      values={CONNECT_PROTOCOL: 1})
    edge = start(box, member)
    with http1.Client(edge.address) as client:
        client.send(ASK)
        response = client.read_response()
        assert (response.status, response.body) == (403, b"no")


def test_a_websocket_to_a_member_that_takes_none(box):
    edge = start(box, H2Member())
    own(edge)
    with http1.Client(edge.address) as client:
        client.send(ASK)
        assert client.read_response().status == 502
    assert metric(edge, "member_connects_unknown") == 1
    own(edge)


def test_a_websocket_that_is_cut_looks_cut(box):
    def act(conn, request):
        conn.headers(request.stream, [(":status", "200")])
        conn.data(request.stream, b"hello")
        assert conn.until(lambda: request.body)
        conn.reset(request.stream, CANCEL)
    member = H2Member(act, early=True, values={CONNECT_PROTOCOL: 1})
    edge = start(box, member)
    with http1.Client(edge.address) as client:
        client.send(ASK)
        switched(client)
        assert client.read_exactly(5) == b"hello"
        client.send(b"x")
        with pytest.raises(ConnectionResetError):
            while client.sock.recv(1000):
                pass


def frames(sock):
    """What comes, as (kind, flags, stream, payload)."""
    stream = sock.makefile("rb")
    while head := stream.read(9):
        yield head[3], head[4], int.from_bytes(head[5:], "big"), \
            stream.read(int.from_bytes(head[:3], "big"))


def test_a_websocket_over_http2_on_both_sides(box):
    member = H2Member(echo, early=True, values={CONNECT_PROTOCOL: 1})
    edge = start(box, member)
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
              (":path", "/chat"), (":authority", "test.example"), ("sec-websocket-version", "13")]
    with http1.connect(edge.address) as sock:
        sock.sendall(PREFACE + settings())
        coming = frames(sock)
        assert next(coming)[0] == SETTINGS
        sock.sendall(frame(HEADERS, END_HEADERS, 1, Encoder().encode(fields)) +
                     frame(DATA, 0, 1, b"hello"))
        head, data = None, b""
        for kind, _, stream, payload in coming:
            if kind == HEADERS:
                head = dict(Decoder().decode(payload))
            data += payload if kind == DATA and stream == 1 else b""
            if data == b"HELLO":
                break
        assert head[":status"] == "200" and head["sec-websocket-protocol"] == "chat"
        sock.sendall(frame(DATA, END_STREAM, 1))
        assert any(kind == DATA and flags & END_STREAM for kind, flags, _, _ in coming)
    assert member.requests[0].get(":protocol") == "websocket"


def talks_http1(member, seen):
    def talk(sock):
        with member.context.wrap_socket(sock, server_side=True) as secured:
            if secured.selected_alpn_protocol() == "h2":
                return member.speak(secured)
            client = http1.Client.__new__(http1.Client)
            client.sock, client.buffer, client.closed_by_peer = secured, b"", False
            try:
                while True:
                    path = client.read_line().split(" ")[1]
                    fields = dict((n.lower(), v) for n, v in client.read_fields())
                    body = client.read_exactly(int(fields.get("content-length", 0)))
                    seen.append((path, body))
                    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nown %s" %
                                    (4 + len(path), path.encode()))
            except (OSError, http1.ProtocolError):
                pass
        return None
    return talk


HTTP_1_1_REQUIRED = 13


@pytest.mark.parametrize("goaway", [False, True], ids=["reset", "goaway"])
@pytest.mark.parametrize("method,body", [("GET", None), ("POST", b"hello")])
def test_a_member_that_requires_http1(box, method, body, goaway):
    """It is asked again, over HTTP/1.1, and from then on to begin with."""
    def act(connection, request):
        if goaway:
            connection.goaway(0, HTTP_1_1_REQUIRED)
        else:
            connection.reset(request.stream, HTTP_1_1_REQUIRED)
    seen = []
    member, tls = tls_member(box, ["h2", "http/1.1"], act=act)
    member.talk = talks_http1(member, seen)
    edge = start(box, member, protocol="auto", tls=tls)
    for turn in range(3):
        answer = http1.fetch(edge.address, f"/{turn}", method=method, body=body)
        assert (answer.status, answer.text) == (200, f"own /{turn}")
    assert seen == [(f"/{turn}", body or b"") for turn in range(3)]
    assert len(member.requests) == 1 and metric(edge, "member_http1_required") == 1


@pytest.mark.parametrize("protocol", ["h2", "h2c"])
def test_a_member_that_requires_http1_where_there_is_none(box, protocol):
    def act(connection, request):
        connection.reset(request.stream, HTTP_1_1_REQUIRED)
    member, tls = tls_member(box, ["h2"], act=act) if protocol == "h2" else (H2Member(act), {})
    edge = start(box, member, protocol=protocol, **({"tls": tls} if tls else {}))
    assert http1.fetch(edge.address, "/a").status == 502
    assert len(member.requests) == 1
