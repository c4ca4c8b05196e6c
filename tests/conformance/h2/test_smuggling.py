# SPDX-License-Identifier: Apache-2.0
"""Nothing of a request over HTTP/2 becomes anything else over HTTP/1.1, judged by the bytes that a
member receives: exactly what was asked, in its place, or nothing at all.
"""
import re
import string

import pytest

from harness.box import shared_box
from harness.listener import Listener
from harness.setup import Edge, cluster
from harness.wire2 import PROTOCOL, Connection, data, get, headers, literal

PLAIN = set((string.digits + string.ascii_letters).encode())  # what must pass anywhere
TOKEN = PLAIN | set(b"!#$%&'*+-.^_`|~")
LATER = 101


class Recorder(Listener):
    """A member as strict as can be: every byte that it got belongs to a request, and is kept."""

    def __init__(self, closers):
        self.seen, self.stray = [], []  # whole requests; what is part of none
        super().__init__(closers)

    def serve(self, sock):
        head, buffer, in_body = b"", b"", False

        def until(have):
            nonlocal buffer
            while not have():
                got = sock.recv(65536)
                if not got:
                    raise EOFError
                buffer += got
        try:
            while True:
                until(lambda: b"\r\n\r\n" in buffer)
                head, buffer = buffer.split(b"\r\n\r\n", 1)
                lines = head.split(b"\r\n")
                lower = [line.lower() for line in lines]
                lengths = [line.split(b":")[1] for line in lower
                           if line.startswith(b"content-length:")]
                chunked = b"transfer-encoding: chunked" in lower
                body, in_body = b"", True
                if lengths:
                    until(lambda: len(buffer) >= int(lengths[0]))
                    body, buffer = buffer[:int(lengths[0])], buffer[int(lengths[0]):]
                elif chunked:
                    until(lambda: buffer.startswith(b"0\r\n") or b"\r\n0\r\n" in buffer)
                    until(lambda: buffer.endswith(b"\r\n\r\n"))
                    body, buffer = buffer, b""
                in_body = False
                self.seen.append((settled(lines), body))
                if len(lengths) + chunked > 1 or b"\n" in head.replace(b"\r\n", b""):
                    self.stray.append(head)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except ValueError:  # a length that is none
            self.stray.append(head)
        except (EOFError, OSError):
            if buffer and not in_body:  # a request that is cut is never whole: that is all right
                self.stray.append(buffer)


