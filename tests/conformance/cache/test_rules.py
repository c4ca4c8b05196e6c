# SPDX-License-Identifier: Apache-2.0
"""RFC 9111 and its neighbours by clause, against the binary, without npm.

A row: name, section, the member's responses in turn, the requests, and for each request what comes:
`hit`, `miss`, or a status, and what Cache-Status holds. A number among the requests is a pause in
seconds.
"""
import contextlib
import itertools
import time

import pytest
from harness import http1, wire2
from harness.origin import field

MA, ETAG = ("Cache-Control", "max-age=60"), ("ETag", '"a"')
OLD = ("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
PAST, FUTURE = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
NUMBERS = itertools.count()


def ok(*fields, body="hello", status=200):
    return (status, fields, body)


ROWS = [
    ("no freshness, no validator", "9111 4.2.1", [ok()], [{}, {}], ["miss", "miss"]),
    ("no-store", "9111 5.2.2.5", [ok(("Cache-Control", "no-store, max-age=9"))], [{}, {}],
     ["miss", "miss"]),
    ("no-cache is validated", "9111 5.2.2.4",
     [ok(("Cache-Control", "no-cache"), ETAG), ok(ETAG, status=304, body="")],
     [{}, {}], ["miss", "fwd-status=304"]),
    ("no-cache of a field", "9111 5.2.2.4", [ok(("Cache-Control", 'max-age=9, no-cache="x"'))],
     [{}, {}], ["miss", "hit"]),
    ("heuristic", "9111 4.2.2", [ok(("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"))], [{}, {}],
     ["miss", "hit"]),
    ("no heuristic for 403", "9111 4.2.2",
     [ok(("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"), status=403)], [{}, {}],
     ["miss", "miss"]),
    ("Expires is no date", "9111 5.3", [ok(("Expires", "0"))], [{}, {}], ["miss", "miss"]),
    ("an invalid Age is ignored", "9111 5.1", [ok(MA, ("Age", "x"))], [{}, {}], ["miss", "hit"]),
    ("Vary: *", "9111 4.1", [ok(MA, ("Vary", "*"))], [{}, {}], ["miss", "miss"]),
    ("order of languages", "9111 4.1", [ok(MA, ("Vary", "Accept-Language"))],
     [{"Accept-Language": "en, de"}, {"Accept-Language": "de,EN"}], ["miss", "hit"]),
    ("another variant", "9111 4.1", [ok(MA, ("Vary", "X"))], [{"X": "1"}, {"X": "2"}, {"X": "1"}],
     ["miss", "fwd=vary-miss", "hit"]),
    ("Authorization", "9111 3.5", [ok(MA)], [{"Authorization": "Basic eA=="}, {}],
     ["miss", "miss"]),
    ("must-understand", "9111 5.2.2.3",
     [ok(("Cache-Control", "max-age=9, must-understand, no-store"), status=200)], [{}, {}],
     ["miss", "hit"]),
    ("only-if-cached", "9111 5.2.1.7", [ok(MA)], [{"Cache-Control": "only-if-cached"}], [504]),
    ("only-if-cached goes nowhere", "9211 2.2", [ok(MA)], [{"Cache-Control": "only-if-cached"}],
     ["freshet; detail=only-if-cached"]),
    ("what is for nobody in particular, and credentials", "9211 2.2", [ok(MA)],
     [{}, {"Authorization": "Basic eA=="}, {}], ["miss", "fwd=request", "hit"]),
    ("max-age of a request", "9111 5.2.1.1", [ok(MA)], [{}, {"Cache-Control": "max-age=0"}],
     ["miss", "fwd=request"]),
    ("If-None-Match", "9111 4.3.2", [ok(MA, ETAG)], [{}, {"If-None-Match": 'W/"a"'}],
     ["miss", 304]),
    ("a range of what is whole", "9110 14.2", [ok(MA)], [{}, {"Range": "bytes=1-2"}],
     ["miss", 206]),
    ("a range outside", "9110 15.5.17", [ok(MA)], [{}, {"Range": "bytes=9-"}], ["miss", 416]),
    ("parts are put together", "9111 3.4",
     [ok(MA, ETAG, ("Content-Range", "bytes 0-2/5"), status=206, body="hel"),
      ok(MA, ETAG, ("Content-Range", "bytes 3-4/5"), status=206, body="lo")],
     [{"Range": "bytes=0-2"}, {"Range": "bytes=3-4"}, {}], ["miss", "fwd=partial", "hit"]),
    ("parts of different things are not", "9111 3.4",
     [ok(MA, ETAG, ("Content-Range", "bytes 0-2/5"), status=206, body="hel"),
      ok(MA, ("ETag", '"b"'), ("Content-Range", "bytes 3-4/5"), status=206, body="lo"),
      ok(MA, ("ETag", '"b"'))],
     [{"Range": "bytes=0-2"}, {"Range": "bytes=3-4"}, {}], ["miss", "fwd=partial", "miss"]),
    ("CDN-Cache-Control", "9213 2.1",
     [ok(("CDN-Cache-Control", "max-age=60"), ("Cache-Control", "no-store"))], [{}, {}],
     ["miss", "hit"]),
    ("the end of what answered a suffix", "9110 14.1.2",
     [ok(MA, ("Content-Range", "bytes 4-9/10"), status=206, body="01234")],
     [{"Range": "bytes=-5"}, {"Range": "bytes=6-8"}, {"Range": "bytes=-1"}],
     ["miss", 206, 206]),
    ("CDN-Cache-Control is no dictionary", "9213 2.1",
     [ok(("CDN-Cache-Control", "max-age=60, &"), ("Cache-Control", "no-store"))], [{}, {}],
     ["miss", "miss"]),
]




def cdn(value, *more):
    return ok(("CDN-Cache-Control", value), *more)


# RFC 9213: what stands in CDN-Cache-Control counts in the place of Cache-Control and Expires, if it
# is a dictionary of structured fields.
ROWS += [
    (f"CDN-Cache-Control: {value}, and {more}", "9213 2.2", [cdn(value, *more)], requests,
     ["miss", wanted])
    for value, more, requests, wanted in [
        ("max-age=60", [], [{}, {}], "hit"),
        ("max-age=2147483648", [], [{}, {}], "hit"),
        ("max-age=99999999999", [], [{}, {}], "hit"),
        ("foobar, max-age=60", [], [{}, {}], "hit"),
        ("max-age=60;a=b, b;c", [], [{}, {}], "hit"),
        ("max-age=3600", [("Age", "7200")], [{}, {}], "miss"),
        ("max-age=0", [], [{}, {}], "miss"),
        ("max-age=0", [("Expires", FUTURE)], [{}, {}], "miss"),
        ("max-age=60", [("Expires", PAST)], [{}, {}], "hit"),
        ("max-age=60", [("Expires", "0")], [{}, {}], "hit"),
        ("max-age=60", [("Cache-Control", "max-age=1")], [{}, 1.2, {}], "hit"),
        ("max-age=1", [("Cache-Control", "max-age=60")], [{}, 1.2, {}], "miss"),
        ("private", [MA, ("Expires", FUTURE)], [{}, {}], "miss"),
        ("no-cache", [MA, ("Expires", FUTURE)], [{}, {}], "miss"),
        ("no-store", [MA, ("Expires", FUTURE)], [{}, {}], "miss"),
        ("max-age=60", [("Cache-Control", "no-store")], [{}, {}], "hit"),
        ('max-age="60"', [("Cache-Control", "no-store")], [{}, {}], "miss"),
        ("max-age=60, &&&&&", [("Cache-Control", "no-store")], [{}, {}], "miss"),
        ("max-age =60", [("Cache-Control", "no-store")], [{}, {}], "miss"),
    ]
]

# RFC 9111 section 5.1: the first of several counts, an invalid one is ignored, a large one is old.
ROWS += [(f"Age: {values}", "9111 5.1",
          [ok(("Cache-Control", "max-age=3600"), *[("Age", value) for value in values])],
          [{}, {}], ["miss", wanted])
         for values, wanted in [
             (["abc"], "hit"), (["-7200"], "hit"), (["7200.0"], "hit"), (["0, 7200"], "hit"),
             (["0", "7200"], "hit"), (["0, 0"], "hit"), (["0", "0"], "hit"), (["7200, 0"], "miss"),
             (["7200", "0"], "miss"), (["2147483647"], "miss"), (["2147483648"], "miss"),
             (["99999999999999999999"], "miss")]]

# RFC 9111 section 4.2.2 and RFC 9110 section 15.1: on which statuses a guess may be made.
ROWS += [(f"heuristic for {status}", "9111 4.2.2", [ok(OLD, status=status)], [{}, {}],
          ["miss", "hit" if guessed else "miss"])
         for guessed, statuses in [(True, (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)),
                                   (False, (201, 202, 302, 307, 400, 403, 500, 502, 503, 504, 599))]
         for status in statuses]
ROWS += [("heuristic for what is public", "9111 4.2.2",
          [ok(OLD, ("Cache-Control", "public"), status=599)], [{}, {}], ["miss", "hit"])]

# RFC 9111 section 3: any final status may be stored that says how long it is fresh.
ROWS += [(f"{status} with a lifetime", "9111 3", [ok(MA, status=status)], [{}, {}], ["miss", "hit"])
         for status in (200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502,
                        503, 504, 599)]
ROWS += [("must-understand of a status not understood", "9111 5.2.2.3",
          [ok(("Cache-Control", "max-age=60, no-store, must-understand"), status=599)],
          [{}, {}], ["miss", "miss"])]

# RFC 9111 section 3.5.
ROWS += [(f"Authorization, and {said}", "9111 3.5", [ok(("Cache-Control", said))],
          [{"Authorization": "x"}, {}], ["miss", wanted])
         for said, wanted in [("max-age=60, public", "hit"), ("max-age=60, must-revalidate", "hit"),
                              ("s-maxage=60", "hit"), ("max-age=60", "miss"),
                              ("max-age=60, proxy-revalidate", "miss")]]

# RFC 9111 section 5.4: only where there is no Cache-Control.
ROWS += [
    ("Pragma of a request", "9111 5.4", [ok(MA)], [{}, {"Pragma": "no-cache"}],
     ["miss", "fwd=request"]),
    ("Pragma beside Cache-Control", "9111 5.4", [ok(MA)],
     [{}, {"Pragma": "no-cache", "Cache-Control": "max-age=9"}], ["miss", "hit"]),
    ("Pragma with something else", "9111 5.4", [ok(MA)], [{}, {"Pragma": "other"}],
     ["miss", "hit"]),
    ("Pragma of a response", "9111 5.4", [ok(MA, ("Pragma", "no-cache"))], [{}, {}],
     ["miss", "hit"]),
]

# RFC 5861 section 3: stale while it is revalidated, within the window and not behind it.
SWR = ("Cache-Control", "max-age=1, stale-while-revalidate=1")
ROWS += [
    ("stale while it is revalidated", "5861 3",
     [ok(("Cache-Control", "max-age=1, stale-while-revalidate=60"), ETAG)], [{}, 1.2, {}],
     ["miss", "hit; ttl=-"]),
    ("not behind the window", "5861 3", [ok(SWR, ETAG)], [{}, 2.4, {}], ["miss", "fwd=stale"]),
]

# RFC 9111 section 4.4: unsafe methods that did not fail, and only those.
ROWS += [(f"invalidated by {method} answered {status}", "9111 4.4", [ok(MA), ok(status=status),
                                                                     ok(MA)],
          [{}, {"method": method}, {}], ["miss", "fwd=method", "miss" if gone else "hit"])
         for method, safe in [("POST", False), ("PUT", False), ("DELETE", False),
                              ("M-SEARCH", False), ("OPTIONS", True)]
         for status, gone in [(200, not safe), (302, not safe), (404, False), (500, False)]]


@pytest.mark.parametrize("name,section,answers,requests,wanted", ROWS,
                         ids=[f"{row[0]} [{row[1]}]" for row in ROWS])
def test_row(script, name, section, answers, requests, wanted):
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = answers
    wanted = iter(wanted)
    for fields in requests:
        if isinstance(fields, float):
            time.sleep(fields)
            continue
        method, want = fields.get("method", "GET"), next(wanted)
        got = http1.fetch(script.edge.address, path, method=method, fields=[
            (name, value) for name, value in fields.items() if name != "method"])
        status = got.get("Cache-Status")
        if isinstance(want, int):
            assert got.status == want, status
        elif want in ("hit", "miss"):
            assert ("; hit" in status) == (want == "hit"), status
        else:
            assert want in status, status
        time.sleep(0.02)


def test_a_304_updates_field_by_field(script):
    """RFC 9111 sections 3.2 and 4.3.4."""
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = [
        ok(("Cache-Control", "max-age=1"), ETAG, ("X-Old", "1"), ("X-New", "1")),
        ok(MA, ETAG, ("X-New", "2"), ("Content-Encoding", "x"), status=304, body="")]
    http1.fetch(script.edge.address, path)
    time.sleep(1.2)
    for _ in range(2):
        got = http1.fetch(script.edge.address, path)
        assert (got.text, got.get("X-Old"), got.get("X-New")) == ("hello", "1", "2")
        assert got.get("Content-Encoding") is None
    assert field(script.asked[path][1], "If-None-Match") == '"a"'
    assert len(script.asked[path]) == 2


def test_a_content_range_of_a_200_is_kept_and_not_mixed_with_ours(script):
    """RFC 9111 section 3.1, RFC 9110 section 14.4."""
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = [ok(MA, ("Content-Range", "bytes 7-8/9"), ("X-A", "1"))]
    for _ in range(2):
        assert http1.fetch(script.edge.address, path).get("Content-Range") == "bytes 7-8/9"
    got = http1.fetch(script.edge.address, path, fields=[("Range", "bytes=1-2")])
    assert (got.status, got.text, got.get("X-A")) == (206, "el", "1")
    assert got.get("Content-Range") == "bytes 1-2/5"
    assert len([n for n, _ in got.fields if n.lower() == "content-range"]) == 1


def test_what_an_unsafe_method_invalidates(script):
    """RFC 9111 section 4.4: the target, and what Location names of the same origin."""
    base = f"/row/{next(NUMBERS)}"
    script.steps[base] = [ok(MA), ok(("Location", "x/../made"), status=201), ok(MA)]
    script.steps["/row/made"] = [ok(MA)]
    for path in (base, "/row/made"):
        http1.fetch(script.edge.address, path)
    http1.fetch(script.edge.address, base, method="POST", body=b"x")
    for path in (base, "/row/made"):
        assert "; hit" not in http1.fetch(script.edge.address, path).get("Cache-Status")


@pytest.mark.parametrize("status,fields", [
    (102, []), (103, [("Link", "</a.css>; rel=preload"), ("X-A", "test")]), (199, [("X-A", "b")])])
def test_interim_responses_go_on_and_are_not_stored(script, status, fields):
    """RFC 9110 section 15.2, RFC 8297; RFC 9111 section 3: only a final response is stored."""
    path = f"/row/{next(NUMBERS)}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    script.steps[path] = [
        f"HTTP/1.1 {status} Interim\r\n{lines}\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
        "Content-Length: 2\r\n\r\nhi".encode()]
    for want in ("fwd=uri-miss", "; hit"):
        interim = []
        with http1.Client(script.edge.address) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: test.example\r\n\r\n".encode())
            got = client.read_response(interim=interim)
        assert (got.status, got.text) == (200, "hi") and want in got.get("Cache-Status")
        if want != "; hit":
            assert [r.status for r in interim] == [status]
            assert [(n, v) for n, v in interim[0].fields if n in dict(fields)] == fields
        else:
            assert not interim and got.get("X-A") is None


