# SPDX-License-Identifier: Apache-2.0
"""The manager's end of the XML stream, fed by hand: good bytes, bad bytes, and POST /report."""
import re
import time

import pytest

from harness import http1
from harness.box import wait
from harness.setup import Edge, Obedient, base, cluster, scale, static_pool
from harness.stream import NAMESPACE, RawPeer, Reader, Validator, listen, opening

REPORT = ('<report xmlns="{ns}" seq="1" at="2026-01-01T12:00:00.000Z">'
          '<server id="probe" role="agent"/>'
          '<cluster name="web" requests="10" waiting="0"><server id="m" address="127.0.0.1:9" '
          'state="ready" weight="100" utilization="{utilization}" requests="10" errors="0" '
          'in-flight="3" p50-ms="1.0" p99-ms="2.0"/></cluster></report>')


class Manager:
    def __init__(self, box, tcp=False, **more):
        self.address = f"127.0.0.1:{box.port()}" if tcp else f"unix:{box.folder}/m.sock"
        settings = base(None, {"web": cluster(["127.0.0.1:9"], health=None,
                                              scale=scale("rack"))},
                        {"rack": static_pool("127.0.0.1:10")},
                        manager={"listen": self.address})
        settings.update(more)
        box.config(settings, "manager.yaml")
        self.process = box.start("manager", "-c", "manager.yaml", name="manager")
        box.serving(self.address, self.process)

    def still_works(self):
        """Another peer is served as ever."""
        peer = RawPeer(self.address)
        peer.send(opening("edge", "after"))
        peer.read_until(b"<stream")
        peer.send(b"<alive/>")
        peer.send(b"</stream>")
        assert b"<error" not in peer.read_to_end()
        peer.close()


def ended_with(manager, data, finish=False, start=True):
    """What the manager says before it closes a stream that began well."""
    peer = RawPeer(manager.address)
    if start:
        peer.send(opening("edge", "e1"))
        peer.read_until(b"<stream")
    peer.send(data)
    if finish:
        peer.finish()
    said = peer.read_to_end()
    peer.close()
    manager.still_works()
    return said


def code(said):
    found = re.search(rb'<error code="([^"]+)"[^>]*?(?: words="([^"]+)")?', said)
    assert found, said[-500:]
    return found.group(1).decode()


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_streams_open_and_close(box, tcp):
    manager = Manager(box, tcp)
    peer = RawPeer(manager.address)
    peer.send(opening("edge", "e1"))
    said = peer.read_until(b">")
    peer.read_until(b'role="manager"')
    assert b'version="1"' in said and NAMESPACE.encode() in said
    epoch = re.search(rb'epoch="(\d+)"', peer.received)
    assert epoch and int(epoch.group(1)) > 0
    peer.send(b"</stream>")
    said = peer.read_to_end()
    assert said.rstrip().endswith(b"</stream>") and b"<error" not in said
    reader = Reader()
    list(reader.feed(said))
    assert reader.closed and Validator().problem(reader.root) is None


def test_epoch_grows_with_every_life(box):
    manager = Manager(box)

    def epoch():
        peer = RawPeer(manager.address)
        peer.send(opening("edge", "e1"))
        found = re.search(rb'epoch="(\d+)"', peer.read_until(b'role="manager"')
                          + peer.read_until(b'">'))
        peer.close()
        return int(found.group(1))
    first = epoch()
    manager.process.stop()
    manager.process = box.start("manager", "-c", "manager.yaml", name="manager-2")
    box.serving(manager.address, manager.process)
    assert epoch() > first


def test_keepalive_is_sent(box):
    manager = Manager(box, stream={"keepalive": "200ms", "report-interval": "100ms"})
    peer = RawPeer(manager.address)
    peer.send(opening("edge", "e1"))
    peer.read_until(b"<alive/>")


def test_silent_peers_are_dropped(box):
    manager = Manager(box, stream={"keepalive": "200ms", "report-interval": "100ms"})
    peer = RawPeer(manager.address)
    peer.send(opening("edge", "e1"))
    began = time.monotonic()
    said = peer.read_to_end()
    assert time.monotonic() - began < 5
    assert b"<error" in said


NOT_OURS = "urn:other"


