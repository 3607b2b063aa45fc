"""What repeats within a claim: its lines, diagnoses, procedures and adjudications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .builder import Emit
from .claims import Member, eob_type, team_of
from .columns import BB
from .extract import OBJECT, Odd, code_of, codings, inner, listed
from .rows import Rows, Table

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
    for info in objects(eob.get("supportingInfo")):
        slot = _DRUG.get(code_of(info.get("category")) or "")
        if slot is not None and row[slot] is None:
            codes = (coding.get("code") for coding in codings(info.get("code")))
            given = inner(info, "valueQuantity", "value")
            row[slot] = next(codes, None) if given is None else given


DIAGNOSES = Table("diagnoses", below="diagnosis")
PROCEDURES = Table("procedures", below="procedure")
ADJUDICATIONS = Table("adjudications", below="adjudication", by_hand=["variable", "category"])


def repeating(table: Table) -> Emit:
    """A reader for an element of the claim that is a table of its own."""

    def emit(eob: dict[str, Any], key: str, rows: Rows, odd: Odd) -> None:
        found = eob.get(table.below)
        for place, one in enumerate(
            found if type(found) is list else () if found is None else (found,)
        ):
            row = table.blank.copy()
            row[table.at["claim_id"]] = key
            row[table.at["patient_id"]] = inner(eob, "patient", "reference")
            if type(one) is dict:
                table.walk(one, row, odd)
            else:
                odd(f"{table.below}[{place}]", one, OBJECT)
            rows.add(row, place)

    return emit


def _adjudications(eob: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Path of the list, (level, line index, line number, detail index) and the list."""
    for index, (element, place, line) in enumerate(line_items(eob), 1):
        if type(line) is not dict:
            continue
        path, number = f"{element}[{place}].", line.get("sequence")
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
    for place, balance in enumerate(objects(eob.get("benefitBalance"))):
        used = [
            {"category": f.get("type"), "amount": f.get("usedMoney"), "value": count}
            for f in objects(balance.get("financial"))
            for count in (f.get("usedUnsignedInt"),)
        ]
        yield f"benefitBalance[{place}].financial", ("balance", None, None, None), used


_ADJUDICATED = tuple(
    ADJUDICATIONS.at[name]
    for name in ("level", "line_index", "line_number", "detail_index", "adjudication_index")
)


def emit_adjudications(eob: dict[str, Any], key: str, rows: Rows, odd: Odd) -> None:
    """One row per adjudication at any level, and one per ``total`` and a ``benefitBalance``."""
    patient = inner(eob, "patient", "reference")
    at = ADJUDICATIONS.at
    path, place = "", 0

    def within(below: str, value: Any, why: str) -> None:
        odd(f"{path}[{place}].{below}", value, why)

    for path, where, found in _adjudications(eob):
        for place, one in enumerate(found):
            row = ADJUDICATIONS.blank.copy()
            row[at["claim_id"]], row[at["patient_id"]] = key, patient
            for slot, value in zip(_ADJUDICATED, (*where, place + 1), strict=True):
                row[slot] = value
            if type(one) is dict:
                ADJUDICATIONS.walk(one, row, within)
                row[at["variable"]], row[at["category"]] = _variable(one.get("category"))
            else:
                odd(f"{path}[{place}]", one, OBJECT)
            rows.add(row, place)


def _variable(category: Any) -> tuple[str | None, str | None]:
    """The Blue Button variable, or the code as given; and the general code beside it."""
    codes = [code for c in codings(category) if type(code := c.get("code")) is str]
    found = code_of(category) or next(iter(codes), None)
    general = next((code for code in codes if code != found), None)
    return found and found.removeprefix(BB + "variables/").lower(), general


# Blood tests: CMS puts the haematocrit or haemoglobin of a patient into a contained Observation,
# which a line for an anaemia drug must state. The lines of STU3 refer to it in an extension, those
# of R4 through ``supportingInfo``.

_RESULT = BB + "variables/line_hct_hgb_rslt_num"


class BloodTest(NamedTuple):
    """What was measured (R1 haemoglobin, R2 haematocrit), and the value, as the holder has them."""

    kind: Any
    value: Any


def blood_tests(eob: Mapping[str, Any]) -> dict[str, BloodTest]:
    """The contained Observations, by the reference that leads to each."""
    return {
        f"#{one['id']}": BloodTest(code_of(one.get("code")), inner(one, "valueQuantity", "value"))
        for one in objects(eob.get("contained"))
        if one.get("resourceType") == "Observation" and type(one.get("id")) is str
    }


def blood_test_of(
    line: Mapping[str, Any], eob: Mapping[str, Any], tests: Mapping[str, BloodTest]
) -> BloodTest | None:
    """The first blood test that a line refers to."""
    for owner in _owners(line, eob):
        reference = inner(owner, "valueReference", "reference")
        if type(reference) is str and reference in tests:
            return tests[reference]
    return None


def _owners(line: Mapping[str, Any], eob: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The elements of a line, and of its claim on its behalf, that may refer to a blood test."""
    yield from (one for one in objects(line.get("extension")) if one.get("url") == _RESULT)
    linked = listed(line, "informationSequence")
    for info in objects(eob.get("supportingInfo")) if linked else ():
        if info.get("sequence") in linked and code_of(info.get("category")) == _RESULT:
            yield info
