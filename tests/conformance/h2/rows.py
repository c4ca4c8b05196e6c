# SPDX-License-Identifier: Apache-2.0
"""What is sent behind the preface and SETTINGS, and what must come of it.

error(CODES)   a stream error or a connection error of one of these codes (RFC 9113 section 5.4.2
               lets an endpoint choose the graver one)
ends(CODES)    a connection error
resets(CODES)  a stream error; the connection serves on
fine           stream 1 is answered with 200
alive          nothing happens: the connection serves on
"""
from harness.wire2 import (ACK, CLOSED, COMPRESSION, CONT, DATA, END_HEADERS, FLOW, GOAWAY,
                           HEADERS, PADDED, PING, PRIO, PRIORITY, PRIORITY_UPDATE, PROTOCOL, PUSH,
                           RST, SETTINGS, SIZE, WINDOW, block, data, frame, get, headers, literal,
                           reset, settings, window)


def error(*codes):
    return "error", set(codes)


def ends(*codes):
    return "ends", set(codes)


def resets(*codes):
    return "resets", set(codes)


fine, alive = ("fine", None), ("alive", None)
POST = get("/", method="POST")
BIG = bytes(16385)
OPEN = headers(POST, end=False)
WAITS = headers(get("/wait", method="POST"), end=False)


def fields(*more):
    return headers(get("/", *more))


def pseudo(*pairs):
    return headers(list(pairs))


