# SPDX-License-Identifier: Apache-2.0
"""TLS towards clients: what is shown to whom, resumption, replacement, and the same HTTP inside."""
import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import time

import pytest

from harness import http1
from harness.box import hold, wait
from harness.listener import Listener, read_head
from harness.origin import Answer, field
from harness.pki import Authority
from harness.secured import TlsEdge
from harness.setup import metric


@pytest.fixture
def setup(box, authority):
    return TlsEdge(box, authority)


def shown(setup, name, kind=None):
    """The first name in the certificate that a client sees who asks for `name`."""
    context = setup.authority.context()
    context.check_hostname = False
    if kind: # TLS 1.2, where the cipher says which key
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers({"rsa": "ECDHE-RSA-AES128-GCM-SHA256",
                             "ec": "ECDHE-ECDSA-AES128-GCM-SHA256"}[kind])
    with setup.open(context, name=name) as client:
        return client.sock.getpeercert()["subjectAltName"][0][1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_of_both_versions(setup, version):
    with setup.open(setup.authority.context(version=version)) as client:
        assert client.get("/a").status == 200
        assert client.get("/b").status == 200
        assert client.sock.version() == version.name.replace("_", ".")
    assert setup.member.count() >= 2
    assert metric(setup.edge, "tls_handshakes") >= 1
    request = setup.member.requests[-1]
    assert field(request, "X-Forwarded-Proto") == "https"


def failed(setup):
    return metric(setup.edge, "tls_handshakes_failed")


def test_older_versions_are_refused(setup):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    before = failed(setup)
    with pytest.raises((ssl.SSLError, OSError)):
        setup.open(context)
    wait("the failure to be counted", lambda: failed(setup) > before)


def test_min_version(box, authority):
    first = authority.issue("localhost", "localhost")
    setup = TlsEdge(box, authority, tls={**first, "min-version": "1.3"})
    with pytest.raises((ssl.SSLError, OSError)):
        setup.open(authority.context(version=ssl.TLSVersion.TLSv1_2))
    with setup.open() as client:
        assert client.get().status == 200


def test_names(box, authority):
    first = authority.issue("first", "first.test")
    more = [authority.issue("exact", "www.example.test"),
            authority.issue("wild", "*.example.test"),
            authority.issue("both-ec", "both.test"),
            authority.issue("both-rsa", "both.test", "rsa.test", kind="rsa")]
    setup = TlsEdge(box, authority, tls={**first, "certificates": more})
    assert shown(setup, "www.example.test") == "www.example.test"
    assert shown(setup, "WWW.Example.test") == "www.example.test"
    assert shown(setup, "other.example.test") == "*.example.test"
    assert shown(setup, "a.b.example.test") == "first.test"
    assert shown(setup, "example.test") == "first.test"
    assert shown(setup, None) == "first.test"
    assert shown(setup, "both.test", "ec") == "both.test"
    assert shown(setup, "both.test", "rsa") == "both.test"
    with pytest.raises((ssl.SSLError, OSError)):
        shown(setup, "first.test", "rsa")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption_by_any_worker(box, authority, version):
    setup = TlsEdge(box, authority, workers=3)
    context = authority.context(version=version)
    with setup.open(context) as client:
        client.get()
        session = client.sock.session
    resumed = 0
    for _ in range(8):
        with setup.open(context, session=session) as client:
            assert client.get().status == 200
            resumed += client.sock.session_reused
    assert resumed == 8
    assert metric(setup.edge, "tls_resumptions") == 8


def test_staple(box, authority):
    first = authority.issue("localhost", "localhost")
    setup = TlsEdge(box, authority, tls={**first, "ocsp": authority.staple("localhost")})
    said = subprocess.run(["openssl", "s_client", "-connect", setup.address, "-servername",
                           "localhost", "-status", "-CAfile", authority.path], input=b"",
                          capture_output=True, check=False, timeout=20).stdout
    assert b"OCSP Response Status: successful" in said
    assert b"Cert Status: good" in said


def test_alpn(setup):
    with setup.open(setup.authority.context(alpn=["http/1.1"])) as client:
        assert client.sock.selected_alpn_protocol() == "http/1.1"
    with pytest.raises((ssl.SSLError, OSError)):
        setup.open(setup.authority.context(alpn=["imap"]))


@pytest.mark.parametrize("mode", ["optional", "required"])
def test_client_certificates(box, authority, mode):
    clients = Authority(box.folder, "clients")
    clients.issue("alice", subject="/O=Example, Inc./CN=alice")
    other = Authority(box.folder, "strangers")
    other.issue("mallory")
    first = authority.issue("localhost", "localhost")
    setup = TlsEdge(box, authority,
                    tls={**first, "client-auth": mode, "client-ca": "./clients.pem"})
    forged = [("X-Client-Cert-Subject", "CN=root"), ("X-Client-Cert-SHA256", "00"),
              ("X-Client-Cert-Whatever", "1")]
    with setup.open(authority.context("alice")) as client:
        assert client.get(fields=forged).status == 200
    request = setup.member.requests[-1]
    der = ssl.PEM_cert_to_DER_cert((box.folder / "alice.pem").read_text())
    assert field(request, "X-Client-Cert-Subject") == "CN=alice,O=Example\\, Inc."
    assert field(request, "X-Client-Cert-SHA256") == hashlib.sha256(der).hexdigest()
    assert field(request, "X-Client-Cert-Whatever") is None
    with pytest.raises((ssl.SSLError, OSError, http1.ProtocolError)):
        with setup.open(authority.context("mallory")) as client:
            client.get()
    if mode == "optional":
        with setup.open() as client:
            assert client.get(fields=forged).status == 200
        assert field(setup.member.requests[-1], "X-Client-Cert-Subject") is None
    else:
        with pytest.raises((ssl.SSLError, OSError, http1.ProtocolError)):
            with setup.open() as client:
                client.get()


def test_large_bodies_both_ways(box, authority):
    body = os.urandom(3_000_000)
    taken = []

    def echo(request):
        taken.append(request.body)
        return Answer(body=request.body)
    setup = TlsEdge(box, authority, answer=echo)
    with setup.open() as client:
        response = client.request("POST", body=body)
    assert response.status == 200 and response.body == body and taken == [body]


def test_pipelined_requests_in_small_records(setup):
    with setup.open() as client:
        for byte in b"".join(http1.head("GET", f"/{i}") for i in range(3)):
            client.send(bytes([byte]))
        assert [client.read_response().status for _ in range(3)] == [200] * 3


def raw(setup):
    """All bytes of an answer on the plain listener."""
    with http1.Client(setup.plain) as client:
        client.send(http1.head("GET", "/", [("Connection", "close")]))
        received = b""
        try:
            while data := client.sock.recv(65536):
                received += data
        except ConnectionError:
            pass
        return received


def test_a_cut_body_is_seen_as_cut(box, authority):
    setup = TlsEdge(box, authority)

    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
    member = Listener(box.closers, serve)
    setup.edge.settings["clusters"]["web"]["members"] = [member.address]
    setup.edge.write()
    setup.edge.process.signal(signal.SIGHUP)
    wait("the reload", lambda: b"abc" in raw(setup))
    with setup.open() as client, pytest.raises((http1.ProtocolError, OSError)):
        client.get()


@pytest.mark.alone  # what it compares are times of a core
def test_handshakes_do_not_hold_up_requests(box, authority):
    """Many clients shake hands at one moment; a request in between waits for one or two of them and
    not for all."""
    first = authority.issue("localhost", "localhost", kind="rsa4096")
    setup = TlsEdge(box, authority, tls=first, workers=1)
    hello = ssl.MemoryBIO()
    begun = authority.context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        begun.do_handshake()
    hello = hello.read()
    crowd = [http1.connect(setup.address) for _ in range(100)]
    waits = []
    with http1.Client(setup.plain) as client:
        assert client.request(path="/").status == 200
        started = time.monotonic()
        for sock in crowd:
            sock.sendall(hello)
        for sock in crowd:
            sock.setblocking(False)
        answered = 0
        while answered < len(crowd):
            before = time.monotonic()
            assert client.request(path="/").status == 200
            waits.append(time.monotonic() - before)
            for sock in crowd[answered:]:
                try:
                    assert sock.recv(1) # its signed answer is there
                    answered += 1
                except BlockingIOError:
                    break
        total = time.monotonic() - started
    for sock in crowd:
        sock.close()
    print(f"{len(crowd)} handshakes in {total * 1000:.0f} ms, the longest wait of {len(waits)} "
          f"requests {max(waits) * 1000:.1f} ms")
    assert max(waits) < total / 4, (max(waits), total)


def test_bytes_that_are_no_tls(setup):
    before = failed(setup)
    with http1.Client(setup.address) as client:
        client.send(http1.head("GET", "/"))
        client.sock.settimeout(5)
        answer = b""
        while data := client.sock.recv(100):
            answer += data
        assert not answer.startswith(b"HTTP")
    wait("the failure to be counted", lambda: failed(setup) > before)
    with setup.open() as client:
        assert client.get().status == 200


def test_half_open_handshakes_end(box, authority):
    setup = TlsEdge(box, authority, limits={"header-timeout": "500ms"})
    silent = [http1.connect(setup.address) for _ in range(5)]
    silent[0].sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    started = time.monotonic()
    for sock in silent:
        assert sock.recv(100) == b""
        sock.close()
    assert time.monotonic() - started < 5


def test_half_open_handshakes_end_after_ten_seconds(box, authority):
    """By default, from the first moment: who drips is no better off than who is silent."""
    setup = TlsEdge(box, authority)
    out = ssl.MemoryBIO()
    hello = authority.context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    hello = out.read()
    before = failed(setup)
    silent, half, whole, drip = (http1.connect(setup.address, 30) for _ in range(4))
    started = time.monotonic()
    half.sendall(hello[:50])
    whole.sendall(hello)
    assert whole.recv(1)  # the server's answer is there, and is never taken up
    http1.drip(drip, hello[:-1])
    for sock in (silent, half, whole, drip):
        try:
            while sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        took = time.monotonic() - started
        assert 9 < took < 14, took
        sock.close()
    wait("the four to be counted", lambda: failed(setup) == before + 4)
    with setup.open() as client:
        assert client.get().status == 200


def test_proxy_protocol_before_the_handshake(box, authority):
    setup = TlsEdge(box, authority, listen={"proxy-protocol": True},
                    **{"trusted-proxies": ["127.0.0.1"]})
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n"
    with setup.open(before=header) as client:
        assert client.get().status == 200
    assert field(setup.member.requests[-1], "X-Forwarded-For") == "192.0.2.7"


def replace(box, name, *others):
    for suffix in ("pem", "key"):
        os.replace(box.folder / f"{name}.{suffix}", box.folder / f"localhost.{suffix}")


@pytest.mark.parametrize("how", ["seen", "told"])
def test_replacement_without_losing_a_connection(box, authority, setup, how):
    with setup.open() as old:
        before = old.sock.getpeercert()["serialNumber"]
        assert old.get().status == 200
        authority.issue("next", "localhost")
        replace(box, "next")
        if how == "told":
            setup.edge.process.signal(signal.SIGHUP)

        def seen():
            with setup.open() as client:
                assert client.get().status == 200
                return client.sock.getpeercert()["serialNumber"] != before
        wait("the new certificate", seen)
        assert old.get().status == 200
        assert old.sock.getpeercert()["serialNumber"] == before
    assert "certificates replaced" in setup.edge.process.log()
    assert metric(setup.edge, "certificate_reloads") == 1


def test_a_bad_pair_is_refused_and_the_old_one_stays(box, authority, setup):
    shutil.copy(box.folder / "localhost.key", box.folder / "good.key")
    authority.issue("other", "localhost")
    os.replace(box.folder / "other.key", box.folder / "localhost.key")
    wait("the refusal", lambda: "refused" in setup.edge.process.log())
    assert "is not that of the certificate" in setup.edge.process.log()
    with setup.open() as client:
        assert client.get().status == 200
    setup.edge.process.signal(signal.SIGHUP)
    wait("the file to be refused", lambda: setup.edge.process.log().count("is not that of") > 1)
    with setup.open() as client:
        assert client.get().status == 200
    os.replace(box.folder / "good.key", box.folder / "localhost.key")
    wait("the good pair", lambda: "certificates replaced" in setup.edge.process.log())


def reloads(setup):
    return metric(setup.edge, "certificate_reloads")


def test_a_file_that_names_others_replaces_none(box, authority, setup):
    """Refused or taken: what is counted is a certificate that stands and is another now."""
    taken = box.origin("taken")
    listen = setup.edge.settings["listen"]
    added = {"address": f"127.0.0.1:{box.port()}", "tls": authority.issue("more", "localhost")}
    setup.edge.settings["listen"] = [*listen, added, {"address": taken.address}]
    setup.edge.write()
    setup.edge.process.signal(signal.SIGHUP)
    wait("the refusal", lambda: taken.address in setup.edge.process.log())
    hold("none replaced", lambda: reloads(setup) == 0, 2.5) # files are looked at every 2 s
    setup.edge.settings["listen"] = [*listen, added]
    setup.edge.write()
    setup.edge.process.signal(signal.SIGHUP)
    box.serving(added["address"], setup.edge.process)
    hold("none replaced", lambda: reloads(setup) == 0, 2.5)
    authority.issue("next", "localhost")
    replace(box, "next")
    setup.edge.process.signal(signal.SIGHUP)
    wait("the new pair", lambda: reloads(setup) == 1)


def test_a_listener_waits_for_its_certificate(box, authority):
    port = box.port()
    config = {"workers": 1, "admin": "off", "routes": [{"respond": 204}],
              "listen": [{"address": f"127.0.0.1:{port}",
                          "tls": {"certificate": "./late.pem", "key": "./late.key"}}]}
    box.config(config)
    done = box.run("check")
    assert done.returncode == 0 and "late.pem: No such file" in done.stdout + done.stderr
    edge = box.start("edge")
    wait("the warning", lambda: "left closed until its certificate" in edge.log())
    authority.issue("late", "localhost")

    def answers():
        with http1.Client(f"127.0.0.1:{port}", tls=authority.context()) as client:
            return client.get().status == 204
    wait("the listener to open", answers)


def test_ends_are_told(box, authority):
    first = authority.issue("localhost", "localhost", days=3)
    setup = TlsEdge(box, authority, tls=first)
    end = metric(setup.edge, "certificate_end_seconds")
    assert abs(end - time.time() - 3 * 86400) < 3600
    assert "a certificate ends soon" in setup.edge.process.log()


def openssl_client(setup, *options, said=b""):
    done = subprocess.run(["openssl", "s_client", "-connect", setup.address, "-servername",
                           "localhost", "-CAfile", setup.authority.path, *options], input=said,
                          capture_output=True, check=False, timeout=20)
    return (done.stdout + done.stderr).decode(errors="replace")


def test_nothing_is_renegotiated(setup):
    said = openssl_client(setup, "-tls1_2", said=b"R\n")
    assert "Secure Renegotiation IS supported" in said # RFC 5746 is spoken, and never used
    assert "no renegotiation" in said
    with setup.open() as client:
        assert client.get().status == 200


def test_no_early_data(box, authority, setup):
    session = box.folder / "session.pem"
    head = http1.head("GET", "/", [("Connection", "close")])
    assert "Max Early Data: 0" in openssl_client(setup, "-tls1_3", "-sess_out", str(session),
                                                 "-ign_eof", said=head)
    (box.folder / "early").write_bytes(http1.head("GET", "/early"))
    said = openssl_client(setup, "-tls1_3", "-sess_in", str(session), "-early_data",
                          str(box.folder / "early"), "-ign_eof", said=head)
    assert "Early data was accepted" not in said
    assert setup.member.count("/early") == 0


def test_ciphers_of_the_file(box, authority):
    first = authority.issue("localhost", "localhost")
    setup = TlsEdge(box, authority, tls={**first, "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"})
    context = authority.context(version=ssl.TLSVersion.TLSv1_2)
    with setup.open(context) as client:
        assert client.sock.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    context = authority.context(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises((ssl.SSLError, OSError)):
        setup.open(context)


def test_our_order_of_ciphers_and_phones(setup):
    """Ours, but ChaCha20 for a client that puts it first."""
    for names, chosen in ((["AES256-GCM-SHA384", "AES128-GCM-SHA256"], "AES128-GCM-SHA256"),
                          (["CHACHA20-POLY1305", "AES128-GCM-SHA256"], "CHACHA20-POLY1305")):
        said = openssl_client(setup, "-tls1_2", "-cipher",
                              ":".join("ECDHE-ECDSA-" + name for name in names))
        assert f"Cipher is ECDHE-ECDSA-{chosen}" in said, said
    for names, chosen in ((["AES_256_GCM_SHA384", "AES_128_GCM_SHA256"], "AES_128_GCM_SHA256"),
                          (["CHACHA20_POLY1305_SHA256", "AES_128_GCM_SHA256"],
                           "CHACHA20_POLY1305_SHA256"),
                          (["AES_256_GCM_SHA384"], "AES_256_GCM_SHA384")):
        said = openssl_client(setup, "-tls1_3", "-ciphersuites",
                              ":".join("TLS_" + name for name in names))
        assert f"Cipher is TLS_{chosen}" in said, said


@pytest.mark.parametrize("tls, words", [
    ({}, "has no certificate"),
    ({"certificate": "./localhost.pem"}, "certificate without its key"),
    ({"certificate": "./localhost.pem", "key": "./ca.key"}, "is not that of the certificate"),
    ({"certificate": "./localhost.key", "key": "./localhost.key"}, "no certificate in"),
    ({"certificate": "./localhost.pem", "key": "./localhost.key", "client-auth": "required"},
     "client-auth without client-ca"),
    ({"certificate": "./localhost.pem", "key": "./localhost.key", "ciphers": "NONSENSE"},
     "no cipher match"),
])
def test_mistakes_are_told_by_check(box, authority, tls, words):
    authority.issue("localhost", "localhost")
    box.config({"listen": [{"address": "127.0.0.1:0", "tls": tls}],
                "routes": [{"respond": 204}]})
    done = box.run("check")
    assert done.returncode == 3
    assert words in done.stdout + done.stderr, done.stdout + done.stderr
