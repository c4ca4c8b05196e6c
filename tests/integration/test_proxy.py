# SPDX-License-Identifier: Apache-2.0
"""Forwarding: heads and bodies both ways, connections kept, retries, routes, balancing."""
import hashlib
import re
import select
import signal
import socket
import threading
import time

import pytest

from harness import http1
from harness.box import hold, wait
from harness.listener import AgentCheck, shut
from harness.load import Load
from harness.origin import Answer, field, fields_of
from harness.setup import Edge, cluster, metric, resident_kib, simple


def last(member):
    return member.requests[-1]


# ---- heads ----------------------------------------------------------------------------------

def test_request_is_forwarded(box):
    edge, member = simple(box)
    response = http1.fetch(edge.address, "/a/b?c=d&e=%20f", host="www.example.com",
                           fields=[("X-Mine", "1"), ("Accept", "text/plain")])
    assert response.status == 200 and response.text == "m GET /a/b?c=d&e=%20f\n"
    request = last(member)
    assert request.path == "/a/b?c=d&e=%20f" and request.version == "HTTP/1.1"
    assert field(request, "Host") == "www.example.com"
    assert field(request, "X-Mine") == "1" and field(request, "Accept") == "text/plain"


def test_forwarded_fields(box):
    edge, member = simple(box)
    http1.fetch(edge.address, host="www.example.com:81")
    request = last(member)
    assert field(request, "X-Forwarded-For") == "127.0.0.1"
    assert field(request, "X-Forwarded-Proto") == "http"
    assert field(request, "X-Forwarded-Host") == "www.example.com:81"
    assert re.match(r"1\.1 \S+", field(request, "Via"))
    # What is there already is kept, ours comes last (RFC 9110 section 7.6.3); but nobody's word is
    # taken for who asks.
    http1.fetch(edge.address, fields=[("X-Forwarded-For", "10.1.1.1"), ("Via", "1.0 fred")])
    request = last(member)
    assert fields_of(request, "X-Forwarded-For") == ["127.0.0.1"]
    via = ", ".join(fields_of(request, "Via")).split(", ")
    assert via[0] == "1.0 fred" and len(via) == 2


def test_via_towards_the_client(box):
    edge, _ = simple(box)
    assert re.match(r"1\.1 \S+", http1.fetch(edge.address).get("Via"))


def test_hop_by_hop_fields_are_dropped_both_ways(box):
    edge, member = simple(box, lambda request: Answer(200, "x", [
        ("Connection", "X-Private"), ("X-Private", "1"), ("Keep-Alive", "timeout=9"),
        ("Proxy-Authenticate", "Basic"), ("X-Kept", "1")]))
    with http1.Client(edge.address) as client:
        response = client.request(fields=[
            ("Connection", "X-Hop, keep-alive"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"), ("Upgrade", "websocket"), ("Proxy-Connection", "keep-alive"),
            ("X-Stays", "1")])
    request = last(member)
    for name in ("X-Hop", "Keep-Alive", "Upgrade", "Proxy-Connection"):
        assert field(request, name) is None, name
    assert field(request, "X-Stays") == "1"
    assert response.get("X-Private") is None and response.get("Keep-Alive") is None
    assert response.get("X-Kept") == "1"


def test_fields_survive_in_order_and_number(box):
    edge, member = simple(box, lambda request: Answer(200, "x", [
        ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Empty", "")]))
    response = http1.fetch(edge.address, fields=[("X-Many", "1"), ("X-Other", "o"),
                                                 ("X-Many", "2"), ("X-Empty", "")])
    assert fields_of(last(member), "X-Many") == ["1", "2"]
    assert field(last(member), "X-Empty") == ""
    assert response.all("Set-Cookie") == ["a=1", "b=2"] and response.get("X-Empty") == ""


@pytest.mark.parametrize("status", [200, 201, 204, 206, 301, 304, 400, 404, 418, 500, 503])
def test_status_codes_pass(box, status):
    edge, _ = simple(box, lambda request: Answer(status, "" if status in (204, 304) else "b",
                                                 reason="Words"))
    with http1.Client(edge.address) as client:
        response = client.request(method="POST", body=b"x")
        assert response.status == status
        assert client.request(method="POST", body=b"x").status == status  # still in step


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "REPORT"])
def test_methods_pass(box, method):
    edge, member = simple(box)
    assert http1.fetch(edge.address, "/x", method=method).status == 200
    assert last(member).method == method


def test_head(box):
    edge, member = simple(box)
    with http1.Client(edge.address) as client:
        response = client.request("HEAD", "/x")
        assert response.status == 200 and response.get("Content-Length") == "10"
        assert client.request("GET", "/y").text == "m GET /y\n"
    assert [r.method for r in member.requests] == ["HEAD", "GET"]


# ---- bodies ---------------------------------------------------------------------------------

def digest_answer(request):
    return Answer(200, hashlib.sha256(request.body).hexdigest() + f" {len(request.body)}")


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 65537, 3_000_000])
def test_request_bodies_with_a_length(box, size):
    edge, member = simple(box, digest_answer)
    body = bytes(i * 7 % 251 for i in range(size))
    response = http1.fetch(edge.address, method="POST", body=body)
    assert response.text == f"{hashlib.sha256(body).hexdigest()} {size}"


