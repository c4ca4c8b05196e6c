# SPDX-License-Identifier: Apache-2.0
"""Readers that forgive nothing: what the edge writes must have one meaning only.

request() reads what an origin got; responses() what a client got.
"""
import re

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21\x24-\x3b\x3d\x3f-\x7e]+) HTTP/1\.1\Z")
STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*\Z")
VALUE = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?\Z|\Z")


class Bad(Exception):
    """Not one message that every reader frames alike."""


class Message:
    def __init__(self):
        self.method = self.target = b""
        self.status = 0
        self.fields, self.trailers = [], []
        self.body, self.complete, self.framing = b"", False, "none"

    def all(self, name):
        name = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == name]

    def get(self, name):
        return b", ".join(self.all(name)) if self.all(name) else None


def read_fields(block):
    fields = []
    for line in block.split(b"\r\n") if block else []:
        name, colon, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not colon or not TOKEN.match(name) or not VALUE.match(value):
            raise Bad(f"field line {line[:60]!r}")
        fields.append((name, value))
    return fields


def read_chunks(data, at, message):
    """The offset behind the body, or None when it is not whole."""
    message.framing = "chunked"
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        if not re.match(rb"[0-9a-fA-F]{1,15}\Z", data[at:end]):
            raise Bad(f"chunk line {data[at:end][:40]!r}")
        size = int(data[at:end], 16)
        at = end + 2
        if size == 0:
            break
        if len(data) < at + size + 2:
            message.body += data[at:at + size]
            return None
        message.body += data[at:at + size]
        if data[at + size:at + size + 2] != b"\r\n":
            raise Bad("a chunk that does not end")
        at += size + 2
    if data[at:at + 2] == b"\r\n":
        return at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    message.trailers = read_fields(data[at:end])
    return end + 4


def read_framed(data, at, message):
    coding, length = message.all("transfer-encoding"), message.all("content-length")
    if coding:
        # Of a response a coding that the edge cannot take off may be told with it, in one line. A
        # request has none but this one.
        last = re.sub(rb"(?i)^.*, ", b"", coding[0]).lower() if message.status else coding[0]
        if len(coding) != 1 or last != b"chunked" or length:
            raise Bad(f"framing {coding} {length}")
        return read_chunks(data, at, message)
    if not length:
        return at
    if len(length) > 1 or not re.match(rb"[0-9]{1,18}\Z", length[0]):
        raise Bad(f"Content-Length {length}")
    message.framing = "length"
    message.body = data[at:at + int(length[0])]
    return at + int(length[0]) if len(data) >= at + int(length[0]) else None


def request(data):
    """(request, offset behind it); (None or a head, None) when more is needed."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if data and not TOKEN.match(data.split(b" ")[0][:20].split(b"\r")[0]):
            raise Bad(f"not a request: {data[:60]!r}")
        return None, None
    line, _, block = data[:end].partition(b"\r\n")
    match = LINE.match(line)
    if not match:
        raise Bad(f"request line {line[:80]!r}")
    message = Message()
    message.method, message.target = match.groups()
    message.fields = read_fields(block)
    if len(message.all("host")) != 1:
        raise Bad("not exactly one Host")
    for name, value in message.fields:
        if name.lower() == b"connection" and not re.match(rb"(?i)(te|upgrade|, )*\Z", value):
            raise Bad(f"Connection {value!r}")
    after = read_framed(data, end + 4, message)
    message.complete = after is not None
    return message, after


def responses(data, methods, closed):
    """(messages, bytes left over). A last one that is not whole has complete = False."""
    found, at, answered = [], 0, 0
    while at < len(data):
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            break
        line, _, block = data[at:end].partition(b"\r\n")
        match = STATUS.match(line)
        if not match:
            raise Bad(f"status line {line[:60]!r}")
        message = Message()
        message.status = int(match.group(1))
        message.fields = read_fields(block)
        found.append(message)
        at = end + 4
        if message.status == 101:
            message.complete = True
            message.body = data[at:]
            return found, b""
        if message.status < 200:
            message.complete = True
            continue
        method = methods[answered] if answered < len(methods) else "GET"
        answered += 1
        if method == "HEAD" or message.status in (204, 304):
            message.complete = True
            continue
        # RFC 9112 section 6.3: a coding that is not chunked runs to the close.
        if not message.all("content-length") and b"chunked" not in b",".join(
                message.all("transfer-encoding")).lower():
            message.framing, message.body, message.complete = "close", data[at:], closed
            return found, b""
        after = read_framed(data, at, message)
        if after is None:
            return found, b""
        message.complete = True
        at = after
    return found, data[at:]