@pytest.mark.parametrize("data,codes", [
    (b"<report", None),                                                    # cut
    (b"<report seq='1'></wrong>", {"not-well-formed"}),
    (b"\x00", {"not-well-formed"}),
    (b"&#0;", {"not-well-formed"}),
    (b"&unknown;", {"doctype", "not-well-formed"}),                        # undeclared entity
    (b"<?php echo 1 ?>", {"instruction"}),
    (b"<a>" * 64, {"too-deep"}),
    (b"<report seq='1' " + b" ".join(b"a%d='x'" % n for n in range(200)) + b"/>", {"too-many"}),
    (b"<report seq='1' at='2026-01-01T12:00:00.000Z'>" + b"<x>" + b"y" * (2 << 20), {"too-large"}),
    (b"<report seq='1' pad='" + b"y" * (2 << 20), {"too-large", "not-well-formed"}),
    (b"<report seq='one'/>", {"invalid"}),
    (b"<report seq='-1' at='2026-01-01T12:00:00.000Z'/>", {"invalid"}),
    (b"<result id='nonsense' status='done'/>", {"invalid"}),
], ids=range(13))
def test_bad_stanzas_end_the_stream_with_a_reason(box, data, codes):
    manager = Manager(box)
    said = ended_with(manager, data, finish=codes is None)
    if codes is None:
        assert b"</stream>" in said or b"<error" in said
    else:
        assert code(said) in codes, said[-300:]
        words = re.search(rb'<error [^>]*words="([^"]{5,})"', said)
        assert words, "an error without words"
        reader = Reader()
        list(reader.feed(said))
        assert Validator().problem(reader.root) is None


@pytest.mark.parametrize("start,codes", [
    (b'<!DOCTYPE stream [<!ENTITY a "b">]>' + opening("edge", "e")[39:], {"doctype"}),
    (b'<?xml version="1.0"?><!DOCTYPE stream SYSTEM "file:///etc/passwd"><stream/>', {"doctype"}),
    (opening("edge", "e", version="9"), {"version"}),
    (opening("edge", "e", namespace=NOT_OURS), {"namespace"}),
    (b"<stream>", {"namespace"}),
    (b'<other xmlns="urn:freshet:stream:1" version="1" role="edge" id="e">', {"namespace"}),
    (opening("emperor", "e"), {"invalid"}),
    (b'<stream xmlns="urn:freshet:stream:1" version="1" role="edge">', {"invalid"}),
], ids=range(8))
def test_bad_openings_end_the_stream_with_a_reason(box, start, codes):
    manager = Manager(box)
    assert code(ended_with(manager, start, start=False)) in codes


def test_billion_laughs(box):
    manager = Manager(box)
    bomb = (b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
            b'<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><stream>&b;</stream>')
    assert code(ended_with(manager, bomb, start=False)) == "doctype"


def test_reconfigure_from_one_who_is_no_manager(box):
    manager = Manager(box)
    said = ended_with(manager, b'<reconfigure id="1:1" cluster="web"><allocate count="1"/>'
                               b"</reconfigure>")
    assert b"<error" in said


def test_edge_refuses_to_obey_one_who_is_no_manager(box):
    """The other end: an edge that is connected to something that does not call itself manager."""
    from harness.setup import Edge
    from harness.stream import FakeManager
    hand = FakeManager(f"unix:{box.folder}/hand.sock", role="edge")
    box.closers.append(hand.close)
    spare = box.origin("spare")
    edge = Edge(box, {"web": cluster(scale=scale("rack", min=0))}, manager=hand.address,
                pools={"rack": static_pool(spare)})
    for turn in range(2):
        seen = hand.connections
        wait("it to connect", lambda: hand.connections > turn)
        try:
            hand.send('<allocate count="1"/>', "web")
        except OSError:
            pass
        wait("it to turn away and try again", lambda: hand.connections > seen, 30)
    assert box.ledger_servers("web") == {} and edge.process.alive()


def test_unknown_elements_and_attributes_are_skipped(box):
    manager = Manager(box)
    peer = RawPeer(manager.address)
    peer.send(opening("edge", "e1"))
    peer.read_until(b"<stream")
    peer.send(b'<novelty a="1"><inner/>text</novelty>'
              b'<report seq="1" at="2026-01-01T12:00:00.000Z" mood="good"><weather/></report>')
    peer.send(b"</stream>")
    assert b"<error" not in peer.read_to_end()


def test_stanza_split_at_every_byte(box):
    manager = Manager(box)
    peer = RawPeer(manager.address)
    text = opening("edge", "e1") + REPORT.format(ns=NAMESPACE, utilization="0.1").encode()
    for byte in text + b"</stream>":
        peer.send(bytes([byte]))
    assert b"<error" not in peer.read_to_end()


def test_stanza_rate_is_limited(box):
    manager = Manager(box, stream={"rate": 50, "report-interval": "100ms", "keepalive": "5s"})
    said = ended_with(manager, b"<alive/>" * 5000)
    assert b"<error" in said


def post(manager, body, path="/report", content_type="application/xml"):
    return http1.fetch(manager.address, path, method="POST",
                       body=body if isinstance(body, bytes) else body.encode(),
                       fields=[("Content-Type", content_type)])


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_post_report(box, tcp):
    manager = Manager(box, tcp)
    response = post(manager, REPORT.format(ns=NAMESPACE, utilization="0.5"))
    assert 200 <= response.status < 300, response


