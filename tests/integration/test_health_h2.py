# SPDX-License-Identifier: Apache-2.0
"""Checks over HTTP/2: the gRPC health protocol with the server that everybody has, and a GET to
members that speak nothing else."""
import concurrent.futures
import ssl

import grpc
import pytest

from harness import http1
from harness.box import hold, wait
from harness.h2member import H2Member
from harness.pki import Authority
from harness.setup import Edge, metric
from harness.wire2 import REFUSED

UNKNOWN, SERVING, NOT_SERVING = 0, 1, 2
OFTEN = {"interval": "50ms", "unhealthy-interval": "50ms", "timeout": "2s", "fall": 1}


class Health:
    """grpc.health.v1.Health by hand: its two messages have one field each."""

    def __init__(self, credentials=None, known=True):
        self.states, self.asked, self.authorities = {"": SERVING}, [], []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        methods = {"Check": grpc.unary_unary_rpc_method_handler(self.check)} if known else {}
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods),))
        if credentials:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def stop(self):
        self.server.stop(None)

    def check(self, request, context):
        service = b""
        if request:
            skip = 2 if request[1] < 128 else 3
            length = request[1] if skip == 2 else request[1] - 128 + 128 * request[2]
            service = request[skip:]
            assert request[0] == 10 and len(service) == length
        service = service.decode()
        self.asked.append(service)
        self.authorities.append(context.time_remaining())
        if service not in self.states:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return b"\x08%c" % self.states[service] if self.states[service] else b""


def start(box, member, health, protocol="h2c", **more):
    box.closers.append(member.stop)
    return Edge(box, {"web": {"members": [member.address], "protocol": protocol, "slow-start": 0,
                              "health": {**OFTEN, **health}, **more}}, workers=1)


def is_healthy(edge):
    return metric(edge, "member_healthy") == 1


def out(edge, why):
    wait("the member to be out", lambda: not is_healthy(edge))
    wait(why, lambda: any(why in str(event) for event in edge.process.events()))
    wait("requests to be kept from it", lambda: http1.fetch(edge.address, "/").status == 503)


def back(edge):
    wait("the member to be back", lambda: is_healthy(edge))


@pytest.mark.parametrize("service", [None, "shop.Orders", "s" * 200],
                         ids=["server", "service", "long"])
def test_serving_and_not(box, service):
    member = Health()
    name = service or ""
    member.states[name] = SERVING
    edge = start(box, member, {"service": service} if service else {"type": "grpc"})
    wait("a check", lambda: member.asked)
    hold("it to be in", lambda: is_healthy(edge), 0.2)
    for state, why in ((NOT_SERVING, "NOT_SERVING, expected SERVING"),
                       (UNKNOWN, "UNKNOWN, expected SERVING"), (3, "SERVICE_UNKNOWN")):
        member.states[name] = state
        out(edge, why)
        member.states[name] = SERVING
        back(edge)
    assert set(member.asked) == {name}
    assert all(0 < left <= 2.1 for left in member.authorities)  # grpc-timeout


def test_a_service_that_is_not_known(box):
    member = Health()
    edge = start(box, member, {"service": "other"})
    out(edge, "grpc-status 5 (NOT_FOUND): no such service")
    member.states["other"] = SERVING
    back(edge)


def test_a_server_without_the_protocol(box):
    edge = start(box, Health(known=False), {"type": "grpc"})
    out(edge, "grpc-status 12 (UNIMPLEMENTED)")


def test_a_server_that_goes_and_comes_back(box):
    member = Health()
    edge = start(box, member, {"type": "grpc"})
    wait("a check", lambda: member.asked)
    member.server.stop(None).wait()
    out(edge, "Connection refused")
    again = Health.__new__(Health)
    again.states, again.asked, again.authorities = {"": SERVING}, [], []
    again.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    again.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health",
        {"Check": grpc.unary_unary_rpc_method_handler(again.check)}),))
    assert again.server.add_insecure_port(member.address) == member.port
    again.server.start()
    box.closers.append(again.stop)
    back(edge)


