# SPDX-License-Identifier: Apache-2.0
"""Several pools of a cluster, in order of preference; and clusters that share a pool which runs
dry: who may be given a server of whom."""
import collections
import re
import signal


from harness import http1
from harness.box import hold, wait
from harness.load import Load
from harness.pools import RIVAL_ROUTES, places, rival_settings
from harness.setup import (Edge, Managed, Obedient, cluster, process_pool, ready, scale,
                           static_pool, why)


def pools_of(box, *names):
    """How many servers of each pool the clusters have, by the ledger."""
    found = collections.Counter()
    for name in names:
        for server in box.ledger_servers(name).values():
            found[server["pool"]] += 1
    return found


# ---- several pools ------------------------------------------------------------------------------

def two_pools(box, own=1, settings=None, **more):
    """A pool of servers of our own, then one of rented processes."""
    servers = [box.origin(f"own{n}") for n in range(own)]
    pools = {"own": {**static_pool(*servers), **(settings or {})},
             "rented": process_pool(box, 3, cost=5)}
    web = cluster(scale=scale(["own", "rented"], min=0, max=4))
    return Obedient(box, {"web": web}, pools=pools, wait_for=False, **more), servers


def test_a_dry_pool_is_followed_by_the_next_and_each_gets_its_own_back(box):
    system, own = two_pools(box, own=2)
    # One request is filled from both.
    result = system.done('<allocate count="3"/>', "web")
    assert [s.get("pool") for s in result.find("server")] == ["own", "own", "rented"]
    assert pools_of(box, "web") == {"own": 2, "rented": 1}
    text = box.run("status", "-c", system.edge.file).stdout
    assert re.search(r"^POOL +AVAILABLE +ALLOCATED +COST$", text, re.M), text
    assert re.search(r"^own +0 +2 +0$", text, re.M), text
    assert re.search(r"^rented +2 +1 +5$", text, re.M), text
    given = [i for i, s in box.ledger_servers("web").items() if s["pool"] == "own"][0]
    system.done(f'<deallocate server="{given}"/>', "web")
    assert pools_of(box, "web") == {"own": 1, "rented": 1}
    # What came back is preferred again.
    system.done('<allocate count="1"/>', "web")
    assert pools_of(box, "web") == {"own": 2, "rented": 1}
    assert set(places(box)) >= {server.address for server in own}
    report = system.manager.wait("report", after=system.manager.mark())
    assert {p.get("name"): p.get("cost") for p in report.find("pool")} == {
        "own": None, "rented": "5"}


def test_whoever_is_not_named_leaves_from_the_costliest(box):
    system, _ = two_pools(box, own=2)
    system.done('<allocate count="3"/>', "web")
    for left in ({"own": 2}, {"own": 1}, {}):
        system.done("<deallocate/>", "web")
        assert pools_of(box, "web") == left


def test_all_or_nothing_over_all_pools(box):
    system, _ = two_pools(box)
    system.done('<allocate count="4"/>', "web")
    assert pools_of(box, "web") == {"own": 1, "rented": 3}


def test_no_pool_has_one_left(box):
    system, _ = two_pools(box)
    system.done('<allocate count="3"/>', "web")
    refused = system.refused('<allocate count="1" pool="own"/>', "web", code="pool-empty")
    assert "pool own" in refused.get("reason"), refused.get("reason")
    system.done('<allocate count="1" pool="rented"/>', "web")
    assert pools_of(box, "web") == {"own": 1, "rented": 3}
    hold("nothing half-done", lambda: sum(pools_of(box, "web").values()) == 4, 0.3)


def test_a_pool_whose_server_does_not_start_is_passed_over(box):
    system, own = two_pools(box, settings={"start-timeout": "300ms"})
    own[0].healthy = False
    system.refused('<allocate count="1"/>', "web", code="provider")
    system.done('<allocate count="1"/>', "web")
    assert pools_of(box, "web") == {"rented": 1}


def test_after_kill9_each_server_is_of_its_own_pool_still(box):
    system, own = two_pools(box)
    system.done('<allocate count="2"/>', "web")
    before = {i: (s["pool"], s["address"]) for i, s in box.ledger_servers("web").items()}
    system.edge.process.kill9()
    system.edge.start(False)
    ready(box, "web", 2)
    assert {i: (s["pool"], s["address"])
            for i, s in box.ledger_servers("web").items()} == before
    system.manager.wait("report", after=system.manager.mark())
    for server in before:
        system.done(f'<deallocate server="{server}"/>', "web")
    assert places(box)[own[0].address] == 1 and not box.ledger_servers("web")


