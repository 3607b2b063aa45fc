"""What a procedure code, a revenue centre or the words of a study say was looked at, and how.

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


class Sight(NamedTuple):
    """What a code, or a description, says was looked at; empty where it does not say."""

    family: str = ""
    regions: frozenset[str] = frozenset()
    vessels: bool | None = None
    meaning: str = ""


@cache
def _rows(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath("declared", f"radiology_{name}.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _sight(row: dict[str, str]) -> Sight:
    return Sight(
        row["family"],
        frozenset(row["region"].split()),
        row["vessels"] == "yes",
        row["meaning"],
    )


@cache
def coded(code: str, center: str) -> Sight:
    """What a procedure code says; a revenue centre where there is none."""
    if code:
        for row in _rows("codes"):
            if len(code) == len(row["first"]) and row["first"] <= code <= row["last"]:
                return _sight(row)
        return Sight()
    best = max(
        (row for row in _rows("revenue") if center.startswith(row["code"])),
        key=lambda row: len(row["code"]),
        default=None,
    )
    if best is None:
        return Sight()
    found = _sight(best)
    return found if found.vessels else found._replace(vessels=None)


@cache
def _words() -> list[tuple[str, str]]:
    return [(row["word"], row["region"]) for row in _rows("words")]


def seen(study: dict[str, Any]) -> Sight:
    """What a study says of itself."""
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
    return Sight(" ".join(sorted(families)), frozenset(regions), vessels)


def same_machine(study: str, line: str) -> bool:
    return any(one == line or frozenset({one, line}) in _ALIKE for one in study.split())


def same_place(study: Sight, line: Sight) -> tuple[float, str] | None:
    """How well the parts of the body agree, 0 to 1, and in words; None where they contradict."""
    ours, theirs = study.regions, line.regions
    if not ours or not theirs:
        return 0.5, "one side does not say which part of the body"
    if "limb" in theirs:
        theirs = theirs | {"arm", "leg"}
    if "body" in theirs:
        theirs = theirs | _BODY | {"arm", "leg"}
    common = ours & theirs
    if not common:
        return None
    where = f"both {', '.join(sorted(common))}"
    if study.family in {"CT", "MR"} and {study.vessels, line.vessels} == {True, False}:
        return 0.0, f"{where}, but one of the vessels and the other not"
    return 1.0, where
