"""Read the attributes that pictures need out of a header, so that it need not stay in memory.

Values that break the standard become problems, never exceptions (PS3.3 C.7.6, C.11).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from ..problems import Problem
from ..wording import safe_text
from .reader import PARSE_ERRORS
from .windows import Array, Choice, Floats, Table, Window


@lru_cache(maxsize=1024)
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


class AttributeReader:
    """A reader of one dataset's values that collects what did not parse in ``problems``."""

    def __init__(self, dataset: Dataset, resource: str = "") -> None:
        self.dataset = dataset
        self.resource = resource
        self.problems: list[Problem] = []
        self._values: dict[str, Any] = {}  # of the top level, which every frame is asked for

    def report(self, keyword: str, value: Any, why: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(self.resource, keyword, safe_text(value, 80), why))

    def get(self, keyword: str, item: Dataset | None = None) -> Any:
        """Return the value, None when it is absent, empty or unreadable."""
        if item is not None:
            return self._read(keyword, item)
        if keyword not in self._values:
            self._values[keyword] = self._read(keyword, self.dataset)
        return self._values[keyword]

    def _read(self, keyword: str, source: Dataset) -> Any:
        tag = _tag(keyword)
        if tag not in source.keys():  # noqa: SIM118 - `in source` parses the tag each time
            return None
        try:
            value = source[tag].value
        except PARSE_ERRORS as error:
            self.report(keyword, "", f"unreadable ({type(error).__name__})")
            return None
        return None if value is None or (hasattr(value, "__len__") and not len(value)) else value

    def text(self, keyword: str) -> str:
        """Return the value as stripped text, "" when it is absent."""
        raw = self.dataset._dict.get(_tag(keyword))
        if isinstance(raw, RawDataElement) and raw.value:
            plain = _plain_word(raw.VR or "", raw.value)
            if plain is not None:
                return plain
        value = self.get(keyword)
        return "" if value is None else str(value).strip()

    def items(self, keyword: str, item: Dataset | None = None) -> Sequence[Dataset]:
        """Return the items of a sequence, none when it is absent."""
        value = self.get(keyword, item)
        if value is None or isinstance(value, str | bytes):
            return ()
        return [entry for entry in value if isinstance(entry, Dataset)]

    def numbers(
        self, keyword: str, item: Dataset | None = None, *, least: int = 1, positive: bool = False
    ) -> tuple[float, ...] | None:
        """All numbers of an element; None, with a problem, unless all are finite."""
        result = self._plain_numbers(keyword) if item is None else None
        if result is None:
            result = self._converted_numbers(keyword, item)
        if result is None:
            return None
        if len(result) < least or not all(map(math.isfinite, result)):
            self.report(keyword, self.get(keyword, item), f"not {least} finite numbers")
            return None
        if positive and min(result) <= 0:
            self.report(keyword, self.get(keyword, item), "not above 0")
            return None
        return result

    def _plain_numbers(self, keyword: str) -> tuple[float, ...] | None:
        """Return well-formed numbers of the top level from their bytes, None for any others.

        As pydicom does it, without the objects that it makes: headers are read by the thousand.
        """
        raw = self.dataset._dict.get(_tag(keyword))
        if not isinstance(raw, RawDataElement) or not raw.value:
            return None
        if raw.VR in ("DS", "IS"):
            return _plain_text(raw.VR, raw.value)
        form = _BINARY.get(raw.VR or "")
        if form is None or len(raw.value) % struct.calcsize(form):
            return None
        number = len(raw.value) // struct.calcsize(form)
        return struct.unpack(f"{'<' if raw.is_little_endian else '>'}{number}{form}", raw.value)

    def _converted_numbers(self, keyword: str, item: Dataset | None) -> tuple[float, ...] | None:
        value = self.get(keyword, item)
        if value is None:
            return None
        total = [value] if isinstance(value, str | bytes | int | float) else value
        try:
            return tuple(float(entry) for entry in total)
        except PARSE_ERRORS:
            self.report(keyword, value, "not a number")
            return None

    def number(self, keyword: str, item: Dataset | None = None) -> float | None:
        """Return the first number of an element, None without one."""
        result = self.numbers(keyword, item)
        return result[0] if result else None

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return the first number as an integer, ``default`` without one."""
        result = self.number(keyword)
        return default if result is None else int(result)


_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_NUMBER = {
    "DS": re.compile(rb" {0,15}[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? {0,15}"),
    "IS": re.compile(rb" {0,11}[+-]?[0-9]+ {0,11}"),
}
_LONGEST = {"DS": 16, "IS": 12}


@lru_cache(maxsize=4096)
def _plain_text(vr: str, data: bytes) -> tuple[float, ...] | None:
    """Return the numbers of a text that keeps the standard (PS3.5 6.2), None for any other."""
    parts = data.split(b"\\")
    if len(parts) > 16:
        return None
    if any(len(part) > _LONGEST[vr] or not _NUMBER[vr].fullmatch(part) for part in parts):
        return None
    return tuple(map(float, parts))


_WORD = {
    "UI": re.compile(rb"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*\0?"),
    "CS": re.compile(rb"[A-Z0-9 _]{1,16}"),
    "DA": re.compile(rb"[0-9]{8}"),
    "TM": re.compile(rb"[0-9]{6}(?:\.[0-9]{1,6})? ?"),
    "LO": re.compile(rb"[A-Za-z0-9 .,:;_+-]{1,64}"),
    "SH": re.compile(rb"[A-Za-z0-9 .,:;_+-]{1,16}"),
}


@lru_cache(maxsize=4096)
def _plain_word(vr: str, data: bytes) -> str | None:
    """Return one value of ASCII that keeps the standard, None for any other."""
    form = _WORD.get(vr)
    if form is None or len(data) > 64 or not form.fullmatch(data):
        return None
    return data.decode("ascii").strip("\0 ")


def windows(
    reader: AttributeReader, item: Dataset | None = None, *, fractional: bool = False
) -> tuple[Choice, ...]:
    """Read the file's own windows, then its VOI LUTs, in the file's order.

    Where the file states no function and the values are fractional, or the width is below 1, the
    function is LINEAR_EXACT: LINEAR is made for whole numbers (PS3.3 C.11.2.1.2).
    """
    centers = reader.numbers("WindowCenter", item) or ()
    widths = reader.numbers("WindowWidth", item) or ()
    stated = str(reader.get("VOILUTFunction", item) or "").strip().upper()
    function = stated or ("LINEAR_EXACT" if fractional else "LINEAR")
    names = reader.get("WindowCenterWidthExplanation", item) or ()
    names = [names] if isinstance(names, str) else list(names)
    result: list[Choice] = []
    for at, (center, width) in enumerate(zip(centers, widths, strict=False)):
        try:
            name = safe_text(names[at], 64) if at < len(names) else ""
            narrow = function == "LINEAR" and 0 < width < 1
            if narrow and stated:
                reader.report("WindowWidth", width, "below 1; read as LINEAR_EXACT")
            exact = "LINEAR_EXACT" if narrow else function
            result.append(Window(center, width, exact, name))
        except ValueError as error:
            reader.report("WindowWidth", f"{center}\\{width} {function}", str(error))
    for lut in reader.items("VOILUTSequence", item):
        table = lookup_table(reader, lut)
        if table is not None:
            result.append(table)
    return tuple(result)


@dataclass(frozen=True, slots=True, eq=False)
class RealWorldMap:
    """A mapping from stored values to a physical quantity (PS3.3 C.7.6.16.2.11).

    Attributes:
        first, last: the stored values that are mapped; others have no value.
        slope, intercept: value = slope · stored + intercept, where there is no table.
        table: one value for each stored value from ``first`` to ``last``, or None.
        unit: UCUM code, such as "mm2/s"; label: what is measured, as the file names it.
    """

    first: float
    last: float
    slope: float
    intercept: float
    table: Floats | None
    unit: str
    label: str

    def values(self, stored: Array) -> Floats:
        """Return the quantity in ``unit``; NaN where a stored value is not mapped."""
        numbers = np.asarray(stored, np.float64)
        outside = ~((numbers >= self.first) & (numbers <= self.last))
        if self.table is not None:
            index = np.clip(np.where(outside, self.first, numbers) - self.first, 0, None)
            result = self.table[index.astype(np.int64)]
        else:
            result = numbers * self.slope + self.intercept
        result[outside] = np.nan
        return np.asarray(result, np.float64)


def real_world_maps(reader: AttributeReader, item: Dataset | None) -> tuple[RealWorldMap, ...]:
    """Read the real world value mappings of a frame, by its functional group or the top level."""
    entries = [item] if item else reader.items("RealWorldValueMappingSequence")
    result = []
    for entry in entries:
        ends = [
            reader.number(f"DoubleFloatRealWorldValue{end}ValueMapped", entry)
            if f"DoubleFloatRealWorldValue{end}ValueMapped" in entry
            else reader.number(f"RealWorldValue{end}ValueMapped", entry)
            for end in ("First", "Last")
        ]
        first, last = ends
        slope = reader.number("RealWorldValueSlope", entry)
        data = reader.numbers("RealWorldValueLUTData", entry)
        if first is None or last is None or last < first or (slope is None and data is None):
            reader.report("RealWorldValueMappingSequence", "", "incomplete")
            continue
        if data is not None and len(data) < last - first + 1:
            reader.report("RealWorldValueLUTData", len(data), f"does not fit {first:g} to {last:g}")
            continue
        units = reader.items("MeasurementUnitsCodeSequence", entry)
        unit = safe_text(reader.get("CodeValue", units[0]) or "", 16) if units else ""
        label = safe_text(reader.get("LUTLabel", entry) or "", 64)
        table = None if data is None else np.array(data, np.float64)
        intercept = reader.number("RealWorldValueIntercept", entry) or 0.0
        result.append(RealWorldMap(first, last, slope or 0.0, intercept, table, unit, label))
    return tuple(result)


def lookup_table(reader: AttributeReader, item: Dataset) -> Table | None:
    """Read a Modality or VOI LUT of a sequence item (PS3.3 C.11.1.1)."""
    descriptor, data = reader.numbers("LUTDescriptor", item, least=3), reader.get("LUTData", item)
    if descriptor is None or data is None:
        return None
    length, first, bits = (int(entry) for entry in descriptor[:3])
    length = length % 65536 or 65536
    if isinstance(data, bytes):
        order = "<u2" if reader.dataset.original_encoding[1] is not False else ">u2"
        entries = np.frombuffer(data[: len(data) // 2 * 2], order)
    else:
        entries = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
    if not 1 <= bits <= 16 or len(entries) < length:
        reader.report("LUTDescriptor", descriptor, f"does not fit {len(entries)} entries")
        return None
    return Table(
        first, entries[:length], bits, safe_text(reader.get("LUTExplanation", item) or "", 64)
    )


class FunctionalGroups:
    """The functional groups of a multi-frame object (PS3.3 C.7.6.16)."""

    def __init__(self, reader: AttributeReader) -> None:
        self._reader = reader
        self._per_frame = reader.items("PerFrameFunctionalGroupsSequence")
        self._shared = reader.items("SharedFunctionalGroupsSequence")[:1]
        self._of_all: dict[str, Dataset | None] = {}

    def __bool__(self) -> bool:
        return bool(self._per_frame or self._shared)

    def own(self, index: int) -> set[int]:
        """Return the tags of the groups that frame ``index`` does not share."""
        groups = self._per_frame[index : index + 1]
        return {int(tag) for tag in groups[0].keys()} if groups else set()  # noqa: SIM118 - tags

    def of(self, keyword: str, index: int) -> Dataset | None:
        """Return the group ``keyword`` of frame ``index``, its own or the shared one; else None."""
        for group in self._per_frame[index : index + 1]:
            if _tag(keyword) in group and (result := self._reader.items(keyword, group)):
                return result[0]
        if keyword not in self._of_all:
            items = self._reader.items(keyword, self._shared[0]) if self._shared else ()
            self._of_all[keyword] = items[0] if items else None
        return self._of_all[keyword]