@pytest.mark.parametrize("sizes", [[], [1], [5, 1, 70000], [4096] * 200])
def test_request_bodies_in_chunks(box, sizes):
    edge, member = simple(box, digest_answer)
    body = b"".join(bytes([65 + n % 26]) * size for n, size in enumerate(sizes))
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/", [("Transfer-Encoding", "chunked")]))
        for n, size in enumerate(sizes):
            client.send(b"%x\r\n" % size + bytes([65 + n % 26]) * size + b"\r\n")
        client.send(b"0\r\n\r\n")
        assert client.read_response().text == f"{hashlib.sha256(body).hexdigest()} {len(body)}"
        assert client.request(method="POST", body=b"next").text.endswith(" 4")


@pytest.mark.parametrize("size", [0, 1, 16384, 5_000_000])
def test_response_bodies(box, size):
    body = bytes(i * 13 % 251 for i in range(size))
    edge, _ = simple(box, lambda request: Answer(200, body))
    with http1.Client(edge.address) as client:
        assert client.request().body == body
        assert client.request().body == body


@pytest.mark.parametrize("sizes", [[], [1, 2, 3], [100000, 1, 100000]])
def test_chunked_responses(box, sizes):
    def answer(request):
        chunks = b"".join(b"%x\r\n" % size + b"z" * size + b"\r\n" for size in sizes)
        return Answer(200, chunks + b"0\r\n\r\n", [("Transfer-Encoding", "chunked")])
    edge, _ = simple(box, answer)
    with http1.Client(edge.address) as client:
        for _ in range(2):
            response = client.request()
            assert response.body == b"z" * sum(sizes)
    # RFC 9112 section 6.1: an HTTP/1.0 client never sees a transfer coding.
    with http1.Client(edge.address) as client:
        client.send(http1.head("GET", "/", version="HTTP/1.0"))
        response = client.read_response()
        assert response.get("Transfer-Encoding") is None and response.body == b"z" * sum(sizes)


