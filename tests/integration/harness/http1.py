# SPDX-License-Identifier: Apache-2.0
"""A strict little HTTP/1.1 client on a raw socket: what a test sends is what goes out."""
import re
import socket
import threading
import time


class ProtocolError(Exception):
    """The other side broke HTTP, or closed in the middle of an answer."""


def connect(address, timeout=10.0, tls=None, name="localhost", session=None, before=b""):
    """address: "127.0.0.1:80", ("127.0.0.1", 80) or "unix:PATH". With a context `tls` the
    connection is secured as one to `name`, after the bytes `before`, which go in the clear."""
    sock = connect_plain(address, timeout)
    if before:
        sock.sendall(before)
    return tls.wrap_socket(sock, server_hostname=name, session=session) if tls else sock


def connect_plain(address, timeout):
    if isinstance(address, str) and address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(address[len("unix:"):])
        except OSError:
            sock.close()
            raise
        return sock
    if isinstance(address, str):
        host, port = address.rsplit(":", 1)
        address = (host or "127.0.0.1", int(port))
    sock = socket.create_connection(address, timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Response:
    def __init__(self, version, status, reason, fields):
        self.version, self.status, self.reason, self.fields = version, status, reason, fields
        self.body = b""
        self.trailers = []

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def said(self):
        """Its fields and its body, to look for words in."""
        return "".join(f"{name}: {value}\n" for name, value in self.fields) + "\n" + self.text

    def __repr__(self):
        return f"<{self.status} {self.reason} {self.fields} {self.body[:200]!r}>"


class Client:
    """One connection. Use get() or request(), or send() and read_response() for pipelining and
    worse. `more` is for connect()."""

    def __init__(self, address, timeout=10.0, **more):
        self.address = address
        self.timeout = timeout
        self.sock = connect(address, timeout, **more)
        self.buffer = b""
        self.closed_by_peer = False

    @classmethod
    def over(cls, sock):
        """The same on a connection that there is: either side's."""
        client = cls.__new__(cls)
        client.sock, client.buffer, client.closed_by_peer = sock, b"", False
        return client

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def request(self, method="GET", path="/", fields=(), body=None, host="test.example"):
        self.send(head(method, path, fields, body, host) + (body or b""))
        return self.read_response(method)

    def get(self, path="/", **more):
        return self.request("GET", path, **more)

    def read_more(self):
        data = self.sock.recv(65536)
        if not data:
            self.closed_by_peer = True
            raise ProtocolError(f"closed with {self.buffer[:100]!r} unread")
        self.buffer += data

    def read_line(self):
        while b"\r\n" not in self.buffer:
            self.read_more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("latin-1")

    def read_exactly(self, count):
        while len(self.buffer) < count:
            self.read_more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_fields(self):
        fields = []
        while True:
            line = self.read_line()
            if not line:
                return fields
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise ProtocolError(f"bad field line {line!r}")
            fields.append((name, value.strip()))

    def read_head(self):
        line = self.read_line()
        parts = line.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or len(parts[1]) != 3:
            raise ProtocolError(f"bad status line {line!r}")
        return Response(parts[0], int(parts[1]), parts[2] if len(parts) > 2 else "",
                        self.read_fields())

    def read_response(self, method="GET", interim=None):
        """The next final response; interim ones go to the list `interim` if there is one."""
        response = self.read_head()
        while 100 <= response.status < 200:
            if interim is not None:
                interim.append(response)
            response = self.read_head()
        lengths = response.all("Content-Length")
        if len(set(lengths)) > 1:
            raise ProtocolError(f"several lengths {lengths}")
        if method == "HEAD" or response.status in (204, 304):
            return response
        codings = ",".join(response.all("Transfer-Encoding")).lower().split(",")
        if codings[-1].strip() == "chunked":
            if lengths:
                raise ProtocolError("both Transfer-Encoding and Content-Length")
            self.read_chunks(response)
        elif lengths:
            response.body = self.read_exactly(int(lengths[0]))
        else:
            self.read_to_end(response)
        return response

    def read_chunks(self, response):
        parts = []
        while True:
            size = int(self.read_line().split(";")[0], 16)
            if size == 0:
                break
            parts.append(self.read_exactly(size))
            if self.read_exactly(2) != b"\r\n":
                raise ProtocolError("a chunk does not end with CRLF")
        response.trailers = self.read_fields()
        response.body = b"".join(parts)

    def read_to_end(self, response):
        try:
            while True:
                self.read_more()
        except ProtocolError:
            response.body, self.buffer = self.buffer, b""

    def at_end(self, timeout=5.0):
        """True when the peer closes without sending anything further."""
        self.sock.settimeout(timeout)
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False
        finally:
            self.sock.settimeout(self.timeout)


def serve(sock, one):
    """A server's side: one request after another, as long as one(client) says so."""
    client = Client.over(sock)
    try:
        while one(client):
            pass
    except (OSError, ProtocolError, ValueError):
        pass


def drip(sock, data, pause=0.3):
    """Byte by byte, in a thread, for as long as the other side takes them."""
    def run():
        for byte in data:
            try:
                sock.sendall(bytes([byte]))
            except OSError:
                return
            time.sleep(pause)
    threading.Thread(target=run, daemon=True).start()


def everything(address, data, timeout=10.0):
    """All that comes, and whether it ended in a reset."""
    with connect(address, timeout) as sock:
        sock.sendall(data)
        got = []
        try:
            for piece in pieces(sock):
                got.append(piece)
        except ConnectionResetError:
            return b"".join(got), True
        return b"".join(got), False


def pieces(sock):
    while piece := sock.recv(65536):
        yield piece


def rest(sock):
    """All that comes on this connection until the other side closes."""
    return b"".join(pieces(sock))


def until_the_end(address, data, timeout=10.0):
    """Everything that comes back for these bytes until the other side closes."""
    got, was_reset = everything(address, data, timeout)
    assert not was_reset, got
    return got


def looks_whole(got, was_reset):
    """Whether a client would take what `everything` gave for a whole response."""
    top, end, body = got.partition(b"\r\n\r\n")
    if not end or was_reset:
        return False
    length = re.search(rb"\r\nContent-Length: (\d+)", top, re.I)
    if length:
        return len(body) >= int(length.group(1))
    return not re.search(rb"\r\nTransfer-Encoding: chunked", top, re.I) or b"0\r\n\r\n" in body


def head(method, path, fields=(), body=None, host="test.example", version="HTTP/1.1"):
    lines = [f"{method} {path} {version}"]
    names = {name.lower() for name, _ in fields}
    if host is not None and "host" not in names:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def fetch(address, path="/", method="GET", fields=(), body=None, host="test.example",
          timeout=10.0, **more):
    """One request on a connection of its own."""
    with Client(address, timeout, **more) as client:
        return client.request(method, path, list(fields) + [("Connection", "close")], body, host)