def pair(box):
    authority = Authority(box.folder)
    made = authority.issue("member", "127.0.0.1")
    return [str(authority.folder / made[key]) for key in ("certificate", "key")], \
        {"ca": str(authority.folder / "ca.pem")}


@pytest.mark.parametrize("protocol", ["auto", "h2"])
def test_over_tls(box, protocol):
    (certificate, key), tls = pair(box)
    with open(certificate, "rb") as one, open(key, "rb") as other:
        credentials = grpc.ssl_server_credentials([(other.read(), one.read())])
    member = Health(credentials)
    edge = start(box, member, {"type": "grpc"}, protocol, tls=tls)
    wait("a check", lambda: member.asked)
    member.states[""] = NOT_SERVING
    out(edge, "NOT_SERVING")
    member.states[""] = SERVING
    back(edge)


def tls_member(box, alpn):
    (certificate, key), tls = pair(box)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if alpn:
        context.set_alpn_protocols(alpn)
    return H2Member(context=context), tls


def test_a_member_that_chooses_another_protocol(box):
    member, tls = tls_member(box, ["http/1.1"])
    edge = start(box, member, {"type": "grpc"}, "auto", tls=tls)
    out(edge, "TLS: the member did not choose HTTP/2")


# ---- what else may come ----------------------------------------------------------------------

