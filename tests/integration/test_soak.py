# SPDX-License-Identifier: Apache-2.0
"""Under load, members die, hang, reset, cut and come back at random: is every byte the right one,
does nothing cut look whole, and is nothing left behind?

SOAK_SECONDS (60) is how long; `make soak` takes ten minutes. What changes by reconfiguration is
bench/soak's subject.
"""
import asyncio
import collections
import os
import pathlib
import random
import signal
import sys
import time

import pytest

from harness import http1
from harness.box import BINARY, wait
from harness.setup import Edge, cluster, usage

from soak_member import keyed

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
CLIENTS = 24
MEMBERS = 4
DOWN_MAX = 3  # members dead or stopped at once; the others only misbehave
SIZES = (0, 1, 100, 5000, 40000, 300000)
PATIENCE_S = 30  # of a client for one answer: longer than every limit of the edge
MEMBER = pathlib.Path(__file__).resolve().parent / "soak_member.py"


class Cut(Exception):
    """The answer ended before its end, visibly."""


class Wrong(AssertionError):
    """What must never happen."""


class Answer:
    def __init__(self, status, fields):
        self.status, self.fields = status, fields
        self.body = b""


class Asker:
    """One client after the other, each with a few requests on its connection."""

    def __init__(self, soak, number):
        self.soak, self.number, self.serial = soak, number, 0
        self.rand = random.Random(soak.seed * 1000 + number)

    async def run(self):
        while time.monotonic() < self.soak.until:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.soak.port,
                                                               limit=1 << 20)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            try:
                for _ in range(self.rand.randint(1, 20)):
                    if not await self.ask(reader, writer) or time.monotonic() >= self.soak.until:
                        break
            except (OSError, asyncio.IncompleteReadError):
                self.soak.count("closed")
            finally:
                writer.close()

    # ---- requests ------------------------------------------------------------------------

    def make(self, old):
        """(method, name, id, size of the answer, bytes on the wire)."""
        self.serial += 1
        count = self.rand.choice(SIZES)
        method = self.rand.choice(("GET", "GET", "GET", "POST", "PUT", "HEAD"))
        identity = f"{self.number}.{self.serial}"
        name, lines, body = identity, [], b""
        if method in ("GET", "HEAD") and self.rand.random() < 0.3:
            number = self.rand.randint(0, 50)  # may be stored: it is for everybody
            name, identity, count = f"c{number}", "", SIZES[number % len(SIZES)]
        path = f"/{name}?n={count}&id={identity}"
        if method in ("POST", "PUT"):
            body = keyed("up" + name, self.rand.choice(SIZES))
            path += f"&m={len(body)}"
            if self.rand.random() < 0.4 and not old:
                lines.append("Transfer-Encoding: chunked")
                at = self.rand.randint(0, len(body))
                pieces = [piece for piece in (body[:at], body[at:]) if piece]
                body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
            else:
                lines.append(f"Content-Length: {len(body)}")
        head = [f"{method} {path} HTTP/1.{0 if old else 1}", "Host: soak.example",
                f"X-Soak-Id: {identity}", *lines, "", ""]
        return method, name, identity, count, "\r\n".join(head).encode() + body

    async def ask(self, reader, writer):
        """One request, or some at once. True: the connection can carry more."""
        old = self.rand.random() < 0.1
        asked = [self.make(old) for _ in range(1 if old else self.rand.choice((1, 1, 1, 3)))]
        began = time.monotonic()
        for one in asked:
            writer.write(one[4])
        if self.rand.random() < 0.03:  # goes away at some point
            await asyncio.sleep(self.rand.choice((0, 0.001, 0.01)))
            self.soak.count("left")
            return False
        for one in asked:
            try:
                keep = await asyncio.wait_for(self.judge(reader, one, began), PATIENCE_S)
            except asyncio.TimeoutError as error:
                raise Wrong(f"{one[0]} {one[1]}: no answer in {PATIENCE_S} s") from error
            if not keep or old:
                return False
        return True

    # ---- answers -------------------------------------------------------------------------

    async def read_head(self, reader):
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            version, status, _ = lines[0].split(" ", 2)
            if version != "HTTP/1.1":
                raise Wrong(f"status line {lines[0]!r}")
            fields = collections.defaultdict(list)
            for line in lines[1:]:
                if line:
                    fields[line.split(":")[0].lower()].append(line.split(":", 1)[1].strip())
            if int(status) >= 200:
                return Answer(int(status), fields)

    async def read_body(self, reader, answer, method):
        """The whole of it, or Cut; what came stands in answer.body."""
        try:
            if method == "HEAD" or answer.status in (204, 304):
                return
            if "content-length" in answer.fields:
                left = int(answer.fields["content-length"][0])
                while left > 0:
                    data = await reader.read(left)
                    if not data:
                        raise Cut
                    answer.body += data
                    left -= len(data)
            elif "transfer-encoding" in answer.fields:
                while True:
                    size = int(await reader.readuntil(b"\r\n"), 16)
                    answer.body += (await reader.readexactly(size + 2))[:-2]
                    if size == 0:
                        return
            else:
                while data := await reader.read(65536):
                    answer.body += data
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Cut from error

    def excused(self, answer, began):
        """A member that is killed ends properly what only the close ends: nobody could tell."""
        member = answer.fields.get("x-soak-open")
        return member is not None and self.soak.killed[int(member[0])] >= began

    async def judge(self, reader, one, began):
        method, name, identity, count, _ = one
        answer = await self.read_head(reader)
        whole = True
        try:
            await self.read_body(reader, answer, method)
        except Cut:
            whole = False
        told = answer.fields.get("x-soak-id", [None])[0]
        if told is None:  # the edge's own words
            if answer.status < 500 and answer.status != 408:
                raise Wrong(f"{method} {name}: {answer.status} {answer.body!r}")
            self.soak.count(f"{answer.status}")
            return whole and answer.fields.get("connection") != ["close"]
        if told != identity or answer.status != 200:
            raise Wrong(f"{method} {name}: {answer.status} for {told!r}, not {identity!r}")
        want = b"" if method == "HEAD" else keyed(name, count)
        if whole and len(answer.body) != len(want) and not self.excused(answer, began):
            raise Wrong(f"{method} {name}: {len(answer.body)} bytes look whole, {len(want)} are: "
                        f"{dict(answer.fields)}")
        if not want.startswith(answer.body):
            raise Wrong(f"{method} {name}: other bytes than asked for")
        self.soak.count("whole" if whole and len(answer.body) == len(want) else "cut")
        return whole and answer.fields.get("connection") != ["close"]


