# SPDX-License-Identifier: Apache-2.0
"""churn.py - membership changes of an edge, one after another at a steady rate."""
import random
import re
import socket
import threading
import time

from harness.stream import listen, opening


class Hand(threading.Thread):
    """A manager's end of the stream that costs next to nothing: it looks for results and for
    draining servers (which it releases) in the bytes, and leaves the rest unread. Its own use of
    the machine must not pass for the edge's."""

    RESULT = re.compile(rb'<result id="7:(\d+)" status="(\w+)"([^>]*)>?(?:<server id="([^"]*)")?')
    DRAINING = re.compile(rb'<cluster name="([^"]*)"|'
                          rb'<server id="([^"]*)"(?=[^>]* state="draining")')

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.listener = address, listen(address)
        self.lock, self.sock, self.sequence = threading.Lock(), None, 0
        self.results, self.arrived, self.released = {}, threading.Condition(), {}
        self.bytes = self.reports = 0
        self.start()

    def run(self):
        self.sock, _ = self.listener.accept()
        self.put(opening("manager", "manager-by-hand", 7))
        rest, alive_at = b"", 0
        while data := self.sock.recv(1 << 18):
            self.bytes += len(data)
            if time.monotonic() > alive_at + 0.3:
                alive_at = time.monotonic()
                self.put(b"<alive/>")
            rest += data
            end = max(rest.rfind(b"</report>"), rest.rfind(b"</result>"), rest.rfind(b"/>", -2))
            if end >= 0:
                end = rest.index(b">", end) + 1
                self.read(rest[:end])
                rest = rest[end:]

    def read(self, data):
        self.reports += data.count(b"</report>")
        for number, status, more, server in self.RESULT.findall(data):
            with self.arrived:
                self.results[int(number)] = (status.decode(), more.decode(), server.decode())
                self.arrived.notify_all()
        if b'"draining"' in data:
            cluster, now = b"", time.monotonic()
            for name, server in self.DRAINING.findall(data):
                cluster = name or cluster
                if server and now - self.released.get(server, -9) > 0.5:
                    self.released[server] = now
                    self.send(f'<release server="{server.decode()}"/>', cluster.decode())

    def put(self, data):
        with self.lock:
            self.sock.sendall(data)

    def send(self, operation, cluster):
        with self.lock:
            self.sequence += 1
            self.sock.sendall(f'<reconfigure id="7:{self.sequence}" cluster="{cluster}">'
                              f"{operation}</reconfigure>".encode())
            return self.sequence

    def close(self):
        for sock in (self.listener, self.sock):
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                sock.close()


class Churn(threading.Thread):
    """Allocates and deallocates one server after another at a steady rate, several under way."""

    def __init__(self, hand, names, rate, window=32):
        super().__init__(daemon=True)
        self.hand, self.rate, self.window = hand, rate, window
        self.free, self.allocated, self.pending = list(names), [], {}
        self.done = self.refused = self.deallocated = 0
        self.words = ""
        self.stopping = False

    def collect(self):
        for number in [n for n in self.pending if n in self.hand.results]:
            kind, name, server = self.pending.pop(number)
            status, more, given = self.hand.results.pop(number)
            if status != "done":
                self.refused += 1
                self.words = more
                if kind == "allocate":
                    self.free.append(name)
                else:
                    self.allocated.append((server, name))
                continue
            self.done += 1
            if kind == "allocate":
                self.allocated.append((given, name))
            else:
                self.deallocated += 1
                self.free.append(name)

    def step(self):
        if self.allocated and (not self.free or random.random() < 0.5):
            server, name = self.allocated.pop(0)
            number = self.hand.send(f'<deallocate server="{server}"/>', "web")
            self.pending[number] = ("deallocate", name, server)
        elif self.free:
            name = self.free.pop(0)
            number = self.hand.send(f'<allocate server="{name}"/>' if name else
                                    '<allocate count="1"/>', "web")
            self.pending[number] = ("allocate", name, "")
        else:
            return False
        return True

    def run(self):
        began, sent = time.monotonic(), 0
        while not self.stopping:
            self.collect()
            while (len(self.pending) < self.window and
                   sent < (time.monotonic() - began) * self.rate and self.step()):
                sent += 1
            time.sleep(0.005)
        until = time.monotonic() + 20
        while self.pending and time.monotonic() < until:
            self.collect()
            time.sleep(0.01)
