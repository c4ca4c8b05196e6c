# SPDX-License-Identifier: Apache-2.0
"""Every row sent whole, cut at every offset and behind a good request; and what came of it."""
import strict
import table
from wire import Reply, Run

GOOD = b"GET %s HTTP/1.1\r\nHost: edge.test\r\n\r\n"
WAIT_S = 0.5
EVERY = 700     # longer rows are cut at every offset near their ends, and sparsely between
SPARSE = 97
HUGE = 16384


def offsets(size):
    if size <= EVERY:
        return range(1, size)
    if size > HUGE:
        return sorted({1, 2, 100, size - 5, size - 2, size - 1, *range(150, size, size // 8)})
    ends = list(range(1, 150)) + list(range(size - 100, size))
    step = max(SPARSE, size // 40)
    return sorted(set(ends) | set(range(150, size - 100, step)))


class Trial:
    """One run of one row."""

    def __init__(self, row, how, key, run, before=None, behind=None):
        self.row, self.how, self.key, self.run = row, how, key, run
        self.before, self.behind = before, behind  # keys of the good requests around it


class Suite:
    def __init__(self, line, address, tables):
        self.line, self.address = line, address
        self.rows, self.count, self.trials = [], 0, []
        self.complaints, self.captured = {}, {}
        for topic, rows in tables.items():
            for row in rows:
                row.topic = topic
                self.rows.append(row)

    def key(self, letter="v"):
        self.count += 1
        return f"/{letter}/{self.count:06d}"

    def carry(self):
        """Runs everything once; the verdicts are in complaints, by row."""
        whole = []
        for row in self.rows:
            whole.append(self.whole(row))
            if isinstance(row.raw, list):
                continue
            self.trials.append(whole[-1])
            if isinstance(row.expect, table.Waits):
                continue
            self.trials += self.cuts(row)
            if row.name != "nothing":
                self.trials.append(self.behind_good(row))
        self.line.run([t.run for t in self.trials], self.address)
        # A response that comes unasked while another request is on its connection is the answer to
        # that one: nobody could tell. These have the origin to themselves.
        alone = [t for t in whole if isinstance(t.row.raw, list)]
        for trial in alone:
            self.line.run([trial.run], self.address)
        self.trials += alone
        self.line.idle(0.3)
        self.again = [t for t in whole if isinstance(t.row.expect, (table.Bad, table.Cut))]
        before = {t.key: len(self.line.seen.get(t.key, ())) for t in self.again}
        second = [Run([self.request_of(t.row, t.key)], [t.row.method], until_close=True)
                  for t in self.again]
        for run in second:
            run.pieces[0] = run.pieces[0].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        self.line.run(second, self.address)
        for trial in self.trials:
            why = self.judge(trial)
            if why:
                self.complaints.setdefault(id(trial.row), []).append(f"{trial.how}: {why}")
        for trial in self.again:
            if len(self.line.seen.get(trial.key, ())) <= before[trial.key]:
                self.complaints.setdefault(id(trial.row), []).append("cached")
        for trial in whole:
            if trial.key in self.line.raw:
                self.captured[id(trial.row)] = self.line.raw[trial.key]

    def serves(self, count):
        """The plain requests, of so many, that got no answer of their own."""
        keys = [self.key("s") for _ in range(count)]
        runs = [Run([GOOD % key.encode()]) for key in keys]
        self.line.run(runs, self.address)
        return [key for key, run in zip(keys, runs)
                if not run.answers() or not self.answers_to(run.answers()[0], key)]

    # ---- what is sent ----

    @staticmethod
    def fill(raw, key):
        return raw.replace(b"{P}", key.encode()).replace(b"{H}", table.HOST)

    def request_of(self, row, key):
        return self.fill(row.request if isinstance(row, table.ReplyRow) else row.raw, key)

    def reply_for(self, row, key, cut=None):
        if not isinstance(row, table.ReplyRow):
            return
        pieces = row.raw if isinstance(row.raw, list) else [(0, row.raw)]
        if cut:
            pieces = [(0, row.raw[:cut]), (0.012, row.raw[cut:])]
        self.line.replies[key] = Reply(pieces, row.then, row.early)

    def run_of(self, row, pieces, methods, linger=False):
        if row.fin:
            pieces = [*pieces, None]
        run = Run(pieces, methods, until_close=row.expect.closes is not False, linger=linger)
        run.ends_at = 502 if row.expect.closes is None else None
        if isinstance(row.expect, table.Waits):
            run.until_close, run.patience = True, WAIT_S
        return run

    def whole(self, row):
        key, after = self.key(), self.key("f")
        self.reply_for(row, key)
        run = self.run_of(row, [self.request_of(row, key)], [row.method], linger=True)
        if row.expect.closes is False and not isinstance(row.expect, table.Waits):
            run.then = [("GET", GOOD % after.encode())]
            return Trial(row, "whole", key, run, behind=after)
        return Trial(row, "whole", key, run)

    def cuts(self, row):
        if not row.cuts:
            return
        if isinstance(row, table.ReplyRow):
            if isinstance(row.raw, list):
                return
            last = len(row.raw) if row.cuts is True else row.cuts
            for at in offsets(len(row.raw)):
                if at > last:
                    break
                key = self.key()
                self.reply_for(row, key, at)
                run = self.run_of(row, [self.request_of(row, key)], [row.method])
                yield Trial(row, f"reply cut at {at}", key, run)
            return
        for at in offsets(len(self.request_of(row, "/v/000000"))):
            key = self.key()
            data = self.request_of(row, key)
            run = self.run_of(row, [data[:at], data[at:]], [row.method])
            yield Trial(row, f"cut at {at}", key, run)

    def behind_good(self, row):
        """Between two good requests, all in one write."""
        before, key, behind = self.key("b"), self.key(), self.key("t")
        self.reply_for(row, key)
        data = GOOD % before.encode() + self.request_of(row, key)
        methods = ["GET", row.method]
        early = row.fin or isinstance(row, table.ReplyRow) and row.early
        if not early:  # what follows half a body is body
            data += GOOD % behind.encode()
        if row.expect.closes is False:
            methods.append("GET")
        return Trial(row, "pipelined", key, self.run_of(row, [data], methods), before,
                     None if early else behind)

    # ---- what came of it ----

    def judge(self, trial):
        run, expect = trial.run, trial.row.expect
        try:
            found, rest = strict.responses(run.data, run.methods, run.ended == "fin")
        except strict.Bad as error:
            return f"the client got {error}"
        interim = [m.status for m in found if 100 <= m.status < 200 and m.status != 101]
        answers = [m for m in found if m.status >= 200 or m.status == 101]
        if rest:
            return f"stray bytes at the client: {rest[:60]!r}"
        if trial.before:
            if not answers or not self.answers_to(answers[0], trial.before):
                return f"the request before got {run.data[:80]!r}"
            answers = answers[1:]
        if isinstance(expect, table.Waits):
            return "answered" if answers else self.unseen(trial.key)
        if expect.closes is False:
            if trial.behind and (len(answers) < 2 or not self.answers_to(answers[1], trial.behind)):
                return f"the request behind got {[(a.status, a.body[:40]) for a in answers]}"
        elif expect.closes is None and answers and answers[0].status == 502:
            pass  # nothing had begun, so that the connection goes on
        elif trial.behind and trial.behind in self.line.seen:
            return "the request behind was read"
        elif expect.closes and not run.ended:
            return f"the connection stays open, {[a.status for a in answers]}"
        if expect.closes is not None and not answers:
            return f"no answer, ended: {run.ended or 'no'}"
        return getattr(self, "judge_" + type(expect).__name__.lower())(
            trial, answers[0] if answers else None, interim)

    @staticmethod
    def answers_to(answer, key):
        own = b"key=%s\n" % key.encode()
        return answer.status == 200 and answer.complete and answer.body == own

    def unseen(self, key):
        return f"{len(self.line.seen[key])} whole requests at the origin" \
            if key in self.line.seen else None

    def judge_forwarded(self, trial, answer, interim):
        expect, key = trial.row.expect, trial.key
        seen = self.line.seen.get(key, [])
        if answer.status != 200 or len(seen) != 1:
            return f"status {answer.status}, {len(seen)} requests at the origin"
        if trial.row.method != "HEAD" and not self.answers_to(answer, key):
            return f"another answer: {answer.body[:60]!r}"
        got = seen[0]
        if expect.method and got.method != expect.method:
            return f"method {got.method!r}"
        if expect.target is not None:
            want = (key.encode() if expect.path else b"") + expect.target
            if got.target != want:
                return f"target {got.target!r}"
        if expect.host is not None and got.get("host") != expect.host:
            return f"host {got.get('host')!r}"
        if got.body != expect.body:
            return f"body {got.body[:60]!r}"
        if got.trailers != [(n, v) for n, v in expect.trailers or []]:
            return f"trailers {got.trailers}"
        return self.fields(got, expect)

    @staticmethod
    def fields(got, expect):
        for name, value in expect.have.items():
            have = got.get(name)
            if have is None or (value is not None and have != value):
                return f"{name}: {have!r}"
        for name in expect.absent:
            if got.get(name) is not None:
                return f"{name} is there: {got.get(name)!r}"
        return None

    def judge_refused(self, trial, answer, interim):
        if answer.status not in trial.row.expect.statuses or not answer.complete:
            return f"status {answer.status}"
        return self.unseen(trial.key)

    def judge_answered(self, trial, answer, interim):
        return self.judge_refused(trial, answer, interim) or self.fields(answer, trial.row.expect)

    def judge_got(self, trial, answer, interim):
        expect = trial.row.expect
        if answer.status != expect.status or not answer.complete:
            return f"status {answer.status}, {'whole' if answer.complete else 'cut'}"
        if answer.body != expect.body:
            return f"body {answer.body[:60]!r}"
        if interim != expect.interim:
            return f"interim {interim}"
        if answer.trailers != expect.trailers:
            return f"trailers {answer.trailers}"
        if answer.status != 101 and answer.get("date") is None:
            return "no Date"
        return self.fields(answer, expect)

    def judge_bad(self, trial, answer, interim):
        if answer.status != 502 or not answer.complete:
            return f"status {answer.status}"
        if any(c.open for c in self.line.connections_of.get(trial.key, ())):
            return "the connection to the member is kept"
        return None

    def judge_cut(self, trial, answer, interim):
        if any(c.open for c in self.line.connections_of.get(trial.key, ())):
            return "the connection to the member is kept"
        if answer is None:
            return None if trial.run.ended else "nothing came, and no end"
        if answer.status == 502:
            return None
        if answer.complete:
            return f"status {answer.status} and whole"
        return None if trial.run.ended else "neither more nor an end"
