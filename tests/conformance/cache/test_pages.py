# SPDX-License-Identifier: Apache-2.0
"""docs/conformance/rfc9111.md names tests: each of them is there."""
import pathlib
import re

import pytest
from test_rules import ROWS

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/conformance/rfc9111.md").read_text()
FILES = {path.name: path for folder in ("unit", "integration", "conformance", "fuzz")
         for path in (ROOT / "tests" / folder).rglob("*.[cp]*") if path.is_file()}


def test_what_the_page_names_is_there():
    named = set(re.findall(r"`([a-z0-9_]+\.(?:py|c))::([A-Za-z0-9_]+)`", PAGE))
    assert len(named) > 50
    missing = [f"{file}::{name}" for file, name in sorted(named)
               if file not in FILES or not re.search(rf"\b{name}\(", FILES[file].read_text())]
    assert missing == []
    rows = set(re.findall(r'row "([^"]+)"', PAGE))
    assert len(rows) > 20
    assert [row for row in sorted(rows) if not any(r[0].startswith(row) for r in ROWS)] == []


@pytest.mark.parametrize("clause", [
    "1.2.2", "3", "3.1", "3.2", "3.3", "3.4", "3.5", "4", "4.1", "4.2", "4.2.1", "4.2.2", "4.2.3",
    "4.2.4", "4.3.1", "4.3.2", "4.3.3", "4.3.4", "4.3.5", "4.4", "5.1", "5.2", "5.2.1.5", "5.2.2.2",
    "5.2.2.3", "5.2.2.4", "5.2.2.5", "5.2.2.7", "5.2.2.8", "5.2.2.9", "5.2.2.10", "5.2.3", "5.3",
    "5.4"])
def test_no_clause_is_left_out(clause):
    lines = [line for line in PAGE.splitlines() if line.startswith(f"| {clause} |")]
    assert lines and all("::" in line or 'row "' in line or "Where we differ" in line
                         for line in lines), lines
