# SPDX-License-Identifier: Apache-2.0
"""PROXY headers: taken from trusted proxies in front, sent to members behind."""
import json
import signal
import socket
import struct
import time

import pytest

from harness import http1
from harness.box import wait
from harness.listener import Listener
from harness.origin import field, fields_of
from harness.setup import Edge, cluster, metric

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"


def v1(source="192.0.2.7", destination="10.0.0.1", sport=1234, dport=80, family="TCP4"):
    return f"PROXY {family} {source} {destination} {sport} {dport}\r\n".encode()


def v2(source="192.0.2.7", destination="10.0.0.1", sport=1234, dport=80, parts=b"", command=1):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    block = (socket.inet_pton(family, source) + socket.inet_pton(family, destination) +
             struct.pack("!HH", sport, dport) + parts)
    return (SIGNATURE + bytes([0x20 | command, 0x21 if ":" in source else 0x11]) +
            struct.pack("!H", len(block)) + block)


TLS_PART = b"\x20\0\x05\x01\0\0\0\0"


def fronted(box, trusted=("127.0.0.0/8",), **more):
    member = box.origin("m")
    port = box.port()
    more.setdefault("access-log", {"to": "access.log", "format": "json"})
    edge = Edge(box, {"web": cluster([member], health=None)},
                listen=[{"address": f"127.0.0.1:{port}", "proxy-protocol": True}],
                **{"trusted-proxies": list(trusted), **more})
    edge.front = port
    return edge, member


def say(port, data, timeout=10, pieces=None):
    """What comes back until the end, or the end of a head."""
    got = b""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces or [data]:
                sock.sendall(piece)
                if pieces:
                    time.sleep(0.001)
            while b"\r\n\r\n" not in got:
                more = sock.recv(65536)
                if not more:
                    break
                got += more
        except (ConnectionResetError, BrokenPipeError):
            pass
    return got


