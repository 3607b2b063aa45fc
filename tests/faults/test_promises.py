"""Each promise names the cases behind it and the files where they are tried; all of it is true."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.__main__ import ALL

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"mark\.fault\(([^)]*)\)")


def promises() -> list[tuple[set[str], set[str]]]:
    """Cases and files of each row of the table, in order."""
    text = (ROOT / "notebooks/how-to/promises.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d) [^|]*\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)
    assert [number for number, _, _ in rows] == list("1234567")
    return [(set(cases.split()), set(files.split())) for _, cases, files in rows]


def test_there_is_a_row_for_each_promise():
    stated = re.findall(r"^\d\. \*\*", (ROOT / "SECURITY.md").read_text("utf-8"), re.MULTILINE)
    assert len(stated) == len(promises())


def test_each_case_is_tried_in_a_file_that_is_named_and_each_file_tries_one():
    for cases, files in promises():
        assert cases <= set(ALL)
        tried = set()
        for file in files:
            marks = MARK.findall((ROOT / "tests" / file).read_text("utf-8"))
            here = {case for mark in marks for case in re.findall(r"[A-I]\d\d", mark)}
            assert here & cases or file == "test_canary.py", file
            tried |= here
        assert cases <= tried
