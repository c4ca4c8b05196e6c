# SPDX-License-Identifier: Apache-2.0
"""TLS towards members: whom the edge believes, what it shows, and the same HTTP inside."""
import contextlib
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import http1
from harness.box import wait
from harness.listener import Listener, read_head
from harness.names import Names
from harness.origin import Answer, Origin
from harness.pki import Authority
from harness.setup import Edge, Obedient, cluster, metric, scale, static_pool
from harness.tunnel import ASK, SWITCH

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Member(Origin):
    """Behind TLS. `plain_too`: whoever does not begin with a handshake is served without."""

    def __init__(self, authority, pair, version=None, client_ca=None, preface=False,
                 plain_too=False, late=None, after=None, **more):
        context = authority.server(pair, version, ["http/1.1"])
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        context.sni_callback = lambda sock, name, _: self.names.append(name)
        self.context, self.preface, self.plain_too = context, preface, plain_too
        self.late, self.after = late, after
        self.names, self.reused, self.prefaces, self.failures = [], [], [], []
        self.secure = self.plain_ones = 0
        self.subjects = []
        super().__init__(**more)

    def serve(self, sock):
        try:
            if self.preface:
                head = sock.recv(16, socket.MSG_WAITALL)
                length = struct.unpack("!H", head[14:16])[0]
                self.prefaces.append(head + sock.recv(length, socket.MSG_WAITALL))
            if self.plain_too and sock.recv(1, socket.MSG_PEEK) != b"\x16":
                self.plain_ones += 1
            else:
                raw = sock
                sock = self.context.wrap_socket(sock, server_side=True)
                with self.lock:
                    self.sockets.discard(raw)
                    self.sockets.add(sock)
                    self.secure += 1
                    self.reused.append(sock.session_reused)
                self.subjects.append(sock.getpeercert())
        except (OSError, ValueError) as error:
            self.failures.append(str(error))
            sock.close()
            return
        if self.after:
            with sock, contextlib.suppress(OSError):
                self.after(sock)
        else:
            super().serve(sock)


ONE = {"workers": 1}  # for tests that count what each worker keeps for itself


class Setup:
    def __init__(self, box, authority, hosts=("127.0.0.1",), tls=None, pair=None, count=1, web=None,
                 **more):
        self.box, self.authority = box, authority
        self.pair = pair or authority.issue("member", *hosts)
        options = {key: more.pop(key) for key in
                   ("version", "client_ca", "preface", "plain_too", "answer", "after")
                   if key in more}
        self.members = [Member(authority, self.pair, name=f"m{i}", **options)
                        for i in range(count)]
        box.origins += self.members
        self.member = self.members[0]
        settings = {"tls": {"ca": "./ca.pem"} if tls is None else tls, "health": None}
        self.edge = Edge(box, {"web": cluster(self.members, **{**settings, **(web or {})})}, **more)

    def get(self, path="/", **more):
        return http1.fetch(self.edge.address, path, **more)

    def status(self):
        return self.get().status


def refused(setup, words):
    """502, and the log tells why."""
    answer = setup.get()
    assert answer.status == 502
    assert "TLS" in answer.text
    assert setup.member.count() == 0
    assert metric(setup.edge, "member_tls_failed") >= 1
    wait(words, lambda: words in setup.edge.process.log())


@pytest.mark.parametrize("version", VERSIONS)
def test_verified(box, authority, version):
    setup = Setup(box, authority, version=version, **ONE)
    before = setup.member.secure
    for i in range(5):
        assert setup.get(f"/{i}").text == f"m0 GET /{i}\n"
    assert metric(setup.edge, "member_tls_failed") == 0
    assert metric(setup.edge, "member_tls_handshakes") == setup.member.secure
    # Tickets that come behind the handshake are no reason to throw a connection away.
    assert setup.member.secure - before <= 1
    assert metric(setup.edge, "member_idle_bytes") == 0
    assert setup.member.names == [None] * setup.member.secure # an address is never asked for


