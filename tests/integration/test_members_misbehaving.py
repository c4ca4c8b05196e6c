# SPDX-License-Identifier: Apache-2.0
"""Members that misbehave, one row a way of it: what the member does, what the client sees, which
counter moves, which line is logged. After each row the edge holds no descriptor more than before,
and the next client gets what it asked for."""
import pathlib
import signal
import socket
import time

import pytest

from harness import http1, misfit
from harness.box import hold, wait
from harness.load import Asker
from harness.misfit import Misfit, proper
from harness.setup import Edge, descriptors, metric, own

CUT = "cut"  # the answer begins and never looks whole
# Those of a row in which nobody is late, and of one that is about them.
TIMEOUTS = {"connect": "8s", "response": "8s", "idle": "8s", "keepalive": "1min"}
HASTY = {"connect": "600ms", "response": "1s", "idle": "1s", "keepalive": "1min"}
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


# ---- what members do ---------------------------------------------------------------------------

def says(*pieces, then="close", pause=0.0):
    """Sends the pieces; then closes, resets, waits, or goes on with the connection."""
    def act(client, _):
        member = act.member
        for piece in pieces:
            client.send(piece)
            time.sleep(pause)
        if then == "reset":
            time.sleep(0.05)  # what was sent is there before the reset takes it away
            misfit.reset(client.sock)
        elif then == "wait":
            member.released.wait(30)
        return then == "go on"
    return act


def floods(piece, first=b""):
    """The same again and again, until nobody listens."""
    def act(client, _):
        client.send(first)
        while not act.member.released.is_set():
            client.send(piece)
    return act


def drips(first, pause):
    def act(client, _):
        client.send(first)
        while not act.member.released.is_set():
            client.send(b"x")
            time.sleep(pause)
    return act


class Row:
    def __init__(self, name, act, sees, counter, words, method="GET", body=None, took=None,
                 deadline=4.5, shut=None, **cluster):
        self.name, self.act, self.sees, self.counter, self.words = name, act, sees, counter, words
        self.method, self.body, self.shut = method, body, shut
        self.took, self.deadline, self.cluster = took, deadline, cluster


REFUSED = "the member refused the connection"
IN_TIME = "the member did not respond in time"
BAD = "the member sent no proper response"
HEAD_CUT = "the member broke off the head of its response"
BODY_CUT = "the member broke off its response"
BAD_BODY = "the body of the member's response is not well-formed"
TOO_LARGE = "the head of the member's response is too large"
INTERIMS = "the member sent too many interim responses"
UNASKED = "the member switched protocols without being asked"
EXTRA = "the member sent bytes behind its response"
SLOW = "the member sent its response too slowly"
NONE = "the member closed the connection without a response"
CONNECT = "the member did not take the connection in time"

