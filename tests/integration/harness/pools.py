# SPDX-License-Identifier: Apache-2.0
"""Clusters that share a pool."""
import collections

from .setup import cluster, scale, static_pool

RIVAL_ROUTES = [{"cluster": "low"}, {"match": {"path": "/high/"}, "cluster": "high"}]


def places(box):
    """Every address that the ledger shows, in a cluster or available in a pool, how often."""
    ledger = box.ledger()
    found = collections.Counter()
    for entry in (ledger.get("clusters") or {}).values():
        for server in entry.get("servers") or []:
            found[server["address"]] += 1
    for entry in (ledger.get("pools") or {}).values():
        for address in entry.get("available") or []:
            found[address] += 1
    return found


def rival_settings(box, servers=3, high=None, low=None, drain="5s"):
    """Clusters, pools and the pool's servers: `low` gets all of a pool, and `high` goes first."""
    bases = [box.origin("high"), box.origin("low")]
    pool = [box.origin(f"s{n}") for n in range(servers)]
    for origin in bases + pool:
        origin.delay = 0.05

    def never():  # one object twice would be an anchor in the file
        return {"level": 0, "for": "1h"}
    clusters = {
        "high": cluster([bases[0]], limit=4, drain=drain,
                        scale=scale("rack", **{"priority": 10, "lower": never(), **(high or {})})),
        "low": cluster([bases[1]], limit=4, drain=drain,
                       scale=scale("rack", **{"lower": never(), **(low or {})}))}
    return clusters, {"rack": static_pool(*pool)}, pool
