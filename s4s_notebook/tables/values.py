"""From lists of JSON values to typed arrays; what does not fit becomes null and is told.

Whole lists are converted at once where every value is of the expected JSON type, which is
nearly always; one by one where not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .times import NOT_A_TIME, day_number, moment_number
from .walk import MIXED

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError:  # the parquet extra; pandas' own strings do as well, more slowly
    pa = None

Report = Callable[[int, Any, str], None]
"""Told (place in the list, value, why)."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)


def convert(kind: str, values: Sequence[Any], report: Report) -> Any:
    """A block of typed values, for :func:`finish`.

    Args:
        kind: one of :data:`s4s_notebook.tables.columns.DTYPES`.
        values: JSON values, None for absent.
        report: told of each value that is replaced by null, or read with a caution.
    """
    return _CONVERT[kind](values, report)


def join(blocks: Sequence[Any]) -> Any:
    """Several blocks as one."""
    if isinstance(blocks[0], tuple):
        numbers, masks = zip(*blocks, strict=True)
        return np.concatenate(numbers), np.concatenate(masks)
    if isinstance(blocks[0], np.ndarray):
        return np.concatenate(blocks)
    return pa.concat_arrays(blocks)


def finish(kind: str, block: Any, order: np.ndarray[Any, Any]) -> Any:
    """A block as a pandas array, its values in the order given."""
    if kind in {"int", "flag"}:
        made = pd.arrays.IntegerArray if kind == "int" else pd.arrays.BooleanArray
        return made(block[0][order], block[1][order])
    if kind in {"number", "money"}:
        return block[order]
    if kind in {"date", "instant"}:
        times = pd.Series(block[order].view("datetime64[us]"))
        return (times.dt.tz_localize("UTC") if kind == "instant" else times).array
    return pd.array(block[order] if pa is None else block.take(pa.array(order)), dtype="str")


def give_back() -> None:
    """Give the system the memory of blocks that are no more: Arrow would keep it for blocks of
    the same size, which do not come again."""
    if pa is not None:
        pa.default_memory_pool().release_unused()


def _cleaned(values: Sequence[Any], report: Report, parse: Callable[[Any], Any]) -> list[Any]:
    """Parse one by one; ValueError from ``parse`` makes null."""
    out: list[Any] = []
    for place, value in enumerate(values):
        parsed = None
        if value is not None and value is not MIXED:
            try:
                parsed = parse(value)
            except ValueError as why:
                report(place, value, str(why))
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
        clean = _cleaned(values, report, _text)
        block = np.empty(len(clean), dtype=object)
        block[:] = clean
        return block
    array = _arrow(values, "large_string")
    if array is None or pc.min(pc.binary_length(array)).as_py() == 0:
        clean = _cleaned(values, report, _text)
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
    clean = _cleaned(values, report, _number)
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
    clean = _cleaned(values, report, _whole)
    mask = np.array([value is None for value in clean], dtype=bool)
    return np.array([0 if value is None else value for value in clean], dtype="int64"), mask


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false was expected")
    return value


def _flags(values: Sequence[Any], report: Report) -> Any:
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

    def all(self, values: Sequence[Any], report: Report) -> list[Any]:
        if not _types(values) <= {str, _NONE}:
            values = _cleaned(values, report, _text)
        out = list(map(self.__getitem__, values))
        if self.notes:
            for place, value in enumerate(values):
                if value in self.notes:
                    report(place, value, self.notes[value])
        return out


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


_DAYS = _Parsed(day_number, NOT_A_TIME)
MOMENTS = _Parsed(moment_number, NOT_A_TIME)
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
