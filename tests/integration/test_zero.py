# SPDX-License-Identifier: Apache-2.0
"""A cluster of min 0: nobody is there until somebody asks, and nobody's first request fails."""
import contextlib
import re
import threading
import time

from harness import http1, wire2
from harness.box import hold, wait
from harness.load import Asker
from harness.origin import Answer
from harness.setup import WORKERS, asleep, metric, why, zero


def parked(edge, count):
    wait(f"{count} parked", lambda: metric(edge, "parked_now") == count)


def served(edge, path="/", **more):
    response = http1.fetch(edge.address, path, **more)
    assert response.status == 200, response
    return response


def test_the_first_request_waits_for_its_server(box):
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server)
    began = time.monotonic()
    asker = Asker(edge, "/first")
    wait("the server to be checked", lambda: server.checks > 0)
    assert server.first_check_at - began < 1, "demand is told at once, not at the next interval"
    parked(edge, 1)
    text = box.run("status", "-c", edge.file).stdout
    assert re.search(r"web +1 requests parked: no member yet", text), text
    server.healthy = True
    asker.join(20)
    assert asker.response.status == 200 and asker.response.text.startswith("a GET /first")
    assert "requests are parked, and the cluster has no member" in why(box, edge)
    assert metric(edge, "park_released") == 1 and metric(edge, "parked_now") == 0
    assert metric(edge, "no_member") == 0


def test_bodies_and_many_clients_wait(box):
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server)
    body = b"x" * 200000
    answers = []

    def post():
        with http1.Client(edge.address, 20) as client:
            answers.append(client.request("POST", "/up", body=body))

    posts = [threading.Thread(target=post, daemon=True) for _ in range(3)]
    for thread in posts:
        thread.start()
    askers = [Asker(edge, f"/n/{n}?{n}") for n in range(20)]
    parked(edge, 23)
    server.healthy = True
    for thread in posts + askers:
        thread.join(20)
    assert [answer.status for answer in answers] == [200] * 3
    assert all(asker.response.status == 200 for asker in askers)
    assert [len(r.body) for r in server.requests if r.method == "POST"] == [len(body)] * 3


def test_an_http10_client_without_a_host_waits_too(box):
    server = box.origin("a")
    edge = zero(box, server)
    with http1.Client(edge.address, 20) as client:
        client.send(b"GET /old HTTP/1.0\r\n\r\n")
        assert client.read_response("GET").status == 200
    assert [value for key, value in server.requests[0].fields if key == "Host"] == ["web"]


def test_no_more_than_the_limit(box):
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server, park={"length": 2})
    askers = [Asker(edge, f"/{n}") for n in range(2)]
    parked(edge, 2)
    response = http1.fetch(edge.address, "/more")
    assert response.status == 503 and int(response.get("Retry-After")) > 0
    assert metric(edge, "park_refusals") == 1
    server.healthy = True
    for asker in askers:
        asker.join(20)
        assert asker.response.status == 200


def test_no_more_than_the_bytes(box):
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server, park={"bytes": "64KiB"})
    refused = []
    askers = []
    with http1.Client(edge.address, 20) as client:
        for n in range(20):
            askers.append(Asker(edge, f"/{n}?" + "x" * 6000))
            before = n + 1
            wait("it to be dealt with", lambda: metric(edge, "parked_now") +
                 metric(edge, "park_refusals") == before)
            if metric(edge, "park_refusals"):
                refused.append(n)
                break
        assert 0 < refused[0] < 12
        del client
    server.healthy = True
    for asker in askers:
        asker.join(20)
    assert [asker.response.status for asker in askers] == [200] * refused[0] + [503]


def test_a_stream_counts_with_its_window(box):
    """So much of its body may come; of one whose length is told, no more than that."""
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server, park={"bytes": "320KiB"})
    with contextlib.closing(wire2.Connection(edge.address)) as conn:
        conn.send(wire2.headers(wire2.get("/a", method="POST"), 1, end=False))
        parked(edge, 1)
        conn.send(wire2.headers(wire2.get("/b", method="POST"), 3, end=False))
        assert conn.answer(3).status == 503 and metric(edge, "park_refusals") == 1
        conn.send(wire2.headers(wire2.get("/c", ("content-length", "9"), method="POST"), 5,
                                end=False))
        parked(edge, 2)


def test_not_for_ever(box):
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server, park={"wait": "300ms"})
    with http1.Client(edge.address) as client:
        response = client.request("GET", "/late")
        assert response.status == 503 and int(response.get("Retry-After")) > 0
        assert metric(edge, "park_timeouts") == 1
        server.healthy = True
        wait("it to be served on the same connection",
             lambda: client.request("GET", "/next").status == 200)
    assert "/late" not in server.paths()


def test_parking_can_be_switched_off(box):
    server = box.origin("a")
    edge = zero(box, server, park={"length": 0})
    assert http1.fetch(edge.address, "/").status == 503
    assert metric(edge, "no_member") == 1


