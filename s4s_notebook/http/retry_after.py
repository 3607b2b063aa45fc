"""Parsing of Retry-After (RFC 9110 section 10.2.3), with fractional seconds as holders send them.

An unreadable value counts as absent: ``int()`` would take ``1_000`` and Arabic digits, and
``email.utils`` would take dates without a zone, so both are read by strict patterns here.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Sequence

from ..errors import RetryAfterTooLong

ABSURD = 10 * 365 * 86400.0  # seconds; a mistake
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_DATES = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) (?P<mon>[A-Z][a-z]{{2}}) (?P<year>\d{{4}}) {_CLOCK} GMT",
        rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-(?P<mon>[A-Z][a-z]{{2}})-(?P<year>\d\d) {_CLOCK} GMT",
        rf"[A-Z][a-z]{{2}} (?P<mon>[A-Z][a-z]{{2}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
    )
)


def parse_date(value: str, *, now: float) -> float | None:
    """Return an HTTP-date (RFC 9110 section 5.6.7, all forms) as POSIX seconds, or None."""
    for form in _DATES:
        match = form.fullmatch(value)
        if match and match["mon"] in _MONTHS:
            year = int(match["year"])
            if len(match["year"]) == 2:  # the closest such year that is not 50 years ahead
                this = time.gmtime(now).tm_year
                year += this - this % 100
                year -= 100 if year > this + 50 else 0
            month, day = _MONTHS.index(match["mon"]) + 1, int(match["day"])
            hour, minute, second = int(match["h"]), int(match["m"]), int(match["s"])
            last = calendar.monthrange(year, month)[1] if year else 0
            if 1 <= day <= last and hour < 24 and minute < 60 and second <= 60:
                return float(calendar.timegm((year, month, day, hour, minute, second)))
    return None


def parse_retry_after(values: Sequence[str], *, now: float, date: str | None) -> float | None:
    """Return the seconds to wait, or None where the header is absent or unusable.

    Args:
        values: every Retry-After value of the response; two or more contradict each other.
        now: our clock, POSIX seconds.
        date: the response's Date header; a Retry-After date is relative to it, so a wrong
            local clock does no harm.

    Raises:
        RetryAfterTooLong: more than ten years, which is a mistake.
    """
    if len(values) != 1:
        return None
    value = values[0].strip(" \t")
    if _SECONDS.fullmatch(value):
        seconds = float(value)
    else:
        moment = parse_date(value, now=now)
        if moment is None:
            return None
        sent = parse_date(date.strip(" \t"), now=now) if date else None
        seconds = max(0.0, moment - (now if sent is None else sent))
    if seconds > ABSURD:
        shown = value if len(value) <= 40 else value[:39] + "…"
        raise RetryAfterTooLong(
            f"The holder asks us to come back after {shown!r}.", retry_after=seconds
        )
    return seconds
