# SPDX-License-Identifier: Apache-2.0
"""The closing counts must see single cases, and a program that dies must count as a failure."""
import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys

PATH = pathlib.Path(__file__).resolve().parents[2] / "tools/run-tests"
loader = importlib.machinery.SourceFileLoader("run_tests", str(PATH))
run_tests = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
loader.exec_module(run_tests)

TWO_GOOD = ("[==========] Running 2 test(s).\n[ RUN      ] one\n[       OK ] one\n"
            "[ RUN      ] two\n[       OK ] two\n[==========] 2 test(s) run.\n"
            "[  PASSED  ] 2 test(s).\n")
ONE_BAD = ("[==========] Running 2 test(s).\n[ RUN      ] one\n[       OK ] one\n"
           "[ RUN      ] two\n[==========] 2 test(s) run.\n[  PASSED  ] 1 test(s).\n")
ONE_BAD_ERR = ("[  ERROR   ] --- 0x1 != 0x2\n[   LINE   ] --- x.c:1: error: Failure!\n"
               "[  FAILED  ] two\n[  FAILED  ] tests: 1 test(s), listed below:\n"
               "[  FAILED  ] two\n\n 1 FAILED TEST(S)\n")


def test_cases_are_counted_one_by_one():
    assert run_tests.count_cases(TWO_GOOD, "", True) == (2, 0, 0)


def test_a_failed_case_counts_once():
    assert run_tests.count_cases(ONE_BAD, ONE_BAD_ERR, False) == (1, 1, 0)


def test_a_program_that_dies_is_a_failure():
    assert run_tests.count_cases("[ RUN      ] one\n", "AddressSanitizer", False) == (0, 1, 0)
    assert run_tests.count_cases(TWO_GOOD, "LeakSanitizer", False) == (2, 1, 0)


def test_a_program_without_cases_is_one():
    assert run_tests.count_cases("replayed 12 seeds\n", "", True) == (1, 0, 0)
    assert run_tests.count_cases("", "", False) == (0, 1, 0)


def test_skipped_cases():
    assert run_tests.count_cases("[ RUN      ] a\n[  SKIPPED ] a\n", "", True) == (0, 0, 1)


def test_the_closing_line():
    counts = run_tests.Counts()
    counts.add(3, 1, 0)
    assert str(counts) == "3 passed, 1 failed"
    counts.add(0, 0, 2)
    assert str(counts) == "3 passed, 1 failed, 2 skipped"


# ---- the two runs of pytest, over a toy tree ----

GOOD = "def test_good():\n    pass\n"
ALONE = "import pytest\n@pytest.mark.alone\ndef test_alone():\n    pass\n"
DIES = "import os\ndef test_first():\n    pass\ndef test_dies():\n    os._exit(9)\n"


def run_toy(folder, files, *arguments):
    """The exit code and what it printed."""
    for place in ("tools", "build", "tests/tools"):
        (folder / place).mkdir(parents=True)
    shutil.copy(PATH, folder / "tools/run-tests")
    for name, text in files.items():
        (folder / f"tests/tools/test_{name}.py").write_text(text)
    process = subprocess.Popen([sys.executable, folder / "tools/run-tests", folder / "build",
                                "--only", "integration", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        said, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, said


def side_by_side():
    return len(os.sched_getaffinity(0)) > 1


def test_both_runs_count_and_leave_their_reports(tmp_path):
    code, said = run_toy(tmp_path, {"a": GOOD, "b": GOOD, "c": ALONE})
    assert code == 0 and said.endswith("\n3 passed, 0 failed\n"), said
    reports = sorted(path.name for path in (tmp_path / "build").iterdir())
    assert reports == ["run-tests-pytest-alone.xml"] * side_by_side() + ["run-tests-pytest.xml"]


def test_no_test_need_be_alone(tmp_path):
    code, said = run_toy(tmp_path, {"a": GOOD, "b": GOOD})
    assert code == 0 and said.endswith("\n2 passed, 0 failed\n"), said


def test_a_worker_that_dies_ends_the_run(tmp_path):
    two = GOOD + GOOD.replace("good", "more")
    files = {"a": DIES, **{name: two for name in "bcdefg"}}
    code, said = run_toy(tmp_path, files)
    assert code == 1 and said.endswith(" passed, 1 failed\n"), said


def test_a_run_that_finds_nothing_is_no_success(tmp_path):
    """That of the many, though one alone is well."""
    code, said = run_toy(tmp_path, {"a": ALONE if side_by_side() else ""})
    assert code == 1 and said.endswith(" passed, 1 failed\n"), said
    assert "run-tests: pytest found no test" in said


def test_arguments_choose_and_may_choose_nothing(tmp_path):
    code, said = run_toy(tmp_path, {"a": GOOD, "c": ALONE}, "-k", "alone")
    assert code == 0 and said.endswith("\n1 passed, 0 failed\n"), said
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["run-tests-pytest.xml"]
    code, said = run_toy(tmp_path / "none", {"a": GOOD}, "-k", "nobody")
    assert code == 1 and "run-tests: no test ran" in said, said
