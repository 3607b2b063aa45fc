"""ExplanationOfBenefit → benefits, benefit_lines, diagnoses, procedures, adjudications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from .columns import BB
from .paths import OBJECT, Odd, code_of
from .rows import Kind, Rows, Table
from .values import reference_id

# The roles of R4 and of STU3, for each column that names somebody of the claim's care team.
_ROLES = {
    "attending_npi": ("attending",),
    "operating_npi": ("operating", "assist"),
    "other_npi": ("otheroperating", "other"),
    "prescriber_npi": ("prescribing",),
    "referring_npi": ("referring",),
}
# `primary` on a careTeam of the STU3 server is the attending physician on an institutional
# claim, the prescriber on a drug event and the performer of a line on the others.
_INSTITUTIONAL = {"INPATIENT", "OUTPATIENT", "HHA", "HOSPICE", "SNF"}
_EOB_TYPES = (BB + "codesystem/eob-type", "https://bluebutton.cms.gov/fhir/CodeSystem/EOB-TYPE")
_KINDS = {
    "10": "HHA", "20": "SNF", "30": "SNF", "40": "OUTPATIENT", "50": "HOSPICE", "60": "INPATIENT",
    "61": "INPATIENT", "71": "CARRIER", "72": "CARRIER", "81": "DME", "82": "DME",
}  # fmt: skip
_NCH_TYPES = {
    BB + "variables/nch_clm_type_cd": _KINDS,
    "https://bluebutton.cms.gov/fhir/CodeSystem/CLM-TYPE-CD": _KINDS,
}
_CLAIM_IDS = (BB + "variables/clm_id", BB + "variables/pde_id")
_SPECIALTY = BB + "variables/prvdr_spclty"

_CLAIM_BY_HAND = (*(_ROLES.keys() - {"referring_npi"}), "hospice_start", "claim_type")
_LINE_BY_HAND = ("service_from", "service_to")

BENEFITS = Table("benefits", by_hand=_CLAIM_BY_HAND)
LINES = Table("benefit_lines", below="item", by_hand=_LINE_BY_HAND)
DIAGNOSES = Table("diagnoses", below="diagnosis")
PROCEDURES = Table("procedures", below="procedure")
ADJUDICATIONS = Table("adjudications", below="adjudication", by_hand=["variable", "category"])


def identify(eob: Mapping[str, Any]) -> tuple[str, str, str]:
    """Patient, first day and claim id; the id falls back to the claim identifier."""
    start = _inner(eob, "billablePeriod", "start")
    key = eob.get("id")
    if not _usable(key):
        key = next((v for s in _CLAIM_IDS if (v := _identifier(eob, s))), "")
    return patient_of(eob, "patient"), start if type(start) is str else "", str(key)


def patient_of(resource: Mapping[str, Any], *elements: str) -> str:
    """The id within the reference to the patient; empty where there is none."""
    for element in elements:
        found = _inner(resource, element, "reference")
        if type(found) is str and found.strip():
            try:
                return reference_id(found)[0]
            except ValueError:
                return ""
    return ""


def odd_id(resource: Mapping[str, Any], key: str, odd: Odd) -> None:
    """Say so where the id cannot serve as the key."""
    given = resource.get("id")
    if given is not None and given != key:
        odd("id", given, f"not usable as an id; {key} stands for it")


def _usable(text: Any) -> bool:
    """Whether this can be a key: text that a column can hold."""
    return type(text) is str and bool(text) and text.isprintable()


def _inner(resource: Mapping[str, Any], outer: str, inner: str) -> Any:
    found = resource.get(outer)
    return found.get(inner) if type(found) is dict else None


def objects(owner: Any, element: str) -> list[dict[str, Any]]:
    """The objects of an element, whether it repeats or not; odd ones are left out."""
    found = owner.get(element) if type(owner) is dict else None
    if type(found) is list:
        return [one for one in found if type(one) is dict]
    return [found] if type(found) is dict else []


def _identifier(eob: Mapping[str, Any], system: str) -> str:
    for identifier in objects(eob, "identifier"):
        if identifier.get("system") == system and _usable(identifier.get("value")):
            return str(identifier["value"])
    return ""


def listed(owner: Mapping[str, Any], element: str) -> Sequence[Any]:
    """What stands at an element, as a list, odd things included."""
    found = owner.get(element)
    return found if type(found) is list else () if found is None else (found,)


def _eob_type(eob: Mapping[str, Any]) -> str:
    """Which of the eight kinds of claim; by the NCH type where the holder does not say."""
    kind = ""
    for coding in objects(eob.get("type"), "coding"):
        system, code = coding.get("system"), coding.get("code")
        if type(code) is not str or type(system) is not str:
            continue
        if system in _EOB_TYPES:
            return code
        if system in _NCH_TYPES:
            kind = kind or _NCH_TYPES[system].get(code, "")
    return kind


class _Member(NamedTuple):
    """One of the care team of a claim."""

    npi: Any
    role: str | None
    specialty: Any


def _team(eob: Mapping[str, Any]) -> dict[int, _Member]:
    """The care team by its sequence numbers; one without a number gets a negative one."""
    team: dict[int, _Member] = {}
    for place, member in enumerate(objects(eob, "careTeam"), 1):
        identifiers = objects(member.get("provider"), "identifier")
        npi = next((i.get("value") for i in identifiers), None)
        specialties = objects(member.get("qualification"), "coding")
        specialty = next(
            (c.get("code") for c in specialties if c.get("system") == _SPECIALTY), None
        )
        sequence = member.get("sequence")
        number = sequence if type(sequence) is int else -place
        team.setdefault(number, _Member(npi, code_of(member.get("role")), specialty))
    return team


def emit_benefit(eob: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row a claim."""
    row = BENEFITS.blank.copy()
    odd_id(eob, key, odd)
    BENEFITS.walk(eob, row, odd)
    at = BENEFITS.at
    row[at["claim_id"]] = key
    row[at["line_count"]] = len(listed(eob, "item")) + len(listed(eob, "addItem"))
    kind = _eob_type(eob)
    row[at["claim_type"]] = kind or None
    _roles(_team(eob), kind, row)
    if kind == "HOSPICE":
        row[at["hospice_start"]] = row[at["admitted"]]
    if "total" in eob and kind not in _INSTITUTIONAL:
        _misnamed_total(eob, row)
    rows.add(row, number)


