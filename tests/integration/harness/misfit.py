# SPDX-License-Identifier: Apache-2.0
"""A member that misbehaves: each connection goes to a function that does with it as it likes."""
import socket
import struct
import threading

from . import http1
from .listener import cut, shut


def reset(sock):
    """What is left is not sent, and the other side sees RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_body(client, fields):
    """What has a length; enough for the clients here."""
    length = [value for name, value in fields if name.lower() == "content-length"]
    return client.read_exactly(int(length[0])) if length else b""


def proper(path, fields=b""):
    """The answer of a member that is well: what was asked for is what comes."""
    body = b"own " + path.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), fields, body)


class Misfit:
    """act(client, request) answers one request; False ends the connection. None: well-behaved."""

    def __init__(self, act=None, backlog=128):
        self.act, self.backlog = act, backlog
        self.takes_bodies = True
        self.requests, self.connections = [], 0
        self.lock, self.sockets = threading.Lock(), set()
        self.released = threading.Event()
        self.listener, self.fillers = None, []
        self.port = 0
        self.open()
        self.address = f"127.0.0.1:{self.port}"

    def open(self):
        """Listens, on the port that it had."""
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=self.backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def shut(self):
        """Nobody listens any more, and every connection is gone."""
        shut(self.listener)
        with self.lock:
            sockets = list(self.sockets)
        cut(*sockets)

    def clog(self):
        """Listens and never accepts; the queue is full, so that the kernel drops what comes."""
        self.shut()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=0)
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))
            self.fillers.append(sock)

    def unclog(self):
        for sock in self.fillers:
            sock.close()
        self.fillers = []
        self.listener.close()
        self.open()

    def stop(self):
        self.released.set()
        for sock in self.fillers:
            sock.close()
        self.shut()

    release = stop  # a box tells its origins both

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.sockets.add(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            http1.serve(sock, self.serve_one)
        finally:
            with self.lock:
                self.sockets.discard(sock)
            sock.close()

    def serve_one(self, client):
        method, path, _ = client.read_line().split(" ", 2)
        fields = client.read_fields()
        body = read_body(client, fields) if self.takes_bodies else b""
        request = method, path, fields, body
        with self.lock:
            self.requests.append(request)
        act = self.act
        if act is None:
            client.send(proper(request[1]))
            return True
        return act(client, request) is not False

    def count(self, method=None):
        with self.lock:
            return sum(1 for request in self.requests if method in (None, request[0]))
