# SPDX-License-Identifier: Apache-2.0
"""Transfer-Encoding of requests: RFC 9112 sections 6.1, 6.3 and 7."""
from table import Forwarded, Refused, Row, get, post

BODY = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {H}\r\n\r\n"


def coding(value, body=BODY):
    return post(b"Transfer-Encoding:" + value + b"\r\n", body)


ROWS = [
    Row("chunked", "9112 7.1", coding(b" chunked"),
        Forwarded(body=b"hello", absent=["content-length"])),
    Row("chunked in any case", "9112 7", post(b"tRANSFER-eNCODING: cHuNkEd\r\n", BODY),
        Forwarded(body=b"hello")),
    Row("chunked with blanks", "9112 5.1", coding(b"\t chunked \t"), Forwarded(body=b"hello")),
    Row("chunked GET", "9110 9.3.1", get(b"Transfer-Encoding: chunked\r\n") + BODY,
        Forwarded(body=b"hello")),
    Row("chunked and named by Connection", "9110 7.6.1",
        post(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", BODY),
        Forwarded(body=b"hello")),
    Row("with Content-Length before", "9112 6.1",
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", BODY), Refused()),
    Row("with Content-Length behind", "9112 6.1",
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n", BODY), Refused()),
    Row("with Content-Length, a request behind", "9112 6.1",
        post(b"Content-Length: 42\r\nTransfer-Encoding: chunked\r\n", SMUGGLED), Refused()),
    Row("with Content-Length named by Connection", "9110 7.6.1",
        post(b"Connection: Content-Length\r\nContent-Length: 5\r\n"
             b"Transfer-Encoding: chunked\r\n", BODY), Refused()),
    Row("unknown, with Content-Length", "9112 6.3",
        post(b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", b"hello"), Refused()),
    Row("in HTTP/1.0", "9112 6.1",
        post(b"Transfer-Encoding: chunked\r\n", BODY, b"1.0"), Refused()),
    Row("in HTTP/1.0, kept alive", "9112 6.1",
        post(b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", BODY, b"1.0"),
        Refused()),
    Row("chunked twice in a list", "9112 7.1", coding(b" chunked, chunked"), Refused()),
    Row("chunked twice in lines", "9112 7.1", coding(b" chunked\r\nTransfer-Encoding: chunked"),
        Refused()),
    Row("chunked not last", "9112 6.3", coding(b" chunked, gzip"), Refused()),
    Row("chunked not last, in lines", "9112 6.3",
        coding(b" chunked\r\nTransfer-Encoding: identity"), Refused()),
    Row("gzip alone", "9112 6.3", coding(b" gzip"), Refused(400, 501)),
    Row("gzip, then chunked", "9112 6.1", coding(b" gzip, chunked"), Refused(501)),
    Row("identity", "9112 7", coding(b" identity", b""), Refused(400, 501)),
    Row("identity, then chunked", "9112 7", coding(b" identity, chunked"), Refused(400, 501)),
    Row("xchunked", "9112 6.3", coding(b" xchunked"), Refused(400, 501)),
    Row("chunkedx", "9112 6.3", coding(b" chunkedx"), Refused(400, 501)),
    Row("chunk", "9112 6.3", coding(b" chunk"), Refused(400, 501)),
    Row("empty", "9112 6.1", coding(b""), Refused()),
    Row("empty, then chunked", "9112 6.1", coding(b"\r\nTransfer-Encoding: chunked"), Refused()),
    Row("a comma before", "9112 6.1", coding(b" ,chunked"), Refused()),
    Row("a comma behind", "9112 6.1", coding(b" chunked,"), Refused()),
    Row("a parameter", "9112 7.1", coding(b" chunked;q=1"), Refused()),
    Row("a semicolon", "9112 7.1", coding(b" chunked;"), Refused()),
    Row("quoted", "9112 7", coding(b' "chunked"'), Refused()),
    Row("a space inside", "9112 7", coding(b" chu nked"), Refused()),
    Row("NUL behind", "9110 5.5", coding(b" chunked\0"), Refused()),
    Row("VT before", "9110 5.5", coding(b" \x0bchunked"), Refused()),
    Row("FF behind", "9110 5.5", coding(b" chunked\x0c"), Refused()),
    Row("obs-text blank before", "9112 6.3", coding(b" \xa0chunked"), Refused()),
    Row("bare CR behind", "9112 2.2", coding(b" chunked\r"), Refused()),
    Row("space before the colon", "9112 5.1", post(b"Transfer-Encoding : chunked\r\n", BODY),
        Refused()),
    Row("tab before the colon", "9112 5.1", post(b"Transfer-Encoding\t: chunked\r\n", BODY),
        Refused()),
    Row("folded", "9112 5.2", coding(b"\r\n chunked"), Refused()),
    Row("hidden behind a bare LF", "9112 2.2", post(b"X: y\nTransfer-Encoding: chunked\r\n", BODY),
        Refused()),
    Row("with an underscore", "9110 5.1", post(b"Transfer_Encoding: chunked\r\n"),
        Forwarded(absent=["transfer-encoding"])),
]
