# SPDX-License-Identifier: Apache-2.0
"""The cache's memory from outside: it adds up by kind, stays within its bound while objects of all
sizes come and go, and what is larger than it takes streams through."""
import os
import random
import socket

from harness import http1
from harness.box import sanitized, wait
from harness.listener import Listener, read_head
from harness.origin import Answer
from harness.setup import Edge, cache_stat, cluster, resident_kib

MIB = 1 << 20
STREAM_BYTES = int(os.environ.get("FRESHET_STREAM_MIB", "256")) * MIB


def adds_up(edge, memory):
    said = cache_stat(edge)
    kinds = [said[f"{kind}_bytes"] for kind in ("index", "head", "body", "slack")]
    assert said["memory"] == memory
    assert sum(kinds) == said["bytes"], said
    assert said["bytes"] + said["free_bytes"] == memory, said
    return said


def test_memory_adds_up_and_stays_bounded_under_churn(box):
    rng = random.Random(4)
    sizes = {}

    def answer(request):
        return Answer(200, b"x" * sizes[request.path], [("Cache-Control", "max-age=600"),
                                                        ("ETag", f'"{request.path}"')])
    member = box.origin("m", answer=answer)
    memory = 32 * MIB
    edge = Edge(box, {"web": cluster([member], health=None)},
                cache={"memory": memory, "object-max": 8 * MIB}, workers=2)
    empty_kib = resident_kib(edge.process.pid)
    before = adds_up(edge, memory)
    assert before["entries"] == 0 and before["body_bytes"] == 0
    with http1.Client(edge.address) as client:
        for number in range(1500):
            path = f"/{number}"
            sizes[path] = int(200 * (4 * MIB / 200) ** rng.random())
            assert len(client.request("GET", path).body) == sizes[path]
            if number % 5 == 0:  # some are asked for again
                path = f"/{rng.randrange(number + 1)}"
                assert len(client.request("GET", path).body) == sizes[path]
    said = adds_up(edge, memory)
    assert said["evicted"] > 500 and said["entries"] > 20
    assert said["body_bytes"] > memory / 2, said
    grown = (resident_kib(edge.process.pid) - empty_kib) * 1024
    used = said["bytes"] - before["bytes"]
    assert grown > 0.8 * used, "it says more than the process has"
    if not sanitized():
        assert grown < used + 16 * MIB, "the process has more than it says"
    shadow = 7 if sanitized() else 1  # a sanitizer's own memory, some bytes for each of ours
    assert grown <= 1.1 * (shadow * memory + 32 * MIB), (grown, said)


def endless(sock):
    """A body in chunks, as fast as it is read."""
    piece = b"y" * 65536
    chunk = b"10000\r\n" + piece + b"\r\n"
    read_head(sock)
    sock.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(STREAM_BYTES // len(piece)):
        sock.sendall(chunk)
    sock.sendall(b"0\r\n\r\n")


def test_what_is_too_large_streams_through(box):
    streamer = Listener(box.closers, endless)
    edge = Edge(box, {"web": cluster([streamer.address], health=None)},
                cache={"memory": "16MiB", "object-max": "1MiB"})
    before = resident_kib(edge.process.pid)
    highest, seen = before, 0
    with socket.create_connection(edge.address.split(":")) as sock:
        sock.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while data := sock.recv(1 << 20):
            seen += len(data)
            if seen % (16 * MIB) < len(data):
                highest = max(highest, resident_kib(edge.process.pid))
    assert seen > STREAM_BYTES
    print(f"{seen >> 20} MiB went through; resident {before} KiB before, {highest} KiB at most")
    assert highest - before < (64 if sanitized() else 8) * 1024, "the body went through memory"
    wait("the refusal", lambda: cache_stat(edge)["refused_large"] == 1)
    said = adds_up(edge, 16 * MIB)
    assert said["entries"] == 0 and said["body_bytes"] == 0 and said["head_bytes"] == 0
