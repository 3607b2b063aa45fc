"""What the browse panel shows of a frame, and the line of Python that must give the same."""

from __future__ import annotations

import pytest

from s4s_notebook.widgets.browse.rows import (
    BENEFITS,
    PAGE,
    STUDIES,
    Query,
    filtered,
    line_of_code,
    months,
    page,
    totals,
)
from s4s_notebook.wording import clock, safe_text, size
from tests.browser.fakes import FakeRecord, claim, study


@pytest.fixture(scope="module")
def me():
    record = [study(n, f"Chest {n}", f"20{n % 20 + 10}-03-0{n % 9 + 1}") for n in range(120)]
    record[3]["modalityList"] = [{"code": "OCT"}]
    record[5]["modalityList"] = [{"code": "SR"}, {"code": "CT"}]
    record[7].pop("modalityList")
    record[9].pop("started")
    record += [
        claim(n, "PDE" if n % 3 else "INPATIENT", f"2019-{n % 12 + 1:02}-01") for n in range(40)
    ]
    record[-1]["payment"]["amount"]["code"] = "CAD"
    return FakeRecord(record)


QUERIES = [
    Query(),
    Query(kind="CT"),
    Query(kind="CT", since="2015-01-01", until="2020-01-01"),
    Query(text="chest 1"),
    Query(text="\"quoted' \\d+ [", kind="MR"),
    Query(sort="description", descending=True),
    Query(kind="CT", text="chest", since="2012-01-01", sort="started_date"),
]


@pytest.mark.parametrize("query", QUERIES)
def test_the_line_of_code_gives_the_same_rows(me, query):
    rows = filtered(me.studies(), STUDIES, query)
    same = eval(line_of_code("me", STUDIES, query), {"me": me})
    assert list(same.study_uid) == list(rows.study_uid)


def test_ct_is_not_oct(me):
    uids = set(filtered(me.studies(), STUDIES, Query(kind="CT")).study_uid)
    assert "1.2.840.99.3" not in uids
    assert "1.2.840.99.5" in uids


def test_what_the_browser_sends_is_not_trusted():
    sent = {"text": 5, "kind": None, "since": "now", "until": "2020-13-01", "sort": ["a"]}
    query = Query.from_browser(sent)
    assert (query.since, query.until) == ("", "")
    assert line_of_code("me", STUDIES, Query(sort="__class__")) == "me.studies()"


def test_a_page_is_text_of_bounded_length(me):
    frame = me.studies().assign(description="x" * 10_000)
    rows = page(frame, STUDIES, 100)
    assert len(rows) == 20
    assert len(page(frame, STUDIES, 0)) == PAGE
    assert all(isinstance(text, str) and len(text) <= 120 for row in rows for text in row)


def test_sums_keep_currencies_apart_and_months_have_no_gaps(me):
    sums = totals(me.benefits())
    assert {row[4] for row in sums} == {"USD", "CAD"}
    every = months(me.benefits())
    assert [month for month, _ in every] == [f"2019-{month:02}" for month in range(1, 13)]
    assert sum(amount for _, amount in every) == sum(range(39))
    assert months(me.benefits().iloc[:0]) == []
    assert totals(me.benefits().iloc[:0]) == []
    assert line_of_code("me", BENEFITS, Query()) == "me.benefits()"


@pytest.mark.fault("E10")
def test_text_that_hides_or_turns_other_text_is_shown_escaped():
    assert safe_text("a\u202eb\x1b[31mc\x00\n d") == r"a\u202eb\u001b[31mc\u0000 d"
    assert safe_text("x" * 500, 10) == "x" * 9 + "…"
    assert safe_text("\ud800") == r"\ud800"


def test_a_countdown_is_never_early():
    assert [clock(each) for each in (0.1, 59.9, 60, 271.2, 3900)] == [
        "0:01",
        "1:00",
        "1:00",
        "4:32",
        "1:05:00",
    ]
    assert [size(each) for each in (5, 1500, 31_500_000, 5e9)] == [
        "5 bytes",
        "1.5 kB",
        "31.5 MB",
        "5.0 GB",
    ]
