# SPDX-License-Identifier: Apache-2.0
"""The control stream over mutual TLS: who is taken, who is refused and with which words, and
certificates that are replaced under a stream that goes on."""
import json
import os
import ssl
import time

import pytest

from harness import http1
from harness.box import wait
from harness.pki import Authority
from harness.secured import Manager, tls_of
from harness.setup import base, cluster, metric, scale, static_pool
from harness.stream import NAMESPACE, RawPeer, opening


def edge_of(box, manager, name="edge-1", role="edge", tls=None, clusters=("web",), **more):
    settings = base([{"cluster": clusters[0]}],
                    {c: cluster(["127.0.0.1:9"], health=None, scale=scale("rack"))
                     for c in clusters},
                    {"rack": static_pool("127.0.0.1:10")}, state=f"./{name}-state",
                    manager={"connect": manager.tcp, "tls": tls or tls_of(name)}, **more)
    if role == "edge":
        settings["listen"] = [f"127.0.0.1:{box.port()}"]
    box.config(settings, f"{name}.yaml")
    return box.start(role, "-c", f"{name}.yaml", name=name)


def edge_metric(box, what, name="edge-1", **labels):
    return metric(f"unix:{box.folder}/{name}-state/admin.sock", what, **labels)


def test_three_roles_report_over_mutual_tls(box, authority):
    manager = Manager(box, authority)
    for name in ("edge-1", "allocator-1", "agent-1"):
        authority.issue(name, name)
    edge_of(box, manager)
    edge_of(box, manager, "allocator-1", "allocator", clusters=("api",))
    box.config({"manager": {"connect": manager.tcp, "tls": tls_of("agent-1")},
                "agent": {"address": "127.0.0.1:9", "interval": "50ms"}}, "agent.yaml")
    box.start("agent", "-c", "agent.yaml", name="agent-1")
    # Nothing says an id: it is the certificate's name.
    for name, role in (("edge-1", "edge"), ("allocator-1", "allocator"), ("agent-1", "agent")):
        assert wait(f"{name} to report", lambda n=name: manager.source(n))["role"] == role
    assert edge_metric(box, "manager_connected") == 1
    assert edge_metric(box, "control_certificate_end_seconds", of="stream") > 0
    assert manager.counter("certificate_end_seconds") > 0


def refused(box, manager, process, words, counter="stream_tls_failures", name="edge-1"):
    wait(f"the edge to say {words!r}", lambda: words in process.log())
    wait("it to count", lambda: edge_metric(box, counter, name) > 0)
    assert manager.source(name) is None


def test_a_certificate_of_another_authority(box, authority):
    manager = Manager(box, authority)
    stranger = Authority(box.folder, "strangers")
    stranger.issue("edge-1", "edge-1")
    edge = edge_of(box, manager)
    refused(box, manager, edge, "unknown ca")
    assert manager.counter("handshakes_failed") > 0
    assert "refused" in manager.process.log() and "handshake" in manager.process.log()


def test_a_certificate_that_has_ended(box, authority):
    manager = Manager(box, authority)
    authority.issue("edge-1", "edge-1", days=-1)
    edge = edge_of(box, manager)
    refused(box, manager, edge, "certificate expired")
    assert "certificate has ended" in edge.log()
    wait("the manager to count", lambda: manager.counter("handshakes_failed") > 0)


def test_an_id_that_is_not_the_certificates(box, authority):
    manager = Manager(box, authority)
    authority.issue("edge-1", "edge-1")
    said = manager.said_to("edge-1", "edge-2")
    assert b'code="forbidden"' in said and b"is not the name of the certificate" in said
    assert manager.counter("forbidden") == 1
    assert b"forbidden" not in manager.said_to("edge-1", "edge-1", send=b"</stream>")


def test_no_certificate(box, authority):
    manager = Manager(box, authority)
    said = manager.said_to(None, "edge-1")
    assert b'code="forbidden"' in said and b"needs a client certificate" in said
    assert manager.counter("forbidden") == 1


def test_an_older_tls(box, authority):
    manager = Manager(box, authority)
    authority.issue("edge-1", "edge-1")
    with pytest.raises((ssl.SSLError, OSError)):
        manager.peer("edge-1", version=ssl.TLSVersion.TLSv1_2)
    wait("it to count", lambda: manager.counter("handshakes_failed") == 1)


