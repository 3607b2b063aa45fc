"""A DICOM object's elements as a table that is safe to show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ..wording import safe_text
from .instance import Instance
from .reader import ODD, parse
from .structure import DEEPEST

COLUMNS = ["series", "path", "tag", "vr", "name", "value"]
_LONGEST = 200


def frame_of(objects: Iterable[tuple[int, Instance]]) -> Any:
    """Return a DataFrame with one row per element, nested ones with their path."""
    import pandas as pd

    rows = []
    for series, one in objects:
        result, _ = parse(lambda one=one: list(_rows(one.header())))  # type: ignore[misc] # bound now
        rows += [(series, *row) for row in result]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"series": "int64", **dict.fromkeys(COLUMNS[1:], "str")})


def _rows(dataset: Dataset) -> Iterator[tuple[str, str, str, str, str]]:
    """Depth first, without recursion, down to ``DEEPEST`` levels."""
    meta = getattr(dataset, "file_meta", None)
    todo: list[tuple[str, Dataset]] = [("", dataset)] + ([("", meta)] if meta else [])
    while todo:
        prefix, one = todo.pop()
        nested: list[tuple[str, Dataset]] = []
        for tag in sorted(one.keys()):
            name = keyword_for_tag(tag)
            path = f"{prefix}{name or f'({tag >> 16:04X},{tag & 0xFFFF:04X})'}"
            code = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
            try:
                element = one[tag]
                vr, value, title = element.VR, element.value, element.name
            except ODD as error:
                yield path, code, "", name, f"unreadable ({type(error).__name__})"
                continue
            if vr == "SQ" and value is not None and prefix.count("].") < DEEPEST:
                nested += [(f"{path}[{at}].", item) for at, item in enumerate(value)]
            yield path, code, str(vr), safe_text(title, 64), _text(vr, value)
        todo += reversed(nested)


def _text(vr: str, value: Any) -> str:
    if vr == "SQ":
        return f"{len(value or ())} items"
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, MultiValue | list):
        return safe_text("\\".join(str(part) for part in list(value)[:_LONGEST]), _LONGEST)
    return safe_text(value, _LONGEST)