M, S, P, A = (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h.example")

FRAMES = [
    # 4.1: what nobody knows is passed over
    ("unknown-frame", "4.1", frame(99, 0, 0, b"abc"), alive),
    ("unknown-frame-on-a-stream", "4.1", OPEN + frame(99, 255, 1, b"abc") + data(b"x"), fine),
    ("unknown-frame-on-an-idle-stream", "4.1", frame(99, 0, 7, b""), alive),
    ("unknown-flags-ping", "4.1", frame(PING, 0xfe, 0, b"12345678"), alive),
    ("unknown-flags-data", "4.1", OPEN + data(b"x", flags=0x40), fine),
    ("unknown-flags-settings", "4.1", frame(SETTINGS, 0x40), alive),
    ("reserved-bit-ping", "4.1", frame(PING, 0, 0x80000000, b"12345678"), alive),
    ("reserved-bit-headers", "4.1", headers(get("/"), 0x80000001), fine),
    ("reserved-bit-data", "4.1", OPEN + data(b"x", 0x80000001), fine),
    ("reserved-bit-window", "4.1", OPEN + window(5, 0x80000001) + data(b"x"), fine),
    ("unknown-flags-headers", "4.1", headers(get("/"), flags=END_HEADERS | 0x40), fine),
    ("unknown-flags-reset", "4.1", OPEN + frame(RST, 0xff, 1, bytes(4)), alive),
    ("unknown-flags-window", "4.1", frame(WINDOW, 0xff, 0, bytes(3) + b"\1"), alive),
    ("unknown-flags-priority", "4.1", frame(PRIORITY, 0xff, 1, bytes(4) + b"\x10"), alive),
    ("unknown-flags-continuation", "4.1", headers(b"", flags=0) +
     frame(CONT, END_HEADERS | 0xf0, 1, block(get("/"))), fine),
    # 4.2: sizes
    ("data-at-16384", "4.2", OPEN + data(bytes(16384)), fine),
    ("data-over-16384", "4.2", OPEN + data(BIG), error(SIZE)),
    ("headers-over-16384", "4.2", headers(block(get("/", ("x", "y" * 16400)))), ends(SIZE)),
    ("settings-over-16384", "4.2", frame(SETTINGS, 0, 0, bytes(16386)), ends(SIZE)),
    ("unknown-over-16384", "4.2", frame(99, 0, 0, BIG), ends(SIZE)),
    ("continuation-over-16384", "4.2",
     headers(get("/"), flags=0) + frame(CONT, END_HEADERS, 1, BIG), ends(SIZE)),
    ("goaway-over-16384", "4.2", frame(GOAWAY, 0, 0, BIG), ends(SIZE)),
    ("ping-of-7", "6.7", frame(PING, 0, 0, bytes(7)), ends(SIZE)),
    ("ping-of-9", "6.7", frame(PING, 0, 0, bytes(9)), ends(SIZE)),
    ("ping-of-0", "6.7", frame(PING), ends(SIZE)),
    ("reset-of-3", "6.4", OPEN + frame(RST, 0, 1, bytes(3)), ends(SIZE)),
    ("reset-of-5", "6.4", OPEN + frame(RST, 0, 1, bytes(5)), ends(SIZE)),
    ("priority-of-4", "6.3", frame(PRIORITY, 0, 1, bytes(4)), error(SIZE)),
    ("priority-of-6", "6.3", frame(PRIORITY, 0, 1, bytes(6)), error(SIZE)),
    ("window-of-3", "6.9", frame(WINDOW, 0, 0, bytes(3)), ends(SIZE)),
    ("window-of-5", "6.9", frame(WINDOW, 0, 0, bytes(5)), ends(SIZE)),
    ("window-of-3-on-a-stream", "6.9", OPEN + frame(WINDOW, 0, 1, bytes(3)), ends(SIZE)),
    ("settings-of-5", "6.5", frame(SETTINGS, 0, 0, bytes(5)), ends(SIZE)),
    ("settings-of-7", "6.5", frame(SETTINGS, 0, 0, bytes(7)), ends(SIZE)),
    ("settings-ack-with-payload", "6.5", frame(SETTINGS, ACK, 0, bytes(6)), ends(SIZE)),
    ("goaway-of-7", "6.8", frame(GOAWAY, 0, 0, bytes(7)), ends(SIZE)),
    ("headers-padded-of-0", "4.2", frame(HEADERS, END_HEADERS | PADDED, 1), ends(SIZE, PROTOCOL)),
    ("headers-priority-of-4", "4.2", frame(HEADERS, END_HEADERS | PRIO, 1, bytes(4)),
     ends(SIZE, PROTOCOL)),
    ("data-padded-of-0", "6.1", OPEN + frame(DATA, PADDED, 1), error(SIZE, PROTOCOL)),
    # 4.3: field blocks are in one piece
    ("continuation-alone", "6.10", frame(CONT, END_HEADERS, 1, block(get("/"))), ends(PROTOCOL)),
    ("continuation-on-stream-0", "6.10",
     headers(get("/"), flags=0) + frame(CONT, END_HEADERS, 0), ends(PROTOCOL)),
    ("continuation-of-another", "6.10",
     headers(get("/"), flags=0) + frame(CONT, END_HEADERS, 3), ends(PROTOCOL)),
    ("continuation-behind-the-end", "6.10", OPEN + frame(CONT, END_HEADERS, 1), ends(PROTOCOL)),
    ("continuation-behind-data", "6.10",
     OPEN + data(b"x", end=False) + frame(CONT, END_HEADERS, 1), ends(PROTOCOL)),
    ("data-in-a-head", "6.2", headers(get("/"), flags=0) + data(b"x"), ends(PROTOCOL)),
    ("ping-in-a-head", "6.2", headers(get("/"), flags=0) + frame(PING, 0, 0, bytes(8)),
     ends(PROTOCOL)),
    ("settings-in-a-head", "6.2", headers(get("/"), flags=0) + settings(), ends(PROTOCOL)),
    ("priority-in-a-head", "6.2", headers(get("/"), flags=0) + frame(PRIORITY, 0, 3, bytes(5)),
     ends(PROTOCOL)),
    ("headers-in-a-head", "6.2", headers(get("/"), flags=0) + headers(get("/"), 3),
     ends(PROTOCOL)),
    ("unknown-in-a-head", "5.5", headers(get("/"), flags=0) + frame(99, 0, 1), ends(PROTOCOL)),
    ("head-in-two", "6.10",
     headers(block(get("/"))[:9], flags=0) + frame(CONT, END_HEADERS, 1, block(get("/"))[9:]),
     fine),
    ("head-in-three", "6.10",
     headers(b"", flags=0) + frame(CONT, 0, 1, block(get("/"))) + frame(CONT, END_HEADERS, 1),
     fine),
    # 5.1: states
    ("data-on-idle", "5.1", data(b"x"), ends(PROTOCOL)),
    ("reset-on-idle", "5.1", reset(), ends(PROTOCOL)),
    ("window-on-idle", "5.1", window(1, 1), ends(PROTOCOL)),
    ("priority-on-idle", "5.1", frame(PRIORITY, 0, 1, bytes(4) + b"\x10"), alive),
    ("data-behind-the-end", "5.1", headers(get("/wait")) + data(b"x"), error(CLOSED)),
    ("headers-behind-the-end", "5.1", headers(get("/wait")) + headers(get("/")), error(CLOSED)),
    ("window-behind-the-end", "5.1", headers(get("/")) + window(9, 1), fine),
    ("priority-behind-the-end", "5.1", headers(get("/")) + frame(PRIORITY, 0, 1, bytes(5)), fine),
    ("data-behind-a-reset", "5.1", OPEN + reset() + data(b"x"), ("closed", {CLOSED})),
    ("headers-behind-a-reset", "5.1", OPEN + reset() + headers(get("/")), ("closed", {CLOSED})),
    ("reset-behind-the-end", "5.1", headers(get("/wait")) + reset(), alive),
    ("reset-of-an-unknown-code", "7", OPEN + reset(1, 0xdeadbeef), alive),
    ("reset-twice", "5.1", OPEN + reset() + reset(), alive),
    ("window-behind-a-reset", "5.1", OPEN + reset() + window(1, 1), alive),
    ("priority-behind-a-reset", "5.1", OPEN + reset() + frame(PRIORITY, 0, 1, bytes(4) + b"\1"),
     alive),
    ("headers-behind-trailers", "5.1", WAITS + data(b"x", end=False) + headers([("t", "1")]) +
     headers([("u", "1")]), error(CLOSED)),
    ("data-behind-trailers", "5.1", WAITS + headers([("t", "1")]) + data(b"x"), error(CLOSED)),
    ("priority-on-itself", "5.1", frame(PRIORITY, 0, 1, bytes(3) + b"\1\x10"), alive),
    ("even-stream", "5.1.1", headers(get("/"), 2), ends(PROTOCOL)),
    ("stream-ids-fall", "5.1.1", headers(get("/"), 5) + headers(get("/"), 3),
     ends(PROTOCOL, CLOSED)),
    # 6.1, 6.2
    ("data-on-stream-0", "6.1", data(b"x", 0), ends(PROTOCOL)),
    ("headers-on-stream-0", "6.2", headers(get("/"), 0), ends(PROTOCOL)),
    ("data-padding", "6.1", OPEN + data(b"\x03x\0\0\0", flags=PADDED), fine),
    ("data-all-padding", "6.1", OPEN + data(b"\x03\0\0\0", flags=PADDED), fine),
    ("data-padding-too-long", "6.1", OPEN + data(b"\x05x\0\0\0", flags=PADDED), ends(PROTOCOL)),
    ("data-empty", "6.1", OPEN + data(b"", end=False) + data(b""), fine),
    ("headers-padding", "6.2",
     headers(b"\x02" + block(get("/")) + b"\0\0", flags=END_HEADERS | PADDED), fine),
    ("headers-padding-too-long", "6.2",
     headers(b"\xff" + block(get("/")), flags=END_HEADERS | PADDED), ends(PROTOCOL)),
    ("headers-priority", "6.2",
     headers(b"\0\0\0\0\x10" + block(get("/")), flags=END_HEADERS | PRIO), fine),
    ("headers-priority-and-padding", "6.2",
     headers(b"\1\0\0\0\0\x10" + block(get("/")) + b"\0", flags=END_HEADERS | PRIO | PADDED), fine),
    # 6.3 to 6.8
    ("priority-on-stream-0", "6.3", frame(PRIORITY, 0, 0, bytes(5)), ends(PROTOCOL)),
    ("reset-on-stream-0", "6.4", reset(0), ends(PROTOCOL)),
    ("settings-on-a-stream", "6.5", frame(SETTINGS, 0, 1), ends(PROTOCOL)),
    ("settings-ack-on-a-stream", "6.5", frame(SETTINGS, ACK, 1), ends(PROTOCOL)),
    ("settings-in-a-body", "6.5", OPEN + settings((4, 9)) + data(b"x"), fine),
    ("settings-unknown-and-known", "6.5.2", settings((0xabcd, 5), (4, 100)), alive),
    ("settings-priorities-2", "9218 2.1", settings((9, 2)), ends(PROTOCOL)),
    ("ping-in-a-body", "6.7", OPEN + frame(PING, 0, 0, bytes(8)) + data(b"x"), fine),
    ("settings-push-2", "6.5.2", settings((2, 2)), ends(PROTOCOL)),
    ("settings-streams-0", "6.5.2", settings((3, 0)) + headers(get("/")), fine),
    ("settings-push-0", "6.5.2", settings((2, 0)), alive),
    ("settings-push-1", "6.5.2", settings((2, 1)), alive),
    ("settings-window-too-large", "6.5.2", settings((4, 1 << 31)), ends(FLOW)),
    ("settings-window-largest", "6.5.2", settings((4, (1 << 31) - 1)), alive),
    ("settings-frame-too-small", "6.5.2", settings((5, 16383)), ends(PROTOCOL)),
    ("settings-frame-smallest", "6.5.2", settings((5, 16384)), alive),
    ("settings-frame-largest", "6.5.2", settings((5, (1 << 24) - 1)), alive),
    ("settings-frame-too-large", "6.5.2", settings((5, 1 << 24)), ends(PROTOCOL)),
    ("settings-unknown", "6.5.2", settings((0xff, 1), (0, 7)), alive),
    ("settings-table-0", "6.5.2", settings((1, 0)), alive),
    ("settings-table-large", "6.5.2", settings((1, 1 << 20)), alive),
    ("settings-twice-in-one", "6.5.3", settings((4, 100), (4, 65535)), alive),
    ("push-promise", "8.4", frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + block(get("/"))),
     ends(PROTOCOL)),
    ("push-promise-on-a-stream", "8.4",
     OPEN + frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + block(get("/"))), ends(PROTOCOL)),
    ("ping-on-a-stream", "6.7", frame(PING, 0, 1, bytes(8)), ends(PROTOCOL)),
    ("ping-ack-unasked", "6.7", frame(PING, ACK, 0, bytes(8)), alive),
    ("goaway-on-a-stream", "6.8", frame(GOAWAY, 0, 1, bytes(8)), ends(PROTOCOL)),
    # 6.9
    ("window-0", "6.9", window(0), ends(PROTOCOL)),
    ("window-0-on-a-stream", "6.9", OPEN + window(0, 1), error(PROTOCOL)),
    ("window-overflow", "6.9.1", window((1 << 31) - 1), ends(FLOW)),
    ("window-overflow-on-a-stream", "6.9.1", OPEN + window((1 << 31) - 1, 1), error(FLOW)),
    ("window-largest", "6.9.1", window((1 << 31) - 1 - 65535), alive),
    ("window-overflow-by-settings", "6.9.2",
     OPEN + window((1 << 31) - 1 - 65535, 1) + settings((4, 65536)), error(FLOW)),
    ("window-reserved-bit", "6.9", frame(WINDOW, 0, 0, b"\x80\0\0\1"), alive),
    # RFC 9218
    ("priority-update", "9218 7.1", frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1, i"), alive),
    ("priority-update-on-a-stream", "9218 7.1", frame(PRIORITY_UPDATE, 0, 1, b"\0\0\0\1u=1"),
     ends(PROTOCOL)),
    ("priority-update-of-stream-0", "9218 7.1", frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\0u=1"),
     ends(PROTOCOL)),
    ("priority-update-of-3", "9218 7.1", frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0"), ends(SIZE)),
]

HPACK = [
    ("index-0", "7541 6.1", headers(b"\x80"), ends(COMPRESSION)),
    ("index-beyond", "7541 2.3.3", headers(b"\xbf\x80\x01"), ends(COMPRESSION)),
    ("name-index-beyond", "7541 2.3.3", headers(b"\x7f\x80\x01\x01x"), ends(COMPRESSION)),
    ("block-cut", "4.3", headers(block(get("/"))[:-1]), ends(COMPRESSION)),
    ("integer-too-large", "7541 5.1", headers(b"\xff" + b"\xff" * 10), ends(COMPRESSION)),
    ("string-longer-than-block", "7541 5.2", headers(b"\0\x0aabc"), ends(COMPRESSION)),
    ("huffman-eos", "7541 5.2", headers(block(get("/")) + b"\0\1a\x84\xff\xff\xff\xff"),
     ends(COMPRESSION)),
    ("huffman-padding-of-8", "7541 5.2", headers(block(get("/")) + b"\0\1a\x82\x1f\xff"),
     ends(COMPRESSION)),
    ("huffman-padding-of-0", "7541 5.2", headers(block(get("/")) + b"\0\1a\x81\x18"),
     ends(COMPRESSION)),
    ("size-update-too-large", "7541 6.3", headers(b"\x3f\xe1\xff\x03" + block(get("/"))),
     ends(COMPRESSION)),
    ("size-update-late", "7541 4.2", headers(block(get("/")) + b"\x20"), ends(COMPRESSION)),
    ("size-update-twice", "7541 4.2", headers(b"\x20\x3f\xe1\x1f" + block(get("/"))), fine),
    ("index-of-an-empty-table", "7541 2.3.3", headers(b"\x82\x86\x84\xbe"), ends(COMPRESSION)),
    ("name-of-the-table", "7541 6.2.1",
     headers(b"\x82\x86\x84\x41\x01a" + b"\x40\x01x\x01y" + b"\x7e\x01z"), fine),
    ("entry-larger-than-the-table", "7541 4.4",
     headers(b"\x82\x86\x84\x41\x01a" + b"\x40\x01x\x7f\x89\x26" + b"y" * 5000 + b"\xbe"),
     ends(COMPRESSION)),
    ("name-cut", "7541 5.2", headers(b"\x82\x86\x84\0\x05abc"), ends(COMPRESSION)),
    ("integer-cut", "7541 5.1", headers(b"\x82\x86\x84\xff"), ends(COMPRESSION)),
    ("size-update-0", "7541 4.2", headers(b"\x20" + block(get("/"))), fine),
    ("indexed-fields", "7541 6.1", headers(b"\x82\x86\x84" + literal(":authority", "a")), fine),
    ("literal-indexed", "7541 6.2.1",
     headers(b"\x82\x86\x84\x41\x01a") + headers(b"\x82\x86\x84\xbe", 3), fine),
    ("literal-never-indexed", "7541 6.2.3", headers(b"\x82\x86\x84\x11\x01a"), fine),
    ("huffman", "7541 5.2", headers(b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab"
                                    b"\x90\xf4\xff"), fine),
    ("evicted-index", "7541 4.4",
     headers(b"\x82\x86\x84\x41\x01a") + headers(b"\x20\x82\x86\x84\xbe", 3),
     ends(COMPRESSION)),
]

MESSAGES = [
    ("upper-case-name", "8.2.1", fields(("X-Upper", "1")), error(PROTOCOL)),
    ("empty-name", "8.2.1", fields(("", "1")), error(PROTOCOL)),
    ("space-in-a-name", "8.2.1", fields(("a b", "1")), error(PROTOCOL)),
    ("colon-in-a-name", "8.2.1", fields(("a:b", "1")), error(PROTOCOL)),
    ("line-end-in-a-name", "8.2.1", fields(("a\r\nb", "1")), error(PROTOCOL)),
    ("nul-in-a-name", "8.2.1", fields(("a\0b", "1")), error(PROTOCOL)),
    ("del-in-a-name", "8.2.1", fields(("a\x7fb", "1")), error(PROTOCOL)),
    ("octet-above-127-in-a-name", "8.2.1", fields(("a\xe4b", "1")), error(PROTOCOL)),
    ("line-end-in-a-value", "8.2.1", fields(("a", "b\r\nc: d")), error(PROTOCOL)),
    ("cr-in-a-value", "8.2.1", fields(("a", "b\rc")), error(PROTOCOL)),
    ("lf-in-a-value", "8.2.1", fields(("a", "b\nc")), error(PROTOCOL)),
    ("nul-in-a-value", "8.2.1", fields(("a", "b\0c")), error(PROTOCOL)),
    ("space-before-a-value", "8.2.1", fields(("a", " b")), error(PROTOCOL)),
    ("space-behind-a-value", "8.2.1", fields(("a", "b ")), error(PROTOCOL)),
    ("tab-before-a-value", "8.2.1", fields(("a", "\tb")), error(PROTOCOL)),
    ("tab-behind-a-value", "8.2.1", fields(("a", "b\t")), error(PROTOCOL)),
    ("empty-value", "8.2.1", fields(("a", "")), fine),
    ("octets-above-127-in-a-value", "8.2.1", fields(("a", "\xe4")), fine),
    ("connection", "8.2.2", fields(("connection", "close")), error(PROTOCOL)),
    ("keep-alive", "8.2.2", fields(("keep-alive", "5")), error(PROTOCOL)),
    ("proxy-connection", "8.2.2", fields(("proxy-connection", "close")), error(PROTOCOL)),
    ("transfer-encoding", "8.2.2", fields(("transfer-encoding", "chunked")), error(PROTOCOL)),
    ("upgrade", "8.2.2", fields(("upgrade", "h2c")), error(PROTOCOL)),
    ("te-gzip", "8.2.2", fields(("te", "gzip")), error(PROTOCOL)),
    ("te-trailers-and-more", "8.2.2", fields(("te", "trailers, gzip")), error(PROTOCOL)),
    ("te-trailers", "8.2.2", fields(("te", "trailers")), fine),
    ("cookie-crumbs", "8.2.3", fields(("cookie", "a=1"), ("cookie", "b=2")), fine),
    ("no-method", "8.3.1", pseudo(S, P, A), error(PROTOCOL)),
    ("no-scheme", "8.3.1", pseudo(M, P, A), error(PROTOCOL)),
    ("no-path", "8.3.1", pseudo(M, S, A), error(PROTOCOL)),
    ("no-authority", "8.3.1", pseudo(M, S, P), error(PROTOCOL)),
    ("host-for-authority", "8.3.1", pseudo(M, S, P, ("host", "h.example")), fine),
    ("host-as-authority", "8.3.1", pseudo(M, S, P, A, ("host", "h.example")), fine),
    ("host-not-authority", "8.3.1", pseudo(M, S, P, A, ("host", "other")), error(PROTOCOL)),
    ("host-twice", "8.3.1", pseudo(M, S, P, A, ("host", "h.example"), ("host", "h.example")),
     error(PROTOCOL)),
    ("method-twice", "8.3", pseudo(M, M, S, P, A), error(PROTOCOL)),
    ("path-twice", "8.3", pseudo(M, S, P, P, A), error(PROTOCOL)),
    ("scheme-twice", "8.3", pseudo(M, S, S, P, A), error(PROTOCOL)),
    ("authority-twice", "8.3", pseudo(M, S, P, A, A), error(PROTOCOL)),
    ("pseudo-field-behind-others", "8.3", pseudo(M, S, A, ("x", "y"), P), error(PROTOCOL)),
    ("pseudo-field-of-a-response", "8.3", fields((":status", "200")), error(PROTOCOL)),
    ("pseudo-field-unknown", "8.3", pseudo(M, S, P, A, (":other", "1")), error(PROTOCOL)),
    ("pseudo-field-without-a-name", "8.3", pseudo(M, S, P, A, (":", "1")), error(PROTOCOL)),
    ("pseudo-field-in-upper-case", "8.2.1", pseudo(M, S, A, (":Path", "/")), error(PROTOCOL)),
    ("protocol-without-connect", "8441 4", pseudo(M, S, P, A, (":protocol", "websocket")),
     error(PROTOCOL)),
    ("path-empty", "8.3.1", pseudo(M, S, A, (":path", "")), error(PROTOCOL)),
    ("path-without-slash", "8.3.1", pseudo(M, S, A, (":path", "p")), error(PROTOCOL)),
    ("path-with-a-space", "8.3.1", pseudo(M, S, A, (":path", "/ HTTP/1.1")), error(PROTOCOL)),
    ("path-with-a-line-end", "8.3.1", pseudo(M, S, A, (":path", "/\r\nx: y")), error(PROTOCOL)),
    ("path-with-a-fragment", "8.3.1", pseudo(M, S, A, (":path", "/#x")), error(PROTOCOL)),
    ("path-absolute-form", "8.3.1", pseudo(M, S, A, (":path", "http://b/")), error(PROTOCOL)),
    ("path-star", "8.3.1", pseudo(M, S, A, (":path", "*")), error(PROTOCOL)),
    ("path-star-options", "8.3.1", headers(get("*", method="OPTIONS")), fine),
    ("method-empty", "8.3.1", headers(get("/", method="")), error(PROTOCOL)),
    ("method-with-a-space", "8.3.1", headers(get("/", method="GET /x")), error(PROTOCOL)),
    ("scheme-unknown", "8.3.1", headers(get("/", scheme="ftp")), error(PROTOCOL)),
    ("authority-with-a-user", "8.3.1", headers(get("/", authority="u:p@h")), error(PROTOCOL)),
    ("authority-with-a-space", "8.3.1", headers(get("/", authority="h x")), error(PROTOCOL)),
    ("authority-with-a-path", "8.3.1", headers(get("/", authority="h/x")), error(PROTOCOL)),
    ("authority-empty", "8.3.1", headers(get("/", authority="")), error(PROTOCOL)),
    ("connect-with-path", "8.5", pseudo((":method", "CONNECT"), P, A), error(PROTOCOL)),
    ("connect-with-scheme", "8.5", pseudo((":method", "CONNECT"), S, A), error(PROTOCOL)),
    ("connect-extended-without-path", "8441 4",
     headers([(":method", "CONNECT"), S, A, (":protocol", "websocket")], end=False),
     error(PROTOCOL)),
    ("connect-extended-without-scheme", "8441 4",
     headers([(":method", "CONNECT"), P, A, (":protocol", "websocket")], end=False),
     error(PROTOCOL)),
    ("protocol-as-a-field", "8441 4",
     headers([(":method", "CONNECT"), S, P, A, ("x", "y"), (":protocol", "websocket")], end=False),
     error(PROTOCOL)),
    ("connect-without-authority", "8.5", pseudo((":method", "CONNECT")), error(PROTOCOL)),
    ("connect", "8.5", pseudo((":method", "CONNECT"), (":authority", "h:1")), ("status", 501)),
    ("length-without-a-body", "8.1.1", fields(("content-length", "3")), error(PROTOCOL)),
    ("length-longer", "8.1.1", headers(POST + [("content-length", "3")], end=False) + data(b"xx"),
     error(PROTOCOL)),
    ("length-shorter", "8.1.1",
     headers(POST + [("content-length", "3")], end=False) + data(b"xxxx"), error(PROTOCOL)),
    ("length-right", "8.1.1", headers(POST + [("content-length", "3")], end=False) + data(b"xxx"),
     fine),
    ("length-in-two-frames", "8.1.1", headers(POST + [("content-length", "3")], end=False) +
     data(b"xx", end=False) + data(b"x"), fine),
    ("length-twice", "8.1.1", headers(POST + [("content-length", "3")] * 2, end=False) +
     data(b"xxx"), error(PROTOCOL)),
    ("length-twice-and-different", "8.1.1", headers(
        POST + [("content-length", "3"), ("content-length", "4")], end=False) + data(b"xxx"),
     error(PROTOCOL)),
    ("length-with-a-sign", "8.1.1", headers(POST + [("content-length", "+3")], end=False) +
     data(b"xxx"), error(PROTOCOL)),
    ("length-no-number", "8.1.1", headers(POST + [("content-length", "x")], end=False) +
     data(b"xxx"), error(PROTOCOL)),
    ("length-wrong-before-trailers", "8.1.1",
     headers(POST + [("content-length", "4")], end=False) + data(b"xxx", end=False) +
     headers([("t", "1")]), error(PROTOCOL)),
    ("no-length", "8.1", OPEN + data(b"xxx"), fine),
    ("trailers", "8.1", OPEN + data(b"xxx", end=False) + headers([("t", "1")]), fine),
    ("trailers-without-a-body", "8.1", OPEN + headers([("t", "1")]), fine),
    ("trailers-that-do-not-end", "8.1", OPEN + data(b"x", end=False) +
     headers([("t", "1")], end=False), error(PROTOCOL)),
    ("trailers-with-a-pseudo-field", "8.1", OPEN + data(b"x", end=False) + headers([P]),
     error(PROTOCOL)),
    ("trailers-in-upper-case", "8.2.1", OPEN + data(b"x", end=False) + headers([("T", "1")]),
     error(PROTOCOL)),
    ("trailers-of-the-connection", "8.2.2", OPEN + data(b"x", end=False) +
     headers([("connection", "close")]), error(PROTOCOL)),
    ("trailers-with-a-length", "9110 6.5.1", OPEN + data(b"x", end=False) +
     headers([("content-length", "1")]), error(PROTOCOL)),
    ("trailers-with-a-host", "9110 6.5.1", OPEN + data(b"x", end=False) +
     headers([("host", "h.example")]), error(PROTOCOL)),
    ("trailers-with-te", "8.2.2", OPEN + data(b"x", end=False) + headers([("te", "trailers")]),
     error(PROTOCOL)),
    ("trailers-with-a-transfer-encoding", "8.2.2", OPEN + data(b"x", end=False) +
     headers([("transfer-encoding", "chunked")]), error(PROTOCOL)),
    ("trailers-with-a-status", "8.3", OPEN + data(b"x", end=False) + headers([(":status", "200")]),
     error(PROTOCOL)),
    ("te-trailers-twice", "8.2.2", fields(("te", "trailers"), ("te", "trailers")), fine),
    ("trailers-with-a-line-end", "8.2.1", OPEN + data(b"x", end=False) +
     headers([("t", "1\r\nx: y")]), error(PROTOCOL)),
    ("too-many-fields", "9110 5.4", fields(*[("x", "y")] * 200), ("status", 431)),
    ("head-too-long", "9110 5.4",
     headers(block(get("/", ("x", "y" * 16000)))[:16000], flags=0) +
     frame(CONT, 0, 1, block(get("/", ("x", "y" * 16000)))[16000:] + literal("x", "y" * 15000)) +
     frame(CONT, END_HEADERS, 1, literal("z", "y" * 8000)), ("status", 431)),
]
