# SPDX-License-Identifier: Apache-2.0
"""Status lines and field lines of responses: RFC 9112 sections 4 and 5, RFC 9110 section 15."""
from table import Bad, Got, ReplyRow

CACHED = b"Cache-Control: max-age=60\r\n"


def line(text):
    return text + b"\r\n" + CACHED + b"Content-Length: 2\r\n\r\nhi"


def field(text):
    return b"HTTP/1.1 200 OK\r\n" + CACHED + text + b"\r\nContent-Length: 2\r\n\r\nhi"


def plain(fields):
    return b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\nhi"


ROWS = [
    ReplyRow("200", "9112 4", plain(b""), Got(body=b"hi")),
    ReplyRow("Date is added", "9110 6.6.1", plain(b""), Got(body=b"hi", have={"date": None})),
    ReplyRow("Date is kept", "9110 6.6.1", plain(b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
             Got(body=b"hi", have={"date": b"Sun, 06 Nov 1994 08:49:37 GMT"})),
    ReplyRow("Via is added", "9110 7.6.3", plain(b"Via: 1.0 x\r\n"),
             Got(body=b"hi", have={"via": None})),
    ReplyRow("no reason", "9112 4", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi",
             Got(body=b"hi")),
    ReplyRow("no reason and no space", "9112 4", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
             Got(body=b"hi")),
    ReplyRow("a reason with obs-text", "9112 4",
             b"HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 2\r\n\r\nhi", Got(body=b"hi")),
    ReplyRow("an unknown status of a known class", "9110 15",
             b"HTTP/1.1 299 X\r\nContent-Length: 2\r\n\r\nhi", Got(299, b"hi")),
    ReplyRow("599", "9110 15", b"HTTP/1.1 599 X\r\nContent-Length: 2\r\n\r\nhi", Got(599, b"hi")),
    ReplyRow("HTTP/1.2 is read as 1.1", "9110 2.5",
             b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", Got(body=b"hi")),
    ReplyRow("status 600", "9110 15", line(b"HTTP/1.1 600 X"), Bad()),
    ReplyRow("status 999", "9110 15", line(b"HTTP/1.1 999 X"), Bad()),
    ReplyRow("status 099", "9110 15", line(b"HTTP/1.1 099 X"), Bad()),
    ReplyRow("status 000", "9110 15", line(b"HTTP/1.1 000 X"), Bad()),
    ReplyRow("status of two digits", "9112 4", line(b"HTTP/1.1 20 OK"), Bad()),
    ReplyRow("status of four digits", "9112 4", line(b"HTTP/1.1 2000 OK"), Bad()),
    ReplyRow("status with a sign", "9112 4", line(b"HTTP/1.1 +20 OK"), Bad()),
    ReplyRow("status of letters", "9112 4", line(b"HTTP/1.1 OK 200"), Bad()),
    ReplyRow("no status", "9112 4", line(b"HTTP/1.1"), Bad()),
    ReplyRow("two spaces", "9112 4", line(b"HTTP/1.1  200 OK"), Bad()),
    ReplyRow("a tab", "9112 4", line(b"HTTP/1.1\t200 OK"), Bad()),
    ReplyRow("space before the version", "9112 4", line(b" HTTP/1.1 200 OK"), Bad()),
    ReplyRow("an empty line first", "9112 4", line(b"\r\nHTTP/1.1 200 OK"), Bad()),
    ReplyRow("HTTP/2.0", "9110 2.5", line(b"HTTP/2.0 200 OK"), Bad()),
    ReplyRow("HTTP/2 200", "9110 2.5", line(b"HTTP/2 200 OK"), Bad()),
    ReplyRow("HTTP/1.10", "9112 2.3", line(b"HTTP/1.10 200 OK"), Bad()),
    ReplyRow("http/1.1", "9112 2.3", line(b"http/1.1 200 OK"), Bad()),
    ReplyRow("ICY 200", "9112 2.3", line(b"ICY 200 OK"), Bad()),
    ReplyRow("no head at all", "9112 2.3", b"<html>hello</html>\r\n\r\n", Bad(), then="close"),
    ReplyRow("bytes of nothing", "9112 2.3", bytes(range(0x80, 0x90)) * 4, Bad(), then="close"),
    ReplyRow("a TLS alert", "9112 2.3", b"\x15\x03\x01\x00\x02\x02\x46", Bad(), then="close"),
    ReplyRow("a NUL reason", "9112 4", line(b"HTTP/1.1 200 O\0K"), Bad()),
    ReplyRow("a bare CR reason", "9112 4", line(b"HTTP/1.1 200 O\rK"), Bad()),
    ReplyRow("bare LF behind the line", "9112 2.2",
             b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi", Bad()),
    ReplyRow("only bare LFs", "9112 2.2", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", Bad(),
             then="close"),
    ReplyRow("bare LF in a value", "9112 2.2", field(b"X: a\nX-Split: b"), Bad()),
    ReplyRow("bare CR in a value", "9112 2.2", field(b"X: a\rX-Split: b"), Bad()),
    ReplyRow("NUL in a value", "9110 5.5", field(b"X: a\0b"), Bad()),
    ReplyRow("VT in a value", "9110 5.5", field(b"X: a\x0bb"), Bad()),
    ReplyRow("DEL in a value", "9110 5.5", field(b"X: a\x7fb"), Bad()),
    ReplyRow("obs-text in a value", "9110 5.5", plain(b"X: \xe9\r\n"),
             Got(body=b"hi", have={"x": b"\xe9"})),
    ReplyRow("folded", "9112 5.2", field(b"X: a\r\n b"), Bad()),
    ReplyRow("folded before any field", "9112 5.2", line(b"HTTP/1.1 200 OK\r\n X: a"), Bad()),
    ReplyRow("space before the colon", "9112 5.1", field(b"X : a"), Bad()),
    ReplyRow("space in a name", "9110 5.1", field(b"X Y: a"), Bad()),
    ReplyRow("an empty name", "9112 5", field(b": a"), Bad()),
    ReplyRow("no colon", "9112 5", field(b"nothing"), Bad()),
    ReplyRow("a name with obs-text", "9110 5.1", field(b"X\xe9: a"), Bad()),
    ReplyRow("a head of 64 KiB", "9112 5", field(b"X: " + b"a" * 65536), Bad()),
    ReplyRow("200 fields", "9112 5", field(b"\r\n".join([b"X: a"] * 200)), Bad()),
    ReplyRow("named fields are dropped", "9110 7.6.1",
             plain(b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Two: 2\r\n"),
             Got(body=b"hi", absent=["x-hop", "keep-alive"], have={"x-two": b"2"})),
    ReplyRow("Upgrade goes no further", "9110 7.8", plain(b"Upgrade: h2c\r\n"),
             Got(body=b"hi", absent=["upgrade"])),
    ReplyRow("Proxy-Authenticate goes no further", "9110 11.7.1",
             plain(b"Proxy-Authenticate: Basic\r\n"),
             Got(body=b"hi", absent=["proxy-authenticate"])),
    ReplyRow("Proxy-Authentication-Info goes no further", "9110 11.7.3",
             plain(b"Proxy-Authentication-Info: nextnonce=x\r\n"),
             Got(body=b"hi", absent=["proxy-authentication-info"])),
    ReplyRow("cookies stay apart", "9110 5.3", plain(b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
             Got(body=b"hi", have={"set-cookie": b"a=1, b=2"})),
]
