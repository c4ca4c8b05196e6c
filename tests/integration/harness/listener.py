# SPDX-License-Identifier: Apache-2.0
"""A member whose connections are a function's: for what no proper server would do."""
import socket
import threading


def cut(*sockets):
    """Ends connections, and what threads of ours do on them."""
    for sock in sockets:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def shut(listener):
    """Nobody listens any more; a thread in accept would keep it open."""
    cut(listener)
    listener.close()


def read_head(sock):
    """A head up to its empty line, and what has come behind it. Ends as the connection does."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("no head, or half of one")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


class Listener:
    """Listens on a port of its own; each connection is served on a thread of its own, by `serve` or
    by a subclass's method of that name, and closed when that returns or the socket fails. What a
    subclass needs for it stands before this begins."""

    def __init__(self, closers, serve=None):
        self.serve = serve or self.serve
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        closers.append(self.stop)
        threading.Thread(target=self.accept, daemon=True).start()

    def stop(self):
        shut(self.listener)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.run, args=(sock,), daemon=True).start()

    def run(self, sock):
        with sock:
            try:
                self.serve(sock)
            except OSError:
                pass

    def serve(self, sock):
        raise NotImplementedError


class AgentCheck(Listener):
    """Says a line to whoever connects, as an HAProxy agent does."""

    def __init__(self, box, line):
        self.line, self.asked = line, 0
        super().__init__(box.closers)

    def serve(self, sock):
        self.asked += 1
        sock.sendall(self.line.encode() + b"\n")
