"""ExplanationOfBenefit → benefits, benefit_lines, diagnoses, procedures, adjudications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .build import Kind, Rows, Table
from .columns import BB, PREFIXES
from .paths import Odd, code_of
from .values import reference_id

BENEFITS = Table("benefits")
LINES = Table("benefit_lines", below="item")
DIAGNOSES = Table("diagnoses", below="diagnosis")
PROCEDURES = Table("procedures", below="procedure")
ADJUDICATIONS = Table("adjudications", below="adjudication")

# `primary` on a careTeam of the STU3 server is the attending physician on an institutional
# claim, the prescriber on a drug event and the performer of a line on the others.
_INSTITUTIONAL = {"INPATIENT", "OUTPATIENT", "HHA", "HOSPICE", "SNF"}
_DATE_SOURCES = ("servicedPeriod", "servicedDate", "billablePeriod")
_EOB_TYPES = (BB + "codesystem/eob-type", "https://bluebutton.cms.gov/fhir/CodeSystem/EOB-TYPE")
_CLAIM_IDS = (BB + "variables/clm_id", BB + "variables/pde_id")


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


def _usable(text: Any) -> bool:
    """Whether this can be a key: text that a column can hold."""
    return type(text) is str and bool(text) and text.isprintable()


def _inner(resource: Mapping[str, Any], outer: str, inner: str) -> Any:
    found = resource.get(outer)
    return found.get(inner) if type(found) is dict else None


def objects(owner: Any, element: str) -> Iterator[dict[str, Any]]:
    """The objects of an element, whether it repeats or not; odd ones are left out."""
    found = owner.get(element) if type(owner) is dict else None
    for one in found if type(found) is list else (found,):
        if type(one) is dict:
            yield one


def _identifier(eob: Mapping[str, Any], system: str) -> str:
    for identifier in objects(eob, "identifier"):
        if identifier.get("system") == system and _usable(identifier.get("value")):
            return str(identifier["value"])
    return ""


def _eob_type(eob: Mapping[str, Any]) -> Any:
    for coding in objects(eob.get("type"), "coding"):
        if coding.get("system") in _EOB_TYPES:
            return coding.get("code")
    return None


def emit_benefit(eob: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row a claim."""
    row = BENEFITS.blank.copy()
    BENEFITS.walk(eob, row, odd)
    at = BENEFITS.at
    row[at["claim_id"]] = key
    row[at["line_count"]] = sum(1 for _ in _line_items(eob))
    kind = _eob_type(eob)
    institutional = type(kind) is str and kind in _INSTITUTIONAL
    if not institutional:
        row[BENEFITS.slots("attending_npi")[0]] = None
    if kind != "PDE":
        row[BENEFITS.slots("prescriber_npi")[0]] = None
    if kind != "HOSPICE":
        row[BENEFITS.slots("hospice_start")[0]] = None
    if not institutional and "total" in eob:
        _misnamed_total(eob, row)
    rows.add(row, number)


def _misnamed_total(eob: dict[str, Any], row: list[Any]) -> None:
    """CMS's R4 server calls what a prior payer paid on a carrier claim the total charge."""
    for total in objects(eob, "total"):
        codes = {str(coding.get("code")) for coding in objects(total.get("category"), "coding")}
        if {"priorpayerpaid", PREFIXES["bb:"] + "clm_tot_chrg_amt"} <= codes:
            charge, paid = (
                BENEFITS.slots(n) for n in ("total_charge_amount", "primary_payer_amount")
            )
            row[paid[-1]], row[charge[1]] = row[charge[1]], None