def test_kept_while_clients_change(box, authority):
    setup = Setup(box, authority, **ONE)
    setup.get()
    before = setup.member.connections
    for _ in range(30):
        assert setup.status() == 200
        time.sleep(0.01)
    assert setup.member.connections == before
    assert metric(setup.edge, "member_reuses") >= 30


def test_wrong_name(box, authority):
    refused(Setup(box, authority, hosts=("other.test",)), "mismatch")


def test_unknown_authority(box, authority):
    other = Authority(box.folder, "other")
    refused(Setup(box, authority, pair=other.issue("stranger", "127.0.0.1")),
            "unable to get local issuer certificate")


def test_systems_authorities(box, authority):
    refused(Setup(box, authority, tls={}), "unable to get local issuer certificate")


def test_expired(box, authority):
    refused(Setup(box, authority, pair=authority.issue("old", "127.0.0.1", days=-1)),
            "certificate has expired")


def test_no_tls_at_all(box, authority):
    def serve(sock):
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        sock.recv(65536)
    member = Listener(box.closers, serve)
    edge = Edge(box, {"web": cluster([member.address], health=None, tls={"ca": "./ca.pem"})})
    assert http1.fetch(edge.address).status == 502
    assert metric(edge, "member_tls_failed") >= 1
    wait("the reason", lambda: "wrong version number" in edge.process.log())


def test_without_verification(box, authority):
    other = Authority(box.folder, "other")
    setup = Setup(box, authority, pair=other.issue("stranger", "elsewhere.test"),
                  tls={"verify": False})
    assert setup.status() == 200


def test_name_of_the_settings(box, authority):
    setup = Setup(box, authority, hosts=("inner.test",),
                  tls={"ca": "./ca.pem", "name": "inner.test"})
    assert setup.status() == 200
    assert set(setup.member.names) == {"inner.test"}


def test_name_of_the_member(box, authority):
    """A member given by name is asked for by it, and must show it."""
    names = Names()
    box.closers.append(names.close)
    names.put("inner.test", "127.0.0.1")
    member = Member(authority, authority.issue("member", "inner.test"))
    box.origins.append(member)
    edge = Edge(box, {"web": cluster([f"inner.test:{member.port}"], tls={"ca": "./ca.pem"})},
                resolver={"server": names.address, "interval": "100ms"})
    assert http1.fetch(edge.address).status == 200
    wait("checks by the same name", lambda: member.checks > 0)
    assert set(member.names) == {"inner.test"}


@pytest.mark.parametrize("version", VERSIONS)
def test_our_certificate(box, authority, version):
    clients = Authority(box.folder, "clients")
    ours = clients.issue("edge-1", subject="/CN=edge-1")
    setup = Setup(box, authority, version=version, client_ca=clients.path,
                  tls={"ca": "./ca.pem", **ours})
    assert setup.status() == 200
    assert (("commonName", "edge-1"),) in setup.member.subjects[-1]["subject"]


@pytest.mark.parametrize("version", VERSIONS)
def test_our_certificate_is_missed(box, authority, version):
    clients = Authority(box.folder, "clients")
    setup = Setup(box, authority, version=version, client_ca=clients.path)
    answer = setup.get()
    assert answer.status == 502 and "TLS" in answer.text
    assert setup.member.count() == 0
    wait("the member to have refused", lambda: setup.member.failures)
    assert metric(setup.edge, "member_tls_failed") >= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_resumption(box, authority, version):
    setup = Setup(box, authority, version=version, web={"keepalive": 0}, **ONE)
    for _ in range(6):
        assert setup.status() == 200
    assert setup.member.secure >= 6
    assert not setup.member.reused[0]
    assert all(setup.member.reused[1:])
    assert metric(setup.edge, "member_tls_resumptions") == len(setup.member.reused) - 1


