# SPDX-License-Identifier: Apache-2.0
"""report.py - tables out of slices, and docs/benchmarks.md out of a run.

A slice is a dict: workload, peer, kind, round, rate, cpu_us and user_us (a request), p50_us,
p99_us, p999_us, core (busy share), memory_mib, errors, others and steal (shares of a core).
Ratios are taken within a round and then their median: what the machine does meanwhile meets all.
"""
import statistics

OTHERS_MAX, STEAL_MAX = 0.15, 0.05
# x nginx, x another peer, user us a request; of the project's own goals.
TARGETS = {
    "hit-1k": (0.70, "h2o", 0.92, 1.0), "hit-64k": (0.80, "haproxy", 0.80, 2.0),
    "proxy-1k": (0.78, "haproxy", 0.78, 2.5), "h2-hit-1k": (0.14, "h2o", 0.95, 1.6),
    "conn": (0.67, "h2o", 0.85, 2.5), "hot-set": (0.54, "haproxy", 0.70, 1.7),
}
WORDS = {
    "hit-1k": "a cache hit of 1 KiB, 64 kept connections",
    "hit-64k": "a cache hit of 64 KiB, 64 kept connections",
    "proxy-1k": "1 KiB from the origin over kept connections, no cache",
    "h2-hit-1k": "a cache hit of 1 KiB over HTTP/2 and TLS 1.3, 16 connections of 32 streams",
    "conn": "a new connection for each cache hit of 1 KiB",
    "conn-deferred": "the same, nginx and HAProxy told to defer accepting, as Freshet and H2O do",
    "conn-tls": "a new TLS 1.3 connection for each cache hit of 1 KiB, a full handshake with ECDSA",
    "conn-resumed": "the same, resumed by tickets",
    "hot-set": "cache hits by Zipf's law (0.9) among 100,000 objects of 1 KiB",
    "latency-hit": "a cache hit of 1 KiB at half of what nginx can do, at a constant rate",
    "latency-proxy": "a proxied request likewise",
}


def calm(slice_):
    return slice_["others"] < OTHERS_MAX and slice_["steal"] < STEAL_MAX


