# SPDX-License-Identifier: Apache-2.0
"""Sessions: the signed cookie that keeps a client on its member, and everything that ends one."""
import base64
import collections
import hashlib
import hmac
import json
import re
import signal
import threading
import time

import pytest

from harness import http1
from harness.box import wait
from harness.origin import Answer
from harness.setup import Edge, admin_json, cluster, ready, static_pool

KEY = "0123456789abcdef" * 4
OTHER_KEY = "fedcba9876543210" * 4


def named(origins):
    return [{"address": o.address, "id": o.name} for o in origins]


def sticky(members, **more):
    settings = {"sticky": {"cookie": "SRV"}}
    settings.update(more)
    return cluster(named(members), health=more.pop("health", None), **settings)


def counters(edge):
    return admin_json(edge)["counters"]


def ask(edge, cookie=None, path="/", others=()):
    fields = [("Cookie", "; ".join([*others, f"SRV={cookie}"]))] if cookie else []
    return http1.fetch(edge.address, path, fields=fields)


def given(response):
    """The session cookie a response sets, or None."""
    values = [v for v in response.all("Set-Cookie") if v.startswith("SRV=")]
    assert len(values) <= 1
    return values[0].split("=", 1)[1].split(";")[0] if values else None


def session(edge):
    """A new session: (cookie, member)."""
    response = ask(edge)
    return given(response), response.get("X-Origin")


def session_on(edge, name):
    return wait(f"a session on {name}",
                lambda: next((c for c, m in (session(edge) for _ in range(8)) if m == name), None))


def stays(edge, cookie, member, count=12):
    for _ in range(count):
        response = ask(edge, cookie)
        assert (response.get("X-Origin"), given(response)) == (member, None), response


def moved(edge, cookie, member):
    """One request that is served elsewhere and given a new session there."""
    response = ask(edge, cookie)
    assert response.status == 200 and response.get("X-Origin") != member
    assert given(response) not in (None, cookie)
    return given(response), response.get("X-Origin")


@pytest.fixture
def three(box):
    return [box.origin(f"m{i}") for i in range(3)]


def test_a_session_stays(box, three):
    edge = Edge(box, {"web": sticky(three)}, workers=2)
    response = ask(edge)
    line, = response.all("Set-Cookie")
    assert re.fullmatch(r"SRV=[\w-]{40}; Path=/; HttpOnly; SameSite=Lax", line), line
    assert "private" in response.get("Cache-Control")
    seen = collections.Counter()
    named = 0  # two letters come up by chance, but not each time
    for _ in range(12):
        cookie, member = session(edge)
        named += member in cookie
        stays(edge, cookie, member)
        seen[member] += 1
    assert named < 6
    assert len(seen) > 1, "new sessions are balanced"
    after = counters(edge)
    assert after["sessions_kept"] == 144 and after["sessions_given"] == 13
    assert after["sessions_forged"] == after["sessions_moved"] == 0


def test_attributes(box, three):
    settings = {"cookie": "SRV", "for": "90s", "path": "/shop", "secure": True,
                "same-site": "strict"}
    edge = Edge(box, {"web": sticky(three, sticky=settings)})
    line, = ask(edge).all("Set-Cookie")
    assert re.fullmatch(r"SRV=[\w-]{40}; Path=/shop; Max-Age=90; HttpOnly; Secure; "
                        r"SameSite=Strict", line), line


def test_the_member_does_not_see_it(box):
    def show(request):
        return Answer(200, json.dumps([v for k, v in request.fields if k.lower() == "cookie"]))
    member = box.origin("m", answer=show)
    edge = Edge(box, {"web": sticky([member])})
    cookie, _ = session(edge)

    def seen(*lines):
        fields = [("Cookie", line) for line in lines]
        return json.loads(http1.fetch(edge.address, fields=fields).text)
    assert seen(f"SRV={cookie}") == []
    assert seen(f"a=1; SRV={cookie}") == ["a=1"]
    assert seen(f"SRV={cookie}; a=1") == ["a=1"]
    assert seen(f"a=1;SRV={cookie};b=2;junk") == ["a=1;b=2;junk"]
    assert seen(f"a=1; SRV={cookie}; b=2", "SRV=x", "c=3") == ["a=1; b=2", "c=3"]
    assert seen(f"SRV={cookie};;") == []
    assert seen("srv=mine; a=1") == ["srv=mine; a=1"], "names are case-sensitive"
    many = ";".join(f"{n}=" for n in range(3000))
    assert seen(f"{many};SRV={cookie}") == [many]
    edge.settings["clusters"]["web"]["sticky"]["forward"] = True
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the cookie to be passed on", lambda: seen(f"SRV={cookie}") == [f"SRV={cookie}"])


