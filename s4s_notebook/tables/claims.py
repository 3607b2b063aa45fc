"""ExplanationOfBenefit → benefits; and what all tables of claims have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .claim_status import Status, cms_claim_id, status_of, unique_id
from .coded import best, icd
from .extract import (
    Report,
    code_of,
    codings,
    first_code,
    inner,
    listed,
    meaning,
    report_id,
    usable,
)
from .npi import is_valid_npi
from .people import patient_of
from .providers import Pending, Provider, Referred, contained_providers, resolve, taxonomy_of
from .rows import Rows, Table

# The roles of R4 and of STU3, for each column that names a member of the claim's care team.
_ROLES = {
    "attending_npi": ("attending",),
    "operating_npi": ("operating", "assist"),
    "other_npi": ("otheroperating", "other"),
    "prescriber_npi": ("prescribing",),
    "referring_npi": ("referring",),
    "supervising_npi": ("supervisor", "supervising"),
    "rendering_npi": ("rendering", "performing"),
    "service_facility_npi": ("service",),
}
# `primary` on a careTeam of the STU3 server is the attending physician on an institutional
# claim, the prescriber on a drug event and the performer of a line on the others. For other
# payers it is the primary care provider.
_INSTITUTIONAL = {"INPATIENT", "OUTPATIENT", "HHA", "HOSPICE", "SNF"}
_SPECIALTIES = {"prvdr_spclty", "clm_prvdr_spclty_cd"}
_TYPE = "carr_line_prvdr_type_cd"
_PARTICIPATES = "prtcptng_ind_cd"
_PAID = {"P": "paid", "D": "denied", "Y": "denied", "R": "rejected"}

_CLAIM_BY_HAND = (
    *(_ROLES.keys() - {"referring_npi", "service_facility_npi"}),
    *("hospice_start", "claim_type", "claim_kind", "is_final", "claim_version"),
    *("unique_claim_id", "payer_name", "payer_id", "coverage_id", "billing_npi", "billing_name"),
    *("billing_id", "pcp_npi", "npi_valid", "principal_diagnosis", "admitting_diagnosis"),
)

BENEFITS = Table("benefits", by_hand=_CLAIM_BY_HAND)


def identify(eob: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return patient, first day and claim id; the id falls back to CMS's claim identifier."""
    start = inner(eob, "billablePeriod", "start")
    key = eob.get("id")
    if not usable(key):
        key = cms_claim_id(eob) or ""
    return patient_of(eob, "patient"), start if type(start) is str else "", str(key)


class Member(NamedTuple):
    """A member of the care team of a claim."""

    provider: Referred
    role: str | None
    specialty: Any
    type: Any
    participates: Any
    taxonomy: Any


def team_of(eob: Mapping[str, Any], contained: Mapping[str, Provider]) -> dict[int, Member]:
    """Return the care team by sequence number; a member without one gets a negative number."""
    team: dict[int, Member] = {}
    for position, member in enumerate(objects(eob.get("careTeam")), 1):
        sequence = member.get("sequence")
        number = sequence if type(sequence) is int else -position
        if number not in team:
            team[number] = _member(member, contained)
    return team


def _member(member: Mapping[str, Any], contained: Mapping[str, Provider]) -> Member:
    specialty, codes = None, {}
    qualification = member.get("qualification")
    for coding in codings(qualification) if qualification is not None else ():
        if specialty is None and meaning(str(coding.get("system"))) in _SPECIALTIES:
            specialty = coding.get("code")
    for extension in objects(member["extension"]) if "extension" in member else ():
        if type(url := extension.get("url")) is str:
            codes[meaning(url)] = inner(extension, "valueCoding", "code")
    return Member(
        resolve(member.get("provider"), contained),
        code_of(member.get("role")),
        specialty,
        codes.get(_TYPE),
        codes.get(_PARTICIPATES),
        taxonomy_of(qualification) if qualification is not None else None,
    )


class Context(NamedTuple):
    """What several tables read from a claim.

    Attributes:
        status: kind, version and finality.
        contained: providers within the claim, by reference.
        team: the care team by sequence number.
    """

    status: Status
    contained: Mapping[str, Provider]
    team: Mapping[int, Member]