def test_age_counts_from_what_was_received(script):
    """RFC 9111 sections 4.2.3 and 5.1: the member's Age, and the time since."""
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = [ok(("Cache-Control", "max-age=600"), ("Age", "30"))]
    first = http1.fetch(script.edge.address, path)
    time.sleep(1.2)
    again = http1.fetch(script.edge.address, path)
    assert 31 <= int(again.get("Age")) <= 40
    assert again.get("Date") == first.get("Date"), "Date says when the member made it"


@pytest.mark.parametrize("named", ["no-cache", "private"])
def test_fields_that_are_not_for_others(script, named):
    """RFC 9111 sections 3.1, 5.2.2.4 and 5.2.2.7, and what Connection names."""
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = [ok(("Cache-Control", f'max-age=60, {named}="a, b"'), ("A", "1"),
                             ("B", "2"), ("C", "3"), ("Connection", "d"), ("D", "4"))]
    first = http1.fetch(script.edge.address, path)
    assert (first.get("A"), first.get("B"), first.get("C")) == ("1", "2", "3")
    assert first.get("D") is None
    again = http1.fetch(script.edge.address, path)
    assert "; hit" in again.get("Cache-Status")
    assert [again.get(name) for name in "ABCD"] == [None, None, "3", None]


GZIPPED = b"\x1f\x8b not really"


