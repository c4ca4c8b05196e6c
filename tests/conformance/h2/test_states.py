# SPDX-License-Identifier: Apache-2.0
"""RFC 9113 where one frame is not enough to tell: what is kept up across streams and frames.
docs/conformance/rfc9113.md says which clause each is for."""
import struct

import pytest

from harness.box import wait
from harness.h2member import H2Member
from harness.setup import Edge
from harness.wire2 import (ACK, END_HEADERS, FLOW, GOAWAY, HEADERS, PADDED, PING, PROTOCOL, CONT,
                           Connection, block, data, frame, get, headers, reset, settings, window)

POST = get("/", method="POST")


def raw_heads(connection):
    """The field blocks' first frames, as they come."""
    seen, take = [], connection._take

    def note(kind, flags, number, payload):
        if kind in (HEADERS, CONT):
            seen.append((kind, flags & END_HEADERS, payload))
        take(kind, flags, number, payload)
    connection._take = note
    return seen


# ---- HPACK across heads (section 4.3, RFC 7541 section 4.2) ----

@pytest.mark.parametrize("size", [0, 60, 1000])
def test_a_smaller_table_is_acknowledged_by_the_next_head(suite, size):
    connection = Connection(suite.edge.address)
    assert connection.ask("/", 1).status == 200
    connection.send(settings((1, size)))
    assert connection.read(lambda: connection.acked == 2)
    connection.decoder.max_allowed_table_size = size  # it raises where the head says nothing
    for number in (3, 5):
        assert connection.ask("/", number).status == 200


def test_the_smallest_of_two_sizes_is_told_too(suite):
    connection = Connection(suite.edge.address)
    seen = raw_heads(connection)
    assert connection.ask("/", 1).status == 200
    connection.send(settings((1, 0)) + settings((1, 4096)))
    assert connection.read(lambda: connection.acked == 3)
    assert connection.ask("/", 3).status == 200
    assert seen[-1][2].startswith(b"\x20\x3f\xe1\x1f")


def bad_stream(connection, number=1):
    connection.send(headers(get("/", ("connection", "x"), method="POST"), number, end=False))
    assert connection.answer(number).reset == PROTOCOL


def test_heads_of_a_stream_that_was_reset_still_count(suite):
    """Section 4.3: every field block is decoded, whoever is to have it."""
    connection = Connection(suite.edge.address)
    bad_stream(connection)
    connection.send(headers(b"\x40\x01x\x01y", 1))  # trailers, into the table
    before = len(suite.member.requests)
    connection.send(headers(b"\x82\x86\x84\x01\x09h.example\xbe", 3))
    assert connection.answer(3).status == 200
    assert ("x", "y") in suite.member.requests[before].fields


def test_a_long_head_is_in_one_piece(suite):
    connection = Connection(suite.edge.address)
    seen = raw_heads(connection)
    one = connection.ask("/long")
    assert one.body == b"ok" and dict(one.fields)["x-long"] == "y" * 20000
    assert [kind for kind, _, _ in seen] == [HEADERS, CONT]
    assert [bool(end) for _, end, _ in seen] == [False, True]


# ---- streams (section 5.1) ----

def test_nothing_is_sent_on_a_stream_that_its_client_has_reset(suite):
    connection = Connection(suite.edge.address, pairs=[(4, 100)])
    connection.send(headers(get("/big")))
    one = connection.stream(1)
    assert connection.read(lambda: len(one.body) == 100)
    connection.send(reset(1) + settings((4, 1 << 20)) + window(1 << 20))
    assert connection.ping()
    assert connection.ask("/big", 3).body == b"x" * 200000
    assert (len(one.body), one.ended, one.reset) == (100, False, None)


def test_data_of_a_stream_that_was_reset_counts_for_the_connection_alone(suite):
    """Sections 5.1 and 6.9: more of it than its window of 1 MiB, which opens again."""
    connection = Connection(suite.edge.address)
    bad_stream(connection)
    for _ in range(20):
        connection.send(data(bytes(16384), 1, end=False) * 5)
        assert connection.ping()
    assert connection.goaway is None
    assert sum(by for number, by in connection.updates if number == 0) > 1 << 20
    connection.send(headers(POST, 3, end=False) + data(bytes(16384), 3))
    assert connection.answer(3).status == 200


