# SPDX-License-Identifier: Apache-2.0
"""A site whose answers a cache on disk keeps, and what tests ask of such an edge."""
import hashlib
import random
import urllib.parse

from . import http1
from .box import wait
from .origin import Answer
from .setup import Edge, cache_stat, cluster

DISK = "cache.disk"


def body_of(path, version=0, size=None):
    seed = hashlib.sha256(f"{path} {version}".encode()).digest()
    rng = random.Random(seed)
    size = size if size is not None else int(100 * 4000 ** rng.random())
    return (seed * (size // 32 + 1))[:size]


class Site:
    """An origin whose bodies tell which they are; every path has a version."""

    def __init__(self, box):
        self.versions, self.sizes, self.fields = {}, {}, {}
        self.origin = box.origin("m", answer=self.answer)

    def body(self, path):
        return body_of(path, self.versions.get(path, 0), self.sizes.get(path))

    def answer(self, request):
        path = request.path
        if request.method == "POST":
            self.versions[path] = self.versions.get(path, 0) + 1
            return Answer(204, b"")
        etag = f'"{self.versions.get(path, 0)}"'
        fields = self.fields.get(path) or [("Cache-Control", "max-age=3600"), ("ETag", etag),
                                           ("Surrogate-Key", "every " + path.strip("/"))]
        asked = [value for name, value in request.fields if name.lower() == "if-none-match"]
        if asked == [etag]:
            return Answer(304, b"", fields, "Not Modified")
        return Answer(200, self.body(path), fields)


def disk_edge(box, site, disk="16MiB", memory="16MiB", **more):
    return Edge(box, {"web": cluster([site.origin], health=None)}, workers=2,
                cache={"memory": memory, "disk": {"path": f"./{DISK}", "size": disk},
                       "purge-from": ["127.0.0.0/8"]}, **more)


def is_ready(edge):
    return cache_stat(edge)["disk_ready"] == 1


def settled(edge):
    """All that was stored since the start is on disk."""
    said = {}

    def is_written():
        said.update(cache_stat(edge))
        return said["disk_written"] >= said["stored"]
    try:
        wait("it to be on disk", is_written)
    except AssertionError:
        raise AssertionError(f"not on disk: {said}") from None


def store(edge, *paths, fields=()):
    """Memory may refuse one while others leave it."""
    for path in paths:
        wait(f"{path} to be stored",
             lambda path=path: get(edge, path, fields).get("Age") is not None)
        settled(edge)


def again(edge, kill=False):
    if kill:
        edge.process.kill9()
    else:
        assert edge.process.stop() == 0
    edge.start()
    wait("the disk to be ready", lambda: is_ready(edge))


def get(edge, path, fields=()):
    return http1.fetch(edge.address, path, fields=fields)


def from_disk(answer):
    return "detail=disk" in answer.get("Cache-Status", "")


def purge(edge, **what):
    query = "&".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in what.items())
    answer = http1.fetch(edge.admin(), "/cache/purge?" + query, "POST")
    assert answer.status == 200, answer.text
