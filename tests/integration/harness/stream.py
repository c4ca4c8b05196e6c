# SPDX-License-Identifier: Apache-2.0
"""The XML stream from the outside: a tap between two processes, and peers made by hand."""
import copy
import os
import socket
import threading
import time

from lxml import etree

from . import http1
from .grammar import Validator  # noqa: F401
from .listener import cut, shut

NAMESPACE = "urn:freshet:stream:1"


def tag(name):
    return f"{{{NAMESPACE}}}{name}"


def local(element):
    return etree.QName(element).localname


def opening(role, name, epoch=0, version="1", boot="b1", namespace=NAMESPACE):
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<stream xmlns="{namespace}" '
            f'version="{version}" role="{role}" id="{name}" epoch="{epoch}" '
            f'boot="{boot}">').encode()


class Reader:
    """One direction of a stream, cut into stanzas as the bytes come."""

    def __init__(self):
        self.parser = etree.XMLPullParser(events=("start", "end"), huge_tree=False)
        self.root = None
        self.closed = False
        self.depth = 0
        self.raw = b""

    def feed(self, data):
        self.raw += data
        self.parser.feed(data)
        for event, element in self.parser.read_events():
            if event == "start":
                if self.depth == 0:
                    self.root = element
                self.depth += 1
                continue
            self.depth -= 1
            if self.depth == 0:
                self.closed = True
            elif self.depth == 1:
                yield copy.deepcopy(element)


class Stanza:
    def __init__(self, element, root, sender, at):
        self.element, self.root, self.sender, self.at = element, root, sender, at
        self.name = local(element)

    def child(self, name=None):
        for child in self.element:
            if name is None or local(child) == name:
                return child
        return None

    def get(self, name):
        return self.element.get(name)

    def find(self, path):
        return self.element.findall("/".join(tag(part) if part.isalnum() or "-" in part else part
                                             for part in path.split("/")))

    def text(self):
        return etree.tostring(self.element).decode()

    def __repr__(self):
        return f"<{self.sender}: {self.text()}>"


def listen(address):
    if address.startswith("unix:"):
        path = address[len("unix:"):]
        if os.path.exists(path):
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
    else:
        host, port = address.rsplit(":", 1)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, int(port)))
    sock.listen(16)
    return sock


class NoStanza(AssertionError):
    """It did not come in time."""


class Recorder:
    """Stanzas with their times, and waiting for one."""

    def __init__(self):
        self.stanzas = []
        self.roots = []
        self.condition = threading.Condition()

    def note(self, stanza):
        with self.condition:
            self.stanzas.append(stanza)
            self.condition.notify_all()

    def all(self, name, sender=None, match=None):
        with self.condition:
            return [s for s in self.stanzas if name in (None, s.name) and
                    (sender is None or s.sender == sender) and (match is None or match(s))]

    def wait(self, name, match=None, sender=None, timeout=20.0, after=0):
        """The first such stanza whose index is at least `after`."""
        until = time.monotonic() + timeout
        with self.condition:
            while True:
                for stanza in self.stanzas[after:]:
                    if (stanza.name == name and (sender is None or stanza.sender == sender)
                            and (match is None or match(stanza))):
                        return stanza
                left = until - time.monotonic()
                if left <= 0:
                    raise NoStanza(f"waited {timeout:.0f} s for <{name}>; there were: "
                                   + "; ".join(s.text()[:300] for s in self.stanzas[-4:]))
                self.condition.wait(left)

    def mark(self):
        with self.condition:
            return len(self.stanzas)

    def requests(self, operation, cluster=None):
        return self.all("reconfigure", match=lambda s: s.child(operation) is not None and
                        (cluster is None or s.get("cluster") == cluster))

    def wait_request(self, operation, after=0, timeout=20.0, match=None):
        return self.wait("reconfigure", lambda s: s.child(operation) is not None and
                         (match is None or match(s)), timeout=timeout, after=after)

    def wait_result(self, request_id, timeout=20.0):
        return self.wait("result", lambda s: s.get("id") == request_id, timeout=timeout)


class Tap(Recorder):
    """Relays connections from `address` to `target` and reads along, both ways."""

    def __init__(self, address, target):
        super().__init__()
        self.target = target
        self.errors = []
        self.pairs = []
        self.stopped = False
        self.listener = listen(address)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.stopped:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = http1.connect(self.target)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self.pairs.append((near, far))
            for source, sink, sender in ((near, far, "client"), (far, near, "manager")):
                threading.Thread(target=self.relay, args=(source, sink, sender),
                                 daemon=True).start()

    def relay(self, source, sink, sender):
        reader = Reader()
        noted = False
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                at = time.monotonic()
                try:
                    for element in reader.feed(data):
                        self.note(Stanza(element, reader.root, sender, at))
                except etree.XMLSyntaxError as error:
                    self.errors.append(f"{sender}: {error}")
                if reader.root is not None and not noted:
                    noted = True
                    self.roots.append((sender, dict(reader.root.attrib)))
                sink.sendall(data)
        except OSError:
            pass
        cut(source, sink)

    def cut(self):
        """Breaks every connection that there is now."""
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            cut(*pair)

    def close(self):
        self.stopped = True
        shut(self.listener)
        self.cut()

    def assert_valid(self):
        assert not self.errors, self.errors
        assert self.stanzas, "nothing went over the stream"
        validator = Validator()
        for stanza in self.stanzas:
            problem = validator.stanza_problem(stanza.root, stanza.element)
            assert problem is None, f"{stanza!r}\n{problem}"


