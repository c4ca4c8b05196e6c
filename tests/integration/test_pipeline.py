# SPDX-License-Identifier: Apache-2.0
"""Many requests at once on one connection: their answers in order, whoever gives them, and none
that waits for the next request. Small ones go out together (`loop_send_more`)."""
import pytest

from harness import http1
from harness.origin import Answer
from harness.secured import TlsEdge

SIZES = {"/small": 100, "/edge": 3900, "/large": 9000, "/huge": 300_000}


def answer(request):
    path = request.path
    size = SIZES.get(path.split("?")[0], 10)
    fields = [] if path.startswith("/live") else [("Cache-Control", "max-age=60"),
                                                  ("ETag", f'"{path}"')]
    return Answer(200, (path + ".").encode().ljust(size, b"x")[:max(size, len(path) + 1)], fields)


@pytest.fixture(params=["plain", "tls"])
def opened(request, box, authority):
    setup = TlsEdge(box, authority, answer=answer, cache={"memory": "8MiB"})
    for path in SIZES:
        http1.fetch(setup.plain, path)

    def connect():
        return setup.open() if request.param == "tls" else http1.Client(setup.plain)
    return connect


def ask(path, method="GET", fields=(), body=None):
    return http1.head(method, path, fields, body) + (body or b""), method, path


MIXED = [ask("/small"), ask("/edge"), ask("/small", "HEAD"), ask("/large"),
         ask("/small", fields=[("If-None-Match", '"/small"')]), ask("/live/a"), ask("/small"),
         ask("/live/b", "POST", body=b"of some length"), ask("/huge"), ask("/edge"),
         ask("/small", fields=[("Range", "bytes=0-3")]), ask("/live/c"), ask("/small")]


def check(client, asked):
    for _, method, path in asked:
        response = client.read_response(method)
        assert response.status in (200, 206, 304)
        if method != "HEAD" and response.status == 200:
            assert response.body.startswith(path.encode() + b".")
            assert len(response.body) == max(SIZES.get(path, 10), len(path) + 1)
        if response.status == 206:
            assert response.body == b"/sma"


def test_every_answer_in_its_place(opened):
    with opened() as client:
        for rounds in (1, 5):
            client.send(b"".join(text for text, _, _ in MIXED * rounds))
            check(client, MIXED * rounds)


def test_a_head_that_is_not_whole_holds_nothing_back(opened):
    """Half of the next request is here; the answers in front of it do not wait for the rest."""
    few = [ask("/small")] * 6
    text, _, _ = ask("/edge")
    for cut in (1, 20, len(text) - 1):
        with opened() as client:
            client.send(b"".join(one for one, _, _ in few) + text[:cut])
            check(client, few)
            client.send(text[cut:])
            check(client, [ask("/edge")])


def test_the_last_one_closes(opened):
    last = ask("/small", fields=[("Connection", "close")])
    with opened() as client:
        client.send(b"".join(text for text, _, _ in [*MIXED, last]) + ask("/never")[0])
        check(client, [*MIXED, last])
        assert client.at_end()


def test_what_is_no_request_comes_behind_the_answers(opened):
    few = [ask("/small")] * 5
    with opened() as client:
        client.send(b"".join(text for text, _, _ in few) + b"no request\r\n\r\n")
        check(client, few)
        assert client.read_response().status == 400
        assert client.at_end()


def test_a_thousand_at_once(opened):
    """More answers than any buffer holds; the client reads behind its last word."""
    many = [ask("/small"), ask("/edge")] * 500
    with opened() as client:
        client.send(b"".join(text for text, _, _ in many))
        check(client, many)
