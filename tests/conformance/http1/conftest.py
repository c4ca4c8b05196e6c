# SPDX-License-Identifier: Apache-2.0
"""One edge for all rows, with persistent connections to one recording origin."""
import contextlib
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "integration")]

from harness.box import shared_box  # noqa: E402
from harness.setup import Edge, cluster  # noqa: E402

import rows_run  # noqa: E402
import table  # noqa: E402
import wire  # noqa: E402


@pytest.fixture(scope="session")
def suite():
    with shared_box() as box, contextlib.closing(wire.Wire()) as line:
        web = cluster(health=None, members=[f"127.0.0.1:{line.port}"], eject={"failures": 0},
                      **{"retry-budget": 1})
        edge = Edge(box, {"web": web}, routes=[{"cluster": "web", "body-max": "1MiB"}],
                    cache={"memory": "16MiB"}, workers=2)
        host, port = edge.address.split(":")
        suite = rows_run.Suite(line, (host, int(port)), dict(table.tables()))
        suite.carry()
        yield suite
        edge.process.stop()
