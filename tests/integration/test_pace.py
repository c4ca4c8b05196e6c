# SPDX-License-Identifier: Apache-2.0
"""Least rates of clients, with the bodies that they send and the answers that they read; and who
is not to be hit by them: a client that waits for the member, one that the member keeps waiting."""
import socket
import time

import pytest

from harness import http1
from harness.box import wait
from harness.listener import Listener, read_head
from harness.origin import Answer
from harness.setup import Edge, cluster, metric, simple

WINDOW = 1.0
PACE = {"body-timeout": "1s", "body-rate": 1000, "read-rate": 10000}
CHUNKED = [("Transfer-Encoding", "chunked")]
LONGEST = WINDOW * 1.5 + 2  # and what a busy machine adds


def scripted(box, serve, **more):
    member = Listener(box.closers, serve)
    return Edge(box, {"web": cluster([member.address], health=None)}, limits=PACE, **more)


def small_reader(edge, path="/", fields=()):
    """A client that has asked and whose own kernel takes little for it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.settimeout(10)
    sock.connect(("127.0.0.1", edge.port))
    sock.sendall(http1.head("GET", path, fields))
    return sock


def drip(client, bytes_a_step, most_s):
    """Sends a chunked body slowly until the edge answers; the answer and how long it took."""
    began = time.monotonic()
    client.sock.settimeout(0.1)
    while time.monotonic() - began < most_s:
        client.send(b"%x\r\n%b\r\n" % (bytes_a_step, b"a" * bytes_a_step))
        try:
            client.buffer += client.sock.recv(65536)
            break
        except socket.timeout:
            pass
    took = time.monotonic() - began
    client.sock.settimeout(10)
    return client.read_response(), took


def test_a_slow_body(box):
    edge, member = simple(box, limits=PACE)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/", CHUNKED))
        response, took = drip(client, 5, 10)
        assert response.status == 408 and response.get("Connection") == "close"
        assert WINDOW <= took <= LONGEST, took
        assert client.at_end()
    assert metric(edge, "body_timeouts") == 1
    assert member.count() == 0
    assert metric(edge, "errors") == 0


def test_a_silent_body_with_any_rate(box):
    edge, _ = simple(box, limits={"body-timeout": "1s", "body-rate": 0})
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/", [("Content-Length", "100")]) + b"abc")
        began = time.monotonic()
        assert client.read_response().status == 408
        assert WINDOW <= time.monotonic() - began <= LONGEST
    with http1.Client(edge.address) as client:  # a byte in a window is enough
        client.send(http1.head("POST", "/", [("Content-Length", "6")]))
        for _ in range(6):
            time.sleep(WINDOW * 0.6)
            client.send(b"a")
        assert client.read_response().status == 200


def test_a_body_that_becomes_slow(box):
    edge, _ = simple(box, limits=PACE)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/", CHUNKED))
        until = time.monotonic() + WINDOW
        while time.monotonic() < until:
            client.send(b"3e8\r\n" + b"a" * 1000 + b"\r\n")
            time.sleep(0.02)
        response, took = drip(client, 5, 10)
        assert response.status == 408
        assert took <= LONGEST, took


def test_a_body_at_twice_the_least_rate(box):
    edge, _ = simple(box, limits=PACE)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/", [("Content-Length", "8000")]))
        for _ in range(40):
            client.send(b"a" * 200)
            time.sleep(0.1)
        assert client.read_response().status == 200
    assert metric(edge, "body_timeouts") == 0


def test_a_slow_body_behind_the_beginning_of_the_answer(box):
    def serve(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        while sock.recv(65536):
            pass
    edge = scripted(box, serve)
    with http1.Client(edge.address) as client:
        began = time.monotonic()
        client.send(http1.head("POST", "/", [("Content-Length", "100")]) + b"abc")
        assert client.read_head().status == 200
        with pytest.raises((http1.ProtocolError, ConnectionResetError)):
            client.read_exactly(10)  # it is cut, and seen to be
        assert time.monotonic() - began <= LONGEST
    assert metric(edge, "body_timeouts") == 1


@pytest.mark.parametrize("cached", [False, True])
def test_a_slow_reader(box, cached):
    edge, _ = simple(box, limits=PACE, answer=lambda request: Answer(
        200, b"x" * 12000000, [("Cache-Control", "max-age=600" if cached else "no-store")]),
        cache={"memory": "64MiB"})
    if cached:
        assert len(http1.fetch(edge.address).body) == 12000000
    sock, began = small_reader(edge), time.monotonic()

    def reads_slowly():
        sock.recv(50)
        return metric(edge, "read_timeouts") == 1
    wait("the reset", reads_slowly)
    assert WINDOW <= time.monotonic() - began <= LONGEST
    assert metric(edge, "body_timeouts") == 0
    with pytest.raises(ConnectionResetError):  # behind what the client's own kernel has
        while sock.recv(65536):
            pass
    sock.close()


def test_an_answer_that_the_kernel_holds_is_watched_too(box):
    """The edge has sent it all, and the connection is kept: nobody reads."""
    edge, _ = simple(box, limits=PACE, answer=lambda request: Answer(200, b"x" * 100000))
    sock, began = small_reader(edge), time.monotonic()
    wait("the reset", lambda: metric(edge, "read_timeouts") == 1)
    assert WINDOW <= time.monotonic() - began <= LONGEST
    assert metric(edge, "errors") == 0 and metric(edge, "requests") == 1
    with pytest.raises(ConnectionResetError):
        while sock.recv(65536):
            pass
    sock.close()


@pytest.mark.parametrize("half_closed", [False, True])
def test_the_last_answer_is_watched_too(box, half_closed):
    edge, _ = simple(box, limits={**PACE, "body-timeout": "3s"},
                     answer=lambda request: Answer(200, b"x" * 100000))
    sock, began = small_reader(edge, fields=[("Connection", "close")]), time.monotonic()
    wait("the end of the request", lambda: metric(edge, "requests") == 1)
    if half_closed:
        sock.shutdown(socket.SHUT_WR)
    wait("the reset", lambda: metric(edge, "read_timeouts") == 1)
    assert 3 <= time.monotonic() - began <= 3 * 1.5 + 4  # lingering comes first
    with pytest.raises(ConnectionResetError):
        while sock.recv(65536):
            pass
    sock.close()


def test_the_last_answer_is_whole_for_who_reads_it(box):
    edge, _ = simple(box, limits=PACE, answer=lambda request: Answer(200, b"x" * 100000))
    sock, got = small_reader(edge, fields=[("Connection", "close")]), b""
    while data := sock.recv(10000):
        got += data
        time.sleep(0.1)
    assert got.endswith(b"\r\n\r\n" + b"x" * 100000)
    sock.close()
    wait("the end", lambda: metric(edge, "requests") == 1)
    assert metric(edge, "read_timeouts") == 0


def test_an_idle_client_that_has_read_all_stays(box):
    edge, _ = simple(box, limits=PACE, answer=lambda request: Answer(200, b"x" * 300000))
    with http1.Client(edge.address) as client:
        for _ in range(3):
            assert len(client.request().body) == 300000
            time.sleep(WINDOW * 1.5)
    assert metric(edge, "read_timeouts") == 0


def test_a_reader_at_five_times_the_least_rate(box):
    """The kernel's send buffer is larger than what is read in many windows."""
    edge, _ = simple(box, limits=PACE, answer=lambda request: Answer(200, b"x" * 8000000))
    sock, began = small_reader(edge), time.monotonic()
    while time.monotonic() - began < WINDOW * 5:
        assert sock.recv(5000)
        time.sleep(0.1)
    assert metric(edge, "read_timeouts") == 0
    sock.close()


