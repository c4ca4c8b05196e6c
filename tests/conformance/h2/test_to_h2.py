# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 on both sides, in raw frames: what a member says arrives as it was said, or not at all."""
import pytest
from hpack import NeverIndexedHeaderTuple

from harness import http1
from harness.box import shared_box, wait
from harness.h2member import H2Member
from harness.setup import Edge, metric
from harness.wire2 import CANCEL, INTERNAL, Connection, block, data, get, headers, never


@pytest.fixture(scope="module")
def pair():
    with shared_box() as box:
        member = H2Member()
        box.closers.append(member.stop)
        edge = Edge(box, {"web": {"members": [member.address], "protocol": "h2c", "slow-start": 0,
                                  "eject": {"failures": 0}}}, workers=1)
        yield edge, member
        edge.process.stop()


@pytest.fixture
def client(pair):
    connection = Connection(pair[0].address)
    yield connection
    connection.close()


def says(*steps):
    """Each step is fields, or bytes of a body; the last one ends the stream, unless it is None."""
    def act(connection, request):
        for index, step in enumerate(steps):
            last = index == len(steps) - 1
            if step is None:
                connection.reset(request.stream, CANCEL)
            elif isinstance(step, bytes):
                connection.data(request.stream, step, end=last)
            else:
                connection.headers(request.stream, step, end=last)
    return act


OK = [(":status", "200")]
TAIL = [("x-tail", "seen")]


@pytest.mark.parametrize("length", [5, None], ids=["told", "open"])
def test_trailers_whatever_is_told_of_the_body(pair, client, length):
    _, member = pair
    more = [] if length is None else [("content-length", str(length))]
    member.act = says(OK + more, b"hello", TAIL)
    one = client.ask("/trailers")
    assert (one.status, one.body, one.reset) == (200, b"hello", None)
    assert one.trailers == TAIL and one.ended


def test_trailers_that_http1_has_no_place_for_are_counted(pair):
    edge, member = pair
    member.act = says(OK + [("content-length", "5")], b"hello", TAIL)
    before = metric(edge, "trailers_dropped")
    answer = http1.fetch(edge.address, "/counted")
    assert (answer.status, answer.text) == (200, "hello")
    assert metric(edge, "trailers_dropped") == before + 1


def test_a_request_s_trailers_behind_a_told_length_are_counted(pair, client):
    edge, member = pair
    member.act = None
    before = metric(edge, "trailers_dropped")
    client.send(headers(get("/up", ("content-length", "3"), method="POST"), end=False) +
                b"\0\0\x03\0\0\0\0\0\x01abc" + headers([("x-tail", "1")]))
    assert client.answer(1).status == 200
    assert member.requests[-1].body == b"abc"
    assert metric(edge, "trailers_dropped") == before + 1


def test_a_request_s_length_and_announced_trailers_go_together(pair, client):
    """Only HTTP/1.1 has to choose between them."""
    edge, member = pair
    member.act = None
    before = metric(edge, "trailers_dropped")
    client.send(headers(get("/up", ("cookie", "a=1"), ("x-a", "b"), ("content-length", "3"),
                            ("cookie", "b=2"), ("trailer", "x-tail"), method="POST"), end=False) +
                b"\0\0\x03\0\0\0\0\0\x01abc" + headers(TAIL))
    assert client.answer(1).status == 200
    request = member.requests[-1]
    assert request.get("content-length") == "3" and request.get("trailer") == "x-tail"
    assert request.get("x-a") == "b" and request.get("cookie") == "a=1; b=2"
    assert request.get("transfer-encoding") is None
    assert request.body == b"abc" and wait("trailers", lambda: request.trailers) == TAIL
    assert metric(edge, "trailers_dropped") == before


@pytest.mark.parametrize("steps", [
    (OK + [("content-length", "5")], b"hello", None),
    (OK + [("content-length", "5")], b"hel", None),
    (OK + [("content-length", "5")], b"hel", b""),
    (OK + [("content-length", "5")], b"hello", b"more", b""),
    (OK, b"hello", None),
    (OK + [("content-length", "5")], b"hel", TAIL),
    (OK, b"hello", [("x-tail", "a\r\nb: c")]),
    (OK, b"hello", [("content-length", "5")]),
    (OK, b"hello", [(":status", "200")]),
    (OK, b"hello", [("transfer-encoding", "chunked")])],
    ids=["whole-but-reset", "cut", "short", "long", "open-and-reset", "short-with-trailers",
         "a-line-in-trailers", "length-in-trailers", "pseudo-in-trailers", "coding-in-trailers"])
def test_what_breaks_off_or_rules_is_never_ended_well(pair, client, steps):
    """A client of HTTP/1.1 has what it was told of where all of that came, and a cut else."""
    edge, member = pair
    member.act = says(*steps)
    one = client.ask("/cut")
    assert not one.ended and one.reset == INTERNAL
    assert not one.trailers
    if steps[0] != OK and b"hello" in steps:
        assert http1.fetch(edge.address, "/cut").text == "hello"
        return
    with pytest.raises((http1.ProtocolError, OSError)):
        http1.fetch(edge.address, "/cut")


