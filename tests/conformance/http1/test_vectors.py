# SPDX-License-Identifier: Apache-2.0
"""The tables against the running binary. See README.md."""
import pytest

import others
from table import tables

ROWS = [(topic, row) for topic, rows in tables() for row in rows]


def test_there_are_enough_rows_and_names_are_unique():
    assert len(ROWS) >= 250
    names = [(topic, row.name) for topic, row in ROWS]
    assert len(set(names)) == len(names)


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
