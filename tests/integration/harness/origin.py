# SPDX-License-Identifier: Apache-2.0
"""Members that a test scripts: latency, utilization, and answers of any shape, in this process."""
import collections
import socket
import threading
import time

from . import http1
from .listener import cut, shut

Request = collections.namedtuple("Request", "method path version fields body")


def field(request, name):
    for key, value in request.fields:
        if key.lower() == name.lower():
            return value
    return None


def fields_of(request, name):
    return [value for key, value in request.fields if key.lower() == name.lower()]


class Answer:
    def __init__(self, status=200, body=b"", fields=(), reason="OK"):
        self.status, self.reason = status, reason
        self.body = body.encode() if isinstance(body, str) else body
        self.fields = list(fields)

    def encode(self, request):
        names = {name.lower() for name, _ in self.fields}
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        if not names & {"content-length", "transfer-encoding"} and self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return data if request.method == "HEAD" else data + self.body


class Origin:
    """answer(request) gives an Answer, raw bytes (sent, then closed) or None (closed at once)."""

    def __init__(self, name="a", answer=None, address=("127.0.0.1", 0), backlog=128):
        self.name = name
        self.answer = answer or self.plain
        self.delay = 0.0
        self.utilization = None
        self.healthy = True
        self.requests = []        # without health checks
        self.checks = 0
        self.first_check_at = None  # monotonic, as below
        self.connections = 0
        self.in_flight = self.in_flight_highest = 0
        self.first_at = None      # monotonic time of the first request
        self.last_at = None
        self.gate = threading.Event()  # closed by hold(): requests wait
        self.gate.set()
        self.lock = threading.Lock()
        self.sockets = set()
        self.listener = socket.create_server(address, backlog=backlog)
        self.port = self.listener.getsockname()[1]
        self.address = "%s:%d" % self.listener.getsockname()[:2]
        self.stopped = False
        threading.Thread(target=self.accept, daemon=True).start()

    def plain(self, request):
        return Answer(200, f"{self.name} {request.method} {request.path}\n")

    def hold(self):
        self.gate.clear()

    def release(self):
        self.gate.set()

    def stop(self):
        """As a crash would: the listener and every connection go at once."""
        self.stopped = True
        self.gate.set()
        shut(self.listener)
        self.drop_connections()

    def drop_connections(self):
        with self.lock:
            sockets = list(self.sockets)
        cut(*sockets)

    def paths(self):
        with self.lock:
            return [request.path for request in self.requests]

    def count(self, path=None):
        with self.lock:
            return sum(1 for r in self.requests if path is None or r.path == path)

    def accept(self):
        while not self.stopped:
            try:
                sock, _ = self.listener.accept()
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

    def read_request(self, client):
        method, path, version = client.read_line().split(" ", 2)
        request = Request(method, path, version, client.read_fields(), b"")
        if (field(request, "Expect") or "").lower() == "100-continue":
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (field(request, "Transfer-Encoding") or "").lower() == "chunked":
            holder = http1.Response("", 0, "", [])
            client.read_chunks(holder)
            return request._replace(body=holder.body)
        length = field(request, "Content-Length")
        return request._replace(body=client.read_exactly(int(length))) if length else request

    def serve_one(self, client):
        request = self.read_request(client)
        if request.path == "/healthz":
            self.checks += 1
            self.first_check_at = self.first_check_at or time.monotonic()
            client.send(Answer(200 if self.healthy else 503, "checked\n").encode(request))
            return (field(request, "Connection") or "").lower() != "close"
        with self.lock:
            self.requests.append(request)
            self.first_at = self.first_at or time.monotonic()
            self.last_at = time.monotonic()
            self.in_flight += 1
            self.in_flight_highest = max(self.in_flight_highest, self.in_flight)
        try:
            self.gate.wait()
            if self.delay:
                time.sleep(self.delay)
            answer = self.answer(request)
            if answer is None:
                return False
            if isinstance(answer, bytes):
                client.send(answer)
                return False
            answer.fields.append(("X-Origin", self.name))
            if self.utilization is not None:
                answer.fields.append(("endpoint-load-metrics",
                                      f"TEXT application_utilization={self.utilization}"))
            client.send(answer.encode(request))
        finally:
            with self.lock:
                self.in_flight -= 1
        return (field(request, "Connection") or "").lower() != "close"
