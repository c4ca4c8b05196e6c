# SPDX-License-Identifier: Apache-2.0
"""How a connection comes to speak HTTP/2, and how it is kept from it."""
import shutil
import ssl
import subprocess

import pytest

from harness import http1
from harness.box import shared_box
from harness.origin import Answer, Origin
from harness.pki import Authority
from harness.setup import Edge, cluster
from harness.wire2 import PREFACE, Connection, settings


class Secure:
    """Listeners: TLS, TLS without HTTP/2, neither TLS nor HTTP/2."""

    def __init__(self, box):
        self.authority = Authority(box.folder)
        pair = self.authority.issue("localhost", "localhost")
        self.addresses = [f"127.0.0.1:{box.port()}" for _ in range(3)]
        self.member = Origin("m", lambda request: Answer(200, "ok"))
        box.closers.append(self.member.stop)
        web = cluster([self.member], health=None)
        tls, old, plain = self.addresses
        self.edge = Edge(box, {"web": web}, workers=2, listen=[
            {"address": tls, "tls": pair}, {"address": old, "tls": dict(pair), "http2": False},
            {"address": plain, "http2": False}],
                         **{"access-log": {"to": "access.log", "format": "common"}})
        self.log = box.folder / "access.log"

    def connect(self, which, *protocols):
        return http1.connect(self.addresses[which], tls=self.authority.context(alpn=protocols))


@pytest.fixture(scope="module")
def secure():
    with shared_box() as box:
        secure = Secure(box)
        yield secure
        secure.edge.process.stop()


def test_alpn_chooses_http2(secure):
    sock = secure.connect(0, "h2", "http/1.1")
    assert sock.selected_alpn_protocol() == "h2"
    connection = Connection("x:0", sock=sock)
    one = connection.ask("/over-tls", scheme="https")
    assert (one.status, one.body) == (200, b"ok")
    request = secure.member.requests[-1]
    assert dict((n.lower(), v) for n, v in request.fields)["x-forwarded-proto"] == "https"
    connection.close()


@pytest.mark.parametrize("any_cipher", [False, True], ids=["one", "any"])
def test_tls_of_1_2_is_as_http2_wants_it(secure, any_cipher):
    """RFC 9113 section 9.2: no compression, and a cipher that each has."""
    context = secure.authority.context(alpn=["h2"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options &= ~ssl.OP_NO_COMPRESSION
    if not any_cipher:
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
        context.set_ecdh_curve("prime256v1")
    sock = http1.connect(secure.addresses[0], tls=context)
    assert sock.version() == "TLSv1.2" and sock.selected_alpn_protocol() == "h2"
    assert sock.compression() is None
    name = sock.cipher()[0]
    assert "GCM" in name or "CHACHA20" in name, "a cipher of appendix A"
    assert name.startswith("ECDHE-") and (any_cipher or "AES128-GCM" in name)
    connection = Connection("x:0", sock=sock)
    assert connection.ask("/over-tls", scheme="https").status == 200
    connection.close()


def test_alpn_chooses_http1(secure):
    assert secure.connect(0, "http/1.1").selected_alpn_protocol() == "http/1.1"


def test_http2_over_tls_is_agreed_on_first(secure):
    sock = secure.connect(0, "http/1.1")
    sock.sendall(PREFACE + settings())
    assert sock.recv(100).startswith(b"HTTP/1.1 ")


def test_a_listener_without_http2(secure):
    assert secure.connect(1, "h2", "http/1.1").selected_alpn_protocol() == "http/1.1"
    connection = Connection(secure.addresses[2])
    connection.sock.settimeout(5)
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 505 ")
    assert http1.fetch(secure.addresses[2], "/").status == 200


def test_the_access_log_says_http2(secure):
    connection = Connection(secure.edge.address)
    assert connection.ask("/logged").status == 200
    connection.close()
    secure.edge.process.stop()
    assert '"GET /logged HTTP/2" 200' in secure.log.read_text()
    secure.edge.start()


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_curl(secure):
    done = subprocess.run(["curl", "-s", "--http2", "--cacert", secure.authority.path, "-w",
                           "%{http_version} %{http_code}", "--resolve",
                           f"localhost:{secure.addresses[0].split(':')[1]}:127.0.0.1",
                           f"https://localhost:{secure.addresses[0].split(':')[1]}/curl"],
                          capture_output=True, text=True, timeout=20)
    assert done.stdout == "ok2 200", done
