# SPDX-License-Identifier: Apache-2.0
"""Purging from outside: admin socket, command line, PURGE, the manager on every edge with receipts,
and what the report says about it."""
import json
import threading
import time

import pytest

from harness import http1
from harness.box import wait
from harness.origin import Answer
from harness.setup import Edge, Obedient, admin_json, base, cluster, metric

CACHE = {"memory": "8MiB"}


def tagged(request):
    name = request.path.split("?")[0].strip("/")
    return Answer(200, f"body of {name}", [("Cache-Control", "max-age=600"),
                                           ("Surrogate-Key", f"{name} every"),
                                           ("Cache-Tag", f"tag-{name[0]}, both words")])


def hit(edge, path, **more):
    return http1.fetch(edge.address, path, **more).get("Age") is not None


def store(edge, *paths):
    for path in paths:
        wait(f"{path} to be stored", lambda path=path: hit(edge, path))


@pytest.fixture
def edge(box):
    member = box.origin("m", answer=tagged)
    return Edge(box, {"web": cluster([member], health=None)},
                cache={**CACHE, "purge-from": ["127.0.0.0/8"]})


def admin(edge, query):
    answer = http1.fetch(edge.admin(), "/cache/purge" + query, "POST")
    return answer.status, json.loads(answer.text)


def test_admin_purges_by_url_prefix_tag_and_all(edge):
    store(edge, "/a1", "/a2?q=1", "/b1")
    status, said = admin(edge, "?url=http%3A%2F%2Ftest.example%2Fa1")
    assert status == 200 and said["objects"] == 1 and said["bytes"] > 100, said
    assert said["requests_per_s"] > 0
    assert not hit(edge, "/a1") and hit(edge, "/b1")
    store(edge, "/a1")
    assert admin(edge, "?prefix=//test.example/a")[1]["objects"] == 2
    assert not hit(edge, "/a1") and not hit(edge, "/a2?q=1") and hit(edge, "/b1")
    store(edge, "/a1", "/a2?q=1")
    assert admin(edge, "?tag=tag-a")[1]["objects"] == 2
    assert hit(edge, "/b1")
    assert admin(edge, "?tag=both%20words")[1]["objects"] == 1
    store(edge, "/a1", "/b1")
    assert admin(edge, "?all")[1]["objects"] == 2
    stat = json.loads(http1.fetch(edge.admin(), "/cache").text)
    assert stat["entries"] == 0 and stat["purged"] == 8, stat


def test_admin_purges_softly(edge):
    store(edge, "/a1")
    assert admin(edge, "?soft=1&tag=every")[1]["objects"] == 1
    stale = [("Cache-Control", "max-stale")]
    assert hit(edge, "/a1", fields=stale)
    assert not hit(edge, "/a1")


@pytest.mark.parametrize("query", ["", "?url=", "?url=/a1", "?tag=", "?prefix=a1", "?url=x&tag=y",
                                   "?tag=" + "x" * 5000])
def test_admin_refuses_what_it_cannot_purge(edge, query):
    assert admin(edge, query)[0] == 400


def test_without_a_cache(box):
    member = box.origin("m", answer=tagged)
    edge = Edge(box, {"web": cluster([member], health=None)})
    assert admin(edge, "?tag=a")[0] == 404
    assert http1.fetch(edge.admin(), "/cache").status == 404
    # PURGE is no method of ours then.
    assert http1.fetch(edge.address, "/a1", "PURGE").status == 200 and member.count() == 1


def test_command_line(box, edge):
    store(edge, "/a1", "/b1")
    done = box.run("cache", "purge", "-c", edge.file, "--tag", "tag-a")
    assert done.returncode == 0 and done.stdout.startswith("purged: 1 objects, "), done
    assert not hit(edge, "/a1") and hit(edge, "/b1")
    done = box.run("cache", "purge", "-c", edge.file, "--soft", "--json",
                   "--url", "http://TEST.example/b1")
    assert json.loads(done.stdout)["objects"] == 1
    done = box.run("cache", "stat", "-c", edge.file)
    assert done.returncode == 0 and "entries" in done.stdout
    for wrong in (["purge"], ["purge", "--tag", "a", "--all"], [], ["empty"]):
        assert box.run("cache", *wrong).returncode == 2