def test_who_goes_away_is_not_kept(box):
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server)
    askers = [Asker(edge, f"/{n}") for n in range(3)]
    parked(edge, 3)
    askers[0].leave()
    parked(edge, 2)
    server.healthy = True
    for asker in askers[1:]:
        asker.join(20)
        assert asker.response.status == 200
    assert len(server.paths()) == 2


def test_browsers_are_shown_a_page(box):
    server = box.origin("a")
    server.healthy = False
    (box.folder / "page.html").write_text("<h1>One moment, please</h1>")
    edge = zero(box, server, park={"page": "page.html", "page-after": "200ms"})
    api = Asker(edge, "/api")
    html = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")]
    page = http1.fetch(edge.address, "/", fields=html)
    assert page.status == 503 and page.text == "<h1>One moment, please</h1>"
    assert page.get("Refresh") == "1" and page.get("Retry-After") == "1"
    assert page.get("Cache-Control") == "no-store"
    assert page.get("Content-Type").startswith("text/html")
    assert metric(edge, "park_pages") == 1
    assert api.response is None, "only who takes HTML is shown it"
    server.healthy = True
    api.join(20)
    assert api.response.status == 200
    served(edge, "/", fields=html)


def test_a_page_of_ours(box):
    server = box.origin("a")
    server.healthy = False
    edge = zero(box, server, park={"page-after": "100ms"})
    page = http1.fetch(edge.address, "/", fields=[("Accept", "text/html")])
    assert page.status == 503 and "loads anew by itself" in page.text


def test_idle_means_no_members(box):
    server = box.origin("a")
    edge = zero(box, server, idle="500ms")
    for _ in range(2):
        served(edge, "/a")  # so it was allocated: nobody else could have
        asleep(box)
    assert server.count() == 2
    text = why(box, edge)
    assert "no request, stream or tunnel was open for long enough" in text, text
    assert metric(edge, "errors") == 0


def test_what_is_open_keeps_it_awake(box):
    server = box.origin("a")
    edge = zero(box, server, idle="300ms")
    served(edge, "/a")
    server.hold()
    asker = Asker(edge, "/long?1")
    wait("it to arrive", lambda: "/long?1" in server.paths())
    hold("it keeps its server", lambda: box.ledger_servers("web"), 1.2)
    server.release()
    asker.join(20)
    assert asker.response.status == 200
    asleep(box)


def test_a_silent_tunnel_keeps_it_awake(box):
    server = box.origin("a", answer=lambda request: b"HTTP/1.1 101 Switching Protocols\r\n"
                        b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    gate = threading.Event()

    def serve_one(client):
        request = server.read_request(client)
        if request.path == "/healthz":
            client.send(Answer(200, "checked").encode(request))
            return True
        client.send(server.answer(request))
        gate.wait(20)
        return False

    server.serve_one = serve_one
    edge = zero(box, server, idle="300ms")
    with http1.Client(edge.address, 20) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.read_line().split()[1] == "101"
        hold("the tunnel keeps its server", lambda: box.ledger_servers("web"), 1.2)
    gate.set()
    asleep(box)


def test_a_request_while_the_last_one_drains(box):
    """One server in all: who comes while it drains gets it back, not a 503."""
    server = box.origin("a")
    edge = zero(box, server)
    served(edge, "/a")
    server.hold()
    asker = Asker(edge, "/slow?1")
    wait("it to arrive", lambda: "/slow?1" in server.paths())
    snapshots = metric(edge, "snapshots")
    drain = threading.Thread(target=box.run, args=("cluster", "deallocate", "web", "-c", edge.file),
                             daemon=True)
    drain.start()
    wait("it to drain", lambda: any(s["state"] == "draining"
                                    for s in box.ledger_servers("web").values()))
    wait("the workers to know", lambda: metric(edge, "snapshots") >= snapshots + WORKERS)
    late = Asker(edge, "/late?1")
    parked(edge, 1)
    server.release()
    for one in (asker, late):
        one.join(20)
        assert one.response.status == 200, one.response
    drain.join(20)
    assert metric(edge, "errors") == 0


def test_the_edge_wakes_it_without_a_manager(box):
    server = box.origin("a")
    edge = zero(box, server, role="edge")
    served(edge, "/a")
    assert len(box.ledger_servers("web")) == 1


def test_the_edge_alone_does_not_when_it_should_only_observe(box):
    server = box.origin("a")
    edge = zero(box, server, role="edge", mode="observe", park={"wait": "600ms"})
    assert http1.fetch(edge.address, "/").status == 503
    assert not box.ledger_servers("web")


def test_collapsing_goes_on_while_it_sleeps(box):
    server = box.origin("a", answer=lambda request: Answer(
        200, "kept", [("Cache-Control", "max-age=1000")]))
    server.healthy = False
    edge = zero(box, server, idle="500ms")
    askers = [Asker(edge, "/same") for _ in range(6)]
    parked(edge, 1)
    server.healthy = True
    for asker in askers:
        asker.join(20)
        assert asker.response.status == 200
    assert server.paths() == ["/same"]
    asleep(box)
    server.healthy = False
    assert served(edge, "/same").get("Age") is not None
    hold("a hit wakes nobody", lambda: not box.ledger_servers("web"), 0.4)
