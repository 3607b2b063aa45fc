"""Which claim line paid for which study: candidate pairs with a score and reasons.

Claims do not name images. Both sides state the participant, the day, the modality and, more or
less, the part of the body; those are compared.
"""

from __future__ import annotations

import csv
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

_COMPONENTS = {"26": "professional", "TC": "technical"}
_STOPPED = {"53", "73"}  # discontinued before it was done

_MODALITY, _DATE, _PLACE = 0.4, 0.3, 0.3
_CLOSE = 0.05  # scores that differ by less do not decide

_OF_STUDIES = ("study_uid", "started_date", "modalities", "description")
_OF_LINES = (
    "claim_id", "line_index", "line_number", "claim_type", "service_from", "service_to",
    "service_date_source", "hcpcs_code", "modifier_1", "modifier_2", "revenue_center",
    "is_total_line", "payment_amount", "currency",
)  # fmt: skip
_DTYPES = {
    "status": "str",
    "study_uid": "str",
    "claim_id": "str",
    "line_index": "Int64",
    "line_number": "Int64",
    "patient_id": "str",
    "score": "float64",
    "days": "Int64",
    "component": "str",
    "hcpcs_code": "str",
    "revenue_center": "str",
    "payment_amount": "float64",
    "currency": "str",
    "reasons": "str",
}


def link(
    studies: pd.DataFrame,
    benefit_lines: pd.DataFrame,
    *,
    days_before: int = 1,
    days_after: int = 7,
    threshold: float = 0.72,
) -> pd.DataFrame:
    """Pair imaging studies with the claim lines that seem to have paid for them.

    Looked at are radiology lines: CPT/HCPCS 70010-79999 (and G codes of mammography), and lines
    without a code in the revenue centres 032x-035x, 040x and 061x. A pair needs the same
    participant, machines that go together, days within the window (for a line without a day of
    its own: a study within the days of the claim) and no contradiction in the part of the body.

    Args:
        studies: as :func:`s4s_notebook.tables.studies` makes it; further columns do no harm.
            With ``participant`` in both frames, pairs stay within a participant.
        benefit_lines: as :func:`s4s_notebook.tables.benefit_lines` makes it.
        days_before: how many days the service may lie before the study.
        days_after: how many days the service may lie after the study.
        threshold: pairs with a lower score are listed as ``weak``.

    Returns:
        One row per candidate pair, and one for each radiology line and each study without any:

        ``status``
            linked; ambiguous (the line fits several studies about equally well: all are
            listed); weak; line unmatched; study unmatched.
        ``score``
            0 to 1: 0.4 for the machine, 0.3 for the day (less for each day apart), 0.3 for the
            part of the body (half where one side does not say, nothing where only one side says
            that it is of the vessels).
        ``days``
            day of service minus day of study; null where the line has no day of its own.
        ``component``
            professional (modifier 26), technical (TC, or a hospital's line), stay (within an
            inpatient claim, which is paid as a whole) or global.
        ``reasons``
            what speaks for the pair, or why there is none.

        ``study_uid``, ``claim_id``, ``line_index``, ``line_number``, ``patient_id``,
        ``hcpcs_code``, ``revenue_center``, ``payment_amount``, ``currency`` (and
        ``participant``) are those of the frames.

    What it cannot know: whether a line that fits was for a study that this holder does not
    have; which of two studies of the same day, machine and part of the body a line is for
    (ambiguous); studies that nobody billed, or that another payer paid; what part of a stay's
    payment an examination was. A payment is linked to a study, not proven to be for it.

    Raises:
        ValueError: a frame lacks columns that its table has.
    """
    _check("studies", studies, _OF_STUDIES)
    _check("benefit_lines", benefit_lines, _OF_LINES)
    keys = [c for c in ("participant", "patient_id") if c in studies and c in benefit_lines]
    lines = _radiology(benefit_lines)
    examinations: list[Any] = [examination_of_study(row) for row in _records(studies)]
    examined = studies.assign(
        _examination=pd.Series(examinations, index=studies.index, dtype=object)
    )
    identified = examined.dropna(subset=keys)  # two unknown participants are not the same one
    pairs = identified.merge(lines, on=keys, how="inner", suffixes=("", "_line"))
    apart = (pairs["service_from"] - pairs["started_date"]).dt.days
    around = (apart <= 0) & (pairs["started_date"] <= pairs["service_to"])
    rows = []
    for pair in _records(pairs[around | apart.between(-days_before, days_after)]):
        result = _compare(pair, days_before, days_after)
        if result is not None:
            rows.append({**pair, **result})
    _choose(rows, threshold, keys)
    taken_lines = {_line_key(row, keys) for row in rows}
    taken_studies = {_study_key(row, keys) for row in rows}
    for line in _records(lines):
        if _line_key(line, keys) not in taken_lines:
            why = "no study of this participant fits in kind of machine, day and part of the body"
            rows.append({**line, "status": "line unmatched", "reasons": f"{_named(line)}; {why}"})
    for study in _records(examined):
        if _study_key(study, keys) not in taken_studies:
            why = (
                "no radiology line fits"
                if study["_examination"].family
                else "not billed as radiology"
            )
            rows.append({**study, "status": "study unmatched", "reasons": why})
    return _frame(rows, [c for c in keys if c not in _DTYPES])