def test_a_cluster_of_two_pools_at_run_time(box):
    """Introduced over the stream, kept in the ledger, read from it by the next life."""
    system, own = two_pools(box)
    system.done('<cluster name="late"><health type="tcp"/><scale min="0" max="3"><from>'
                "<item>own</item><item>rented</item></from></scale></cluster>")
    assert box.ledger()["new-clusters"]["late"]["scale"]["from"] == ["own", "rented"]
    system.refused('<remove-pool name="own"/>', code="state")
    system.edge.process.kill9()
    system.edge.start(False)
    system.manager.wait("report", after=system.manager.mark())
    system.done('<allocate count="2"/>', "late")
    assert pools_of(box, "late") == {"own": 1, "rented": 1}
    assert [s["address"] for s in box.ledger_servers("late").values()
            if s["pool"] == "own"] == [own[0].address]


def test_the_costliest_pool_gives_first(box):
    """Live: load takes one of each, and rest gives the rented one back first."""
    base, own, rented = box.origin("base"), box.origin("own"), box.origin("rented")
    for origin in (base, own, rented):
        origin.delay = 0.05
    web = cluster([base], limit=4, scale=scale(["own", "rented"], min=1, max=3,
                                               lower={"level": "30%", "for": "500ms"}))
    edge = Edge(box, {"web": web}, role="run",
                pools={"own": static_pool(own), "rented": {**static_pool(rented), "cost": 7}})
    with Load(edge.address, threads=10) as load:
        ready(box, "web", 2)
        load.wait_done(40)
    with Load(edge.address, threads=1, pause=0.02) as idle:
        ready(box, "web", 1)
        assert pools_of(box, "web") == {"own": 1}
        idle.wait_done(5)
    load.assert_clean()
    idle.assert_clean()
    text = why(box, edge)
    assert re.search(r"deallocate rented-1: .*; chosen: of pool rented \(cost 7\), at 0\.\d\d, "
                     r"0 sticky sessions, ready for \d+ s", text), text


# ---- sticky sessions ----------------------------------------------------------------------------

def test_reports_tell_the_sessions_of_each(box):
    base = box.origin("base")
    first, second = box.origin("first"), box.origin("second")
    web = cluster([base], sticky={"cookie": "seat"}, scale=scale("rack", max=3))
    system = Obedient(box, {"web": web}, pools={"rack": static_pool(first, second)},
                      sticky={"key": "11" * 32})
    system.done('<allocate count="2"/>', "web")
    seats = collections.Counter()
    for _ in range(30):
        response = http1.fetch(system.edge.address)
        seat = response.get("Set-Cookie").split(";")[0]
        seats[response.get("X-Origin")] += 1
    assert len(seats) == 3, seats
    for _ in range(10):  # who is seated already is nobody new
        assert http1.fetch(system.edge.address, fields=[("Cookie", seat)]).status == 200

    def said():
        report = system.manager.wait("report", after=system.manager.mark())
        return {s.get("address"): s.get("sessions") for s in report.element.iter(
            "{urn:freshet:stream:1}server") if s.get("state") == "ready"}
    expected = {origin.address: str(seats[origin.name]) for origin in (base, first, second)}
    wait("reports to say so", lambda: said() == expected)


def test_who_has_the_fewest_sessions_leaves_first(box):
    base, first, second = (box.origin(name) for name in ("base", "first", "second"))
    spares = {origin.address: origin.name for origin in (first, second)}
    for origin in (base, first, second):
        origin.delay = 0.05
    web = cluster([base], limit=4, sticky={"cookie": "seat"},
                  scale=scale("rack", max=3, lower={"level": "30%", "for": "3s"}))
    edge = Edge(box, {"web": web}, role="run", pools={"rack": static_pool(first, second)},
                sticky={"key": "11" * 32})
    with Load(edge.address, threads=12) as load:  # it sends no cookie back: each is a new session
        ready(box, "web", 2)
        load.wait_done(40)
    load.assert_clean()
    seats = load.seen
    while seats["first"] == seats["second"]:  # one more session, which base may get as well
        seats[http1.fetch(edge.address).get("X-Origin")] += 1
    (stays,) = ready(box, "web", 1).values()
    most = max(("first", "second"), key=lambda name: seats[name])
    assert spares[stays["address"]] == most, (seats, stays)
    assert re.search(rf"chosen: .* {min(seats['first'], seats['second'])} sticky sessions",
                     why(box, edge)), (seats, why(box, edge))