def test_response_that_ends_with_its_connection(box):
    edge, _ = simple(box, lambda request: b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nall of it")
    with http1.Client(edge.address) as client:
        response = client.request()
        assert response.status == 200 and response.body == b"all of it"


def test_http_1_0_client(box):
    edge, _ = simple(box)
    with http1.Client(edge.address) as client:
        client.send(http1.head("GET", "/old", host=None, version="HTTP/1.0"))
        assert client.read_response().text == "m GET /old\n"
        assert client.at_end()


def test_http_1_0_client_without_host_and_a_member_on_a_unix_socket(box):
    """The path of a socket is no host: a member that reads strictly would refuse it."""
    path = str(box.folder / "member.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        edge = Edge(box, {"web": cluster([{"address": f"unix:{path}"}], health=None)})
        with http1.Client(edge.address) as client:
            client.send(b"GET /old HTTP/1.0\r\n\r\n")
            member, _ = listener.accept()
            with member:
                head = member.recv(65536)
                member.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert client.read_response().body == b"ok"
    assert head.startswith(b"GET /old HTTP/1.1\r\nHost: localhost\r\n")


def test_http_1_0_member(box):
    edge, _ = simple(box, lambda request: b"HTTP/1.0 200 OK\r\n\r\nold words")
    with http1.Client(edge.address) as client:
        for _ in range(2):
            assert client.request().body == b"old words"


def test_expect_100_continue(box):
    edge, member = simple(box, digest_answer)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/", [("Expect", "100-continue"), ("Content-Length", "5")]))
        assert client.read_head().status == 100
        client.send(b"hello")
        response = client.read_response()
        assert response.text == f"{hashlib.sha256(b'hello').hexdigest()} 5"


def test_interim_responses_are_passed_on_or_kept(box):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    edge, _ = simple(box, lambda request: early + final)
    with http1.Client(edge.address) as client:
        assert client.request().body == b"ok"


class RawMember:
    """A listener whose single connection the test drives by hand."""

    def __init__(self, box):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        box.closers.append(lambda: shut(self.listener))
        self.received = b""

    def accept(self):
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(10)
        return self

    def read_until(self, condition):
        while not condition(self.received):
            data = self.sock.recv(65536)
            assert data, f"closed after {self.received!r}"
            self.received += data


def test_bodies_stream_both_ways(box):
    """What is there arrives while the rest is still to come, in either direction."""
    member = RawMember(box)
    edge = Edge(box, {"web": cluster([member.address], health=None)})
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/up", [("Content-Length", "2000")]) + b"a" * 1000)
        member.accept().read_until(lambda data: data.endswith(b"a" * 1000))
        client.send(b"b" * 1000)
        member.read_until(lambda data: data.endswith(b"b" * 1000))
        member.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"c" * 1000)
        assert client.read_head().status == 200
        assert client.read_exactly(1000) == b"c" * 1000
        member.sock.sendall(b"d" * 1000)
        assert client.read_exactly(1000) == b"d" * 1000


def test_slow_reader_stops_the_member(box):
    """Back-pressure: the edge holds a bounded part of a body that nobody reads."""
    member = RawMember(box)
    total = 64 << 20
    sent = [0]

    def serve():
        member.accept().read_until(lambda data: b"\r\n\r\n" in data)
        member.sock.settimeout(None)
        member.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        try:
            while sent[0] < total:
                member.sock.sendall(b"x" * 65536)
                sent[0] += 65536
        except OSError:
            pass
    threading.Thread(target=serve, daemon=True).start()
    edge = Edge(box, {"web": cluster([member.address], health=None)})
    with http1.Client(edge.address, timeout=30) as client:
        client.send(http1.head("GET", "/big"))
        client.read_head()

        def settled():
            before = sent[0]
            time.sleep(0.3)
            return sent[0] == before and before > 0
        wait("the member to be held back", settled)
        assert sent[0] < total // 2, f"{sent[0]} bytes are buffered somewhere"
        rss = resident_kib(edge.process.pid)
        assert rss < 400 * 1024, f"{rss} KiB resident"  # the sanitizers' share included
        got = len(client.buffer)
        while got < total:
            data = client.sock.recv(1 << 20)
            assert data, f"ended after {got} bytes"
            got += len(data)
        assert got == total


# ---- connections ----------------------------------------------------------------------------

def test_client_connection_is_kept(box):
    edge, member = simple(box)
    with http1.Client(edge.address) as client:
        for n in range(50):
            assert client.request(path=f"/{n}").text == f"m GET /{n}\n"
    assert member.connections <= 2, "member connections are not reused"


def test_connection_close_is_honoured(box):
    edge, _ = simple(box)
    with http1.Client(edge.address) as client:
        response = client.request(fields=[("Connection", "close")])
        assert response.get("Connection") == "close" and client.at_end()


def test_pipelining_keeps_the_order(box):
    edge, member = simple(box)

    def answer(request):
        if request.path == "/0":
            time.sleep(0.2)
        return Answer(200, request.path)
    member.answer = answer
    with http1.Client(edge.address) as client:
        client.send(b"".join(http1.head("GET", f"/{n}") for n in range(10)))
        assert [client.read_response().text for _ in range(10)] == [f"/{n}" for n in range(10)]


def test_pipelined_body_does_not_swallow_the_next_request(box):
    edge, _ = simple(box, digest_answer)
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/1", body=b"12345") + b"12345" + http1.head("GET", "/2"))
        assert client.read_response().text.endswith(" 5")
        assert client.read_response().text.endswith(" 0")


def test_request_in_single_bytes(box):
    edge, _ = simple(box)
    with http1.Client(edge.address) as client:
        for byte in http1.head("POST", "/slow", body=b"ab") + b"ab":
            client.send(bytes([byte]))
        assert client.read_response().text == "m POST /slow\n"


@pytest.mark.parametrize("text,status", [
    (b"GET\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),                                  # RFC 9112 section 3.2
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", (400, 501)),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", (400, 505)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40000 + b"\r\n\r\n", 431),
    (b"GET /" + b"y" * 10000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
], ids=range(15))
def test_bad_requests_are_refused_and_never_forwarded(box, text, status):
    edge, member = simple(box)
    with http1.Client(edge.address) as client:
        client.send(text)
        response = client.read_response()
        assert response.status in (status if isinstance(status, tuple) else (status,)), response
        assert client.at_end(), "after a request that cannot be framed the connection must end"
    # A chunked body that goes wrong may have begun; nothing else reaches the member.
    assert all(field(r, "Transfer-Encoding") for r in member.requests)
    assert http1.fetch(edge.address).status == 200


def test_slow_heads_time_out(box):
    edge, _ = simple(box, limits={"header-timeout": "300ms"})
    with http1.Client(edge.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost:")
        try:
            assert client.read_response().status == 408
        except http1.ProtocolError:
            pass  # closed without a word is as good
        assert client.at_end()


def test_idle_clients_are_closed(box):
    edge, _ = simple(box, limits={"idle-timeout": "300ms"})
    with http1.Client(edge.address) as client:
        assert client.request().status == 200
        assert client.at_end()


def test_a_client_that_leaves_does_no_harm(box):
    edge, member = simple(box)
    member.hold()
    for _ in range(20):
        client = http1.Client(edge.address)
        client.send(http1.head("GET", "/gone"))
        client.close()
    member.release()
    assert http1.fetch(edge.address, "/here").text == "m GET /here\n"


# ---- when members fail ----------------------------------------------------------------------

def test_refused_everywhere_is_502_or_503(box):
    edge = Edge(box, {"web": cluster([f"127.0.0.1:{box.port()}"], health=None,
                                     eject={"failures": 0})})
    assert http1.fetch(edge.address).status in (502, 503)


def test_retry_on_another_member_before_the_first_byte(box):
    bad, good = box.origin("bad", answer=lambda request: None), box.origin("good")
    edge = Edge(box, {"web": cluster([bad, good], health=None, balance="round-robin",
                                     eject={"failures": 0}, **{"retry-budget": 1})})
    for _ in range(20):
        assert http1.fetch(edge.address).get("X-Origin") == "good"
    assert bad.count() >= 5


def test_unsafe_requests_are_not_repeated(box):
    bad, good = box.origin("bad", answer=lambda request: None), box.origin("good")
    edge = Edge(box, {"web": cluster([bad, good], health=None, balance="round-robin",
                                     eject={"failures": 0}, **{"retry-budget": 1})})
    statuses = [http1.fetch(edge.address, method="POST", body=b"x").status for _ in range(20)]
    assert statuses.count(502) == bad.count() >= 5
    assert statuses.count(200) == good.count()


def test_connections_refused_are_retried_for_every_method(box):
    """Nothing was sent yet: even a POST may go to another member."""
    good = box.origin("good")
    edge = Edge(box, {"web": cluster([f"127.0.0.1:{box.port()}", good], health=None,
                                     balance="round-robin", eject={"failures": 0},
                                     **{"retry-budget": 1})})
    for _ in range(10):
        assert http1.fetch(edge.address, method="POST", body=b"x").status == 200


def test_retry_budget(box):
    bad, good = box.origin("bad", answer=lambda request: None), box.origin("good")
    edge = Edge(box, {"web": cluster([bad, good], health=None, balance="round-robin",
                                     eject={"failures": 0}, **{"retry-budget": 0})})
    statuses = {http1.fetch(edge.address).status for _ in range(20)}
    assert statuses == {200, 502}


def test_no_retry_after_the_first_byte(box):
    partial = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"
    bad, good = box.origin("bad", answer=lambda request: partial), box.origin("good")
    edge = Edge(box, {"web": cluster([bad], health=None, eject={"failures": 0}),
                      "other": cluster([good], health=None)})
    with http1.Client(edge.address) as client:
        with pytest.raises(http1.ProtocolError):
            client.request()
    assert bad.count() == 1


@pytest.mark.parametrize("garbage", [b"nonsense\r\n\r\n", b"HTTP/1.1 xyz\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nContent-Length: a\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
                                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""],
                         ids=range(5))
def test_members_that_break_the_protocol_give_502(box, garbage):
    edge, _ = simple(box, lambda request: garbage, web={"eject": {"failures": 0}})
    assert http1.fetch(edge.address).status == 502


def test_response_timeout(box):
    edge, member = simple(box, web={"timeouts": {"response": "200ms"}, "eject": {"failures": 0}})
    member.hold()
    began = time.monotonic()
    assert http1.fetch(edge.address).status == 504
    assert time.monotonic() - began < 5


def test_kept_connection_closed_by_the_member_is_not_an_error(box):
    edge, member = simple(box)
    for n in range(20):
        assert http1.fetch(edge.address, f"/{n}").status == 200
        member.drop_connections()


def test_active_health_check_takes_out_and_brings_back(box):
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([one, two])})

    def origins():
        return {http1.fetch(edge.address).get("X-Origin") for _ in range(12)}
    wait("both", lambda: origins() == {"one", "two"})
    one.healthy = False
    wait("only the healthy one", lambda: origins() == {"two"})
    assert one.checks > 0
    one.healthy = True
    wait("both again", lambda: origins() == {"one", "two"})


def test_tcp_health_check(box):
    one, two = box.origin("one"), box.origin("two")
    edge = Edge(box, {"web": cluster([one, two], health={"type": "tcp", "interval": "50ms"},
                                     eject={"failures": 0}, **{"retry-budget": 0})})
    one.stop()

    def settled():
        return {http1.fetch(edge.address).status for _ in range(20)} == {200}
    wait("the dead member to be left out", settled)
    with Load(edge.address, 2) as load:
        load.wait_done(100)
    load.assert_clean()


def test_agent_check_takes_out_and_brings_back(box):
    """Beside an active check that passes all the time: its word alone must not be the last one."""
    one, two, agent = box.origin("one"), box.origin("two"), AgentCheck(box, "up 100%")
    edge = Edge(box, {
        "web": cluster([two]),
        "one": cluster([one], utilization={"agent-check": agent.address,
                                           "agent-check-interval": "50ms"})},
                routes=[{"match": {"path": "/one"}, "cluster": "one"}, {"cluster": "web"}])
    wait("it serves", lambda: http1.fetch(edge.address, "/one").status == 200)
    for word in ("down#disk full", "drain"):
        agent.line = word
        wait(word, lambda: http1.fetch(edge.address, "/one").status == 503)
        agent.line = "up 75%"
        wait("up again", lambda: http1.fetch(edge.address, "/one").status == 200)
    assert metric(edge, "member_utilization_ratio", cluster="one") == 0.25


def test_passive_ejection(box):
    bad = box.origin("bad", answer=lambda request: Answer(503, "bad"))
    good = box.origin("good")
    edge = Edge(box, {"web": cluster([bad, good], health=None, balance="round-robin",
                                     eject={"failures": 3, "time": "400ms"})},
                workers=1)  # each worker judges by what it saw itself
    statuses = [http1.fetch(edge.address).status for _ in range(40)]
    assert 3 <= statuses.count(503) <= 6, statuses
    served = bad.count()
    wait("it to be tried again", lambda: http1.fetch(edge.address) and bad.count() > served)


def test_member_killed_under_load_fails_nothing(box):
    origins = [box.origin(name) for name in "abc"]
    edge = Edge(box, {"web": cluster(origins, **{"retry-budget": 1})})
    with Load(edge.address, 4) as load:
        load.wait_done(50)
        origins[0].stop()
        load.wait_done(300)
    load.assert_clean()


# ---- connections that stay --------------------------------------------------------------------

def test_idle_clients_make_room_at_the_limit(box):
    edge, _ = simple(box, workers=1, limits={"connections": 16})
    kept = [http1.Client(edge.address) for _ in range(16)]
    assert [client.request().status for client in kept] == [200] * 16
    new = [http1.Client(edge.address) for _ in range(5)]
    assert [client.request().status for client in new] == [200] * 5
    assert metric(edge, "connections_reclaimed") == 5
    assert [client.request().status for client in kept[5:]] == [200] * 11
    for client in kept[:5]:  # those that were idle longest, and they see a proper end
        assert client.sock.recv(1) == b""


def test_out_of_descriptors_goes_on(box):
    """Every descriptor is taken by clients: idle ones make room; with none idle, accepting goes on
    as soon as there is one."""
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([member], health=None)}, workers=1,
                prefix=("prlimit", "--nofile=64:64"))
    kept = []
    for _ in range(100):
        kept.append(http1.Client(edge.address))
        assert kept[-1].request().status == 200
    for client in kept:
        client.close()
    assert wait("the metrics", lambda: metric(edge, "connections_reclaimed")) >= 40
    # Silent ones are owed their first answer: they hold their places, and newcomers wait.
    silent = [http1.Client(edge.address) for _ in range(100)]
    late = http1.Client(edge.address)
    late.send(http1.head("GET", "/"))
    hold("it waits", lambda: not select.select([late.sock], [], [], 0)[0], 0.3)
    for client in silent:
        client.close()
    assert late.read_response("GET").status == 200
    for _ in range(20):
        assert http1.fetch(edge.address).status == 200