def test_method_purge(edge):
    store(edge, "/a1", "/a2?q=1", "/b1")
    assert http1.fetch(edge.address, "/a1", "PURGE").status == 200
    assert not hit(edge, "/a1") and hit(edge, "/a2?q=1") and hit(edge, "/b1")
    store(edge, "/a1")
    assert http1.fetch(edge.address, "/a*", "PURGE").status == 200
    assert not hit(edge, "/a1") and not hit(edge, "/a2?q=1") and hit(edge, "/b1")
    store(edge, "/a1", "/a2?q=1")
    tags = [("Surrogate-Key", "nobody b1"), ("Cache-Tag", "tag-a, x"), ("Soft-Purge", "1")]
    assert http1.fetch(edge.address, "/", "PURGE", fields=tags).status == 200
    for path in ("/a1", "/a2?q=1", "/b1"):
        assert hit(edge, path, fields=[("Cache-Control", "max-stale")])
        assert not hit(edge, path)
    assert metric(edge, "purges") == 3 and metric(edge, "purges_refused") == 0


def test_method_purge_is_for_those_it_is_for(box):
    member = box.origin("m", answer=tagged)
    edge = Edge(box, {"web": cluster([member], health=None)},
                cache={**CACHE, "purge-from": ["10.0.0.0/8"]},
                **{"trusted-proxies": ["127.0.0.1"]})
    store(edge, "/a1")
    for fields in ([], [("X-Forwarded-For", "11.0.0.1")], [("X-Forwarded-For", "10.0.0.1, x")]):
        assert http1.fetch(edge.address, "/a1", "PURGE", fields=fields).status == 403
    assert hit(edge, "/a1") and metric(edge, "purges_refused") == 3
    fields = [("X-Forwarded-For", "10.1.2.3")]
    assert http1.fetch(edge.address, "/a1", "PURGE", fields=fields).status == 200
    assert not hit(edge, "/a1")


def test_what_is_on_its_way_is_not_stored(box):
    gate = threading.Event()
    asked = threading.Event()

    def answer(request):
        asked.set()
        gate.wait(10)
        return tagged(request)
    member = box.origin("m", answer=answer)
    edge = Edge(box, {"web": cluster([member], health=None)}, cache=CACHE)
    fetching = threading.Thread(target=http1.fetch, args=(edge.address, "/a1"))
    fetching.start()
    assert asked.wait(10)
    assert admin(edge, "?tag=a1")[1]["objects"] == 0
    gate.set()
    fetching.join()
    wait("the refusal", lambda: metric(edge, "cache_refused_purged") == 1)
    assert not hit(edge, "/a1") and member.count() == 2


def test_stream_purges_with_receipt_and_the_next_report_tells(box):
    member = box.origin("m", answer=tagged)
    hand = Obedient(box, {"web": cluster([member], health=None)}, cache=CACHE)
    edge = hand.edge
    began = time.monotonic()
    store(edge, "/a1", "/b1")
    for _ in range(50):
        assert hit(edge, "/a1")
    time.sleep(1.0)  # rates are not told over less than a second
    mark = hand.manager.mark()
    result = hand.done('<purge what="tag" text="tag-a"/>')
    assert result.get("purged") == "1" and int(result.get("purged-bytes")) > 100
    lowest = 50 / (time.monotonic() - began)  # it has stood for less than that
    rate = float(result.get("purged-rate"))
    assert lowest * 0.99 < rate < 52
    def tells(stanza):
        return [c for c in stanza.find("cluster") if c.get("purged")]
    report = hand.manager.wait("report", tells, after=mark)
    # By their places: what came in one read has no times that tell them apart.
    said = hand.manager.all(None)[mark:]
    between = said[said.index(result) + 1:said.index(report)]
    assert "report" not in [stanza.name for stanza in between]
    told = tells(report)
    assert len(told) == 1 and told[0].get("name") == "web" and told[0].get("purged") == "1"
    assert told[0].get("purged-rate") == result.get("purged-rate")
    assert not hit(edge, "/a1") and hit(edge, "/b1")
    # It is told once.
    mark = hand.manager.mark()
    assert not tells(hand.manager.wait("report", after=mark))
    hand.refused('<purge what="mood" text="x"/>', code="unsupported")
    hand.refused('<purge what="url" text="no url"/>', code="syntax")
    hand.done('<purge what="all" soft="true"/>')
    assert not hit(edge, "/b1")


