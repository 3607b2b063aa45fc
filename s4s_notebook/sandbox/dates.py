"""FHIR's date search: every prefix, every precision, bare dates and times without a zone.

A date is a range: ``2016-04`` is the whole month. Comparisons follow STU3, search §2.21.1.2.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_SHAPE = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d{2})(-(?P<day>\d{2})"
    r"(T(?P<hour>\d{2}):(?P<minute>\d{2})(:(?P<second>\d{2})(\.(?P<part>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?)?",
    re.ASCII,
)
_MICRO = 1_000_000


class BadDateError(ValueError):
    """Not a FHIR date; the message says what was expected."""


@dataclass(frozen=True)
class Span:
    """A half-open range of POSIX time in microseconds."""

    low: int
    high: int


def span(text: str) -> Span:
    """The range that a FHIR date, dateTime or instant stands for.

    Without a zone a time is read as UTC: the seed's examples have none.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise BadDateError(
            f"{text!r} is no FHIR date (YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss[.sss]]"
            "[zone]); is the + of the zone percent-encoded as %2B?"
        )
    parts = match.groupdict()
    try:
        return _span(parts)
    except (ValueError, OverflowError) as error:
        raise BadDateError(f"{text!r} is no day of the calendar: {error}") from error


def _span(parts: dict[str, str | None]) -> Span:
    year, month, day = int(parts["year"] or 0), int(parts["month"] or 1), int(parts["day"] or 1)
    hour, minute = int(parts["hour"] or 0), int(parts["minute"] or 0)
    second, fraction = int(parts["second"] or 0), parts["part"] or ""
    micro = int((fraction + "000000")[:6])
    zone = dt.UTC if parts["zone"] in (None, "Z") else _zone(parts["zone"] or "")
    moment = dt.datetime(year, month, day, hour, minute, second, micro, tzinfo=zone)
    low = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return Span(low, low + _width(parts, year, month, fraction))


def _width(parts: dict[str, str | None], year: int, month: int, fraction: str) -> int:
    """How long the range is, in microseconds: that is the date's precision."""
    day = 86_400 * _MICRO
    if parts["month"] is None:
        return (366 if calendar.isleap(year) else 365) * day
    if parts["day"] is None:
        return calendar.monthrange(year, month)[1] * day
    if parts["hour"] is None:
        return day
    if parts["second"] is None:
        return 60 * _MICRO
    return max(1, int(_MICRO // 10 ** len(fraction)))


def _zone(text: str) -> dt.timezone:
    sign = -1 if text[0] == "-" else 1
    offset = dt.timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return dt.timezone(sign * offset)


def matches(value: str, wanted: str, now: float) -> bool:
    """Whether a resource's date fits one search value such as ``gt2016-04-16``.

    Raises BadDateError when ``wanted`` is not a date. A resource's value that is none fits nothing.
    """
    prefix, rest = (wanted[:2], wanted[2:]) if wanted[:2] in PREFIXES else ("eq", wanted)
    search = span(rest)
    try:
        held = span(value)
    except BadDateError:
        return False
    return _compare(prefix, held, search, now)


def _compare(prefix: str, held: Span, search: Span, now: float) -> bool:
    inside = search.low <= held.low and held.high <= search.high
    if prefix == "ap":
        slack = abs(int(now * _MICRO) - search.low) // 10
        return held.low < search.high + slack and held.high > search.low - slack
    return {
        "eq": inside,
        "ne": not inside,
        "gt": held.high > search.high,
        "lt": held.low < search.low,
        "ge": held.high > search.high or inside,
        "le": held.low < search.low or inside,
        "sa": held.low >= search.high,
        "eb": held.high <= search.low,
    }[prefix]