def _line_items(eob: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Kind, place in its own list and the line itself, odd ones included."""
    for kind, element in (("item", "item"), ("added", "addItem")):
        found = eob.get(element)
        lines = found if type(found) is list else () if found is None else (found,)
        for place, line in enumerate(lines):
            yield kind, place, line


_LINE = {
    name: LINES.at[name]
    for name in (
        "claim_id", "patient_id", "claim_type", "line_index", "line_kind", "service_date_source",
        "is_total_line", "revenue_center", "performing_npi", "performing_specialty",
        "detail_count",
    )
}  # fmt: skip
_FROM, _TO = LINES.slots("service_from"), LINES.slots("service_to")
_TEAM_LINKS = ("careTeamLinkId", "careTeamSequence")
_DRUG = {
    "dayssupply": ("days_supply", "valueQuantity", "value"),
    "refillnum": ("fill_number", "valueQuantity", "value"),
}


def emit_lines(eob: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row an ``item`` or ``addItem``; an odd one makes an empty row, never none."""
    patient = _inner(eob, "patient", "reference")
    kind = _eob_type(eob)
    start, end = _inner(eob, "billablePeriod", "start"), _inner(eob, "billablePeriod", "end")
    team = _team(eob)
    walk, blank, at = LINES.walk, LINES.blank, _LINE
    for index, (line_kind, place, line) in enumerate(_line_items(eob), 1):
        row = blank.copy()
        row[at["claim_id"]], row[at["patient_id"]], row[at["claim_type"]] = key, patient, kind
        row[at["line_index"]], row[at["line_kind"]] = index, line_kind
        row[_FROM[2]], row[_TO[2]] = start, end
        if type(line) is dict:
            walk(line, row, odd)
            _team_member(line, team, row)
            details = line.get("detail")
            row[at["detail_count"]] = len(details) if type(details) is list else 0
        else:
            odd(f"{line_kind}[{place}]", line, "an object was expected")
        source = next((s for s, slot in enumerate(_FROM) if row[slot] is not None), None)
        if source is not None:
            row[at["service_date_source"]] = _DATE_SOURCES[source]
        center = row[at["revenue_center"]]
        row[at["is_total_line"]] = type(center) is str and center.strip().lstrip("0") == "1"
        if kind == "PDE" and "supportingInfo" in eob:
            _drug(eob, row)
        rows.add(row, number, place)


def _team(eob: Mapping[str, Any]) -> dict[int, tuple[Any, Any, bool]]:
    """Who took part: sequence → (NPI, specialty, whether an organization or general role)."""
    team: dict[int, tuple[Any, Any, bool]] = {}
    for member in objects(eob, "careTeam"):
        sequence = member.get("sequence")
        if type(sequence) is int:
            npi = next(
                (i.get("value") for i in objects(member.get("provider"), "identifier")), None
            )
            role = code_of(member.get("role"))
            specialty = None
            for coding in objects(member.get("qualification"), "coding"):
                if coding.get("system") == PREFIXES["bb:"] + "prvdr_spclty":
                    specialty = coding.get("code")
            team.setdefault(sequence, (npi, specialty, role == "primary"))
    return team


def _team_member(
    line: Mapping[str, Any], team: Mapping[int, tuple[Any, Any, bool]], row: list[Any]
) -> None:
    """Who performed this line; a performer before the general ``primary`` of R4."""
    for element in _TEAM_LINKS:
        links = line.get(element)
        if type(links) is list:
            members = [team[link] for link in links if type(link) is int and link in team]
            if members:
                npi, specialty, _ = min(members, key=lambda member: member[2])
                row[_LINE["performing_npi"]] = npi
                row[_LINE["performing_specialty"]] = specialty


def _drug(eob: Mapping[str, Any], row: list[Any]) -> None:
    """R4 keeps what belongs to the drug of an event at the claim."""
    for info in objects(eob, "supportingInfo"):
        code = code_of(info.get("category"))
        if code in _DRUG:
            name, outer, inner = _DRUG[code]
            row[LINES.slots(name)[-1]] = _inner(info, outer, inner)
        elif code == "compoundcode":
            row[LINES.slots("compound_code")[-1]] = next(
                (coding.get("code") for coding in objects(info.get("code"), "coding")), None
            )


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
                odd(f"{table.below}[{place}]", one, "an object was expected")
            rows.add(row, number, place)

    return emit


def _adjudications(eob: dict[str, Any]) -> Iterator[tuple[str, int | None, Any, int | None, Any]]:
    """Level, line index, line number, detail index and the list of adjudications."""
    for index, (kind, _, line) in enumerate(_line_items(eob), 1):
        if type(line) is not dict:
            continue
        sequence = line.get("sequence")
        yield ("line" if kind == "item" else "added"), index, sequence, None, line
        for place, detail in enumerate(objects(line, "detail"), 1):
            yield "detail", index, sequence, place, detail
            for sub in objects(detail, "subDetail"):
                yield "subdetail", index, sequence, place, sub
    yield "claim", None, None, None, eob


def emit_adjudications(eob: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row an adjudication at any level, and one a ``total`` and a ``benefitBalance``."""
    patient = _inner(eob, "patient", "reference")
    for level, line, sequence, detail, owner in _adjudications(eob):
        for place, one in enumerate(_listed(owner, "adjudication"), 1):
            row = _adjudication(one, level, place, odd)
            row[ADJUDICATIONS.at["line_index"]] = line
            row[ADJUDICATIONS.at["line_number"]] = sequence
            row[ADJUDICATIONS.at["detail_index"]] = detail
            _keyed(row, key, patient, number, rows, place)
    for place, total in enumerate(_listed(eob, "total"), 1):
        _keyed(_adjudication(total, "total", place, odd), key, patient, number, rows, place)
    place = 0
    for balance in objects(eob, "benefitBalance"):
        for financial in objects(balance, "financial"):
            place += 1
            used = financial.get("usedMoney")
            count = financial.get("usedUnsignedInt")
            as_one = {"category": financial.get("type"), "amount": used, "value": count}
            row = _adjudication(as_one, "balance", place, odd)
            _keyed(row, key, patient, number, rows, place)


def _listed(owner: Mapping[str, Any], element: str) -> Any:
    found = owner.get(element)
    return found if type(found) is list else () if found is None else (found,)


def _keyed(row: list[Any], key: str, patient: Any, number: int, rows: Rows, place: int) -> None:
    row[ADJUDICATIONS.at["claim_id"]] = key
    row[ADJUDICATIONS.at["patient_id"]] = patient
    rows.add(row, number, place - 1)


def _adjudication(one: Any, level: str, place: int, odd: Odd) -> list[Any]:
    at = ADJUDICATIONS.at
    row = ADJUDICATIONS.blank.copy()
    row[at["level"]], row[at["adjudication_index"]] = level, place
    if type(one) is not dict:
        odd(f"adjudication[{place - 1}]", one, "an object was expected")
        return row
    ADJUDICATIONS.walk(one, row, odd)
    codes = [c.get("code") for c in objects(one.get("category"), "coding")]
    known = [code for code in codes if type(code) is str]
    variable = code_of(one.get("category"))
    if variable is None and known:
        variable = known[0]
    if variable is not None:
        row[at["variable"]] = variable.removeprefix(PREFIXES["bb:"]).lower()
    row[at["category"]] = next((code for code in known if code != variable), None)
    return row


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
