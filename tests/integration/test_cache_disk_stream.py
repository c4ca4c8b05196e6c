# SPDX-License-Identifier: Apache-2.0
"""Large bodies go out from disk piece by piece: memory holds a window of each, the first byte does
not wait for the last, a range reads what it needs, and a damaged piece never looks like a whole."""
import concurrent.futures
import random
import re
import socket

import pytest

from harness import http1
from harness.box import wait
from harness.disk import (DISK, Site, again, disk_edge, from_disk, get, is_ready, purge,
                          settled, store)
from harness.setup import cache_stat
from harness.wire2 import Connection, window

MIB = 1 << 20
PIECE = 65536
WINDOW = 2 * PIECE
BIG = 3 * MIB


class BigSite(Site):
    """No two places of a body are alike."""

    def body(self, path):
        seed = f"{path} {self.versions.get(path, 0)}"
        return random.Random(seed).randbytes(self.sizes.get(path, BIG))


def started(box, site, disk="256MiB", memory="32MiB", **more):
    edge = disk_edge(box, site, disk, memory, **more)
    wait("the disk to be ready", lambda: is_ready(edge))
    return edge


def on_disk(box, *paths, **more):
    """They are there and nowhere else."""
    site = BigSite(box)
    edge = started(box, site, **more)
    store(edge, *paths)
    again(edge)
    site.origin.requests.clear()
    return site, edge


def damage(box, site, path, at):
    with open(box.folder / DISK, "r+b") as file:
        data = file.read()
        place = data.index(site.body(path)[at:at + 32])
        file.seek(place)
        file.write(bytes([data[place] ^ 0x40]))


def bytes_read(edge):
    with open(f"/proc/{edge.process.pid}/io", encoding="ascii") as file:
        return int(re.search(r"rchar: (\d+)", file.read()).group(1))


def slow_client(edge, path, fields=()):
    """Asks, and reads nothing."""
    client = http1.Client.__new__(http1.Client)
    host, port = edge.address.split(":")
    client.sock = socket.socket()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sock.settimeout(20)
    client.sock.connect((host, int(port)))
    client.address, client.timeout, client.buffer, client.closed_by_peer = host, 20, b"", False
    client.send(http1.head("GET", path, fields))
    return client


def rest_of(client):
    """All that still comes, until the end or the cut."""
    data = client.buffer
    try:
        while chunk := client.sock.recv(65536):
            data += chunk
    except OSError:
        pass
    return data


def test_memory_holds_a_window_of_it(box):
    site, edge = on_disk(box, "/big")
    before = cache_stat(edge)["body_bytes"]
    with slow_client(edge, "/big") as client:
        wait("the window to be full", lambda: cache_stat(edge)["body_bytes"] >= before + WINDOW)
        head = client.read_head()
        assert head.status == 200 and from_disk(head), head
        assert cache_stat(edge)["body_bytes"] <= before + WINDOW + 4096
        assert client.read_exactly(BIG) == site.body("/big")
    wait("the window to be given back", lambda: cache_stat(edge)["body_bytes"] < before + PIECE)
    answer = get(edge, "/big")
    assert answer.body == site.body("/big") and from_disk(answer), "and so the next time"
    assert cache_stat(edge)["disk_streamed"] == 2 and cache_stat(edge)["disk_hits"] == 1
    assert not site.origin.requests


def test_a_range_reads_what_it_needs(box):
    site, edge = on_disk(box, "/big")
    get(edge, "/big", [("Range", "bytes=0-0")])  # its head is in memory
    before = bytes_read(edge)
    for first, last in [(2 * MIB, 2 * MIB + 9), (PIECE - 5, PIECE + 4), (BIG - 1, BIG - 1),
                        (PIECE, 2 * PIECE - 1)]:
        answer = get(edge, "/big", [("Range", f"bytes={first}-{last}")])
        assert answer.status == 206 and answer.body == site.body("/big")[first:last + 1]
        assert answer.get("Content-Range") == f"bytes {first}-{last}/{BIG}" and from_disk(answer)
    assert get(edge, "/big", [("Range", "bytes=-10")]).body == site.body("/big")[-10:]
    assert get(edge, "/big", [("Range", f"bytes={BIG}-")]).status == 416
    assert http1.fetch(edge.address, "/big", method="HEAD").get("Content-Length") == str(BIG)
    assert bytes_read(edge) - before < 8 * PIECE
    assert not site.origin.requests


def test_a_damaged_piece_cuts_the_answer_off(box):
    site, edge = on_disk(box, "/big")
    damage(box, site, "/big", BIG - 100)
    with http1.Client(edge.address) as client:
        client.send(http1.head("GET", "/big"))
        head = client.read_head()
        assert head.status == 200 and head.get("Content-Length") == str(BIG)
        body = rest_of(client)
    assert 0 < len(body) <= BIG - BIG % PIECE, "what was right before it, no more"
    assert site.body("/big").startswith(body)
    said = cache_stat(edge)
    assert said["disk_bad"] == 1 and said["disk_cut"] == 1, said
    # It is nobody's any more.
    assert get(edge, "/big").body == site.body("/big")
    assert len(site.origin.requests) == 1