def test_report_tells_what_the_cache_did_and_what_the_origin_had_to(box):
    def answer(request):
        if request.path.startswith("/v"):
            fields = [("Cache-Control", "no-cache"), ("ETag", '"v"')]
            known = any(name.lower() == "if-none-match" for name, _ in request.fields)
            return Answer(304 if known else 200, b"" if known else b"v", fields)
        return tagged(request)
    member = box.origin("m", answer=answer)
    hand = Obedient(box, {"web": cluster([member], health=None)}, cache=CACHE)
    store(hand.edge, "/a1")
    wait("a validation", lambda: [http1.fetch(hand.edge.address, "/v1") for _ in range(2)]
         and metric(hand.edge, "cache_validated") > 0)
    for _ in range(10):
        assert hit(hand.edge, "/a1")

    def told(stanza):
        server = stanza.find("server")[0]
        return (int(server.get("cache-hits")) >= 10 and server.get("cache-misses")
                and int(server.get("cache-revalidations")) > 0
                and int(server.get("cache-bytes")) > 0
                and int(server.get("origin-requests")) == member.count())
    hand.manager.wait("report", told)


def test_stream_refuses_without_a_cache(box):
    member = box.origin("m", answer=tagged)
    hand = Obedient(box, {"web": cluster([member], health=None)})
    hand.refused('<purge what="all"/>', code="state")


class Two:
    """A manager and two edges with caches."""

    def __init__(self, box):
        self.box = box
        member = box.origin("m", answer=tagged)
        clusters = {"web": cluster([member], health=None)}
        self.listen = f"unix:{box.folder}/manager.sock"
        box.config(base(None, clusters, state="./manager-state",
                        manager={"listen": self.listen}), "manager.yaml")
        self.manager = box.start("manager", "-c", "manager.yaml", name="manager")
        box.serving(self.listen, self.manager)
        self.edges = [Edge(box, clusters, manager=self.listen, name=f"edge-{n}", cache=CACHE,
                           state=f"./edge-{n}-state", id=f"edge-{n}") for n in range(2)]
        wait("both edges", lambda: self.status_count() == 2)

    def status_count(self):
        status = admin_json(self.listen)
        return sum(s["connected"] and s["reports"] > 0 for s in status["sources"])


def test_manager_purges_on_every_edge_with_a_receipt_each(box):
    two = Two(box)
    for edge in two.edges:
        store(edge, "/a1", "/b1")
    store(two.edges[0], "/a2")
    done = box.run("cache", "purge", "--manager", two.listen, "--tag", "tag-a", "--json")
    assert done.returncode == 0, done
    said = json.loads(done.stdout)
    assert said["complete"] is True
    assert {r["edge"]: (r["status"], r["objects"]) for r in said["receipts"]} == {
        "edge-0": ("done", 2), "edge-1": ("done", 1)}
    for edge in two.edges:
        assert not hit(edge, "/a1") and hit(edge, "/b1")
    # One of them is away: its receipt says so, and the command fails.
    two.edges[1].process.kill9()
    wait("one edge to be gone", lambda: two.status_count() == 1)
    done = box.run("cache", "purge", "--manager", two.listen, "--all")
    assert done.returncode == 1, done
    lines = sorted(done.stdout.splitlines())
    assert lines[0].startswith("edge-0: done, ") and lines[1] == (
        "edge-1: absent: it is not connected"), lines
    answer = http1.fetch(two.listen, "/cache/purge?tag=", "POST")
    assert answer.status == 400


def test_manager_tells_of_a_refusal(box):
    two = Two(box)
    done = box.run("cache", "purge", "--manager", two.listen, "--url", "nonsense")
    assert done.returncode == 1 and done.stdout.count("refused: not purged: nonsense") == 2, done


def test_what_a_route_leaves_out_of_the_key_is_purged_too(box):
    """Stored without host or query, or sorted: found by every URL that asks for it."""
    member = box.origin("m", answer=lambda request: Answer(200, request.path,
                                                           [("Cache-Control", "max-age=60")]))
    edge = Edge(box, {"web": cluster([member], health=None)}, routes=[
        {"match": {"path": "/any/"}, "cluster": "web", "cache": {"key-host": False}},
        {"match": {"path": "/none/"}, "cluster": "web", "cache": {"key-query": "none"}},
        {"match": {"path": "/sorted/"}, "cluster": "web", "cache": {"key-query": "sorted"}}],
        cache={**CACHE, "purge-from": ["127.0.0.0/8"]})
    for asked, purged in [("/any/a", "/any/a"), ("/none/a?x=1", "/none/a?y=2"),
                          ("/sorted/a?b=2&a=1", "/sorted/a?b=2&a=1")]:
        http1.fetch(edge.address, asked, host="one.example")
        wait("it to be stored", lambda asked=asked: http1.fetch(
            edge.address, asked, host="one.example").get("Age") is not None)
        host = "two.example" if asked == "/any/a" else "one.example"
        assert http1.fetch(edge.address, purged, "PURGE", host=host).status == 200
        assert http1.fetch(edge.address, asked, host="one.example").get("Age") is None, asked
