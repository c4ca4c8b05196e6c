# SPDX-License-Identifier: Apache-2.0
"""RFC 9113 from the preface to the fields, row by row (rows.py)."""
import pytest

import rows
from harness.wire2 import (NO_ERROR, PREFACE, PROTOCOL, SETTINGS, ACK, Connection, frame, get,
                           headers, settings)

ALL = [*rows.FRAMES, *rows.HPACK, *rows.MESSAGES]
LATER = 101  # a stream that no row uses


def serves_on(connection):
    assert connection.ping(), "no answer to a PING"
    one = connection.ask("/", LATER)
    assert (one.status, one.body) == (200, b"ok"), vars(one)
    assert connection.goaway is None


def test_rows_are_enough():
    names = [row[0] for row in ALL]
    assert len(set(names)) == len(names) >= 140


@pytest.mark.parametrize("row", ALL, ids=lambda row: row[0])
def test_row(suite, row):
    _, section, raw, (kind, codes) = row
    connection = Connection(suite.edge.address)
    connection.send(raw)
    if kind == "alive":
        serves_on(connection)
    elif kind in ("fine", "status"):
        one = connection.answer(1)
        assert one.status == (codes or 200), (section, vars(one), connection.goaway)
        assert one.ended
        serves_on(connection)
    elif kind == "closed":  # nobody may answer a stream that its client has reset
        connection.send(frame(6, 0, 0, b"abcdefgh"))
        connection.read(lambda: connection.goaway is not None or connection.pongs)
        assert connection.goaway in (None, *codes)
        assert connection.stream(1).status is None
    else:
        one = connection.answer(1)
        code = connection.goaway if connection.goaway is not None else one.reset
        assert code in codes, (section, vars(one), connection.goaway, connection.eof)
        if connection.goaway is None:
            assert kind != "ends", "a stream error is not enough"
            serves_on(connection)
        else:
            assert kind != "resets"
            assert connection.read(lambda: connection.eof, 5), "not closed behind GOAWAY"
    connection.close()


@pytest.mark.parametrize("raw", [
    PREFACE[:-1] + b"X" + settings(), PREFACE.replace(b"2.0", b"2.1") + settings(),
    b"PRI * HTTP/2.0\r\n\r\n" + settings(), PREFACE.lower() + settings()])
def test_a_wrong_preface_is_no_http2(suite, raw):
    connection = Connection(suite.edge.address, greet=False)
    connection.send(raw + headers(get("/")))
    got = b""
    connection.sock.settimeout(5)
    try:
        while chunk := connection.sock.recv(4096):
            got += chunk
    except ConnectionError:
        pass
    assert got == b"" or got.startswith(b"HTTP/1.1 4") or got.startswith(b"HTTP/1.1 5"), got


def test_the_first_frame_is_settings(suite):
    connection = Connection(suite.edge.address, greet=False)
    connection.send(PREFACE + headers(get("/")))
    connection.read(lambda: connection.goaway is not None)
    assert connection.goaway == PROTOCOL


def test_an_ack_is_no_greeting(suite):
    connection = Connection(suite.edge.address, greet=False)
    connection.send(PREFACE + frame(SETTINGS, ACK))
    connection.read(lambda: connection.goaway is not None)
    assert connection.goaway == PROTOCOL


def test_the_preface_in_pieces(suite):
    connection = Connection(suite.edge.address, greet=False)
    for byte in PREFACE + settings():
        connection.send(bytes([byte]))
    serves_on(connection)


def test_our_settings(suite):
    connection = Connection(suite.edge.address, pairs=[(3, 7)])
    assert connection.read(lambda: connection.settings and connection.acked)
    assert connection.settings[3] == 100
    assert connection.settings[4] == 256 << 10
    assert connection.settings[6] == 32 << 10
    assert connection.settings[8] == connection.settings[9] == 1
    assert 2 not in connection.settings  # section 6.5.2: a server must not
    serves_on(connection)


def test_goaway_of_the_client_ends_it_behind_the_last_answer(suite):
    connection = Connection(suite.edge.address)
    connection.send(headers(get("/")) + frame(7, 0, 0, bytes(8)))
    one = connection.answer(1)
    assert one.status == 200
    assert connection.read(lambda: connection.eof, 5)
    assert connection.goaway in (None, NO_ERROR)
