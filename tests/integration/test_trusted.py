# SPDX-License-Identifier: Apache-2.0
"""Who asks: what trusted proxies in front say, what anybody else says, and how members hear it."""
import re
import signal

import pytest

from harness import http1
from harness.box import wait
from harness.origin import Answer, field, fields_of
from harness.setup import Edge, cluster

LOCAL = ["127.0.0.0/8", "::1"]


def trusting(box, trusted=tuple(LOCAL), answer=None, **more):
    member = box.origin("m", answer=answer)
    more.setdefault("trusted-proxies", list(trusted))
    edge = Edge(box, {"web": cluster([member], health=None)},
                **{"access-log": {"to": "access.log", "format": "json"}, **more})
    return edge, member


def ask(edge, member, *fields, path="/", **more):
    response = http1.fetch(edge.address, path, fields=list(fields), **more)
    assert response.status == 200, response
    return member.requests[-1]


CLAIMS = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"),
          ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Port", "443"),
          ("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6;proto=https"),
          ("X-Request-Id", "theirs")]


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8", "unix:"]])
def test_what_others_say_is_replaced(box, trusted):
    edge, member = trusting(box, trusted)
    request = ask(edge, member, *CLAIMS, host="real.example")
    assert fields_of(request, "X-Forwarded-For") == ["127.0.0.1"]
    assert fields_of(request, "X-Forwarded-Proto") == ["http"]
    assert fields_of(request, "X-Forwarded-Host") == ["real.example"]
    for name in ("X-Forwarded-Port", "X-Real-IP", "Forwarded"):
        assert field(request, name) is None, name
    assert re.fullmatch("[0-9a-f]{32}", field(request, "X-Request-Id"))