# ---- priorities ---------------------------------------------------------------------------------

def rivals(box, servers=3, high=None, low=None, drain="5s"):
    """`low` has all of a pool; `high` goes first."""
    clusters, pools, pool = rival_settings(
        box, servers, {"lower": None, **(high or {})}, {"min": 2, **(low or {})}, drain)
    return Edge(box, clusters, role="run", pools=pools, routes=RIVAL_ROUTES), pool


def all_to_low(box, edge, count):
    """Load until `low` has all of the pool."""
    load = Load(edge.address, threads=16, path="/low/")
    ready(box, "low", count)
    return load


def test_a_dry_pool_is_filled_from_a_lower_priority(box):
    edge, pool = rivals(box)
    with all_to_low(box, edge, 3) as low:
        with Load(edge.address, threads=9, path="/high/") as high:
            ready(box, "high", 2)
            # Never below its minimum of 2, one of which is its own.
            wait("low to have what it keeps", lambda: len(box.ledger_servers("low")) == 1)
            high.wait_done(50)
            low.wait_done(50)
            hold("nobody goes back and forth", lambda: len(box.ledger_servers("low")) == 1 and
                 len(box.ledger_servers("high")) == 2, 2)
    low.assert_clean()
    high.assert_clean()
    text = why(box, edge, "high")
    assert re.search(r"hold: \S+ at \d\.\d\d, upper level 0\.80, the pool has no server left: "
                     r"low \(priority 0, below 10\) gives 1", text), text
    text = why(box, edge, "low")
    assert re.search(r"deallocate rack-\d: high \(priority 10, above 0\) needs it and their pool "
                     r"has none left; \d stay", text), text
    # A third only if a busy machine let `high` look content for a moment.
    assert 2 <= text.count("deallocate rack-") <= 3, text
    assert sum(places(box).values()) == len(places(box)) == 3, places(box)


def test_equals_take_nothing_from_each_other(box):
    edge, _ = rivals(box, high={"priority": 0})
    with all_to_low(box, edge, 3) as low, Load(edge.address, threads=9, path="/high/") as high:
        wait("it to want one", lambda: "but the pool has no server left" in why(box, edge, "high"))
        hold("none is taken", lambda: len(box.ledger_servers("low", only="ready")) == 3, 1.5)
    low.assert_clean()
    high.assert_clean()


def test_what_comes_back_is_kept_for_the_higher(box):
    """Both want the one server that an operator gives back: the higher one gets it."""
    edge, _ = rivals(box, high={"mode": "auto"}, low={"min": 4})
    with all_to_low(box, edge, 3) as low, Load(edge.address, threads=6, path="/high/") as high:
        wait("it to want one", lambda: "but the pool has no server left" in why(box, edge, "high"))
        assert not box.ledger_servers("high")
        # min 4 keeps it: nothing can be taken. A server more in the pool is for `high`.
        newcomer = box.origin("new")
        newcomer.delay = 0.05
        edge.settings["pools"]["rack"]["servers"].append(newcomer.address)
        edge.write()
        edge.process.signal(signal.SIGHUP)
        ready(box, "high", 1)
    low.assert_clean()
    high.assert_clean()


def test_who_has_another_pool_leaves_what_is_kept(box):
    """`low` gives one of its own hosts and takes a rented one, though its own hosts come first."""
    bases = [box.origin("high"), box.origin("low")]
    own = [box.origin(f"own{n}") for n in range(2)]
    rented = [box.origin(f"rented{n}") for n in range(2)]
    for origin in bases + own + rented:
        origin.delay = 0.05
    never = [{"level": 0, "for": "1h"} for _ in range(2)]
    clusters = {
        "high": cluster([bases[0]], limit=4,
                        scale=scale("own", priority=10, lower=never[0], max=2)),
        "low": cluster([bases[1]], limit=4,
                       scale=scale(["own", "rented"], lower=never[1], max=3))}
    system = Managed(box, clusters,
                     pools={"own": static_pool(*own), "rented": static_pool(*rented)},
                     routes=[{"cluster": "low"}, {"match": {"path": "/high/"}, "cluster": "high"}])
    with Load(system.edge.address, threads=8, path="/low/") as low:
        wait("low to have its own hosts", lambda: pools_of(box, "low") == {"own": 2} or None)
        with Load(system.edge.address, threads=6, path="/high/") as high:
            wait("each to have its own", lambda: pools_of(box, "high") == {"own": 1} and
                 pools_of(box, "low") == {"own": 1, "rented": 1})
            hold("it stays so", lambda: pools_of(box, "high") == {"own": 1}, 1)
            high.wait_done(20)
    low.assert_clean()
    high.assert_clean()
    assert len(system.tap.requests("deallocate")) == 1


