# SPDX-License-Identifier: Apache-2.0
"""`defer-accept`: silent connections are the kernel's for a while, and none is lost by it."""
import contextlib
import signal
import socket
import threading
import time

import pytest

from harness import http1
from harness.box import hold, wait
from harness.secured import TlsEdge
from harness.setup import metric, simple

DEFER_S = 1  # what the kernel makes of it, and the shortest that it knows
GET = b"GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def deferring(box, value="1s", **more):
    """An edge with one member, whose workers have set their listeners up."""
    edge, member = simple(box, listener={"defer-accept": value}, **more)
    assert http1.fetch(edge.address).status == 200
    return edge, member


def set_defer(edge, value):
    edge.settings["listen"][-1]["defer-accept"] = value
    edge.write()
    edge.process.signal(signal.SIGHUP)


def silent_s(address):
    """How long a client is left alone that says nothing."""
    began = time.monotonic()
    with http1.connect(address) as sock:
        assert sock.recv(1) == b""
    return time.monotonic() - began


@contextlib.contextmanager
def crowd(address):
    """Connections by the hundred that come and go, until it ends."""
    stop, place = threading.Event(), (address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1]))

    def come():
        while not stop.is_set():
            with contextlib.ExitStack() as stack:
                for _ in range(400):
                    sock = stack.enter_context(socket.socket())
                    sock.setblocking(False)
                    sock.connect_ex(place)
    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_silent_clients_are_taken_later(box):
    edge, _ = deferring(box, limits={"header-timeout": "300ms"})
    before = metric(edge, "connections_accepted")
    began = time.monotonic()
    with http1.connect(edge.address) as sock:
        hold("nobody to be taken", lambda: metric(edge, "connections_accepted") == before, 0.3)
        assert sock.recv(1) == b""  # its timeout runs from then on
        assert DEFER_S - 0.2 < time.monotonic() - began < DEFER_S + 5
    wait("it to count", lambda: metric(edge, "connections_accepted") == before + 1)
    assert metric(edge, "idle_timeouts") == 1


def test_limits_hold_for_those_who_are_taken(box):
    edge, _ = deferring(box, "3s", limits={"connections-per-address": 2})
    with http1.connect(edge.address), http1.connect(edge.address), http1.connect(edge.address):
        # Three that say nothing are none: the fourth gets its answer.
        assert http1.fetch(edge.address).status == 200
    wait("them to be gone", lambda: metric(edge, "connections_open") == 0)
    before = metric(edge, "connections_refused_address")
    with http1.Client(edge.address) as one, http1.Client(edge.address) as two:
        assert one.request().status == two.request().status == 200
        with http1.connect(edge.address) as three:
            three.sendall(GET)
            try:
                assert http1.rest(three) == b""
            except ConnectionResetError:
                pass  # closed with what it said unread
    assert metric(edge, "connections_refused_address") == before + 1


@pytest.mark.parametrize("parts", [[GET], [GET[:9], GET[9:]], [GET[:-1], GET[-1:]]])
def test_heads_in_pieces(box, parts):
    edge, _ = deferring(box)
    with http1.connect(edge.address) as sock:
        for part in parts:
            sock.sendall(part)
            time.sleep(0.05)  # so that they are packets of their own
        assert http1.rest(sock).startswith(b"HTTP/1.1 200 ")


def test_half_closed_behind_the_request(box):
    edge, _ = deferring(box)
    with http1.connect(edge.address) as sock:
        sock.sendall(GET)
        sock.shutdown(socket.SHUT_WR)
        assert http1.rest(sock).startswith(b"HTTP/1.1 200 ")
    with http1.connect(edge.address) as sock:
        sock.shutdown(socket.SHUT_WR)  # one that only looks whether somebody listens
        assert http1.rest(sock) == b""


