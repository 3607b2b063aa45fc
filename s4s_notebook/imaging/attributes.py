"""Read the attributes that pictures need out of a header, so that it need not stay in memory.

Values that break the standard become problems, never exceptions (PS3.3 C.7.6, C.11).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ..problems import Problem
from ..wording import safe_text
from .reader import PARSE_ERRORS
from .windows import Choice, Table, Window


class AttributeReader:
    """A reader of one dataset's values that collects what did not parse in ``problems``."""

    def __init__(self, dataset: Dataset, resource: str = "") -> None:
        self.dataset = dataset
        self.resource = resource
        self.problems: list[Problem] = []

    def report(self, keyword: str, value: Any, why: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(self.resource, keyword, safe_text(value, 80), why))

    def get(self, keyword: str, item: Dataset | None = None) -> Any:
        """Return the value, None when it is absent, empty or unreadable."""
        source = self.dataset if item is None else item
        try:
            value = source.get(keyword)
        except PARSE_ERRORS as error:
            self.report(keyword, "", f"unreadable ({type(error).__name__})")
            return None
        return None if value is None or (hasattr(value, "__len__") and not len(value)) else value

    def text(self, keyword: str) -> str:
        """Return the value as stripped text, "" when it is absent."""
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
        value = self.get(keyword, item)
        if value is None:
            return None
        total = [value] if isinstance(value, str | bytes | int | float) else value
        try:
            result = tuple(float(entry) for entry in total)
        except PARSE_ERRORS:
            self.report(keyword, value, "not a number")
            return None
        if len(result) < least or not all(map(math.isfinite, result)):
            self.report(keyword, value, f"not {least} finite numbers")
            return None
        if positive and min(result) <= 0:
            self.report(keyword, value, "not above 0")
            return None
        return result

    def number(self, keyword: str, item: Dataset | None = None) -> float | None:
        """Return the first number of an element, None without one."""
        result = self.numbers(keyword, item)
        return result[0] if result else None

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return the first number as an integer, ``default`` without one."""
        result = self.number(keyword)
        return default if result is None else int(result)


def windows(reader: AttributeReader, item: Dataset | None = None) -> tuple[Choice, ...]:
    """Read the file's own windows, then its VOI LUTs, in the file's order."""
    centers = reader.numbers("WindowCenter", item) or ()
    widths = reader.numbers("WindowWidth", item) or ()
    function = str(reader.get("VOILUTFunction", item) or "LINEAR").strip().upper()
    names = reader.get("WindowCenterWidthExplanation", item) or ()
    names = [names] if isinstance(names, str) else list(names)
    result: list[Choice] = []
    for at, (center, width) in enumerate(zip(centers, widths, strict=False)):
        try:
            name = safe_text(names[at], 64) if at < len(names) else ""
            result.append(Window(center, width, function, name))
        except ValueError as error:
            reader.report("WindowWidth", f"{center}\\{width} {function}", str(error))
    for lut in reader.items("VOILUTSequence", item):
        table = lookup_table(reader, lut)
        if table is not None:
            result.append(table)
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

    def __bool__(self) -> bool:
        return bool(self._per_frame or self._shared)

    def of(self, keyword: str, index: int) -> Dataset | None:
        """Return the group ``keyword`` of frame ``index``, its own or the shared one; else None."""
        for group in (*self._per_frame[index : index + 1], *self._shared):
            if result := self._reader.items(keyword, group):
                return result[0]
        return None
