"""Each promise of SECURITY.md names the cases behind it, and each of these has a test."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults import catalogue

ROOT = Path(__file__).resolve().parents[2]


def promises() -> list[set[str]]:
    """Return the cases of each row of the table, in order."""
    text = (ROOT / "notebooks/how-to/promises.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d) [^|]*\|([^|]*)\|$", text, re.MULTILINE)
    assert [number for number, _ in rows] == list("1234567")
    return [set(cases.split()) for _, cases in rows]


def test_there_is_a_row_for_each_promise():
    stated = re.findall(r"^\d\. \*\*", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE)
    assert len(stated) == len(promises())


def test_each_case_behind_a_promise_has_tests():
    tests = catalogue.marked()
    for cases in promises():
        assert cases
        assert {case for case in cases if not tests.get(case)} == set()