@pytest.mark.parametrize("header, client, proto", [
    (v1(), "192.0.2.7", "http"),
    (v1("2001:db8::7", "::1", family="TCP6"), "2001:db8::7", "http"),
    (v1("::ffff:192.0.2.9", "::1", family="TCP6"), "192.0.2.9", "http"),
    (v2(), "192.0.2.7", "http"),
    (v2("2001:db8::7", "::1"), "2001:db8::7", "http"),
    (v2(parts=TLS_PART), "192.0.2.7", "https"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1", "http"),
    (SIGNATURE + b"\x21\0\0\0", "127.0.0.1", "http"),
    (v2(command=0), "127.0.0.1", "http"),
    (SIGNATURE + b"\x20\0\0\0", "127.0.0.1", "http"),
])
def test_headers_are_taken(box, header, client, proto):
    edge, member = fronted(box)
    assert b" 200 " in say(edge.front, header + GET % b"one")
    request = member.requests[-1]
    assert fields_of(request, "X-Forwarded-For") == [client]
    assert fields_of(request, "X-Forwarded-Proto") == [proto]
    # However the bytes are cut.
    pieces = [bytes([c]) for c in header + GET % b"cut"]
    assert b" 200 " in say(edge.front, b"", pieces=pieces)
    assert member.requests[-1].path == "/cut"
    assert fields_of(member.requests[-1], "X-Forwarded-For") == [client]
    log = box.folder / "access.log"
    wait("the log", lambda: log.exists() and "/cut" in log.read_text())
    rows = {r["target"]: r for r in map(json.loads, log.read_text().splitlines())}
    assert rows["/one"]["client"] == rows["/cut"]["client"] == client
    assert metric(edge, "proxy_headers") == 2


def test_it_speaks_for_the_whole_connection(box):
    edge, member = fronted(box)
    with socket.create_connection(("127.0.0.1", edge.front)) as sock:
        sock.settimeout(10)
        for path in (b"a", b"b", b"c"):
            sock.sendall((v1() if path == b"a" else b"") + GET % path)
            got = b""
            while f"m GET /{path.decode()}\n".encode() not in got:
                more = sock.recv(65536)
                assert more, got
                got += more
            assert fields_of(member.requests[-1], "X-Forwarded-For") == ["192.0.2.7"]


def test_whom_it_names_is_trusted_or_not(box):
    edge, member = fronted(box, trusted=("127.0.0.0/8", "10.9.0.0/16"))
    claim = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    for header, heard in ((v1(), "192.0.2.7"), (v1("10.9.0.1"), "6.6.6.6, 10.9.0.1"),
                          # The balancer's own word counts, but not for somebody it does not name.
                          (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
                          (SIGNATURE + b"\x20\0\0\0", "6.6.6.6, 127.0.0.1")):
        assert b" 200 " in say(edge.front, header + claim)
        assert fields_of(member.requests[-1], "X-Forwarded-For") == [heard], header


@pytest.mark.parametrize("bad", [
    GET % b"", b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n" + GET % b"", b"PROXY TCP4\r\n" + GET % b"",
    b"PROXY TCP4 192.0.2.777 10.0.0.1 1 2\r\n" + GET % b"", b"PROXY " + b"x" * 200,
    v2()[:-1].replace(b"\0\x0c", b"\0\x0b") + GET % b"", SIGNATURE + b"\x31\x11\0\x0c" + b"x" * 12,
    v2(parts=b"\x03\0\x04\0\0\0\0") + GET % b"", SIGNATURE + b"\x21\x11\xff\xff",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
])
def test_what_is_none_closes_and_counts(box, bad):
    edge, member = fronted(box)
    assert say(edge.front, bad) == b""
    wait("the count", lambda: metric(edge, "proxy_headers_bad") == 1)
    assert not member.requests and metric(edge, "proxy_headers") == 0
    assert b" 200 " in say(edge.front, v1() + GET % b"")


def test_a_plain_listener_takes_none(box):
    edge, member = fronted(box)
    assert b" 400 " in say(edge.port, v1() + GET % b"x")
    assert b" 400 " in say(edge.port, v2() + GET % b"x")
    assert not member.requests


def test_nobody_else_is_heard(box):
    edge, member = fronted(box, trusted=("10.0.0.0/8",))
    assert say(edge.front, v1() + GET % b"x") == b""
    wait("the count", lambda: metric(edge, "proxy_peers_refused") == 1)
    assert not member.requests


def test_slow_headers_are_closed(box):
    edge, _ = fronted(box, limits={"header-timeout": "300ms"})
    for start in (b"", b"PROXY TCP4 ", SIGNATURE):
        began = time.monotonic()
        assert say(edge.front, start) == b""
        assert 0.2 < time.monotonic() - began < 5
    wait("the count", lambda: metric(edge, "proxy_header_timeouts") == 3)


def test_a_listener_changes_with_a_reload(box):
    edge, member = fronted(box)
    edge.settings["listen"][0]["proxy-protocol"] = False
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("a plain listener", lambda: b" 200 " in say(edge.front, GET % b"plain"))
    assert member.requests[-1].path == "/plain"


# ---- to members -----------------------------------------------------------------------------

class Heard(Listener):
    """A member that takes PROXY headers: (header, [paths]) a connection."""

    def __init__(self, closers):
        self.connections = []
        super().__init__(closers)

    def serve(self, sock):
        entry = None
        try:
            file = sock.makefile("rb")
            head = file.read(16)
            header = head + file.read(struct.unpack("!H", head[14:16])[0])
            entry = (header, [])
            self.connections.append(entry)
            while True:
                line = file.readline()
                if not line:
                    return
                while file.readline().strip():
                    pass
                entry[1].append(line.split()[1].decode())
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        except (struct.error, IndexError):
            pass

    def requests(self):
        """Without checks."""
        return [c for c in self.connections if c[0][12] == 0x21]


@pytest.fixture
def heard(box):
    return Heard(box.closers)


def test_members_are_told(box, heard):
    edge = Edge(box, {"web": {"members": [heard.address], "send-proxy": "v2"}}, wait_for=False)
    wait("to serve", lambda: http1.fetch(edge.address, "/first").status == 200)
    with socket.create_connection(("127.0.0.1", edge.port)) as sock:
        sock.settimeout(10)
        mine = sock.getsockname()
        for path in (b"a", b"b"):
            sock.sendall(GET % path)
            assert b"\r\n\r\nx" in sock.recv(65536)
    found = [c for c in heard.requests() if "/a" in c[1]]
    assert found == [(v2("127.0.0.1", "127.0.0.1", mine[1], edge.port), ["/a", "/b"])]


def test_connections_are_not_shared_between_clients(box, heard):
    edge = Edge(box, {"web": {"members": [heard.address], "send-proxy": "v2"}}, wait_for=False)
    wait("to serve", lambda: http1.fetch(edge.address, "/first").status == 200)
    clients = [http1.Client(edge.address) for _ in range(4)]
    for turn in range(3):
        for i, client in enumerate(clients):
            assert client.request("GET", f"/{i}-{turn}").status == 200
    for client in clients:
        client.close()
    for i in range(4):
        mine = [c for c in heard.requests() if any(p.startswith(f"/{i}-") for p in c[1])]
        assert len(mine) == 1 and mine[0][1] == [f"/{i}-{turn}" for turn in range(3)]
    assert len({c[0] for c in heard.requests() if c[1] != ["/first"]}) == 4


def test_what_came_in_front_goes_on(box, heard):
    port = box.port()
    Edge(box, {"web": {"members": [heard.address], "send-proxy": "v2"}}, wait_for=False,
         listen=[{"address": f"127.0.0.1:{port}", "proxy-protocol": True}],
         **{"trusted-proxies": ["127.0.0.0/8"]})
    wait("to serve", lambda: b" 200 " in say(port, v1("192.0.2.7", sport=4711) + GET % b"x"))
    assert say(port, v1("2001:db8::7", "::1", 99, 80, "TCP6") + GET % b"six")
    assert say(port, b"PROXY UNKNOWN\r\n" + GET % b"unknown")
    headers = {c[1][0]: c[0] for c in heard.requests() if c[1]}
    assert headers["/x"] == v2("192.0.2.7", "127.0.0.1", 4711, port)
    assert headers["/six"] == v2("2001:db8::7", "::ffff:127.0.0.1", 99, port)
    assert headers["/unknown"] == SIGNATURE + b"\x21\0\0\0"


def test_checks_speak_for_themselves(box, heard):
    Edge(box, {"web": {"members": [heard.address], "send-proxy": "v2",
                       "health": {"path": "/healthz", "interval": "50ms"}}}, wait_for=False)
    found = wait("a check", lambda: [c for c in heard.connections if "/healthz" in c[1]])
    assert found[0][0] == SIGNATURE + b"\x20\0\0\0"


def test_edge_behind_edge(box):
    member = box.origin("m")
    inner = Edge(box, {"web": cluster([member], health=None)}, wait_for=False, name="inner",
                 state="./inner", id="inner", listener={"proxy-protocol": True},
                 **{"trusted-proxies": ["127.0.0.0/8"]})
    outer = Edge(box, {"web": {"members": [inner.address], "send-proxy": "v2"}},
                 wait_for=False, name="outer", state="./outer", id="outer")
    wait("to serve", lambda: http1.fetch(outer.address, "/through").status == 200)
    assert member.requests[-1].path == "/through"
    assert field(member.requests[-1], "X-Forwarded-For") == "127.0.0.1, 127.0.0.1"
