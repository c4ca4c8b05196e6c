# SPDX-License-Identifier: Apache-2.0
"""The usual cast: an edge, a manager, a tapped stream between them, members that stand by."""
import json
import os
import re

from . import http1
from .box import wait
from .stream import FakeManager, Tap

# One, so that what a test counts is in one place; more, to look for races (make tsan).
WORKERS = int(os.environ.get("FRESHET_WORKERS", "1"))


def scale(pool, **more):
    """Settings that make a cluster decide in tenths of seconds."""
    settings = {"from": pool, "min": 1, "max": 4, "upper": "80%",
                "lower": {"level": "30%", "for": "300ms"}, "cooldown": "200ms", "step": 1}
    settings.update(more)
    return {key: value for key, value in settings.items() if value is not None}


def cluster(members=(), **more):
    settings = {"members": [getattr(m, "address", m) for m in members],
                "health": {"path": "/healthz", "interval": "100ms", "starting-interval": "20ms"},
                "slow-start": 0, "drain": "5s"}
    if not members:
        del settings["members"]
    settings.update(more)
    return {key: value for key, value in settings.items() if value is not None}


def static_pool(*servers):
    return {"provider": "static", "servers": [getattr(s, "address", s) for s in servers]}


def process_pool(box, count=8, **more):
    first = box.port_range(count)
    settings = {"provider": "process", "command": box.member_command(),
                "ports": f"{first}-{first + count - 1}", "stop-timeout": "3s"}
    settings.update(more)
    return settings


def base(routes=None, clusters=None, pools=None, state="./state", **more):
    settings = {"workers": WORKERS, "state": state, "admin": f"unix:{state}/admin.sock",
                "stream": {"report-interval": "100ms", "keepalive": "1s"},
                "routes": routes or [{"cluster": "web"}], "clusters": clusters or {}}
    if pools:
        settings["pools"] = pools
    settings.update(more)
    return settings


class Edge:
    """An edge of its own (no manager unless `manager` names one), serving. `listener` is what its
    listener has besides the address; `listen` are more of them, which open before it, so that they
    serve when it does."""

    def __init__(self, box, clusters, routes=None, pools=None, manager=None, role="edge",
                 name="edge", wait_for=True, env=None, prefix=(), listener=None, listen=(),
                 **more):
        self.box = box
        self.port = more.pop("port", None) or box.port()
        self.address = f"127.0.0.1:{self.port}"
        state = more.pop("state", "./state")
        self.settings = base(routes, clusters, pools, state=state,
                             listen=[*listen, {"address": self.address, **(listener or {})}],
                             **more)
        if role == "run":
            self.settings["manager"] = {"listen": f"unix:{state}/manager.sock"}
        elif manager:
            self.settings["manager"] = {"connect": manager}
        self.role, self.name, self.env, self.prefix = role, name, env, prefix
        self.file = f"{name}.yaml"
        self.process = None
        self.start(wait_for)

    def write(self):
        self.box.config(self.settings, self.file)

    def start(self, wait_for=True, env=None):
        self.write()
        self.process = self.box.start(self.role, "-c", self.file, name=self.name,
                                      prefix=self.prefix,
                                      env={**(self.env or {}), **(env or {})})
        if wait_for:
            self.box.serving(self.address, self.process)

    def admin(self):
        return "unix:" + str(self.box.folder / self.settings["admin"][len("unix:"):])


class Managed:
    """Edge and manager as separate processes, with a tap on the stream between them."""

    def __init__(self, box, clusters, routes=None, pools=None, tcp=False, **more):
        self.box = box
        if tcp:
            self.listen, tap = (f"127.0.0.1:{box.port()}" for _ in range(2))
        else:
            self.listen = f"unix:{box.folder}/manager.sock"
            tap = f"unix:{box.folder}/tap.sock"
        self.settings = base(routes, clusters, pools, state="./manager-state",
                             manager={"listen": self.listen},
                             **{key: more[key] for key in ("edge", "stream") if key in more})
        box.config(self.settings, "manager.yaml")
        self.manager = None
        self.start_manager(more.pop("manager_env", None))
        self.tap = Tap(tap, self.listen)
        box.closers.append(self.tap.close)
        self.edge = Edge(box, clusters, routes, pools, manager=tap, **more)
        self.tap.wait("report")

    def start_manager(self, env=None):
        self.manager = self.box.start("manager", "-c", "manager.yaml", name="manager", env=env)
        self.box.serving(self.listen, self.manager)