def test_over_http2_the_stream_is_reset(box):
    site = BigSite(box)
    edge = started(box, site)
    store(edge, "/big")
    again(edge)
    damage(box, site, "/big", BIG - 100)
    room = 1 << 23
    connection = Connection(edge.address, pairs=[(4, room)])
    connection.send(window(room))
    one = connection.ask("/big", authority="test.example")
    assert one.reset is not None and not one.ended
    assert not connection.eof and connection.goaway is None, "the connection stays"
    assert len(one.body) > 0 and site.body("/big").startswith(one.body)
    connection.close()


def test_a_damaged_first_piece_is_a_miss(box):
    site, edge = on_disk(box, "/big")
    damage(box, site, "/big", 100)
    answer = get(edge, "/big")
    assert answer.status == 200 and answer.body == site.body("/big") and not from_disk(answer)
    assert cache_stat(edge)["disk_bad"] == 1 and cache_stat(edge)["disk_cut"] == 0
    assert len(site.origin.requests) == 1


@pytest.mark.parametrize("how", ["purged", "replaced"])
def test_what_is_taken_back_meanwhile_is_brought_to_its_end(box, how):
    site, edge = on_disk(box, "/big")
    old = site.body("/big")
    with slow_client(edge, "/big") as client:
        assert client.read_head().status == 200
        site.versions["/big"] = 1
        if how == "purged":
            purge(edge, url="//test.example/big")
        else:
            assert get(edge, "/big", [("Cache-Control", "no-cache")]).body == site.body("/big")
        assert get(edge, "/big").body == site.body("/big"), "the new one, for all others"
        assert client.read_exactly(BIG) == old


def test_written_over_meanwhile_it_is_cut_and_never_mixed(box):
    site = BigSite(box)
    edge = started(box, site, disk="16MiB", memory="16MiB")
    site.sizes["/big"] = 3 * MIB // 2  # more than is kept of a segment that leaves
    store(edge, "/big")
    again(edge)
    with slow_client(edge, "/big") as client:
        assert client.read_head().status == 200
        for number in range(24):
            site.sizes[f"/{number}"] = MIB
            store(edge, f"/{number}")
        body = rest_of(client)
    assert len(body) < site.sizes["/big"] and site.body("/big").startswith(body)
    assert cache_stat(edge)["disk_cut"] == 1 and cache_stat(edge)["disk_bad"] == 0
    site.origin.requests.clear()
    assert get(edge, "/big").body == site.body("/big")
    assert len(site.origin.requests) == 1


@pytest.mark.parametrize("size", [MIB // 8, BIG], ids=["from memory", "from disk"])
def test_a_304_writes_a_head_and_leaves_the_body(box, size):
    site = BigSite(box)
    edge = started(box, site)
    site.sizes["/big"] = size
    site.fields["/big"] = [("Cache-Control", "max-age=0"), ("ETag", '"0"'), ("X-Turn", "0")]
    get(edge, "/big")
    settled(edge)
    again(edge)
    site.origin.requests.clear()
    for turn in range(1, 6):
        site.fields["/big"] = [("Cache-Control", "max-age=0"), ("ETag", '"0"'),
                               ("X-Turn", str(turn))]
        answer = get(edge, "/big")
        assert answer.body == site.body("/big") and answer.get("X-Turn") == str(turn), answer
        assert ("If-None-Match", '"0"') in site.origin.requests[-1].fields
        settled(edge)
    said = cache_stat(edge)
    assert said["disk_heads"] == said["disk_written"] == 5, said
    assert said["disk_written_bytes"] < 5 * 1024, said
    # The last of them outlives the process.
    site.fields["/big"] = [("Cache-Control", "max-age=3600"), ("ETag", '"0"'), ("X-Turn", "6")]
    get(edge, "/big")
    settled(edge)
    again(edge, kill=True)
    site.origin.requests.clear()
    answer = get(edge, "/big")
    assert answer.body == site.body("/big") and answer.get("X-Turn") == "6" and from_disk(answer)
    assert not site.origin.requests


def test_a_head_that_outgrows_its_place_is_written_with_its_body(box):
    site = BigSite(box)
    edge = started(box, site)
    site.sizes["/a"] = MIB // 8
    site.fields["/a"] = [("Cache-Control", "max-age=0"), ("ETag", '"0"')]
    get(edge, "/a")
    settled(edge)
    site.fields["/a"] = [("Cache-Control", "max-age=3600"), ("ETag", '"0"'), ("X-New", "x" * 600)]
    get(edge, "/a")
    settled(edge)
    said = cache_stat(edge)
    assert said["disk_heads"] == 0 and said["disk_written_bytes"] > 2 * MIB // 8, said
    again(edge, kill=True)
    answer = get(edge, "/a")
    assert answer.body == site.body("/a") and answer.get("X-New") == "x" * 600
    assert from_disk(answer) and cache_stat(edge)["disk_entries"] == 1


def test_of_too_many_the_others_come_from_members(box):
    site, edge = on_disk(box, "/big", memory="16MiB")
    clients = [slow_client(edge, "/big") for _ in range(40)]
    try:
        for client in clients:
            assert client.read_head().status == 200
        said = cache_stat(edge)
        assert said["disk_no_room"] >= 8 and said["disk_streamed"] == 32, said
        assert said["bytes"] + said["free_bytes"] <= 16 * MIB
        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            bodies = list(pool.map(lambda client: client.read_exactly(BIG), clients))
        assert set(bodies) == {site.body("/big")}
    finally:
        for client in clients:
            client.close()
