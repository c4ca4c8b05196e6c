# SPDX-License-Identifier: Apache-2.0
"""Content-Length of requests: RFC 9110 section 8.6, RFC 9112 sections 6.2 and 6.3."""
from table import Forwarded, Refused, Row, Waits, get, post

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: {H}\r\n\r\n"


def length(value, body=b"hello"):
    return post(b"Content-Length:" + value + b"\r\n", body)


ROWS = [
    Row("5", "9112 6.2", length(b" 5"), Forwarded(body=b"hello")),
    Row("0", "9112 6.2", length(b" 0", b""), Forwarded(have={"content-length": b"0"})),
    Row("none", "9112 6.3", post(b""), Forwarded(absent=["transfer-encoding"])),
    Row("blanks around", "9112 5.1", length(b" \t5\t "), Forwarded(body=b"hello")),
    Row("leading zeros", "9110 8.6", length(b" 005"),
        Forwarded(body=b"hello", have={"content-length": b"5"})),
    Row("of a GET", "9110 9.3.1", get(b"Content-Length: 5\r\n") + b"hello",
        Forwarded(body=b"hello")),
    Row("of a GET around a request", "9110 9.3.1", get(b"Content-Length: 43\r\n") +
        b"GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n",
        Forwarded(body=b"GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n")),
    Row("of a DELETE", "9110 9.3.5",
        b"DELETE {P} HTTP/1.1\r\nHost: {H}\r\nContent-Length: 2\r\n\r\nhi", Forwarded(body=b"hi")),
    Row("body of every octet", "9112 6", post(b"Content-Length: 256\r\n", bytes(range(256))),
        Forwarded(body=bytes(range(256)))),
    Row("named by Connection", "9110 7.6.1",
        post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello"),
        Forwarded(body=b"hello", have={"content-length": b"5"})),
    Row("body too short", "9112 8", length(b" 6"), Waits()),
    Row("plus", "9112 6.3", length(b" +5"), Refused()),
    Row("minus", "9112 6.3", length(b" -5"), Refused()),
    Row("minus zero", "9112 6.3", length(b" -0", b""), Refused()),
    Row("hexadecimal", "9112 6.3", length(b" 0x5"), Refused()),
    Row("a fraction", "9112 6.3", length(b" 5.0"), Refused()),
    Row("an exponent", "9112 6.3", length(b" 5e0"), Refused()),
    Row("an underscore", "9112 6.3", length(b" 0_5"), Refused()),
    Row("letters behind", "9112 6.3", length(b" 5abc"), Refused()),
    Row("a semicolon behind", "9112 6.3", length(b" 5;a"), Refused()),
    Row("quoted", "9112 6.3", length(b' "5"'), Refused()),
    Row("a space inside", "9112 6.3", length(b" 1 0", b"0123456789"), Refused()),
    Row("empty", "9112 6.3", length(b"", b""), Refused()),
    Row("empty, then a number", "9112 6.3", length(b"\r\nContent-Length: 5"), Refused()),
    Row("a list of equals", "9112 6.3", length(b" 5, 5"), Refused()),
    Row("a list that differs", "9112 6.3", length(b" 5, 6"), Refused()),
    Row("a list with an empty element", "9112 6.3", length(b" 5,"), Refused()),
    Row("twice, equal", "9112 6.3", length(b" 5\r\nContent-Length: 5"), Refused()),
    Row("twice, differing", "9112 6.3", length(b" 5\r\ncontent-length: 6", b"hello!"), Refused()),
    Row("twice, a request behind", "9112 6.3", length(b" 0\r\nContent-Length: 40", SMUGGLED),
        Refused()),
    Row("2^63", "9112 6.3", length(b" 9223372036854775808"), Refused()),
    Row("2^64 + 5", "9112 6.3", length(b" 18446744073709551621"), Refused()),
    Row("a thousand digits", "9112 6.3", length(b" " + b"9" * 1000), Refused()),
    Row("more than the route allows", "9110 15.5.14", length(b" 1048577"), Refused(413)),
    Row("NUL behind", "9110 5.5", length(b" 5\0"), Refused()),
    Row("VT before", "9110 5.5", length(b" \x0b5"), Refused()),
    Row("obs-text blank before", "9112 6.3", length(b" \xa05"), Refused()),
    Row("Arabic digits", "9112 6.3", length(b" \xd9\xa5"), Refused()),
    Row("space before the colon", "9112 5.1", post(b"Content-Length : 5\r\n", b"hello"),
        Refused()),
    Row("folded", "9112 5.2", length(b"\r\n 5"), Refused()),
]
