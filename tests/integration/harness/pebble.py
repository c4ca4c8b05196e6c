# SPDX-License-Identifier: Apache-2.0
"""A small real ACME authority (Debian's pebble) that checks every signature, and its DNS."""
import json
import os
import shutil
import subprocess
import urllib.request
import ssl

from .box import wait
from . import http1


class Pebble:
    """Proves names on our ports: every name is 127.0.0.1."""

    def __init__(self, box, authority, http_port, tls_port, **more):
        assert shutil.which("pebble"), "install pebble (tools/install-deps test)"
        authority.issue("pebble", "localhost", "127.0.0.1")
        self.box = box
        self.port, self.management, dns = box.port(), box.port(), box.port()
        settings = {"listenAddress": f"127.0.0.1:{self.port}",
                    "managementListenAddress": f"127.0.0.1:{self.management}",
                    "certificate": "pebble.pem", "privateKey": "pebble.key",
                    "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": ""}
        settings.update(more)
        box.write("pebble.json", json.dumps({"pebble": settings}))
        self.run(["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01",
                  "", "-https01", "", "-tlsalpn01", "", "-dns01", f"127.0.0.1:{dns}",
                  "-management", f"127.0.0.1:{box.port()}"], "dns.log")
        self.log_path = self.run(["pebble", "-config", "pebble.json", "-dnsserver",
                                  f"127.0.0.1:{dns}"], "pebble.log")
        self.directory = f"https://localhost:{self.port}/dir"
        box.serving(f"127.0.0.1:{self.port}")
        box.serving(f"127.0.0.1:{self.management}")
        self.context = ssl.create_default_context(cafile=authority.path)
        root = urllib.request.urlopen(f"https://localhost:{self.management}/roots/0",
                                      context=self.context, timeout=10).read()
        (box.folder / "pebble-root.pem").write_bytes(root)
        self.root = str(box.folder / "pebble-root.pem")

    def run(self, command, log):
        path = self.box.folder / log
        with open(path, "wb") as file:
            popen = subprocess.Popen(command, cwd=self.box.folder, stdin=subprocess.DEVNULL,
                                     stdout=file, stderr=subprocess.STDOUT,
                                     env={**os.environ, "PEBBLE_VA_NOSLEEP": "1",
                                          "PEBBLE_WFE_NONCEREJECT": "20"})

        def stop():
            popen.terminate()
            popen.wait(10)
        self.box.closers.append(stop)
        return path

    def log(self):
        return self.log_path.read_text(errors="replace")


def shown(address, root, name):
    """The certificate that a client sees who trusts this root alone, or None."""
    context = ssl.create_default_context(cafile=root)
    try:
        with http1.connect(address, tls=context, name=name) as sock:
            return sock.getpeercert()
    except ssl.SSLError:
        return None


def issued(address, root, name):
    return wait(f"a certificate for {name}", lambda: shown(address, root, name), 60)
