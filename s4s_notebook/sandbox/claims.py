"""Explanations of benefit in Blue Button's STU3 shape: carrier, outpatient, inpatient, PDE.

Faithful where tables look: the four codings of ``type``, whole-URL adjudication codes,
amounts in extensions, ``insurance`` as one object, revenue centre 0001 as a total line,
PDE with ``servicedDate`` and no amounts at claim level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s4s_notebook.sandbox.claim_bricks import (
    HCPCS,
    NPI,
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
from s4s_notebook.sandbox.people import BLUE_BUTTON, Resource, coding_extension

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


def _head(
    visit: Visit, kind: str, type_codings: list[Resource], part: str, id_variable: str = "clm_id"
) -> Resource:
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


def _types(claim_type: str, display: str, eob: str, ex: str, near_line: str) -> list[Resource]:
    return [
        coding(variable("nch_clm_type_cd"), claim_type, display),
        coding(f"{BLUE_BUTTON}/codesystem/eob-type", eob),
        coding("http://hl7.org/fhir/ex-claimtype", ex, ex.capitalize()),
        coding(variable("nch_near_line_rec_ident_cd"), near_line, _NEAR_LINE[near_line]),
    ]


def carrier(visit: Visit, lines: Sequence[Line], specialty: str = "30") -> Resource:
    """A physician's claim."""
    made = _head(
        visit,
        "carrier",
        _types(
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
        made["modifier"] = _modifiers(line)
    return made


def _modifiers(line: Line) -> list[Resource]:
    return [
        {"coding": [{"system": HCPCS, "version": "0", "code": code}]} for code in line.modifiers
    ]


def outpatient(visit: Visit, lines: Sequence[Line]) -> Resource:
    """A hospital's claim for a day; its last line, revenue centre 0001, is the total."""
    made = _head(
        visit,
        "outpatient",
        [
            *_types("40", "Hospital Outpatient claim", "OUTPATIENT", "professional", "W"),
            coding(variable("clm_srvc_clsfctn_type_cd"), "3"),
        ],
        "b",
    )
    charge, paid = sum(line.charge for line in lines), sum(line.paid for line in lines)
    made["extension"] = [
        money_extension("nch_profnl_cmpnt_chrg_amt", 0),
        money_extension("nch_bene_ptb_ddctbl_amt", 0),
        money_extension("nch_bene_ptb_coinsrnc_amt", sum(x.allowed - x.paid for x in lines)),
        money_extension("clm_op_prvdr_pmt_amt", paid),
        money_extension("clm_op_bene_pmt_amt", 0),
        money_extension("prpayamt", 0),
        identifier_extension("fi_num", "99999"),
        identifier_extension("fi_doc_clm_cntl_num", f"{int(visit.claim_id):014d}"),
    ]
    _hospital(made, visit, frequency="1")
    made["item"] = [
        *(_revenue_line(n, line, visit, dated=True) for n, line in enumerate(lines, start=1)),
        _total_line(len(lines) + 1, charge, paid),
    ]
    made["totalCost"] = money(charge)
    made["payment"] = {"amount": money(paid)}
    return made


def inpatient(visit: Visit, lines: Sequence[Line], drg: str, paid: float) -> Resource:
    """A hospital stay, paid by DRG: lines carry charges, no dates and no payments."""
    made = _head(
        visit,
        "inpatient",
        [
            *_types("60", "Inpatient claim", "INPATIENT", "institutional", "V"),
            coding(variable("clm_srvc_clsfctn_type_cd"), "1"),
        ],
        "a",
    )
    charge = sum(line.charge for line in lines)
    made["extension"] = [
        money_extension("clm_pass_thru_per_diem_amt", 0),
        money_extension("nch_bene_ip_ddctbl_amt", 1340),
        money_extension("nch_bene_pta_coinsrnc_lblty_amt", 0),
        money_extension("nch_ip_ncvrd_chrg_amt", 0),
        money_extension("nch_ip_tot_ddctn_amt", 1340),
        money_extension("prpayamt", 0),
        identifier_extension("fi_num", "99999"),
    ]
    _hospital(made, visit, frequency="1")
    made["hospitalization"] = {"start": visit.start, "end": visit.end}
    made["information"] += [
        information(4, "clm_admsn_dt", date=visit.start),
        information(5, "clm_ip_admsn_type_cd", code="1"),
        information(6, "clm_src_ip_admsn_cd", code="1"),
        information(7, "nch_bene_dschrg_dt", date=visit.end, code="A"),
    ]
    # CMS gives the DRG an entry of its own, which STU3 forbids: diagnosis[x] is required.
    made["diagnosis"][0]["packageCode"] = concept(variable("clm_drg_cd"), drg)
    made["item"] = [
        *(_revenue_line(n, line, visit, dated=False) for n, line in enumerate(lines, start=1)),
        _total_line(len(lines) + 1, charge, None),
    ]
    made["totalCost"] = money(charge)
    made["payment"] = {"amount": money(paid)}
    return made


def _hospital(made: Resource, visit: Visit, *, frequency: str) -> None:
    made["billablePeriod"]["extension"] = [coding_extension("claim_query_cd", "3", "Final bill")]
    made["provider"] = {"identifier": {"system": variable("prvdr_num"), "value": "999999"}}
    made["organization"] = {
        "identifier": {"system": NPI, "value": "9999999991"},
        "display": "Sandbox Hospital (synthetic)",
    }
    made["facility"] = {
        "extension": [coding_extension("clm_fac_type_cd", "1", "Hospital")],
        "identifier": {"system": NPI, "value": "9999999991"},
        "display": "Sandbox Hospital (synthetic)",
    }
    made["information"] = [
        information(1, "nch_wkly_proc_dt", date=visit.processed),
        information(2, "clm_mco_pd_sw", code="0"),
        information(3, "clm_freq_cd", code=frequency),
    ]
    made["careTeam"] = care_team(visit.provider)
    made["diagnosis"] = diagnoses(*visit.diagnoses)


def _revenue_line(sequence: int, line: Line, visit: Visit, *, dated: bool) -> Resource:
    made: Resource = {
        "sequence": sequence,
        "careTeamLinkId": [1],
        "revenue": concept(variable("rev_cntr"), line.revenue),
        "locationAddress": {"state": "15"},
        "quantity": {"value": line.units},
        "adjudication": [],
    }
    if line.code:
        made["service"] = concept(HCPCS, line.code)
    if line.modifiers:
        made["modifier"] = _modifiers(line)
    if dated:
        made["servicedDate"] = line.date or visit.start
        made["adjudication"] = [
            adjudication("rev_cntr_blood_ddctbl_amt", 0),
            adjudication("rev_cntr_cash_ddctbl_amt", 0),
            adjudication("rev_cntr_coinsrnc_wge_adjstd_c", line.allowed - line.paid),
            adjudication("rev_cntr_rdcd_coinsrnc_amt", 0),
            adjudication("rev_cntr_1st_msp_pd_amt", 0),
            adjudication("rev_cntr_2nd_msp_pd_amt", 0),
            adjudication("rev_cntr_prvdr_pmt_amt", line.paid),
            adjudication("rev_cntr_bene_pmt_amt", 0),
            adjudication("rev_cntr_ptnt_rspnsblty_pmt", line.allowed - line.paid),
            adjudication("rev_cntr_pmt_amt_amt", line.paid),
        ]
    made["adjudication"] += [
        adjudication("rev_cntr_rate_amt", 0),
        adjudication("rev_cntr_tot_chrg_amt", line.charge),
        adjudication("rev_cntr_ncvrd_chrg_amt", 0),
    ]
    return made


def _total_line(sequence: int, charge: float, paid: float | None) -> Resource:
    amounts = [adjudication("rev_cntr_tot_chrg_amt", charge)]
    if paid is not None:
        amounts.insert(0, adjudication("rev_cntr_pmt_amt_amt", paid))
    return {
        "sequence": sequence,
        "careTeamLinkId": [1],
        "revenue": concept(variable("rev_cntr"), "0001"),
        "locationAddress": {"state": "15"},
        "quantity": {"value": 0},
        "adjudication": [*amounts, adjudication("rev_cntr_ncvrd_chrg_amt", 0)],
    }


def pde(visit: Visit, ndc: str, drug: str, cost: float, *, days: int, fill: int) -> Resource:
    """A drug dispensed under Part D; all money is on its one line."""
    made = _head(
        visit,
        "pde",
        [
            coding(f"{BLUE_BUTTON}/codesystem/eob-type", "PDE"),
            coding("http://hl7.org/fhir/ex-claimtype", "pharmacy", "Pharmacy"),
        ],
        "d",
        id_variable="pde_id",
    )
    made["identifier"].append(
        {"system": variable("rx_srvc_rfrnc_num"), "value": str(int(visit.claim_id) % 10**6)}
    )
    made["insurance"]["coverage"]["extension"] = [
        identifier_extension("plan_cntrct_rec_id", "S9999"),
        identifier_extension("plan_pbp_rec_num", "020"),
    ]
    pharmacy = {"identifier": {"system": NPI, "value": "9999999992"}, "display": "Sandbox Pharmacy"}
    made["organization"] = pharmacy
    made["facility"] = {
        "extension": [coding_extension("phrmcy_srvc_type_cd", "01", "Community/retail pharmacy")],
        **pharmacy,
    }
    made["information"] = [
        information(1, "daw_prod_slctn_cd", code="0"),
        information(2, "dspnsng_stus_cd", code="C"),
        information(3, "drug_cvrg_stus_cd", code="C"),
        information(4, "rx_orgn_cd", code="3"),
    ]
    made["careTeam"] = care_team(visit.provider)
    patient_pays = cents(cost * 0.25)
    amounts = {
        "cvrd_d_plan_pd_amt": cost - patient_pays,
        "gdc_blw_oopt_amt": cost,
        "gdc_abv_oopt_amt": 0,
        "ptnt_pay_amt": patient_pays,
        "othr_troop_amt": 0,
        "lics_amt": 0,
        "plro_amt": 0,
        "tot_rx_cst_amt": cost,
        "rptd_gap_dscnt_num": 0,
    }
    made["item"] = [
        {
            "sequence": 1,
            "careTeamLinkId": [1],
            "service": concept("http://hl7.org/fhir/sid/ndc", ndc, drug),
            "servicedDate": visit.start,
            "quantity": {
                "extension": [
                    {"url": variable("fill_num"), "valueQuantity": {"value": fill}},
                    {"url": variable("days_suply_num"), "valueQuantity": {"value": days}},
                ],
                "value": float(days),
            },
            "adjudication": [adjudication(name, amount) for name, amount in amounts.items()],
            "detail": [
                {
                    "sequence": 1,
                    "type": concept(
                        "http://hl7.org/fhir/v3/ActCode", "RXDINV", "Rx dispense invoice"
                    ),
                }
            ],
        }
    ]
    made["payment"] = {"date": visit.processed}
    return made
