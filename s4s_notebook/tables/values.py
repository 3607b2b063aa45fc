"""From lists of JSON values to typed arrays; what does not fit becomes null and is reported.

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

from ..fhir.resources import bare_uid, is_uid, objects, read_date, read_instant, read_reference
from .extract import MIXED

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError:  # the parquet extra; pandas' own strings do as well, more slowly
    pa = None
else:
    # Arrow's own allocator keeps what was freed for blocks of the same size; see .rows.FreedMemory
    _POOL = pa.system_memory_pool()

CellReport = Callable[[int, Any, str], None]
"""Called with (position in the list, value, why)."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)

NOT_A_TIME = -(2**63)
"""NumPy's number for "no time"."""

_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000  # microseconds
_NO_DATE = 1000, 9999  # years from which payers take days that stand for none
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def convert(kind: str, values: Sequence[Any], report: CellReport) -> Any:
    """Convert values to a block.

    The block is an Arrow array for text (without Arrow one of objects), numbers and a mask of
    nulls for int and flag, else numbers with a number for null.

    Args:
        kind: one of :data:`s4s_notebook.tables.columns.DTYPES`.
        values: JSON values, None for absent.
        report: called for each value that is replaced by null, or read with a caution.
    """
    return _CONVERT[kind](values, report)


def concatenated(parts: Sequence[Any]) -> Any:
    """Return several arrays of the same kind, NumPy's or Arrow's, as one."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return pa.concat_arrays(parts, memory_pool=_POOL)


def take_texts(texts: Any, where: np.ndarray[Any, Any]) -> Any:
    """Return the texts of an Arrow array at these positions, null for -1."""
    return pc.take(texts, pa.array(where, mask=where < 0, memory_pool=_POOL), memory_pool=_POOL)


def known_texts(texts: Any) -> tuple[np.ndarray[Any, Any], Any]:
    """Return for each row of an Arrow array whether it has a text, and those texts."""
    present = texts.is_valid().to_numpy(zero_copy_only=False)
    return present, pc.drop_null(texts, memory_pool=_POOL)


def _cleaned(values: Sequence[Any], report: CellReport, parse: Callable[[Any], Any]) -> list[Any]:
    """Parse one by one; ValueError from ``parse`` makes null."""
    out: list[Any] = []
    for position, value in enumerate(values):
        parsed = None
        if value is not None and value is not MIXED:
            try:
                parsed = parse(value)
            except ValueError as why:
                report(position, value, str(why))
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


def _strings(values: Sequence[Any], report: CellReport) -> Any:
    if pa is None:
        clean = _cleaned(values, report, _text)
        block = np.empty(len(clean), dtype=object)
        block[:] = clean
        return block
    array = _arrow(values, "large_string")
    if array is None or pc.min(pc.binary_length(array)).as_py() == 0:
        clean = _cleaned(values, report, _text)
        array = pa.array(clean, type=pa.large_string(), memory_pool=_POOL)
    return array


def _arrow(values: Sequence[Any], type_: str) -> Any:
    """Return the values as an Arrow array; None where one does not fit, or without Arrow."""
    if pa is None:
        return None
    try:
        return pa.array(values, type=pa.type_for_alias(type_), memory_pool=_POOL)
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


def _numbers(values: Sequence[Any], report: CellReport) -> Any:
    if _types(values) <= {float, int, _NONE}:
        array = _arrow(values, "float64")
        if array is not None:
            floats = array.to_numpy(zero_copy_only=False)
            if int(np.isfinite(floats).sum()) == len(array) - array.null_count:
                return floats
    clean = _cleaned(values, report, _number)
    return np.array(clean, dtype="float64")


def _integer(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError("a whole number was expected")
    integer = int(value) if type(value) is int else int(number)
    if not -(2**63) <= integer < 2**63:
        raise ValueError("too large")
    return integer


def _integers(values: Sequence[Any], report: CellReport) -> Any:
    if _types(values) <= {int, _NONE}:
        array = _arrow(values, "int64")
        if array is not None:
            mask = array.is_null().to_numpy(zero_copy_only=False)
            return array.fill_null(0).to_numpy(), mask
    clean = _cleaned(values, report, _integer)
    mask = np.array([value is None for value in clean], dtype=bool)
    return np.array([0 if value is None else value for value in clean], dtype="int64"), mask


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false was expected")
    return value


def _flags(values: Sequence[Any], report: CellReport) -> Any:
    if _types(values) <= {bool, _NONE}:
        array = _arrow(values, "bool")
        if array is not None:
            mask = array.is_null().to_numpy(zero_copy_only=False)
            return array.fill_null(False).to_numpy(zero_copy_only=False), mask
    clean = _cleaned(values, report, _flag)
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
        if len(self) < 20_000:
            self[text] = value
        return value

    def all(self, values: Sequence[Any], report: CellReport) -> list[Any]:
        if not _types(values) <= {str, _NONE}:
            values = _cleaned(values, report, _text)
        out = list(map(self.__getitem__, values))
        if self.notes:
            for position, value in enumerate(values):
                if value in self.notes:
                    report(position, value, self.notes[value])
        return out


def reference_id(text: str) -> tuple[str, str]:
    """Return the id within a FHIR reference; a contained one keeps its ``#``."""
    reference = read_reference(text)
    id_ = f"#{reference.id}" if reference.contained else reference.id
    if not id_:
        raise ValueError("not a reference")
    return _text(id_), ""


