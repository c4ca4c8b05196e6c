# SPDX-License-Identifier: Apache-2.0
"""A member that speaks HTTP/2 in raw frames, and does with each request as it is told: there is no
rule that it could not break."""
import socket
import struct
import threading

from hpack import Decoder, Encoder

from .listener import cut, shut
from .proper2 import Improper, Sender
from .wire2 import (ACK, CANCEL, CONT, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS,
                    INITIAL_WINDOW, NO_ERROR, PING, PREFACE, PRIO, RST, SETTINGS, WINDOW, frame,
                    settings)


class Request:
    def __init__(self, stream, fields):
        self.stream, self.fields = stream, fields
        self.body, self.trailers, self.ended, self.reset = b"", None, False, None

    def get(self, name, default=None):
        return dict(self.fields).get(name, default)

    @property
    def path(self):
        return self.get(":path")

    @property
    def method(self):
        return self.get(":method")


class Connection:
    """One connection: a thread reads; whoever answers a request does so in a thread of its own."""

    def __init__(self, member, sock):
        self.member, self.sock = member, sock
        self.encoder, self.decoder = Encoder(), Decoder()
        self.requests = {}
        self.changed = threading.Condition()
        self.window, self.initial, self.windows = 65535, 65535, {}
        self.settings, self.goaways, self.pings, self.acked = [], [], 0, False
        self.closed = False
        self.sender = Sender(False)

    # -- sending ---------------------------------------------------------------------------------

    def send(self, data):
        with self.changed:
            self.sock.sendall(data)

    def headers(self, stream, fields, end=False, flags=END_HEADERS):
        with self.changed:  # the encoder's state goes out in the order of its use
            block = self.encoder.encode(fields)
            first = flags | (END_STREAM if end else 0)
            if len(block) <= 16384:
                self.sock.sendall(frame(HEADERS, first, stream, block))
                return
            data = frame(HEADERS, first & ~END_HEADERS, stream, block[:16384])
            for at in range(16384, len(block), 16384):
                last = END_HEADERS if at + 16384 >= len(block) else 0
                data += frame(CONT, last, stream, block[at:at + 16384])
            self.sock.sendall(data)

    def data(self, stream, data=b"", end=False):
        """Whatever the windows say."""
        self.send(frame(DATA, END_STREAM if end else 0, stream, data))

    def body(self, stream, data, end=True):
        """As the windows allow. How much went out; less than all when it was reset meanwhile."""
        sent = 0
        while sent < len(data):
            with self.changed:
                def room():
                    return min(self.window, self.windows.get(stream, 0), 16384)
                self.changed.wait_for(lambda: self.closed or room() > 0 or
                                      self.requests[stream].reset is not None, 20)
                if self.closed or self.requests[stream].reset is not None or room() <= 0:
                    return sent
                piece = data[sent:sent + room()]
                self.window -= len(piece)
                self.windows[stream] -= len(piece)
                sent += len(piece)
                last = END_STREAM if end and sent == len(data) else 0
                self.sock.sendall(frame(DATA, last, stream, piece))
        return sent

    def reset(self, stream, code=CANCEL):
        self.send(frame(RST, 0, stream, struct.pack("!I", code)))

    def goaway(self, last, code=NO_ERROR):
        self.send(frame(GOAWAY, 0, 0, struct.pack("!II", last, code)))

    def answer(self, request, text=None, status="200", fields=()):
        text = b"own " + request.path.encode() if text is None else text
        self.headers(request.stream, [(":status", status), ("content-length", str(len(text))),
                                      *fields], end=not text)
        if text:
            self.body(request.stream, text)

    # -- receiving -------------------------------------------------------------------------------

    def exactly(self, count):
        got = b""
        while len(got) < count:
            piece = self.sock.recv(count - len(got))
            if not piece:
                raise EOFError
            got += piece
        return got

    def run(self):
        if self.exactly(len(PREFACE)) != PREFACE:
            raise ValueError("no preface")
        self.member.greet(self)
        block, block_stream, block_end = b"", 0, False
        while True:
            head = self.exactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big") & 0x7fffffff
            payload = self.exactly(length)
            self.sender.frame(head, payload, dict(self.member.values).get(5, 16384))
            with self.changed:
                if kind in (HEADERS, CONT):
                    if kind == HEADERS:
                        block, block_stream = b"", stream
                        block_end = bool(flags & END_STREAM)
                        payload = payload[5:] if flags & PRIO else payload
                    block += payload
                    if flags & END_HEADERS:
                        self.on_fields(block_stream, self.decoder.decode(block), block_end)
                else:
                    self.on_frame(kind, flags, stream, payload)
                self.changed.notify_all()

    def on_fields(self, stream, fields, end):
        request = self.requests.get(stream)
        self.sender.fields(fields, request is not None)
        if request:
            request.trailers = fields
        else:
            request = self.requests[stream] = Request(stream, fields)
            self.windows[stream] = self.initial
            self.member.seen(request)
            threading.Thread(target=self.serve, args=(request,), daemon=True).start()
        request.ended |= end

    def on_frame(self, kind, flags, stream, payload):
        if kind == DATA:
            request = self.requests[stream]
            request.body += payload
            request.ended |= bool(flags & END_STREAM)
            if payload and self.member.gives_window:
                more = struct.pack("!I", len(payload))
                self.sock.sendall(frame(WINDOW, 0, 0, more) + frame(WINDOW, 0, stream, more))
        elif kind == SETTINGS and flags & ACK:
            self.acked = True
        elif kind == SETTINGS:
            values = [struct.unpack_from("!HI", payload, at) for at in range(0, len(payload), 6)]
            self.settings += values
            if INITIAL_WINDOW in dict(values):
                change = dict(values)[INITIAL_WINDOW] - self.initial
                self.initial += change
                for key in self.windows:
                    self.windows[key] += change
            if self.member.acks:
                self.sock.sendall(frame(SETTINGS, ACK))
        elif kind == WINDOW:
            more = int.from_bytes(payload, "big")
            if stream:
                self.windows[stream] = self.windows.get(stream, self.initial) + more
            else:
                self.window += more
        elif kind == RST:
            if stream in self.requests:
                self.requests[stream].reset = int.from_bytes(payload, "big")
        elif kind == PING and not flags & ACK:
            self.pings += 1
            if self.member.answers_pings:
                self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaways.append(int.from_bytes(payload[4:8], "big"))

    def until(self, condition, timeout=10):
        """Waits for what the reading thread notes; the truth of it."""
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.closed, timeout)
            return condition()

    def whole(self, request):
        return self.until(lambda: request.ended)

    def serve(self, request):
        try:
            act = self.member.act
            if not act or not self.member.early:
                self.whole(request)
            if act:
                act(self, request)
            else:
                self.answer(request)
        except (OSError, EOFError):
            pass


