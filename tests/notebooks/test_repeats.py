"""The check for repeated text: what another notebook has said is seen once, the form is not."""

from __future__ import annotations

import pytest

from tests.notebooks import repeats
from tests.notebooks.samples import code, made, text

SAID = "A study is everything that was made for one order on one visit to the clinic."


def told(*second):
    first = made("01-a.ipynb", text("# One"), text(f"First. {SAID}"))
    return repeats.complaints([first, made("02-b.ipynb", text("# Two"), *second)])


def test_a_sentence_of_another_notebook_is_seen_once():
    [complaint] = told(text(f"Remember. {SAID.upper()} So it is."))
    assert complaint == (
        "02-b.ipynb, cell 2 repeats 01-a.ipynb, cell 2: a study is everything that was made for …"
    )
    assert len(told(text(SAID), text("Then."), text(SAID))) == 2


@pytest.mark.parametrize(
    "cell",
    [
        text("A study is everything that was made."),
        text(f"```\n{SAID}\n```"),
        text(f"# {SAID}"),
        code(SAID),
        text("*(The solution is folded below: press the bar to unfold.)*"),
    ],
)
def test_a_few_words_code_headings_and_the_form_may_be_the_same(cell):
    form = text("*(The solution is folded below: press the bar to unfold.)*")
    assert told(cell) == []
    books = [made("01-a.ipynb", text("#"), form), made("02-b.ipynb", text("#"), form)]
    assert repeats.complaints(books) == []


def test_a_notebook_may_come_back_to_its_own_words():
    book = made("01-a.ipynb", text("# One"), text(SAID), text(SAID))
    assert repeats.complaints([book]) == []