class Soak:
    def __init__(self, box):
        self.box = box
        self.seed = int(os.environ.get("SOAK_SEED") or random.randrange(1 << 30))
        self.rand = random.Random(self.seed)
        self.counts = collections.Counter()
        self.samples = []
        self.until = 0
        self.ports = [box.port() for _ in range(MEMBERS)]
        self.members = [None] * MEMBERS
        self.killed = [0.0] * MEMBERS  # when
        for index in range(MEMBERS):
            self.start_member(index)
        web = cluster([f"127.0.0.1:{port}" for port in self.ports], **{
            "health": {"path": "/healthz", "interval": "100ms", "timeout": "300ms"},
            "eject": {"failures": 0}, "keepalive": 32,
            "timeouts": {"connect": "500ms", "response": "1s", "idle": "1s", "keepalive": "1s"}})
        # What a sanitizer keeps of freed memory would look like growth.
        env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
               ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
        self.edge = Edge(box, {"web": web}, env=env, workers=2, cache={"memory": "2MiB"},
                         limits={"idle-timeout": "3s"})
        self.port = self.edge.port

    def count(self, what):
        self.counts[what] += 1

    def start_member(self, index):
        self.members[index] = self.box.start(
            str(MEMBER), "--port", self.ports[index], "--index", index, binary="/usr/bin/python3",
            name=f"member-{index}")

    # ---- what happens --------------------------------------------------------------------

    async def die(self, index):
        self.killed[index] = time.monotonic()
        self.members[index].kill9()
        self.killed[index] = time.monotonic()
        await asyncio.sleep(self.rand.uniform(0.1, 1.5))
        self.box.processes.remove(self.members[index])
        self.start_member(index)

    async def hang(self, index):
        self.members[index].signal(signal.SIGSTOP)
        await asyncio.sleep(self.rand.uniform(0.1, 3))
        self.members[index].signal(signal.SIGCONT)

    async def trouble(self):
        down = {}
        while time.monotonic() < self.until:
            await asyncio.sleep(self.rand.uniform(0.1, 0.6))
            down = {index: task for index, task in down.items() if not task.done()}
            up = [index for index in range(MEMBERS) if index not in down]
            if len(down) < DOWN_MAX:
                act, index = self.rand.choice((self.die, self.hang)), self.rand.choice(up)
                down[index] = asyncio.create_task(act(index))
                self.count(act.__name__)
        await asyncio.gather(*down.values())

    async def watch(self):
        while time.monotonic() < self.until:
            self.samples.append((time.monotonic(), usage(self.edge.process.pid)["resident_kib"]))
            await asyncio.sleep(0.25)

    async def run(self):
        self.until = time.monotonic() + SECONDS
        askers = [Asker(self, number).run() for number in range(CLIENTS)]
        try:
            await asyncio.gather(self.trouble(), self.watch(), *askers)
        finally:
            for member in self.members:
                member.signal(signal.SIGCONT)


def slope(samples):
    """Of the line through (time, value) that fits best."""
    times, values = [t for t, _ in samples], [v for _, v in samples]
    mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
    return (sum((t - mean_t) * (v - mean_v) for t, v in samples) /
            sum((t - mean_t) ** 2 for t in times))


def lasting_descriptors(pid):
    """What stays: a health check is over in between."""
    return min(usage(pid)["descriptors"] for _ in range(200))


@pytest.mark.deadline(int(SECONDS) + 120)
def test_soak(box):
    soak = Soak(box)
    wait("the members", lambda: http1.fetch(soak.edge.address, "/a?n=1&id=").status == 200)
    pid = soak.edge.process.pid
    before = lasting_descriptors(pid)
    asyncio.run(soak.run())
    second_half = soak.samples[len(soak.samples) // 2:]
    growth = slope(second_half) * (second_half[-1][0] - second_half[0][0])
    resident = second_half[-1][1]
    print(f"seed {soak.seed}, {SECONDS:.0f} s: {dict(soak.counts)}; resident {resident} KiB, "
          f"{growth:+.0f} KiB in the second half; descriptors {before}",
          file=sys.stderr)
    # Most are answered, or there was nothing to look at.
    assert soak.counts["whole"] > 10 * SECONDS
    assert soak.counts["cut"] > 0 and soak.counts["die"] > 0 and soak.counts["hang"] > 0
    # ThreadSanitizer keeps a history of its own.
    if b"__tsan_init" not in pathlib.Path(BINARY).read_bytes():
        assert growth < max(1024, 0.03 * resident)
    wait("every descriptor to be back", lambda: lasting_descriptors(pid) <= before)
    assert soak.edge.process.alive()
