# SPDX-License-Identifier: Apache-2.0
"""The tables against the running binary. See README.md."""
import pytest

import others
import strict
from table import tables

ROWS = [(topic, row) for topic, rows in tables() for row in rows]


def test_there_are_enough_rows_and_names_are_unique():
    assert len(ROWS) >= 250
    names = [(topic, row.name) for topic, row in ROWS]
    assert len(set(names)) == len(names)


CODED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("coding", [
    b"gzip, chunked", b"xchunked", b"identity", b"chunked, gzip", b"Chunked", b"chunked, chunked",
    b"", b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nContent-Length: 3"])
def test_the_reader_takes_one_coding_of_a_request(coding):
    assert strict.request(CODED % b"chunked")[0].complete
    with pytest.raises(strict.Bad):
        strict.request(CODED % coding)


def test_the_reader_takes_more_codings_of_a_response():
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\n"
    for coding in (b"chunked", b"gzip, chunked", b"x, Chunked"):
        assert strict.responses(data % coding, ["GET"], False)[0][0].complete
    with pytest.raises(strict.Bad):
        strict.responses(data % b"xchunked", ["GET"], False)


@pytest.mark.parametrize("topic,row", ROWS, ids=[f"{t}: {r.name} [{r.section}]" for t, r in ROWS])
def test_row(suite, topic, row):
    complaints = suite.complaints.get(id(row), [])
    assert not complaints, f"{len(complaints)} runs:\n" + "\n".join(complaints[:5])


def test_nothing_ambiguous_reached_the_origin(suite):
    assert not suite.line.bad


def test_the_edge_serves_on(suite):
    """After all of it, plain requests get their own answers."""
    assert suite.serves(64) == []


# In this file, because all of it is run once a process: files may run side by side.
def test_h11_reads_the_same_request(suite):
    others.h11_reads_the_same(suite)


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_servers_read_the_same_request(suite, name):
    others.server_reads_the_same(suite, name)
