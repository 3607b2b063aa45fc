"""Explanations of benefit in Blue Button's STU3 shape."""

from __future__ import annotations

from collections.abc import Sequence

from .claim_elements import (
    HCPCS,
    NPI,
    Encounter,
    ServiceLine,
    adjudication,
    adjudication_reason,
    care_team,
    claim_header,
    claim_type_codings,
    codeable_concept,
    coding,
    diagnoses,
    identifier_extension,
    information,
    modifiers,
    money,
    money_extension,
    round_to_cents,
    variable_url,
)
from .people import BLUE_BUTTON, Resource, coding_extension


def carrier_claim(
    visit: Encounter, lines: Sequence[ServiceLine], specialty: str = "30"
) -> Resource:
    """A physician's claim."""
    made = claim_header(
        visit,
        "carrier",
        claim_type_codings(
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


def _carrier_line(sequence: int, line: ServiceLine, visit: Encounter) -> Resource:
    day = line.date or visit.start
    made: Resource = {
        "extension": [
            coding_extension("carr_line_mtus_cd", "3", "Services"),
            {"url": variable_url("carr_line_mtus_cnt"), "valueQuantity": {"value": line.units}},
            coding_extension("line_service_deductible", "0", "Service Subject to Deductible"),
        ],
        "sequence": sequence,
        "careTeamLinkId": [1],
        "diagnosisLinkId": [1],
        "category": codeable_concept(variable_url("line_cms_type_srvc_cd"), line.service_type),
        "service": {"coding": [{"system": HCPCS, "version": "0", "code": line.code}]},
        "servicedPeriod": {"start": day, "end": day},
        "locationCodeableConcept": codeable_concept(
            variable_url("line_place_of_srvc_cd"), line.place
        ),
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


def outpatient_claim(visit: Encounter, lines: Sequence[ServiceLine]) -> Resource:
    """A hospital's claim for a day; its last line, revenue centre 0001, is the total."""
    made = claim_header(
        visit,
        "outpatient",
        [
            *claim_type_codings(
                "40", "Hospital Outpatient claim", "OUTPATIENT", "professional", "W"
            ),
            coding(variable_url("clm_srvc_clsfctn_type_cd"), "3"),
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


def inpatient_claim(
    visit: Encounter, lines: Sequence[ServiceLine], drg: str, paid: float
) -> Resource:
    """A hospital stay, paid by DRG: lines carry charges, no dates and no payments."""
    made = claim_header(
        visit,
        "inpatient",
        [
            *claim_type_codings("60", "Inpatient claim", "INPATIENT", "institutional", "V"),
            coding(variable_url("clm_srvc_clsfctn_type_cd"), "1"),
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
    made["diagnosis"][0]["packageCode"] = codeable_concept(variable_url("clm_drg_cd"), drg)
    made["item"] = [
        *(_revenue_line(n, line, visit, dated=False) for n, line in enumerate(lines, start=1)),
        _total_line(len(lines) + 1, charge, None),
    ]
    made["totalCost"] = money(charge)
    made["payment"] = {"amount": money(paid)}
    return made


def _hospital(made: Resource, visit: Encounter, *, frequency: str) -> None:
    made["billablePeriod"]["extension"] = [coding_extension("claim_query_cd", "3", "Final bill")]
    made["provider"] = {"identifier": {"system": variable_url("prvdr_num"), "value": "999999"}}
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


def _revenue_line(sequence: int, line: ServiceLine, visit: Encounter, *, dated: bool) -> Resource:
    made: Resource = {
        "sequence": sequence,
        "careTeamLinkId": [1],
        "revenue": codeable_concept(variable_url("rev_cntr"), line.revenue),
        "locationAddress": {"state": "15"},
        "quantity": {"value": line.units},
        "adjudication": [],
    }
    if line.code:
        made["service"] = codeable_concept(HCPCS, line.code)
    if line.modifiers:
        made["modifier"] = modifiers(line)
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
        "revenue": codeable_concept(variable_url("rev_cntr"), "0001"),
        "locationAddress": {"state": "15"},
        "quantity": {"value": 0},
        "adjudication": [*amounts, adjudication("rev_cntr_ncvrd_chrg_amt", 0)],
    }


def prescription_drug_event(
    visit: Encounter, ndc: str, drug: str, cost: float, *, days: int, fill: int
) -> Resource:
    """A drug dispensed under Part D; all money is on its one line."""
    made = claim_header(
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
        {"system": variable_url("rx_srvc_rfrnc_num"), "value": str(int(visit.claim_id) % 10**6)}
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
    patient_pays = round_to_cents(cost * 0.25)
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
            "service": codeable_concept("http://hl7.org/fhir/sid/ndc", ndc, drug),
            "servicedDate": visit.start,
            "quantity": {
                "extension": [
                    {"url": variable_url("fill_num"), "valueQuantity": {"value": fill}},
                    {"url": variable_url("days_suply_num"), "valueQuantity": {"value": days}},
                ],
                "value": float(days),
            },
            "adjudication": [adjudication(name, amount) for name, amount in amounts.items()],
            "detail": [
                {
                    "sequence": 1,
                    "type": codeable_concept(
                        "http://hl7.org/fhir/v3/ActCode", "RXDINV", "Rx dispense invoice"
                    ),
                }
            ],
        }
    ]
    made["payment"] = {"date": visit.processed}
    return made