# ---- modes ---------------------------------------------------------------------------------------

def test_who_only_observes_takes_nothing(box):
    edge, _ = rivals(box, high={"mode": "observe"})
    with all_to_low(box, edge, 3) as low, Load(edge.address, threads=9, path="/high/") as high:
        wait("it to say so", lambda: "only observing, else hold: " in why(box, edge, "high") and
             "low (priority 0, below 10) gives" in why(box, edge, "high"))
        hold("none is taken", lambda: len(box.ledger_servers("low", only="ready")) == 3, 1)
        assert "deallocate" not in why(box, edge, "low")
    low.assert_clean()
    high.assert_clean()


def filled(box, high=None, low=None):
    """`low` has all of the pool before it becomes as careful as `low` says."""
    edge, pool = rivals(box)
    with all_to_low(box, edge, 3):
        pass
    edge.settings["clusters"]["low"]["scale"].update(low or {})
    edge.settings["clusters"]["high"]["scale"].update(high or {})
    edge.write()
    edge.process.signal(signal.SIGHUP)
    wait("both to have read it",
         lambda: edge.process.log().count("configuration re-read") >= 2)
    return edge, pool


def test_who_only_observes_gives_nothing(box):
    edge, _ = filled(box, low={"mode": "observe"})
    with Load(edge.address, threads=2, path="/low/", pause=0.02) as low, \
            Load(edge.address, threads=9, path="/high/") as high:
        wait("it to say so", lambda: "only observing, else deallocate rack-" in
             why(box, edge, "low"))
        hold("none is taken", lambda: len(box.ledger_servers("low", only="ready")) == 3, 1)
    low.assert_clean()
    high.assert_clean()


def test_a_take_waits_for_approval(box):
    """The more careful mode of the two counts: `high` is supervised, and `low` would act alone."""
    edge, _ = rivals(box, high={"mode": "supervised", "max": 2})
    with all_to_low(box, edge, 3) as low, Load(edge.address, threads=9, path="/high/") as high:
        wait("the proposal", lambda: re.search(
            "waiting for approval: deallocate rack-.: high .priority 10", why(box, edge, "low")))
        hold("none is taken", lambda: len(box.ledger_servers("low", only="ready")) == 3, 1)
        done = box.run("approve", "low", "-c", edge.file)
        assert done.returncode == 0 and "approved" in done.stdout, done.stderr
        # It is kept for `high`, whose turn to be asked it is, though `low` is at its level too.
        wait("the next proposal", lambda: "waiting for approval: allocate 1" in
             why(box, edge, "high"))
        hold("it is kept", lambda: len(box.ledger_servers("low")) == 2, 1)
        assert box.run("approve", "high", "-c", edge.file).returncode == 0
        ready(box, "high", 1)
    low.assert_clean()
    high.assert_clean()


def test_a_take_may_be_denied_or_forgotten(box):
    edge, _ = filled(box, low={"mode": "supervised", "approval": "2s"})
    words, denied = ("waiting for approval: deallocate rack-",
                     "denied, or not answered in time: deallocate rack-")
    with Load(edge.address, threads=2, path="/low/", pause=0.02) as low, \
            Load(edge.address, threads=9, path="/high/") as high:
        wait("the proposal", lambda: words in why(box, edge, "low"))
        # A proposal waits for two seconds only: on a busy machine the word may come too late.
        wait("the word to count", lambda: box.run("deny", "low", "-c", edge.file).returncode == 0)
        wait("the word on it", lambda: denied in why(box, edge, "low"))
        # Asked anew after the rest; and nobody's answer in time is a no, too.
        wait("asked anew", lambda: why(box, edge, "low").count(words) >= 2)
        wait("the time-out", lambda: why(box, edge, "low").count(denied) >= 2)
        assert len(box.ledger_servers("low", only="ready")) == 3
        wait("a yes in time", lambda: box.run("approve", "low", "-c", edge.file).returncode == 0)
        ready(box, "high", 1)
    low.assert_clean()
    high.assert_clean()