class Table:
    """The slices of one workload."""

    def __init__(self, slices, workload):
        self.workload = workload
        self.slices = [s for s in slices if s["workload"] == workload]
        self.peers = list(dict.fromkeys(s["peer"] for s in self.slices))

    def of(self, peer):
        all_of_it = [s for s in self.slices if s["peer"] == peer]
        return [s for s in all_of_it if calm(s)] or all_of_it

    def kind(self, peer):
        return next(s["kind"] for s in self.slices if s["peer"] == peer)

    def median(self, peer, key):
        values = [s[key] for s in self.of(peer) if s.get(key)]
        return statistics.median(values) if values else 0

    def ratio(self, peer, other, key="cpu_us"):
        """None: there is no round with both."""
        mine = {s["round"]: s[key] for s in self.of(peer)}
        theirs = {s["round"]: s[key] for s in self.of(other)}
        ratios = [mine[r] / theirs[r] for r in mine if theirs.get(r)]
        return statistics.median(ratios) if ratios else None

    def spread(self, peer, key="cpu_us"):
        values = sorted(s[key] for s in self.of(peer))
        last = len(values) - 1
        return values[0], values[last // 4], values[(3 * last + 3) // 4]

    def calm_count(self, peer):
        mine = [s for s in self.slices if s["peer"] == peer]
        return f"{sum(calm(s) for s in mine)}/{len(mine)}"

    def latency(self):
        return self.workload.startswith("latency")

    def sorted(self):
        return sorted(self.peers, key=lambda peer: self.median(
            peer, "p999_us" if self.latency() else "cpu_us"))


def words(value):
    return "-" if value is None else f"{value:.2f}"


def throughput_rows(table):
    yield ("| peer | kind | CPU us a request | best, quartiles | of it user | x nginx | requests/s "
           "| p50 us | p99 us | core busy | PSS MiB | errors | calm slices |")
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for peer in table.sorted():
        best, low, high = table.spread(peer)
        errors = sum(s["errors"] for s in table.slices if s["peer"] == peer)
        name = f"**{peer}**" if peer == "freshet" else peer
        yield (f"| {name} | {table.kind(peer)} | {table.median(peer, 'cpu_us'):.2f} | {best:.2f}, "
               f"{low:.2f}-{high:.2f} | {table.median(peer, 'user_us'):.2f} | "
               f"{words(table.ratio(peer, 'nginx'))} | {table.median(peer, 'rate'):.0f} | "
               f"{table.median(peer, 'p50_us'):.0f} | {table.median(peer, 'p99_us'):.0f} | "
               f"{100 * table.median(peer, 'core'):.0f} % | "
               f"{max(s['memory_mib'] for s in table.of(peer)):.0f} | {errors} | "
               f"{table.calm_count(peer)} |")


def latency_rows(table):
    yield "| peer | requests/s asked | p50 us | p99 us | p99.9 us | errors | calm slices |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for peer in table.sorted():
        errors = sum(s["errors"] for s in table.slices if s["peer"] == peer)
        name = f"**{peer}**" if peer == "freshet" else peer
        yield (f"| {name} | {table.median(peer, 'asked'):.0f} | "
               f"{table.median(peer, 'p50_us'):.0f} | "
               f"{table.median(peer, 'p99_us'):.0f} | {table.median(peer, 'p999_us'):.0f} | "
               f"{errors} | {table.calm_count(peer)} |")


def tables(slices):
    for workload in WORDS:
        table = Table(slices, workload)
        if not table.slices:
            continue
        yield f"### {workload}\n\n{WORDS[workload][0].upper()}{WORDS[workload][1:]}.\n"
        yield from latency_rows(table) if table.latency() else throughput_rows(table)
        yield ""


def goal_rows(slices):
    yield "| workload | x nginx | goal | x another | goal | user us | goal |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for workload, (to_nginx, other, to_other, user) in TARGETS.items():
        table = Table(slices, workload)
        if "freshet" not in table.peers:
            continue
        mark = lambda value, goal: "-" if value is None else (
            f"{value:.2f}" if value <= goal else f"**{value:.2f}**")
        nginx = table.ratio("freshet", "nginx") if "nginx" in table.peers else None
        versus = table.ratio("freshet", other) if other in table.peers else None
        yield (f"| {workload} | {mark(nginx, to_nginx)} | {to_nginx:.2f} | "
               f"{mark(versus, to_other)} ({other}) | {to_other:.2f} | "
               f"{mark(table.median('freshet', 'user_us'), user)} | {user:.1f} |")


def ahead(slices):
    """Who does better than Freshet, and by how much: floors, which serve nothing, aside."""
    for workload in WORDS:
        table = Table(slices, workload)
        if "freshet" not in table.peers:
            continue
        keys = (("p99_us", "p99"), ("p999_us", "p99.9")) if table.latency() else \
            (("cpu_us", "CPU"), ("memory_mib", "memory"))
        for key, name in keys:
            mine = table.median("freshet", key)
            for peer in table.peers:
                theirs = table.median(peer, key)
                if peer == "freshet" or table.kind(peer) == "floor" or not theirs:
                    continue
                ratio = table.ratio(peer, "freshet", key) if key == "cpu_us" else theirs / mine
                if ratio is not None and ratio < 1:
                    yield (f"- {workload}, {name}: {peer} ({table.kind(peer)}) needs "
                           f"{ratio:.2f} of what Freshet does.")


def trust(slices):
    """How many slices were calm, and what to make of it where most were not."""
    quiet = sum(calm(s) for s in slices)
    yield f"- calm slices: {quiet} of {len(slices)}"
    if 2 * quiet < len(slices):
        yield ("- the machine was busy with other work: ratios are rough, times are those of a "
               "busy machine,\n  and latencies are mostly waiting for a core")


def document(slices, facts):
    """docs/benchmarks.md."""
    yield f"""# Benchmarks

Freshet beside other servers on one machine: each server alone on one core, the load generator and
the origin on the other, everything on 127.0.0.1. Freshet is built by a profile (`make
trained`), the others are as Debian builds them. This page is written by the command below;
`bench/peers/README.md` says how it measures and how far to trust it.

- date: {facts['date']}, commit {facts['commit']}
- machine: {facts['machine']}, {facts['cores']} cores, Linux {facts['kernel']}
- command: `{facts['command']}`
- rounds: {facts['rounds']} of {facts['seconds']} s a peer and workload; a slice in which others
  took more than {100 * OTHERS_MAX:.0f} % of a core, or the host more than {100 * STEAL_MAX:.0f} %,
  does not count, unless there was no other
- versions: {', '.join(f'{name} {version}' for name, version in facts['versions'].items())}"""
    yield from trust(slices)
    yield from (f"- {note}" for note in facts["notes"])
    yield """
CPU is run time of all threads, the kernel's part included, for one request. "x nginx" is the median
of the ratios within a round. Kind `static` serves files from memory where others hit their cache;
`floor` answers the same bytes to whatever comes and reads nothing: what the kernel alone costs.

## Goals

What is not reached is bold.
"""
    yield from goal_rows(slices)
    yield "\n## Where somebody else is ahead\n"
    lines = list(ahead(slices))
    yield from lines or ["Nowhere in this run."]
    yield "\n## Tables\n"
    yield from tables(slices)
