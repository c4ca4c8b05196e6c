# SPDX-License-Identifier: Apache-2.0
"""RFC 9111 and its neighbours by clause, against the binary, without npm.

A row: name, section, the member's responses in turn, the requests, and for each request what comes:
`hit`, `miss`, or a status, and what Cache-Status holds.
"""
import itertools
import time

import pytest
from harness import http1
from harness.origin import field

MA, ETAG = ("Cache-Control", "max-age=60"), ("ETag", '"a"')
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


@pytest.mark.parametrize("name,section,answers,requests,wanted", ROWS,
                         ids=[f"{row[0]} [{row[1]}]" for row in ROWS])
def test_row(script, name, section, answers, requests, wanted):
    path = f"/row/{next(NUMBERS)}"
    script.steps[path] = answers
    for fields, want in zip(requests, wanted):
        got = http1.fetch(script.edge.address, path, fields=list(fields.items()))
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
