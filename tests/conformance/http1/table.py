# SPDX-License-Identifier: Apache-2.0
"""What a row of the tables is made of. See README.md.

In raw bytes {P} stands for a path of this run's own, {H} for the host.
"""
import importlib
import pathlib

HOST = b"edge.test"


def tables():
    """Each topic with its rows."""
    folder = pathlib.Path(__file__).resolve().parent / "vectors"
    for path in sorted(folder.glob("re*.py")):
        yield path.stem, importlib.import_module(f"vectors.{path.stem}").ROWS


class Forwarded:
    """One request at the origin, and its answer at the client."""

    def __init__(self, body=b"", method=None, target=b"", host=HOST, have=None, absent=(),
                 trailers=None, closes=False, path=True):
        self.body, self.method, self.target, self.host = body, method, target, host
        self.have, self.absent, self.trailers = have or {}, absent, trailers
        self.closes, self.path = closes, path


class Refused:
    """Answered at the edge with one of these, nothing whole at the origin, connection closed."""
    closes = True

    def __init__(self, *statuses):
        self.statuses = statuses or (400,)


class Answered:
    """Answered at the edge; the connection goes on unless it `closes`."""

    def __init__(self, *statuses, closes=False, have=None, absent=()):
        self.statuses, self.closes = statuses, closes
        self.have, self.absent = have or {}, absent


class Waits:
    """Not a whole request yet: no answer, nothing whole at the origin."""
    closes = False


class Got:
    """The member's response as the client gets it."""

    def __init__(self, status=200, body=b"", have=None, absent=(), trailers=(), interim=(),
                 closes=False):
        self.status, self.body, self.have, self.absent = status, body, have or {}, absent
        self.trailers, self.interim, self.closes = list(trailers), list(interim), closes


class Bad:
    """502; the connection to the member is dropped, nothing is cached."""
    closes = False


class Cut:
    """Never whole at the client: broken off, or 502 where nothing had begun. Nothing is cached."""
    closes = None


class Row:
    """cuts: sent in two parts, too (up to that offset, where it is a number). Not where the edge
    may wait for more before it refuses. fin: the client half-closes behind it."""

    def __init__(self, name, section, raw, expect, method="GET", cuts=True, fin=False):
        self.name, self.section, self.raw, self.expect = name, section, raw, expect
        self.method, self.cuts, self.fin = method, cuts, fin
        self.topic = None


class ReplyRow(Row):
    """then: what the member does behind its bytes. request: what the client asks with. raw may be a
    list of (seconds, bytes), which is sent as it is, with nothing else under way."""

    def __init__(self, name, section, raw, expect, method="GET", then="keep", request=None,
                 early=False):
        super().__init__(name, section, raw, expect, method)
        self.then, self.early = then, early
        self.request = request or (method.encode() + b" {P} HTTP/1.1\r\nHost: {H}\r\n\r\n")


def get(fields=b"", line=b"GET {P} HTTP/1.1", host=b"Host: {H}\r\n"):
    return line + b"\r\n" + host + fields + b"\r\n"


def post(fields, body=b"", version=b"1.1"):
    return b"POST {P} HTTP/" + version + b"\r\nHost: {H}\r\n" + fields + b"\r\n" + body


def chunked(body):
    return post(b"Transfer-Encoding: chunked\r\n", body)
