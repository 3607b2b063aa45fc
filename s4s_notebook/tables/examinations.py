"""Which examination a billing code, a revenue centre or a study's own words are for."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

_FAMILIES = {
    "CR": "XR", "DX": "XR", "DR": "XR", "RG": "XR", "RF": "XR", "PX": "XR", "IO": "XR",
    "CT": "CT", "MR": "MR", "US": "US", "IVUS": "US", "EC": "US", "MG": "MG", "NM": "NM",
    "PT": "PT", "XA": "XA", "BMD": "DXA", "RTDOSE": "RT", "RTPLAN": "RT", "RTSTRUCT": "RT",
    "RTIMAGE": "RT", "RTRECORD": "RT", "OP": "EYE", "OPT": "EYE", "OPTENF": "EYE", "OCT": "EYE",
    "OT": "other", "SC": "other", "SR": "other",
}  # fmt: skip
_ALIKE = {frozenset({"XR", "XA"}), frozenset({"DXA", "XR"}), frozenset({"DXA", "other"})}
_BODY = {"chest", "abdomen", "pelvis", "spine", "neck"}
_LIMBS = {"arm", "leg"}
_VESSELS = re.compile(r"angio|\b(mra|cta)\b|vessel|venogra", re.IGNORECASE)
_FLOW = re.compile(r"doppler|duplex|\bdvt\b|\bven(ous|a)|\bvein|arter|carotid", re.IGNORECASE)
_DENSITY = re.compile(r"\b(dxa|dexa|bmd)\b|densit|bone mineral", re.IGNORECASE)
_GUIDED = re.compile(
    r"guid|biops|\bbx\b|drain|needle|aspirat|inject|placement|thoracentesis|paracentesis|centesis"
    r"|locali[sz]ation",
    re.IGNORECASE,
)
_LIMB = (
    r"(?:knee|hip|ankle|foot|femur|tib|leg|shoulder|elbow|wrist|hand|humerus|forearm|arm|breast"
    r"|clavicle|scapula|toe|finger|thumb|heel|extremity)s?"
)
_SIDES = {
    "L": re.compile(rf"\b(?:lt|left)\b|\bl\.? {_LIMB}\b|\b{_LIMB}[ ,_-]+l\b|\(l\)"),
    "R": re.compile(rf"\b(?:rt|right)\b|\br\.? {_LIMB}\b|\b{_LIMB}[ ,_-]+r\b|\(r\)"),
}
_BOTH = re.compile(r"\bbil(?:at(?:eral)?)?\b|\bboth\b|\bblt\b")


class Examination(NamedTuple):
    """What was examined, as far as a code or a text says it; empty where it does not.

    Attributes:
        family: families of modalities, joined by blanks.
        regions: regions of the body.
        vessels: whether it is of the vessels.
        meaning: the code in words.
        parts: parts of the regions, such as one joint.
        images: empty; ``add-on`` (never without a main examination), ``guidance`` (of another
            procedure) or ``no`` (none are made).
        sides: L, R or both, where the study says it.
    """

    family: str = ""
    regions: frozenset[str] = frozenset()
    vessels: bool | None = None
    meaning: str = ""
    parts: frozenset[str] = frozenset()
    images: str = ""
    sides: frozenset[str] = frozenset()


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
        frozenset(row["part"].split()),
        row["images"],
    )


@cache
def examination_of_code(code: str, center: str) -> Examination:
    """Return the examination of a procedure code, or of a revenue centre without one.

    Its family is empty where the code is no imaging.
    """
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
def _words() -> list[tuple[re.Pattern[str], str, str]]:
    return [(re.compile(rf"\b{r['word']}"), r["region"], r["part"]) for r in _rows("words")]


_TEXTS = ("description", "procedure_display", "body_sites")


def examination_of_study(study: dict[str, Any]) -> Examination:
    """Return the examination that a row of studies describes."""
    modalities = str(study["modalities"] or "").split("\\")
    words = " ".join(str(study[c]).lower() for c in _TEXTS if study.get(c) is not None)
    return _of_words(tuple(modalities), words, str(study.get("lateralities") or ""))


@cache
def _of_words(modalities: tuple[str, ...], words: str, lateralities: str) -> Examination:
    families = {_FAMILIES.get(m, "") for m in modalities} - {""}
    if _DENSITY.search(words) and families <= {"XR", "other", "DXA"}:
        families = {"DXA"}
    if len(families) > 1:
        families -= {"other"}
    hits = [(region, part) for word, region, part in _words() if word.search(words)]
    regions = {region for region, _ in hits}
    # "CT head, temporal bones" is of the whole head; "thoracic spine" is of no whole spine.
    complete = {region for region, part in hits if not part} - {"spine"}
    parts = {part for region, part in hits if part and region not in complete}
    if "spine" in regions:
        regions -= {"neck", "chest"}  # "thoracic spine" is no chest
    if "breast" in regions:
        regions -= {"chest"}
    vessels = bool(_VESSELS.search(words)) if words else None
    if "US" in families and words:
        vessels = bool(_FLOW.search(words) and "heart" not in regions)
    return Examination(
        " ".join(sorted(families)),
        frozenset(regions),
        vessels,
        words,
        frozenset(parts),
        "guidance" if _GUIDED.search(words) else "",
        _sides(words, lateralities),
    )


def _sides(words: str, lateralities: str) -> frozenset[str]:
    """Return the sides that the series state, else those in words."""
    stated = set(re.findall(r"[LRB]", lateralities.upper())) if lateralities else set()
    if "B" in stated or _BOTH.search(words):
        return frozenset("LR")
    return frozenset(stated or {side for side, text in _SIDES.items() if text.search(words)})


def same_modality(study: str, line: str) -> bool:
    """Return whether two modality families go together."""
    return any(
        one == other or frozenset({one, other}) in _ALIKE
        for one in study.split()
        for other in line.split()
    )


@cache
def same_region(study: Examination, line: Examination) -> tuple[float, str] | None:
    """Return how well the regions agree, 0 to 1, and in words; None where they contradict."""
    if line.family == "DXA" or study.family == "DXA":
        return _density(study, line)
    if line.images == "guidance" and not study.images:
        return 0.0, "the code is guidance of another procedure, which the study does not mention"
    common = _extended(study.regions) & _extended(line.regions)
    if not study.regions or not line.regions:
        if study.family == "CT PT" and line.family == "CT":
            return 0.0, "a CT beside PET that does not say that it is an examination of its own"
        return 0.5, "one side does not say which part of the body"
    if not common:
        return None
    if study.parts and line.parts and not study.parts & line.parts and not _further(study, line):
        return None
    where = f"both {', '.join(sorted(common))}"
    if _of_vessels(study, line):
        return 0.0, f"{where}, but one of the vessels and the other not"
    rest = study.regions - common
    return 1.0 - 0.2 * len(rest) / len(study.regions), where


def _density(study: Examination, line: Examination) -> tuple[float, str] | None:
    if study.family == line.family:
        return 1.0, "both bone density"
    return None if study.meaning else (0.0, "the study does not say that it is of bone density")


def _extended(regions: Iterable[str]) -> frozenset[str]:
    extended = set(regions)
    if "limb" in extended:
        extended |= _LIMBS
    if "body" in extended:
        extended |= _BODY | _LIMBS
    return frozenset(extended)


def _further(study: Examination, line: Examination) -> bool:
    """Return whether a region that both name has no part on the study's side."""
    named = {region for _, region, part in _words() if part in study.parts}
    return bool((study.regions & line.regions) - named)


def _of_vessels(study: Examination, line: Examination) -> bool:
    alike = {study.vessels, line.vessels} == {True, False}
    return alike and study.family in {"CT", "MR", "US"}
