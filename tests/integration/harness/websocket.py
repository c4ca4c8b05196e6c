# SPDX-License-Identifier: Apache-2.0
"""A WebSocket member (RFC 6455): gives back every message, answers pings and the close."""
import base64
import hashlib
import struct

from . import http1
from .listener import Listener

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE, PING, PONG = 8, 9, 10


def proof(key):
    """What a server answers to a key, by which it shows that it speaks the protocol."""
    return base64.b64encode(hashlib.sha1(key + MAGIC).digest())


class EchoSocket(Listener):
    def __init__(self, box):
        self.messages, self.closes = 0, []
        super().__init__(box.closers)

    def serve(self, sock):
        client = http1.Client.over(sock)
        try:
            client.read_line()
            fields = {name.lower(): value for name, value in client.read_fields()}
            head = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket",
                    b"Connection: Upgrade",
                    b"Sec-WebSocket-Accept: " + proof(fields["sec-websocket-key"].encode())]
            if "sec-websocket-protocol" in fields:
                first = fields["sec-websocket-protocol"].split(",")[0].strip()
                head.append(b"Sec-WebSocket-Protocol: " + first.encode())
            client.send(b"\r\n".join(head) + b"\r\n\r\n")
            while self.echo(client):
                pass
        except (KeyError, http1.ProtocolError):
            pass

    def echo(self, client):
        """One frame and its answer; False behind the close. Fragments go back as they came."""
        first, second = client.read_exactly(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack("!H", client.read_exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", client.read_exactly(8))
        mask = client.read_exactly(4)  # a client always masks
        data = client.read_exactly(length)
        key = (mask * (length // 4 + 1))[:length]
        data = (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
        code = first & 15
        if code == PING:
            first = first & 0xf0 | PONG
        elif code == CLOSE:
            self.closes.append(struct.unpack("!H", data[:2])[0] if data else None)
        elif first & 128:
            self.messages += 1
        sizes = (bytes([length]) if length < 126 else
                 b"\x7e" + struct.pack("!H", length) if length < 65536 else
                 b"\x7f" + struct.pack("!Q", length))
        client.send(bytes([first]) + sizes + data)
        return code != CLOSE