ROWS = [
    # No connection.
    Row("refuses", None, 503, "member_connects_failed", REFUSED, shut="refuse",
        deadline=2),
    Row("refuses a POST", None, 503, "member_connects_failed", REFUSED, "POST", body=b"x",
        shut="refuse", deadline=2),
    Row("connect hangs", None, 504, "member_connect_timeouts", CONNECT, shut="clog", took=0.6),
    # No response.
    Row("accepts and hangs", says(then="wait"), 504, "member_timeouts", IN_TIME, took=1.0),
    Row("closes at once", says(), 502, "member_closes", NONE),
    Row("resets at once", says(then="reset"), 502, "member_closes", NONE),
    Row("closes on a POST", says(), 502, "member_closes", NONE, "POST", body=b"x"),
    # No head.
    Row("status line cut", says(b"HTTP/1.1 20"), 502, "member_heads_cut", HEAD_CUT),
    Row("head cut", says(OK + b"Content-Length: 5\r\nX-A"), 502, "member_heads_cut", HEAD_CUT),
    Row("head cut by a reset", says(OK + b"X-A", then="reset"), 502, "member_heads_cut", HEAD_CUT),
    Row("head hangs", says(OK + b"X-A", then="wait"), 504, "member_timeouts", IN_TIME, took=1.0),
    Row("head drips", drips(OK, 0.02), 504, "member_timeouts", IN_TIME, took=1.0),
    Row("endless fields", floods(b"X-Field: of a head without an end\r\n" * 50, OK), 502,
        "member_heads_too_long", TOO_LARGE),
    Row("endless line", floods(b"x" * 1000, OK + b"X-Line: "), 502, "member_heads_too_long",
        TOO_LARGE),
    Row("too many fields", says(OK + b"A: b\r\n" * 200 + b"\r\n"), 502, "member_heads_too_long",
        TOO_LARGE),
    # No HTTP.
    Row("garbage", says(bytes(range(128, 256)) * 4, then="wait"), 502, "member_bad_responses",
        BAD),
    Row("zeros", says(b"\0" * 4096, then="wait"), 502, "member_bad_responses", BAD),
    Row("another protocol", says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", then="wait"), 502,
        "member_bad_responses", BAD),
    Row("HTTP/2", says(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x80\0\4\0\1\0\0\0\5\0\xff\xff\xff\r\n\r\n",
                       then="wait"), 502, "member_bad_responses", BAD),
    Row("HTTP/0.9", says(b"<html>as in 1991</html>\n\n"), 502, "member_bad_responses", BAD),
    Row("a request", says(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", then="wait"), 502,
        "member_bad_responses", BAD),
    Row("status below 100", says(b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", then="wait"),
        502, "member_bad_responses", BAD),
    Row("status of two digits", says(b"HTTP/1.1 20 Short\r\nContent-Length: 0\r\n\r\n",
                                     then="wait"), 502, "member_bad_responses", BAD),
    Row("status of four digits", says(b"HTTP/1.1 2000 Long\r\nContent-Length: 0\r\n\r\n",
                                      then="wait"), 502, "member_bad_responses", BAD),
    Row("two lengths", says(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
                            then="wait"), 502, "member_bad_responses", BAD),
    Row("line ends that split", says(OK + b"X-A: b\rX-C: d\r\nContent-Length: 0\r\n\r\n",
                                     then="wait"), 502, "member_bad_responses", BAD),
    # Responses that are none.
    Row("flood of 103", floods(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), 502,
        "member_interim_floods", INTERIMS),
    Row("flood of 100", floods(b"HTTP/1.1 100 Continue\r\n\r\n"), 502, "member_interim_floods",
        INTERIMS),
    Row("100 and no more", says(b"HTTP/1.1 100 Continue\r\n\r\n", then="wait"), 504,
        "member_timeouts", IN_TIME, took=1.0),
    Row("a 101 nobody asked for",
        says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
             b"Upgrade: websocket\r\n\r\n", then="wait"), 502, "member_unasked_switches", UNASKED),
    # Bodies.
    Row("length, cut", says(OK + b"Content-Length: 10\r\n\r\nhello"), CUT, "member_bodies_cut",
        BODY_CUT),
    Row("chunks, cut", says(CHUNKED + b"5\r\nhello\r\n"), CUT, "member_bodies_cut", BODY_CUT),
    Row("inside a chunk, cut", says(CHUNKED + b"a\r\nhello"), CUT, "member_bodies_cut", BODY_CUT),
    Row("before the last CRLF, cut", says(CHUNKED + b"5\r\nhello\r\n0\r\n"), CUT,
        "member_bodies_cut", BODY_CUT),
    Row("length, reset", says(OK + b"Content-Length: 10\r\n\r\nhello", then="reset"), CUT,
        "member_bodies_cut", BODY_CUT),
    Row("chunks, reset", says(CHUNKED + b"5\r\nhello\r\n", then="reset"), CUT,
        "member_bodies_cut", BODY_CUT),
    Row("to the close, reset", says(OK + b"\r\nhello", then="reset"), CUT, "member_bodies_cut",
        BODY_CUT),
    Row("too short", says(OK + b"Content-Length: 10\r\n\r\nhello", then="wait"), CUT,
        "member_timeouts", IN_TIME, took=1.0),
    Row("no last chunk", says(CHUNKED + b"5\r\nhello\r\n", then="wait"), CUT, "member_timeouts",
        IN_TIME, took=1.0),
    Row("garbage for a chunk", says(CHUNKED + b"5\r\nhello\r\n", b"zz\r\n", then="wait",
                                    pause=0.05), CUT, "member_bad_bodies", BAD_BODY),
    Row("slow drip", drips(OK + b"Content-Length: 1000000\r\n\r\n", 0.02), CUT, "member_slow",
        SLOW, took=5.0, deadline=8.0,
        timeouts={**TIMEOUTS, "least-rate": "1KiB"}),
    # Bytes that answer nothing.
    Row("too long", says(OK + b"Content-Length: 5\r\n\r\nhello" + b"more", then="go on"), b"hello",
        "member_extra_bytes", EXTRA),
    Row("a response behind the last chunk", says(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + POISON,
                                                 then="go on"), b"hello", "member_extra_bytes",
        EXTRA),
    Row("a body behind HEAD's answer", says(OK + b"Content-Length: 6\r\n\r\npoison", then="go on"),
        b"", "member_extra_bytes", EXTRA, "HEAD"),
    Row("a body behind a 204", says(b"HTTP/1.1 204 No Content\r\n\r\npoison", then="go on"), b"",
        "member_extra_bytes", EXTRA),
    Row("response splitting", says(OK + b"X-Name: value\r\nContent-Length: 0\r\n\r\n" + POISON,
                                   then="go on"), b"", "member_extra_bytes", EXTRA),
]


# ---- the frame ---------------------------------------------------------------------------------

def faults(edge, member, words):
    return [event for event in edge.process.events() if event["event"] == "member misbehaves"
            and event["what"] == words and event["address"] == member.address]


def start(box, members, **cluster):
    """An edge with these members, each of whom has answered: a connection to it is kept."""
    for member in members:
        box.closers.append(member.stop)
    settings = {"members": [member.address for member in members], "timeouts": TIMEOUTS,
                "slow-start": 0, "balance": "round-robin"}
    edge = Edge(box, {"web": {**settings, **cluster}}, workers=1)
    for _ in members:
        own(edge, "/begin")
    return edge


def settle(edge, before):
    """The next clients get their own, and nothing is left open."""
    for turn in range(3):
        own(edge, f"/after/{turn}")
    wait("the descriptors of before", lambda: descriptors(edge) <= before)


def see(edge, row):
    began = time.monotonic()
    if row.sees == CUT:
        text = http1.head(row.method, "/a", body=row.body) + (row.body or b"")
        got, was_reset = http1.everything(edge.address, text, row.deadline)
        assert got.startswith(b"HTTP/1.1 200 OK") and not http1.looks_whole(got, was_reset), got
    else:
        response = http1.fetch(edge.address, "/a", row.method, body=row.body, timeout=10)
        if isinstance(row.sees, bytes):
            assert response.status < 300 and response.body == row.sees, response
        else:
            assert response.status == row.sees, response
            assert row.words in response.text
    took = time.monotonic() - began
    assert (row.took or 0) - 0.05 <= took < row.deadline, took


@pytest.mark.parametrize("row", ROWS, ids=[row.name.replace(" ", "-") for row in ROWS])
def test_row(box, row):
    member = Misfit()
    edge = start(box, [member], **{"timeouts": HASTY if row.took else TIMEOUTS, **row.cluster})
    before, counted = descriptors(edge), metric(edge, row.counter)
    sent = member.count(row.method)
    member.act = row.act
    if row.act:
        row.act.member = member
    if row.shut == "refuse":
        member.shut()
    elif row.shut == "clog":
        member.clog()
    see(edge, row)
    assert metric(edge, row.counter) > counted
    event = wait("the log's line", lambda: faults(edge, member, row.words))[0]
    assert event["cluster"] == "web" and event["times"] == 1 and event["level"] == "warn", event
    if row.method == "POST":
        assert member.count("POST") - sent == (0 if row.shut else 1)
    member.act = None
    member.released.set()
    if row.shut == "refuse":
        member.open()
    elif row.shut == "clog":
        member.unclog()
    settle(edge, before)


# ---- what a row cannot say ---------------------------------------------------------------------

def test_an_answer_before_the_request_is_whole(box):
    """It is passed on; neither connection is used again."""
    member = Misfit()
    edge = start(box, [member])
    before, connections = descriptors(edge), member.connections
    early = OK.replace(b"200 OK", b"413 Too Much") + b"Content-Length: 5\r\n\r\nearly"
    member.takes_bodies, member.act = False, says(early, then="wait")
    member.act.member = member
    with http1.Client(edge.address) as client:
        client.send(http1.head("POST", "/big", [("Content-Length", "1000")]) + b"x" * 10)
        response = client.read_response()
        assert (response.status, response.body) == (413, b"early")
        assert response.get("Connection") == "close"
        # What is left of the body is no request, and goes nowhere.
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.at_end()
    assert metric(edge, "member_early_responses") == 1
    member.released.set()
    member.takes_bodies, member.act = True, None
    settle(edge, before)
    assert member.connections == connections + 1  # the one that it kept was closed
    assert "/smuggled" not in [request[1] for request in member.requests]


def kept_then_closed(client, _):
    """Answers properly, and closes the kept connection as soon as anything more comes."""
    client.send(proper("/first"))
    client.sock.recv(1, socket.MSG_PEEK)
    return False


def test_a_kept_connection_closed_as_a_request_comes(box):
    """A safe request goes out on another connection, and nobody is blamed."""
    member = Misfit()
    edge = start(box, [member], eject={"failures": 1, "max-share": 1})
    before = descriptors(edge)
    for turn in range(1, 11):
        member.shut()
        member.open()
        wait("the old connection's end", lambda: descriptors(edge) < before)
        member.act = kept_then_closed
        assert http1.fetch(edge.address, "/first").status == 200
        member.act = None
        own(edge, f"/second/{turn}")
        assert metric(edge, "member_kept_closed") == turn
    assert metric(edge, "member_closes") == 0 and metric(edge, "member_errors") == 0
    assert not faults(edge, member, NONE)
    settle(edge, before)


def test_a_post_on_such_a_connection_is_not_sent_twice(box):
    members = [Misfit(), Misfit()]
    edge = start(box, members)
    for member in members:
        member.act = kept_then_closed
    for _ in range(2):
        assert http1.fetch(edge.address, "/first").status == 200
    for member in members:
        member.act = None
    posts = [http1.fetch(edge.address, "/post", "POST", body=b"once") for _ in range(2)]
    assert [post.status for post in posts] == [502, 502]
    time.sleep(0.1)
    assert sum(member.count("POST") for member in members) == 0  # it was peeked at, never read
    assert metric(edge, "member_kept_closed") == 0 and metric(edge, "member_closes") == 2
    own(edge, "/after")


def test_a_post_is_offered_to_one_more_member_at_most(box):
    members = [Misfit() for _ in range(5)]
    edge = start(box, members, eject={"failures": 0})
    for member in members:
        member.shut()
    for method, refusals in (("POST", 2), ("PATCH", 2), ("GET", 5), ("PUT", 5)):
        counted = metric(edge, "member_connects_failed")
        answer = http1.fetch(edge.address, "/a", method, body=None if method == "GET" else b"b")
        assert answer.status == 503
        assert metric(edge, "member_connects_failed") - counted == refusals, method


def test_dead_members_do_not_use_up_the_retry_budget(box):
    members = [Misfit() for _ in range(4)]
    edge = start(box, members, eject={"failures": 0}, **{"retry-budget": 0.01})
    for member in members[1:]:
        member.shut()
    for turn in range(100):
        own(edge, f"/{turn}")
    assert metric(edge, "retries") > 100 and metric(edge, "retry_budget_refusals") == 0


def test_all_members_dead_is_answered_at_once(box):
    members = [Misfit() for _ in range(3)]
    edge = start(box, members)

    def usual(status):
        """The median of what an answer takes."""
        took = []
        for _ in range(50):
            began = time.monotonic()
            assert http1.fetch(edge.address, "/a").status == status
            took.append(time.monotonic() - began)
        return sorted(took)[25]
    alive = usual(200)
    for member in members:
        member.shut()
    dead = usual(503)
    assert dead < 5 * alive + 0.05, (dead, alive)


def test_all_members_unhealthy_is_answered_at_once(box):
    member = Misfit()
    edge = start(box, [member], health={"path": "/health", "interval": "50ms", "fall": 1})
    member.act = lambda client, request: client.send(
        b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    wait("no member", lambda: metric(edge, "no_member") or not http1.fetch(edge.address, "/a"))
    connections = member.count()
    assert http1.fetch(edge.address, "/b").status == 503
    assert "/b" not in [request[1] for request in member.requests[connections:]]


def back_after(edge, member, away):
    """Seconds from a member's return to its first request, under a light load."""
    until = time.monotonic() + away
    while time.monotonic() < until:
        own(edge, "/meanwhile")
        time.sleep(0.002)
    member.open()
    began, before = time.monotonic(), member.count("GET")
    while time.monotonic() < began + 10:
        own(edge, "/meanwhile")
        if any(request[1] == "/meanwhile" for request in member.requests[before:]):
            return time.monotonic() - began
        time.sleep(0.002)
    raise AssertionError("never back")


@pytest.mark.parametrize("health", [None, {"path": "/health"}, {"type": "tcp"}],
                         ids=["by-trying", "by-http", "by-tcp"])
def test_a_member_is_noticed_back(box, health):
    """With the settings that everybody has."""
    members = [Misfit(), Misfit()]
    edge = start(box, members, **({"health": health} if health else {}))
    for _ in range(3 if health is None else 1):
        members[0].shut()
        assert back_after(edge, members[0], 1 if health is None else 7) < 2
    if health is None:
        assert metric(edge, "member_returns") == 3
        assert 3 <= metric(edge, "member_probes") < 15


def test_a_member_that_died_with_requests_is_noticed_back(box):
    """It was left out for what it broke off, before anybody was refused a connection."""
    members = [Misfit(), Misfit()]
    edge = start(box, members)
    members[0].act = lambda client, request: members[0].released.wait(20)
    askers = [Asker(edge, f"/under-way/{n}") for n in range(16)]
    wait("half of them to be there", lambda: members[0].count() == 1 + 8)
    members[0].act = None
    members[0].shut()
    for asker in askers:
        asker.join(10)
        assert asker.response is not None and asker.response.status == 200
    wait("it to be tried", lambda: metric(edge, "member_probes"))
    assert back_after(edge, members[0], 0.5) < 2


def test_a_member_that_connects_and_breaks_off_stays_out(box):
    """To connect is no sign that it is well, if it never ceased to."""
    members = [Misfit(), Misfit()]
    edge = start(box, members)
    members[0].act = lambda client, request: False
    wait("its ejection", lambda: own(edge) and metric(edge, "member_ejections", member=(
        "web-" + members[0].address.replace(":", "-"))))
    tried = members[0].count()
    hold("nobody asks it", lambda: own(edge) and members[0].count() == tried, 2)


def test_a_member_that_leaves_is_not_tried_any_more(box):
    members = [Misfit(), Misfit()]
    edge = start(box, members)
    before = descriptors(edge)
    members[0].shut()
    wait("its ejection", lambda: (own(edge), metric(edge, "member_probes"))[1])
    edge.settings["clusters"]["web"]["members"] = [members[1].address]
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the reload", lambda: any(event["event"] == "configuration re-read"
                                   for event in edge.process.events()))
    members[0].open()
    time.sleep(1.2)
    assert members[0].connections == 1  # of the beginning
    assert descriptors(edge) < before


