# SPDX-License-Identifier: Apache-2.0
"""Certificates replaced each second, by every way there is, under a mixed load of HTTP/1.1 and
HTTP/2 over TLS: kept connections, new ones, resumed ones; not one request fails.

TLS_LOAD_SECONDS says how long (6). `make tsan` runs it with two workers.
"""
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from harness import http1
from harness.origin import Answer
from harness.pki import Authority
from harness.setup import Edge, cluster, metric

SECONDS = float(os.environ.get("TLS_LOAD_SECONDS", "6"))
BODY = b"0123456789abcdef" * 64
WAYS = ("file", "signal", "admin")


class Worker(threading.Thread):
    """Turns until told to end. A turn that raises, or that counts a failure, is one."""

    def __init__(self, name, turn):
        super().__init__(daemon=True)
        self.words, self.turn = name, turn
        self.done, self.failed, self.ending = 0, [], False
        self.start()

    def run(self):
        while not self.ending:
            try:
                self.done += self.turn()
            except (OSError, ValueError, AssertionError, http1.ProtocolError) as error:
                self.failed.append(f"{self.words}: {type(error).__name__}: {error}")
                if len(self.failed) > 20:
                    return


class House:
    def __init__(self, box):
        self.box = box
        self.authority = Authority(box.folder)
        self.serials, self.resumed = set(), 0
        self.lock = threading.Lock()
        member = box.origin("m", answer=lambda request: Answer(200, BODY, [
            ("Cache-Control", "max-age=60" if request.path.startswith("/kept") else "no-store")]))
        pair = {**self.authority.issue("front-ec", "localhost"),
                "certificates": [self.authority.issue("front-rsa", "localhost", kind="rsa")]}
        self.edge = Edge(box, {"web": cluster([member], health=None)}, listener={"tls": pair},
                         cache={"memory": "8MiB"})
        self.address = self.edge.address
        # So that no time is spent on making them under the load.
        self.pairs = [self.authority.issue(f"next-{i}", "localhost", kind=kind)
                      for i, kind in enumerate(("ec", "rsa") * (int(SECONDS) // 2 + 1))]
        self.context = self.authority.context()

    # ---- clients: each gives a function that is one turn ----

    def open(self, session=None):
        client = http1.Client(self.address, 20, tls=self.context, session=session)
        with self.lock:
            self.serials.add(client.sock.getpeercert()["serialNumber"])
            self.resumed += client.sock.session_reused
        return client

    def good(self, client, path):
        response = client.request(path=path)
        assert response.status == 200 and response.body == BODY, response
        return 1

    def kept(self):
        """One connection for all the time there is: it lives through every replacement."""
        client = self.open()
        self.box.closers.append(client.close)
        return lambda: self.good(client, "/kept") + self.good(client, "/passed")

    def fresh(self):
        def turn():
            with self.open() as client:
                return self.good(client, "/kept")
        return turn

    def resuming(self):
        held = []

        def turn():
            with self.open(held.pop() if held else None) as client:
                done = self.good(client, "/kept")
                held.append(client.sock.session)
                return done
        return turn

    def h2load(self, *options):
        """New connections with several requests each, over and over."""
        command = ["h2load", *options, f"https://{self.address}/kept"]

        def turn():
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            found = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, "
                              r"(\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
            assert found, done.stdout + done.stderr
            total, finished, succeeded, *bad = map(int, found.groups())
            assert total == finished == succeeded and not any(bad), found.group(0)
            assert f"{total} 2xx" in done.stdout, done.stdout
            return total
        return turn

    # ---- replacement ----

    def replace(self, number):
        pair = f"next-{number}"
        target = "front-ec" if number % 2 == 0 else "front-rsa"
        for suffix in ("pem", "key"):
            os.replace(self.box.folder / f"{pair}.{suffix}", self.box.folder / f"{target}.{suffix}")
        way = WAYS[number % len(WAYS)]
        if way == "signal":
            self.edge.process.signal(signal.SIGHUP)
        elif way == "admin":
            response = http1.fetch(self.edge.admin(), "/certificates/reload", "POST")
            assert response.status == 200, response
        # A look between the two renames refuses the pair and keeps the old one, as it should.
        # By file nothing is done: the edge looks for itself, or the next way comes first.


@pytest.mark.deadline(int(SECONDS) + 120)
def test_no_request_fails_while_certificates_are_replaced(box):
    house = House(box)
    before = metric(house.edge, "tls_handshakes_failed")
    workers = [Worker(name, turn) for name, turn in (
        ("kept 1", house.kept()), ("kept 2", house.kept()), ("fresh", house.fresh()),
        ("resuming", house.resuming()),
        ("h2", house.h2load("-n", "400", "-c", "8", "-m", "10")),
        ("h2 one at a time", house.h2load("-n", "20", "-c", "10", "-m", "1")),
        ("h1 of h2load", house.h2load("--h1", "-n", "100", "-c", "4")))]
    began = time.monotonic()
    for number in range(len(house.pairs)):
        until = began + number + 1
        if until > began + SECONDS:
            break
        time.sleep(max(0.0, until - time.monotonic())) # one each second is what is asked for
        house.replace(number)
    for worker in workers:
        worker.ending = True
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive(), f"{worker.words} hangs"
    print({worker.words: worker.done for worker in workers}, "serials", len(house.serials),
          "resumed", house.resumed)
    assert not [words for worker in workers for words in worker.failed]
    assert all(worker.done > 0 for worker in workers)
    # ECDSA is every other one, and that is what these clients are shown.
    assert len(house.serials) >= int(SECONDS) // 4, house.serials
    assert house.resumed > 0
    log = house.edge.process.log()
    # Two replacements may be seen as one.
    assert log.count("certificates replaced") >= int(SECONDS) // 2
    assert log.count("configuration re-read") >= 1  # two signals may have become one
    assert metric(house.edge, "tls_handshakes_failed") == before
