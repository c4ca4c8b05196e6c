# SPDX-License-Identifier: Apache-2.0
"""docs/conformance/rfc9113.md names tests: each of them is there."""
import pathlib
import re

import pytest
import rows

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/conformance/rfc9113.md").read_text()
FILES = {path.name: path for folder in ("unit", "integration", "conformance", "fuzz")
         for path in (ROOT / "tests" / folder).rglob("*.[cp]*") if path.is_file()}
MEMBERS = (ROOT / "tests/integration/test_h2_members_misbehaving.py").read_text()


def test_what_the_page_names_is_there():
    named = set(re.findall(r"`([a-z0-9_]+\.(?:py|c))::([A-Za-z0-9_]+)`", PAGE))
    assert len(named) > 50
    missing = [f"{file}::{name}" for file, name in sorted(named)
               if file not in FILES or not re.search(rf"\b{name}\(", FILES[file].read_text())]
    assert missing == []


def test_the_rows_that_it_names_are_there():
    ours = set(re.findall(r'(?<!member\'s )row "([^"]+)"', PAGE))
    theirs = set(re.findall(r'member\'s row "([^"]+)"', PAGE))
    assert len(ours) > 100 and len(theirs) > 20
    assert ours - {row[0] for row in [*rows.FRAMES, *rows.HPACK, *rows.MESSAGES]} == set()
    assert [row for row in sorted(theirs) if f'"{row}"' not in MEMBERS] == []


@pytest.mark.parametrize("clause", [
    "3.2", "3.3", "3.4", "4.1", "4.2", "4.3", "4.3.1", "5.1", "5.1.1", "5.1.2", "5.2", "5.4.1",
    "5.4.2", "5.5", "6.1", "6.2", "6.3", "6.4", "6.5", "6.5.2", "6.5.3", "6.6", "6.7", "6.8", "6.9",
    "6.9.1", "6.9.2", "6.10", "7", "8.1", "8.1.1", "8.2", "8.2.1", "8.2.2", "8.2.3", "8.3", "8.3.1",
    "8.3.2", "8.4", "8.5", "8.6", "8.7", "9.2", "9.2.1", "9.2.2", "9.2.3"])
def test_no_clause_is_left_out(clause):
    lines = [line for line in PAGE.splitlines() if line.startswith(f"| {clause} |")]
    assert lines and all("::" in line or 'row "' in line or "*sent*" in line or "see " in line
                         for line in lines), lines