# ---- what comes late ---------------------------------------------------------------------------

def test_bytes_on_a_kept_connection_answer_nobody(box):
    """Long after its answer the member says more: the connection goes."""
    member = Misfit()
    edge = start(box, [member])
    before = descriptors(edge)
    said = []

    def late(client, request):
        client.send(proper(request[1]))
        time.sleep(0.05)
        said.append(client.send(POISON))
    for turn in range(1, 6):
        member.act = late
        own(edge, f"/late/{turn}")
        wait("the poison", lambda: len(said) == turn)
        member.act = None
        own(edge, f"/next/{turn}")
        assert metric(edge, "member_idle_bytes") == turn
    assert wait("the log's line", lambda: faults(
        edge, member, "the member sent bytes that nobody asked for"))[0]["cluster"] == "web"
    settle(edge, before)


def stands_still(edge):
    states = [stat.read_text().rsplit(")", 1)[1].split()[0]
              for stat in pathlib.Path(f"/proc/{edge.process.pid}/task").glob("*/stat")]
    return all(state == "T" for state in states)


@pytest.mark.parametrize("poison_first", [True, False], ids=["poison-first", "request-first"])
def test_bytes_that_come_with_the_next_request(box, poison_first):
    """The edge is stopped meanwhile: it learns of both at once, in either order."""
    member = Misfit()
    edge = start(box, [member])
    go, gone = [], []

    def on_call(client, request):
        client.send(proper(request[1]))
        wait("the call", lambda: go)
        client.send(POISON)
        gone.append(1)
    with http1.Client(edge.address) as client:
        for turn in range(10):
            go.clear()
            gone.clear()
            member.act = on_call
            own(edge, f"/before/{turn}")
            member.act = None
            edge.process.signal(signal.SIGSTOP)
            wait("the edge to stand still", lambda: stands_still(edge))
            try:
                if poison_first:
                    go.append(1)
                    wait("the poison", lambda: gone)
                client.send(http1.head("GET", f"/mine/{turn}"))
                time.sleep(0.01)
                go.append(1)
                wait("the poison", lambda: gone)
            finally:
                edge.process.signal(signal.SIGCONT)
            assert client.read_response().text == f"own /mine/{turn}"
    assert metric(edge, "member_idle_bytes") == 10


