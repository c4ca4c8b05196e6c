#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the public HTTP cache test-suite against the binary and writes its result table.

usage: run_suite.py --suite FOLDER --freshet BINARY [--id TEST] [--output FILE]
FOLDER holds node_modules with http-cache-tests; `make cache-conformance` sees to that. The suite's
own server is the member, its own client asks the edge. Exit code 1: a required test failed, or an
optimal one that is not among the named exceptions.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "integration")]
ARGUMENTS = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
ARGUMENTS.add_argument("--suite", type=pathlib.Path, required=True)
ARGUMENTS.add_argument("--freshet", required=True)
ARGUMENTS.add_argument("--id", default="")
ARGUMENTS.add_argument("--output", type=pathlib.Path)
OPTIONS = ARGUMENTS.parse_args()
os.environ["FRESHET"] = str(pathlib.Path(OPTIONS.freshet).resolve())

from exceptions import EXCEPTIONS  # noqa: E402
from harness.box import Box  # noqa: E402
from harness.setup import Edge, cluster  # noqa: E402

PACKAGE = (OPTIONS.suite / "node_modules" / "http-cache-tests").resolve()
LIST = """import tests from './tests/index.mjs'
import surrogate from './tests/surrogate-control.mjs'
console.log(JSON.stringify([...tests, surrogate]))"""
MARKS = {"pass": "pass", "fail": "**fail**", "optional": "not optimal", "yes": "yes", "no": "no",
         "setup": "**setup failed**", "dependency": "not reached", "untested": "browsers only"}


def node(*arguments, **env):
    return subprocess.run(["node", "--no-warnings", *arguments], cwd=PACKAGE, text=True,
                          env={**os.environ, **env}, stdout=subprocess.PIPE, check=True).stdout


def serve(folder):
    """The suite's server on a port of the kernel's choice."""
    env = {**os.environ, "npm_config_port": "0", "npm_config_protocol": "http",
           "npm_config_pidfile": str(folder / "pid")}
    log = folder / "server.log"
    process = subprocess.Popen(["node", "--no-warnings", "server/server.mjs"], cwd=PACKAGE,
                               env=env, stdout=log.open("w"), stderr=subprocess.STDOUT)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = re.search(r"^Listening on http://.*:(\d+)/", log.read_text(), re.M)
        if found:
            return process, int(found.group(1))
        time.sleep(0.02)
    process.kill()
    raise SystemExit(f"the suite's server did not start:\n{log.read_text()}")


def judge(tests, results, name):
    """As the suite's own page does it: its kinds, and what a test depends on."""
    test, result = tests[name], results.get(name)
    if result is None:
        return "untested"
    if any(judge(tests, results, other) not in ("pass", "yes")
           for other in test.get("depends_on", [])):
        return "dependency"
    if isinstance(result, list) and result[0] == "Setup":
        return "setup"
    good, bad = {"optimal": ("pass", "optional"), "check": ("yes", "no")}.get(
        test.get("kind"), ("pass", "fail"))
    return good if result is True else bad


def run(folder):
    box = Box()
    server, port = serve(folder)
    try:
        web = cluster(health=None, members=[f"127.0.0.1:{port}"], eject={"failures": 0})
        route = {"cluster": "web", "cache": {"surrogate-control": True}}
        edge = Edge(box, {"web": web}, routes=[route], workers=2, cache={"memory": "64MiB"})
        return node("cli.mjs", npm_config_base=f"http://{edge.address}",
                    npm_config_id=OPTIONS.id, npm_package_config_id="")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
        for complaint in box.close():
            print(complaint, file=sys.stderr)
        box.remove()


def table(suites, tests, results, marks):
    lines = []
    for suite in suites:
        lines += ["", f"## {suite['name']}", "", "| test | kind | result |", "|---|---|---|"]
        for test in suite["tests"]:
            name, mark = test["id"], marks[test["id"]]
            words = MARKS[mark]
            if mark in ("fail", "setup", "optional") and isinstance(results.get(name), list):
                words += ": " + results[name][1].replace("|", "\\|")
            lines.append(f"| `{name}` | {test.get('kind', 'required')} | {words} |")
    return lines


def page(suites, tests, results, marks):
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    lines = [(HERE / "page.md").read_text().rstrip().replace("VERSION", version), "",
             "| kind | tests | passed | not |", "|---|---|---|---|"]
    for kind in ("required", "optimal", "check"):
        of_kind = [marks[name] for name, test in tests.items()
                   if test.get("kind", "required") == kind and marks[name] != "untested"]
        good = sum(1 for mark in of_kind if mark in ("pass", "yes"))
        lines.append(f"| {kind} | {len(of_kind)} | {good} | {len(of_kind) - good} |")
    lines += ["", "## Not passed, and why", ""]
    lines += [f"- `{name}`: {why}" for name, why in EXCEPTIONS.items()
              if marks.get(name) not in ("pass", "yes", "untested", None)]
    return "\n".join(lines + table(suites, tests, results, marks)) + "\n"


def main():
    if OPTIONS.id:
        with tempfile.TemporaryDirectory() as folder:
            print(run(pathlib.Path(folder)))
        return 0
    suites = json.loads(node("--input-type=module", "-e", LIST))
    tests = {test["id"]: test for suite in suites for test in suite["tests"]}
    with tempfile.TemporaryDirectory() as folder:
        results = json.loads(run(pathlib.Path(folder)))
    marks = {name: judge(tests, results, name) for name in tests}
    bad = [name for name in tests if name not in EXCEPTIONS
           and (marks[name] in ("fail", "setup", "optional")
                or (marks[name] == "dependency" and tests[name].get("kind") != "check"))]
    for name in bad:
        print(f"{marks[name]:10} {tests[name].get('kind', 'required'):9} {name}: "
              f"{results.get(name)}")
    print({mark: list(marks.values()).count(mark) for mark in MARKS})
    if OPTIONS.output:
        OPTIONS.output.write_text(page(suites, tests, results, marks))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
