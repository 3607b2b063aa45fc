"""What repeats within a claim: its lines, diagnoses, procedures and adjudications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .builder import Emit
from .claims import Member, eob_type, team_of
from .extract import (
    OBJECT,
    Report,
    code_of,
    codings,
    first_code,
    inner,
    is_variable,
    listed,
    meaning,
)
from .rows import Rows, Table

_LINE_BY_HAND = ("service_from", "service_to")
LINES = Table("benefit_lines", below="item", by_hand=_LINE_BY_HAND)


def line_items(eob: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Yield element, position in its list, and the line itself, of whatever type."""
    for element in ("item", "addItem"):
        for position, line in enumerate(listed(eob, element)):
            yield element, position, line


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


def emit_lines(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per ``item`` or ``addItem``; a malformed one makes an empty row."""
    patient = inner(eob, "patient", "reference")
    kind = eob_type(eob)
    period = eob.get("billablePeriod")
    team = team_of(eob)
    tests = blood_tests(eob)
    element, position = "", 0

    def within(path: str, value: Any, why: str) -> None:
        report(f"{element}[{position}].{path}", value, why)

    for index, (element, position, line) in enumerate(line_items(eob), 1):
        row = LINES.blank.copy()
        row[_CLAIM], row[_PATIENT], row[_TYPE] = key, patient, kind or None
        row[_INDEX], row[_KIND] = index, "item" if element == "item" else "added"
        if type(line) is dict:
            LINES.extract(line, row, within)
            row[_DETAILS] = len(listed(line, "detail"))
            if team:
                _performer(line, team, row)
            if tests and (test := blood_test_of(line, eob, tests)) is not None:
                row[_BLOOD], row[_BLOOD_VALUE] = test
            _dated(line, period, row, within)
            if row[_UNIT] is not None and row[_UNITS] is None:
                _drug_quantity(line, row)
        else:
            report(f"{element}[{position}]", line, OBJECT)
        center = row[_CENTER]
        row[_TOTAL] = type(center) is str and center.strip().lstrip("0") == "1"
        if kind == "PDE" and "supportingInfo" in eob:
            _drug(eob, row)
        rows.add(row, position)


def _drug_quantity(line: Mapping[str, Any], row: list[Any]) -> None:
    """Put the quantity of a drug into its own column.

    CMS's R4 server gives it where that of the service belongs, and its unit as a modifier.
    """
    row[_UNITS] = inner(line, "quantity", "value")
    if row[_QUANTITY] is row[_UNITS]:
        row[_QUANTITY] = None
    real = [row[slot] for slot in _MODIFIERS if row[slot] is not None]
    for slot, modifier in zip_longest(_MODIFIERS, real):
        row[slot] = modifier


def _dated(line: Mapping[str, Any], claim: Any, row: list[Any], report: Report) -> None:
    """Fill in the days of the service, else those of the claim, and where they come from."""
    period, day = line.get("servicedPeriod"), line.get("servicedDate")
    if period is not None and type(period) is not dict:
        report("servicedPeriod", period, OBJECT)
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
    """Fill in who performed this line; a performer before the general ``primary`` of R4."""
    links = line.get("careTeamLinkId") or line.get("careTeamSequence")
    if type(links) is not list:
        return
    for link in links:
        member = team.get(link) if type(link) is int else None
        if member is not None and (row[_NPI] is None or member.role != "primary"):
            row[_NPI], row[_SPECIAL] = member.npi, member.specialty
            row[_PRVDR], row[_PARTICIPATES] = member.type, member.participates


def _drug(eob: Mapping[str, Any], row: list[Any]) -> None:
    """Fill in what R4 states about a drug event at the claim."""
    for info in objects(eob.get("supportingInfo")):
        slot = _DRUG.get(code_of(info.get("category")) or "")
        if slot is not None and row[slot] is None:
            codes = (coding.get("code") for coding in codings(info.get("code")))
            quantity = inner(info, "valueQuantity", "value")
            row[slot] = next(codes, None) if quantity is None else quantity


DIAGNOSES = Table("diagnoses", below="diagnosis")
PROCEDURES = Table("procedures", below="procedure")
ADJUDICATIONS = Table("adjudications", below="adjudication", by_hand=["variable", "category"])


def repeating(table: Table) -> Emit:
    """Return a reader for an element of the claim that is a table of its own."""

    def emit(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
        values = eob.get(table.below)
        for position, item in enumerate(
            values if type(values) is list else () if values is None else (values,)
        ):
            row = table.blank.copy()
            row[table.at["claim_id"]] = key
            row[table.at["patient_id"]] = inner(eob, "patient", "reference")
            if type(item) is dict:
                table.extract(item, row, report)
            else:
                report(f"{table.below}[{position}]", item, OBJECT)
            rows.add(row, position)

    return emit


def _adjudications(eob: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Yield the path of each list, (level, line index, line number, detail index) and the list."""
    for index, (element, position, line) in enumerate(line_items(eob), 1):
        if type(line) is not dict:
            continue
        path, number = f"{element}[{position}].", line.get("sequence")
        level = "line" if element == "item" else "added"
        yield path + "adjudication", (level, index, number, None), listed(line, "adjudication")
        for nth, detail in enumerate(objects(line.get("detail")), 1):
            for level, owner in (
                ("detail", detail),
                *(("subdetail", sub) for sub in objects(detail.get("subDetail"))),
            ):
                below = f"{path}{level}.adjudication"
                yield below, (level, index, number, nth), listed(owner, "adjudication")
    yield "adjudication", ("claim", None, None, None), listed(eob, "adjudication")
    yield "total", ("total", None, None, None), listed(eob, "total")
    for position, balance in enumerate(objects(eob.get("benefitBalance"))):
        used = [
            {"category": f.get("type"), "amount": f.get("usedMoney"), "value": count}
            for f in objects(balance.get("financial"))
            for count in (f.get("usedUnsignedInt"),)
        ]
        yield f"benefitBalance[{position}].financial", ("balance", None, None, None), used


_ADJUDICATED = tuple(
    ADJUDICATIONS.at[name]
    for name in ("level", "line_index", "line_number", "detail_index", "adjudication_index")
)


def emit_adjudications(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per adjudication at any level, and one per ``total`` and a ``benefitBalance``."""
    patient = inner(eob, "patient", "reference")
    at = ADJUDICATIONS.at
    path, position = "", 0

    def within(below: str, value: Any, why: str) -> None:
        report(f"{path}[{position}].{below}", value, why)

    for path, where, adjudications in _adjudications(eob):
        for position, item in enumerate(adjudications):
            row = ADJUDICATIONS.blank.copy()
            row[at["claim_id"]], row[at["patient_id"]] = key, patient
            for slot, value in zip(_ADJUDICATED, (*where, position + 1), strict=True):
                row[slot] = value
            if type(item) is dict:
                ADJUDICATIONS.extract(item, row, within)
                row[at["variable"]], row[at["category"]] = _variable(item.get("category"))
            else:
                report(f"{path}[{position}]", item, OBJECT)
            rows.add(row, position)


def _variable(category: Any) -> tuple[str | None, str | None]:
    """Return the Blue Button variable, or the code as given, and the general code beside it."""
    codes = [code for c in codings(category) if type(code := c.get("code")) is str]
    general = next((meaning(code) for code in codes if not is_variable(code)), None)
    return code_of(category), general


# Blood tests: CMS puts the haematocrit or haemoglobin of a patient into a contained Observation,
# which a line for an anaemia drug must state. The lines of STU3 refer to it in an extension, those
# of R4 through ``supportingInfo``.

_RESULT = "line_hct_hgb_rslt_num"


class BloodTest(NamedTuple):
    """What was measured (R1 haemoglobin, R2 haematocrit), and the value, as the holder has them."""

    kind: Any
    value: Any


def blood_tests(eob: Mapping[str, Any]) -> dict[str, BloodTest]:
    """Return the contained Observations by the reference that leads to each."""
    return {
        f"#{item['id']}": BloodTest(
            first_code(item.get("code")), inner(item, "valueQuantity", "value")
        )
        for item in objects(eob.get("contained"))
        if item.get("resourceType") == "Observation" and type(item.get("id")) is str
    }


def blood_test_of(
    line: Mapping[str, Any], eob: Mapping[str, Any], tests: Mapping[str, BloodTest]
) -> BloodTest | None:
    """Return the first blood test that a line refers to."""
    for owner in _owners(line, eob):
        reference = inner(owner, "valueReference", "reference")
        if type(reference) is str and reference in tests:
            return tests[reference]
    return None


def _owners(line: Mapping[str, Any], eob: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the elements of a line, and of its claim, that may refer to a blood test."""
    yield from (
        item for item in objects(line.get("extension")) if meaning(str(item.get("url"))) == _RESULT
    )
    linked = listed(line, "informationSequence")
    for info in objects(eob.get("supportingInfo")) if linked else ():
        if info.get("sequence") in linked and code_of(info.get("category")) == _RESULT:
            yield info
