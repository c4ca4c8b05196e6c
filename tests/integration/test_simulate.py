# SPDX-License-Identifier: Apache-2.0
"""freshet simulate and freshet decide, from the command line."""
import datetime
import gzip
import json
import math
import os
import re
import subprocess

import pytest

FRESHET = os.environ.get("FRESHET", "build/freshet")


def run(*args, **more):
    return subprocess.run([FRESHET, *map(str, args)], capture_output=True, text=True,
                          timeout=120, **more)


def rates(hours=6):
    for i in range(hours * 60):
        yield 60 * i, 900 + 700 * math.sin(i / 60 * math.pi)


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("# interval_s: 60\nseconds,rate\n"
                    + "".join("%d,%.1f\n" % x for x in rates()))
    return path


def table(text):
    rows = {}
    for line in text.splitlines():
        found = re.match(r"(oracle|fixed peak|threshold|target|forecast) +([\d.]+) % +([\d.]+) +"
                         r"([\d.]+) +([\d.]+) +(\d+) +([\d.]+)$", line)
        if found:
            rows[found[1]] = [float(x) for x in found.groups()[1:]]
    return rows


def test_table(trace):
    done = run("simulate", trace)
    assert done.returncode == 0, done.stderr
    rows = table(done.stdout)
    assert list(rows) == ["oracle", "fixed peak", "threshold", "target", "forecast"]
    assert rows["oracle"][2] == 1.0
    assert rows["fixed peak"][1] > rows["forecast"][1] >= 0.95 * rows["oracle"][1]
    assert "demand" in done.stdout and "█" in done.stdout


def test_the_same_seed_gives_the_same_numbers(trace):
    one = run("simulate", trace, "-p", "forecast", "--seed", 3)
    two = run("simulate", trace, "-p", "forecast", "--seed", 3)
    other = run("simulate", trace, "-p", "forecast", "--seed", 4)
    assert one.stdout == two.stdout != other.stdout


@pytest.mark.parametrize("kind", ["combined", "json"])
def test_access_logs(tmp_path, kind):
    path = tmp_path / "access.log"
    begin = datetime.datetime(2026, 3, 1, 23, 50, tzinfo=datetime.timezone.utc)
    with open(path, "w") as f:
        for second in range(1200):
            at = begin + datetime.timedelta(seconds=second)
            for _ in range(20):
                if kind == "json":
                    f.write(json.dumps({"time": at.strftime("%Y-%m-%dT%H:%M:%S.000Z")}) + "\n")
                else:
                    f.write('192.0.2.1 - - [%s] "GET / HTTP/1.1" 200 5 "-" "-"\n'
                            % at.strftime("%d/%b/%Y:%H:%M:%S +0000"))
        f.write("what is this\n")
    done = run("simulate", path, "--capacity", 10, "--goal", "1s", "-p", "forecast")
    assert done.returncode == 0, done.stderr
    assert "0.3 h" in done.stdout and "1 lines were not understood" in done.stdout
    # 20 requests/s, 10 a member: three members are needed all the time
    assert 0.9 < table(done.stdout)["fixed peak"][1] < 1.4


def test_a_compressed_log_says_how_to_read_it(tmp_path):
    path = tmp_path / "access.log.gz"
    lines = "".join('192.0.2.1 - - [10/Oct/2025:13:%02d:%02d +0000] "GET / HTTP/1.1" 200 5\n'
                    % divmod(i, 60) for i in range(1200))
    path.write_bytes(gzip.compress(lines.encode()))
    done = run("simulate", path)
    assert done.returncode == 1 and "zcat FILE | freshet simulate /dev/stdin" in done.stderr
    done = run("simulate", "/dev/stdin", "-p", "target", "--no-picture", input=lines)
    assert done.returncode == 0 and "0.3 h" in done.stdout, done.stderr


def test_a_goal_that_nobody_can_meet_is_named(trace):
    assert "Even the oracle" not in run("simulate", trace, "-p", "target").stdout
    done = run("simulate", trace, "-p", "target", "--capacity", 100, "--goal", "70ms")
    assert "Even the oracle misses the goal" in done.stdout, done.stdout
    assert "need 80 ms" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["x.svg", "x.html"])
def test_plot(trace, tmp_path, name):
    done = run("simulate", trace, "-p", "target", "--plot", tmp_path / name, "--no-picture")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / name).read_text()
    assert "<svg" in text and "</svg>" in text and "target:" in text
    assert "█" not in done.stdout