_NAMED = tuple((BENEFITS.at[name], roles) for name, roles in _ROLES.items())
_ATTENDING, _PRESCRIBER = BENEFITS.at["attending_npi"], BENEFITS.at["prescriber_npi"]


def _roles(team: Mapping[int, _Member], kind: str, row: list[Any]) -> None:
    """Who did what for the claim; the first of each role."""
    if not team:
        return
    found: dict[str | None, Any] = {}
    for member in team.values():
        found.setdefault(member.role, member.npi)
    for slot, roles in _NAMED:
        for role in roles:
            if role in found and row[slot] is None:
                row[slot] = found[role]
    primary = _ATTENDING if kind in _INSTITUTIONAL else _PRESCRIBER if kind == "PDE" else None
    if primary is not None and row[primary] is None:
        row[primary] = found.get("primary")


def _misnamed_total(eob: dict[str, Any], row: list[Any]) -> None:
    """CMS's R4 server calls what a prior payer paid on a carrier claim the total charge."""
    for total in objects(eob, "total"):
        codes = {str(coding.get("code")) for coding in objects(total.get("category"), "coding")}
        if {"priorpayerpaid", BB + "variables/clm_tot_chrg_amt"} <= codes:
            charge, paid = BENEFITS.at["total_charge_amount"], BENEFITS.at["primary_payer_amount"]
            row[paid], row[charge] = row[charge], None