class Obedient:
    """An edge (or allocator) that obeys a manager made by hand."""

    def __init__(self, box, clusters, routes=None, pools=None, role="edge", tcp=False, **more):
        self.box = box
        address = f"127.0.0.1:{box.port()}" if tcp else f"unix:{box.folder}/hand.sock"
        self.manager = FakeManager(address)
        box.closers.append(self.manager.close)
        self.edge = Edge(box, clusters, routes, pools, manager=address, role=role, **more)
        self.manager.wait_peer()

    def ask(self, operation, cluster=None, **more):
        return self.manager.ask(operation, cluster, **more)

    def done(self, operation, cluster=None, **more):
        result = self.ask(operation, cluster, **more)
        assert result.get("status") == "done", result
        return result

    def refused(self, operation, cluster=None, code=None, **more):
        result = self.ask(operation, cluster, **more)
        assert result.get("status") == "refused", result
        assert result.get("reason"), result
        if code:
            assert result.get("code") == code, result
        return result


def serves(address, path="/"):
    """Waits for the first answer that is not the edge's own "nobody is there (yet)"."""
    return wait(f"{path} to be served", lambda: http1.fetch(address, path).status < 500)


def ready(box, cluster_name, count, state="state"):
    """Waits until the ledger lists this many ready servers of a cluster; gives them."""
    def listed():
        servers = box.ledger_servers(cluster_name, state)
        good = {i: s for i, s in servers.items() if s["state"] == "ready"}
        return (good or True) if len(good) == count and len(servers) == count else None
    found = wait(f"{count} ready servers of {cluster_name} in the ledger", listed)
    return {} if found is True else found


def own(edge, path="/a"):
    """What Misfit and H2Member answer by themselves: the request's own answer and no other's."""
    response = http1.fetch(edge.address, path)
    assert (response.status, response.text) == (200, "own " + path), response
    return response


def zero(box, *servers, role="run", park=None, more=None, **settings):
    """An edge whose cluster has no member; `servers` stand by."""
    settings = {"idle": "1h", "max": len(servers), **settings}
    web = cluster(scale=scale("rack", min=0, **settings), park=park, **(more or {}))
    one = {"workers": 1} if park else {}  # its limits are each worker's
    return Edge(box, {"web": web}, pools={"rack": static_pool(*servers)}, role=role,
                cache={"memory": "16MiB"}, **one)


def asleep(box, name="web"):
    return wait("the cluster to be empty", lambda: not box.ledger_servers(name) or None) is not None


def simple(box, answer=None, **more):
    """An edge with one member."""
    member = box.origin("m", answer=answer)
    return Edge(box, {"web": cluster([member], health=None, **more.pop("web", {}))}, **more), member


def usage(pid):
    """What a process holds."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = file.read()
    return {"resident_kib": int(re.search(r"VmRSS:\s+(\d+)", status).group(1)),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": int(re.search(r"Threads:\s+(\d+)", status).group(1))}


def resident_kib(pid):
    return usage(pid)["resident_kib"]


def descriptors(edge):
    return usage(edge.process.pid)["descriptors"]


def why(box, edge, name="web"):
    """The decisions for a cluster, in words."""
    return box.run("why", name, "-n", "100", "-c", edge.file).stdout


def admin_json(where, path="/status"):
    """`where` as for metric()."""
    address = where if isinstance(where, str) else where.admin()
    return json.loads(http1.fetch(address, path).text)


def cache_stat(edge):
    return admin_json(edge, "/cache")


def origins(address, path="/", count=16):
    """Who answers."""
    return {http1.fetch(address, path).get("X-Origin") for _ in range(count)}


def metric(where, name, **labels):
    """What a process counts or measures, with these labels: summed over workers, members, ...
    `where` is an edge, or the address at which any process of ours answers for /metrics."""
    address = where if isinstance(where, str) else where.admin()
    return metric_in(http1.fetch(address, "/metrics").text, name, **labels)


def metric_in(text, name, **labels):
    """The same of a text that came in another way."""
    for end in ("_total", ""):
        found = re.findall(rf"^freshet_{name}{end}(?:{{(.*)}})? (\S+)$", text, re.M)
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        values = [float(value) for of, value in found if wanted <= set(of.split(","))]
        if values:
            total = sum(values)
            return int(total) if total.is_integer() else total
    raise AssertionError(f"no metric {name}" + (f" with {labels}" if labels else ""))
