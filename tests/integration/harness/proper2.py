# SPDX-License-Identifier: Apache-2.0
"""What RFC 9113 asks of whoever sends: each frame that Freshet sends to a client or member of the
tests is held to it."""
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
FLAGS = {DATA: 0x9, HEADERS: 0x2d, RST: 0, SETTINGS: ACK, PING: ACK, GOAWAY: 0, WINDOW: 0, CONT: 4}
ON_STREAMS, ON_NONE = (DATA, HEADERS, RST, CONT), (SETTINGS, PING, GOAWAY)
LENGTHS = {RST: 4, PING: 8, WINDOW: 4}
NEVER = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
         "http2-settings"}


class Improper(AssertionError):
    pass


def must(truth, *words):
    if not truth:
        raise Improper(*words)


class Sender:
    """One direction of one connection, from its first frame."""

    def __init__(self, is_server):
        self.is_server = is_server
        self.begun = False
        self.in_block = None  # the stream whose field block is under way
        self.ended, self.reset, self.headed = set(), set(), set()
        self.last_goaway = 0x7fffffff

    def frame(self, head, payload, largest):
        """head: nine octets as they came. largest: what the receiver's SETTINGS allow."""
        kind, flags, number = head[3], head[4], int.from_bytes(head[5:9], "big")
        what = (kind, flags, number, payload[:40])
        must(kind in FLAGS, "4.1, 8.4: a type that nobody asked for", what)
        must(self.begun or (kind == SETTINGS and not flags), "3.4: SETTINGS come first", what)
        self.begun = True
        must(flags & ~FLAGS[kind] == 0, "4.1: a flag that means nothing", what)
        must(number < 1 << 31, "4.1: the reserved bit", what)
        must(len(payload) <= largest, "4.2: longer than allowed", len(payload))
        must(len(payload) == LENGTHS.get(kind, len(payload)), "6: a length", what)
        must(kind not in ON_STREAMS or number, "6: on no stream", what)
        must(kind not in ON_NONE or not number, "6: on a stream", what)
        must(number % 2 or not number, "5.1.1: nobody opens even ones here", what)
        must(self.in_block in (None, number) and (kind == CONT) == (self.in_block is not None),
             "4.3, 6.10: a field block is in one piece", what)
        if kind in (HEADERS, CONT):
            self.in_block = None if flags & END_HEADERS else number
        must(number not in self.reset, "5.1: on a stream that its sender has reset", what)
        if kind == RST:
            self.reset.add(number)
        elif kind in (DATA, HEADERS):
            must(number not in self.ended, "5.1: behind END_STREAM", what)
            must(kind == HEADERS or number in self.headed, "8.1: DATA before a head", what)
            if kind == HEADERS:
                self.headed.add(number)
            if flags & END_STREAM:
                self.ended.add(number)
        elif kind == SETTINGS:
            must(len(payload) % 6 == 0 and not (flags and payload), "6.5: its length", what)
            pairs = [payload[at:at + 6] for at in range(0, len(payload), 6)]
            push = [pair[5] for pair in pairs if pair[:2] == b"\0\2"]
            must(not self.is_server or not any(push), "6.5.2: a server that offers push", what)
        elif kind == WINDOW:
            must(0 < int.from_bytes(payload, "big") < 1 << 31, "6.9: an increment", what)
        elif kind == GOAWAY:
            last = int.from_bytes(payload[:4], "big")
            must(last <= self.last_goaway, "6.8: a last stream that grows", what)
            self.last_goaway = last

    def fields(self, fields, trailers):
        names = [str(field[0]) for field in fields]
        pseudo = [name for name in names if name.startswith(":")]
        must(all(name == name.lower() for name in names), "8.2: a name in upper case", fields)
        must(not NEVER & set(names), "8.2.2: a field of one connection", fields)
        must(names[:len(pseudo)] == pseudo, "8.3: a pseudo-field behind others", fields)
        must(len(set(pseudo)) == len(pseudo), "8.3: a pseudo-field twice", fields)
        values = [str(field[1]) for field in fields]
        must(all(value == value.strip(" \t") for value in values), "8.2.1: blanks", fields)
        must(not any(set(value) & set("\0\r\n") for value in values), "8.2.1: a value", fields)
        head = dict(zip(names, values))
        must(not self.is_server or head.get("te") is None, "8.2.2: te in a response", fields)
        must(head.get("te") in (None, "trailers"), "8.2.2: te", fields)
        if trailers:
            must(not pseudo, "8.1: a pseudo-field in trailers", fields)
        elif self.is_server:
            must(pseudo == [":status"] and head[":status"] != "101", "8.3.2, 8.6", fields)
        else:
            self.request(pseudo, head, fields)

    @staticmethod
    def request(pseudo, head, fields):
        wanted = {":method", ":scheme", ":path"}
        extended = head[":method"] == "CONNECT" and ":protocol" in head
        must(wanted <= set(pseudo), "8.3.1: what each request has", fields)
        must(set(pseudo) <= wanted | {":authority"} | ({":protocol"} if extended else set()),
             "8.3", fields)
        must(head[":path"].startswith("/") or head[":path"] == "*", "8.3.1: :path", fields)
        must(head.get(":authority") != "" and "@" not in head.get(":authority", ""),
             "8.3.1: :authority", fields)
        must(head.get("host") in (None, head.get(":authority")), "8.3.1: host", fields)
