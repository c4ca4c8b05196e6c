# SPDX-License-Identifier: Apache-2.0
"""elastic_model - the load of bench/elastic played by counting: single requests, a virtual clock.

Ten minutes take two seconds. Requests wait in one line for a place at any member, which has so many
slots and works for the service time on each. A member that was asked for serves after the start-up;
one that is given back finishes what it has and is paid for DRAIN_S more. Latency beyond that (the
network, the edge) is left out.
"""
import heapq
import json
import math
import subprocess

TICK_S = 5  # the manager's, and `freshet decide`'s
ORDER_S = 0.5  # from a decision until a server begins to start, or stops to be picked
DRAIN_S = 0.15
PATIENCE_S = 10  # a request that waited so long is given up


class HpaRule:
    """Kubernetes' rule: every 15 s, a tolerance of 10 %, down to the highest wish of 300 s."""
    PERIOD_S, TARGET, TOLERANCE, DOWN_S = 15, 0.7, 0.1, 300

    def __init__(self, highest):
        self.highest = highest
        self.wishes = []

    def take(self, now_s, members, utilization, have):
        wish = members
        if abs(utilization / self.TARGET - 1) > self.TOLERANCE:
            wish = math.ceil(members * utilization / self.TARGET)
        wish = min(self.highest, max(1, wish))
        kept = [(at, count) for at, count in self.wishes if now_s - at < self.DOWN_S]
        self.wishes = kept + [(now_s, wish)]
        return max(wish, min(have, max(count for _, count in self.wishes)))


class Hpa:
    """The rule, asked every tick, by the mean of its period."""

    def __init__(self, highest):
        self.rule = HpaRule(highest)
        self.seen = []

    def ask(self, tick):
        self.seen.append(tick["util"])
        have = tick["ready"] + tick["starting"]
        if len(self.seen) * TICK_S < HpaRule.PERIOD_S:
            return have
        mean = sum(self.seen) / len(self.seen)
        self.seen = []
        return self.rule.take(tick["t"], tick["ready"], mean, have)


class Decide:
    """`freshet decide`, asked every tick."""

    def __init__(self, binary, policy, highest, goal_s):
        command = [binary, "decide"] + (["--policy", policy] if policy else [])
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True)
        self.tell({"type": "hello", "version": 1, "dt": float(TICK_S), "slo_latency": goal_s,
                   "slo_quantile": 0.99, "min": 1, "max": highest, "drain": 10.0})

    def tell(self, line):
        self.child.stdin.write(json.dumps(line) + "\n")
        self.child.stdin.flush()

    def ask(self, tick):
        self.tell({"type": "tick", **tick})
        return int(self.child.stdout.readline())

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Cluster:
    def __init__(self, count, slots, service_s, goal_s):
        self.ready, self.slots, self.service_s, self.goal_s = count, slots, service_s, goal_s
        self.starting = []  # when each will serve
        self.leaving = []  # until when each is paid
        self.ends = []  # of what is being worked on
        self.line = []
        self.first = 0  # of the line that still waits
        self.now_s = 0.0
        self.requests = self.missed = 0
        self.paid_s = 0.0
        self.tick = {}

    def pass_until(self, at_s):
        span_s = at_s - self.now_s
        self.tick["busy"] += len(self.ends) * span_s
        self.paid_s += (self.ready + len(self.starting) + len(self.leaving)) * span_s
        self.now_s = at_s
        self.leaving = [until for until in self.leaving if until > at_s]

    def work(self):
        while self.first < len(self.line) and len(self.ends) < self.ready * self.slots:
            wait_s = self.now_s - self.line[self.first]
            self.first += 1
            if wait_s > PATIENCE_S:
                self.count(True)
                continue
            heapq.heappush(self.ends, self.now_s + self.service_s)
            self.count(wait_s + self.service_s > self.goal_s)

    def count(self, is_late):
        self.requests += 1
        self.missed += is_late
        self.tick["late"] += is_late

    def play_tick(self, end_s, times):
        """`times`: a deque of when requests come; those of this tick are taken out."""
        self.tick = {"busy": 0.0, "late": 0, "came": 0, "done": 0}
        while True:
            came = times[0] if times else math.inf
            done = self.ends[0] if self.ends else math.inf
            joins = self.starting[0] if self.starting else math.inf
            at_s = min(came, done, joins, end_s)
            self.pass_until(at_s)
            if at_s == end_s:
                return
            if at_s == came:
                self.line.append(times.popleft())
                self.tick["came"] += 1
            elif at_s == done:
                heapq.heappop(self.ends)
                self.tick["done"] += 1
            else:
                self.starting.pop(0)
                self.ready += 1
            self.work()

    def shown(self, startup_s):
        waiting = len(self.line) - self.first
        places = self.ready * self.slots * TICK_S
        return {"t": self.now_s, "rate": self.tick["came"] / TICK_S,
                "util": min(1, self.tick["busy"] / places), "dropped": 0, "queue": waiting,
                "slow": self.tick["late"] / max(1, self.tick["done"]), "ready": self.ready,
                "starting": len(self.starting), "draining": len(self.leaving),
                "desired": self.ready + len(self.starting), "last_startup": startup_s}

    def change(self, want, startup_s):
        """Gives how many members were started or given back."""
        have = self.ready + len(self.starting)
        for _ in range(want - have):
            self.starting.append(self.now_s + ORDER_S + startup_s)
        for _ in range(have - want):
            if self.starting:
                self.starting.pop()
            else:
                self.ready -= 1
                self.leaving.append(self.now_s + ORDER_S + DRAIN_S)
        return abs(want - have)


def play(times, seconds, engine, cluster, startup_s):
    """Gives the highest number of members, and the changes; the rest is in the cluster."""
    highest, changes, known_s = 0, 0, 0
    for end_s in range(TICK_S, seconds + 1, TICK_S):
        before = cluster.ready
        cluster.play_tick(end_s, times)
        known_s = startup_s if cluster.ready > before else known_s
        changes += cluster.change(engine.ask(cluster.shown(known_s)), startup_s)
        highest = max(highest, cluster.ready + len(cluster.starting))
    for at_s in cluster.line[cluster.first:]:  # still waiting; what they have waited counts
        cluster.count(cluster.now_s - at_s + cluster.service_s > cluster.goal_s)
    return highest, changes