# ---- routes and balancing -------------------------------------------------------------------

def test_routes_most_specific_first(box):
    names = ["rest", "host", "wild", "path", "long", "post", "header", "value"]
    origins = {name: box.origin(name) for name in names}
    edge = Edge(box, {name: cluster([origin], health=None) for name, origin in origins.items()},
                routes=[{"cluster": "rest"},
                        {"match": {"path": "/p/"}, "cluster": "path"},
                        {"match": {"path": "/p/long/"}, "cluster": "long"},
                        {"match": {"host": "*.example.com"}, "cluster": "wild"},
                        {"match": {"host": "www.example.com"}, "cluster": "host"},
                        {"match": {"path": "/p/", "method": "POST"}, "cluster": "post"},
                        {"match": {"path": "/p/", "header": "X-A"}, "cluster": "header"},
                        {"match": {"path": "/p/", "header": {"X-A": "special"}},
                         "cluster": "value"}])

    def who(path, host="a.test", method="GET", fields=()):
        return http1.fetch(edge.address, path, host=host, method=method,
                           fields=fields).get("X-Origin")
    assert who("/") == "rest" and who("/p") == "rest"
    assert who("/p/x") == "path" and who("/p/?q") == "path"
    assert who("/p/long/x") == "long"
    assert who("/", "www.example.com") == "host" and who("/", "WWW.Example.Com:80") == "host"
    assert who("/", "b.example.com") == "wild" and who("/", "c.b.example.com") == "wild"
    assert who("/", "example.com") == "rest" and who("/", "notexample.com") == "rest"
    assert who("/p/x", method="POST") == "post"
    assert who("/p/x", fields=[("X-A", "1")]) == "header"
    assert who("/p/x", fields=[("x-a", "special")]) == "value"