def test_over_tls(box, authority):
    tls = TlsEdge(box, authority, listen={"defer-accept": "1s"})
    for _ in range(3):
        with tls.open() as client:
            assert client.request().status == 200
            assert client.request().status == 200
    assert metric(tls.edge, "tls_handshakes") == 3


def test_a_proxy_header_comes_first(box):
    front = f"127.0.0.1:{box.port()}"
    simple(box, listen=[{"address": front, "defer-accept": "1s", "proxy-protocol": True}],
           **{"trusted-proxies": ["127.0.0.0/8"]})
    for parts in ([GET], [b"", GET]):
        with http1.connect(front) as sock:
            sock.sendall(b"PROXY TCP4 192.0.2.7 10.0.0.1 1234 80\r\n" + parts[0])
            if parts[1:]:
                time.sleep(0.05)
                sock.sendall(parts[1])
            assert http1.rest(sock).startswith(b"HTTP/1.1 200 ")


def test_it_changes_with_a_reload(box):
    edge, _ = simple(box, limits={"header-timeout": "200ms"})

    assert silent_s(edge.address) < DEFER_S
    set_defer(edge, "1s")
    wait("silent ones to be taken later", lambda: silent_s(edge.address) > DEFER_S)
    set_defer(edge, "off")
    wait("silent ones to be taken at once", lambda: silent_s(edge.address) < DEFER_S)


def test_who_was_silent_when_its_listener_went_is_answered(box):
    port = box.port()
    edge, _ = simple(box, listen=[{"address": f"127.0.0.1:{port}", "defer-accept": "1s"}])
    assert http1.fetch(f"127.0.0.1:{port}").status == 200
    with http1.connect(f"127.0.0.1:{port}") as early, http1.connect(f"127.0.0.1:{port}") as late:
        del edge.settings["listen"][0]
        edge.settings["request-id"] = {"respond": True}
        edge.write()
        edge.process.signal(signal.SIGHUP)
        wait("the reload", lambda: http1.fetch(edge.address).all("X-Request-Id"))
        early.sendall(GET)
        assert http1.rest(early).startswith(b"HTTP/1.1 200 ")

        def gone():
            try:
                http1.connect(f"127.0.0.1:{port}").close()
            except ConnectionRefusedError:
                return True
            return False
        wait("the listener to be gone", gone)
        late.sendall(GET)  # it was taken before that
        assert http1.rest(late).startswith(b"HTTP/1.1 200 ")


def test_who_was_silent_when_a_drain_began_is_answered(box):
    edge, _ = deferring(box)
    with http1.connect(edge.address) as sock, http1.Client(edge.address) as idle:
        assert idle.request().status == 200
        edge.process.signal(signal.SIGTERM)
        assert idle.at_end()  # the drain has begun
        sock.sendall(GET)
        assert http1.rest(sock).startswith(b"HTTP/1.1 200 ")
    assert edge.process.wait() == 0


def test_who_is_busy_defers_by_itself(box):
    edge, _ = simple(box, limits={"header-timeout": "200ms"}, workers=1)
    assert silent_s(edge.address) < DEFER_S
    assert metric(edge, "connections_deferred") == 0
    with crowd(edge.address):
        wait("it to defer", lambda: metric(edge, "connections_deferred"), 60)
        assert silent_s(edge.address) > DEFER_S - 0.2
    wait("silent ones to be taken at once", lambda: silent_s(edge.address) < DEFER_S)


def test_a_drain_of_who_is_busy_leaves_no_silent_client_out(box):
    edge, _ = simple(box, workers=1)
    with http1.Client(edge.address) as idle:
        assert idle.request().status == 200
        with crowd(edge.address):
            wait("it to defer", lambda: metric(edge, "connections_deferred"), 60)
            sock = http1.connect(edge.address)
        edge.process.signal(signal.SIGTERM)
        assert idle.at_end()  # the drain has begun
        with sock:
            sock.sendall(GET)
            assert http1.rest(sock).startswith(b"HTTP/1.1 200 ")
    assert edge.process.wait() == 0