@pytest.mark.parametrize("body", [
    "", "nonsense", "<report", "<report/>",
    REPORT.format(ns="urn:other", utilization="0.5"),
    REPORT.format(ns=NAMESPACE, utilization="lots"),
    "<!DOCTYPE r>" + REPORT.format(ns=NAMESPACE, utilization="0.5"),
    REPORT.format(ns=NAMESPACE, utilization="0.5") + "<second/>",
    f'<report xmlns="{NAMESPACE}" seq="1" at="2026-01-01T12:00:00.000Z">' + "<a>" * 50 + "</a>" * 50
    + "</report>",
], ids=range(9))
def test_bad_reports_get_400_with_the_reason(box, body):
    manager = Manager(box)
    response = post(manager, body)
    assert response.status == 400, response
    assert len(response.text) > 10
    assert post(manager, REPORT.format(ns=NAMESPACE, utilization="0.5")).status < 300


def test_report_that_is_too_large(box):
    manager = Manager(box)
    body = REPORT.format(ns=NAMESPACE, utilization="0.5").encode() + b" " * (4 << 20)
    assert post(manager, body).status in (400, 413)


def test_get_report_is_not_allowed(box):
    manager = Manager(box)
    response = http1.fetch(manager.address, "/report")
    assert response.status == 405 and "POST" in response.get("Allow")


def test_posted_report_makes_the_manager_act(box):
    """Anything can report: a crossing posted over HTTP leads to a request to the edge."""
    from harness.setup import Edge
    from harness.stream import Tap
    member, spare = box.origin("m"), box.origin("spare")
    address = f"unix:{box.folder}/m.sock"
    clusters = {"web": cluster([{"address": member.address, "id": "m"}], scale=scale("rack"))}
    pools = {"rack": static_pool(spare)}
    box.config(base(None, clusters, pools, state="./manager-state",
                    manager={"listen": address}), "manager.yaml")
    box.serving(address, box.start("manager", "-c", "manager.yaml", name="manager"))
    tap = Tap(f"unix:{box.folder}/tap.sock", address)
    box.closers.append(tap.close)
    Edge(box, clusters, pools=pools, manager=f"unix:{box.folder}/tap.sock")
    tap.wait("report")
    text = REPORT.format(ns=NAMESPACE, utilization="0.97").replace("127.0.0.1:9", member.address)

    def asked():
        assert http1.fetch(address, "/report", method="POST", body=text.encode()).status < 300
        time.sleep(0.05)
        return tap.requests("allocate")
    wait("the request to allocate", asked)


def test_edge_survives_bad_bytes_of_its_manager(box):
    """The edge trusts nobody either: whatever comes, traffic goes on and it connects again."""
    system = Obedient(box, {"web": cluster([box.origin("m")])})
    for data in (b"<a></b>", b"<!DOCTYPE x>", b"\xff\xfe", b"<a>" * 100,
                 b"<reconfigure id='x'/>", b"<reconfigure id='7:1'><unheard-of/></reconfigure>"
                 b"<reconfigure id='7:2' cluster='web'>"):
        before = system.manager.connections
        system.manager.sock.sendall(data)
        system.manager.drop()
        wait("it to connect again", lambda: system.manager.connections > before, 30)
        assert http1.fetch(system.edge.address).status == 200
        system.manager.wait("report", after=system.manager.mark())


def test_a_report_that_is_too_large_says_what_to_do(box):
    members = [f"127.0.0.{number}:9" for number in range(1, 101)]
    listener = listen(f"unix:{box.folder}/hand.sock")
    edge = Edge(box, {"web": {"members": members}}, manager=f"unix:{box.folder}/hand.sock",
                stream={"report-interval": "100ms", "keepalive": "10s", "stanza-max": "4KiB"})
    with listener, listener.accept()[0] as sock:
        sock.sendall(opening("manager", "manager-by-hand", 7))
        wait("it to say so", lambda: "larger than stream.stanza-max" in edge.process.log())
        assert http1.fetch(edge.address).status == 503  # and it serves on: nobody is there


def test_a_report_of_many_clusters_and_many_servers(box):
    """What a report takes grows with both, not with their product."""
    clusters = {f"c{number}": {"scale": {"from": "rack", "min": 0, "max": 300}}
                for number in range(300)}
    servers = [f"127.0.{1 + number // 250}.{1 + number % 250}:9" for number in range(300)]
    system = Obedient(box, clusters, [{"cluster": "c0"}], {"rack": static_pool(*servers)})
    system.manager.send('<allocate count="300"/>', "c0")  # nobody is there: they stay starting
    system.manager.wait("report", match=lambda report: len(report.find("cluster/server")) >= 300)
