"""Explanations of benefit in Blue Button's STU3 shape: what all share, and carrier claims.

Faithful where tables look: the four codings of ``type``, whole-URL adjudication codes,
amounts in extensions, ``insurance`` as one object, revenue centre 0001 as a total line,
PDE with ``servicedDate`` and no amounts at claim level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .claim_bricks import (
    HCPCS,
    adjudication,
    adjudication_reason,
    care_team,
    cents,
    coding,
    concept,
    diagnoses,
    identifier_extension,
    information,
    money,
    money_extension,
    variable,
)
from .people import BLUE_BUTTON, Resource, coding_extension

_NEAR_LINE = {
    "O": "Part B physician/supplier claim record (processed by local carriers; can include DMEPOS "
    "services)",
    "W": "Part B institutional claim record (outpatient [HOP], HHA)",
    "V": "Part A institutional claim record (inpatient [IP], skilled nursing facility [SNF], "
    "hospice [HOS], or home health agency [HHA])",
}


@dataclass(frozen=True)
class Line:
    """One service. ``allowed`` is what Medicare accepts of the ``charge``; 80 % is paid."""

    code: str
    charge: float
    allowed: float
    modifiers: tuple[str, ...] = ()
    revenue: str = ""
    date: str = ""
    place: str = "11"
    service_type: str = "1"
    units: int = 1

    @property
    def paid(self) -> float:
        return cents(self.allowed * 0.8)


@dataclass(frozen=True)
class Visit:
    """What the claims of one day have in common."""

    patient_id: str
    claim_id: str
    start: str
    end: str
    processed: str
    updated: str
    provider: str
    diagnoses: tuple[tuple[str, str], ...]


def head(
    visit: Visit, kind: str, type_codings: list[Resource], part: str, id_variable: str = "clm_id"
) -> Resource:
    """What every kind of claim begins with; ``part`` is the Medicare part that pays."""
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": f"{kind}-{visit.claim_id}",
        "meta": {"versionId": "1", "lastUpdated": visit.updated},
        "identifier": [
            {"system": variable(id_variable), "value": visit.claim_id},
            {
                "system": f"{BLUE_BUTTON}/identifier/claim-group",
                "value": str(int(visit.claim_id) % 10**8),
            },
        ],
        "status": "active",
        "type": {"coding": type_codings},
        "patient": {"reference": f"Patient/{visit.patient_id}"},
        "billablePeriod": {"start": visit.start, "end": visit.end},
        "insurance": {"coverage": {"reference": f"Coverage/part-{part}-{visit.patient_id}"}},
    }


def types(claim_type: str, display: str, eob: str, ex: str, near_line: str) -> list[Resource]:
    """The four codings of ``type``: tables must pick by system, never by position."""
    return [
        coding(variable("nch_clm_type_cd"), claim_type, display),
        coding(f"{BLUE_BUTTON}/codesystem/eob-type", eob),
        coding("http://hl7.org/fhir/ex-claimtype", ex, ex.capitalize()),
        coding(variable("nch_near_line_rec_ident_cd"), near_line, _NEAR_LINE[near_line]),
    ]


def carrier(visit: Visit, lines: Sequence[Line], specialty: str = "30") -> Resource:
    """A physician's claim."""
    made = head(
        visit,
        "carrier",
        types(
            "71",
            "Local carrier non-durable medical equipment, prosthetics, orthotics, and supplies "
            "(DMEPOS) claim",
            "CARRIER",
            "professional",
            "O",
        ),
        "b",
    )
    paid = sum(line.paid for line in lines)
    made["extension"] = [
        money_extension("prpayamt", 0),
        identifier_extension("carr_num", "99999"),
        identifier_extension("carr_clm_cntl_num", f"{int(visit.claim_id):015d}"),
        coding_extension("carr_clm_pmt_dnl_cd", "1", "Physician/supplier"),
        coding_extension("asgmntcd", "A", "Assigned claim"),
        money_extension("carr_clm_cash_ddctbl_apld_amt", 0),
        money_extension("nch_clm_prvdr_pmt_amt", paid),
        money_extension("nch_clm_bene_pmt_amt", 0),
        money_extension("nch_carr_clm_sbmtd_chrg_amt", sum(line.charge for line in lines)),
        money_extension("nch_carr_clm_alowd_amt", sum(line.allowed for line in lines)),
    ]
    made["disposition"] = "01"
    made["information"] = [information(1, "nch_wkly_proc_dt", date=visit.processed)]
    made["careTeam"] = care_team(visit.provider, specialty=specialty)
    made["diagnosis"] = diagnoses(*visit.diagnoses)
    made["item"] = [_carrier_line(n, line, visit) for n, line in enumerate(lines, start=1)]
    made["payment"] = {"amount": money(paid)}
    return made


def _carrier_line(sequence: int, line: Line, visit: Visit) -> Resource:
    day = line.date or visit.start
    made: Resource = {
        "extension": [
            coding_extension("carr_line_mtus_cd", "3", "Services"),
            {"url": variable("carr_line_mtus_cnt"), "valueQuantity": {"value": line.units}},
            coding_extension("line_service_deductible", "0", "Service Subject to Deductible"),
        ],
        "sequence": sequence,
        "careTeamLinkId": [1],
        "diagnosisLinkId": [1],
        "category": concept(variable("line_cms_type_srvc_cd"), line.service_type),
        "service": {"coding": [{"system": HCPCS, "version": "0", "code": line.code}]},
        "servicedPeriod": {"start": day, "end": day},
        "locationCodeableConcept": concept(variable("line_place_of_srvc_cd"), line.place),
        "quantity": {"value": line.units},
        "adjudication": [
            adjudication("line_nch_pmt_amt", line.paid),
            adjudication("line_bene_pmt_amt", 0),
            adjudication("line_prvdr_pmt_amt", line.paid),
            adjudication("line_bene_ptb_ddctbl_amt", 0),
            adjudication("line_bene_prmry_pyr_pd_amt", 0),
            adjudication("line_coinsrnc_amt", line.allowed - line.paid),
            adjudication("line_sbmtd_chrg_amt", line.charge),
            adjudication("line_alowd_chrg_amt", line.allowed),
            adjudication_reason("line_prcsg_ind_cd", "A", "Allowed"),
        ],
    }
    if line.modifiers:
        made["modifier"] = modifiers(line)
    return made


def modifiers(line: Line) -> list[Resource]:
    """A line's HCPCS modifiers."""
    return [
        {"coding": [{"system": HCPCS, "version": "0", "code": code}]} for code in line.modifiers
    ]
