# SPDX-License-Identifier: Apache-2.0
"""A load in threads that checks every answer and counts what went wrong, with the words."""
import collections
import contextlib
import socket
import threading
import time

from . import http1


class Load:
    """threads clients, each one request after another on its own kept connection.

    path: a text, or a function of the request's number. pause: seconds between two requests of one
    client. check(response, path): words when the answer is wrong, else None.
    """

    def __init__(self, address, threads=4, path="/", pause=0.0, check=None, method="GET",
                 fields=(), host="test.example"):
        self.address, self.pause, self.method, self.host = address, pause, method, host
        self.path = path if callable(path) else lambda n: path
        self.check = check or (lambda response, path: None)
        self.fields = fields
        self.lock = threading.Lock()
        self.done = 0
        self.failed = []
        self.closed = 0           # connections the server closed
        self.seen = collections.Counter()
        self.statuses = collections.Counter()
        self.slowest = 0.0
        self.stopping = False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive(), "a client hangs"

    def reset(self):
        with self.lock:
            self.done, self.failed = 0, []
            self.seen, self.statuses = collections.Counter(), collections.Counter()

    def share(self, name):
        with self.lock:
            total = sum(self.seen.values())
            return self.seen[name] / total if total else 0.0

    def run(self):
        client = None
        number = 0
        while not self.stopping:
            path = self.path(number)
            number += 1
            began = time.monotonic()
            try:
                if client is None:
                    client = http1.Client(self.address, 20.0)
                response = client.request(self.method, path, self.fields, host=self.host)
                self.count(response, path, time.monotonic() - began)
                if (response.get("Connection") or "").lower() == "close":
                    self.closed += 1
                    client.close()
                    client = None
            except (OSError, http1.ProtocolError, ValueError) as error:
                with self.lock:
                    self.failed.append(f"{path}: {type(error).__name__}: {error}")
                if client is not None:
                    client.close()
                client = None
                time.sleep(0.01)
            if self.pause:
                time.sleep(self.pause)
        if client is not None:
            client.close()

    def count(self, response, path, seconds):
        words = self.check(response, path)
        with self.lock:
            self.done += 1
            self.statuses[response.status] += 1
            self.slowest = max(self.slowest, seconds)
            self.seen[response.get("X-Origin")] += 1
            if words or response.status >= 500:
                self.failed.append(f"{path}: {response.status} {words or response.text[:200]}")

    def wait_done(self, count, timeout=20.0):
        """Until `count` further requests are done."""
        target = self.done + count
        until = time.monotonic() + timeout
        while self.done < target:
            assert time.monotonic() < until, f"only {self.done} of {target}: {self.failed[:3]}"
            time.sleep(0.005)

    def assert_clean(self):
        assert self.done > 0, "no request was made"
        assert not self.failed, f"{len(self.failed)} of {self.done} failed: {self.failed[:5]}"


class Asker(threading.Thread):
    """One request in a thread of its own; `response` once it is answered, None for ever if the edge
    is gone."""

    def __init__(self, edge, path="/"):
        super().__init__(daemon=True)
        self.client = self.response = None
        self.path = path
        with contextlib.suppress(ConnectionError):
            self.client = http1.Client(edge.address, 20.0)
            self.start()

    def join(self, timeout=None):
        if self.client is not None:
            super().join(timeout)

    def leave(self):
        """Close the connection: at once, though the thread waits for bytes of it."""
        self.client.sock.shutdown(socket.SHUT_RDWR)

    def run(self):
        try:
            self.response = self.client.request("GET", self.path)
        except (OSError, http1.ProtocolError):
            pass
