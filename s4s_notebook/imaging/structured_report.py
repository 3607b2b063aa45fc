"""Structured reports (PS3.3 C.17.3) as readable text and as a frame of their measurements."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from pydicom.dataset import Dataset

from ..errors import NotAnImage
from ..tracebacks import methods_without_variables
from ..wording import count, safe_text
from .attributes import AttributeReader
from .dicom_object import DicomObject
from .reader import parse

COLUMNS = [
    "report", "path", "name", "code", "value", "unit", "unit_name", "qualifier", "site",
    "tracking", "sop_uid", "frame",
]  # fmt: skip
_DEEPEST = 64  # levels of content items
_LONG = 100_000  # letters of one text
#: Value types with the element that holds their value.
_VALUES = {
    "TEXT": "TextValue",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "UIDREF": "UID",
    "PNAME": "PersonName",
}
_SITES = {"Finding Site", "Anatomic Location", "Topographical modifier", "Measurement Location"}


class _Item(NamedTuple):
    """A content item with those above it."""

    dataset: Dataset
    above: tuple[Dataset, ...]
    number: str


@methods_without_variables
@dataclass(frozen=True)
class Report:
    """Structured reports of a study.

    Attributes:
        text: the content, indented as it is nested.
        measurements: a DataFrame with a row for each numeric content item: report (from 0), path
            (headings above it), name, code, value, unit (UCUM), unit_name, qualifier (why there
            is no value), site, tracking (identifier of what is measured), sop_uid and frame of
            the picture that it refers to.
        kinds: what each report is, as DICOM names it.
    """

    text: str = field(repr=False)
    measurements: Any = field(repr=False)
    kinds: tuple[str, ...]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        kinds = ", ".join(self.kinds)
        return f"<Report {kinds}: {count(len(self.measurements), 'measurement')}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


def is_report(entry: DicomObject) -> bool:
    """Return whether an object is a structured report, or a selection of key objects."""
    return entry.modality in ("SR", "KO") or " SR Storage" in f" {entry.kind}"


def report_of(objects: list[DicomObject], kinds: list[str]) -> Report:
    """Return the reports among some objects.

    Args:
        objects: DICOM objects without pictures.
        kinds: what the study holds, to be named where there is no report.

    Raises:
        NotAnImage: none of them is a report.
    """
    import pandas as pd

    reports = [entry for entry in objects if is_report(entry)]
    if not reports:
        held = ", ".join(dict.fromkeys(kinds)) or "no file"
        raise NotAnImage(f"There is no structured report here but: {held}.")
    texts: list[str] = []
    rows: list[dict[str, Any]] = []
    for at, entry in enumerate(reports):
        reader = AttributeReader(entry.header())
        parse(partial(_read, reader, at, texts, rows))
    table = pd.DataFrame(rows, columns=COLUMNS).astype(
        {"report": "int64", "value": "float64", "frame": "Int64"}
    )
    names = [name for name in COLUMNS if name not in ("report", "value", "frame")]
    table[names] = table[names].astype("str")
    return Report("\n\n".join(texts), table, tuple(entry.kind for entry in reports))


def _read(reader: AttributeReader, at: int, texts: list[str], rows: list[dict[str, Any]]) -> None:
    lines = [_line(reader, reader.dataset)]
    state = [reader.text("CompletionFlag"), reader.text("VerificationFlag")]
    if any(state):
        stated = ", ".join(part.lower() for part in state if part)
        lines.append(safe_text(f"({stated})"))
    for item in _walk(reader):
        depth = len(item.above)
        lines.append("  " * depth + f"{_line(reader, item.dataset, item.number)}")
        if reader.get("ValueType", item.dataset) == "NUM":
            rows += _measured(reader, at, item)
    texts.append("\n".join(lines))


def _walk(reader: AttributeReader) -> Iterator[_Item]:
    """Yield all content items below the root, in their order."""
    todo = [_Item(reader.dataset, (), "1")]
    while todo:
        item = todo.pop()
        if item.above:
            yield item
        if len(item.above) >= _DEEPEST:
            continue
        below = reader.items("ContentSequence", item.dataset)
        above = (*item.above, item.dataset)
        todo += reversed(
            [_Item(entry, above, f"{item.number}.{n}") for n, entry in enumerate(below, 1)]
        )


def _line(reader: AttributeReader, item: Dataset, number: str = "") -> str:
    """Return a content item as one line; a text keeps its own lines."""
    name, value = _concept(reader, item), _value(reader, item)
    target = reader.numbers("ReferencedContentItemIdentifier", item)
    if target:
        value = "see " + ".".join(f"{part:g}" for part in target)
    mark = f"{number.split('.', 1)[-1]} " if number else ""
    return mark + ": ".join(part for part in (name, value) if part)


def _concept(
    reader: AttributeReader, item: Dataset, keyword: str = "ConceptNameCodeSequence"
) -> str:
    codes = reader.items(keyword, item)
    return _meaning(reader, codes[0]) if codes else ""


def _meaning(reader: AttributeReader, code: Dataset) -> str:
    value = reader.get("CodeMeaning", code) or reader.get("CodeValue", code) or ""
    return safe_text(value, 300)


def _value(reader: AttributeReader, item: Dataset) -> str:
    kind = str(reader.get("ValueType", item) or "")
    if kind in _VALUES:
        text = str(reader.get(_VALUES[kind], item) or "")
        return "\n".join(safe_text(line, _LONG) for line in text.splitlines())
    if kind == "CODE":
        return _concept(reader, item, "ConceptCodeSequence")
    if kind == "NUM":
        return _number_text(reader, item)
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        uid, frame = _reference(reader, item)
        return f"{kind.lower()} {safe_text(uid, 64)}" + (f", frame {frame}" if frame else "")
    if kind in ("SCOORD", "SCOORD3D", "TCOORD"):
        return _coordinates(reader, item)
    return "" if kind in ("CONTAINER", "") else f"({safe_text(kind, 16)})"


def _number_text(reader: AttributeReader, item: Dataset) -> str:
    values = [f"{value} {unit}".strip() for value, unit, *_ in _numbers(reader, item) if value]
    return ", ".join(values) or f"no value ({_qualifier(reader, item) or 'not stated'})"


def _numbers(
    reader: AttributeReader, item: Dataset
) -> Iterator[tuple[str, str, str, float | None]]:
    """Yield value as written, unit, the unit's name, and the value of each measured value."""
    for measured in reader.items("MeasuredValueSequence", item):
        units = reader.items("MeasurementUnitsCodeSequence", measured)
        unit = safe_text(reader.get("CodeValue", units[0]) or "", 64) if units else ""
        name = _meaning(reader, units[0]) if units else ""
        written = reader.get("NumericValue", measured)
        exact = reader.number("FloatingPointValue", measured)
        value = reader.number("NumericValue", measured) if exact is None else exact
        text = "" if written is None else safe_text(written, 40)
        yield text, "" if unit == "1" else unit, name, value


