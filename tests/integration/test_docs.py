# SPDX-License-Identifier: Apache-2.0
"""What the documentation says is what the program does."""
import pathlib
import re

import pytest
import yaml
from lxml import etree

from harness import http1
from harness.box import ROOT
from harness.grammar import NAMESPACE, Validator
from harness.setup import Edge, cluster, scale, static_pool

DOCS = pathlib.Path(ROOT) / "docs"


def sections():
    """docs/commands.md as command -> its section."""
    parts = re.split(r"^## freshet ([\w-]+)$", (DOCS / "commands.md").read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_every_command_is_documented_and_no_other(box):
    listed = re.findall(r"^  ([a-z-]+) +\S", box.run("help").stdout, re.M)
    assert "edge" in listed
    assert set(sections()) == set(listed) - {"freshet"} | {"demo-server"}


def test_every_option_is_documented_and_no_other(box):
    for command, section in sections().items():
        help_text = box.run("help", command).stdout.partition("\noptions:\n")[2]
        there = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", help_text, re.M))
        there |= set(re.findall(r"^  (-\w), --", help_text, re.M))
        rows = "\n".join(re.findall(r"^- (`[^:]*):", section, re.M))
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rows)) == there, command


def test_every_stanza_shown_is_valid():
    shown = re.findall(r"```xml\n(.*?)```", (DOCS / "stream.md").read_text(), re.S)
    assert len(shown) > 8
    for text in shown:
        text = text.strip()
        if "xmlns" not in text.partition(">")[0]:
            text = f'<stream xmlns="{NAMESPACE}" version="1" role="edge" id="e">{text}</stream>'
        assert Validator().problem(etree.fromstring(text.encode())) is None, text


def test_every_metric_is_documented_and_no_other(box):
    member, spare = box.origin("member"), box.origin("spare")
    edge = Edge(box, {"web": cluster([member], scale=scale("rack"))},
                pools={"rack": static_pool(spare)}, role="run", cache={"memory": "8MiB"})
    manager = f"unix:{box.folder}/state/manager.sock"
    named = []
    for address in (edge.admin(), manager):
        named += re.findall(r"^# TYPE (\S+)", http1.fetch(address, "/metrics").text, re.M)
    assert len(named) == len(set(named)), "a name twice, which Prometheus refuses"
    told = re.findall(r"^\| `(freshet_\w+)` \|", (DOCS / "operations.md").read_text(), re.M)
    assert sorted(told) == sorted(named)


def test_the_tour_loads(box):
    (text,) = re.findall(r"```yaml\n(.*?)```", (pathlib.Path(ROOT) / "README.md").read_text(), re.S)
    box.write("freshet.yaml", text.replace('"build/freshet"', '"/bin/true"'))
    done = box.run("check", "-c", "freshet.yaml")
    assert done.returncode == 0, done.stderr


def shown_settings():
    for page in sorted(DOCS.glob("*.md")):
        for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S):
            if "..." not in text:  # cut short, and seen to be
                yield page.name, text


@pytest.mark.parametrize("page,text", shown_settings())
def test_every_piece_of_a_file_that_is_shown_is_taken(box, page, text):
    """With what it leaves out filled in. Certificates and folders that it names may be missing."""
    settings = yaml.safe_load(text)
    settings.setdefault("listen", "127.0.0.1:8080")
    clusters = settings.setdefault("clusters", {"web": {"members": ["127.0.0.1:9"]}})
    pools = settings.setdefault("pools", {})
    for one in clusters.values():
        for name in [one.get("scale", {}).get("from", [])]:
            for pool in [name] if isinstance(name, str) else name:
                pools.setdefault(pool, static_pool("127.0.0.1:9"))
    settings.setdefault("routes", [{"cluster": next(iter(clusters))}])
    box.config(settings, "shown.yaml")
    done = box.run("check", "-c", "shown.yaml")
    for line in done.stderr.splitlines():
        if line.startswith("shown.yaml:") and ": warning: " not in line:
            assert "No such file" in line, f"{page}: {line}"
    assert done.returncode == 0 or "No such file" in done.stderr, done.stderr
