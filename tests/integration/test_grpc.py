# SPDX-License-Identifier: Apache-2.0
"""gRPC from end to end, with the client and server that everybody has: all four kinds of call,
their deadlines, their cancellation, and the outcomes that only a trailer tells."""
import threading
import time

import grpc
import pytest

from harness import http1
from harness.box import wait
from harness.grpc_service import Service
from harness.h2member import H2Member
from harness.setup import Edge, metric


def same(data):
    return data


@pytest.fixture
def service(box):
    service = Service()
    box.closers.append(service.stop)
    return service


def start(box, *addresses, **more):
    return Edge(box, {"web": {"members": list(addresses), "protocol": "h2c", "slow-start": 0,
                              "balance": "round-robin", **more}}, workers=1)


@pytest.fixture
def channel(box, service):
    edge = start(box, service.address)
    with grpc.insecure_channel(edge.address) as channel:
        channel.edge = edge
        yield channel


def test_unary(channel, service):
    call = channel.unary_unary("/test.Echo/Unary")
    for turn in range(20):
        answer, done = call.with_call(b"%d" % turn, timeout=10)
        assert answer == b"own %d" % turn and done.code() == grpc.StatusCode.OK
        assert dict(done.trailing_metadata())["x-tail"] == "seen"
    assert 5 < service.started[0] < 11  # the deadline went on
    assert metric(channel.edge, "member_connects") == 1


def test_a_large_message(channel):
    message = bytes(range(256)) * 12000
    assert channel.unary_unary("/test.Echo/Unary")(message, timeout=20) == b"own " + message


def test_server_streaming(channel):
    answers = list(channel.unary_stream("/test.Echo/Down")(b"2000", timeout=20))
    assert answers == [b"%d" % turn for turn in range(2000)]


def test_client_streaming(channel):
    pieces = [b"%d" % turn for turn in range(500)]
    assert channel.stream_unary("/test.Echo/Up")(iter(pieces), timeout=20) == b",".join(pieces)


def test_both_ways_in_turns(channel):
    """Each message waits for the answer to the one before it."""
    turn = threading.Semaphore(1)

    def ask():
        for letter in "abcdef":
            assert turn.acquire(timeout=10)
            yield letter.encode()
    answers = []
    for answer in channel.stream_stream("/test.Echo/Both")(ask(), timeout=20):
        answers.append(answer)
        turn.release()
    assert answers == [b"A", b"B", b"C", b"D", b"E", b"F"]


def test_many_at_once(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    futures = [call.future(b"%d" % turn, timeout=20) for turn in range(200)]
    assert [one.result() for one in futures] == [b"own %d" % turn for turn in range(200)]


@pytest.mark.parametrize("code", ["NOT_FOUND", "UNAVAILABLE", "INTERNAL", "UNAUTHENTICATED"])
def test_a_status_of_the_members_own(channel, code):
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/test.Echo/Fail")(code.encode(), timeout=10)
    assert error.value.code() == grpc.StatusCode[code] and error.value.details() == "as asked"


def test_a_cancelled_call_reaches_the_member(channel, service):
    call = channel.unary_stream("/test.Echo/Hang")(b"x", timeout=20)
    assert next(call) == b"begun"
    call.cancel()
    assert service.cancelled.wait(5)


def test_a_deadline_that_passes(channel, service):
    call = channel.unary_stream("/test.Echo/Hang")(b"x", timeout=0.5)
    with pytest.raises(grpc.RpcError) as error:
        list(call)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert service.cancelled.wait(5)


# ---- what is said here -------------------------------------------------------------------------

def ask(edge, fields=(), method="POST"):
    return http1.fetch(edge.address, "/test.Echo/Unary", method, body=b"\0\0\0\0\0",
                       fields=[("Content-Type", "application/grpc"), ("TE", "trailers"), *fields])


def test_no_member_is_unavailable(box):
    edge = start(box, f"127.0.0.1:{box.port()}")
    with grpc.insecure_channel(edge.address) as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/test.Echo/Unary")(b"x", timeout=10)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert error.value.details() == "the member refused the connection"
    response = ask(edge)
    assert (response.status, response.get("grpc-status"), response.body) == (200, "14", b"")
    assert response.get("Content-Type") == "application/grpc"


def test_our_own_clock_keeps_its_deadline(box):
    """The member does not; it is told to stop, and is not to blame."""
    member = H2Member(lambda conn, request: None)
    box.closers.append(member.stop)
    edge = start(box, member.address, eject={"failures": 1, "max-share": 1})
    began = time.monotonic()
    response = ask(edge, [("grpc-timeout", "300m")])
    assert 0.25 < time.monotonic() - began < 5
    assert (response.status, response.get("grpc-status")) == (200, "4")
    wait("the reset", lambda: member.requests[0].reset is not None)
    assert metric(edge, "member_timeouts") == 0


def test_unavailable_counts_as_a_failure(box, service):
    """Told in trailers, behind a 200."""
    def act(conn, request):
        conn.headers(request.stream, [(":status", "200"), ("content-type", "application/grpc")])
        conn.headers(request.stream, [("grpc-status", "14")], end=True)
    bad = H2Member(act)
    box.closers.append(bad.stop)
    edge = start(box, bad.address, service.address, eject={"failures": 3, "max-share": 0.5})
    codes = []
    with grpc.insecure_channel(edge.address) as channel:
        call = channel.unary_unary("/test.Echo/Unary")
        for _ in range(20):
            try:
                call(b"x", timeout=10)
                codes.append(0)
            except grpc.RpcError as error:
                codes.append(error.code())
    assert codes.count(grpc.StatusCode.UNAVAILABLE) == 3 and codes[-10:] == [0] * 10
