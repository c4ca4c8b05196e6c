# SPDX-License-Identifier: Apache-2.0
"""One edge for all rows, one with tight limits, and one member for both."""
import pathlib
import sys
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "integration")]

from harness.box import shared_box  # noqa: E402
from harness.origin import Answer, Origin  # noqa: E402
from harness.setup import Edge, cluster  # noqa: E402

TIGHT = {"http2-streams": 4, "http2-stream-window": "1KiB", "http2-resets": 10,
         "http2-idle-frames": 50, "header-timeout": "500ms", "body-timeout": "400ms"}


FILE = bytes(range(256)) * 2000


class Suite:
    def __init__(self, box, tight_box):
        self.release = threading.Event()  # of answers to /wait
        self.member = Origin("m", self.answer)
        box.closers.append(self.member.stop)
        web = cluster([self.member], health=None, eject={"failures": 0})
        files = box.folder / "www"
        files.mkdir()
        (files / "big").write_bytes(FILE)
        self.edge = Edge(box, {"web": web}, routes=[
            {"cluster": "web", "body-max": "1MiB"},
            {"match": {"path": "/files/"}, "files": {"folder": str(files), "strip": "/files"}}],
            cache={"memory": "16MiB"})
        self.tight = Edge(tight_box, {"web": web}, limits=TIGHT)

    def answer(self, request):
        path = request.path.split("?")[0]
        if path == "/wait":
            self.release.wait(10)
        if path == "/slow":
            time.sleep(1.2)  # more than the tight edge's limits
        if path == "/big":
            return Answer(200, b"x" * 200000)
        if path == "/cut":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"
        if path == "/trailers":
            return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n"
                    b"3\r\nabc\r\n0\r\nx-t: yes\r\n\r\n")
        if path == "/long":
            return Answer(200, "ok", [("X-Long", "y" * 20000)])
        if path == "/204":
            return Answer(204)
        if path == "/hops":
            return Answer(200, "x", [("Connection", "x-hop"), ("X-Hop", "1"), ("Keep-Alive", "1")])
        if path == "/early":
            return (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return Answer(200, "ok", [("X-Case", "UPPER")])


@pytest.fixture(scope="session")
def suite():
    with shared_box() as box, shared_box() as tight_box:
        suite = Suite(box, tight_box)
        yield suite
        suite.release.set()
        suite.edge.process.stop()
        suite.tight.process.stop()


@pytest.fixture
def spare():
    """For an edge of a test's own."""
    with shared_box() as box:
        yield box