def test_a_verdict_is_not_resumed(box, authority):
    """What a cluster without verification found good enough is no session for one with it."""
    other = Authority(box.folder, "other")
    member = Member(authority, other.issue("stranger", "127.0.0.1"))
    box.origins.append(member)
    more = {"health": None, "keepalive": 0}
    edge = Edge(box, {"lax": cluster([member], tls={"verify": False}, **more),
                      "strict": cluster([member], tls={"ca": "./ca.pem"}, **more)},
                routes=[{"match": {"path": "/strict/"}, "cluster": "strict"}, {"cluster": "lax"}])
    for _ in range(3):
        assert http1.fetch(edge.address, "/").status == 200
        assert http1.fetch(edge.address, "/strict/").status == 502
    assert set(member.paths()) == {"/"}


def test_shared_with_and_without(box, authority):
    """Two clusters, one address: a connection is never taken by the other."""
    member = Member(authority, authority.issue("member", "127.0.0.1"), plain_too=True)
    box.origins.append(member)
    edge = Edge(box, {"safe": cluster([member], health=None, tls={"ca": "./ca.pem"}),
                      "bare": cluster([member], health=None)},
                routes=[{"match": {"path": "/bare/"}, "cluster": "bare"}, {"cluster": "safe"}],
                **ONE)
    http1.fetch(edge.address, "/bare/")
    http1.fetch(edge.address, "/")
    before = member.connections
    for _ in range(5):
        assert http1.fetch(edge.address, "/").status == 200
        assert http1.fetch(edge.address, "/bare/").status == 200
    assert member.connections == before
    assert member.secure >= 1 and member.plain_ones >= 1


@pytest.mark.parametrize("version", VERSIONS)
def test_large_bodies(box, authority, version):
    body = bytes(range(256)) * 20000 # 5 MB
    setup = Setup(box, authority, version=version, answer=lambda request: Answer(body=request.body))
    answer = setup.get(method="POST", body=body)
    assert answer.status == 200
    assert answer.body == body


def test_health_checks(box, authority):
    setup = Setup(box, authority, web={"health": {"path": "/healthz", "interval": "50ms",
                                                  "unhealthy-interval": "50ms", "fall": 1}})
    wait("checks", lambda: setup.member.checks >= 2)
    assert setup.status() == 200
    setup.member.healthy = False
    wait("nobody", lambda: setup.status() == 503)
    setup.member.healthy = True
    wait("somebody", lambda: setup.status() == 200)


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_checks_verify(box, authority, kind):
    health = {"type": kind, "interval": "50ms", "fall": 1}
    if kind == "http":
        health["path"] = "/healthz"
    setup = Setup(box, authority, hosts=("other.test",), web={"health": health}, wait_for=False)
    wait("the reason in the log", lambda: "TLS: IP address mismatch" in setup.edge.process.log())
    box.serving(setup.edge.address, setup.edge.process)
    assert setup.status() == 503 # it is left out, and not tried


def test_checks_of_tcp(box, authority):
    setup = Setup(box, authority, web={"health": {"type": "tcp", "interval": "50ms"}})
    wait("handshakes", lambda: setup.member.secure >= 3)
    assert setup.status() == 200
    assert "unhealthy" not in setup.edge.process.log()


def test_another_member_is_tried(box, authority):
    """Nothing of a request is sent before the handshake, so that any may go on to another."""
    good = Member(authority, authority.issue("good", "127.0.0.1"), name="good")
    bad = Member(authority, authority.issue("bad", "other.test"), name="bad")
    box.origins += [good, bad]
    edge = Edge(box, {"web": cluster([good, bad], health=None, balance="round-robin",
                                     eject={"failures": 3, "time": "1h"},
                                     tls={"ca": "./ca.pem"})}, **ONE)
    for _ in range(12):
        answer = http1.fetch(edge.address, method="POST", body=b"once")
        assert (answer.status, answer.get("X-Origin")) == (200, "good")
    assert bad.count() == 0
    assert metric(edge, "member_tls_failed") == 3 # then it is left out


