# SPDX-License-Identifier: Apache-2.0
"""A member that switches to another protocol, and a client that asks for it."""
from . import http1
from .listener import Listener, read_head

ASK = (b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


class Echo(Listener):
    """Says 101 to every request, then gives back what comes, until its end."""

    def __init__(self, box, first=b""):
        self.first, self.heads, self.ended = first, [], []
        super().__init__(box.closers)

    def reply(self, head):
        return SWITCH + self.first

    def serve(self, sock):
        head, data = read_head(sock)
        self.heads.append(head)
        try:
            sock.sendall(self.reply(head) + data)
            while data := sock.recv(65536):
                sock.sendall(data)
            sock.sendall(b"bye")
            self.ended.append("fin")
        except OSError:
            self.ended.append("rst")


def open_tunnel(edge, behind=b""):
    client = http1.Client(edge.address)
    client.send(ASK + behind)
    head = client.read_head()
    assert head.status == 101, head
    assert head.get("Upgrade") == "websocket"
    assert head.get("Connection") == "upgrade"
    assert head.get("Sec-WebSocket-Accept")
    assert not head.all("Content-Length") and not head.all("Transfer-Encoding")
    return client
