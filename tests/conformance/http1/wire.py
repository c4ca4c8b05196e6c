# SPDX-License-Identifier: Apache-2.0
"""Many connections at once from one thread: clients that send raw bytes in pieces, and the origin
that records what reaches it and answers raw bytes in pieces."""
import heapq
import itertools
import selectors
import socket
import struct
import time

import strict

AT_ONCE = 256       # runs under way at a time
GAP_S = 0.012       # between two pieces, so that the edge reads them apart
PATIENCE_S = 8.0    # ends a hopeless run; a healthy one never comes near it
LINGER_S = 0.03     # to see bytes that nobody asked for


class Reply:
    """What the origin answers: pieces of raw bytes and the seconds before each; then keep, close,
    reset. early: at once when the request's head is there."""

    def __init__(self, pieces, then="keep", early=False):
        self.pieces, self.then, self.early = pieces, then, early


class Run:
    """One client connection: pieces to send, and what came of it."""

    def __init__(self, pieces, methods=("GET",), until_close=False, linger=False, then=None):
        self.pieces, self.methods = pieces, list(methods)
        self.until_close, self.linger = until_close, linger
        self.then = list(then or [])  # pieces sent, one each time all answers so far are in
        self.data, self.ended, self.done = b"", "", False
        self.patience = PATIENCE_S
        self.ends_at = None           # a status that ends it, until_close or not
        self.sock = self.deadline = None

    def answers(self):
        found, self.rest = strict.responses(self.data, self.methods, self.ended == "fin")
        return [m for m in found if m.status >= 200 or m.status == 101]


class Connection:
    """The origin's end of one connection of the edge."""

    def __init__(self, sock):
        self.sock, self.data, self.busy, self.open = sock, b"", False, True
        self.keys, self.ended, self.continued = [], False, False


class Wire:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.timers, self.order = [], itertools.count()
        self.replies = {}
        self.forget()

    def forget(self):
        self.seen = {}        # key -> requests
        self.raw = {}         # key -> the bytes of the last one
        self.connections_of = {}
        self.bad = []

    def close(self):
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def later(self, seconds, call):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.order), call))

    # ---- the origin ----

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(True)
            connection = Connection(sock)
            self.selector.register(sock, selectors.EVENT_READ, connection)

    def drop(self, connection, reset=False):
        if connection.open:
            connection.open = False
            self.selector.unregister(connection.sock)
            if reset:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
            connection.sock.close()

    def origin_readable(self, connection):
        try:
            data = connection.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            connection.ended = True
            self.drop(connection)
            return
        connection.data += data
        self.origin_read(connection)

    @staticmethod
    def key_of(message):
        tag = message.get("x-key")
        return (tag or message.target.partition(b"?")[0]).decode("latin-1")

    def origin_read(self, connection):
        while connection.open and not connection.busy and connection.data:
            try:
                message, after = strict.request(connection.data)
            except strict.Bad as error:
                self.bad.append((str(error), connection.data[:300]))
                self.drop(connection)
                return
            if message is None:
                return
            key = self.key_of(message)
            reply = self.replies.get(key)
            if after is None:
                if message.get("expect") and not connection.continued:
                    connection.continued = True
                    self.put(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
                if not (reply and reply.early):
                    return
                after = len(connection.data)
            connection.continued = False
            self.raw[key] = connection.data[:after]
            connection.data = connection.data[after:]
            self.seen.setdefault(key, []).append(message)
            self.connections_of.setdefault(key, []).append(connection)
            self.origin_answer(connection, reply or plain(message, key))

    def origin_answer(self, connection, reply):
        pieces, at = list(reply.pieces), 0.0
        connection.busy = True
        for delay, data in pieces:
            at += delay
            if at == 0:
                self.put(connection, data)
            else:
                self.later(at, lambda data=data: self.put(connection, data))
        if at == 0:
            self.answered(connection, reply)
        else:
            self.later(at, lambda: self.answered(connection, reply))

    def put(self, connection, data):
        if connection.open:
            try:
                connection.sock.sendall(data)
            except OSError:
                self.drop(connection)

    def answered(self, connection, reply):
        connection.busy = False
        if reply.then != "keep":
            self.drop(connection, reply.then == "reset")
        else:
            self.origin_read(connection)

    # ---- clients ----

    def begin(self, run, address):
        run.sock = socket.create_connection(address, timeout=PATIENCE_S)
        run.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        run.deadline = time.monotonic() + run.patience
        self.selector.register(run.sock, selectors.EVENT_READ, run)
        self.send_pieces(run, list(run.pieces))

    def send_pieces(self, run, pieces):
        while pieces and not run.done:
            data = pieces.pop(0)
            try:
                if data is None:
                    run.sock.shutdown(socket.SHUT_WR)
                else:
                    run.sock.sendall(data)
            except OSError:
                return  # closed by the edge: its end is judged
            if pieces:
                self.later(GAP_S, lambda: self.send_pieces(run, pieces))
                return

    def client_readable(self, run):
        try:
            data = run.sock.recv(65536)
            run.ended = "" if data else "fin"
        except OSError:
            data, run.ended = b"", "rst"
        run.data += data
        if run.ended:
            self.finish(run)
            return
        try:
            answers = run.answers()
        except strict.Bad:
            self.finish(run)
            return
        whole = len(answers) >= len(run.methods) and answers[-1].complete
        if not whole or (run.until_close and answers[-1].status != run.ends_at):
            return
        if run.then:
            method, data = run.then.pop(0)
            run.methods.append(method)
            self.later(LINGER_S, lambda: self.send_pieces(run, [data]))
        elif run.linger:
            self.later(LINGER_S, lambda: self.finish(run))
        else:
            self.finish(run)

    def finish(self, run):
        if not run.done:
            run.done = True
            self.selector.unregister(run.sock)
            run.sock.close()
            self.left -= 1

    # ---- all of it ----

    def turn(self, seconds):
        if self.timers:
            seconds = min(seconds, max(0.0, self.timers[0][0] - time.monotonic()))
        for key, _ in self.selector.select(seconds):
            if key.data is None:
                self.accept()
            elif isinstance(key.data, Connection):
                self.origin_readable(key.data)
            elif not key.data.done:
                self.client_readable(key.data)
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()

    def run(self, runs, address):
        """Carries every run to its end, AT_ONCE at a time."""
        for start in range(0, len(runs), AT_ONCE):
            batch = runs[start:start + AT_ONCE]
            self.left = len(batch)
            for run in batch:
                self.begin(run, address)
            while self.left > 0:
                self.turn(0.05)
                now = time.monotonic()
                for run in batch:
                    if not run.done and now > run.deadline:
                        self.finish(run)

    def idle(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(end - time.monotonic())


def plain(message, key):
    body = f"key={key}\n".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Reply([(0, head if message.method == b"HEAD" else head + body)])