@pytest.mark.parametrize("coding,body", [
    ("gzip", GZIPPED),
    ("gzip, chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED)),
    ("x-a;b=c, chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED))])
def test_a_coding_nobody_knows_goes_on_unstored(script, coding, body):
    """RFC 9112 section 6.3; RFC 9111 section 3.3: where a body ends is not guessed at, and what is
    in it is for who is told of the coding."""
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = [f"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n"
                          f"Transfer-Encoding: {coding}\r\n\r\n".encode() + body]
    for _ in range(2):
        with http1.Client(script.edge.address) as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: test.example\r\n\r\n".encode())
            raw = client.read_response()
            assert client.at_end(), "clients disagree about what follows"
        assert raw.status == 200 and raw.get("Transfer-Encoding") == coding
        assert raw.get("Connection") == "close"
        assert raw.body == GZIPPED and raw.get("Content-Length") is None
        assert "fwd=uri-miss" in raw.get("Cache-Status") and "stored" not in raw.get("Cache-Status")
    with http1.Client(script.edge.address) as client:
        client.send(f"GET {path} HTTP/1.0\r\nHost: test.example\r\n\r\n".encode())
        assert client.read_response().status == 502
    with contextlib.closing(wire2.Connection(script.edge.address)) as conn:
        conn.send(wire2.headers(wire2.get(path, authority="test.example")))
        assert conn.read(lambda: conn.stream(1).ended) and conn.stream(1).status == 502
    assert len(script.asked[path]) == 4, "each was asked for anew"
    assert http1.fetch(script.edge.address, path, method="HEAD").status == 200


@pytest.mark.parametrize("coding", ['foo;x="', 'foo;x="a', 'foo;x="a"', "foo;;=", "foo;a b c"])
def test_a_list_of_codings_that_can_be_read_in_two_ways_is_refused(script, coding):
    """RFC 9112 section 11.2: who knows quotes finds no chunked behind an odd one."""
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = [f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}, chunked\r\n\r\n"
                          "0\r\n\r\n".encode()]
    answer = http1.fetch(script.edge.address, path)
    assert answer.status == 502 and answer.get("Transfer-Encoding") is None
