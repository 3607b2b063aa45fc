"""Retry-After and HTTP-dates, read strictly."""

from __future__ import annotations

import calendar
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook.errors import RetryAfterTooLong
from s4s_notebook.http.retry_after import parse_date, parse_retry_after

NOW = float(calendar.timegm((1994, 11, 6, 8, 49, 0)))


def parse(*values: str, now: float = NOW, date: str | None = None) -> float | None:
    return parse_retry_after(values, now=now, date=date)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("300", 300.0), ("0", 0.0), ("1.5", 1.5), (" 7\t", 7.0), ("007", 7.0), ("0.25", 0.25)],
)
def test_seconds(value: str, seconds: float) -> None:
    assert parse(value) == seconds


@pytest.mark.fault("C02")
@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_date_forms_mean_utc(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse(value) == 37.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_two_digit_year_is_never_far_ahead() -> None:
    in_2026 = float(calendar.timegm((2026, 1, 1, 0, 0, 0)))
    assert parse_date("Sunday, 06-Nov-94 08:49:37 GMT", now=in_2026) == NOW + 37
    assert parse_date("Friday, 06-Nov-26 00:00:00 GMT", now=in_2026) == calendar.timegm(
        (2026, 11, 6, 0, 0, 0)
    )


@pytest.mark.fault("C03")
def test_a_past_date_means_now() -> None:
    assert parse("Sun, 06 Nov 1994 08:00:00 GMT") == 0.0


@pytest.mark.fault("C04")
@pytest.mark.parametrize(
    "values",
    [
        (),
        ("",),
        ("-1",),
        ("1e3",),
        ("1_000",),
        ("٣",),
        ("0x10",),
        ("inf",),
        ("nan",),
        (".5",),
        ("soon",),
        ("Sun, 06 Nov 1994 08:49:37",),
        ("Sun, 06 Nov 1994 08:49:37 CET",),
        ("Sun, 31 Feb 1994 08:49:37 GMT",),
        ("Sun, 06 Now 1994 08:49:37 GMT",),
        ("Sun, 06 Nov 1994 24:49:37 GMT",),
        ("Sun, 06 Nov 1994 08:60:37 GMT",),
        ("Sun, 06 Nov 1994 08:49:61 GMT",),
        ("Sun, 06 Nov 0000 08:49:37 GMT",),
        ("1994-11-06T08:49:37Z",),
        ("300\n",),
    ],
)
def test_what_cannot_be_read_counts_as_absent(values: tuple[str, ...]) -> None:
    assert parse(*values) is None


@pytest.mark.fault("K06")
@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (("120", "60"), 120.0),
        (("60", "120"), 120.0),
        (("120", "soon"), 120.0),
        (("120, 60",), 120.0),
        (("1 2",), 2.0),
        (("300;",), 300.0),
        (("300s",), 300.0),
        (("300 seconds",), 300.0),
        (("5 min",), 300.0),
        (("1h; busy",), 3600.0),
        (("300 (maintenance)",), 300.0),
        (('"300"',), 300.0),
        (("+5",), 5.0),
        (("5.",), 5.0),
        (("delay=300",), 300.0),
        (("Sun, 06 Nov 1994 08:49:37 UTC",), 37.0),
        (("Sun, 06 Nov 1994 08:49:37 +0000",), 37.0),
        (("Sun, 06 Nov 1994 09:49:37 +0100",), 37.0),
        (("Sun, 06 Nov 1994 08:49:37 GMT", "9"), 37.0),
        (("90, Sun, 06 Nov 1994 08:49:37 GMT",), 90.0),
        (("Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:47 GMT",), 47.0),
    ],
)
def test_of_several_readings_the_longest_counts(values: tuple[str, ...], seconds: float) -> None:
    assert parse(*values) == seconds


@pytest.mark.fault("K06")
@pytest.mark.parametrize(
    "values",
    [("soon", "later"), ("Wed, 21 Oct 2026 07:28:00 CEST",), ("-300",), ("3e2;",), ("(300)",)],
)
def test_nothing_readable_in_several_values_counts_as_absent(values: tuple[str, ...]) -> None:
    assert parse(*values) is None


@pytest.mark.fault("C05")
@pytest.mark.parametrize(
    "value", ["9" * 30, "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "1" + "0" * 9 + ".5"]
)
def test_an_absurd_wait_is_an_error_with_its_value(value: str) -> None:
    with pytest.raises(RetryAfterTooLong) as caught:
        parse(value)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 9e8
    assert value[:30] in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.fault("C06")
@pytest.mark.parametrize("wrong", [-86400.0, 0.0, 86400.0, 400 * 86400.0])
def test_a_date_is_relative_to_the_answers_own_date(wrong: float) -> None:
    sent, target = formatdate(NOW, usegmt=True), formatdate(NOW + 300, usegmt=True)
    assert parse(target, now=NOW + wrong, date=sent) == 300.0


def test_an_unreadable_date_header_leaves_the_local_clock() -> None:
    assert parse("Sun, 06 Nov 1994 08:49:37 GMT", date="yesterday") == 37.0


@pytest.mark.fault("C05")
@given(st.lists(st.text(max_size=60), max_size=2), st.none() | st.text(max_size=40))
def test_any_text_gives_seconds_or_nothing_or_our_error(
    values: list[str], date: str | None
) -> None:
    try:
        seconds = parse_retry_after(values, now=NOW, date=date)
    except RetryAfterTooLong:
        return
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_every_date_comes_back_as_it_was_written(moment: int) -> None:
    assert parse_date(formatdate(moment, usegmt=True), now=NOW) == moment
    assert parse_date(time.asctime(time.gmtime(moment)), now=NOW) == moment


@given(st.integers(min_value=0, max_value=10**8))
def test_every_number_of_seconds_comes_back(seconds: int) -> None:
    assert parse(str(seconds)) == seconds
