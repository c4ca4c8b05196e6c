# SPDX-License-Identifier: Apache-2.0
"""The cache on disk from outside: warm after a restart, byte-exact or gone after kill -9, purges
and invalidations outlast both, and a damaged file never makes a wrong byte."""
import os
import random
import signal
import socket
import threading

import pytest

from harness import http1
from harness.box import wait
from harness.disk import (DISK, Site, again, body_of, disk_edge, from_disk, get,
                          is_ready, purge, settled, store)
from harness.setup import Edge, cache_stat, cluster

MIB = 1 << 20
WHOLE = 262144  # a longer body is sent from disk


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_warm_after_restart(box, kill):
    site = Site(box)
    edge = disk_edge(box, site, disk="32MiB")  # none of them leaves
    wait("the disk to be ready", lambda: is_ready(edge))
    paths = [f"/{i}" for i in range(200)]
    site.sizes["/1"], site.sizes["/2"] = 0, 1500000
    store(edge, *paths)
    asked = len(site.origin.requests)
    again(edge, kill)
    said = cache_stat(edge)
    assert said["disk_entries"] == len(paths) and said["entries"] == 0, said
    for path in paths:
        answer = get(edge, path)
        assert answer.body == site.body(path) and from_disk(answer), (path, answer)
        # Then it is in memory, unless it is large.
        assert from_disk(get(edge, path)) == (len(answer.body) > WHOLE), path
    assert len(site.origin.requests) == asked, "nobody else was asked"
    said = cache_stat(edge)
    assert said["disk_hits"] == len(paths) and said["disk_bad"] == 0, said
    # The same as from memory: head, range, condition.
    again(edge, kill)
    answer = http1.fetch(edge.address, "/2", method="HEAD")
    assert answer.get("Content-Length") == "1500000" and from_disk(answer)
    again(edge, kill)
    answer = get(edge, "/2", [("Range", "bytes=1000000-1000009")])
    assert answer.status == 206 and answer.body == site.body("/2")[1000000:1000010]
    assert get(edge, "/3", [("If-None-Match", '"0"')]).status == 304
    assert get(edge, "/4", [("Cache-Control", "only-if-cached")]).status == 200
    assert get(edge, "/none", [("Cache-Control", "only-if-cached")]).status == 504
    assert len(site.origin.requests) == asked


def test_what_memory_evicts_is_found_on_disk(box):
    site = Site(box)
    edge = disk_edge(box, site, disk="64MiB")
    wait("the disk to be ready", lambda: is_ready(edge))
    paths = [f"/{i}" for i in range(200)]
    for path in paths:
        site.sizes[path] = 100000
        store(edge, path)
    assert cache_stat(edge)["evicted"] > 50
    asked = len(site.origin.requests)
    for path in paths:
        assert get(edge, path).body == site.body(path)
    assert len(site.origin.requests) == asked
    assert cache_stat(edge)["disk_hits"] > 50


def test_many_who_ask_read_once(box):
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    site.sizes["/big"] = 2000000
    store(edge, "/big")
    asked = len(site.origin.requests)
    again(edge)
    answers = []

    def ask():
        answers.append(get(edge, "/big").body == site.body("/big"))
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 16
    assert len(site.origin.requests) == asked
    assert cache_stat(edge)["disk_hits"] <= 4, "not once for each"


def test_variants_and_validation(box):
    site = Site(box)
    vary = [("Cache-Control", "max-age=3600"), ("Vary", "Accept-Language")]
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    site.fields["/v"] = vary
    for version, language in enumerate(["de", "fr"]):
        site.versions["/v"] = version
        store(edge, "/v", fields=[("Accept-Language", language)])
    # Stale at once, with a validator.
    site.fields["/s"] = [("Cache-Control", "max-age=0"), ("ETag", '"0"')]
    get(edge, "/s")
    settled(edge)
    again(edge, kill=True)
    asked = len(site.origin.requests)
    assert get(edge, "/v", [("Accept-Language", "de")]).body == body_of("/v", 0)
    assert get(edge, "/v", [("Accept-Language", "fr")]).body == body_of("/v", 1)
    assert len(site.origin.requests) == asked
    assert get(edge, "/v", [("Accept-Language", "it")]).status == 200
    assert len(site.origin.requests) == asked + 1
    site.fields["/s"] = [("Cache-Control", "max-age=3600"), ("ETag", '"0"'), ("X-New", "yes")]
    answer = get(edge, "/s")
    assert answer.body == site.body("/s") and answer.get("X-New") == "yes", answer
    assert len(site.origin.requests) == asked + 2
    assert [f for f in site.origin.requests[-1].fields if f[0].lower() == "if-none-match"]
    # What a 304 changed is on disk, too.
    settled(edge)
    again(edge, kill=True)
    answer = get(edge, "/s")
    assert from_disk(answer) and answer.get("X-New") == "yes"
    assert len(site.origin.requests) == asked + 2


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_purged_stays_purged_over_restarts(box, kill):
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    paths = ["/url", "/tag", "/pre/1", "/pre/2", "/other", "/soft", "/post"]
    store(edge, *paths)
    again(edge, kill)  # nothing of it is in memory
    for path in paths:
        site.versions[path] = 7
    purge(edge, url="http://test.example/url")
    purge(edge, tag="tag")
    purge(edge, prefix="//test.example/pre/")
    purge(edge, url="//test.example/soft", soft="1")
    assert http1.fetch(edge.address, "/post", method="POST", body=b"x").status == 204
    again(edge, kill)
    asked = len(site.origin.requests)
    for path in ["/url", "/tag", "/pre/1", "/pre/2", "/soft", "/post"]:
        assert get(edge, path).body == site.body(path), path
    assert len(site.origin.requests) == asked + 6
    assert get(edge, "/other").body == body_of("/other", 0)
    # What was stored after the purge stays.
    settled(edge)
    again(edge, kill)
    asked = len(site.origin.requests)
    for path in ["/url", "/tag", "/pre/1", "/soft", "/post"]:
        assert get(edge, path).body == site.body(path) and len(site.origin.requests) == asked
    purge(edge, all="1")
    again(edge, kill)
    assert get(edge, "/other").body == body_of("/other", 7)


