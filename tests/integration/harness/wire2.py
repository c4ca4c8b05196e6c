# SPDX-License-Identifier: Apache-2.0
"""Frames of HTTP/2 as bytes, well-formed or not, and a connection that shows what comes back.

Only responses are decoded by a library; what is sent is made here, octet by octet.
"""
import socket
import struct
import time

import hpack

from .proper2 import Sender

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)
PRIORITY_UPDATE = 16
END_STREAM, ACK, END_HEADERS, PADDED, PRIO = 1, 1, 4, 8, 32
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, FRAME_SIZE, LIST_SIZE = range(1, 7)
CONNECT_PROTOCOL = 8
NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, \
    CONNECT, CALM = range(12)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    length = len(payload) if length is None else length
    head = struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
    return head + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def integer(value, prefix, first=0):
    top = (1 << prefix) - 1
    if value < top:
        return bytes([first | value])
    out, value = [first | top], value - top
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def octets(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def literal(name, value):
    """A literal field without indexing, its name literal too: no state on either side."""
    name, value = octets(name), octets(value)
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def never(name, value):
    """A literal field that must never be indexed."""
    return b"\x10" + literal(name, value)[1:]


def block(fields):
    return b"".join(literal(*field) for field in fields)


def get(path="/", *more, method="GET", scheme="http", authority="h.example"):
    return [(":method", method), (":scheme", scheme), (":path", path),
            (":authority", authority), *more]


def headers(fields, stream=1, end=True, flags=END_HEADERS):
    body = fields if isinstance(fields, bytes) else block(fields)
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, body)


def data(payload, stream=1, end=True, flags=0):
    return frame(DATA, flags | (END_STREAM if end else 0), stream, payload)


def window(by, stream=0):
    return frame(WINDOW, 0, stream, struct.pack(">I", by))


def reset(stream=1, code=CANCEL):
    return frame(RST, 0, stream, struct.pack(">I", code))


class Stream:
    def __init__(self):
        self.status = self.reset = None
        self.fields, self.trailers, self.interim = [], [], []
        self.body, self.ended = b"", False
        self.never = set()  # names of fields that must never be indexed


class Connection:
    """A client; frames that come are sorted by stream, and held to what they must be."""

    def __init__(self, address, greet=True, pairs=(), sock=None):
        host, port = address.rsplit(":", 1)
        self.sock = sock or socket.create_connection((host, int(port)), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder = hpack.Decoder()
        self.sender, self.largest = Sender(True), 16384
        self.bytes, self.streams = b"", {}
        self.goaway, self.eof, self.settings, self.acked, self.pongs = None, False, None, 0, []
        self.updates, self.goaways, self.settings_raw = [], [], []
        self.block, self.block_ends = b"", 0  # of a head in several frames
        if greet:
            self.send(PREFACE + settings(*pairs))

    def send(self, raw):
        try:
            self.sock.sendall(raw)
        except OSError:
            pass  # it closed: what it said before tells why

    def stream(self, number):
        return self.streams.setdefault(number, Stream())

    def _take(self, kind, flags, number, payload):
        if kind == SETTINGS and flags & ACK:
            self.acked += 1
        elif kind == SETTINGS:
            self.settings = {key: value for key, value in struct.iter_unpack(">HI", payload)}
            self.send(frame(SETTINGS, ACK))
        elif kind == PING:
            self.pongs.append((flags, payload))
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            self.goaway = code
            self.goaways.append((last, code))
        elif kind == RST:
            self.stream(number).reset = struct.unpack(">I", payload)[0]
        elif kind == WINDOW:
            self.updates.append((number, struct.unpack(">I", payload)[0]))
        elif kind == DATA:
            self.stream(number).body += payload
        elif kind in (HEADERS, CONT):
            self.block += payload
            self.block_ends |= kind == HEADERS and flags & END_STREAM
            if not flags & END_HEADERS:
                return
            payload, self.block = self.block, b""
            flags, self.block_ends = self.block_ends, 0
            decoded = self.decoder.decode(payload)
            fields = [(str(n), str(v)) for n, v in decoded]
            one = self.stream(number)
            self.sender.fields(decoded, bool(one.status) and one.status >= 200)
            one.never |= {str(field[0]) for field in decoded if not field.indexable}
            if one.status and int(one.status) >= 200:
                one.trailers = fields
            else:
                one.status, one.fields = int(dict(fields)[":status"]), fields
                if one.status < 200:
                    one.interim.append(fields)
        if kind in (DATA, HEADERS, CONT) and flags & END_STREAM:
            self.stream(number).ended = True

    def read(self, until, seconds=10):
        """Reads frames until until() is true, or the end; says whether it was true."""
        deadline = time.monotonic() + seconds
        while not until():
            while len(self.bytes) >= 9:
                length = int.from_bytes(self.bytes[:3], "big")
                if len(self.bytes) < 9 + length:
                    break
                head, payload = self.bytes[:9], self.bytes[9:9 + length]
                self.bytes = self.bytes[9 + length:]
                self.sender.frame(head, payload, self.largest)
                self._take(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, payload)
                if until():
                    return True
            left = deadline - time.monotonic()
            if self.eof or left <= 0:
                return until()
            self.sock.settimeout(left)
            try:
                got = self.sock.recv(65536)
            except socket.timeout:
                return until()
            except OSError:
                got = b""
            self.eof = got == b""
            self.bytes += got
        return True

    def answer(self, number, seconds=10):
        one = self.stream(number)
        self.read(lambda: one.ended or one.reset is not None or self.goaway is not None, seconds)
        return one

    def ask(self, path="/", number=1, *more, **words):
        self.send(headers(get(path, *more, **words), number))
        return self.answer(number)

    def ping(self, text=b"12345678"):
        before = self.pongs.count((ACK, text))
        self.send(frame(PING, 0, 0, text))
        return self.read(lambda: self.pongs.count((ACK, text)) > before)

    def close(self):
        self.sock.close()