def test_no_route_is_404(box):
    member = box.origin()
    edge = Edge(box, {"web": cluster([member], health=None)},
                routes=[{"match": {"path": "/only/"}, "cluster": "web"}])
    assert http1.fetch(edge.address, "/only/x").status == 200
    assert http1.fetch(edge.address, "/x").status == 404


@pytest.mark.parametrize("balance", ["p2c", "round-robin", "least-request"])
def test_weights(box, balance):
    heavy, light, none = box.origin("heavy"), box.origin("light"), box.origin("none")
    edge = Edge(box, {"web": cluster([{"address": heavy.address, "weight": 90},
                                      {"address": light.address, "weight": 30},
                                      {"address": none.address, "weight": 0}],
                                     health=None, balance=balance)})
    for origin in (heavy, light):
        origin.delay = 0.005
    with Load(edge.address, 8) as load:
        load.wait_done(800)
    load.assert_clean()
    assert none.count() == 0
    assert 0.6 < load.share("heavy") < 0.9, load.seen


def test_least_request_avoids_the_slow_one(box):
    slow, fast = box.origin("slow"), box.origin("fast")
    slow.delay = 0.3
    edge = Edge(box, {"web": cluster([slow, fast], health=None, balance="least-request")})
    with Load(edge.address, 4) as load:
        load.wait_done(200)
    load.assert_clean()
    assert load.share("fast") > 0.8, load.seen


def test_slow_start_ramps_up(box):
    old, new = box.origin("old"), box.origin("new")
    edge = Edge(box, {"web": cluster([old], health=None, **{"slow-start": "3s"})})
    edge.settings["clusters"]["web"]["members"] = [old.address, new.address]
    edge.write()
    with Load(edge.address, 4, pause=0.002) as load:
        edge.process.signal(signal.SIGHUP)
        wait("the first request on it", lambda: new.count(), 10)
        load.reset()
        load.wait_done(40)  # soon enough on any machine
        early = load.share("new")
        wait("the end of the ramp", lambda: time.monotonic() - new.first_at > 3.2, 10)
        load.reset()
        load.wait_done(300)
        late = load.share("new")
    load.assert_clean()
    assert early < 0.4 < late, (early, late)