def test_data_that_comes_before_the_reset_is_out_counts_for_the_connection_too(suite):
    connection = Connection(suite.edge.address)
    for number in range(1, 61, 2):
        connection.send(headers(get("/", ("connection", "x"), method="POST"), number, end=False) +
                        data(bytes(16384), number, end=False) * 5)
        assert connection.answer(number).reset == PROTOCOL and connection.ping()
    assert sum(by for number, by in connection.updates if number == 0) > 1 << 20
    assert connection.goaway is None and connection.ask("/", 101).status == 200


def test_a_goaway_of_an_unknown_code_is_one(suite):
    connection = Connection(suite.edge.address)
    connection.send(headers(get("/")) + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0xdeadbeef)))
    assert connection.answer(1).status == 200
    assert connection.read(lambda: connection.eof, 5)


# ---- SETTINGS and PING (sections 6.5.3 and 6.7) ----

@pytest.mark.parametrize("values, allowed", [((0, 100), 100), ((100, 0), 0), ((7, 0, 9), 9)])
def test_settings_are_taken_in_their_order(suite, values, allowed):
    connection = Connection(suite.edge.address)
    connection.send(settings(*((4, value) for value in values)) + headers(get("/big")))
    assert connection.read(lambda: connection.stream(1).status)
    assert connection.ping()
    assert len(connection.stream(1).body) == allowed


def test_each_settings_frame_is_acknowledged_once(suite):
    connection = Connection(suite.edge.address)
    for count in range(1, 6):
        connection.send(settings((4, 1000 + count)))
        assert connection.ping()
        assert connection.acked == count + 1


def test_a_ping_is_answered_once_and_its_answer_never(suite):
    connection = Connection(suite.edge.address)
    assert connection.ping()
    connection.send(frame(PING, ACK, 0, b"unasked!") + frame(PING, 0, 0, b"\0\xffpayl\r\n"))
    assert connection.ping()
    assert connection.pongs == [(ACK, b"12345678"), (ACK, b"\0\xffpayl\r\n"), (ACK, b"12345678")]


# ---- flow control of what comes (sections 6.1 and 6.9) ----

def test_padding_is_given_back(suite):
    """It counts for both windows, and nobody takes it."""
    connection = Connection(suite.edge.address)
    connection.send(headers(POST, end=False))
    for _ in range(30):
        connection.send(data(b"\xffx" + bytes(255), end=False, flags=PADDED) * 200)
        assert connection.ping()
        assert connection.goaway is None and connection.stream(1).reset is None
    connection.send(data(b"x"))
    assert connection.answer(1).status == 200
    assert len(suite.member.requests[-1].body) == 6001


def test_more_than_the_window_of_the_connection(spare):
    member = H2Member(lambda connection, request: None, values={4: 0})
    spare.closers.append(member.stop)
    edge = Edge(spare, {"web": {"members": [member.address], "protocol": "h2c",
                                "slow-start": 0}}, workers=1,
                limits={"http2-connection-window": "64KiB"})
    connection = Connection(edge.address)
    assert connection.read(lambda: connection.settings is not None) and connection.ping()
    connection.send(headers(POST, end=False))
    wait("the member's window", lambda: any(one.acked for one in member.connections))
    connection.send(data(bytes(16384), end=False) * 4)
    assert connection.ping() and connection.goaway is None, "all that there is"
    connection.send(data(b"x", end=False))
    assert connection.read(lambda: connection.goaway is not None)
    assert connection.goaway == FLOW
    edge.process.stop()


def test_a_head_behind_a_body_that_stands_is_read(suite):
    """Section 5.2.1: only DATA waits for windows."""
    connection = Connection(suite.edge.address, pairs=[(4, 0)])
    connection.send(headers(get("/trailers")))
    assert connection.read(lambda: connection.stream(1).status == 200)
    assert connection.ask("/204", 3).status == 204
    connection.send(headers(b"", 5, flags=0) + frame(CONT, END_HEADERS, 5, block(get("/204"))))
    assert connection.answer(5).status == 204
    connection.send(window(3, 1))
    assert connection.answer(1).trailers == [("x-t", "yes")]
