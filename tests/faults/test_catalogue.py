"""The page of the fault catalogue and the marks in the tests say the same."""

from __future__ import annotations

import pytest

from tests.faults import __main__ as command
from tests.faults import catalogue


def test_the_page_names_each_case_once_and_in_order():
    headings = [line[4:] for line in catalogue.PAGE.read_text("utf-8").splitlines()
                if line.startswith("### ")]  # fmt: skip
    assert headings == sorted(set(headings)) == [*catalogue.cases()]
    assert len(headings) == 141


def test_the_page_names_the_tests_that_are_marked():
    page, tests = catalogue.cases(), catalogue.marked()
    assert set(tests) - set(page) == set(), "a mark that no case of the page explains"
    differ = [case for case in page if page[case] != tests.get(case, set())]
    assert differ == [], "write the page anew: python -m tests.faults --write"


@pytest.mark.parametrize(
    ("ends", "proven", "failed"),
    [(["passed"], True, False), (["passed", "failed"], False, True), (["skipped"], False, False)],
)
def test_a_case_is_proven_when_one_test_passed_and_none_failed(ends, proven, failed):
    passed, broken, unproven = command.report({"A01": ends})
    assert ("A01" in passed, "A01" in broken) == (proven, failed)
    assert ("A01" in unproven) == (not proven and not failed)


def test_ten_cases_are_drawn_by_the_commit_alone():
    commit = "0123456789abcdef"
    assert command.draw(commit) == command.draw(commit)
    assert len(set(command.draw(commit))) == 10
    assert command.draw(commit) != command.draw("fedcba9876543210")
    drawn = {case for number in range(200) for case in command.draw(str(number))}
    assert drawn == set(command.ALL)
