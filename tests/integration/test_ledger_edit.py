# SPDX-License-Identifier: Apache-2.0
"""The ledger is a file that people may edit: good edits count at once, bad ones change nothing."""
import re

import pytest
import yaml

from harness import http1
from harness.box import hold, wait
from harness.load import Load
from harness.setup import Edge, cluster, ready, scale, static_pool


class System:
    def __init__(self, box):
        self.box = box
        self.base, self.one, self.two = (box.origin(n) for n in ("base", "one", "two"))
        self.edge = Edge(box, {"web": cluster([{"address": self.base.address, "id": "base"}],
                                              scale=scale("rack"))},
                         pools={"rack": static_pool(self.one, self.two)})
        assert box.run("cluster", "allocate", "web", "-c", self.edge.file).returncode == 0
        (self.first, entry), = ready(box, "web", 1).items()
        self.first_name = "one" if entry["address"] == self.one.address else "two"
        self.other = self.two if self.first_name == "one" else self.one
        self.path = box.folder / "state/ledger.yaml"

    def origins(self):
        return {http1.fetch(self.edge.address).get("X-Origin") for _ in range(12)}

    def edit(self, change):
        """As an editor does: a new file in the place of the old."""
        ledger = yaml.safe_load(self.path.read_text())
        change(ledger)
        self.put(yaml.safe_dump(ledger, sort_keys=False))

    def put(self, text):
        new = self.path.with_name("edited.yaml")
        new.write_text(text)
        new.rename(self.path)


def test_header_invites_to_edit(box):
    system = System(box)
    assert system.path.read_text().startswith("#")


def test_adding_a_server_by_hand(box):
    system = System(box)
    with Load(system.edge.address, 2) as load:
        system.edit(lambda ledger: ledger["clusters"]["web"]["servers"].append(
            {"id": "by-hand", "address": system.other.address, "pool": "rack", "state": "ready",
             "weight": 100}))
        wait("requests on all three", lambda: system.origins() == {"base", "one", "two"})
    load.assert_clean()
    assert set(ready(box, "web", 2)) == {system.first, "by-hand"}


def test_removing_a_server_by_hand(box):
    system = System(box)
    wait("requests on it", lambda: system.origins() == {"base", system.first_name})
    with Load(system.edge.address, 2) as load:
        system.edit(lambda ledger: ledger["clusters"]["web"]["servers"].clear())
        wait("no more requests on it", lambda: system.origins() == {"base"})
    load.assert_clean()
    ready(box, "web", 0)
    wait("it to be available again", lambda: len(
        box.ledger()["pools"]["rack"]["available"]) == 2)


def test_changing_a_weight_by_hand(box):
    system = System(box)

    def change(ledger):
        ledger["clusters"]["web"]["servers"][0]["weight"] = 0
    system.edit(change)
    wait("no more requests on it", lambda: system.origins() == {"base"})


def test_editing_in_place(box):
    """Not every editor renames: the same file, written over."""
    system = System(box)
    text = system.path.read_text()
    assert "weight: 100" in text
    system.path.write_text(text.replace("weight: 100", "weight: 0"))
    wait("no more requests on it", lambda: system.origins() == {"base"})


@pytest.mark.parametrize("change,words", [
    (lambda text: text + "\nnonsense: [1\n", ""),
    (lambda text: text + "\nnonsense: 1\n", "nonsense"),
    (lambda text: text.replace("state: ready", "state: raedy"), "raedy"),
    (lambda text: text.replace("weight: 100", "weight: heavy"), "heavy"),
    (lambda text: text.replace("pool: rack", "pool: rock"), "rock"),
    (lambda text: "just words", ""),
    (lambda text: re.sub(r"address: \"?127[^,]*", "address: nowhere", text), "nowhere"),
], ids=range(7))
def test_bad_edits_are_refused_with_line_and_column(box, change, words):
    system = System(box)
    wait("requests on both", lambda: system.origins() == {"base", system.first_name})
    text = system.path.read_text()
    bad = change(text)
    assert bad != text
    system.put(bad)
    found = wait("the refusal in the log", lambda: re.search(
        r"ledger\.yaml:\d+:\d+: [^\"]*", system.edge.process.log()))
    assert words in found.group(0) or words in system.edge.process.log()
    hold("the old content is in force", lambda: http1.fetch(system.edge.address).status == 200, 0.3)
    wait("requests on both still", lambda: system.origins() == {"base", system.first_name})
    # And it is still possible to go on: the next good edit counts.
    system.put(text.replace("weight: 100", "weight: 0"))
    wait("the good edit", lambda: system.origins() == {"base"})


def test_bad_ledger_at_the_start(box):
    system = System(box)
    system.edge.process.stop()
    text = system.path.read_text()
    system.put(text.replace("state: ready", "state: raedy"))
    done = box.run("edge", "-c", system.edge.file)
    assert done.returncode == 3
    assert re.search(r"ledger\.yaml:\d+:\d+:", done.stderr) and "raedy" in done.stderr
    assert "raedy" in system.path.read_text(), "what a person wrote is not lost"


def test_restart_keeps_the_membership(box):
    system = System(box)
    for _ in range(3):
        system.edge.process.stop()
        system.edge.start()
        wait("the same members", lambda: system.origins() == {"base", system.first_name})
        assert set(ready(box, "web", 1)) == {system.first}