def _line_items(eob: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Element, place in its list and the line itself, odd ones included."""
    for element in ("item", "addItem"):
        for place, line in enumerate(listed(eob, element)):
            yield element, place, line


(_CLAIM, _PATIENT, _TYPE, _INDEX, _KIND, _FROM, _TO, _SOURCE, _CENTER, _TOTAL, _NPI, _SPECIAL,
 _DETAILS, _UNIT, _UNITS, _QUANTITY) = (
    LINES.at[name]
    for name in (
        "claim_id", "patient_id", "claim_type", "line_index", "line_kind", "service_from",
        "service_to", "service_date_source", "revenue_center", "is_total_line", "performing_npi",
        "performing_specialty", "detail_count", "ndc_unit", "ndc_quantity", "quantity",
    )
)  # fmt: skip
_MODIFIERS = [LINES.at[f"modifier_{n}"] for n in (1, 2, 3, 4)]
_PERIOD = "servicedPeriod"
_DRUG = {
    "dayssupply": LINES.at["days_supply"],
    "refillnum": LINES.at["fill_number"],
    "compoundcode": LINES.at["compound_code"],
}


def emit_lines(eob: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row an ``item`` or ``addItem``; an odd one makes an empty row, never none."""
    patient = _inner(eob, "patient", "reference")
    kind = _eob_type(eob)
    period = eob.get("billablePeriod")
    team = _team(eob)
    element, place = "", 0

    def within(path: str, value: Any, why: str) -> None:
        odd(f"{element}[{place}].{path}", value, why)

    for index, (element, place, line) in enumerate(_line_items(eob), 1):
        row = LINES.blank.copy()
        row[_CLAIM], row[_PATIENT], row[_TYPE] = key, patient, kind or None
        row[_INDEX], row[_KIND] = index, "item" if element == "item" else "added"
        if type(line) is dict:
            LINES.walk(line, row, within)
            row[_DETAILS] = len(listed(line, "detail"))
            if team:
                _performer(line, team, row)
            _dated(line, period, row, within)
            if row[_UNIT] is not None and row[_UNITS] is None:
                _drug_quantity(line, row)
        else:
            odd(f"{element}[{place}]", line, OBJECT)
        center = row[_CENTER]
        row[_TOTAL] = type(center) is str and center.strip().lstrip("0") == "1"
        if kind == "PDE" and "supportingInfo" in eob:
            _drug(eob, row)
        rows.add(row, number, place)


def _drug_quantity(line: Mapping[str, Any], row: list[Any]) -> None:
    """CMS's R4 server gives the quantity of a drug where that of the service belongs, and its
    unit as a modifier among the others."""
    row[_UNITS] = _inner(line, "quantity", "value")
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


def _performer(line: Mapping[str, Any], team: Mapping[int, _Member], row: list[Any]) -> None:
    """Who performed this line; a performer before the general ``primary`` of R4."""
    links = line.get("careTeamLinkId") or line.get("careTeamSequence")
    if type(links) is not list:
        return
    for link in links:
        member = team.get(link) if type(link) is int else None
        if member is not None and (row[_NPI] is None or member.role != "primary"):
            row[_NPI], row[_SPECIAL] = member.npi, member.specialty


def _drug(eob: Mapping[str, Any], row: list[Any]) -> None:
    """R4 keeps what belongs to the drug of an event at the claim."""
    for info in objects(eob, "supportingInfo"):
        slot = _DRUG.get(code_of(info.get("category")) or "")
        if slot is not None and row[slot] is None:
            codes = (coding.get("code") for coding in objects(info.get("code"), "coding"))
            given = _inner(info, "valueQuantity", "value")
            row[slot] = next(codes, None) if given is None else given


def _repeating(table: Table) -> Any:
    """A reader for an element of the claim that is a table of its own."""

    def emit(eob: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
        found = eob.get(table.below)
        for place, one in enumerate(
            found if type(found) is list else () if found is None else (found,)
        ):
            row = table.blank.copy()
            row[table.at["claim_id"]] = key
            row[table.at["patient_id"]] = _inner(eob, "patient", "reference")
            if type(one) is dict:
                table.walk(one, row, odd)
            else:
                odd(f"{table.below}[{place}]", one, OBJECT)
            rows.add(row, number, place)

    return emit


def _adjudications(eob: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Path of the list, (level, line index, line number, detail index) and the list."""
    for index, (element, place, line) in enumerate(_line_items(eob), 1):
        if type(line) is not dict:
            continue
        path, number = f"{element}[{place}].", line.get("sequence")
        level = "line" if element == "item" else "added"
        yield path + "adjudication", (level, index, number, None), listed(line, "adjudication")
        for inner, detail in enumerate(objects(line, "detail"), 1):
            for level, owner in (
                ("detail", detail),
                *(("subdetail", sub) for sub in objects(detail, "subDetail")),
            ):
                below = f"{path}{level}.adjudication"
                yield below, (level, index, number, inner), listed(owner, "adjudication")
    yield "adjudication", ("claim", None, None, None), listed(eob, "adjudication")
    yield "total", ("total", None, None, None), listed(eob, "total")
    for place, balance in enumerate(objects(eob, "benefitBalance")):
        used = [
            {"category": f.get("type"), "amount": f.get("usedMoney"), "value": count}
            for f in objects(balance, "financial")
            for count in (f.get("usedUnsignedInt"),)
        ]
        yield f"benefitBalance[{place}].financial", ("balance", None, None, None), used


_ADJUDICATED = tuple(
    ADJUDICATIONS.at[name]
    for name in ("level", "line_index", "line_number", "detail_index", "adjudication_index")
)


def emit_adjudications(eob: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row an adjudication at any level, and one a ``total`` and a ``benefitBalance``."""
    patient = _inner(eob, "patient", "reference")
    at = ADJUDICATIONS.at
    path, place = "", 0

    def within(inner: str, value: Any, why: str) -> None:
        odd(f"{path}[{place}].{inner}", value, why)

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
            rows.add(row, number, place)


def _variable(category: Any) -> tuple[str | None, str | None]:
    """The Blue Button variable, or the code as given; and the general code beside it."""
    codes = [code for c in objects(category, "coding") if type(code := c.get("code")) is str]
    found = code_of(category) or next(iter(codes), None)
    general = next((code for code in codes if code != found), None)
    return found and found.removeprefix(BB + "variables/").lower(), general


KIND = Kind(
    identify,
    {
        "benefits": emit_benefit,
        "benefit_lines": emit_lines,
        "diagnoses": _repeating(DIAGNOSES),
        "procedures": _repeating(PROCEDURES),
        "adjudications": emit_adjudications,
    },
)