def test_handshake_is_within_the_connect_timeout(box, authority):
    silent = socket.create_server(("127.0.0.1", 0))
    box.closers.append(silent.close)
    edge = Edge(box, {"web": cluster(["127.0.0.1:%d" % silent.getsockname()[1]], health=None,
                                     tls={"ca": "./ca.pem"}, timeouts={"connect": "200ms"})})
    began = time.monotonic()
    assert http1.fetch(edge.address).status == 504
    assert time.monotonic() - began < 2
    assert metric(edge, "member_connect_timeouts") >= 1


def test_proxy_header_comes_first(box, authority):
    setup = Setup(box, authority, preface=True,
                  web={"send-proxy": "v2", "health": {"path": "/healthz", "interval": "50ms"}})
    wait("checks", lambda: setup.member.checks >= 2)
    with http1.Client(setup.edge.address) as client:
        assert client.request(path="/a").status == 200
        assert client.request(path="/b").status == 200
        source = client.sock.getsockname()
    assert not setup.member.failures
    expected = socket.inet_aton(source[0])
    assert any(p[12] == 0x21 and p[16:20] == expected and
               struct.unpack("!H", p[24:26])[0] == source[1] for p in setup.member.prefaces)
    assert any(p[12] == 0x20 for p in setup.member.prefaces) # the checks speak for nobody


def test_tunnel(box, authority):
    def echo(sock):
        sock.sendall(SWITCH + read_head(sock)[1])
        while data := sock.recv(65536):
            sock.sendall(data)

    setup = Setup(box, authority, after=echo)
    with http1.Client(setup.edge.address) as client:
        client.send(ASK)
        assert client.read_head().status == 101
        sent = bytes(range(256)) * 2000
        got = []

        def receive():
            total = len(client.buffer)
            got.append(client.buffer)
            while total < len(sent) and (more := client.sock.recv(65536)):
                got.append(more)
                total += len(more)

        thread = threading.Thread(target=receive)
        thread.start()
        client.send(sent)
        thread.join(10)
        assert b"".join(got) == sent


def test_late_bytes_are_still_a_fault(box, authority):
    """A ticket is not, but bytes of HTTP that nobody asked for are, and go to no client."""
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

    def answer_twice(sock):
        data = b""
        while more := sock.recv(65536):
            data += more
            if data.endswith(b"\r\n\r\n"):
                data = b""
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
                time.sleep(0.05)
                sock.sendall(forged)

    setup = Setup(box, authority, after=answer_twice)
    for turn in range(5):
        assert setup.get().text == "good"
        # Behind the next request nobody could tell them from its answer.
        wait("them to be noticed", lambda: metric(setup.edge, "member_idle_bytes") == turn + 1)


def test_an_end_that_was_cut(box, authority):
    """A body that ends with the connection is whole only behind a close_notify."""
    def stream(sock, proper):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
        if proper:
            sock.settimeout(0.2)
            try:
                sock.unwrap()
            except OSError:
                pass

    proper = True
    setup = Setup(box, authority, after=lambda sock: stream(sock, proper))
    assert setup.get().body == b"half"
    proper = False
    with pytest.raises((http1.ProtocolError, OSError)):
        setup.get()
    assert metric(setup.edge, "member_bodies_cut") == 1


def test_reload_reads_the_files_again(box, authority):
    setup = Setup(box, authority)
    assert setup.status() == 200
    other = Authority(box.folder, "other")
    (box.folder / "ca.pem").write_bytes((box.folder / "other.pem").read_bytes())
    assert setup.status() == 200
    setup.edge.process.signal(signal.SIGHUP)
    wait("the new authority", lambda: setup.status() == 502)
    assert other


def test_kept_connections_are_of_one_kind(box, authority):
    """A reload that brings TLS: what was kept in the clear carries nothing any more."""
    setup = Setup(box, authority, tls=None, plain_too=True, web={"tls": None}, **ONE)
    assert setup.status() == 200
    assert setup.member.plain_ones == 1
    for settings, secure in (({"ca": "./ca.pem"}, 1), (None, 1), ({"ca": "./ca.pem"}, 2)):
        web = setup.edge.settings["clusters"]["web"]
        web.pop("tls", None)
        if settings:
            web["tls"] = settings
        setup.edge.write()
        setup.edge.process.signal(signal.SIGHUP)
        wait("the other kind", lambda: setup.status() == 200 and setup.member.secure == secure)
        before = setup.member.plain_ones
        assert setup.status() == 200
        if settings:
            assert setup.member.plain_ones == before


