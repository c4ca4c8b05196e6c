# SPDX-License-Identifier: Apache-2.0
"""Requests as the member sees them, responses as the client does, and how fast they may go."""
import time

import pytest

from harness.wire2 import (CANCEL, INTERNAL, NO_ERROR, Connection, data, frame, get, headers,
                           reset, settings, window)


@pytest.fixture
def client(suite):
    connection = Connection(suite.edge.address)
    yield connection
    connection.close()


def seen(suite, path):
    return next(r for r in reversed(suite.member.requests) if r.path == path)


def test_the_member_sees_one_field_of_cookies(suite, client):
    one = client.ask("/cookies", 1, ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"))
    assert one.status == 200
    assert [v for n, v in seen(suite, "/cookies").fields if n.lower() == "cookie"] == ["a=1; b=2"]


def test_the_member_sees_http1(suite, client):
    assert client.ask("/seen?q=1", 1, ("te", "trailers"), ("x-y", "z")).status == 200
    fields = {n.lower(): v for n, v in seen(suite, "/seen?q=1").fields}
    assert fields["host"] == "h.example"
    assert fields["via"].startswith("2 ")
    assert fields["x-y"] == "z"
    assert fields["te"] == "trailers"
    assert not [n for n in fields if n.startswith(":")]


def test_a_body_without_length_goes_on_in_chunks(suite, client):
    client.send(headers(get("/chunks", method="POST"), end=False) + data(b"abc", end=False) +
                data(b"def", end=False) + headers([("x-t", "1")]))
    assert client.answer(1).status == 200
    request = seen(suite, "/chunks")
    assert request.body == b"abcdef"
    assert {n.lower(): v for n, v in request.fields}["transfer-encoding"] == "chunked"


def test_a_long_body_opens_the_window_as_it_is_taken(suite, client):
    body = bytes(range(256)) * 2400
    client.read(lambda: client.settings is not None)
    client.send(headers(get("/long", method="POST"), end=False))
    sent, may = 0, [client.settings[4], 65535]

    def budget():
        given = client.updates
        return min(may[0] + sum(by for number, by in given if number == 1),
                   may[1] + sum(by for number, by in given if number == 0)) - sent
    while sent < len(body):
        assert client.read(lambda: budget() > 0)
        piece = body[sent:sent + min(budget(), 16384)]
        sent += len(piece)
        client.send(data(piece, end=sent == len(body)))
    assert client.answer(1).status == 200
    assert seen(suite, "/long").body == body


def test_names_are_in_lower_case_and_nothing_is_of_the_connection(client):
    one = client.ask("/hops")
    names = [name for name, _ in one.fields]
    assert names == [name.lower() for name in names]
    assert not {"connection", "keep-alive", "transfer-encoding", "x-hop"} & set(names)
    assert names[0] == ":status"


def test_head_has_no_data(client):
    one = client.ask("/big", method="HEAD")
    assert (one.status, one.body, dict(one.fields)["content-length"]) == (200, b"", "200000")


def test_204_has_no_data(client):
    one = client.ask("/204")
    assert (one.status, one.body, one.ended) == (204, b"", True)


def test_interim_responses(client):
    one = client.ask("/early")
    assert one.interim == [[(":status", "103"), ("link", "</a>")]]
    assert (one.status, one.body) == (200, b"ok")


def test_trailers(client):
    one = client.ask("/trailers")
    assert (one.body, one.trailers) == (b"abc", [("x-t", "yes")])


def test_a_cut_response_never_looks_whole(client):
    one = client.ask("/cut")
    assert (one.reset, one.ended) == (INTERNAL, False)
    assert client.ask("/", 3).status == 200


@pytest.mark.parametrize("more", [[], [("trailer", "x-t")]], ids=["plain", "trailers"])
def test_an_answer_before_the_body_resets_without_error(client, more):
    client.send(headers(get("/", ("content-length", "2000000"), *more, method="POST"), end=False))
    one = client.answer(1)
    assert one.status == 413 and one.ended
    client.read(lambda: one.reset is not None)
    assert one.reset == NO_ERROR
    assert client.ask("/", 3).status == 200


def test_many_at_once(client):
    client.send(b"".join(headers(get(f"/n{i}"), 2 * i + 1) for i in range(90)))
    for i in range(90):
        one = client.answer(2 * i + 1)
        assert (one.status, one.body) == (200, b"ok")


def test_data_frames_are_no_longer_than_allowed(suite):
    client = Connection(suite.edge.address, pairs=[(4, 1 << 20)])
    client.send(window(1 << 20))
    sizes, take = [], client._take

    def note(kind, flags, number, payload):
        if kind == 0:
            sizes.append(len(payload))
        take(kind, flags, number, payload)
    client._take = note
    assert client.ask("/big").body == b"x" * 200000
    assert max(sizes) == 16384


# ---- windows (section 6.9) ----

def stands_still(client, number, size):
    assert client.read(lambda: len(client.stream(number).body) >= size)
    assert client.ping(bytes([number % 256] * 8))
    assert len(client.stream(number).body) == size


def test_the_window_of_a_stream(suite):
    client = Connection(suite.edge.address, pairs=[(4, 10)])
    client.send(headers(get("/big")))
    stands_still(client, 1, 10)
    client.send(window(5, 1))
    stands_still(client, 1, 15)
    client.send(settings((4, 20)))
    stands_still(client, 1, 25)


def test_the_window_of_the_connection(suite):
    client = Connection(suite.edge.address, pairs=[(4, 1 << 20)])
    client.send(headers(get("/big")))
    stands_still(client, 1, 65535)
    client.send(window(1000))
    stands_still(client, 1, 66535)


@pytest.mark.parametrize("step", [1, 100, 5000, 40000])
def test_a_file_goes_out_as_the_windows_allow(suite, step):
    client = Connection(suite.edge.address, pairs=[(4, 0)])
    client.send(headers(get("/files/big")) + window(1 << 20))
    one = client.stream(1)
    assert client.read(lambda: one.status == 200)
    stands_still(client, 1, 0)
    for count in range(1, 8):
        client.send(window(step, 1))
        stands_still(client, 1, count * step)
    client.send(window(1 << 20, 1))
    assert client.answer(1).ended
    assert one.body == bytes(range(256)) * 2000


def test_a_window_below_zero(suite):
    client = Connection(suite.edge.address, pairs=[(4, 1000)])
    client.send(headers(get("/big")))
    stands_still(client, 1, 1000)
    client.send(settings((4, 0)) + window(1000, 1))
    client.send(frame(6, 0, 0, b"negative"))
    stands_still(client, 1, 1000)
    client.send(window(7, 1))
    stands_still(client, 1, 1007)


def test_a_stream_that_stands_holds_up_no_other(suite):
    client = Connection(suite.edge.address, pairs=[(4, 0)])
    client.send(headers(get("/big")))
    for number in (3, 5, 7):
        client.send(headers(get("/"), number) + window(100, number))
        assert client.answer(number).body == b"ok"
    assert client.stream(1).body == b""
    client.send(settings((4, 1 << 20)) + window(1 << 20))
    assert client.answer(1).body == b"x" * 200000


def test_a_reset_frees_the_request(suite):
    client = Connection(suite.edge.address, pairs=[(4, 0)])
    client.send(headers(get("/big")) + reset(1, CANCEL))
    assert client.ping()
    client.send(headers(get("/"), 3) + window(100, 3))
    assert client.answer(3).body == b"ok"
    assert client.stream(1).body == b""


# ---- priorities (RFC 9218) ----

def held_up(suite, fields, update=b""):
    client = Connection(suite.edge.address, pairs=[(4, 1 << 20)])
    client.send(headers(get("/big"), 1))
    stands_still(client, 1, 65535)  # the window of the connection is used up
    order, take = [], client._take

    def note(kind, flags, number, payload):
        if kind == 0 and (not order or order[-1] != number):
            order.append(number)
        take(kind, flags, number, payload)
    client._take = note
    client.send(reset(1))
    for index, more in enumerate(fields):
        client.send(headers(get("/big", *more), 3 + 2 * index))
    for index in range(len(fields)):
        assert client.read(lambda: client.stream(3 + 2 * index).status)
    client.send(update)
    assert client.ping(b"all here")
    time.sleep(0.1)  # the member's first bytes of each are here
    client.send(window(1 << 20))
    for index in range(len(fields)):
        client.answer(3 + 2 * index)
    return order


def test_urgency_comes_first(suite):
    assert held_up(suite, [[("priority", "u=5")], [("priority", "u=1")]])[0] == 5


def test_an_update_changes_it(suite):
    update = frame(16, 0, 0, b"\0\0\0\3u=0")
    assert held_up(suite, [[("priority", "u=5")], [("priority", "u=1")]], update)[0] == 3


def test_incremental_ones_share(suite):
    order = held_up(suite, [[("priority", "u=3, i")], [("priority", "u=3, i")]])
    assert len(order) > 4
