# SPDX-License-Identifier: Apache-2.0
"""Routes that the edge answers by itself: redirects and fixed responses."""
import re
import signal

import pytest

from harness import http1
from harness.box import ROOT, wait
from harness.setup import Edge, Obedient, cluster, metric


# ---- redirects ------------------------------------------------------------------------------

@pytest.mark.parametrize("settings, path, host, location", [
    ("https://example.com/", "/a?b", "h", "https://example.com/"),
    ("https://example.com{path}{query}", "/a/b?c=d&e", "h", "https://example.com/a/b?c=d&e"),
    ("https://example.com{path}{query}", "/a?", "h", "https://example.com/a?"),
    ("https://{host}{path}{query}", "/a", "Www.Example.com:8080", "https://www.example.com/a"),
    ("https://{host}/x", "/a", "[::1]:80", "https://[::1]/x"),
    ("{path}/", "/a", "h", "/a/"),
    ({"to": "/new{path}{query}", "strip": "/old"}, "/old/a?b", "h", "/new/a?b"),
    ({"to": "/new{path}{query}", "strip": "/old/"}, "/old/a", "h", "/new/a"),
    ({"to": "/new{path}", "strip": "/old"}, "/old", "h", "/new/"),
    ({"to": "/new{path}", "strip": "/old"}, "/older/a", "h", "/new/older/a"),
    # A path is never more than a path, whatever it looks like.
    ("{path}", "//evil.example/", "h", "/evil.example/"),
    ("{path}", "///evil.example", "h", "/evil.example"),
    ("{path}", "/%5Cevil.example", "h", "/%5Cevil.example"),
    ({"to": "{path}", "strip": "/old"}, "/old//evil.example/", "h", "/evil.example/"),
    ("https://example.com{path}", "/@evil.example", "h", "https://example.com/@evil.example"),
    ("https://example.com{path}{query}", "/%0d%0aX:1?%0d%0aY:1", "h",
     "https://example.com/%0d%0aX:1?%0d%0aY:1"),
])
def test_targets(box, settings, path, host, location):
    edge = Edge(box, {}, routes=[{"redirect": settings}])
    response = http1.fetch(edge.address, path, host=host)
    assert response.status == 302 and response.get("Location") == location
    assert response.body == b"" and response.get("Date")


def test_statuses_methods_and_headers(box):
    edge = Edge(box, {}, routes=[
        {"match": {"path": f"/{status}"},
         "redirect": {"to": "/x", "status": status, "headers": {"Cache-Control": "no-store"}}}
        for status in (301, 302, 303, 307, 308)])
    for status in (301, 302, 303, 307, 308):
        for method in ("GET", "HEAD", "POST", "DELETE"):
            response = http1.fetch(edge.address, f"/{status}", method)
            assert response.status == status and response.get("Location") == "/x"
            assert response.get("Cache-Control") == "no-store"
    wait("20 to be counted", lambda: metric(edge, "redirects") == 20)