def test_servers_of_a_pool(box, authority):
    """Those that are allocated are checked over TLS before they join."""
    pair = authority.issue("member", "127.0.0.1")
    good, bad = (Member(authority, which, name=name) for which, name in
                 ((pair, "good"), (authority.issue("bad", "other.test"), "bad")))
    box.origins += [good, bad]
    tls = {"ca": "./ca.pem"}
    system = Obedient(box, {"web": cluster(scale=scale("rack", min=0, max=2), tls=dict(tls)),
                            "sad": cluster(scale=scale("dock", min=0, max=2), tls=dict(tls))},
                      pools={"rack": static_pool(good),
                             "dock": {**static_pool(bad), "start-timeout": "500ms"}})
    system.done('<allocate count="1"/>', "web")
    assert good.checks >= 1 and good.plain_ones == 0
    wait("the server", lambda: http1.fetch(system.edge.address).status == 200)
    system.refused('<allocate count="1"/>', "sad")
    assert bad.checks == 0


def test_files_that_are_gone_at_a_restart(box, authority):
    """A cluster of the ledger keeps no edge from starting; it is out of service, and says why."""
    member = Member(authority, authority.issue("member", "127.0.0.1"))
    plain = box.origin("plain")
    box.origins.append(member)
    system = Obedient(box, {"web": cluster([plain])})
    system.done('<cluster name="young" slow-start="0"><members>'
                f'<item>{member.address}</item></members><tls ca="./ca.pem"/></cluster>')
    system.done('<route name="young" cluster="young"><match path="/young/"/></route>')
    address = system.edge.address
    assert http1.fetch(address, "/young/a").status == 200
    assert 'tls: {ca: "./ca.pem"}' in (box.folder / "state" / "ledger.yaml").read_text()
    system.edge.process.stop()
    system.edge.start()
    wait("young again", lambda: http1.fetch(address, "/young/b").status == 200)
    system.edge.process.stop()
    (box.folder / "ca.pem").rename(box.folder / "elsewhere.pem")
    system.edge.start()
    wait("the others", lambda: http1.fetch(address).status == 200)
    answer = http1.fetch(address, "/young/c")
    assert answer.status == 502 and "TLS" in answer.text
    assert "no TLS with members" in system.edge.process.log()
    assert "ca.pem" in system.edge.process.log()
    assert member.paths() == ["/young/a", "/young/b"]


BAD_FILES = [
    ({"ca": "./none.pem"}, "tls", "none.pem"),
    ({"ca": "./broken.pem"}, "tls", "broken.pem"),
    ({"certificate": "./one.pem", "key": "./none.key"}, "tls", "none.key"),
    ({"certificate": "./one.pem", "key": "./two.key"}, "tls", "one.pem"),
    ({"certificate": "./one.pem"}, "tls", "certificate without its key"),
    ({"key": "./one.key"}, "tls", "key without its certificate"),
    ({"verify": False, "ca": "./ca.pem"}, "tls", "nothing is verified"),
]


@pytest.mark.parametrize("tls, place, words", BAD_FILES)
def test_check_tells_what_is_bad(box, authority, tls, place, words):
    authority.issue("one", "127.0.0.1")
    authority.issue("two", "127.0.0.1")
    box.write("broken.pem", "-----BEGIN CERTIFICATE-----\nnothing\n")
    box.config({"listen": "127.0.0.1:1", "routes": [{"cluster": "web"}],
                "clusters": {"web": {"members": ["127.0.0.1:9"], "tls": tls}}})
    result = box.run("check", "freshet.yaml")
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert f"clusters.web.{place}" in output and words in output, output
