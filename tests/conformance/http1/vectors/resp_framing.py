# SPDX-License-Identifier: Apache-2.0
"""Where responses end: RFC 9112 sections 6.3, 7.1, 8 and 9; interim responses: RFC 9110 section
15.2; upgrades: section 7.8."""
from table import Bad, Cut, Got, ReplyRow

OK = b"HTTP/1.1 200 OK\r\n"
CACHED = b"Cache-Control: max-age=60\r\n"
HELLO = b"5\r\nhello\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
TE = b"GET {P} HTTP/1.1\r\nHost: {H}\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
V10 = b"GET {P} HTTP/1.0\r\nHost: {H}\r\n\r\n"
WEBSOCKET = (b"GET {P} HTTP/1.1\r\nHost: {H}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")


def head(fields, body=b""):
    return OK + CACHED + fields + b"\r\n" + body


def chunked(body, fields=b""):
    return OK + fields + b"Transfer-Encoding: chunked\r\n\r\n" + body


def bad_chunks(body):
    return OK + CACHED + b"Transfer-Encoding: chunked\r\n\r\n" + HELLO + body


def extra(name, section, first, behind, expect, method="GET"):
    """Bytes that answer nothing, in one piece with the end of the response before them: see
    Suite.carry for those that come later."""
    row = ReplyRow(name, section, first + behind, expect, method)
    row.cuts = len(first) - 1
    return row