def context_of(eob: Mapping[str, Any]) -> Context:
    """Return the context of a claim."""
    contained = contained_providers(eob) if "contained" in eob else {}
    return Context(status_of(eob), contained, team_of(eob, contained))


_AT = BENEFITS.at
_ID, _UNIQUE, _LINES, _CLAIM_TYPE, _KIND, _FINAL, _VERSION = (
    _AT[name]
    for name in (
        *("claim_id", "unique_claim_id", "line_count", "claim_type", "claim_kind", "is_final"),
        "claim_version",
    )
)
_BILL = [_AT[name] for name in ("facility_type", "service_class", "frequency")]


def emit_benefit(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per claim."""
    row = BENEFITS.blank.copy()
    report_id(eob, key, report)
    BENEFITS.extract(eob, row, report)
    status, contained, team = rows.context()
    row[_ID], row[_UNIQUE] = key, unique_id(eob)
    row[_LINES] = len(listed(eob, "item")) + len(listed(eob, "addItem"))
    row[_CLAIM_TYPE], row[_KIND] = status.type or None, status.kind
    row[_FINAL], row[_VERSION] = status.is_final, status.version
    pending: list[Pending] = []
    _people(eob, contained, row, pending)
    _roles(team, status.type, row, pending)
    _coverage(eob, row, report)
    _bill(status.bill, row)
    _diagnoses(eob, row)
    _concepts(row)
    if status.type == "HOSPICE":
        row[_AT["hospice_start"]] = row[_AT["admitted"]]
    _paid(row)
    _payment_status(row)
    npis = [row[slot] for slot in _NPIS if type(row[slot]) is str]
    if npis:
        row[_AT["npi_valid"]] = all(map(is_valid_npi, npis))
    if pending:
        rows.note(tuple(map(tuple, pending)))
    rows.add(row)


_NPIS = [slot for name, slot in BENEFITS.at.items() if name.endswith("_npi")]


def settle(
    referred: Referred, part: str, name: str, position: int,
    row: list[Any], slot: int, pending: list[Pending],
) -> None:  # fmt: skip
    """Fill in what is known of a provider, now or when all resources are read."""
    if row[slot] is not None:
        return
    row[slot] = getattr(referred.provider, part)
    if row[slot] is None and referred.elsewhere is not None:
        pending.append(Pending(name, position, referred.elsewhere, part))


def _put(
    referred: Referred, part: str, column: str, row: list[Any], pending: list[Pending]
) -> None:
    settle(referred, part, column, 0, row, _AT[column], pending)


def _people(
    eob: Mapping[str, Any], contained: Mapping[str, Provider],
    row: list[Any], pending: list[Pending],
) -> None:  # fmt: skip
    """Fill in who insures and bills, and where the services were."""
    if "insurer" in eob:
        insurer = resolve(eob["insurer"], contained)
        _put(insurer, "payer", "payer_id", row, pending)
        _put(insurer, "name", "payer_name", row, pending)
    if "provider" in eob:
        provider = resolve(eob["provider"], contained)
        _put(provider, "npi", "billing_npi", row, pending)
        _put(provider, "name", "billing_name", row, pending)
        _put(provider, "other", "billing_id", row, pending)
        if provider.provider.kind == "Organization":
            _put(provider, "npi", "organization_npi", row, pending)
        elif provider.provider.kind is None and provider.elsewhere is not None:
            elsewhere = Referred(Provider(), provider.elsewhere)
            _put(elsewhere, "npi", "organization_npi", row, pending)
    facility = row[_AT["service_facility_npi"]]
    if type(facility) is dict:
        row[_AT["service_facility_npi"]] = None
        _put(resolve(facility, contained), "npi", "service_facility_npi", row, pending)


_COLUMNS = {role: name for name, roles in _ROLES.items() for role in roles}


def _roles(team: Mapping[int, Member], type_: str, row: list[Any], pending: list[Pending]) -> None:
    """Fill in the NPI of the first member of each role that has one."""
    people: dict[str | None, Referred] = {}
    for member in team.values():
        if member.role not in people or not people[member.role].has_npi:
            people[member.role] = member.provider
    for role, column in _COLUMNS.items():  # in order of preference
        if role in people:
            _put(people[role], "npi", column, row, pending)
    if "primary" in people and type_ in _PRIMARY:
        _put(people["primary"], "npi", _PRIMARY[type_], row, pending)


_PRIMARY = {
    **dict.fromkeys(_INSTITUTIONAL, "attending_npi"),
    "PDE": "prescriber_npi",
    "": "pcp_npi",
}


def _coverage(eob: Mapping[str, Any], row: list[Any], report: Report) -> None:
    """Fill in the coverage that is focal, else the only one."""
    insurances = objects(eob.get("insurance"))
    focal = [i for i in insurances if i.get("focal") is True]
    found = focal if len(focal) == 1 else insurances
    if len(found) == 1:
        coverage = found[0].get("coverage")
        if type(coverage) is dict:
            row[_AT["coverage_id"]] = coverage.get("reference") or coverage.get("display")
    elif found:
        report("insurance", len(found), "several, and not one is focal: no coverage is given")


def _bill(bill: str | None, row: list[Any]) -> None:
    """Fill in the type of bill and its digits, the one from the other."""
    row[_AT["type_of_bill"]] = bill
    if bill is not None and len(bill) == 4 and bill[:3].isdigit():
        for slot, digit in zip(_BILL, bill[1:], strict=True):
            if row[slot] is None:
                row[slot] = digit


def _concepts(row: list[Any]) -> None:
    """Replace the concepts that stand in a row by their codes."""
    drg = row[_AT["drg"]]
    if type(drg) is dict:
        coding = best(drg)
        version = coding.get("version")
        system = coding.get("system")
        row[_AT["drg"]] = coding.get("code")
        if type(system) is str:
            row[_AT["drg_system"]] = f"{system}|{version}" if type(version) is str else system
    code = row[_AT["drg"]]
    if type(code) is str and code.isdigit():
        row[_AT["drg"]] = code.zfill(3)
    for name in ("network_status", "billing_network", "rendering_network"):
        if type(row[_AT[name]]) is dict:
            row[_AT[name]] = first_code(row[_AT[name]])


_DIAGNOSES = {name: _AT[f"{name}_diagnosis"] for name in ("principal", "admitting")}


def _diagnoses(eob: Mapping[str, Any], row: list[Any]) -> None:
    """Fill in the principal and the admitting diagnosis."""
    for item in objects(eob.get("diagnosis")):
        for type_ in objects(item["type"]) if "type" in item else ():
            for coding in codings(type_):
                slot = _DIAGNOSES.get(str(coding.get("code")))
                if slot is not None and row[slot] is None:
                    day = inner(eob, "billablePeriod", "end")
                    found = icd(best(item.get("diagnosisCodeableConcept")), day, procedure=False)
                    row[slot] = found and found.code


def _paid(row: list[Any]) -> None:
    """Fill in what the payer paid, and what it was read from."""
    slot, source = _AT["payer_paid_amount"], _AT["payer_paid_source"]
    if row[slot] is not None:
        row[source] = "benefit"
    elif row[_AT["payment_amount"]] is not None:
        row[slot], row[source] = row[_AT["payment_amount"]], "payment"
    else:
        add_paid(row, slot, source, _AT["paid_to_provider_amount"], _AT["paid_to_patient_amount"])


def add_paid(row: list[Any], slot: int, source: int, provider: int, patient: int) -> None:
    """Fill in what was paid to provider and patient together."""
    parts = [row[s] for s in (provider, patient) if type(row[s]) in {int, float}]
    if parts:
        row[slot], row[source] = sum(parts), "paid to provider and patient"


def _payment_status(row: list[Any]) -> None:
    """Fill in whether the claim was paid."""
    slot = _AT["payment_status"]
    row[slot] = _PAID.get(row[slot], row[slot]) if type(row[slot]) is str else row[slot]
    if row[slot] is None and row[_AT["payment_denial"]] == "0":
        row[slot] = "denied"