def settled(lines):
    """What is another in every request is of one form, and that is all that is asked of it."""
    for pattern, text in ((rb"X-Request-Id: [0-9a-f]{32}", b"X-Request-Id: *"),
                          (rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", b"traceparent: *")):
        lines = [text if re.fullmatch(pattern, one) else one for one in lines]
    return lines


class Line:
    """An edge before a recorder, and what a plain request looks like there."""

    def __init__(self, box):
        self.member = Recorder(box.closers)
        self.edge = Edge(box, {"web": cluster([self.member], health=None, eject={"failures": 0})})
        self.connection = None
        self.number = self.bad = 0
        self.plain = self.passed(headers(get("/"), 1))[0]

    def ask(self, raw):
        """raw(number) on a stream of its own; what the member got of it."""
        if self.connection is None or self.bad > 20 or self.connection.goaway is not None:
            self.connection = Connection(self.edge.address)
            self.number, self.bad = 1, 0
        before, number = len(self.member.seen), self.number
        self.number += 2
        self.connection.send(raw(number) if callable(raw) else raw)
        one = self.connection.answer(number)
        if one.status != 200:
            self.bad += 1
        assert not self.member.stray, self.member.stray
        return one, self.member.seen[before:]

    def passed(self, raw):
        one, seen = self.ask(raw)
        assert one.status == 200 and len(seen) == 1, (vars(one), seen)
        return seen[0]

    def refused(self, raw):
        one, seen = self.ask(raw)
        assert seen == [] and one.status != 200, (vars(one), seen)
        return one

    def exact(self, raw, first=b"GET / HTTP/1.1", more=(), host=b"h.example", body=b""):
        """The member got the plain request with this first line and these further lines."""
        lines, got = self.passed(raw)
        want = [first, b"Host: " + host, *self.plain[2:], *more]
        assert lines[:2] == want[:2], lines
        assert sorted(lines) == sorted(want), (lines, want)
        assert got == body


@pytest.fixture(scope="module")
def line():
    with shared_box() as box:
        line = Line(box)
        yield line
        line.edge.process.stop()


def with_fields(*more):
    return lambda number: headers(get("/", *more), number)


# ---- every octet, everywhere ----

def test_every_octet_in_a_name(line):
    for octet in range(256):
        name = b"a" + bytes([octet]) + b"z"
        if octet in TOKEN and not 65 <= octet <= 90:
            line.exact(with_fields((name, "v")), more=[name + b": v"])
        else:
            assert line.refused(with_fields((name, "v"))).reset == PROTOCOL


def test_every_octet_in_a_value(line):
    for octet in range(256):
        value = b"a" + bytes([octet]) + b"z"
        if octet in (0, 10, 13):  # RFC 9113 section 8.2.1
            line.refused(with_fields(("x", value)))
            continue
        one, seen = line.ask(with_fields(("x", value)))
        assert seen == [] or b"x: " + value in seen[0][0], (octet, seen)
        assert octet == 9 or 32 <= octet != 127 or seen == [], octet
        assert seen or (one.status != 200 and octet not in PLAIN), octet


@pytest.mark.parametrize("shape", [b"%sa", b"a%s", b"%s"], ids=["before", "behind", "alone"])
def test_every_octet_at_the_ends_of_a_value(line, shape):
    for octet in range(256):
        value = shape.replace(b"%s", bytes([octet]))
        if octet in (0, 9, 10, 13, 32):
            assert line.refused(with_fields(("x", value))).reset == PROTOCOL
        else:
            one, seen = line.ask(with_fields(("x", value)))
            assert seen == [] or b"x: " + value in seen[0][0], (octet, seen)
            assert seen or (one.status != 200 and octet not in PLAIN), octet


def test_every_octet_in_a_method(line):
    for octet in range(256):
        method = b"G" + bytes([octet]) + b"T"
        raw = lambda number: headers(get("/", method=method), number)  # noqa: B023, E731
        if octet in TOKEN:
            line.exact(raw, method + b" / HTTP/1.1")
        else:
            line.refused(raw)


def test_every_octet_in_a_path(line):
    for octet in range(256):
        path = b"/a" + bytes([octet]) + b"z"
        one, seen = line.ask(lambda number: headers(get(path), number))  # noqa: B023
        if octet <= 32 or octet in (35, 127):
            assert seen == [] and one.status != 200, (octet, seen)
        assert seen == [] or seen[0][0][0] == b"GET " + path + b" HTTP/1.1", (octet, seen)
        assert seen or octet not in PLAIN, octet


def test_every_octet_in_an_authority(line):
    for octet in range(256):
        host = b"a" + bytes([octet]) + b"z"
        one, seen = line.ask(lambda number: headers(get(authority=host), number))  # noqa: B023
        if octet <= 32 or octet in b"/?#@\\\"\x7f" or octet > 127:
            assert seen == [] and one.status != 200, (octet, seen)
        assert seen == [] or seen[0][0][1] == b"Host: " + host, (octet, seen)
        assert seen or octet not in PLAIN, octet


def test_every_octet_in_a_trailer(line):
    for octet in range(256):
        name, value = b"a" + bytes([octet]) + b"z", b"v" + bytes([octet]) + b"w"
        for field in ((name, b"v"), (b"x", value)):
            one, seen = line.ask(lambda number: headers(get(method="POST"), number, end=False) +
                                 data(b"abc", number, end=False) +
                                 headers([field], number))  # noqa: B023
            want = b"3\r\nabc\r\n0\r\n" + field[0] + b": " + field[1] + b"\r\n\r\n"
            assert (one.status == 200) == bool(seen)
            assert seen == [] or seen[0][1] == want, (octet, seen)
            if octet in (0, 10, 13) or (field[0] == name and octet not in TOKEN):
                assert seen == [], octet
            elif octet in PLAIN and not (field[0] == name and chr(octet).isupper()):
                assert seen, octet


# ---- fields that frame, or that belong to a connection ----

HOPS = [("connection", "close"), ("connection", "x-a"), ("connection", ""), ("keep-alive", "1"),
        ("proxy-connection", "keep-alive"), ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"), ("transfer-encoding", ""), ("upgrade", "h2c"),
        ("upgrade", "websocket"), ("te", "chunked"), ("te", "trailers, chunked"),
        ("te", "trailers;q=1"), ("te", "")]


@pytest.mark.parametrize("field", HOPS, ids=lambda field: "-".join(field))
def test_a_field_of_the_connection(line, field):
    assert line.refused(with_fields(field)).reset == PROTOCOL
    # And as a trailer: the request has begun by then, and is never whole.
    before = len(line.member.seen)
    one, _ = line.ask(lambda number: headers(get(method="POST"), number, end=False) +
                      data(b"abc", number, end=False) + headers([field], number))
    assert one.status != 200 and len(line.member.seen) == before


@pytest.mark.parametrize("length, body", [
    ("+3", b"abc"), ("-3", b"abc"), (" 3", b"abc"), ("3 ", b"abc"), ("3,3", b"abc"),
    ("3, 3", b"abc"), ("3, 4", b"abc"), ("0x3", b"abc"), ("3.0", b"abc"), ("", b"abc"),
    ("3;", b"abc"), ("99999999999999999999", b"abc"), ("18446744073709551616", b""),
    ("2", b"abc"), ("4", b"abc"), ("0", b"abc"), ("3", b"")])
def test_a_length_that_is_none_or_not_true(line, length, body):
    line.refused(lambda number: headers(get("/", ("content-length", length), method="POST"), number,
                                        end=False) + data(body, number))


def test_a_length_with_zeros_in_front_is_the_same_length(line):
    line.exact(lambda number: headers(get("/", ("content-length", "0003"), method="POST"), number,
                                      end=False) + data(b"abc", number),
               b"POST / HTTP/1.1", [b"Content-Length: 3"], body=b"abc")


@pytest.mark.parametrize("second", ["3", "4", "+3", ""])
def test_a_second_length(line, second):
    line.refused(lambda number: headers(
        get("/", ("content-length", "3"), ("content-length", second), method="POST"), number,
        end=False) + data(b"abc", number))


def test_a_length_is_not_hidden_by_another_spelling(line):
    for name in ("Content-Length", "content-length ", " content-length", "content_length",
                 "content-length\t", "content-length:", "content\x00-length"):
        one, seen = line.ask(lambda number: headers(
            get("/", ("content-length", "3"), (name, "9"), method="POST"), number,
            end=False) + data(b"abc", number))  # noqa: B023
        assert seen == [] or (b"Content-Length: 3" in seen[0][0] and seen[0][1] == b"abc")
        assert name == "content_length" or seen == []
        assert seen or one.status != 200


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b"\r\n "])
@pytest.mark.parametrize("what", [b"Content-Length: 9", b"Transfer-Encoding: chunked",
                                  b"\r\nGET /smuggled HTTP/1.1\r\nHost: a"])