def test_purged_softly_answers_when_members_do_not(box):
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    store(edge, "/soft")
    purge(edge, tag="every", soft="1")
    again(edge, kill=True)
    site.origin.stop()
    answer = get(edge, "/soft")
    assert answer.status == 200 and answer.body == body_of("/soft")
    assert "stale-if-error" in answer.get("Cache-Status", "")


@pytest.mark.deadline(240)
def test_killed_under_load_every_body_is_right_or_gone(box):
    site = Site(box)
    edge = disk_edge(box, site, disk="32MiB", memory="16MiB")
    rng = random.Random(9)
    wrong = []
    for number in range(3000):  # all of them fit
        site.sizes[f"/{number}"] = int(100 * 200 ** rng.random())

    def load(stop, turn, seed):
        mine = random.Random(seed)
        while not stop.is_set():
            path = f"/{mine.randrange(600 * (turn + 1))}"
            try:
                answer = get(edge, path)
            except (OSError, http1.ProtocolError):
                continue
            if answer.status == 200 and answer.body != site.body(path):
                wrong.append((path, len(answer.body)))

    for turn in range(5):
        wait("the disk to be ready", lambda: is_ready(edge))
        stop = threading.Event()
        threads = [threading.Thread(target=load, args=(stop, turn, 10 * turn + i))
                   for i in range(3)]
        before = cache_stat(edge)["disk_written"]
        for thread in threads:
            thread.start()
        least = rng.randrange(50, 400)
        wait("some to be written", lambda: cache_stat(edge)["disk_written"] - before > least, 60)
        edge.process.kill9()
        stop.set()
        for thread in threads:
            thread.join()
        edge.start()
    wait("the disk to be ready", lambda: is_ready(edge))
    assert not wrong
    asked, found = len(site.origin.requests), cache_stat(edge)["disk_entries"]
    for number in range(3000):
        path = f"/{number}"
        assert get(edge, path).body == site.body(path), path
    said = cache_stat(edge)
    assert said["disk_bad"] == 0 and said["disk_errors"] == 0, said
    assert found > 500 and said["disk_hits"] > 0.9 * found, said
    assert len(site.origin.requests) - asked <= 3000 - said["disk_hits"]


def test_full_disk_keeps_what_is_asked_for(box):
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    for number in range(400):
        path = f"/{number}"
        site.sizes[path] = 100000
        store(edge, path)
        get(edge, "/0")
    said = cache_stat(edge)
    assert 100 < said["disk_entries"] < 170 and said["disk_bytes"] <= 16 * MIB, said
    assert said["disk_kept"] > 0, said
    assert os.stat(box.folder / DISK).st_size == 16 * MIB
    again(edge, kill=True)
    asked = len(site.origin.requests)
    assert from_disk(get(edge, "/0")) and from_disk(get(edge, "/399"))
    assert len(site.origin.requests) == asked
    assert get(edge, "/1").body == site.body("/1") and len(site.origin.requests) == asked + 1


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_what_left_does_not_come_back(box, kill):
    """What a segment held that left is in the file until that is written over. Who takes it back
    meanwhile finds nothing to take back; a restart must not find it either."""
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    number, said = 0, {"disk_entries": 0}
    while said["disk_entries"] == number:  # the first segment is there
        site.sizes[f"/{number}"] = 100000
        store(edge, f"/{number}")
        number += 1
        said = cache_stat(edge)
    first = [f"/{i}" for i in range(15)]  # of it; some have moved, the others left
    for path in first:
        assert http1.fetch(edge.address, path, method="POST", body=b"x").status == 204
    left = cache_stat(edge)["disk_entries"]
    assert said["disk_entries"] - len(first) < left, "some of them had left"
    again(edge, kill)
    assert cache_stat(edge)["disk_entries"] <= left  # a mark may be that of two keys
    asked = len(site.origin.requests)
    for path in first:
        answer = get(edge, path)
        assert answer.body == body_of(path, 1, 100000) and not from_disk(answer), (path, answer)
    assert len(site.origin.requests) == asked + len(first)
    assert any(from_disk(get(edge, f"/{i}")) for i in range(number - 10, number))