def test_a_target_with_a_host_needs_one(box):
    edge = Edge(box, {}, routes=[{"redirect": "https://{host}/"}])
    assert http1.until_the_end(edge.address, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")


# ---- fixed responses ------------------------------------------------------------------------

def test_fixed_response(box):
    edge = Edge(box, {}, routes=[{"respond": {
        "status": 503, "type": "text/html", "body": "<p>back\nsoon</p>\n",
        "headers": {"Retry-After": 30, "X-Two": "a, b"}}}])
    for method in ("GET", "HEAD", "POST", "PUT"):
        response = http1.fetch(edge.address, "/any", method)
        assert response.status == 503 and response.get("Content-Type") == "text/html"
        assert response.get("Retry-After") == "30" and response.get("X-Two") == "a, b"
        assert response.get("Content-Length") == "17"
        assert response.text == ("" if method == "HEAD" else "<p>back\nsoon</p>\n")
    wait("4 to be counted", lambda: metric(edge, "fixed_responses") == 4)


def test_without_a_body(box):
    edge = Edge(box, {}, routes=[
        {"match": {"path": "/204"}, "respond": 204}, {"match": {"path": "/304"}, "respond": 304},
        {"match": {"path": "/205"}, "respond": 205}, {"match": {"path": "/200"}, "respond": 200}])
    with http1.Client(edge.address) as client:
        for status, length in ((204, None), (304, None), (205, "0"), (200, "0")):
            response = client.request(path=f"/{status}")
            assert response.status == status and response.get("Content-Length") == length
            assert response.get("Content-Type") is None and response.body == b""


def test_the_largest_body(box):
    body = "x" * 16384
    edge = Edge(box, {}, routes=[{"respond": {"body": body}}])
    with http1.Client(edge.address) as client:
        for _ in range(3):
            assert client.request().text == body


def test_pipelined(box):
    origin = box.origin("m")
    edge = Edge(box, {"web": cluster([origin])}, routes=[
        {"match": {"path": "/ok"}, "respond": {"body": "fine"}},
        {"match": {"path": "/r"}, "redirect": "/x"}, {"cluster": "web"}])
    with http1.Client(edge.address) as client:
        client.send(b"".join(http1.head("GET", path) for path in ("/ok", "/r", "/m", "/ok")) +
                    http1.head("POST", "/ok", body=b"12345") + b"12345" + http1.head("GET", "/r"))
        got = [client.read_response() for _ in range(6)]
    assert [r.status for r in got] == [200, 302, 200, 200, 200, 302]
    assert [got[i].text for i in (0, 3, 4)] == ["fine"] * 3


def test_a_body_that_does_not_come_ends_the_connection(box):
    edge = Edge(box, {}, routes=[{"respond": {"body": "no"}}])
    with http1.Client(edge.address) as client:
        response = client.request("POST", fields=[("Content-Length", "10")])
        assert response.status == 200 and response.get("Connection") == "close"
        assert client.at_end()


def test_no_cluster_is_needed_and_reload_changes_answers(box):
    edge = Edge(box, {}, routes=[{"respond": {"body": "one"}}])
    with http1.Client(edge.address) as kept:
        assert kept.request().text == "one"
        edge.settings["routes"] = [{"respond": {"body": "two"}}]
        edge.write()
        edge.process.signal(signal.SIGHUP)
        wait("the new answer", lambda: kept.request().text == "two")
        edge.settings["routes"] = [{"respond": 99}]
        edge.write()
        edge.process.signal(signal.SIGHUP)
        wait("the refusal to be logged",
             lambda: "routes[0].respond.status is" in edge.process.log())
        assert kept.request().text == "two"


def test_status_shows_what_answers(box):
    edge = Edge(box, {}, routes=[{"name": "r", "match": {"path": "/r"}, "redirect": "/x"},
                                 {"name": "f", "match": {"path": "/f"}, "files": "."},
                                 {"name": "s", "respond": 418}])
    text = http1.fetch(edge.admin(), "/status").text
    assert '"redirect"' in text and '"/x"' in text and '"respond"' in text and "418" in text
    assert '"files"' in text


def test_introduced_and_removed_at_run_time(box):
    system = Obedient(box, {"web": cluster(["127.0.0.1:1"])},
                      routes=[{"respond": {"body": "file"}}])
    address = system.edge.address
    (box.folder / "www").mkdir()
    box.write("www/f.txt", "served")
    system.done('<route name="late"><match path="/late"/><respond status="203" body="late"/>'
                '</route>')
    system.done('<route name="f"><match path="/f"/><files folder="www"/></route>')
    assert http1.fetch(address, "/late").text == "late"
    assert http1.fetch(address, "/f.txt").text == "served"
    system.refused('<route name="bad"><respond status="99"/></route>')
    system.refused('<route name="bad"><files folder="nowhere"/></route>')
    # A restart keeps them, and a folder that is gone by then takes nothing else along.
    system.edge.process.stop()
    (box.folder / "www").rename(box.folder / "gone")
    system.edge.start()
    assert http1.fetch(address, "/late").text == "late"
    assert http1.fetch(address, "/f.txt").status == 500
    system.manager.wait("report", after=system.manager.mark())
    system.done('<remove-route name="late"/>')
    assert http1.fetch(address, "/late").text == "file"


def test_the_documented_example_loads(box):
    text = (ROOT / "docs/answers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    for name in ("assets", "app"):
        (box.folder / name).mkdir()
    box.write("freshet.yaml", example.replace("/srv/www/", f"{box.folder}/"))
    done = box.run("check", "-c", "freshet.yaml")
    assert done.returncode == 0, done.stderr + done.stdout
