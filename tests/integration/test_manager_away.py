# SPDX-License-Identifier: Apache-2.0
"""The manager's absence never hurts traffic; it comes back and goes on."""
from harness import http1
from harness.box import hold, wait
from harness.load import Load
from harness.setup import Edge, Managed, cluster, process_pool, ready, scale, static_pool


def system_with_spares(box, **more):
    origins = [box.origin(name) for name in ("base", "one", "two")]
    for origin in origins:
        origin.delay = 0.04
    web = cluster(origins[:1], limit=4, scale=scale("rack", max=3, **more))
    system = Managed(box, {"web": web}, pools={"rack": static_pool(*origins[1:])})
    return system, origins


def test_manager_killed_under_load(box):
    system, origins = system_with_spares(box)
    with Load(system.edge.address, 6) as load:
        system.tap.wait_result(system.tap.wait_request("allocate").get("id"))
        members = set(box.ledger_servers("web"))
        system.manager.kill9()
        load.wait_done(200)
        assert set(box.ledger_servers("web")) >= members, "the members are what they were"
        mark = system.tap.mark()
        system.start_manager()
        system.tap.wait("report", after=mark)
        load.wait_done(100)
    load.assert_clean()
    assert load.closed == 0
    # It goes on: the load is gone, and it gives back what it had asked for in its earlier life.
    for origin in origins:
        origin.delay = 0
    ready(box, "web", 0)


def test_ids_go_on_in_a_new_epoch(box):
    system, origins = system_with_spares(box)
    with Load(system.edge.address, 6) as load:
        first = system.tap.wait_request("allocate")
        system.tap.wait_result(first.get("id"))
        system.manager.kill9()  # while there is load: it gives nothing back in its first life
    load.assert_clean()
    mark = system.tap.mark()
    system.start_manager()
    again = system.tap.wait_request("deallocate", after=mark)
    assert system.tap.wait_result(again.get("id")).get("status") == "done"
    assert int(again.get("id").split(":")[0]) > int(first.get("id").split(":")[0])


def test_journal_survives(box):
    box.control(latency_ms=40)
    edge = Edge(box, {"web": cluster(limit=4, scale=scale("local"))},
                pools={"local": process_pool(box)}, role="run")
    ready(box, "web", 1)
    with Load(edge.address, 6) as load:
        wait("a second server", lambda: len(box.ledger_servers("web", only="ready")) >= 2)
    load.assert_clean()
    wait("the decision in the journal",
         lambda: "allocate" in box.run("why", "web", "-c", edge.file).stdout)
    edge.process.kill9()
    edge.start()
    wait("its manager to read it",
         lambda: "upper level" in box.run("why", "web", "-c", edge.file).stdout)


def test_stream_cut_under_load(box):
    """Only the stream breaks: both go on, requests are repeated, nothing is done twice."""
    system, origins = system_with_spares(box)
    with Load(system.edge.address, 6) as load:
        for _ in range(5):
            system.tap.cut()
            mark = system.tap.mark()
            system.tap.wait("report", after=mark)
            load.wait_done(20)
        wait("servers in the ledger", lambda: box.ledger_servers("web", only="ready"))
    load.assert_clean()
    addresses = [s["address"] for s in box.ledger_servers("web").values()]
    assert len(addresses) == len(set(addresses)) <= 2


def test_edge_without_its_manager_serves(box):
    member = box.origin("m")
    edge = Edge(box, {"web": cluster([member])}, manager=f"unix:{box.folder}/nobody.sock")
    for _ in range(20):
        assert http1.fetch(edge.address).status == 200


def test_silence_is_no_reason_to_deallocate(box):
    """A report source that falls silent is stale: nothing is given back because of it."""
    system, origins = system_with_spares(box, lower={"level": "30%", "for": "2s"})
    with Load(system.edge.address, 6) as load:
        system.tap.wait_result(system.tap.wait_request("allocate").get("id"))
    load.assert_clean()
    system.edge.process.signal(19)  # SIGSTOP: the stream stays open and says nothing
    mark = system.tap.mark()
    try:
        hold("nothing is asked for in the silence", lambda: not [
            s for s in system.tap.requests("deallocate") if s in system.tap.stanzas[mark:]], 3.0)
    finally:
        system.edge.process.signal(18)
    ready(box, "web", 0)
