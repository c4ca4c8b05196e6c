#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""feed - simulated edges: python3 bench/feed.py ADDRESS EDGES MEMBERS SECONDS [RATE].

Each edge holds a stream to the manager and reports its members once a second, spread over it; or
all together RATE times a second.
Prints what was sent as JSON.
"""
import json
import selectors
import sys
import time

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/tests/integration")

from harness.http1 import connect  # noqa: E402
from harness.stream import opening  # noqa: E402


def report(edge, members, sequence):
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".%03dZ" % (now % 1 * 1000)
    servers = "".join(
        f'<server id="c{edge}-{m}" address="10.{edge}.0.{m}:80" state="ready" weight="100" '
        f'utilization="0.5{(m + sequence) % 10}" requests="{sequence * 100 + m}" errors="0" '
        f'in-flight="{m % 7}" p50-ms="4.1" p90-ms="9.9" p99-ms="31.0"/>' for m in range(members))
    return (f'<report seq="{sequence}" at="{stamp}" full="true"><server id="e{edge}" role="edge" '
            f'utilization="0.4" requests="{sequence * 5000}" errors="0" in-flight="31"/>'
            f'<cluster name="c{edge}" responsible="true" requests="{sequence * 5000}" waiting="0">'
            f'{servers}</cluster><pool name="rack" available="0"/></report>').encode()


def main():
    address, edges, members, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    rate = int(sys.argv[5]) if len(sys.argv) > 5 else edges
    selector = selectors.DefaultSelector()
    sockets = []
    for edge in range(edges):
        sock = connect(address)
        sock.sendall(opening("edge", f"e{edge}"))
        selector.register(sock, selectors.EVENT_READ)
        sockets.append(sock)
    began = time.monotonic()
    sent = lost = received = 0
    total = rate * seconds
    while sent < total:
        due = began + sent / rate
        for key, _ in selector.select(max(0, due - time.monotonic())):
            data = key.fileobj.recv(65536)
            received += len(data)
            if not data:
                lost += 1
                selector.unregister(key.fileobj)
        while sent < total and time.monotonic() >= began + sent / rate:
            edge = sent % edges
            sockets[edge].sendall(report(edge, members, sent // edges + 1))
            sent += 1
    took = time.monotonic() - began
    print(json.dumps({"reports": sent, "samples_per_second": round(sent * members / took),
                      "streams_lost": lost, "bytes_received": received}))


if __name__ == "__main__":
    main()