def _qualifier(reader: AttributeReader, item: Dataset) -> str:
    return _concept(reader, item, "NumericValueQualifierCodeSequence")


def _reference(reader: AttributeReader, item: Dataset) -> tuple[str, int | None]:
    for entry in reader.items("ReferencedSOPSequence", item):
        frame = reader.number("ReferencedFrameNumber", entry)
        uid = str(reader.get("ReferencedSOPInstanceUID", entry) or "")
        return uid, None if frame is None else int(frame)
    return "", None


def _coordinates(reader: AttributeReader, item: Dataset) -> str:
    kind = str(reader.get("GraphicType", item) or reader.get("TemporalRangeType", item) or "")
    numbers = reader.numbers("GraphicData", item) or ()
    shown = ", ".join(f"{number:g}" for number in numbers[:12])
    return safe_text(f"{kind} {shown}{', ...' if len(numbers) > 12 else ''}".strip(), 300)


def _measured(reader: AttributeReader, at: int, item: _Item) -> list[dict[str, Any]]:
    headings = [_concept(reader, entry) for entry in item.above]
    codes = reader.items("ConceptNameCodeSequence", item.dataset)
    uid, frame = _picture(reader, item)
    row = {
        "report": at,
        "path": " > ".join(part for part in headings if part),
        "name": _concept(reader, item.dataset),
        "code": safe_text(reader.get("CodeValue", codes[0]) or "", 64) if codes else "",
        "qualifier": _qualifier(reader, item.dataset),
        "site": _near(reader, item, _SITES),
        "tracking": _near(reader, item, {"Tracking Identifier"}),
        "sop_uid": uid,
        "frame": frame,
    }
    values = list(_numbers(reader, item.dataset)) or [("", "", "", None)]
    return [
        {**row, "value": value, "unit": unit, "unit_name": name} for _, unit, name, value in values
    ]


def _near(reader: AttributeReader, item: _Item, names: set[str]) -> str:
    """Return the value of a named item below a measurement, else below what holds it."""
    for dataset in (item.dataset, *reversed(item.above)):
        for entry in reader.items("ContentSequence", dataset):
            if _concept(reader, entry) in names and (value := _value(reader, entry)):
                return value
    return ""


def _picture(reader: AttributeReader, item: _Item) -> tuple[str, int | None]:
    """Return the picture that a measurement, or its group, refers to."""
    for dataset in (item.dataset, item.above[-1]):
        todo, seen = [dataset], 0
        while todo and seen < 1000:
            entry = todo.pop(0)
            seen += 1
            if reader.get("ValueType", entry) == "IMAGE" and (own := _reference(reader, entry))[0]:
                return own
            nested = reader.items("ContentSequence", entry)
            todo += [e for e in nested if dataset is item.dataset or not _is_number(reader, e)]
    return "", None


def _is_number(reader: AttributeReader, item: Dataset) -> bool:
    return bool(reader.get("ValueType", item) == "NUM")
