"""ExplanationOfBenefit → benefits; and what all tables of claims have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .columns import BB
from .extract import Report, code_of, codings, inner, listed, report_id, usable
from .people import patient_of
from .rows import Rows, Table

# The roles of R4 and of STU3, for each column that names a member of the claim's care team.
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
_TYPE = BB + "variables/carr_line_prvdr_type_cd"
_PARTICIPATES = BB + "variables/prtcptng_ind_cd"

_CLAIM_BY_HAND = (*(_ROLES.keys() - {"referring_npi"}), "hospice_start", "claim_type")

BENEFITS = Table("benefits", by_hand=_CLAIM_BY_HAND)


def identify(eob: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return patient, first day and claim id; the id falls back to the claim identifier."""
    start = inner(eob, "billablePeriod", "start")
    key = eob.get("id")
    if not usable(key):
        key = next((v for s in _CLAIM_IDS if (v := _identifier(eob, s))), "")
    return patient_of(eob, "patient"), start if type(start) is str else "", str(key)


def _identifier(eob: Mapping[str, Any], system: str) -> str:
    for identifier in objects(eob.get("identifier")):
        if identifier.get("system") == system and usable(identifier.get("value")):
            return str(identifier["value"])
    return ""


def eob_type(eob: Mapping[str, Any]) -> str:
    """Return which of the eight kinds of claim it is; by the NCH type where none is stated."""
    kind = ""
    for coding in codings(eob.get("type")):
        system, code = coding.get("system"), coding.get("code")
        if type(code) is not str or type(system) is not str:
            continue
        if system in _EOB_TYPES:
            return code
        if system in _NCH_TYPES:
            kind = kind or _NCH_TYPES[system].get(code, "")
    return kind


class Member(NamedTuple):
    """A member of the care team of a claim."""

    npi: Any
    role: str | None
    specialty: Any
    type: Any
    participates: Any


def team_of(eob: Mapping[str, Any]) -> dict[int, Member]:
    """Return the care team by sequence number; a member without one gets a negative number."""
    team: dict[int, Member] = {}
    for position, member in enumerate(objects(eob.get("careTeam")), 1):
        identifiers = objects(inner(member, "provider", "identifier"))
        npi = next((i.get("value") for i in identifiers), None)
        specialties = codings(member.get("qualification"))
        specialty = next(
            (c.get("code") for c in specialties if c.get("system") == _SPECIALTY), None
        )
        codes = {
            url: inner(extension, "valueCoding", "code")
            for extension in objects(member.get("extension"))
            if type(url := extension.get("url")) is str
        }
        sequence = member.get("sequence")
        number = sequence if type(sequence) is int else -position
        role = code_of(member.get("role"))
        person = Member(npi, role, specialty, codes.get(_TYPE), codes.get(_PARTICIPATES))
        team.setdefault(number, person)
    return team


def emit_benefit(eob: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per claim."""
    row = BENEFITS.blank.copy()
    report_id(eob, key, report)
    BENEFITS.extract(eob, row, report)
    at = BENEFITS.at
    row[at["claim_id"]] = key
    row[at["line_count"]] = len(listed(eob, "item")) + len(listed(eob, "addItem"))
    kind = eob_type(eob)
    row[at["claim_type"]] = kind or None
    _roles(team_of(eob), kind, row)
    if kind == "HOSPICE":
        row[at["hospice_start"]] = row[at["admitted"]]
    if "total" in eob and kind not in _INSTITUTIONAL:
        _misnamed_total(eob, row)
    rows.add(row)


_NAMED = tuple((BENEFITS.at[name], roles) for name, roles in _ROLES.items())
_ATTENDING, _PRESCRIBER = BENEFITS.at["attending_npi"], BENEFITS.at["prescriber_npi"]


def _roles(team: Mapping[int, Member], kind: str, row: list[Any]) -> None:
    """Fill in the NPI of the first member of each role."""
    if not team:
        return
    npis: dict[str | None, Any] = {}
    for member in team.values():
        npis.setdefault(member.role, member.npi)
    for slot, roles in _NAMED:
        for role in roles:
            if role in npis and row[slot] is None:
                row[slot] = npis[role]
    primary = _ATTENDING if kind in _INSTITUTIONAL else _PRESCRIBER if kind == "PDE" else None
    if primary is not None and row[primary] is None:
        row[primary] = npis.get("primary")


def _misnamed_total(eob: dict[str, Any], row: list[Any]) -> None:
    """Move what a prior payer paid, which CMS's R4 server calls the total charge."""
    for total in objects(eob.get("total")):
        codes = {str(coding.get("code")) for coding in codings(total.get("category"))}
        if {"priorpayerpaid", BB + "variables/clm_tot_chrg_amt"} <= codes:
            charge, paid = BENEFITS.at["total_charge_amount"], BENEFITS.at["primary_payer_amount"]
            row[paid], row[charge] = row[charge], None