class FakeManager(Recorder):
    """A manager made by hand: an edge or allocator connects to it and obeys it.

    It keeps its stream alive and, as there is no other edge that would have to confirm, releases a
    draining server as soon as it is reported (releasing = False: it never does).
    """

    def __init__(self, address, epoch=7, role="manager"):
        super().__init__()
        self.releasing = True
        self.released = {}
        self.sent = {}            # id -> the request, and on which connection
        self.send_lock = threading.Lock()
        self.address, self.epoch, self.role = address, epoch, role
        self.sequence = 0
        self.sock = None
        self.peer = None
        self.connections = 0
        self.stopped = False
        self.listener = listen(address)
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.keep_alive, daemon=True).start()

    def keep_alive(self):
        while not self.stopped:
            time.sleep(0.3)
            self.put(b"<alive/>")

    def put(self, data):
        """Sends; False when there is nobody."""
        with self.send_lock:
            try:
                if self.sock is not None and self.peer is not None:
                    self.sock.sendall(data)
                    return True
            except OSError:
                pass
            return False

    def release(self, report):
        for cluster in report.find("cluster"):
            draining = [s.get("id") for s in cluster if s.get("state") == "draining"]
            for server in draining:
                key = (cluster.get("name"), server)
                if time.monotonic() - self.released.get(key, -9) > 0.5:
                    self.released[key] = time.monotonic()
                    self.put(f'<reconfigure id="{self.next_id()}" '
                             f'cluster="{key[0]}"><release server="{server}"/>'
                             "</reconfigure>".encode())

    def accept(self):
        while not self.stopped:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.peer = None
            self.sock = sock
            self.connections += 1
            try:
                sock.sendall(opening(self.role, "manager-by-hand", self.epoch))
            except OSError:
                continue
            threading.Thread(target=self.read, args=(sock,), daemon=True).start()

    def read(self, sock):
        reader = Reader()
        try:
            while True:
                data = sock.recv(65536)
                if not data:
                    break
                stanzas = list(reader.feed(data))
                if reader.root is not None:
                    self.peer = dict(reader.root.attrib)
                for element in stanzas:
                    stanza = Stanza(element, reader.root, "client", time.monotonic())
                    self.note(stanza)
                    if self.releasing and stanza.name == "report":
                        self.release(stanza)
        except (OSError, etree.XMLSyntaxError):
            pass

    def wait_peer(self, timeout=20.0):
        self.wait("report", timeout=timeout)
        return self.peer

    def next_id(self):
        with self.send_lock:
            self.sequence += 1
            return f"{self.epoch}:{self.sequence}"

    def send(self, operation, cluster=None, request_id=None, reason=None):
        """operation: the element's text. Returns the id."""
        request_id = request_id or self.next_id()
        attributes = f' cluster="{cluster}"' if cluster else ""
        attributes += f' reason="{reason}"' if reason else ""
        data = f'<reconfigure id="{request_id}"{attributes}>{operation}</reconfigure>'.encode()
        with self.send_lock:
            self.sent[request_id] = (data, self.connections)
            self.sock.sendall(data)
        return request_id

    def ask(self, operation, cluster=None, request_id=None, timeout=20.0):
        """Sends a request and waits for its result."""
        after = self.mark()
        request_id = self.send(operation, cluster, request_id)
        return self.wait_result(request_id, timeout, after)

    def wait_result(self, request_id, timeout=20.0, after=0):
        """As any manager does, it asks again on a new connection: the answer may be lost with the
        old one. An edge gives up a manager that a busy machine keeps silent."""
        until = time.monotonic() + timeout
        while True:
            try:
                return self.wait("result", lambda s: s.get("id") == request_id, after=after,
                                 timeout=min(1.0, until - time.monotonic()))
            except NoStanza:
                if time.monotonic() > until:
                    raise
            self.repeat(request_id)

    def repeat(self, request_id):
        """Sends it again if the connection by which it went is gone."""
        data, connection = self.sent[request_id]
        if connection != self.connections and self.put(data):
            self.sent[request_id] = (data, self.connections)

    def drop(self):
        if self.sock is not None:
            cut(self.sock)

    def close(self):
        self.stopped = True
        shut(self.listener)
        self.drop()


class RawPeer:
    """Any bytes to a manager's or edge's stream, and what comes back until it closes."""

    def __init__(self, address, timeout=10.0):
        self.sock = http1.connect(address, timeout)
        self.received = b""

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def finish(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def read_until(self, words, timeout=10.0):
        until = time.monotonic() + timeout
        while words not in self.received:
            self.sock.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                raise AssertionError(f"waited for {words!r}, got {self.received!r}") from None
            assert data, f"closed before {words!r}: {self.received!r}"
            self.received += data
        return self.received

    def read_to_end(self, timeout=10.0):
        self.sock.settimeout(timeout)
        try:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    break
                self.received += data
        except ConnectionResetError:
            pass
        except socket.timeout:
            raise AssertionError(f"the stream stays open: {self.received[-300:]!r}") from None
        return self.received

    def close(self):
        self.sock.close()
