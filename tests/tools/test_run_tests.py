# SPDX-License-Identifier: Apache-2.0
"""The closing counts must see single cases, and a program that dies must count as a failure."""
import importlib.machinery
import importlib.util
import pathlib

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