def test_lines_within_a_field(line, end, what):
    inner = b"v" + end + what
    for raw in (with_fields(("x", inner)), with_fields((b"x: v" + end + what.split(b":")[0], "9")),
                lambda number: headers(get(b"/" + inner), number),
                lambda number: headers(get(method=b"GET / HTTP/1.1" + end + what), number),
                lambda number: headers(get(authority=inner), number),
                lambda number: headers(get(scheme=inner), number),
                lambda number: headers(get("/", ("cookie", inner)), number),
                lambda number: headers(get("/", ("te", inner)), number),
                lambda number: headers(get("/", ("host", inner)), number)):
        line.refused(raw)


@pytest.mark.parametrize("field, lines", [
    (("expect", "100-continue"), ([b"Expect: 100-continue"], [b"expect: 100-continue"], [])),
    (("http2-settings", "AAMAAABkAAQAAP__"), ([],)),
    (("x-forwarded-for", "1.2.3.4"), ([],)),
    (("trailer", "content-length"), ([], [b"trailer: content-length"])),
])
def test_fields_with_a_meaning_on_the_way(line, field, lines):
    got, body = line.passed(lambda number: headers(get("/", field, method="POST"), number,
                                                   end=False) + data(b"abc", number))
    assert body == b"3\r\nabc\r\n0\r\n\r\n"
    more = [one for one in got[2:] if one not in line.plain]
    assert sorted(more) in [sorted([b"Transfer-Encoding: chunked", *some]) for some in lines], got