def test_no_tls_at_all(box, authority):
    manager = Manager(box, authority)
    for data in (opening("edge", "edge-1"), b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"):
        peer = RawPeer(manager.tcp)
        peer.send(data)
        said = peer.read_to_end()
        assert b"<stream" not in said and b"HTTP" not in said
        peer.close()
    wait("them to count", lambda: manager.counter("handshakes_failed") == 2)


def test_a_manager_without_tls_is_not_spoken_to(box, authority):
    authority.issue("edge-1", "edge-1")

    class Plain:
        tcp = f"127.0.0.1:{box.port()}"
    box.config(base(None, {"web": cluster(["127.0.0.1:9"], health=None)}, state="./plain",
                    manager={"listen": Plain.tcp}), "plain.yaml")
    box.start("manager", "-c", "plain.yaml", name="plain")
    edge = edge_of(box, Plain)
    wait("the edge to give up", lambda: "no stream to the manager" in edge.log())
    assert edge_metric(box, "manager_connected") == 0


def test_a_manager_of_another_name(box, authority):
    authority.issue("impostor", "edge-7", "localhost")
    manager = Manager(box, authority, certificate="impostor")
    authority.issue("edge-1", "edge-1")
    edge = edge_of(box, manager)
    refused(box, manager, edge, "hostname mismatch")
    edge.stop()
    edge_of(box, manager, tls={**tls_of("edge-1"), "name": "edge-7"})
    wait("the name that is asked for", lambda: manager.source("edge-1"))


def test_rules_of_peers(box, authority):
    manager = Manager(box, authority, peers=[
        {"name": "edge-web*", "roles": "edge", "report": ["web"]},
        {"name": "edge-look*", "report": ["web", "api"], "allocate": []},
        {"name": "op", "report": [], "command": ["web"]},
    ])
    for name in ("edge-web1", "edge-look1", "nobody", "op"):
        authority.issue(name, name)

    def report(cluster_name, responsible="false"):
        return (f'<report xmlns="{NAMESPACE}" seq="1" at="2026-01-01T12:00:00.000Z" full="true">'
                f'<cluster name="{cluster_name}" responsible="{responsible}" requests="1" '
                'waiting="0"/></report>').encode()
    close = b"</stream>"
    assert b"<error" not in manager.said_to("edge-web1", "edge-web1",
                                            send=report("web", "true") + close)
    assert b"<error" not in manager.said_to("edge-look1", "edge-look1", send=report("api") + close)
    for certificate, role, data, words in (
            ("edge-web1", "edge", report("api"), b"manager.peers[0] (edge-web*): report does not "
                                                 b"have cluster api"),
            ("edge-web1", "agent", b"", b"manager.peers[0] (edge-web*): roles does not have agent"),
            ("edge-look1", "edge", report("web", "true"),
             b"manager.peers[1] (edge-look*): allocate does not have cluster web"),
            ("nobody", "edge", b"", b"manager.peers: no rule is for nobody")):
        before = manager.counter("forbidden")
        said = manager.said_to(certificate, certificate, role, data)
        assert b'code="forbidden"' in said and words in said, said
        assert manager.counter("forbidden") == before + 1
        assert words.decode() in manager.process.log()
    # What a real edge says of it.
    authority.issue("edge-web2", "edge-web2")
    edge = edge_of(box, manager, "edge-web2", clusters=("web", "api"))
    wait("the edge to name the rule", lambda: "report does not have cluster api" in edge.log())
    wait("it to count",
         lambda: edge_metric(box, "stream_refusals", "edge-web2") > 0)

    def post(certificate, path):
        with http1.connect(manager.tcp, tls=manager.authority.context(certificate)) as sock:
            sock.sendall(f"POST {path} HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n"
                         "Connection: close\r\n\r\n".encode())
            said = http1.rest(sock)
        return int(said.split(b" ")[1]), said
    assert post("op", "/approve?cluster=web")[0] == 409 # nothing waits: it was let in
    for certificate, path, status in (("op", "/approve?cluster=api", 403),
                                      ("op", "/cache/purge?all", 403),
                                      ("edge-web1", "/approve?cluster=web", 403),
                                      (None, "/approve?cluster=web", 401)):
        assert post(certificate, path)[0] == status, (certificate, path)


def test_a_report_is_posted_in_ones_own_name_only(box, authority):
    """POST /report with the certificate of one edge, for another, or as what the rule forbids."""
    manager = Manager(box, authority, peers=[{"name": "edge-*", "roles": "agent"}])
    authority.issue("edge-1", "edge-1")

    def post(body, query=""):
        with http1.connect(manager.tcp, tls=manager.authority.context("edge-1")) as sock:
            sock.sendall(http1.head("POST", "/report" + query, [("Connection", "close")],
                                    body=body) + body)
            said = http1.rest(sock)
        return int(said.split(b" ")[1]), said

    def document(name, role="agent"):
        return (f'<report xmlns="{NAMESPACE}"><server id="{name}" role="{role}"/>'
                '</report>').encode()
    assert post(document("edge-1"))[0] == 204
    for body, query, words in (
            (document("edge-2"), "", b"is not the name of the certificate"),
            (document("edge-1"), "?id=edge-2", b"is not the name of the certificate"),
            (document("edge-1", "edge"), "",
             b"manager.peers[0] (edge-*): roles does not have edge")):
        before = manager.counter("forbidden")
        status, said = post(body, query)
        assert status == 403 and words in said, said
        assert manager.counter("forbidden") == before + 1
    assert [source["id"] for source in manager.status()["sources"]] == ["edge-1"]


def test_rotation_under_a_running_stream(box, authority):
    manager = Manager(box, authority)
    authority.issue("edge-1", "edge-1")
    edge = edge_of(box, manager)
    wait("the stream", lambda: manager.source("edge-1"))
    accepted = manager.counter("sessions_accepted")

    def shown():
        peer = manager.peer("edge-1")
        number = peer.sock.getpeercert()["serialNumber"]
        peer.close()
        return number
    before = shown()
    for name, host in (("manager", ("manager", "localhost")), ("edge-1", ("edge-1",))):
        authority.issue("next", *host)
        for suffix in ("key", "pem"):
            os.replace(box.folder / f"next.{suffix}", box.folder / f"{name}.{suffix}")
    wait("the manager to show the new one", lambda: shown() != before)
    for process in (manager.process, edge):
        wait("it to be said", lambda p=process: "certificate replaced" in p.log())
    assert manager.source("edge-1") and manager.counter("sessions_replaced") == 0
    reports = manager.source("edge-1")["reports"]
    wait("reports to go on", lambda: manager.source("edge-1")["reports"] > reports)
    assert "session ended" not in manager.process.log()
    assert manager.counter("sessions_accepted") == accepted
    # A bad one is refused, and the old one goes on.
    (box.folder / "manager.key").write_text("nonsense")
    wait("the refusal", lambda: "refused, the old stays" in manager.process.log())
    assert shown() != before


def test_run_meets_itself_and_takes_others(box, authority):
    """One file, one certificate: the edge within reports by a socket, another one over TLS."""
    authority.issue("manager", "manager")
    authority.issue("edge-1", "edge-1")

    class Run:
        tcp = f"127.0.0.1:{box.port()}"
    box.config(base(None, {"web": cluster(["127.0.0.1:9"], health=None)}, state="./run-state",
                    listen=f"127.0.0.1:{box.port()}",
                    manager={"listen": Run.tcp, "tls": tls_of("manager")}), "run.yaml")
    run = box.start("run", "-c", "run.yaml", name="run")
    box.serving(Run.tcp, run)
    edge_of(box, Run)

    def connected():
        status = json.loads(http1.fetch(f"unix:{box.folder}/run-state/manager.sock",
                                        "/status").text)
        return {s["id"] for s in status["sources"] if s["connected"]}
    wait("both", lambda: len(connected()) == 2 and "edge-1" in connected())


@pytest.mark.parametrize("manager, words", [
    ({"listen": "0.0.0.0:7400"}, "manager.listen has 0.0.0.0:7400 without manager.tls"),
    ({"connect": "192.0.2.1:7400"}, "manager.connect is 192.0.2.1:7400 without manager.tls"),
    ({"connect": "127.0.0.1:1", "tls": {"key": "./x.key"}}, "manager.tls has no certificate"),
    ({"connect": "127.0.0.1:1", "tls": {"certificate": "./no.pem", "key": "./no.key",
                                        "ca": "./no.pem"}}, "no.pem: No such file"),
    ({"listen": "127.0.0.1:1", "peers": [{"name": "a"}]},
     "manager.peers is there without manager.tls"),
    ({"listen": "127.0.0.1:1", "peers": [{"report": ["web"]}]}, "has no name"),
])
def test_mistakes_are_told(box, manager, words):
    box.config(base(None, {"web": cluster(["127.0.0.1:9"], health=None)},
                    listen="127.0.0.1:0", manager=manager))
    role = "manager" if "listen" in manager else "edge"
    done = box.run("check", "--role", role)
    assert done.returncode == 3 and words in done.stdout + done.stderr, done.stdout + done.stderr


def test_half_open_handshakes_end_after_ten_seconds(box, authority):
    """They hold no place for streams: silent, or with half a hello that drips on."""
    manager = Manager(box, authority)
    before = manager.counter("handshakes_failed")
    silent, drip = (http1.connect(manager.tcp, 30) for _ in range(2))
    started = time.monotonic()
    http1.drip(drip, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
    for sock in (silent, drip):
        try:
            assert sock.recv(100) == b""
        except ConnectionResetError:
            pass
        assert 9 < time.monotonic() - started < 14
        sock.close()
    wait("them to count", lambda: manager.counter("handshakes_failed") == before + 2)