GRPC = [(":status", "200"), ("content-type", "application/grpc")]
YES = b"\0\0\0\0\x02\x08\x01"
ANSWERS = {
    "a field that is not known": ([b"\0\0\0\0\x13\x12\x03abc\x18\x87\x01\x21" + b"8" * 8 +
                                   b"\x08\x01"],
                                  [("grpc-status", "0")], "SERVING"),
    "in pieces": ([YES[:3], YES[3:6], YES[6:]], [("grpc-status", "0")], "SERVING"),
    "without a message": ([], [("grpc-status", "0")], "no HealthCheckResponse"),
    "a default": ([b"\0\0\0\0\0"], [("grpc-status", "0")], "UNKNOWN, expected SERVING"),
    "one byte short": ([YES[:-1]], [("grpc-status", "0")], "no HealthCheckResponse"),
    "one over": ([YES + b"\0"], [("grpc-status", "0")], "no HealthCheckResponse"),
    "compressed": ([b"\x01" + YES[1:]], [("grpc-status", "0")], "no HealthCheckResponse"),
    "a number without an end": ([b"\0\0\0\0\x02\x08\xff"], [("grpc-status", "0")],
                                "no HealthCheckResponse"),
    "too long": ([b"\0\0\0\x20\0" + b"\0" * 8192], [("grpc-status", "0")],
                 "an answer over 4096 bytes"),
    "an error in the trailers": ([YES], [("grpc-status", "14"), ("grpc-message", "later")],
                                 "grpc-status 14 (UNAVAILABLE): later"),
    "a status that is no number": ([YES], [("grpc-status", "zero")], "without grpc-status"),
    "no status": ([YES], [("other", "0")], "without grpc-status"),
    "no trailers": ([YES], None, "without grpc-status"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_any_shape(box, name):
    parts, trailers, expected = ANSWERS[name]

    def act(connection, request):
        connection.headers(request.stream, GRPC)
        for part in parts:
            connection.data(request.stream, part)
        if trailers:
            connection.headers(request.stream, trailers, end=True)
        else:
            connection.data(request.stream, b"", end=True)
    member = H2Member(act)
    edge = start(box, member, {"type": "grpc"})
    wait("two checks", lambda: len(member.requests) > 1)
    if expected == "SERVING":
        assert is_healthy(edge)
    else:
        out(edge, expected)
    request = member.requests[0]
    assert (request.method, request.path) == ("POST", "/grpc.health.v1.Health/Check")
    assert request.get("te") == "trailers" and request.get("content-type") == "application/grpc"
    assert request.get("grpc-timeout") == "2000m" and request.body == b"\0\0\0\0\0"


HEADS = {
    "another status": ([(":status", "404")], "status 404, expected 200"),
    "another type": ([(":status", "200"), ("content-type", "text/html")], "that is not gRPC"),
    "no type": ([(":status", "200")], "that is not gRPC"),
    "trailers only": (GRPC + [("grpc-status", "7")], "grpc-status 7 (PERMISSION_DENIED)"),
    "trailers only, and fine": (GRPC + [("grpc-status", "0")], "no HealthCheckResponse"),
    "a head that is none": ([(":status", "20")], "malformed response"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_all_there_is(box, name):
    fields, expected = HEADS[name]
    edge = start(box, H2Member(lambda connection, request: connection.headers(
        request.stream, fields, end=True)), {"type": "grpc"})
    out(edge, expected)


ENDS = {
    "refused": (lambda c, r: c.reset(r.stream, REFUSED), "the member refused the stream"),
    "goaway": (lambda c, r: c.goaway(0), "the member refused the stream"),
    "reset": (lambda c, r: c.reset(r.stream, 2), "the member reset the stream: error 2"),
    "another version": (lambda c, r: c.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
                        "the member broke a rule of HTTP/2"),
    "closed": (lambda c, r: H2Member.cut(c), "closed before a whole answer"),
    "cut behind the message": (lambda c, r: (c.headers(r.stream, GRPC), c.data(r.stream, YES),
                                             H2Member.cut(c)), "closed before a whole answer"),
    "silence": (lambda c, r: None, "response: timed out after 300ms"),
    "too many interim": (lambda c, r: [c.headers(r.stream, [(":status", "103")])
                                       for _ in range(9)], "more than 8 interim responses"),
}


# A GET has its answer in the head.
@pytest.mark.parametrize("name,kind", [(name, kind) for name in ENDS for kind in ("grpc", "http")
                                       if (name, kind) != ("cut behind the message", "http")])
def test_what_ends_a_check(box, name, kind):
    act, words = ENDS[name]
    timeout = "300ms" if name == "silence" else "5s"
    edge = start(box, H2Member(act), {"type": kind, "path": "/h", "timeout": timeout})
    out(edge, words)


# ---- a GET ------------------------------------------------------------------------------------

def get_member(box, status, protocol):
    def act(connection, request):
        connection.headers(request.stream, [(":status", "103"), ("link", "</a>")])
        connection.answer(request, status=status[0])
    if protocol == "h2c":
        return H2Member(act), {}
    member, tls = tls_member(box, ["h2"])
    member.act = act
    return member, {"tls": tls}


@pytest.mark.parametrize("protocol", ["h2c", "h2", "auto"])
def test_a_get_goes_by_the_protocol_of_the_cluster(box, protocol):
    status = ["201"]
    member, more = get_member(box, status, protocol)
    edge = start(box, member, {"path": "/healthz?a=b", "host": "check.test"}, protocol, **more)
    wait("checks", lambda: len(member.requests) > 2)
    assert is_healthy(edge)
    request = member.requests[0]
    assert (request.method, request.path) == ("GET", "/healthz?a=b")
    assert request.get(":authority") == "check.test"
    assert request.get(":scheme") == ("http" if protocol == "h2c" else "https")
    assert not {"connection", "host"} & {name for name, _ in request.fields}
    status[0] = "503"
    out(edge, "status 503, expected 200-399")
    status[0] = "200"
    back(edge)


def test_a_server_that_starts_is_checked_over_http2(box):
    """What joins a cluster that scales has passed the same check."""
    member = Health()
    member.states[""] = NOT_SERVING
    box.closers.append(member.stop)
    edge = Edge(box, {"web": {"protocol": "h2c", "slow-start": 0,
                              "health": {**OFTEN, "type": "grpc", "starting-interval": "20ms"},
                              "scale": {"from": "rack", "min": 1, "max": 1}}},
                pools={"rack": {"provider": "static", "servers": [member.address]}}, role="run")
    wait("checks", lambda: len(member.asked) > 3)
    wait("requests to be kept from it", lambda: http1.fetch(edge.address, "/").status == 503)
    member.states[""] = SERVING
    wait("it to join", lambda: [s for s in box.ledger_servers("web").values()
                                if s["state"] == "ready"])
