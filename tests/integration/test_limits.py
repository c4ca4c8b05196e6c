# SPDX-License-Identifier: Apache-2.0
"""Limits on what clients send, each with its status and counter; and requests in a circle."""
import pathlib
import socket
import time

import pytest

from harness import http1
from harness.box import wait
from harness.origin import Answer
from harness.setup import Edge, cluster, metric, simple

ROUTES = [{"cluster": "web", "body-max": "1KiB", "name": "small"},
          {"cluster": "web", "body-max": "4KiB", "name": "large", "match": {"path": "/large/"}},
          {"cluster": "web", "body-max": 0, "name": "any", "match": {"path": "/any/"}}]


def refused(edge, data, status, name):
    before = metric(edge, name)
    with http1.Client(edge.address) as client:
        client.send(data)
        assert client.read_response().status == status
        assert client.at_end()
    wait("the counter", lambda: metric(edge, name) == before + 1)


def test_heads(box):
    edge, member = simple(box, limits={"request-line": "1KiB", "head": "4KiB", "fields": 20})
    host = b"Host: a\r\n"
    refused(edge, b"GET /" + b"a" * 1024 + b" HTTP/1.1\r\n" + host + b"\r\n", 414,
            "request_lines_too_long")
    refused(edge, b"GET / HTTP/1.1\r\n" + host + b"X: " + b"a" * 4096 + b"\r\n\r\n", 431,
            "heads_too_long")
    refused(edge, b"GET / HTTP/1.1\r\n" + host + b"X: a\r\n" * 20 + b"\r\n", 431, "too_many_fields")
    assert member.count() == 0


@pytest.mark.parametrize("path,most", [("/", 1024), ("/large/", 4096)])
def test_bodies_by_route(box, path, most):
    edge, member = simple(box, routes=ROUTES)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode()
    refused(edge, head + b"Content-Length: %d\r\n\r\n" % (most + 1), 413, "bodies_too_long")
    refused(edge, head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (most + 1) +
            b"a" * (most + 1) + b"\r\n", 413, "bodies_too_long")
    assert member.count() == 0
    assert http1.fetch(edge.address, path).status == 200
    with http1.Client(edge.address) as client:
        assert client.request("POST", path, body=b"a" * most).status == 200
        assert client.request("POST", "/any/", body=b"a" * 100000).status == 200


def test_a_request_that_comes_back_is_ended(box):
    port = box.port()
    edge = Edge(box, {"web": cluster([f"127.0.0.1:{port}"], health=None)}, port=port)
    with http1.Client(edge.address) as client:
        assert client.request().status == 508
        assert client.request(path="/again").status == 508
    assert metric(edge, "loops") == 2


def test_two_edges_in_a_row_are_no_circle(box):
    member = box.origin("m")
    second = Edge(box, {"web": cluster([member], health=None)}, name="second", state="./second")
    first = Edge(box, {"web": cluster([second.address], health=None)}, name="first",
                 state="./first")
    assert http1.fetch(first.address).status == 200


def passes(edge, data):
    with http1.Client(edge.address) as client:
        client.send(data)
        assert client.read_response().status == 200


def line(count):
    """A request line of so many bytes, its end counted."""
    return b"GET /" + b"a" * (count - len("GET / HTTP/1.1\r\n")) + b" HTTP/1.1\r\n"


def head(count):
    """A head of so many bytes, all counted."""
    begin = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    return begin + b"a" * (count - len(begin) - 4) + b"\r\n\r\n"


def fields(count):
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * (count - 1) + b"\r\n"


def test_defaults_at_the_limit_and_one_past_it(box):
    edge, member = simple(box)
    passes(edge, line(8192) + b"Host: a\r\n\r\n")
    refused(edge, line(8193) + b"Host: a\r\n\r\n", 414, "request_lines_too_long")
    passes(edge, head(32768))
    refused(edge, head(32769), 431, "heads_too_long")
    passes(edge, fields(100))
    refused(edge, fields(101), 431, "too_many_fields")
    assert member.count() == 3


def test_requests_of_a_connection(box):
    edge, _ = simple(box, limits={"requests-per-connection": 3})
    with http1.Client(edge.address) as client:
        assert [client.request().get("Connection") for _ in range(3)] == [None, None, "close"]
        assert client.at_end()
    wait("the counter", lambda: metric(edge, "connections_used_up") == 1)
    with http1.Client(edge.address) as client:
        assert [client.request().status for _ in range(2)] == [200, 200]
    assert metric(edge, "connections_used_up") == 1


def test_times_of_a_connection(box):
    edge, _ = simple(box, limits={"header-timeout": "500ms", "idle-timeout": "3s"})
    began = time.monotonic()
    with http1.Client(edge.address) as client:  # not a byte
        assert client.at_end()
        assert 0.5 <= time.monotonic() - began < 3  # which is the other limit
    assert metric(edge, "idle_timeouts") == 1
    with http1.Client(edge.address) as client:  # a byte now and then
        began = time.monotonic()
        client.sock.settimeout(0.1)
        answer = b""
        while not answer:
            client.send(b"G")
            try:
                answer = client.sock.recv(65536)
            except socket.timeout:
                pass
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 0.5 <= time.monotonic() - began < 3
    assert metric(edge, "header_timeouts") == 1
    with http1.Client(edge.address) as client:  # nothing more
        assert client.request().status == 200
        time.sleep(0.6)  # more than a head may take
        assert client.request().status == 200
        began = time.monotonic()
        assert client.at_end(30)  # by default it would be a minute
        assert 2.9 <= time.monotonic() - began < 10
    assert metric(edge, "idle_timeouts") == 2


