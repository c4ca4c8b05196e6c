# SPDX-License-Identifier: Apache-2.0
"""One edge for all rows; its member answers each path as the row says, in turn."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "integration")]

from harness.box import shared_box  # noqa: E402
from harness.origin import Answer, Origin  # noqa: E402
from harness.setup import Edge, cluster  # noqa: E402


class Script:
    """What the member says to each path, and what it was asked."""

    def __init__(self, box):
        self.steps, self.asked = {}, {}
        self.member = Origin("m", self.answer)
        box.closers.append(self.member.stop)
        web = cluster([self.member], health=None, eject={"failures": 0})
        self.edge = Edge(box, {"web": web}, cache={"memory": "16MiB"})

    def answer(self, request):
        path = request.path.split("?")[0]
        asked = self.asked.setdefault(path, [])
        asked.append(request)
        steps = self.steps[path]
        step = steps[min(len(asked), len(steps)) - 1]
        if step is None or isinstance(step, bytes):
            return step
        status, fields, body = step
        return Answer(status, body, list(fields))


@pytest.fixture(scope="session")
def script():
    with shared_box() as box:
        yield Script(box)
