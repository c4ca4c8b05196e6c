# SPDX-License-Identifier: Apache-2.0
"""The cache from outside: what is stored, for whom, how long, and that it stays bounded."""
import time

import pytest

from harness import http1
from harness.box import wait
from harness.origin import Answer, field
from harness.setup import resident_kib, simple


def cached(box, fields, **more):
    counter = [0]

    def answer(request):
        counter[0] += 1
        return Answer(200, f"{counter[0]} {request.path}", list(fields(request)
                      if callable(fields) else fields))
    return simple(box, answer, cache={"memory": "8MiB"}, **more)


def stored(edge, path="/c", **more):
    """Whether the second answer comes from the cache (the first may still be on its way in)."""
    http1.fetch(edge.address, path, **more)
    time.sleep(0.05)
    return http1.fetch(edge.address, path, **more).get("Age") is not None


@pytest.mark.parametrize("fields,expected", [
    ([("Cache-Control", "max-age=60")], True),
    ([("Cache-Control", "public, s-maxage=60, max-age=0")], True),
    ([("Cache-Control", "max-age=0")], False),
    ([("Cache-Control", "no-store, max-age=60")], False),
    ([("Cache-Control", "private, max-age=60")], False),
    ([("Cache-Control", "no-cache, max-age=60")], False),
    ([("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], False),
    ([("Expires", "0")], False),
    ([("Cache-Control", "max-age=60"), ("Vary", "*")], False),
    ([], False),
])
def test_what_is_stored(box, fields, expected):
    edge, member = cached(box, fields)
    assert stored(edge) == expected
    assert member.count() == (1 if expected else 2)


def test_age_grows_and_freshness_ends(box):
    edge, member = cached(box, [("Cache-Control", "max-age=2")])
    http1.fetch(edge.address, "/c")
    wait("an age of one second", lambda: http1.fetch(edge.address, "/c").get("Age") == "1")
    assert member.count() == 1
    wait("a second fetch", lambda: http1.fetch(edge.address, "/c").text.startswith("2"))
    assert member.count() == 2


def test_age_from_upstream_counts(box):
    edge, member = cached(box, [("Cache-Control", "max-age=60"), ("Age", "50")])
    http1.fetch(edge.address, "/c")
    wait("the stored one", lambda: int(http1.fetch(edge.address, "/c").get("Age") or 0) >= 50)
    assert member.count() <= 2


def test_vary(box):
    edge, member = cached(box, lambda request: [
        ("Cache-Control", "max-age=60"), ("Vary", "Accept-Language"),
        ("X-Language", field(request, "Accept-Language") or "none")])

    def ask(language):
        return http1.fetch(edge.address, "/v", fields=[("Accept-Language", language)])
    for _ in range(3):
        for language in ("de", "fr"):
            assert ask(language).get("X-Language") == language
            time.sleep(0.03)
    assert member.count() == 2


def test_queries_hosts_and_methods_are_different_things(box):
    edge, member = cached(box, [("Cache-Control", "max-age=60")])
    assert stored(edge, "/q?a=1") and stored(edge, "/q?a=2")
    assert stored(edge, "/q?a=1", host="other.example")
    assert member.count() == 3
    for _ in range(2):
        assert http1.fetch(edge.address, "/q?a=1", method="POST", body=b"x").get("Age") is None
    assert member.count() == 5


def test_head_from_a_stored_get(box):
    edge, member = cached(box, [("Cache-Control", "max-age=60")])
    assert stored(edge, "/h")
    asked = member.count()
    with http1.Client(edge.address) as client:
        response = client.request("HEAD", "/h")
        assert response.get("Age") is not None and response.get("Content-Length") == "4"
        assert client.request("GET", "/h").text == "1 /h"
    assert member.count() == asked


def test_requests_that_ask_for_the_origin(box):
    edge, member = cached(box, [("Cache-Control", "max-age=60")])
    assert stored(edge, "/r")
    asked = member.count()
    assert http1.fetch(edge.address, "/r", fields=[("Cache-Control", "no-cache")]).status == 200
    assert member.count() == asked + 1


def test_authorization_is_not_shared(box):
    edge, member = cached(box, [("Cache-Control", "max-age=60")])
    assert not stored(edge, "/secret", fields=[("Authorization", "Basic x")])


def test_writing_invalidates(box):
    """RFC 9111 section 4.4."""
    edge, member = cached(box, [("Cache-Control", "max-age=60")])
    assert stored(edge, "/w")
    assert http1.fetch(edge.address, "/w", method="PUT", body=b"new").status == 200
    asked = member.count()
    http1.fetch(edge.address, "/w")
    assert member.count() == asked + 1


def test_route_that_does_not_cache(box):
    edge, member = cached(box, [("Cache-Control", "max-age=60")], routes=[
        {"cluster": "web"}, {"match": {"path": "/live/"}, "cluster": "web", "cache": "off"}])
    assert stored(edge, "/x") and not stored(edge, "/live/x")


def test_without_a_cache_nothing_is_stored(box):
    edge, member = simple(box, lambda request: Answer(200, "x", [("Cache-Control", "max-age=60")]))
    assert not stored(edge)


def test_cache_is_bounded_and_evicts(box):
    body = "y" * 100_000
    keep = [("Cache-Control", "max-age=600")]
    edge, member = simple(box, lambda request: Answer(200, body, keep), cache={"memory": "1MiB"})
    for n in range(100):
        assert http1.fetch(edge.address, f"/{n}").body == body.encode()
    assert resident_kib(edge.process.pid) < 400 * 1024
    asked = member.count()
    wait("a recent one from the cache",
         lambda: http1.fetch(edge.address, "/99").get("Age") is not None)
    http1.fetch(edge.address, "/0")
    assert member.count() > asked, "an old one should have made room"


def test_every_response_says_what_the_cache_had_to_do_with_it(box):
    edge, member = simple(box, cache={"memory": "8MiB"}, routes=[
        {"match": {"path": "/off"}, "cluster": "web", "cache": "off"},
        {"match": {"path": "/fixed"}, "respond": {"status": 200, "body": "x"}},
        {"match": {"path": "/old"}, "redirect": {"to": "/new"}},
        {"cluster": "web"}])
    for path, status, says in (("/off", 200, "fwd=bypass"), ("/fixed", 200, "detail=local"),
                               ("/old", None, "detail=local"), ("/", 200, "fwd=uri-miss")):
        response = http1.fetch(edge.address, path)
        assert status in (None, response.status)
        assert response.get("Cache-Status").startswith(f"freshet; {says}"), path
    with http1.Client(edge.address) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        response = client.read_response()
        assert response.status == 400 and response.get("Cache-Status") == "freshet; detail=local"


def test_cut_responses_are_not_stored(box):
    cut = [True]

    def answer(request):
        if cut[0]:
            return (b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                    b"Content-Length: 10\r\n\r\n123")
        return Answer(200, "0123456789", [("Cache-Control", "max-age=60")])
    edge, member = simple(box, answer, web={"eject": {"failures": 0}})
    with pytest.raises(http1.ProtocolError):
        http1.fetch(edge.address, "/cut")
    cut[0] = False
    assert http1.fetch(edge.address, "/cut").body == b"0123456789"


def test_a_304_with_another_tag_confirms_and_says_nothing_of_the_representation(box):
    """Only one tag was asked about, so that one is confirmed; what describes the other is not taken
    over (RFC 9111 section 4.3.4, and "Where we differ" of docs/conformance/rfc9111.md)."""
    def answer(request):
        if field(request, "If-None-Match"):
            return Answer(304, b"", [("ETag", '"other"'), ("Cache-Control", "max-age=60"),
                                     ("Content-Language", "fr"), ("X-Colour", "red")])
        return Answer(200, str(member.count()), [("ETag", '"one"'), ("Cache-Control", "max-age=0"),
                                                 ("Content-Language", "en")])
    edge, member = simple(box, answer, cache={"memory": "8MiB"})
    for _ in range(3):
        response = http1.fetch(edge.address, "/c")
        assert response.status == 200 and response.text == "1"
        assert response.get("ETag") == '"one"' and response.get("Content-Language") == "en"
        assert response.get("X-Colour") is None
    asked = [field(request, "If-None-Match") for request in member.requests]
    assert asked == [None, '"one"']


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Original-URL", "x-rewrite-url"])
def test_what_changes_the_request_unseen_is_not_stored(box, name):
    edge, member = simple(box, lambda request: Answer(200, str(field(request, name)), [
        ("Cache-Control", "max-age=60")]), cache={"memory": "8MiB"})
    for _ in range(2):
        response = http1.fetch(edge.address, "/c", fields=[(name, "/admin")])
        assert response.text == "/admin" and "fwd=bypass" in response.get("Cache-Status")
    assert http1.fetch(edge.address, "/c").text == "None"
    assert member.count() == 3


@pytest.mark.parametrize("name, passes", [("X-Raw", True), ("x" * 70, True), ("y" * 70, False),
                                          ("X-Own", False)])
def test_the_names_that_pass_the_cache_by_stand_between_commas(box, name, passes):
    edge, member = simple(box, lambda request: Answer(200, "x", [("Cache-Control", "max-age=60")]),
                          cache={"memory": "8MiB"}, routes=[{"cluster": "web", "cache": {
                              "bypass-headers": 'x", X-Raw ,,' + "X" * 70}}])
    for _ in range(2):
        assert http1.fetch(edge.address, "/c", fields=[(name, "1")]).status == 200
    assert member.count() == (2 if passes else 1)


def test_the_case_of_a_host_makes_no_difference(box):
    edge, member = cached(box, [("Cache-Control", "max-age=60")])
    assert stored(edge, host="Some.Example:81")
    for host in ("some.example:81", "SOME.EXAMPLE:81"):
        assert http1.fetch(edge.address, "/c", host=host).get("Age")
    assert member.count() == 1
