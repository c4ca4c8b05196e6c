# SPDX-License-Identifier: Apache-2.0
"""An edge that speaks TLS to its clients; a manager that speaks it on the control stream."""
from . import http1
from .setup import Edge, admin_json, base, cluster, metric, scale, static_pool
from .stream import RawPeer, opening


class TlsEdge:
    """An edge that speaks TLS, in front of one member."""

    def __init__(self, box, authority, tls=None, answer=None, listen=None, **more):
        self.box, self.authority = box, authority
        self.member = box.origin("m", answer=answer)
        self.address = f"127.0.0.1:{box.port()}"
        first = tls or authority.issue("localhost", "localhost")
        self.edge = Edge(box, {"web": cluster([self.member], health=None)},
                         listen=[{"address": self.address, "tls": first, **(listen or {})}], **more)
        self.plain = self.edge.address

    def open(self, context=None, **more):
        return http1.Client(self.address, tls=context or self.authority.context(), **more)


def tls_of(name, ca="ca", **more):
    return {"certificate": f"./{name}.pem", "key": f"./{name}.key", "ca": f"./{ca}.pem", **more}


class Manager:
    def __init__(self, box, authority, certificate="manager", peers=None, **more):
        self.box, self.authority = box, authority
        if not (box.folder / f"{certificate}.pem").exists():
            authority.issue(certificate, "manager", "localhost", "127.0.0.1")
        self.tcp = f"127.0.0.1:{box.port()}"
        self.unix = f"unix:{box.folder}/m.sock"
        manager = {"listen": [self.unix, self.tcp], "tls": tls_of(certificate)}
        if peers is not None:
            manager["peers"] = peers
        manager.update(more)
        self.settings = base(None, {name: cluster(["127.0.0.1:9"], health=None,
                                                  scale=scale("rack"))
                                    for name in ("web", "api")},
                             {"rack": static_pool("127.0.0.1:10")}, state="./manager-state",
                             manager=manager)
        self.write()
        self.process = box.start("manager", "-c", "manager.yaml", name="manager")
        box.serving(self.unix, self.process)

    def write(self):
        self.box.config(self.settings, "manager.yaml")

    def status(self):
        return admin_json(self.unix)

    def source(self, name):
        found = [s for s in self.status()["sources"] if s["id"] == name and s["connected"]]
        return found[0] if found else None

    def counter(self, name):
        return metric(self.unix, "manager_" + name)

    def peer(self, certificate=None, **more):
        """A stream made by hand."""
        peer = RawPeer(self.tcp)
        context = self.authority.context(certificate, **more)
        peer.sock = context.wrap_socket(peer.sock, server_hostname="localhost")
        return peer

    def said_to(self, certificate, name, role="edge", send=b""):
        """All that the manager says until it ends the stream."""
        peer = self.peer(certificate)
        peer.send(opening(role, name) + send)
        said = peer.read_to_end()
        peer.close()
        return said
