# SPDX-License-Identifier: Apache-2.0
"""What keeps a cluster of min 0 awake although no byte passes: whatever is open, any protocol."""
import threading

import grpc

from harness.box import hold, wait
from harness.grpc_service import Service
from harness.setup import asleep, metric, zero
from harness.tunnel import Echo, open_tunnel

TCP = {"health": {"type": "tcp", "interval": "100ms", "starting-interval": "20ms"}}


def stays(box):
    # The first member serves before the ledger has it as ready.
    wait("its write", lambda: box.ledger_servers("web", only="ready"))
    hold("what is open keeps its server", lambda: box.ledger_servers("web", only="ready"), 1.5)


def test_a_websocket_that_says_nothing(box):
    member = Echo(box)
    edge = zero(box, member, idle="300ms", more=TCP)
    with open_tunnel(edge) as client:
        stays(box)
        client.send(b"ping")  # and it is of use still
        assert client.read_exactly(4) == b"ping"
        stays(box)
    asleep(box)
    assert metric(edge, "errors") == 0


def test_a_stream_of_http2_that_says_nothing(box):
    """From the client to the member: a call whose server sends one message and then nothing."""
    service = Service()
    box.closers.append(service.stop)
    edge = zero(box, service, idle="300ms", more={**TCP, "protocol": "h2c"})
    with grpc.insecure_channel(edge.address) as channel:
        call = channel.unary_stream("/test.Echo/Hang")(b"", timeout=30)
        assert next(call) == b"begun"
        stays(box)
        call.cancel()
        wait("the member to hear of it", service.cancelled.is_set)
        # The connection that carried it is kept, and keeps nobody.
        asleep(box)


def test_a_stream_that_waits_for_its_client(box):
    """Both sides open, neither says a word: only the client's half could end it."""
    service = Service()
    box.closers.append(service.stop)
    edge = zero(box, service, idle="300ms", more={**TCP, "protocol": "h2c"})
    silence = threading.Event()

    def words():
        yield b"one"
        silence.wait(20)
        yield b"two"

    with grpc.insecure_channel(edge.address) as channel:
        call = channel.stream_stream("/test.Echo/Both")(words(), timeout=30)
        assert next(call) == b"ONE"
        stays(box)
        silence.set()
        assert list(call) == [b"TWO"]
    asleep(box)