def test_poison_right_in_front_of_the_next_request(box):
    """A member that answers and then says more, again and again; the next request is right behind:
    the edge's loop may not have been told of the bytes."""
    member = Misfit()
    edge = start(box, [member])
    before = descriptors(edge)

    said = []

    def noisy(client, request):
        client.send(proper(request[1]))
        said.append(client.send(POISON))
    member.act = noisy
    with http1.Client(edge.address) as one, http1.Client(edge.address) as other:
        for turn in range(300):
            client = (one, other)[turn % 2]
            response = client.request("GET", f"/{turn}")
            assert response.text == f"own /{turn}", response
            # What crosses the next request on its way is beyond anybody's telling, so it has gone.
            while len(said) <= turn:
                time.sleep(0)
    assert metric(edge, "member_idle_bytes") + metric(edge, "member_extra_bytes") == 300
    member.act = None
    settle(edge, before)


def test_what_had_bytes_behind_it_is_not_cached(box):
    member = Misfit()
    fields = b"Cache-Control: max-age=60\r\n"
    box.closers.append(member.stop)
    edge = Edge(box, {"web": {"members": [member.address]}}, workers=1,
                cache={"memory": "16MiB"})

    def extra(client, request):
        client.send(proper(request[1], fields) + POISON)
    member.act = extra
    for turn in range(1, 4):
        own(edge, "/split")
        assert member.count() == turn
    member.act = lambda client, request: client.send(proper(request[1], fields))
    own(edge, "/split")
    own(edge, "/split")
    assert member.count() == 4


def test_one_line_a_second_and_the_number_of_the_others(box):
    member = Misfit(says())
    member.act.member = member
    box.closers.append(member.stop)
    edge = Edge(box, {"web": {"members": [member.address]}}, workers=1)
    until = time.monotonic() + 1.3
    sent = 0
    while time.monotonic() < until:
        assert http1.fetch(edge.address, "/a").status == 502
        sent += 1
    told = wait("two lines", lambda: faults(edge, member, NONE)[1:] and faults(edge, member, NONE))
    assert len(told) == 2 and 2 < sum(event["times"] for event in told) <= sent
    assert metric(edge, "member_closes") == sent