def test_what_a_trusted_proxy_says_is_believed(box):
    edge, member = trusting(box)
    request = ask(edge, member, ("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "HTTPS"),
                  ("X-Forwarded-Host", "shop.example"), ("X-Forwarded-Port", "443"),
                  ("X-Request-Id", "Root=1-abc"), host="inside.example")
    assert fields_of(request, "X-Forwarded-For") == ["192.0.2.7, 127.0.0.1"]
    assert fields_of(request, "X-Forwarded-Proto") == ["https"]
    assert fields_of(request, "X-Forwarded-Host") == ["shop.example"]
    assert fields_of(request, "X-Forwarded-Port") == ["443"]
    assert fields_of(request, "X-Request-Id") == ["Root=1-abc"]
    assert field(request, "Host") == "inside.example"


# What a proxy on 127.0.0.1 says; what the client is then, and what the member hears.
WALKS = [
    ("192.0.2.7", "192.0.2.7", "192.0.2.7, 127.0.0.1"),
    ("6.6.6.6, 192.0.2.7", "192.0.2.7", "192.0.2.7, 127.0.0.1"),
    ("6.6.6.6, 192.0.2.7, 127.0.0.9", "192.0.2.7", "192.0.2.7, 127.0.0.9, 127.0.0.1"),
    ("127.0.0.8, 127.0.0.9", "127.0.0.8", "127.0.0.8, 127.0.0.9, 127.0.0.1"),
    ("2001:db8::7", "2001:db8::7", "2001:db8::7, 127.0.0.1"),
    ("[2001:DB8::7]:4711", "2001:db8::7", "2001:db8::7, 127.0.0.1"),
    ("192.0.2.7:4711", "192.0.2.7", "192.0.2.7, 127.0.0.1"),
    ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7, 127.0.0.1"),
    ("192.0.2.7, ::1", "192.0.2.7", "192.0.2.7, ::1, 127.0.0.1"),
    ("192.0.2.7, unknown", "127.0.0.1", "127.0.0.1"),
    ("192.0.2.7, unknown, 127.0.0.9", "127.0.0.9", "127.0.0.9, 127.0.0.1"),
    ("192.0.2.7, 127.0.0.9 ,, ", "192.0.2.7", "192.0.2.7, 127.0.0.9, 127.0.0.1"),
    ("\"6.6.6.6, 192.0.2.7", "192.0.2.7", "192.0.2.7, 127.0.0.1"),
    ("", "127.0.0.1", "127.0.0.1"),
    ("garbage \"<script>", "127.0.0.1", "127.0.0.1"),
    (", ".join(["6.6.6.6"] * 300 + ["192.0.2.7"]), "192.0.2.7", "192.0.2.7, 127.0.0.1"),
    (", ".join(["6.6.6.6"] + ["127.0.0.9"] * 16), "127.0.0.9",
     ", ".join(["127.0.0.9"] * 16 + ["127.0.0.1"])),
]


def test_the_rightmost_that_is_not_trusted_is_the_client(box):
    edge, member = trusting(box)
    for i, (claim, _, heard) in enumerate(WALKS):
        request = ask(edge, member, ("X-Forwarded-For", claim), path=f"/w{i}")
        assert fields_of(request, "X-Forwarded-For") == [heard], claim
    # In several fields they are one list (RFC 9110 section 5.3).
    request = ask(edge, member, ("X-Forwarded-For", "6.6.6.6, 192.0.2.7"),
                  ("X-Forwarded-For", "127.0.0.9"), path="/two")
    assert fields_of(request, "X-Forwarded-For") == ["192.0.2.7, 127.0.0.9, 127.0.0.1"]
    log = box.folder / "access.log"
    wait("the log", lambda: "/two" in log.read_text())
    import json
    clients = {row["target"]: row for row in map(json.loads, log.read_text().splitlines())}
    for i, (claim, client, _) in enumerate(WALKS):
        assert clients[f"/w{i}"]["client"] == client, claim
        assert clients[f"/w{i}"]["peer"] == "127.0.0.1"


def test_forwarded_is_believed_where_there_is_nothing_else(box):
    edge, member = trusting(box)
    request = ask(edge, member, ("Forwarded", "for=6.6.6.6;proto=http, "
                                 "For=\"[2001:db8::7]:99\";Proto=https;host=\"shop.example\""))
    assert fields_of(request, "X-Forwarded-For") == ["2001:db8::7, 127.0.0.1"]
    assert fields_of(request, "X-Forwarded-Proto") == ["https"]
    assert fields_of(request, "X-Forwarded-Host") == ["shop.example"]
    assert fields_of(request, "Forwarded") == [
        "For=\"[2001:db8::7]:99\";Proto=https;host=\"shop.example\", "
        "for=127.0.0.1;proto=http;host=\"test.example\""]
    # Its own rules are broken: the connection is all that is known.
    for broken in ("for=192.0.2.7;for=6.6.6.6", "for=\"192.0.2.7", "for=unknown", "for=_hidden"):
        request = ask(edge, member, ("Forwarded", broken))
        assert fields_of(request, "X-Forwarded-For") == ["127.0.0.1"], broken
        assert field(request, "Forwarded") is None


def test_x_forwarded_for_counts_before_forwarded(box):
    # Most proxies know the one and pass on what their clients wrote into the other.
    edge, member = trusting(box)
    request = ask(edge, member, ("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=6.6.6.6"))
    assert fields_of(request, "X-Forwarded-For") == ["192.0.2.7, 127.0.0.1"]
    assert field(request, "Forwarded") is None


def test_members_hear_in_the_notation_asked_for(box):
    edge, member = trusting(box, forwarded=["rfc7239"])
    request = ask(edge, member, host="a.example:81")
    assert fields_of(request, "Forwarded") == ["for=127.0.0.1;proto=http;host=\"a.example:81\""]
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"):
        assert field(request, name) is None
    request = ask(edge, member, ("X-Forwarded-For", "2001:db8::7"), ("X-Forwarded-Proto", "https"),
                  ("X-Forwarded-Host", "shop.example"), host="inside")
    assert fields_of(request, "Forwarded") == [
        "for=\"[2001:db8::7]\";proto=https;host=\"shop.example\", "
        "for=127.0.0.1;proto=http;host=\"inside\""]


def test_neither_notation(box):
    edge, member = trusting(box, forwarded=[])
    request = ask(edge, member, *CLAIMS)
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"):
        assert field(request, name) is None


def test_two_values_for_one_are_none(box):
    edge, member = trusting(box)
    request = ask(edge, member, ("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http"),
                  ("X-Forwarded-Host", "a.example"), ("X-Forwarded-Host", "b.example"),
                  ("X-Request-Id", "a"), ("X-Request-Id", "b"), host="real.example")
    assert fields_of(request, "X-Forwarded-Proto") == ["http"]
    assert fields_of(request, "X-Forwarded-Host") == ["real.example"]
    assert re.fullmatch("[0-9a-f]{32}", field(request, "X-Request-Id"))
    for proto, host in (("https, http", "a.example, b.example"), ("javascript", "a/b"),
                        ("", "user@host")):
        request = ask(edge, member, ("X-Forwarded-Proto", proto), ("X-Forwarded-Host", host),
                      host="real.example")
        assert fields_of(request, "X-Forwarded-Proto") == ["http"], proto
        assert fields_of(request, "X-Forwarded-Host") == ["real.example"], host


def test_claims_are_part_of_the_cache_key(box):
    def answer(request):
        return Answer(200, f"{field(request, 'X-Forwarded-Proto')} "
                           f"{field(request, 'X-Forwarded-Host')}",
                      [("Cache-Control", "max-age=60")])
    edge, member = trusting(box, answer=answer, cache={"memory": "1MiB"})

    def get(*fields):
        return http1.fetch(edge.address, "/k", fields=list(fields), host="h.example").text
    for _ in range(2):
        assert get() == "http h.example"
        assert get(("X-Forwarded-Proto", "https")) == "https h.example"
        assert get(("X-Forwarded-Host", "o.example")) == "http o.example"
    assert len(member.requests) == 3


def test_trust_changes_with_a_reload(box):
    edge, member = trusting(box, [])
    claim = ("X-Forwarded-For", "192.0.2.7")
    with http1.Client(edge.address) as client:
        client.request("GET", "/", [claim])
        assert fields_of(member.requests[-1], "X-Forwarded-For") == ["127.0.0.1"]
        edge.settings["trusted-proxies"] = LOCAL
        edge.write()
        edge.process.signal(signal.SIGHUP)

        def believed():
            client.request("GET", "/", [claim])
            return fields_of(member.requests[-1], "X-Forwarded-For") == ["192.0.2.7, 127.0.0.1"]
        wait("the new trust on a connection that stood", believed)


def test_balancing_goes_by_the_believed_address(box):
    members = [box.origin(f"m{i}") for i in range(3)]
    edge = Edge(box, {"web": cluster(members, health=None, balance="hash",
                                     hash={"by": "address", "bound": 100})},
                **{"trusted-proxies": LOCAL})

    def owner(*fields):
        return http1.fetch(edge.address, fields=list(fields)).text.split()[0]
    owners = {f"192.0.2.{i}": owner(("X-Forwarded-For", f"192.0.2.{i}")) for i in range(40)}
    assert len(set(owners.values())) == 3
    for address, name in owners.items():
        # The same client, whatever it claims itself and through however many proxies it came.
        assert owner(("X-Forwarded-For", f"6.6.6.6, {address}, 127.0.0.9")) == name


# ---- names ----------------------------------------------------------------------------------

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_request_ids_are_made_and_differ(box):
    edge, member = trusting(box)
    ids = {field(ask(edge, member), "X-Request-Id") for _ in range(50)}
    assert len(ids) == 50 and all(re.fullmatch("[0-9a-f]{32}", i) for i in ids)
    for bad in ("a b", "a\"b", "x" * 129, "<script>", ""):
        got = fields_of(ask(edge, member, ("X-Request-Id", bad)), "X-Request-Id")
        assert len(got) == 1 and re.fullmatch("[0-9a-f]{32}", got[0]), bad


def test_the_client_is_told_if_so_configured(box):
    edge, member = trusting(box, answer=lambda r: Answer(200, "x", [
        ("X-Request-Id", "members-own"), ("Cache-Control", "max-age=60")]),
        cache={"memory": "1MiB"}, **{"request-id": {"respond": True}})
    seen = []
    for path in ("/a", "/a", "/b"):
        response = http1.fetch(edge.address, path, fields=[("X-Request-Id", f"mine{len(seen)}")])
        assert [v for k, v in response.fields if k.lower() == "x-request-id"] == \
            [f"mine{len(seen)}"]
        seen.append(response)
    assert len(member.requests) == 2
    response = http1.fetch(edge.address, "/a", "TRACE")
    assert response.status == 405 and len(response.get("X-Request-Id")) == 32


def test_the_client_is_not_told_otherwise(box):
    edge, _ = trusting(box, answer=lambda r: Answer(200, "x", [("X-Request-Id", "members")]))
    assert http1.fetch(edge.address).get("X-Request-Id") == "members"


def test_no_ids(box):
    edge, member = trusting(box, traceparent="pass", **{"request-id": {"make": False}})
    request = ask(edge, member)
    assert field(request, "X-Request-Id") is None and field(request, "traceparent") is None
    assert field(ask(edge, member, ("X-Request-Id", "a")), "X-Request-Id") == "a"


def test_traceparent(box):
    edge, member = trusting(box, [])
    request = ask(edge, member, ("traceparent", PARENT), ("tracestate", "a=1"),
                  ("TraceState", "b=2"))
    assert fields_of(request, "traceparent") == [PARENT]
    assert fields_of(request, "tracestate") == ["a=1", "b=2"]
    made = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-00")
    assert made.fullmatch(field(ask(edge, member), "traceparent"))
    for bad in (PARENT.upper(), PARENT[:-1], PARENT + "-x", "ff" + PARENT[2:], "x", ""):
        request = ask(edge, member, ("traceparent", bad), ("tracestate", "a=1"))
        assert made.fullmatch(field(request, "traceparent")), bad
        assert field(request, "tracestate") is None
    request = ask(edge, member, ("traceparent", PARENT), ("traceparent", PARENT))
    assert len(fields_of(request, "traceparent")) == 1 and TRACE not in field(request,
                                                                              "traceparent")
    # Named in Connection they stay: they are meant for every recipient.
    request = ask(edge, member, ("traceparent", PARENT), ("X-A", "1"))
    assert field(request, "traceparent") == PARENT


def test_the_same_names_in_the_log(box):
    import json
    edge, member = trusting(box)
    request = ask(edge, member, ("traceparent", PARENT), path="/named")
    log = box.folder / "access.log"
    wait("the log", lambda: "/named" in log.read_text())
    row = [r for r in map(json.loads, log.read_text().splitlines()) if r["target"] == "/named"][0]
    assert row["request_id"] == field(request, "X-Request-Id") and row["trace_id"] == TRACE