def connect_from(edge, host):
    sock = socket.create_connection(("127.0.0.1", edge.port), timeout=5, source_address=(host, 0))
    sock.sendall(http1.head("GET", "/"))
    return sock


def is_open(sock):
    try:
        return sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    except ConnectionResetError:
        return False


def test_connections_of_an_address(box):
    edge, _ = simple(box, limits={"connections-per-address": 3}, workers=2)
    taken = [connect_from(edge, "127.0.0.5") for _ in range(3)]
    assert all(is_open(sock) for sock in taken)
    assert not is_open(connect_from(edge, "127.0.0.5"))
    assert is_open(connect_from(edge, "127.0.0.6"))
    assert metric(edge, "connections_refused_address") == 1
    taken.pop().close()
    wait("its place", lambda: is_open(connect_from(edge, "127.0.0.5")))
    for sock in taken:
        sock.close()


def test_trusted_proxies_have_any_number_of_connections(box):
    edge, _ = simple(box, limits={"connections-per-address": 2},
                     **{"trusted-proxies": ["127.0.0.5"]})
    taken = [connect_from(edge, "127.0.0.5") for _ in range(6)]
    assert all(is_open(sock) for sock in taken)
    assert metric(edge, "connections_refused_address") == 0


def named(edge, line):
    sock = socket.create_connection(("127.0.0.1", edge.port), timeout=5)
    sock.sendall(line + b"\r\n" + http1.head("GET", "/"))
    return sock


def test_connections_of_an_address_behind_proxy_protocol(box):
    edge, _ = simple(box, listener={"proxy-protocol": True}, limits={"connections-per-address": 2},
                     **{"trusted-proxies": ["127.0.0.0/8"]})
    four = b"PROXY TCP4 198.51.100.%d 192.0.2.1 1234 80"
    six = b"PROXY TCP6 2001:db8:%d::%d 2001:db8::1 1234 80"
    taken = [named(edge, four % 7), named(edge, four % 7)]
    assert all(is_open(sock) for sock in taken)
    assert not is_open(named(edge, four % 7))
    assert is_open(named(edge, four % 8))
    same = [named(edge, six % (1, 1)), named(edge, six % (1, 2))]
    assert all(is_open(sock) for sock in same)
    assert not is_open(named(edge, six % (1, 3)))  # one /64
    assert is_open(named(edge, six % (2, 1)))
    assert is_open(named(edge, b"PROXY UNKNOWN"))
    assert metric(edge, "connections_refused_address") == 2


def test_a_head_of_64_megabytes(box):
    edge, member = simple(box)
    before = metric(edge, "bytes_in")
    with http1.Client(edge.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        piece = b"X-%d: " + b"a" * 8000 + b"\r\n"
        sent, answer = 0, b""
        while sent < 64000000 and not answer:
            try:
                client.send(piece % sent)
                sent += len(piece)
                client.sock.settimeout(0.0)
                answer = client.sock.recv(65536)
            except BlockingIOError:
                client.sock.settimeout(5)
            except (BrokenPipeError, ConnectionResetError):
                answer = client.sock.recv(65536) # it came before the end
        assert answer.startswith(b"HTTP/1.1 431 ")
    wait("the counter", lambda: metric(edge, "heads_too_long") == 1)
    assert metric(edge, "bytes_in") - before < 65536
    assert member.count() == 0


def cpu_s(edge):
    """Of all its threads."""
    stats = pathlib.Path(f"/proc/{edge.process.pid}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


def test_a_thousand_fields_of_one_name_cost_little(box):
    """Refused by default; and at most what is allowed is as cheap."""
    edge, _ = simple(box)
    count, spent = 20, {}
    for name, data, status in (("refused", fields(1000), 431), ("taken", fields(100), 200)):
        before = cpu_s(edge)
        for _ in range(count):
            with http1.Client(edge.address) as client:
                client.send(data)
                assert client.read_response().status == status
        spent[name] = (cpu_s(edge) - before) / count
    assert all(seconds < 0.005 for seconds in spent.values()), spent


def test_slow_clients_by_default(box):
    """Nothing is configured: heads end after 10 s, bodies and readers within 20 s, 2,000 silent
    connections within 25 s."""
    edge, _ = simple(box, answer=lambda request: Answer(200, b"x" * 10000000))
    began, ended = {"idle_timeouts": time.monotonic()}, {}
    silent = [http1.connect(edge.address) for _ in range(2000)]
    slow = {"header_timeouts": (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a"),
            "body_timeouts": (http1.head("POST", "/", [("Transfer-Encoding", "chunked")]),
                              b"1\r\na\r\n"),
            "read_timeouts": (http1.head("GET", "/"), b"")}
    socks = {}
    began.update(dict.fromkeys(slow, time.monotonic()))
    for name, (first, _) in slow.items():
        socks[name] = socket.socket()
        socks[name].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        socks[name].connect(("127.0.0.1", edge.port))
        socks[name].sendall(first)

    def all_ended():
        for name in (*slow, "idle_timeouts"):
            if name not in ended and metric(edge, name) == (2000 if name not in slow else 1):
                ended[name] = time.monotonic() - began[name]
        for name, (_, drop) in slow.items():
            if drop and name not in ended:
                socks[name].send(drop)
        time.sleep(0.2)
        return len(ended) == 4
    wait("all to be closed", all_ended, 30)
    assert 10 <= ended["header_timeouts"] < 15, ended
    assert ended["body_timeouts"] < 20 and ended["read_timeouts"] < 20, ended
    assert ended["idle_timeouts"] < 25, ended
    assert all(sock.recv(1) == b"" for sock in silent)
    for sock in (*silent, *socks.values()):
        sock.close()