def test_expect_other_than_100_continue(line):
    one = line.refused(with_fields(("expect", "200-ok")))
    assert one.status == 417


# ---- pseudo-fields ----

M, S, P, A = (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h.example")


@pytest.mark.parametrize("fields", [
    [M, M, S, P, A], [M, S, P, P, A], [M, S, P, A, A], [M, S, S, P, A], [M, S, P, ("x", "y"), A],
    [("x", "y"), M, S, P, A], [M, S, P, A, (":status", "200")], [M, S, P, A, (":x", "y")],
    [M, S, P, A, (":", "y")], [M, S, P, A, (":Path", "/b")], [M, S, P, A, ("host", "other")],
    [M, S, P, A, ("host", "h.example"), ("host", "h.example")], [M, S, P, ("host", "")],
    [M, S, P, ("host", "a b")], [M, S, P, ("host", "a@b")], [M, S, P, ("host", "a, b")],
    [M, S, P, (":authority", "u:p@h.example")], [M, S, P, (":authority", "h.example:99999")],
    [M, S, P, (":authority", "h.example:+8")], [M, S, P, (":authority", "h.example:8 0")],
    [M, S, P, (":authority", "[::1")], [M, S, P, (":authority", "h.example/")],
    [M, S, (":path", ""), A], [M, S, (":path", "a"), A], [M, S, (":path", "*"), A],
    [M, S, (":path", "http://h.example/"), A], [M, S, (":path", "//h /x"), A],
    [M, S, (":path", "/a HTTP/1.1"), A], [M, S, (":path", "/a#b"), A], [M, S, (":path", "?a"), A],
    [M, ("scheme", "http"), P, A], [M, (":scheme", "http://x"), P, A], [M, (":scheme", ""), P, A],
    [(":method", ""), S, P, A], [(":method", "GET /x HTTP/1.1"), S, P, A],
    [(":method", "PRI"), S, (":path", "*"), A],
    [(":method", "CONNECT"), S, P, A], [(":method", "CONNECT"), P, A],
    [(":method", "CONNECT"), S, A], [(":method", "CONNECT"), A],
    [(":method", "CONNECT"), (":authority", "")], [(":method", "CONNECT"), ("host", "h:1")],
    [(":method", "CONNECT"), S, P, (":protocol", "websocket")],
    [(":method", "CONNECT"), S, P, A, (":protocol", "h2c")],
    [(":method", "CONNECT"), S, P, A, (":protocol", "websocket\r\nX: y")],
    [M, S, P, A, (":protocol", "websocket")],
], ids=lambda fields: "|".join(f"{n}={v}" for n, v in fields).replace("\r\n", "~"))
def test_a_head_that_is_none(line, fields):
    line.refused(lambda number: headers(fields, number))


@pytest.mark.parametrize("pseudo", [M, S, P, A, (":status", "200"), (":x", "y"), ("", "y")])
def test_a_pseudo_field_as_a_trailer(line, pseudo):
    line.refused(lambda number: headers(get(method="POST"), number, end=False) +
                 data(b"abc", number, end=False) + headers([pseudo], number))


@pytest.mark.parametrize("name", ["content-length", "host", "transfer-encoding", "te", "upgrade",
                                  "connection", "trailer", "authorization", "cookie",
                                  "content-encoding", "content-type", "content-range",
                                  "cache-control", "expect", "max-forwards", "range", "set-cookie",
                                  "x-forwarded-for", "forwarded", "via"])
def test_a_trailer_that_must_not_be_one(line, name):
    """RFC 9110 section 6.5.1: what frames, routes, or says how to read the content."""
    one, seen = line.ask(lambda number: headers(get(method="POST"), number, end=False) +
                         data(b"abc", number, end=False) +
                         headers([(name, "1"), ("x-t", "2")], number))
    assert seen == [] or seen[0][1] == b"3\r\nabc\r\n0\r\nx-t: 2\r\n\r\n", seen
    assert seen or one.status != 200


def test_crumbs_are_one_field(line):
    line.exact(with_fields(("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "")),
               more=[b"cookie: a=1; b=2;", b"x: y"])


def test_no_name_at_all(line):
    line.refused(lambda number: headers(b"".join(literal(*f) for f in get()) + literal("", "v"),
                                        number))


def test_the_line_still_works(line):
    line.exact(lambda number: headers(get("/"), number))
    assert not line.member.stray


# ---- trailers behind a body of told length ----

def test_announced_trailers_reach_the_member(line):
    """`trailer` says that some follow: the body goes in chunks then, as nothing else has them."""
    line.exact(lambda number: headers(
        get("/", ("content-length", "3"), ("trailer", "x-t"), method="POST"), number, end=False) +
        data(b"abc", number, end=False) + headers([("x-t", "yes")], number),
        b"POST / HTTP/1.1", [b"trailer: x-t", b"Transfer-Encoding: chunked"],
        body=b"3\r\nabc\r\n0\r\nx-t: yes\r\n\r\n")


@pytest.mark.parametrize("before, behind", [
    ([("x-real", "secret"), ("content-length", "3")], []),
    ([("connectionx", ""), ("content-length", "3")], []),
    ([("content-length", "3"), ("x-a", "b")], []),
    ([("x-a", "b")], [("content-length", "3")])])
def test_a_length_among_crumbs_before_announced_trailers(line, before, behind):
    fields = [("cookie", "a=1"), *before, ("cookie", "b=22"), *behind, ("trailer", "x-t")]
    lines = [f"{name}: {value}".encode() for name, value in before + behind
             if name != "content-length"]
    line.exact(lambda number: headers(get("/", *fields, method="POST"), number, end=False) +
               data(b"abc", number, end=False) + headers([("x-t", "yes")], number),
               b"POST / HTTP/1.1", [b"cookie: a=1; b=22", *lines, b"trailer: x-t",
                                    b"Transfer-Encoding: chunked"],
               body=b"3\r\nabc\r\n0\r\nx-t: yes\r\n\r\n")


@pytest.mark.parametrize("length, body", [("0", b""), ("3", b"3\r\nabc\r\n")])
@pytest.mark.parametrize("tail", [None, [("x-t", "yes")]])
def test_announced_trailers_that_come_or_not(line, length, body, tail):
    raw = body[3:6]
    line.exact(lambda number: headers(
        get("/", ("content-length", length), ("trailer", "x-t"), method="POST"), number,
        end=False) + data(raw, number, end=tail is None) + (headers(tail, number) if tail else b""),
        b"POST / HTTP/1.1", [b"trailer: x-t", b"Transfer-Encoding: chunked"],
        body=body + (b"0\r\nx-t: yes\r\n\r\n" if tail else b"0\r\n\r\n"))


def test_trailers_that_nobody_announced(line):
    line.exact(lambda number: headers(get("/", ("content-length", "3"), method="POST"), number,
                                      end=False) +
               data(b"abc", number, end=False) + headers([("x-t", "yes")], number),
               b"POST / HTTP/1.1", [b"Content-Length: 3"], body=b"abc")


@pytest.mark.parametrize("body", [b"ab", b"abcd"])
def test_a_length_that_is_not_true_before_announced_trailers(line, body):
    line.refused(lambda number: headers(
        get("/", ("content-length", "3"), ("trailer", "x-t"), method="POST"), number, end=False) +
        data(body, number, end=False) + headers([("x-t", "yes")], number))


def test_announced_trailers_of_no_body(line):
    line.exact(lambda number: headers(
        get("/", ("content-length", "0"), ("trailer", "x-t"), method="POST"), number),
        b"POST / HTTP/1.1", [b"Content-Length: 0"])