def test_forged_and_foreign_cookies(box, three):
    routes = [{"match": {"path": "/api/"}, "cluster": "api"}, {"cluster": "web"}]
    others = [box.origin(f"a{i}") for i in range(2)]
    edge = Edge(box, {"web": sticky(three), "api": sticky(others)}, routes=routes)
    cookie, member = session(edge)
    elsewhere = given(http1.fetch(edge.address, "/api/"))
    turned = cookie[:-1] + ("A" if cookie[-1] != "A" else "B")
    for bad in (turned, "", "x", "A" * 40, cookie + "A", cookie[:-1], elsewhere, "\xff" * 40):
        before = counters(edge)["sessions_forged"]
        response = http1.fetch(edge.address, fields=[("Cookie", f"SRV={bad}")])
        assert response.status == 200 and given(response)
        assert counters(edge)["sessions_forged"] == before + 1
    for _ in range(6):   # a bad one in front of the good one does no harm
        response = ask(edge, cookie, others=[f"SRV={turned}"])
        assert response.get("X-Origin") == member and given(response) is None


def test_an_unhealthy_member_loses_its_sessions(box, three):
    web = sticky(three)
    web["health"] = {"path": "/healthz", "interval": "50ms", "fall": 1}
    edge = Edge(box, {"web": web})
    cookie, member = session(edge)
    origin = next(o for o in three if o.name == member)
    origin.healthy = False
    wait("it to be seen", lambda: ask(edge, cookie).get("X-Origin") != member)
    again, other = moved(edge, cookie, member)
    stays(edge, again, other)
    assert counters(edge)["sessions_moved"] >= 2


def test_a_member_that_refuses(box, three):
    edge = Edge(box, {"web": sticky(three, eject={"failures": 0})})
    cookie, member = session(edge)
    next(o for o in three if o.name == member).stop()
    again, other = moved(edge, cookie, member)
    stays(edge, again, other)


@pytest.mark.parametrize("draining", ["keep", "move"])
def test_a_weight_of_0(box, three, draining):
    edge = Edge(box, {"web": sticky(three, sticky={"cookie": "SRV", "draining": draining})})
    cookie = session_on(edge, "m0")
    edge.settings["clusters"]["web"]["members"][0]["weight"] = 0
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("the file to be read", lambda: "configuration re-read" in edge.process.log())
    wait("no new sessions on it", lambda: all(session(edge)[1] != "m0" for _ in range(12)))
    if draining == "keep":
        stays(edge, cookie, "m0")
    else:
        moved(edge, cookie, "m0")


def test_sessions_expire_and_are_renewed(box, three):
    edge = Edge(box, {"web": sticky(three, sticky={"cookie": "SRV", "for": "4s"})})
    first, member = session(edge)
    response = ask(edge, first)
    assert response.get("X-Origin") == member and given(response) is None, "not before it is due"
    renewed = wait("a renewal in the second half", lambda: given(ask(edge, first)), timeout=4)
    assert ask(edge, renewed).get("X-Origin") == member, "the session goes on"
    before = counters(edge)["sessions_expired"]
    wait("the first to expire", lambda: (ask(edge, first), counters(edge)["sessions_expired"])[1]
         > before)
    assert given(ask(edge, first))


def test_it_survives_a_restart_and_its_key_is_secret(box, three):
    edge = Edge(box, {"web": sticky(three)})
    cookie, member = session(edge)
    path = box.folder / "state/sticky.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", path.read_text())
    key = path.read_text().strip()
    assert edge.process.stop() == 0
    edge.start()
    stays(edge, cookie, member)
    assert key not in edge.process.log()


def test_no_key_is_made_without_need(box, three):
    Edge(box, {"web": cluster(named(three), health=None)})
    assert not (box.folder / "state/sticky.key").exists()


def test_keys_change_with_one_before(box, three):
    edge = Edge(box, {"web": sticky(three)})
    cookie, member = session(edge)
    path = box.folder / "state/sticky.key"
    old = path.read_text().strip()
    path.write_text(f"# new in front\n{KEY}\n{old}\n")
    edge.process.signal(signal.SIGHUP)
    new = wait("it to be replaced", lambda: given(ask(edge, cookie)))
    assert ask(edge, new).get("X-Origin") == member, "by one for the same member"
    stays(edge, new, member)
    path.write_text(f"{KEY}\n")
    edge.process.signal(signal.SIGHUP)
    wait("the old one to count for nothing",
         lambda: (given(ask(edge, cookie)), counters(edge)["sessions_forged"])[1] > 0)
    stays(edge, new, member)
    path.write_text("junk\n")
    edge.process.signal(signal.SIGHUP)
    wait("the refusal", lambda: "hexadecimal" in edge.process.log())
    stays(edge, new, member)


