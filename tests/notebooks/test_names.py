"""The check of the solutions: what was not shown is seen, what was shown or is free is not."""

from __future__ import annotations

import pytest

from tests.notebooks import names
from tests.notebooks.samples import code, made, shows, solution, text


def told(*cells, before=()):
    books = [made("00-a.ipynb", *before), made("01-b.ipynb", *cells)]
    return names.complaints(books)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("me.studies()", "studies"),
        ("s4s.timeline(x)", "timeline"),
        ("from s4s_notebook import link", "link"),
        ("f = me.download\nawait f(1)", "download"),
        ("print([d.sha256 for d in x])", "sha256"),
        ("me.requests[0].retry_after", "retry_after"),
    ],
)
def test_a_name_of_ours_that_nothing_showed_is_seen(source, name):
    assert f"01-b.ipynb, cell 1: {name!r} was not shown before" in told(solution(source))


@pytest.mark.parametrize(
    "shown",
    [
        code("x = me.studies()"),
        text("Now `me.studies()` again."),
        text("```python\nme.studies()\n```"),
        code("# Your turn\nme.studies()", tags=["exercise"]),
    ],
)
def test_an_earlier_cell_or_backticks_show_it(shown):
    assert told(shown, solution("me.studies()")) == []
    assert told(solution("me.studies()"), before=[shown]) == []
    assert len(told(solution("me.studies()"), shown)) == 1, "what comes later does not help"


@pytest.mark.parametrize(
    "hidden",
    [solution("me.studies()"), text("The studies are listed."), code("# me.studies()\n1")],
)
def test_another_solution_plain_text_or_a_comment_does_not_show_it(hidden):
    assert "studies" in told(hidden, solution("me.studies()"))[-1]


def test_pandas_and_python_are_free():
    source = """
import pandas as pd
%matplotlib inline
frame = pd.DataFrame({"a": [1]}).groupby("a").size().plot(kind="bar")
for study in sorted(frame): print(study.upper())
def link(series): return series.values
link(3)
"""
    assert told(solution(source)) == []


def test_an_argument_of_our_function_is_to_be_shown_and_pandas_own_is_not():
    shown = code("s4s.Sandbox()\nx.sort_values()")
    source = "s4s.Sandbox(retry_after=3)\nx.sort_values(by='a')"
    assert told(shown, solution(source)) == [
        "01-b.ipynb, cell 2: the argument 'retry_after' was not shown before"
    ]
    assert told(shown, text("`Sandbox(retry_after=…)`"), solution(source)) == []


def test_a_column_is_to_be_shown_and_an_output_shows_it():
    for source in ("x['payment_amount']", "x.payment_amount"):
        assert told(solution(source)) == [
            "01-b.ipynb, cell 1: the column 'payment_amount' was not shown before"
        ]
        table = code("y", shows(text_html="<th>payment_amount</th>"))
        assert told(table, solution(source)) == []
        assert told(text("`payment_amount`"), solution(source)) == []


def test_names_of_all_kinds_are_ours():
    assert {"connect", "Sandbox", "dictionary", "verify", "fhir_url", "volume"} <= names.ours()
    assert not names.ours() & {"groupby", "append", "split", "items"}
    assert {"study_uid", "payment_amount"} <= names.columns()
