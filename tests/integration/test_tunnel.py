# SPDX-License-Identifier: Apache-2.0
"""Upgraded connections (WebSocket and the like): bytes both ways behind a 101, and only then."""
import socket
import threading
import time

import pytest

from harness import http1
from harness.box import wait
from harness.setup import Edge, cluster, metric
from harness.tunnel import ASK, Echo, open_tunnel

def tunnel(box, first=b"", **more):
    member = Echo(box, first)
    edge = Edge(box, {"web": cluster([member.address], health=None, **more)})
    return edge, member


def test_bytes_go_both_ways_untouched(box):
    edge, member = tunnel(box, first=b"hello ")
    with open_tunnel(edge, behind=b"early ") as client:
        assert client.read_exactly(12) == b"hello early "
        for data in (b"\x81\x05hello", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 2000):
            threading.Thread(target=client.send, args=(data,)).start()
            assert client.read_exactly(len(data)) == data
    assert b"\r\nConnection: upgrade" in member.heads[0]
    wait("the member to see the end", lambda: member.ended)


def test_one_side_may_end_first(box):
    edge, member = tunnel(box)
    with open_tunnel(edge) as client:
        client.send(b"last words")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_exactly(13) == b"last wordsbye"
        assert client.at_end()
    assert member.ended == ["fin"]


def test_silence_ends_it(box):
    edge, _ = tunnel(box, timeouts={"tunnel": "1s"})
    with open_tunnel(edge) as client:
        began = time.monotonic()
        for _ in range(3):  # bytes put it off
            client.send(b"x")
            assert client.read_exactly(1) == b"x"
            time.sleep(0.5)
        assert client.at_end()
        assert 2 - 0.1 < time.monotonic() - began < 10  # a second behind the last of them
    wait("it to be counted", lambda: metric(edge, "tunnel_timeouts") == 1)


@pytest.mark.parametrize("behind", [b"", b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"])
def test_without_a_101_the_next_request_is_one(box, behind):
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([member], health=None)})
    with http1.Client(edge.address) as client:
        client.send(ASK + behind)
        assert client.read_response().text == "m GET /chat\n"
        if not behind:
            client.send(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.read_response().text == "m GET /next\n"
