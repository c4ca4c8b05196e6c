# SPDX-License-Identifier: Apache-2.0
"""Every path of the administration interfaces and every role: who is let in, and who is not.

The paths are read out of the sources, so that one that is added is missed here until somebody has
said who may use it."""
import re

import pytest

from harness import http1
from harness.box import ROOT
from harness.pki import Authority
from harness.setup import base, cluster, metric_in

ROUTE = re.compile(r'^    \{"(GET|POST|PUT|DELETE)", "([^"]+)", \w+, ADMIN_NEEDS_(\w+)\}', re.M)

# What is asked for: harmless, or wrong enough to be refused by whoever is let in.
EDGE = {
    ("GET", "/metrics"): ("read", "/metrics"),
    ("GET", "/status"): ("read", "/status"),
    ("GET", "/cache"): ("read", "/cache"),
    ("POST", "/clusters/"): ("operate", "/clusters/nobody/drain"),
    ("POST", "/cache/purge"): ("operate", "/cache/purge"),
    ("POST", "/certificates/reload"): ("admin", "/certificates/reload"),
}
MANAGER = {
    ("GET", "/status"): ("read", "/status"),
    ("GET", "/metrics"): ("read", "/metrics"),
    ("GET", "/why"): ("read", "/why"),
    ("POST", "/report"): ("operate", "/report"),
    ("POST", "/approve"): ("operate", "/approve"),
    ("POST", "/deny"): ("operate", "/deny"),
    ("POST", "/cache/purge"): ("operate", "/cache/purge"),
    ("POST", "/join"): ("none", "/join"),
    ("POST", "/renew"): ("none", "/renew"),
    ("POST", "/tokens"): ("admin", "/tokens"),
}
ROLES = ["none", "read", "operate", "admin"]
PEOPLE = {"reader": "read", "operator": "operate", "boss": "admin"}


def routes(name, table):
    text = (ROOT / "src" / name).read_text()
    found = ROUTE.findall(text[text.index(table):])
    assert found, name
    return {(method, path): needs.lower() for method, path, needs in found}


def test_every_path_has_its_row():
    for found, rows in ((routes("edge/edge_admin.c", "edge_routes[]"), EDGE),
                        (routes("manager/mgr_http.c", "mgr_http_routes[]"), MANAGER)):
        assert set(found) == set(rows)
        for path, (role, _) in rows.items():
            assert found[path] == {"none": "nothing"}.get(role, role), path


class House:
    """An edge's interface or a manager's, over TLS."""

    def __init__(self, box, manager):
        self.box, self.authority, self.manager = box, Authority(box.folder), manager
        self.authority.issue("server", "manager", "localhost", "127.0.0.1")
        for name in (*PEOPLE, "stranger"):
            self.authority.issue(name, name)
        self.address = f"127.0.0.1:{box.port()}"
        tls = {"certificate": "./server.pem", "key": "./server.key", "ca": "./ca.pem"}
        settings = base(None, {"web": cluster(["127.0.0.1:9"], health=None)})
        admin = {"users": [{"certificate": name, "role": role} for name, role in PEOPLE.items()]}
        if manager:
            settings["manager"] = {"listen": self.address, "tls": tls,
                                   # With rules, so that having a certificate is not enough.
                                   "peers": [{"name": "edge-*"}]}
        else:
            settings["listen"] = f"127.0.0.1:{box.port()}"
            settings["cache"] = {"memory": "1MiB"}
            admin.update({"listen": self.address, "tls": tls})
        settings["admin"] = admin
        box.config(settings)
        self.process = box.start("manager" if manager else "edge", name="server")
        box.serving(self.address, self.process)

    def status(self, method, path, name=None):
        response = http1.fetch(self.address, path, method, body=b"",
                               tls=self.authority.context(name))
        return response.status, response.said

    def counter(self, name):
        prefix = "manager_http_" if self.manager else "admin_"
        return metric_in(self.status("GET", "/metrics", "reader")[1], prefix + name)


@pytest.mark.parametrize("manager", [False, True], ids=["edge", "manager"])
def test_every_path_and_every_role(box, manager):
    house = House(box, manager)
    refused = {401: 0, 403: 0}
    for (method, _), (needs, path) in (MANAGER if manager else EDGE).items():
        for name, role in (*PEOPLE.items(), ("stranger", "none"), (None, "none")):
            status, said = house.status(method, path, name)
            place = (method, path, name, status)
            if path == "/renew" and name in (None, "stranger"):
                # By the certificate, and by the rule for it; not by a role.
                assert status == (401 if name is None else 403), place
            elif path == "/report" and status == 400:
                # Judged by what it says: who has a certificate may say it.
                assert name is not None, place
            elif ROLES.index(role) >= ROLES.index(needs):
                assert status not in (401, 403), place
            else:
                assert status == (401 if name is None else 403), place
                assert f"needs the role {needs}" in said, said
                refused[status] += 1
    assert refused[401] > 0 and refused[403] > 0
    assert house.counter("unauthorized") == refused[401]
    assert house.counter("forbidden") == refused[403]
    assert house.process.log().count("refused") >= refused[401] + refused[403]
