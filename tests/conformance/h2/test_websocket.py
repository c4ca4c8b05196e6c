# SPDX-License-Identifier: Apache-2.0
"""Extended CONNECT (RFC 8441): WebSocket on a stream, to members that know HTTP/1.1."""
import socket
import threading

import pytest

from harness.box import shared_box, wait
from harness.listener import read_head
from harness.setup import Edge, cluster, metric
from harness.tunnel import Echo
from harness.websocket import proof
from harness.wire2 import CANCEL, Connection, data, headers, reset, window

SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: PROOF\r\n"
          b"Sec-WebSocket-Protocol: p\r\n\r\n")
ASK = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
       (":path", "/chat"), (":authority", "h.example"), ("sec-websocket-version", "13"),
       ("origin", "http://h.example")]


def proof_of(head):
    key = next((line.split(b": ")[1] for line in head.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key: ")), b"")
    return proof(key)


class Member(Echo):
    """Answers what it is told to, with the proof that it has read the key."""

    def __init__(self, box):
        super().__init__(box)
        self.answer = SWITCH

    def reply(self, head):
        return self.answer.replace(b"PROOF", proof_of(head))


@pytest.fixture(scope="module")
def pair():
    with shared_box() as box:
        member = Member(box)
        web = cluster([member.address], health=None, eject={"failures": 0})
        edge = Edge(box, {"web": web}, routes=[
            {"cluster": "web"}, {"match": {"path": "/here"}, "respond": {"status": 200}}])
        yield edge, member
        edge.process.stop()


@pytest.fixture
def client(pair):
    edge, member = pair
    member.answer = SWITCH
    connection = Connection(edge.address)
    yield connection
    connection.close()


def test_bytes_both_ways_and_both_ends(pair, client):
    _, member = pair
    client.send(headers(ASK, end=False))
    one = client.stream(1)
    assert client.read(lambda: one.status)
    assert one.status == 200
    names = [name for name, _ in one.fields]
    assert "sec-websocket-protocol" in names
    assert not {"sec-websocket-accept", "upgrade", "connection"} & set(names)
    lines = member.heads[-1].decode().lower().split("\r\n")
    assert lines[0] == "get /chat http/1.1"
    assert "upgrade: websocket" in lines and "connection: upgrade" in lines
    key = next(line for line in lines if line.startswith("sec-websocket-key: "))
    assert len(key) == len("sec-websocket-key: ") + 24
    client.send(data(b"hello", end=False))
    assert client.read(lambda: one.body == b"hello")
    big = bytes(range(256)) * 200
    client.read(lambda: client.settings is not None)
    for at in range(0, len(big), 10240):
        client.send(data(big[at:at + 10240], end=False))
    assert client.read(lambda: one.body == b"hello" + big)
    client.send(data(b"", end=True))
    assert client.answer(1).ended
    assert one.body.endswith(b"bye") and one.reset is None
    assert member.ended[-1] == "fin"
    assert client.ping()


def test_a_reset_reaches_the_member(pair, client):
    _, member = pair
    client.send(headers(ASK, end=False))
    assert client.read(lambda: client.stream(1).status)
    count = len(member.ended)
    client.send(reset(1, CANCEL))
    wait("the member to notice", lambda: len(member.ended) > count)
    assert client.ping()


def test_two_tunnels_and_a_request_beside_them(pair, client):
    for number in (1, 3):
        client.send(headers(ASK, number, end=False))
        assert client.read(lambda: client.stream(number).status)
    assert client.ask("/here", 5).status == 200
    client.send(data(b"three", 3, end=False) + data(b"one", 1, end=False))
    assert client.read(lambda: client.stream(1).body and client.stream(3).body)
    assert (client.stream(1).body, client.stream(3).body) == (b"one", b"three")


def test_a_200_is_not_taken_for_a_tunnel(pair, client):
    _, member = pair
    member.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    client.send(headers(ASK, end=False))
    assert client.answer(1).status == 502
    client.send(headers([(n, "/here" if n == ":path" else v) for n, v in ASK], 3, end=False))
    assert client.answer(3).status == 502


def test_a_refusal_goes_through(pair, client):
    _, member = pair
    member.answer = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
    client.send(headers(ASK, end=False))
    one = client.answer(1)
    assert (one.status, one.body) == (403, b"no")


@pytest.mark.parametrize("protocol", ["h2c", "connect-udp", "tls"])
def test_other_protocols_are_not_implemented(client, protocol):
    client.send(headers([(n, protocol if n == ":protocol" else v) for n, v in ASK], end=False))
    assert client.answer(1).status == 501
    assert client.ask("/here", 3).status == 200


def test_a_tunnel_has_no_length(client):
    client.send(headers(ASK + [("content-length", "3")], end=False) + data(b"abc"))
    one = client.answer(1)
    assert one.reset == 1 or client.goaway == 1


@pytest.mark.parametrize("line", [
    b"", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", b"Sec-WebSocket-Accept: \r\n",
    b"Sec-WebSocket-Accept: PROOF\r\nSec-WebSocket-Accept: PROOF\r\n",
    b"Sec-WebSocket-Accept: xPROOF\r\n"],
    ids=["none", "another-key's", "empty", "twice", "with-more"])
def test_a_member_that_did_not_read_the_key(pair, client, line):
    """The key was made here: a 101 that does not prove it is no WebSocket's."""
    edge, member = pair
    before = metric(edge, "member_bad_switches")
    member.answer = SWITCH.replace(b"Sec-WebSocket-Accept: PROOF\r\n", line)
    client.send(headers(ASK, end=False))
    assert client.answer(1).status == 502
    assert metric(edge, "member_bad_switches") == before + 1
    assert client.ask("/here", 3).status == 200


def test_a_client_that_takes_nothing_when_the_time_is_over(spare):
    """What it did not take lay in buffers that are gone: it is cut, and never sent."""
    member = Member(spare)
    web = cluster([member.address], health=None, timeouts={"tunnel": "1s"})
    edge = Edge(spare, {"web": web})
    client = Connection(edge.address, pairs=[(4, 0)])  # no window for any stream
    client.send(headers(ASK, end=False) + data(b"hello", end=False))
    one = client.stream(1)
    assert client.read(lambda: one.status == 200)
    wait("the tunnel's time to be over", lambda: metric(edge, "tunnel_timeouts") == 1)
    client.send(window(1000, 1))
    assert client.ping()
    assert (one.body, one.reset) == (b"", 2)  # INTERNAL_ERROR
    client.close()
    edge.process.stop()


def test_a_tunnel_whose_time_is_over_leaves_no_stream(spare):
    """Our end is told, and the client's may never come: it would hold the connection."""
    member = Member(spare)
    web = cluster([member.address], health=None, timeouts={"tunnel": "1s"})
    edge = Edge(spare, {"web": web})
    client = Connection(edge.address)
    client.send(headers(ASK, end=False))
    one = client.stream(1)
    assert client.read(lambda: one.status == 200)
    assert client.answer(1).ended
    assert client.read(lambda: one.reset is not None)
    assert one.reset == 0  # NO_ERROR: nobody takes what it may still say
    client.close()
    edge.process.stop()


class FirstToEnd(Member):
    """Says 101 and its end, and takes what comes as slowly as it is told to."""

    def __init__(self, box):
        super().__init__(box)
        self.got, self.go = b"", threading.Event()

    def serve(self, sock):
        head, data = read_head(sock)
        sock.sendall(self.reply(head))
        sock.shutdown(socket.SHUT_WR)
        self.go.wait(10)
        while data:
            self.got += data
            data = sock.recv(65536)
        while data := sock.recv(65536):
            self.got += data
        self.ended.append("fin")


@pytest.mark.parametrize("size", [0, 10, 200000])
def test_a_member_that_ends_first_gets_the_rest(size, spare):
    """The client's end closes the stream while its last bytes are on their way to the member."""
    member = FirstToEnd(spare)
    edge = Edge(spare, {"web": cluster([member.address], health=None)})
    client = Connection(edge.address)
    client.send(headers(ASK, end=False))
    one = client.answer(1)
    assert (one.status, one.ended, one.reset) == (200, True, None)
    assert client.ping() and client.read(lambda: client.updates)  # a window of 256 KiB
    parts = [b"x" * min(size - at, 16384) for at in range(0, size, 16384)] or [b""]
    for part in parts[:-1]:
        client.send(data(part, end=False))
    client.send(data(parts[-1], end=True))
    assert client.ping()
    member.go.set()
    wait("the member to see the end", lambda: member.ended)
    assert len(member.got) == size
    assert one.reset is None
    assert client.ping()
    client.close()
    edge.process.stop()