@pytest.mark.parametrize("field", [
    ("x-a", "b\r\nset-cookie: c"), ("x-a", "b\nc"), ("x-a", "b\0c"), ("x-a: b", "c"), ("X-A", "b"),
    ("x a", "b"), ("", "b"), ("x-a", " b"), ("x-a", "b\t"), (":path", "/"), (":unknown", "1"),
    ("connection", "close"), ("keep-alive", "1"), ("proxy-connection", "close"), ("upgrade", "h2c"),
    ("transfer-encoding", "chunked"), ("content-length", "x"), ("content-length", "-1"),
    ("content-length", "1, 1"), ("content-length", "+2"), (":status", "200"), ("te", "trailers"),
    ("host", "h.example")])
def test_a_field_that_could_be_read_in_two_ways(pair, client, field):
    """The response is refused whole, for both kinds of client."""
    edge, member = pair
    member.act = says(OK + [field], b"x")
    one = client.ask("/field")
    assert one.status == 502
    assert http1.fetch(edge.address, "/field").status == 502


def test_two_lengths(pair, client):
    _, member = pair
    member.act = says(OK + [("content-length", "1"), ("content-length", "1")], b"x")
    assert client.ask("/lengths").status == 502


# ---- what must never be indexed (RFC 7541 section 6.2.3) ----

def never_of(fields):
    return {str(field[0]) for field in fields if not field.indexable}


def test_a_request_s_fields_are_never_indexed_on_either_connection(pair, client):
    _, member = pair
    member.act = None
    head = block(get("/up", method="POST")[:3])
    head += never(":authority", "h.example") + never("x-secret", "2") + block([("x-plain", "1")])
    head += block([("cookie", "a=" + "1" * 30)]) + never("cookie", "b=2") + never("x-empty", "")
    client.send(headers(head, end=False) + data(b"abc", end=False) +
                headers(never("x-t", "3") + block([("x-u", "4")])))
    assert client.answer(1).status == 200
    request = member.requests[-1]
    assert (request.get("x-secret"), request.get("x-plain"), request.get("x-empty")) == \
        ("2", "1", "")
    assert request.get("cookie") == "a=%s; b=2" % ("1" * 30)
    assert never_of(request.fields) == {":authority", ":path", "x-secret", "cookie", "x-empty"}
    trailers = wait("trailers", lambda: request.trailers)
    assert dict(trailers) == {"x-t": "3", "x-u": "4"} and never_of(trailers) == {"x-t"}


def test_what_is_secret_by_its_name_is_never_indexed(pair, client):
    _, member = pair
    member.act = says([(":status", "200"), ("set-cookie", "a=%s" % ("1" * 40)), ("x-plain", "1")],
                      b"x")
    one = client.ask("/up", 1, ("authorization", "Basic " + "a" * 40), ("cookie", "a=1"),
                     ("x-plain", "1"))
    assert one.status == 200 and one.never == {"set-cookie"}
    assert never_of(member.requests[-1].fields) == {":path", "authorization", "cookie"}


def test_a_response_s_fields_are_never_indexed_on_either_connection(pair, client):
    _, member = pair
    member.act = says([(":status", "103"), NeverIndexedHeaderTuple("x-early", "0")],
                      [(":status", "200"), NeverIndexedHeaderTuple("x-secret", "1"),
                       ("x-plain", "2")], b"hello",
                      [NeverIndexedHeaderTuple("x-t", "3"), ("x-u", "4")])
    one = client.ask("/down")
    assert dict(one.fields)["x-secret"] == "1" and one.trailers == [("x-t", "3"), ("x-u", "4")]
    assert one.never == {"x-early", "x-secret", "x-t"}


def test_what_is_stored_is_never_indexed_either(spare):
    member = H2Member()
    spare.closers.append(member.stop)
    edge = Edge(spare, {"web": {"members": [member.address], "protocol": "h2c",
                                "slow-start": 0}}, cache={"memory": "4MiB"}, workers=1)
    kept = NeverIndexedHeaderTuple("x-secret", "1"), ("cache-control", "max-age=60"), \
        ("etag", '"a"')
    member.act = says([(":status", "200"), *kept, ("content-length", "5")], b"hello")
    with_it = Connection(edge.address)
    for number in (1, 3):
        one = with_it.ask("/stored", number)
        assert dict(one.fields)["x-secret"] == "1" and one.never == {"x-secret"}
    assert len(member.requests) == 1
    # A 304 brings one, and leaves another.
    member.act = says([(":status", "304"), NeverIndexedHeaderTuple("x-new", "2"),
                       ("cache-control", "max-age=60"), ("etag", '"a"')])
    one = with_it.ask("/stored", 5, ("cache-control", "no-cache"))
    assert one.body == b"hello" and one.never >= {"x-secret"}
    one = with_it.ask("/stored", 7)
    assert one.never == {"x-secret", "x-new"}
    with_it.close()
    edge.process.stop()
