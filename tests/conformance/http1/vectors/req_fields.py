# SPDX-License-Identifier: Apache-2.0
"""Field lines of requests: RFC 9112 sections 2.2 and 5, RFC 9110 section 5; and their limits."""
from table import Forwarded, Refused, Row, get


def field(line):
    return get(line + b"\r\n")


def long_line(length):
    """A request line of that many bytes, CRLF included, for a path of nine."""
    return get(line=b"GET {P}?" + b"a" * (length - 25) + b" HTTP/1.1")


def long_head(length):
    """A head of that many bytes."""
    return get(b"X: " + b"a" * (length - 48) + b"\r\n")


def many(count):
    return get(b"X: b\r\n" * (count - 1))


ROWS = [
    Row("blanks around a value go", "9112 5.1", field(b"X-A: \t b c \t"),
        Forwarded(have={"x-a": b"b c"})),
    Row("no blank before a value", "9112 5.1", field(b"X-A:b"), Forwarded(have={"x-a": b"b"})),
    Row("an empty value", "9110 5.5", field(b"X-A:"), Forwarded(have={"x-a": b""})),
    Row("a value of blanks", "9110 5.5", field(b"X-A: \t "), Forwarded(have={"x-a": b""})),
    Row("a tab inside a value", "9110 5.5", field(b"X-A: b\tc"),
        Forwarded(have={"x-a": b"b\tc"})),
    Row("obs-text in a value", "9110 5.5", field(b"X-A: \xff\x80"),
        Forwarded(have={"x-a": b"\xff\x80"})),
    Row("lines of one name keep their order", "9110 5.3", field(b"X-A: 1\r\nx-a: 2\r\nX-A: 3"),
        Forwarded(have={"x-a": b"1, 2, 3"})),
    Row("a name of every tchar", "9110 5.1", field(b"!#$%&'*+-.^_`|~09az: 1"),
        Forwarded(have={"!#$%&'*+-.^_`|~09az": b"1"})),
    Row("a colon in a value", "9112 5", field(b"X-A: b:c: d"), Forwarded(have={"x-a": b"b:c: d"})),
    Row("space before the colon", "9112 5.1", field(b"X-A : b"), Refused()),
    Row("tab before the colon", "9112 5.1", field(b"X-A\t: b"), Refused()),
    Row("space in a name", "9110 5.1", field(b"X A: b"), Refused()),
    Row("an empty name", "9112 5", field(b": b"), Refused()),
    Row("no colon", "9112 5", field(b"no colon"), Refused()),
    Row("a name with a slash", "9110 5.1", field(b"X/A: b"), Refused()),
    Row("a name with brackets", "9110 5.1", field(b"X[A]: b"), Refused()),
    Row("a name with a quote", "9110 5.1", field(b'"X": b'), Refused()),
    Row("a name with obs-text", "9110 5.1", field(b"X\xe9: b"), Refused()),
    Row("a name with NUL", "9110 5.1", field(b"X\0A: b"), Refused()),
    Row("a name with DEL", "9110 5.1", field(b"X\x7fA: b"), Refused()),
    Row("a name behind a byte order mark", "9110 5.1", field(b"\xef\xbb\xbfX: b"), Refused()),
    Row("NUL in a value", "9110 5.5", field(b"X-A: b\0c"), Refused()),
    Row("BEL in a value", "9110 5.5", field(b"X-A: b\x07c"), Refused()),
    Row("VT in a value", "9110 5.5", field(b"X-A: b\x0bc"), Refused()),
    Row("FF in a value", "9110 5.5", field(b"X-A: b\x0cc"), Refused()),
    Row("ESC in a value", "9110 5.5", field(b"X-A: \x1b[2J"), Refused()),
    Row("DEL in a value", "9110 5.5", field(b"X-A: b\x7fc"), Refused()),
    Row("bare CR in a value", "9112 2.2", field(b"X-A: b\rX-B: c"), Refused()),
    Row("bare LF in a value", "9112 2.2", field(b"X-A: b\nX-B: c"), Refused()),
    Row("CR CR LF behind a line", "9112 2.2", field(b"X-A: b\r"), Refused()),
    Row("LF CR behind a line", "9112 2.2", get(b"X-A: b\n\r"), Refused()),
    Row("bare LF before the empty line", "9112 2.2", b"GET {P} HTTP/1.1\r\nHost: {H}\n\r\n",
        Refused()),
    Row("bare LF as the empty line", "9112 2.2", b"GET {P} HTTP/1.1\r\nHost: {H}\r\n\n",
        Refused()),
    Row("folded with a space", "9112 5.2", field(b"X-A: b\r\n c"), Refused()),
    Row("folded with a tab", "9112 5.2", field(b"X-A: b\r\n\tc"), Refused()),
    Row("folded and empty", "9112 5.2", field(b"X-A: b\r\n "), Refused()),
    Row("folded before any field", "9112 2.2", get(line=b"GET {P} HTTP/1.1\r\n X: b"), Refused()),
    Row("a field hidden in a fold", "9112 5.2", field(b"X-A: b\r\n Content-Length: 5"), Refused()),
    Row("a request line as a field", "9112 5", field(b"GET /x HTTP/1.1"), Refused()),
    Row("underscores are no hyphens", "9110 5.1", field(b"Content_Length: 5"),
        Forwarded(have={"content_length": b"5"}, absent=["content-length"])),
    Row("a request line of 8192 bytes", "9112 3", long_line(8192), Forwarded(target=None)),
    Row("a request line of 8193 bytes", "9112 3", long_line(8193), Refused(414)),
    Row("a request line of 64 KiB", "9112 3", long_line(65536), Refused(414)),
    Row("a method of 9 KiB", "9112 3", get(line=b"M" * 9000 + b" {P} HTTP/1.1"), Refused(414)),
    Row("a head of 32 KiB", "9112 5", long_head(32768), Forwarded()),
    Row("a head of 32 KiB and a byte", "9112 5", long_head(32769), Refused(431)),
    Row("a field of 64 KiB", "9112 5", field(b"X: " + b"a" * 65536), Refused(431)),
    Row("a name of 64 KiB", "9112 5", field(b"x" * 65536 + b": y"), Refused(431)),
    Row("100 fields", "9112 5", many(100), Forwarded()),
    Row("101 fields", "9112 5", many(101), Refused(431)),
    Row("1000 fields", "9112 5", many(1000), Refused(431)),
]
