# SPDX-License-Identifier: Apache-2.0
"""RFC 9111 sections 3 to 5 by what is observed, where a row of test_rules.py is too short for it.
docs/conformance/rfc9111.md says which clause each is for."""
import itertools
import time

import pytest
from harness import http1
from harness.origin import field

NUMBERS = itertools.count()
MA, OLD = ("Cache-Control", "max-age=60"), ("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
SHORT, ETAG = ("Cache-Control", "max-age=1"), ("ETag", '"a"')
FUTURE = "Fri, 01 Jan 2100 00:00:00 GMT"


def ok(*fields, body="hello", status=200):
    return (status, fields, body)


class Case:
    """One path, whose member answers in turn; what came of each request."""

    def __init__(self, script, *answers):
        self.script, self.path = script, f"/clause/{next(NUMBERS)}"
        script.steps[self.path] = list(answers)

    def ask(self, *fields, method="GET", path=None, body=None):
        return http1.fetch(self.script.edge.address, path or self.path, method=method,
                           fields=fields, body=body)

    def asked(self):
        return self.script.asked.get(self.path, [])

    def told(self, name):
        return [field(request, name) for request in self.asked()]

    def stale(self):
        time.sleep(1.1)


def is_hit(response):
    return "; hit" in response.get("Cache-Status")


# ---- section 3 -----------------------------------------------------------------------------------


def test_3_1_every_field_is_stored_but_those_of_the_connection(script):
    own = {"Proxy-Authenticate": "Basic", "Proxy-Authentication-Info": "x", "Upgrade": "x",
           "Keep-Alive": "timeout=9", "Proxy-Connection": "x"}
    kept = {"X-Unknown": "a, b", "Content-Foo": "1", "Set-Cookie": "a=b", "Warning": '199 - "x"'}
    case = Case(script, ok(MA, *own.items(), *kept.items()))
    case.ask()
    again = case.ask()
    assert is_hit(again)
    assert {name: again.get(name) for name in kept} == kept
    assert [name for name in own if again.get(name)] == []


def test_3_1_trailers_do_not_become_fields(script):
    case = Case(script, b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTrailer: X-T, ETag\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n"
                        b'ETag: "t"\r\n\r\n')
    case.ask()
    again = case.ask()
    assert is_hit(again) and again.text == "hi"
    assert again.get("X-T") is None and again.get("ETag") is None


def test_3_2_what_describes_the_stored_bytes_is_not_updated(script):
    case = Case(script, ok(SHORT, ETAG, ("Content-Encoding", "x-a"), ("Content-Type", "a/a")),
                (304, [MA, ETAG, ("Content-Length", "99"), ("Content-Range", "bytes 0-1/2"),
                       ("Content-Encoding", "x-b"), ("Content-Type", "b/b"), ("Connection", "x-c"),
                       ("X-C", "1")], ""))
    case.ask()
    case.stale()
    for _ in range(2):
        got = case.ask()
        assert (got.status, got.text, got.get("Content-Length")) == (200, "hello", "5")
        assert (got.get("Content-Encoding"), got.get("Content-Type")) == ("x-a", "b/b")
        assert got.get("Content-Range") is None and got.get("X-C") is None
    assert len(case.asked()) == 2


def test_3_3_what_was_cut_short_answers_nobody(script):
    case = Case(script, b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                        b"Content-Length: 9\r\n\r\nhalf", ok(MA, body="whole"))
    with pytest.raises((http1.ProtocolError, OSError)):
        case.ask()
    assert case.ask().text == "whole"


def test_3_3_a_unit_that_is_not_understood_is_not_stored(script):
    case = Case(script, (206, [MA, ETAG, ("Content-Range", "lines 0-1/9")], "ab"))
    for _ in range(2):
        assert not is_hit(case.ask(("Range", "lines=0-1")))
    assert len(case.asked()) == 2


def test_3_3_a_part_answers_only_what_lies_in_it_and_says_206(script):
    case = Case(script, (206, [MA, ETAG, ("Content-Range", "bytes 2-5/9")], "cdef"),
                (206, [MA, ETAG, ("Content-Range", "bytes 0-1/9")], "ab"))
    case.ask(("Range", "bytes=2-5"))
    inside = case.ask(("Range", "bytes=3-4"))
    assert (inside.status, inside.text, inside.get("Content-Range")) == (206, "de", "bytes 3-4/9")
    outside = case.ask(("Range", "bytes=0-1"))
    assert not is_hit(outside) and outside.text == "ab"


def test_3_4_parts_have_the_fields_of_the_newer_one(script):
    case = Case(script, (206, [MA, ETAG, ("X-A", "1"), ("X-B", "1"),
                               ("Content-Range", "bytes 0-2/5")], "hel"),
                (206, [MA, ETAG, ("X-B", "2"), ("Content-Range", "bytes 3-4/5")], "lo"))
    case.ask(("Range", "bytes=0-2"))
    case.ask(("Range", "bytes=3-4"))
    both = case.ask()
    assert is_hit(both) and (both.status, both.text) == (200, "hello")
    assert (both.get("X-A"), both.get("X-B")) == ("1", "2")


# ---- section 4 -----------------------------------------------------------------------------------


def test_4_of_two_that_fit_the_newer_one_answers(script):
    case = Case(script, ok(MA, ("Vary", "A"), body="one"), ok(MA, ("Vary", "B"), body="two"))
    case.ask(("A", "1"), ("B", "1"))
    assert case.ask(("A", "2"), ("B", "1")).text == "two"
    assert case.ask(("A", "1"), ("B", "1")).text == "two"


def test_4_an_unsafe_request_is_written_through(script):
    case = Case(script, ok(MA), ok(body="written"))
    case.ask()
    assert case.ask(method="POST", body=b"x").text == "written"


@pytest.mark.parametrize("expires,fresh", [
    ("Fri, 01 Jan 2100 00:00:00 GMT", True), ("fri, 01 jan 2100 00:00:00 gmt", True),
    ("Friday, 01-Jan-49 00:00:00 GMT", True), ("Fri Jan  1 00:00:00 2100", True),
    ("Fri, 01 Jan 2100 00:00:00 EST", False), ("Fri, 01 Jan 2100 00:00:00 +0000", False),
    ("0", False), ("2100-01-01", False), ("", False)])
def test_4_2_dates(script, expires, fresh):
    case = Case(script, ok(("Expires", expires)))
    case.ask()
    assert is_hit(case.ask()) == fresh


@pytest.mark.parametrize("said,fresh", [
    ([("Cache-Control", "max-age=0, s-maxage=60")], True),
    ([("Cache-Control", "max-age=60, s-maxage=0")], False),
    ([("Cache-Control", "max-age=0"), ("Expires", FUTURE)], False),
    ([("Cache-Control", "s-maxage=0"), ("Expires", FUTURE)], False),
    ([("Cache-Control", "max-age=60"), ("Expires", "0")], True),
    ([("Cache-Control", "max-age=0"), ("Cache-Control", "max-age=60")], False),
    ([("Cache-Control", "max-age=60, no-cache")], False),
    ([("Cache-Control", "max-age=6x")], False),
    ([("Cache-Control", 'max-age="60"')], True),
    ([("Cache-Control", "MAX-AGE=60")], True),
    ([("Cache-Control", "unknown=1, max-age=60, other")], True),
    ([("Cache-Control", 'unknown="max-age=60", max-age=0')], False)])
def test_4_2_1_which_lifetime_counts(script, said, fresh):
    case = Case(script, ok(*said))
    case.ask()
    assert is_hit(case.ask()) == fresh


@pytest.mark.parametrize("said", [("Cache-Control", "max-age=1"), ("Expires", "0"),
                                  ("Cache-Control", "s-maxage=1")])
def test_4_2_2_nothing_is_guessed_where_it_is_said(script, said):
    case = Case(script, ok(said, OLD), ok(said, OLD))
    case.ask()
    case.stale()
    assert "fwd=stale" in case.ask().get("Cache-Status")


@pytest.mark.parametrize("said", ["max-age=1, must-revalidate", "max-age=1, proxy-revalidate",
                                  "s-maxage=1", "max-age=1, no-cache"])
def test_4_2_4_what_must_be_validated_is_an_error_when_it_cannot(script, said):
    case = Case(script, ok(("Cache-Control", said), ETAG), None)
    case.ask()
    case.stale()
    assert case.ask().status == 504
    assert case.ask(("Cache-Control", "max-stale")).status == 504


def test_4_2_4_disconnected(script):
    case = Case(script, ok(SHORT), None)
    case.ask()
    case.stale()
    kept = case.ask()
    assert (kept.status, kept.text) == (200, "hello")
    assert kept.get("Cache-Status").endswith("detail=stale-if-error")
    assert case.ask(("Cache-Control", "max-age=0")).status == 502


def test_4_2_4_a_member_that_answers_is_no_disconnection(script):
    case = Case(script, ok(SHORT), ok(status=503, body="no"))
    case.ask()
    case.stale()
    assert case.ask().status == 503


@pytest.mark.parametrize("tag,date", [(True, True), (True, False), (False, True)])
def test_4_3_1_what_is_asked_with(script, tag, date):
    case = Case(script, ok(SHORT, *[ETAG] * tag, *[OLD] * date), ok(SHORT))
    case.ask(("If-None-Match", '"mine"'), ("If-Modified-Since", FUTURE))
    case.stale()
    case.ask(("If-None-Match", '"mine"'))
    assert case.told("If-None-Match")[1] == ('"a"' if tag else None)
    assert case.told("If-Modified-Since")[1] == (OLD[1] if date else None)


@pytest.mark.parametrize("fields,status", [
    ([("If-None-Match", '"a"')], 304), ([("If-None-Match", 'W/"a"')], 304),
    ([("If-None-Match", '"b", "a"')], 304), ([("If-None-Match", "*")], 304),
    ([("If-None-Match", '"b"')], 200),
    ([("If-None-Match", '"b"'), ("If-Modified-Since", FUTURE)], 200),
    ([("If-Modified-Since", OLD[1])], 304),
    ([("If-Modified-Since", "Fri, 31 Dec 1999 00:00:00 GMT")], 200),
    ([("If-Modified-Since", "no date")], 200),
    ([("Range", "bytes=0-1"), ("If-Range", '"a"')], 206),
    ([("Range", "bytes=0-1"), ("If-Range", 'W/"a"')], 200),
    ([("Range", "bytes=0-1"), ("If-Range", '"b"')], 200)])
def test_4_3_2_conditions_of_clients(script, fields, status):
    case = Case(script, ok(MA, ETAG, OLD))
    case.ask()
    got = case.ask(*fields)
    assert got.status == status and is_hit(got)


@pytest.mark.parametrize("name,value", [("If-Match", '"b"'), ("If-Unmodified-Since", OLD[1])])
def test_4_3_2_conditions_for_the_origin_go_there(script, name, value):
    case = Case(script, ok(MA, ETAG, OLD))
    case.ask()
    assert not is_hit(case.ask((name, value)))
    assert case.told(name) == [None, value]


def test_4_3_2_without_last_modified_the_date_counts(script):
    case = Case(script, ok(MA))
    now = case.ask().get("Date")
    assert case.ask(("If-Modified-Since", now)).status == 304
    assert case.ask(("If-Modified-Since", OLD[1])).status == 200


@pytest.mark.parametrize("mine,status", [('"a"', 304), ('"z"', 200)])
def test_4_3_2_a_304_for_us_is_one_for_the_client_if_it_has_that(script, mine, status):
    case = Case(script, ok(SHORT, ETAG), (304, [MA, ETAG, ("X-New", "1")], ""))
    case.ask()
    case.stale()
    got = case.ask(("If-None-Match", mine))
    assert got.status == status and got.text == ("hello" if status == 200 else "")
    assert "fwd=stale; fwd-status=304" in got.get("Cache-Status")
    assert case.ask().get("X-New") == "1"


@pytest.mark.parametrize("asked,tag", [([], None), ([("Range", "bytes=3-4")], '"a"')])
def test_4_3_2_the_tag_of_a_part_is_named_only_for_what_lies_in_it(script, asked, tag):
    case = Case(script, (206, [SHORT, ETAG, ("Content-Range", "bytes 2-5/9")], "cdef"), ok())
    case.ask(("Range", "bytes=2-5"))
    case.stale()
    case.ask(*asked)
    assert case.told("If-None-Match") == [None, tag]


def test_4_3_3_a_full_response_takes_its_place(script):
    case = Case(script, ok(SHORT, ETAG, ("X-Old", "1")), ok(MA, ("ETag", '"b"'), body="new"))
    case.ask()
    case.stale()
    for _ in range(2):
        got = case.ask()
        assert got.text == "new" and got.get("X-Old") is None
    assert len(case.asked()) == 2


def test_4_3_3_a_full_response_that_may_not_be_stored_ends_what_was(script):
    case = Case(script, ok(SHORT, ETAG), ok(("Cache-Control", "no-store"), body="new"), None)
    case.ask()
    case.stale()
    assert case.ask().text == "new"
    assert case.ask().status == 502


def test_4_3_5_head_updates_or_ends_what_is_stored(script):
    case = Case(script, ok(SHORT, ETAG, ("X-A", "1"), ("X-B", "1")),
                ok(MA, ETAG, ("X-B", "2")), ok(body="other!"))
    case.ask()
    case.stale()
    case.ask(method="HEAD")
    got = case.ask()
    assert is_hit(got) and (got.text, got.get("X-A"), got.get("X-B")) == ("hello", "1", "2")


@pytest.mark.parametrize("fields,body", [([("ETag", '"b"')], "hello"), ([ETAG], "longer than that"),
                                         ([ETAG, ("Last-Modified", FUTURE)], "hello")])
def test_4_3_5_a_head_about_something_else(script, fields, body):
    case = Case(script, ok(SHORT, ETAG, OLD), ok(MA, *fields, body=body), ok(MA, body="new"))
    case.ask()
    case.stale()
    case.ask(method="HEAD")
    assert case.ask().text == "new"


@pytest.mark.parametrize("status", [500, 503])
def test_4_3_5_a_head_that_fails_is_about_nothing(script, status):
    case = Case(script, ok(SHORT, ETAG), ok(status=status, body=""), None)
    case.ask()
    case.stale()
    assert case.ask(method="HEAD").status == status
    assert case.ask().text == "hello", "it is still there for who is disconnected"


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize("origin,gone", [("", True), ("http://test.example", True),
                                         ("http://other.example", False),
                                         ("https://test.example", False)])
def test_4_4_only_of_the_same_origin(script, name, origin, gone):
    named, case = Case(script, ok(MA)), Case(script)
    script.steps[case.path] = [ok((name, origin + named.path), status=201)]
    named.ask()
    case.ask(method="POST", body=b"x")
    assert is_hit(named.ask()) != gone


# ---- section 5 -----------------------------------------------------------------------------------


def test_5_2_directives_are_passed_on(script):
    said = 'no-transform, x-mine="a, b", max-age=60'
    case = Case(script, ok(("Cache-Control", said)))
    for _ in range(2):
        assert case.ask(("Cache-Control", "x-yours, min-fresh=1")).get("Cache-Control") == said
    assert case.told("Cache-Control") == ["x-yours, min-fresh=1"]


@pytest.mark.parametrize("said,fresh", [
    ("max-age=59", True), ("max-age=0", False), ("min-fresh=59", True), ("min-fresh=61", False),
    ("no-cache", False), ("max-stale", True), ("only-if-cached", True), ("unknown", True)])
def test_5_2_1_directives_of_requests(script, said, fresh):
    case = Case(script, ok(MA))
    case.ask()
    assert is_hit(case.ask(("Cache-Control", said))) == fresh


def test_5_2_1_5_no_store_of_a_request(script):
    case = Case(script, ok(MA))
    case.ask(("Cache-Control", "no-store"))
    assert not is_hit(case.ask())


@pytest.mark.parametrize("late,answers", [("1", False), ("60", True), ("", True)])
def test_5_2_1_2_max_stale(script, late, answers):
    case = Case(script, ok(SHORT), ok(MA, body="new"))
    case.ask()
    time.sleep(2.2)
    got = case.ask(("Cache-Control", "max-stale" + (f"={late}" if late else "")))
    assert (got.text == "hello") == answers
