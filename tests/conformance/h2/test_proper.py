# SPDX-License-Identifier: Apache-2.0
"""What the tests hold every frame of the edge to (harness/proper2.py) finds each of these."""
import pytest

from harness.proper2 import Improper, Sender
from harness.wire2 import (ACK, CONT, END_HEADERS, GOAWAY, PADDED, PING, PUSH, RST, SETTINGS,
                           WINDOW, data, frame, headers, reset, settings, window)

HEAD = headers(b"", end=False)
BAD = [
    frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK), settings() + frame(PUSH, 4, 1, bytes(4)),
    settings() + frame(99), settings((2, 1)), settings() + settings((2, 1)),
    frame(SETTINGS, 0, 0, bytes(5)), settings() + frame(SETTINGS, ACK, 0, bytes(6)),
    settings() + frame(PING, 2, 0, bytes(8)), settings() + frame(PING, ACK, 0, bytes(7)),
    settings() + frame(PING, 0, 0x80000000, bytes(8)), settings() + frame(PING, 0, 1, bytes(8)),
    settings() + frame(RST, 0, 0, bytes(4)), settings() + frame(RST, 0, 1, bytes(3)),
    settings() + reset() + reset(), settings() + HEAD + reset() + data(b"x"),
    settings() + data(b"x"), settings() + headers(b"") + data(b"x"),
    settings() + headers(b"", 2), settings() + HEAD + data(bytes(16385)),
    settings() + window(0), settings() + window(1 << 31), settings() + frame(WINDOW, 0, 0, b"1"),
    settings() + frame(GOAWAY, 0, 0, b"\0\0\0\1" + bytes(4)) +
    frame(GOAWAY, 0, 0, b"\0\0\0\3" + bytes(4)),
    settings() + frame(CONT, END_HEADERS, 1), settings() + headers(b"", flags=0) + data(b"x"),
    settings() + headers(b"", flags=0) + frame(CONT, END_HEADERS, 3),
    settings() + headers(b"", flags=0) + frame(PING, 0, 0, bytes(8)),
    settings() + HEAD + data(b"\0x", flags=PADDED | 0x40)]
GOOD = [
    settings((3, 9)) + frame(SETTINGS, ACK) + HEAD + data(b"x", end=False) + headers(b"") +
    frame(WINDOW, 0, 0, b"\0\0\0\1") + frame(PING, ACK, 0, bytes(8)),
    settings() + headers(b"", end=False, flags=0) + frame(CONT, 0, 1) +
    frame(CONT, END_HEADERS, 1) + data(b"\0x", flags=PADDED) + reset(),
    settings() + frame(GOAWAY, 0, 0, bytes(8)) + frame(GOAWAY, 0, 0, bytes(8))]


def feed(raw):
    sender = Sender(True)
    while raw:
        length = int.from_bytes(raw[:3], "big")
        sender.frame(raw[:9], raw[9:9 + length], 16384)
        raw = raw[9 + length:]


@pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
def test_frames_that_must_not_be_sent(raw):
    with pytest.raises(Improper):
        feed(raw)


@pytest.mark.parametrize("raw", GOOD, ids=range(len(GOOD)))
def test_frames_that_may_be_sent(raw):
    feed(raw)


STATUS = (":status", "200")
REQUEST = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")]


@pytest.mark.parametrize("is_server, trailers, fields", [
    (True, False, [STATUS, ("X-Upper", "1")]), (True, False, [STATUS, ("connection", "x")]),
    (True, False, [("x", "y"), STATUS]), (True, False, [STATUS, STATUS]), (True, False, []),
    (True, False, [(":status", "101")]), (True, False, [STATUS, ("te", "trailers")]),
    (True, False, [STATUS, ("a", " b")]), (True, False, [STATUS, ("a", "b\nc")]),
    (True, False, REQUEST), (True, True, [STATUS]), (False, True, [(":path", "/")]),
    (False, False, REQUEST[1:] + [(":method", "GET"), (":other", "1")]),
    (False, False, REQUEST[:1] + REQUEST[2:]), (False, False, REQUEST + [("te", "gzip")]),
    (False, False, REQUEST[:3] + [(":authority", "u@h")]),
    (False, False, REQUEST + [("host", "x")]),
    (False, False, REQUEST[:2] + [(":path", "x")]), (False, False, REQUEST + [("upgrade", "x")]),
    (False, False, REQUEST + [(":protocol", "websocket")])])
def test_fields_that_must_not_be_sent(is_server, trailers, fields):
    with pytest.raises(Improper):
        Sender(is_server).fields(fields, trailers)


def test_fields_that_may_be_sent():
    Sender(True).fields([STATUS, ("a", "b c"), ("d", "")], False)
    Sender(True).fields([("a", "b")], True)
    Sender(False).fields(REQUEST + [("te", "trailers")], False)
    Sender(False).fields([(":method", "CONNECT"), *REQUEST[1:], (":protocol", "websocket")], False)