def test_damaged_bytes_are_a_miss(box):
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    paths = [f"/{i}" for i in range(60)]
    for path in paths:
        site.sizes[path] = 70000
        store(edge, path)
    edge.process.stop()
    rng = random.Random(5)
    with open(box.folder / DISK, "r+b") as file:
        data = file.read()
        for path in paths[::2]:  # in the middle of bodies
            at = data.index(site.body(path)[:32]) + rng.randrange(60000)
            file.seek(at)
            file.write(bytes([data[at] ^ 0x40]))
    edge.start()
    wait("the disk to be ready", lambda: is_ready(edge))
    asked = len(site.origin.requests)
    for path in paths:
        assert get(edge, path).body == site.body(path), path
    said = cache_stat(edge)
    assert said["disk_bad"] == 30 or said["disk_bad"] == 29, said  # the last one was seen at start
    assert len(site.origin.requests) == asked + 30
    assert sum("damaged response" in line for line in edge.process.log().splitlines()) == 1


def test_another_file_begins_anew(box):
    site = Site(box)
    (box.folder / DISK).write_bytes(b"something else" * 4096)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    assert "begins anew" in edge.process.log() and "another size" in edge.process.log()
    store(edge, "/a")
    edge.process.stop()
    with open(box.folder / DISK, "r+b") as file:  # its version
        file.seek(4)
        file.write(b"\xff")
    edge.start()
    wait("the disk to be ready", lambda: is_ready(edge))
    assert "another format" in edge.process.log()
    assert cache_stat(edge)["disk_entries"] == 0
    assert get(edge, "/a").body == site.body("/a")
    # Another boot of the system, and nobody said goodbye: what was purged may be lost.
    settled(edge)
    edge.process.kill9()
    with open(box.folder / DISK, "r+b") as file:
        data = file.read(4096)
        boot = open("/proc/sys/kernel/random/boot_id", "rb").read().strip()
        file.seek(data.index(boot))
        file.write(b"0")if not boot.startswith(b"0") else file.write(b"1")
    edge.start()
    wait("the disk to be ready", lambda: is_ready(edge))
    assert "stopped while it was in use" in edge.process.log()
    assert cache_stat(edge)["disk_entries"] == 0


def test_a_reload_leaves_the_disk_alone(box):
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    store(edge, "/a", "/b")
    edge.settings["cache"]["disk"]["size"] = "32MiB"
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the reload", lambda: "change with a restart only" in edge.process.log())
    assert cache_stat(edge)["disk"] == 16 * MIB and cache_stat(edge)["disk_entries"] == 2
    # News after it still name the file.
    os.truncate(box.folder / DISK, MIB)
    site.sizes["/c"] = 2000000
    store(edge, "/c")
    again(edge)
    assert "begins anew" in edge.process.log() and "another size" in edge.process.log()
    assert os.stat(box.folder / DISK).st_size == 32 * MIB


def test_a_disk_that_cannot_be_used_is_none(box):
    site = Site(box)
    edge = Edge(box, {"web": cluster([site.origin], health=None)},
                cache={"memory": "16MiB", "disk": "/proc/nowhere/cache"})
    assert "no cache on disk" in edge.process.log()
    assert get(edge, "/a").body == site.body("/a")
    assert get(edge, "/a").get("Age") is not None
    assert "disk" not in cache_stat(edge)


def test_two_edges_do_not_share_a_file(box):
    site = Site(box)
    disk_edge(box, site)
    other = disk_edge(box, site, name="other", state="./other")
    assert "another process uses it" in other.process.log()
    assert get(other, "/a").body == site.body("/a")


def test_memory_is_enough_for_the_index(box):
    said = box.run("check", "-c", box.config({
        "listen": [f"127.0.0.1:{box.port()}"], "routes": [{"cluster": "web"}],
        "clusters": {"web": {"members": ["127.0.0.1:1"]}},
        "cache": {"memory": "16MiB", "disk": {"path": "x", "size": "10GiB"}}}))
    assert said.returncode != 0 and "expected at least 40MiB" in said.stderr + said.stdout


def test_who_leaves_while_it_is_read_hurts_nobody(box):
    site = Site(box)
    edge = disk_edge(box, site)
    wait("the disk to be ready", lambda: is_ready(edge))
    for number in range(50):
        site.sizes[f"/{number}"] = 100000
        store(edge, f"/{number}")
    again(edge)
    for number in range(50):
        host, port = edge.address.split(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(http1.head("GET", f"/{number}"))
    for number in range(50):
        assert get(edge, f"/{number}").body == site.body(f"/{number}")