class H2Member:
    """act(connection, request) answers a request, whole unless `early`; None: well-behaved."""

    def __init__(self, act=None, early=False, values=(), context=None):
        self.act, self.early, self.values, self.context = act, early, dict(values), context
        self.gives_window = self.answers_pings = self.acks = True
        self.requests, self.connections, self.opened = [], [], 0
        self.lock, self.released = threading.Lock(), threading.Event()
        self.greeting = None
        self.improper = []  # what the edge must not have sent
        self.port = 0
        self.open()
        self.address = f"127.0.0.1:{self.port}"

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def shut(self):
        shut(self.listener)
        for connection in list(self.connections):
            self.cut(connection)

    @staticmethod
    def cut(connection):
        cut(connection.sock)

    def stop(self):
        self.released.set()
        self.shut()
        assert not self.improper, f"the edge sent {self.improper}"

    release = stop

    def greet(self, connection):
        if self.greeting:
            self.greeting(connection)
        else:
            connection.send(settings(*self.values.items()))

    def seen(self, request):
        with self.lock:
            self.requests.append(request)

    def paths(self):
        with self.lock:
            return [request.path for request in self.requests]

    def count(self, method=None):
        with self.lock:
            return sum(method in (None, request.method) for request in self.requests)

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(sock,), daemon=True).start()

    def talk(self, sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        self.speak(sock)

    def speak(self, sock):
        connection = None
        try:
            connection = Connection(self, sock)
            with self.lock:
                self.connections.append(connection)
                self.opened += 1
            connection.run()
        except (OSError, EOFError, ValueError):
            pass
        except Improper as error:
            self.improper.append(error)
        finally:
            if connection:
                with self.lock:
                    self.connections.remove(connection)
                with connection.changed:
                    connection.closed = True
                    connection.changed.notify_all()
            sock.close()
