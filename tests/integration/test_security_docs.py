# SPDX-License-Identifier: Apache-2.0
"""docs/security.md, command by command, with both machines on one."""
import pathlib
import re

import yaml

from harness.box import ROOT, wait
from harness.setup import admin_json

TEXT = (pathlib.Path(ROOT) / "docs/security.md").read_text()


def blocks():
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.S)]


def commands():
    """The commands of the tour, in order."""
    tour = TEXT.partition("## Two machines")[2].partition("\n## ")[0]
    return [line.strip().partition("  #")[0].split() for line in
            re.findall(r"^    (freshet .*)$", tour, re.M)]


def test_two_machines(box):
    address = f"127.0.0.1:{box.port()}"
    second = box.folder / "second"
    second.mkdir()

    def here(words, token=""):
        return [w.replace("10.0.0.1:7400", address).replace("10.0.0.1", "127.0.0.1")
                 .replace("TOKEN", token) for w in words[1:]]
    rows = commands()
    assert [r[1:3] for r in rows] == [
        ["pki", "init"], ["pki", "issue"], ["manager", "&"], ["pki", "token"],
        ["join", "--manager"], ["pki", "renew"], ["join", "--renew"]]
    manager = blocks()[0]
    manager["manager"]["listen"] = address
    box.config(manager)
    for row in rows[:2]:
        assert box.run(*here(row)).returncode == 0
    process = box.start("manager", name="manager")
    box.serving(address, process)
    token = box.run(*here(rows[3])).stdout.strip()
    assert token.startswith("fj1.")
    done = box.run(*here(rows[4], token), "--dir", "second/pki")
    assert done.returncode == 0, done.stderr
    edge = blocks()[1]
    edge["manager"]["connect"] = address
    edge["manager"]["tls"] = {key: "./second/" + path for key, path in
                              edge["manager"]["tls"].items()}
    edge.update({"state": "./second/state", "listen": f"127.0.0.1:{box.port()}",
                 "routes": [{"cluster": "web"}],
                 "clusters": {"web": {"members": ["127.0.0.1:9"]}}})
    box.config(edge, "second.yaml")
    box.start("edge", "-c", "second.yaml", name="second")

    def connected():
        admin = f"unix:{second}/state/admin.sock"
        return admin_json(admin)["manager_connected"]
    wait("the second machine", connected)
    assert box.run("why", "web", "-c", "second.yaml").returncode == 0
    assert box.run("why", "web").returncode == 0
    assert box.run(*here(rows[5])).returncode == 0
    assert box.run(*here(rows[6]), "-c", "second.yaml").returncode == 0
    assert connected()


def test_the_other_examples_are_read(box):
    for block in blocks()[2:]:
        settings = {"listen": "127.0.0.1:0", "routes": [{"respond": 204}], **block}
        if "peers" in block.get("manager", {}):
            settings["manager"] = {**block["manager"], "listen": "127.0.0.1:0"}
        box.config(settings)
        said = box.run("check", "--role", "run")
        words = said.stdout + said.stderr
        assert "unknown key" not in words and "expected one of" not in words, words