def test_limits_of_a_configured_cluster(trace, tmp_path):
    config = tmp_path / "freshet.yaml"
    config.write_text("""
state: ./state
manager: { listen: 127.0.0.1:0 }
listen: [ { address: 127.0.0.1:0 } ]
routes: [ { cluster: web } ]
clusters:
  web: { scale: { from: rack, min: 3, max: 17, upper: 0.7, lower: 0.2 } }
pools:
  rack: { provider: static, servers: ["127.0.0.1:9"] }
""")
    done = run("simulate", trace, "-c", config, "-p", "threshold", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "at most 17 members" in done.stdout


@pytest.mark.parametrize("args, words", [
    ((), "is needed"),
    (("/nowhere.csv",), "No such file"),
    (("TRACE", "-p", "magic"), "expected threshold"),
    (("TRACE", "--startup", "soon"), "expected a duration"),
    (("EMPTY",), "expected at least two lines"),
])
def test_what_cannot_be_simulated_says_why(trace, tmp_path, args, words):
    empty = tmp_path / "empty"
    empty.write_text("")
    args = [{"TRACE": trace, "EMPTY": empty}.get(a, a) for a in args]
    done = run("simulate", *args)
    assert done.returncode != 0 and words in done.stderr


def test_decide_speaks_its_protocol():
    lines = ['{"type":"hello","version":1,"dt":5.0,"min":1,"max":80,"drain":30.0}']
    for i in range(200):
        lines.append(json.dumps({
            "type": "tick", "t": 5 * i, "rate": 1000 if i < 100 else 2000, "util": 0.5, "slow": 0.0,
            "dropped": 0, "queue": 0, "ready": 20 if i < 100 else 40, "starting": 0,
            "last_startup": 30}))
    lines.append("not a line")
    done = run("decide", input="\n".join(lines) + "\n")
    answers = [int(x) for x in done.stdout.split()]
    assert done.returncode == 0 and len(answers) == 201
    assert answers[99] < answers[199] and answers[200] == answers[199]
    assert "line 202" in done.stderr


def test_schedule_of_a_file_holds_by_the_recordings_clock(tmp_path):
    log = tmp_path / "rate.csv"
    log.write_text("# interval_s: 60\nseconds,rate\n"
                   + "".join("%d,50\n" % (60 * i) for i in range(240)))
    config = tmp_path / "freshet.yaml"
    window = "{ at: '0 9 * * *', for: 1h, zone: Europe/Berlin, min: 5 }"
    config.write_text("manager: { listen: 'unix:m.sock' }\nlisten: 127.0.0.1:0\n"
                      "routes: [{ cluster: web }]\n"
                      "clusters: { web: { members: ['127.0.0.1:9'],"
                      " scale: { from: p, max: 9, schedule: [%s] } } }\n"
                      "pools: { p: { provider: static, servers: ['127.0.0.1:8'] } }\n" % window)
    hours = {}
    for begin in ("2026-07-01T06:00:00Z", "2026-01-01T06:00:00Z", "2026-07-01T12:00:00Z"):
        done = run("simulate", log, "-c", config, "-p", "target", "--capacity", 100,
                   "--begin", begin)
        assert done.returncode == 0, done.stderr
        hours[begin[:13]] = table(done.stdout)["target"][1]
    # Nine o'clock there is 07:00 UTC in summer and 08:00 in winter; past noon it was before.
    assert hours["2026-07-01T06"] > hours["2026-07-01T12"] + 3
    assert abs(hours["2026-07-01T06"] - hours["2026-01-01T06"]) < 1
    done = run("simulate", log, "--begin", "yesterday")
    assert done.returncode == 2 and "--begin" in done.stderr


def test_a_goal_is_what_every_policy_steers_to(trace, tmp_path):
    config = tmp_path / "freshet.yaml"
    late = {}
    for slo in ("", "slo: 300ms,"):
        config.write_text("manager: { listen: 'unix:m.sock' }\nlisten: 127.0.0.1:0\n"
                          "routes: [{ cluster: web }]\n"
                          "clusters: { web: { members: ['127.0.0.1:9'], scale: { from: p, max: 90,"
                          " %s target: 93%%, upper: 0.98, lower: 0.6 } } }\n"
                          "pools: { p: { provider: static, servers: ['127.0.0.1:8'] } }\n" % slo)
        done = run("simulate", trace, "-c", config, "-p", "target", "-p", "threshold")
        assert done.returncode == 0, done.stderr
        late[slo] = table(done.stdout)
    for policy in ("target", "threshold"):
        assert late["slo: 300ms,"][policy][0] < late[""][policy][0] / 2, late