def test_silence_of_the_member_is_not_the_clients(box):
    def serve(sock):
        sock.recv(65536)
        time.sleep(WINDOW * 2.5)  # a long poll
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(2):  # events
            sock.sendall(b"3\r\nabc\r\n")
            time.sleep(WINDOW * 2)
        sock.sendall(b"0\r\n\r\n")
    edge = scripted(box, serve)
    with http1.Client(edge.address, timeout=30) as get, \
            http1.Client(edge.address, timeout=30) as post:  # whose body is in
        get.send(http1.head("GET", "/"))
        post.send(http1.head("POST", "/", body=b"abc") + b"abc")
        assert get.read_response().body == post.read_response().body == b"abcabc"
    assert metric(edge, "read_timeouts") == metric(edge, "body_timeouts") == 0


def test_a_body_that_the_member_does_not_take(box):
    """The edge stops receiving, so that the client cannot send: that is not its slowness."""
    size = 30000000

    def serve(sock):
        time.sleep(WINDOW * 3)
        got = len(read_head(sock)[1])
        while got < size and (more := sock.recv(1 << 20)):
            got += len(more)
            if 10000000 < got < 11000000:
                time.sleep(WINDOW)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    edge = scripted(box, serve)
    with http1.Client(edge.address, timeout=30) as client:
        assert client.request("POST", body=b"a" * size).body == b"ok"
    assert metric(edge, "body_timeouts") == 0


def test_a_client_that_waits_for_100_is_not_slow(box):
    def serve(sock):
        sock.recv(65536)
        time.sleep(WINDOW * 2.5)
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.recv(65536)
        # It says that it closes: a POST on a connection that is closed just then is not repeated.
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    edge = scripted(box, serve)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/", [("Content-Length", "3"), ("Expect", "100-continue")]))
        assert client.read_head().status == 100
        client.send(b"abc")
        assert client.read_response().status == 200
    with http1.Client(edge.address) as client:  # it never begins
        client.send(http1.head("POST", "/", [("Content-Length", "3"), ("Expect", "100-continue")]))
        assert client.read_head().status == 100
        began = time.monotonic()
        assert client.read_response().status == 408
        assert WINDOW <= time.monotonic() - began <= LONGEST


def test_tunnels_have_their_own_clock(box):
    def serve(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n"
                     b"Connection: Upgrade\r\n\r\n" + b"x" * 30000000)
        time.sleep(60)
    edge = scripted(box, serve)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.connect(("127.0.0.1", edge.port))
    sock.sendall(http1.head("GET", "/", [("Connection", "Upgrade"), ("Upgrade", "x")]))
    time.sleep(WINDOW * 3)
    assert metric(edge, "read_timeouts") == 0 and metric(edge, "tunnels") == 1
    sock.settimeout(5)
    assert sock.recv(100).startswith(b"HTTP/1.1 101")
    sock.close()
