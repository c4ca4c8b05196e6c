#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""flood.py - keeps many slow clients on a server: each moves a byte a second, and is replaced when
the server closes it.

usage: flood.py heads|bodies|reads|silent HOST:PORT COUNT [SINK_PORT]
Prints "full" once all are connected, then counts each time a line comes on stdin. With SINK_PORT it
is also the member of the slow bodies: it takes what comes and never answers. One process that does
very little: what it costs the machine must not pass for what the server is slowed down by.
"""
import errno
import json
import os
import select
import socket
import sys
import time

ROUND_S = 0.05
ROUNDS = 20  # a connection's turn comes once a second
OPENS_A_ROUND = 50
FIRST = {
    "heads": b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    "bodies": b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "reads": b"GET /big HTTP/1.1\r\nHost: test.example\r\n\r\n",
    "silent": b"",
}
DRIP = {"heads": b"a", "bodies": b"1\r\na\r\n"}


class Flood:
    def __init__(self, kind, address, count):
        self.kind, self.count = kind, count
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.rings = [[] for _ in range(ROUNDS)]
        self.opened = self.closed = self.alive = self.failed = 0
        self.lifetimes = []

    def open(self, ring):
        sock = socket.socket()
        # As a client far away has it; on loopback the kernel would hold megabytes for each.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            sock.connect(self.address)
            sock.setblocking(False)
            if FIRST[self.kind]:
                sock.send(FIRST[self.kind])
        except OSError:
            self.failed += 1
            sock.close()
            return
        self.opened += 1
        self.alive += 1
        ring.append((sock, time.monotonic()))

    def is_alive(self, sock):
        try:
            if self.kind == "reads":
                return bool(sock.recv(1))
            if self.kind in DRIP:
                sock.send(DRIP[self.kind])
            return bool(sock.recv(1, socket.MSG_PEEK)) and False
        except OSError as error:
            return error.errno == errno.EAGAIN

    def turn(self, number):
        ring, kept = self.rings[number % ROUNDS], []
        for sock, since in ring:
            if self.is_alive(sock):
                kept.append((sock, since))
                continue
            self.lifetimes.append(time.monotonic() - since)
            self.closed += 1
            self.alive -= 1
            sock.close()
        self.rings[number % ROUNDS] = kept
        for _ in range(OPENS_A_ROUND):
            if self.alive >= self.count:
                break
            self.open(kept)

    def figures(self):
        lives = sorted(self.lifetimes)
        return {"alive": self.alive, "opened": self.opened, "closed": self.closed,
                "failed": self.failed, "longest_s": round(lives[-1], 1) if lives else None,
                "cpu_s": round(sum(os.times()[:2]), 2)}


class Sink:
    """Where the slow bodies go."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.socks = {}

    def turn(self):
        for fd, _ in self.poll.poll(0):
            if fd == self.listener.fileno():
                self.accept()
                continue
            try:
                data = self.socks[fd].recv(65536)
            except OSError:
                data = b""
            if not data:
                self.socks.pop(fd).close()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            self.socks[sock.fileno()] = sock
            self.poll.register(sock, select.EPOLLIN)


def main():
    kind, address, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    flood = Flood(kind, address, count)
    sink = Sink(int(sys.argv[4])) if len(sys.argv) > 4 else None
    number, due, full = 0, time.monotonic(), False
    while True:
        flood.turn(number)
        number += 1
        if sink:
            sink.turn()
        if not full and flood.alive >= count:
            full = True
            print("full", flush=True)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps(flood.figures()), flush=True)
        due += ROUND_S
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
