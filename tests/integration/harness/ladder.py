# SPDX-License-Identifier: Apache-2.0
"""A cluster whose ladder is climbed because nobody is left in its pool."""
import json

from .box import wait
from .load import Load
from .setup import Edge, cluster, scale, static_pool


def laddered(box, members, rungs, role="edge", routes=None, more_ladder=None, **more):
    """A cluster that would scale, with nobody left in its pool."""
    ladder = {"rungs": rungs, "climb": "100ms", "descend": "300ms", **(more_ladder or {})}
    web = cluster(members, ladder=ladder, scale=scale("rack", relief="allocate", max=len(members)),
                  **more)
    return Edge(box, {"web": web}, pools={"rack": static_pool(box.origin("spare"))}, role=role,
                routes=routes or [{"cluster": "web"}], cache={"memory": "16MiB"})


def hot(*servers, utilization=0.95):
    for server in servers:
        server.utilization = utilization


def status(box, edge):
    done = box.run("status", "--json", "-c", edge.file)
    return next(c for c in json.loads(done.stdout)["clusters"] if c["name"] == "web")


def at_rung(box, edge, rung):
    wait(f"rung {rung!r}", lambda: status(box, edge)["rung"] == rung)


def steady(edge):
    return Load(edge.address, threads=2, path=lambda n: f"/load?{n}", pause=0.01)
