# SPDX-License-Identifier: Apache-2.0
"""A response of unknown length that outgrows what the cache stores, while others stream along with
it: everybody gets every byte, in bounded memory, at the pace of the slowest up to a limit."""
import concurrent.futures
import json
import os
import socket
import struct
import threading
import time

from harness import http1
from harness.box import sanitized, wait
from harness.listener import Listener, read_head
from harness.setup import Edge, cluster, metric, resident_kib

MIB = 1 << 20
PIECE = 65536
PIECES = int(os.environ.get("FRESHET_PASSING_MIB", "64")) * MIB // PIECE
HEAD = (b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n")


def piece(number):
    return struct.pack(">Q", number) * (PIECE // 8)


class Source(Listener):
    """An origin whose one long body begins with two pieces, and goes on when it is told to."""

    def __init__(self, box, pieces=PIECES, cut=False):
        self.pieces, self.cut = pieces, cut
        self.go = threading.Event()
        self.served, self.sent = 0, 0
        super().__init__(box.closers)

    def serve(self, sock):
        read_head(sock)
        self.served += 1
        sock.sendall(HEAD)
        for number in range(self.pieces):
            if number == 2:
                self.go.wait(30)
            sock.sendall(b"10000\r\n" + piece(number) + b"\r\n")
            self.sent = number + 1
        if not self.cut:
            sock.sendall(b"0\r\n\r\n")


class Reader:
    """A client that checks every piece as it comes."""

    def __init__(self, edge):
        self.sock = socket.create_connection(edge.address.split(":"))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.sock.settimeout(60)
        self.file = self.sock.makefile("rb")
        self.sock.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        self.got, self.rest, self.whole = 0, b"", False

    def close(self):
        self.sock.close()
        self.file.close()

    def head(self):
        lines = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            lines.append(line)
        assert lines and lines[0].startswith(b"HTTP/1.1 200"), lines
        return b"".join(lines)

    def take(self, pieces):
        """Reads until it has so many. False: the response ended, whole or not."""
        try:
            return self.read_pieces(pieces)
        except ConnectionResetError:
            self.whole = False  # which is how a response is cut while bytes are under way
            return False

    def read_pieces(self, pieces):
        while self.got < pieces:
            line = self.file.readline()
            size = int(line, 16) if line else 0
            if size == 0:
                self.whole = line == b"0\r\n"
                return False
            self.rest += self.file.read(size)
            self.file.readline()
            while len(self.rest) >= PIECE:
                assert self.rest[:PIECE] == piece(self.got), f"wrong bytes in piece {self.got}"
                self.rest = self.rest[PIECE:]
                self.got += 1
        return True


def begin(box, source, readers, **more):
    edge = Edge(box, {"web": cluster([source.address], health=None)},
                cache={"memory": "16MiB", "object-max": "1MiB"}, wait_for=False, **more)
    wait("the edge to listen", lambda: socket.create_connection(edge.address.split(":")).close()
         or True)
    clients = [Reader(edge)]
    wait("the leader at the member", lambda: source.served == 1)
    clients += [Reader(edge) for _ in range(readers - 1)]
    for client in clients:
        client.head()
        assert client.take(2)
    assert metric(edge, "cache_collapsed") == readers - 1
    return edge, clients


def test_everybody_gets_all_of_it_in_bounded_memory(box):
    source = Source(box)
    edge, clients = begin(box, source, 4, workers=2)
    before = resident_kib(edge.process.pid)
    pool = concurrent.futures.ThreadPoolExecutor(4)
    source.go.set()
    running = [pool.submit(client.take, PIECES + 1) for client in clients]
    highest = before
    while not all(r.done() for r in running):
        highest = max(highest, resident_kib(edge.process.pid))
        concurrent.futures.wait(running, timeout=0.1)
    assert [r.result() for r in running] == [False] * 4
    assert [(c.got, c.whole) for c in clients] == [(PIECES, True)] * 4
    assert source.served == 1
    assert metric(edge, "cache_left_behind") == 0
    assert json.loads(http1.fetch(edge.admin(), "/cache").text)["entries"] == 0
    assert highest - before < (96 if sanitized() else 8) * 1024, (before, highest)
    # Whoever asks now asks for himself: two at once are two requests at the member.
    late = [Reader(edge) for _ in range(2)]
    wait("both at the member", lambda: source.served == 3)
    for client in late:
        client.close()


def test_who_pauses_is_waited_for(box):
    source = Source(box)
    edge, clients = begin(box, source, 3)
    pool = concurrent.futures.ThreadPoolExecutor(3)
    source.go.set()
    running = [pool.submit(client.take, PIECES + 1) for client in clients[:2]]
    slow = clients[2]
    assert slow.take(40)
    time.sleep(2)  # the pause itself
    assert not any(r.done() for r in running), "they went on without it"
    assert source.sent < PIECES
    assert not slow.take(PIECES + 1)
    assert [r.result() for r in running] == [False] * 2
    assert [(c.got, c.whole) for c in clients] == [(PIECES, True)] * 3
    assert metric(edge, "cache_left_behind") == 0


def test_who_reads_no_more_is_left_behind_and_sees_it(box):
    source = Source(box)
    # A slow reader's own limit is as long by default, and would race.
    edge, clients = begin(box, source, 3, limits={"body-timeout": "5min"})
    pool = concurrent.futures.ThreadPoolExecutor(3)
    source.go.set()
    running = [pool.submit(client.take, PIECES + 1) for client in clients[:2]]
    start = time.monotonic()
    assert [r.result() for r in running] == [False] * 2
    assert 8 < time.monotonic() - start < 40
    assert all(c.whole and c.got == PIECES for c in clients[:2])
    assert not clients[2].take(PIECES + 1)
    assert not clients[2].whole, "what was cut off looked whole"
    wait("it to be counted", lambda: metric(edge, "cache_left_behind") == 1)


def test_a_leader_without_client_goes_on_while_others_follow(box):
    source = Source(box)
    edge, clients = begin(box, source, 2)
    source.go.set()
    clients[0].close()
    assert not clients[1].take(PIECES + 1)
    assert (clients[1].got, clients[1].whole) == (PIECES, True)
    assert source.served == 1 and metric(edge, "cache_fetches") == 1


def test_nobody_left_ends_the_fetch(box):
    source = Source(box)
    _, clients = begin(box, source, 2)
    clients[0].close()
    source.go.set()
    assert clients[1].take(40)
    clients[1].close()
    time.sleep(1)
    sent = source.sent
    time.sleep(0.5)
    assert source.sent == sent < PIECES, "it is fetched for nobody"


def test_what_breaks_off_is_broken_for_everybody(box):
    source = Source(box, pieces=60, cut=True)
    _, clients = begin(box, source, 3)
    pool = concurrent.futures.ThreadPoolExecutor(3)
    source.go.set()
    running = [pool.submit(client.take, 61) for client in clients]
    assert [r.result() for r in running] == [False] * 3
    assert not any(c.whole for c in clients)