def _uid(text: str) -> tuple[str, str]:
    uid = bare_uid(text.strip())
    if not is_uid(uid):
        raise ValueError("not a DICOM UID")
    return uid, ""


def _day_number(text: str, *, last: bool = False) -> tuple[int, str]:
    day, caution = read_date(text, last=last)
    if not _NO_DATE[0] < day.year < _NO_DATE[1]:
        raise ValueError("a day that stands for no date")
    return (day.toordinal() - _EPOCH) * _DAY, caution


def _last_day_number(text: str) -> tuple[int, str]:
    return _day_number(text, last=True)


def _moment_number(text: str) -> tuple[int, str]:
    moment, caution = read_instant(text)
    if len(text) == 10:  # a legal dateTime of a day alone is no problem
        caution = ""
    return (moment - _EPOCH_UTC) // _MICROSECOND, caution


_DAYS = _Parsed(_day_number, NOT_A_TIME)
_LAST_DAYS = _Parsed(_last_day_number, NOT_A_TIME)
MOMENTS = _Parsed(_moment_number, NOT_A_TIME)
_REFERENCES = _Parsed(reference_id, None)
_UIDS = _Parsed(_uid, None)


_CONVERT: dict[str, Callable[[Sequence[Any], CellReport], Any]] = {
    "str": _strings,
    "ref": lambda values, report: _strings(_REFERENCES.all(values, report), report),
    "uid": lambda values, report: _strings(_UIDS.all(values, report), report),
    "int": _integers,
    "number": _numbers,
    "money": _numbers,
    "date": lambda values, report: np.array(_DAYS.all(values, report), dtype="int64"),
    "last date": lambda values, report: np.array(_LAST_DAYS.all(values, report), dtype="int64"),
    "instant": lambda values, report: np.array(MOMENTS.all(values, report), dtype="int64"),
    "flag": _flags,
}


_LAST = ("temp", "billing", "nickname", "anonymous", "maiden")


def preferred(values: Any) -> list[dict[str, Any]]:
    """Return the names or addresses that are in use, the usual ones first.

    Args:
        values: a HumanName or an Address, or a list of them. Those of use "old", and those whose
            period has ended, are left out.
    """
    today = date.today().isoformat()

    def over(value: dict[str, Any]) -> bool:
        period = value.get("period")
        end = period.get("end") if isinstance(period, dict) else None
        return value.get("use") == "old" or (isinstance(end, str) and end < today[: len(end)])

    def rank(value: dict[str, Any]) -> int:
        use = value.get("use")
        return 0 if use in ("usual", "official", "home") else 2 if use in _LAST else 1

    return sorted((value for value in objects(values) if not over(value)), key=rank)
