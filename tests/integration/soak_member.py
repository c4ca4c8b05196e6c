#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A member whose every byte can be checked, and that misbehaves: soak_member.py --port N [--ill F]
[--index I].

GET /NAME?n=BYTES&id=ID is answered with keyed(NAME, BYTES) and X-Soak-Id: ID. A request's body of m
bytes (&m=M) must be keyed("up" + NAME, M), else the answer is 418. A share F of the answers is cut,
reset, garbled, followed by another's, late, slow, or too early. What only the close ends tells who
says it (X-Soak-Open: I). GET /healthz says 200.
"""
import argparse
import asyncio
import hashlib
import random
import socket
import struct
import sys
import urllib.parse

RESET = struct.pack("ii", 1, 0)
STOLEN = b"HTTP/1.1 200 OK\r\nX-Soak-Id: stolen\r\nContent-Length: 6\r\n\r\nstolen"


def keyed(name, count):
    """As many bytes as wanted, which say in every place whose they are."""
    return hashlib.shake_128(name.encode()).digest(count)


class Ended(Exception):
    """This connection has no further use."""


class Connection:
    def __init__(self, reader, writer, options):
        self.reader, self.writer = reader, writer
        self.ill, self.index = options.ill, options.index
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def reset(self):
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise Ended

    async def read_body(self, fields):
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                body += (await self.reader.readexactly(size + 2))[:size]
                if size == 0:
                    return body
        return await self.reader.readexactly(int(fields.get("content-length", 0)))

    async def one(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        fields = {line.split(":")[0].lower(): line.split(":", 1)[1].strip()
                  for line in head[1:] if line}
        url = urllib.parse.urlsplit(target)
        if url.path == "/healthz":
            await self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        query = dict(urllib.parse.parse_qsl(url.query))
        name, identity = url.path[1:], query.get("id", "")
        ill = random.random() < self.ill
        if ill and fields.get("content-length") and random.random() < 0.3:
            await self.answer(method, name, identity, int(query["n"]))  # before the body is in
            raise Ended
        if fields.get("expect"):
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self.read_body(fields)
        good = body == keyed("up" + name, int(query.get("m", 0)))
        if fields.get("x-soak-id", identity) != identity or not good:
            await self.send(b"HTTP/1.1 418 Wrong\r\nContent-Length: 0\r\n\r\n")
        elif ill:
            await self.misbehave(method, name, identity, int(query["n"]))
        else:
            await self.answer(method, name, identity, int(query["n"]))

    def head(self, identity, *lines):
        cache = ["Cache-Control: max-age=1"] if identity == "" else []
        return "\r\n".join(["HTTP/1.1 200 OK", f"X-Soak-Id: {identity}", *cache, *lines,
                            "", ""]).encode()

    async def answer(self, method, name, identity, count):
        body = keyed(name, count)
        shape = random.random()
        if method == "HEAD":
            await self.send(self.head(identity, f"Content-Length: {count}"))
        elif shape < 0.55:
            await self.send(self.head(identity, f"Content-Length: {count}") + body)
        elif shape < 0.95:
            out, at = [self.head(identity, "Transfer-Encoding: chunked")], 0
            while at < count:
                size = random.randint(1, count)
                piece = body[at:at + size]
                out.append(b"%x\r\n%b\r\n" % (len(piece), piece))
                at += size
            await self.send(b"".join(out) + b"0\r\n\r\n")
        else:
            await self.send(self.head(identity, f"X-Soak-Open: {self.index}") + body)
            raise Ended

    async def misbehave(self, method, name, identity, count):
        body = b"" if method == "HEAD" else keyed(name, count)
        told = self.head(identity, f"Content-Length: {count}")
        chunked = self.head(identity, "Transfer-Encoding: chunked")
        part = body[:random.randint(0, max(0, len(body) - 1))]
        way = random.randrange(11)
        if way == 0:
            raise Ended  # no answer at all
        if way == 1:
            self.reset()
        if way == 2:
            await self.send(told[:random.randint(1, len(told) - 1)])
            raise Ended
        if way == 3 and body:
            await self.send(told + part)
            raise Ended
        if way == 4 and body:
            await self.send(told + part)
            await asyncio.sleep(0.02)
            self.reset()
        if way == 5 and body:
            await self.send(chunked + b"%x\r\n%b\r\n" % (len(part), part) if part else chunked)
            raise Ended
        if way == 6 and body:
            await self.send(self.head(identity, f"X-Soak-Open: {self.index}") + part)
            await asyncio.sleep(0.02)
            self.reset()
        if way == 7:
            await self.send(random.choice((b"nonsense\r\n\r\n", b"HTTP/1.1 99 No\r\n\r\n",
                                           b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", b"\x16\x03\x01",
                                           b"HTTP/1.1 101 Up\r\nUpgrade: x\r\n\r\n")))
            raise Ended
        if way == 8:
            await self.send(told + body + STOLEN)  # nobody asked for the second
            return
        if way == 9:
            await asyncio.sleep(random.choice((0.1, 0.5, 3)))
        if way == 10:
            await self.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2 + told)
            for at in range(0, len(body), max(1, len(body) // 5)):
                await self.send(body[at:at + max(1, len(body) // 5)])
                await asyncio.sleep(0.02)
            return
        await self.send(told + body)

    async def serve(self):
        try:
            while True:
                await self.one()
        except (Ended, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--index", type=int, default=0, help="told where only the close ends it")
    parser.add_argument("--ill", type=float, default=0.2)
    options = parser.parse_args()

    async def on_connection(reader, writer):
        await Connection(reader, writer, options).serve()
    server = await asyncio.start_server(on_connection, "127.0.0.1", options.port, backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
