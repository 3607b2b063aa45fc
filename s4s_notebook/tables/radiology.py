"""The examination that a procedure code, a revenue centre or the text of a study stands for.

The tables stand in ``declared/radiology_*.csv``.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

_FAMILIES = {
    "CR": "XR", "DX": "XR", "DR": "XR", "RG": "XR", "RF": "XR", "PX": "XR", "IO": "XR",
    "CT": "CT", "MR": "MR", "US": "US", "IVUS": "US", "MG": "MG", "NM": "NM", "PT": "PT",
    "XA": "XA", "BMD": "DXA", "RTDOSE": "RT", "RTPLAN": "RT", "RTSTRUCT": "RT", "RTIMAGE": "RT",
    "RTRECORD": "RT",
}  # fmt: skip
_ALIKE = {frozenset({"XR", "XA"})}
_BODY = {"chest", "abdomen", "pelvis", "spine", "neck"}
_VESSELS = re.compile(r"angio|\b(mra|cta)\b|vessel|venogra", re.IGNORECASE)


class Examination(NamedTuple):
    """Modality family and regions of the body; empty where a code or text does not state them."""

    family: str = ""
    regions: frozenset[str] = frozenset()
    vessels: bool | None = None
    meaning: str = ""


@cache
def _rows(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath("declared", f"radiology_{name}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _examination(row: dict[str, str]) -> Examination:
    return Examination(
        row["family"],
        frozenset(row["region"].split()),
        row["vessels"] == "yes",
        row["meaning"],
    )


@cache
def examination_of_code(code: str, center: str) -> Examination:
    """Return the examination of a procedure code, or of a revenue centre without one."""
    if code:
        for row in _rows("codes"):
            if len(code) == len(row["first"]) and row["first"] <= code <= row["last"]:
                return _examination(row)
        return Examination()
    best = max(
        (row for row in _rows("revenue") if center.startswith(row["code"])),
        key=lambda row: len(row["code"]),
        default=None,
    )
    if best is None:
        return Examination()
    result = _examination(best)
    return result if result.vessels else result._replace(vessels=None)


@cache
def _words() -> list[tuple[str, str]]:
    return [(row["word"], row["region"]) for row in _rows("words")]


def examination_of_study(study: dict[str, Any]) -> Examination:
    """Return the examination that a row of studies describes."""
    families = {_FAMILIES.get(m, "") for m in str(study["modalities"]).split("\\")} - {""}
    words = " ".join(
        str(study[c]).lower()
        for c in ("description", "procedure_display", "body_sites")
        if study.get(c) is not None
    )
    regions = {region for word, region in _words() if re.search(rf"\b{word}", words)}
    if "spine" in regions:
        regions -= {"neck", "chest"}  # "thoracic spine" is no chest
    vessels = bool(_VESSELS.search(words)) if words else None
    return Examination(" ".join(sorted(families)), frozenset(regions), vessels)


def same_modality(study: str, line: str) -> bool:
    """Return whether two modality families go together."""
    return any(family == line or frozenset({family, line}) in _ALIKE for family in study.split())


def same_region(study: Examination, line: Examination) -> tuple[float, str] | None:
    """Return how well the regions agree, 0 to 1, and in words; None where they contradict."""
    study_regions, line_regions = study.regions, line.regions
    if not study_regions or not line_regions:
        return 0.5, "one side does not say which part of the body"
    if "limb" in line_regions:
        line_regions = line_regions | {"arm", "leg"}
    if "body" in line_regions:
        line_regions = line_regions | _BODY | {"arm", "leg"}
    common = study_regions & line_regions
    if not common:
        return None
    where = f"both {', '.join(sorted(common))}"
    if study.family in {"CT", "MR"} and {study.vessels, line.vessels} == {True, False}:
        return 0.0, f"{where}, but one of the vessels and the other not"
    return 1.0, where
