# SPDX-License-Identifier: Apache-2.0
"""What an edge refuses to do twice, out of order, or for a manager that was replaced."""

from harness.box import wait
from harness.setup import Edge, Managed, Obedient, admin_json, cluster, metric
from harness.stream import FakeManager

KEPT = 1024 # EDGE_RESULTS_KEPT of edge_priv.h


def weight_of(edge):
    return admin_json(edge)["clusters"][0]["servers"][0]["weight"]


def test_a_request_sent_again_is_answered_again_and_not_done_again(box):
    setup = Obedient(box, {"web": cluster(["127.0.0.1:9"], health=None)})
    server = "web-127.0.0.1-9"
    first = setup.done(f'<weight server="{server}" weight="30"/>', "web", request_id="7:900001")
    setup.done(f'<weight server="{server}" weight="40"/>', "web", request_id="7:900002")
    again = setup.done(f'<weight server="{server}" weight="30"/>', "web", request_id="7:900001")
    assert again.get("generation") == first.get("generation")
    assert weight_of(setup.edge) == 40


def test_a_request_older_than_those_remembered_is_refused(box):
    setup = Obedient(box, {"web": cluster(["127.0.0.1:9"], health=None)})
    server = "web-127.0.0.1-9"
    setup.done(f'<weight server="{server}" weight="30"/>', "web", request_id="7:900001")
    for i in range(KEPT):
        setup.manager.send(f'<weight server="{server}" weight="40"/>', "web",
                           request_id=f"7:{900002 + i}")
    setup.done(f'<weight server="{server}" weight="50"/>', "web",
               request_id=f"7:{900002 + KEPT}")
    refused = setup.refused(f'<weight server="{server}" weight="30"/>', "web", code="state",
                            request_id="7:900001")
    assert "older than those remembered" in refused.get("reason")
    assert weight_of(setup.edge) == 50
    # One of them that never came before is out of order as far as anybody can tell.
    setup.refused(f'<weight server="{server}" weight="30"/>', "web", code="state",
                  request_id="7:900000")
    assert metric(setup.edge, "reconfigures_stale") == 2
    assert metric(setup.edge, "reconfigures_refused") == 2


def test_an_older_epoch_is_refused_and_remembered_over_a_restart(box):
    address = f"unix:{box.folder}/hand.sock"
    newer = FakeManager(address, epoch=7)
    edge = Edge(box, {"web": cluster(["127.0.0.1:9"], health=None)}, manager=address)
    newer.wait_peer()
    server = "web-127.0.0.1-9"
    stale = newer.ask(f'<weight server="{server}" weight="30"/>', "web", request_id="6:1")
    assert stale.get("status") == "refused" and "older epoch" in stale.get("reason")
    assert metric(edge, "reconfigures_stale") == 1
    edge.process.stop()
    newer.close()
    older = FakeManager(address, epoch=6)
    box.closers.append(older.close)
    edge.start()
    wait("the edge to refuse", lambda: "a newer manager was obeyed already" in edge.process.log())
    wait("it to say whom it obeyed", lambda: (older.peer or {}).get("epoch") == "7")
    assert (box.folder / "state/epoch").read_text() == "7\n"
    assert metric(edge, "managers_refused") >= 1
    older.close()
    again = FakeManager(address, epoch=7)
    box.closers.append(again.close)
    again.wait_peer()


def test_a_manager_that_was_replaced_counts_it_too(box):
    """A real one, whose journal was lost and that begins with epoch 1 again."""
    setup = Managed(box, {"web": cluster(["127.0.0.1:9"], health=None)})
    setup.edge.process.stop()
    (box.folder / "state/epoch").write_text("900\n")
    setup.edge.start()
    wait("the edge to refuse", lambda: metric(setup.edge, "managers_refused") >= 1)
    wait("the manager to count",
         lambda: metric(setup.listen, "manager_sessions_refused_by_peer") >= 1)
    assert "a newer manager was obeyed already" in setup.manager.log()
