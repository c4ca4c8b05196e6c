# SPDX-License-Identifier: Apache-2.0
"""A small DNS server (UDP): name -> addresses, as a test says at the moment."""
import ipaddress
import socket
import struct
import threading

from .listener import shut

A, AAAA = 1, 28
OK, SERVER_FAILURE, NO_SUCH_NAME = 0, 2, 3


class Names:
    def __init__(self):
        self.table, self.silent, self.failing = {}, False, False
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def put(self, name, *addresses):
        self.table[name] = addresses

    def close(self):
        shut(self.sock)

    def run(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
                if not data:
                    return  # shut
                answer = self.answer(data)
                if not self.silent:
                    self.sock.sendto(answer, peer)
            except OSError:
                return  # closed

    def answer(self, data):
        number, _, count = struct.unpack(">HHH", data[:6])
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode())
            at += 1 + data[at]
        kind, _ = struct.unpack(">HH", data[at + 1:at + 5])
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        addresses = [ipaddress.ip_address(a) for a in self.table.get(name, ())]
        given = [a for a in addresses if (a.version == 4) == (kind == A)]
        code = OK if name in self.table else NO_SUCH_NAME
        if self.failing:
            given, code = [], SERVER_FAILURE
        head = struct.pack(">HHHHHH", number, 0x8580 | code, count, len(given), 0, 0)
        rows = b"".join(struct.pack(">HHHIH", 0xc00c, kind, 1, 1, len(a.packed)) + a.packed
                        for a in given)
        return head + data[12:at + 5] + rows