def _check(name: str, frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    lacks = [column for column in columns if column not in frame]
    if lacks:
        raise ValueError(f"{name} is no frame of s4s.tables.{name}: it lacks {', '.join(lacks)}.")


def _frame(rows: list[dict[str, Any]], further: list[str]) -> pd.DataFrame:
    dtypes = {**dict.fromkeys(further, "str"), **_DTYPES}
    data = {
        name: pd.Series([row.get(name) for row in rows], dtype=object).astype(dtype)  # type: ignore[call-overload]  # the stubs know no dtype by name
        for name, dtype in dtypes.items()
    }
    order = [*further, "patient_id", "study_uid", "claim_id", "line_index"]
    return pd.DataFrame(data).sort_values(order, kind="stable", ignore_index=True)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as mappings, None for every kind of null."""
    plain = frame.astype(object)
    records: list[Any] = plain.where(frame.notna(), None).to_dict("records")
    return records


def _line_key(row: dict[str, Any], keys: list[str]) -> tuple[Any, ...]:
    return (*(row[c] for c in keys), row["claim_id"], row["line_index"])


def _study_key(row: dict[str, Any], keys: list[str]) -> tuple[Any, ...]:
    return (*(row[c] for c in keys), row["study_uid"])


def _radiology(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the lines that are for imaging, with the examination of their codes."""
    columns = [*_OF_LINES, *(c for c in ("participant", "patient_id") if c in lines)]
    code = lines["hcpcs_code"].fillna("")
    center = lines["revenue_center"].fillna("").str.zfill(4)
    maybe = code.str.match(r"7\d{4}$|G0\d{3}$") | (
        (code == "") & center.str.match(r"0(3[2-5]|40|61)\d$")
    )
    radiology = lines.loc[maybe.astype(bool), columns].copy()
    examinations: list[Any] = [
        examination_of_code(c, r)
        for c, r in zip(code[radiology.index], center[radiology.index], strict=True)
    ]
    radiology["_code"] = pd.Series(examinations, index=radiology.index, dtype=object)
    has_family = np.array([bool(sight.family) for sight in examinations], dtype=bool)
    return radiology.loc[has_family]


def _compare(pair: dict[str, Any], before: int, after: int) -> dict[str, Any] | None:
    """Return the score and reasons of a pair; None where something contradicts it."""
    study, line = pair["_examination"], pair["_code"]
    when, agreement = _when(pair, before, after), same_region(study, line)
    if when is None or agreement is None or not same_modality(study.family, line.family):
        return None
    if {pair["modifier_1"], pair["modifier_2"]} & _STOPPED and not pair["payment_amount"]:
        return None
    alike, where = agreement
    nearness, days, day = when
    return {
        "score": round(_MODALITY + _DATE * nearness + _PLACE * alike, 4),
        "days": days,
        "component": _component(pair),
        "reasons": f"{_named(pair)}; {study.family} as in the study; {day}; {where}",
    }


def _named(line: dict[str, Any]) -> str:
    code = line["hcpcs_code"]
    description = f"revenue centre {line['revenue_center']}" if code is None else f"code {code}"
    return f"{description} is {line['_code'].family} ({line['_code'].meaning})"


def _when(pair: dict[str, Any], before: int, after: int) -> tuple[float, Any, str] | None:
    """Return nearness in time, 0 to 1, the days apart, and words; None outside the window."""
    study, start, end = pair["started_date"], pair["service_from"], pair["service_to"]
    if study is None or start is None:
        return None
    end = start if end is None else end
    if pair["service_date_source"] == "billablePeriod" and end > start:
        inside = start <= study <= end
        return (0.7, None, "within the days of the claim") if inside else None
    days = (start - study).days
    if start <= study <= end:
        return 1.0, 0, "same day"
    if not -before <= days <= after:
        return None
    apart = f"{abs(days)} day{'s' if abs(days) > 1 else ''} {'later' if days > 0 else 'earlier'}"
    return 1.0 - abs(days) / (max(before, after) + 1), days, apart


def _component(pair: dict[str, Any]) -> str:
    for modifier in (pair["modifier_1"], pair["modifier_2"]):
        if modifier in _COMPONENTS:
            return _COMPONENTS[modifier]
    if pair["claim_type"] in {"INPATIENT", "SNF", "HOSPICE"}:
        return "stay"
    return "global" if pair["revenue_center"] is None else "technical"


def _choose(rows: list[dict[str, Any]], threshold: float, keys: list[str]) -> None:
    """Reduce each line to its best study, or to several that are about equally good."""
    best: dict[tuple[Any, ...], float] = {}
    for row in rows:
        key = _line_key(row, keys)
        best[key] = max(best.get(key, 0.0), row["score"])
    candidates = [row for row in rows if row["score"] > best[_line_key(row, keys)] - _CLOSE]
    rivals: dict[tuple[Any, ...], int] = {}
    for row in candidates:
        rivals[_line_key(row, keys)] = rivals.get(_line_key(row, keys), 0) + 1
    for row in candidates:
        if row["score"] < threshold:
            row["status"] = "weak"
        elif rivals[_line_key(row, keys)] > 1:
            row["status"] = "ambiguous"
            row["reasons"] += f"; fits {rivals[_line_key(row, keys)]} studies about equally"
        else:
            row["status"] = "linked"
    rows[:] = candidates


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
        row["family"], frozenset(row["region"].split()), row["vessels"] == "yes", row["meaning"]
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
