"""The workshop's own texts, checked: nothing of what the checks look for is there."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.notebooks import form, links, outputs
from tests.notebooks.books import CHAPTERS, FOLDER, REPO, workshop

README = (FOLDER / "README.md").read_text("utf-8")
ROW = re.compile(r"^\| (\d\d) \| \[([^\]]+)\]\(([^)]+)\) \| (\d+) \| (.+) \|$", re.MULTILINE)
PLAN = re.compile(r"^\| (\d+):(\d\d) \| (\d+) \| (.+) \|$", re.MULTILINE)


def test_notebooks_are_in_form():
    assert [book.number for book in workshop()] == [*CHAPTERS]
    assert form.complaints(workshop()) == []


def test_saved_outputs_may_be_published():
    assert outputs.complaints(workshop()) == []


def test_links_lead_somewhere():
    assert links.complaints() == []


@pytest.mark.parametrize("book", workshop(), ids=lambda book: book.number)
def test_the_instructors_table_says_what_the_notebook_says(book):
    [(title, target, minutes)] = [row[1:4] for row in ROW.findall(README) if row[0] == book.number]
    assert target == book.name
    first = book.cells[0].source
    assert first.splitlines()[0] == f"# {title}"
    assert form.TIME.search(first)[1] == minutes


def test_the_plan_of_half_a_day_adds_up():
    minutes = {number: int(time) for number, _, _, time, _ in ROW.findall(README)}
    rows = PLAN.findall(README)
    clock = timedelta(hours=9)
    for hour, minute, lasts, what in rows:
        assert timedelta(hours=int(hour), minutes=int(minute)) == clock, what
        clock += timedelta(minutes=int(lasts))
        whole = re.match(r"Notebook (\d\d)[.,](?! (?:shown|up to))", what)
        assert whole is None or minutes[whole[1]] == int(lasts), what
    assert clock == timedelta(hours=13), "four hours"
    assert sum(what == "Break." for *_, what in rows) == 2


def test_the_readme_lists_the_same_notebooks_and_pages():
    readme = (REPO / "README.md").read_text("utf-8")
    listed = re.findall(r"^- (\d\d) \[([^\]]+)\]\(notebooks/([^)]+)\)$", readme, re.MULTILINE)
    assert listed == [row[:3] for row in ROW.findall(README)]
    for page in (FOLDER / "how-to").glob("*.md"):
        assert f"(notebooks/how-to/{page.name})" in readme
