"""From lists of JSON values to typed arrays; what does not fit becomes null and is told.

Whole lists are converted at once where every value is of the expected JSON type, which is
nearly always; one by one where not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from .paths import MIXED

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError:  # the parquet extra; pandas' own strings do as well, more slowly
    pa = None

Report = Callable[[int, Any, str], None]
"""Told (place in the list, value, why)."""

NOT_A_TIME = int(np.iinfo(np.int64).min)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ].*)?)?)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def convert(kind: str, values: Sequence[Any], report: Report) -> Any:
    """A block of typed values, for :func:`finish`.

    Args:
        kind: one of :data:`s4s_notebook.tables.columns.DTYPES`.
        values: JSON values, None for absent.
        report: told of each value that is replaced by null, or read with a caution.
    """
    return _CONVERT[kind](values, report)


def finish(kind: str, blocks: Sequence[Any], order: np.ndarray[Any, Any]) -> Any:
    """The blocks as one pandas array, its values in the order given."""
    if kind in {"int", "flag"}:
        numbers, masks = zip(*blocks, strict=True)
        made = pd.arrays.IntegerArray if kind == "int" else pd.arrays.BooleanArray
        return made(np.concatenate(numbers)[order], np.concatenate(masks)[order])
    if kind in {"number", "money"}:
        return np.concatenate(blocks)[order]
    if kind in {"date", "instant"}:
        times = pd.Series(np.concatenate(blocks)[order].view("datetime64[us]"))
        return (times.dt.tz_localize("UTC") if kind == "instant" else times).array
    if pa is None:
        return pd.array(np.concatenate(blocks)[order], dtype="str")
    return pd.array(pa.concat_arrays(blocks).take(pa.array(order)), dtype="str")


def _cleaned(
    values: Sequence[Any], report: Report, parse: Callable[[Any], Any], wanted: str
) -> list[Any]:
    """Parse one by one; ValueError from ``parse`` makes null."""
    out: list[Any] = []
    for place, value in enumerate(values):
        parsed = None
        if value is not None and value is not MIXED:
            try:
                parsed = parse(value)
            except ValueError as why:
                report(place, value, str(why) or wanted)
        out.append(parsed)
    return out


def _types(values: Sequence[Any]) -> set[type]:
    return set(map(type, values))


_NONE = type(None)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("text was expected")
    if not value:
        raise ValueError("empty text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("not valid Unicode") from error
    return value


def _strings(values: Sequence[Any], report: Report) -> Any:
    if pa is None:
        clean = _cleaned(values, report, _text, "text was expected")
        block = np.empty(len(clean), dtype=object)
        block[:] = clean
        return block
    array = _arrow(values, "large_string")
    if array is None or pc.min(pc.binary_length(array)).as_py() == 0:
        clean = _cleaned(values, report, _text, "text was expected")
        array = pa.array(clean, type=pa.large_string())
    return array


def _arrow(values: Sequence[Any], type_: str) -> Any:
    """The values as Arrow takes them at once; None where one does not fit, or without Arrow."""
    if pa is None:
        return None
    try:
        return pa.array(values, type=pa.type_for_alias(type_))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        return None


def _number(value: Any) -> float:
    if type(value) is str and _NUMBER.fullmatch(value):
        value = float(value)
    if type(value) not in {int, float}:
        raise ValueError("a number was expected")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("too large") from error
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _numbers(values: Sequence[Any], report: Report) -> Any:
    if _types(values) <= {float, int, _NONE}:
        array = _arrow(values, "float64")
        if array is not None:
            floats = array.to_numpy(zero_copy_only=False)
            if int(np.isfinite(floats).sum()) == len(array) - array.null_count:
                return floats
    clean = _cleaned(values, report, _number, "a number was expected")
    return np.array(clean, dtype="float64")


def _whole(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError("a whole number was expected")
    whole = int(value) if type(value) is int else int(number)
    if not -(2**63) <= whole < 2**63:
        raise ValueError("too large")
    return whole


def _integers(values: Sequence[Any], report: Report) -> Any:
    if _types(values) <= {int, _NONE}:
        array = _arrow(values, "int64")
        if array is not None:
            mask = array.is_null().to_numpy(zero_copy_only=False)
            return array.fill_null(0).to_numpy(), mask
    clean = _cleaned(values, report, _whole, "a whole number was expected")
    mask = np.array([value is None for value in clean], dtype=bool)
    return np.array([0 if value is None else value for value in clean], dtype="int64"), mask


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false was expected")
    return value


def _flags(values: Sequence[Any], report: Report) -> Any:
    clean = _cleaned(values, report, _flag, "true or false was expected")
    mask = np.array([value is None for value in clean], dtype=bool)
    return np.array([bool(value) for value in clean], dtype=bool), mask


class _Parsed(dict[str | None, Any]):
    """Texts parsed so far: claims repeat their dates and patients thousands of times."""

    def __init__(self, parse: Callable[[str], tuple[Any, str]], null: Any) -> None:
        super().__init__({None: null})
        self._parse = parse
        self._null = null
        self.notes: dict[str, str] = {}

    def __missing__(self, text: str) -> Any:
        try:
            value, note = self._parse(text)
        except ValueError as why:
            value, note = self._null, str(why)
        if note:
            self.notes[text] = note
        if len(self) < 100_000:
            self[text] = value
        return value

    def all(self, values: Sequence[Any], report: Report) -> list[Any]:
        if not _types(values) <= {str, _NONE}:
            values = _cleaned(values, report, _text, "text was expected")
        out = list(map(self.__getitem__, values))
        if self.notes:
            for place, value in enumerate(values):
                if value in self.notes:
                    report(place, value, self.notes[value])
        return out


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


def _day_number(text: str) -> tuple[int, str]:
    day, note = day_of(text)
    return (day.toordinal() - _EPOCH) * _DAY, note


def _moment_number(text: str) -> tuple[int, str]:
    moment, note = moment_of(text)
    return (moment - _EPOCH_UTC) // _MICROSECOND, note


def reference_id(text: str) -> tuple[str, str]:
    """The id within a FHIR reference, be it relative, absolute, versioned or ``urn:uuid:``. A
    reference to a contained resource stays as it is, with its ``#``."""
    parts = text.strip().split("/_history/")[0].rstrip("/").split("/")
    found = parts[-1].strip().removeprefix("urn:uuid:")
    if not found:
        raise ValueError("not a reference")
    return _text(found), ""


def bare_uid(text: str) -> tuple[str, str]:
    """A DICOM UID without ``urn:oid:``.

    Raises:
        ValueError: it is none.
    """
    uid = text.strip().removeprefix("urn:oid:")
    if len(uid) > 64 or not _UID.fullmatch(uid):
        raise ValueError("not a DICOM UID")
    return uid, ""


_DAYS = _Parsed(_day_number, NOT_A_TIME)
MOMENTS = _Parsed(_moment_number, NOT_A_TIME)
_REFERENCES = _Parsed(reference_id, None)
_UIDS = _Parsed(bare_uid, None)


_CONVERT: dict[str, Callable[[Sequence[Any], Report], Any]] = {
    "str": _strings,
    "ref": lambda values, report: _strings(_REFERENCES.all(values, report), report),
    "uid": lambda values, report: _strings(_UIDS.all(values, report), report),
    "int": _integers,
    "number": _numbers,
    "money": _numbers,
    "date": lambda values, report: np.array(_DAYS.all(values, report), dtype="int64"),
    "instant": lambda values, report: np.array(MOMENTS.all(values, report), dtype="int64"),
    "flag": _flags,
}
