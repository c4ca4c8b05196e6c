# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests: a box for each test, a deadline, logs beside a failure."""
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness.box import BINARY, Box  # noqa: E402
from harness.pki import Authority  # noqa: E402

DEADLINE_S = 120


def pytest_configure(config):
    config.addinivalue_line("markers", "deadline(seconds): a test that may take longer")
    config.addinivalue_line("markers", "alone: needs the machine, or the build, for itself")


def pytest_collection_modifyitems(items):
    # Basics first, so that a broken build fails in a sensible place.
    order = ["test_cli", "test_proxy", "test_cache", "test_stream", "test_runtime", "test_mission",
             "test_ledger_edit", "test_manager_away", "test_crash"]
    items.sort(key=lambda item: order.index(item.path.stem) if item.path.stem in order else -1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())
    box = item.funcargs.get("box") if hasattr(item, "funcargs") else None
    if call.when == "call" and outcome.get_result().failed and box is not None:
        outcome.get_result().sections.append(("logs", box.logs()))


@pytest.fixture(autouse=True)
def deadline(request):
    marker = request.node.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEADLINE_S

    def late(*_):
        raise AssertionError(f"the test took longer than {seconds} s")
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def box(request):
    assert os.access(BINARY, os.X_OK), f"{BINARY} is not there: build it first"
    box = Box()
    yield box
    complaints = box.close()
    called = getattr(request.node, "report_call", None)
    failed = called is None or called.failed
    logs = box.logs() if complaints and not failed else ""
    if not os.environ.get("FRESHET_TEST_KEEP"):
        box.remove()
    assert not complaints, "\n".join(complaints) + "\n" + logs


@pytest.fixture
def authority(box):
    return Authority(box.folder)
