"""FHIR dates and times, as holders write them, to days and moments."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

NOT_A_TIME = -(2**63)
"""NumPy's number for "no time"."""

_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ].*)?)?)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def day_of(text: str) -> tuple[date, str]:
    """The calendar day as written, and a caution where it is not whole.

    Raises:
        ValueError: not a FHIR date or dateTime.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError("not a date")
    year, month, day = match.groups()
    try:
        found = date(int(year), int(month or 1), int(day or 1))
    except ValueError as error:
        raise ValueError("not a day of the calendar") from error
    known = "month" if month else "year"
    return found, "" if day else f"only the {known} is given; its first day is taken"


def moment_of(text: str) -> tuple[datetime, str]:
    """The moment, and a caution where no zone or no time was given.

    Raises:
        ValueError: not a FHIR dateTime or instant.
    """
    if len(text) > 19 and text[10] == "T" and text[4] == text[7] == "-":
        try:  # the usual form, many times faster than what follows
            found = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            if found.tzinfo is not None:
                return found, ""
    match = _TIME.fullmatch(text)
    if match is None:
        day, note = day_of(text)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return midnight, note or "only the day is given; 00:00 UTC is taken"
    day_text, hour, minute, second, fraction, zone = match.groups()
    day, _ = day_of(day_text)
    seconds = min(int(second or 0), 59)  # a leap second is shown as the one before
    try:
        found = datetime(day.year, day.month, day.day, int(hour), int(minute), seconds, tzinfo=UTC)
        found += timedelta(microseconds=int(float(fraction or 0) * 1_000_000))
        found -= _offset(zone or "Z")
    except (ValueError, OverflowError) as error:
        raise ValueError("not a time of day") from error
    return found, "" if zone else "no time zone is given; UTC is taken"


def _offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta(0)
    sign = -1 if zone[0] == "-" else 1
    return sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))


def day_number(text: str) -> tuple[int, str]:
    day, note = day_of(text)
    return (day.toordinal() - _EPOCH) * _DAY, note


def moment_number(text: str) -> tuple[int, str]:
    moment, note = moment_of(text)
    return (moment - _EPOCH_UTC) // _MICROSECOND, note