def test_edges_that_share_a_key_share_sessions(box, three):
    one = Edge(box, {"web": sticky(three)}, state="./one", name="one", sticky={"key": KEY})
    two = Edge(box, {"web": sticky(three[::-1])}, state="./two", name="two",
               sticky={"key": OTHER_KEY, "previous-key": KEY})
    cookie, member = session(one)
    new = given(ask(two, cookie))
    assert new and ask(two, new).get("X-Origin") == member
    assert not (box.folder / "one/sticky.key").exists()
    assert KEY not in one.process.log()


def test_the_cookie_is_what_the_page_says(box):
    """The format, made and checked here without our code."""
    member = box.origin("m")
    edge = Edge(box, {"web": sticky([member])}, sticky=KEY)
    cookie, _ = session(edge)
    raw = base64.urlsafe_b64decode(cookie)
    key = bytes.fromhex(KEY)
    name = hmac.new(key, b"freshet sticky member\0web\0m", hashlib.sha256).digest()[:8]
    signed = b"\1" + bytes(5) + name
    assert raw == signed + hmac.new(key, b"freshet sticky cookie\0web\0" + signed,
                                    hashlib.sha256).digest()[:16]


def test_what_gives_a_session_is_not_cached(box):
    member = box.origin("m", answer=lambda r: Answer(200, "x", [("Cache-Control", "max-age=60")]))
    edge = Edge(box, {"web": sticky([member])}, cache={"memory": "8MiB"})
    cookies = {given(ask(edge, path="/a")) for _ in range(3)}
    assert None not in cookies and member.count() == 3, "each its own"
    cookie = cookies.pop()
    assert given(ask(edge, cookie, path="/a")) is None    # stored now
    hit = ask(edge, path="/a")
    assert hit.get("Age") is not None and given(hit) is None and member.count() == 4


def test_sessions_beside_hashing(box, three):
    edge = Edge(box, {"web": sticky(three, balance="hash", hash="path")})
    by_key = {f"/{n}": http1.fetch(edge.address, f"/{n}").get("X-Origin") for n in range(20)}
    cookie, member = session(edge)
    for path in by_key:
        assert ask(edge, cookie, path=path).get("X-Origin") == member
    assert {p: http1.fetch(edge.address, p).get("X-Origin") for p in by_key} == by_key


class Browser(threading.Thread):
    """A client with a cookie jar: counts what went wrong and how often its member changed."""

    def __init__(self, edge):
        super().__init__(daemon=True)
        self.edge, self.stopping, self.failed, self.moves, self.done = edge, False, [], [], 0
        self.start()

    def run(self):
        cookie, member = None, None
        client = http1.Client(self.edge.address, 20.0)
        while not self.stopping:
            try:
                fields = [("Cookie", f"SRV={cookie}")] if cookie else []
                response = client.request(fields=fields)
            except (OSError, http1.ProtocolError) as error:
                self.failed.append(repr(error))
                return
            new, now = given(response), response.get("X-Origin")
            if response.status != 200 or (now != member) != (new is not None):
                self.failed.append(f"{response} {member}")
            if member and now != member:
                self.moves.append((member, now))
            cookie, member = new or cookie, now
            self.done += 1
            time.sleep(0.002)
        client.close()


def test_joining_and_leaving_under_load(box, three):
    """Servers join: no session moves. One leaves: its sessions move once, and no request fails."""
    spare = [box.origin(f"s{i}") for i in range(2)]
    web = sticky(three, scale={"from": "rack", "min": 0, "max": 9, "upper": 1, "lower": 0})
    edge = Edge(box, {"web": web}, pools={"rack": static_pool(*spare)}, workers=2)
    browsers = [Browser(edge) for _ in range(6)]
    wait("some requests", lambda: all(b.done > 20 for b in browsers))
    for _ in spare:
        assert box.run("cluster", "allocate", "web", "-c", edge.file).returncode == 0
    servers = ready(box, "web", 2)
    marks = [b.done for b in browsers]
    wait("more requests", lambda: all(b.done > m + 20 for b, m in zip(browsers, marks)))
    assert not any(b.moves for b in browsers), "who joins takes nobody's session"
    browsers += [Browser(edge) for _ in range(12)]
    wait("sessions on the new ones", lambda: all(s.count() > 5 for s in spare))
    for server in servers:
        done = box.run("cluster", "deallocate", "web", server, "-c", edge.file)
        assert done.returncode == 0, done.stdout + done.stderr
    ready(box, "web", 0)
    marks = [b.done for b in browsers]
    wait("more requests", lambda: all(b.done > m + 20 for b, m in zip(browsers, marks)))
    for browser in browsers:
        browser.stopping = True
    for browser in browsers:
        browser.join(20)
        assert not browser.failed, browser.failed[:3]
        assert all(left in ("s0", "s1") for left, _ in browser.moves), browser.moves
    assert any(b.moves for b in browsers)
