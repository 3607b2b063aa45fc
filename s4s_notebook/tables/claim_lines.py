"""The lines of claims → benefit_lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from .claims import Member, eob_type, team_of
from .elements import inner, listed, objects
from .observations import blood_test_of, blood_tests
from .rows import Rows, Table
from .walk import OBJECT, Odd, code_of

_LINE_BY_HAND = ("service_from", "service_to")
LINES = Table("benefit_lines", below="item", by_hand=_LINE_BY_HAND)


def line_items(eob: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Element, place in its list and the line itself, odd ones included."""
    for element in ("item", "addItem"):
        for place, line in enumerate(listed(eob, element)):
            yield element, place, line


(_CLAIM, _PATIENT, _TYPE, _INDEX, _KIND, _FROM, _TO, _SOURCE, _CENTER, _TOTAL, _NPI, _SPECIAL,
 _PRVDR, _PARTICIPATES, _BLOOD, _BLOOD_VALUE, _DETAILS, _UNIT, _UNITS, _QUANTITY) = (
    LINES.at[name]
    for name in (
        "claim_id", "patient_id", "claim_type", "line_index", "line_kind", "service_from",
        "service_to", "service_date_source", "revenue_center", "is_total_line", "performing_npi",
        "performing_specialty", "performing_type", "performing_participates", "blood_test",
        "blood_test_result", "detail_count", "ndc_unit", "ndc_quantity", "quantity",
    )
)  # fmt: skip
_MODIFIERS = [LINES.at[f"modifier_{n}"] for n in (1, 2, 3, 4)]
_PERIOD = "servicedPeriod"
_DRUG = {
    "dayssupply": LINES.at["days_supply"],
    "refillnum": LINES.at["fill_number"],
    "compoundcode": LINES.at["compound_code"],
}


def emit_lines(eob: dict[str, Any], key: str, rows: Rows, odd: Odd) -> None:
    """One row an ``item`` or ``addItem``; an odd one makes an empty row, never none."""
    patient = inner(eob, "patient", "reference")
    kind = eob_type(eob)
    period = eob.get("billablePeriod")
    team = team_of(eob)
    tests = blood_tests(eob)
    element, place = "", 0

    def within(path: str, value: Any, why: str) -> None:
        odd(f"{element}[{place}].{path}", value, why)

    for index, (element, place, line) in enumerate(line_items(eob), 1):
        row = LINES.blank.copy()
        row[_CLAIM], row[_PATIENT], row[_TYPE] = key, patient, kind or None
        row[_INDEX], row[_KIND] = index, "item" if element == "item" else "added"
        if type(line) is dict:
            LINES.walk(line, row, within)
            row[_DETAILS] = len(listed(line, "detail"))
            if team:
                _performer(line, team, row)
            if tests and (test := blood_test_of(line, eob, tests)) is not None:
                row[_BLOOD], row[_BLOOD_VALUE] = test
            _dated(line, period, row, within)
            if row[_UNIT] is not None and row[_UNITS] is None:
                _drug_quantity(line, row)
        else:
            odd(f"{element}[{place}]", line, OBJECT)
        center = row[_CENTER]
        row[_TOTAL] = type(center) is str and center.strip().lstrip("0") == "1"
        if kind == "PDE" and "supportingInfo" in eob:
            _drug(eob, row)
        rows.add(row, place)


def _drug_quantity(line: Mapping[str, Any], row: list[Any]) -> None:
    """CMS's R4 server gives the quantity of a drug where that of the service belongs, and its
    unit as a modifier among the others."""
    row[_UNITS] = inner(line, "quantity", "value")
    if row[_QUANTITY] is row[_UNITS]:
        row[_QUANTITY] = None
    real = [row[slot] for slot in _MODIFIERS if row[slot] is not None]
    for slot, modifier in zip_longest(_MODIFIERS, real):
        row[slot] = modifier


def _dated(line: Mapping[str, Any], claim: Any, row: list[Any], odd: Odd) -> None:
    """The days of the service; those of the claim where the line has none, and say which."""
    period, day = line.get("servicedPeriod"), line.get("servicedDate")
    if period is not None and type(period) is not dict:
        odd("servicedPeriod", period, OBJECT)
    elif period:
        row[_FROM], row[_TO], row[_SOURCE] = period.get("start"), period.get("end"), _PERIOD
    if row[_FROM] is None and row[_TO] is None:
        if day is not None:
            row[_FROM] = row[_TO] = day
            row[_SOURCE] = "servicedDate"
        elif type(claim) is dict:
            row[_FROM], row[_TO] = claim.get("start"), claim.get("end")
            row[_SOURCE] = "billablePeriod"


def _performer(line: Mapping[str, Any], team: Mapping[int, Member], row: list[Any]) -> None:
    """Who performed this line; a performer before the general ``primary`` of R4."""
    links = line.get("careTeamLinkId") or line.get("careTeamSequence")
    if type(links) is not list:
        return
    for link in links:
        member = team.get(link) if type(link) is int else None
        if member is not None and (row[_NPI] is None or member.role != "primary"):
            row[_NPI], row[_SPECIAL] = member.npi, member.specialty
            row[_PRVDR], row[_PARTICIPATES] = member.type, member.participates


def _drug(eob: Mapping[str, Any], row: list[Any]) -> None:
    """R4 keeps what belongs to the drug of an event at the claim."""
    for info in objects(eob, "supportingInfo"):
        slot = _DRUG.get(code_of(info.get("category")) or "")
        if slot is not None and row[slot] is None:
            codes = (coding.get("code") for coding in objects(info.get("code"), "coding"))
            given = inner(info, "valueQuantity", "value")
            row[slot] = next(codes, None) if given is None else given
