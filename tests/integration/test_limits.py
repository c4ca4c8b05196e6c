# SPDX-License-Identifier: Apache-2.0
"""Limits on what clients send, each with its status and counter; and requests in a circle."""
import re

import pytest

from harness import http1
from harness.box import wait
from harness.setup import Edge, cluster, simple

ROUTES = [{"cluster": "web", "body-max": "1KiB", "name": "small"},
          {"cluster": "web", "body-max": "4KiB", "name": "large", "match": {"path": "/large/"}},
          {"cluster": "web", "body-max": 0, "name": "any", "match": {"path": "/any/"}}]


def counter(edge, name):
    with http1.Client(edge.admin()) as admin:
        text = admin.request("GET", "/metrics").text
    return sum(int(n) for n in re.findall(r"^freshet_%s_total(?:{.*})? (\d+)$" % name, text, re.M))


def refused(edge, data, status, name):
    before = counter(edge, name)
    with http1.Client(edge.address) as client:
        client.send(data)
        assert client.read_response().status == status
        assert client.at_end()
    wait("the counter", lambda: counter(edge, name) == before + 1)


def test_heads(box):
    edge, member = simple(box, limits={"request-line": "1KiB", "head": "4KiB", "fields": 20})
    host = b"Host: a\r\n"
    refused(edge, b"GET /" + b"a" * 1024 + b" HTTP/1.1\r\n" + host + b"\r\n", 414,
            "request_lines_too_long")
    refused(edge, b"GET / HTTP/1.1\r\n" + host + b"X: " + b"a" * 4096 + b"\r\n\r\n", 431,
            "heads_too_long")
    refused(edge, b"GET / HTTP/1.1\r\n" + host + b"X: a\r\n" * 20 + b"\r\n", 431, "too_many_fields")
    assert member.count() == 0


@pytest.mark.parametrize("path,most", [("/", 1024), ("/large/", 4096)])
def test_bodies_by_route(box, path, most):
    edge, member = simple(box, routes=ROUTES)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode()
    refused(edge, head + b"Content-Length: %d\r\n\r\n" % (most + 1), 413, "bodies_too_long")
    refused(edge, head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (most + 1) +
            b"a" * (most + 1) + b"\r\n", 413, "bodies_too_long")
    assert member.count() == 0
    assert http1.fetch(edge.address, path).status == 200
    with http1.Client(edge.address) as client:
        assert client.request("POST", path, body=b"a" * most).status == 200
        assert client.request("POST", "/any/", body=b"a" * 100000).status == 200


def test_a_request_that_comes_back_is_ended(box):
    port = box.port()
    edge = Edge(box, {"web": cluster([f"127.0.0.1:{port}"], health=None)}, port=port)
    with http1.Client(edge.address) as client:
        assert client.request().status == 508
        assert client.request(path="/again").status == 508
    assert counter(edge, "loops") == 2


def test_two_edges_in_a_row_are_no_circle(box):
    member = box.origin("m")
    second = Edge(box, {"web": cluster([member], health=None)}, name="second", state="./second")
    first = Edge(box, {"web": cluster([second.address], health=None)}, name="first",
                 state="./first")
    assert http1.fetch(first.address).status == 200
