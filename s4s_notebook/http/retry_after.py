"""Parsing of Retry-After (RFC 9110 section 10.2.3), never shorter than any reading of it.

Holders send fractions, units, several values and other zones. What cannot be read counts as
absent: ``int()`` would take ``1_000`` and Arabic digits, and ``email.utils`` would take dates
without a zone, so both are read by strict patterns here.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterator, Sequence

from ..errors import RetryAfterTooLong

ABSURD = 10 * 365 * 86400.0  # seconds; a mistake
_NUMBER = r"\+?[0-9]+(?:\.[0-9]*)?"
_SECONDS = re.compile(
    rf"(?:[a-z-]+ *= *)?({_NUMBER})[ \t]*"
    r"(?:(?P<s>s|secs?|seconds?)|(?P<m>m|mins?|minutes?)|(?P<h>h|hrs?|hours?))?",
    re.ASCII | re.IGNORECASE,
)
_NUMBERS = re.compile(rf"{_NUMBER}(?:[ \t]+{_NUMBER})+", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_ZONE = r"[ ]?(?P<zone>GMT|UTC|UT|Z|[+-]\d{4})"
_DATES = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"[a-z]{{3}}, (?P<day>\d\d?) (?P<mon>[a-z]{{3}}) (?P<year>\d{{4}}) {_CLOCK}{_ZONE}",
        rf"[a-z]{{6,9}}, (?P<day>\d\d)-(?P<mon>[a-z]{{3}})-(?P<year>\d\d) {_CLOCK}{_ZONE}",
        rf"[a-z]{{3}} (?P<mon>[a-z]{{3}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
    )
)
_DATE = re.compile(r"[a-z]{3,9},? [^,;]*[0-9]:[0-9]{2}[^,;]*", re.IGNORECASE)


def parse_date(value: str, *, now: float) -> float | None:
    """Return an HTTP-date (RFC 9110 section 5.6.7, all forms) as POSIX seconds, or None.

    A zone other than GMT is taken too: UTC, or an offset such as ``+0100``.
    """
    for form in _DATES:
        match = form.fullmatch(value)
        month = match["mon"].title() if match else ""
        if match and month in _MONTHS:
            year = int(match["year"])
            if len(match["year"]) == 2:  # the closest such year that is not 50 years ahead
                this = time.gmtime(now).tm_year
                year += this - this % 100
                year -= 100 if year > this + 50 else 0
            number, day = _MONTHS.index(month) + 1, int(match["day"])
            hour, minute, second = int(match["h"]), int(match["m"]), int(match["s"])
            last = calendar.monthrange(year, number)[1] if year else 0
            if 1 <= day <= last and hour < 24 and minute < 60 and second <= 60:
                moment = float(calendar.timegm((year, number, day, hour, minute, second)))
                return moment - _offset(match.groupdict().get("zone") or "")
    return None


def _offset(zone: str) -> float:
    """Return the seconds that a zone is ahead of UTC."""
    if zone[:1] not in ("+", "-"):
        return 0.0
    seconds = int(zone[1:3]) * 3600.0 + int(zone[3:5]) * 60.0
    return -seconds if zone[0] == "-" else seconds


def parse_retry_after(values: Sequence[str], *, now: float, date: str | None) -> float | None:
    """Return the seconds to wait, or None where the header is absent or unusable.

    Args:
        values: every Retry-After value of the response; of several readings the longest counts.
        now: our clock, POSIX seconds.
        date: the response's Date header; a Retry-After date is relative to it, so a wrong
            local clock does no harm.

    Raises:
        RetryAfterTooLong: more than ten years, which is a mistake.

    >>> parse_retry_after(["120, 60", "300;"], now=0.0, date=None)
    300.0
    """
    sent = parse_date(date.strip(" \t"), now=now) if date else None
    base = now if sent is None else sent
    readings = [seconds for value in values for seconds in _readings(value, now, base)]
    if not readings:
        return None
    seconds = max(readings)
    if seconds > ABSURD:
        shown = ", ".join(values)
        shown = shown if len(shown) <= 40 else shown[:39] + "…"
        raise RetryAfterTooLong(
            f"The holder asks us to come back after {shown!r}.", retry_after=seconds
        )
    return seconds


def _readings(value: str, now: float, base: float) -> Iterator[float]:
    """Yield the seconds of each date and each number in a value."""
    value = re.sub(r"\([^()]*\)", " ", value)  # a comment
    for match in _DATE.finditer(value):
        moment = parse_date(match[0].strip(" \t\"'"), now=now)
        if moment is not None:
            yield max(0.0, moment - base)
    for item in re.split(r"[,;]", _DATE.sub(";", value)):
        item = item.strip(" \t\"'")
        for number in item.split() if _NUMBERS.fullmatch(item) else [item]:
            if amount := _SECONDS.fullmatch(number):
                unit = 60.0 if amount["m"] else 3600.0 if amount["h"] else 1.0
                yield float(amount[1]) * unit