ROWS = [
    ReplyRow("a length", "9112 6.3", OK + b"Content-Length: 5\r\n\r\nhello", Got(body=b"hello")),
    ReplyRow("length zero", "9112 6.3", OK + b"Content-Length: 0\r\n\r\n", Got()),
    ReplyRow("chunks", "9112 7.1", chunked(HELLO + b"0\r\n\r\n"), Got(body=b"hello")),
    ReplyRow("chunks with extensions", "9112 7.1.1", chunked(b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
             Got(body=b"hello")),
    ReplyRow("to the close", "9112 6.3", OK + b"\r\nhello", Got(body=b"hello"), then="close"),
    ReplyRow("HTTP/1.0 to the close", "9112 6.3", b"HTTP/1.0 200 OK\r\n\r\nhello",
             Got(body=b"hello"), then="close"),
    ReplyRow("HTTP/1.0 with a length", "9112 6.3",
             b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Got(body=b"hello"),
             then="close"),
    ReplyRow("chunks to HTTP/1.0", "9112 6.1", chunked(HELLO + b"0\r\n\r\n"),
             Got(body=b"hello", absent=["transfer-encoding"], closes=True), request=V10),
    ReplyRow("to the close to HTTP/1.0", "9112 6.3", OK + b"\r\nhello",
             Got(body=b"hello", closes=True), then="close", request=V10),
    ReplyRow("HEAD with a length", "9110 9.3.2", OK + b"Content-Length: 5\r\n\r\n",
             Got(have={"content-length": b"5"}), "HEAD"),
    ReplyRow("HEAD with chunked", "9110 9.3.2", OK + b"Transfer-Encoding: chunked\r\n\r\n", Got(),
             "HEAD"),
    extra("HEAD with a body", "9112 6.3", OK + b"Content-Length: 6\r\n\r\n", b"poison",
          Got(have={"content-length": b"6"}), "HEAD"),
    extra("HEAD with a response as its body", "9112 6.3", OK + b"Content-Length: 44\r\n\r\n",
          POISON, Got(), "HEAD"),
    ReplyRow("204", "9110 15.3.5", b"HTTP/1.1 204 No Content\r\n\r\n", Got(204)),
    extra("204 with a body", "9110 15.3.5",
          b"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", b"poison",
          Got(204, absent=["content-length"])),
    extra("204 with chunks", "9112 6.1",
          b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
          b"6\r\npoison\r\n0\r\n\r\n",
          Got(204, absent=["transfer-encoding"])),
    ReplyRow("304 with chunked", "9112 6.1",
             b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
             Got(304, absent=["transfer-encoding"])),
    ReplyRow("205 without a body", "9110 15.3.6",
             b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Got(205)),
    ReplyRow("206 with its range", "9110 15.3.7",
             b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\n"
             b"Content-Length: 2\r\n\r\nhe", Got(206, b"he", have={"content-range": None})),
    ReplyRow("HEAD cut behind its head", "9112 8", OK + b"Content-Length: 5\r\n\r\n",
             Got(have={"content-length": b"5"}), "HEAD", then="close"),
    ReplyRow("HEAD and close", "9112 9.6",
             OK + b"Content-Length: 5\r\nConnection: close\r\n\r\n",
             Got(have={"content-length": b"5"}, absent=["connection"]), "HEAD", then="close"),
    ReplyRow("HEAD to HTTP/1.0", "9110 9.3.2", OK + b"Transfer-Encoding: chunked\r\n\r\n",
             Got(absent=["transfer-encoding"], closes=True), "HEAD",
             request=b"HEAD {P} HTTP/1.0\r\nHost: {H}\r\n\r\n"),
    ReplyRow("a length, and close", "9112 9.6",
             OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
             Got(body=b"hello", absent=["connection"]), then="close"),
    ReplyRow("chunks, and close", "9112 9.6",
             chunked(HELLO + b"0\r\n\r\n", b"Connection: close\r\n"),
             Got(body=b"hello", absent=["connection"]), then="close"),
    ReplyRow("HTTP/1.0 kept alive", "9112 9.3",
             b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
             Got(body=b"hello", absent=["connection"])),
    ReplyRow("HTTP/1.0 kept alive, to the close", "9112 6.3",
             b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello", Got(body=b"hello"),
             then="close"),
    ReplyRow("HTTP/1.0 cut short", "9112 8",
             b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\nhello", Cut(), then="close"),
    ReplyRow("a length, cut, to HTTP/1.0", "9112 8", head(b"Content-Length: 100\r\n", b"hello"),
             Cut(), then="close", request=V10),
    ReplyRow("to the close, reset, to HTTP/1.0", "9112 8", head(b"", b"hello"), Cut(),
             then="reset", request=V10),
    ReplyRow("trailers to HTTP/1.0", "9110 6.5",
             chunked(HELLO + b"0\r\nX-Sum: 1\r\n\r\n"), Got(body=b"hello", closes=True),
             request=V10),
    ReplyRow("304 with a length", "9110 15.4.5",
             b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", Got(304)),
    extra("304 with a body", "9110 15.4.5",
          b"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", b"poison", Got(304)),
    ReplyRow("lengths twice, equal", "9112 6.3",
             OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
             Got(body=b"hello", have={"content-length": b"5"})),
    ReplyRow("lengths twice, differing", "9112 6.3",
             head(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), Bad()),
    ReplyRow("a list of lengths", "9112 6.3", head(b"Content-Length: 5, 5\r\n", b"hello"), Bad()),
    ReplyRow("a length of letters", "9112 6.3", head(b"Content-Length: 5x\r\n", b"hello"), Bad()),
    ReplyRow("a length of nothing", "9112 6.3", head(b"Content-Length:\r\n", b"hello"), Bad()),
    ReplyRow("a negative length", "9112 6.3", head(b"Content-Length: -1\r\n", b"hello"), Bad()),
    ReplyRow("a length past 2^63", "9112 6.3",
             head(b"Content-Length: 9223372036854775808\r\n", b"hello"), Bad()),
    ReplyRow("chunked with a length", "9112 6.3",
             head(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", HELLO + b"0\r\n\r\n"),
             Bad()),
    ReplyRow("chunked in HTTP/1.0", "9112 6.1",
             b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + b"0\r\n\r\n",
             Bad()),
    ReplyRow("chunked twice", "9112 7.1",
             head(b"Transfer-Encoding: chunked, chunked\r\n", HELLO + b"0\r\n\r\n"), Bad()),
    ReplyRow("chunked not last", "9112 6.3",
             head(b"Transfer-Encoding: chunked, gzip\r\n", HELLO + b"0\r\n\r\n"), Bad()),
    ReplyRow("gzip, then chunked", "9112 7.2",
             head(b"Transfer-Encoding: gzip, chunked\r\n", HELLO + b"0\r\n\r\n"), Bad()),
    ReplyRow("a coding nobody can take off", "9112 6.3",
             head(b"Transfer-Encoding: gzip\r\n", b"hello"),
             Got(body=b"hello", have={"transfer-encoding": b"gzip"}, closes=True), then="close"),
    ReplyRow("an empty coding", "9112 6.1", head(b"Transfer-Encoding:\r\n", HELLO), Bad()),
    ReplyRow("a coding with VT", "9110 5.5",
             head(b"Transfer-Encoding: \x0bchunked\r\n", HELLO + b"0\r\n\r\n"), Bad()),
    ReplyRow("body cut short", "9112 8", head(b"Content-Length: 100\r\n", b"hello"), Cut(),
             then="close"),
    ReplyRow("body cut short by a reset", "9112 8", head(b"Content-Length: 100\r\n", b"hello"),
             Cut(), then="reset"),
    ReplyRow("body cut before it began", "9112 8", head(b"Content-Length: 100\r\n"), Cut(),
             then="close"),
    ReplyRow("head cut", "9112 8", OK + CACHED + b"Content-Le", Bad(), then="close"),
    ReplyRow("status line cut", "9112 8", b"HTTP/1.1 20", Bad(), then="close"),
    ReplyRow("nothing", "9112 8", b"", Bad(), then="close"),
    ReplyRow("chunks cut behind one", "9112 8", bad_chunks(b""), Cut(), then="close"),
    ReplyRow("chunks cut in a size", "9112 8", bad_chunks(b"1"), Cut(), then="close"),
    ReplyRow("chunks cut in data", "9112 8", bad_chunks(b"5\r\nhe"), Cut(), then="close"),
    ReplyRow("chunks cut in the last", "9112 8", bad_chunks(b"0\r\n"), Cut(), then="close"),
    ReplyRow("chunks cut in a trailer", "9112 8", bad_chunks(b"0\r\nX: 1\r\n"), Cut(),
             then="close"),
    ReplyRow("chunks reset", "9112 8", bad_chunks(b"5\r\nhel"), Cut(), then="reset"),
    ReplyRow("to the close, reset", "9112 8", head(b"", b"hello"), Cut(), then="reset"),
    ReplyRow("chunks cut, to HTTP/1.0", "9112 8", bad_chunks(b"5\r\nhe"), Cut(), then="close",
             request=V10),
    ReplyRow("a size of letters", "9112 7.1", bad_chunks(b"zz\r\nxx\r\n0\r\n\r\n"), Cut()),
    ReplyRow("a size with 0x", "9112 7.1", bad_chunks(b"0x5\r\nhello\r\n0\r\n\r\n"), Cut()),
    ReplyRow("a size too large", "9112 7.1", bad_chunks(b"f" * 17 + b"\r\nhello\r\n"), Cut()),
    ReplyRow("an empty size", "9112 7.1", bad_chunks(b"\r\n0\r\n\r\n"), Cut()),
    ReplyRow("space behind a size", "9112 7.1", bad_chunks(b"5 \r\nhello\r\n0\r\n\r\n"), Cut()),
    ReplyRow("bare LF behind a size", "9112 7.1", bad_chunks(b"5\nhello\r\n0\r\n\r\n"), Cut()),
    ReplyRow("bare LF behind data", "9112 7.1", bad_chunks(b"5\r\nhello\n0\r\n\r\n"), Cut()),
    ReplyRow("data longer than its size", "9112 7.1", bad_chunks(b"5\r\nhello!\r\n0\r\n\r\n"),
             Cut()),
    ReplyRow("an extension with a bare CR", "9112 7.1.1",
             bad_chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), Cut()),
    ReplyRow("the first size is bad", "9112 7.1",
             head(b"Transfer-Encoding: chunked\r\n", b"hello\r\n0\r\n\r\n"), Cut()),
    ReplyRow("trailers where asked for", "9110 6.5",
             chunked(HELLO + b"0\r\nX-Sum:1\r\nSet-Cookie: a\r\n\r\n", b"Trailer: X-Sum\r\n"),
             Got(body=b"hello", have={"trailer": b"X-Sum"}, trailers=[(b"X-Sum", b"1")],
                 absent=["x-sum"]), request=TE),
    ReplyRow("trailers where not asked for", "9110 6.5.1",
             chunked(HELLO + b"0\r\nX-Sum: 1\r\n\r\n", b"Trailer: X-Sum\r\n"),
             Got(body=b"hello", absent=["x-sum", "trailer"])),
    ReplyRow("a trailer that frames", "9110 6.5.1", bad_chunks(b"0\r\nContent-Length: 1\r\n\r\n"),
             Cut()),
    ReplyRow("a trailer folded", "9112 5.2", bad_chunks(b"0\r\nX: 1\r\n 2\r\n\r\n"), Cut()),
    ReplyRow("a trailer with a bare LF", "9112 2.2", bad_chunks(b"0\r\nX: 1\nY: 2\r\n\r\n"),
             Cut()),
    extra("a second response behind", "9112 9.2",
          OK + b"Content-Length: 5\r\n\r\nhello", POISON, Got(body=b"hello")),
    extra("a second response behind chunks", "9112 9.2", chunked(HELLO + b"0\r\n\r\n"), POISON,
          Got(body=b"hello")),
    ReplyRow("a second response a moment later", "9112 9.2",
             [(0, OK + b"Content-Length: 5\r\n\r\nhello"), (0.02, POISON)], Got(body=b"hello")),
    extra("a line end behind", "9112 9.2", OK + b"Content-Length: 5\r\n\r\nhello", b"\r\n",
          Got(body=b"hello")),
    ReplyRow("an answer before the body is in", "9112 9.3",
             b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", Got(413, b"no", closes=True),
             "POST", early=True,
             request=b"POST {P} HTTP/1.1\r\nHost: {H}\r\nContent-Length: 100\r\n\r\nhalf"),
    ReplyRow("100 unasked", "9110 15.2.1",
             b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
             Got(body=b"hi", interim=[100])),
    ReplyRow("103", "9110 15.2",
             b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK +
             b"Content-Length: 2\r\n\r\nhi", Got(body=b"hi", interim=[103])),
    ReplyRow("102, 103, 199", "9110 15.2",
             b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
             b"HTTP/1.1 199 X\r\n\r\n" + OK
             + b"Content-Length: 2\r\n\r\nhi", Got(body=b"hi", interim=[102, 103, 199])),
    ReplyRow("103 with a length", "9110 15.2",
             b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" + OK +
             b"Content-Length: 2\r\n\r\nhi", Got(body=b"hi", interim=[103])),
    ReplyRow("103 to HTTP/1.0", "9110 15.2",
             b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
             Got(body=b"hi", closes=True), request=V10),
    ReplyRow("seventeen 103", "9110 15.2",
             b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + OK + CACHED +
             b"Content-Length: 2\r\n\r\nhi", Bad()),
    ReplyRow("a 103 and no more", "9110 15.2", b"HTTP/1.1 103 Early Hints\r\n\r\n", Bad(),
             then="close"),
    ReplyRow("a bad 103", "9112 5.1", b"HTTP/1.1 103 Early Hints\r\nX : y\r\n\r\n" + OK + CACHED +
             b"Content-Length: 2\r\n\r\nhi", Bad()),
    ReplyRow("101 unasked", "9110 7.8",
             b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
             b"Upgrade: websocket\r\n\r\n" + POISON, Bad()),
    ReplyRow("101 to another protocol", "9110 7.8",
             b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n" +
             POISON, Bad(), request=WEBSOCKET),
    ReplyRow("101 without Upgrade", "9110 7.8",
             b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n" + POISON, Bad(),
             request=WEBSOCKET),
    ReplyRow("101 without Connection", "9110 7.8",
             b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" + POISON, Bad(),
             request=WEBSOCKET),
    ReplyRow("101 as asked", "9110 7.8",
             b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
             b"Upgrade: WebSocket\r\n\r\nframes",
             Got(101, b"frames", have={"upgrade": b"WebSocket", "connection": b"upgrade"},
                 closes=True), then="close", request=WEBSOCKET),
    ReplyRow("426 names what it wants", "9110 15.5.22",
             b"HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
             b"Content-Length: 0\r\n\r\n", Got(426, have={"upgrade": b"websocket"})),
    ReplyRow("101 in HTTP/1.0", "9110 7.8",
             b"HTTP/1.0 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + POISON,
             Bad(), request=WEBSOCKET),
]
