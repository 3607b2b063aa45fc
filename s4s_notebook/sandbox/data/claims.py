"""Medicare claims as Blue Button explanations of benefit (FHIR STU3).

Carrier (physician), outpatient and inpatient hospital claims, and Part D prescription drug events.
"""

from __future__ import annotations

from collections.abc import Sequence

from .claim_elements import (
    HCPCS,
    NPI,
    ClaimForms,
    ClaimHeader,
    ServiceLine,
    adjudication,
    adjudication_reason,
    care_team,
    claim_resource,
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
    header: ClaimHeader, lines: Sequence[ServiceLine], specialty: str = "30"
) -> Resource:
    """Return a physician's Part B claim; ``specialty`` is a CMS code (30: radiology)."""
    claim = claim_resource(header, "carrier", claim_type_codings("carrier"), "b")
    paid = sum(line.paid for line in lines)
    claim["extension"] = [
        money_extension("prpayamt", 0),
        identifier_extension("carr_num", "99999"),
        identifier_extension("carr_clm_cntl_num", f"{int(header.claim_id):015d}"),
        coding_extension("carr_clm_pmt_dnl_cd", "1", "Physician/supplier"),
        coding_extension("asgmntcd", "A", "Assigned claim"),
        money_extension("carr_clm_cash_ddctbl_apld_amt", 0),
        money_extension("nch_clm_prvdr_pmt_amt", paid),
        money_extension("nch_clm_bene_pmt_amt", 0),
        money_extension("nch_carr_clm_sbmtd_chrg_amt", sum(line.charge for line in lines)),
        money_extension("nch_carr_clm_alowd_amt", sum(line.allowed for line in lines)),
    ]
    claim["disposition"] = "01"
    claim["information"] = [information(1, "nch_wkly_proc_dt", date=header.processed)]
    claim["careTeam"] = care_team(header.provider, specialty=specialty)
    claim["diagnosis"] = diagnoses(header.diagnoses)
    claim["item"] = [_carrier_line(n, line, header) for n, line in enumerate(lines, start=1)]
    claim["payment"] = {"amount": money(paid)}
    return claim


def _carrier_line(sequence: int, line: ServiceLine, header: ClaimHeader) -> Resource:
    day = line.date or header.start
    item: Resource = {
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
            variable_url("line_place_of_srvc_cd"), line.place_of_service
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
        item["modifier"] = modifiers(line)
    return item


def outpatient_claim(header: ClaimHeader, lines: Sequence[ServiceLine]) -> Resource:
    """Return a hospital outpatient claim; its last line, revenue centre 0001, is the total."""
    service_type = coding(variable_url("clm_srvc_clsfctn_type_cd"), "3")
    type_codings = [*claim_type_codings("outpatient"), service_type]
    claim = claim_resource(header, "outpatient", type_codings, "b")
    charge, paid = sum(line.charge for line in lines), sum(line.paid for line in lines)
    claim["extension"] = [
        money_extension("nch_profnl_cmpnt_chrg_amt", 0),
        money_extension("nch_bene_ptb_ddctbl_amt", 0),
        money_extension("nch_bene_ptb_coinsrnc_amt", sum(x.allowed - x.paid for x in lines)),
        money_extension("clm_op_prvdr_pmt_amt", paid),
        money_extension("clm_op_bene_pmt_amt", 0),
        money_extension("prpayamt", 0),
        identifier_extension("fi_num", "99999"),
        identifier_extension("fi_doc_clm_cntl_num", f"{int(header.claim_id):014d}"),
    ]
    _add_hospital_elements(claim, header)
    claim["item"] = [
        *(_revenue_line(n, line, header, dated=True) for n, line in enumerate(lines, start=1)),
        _total_line(len(lines) + 1, charge, paid),
    ]
    claim["totalCost"] = money(charge)
    claim["payment"] = {"amount": money(paid)}
    return claim


def inpatient_claim(
    header: ClaimHeader, lines: Sequence[ServiceLine], drg: str, paid: float
) -> Resource:
    """Return the claim of a hospital stay, which is paid by DRG.

    Lines carry charges but no dates and no payments.

    Args:
        header: patient, dates and number of the claim.
        lines: charges of the stay, without the total line.
        drg: diagnosis-related group.
        paid: payment for the complete stay, in dollars.
    """
    service_type = coding(variable_url("clm_srvc_clsfctn_type_cd"), "1")
    type_codings = [*claim_type_codings("inpatient"), service_type]
    claim = claim_resource(header, "inpatient", type_codings, "a")
    charge = sum(line.charge for line in lines)
    claim["extension"] = [
        money_extension("clm_pass_thru_per_diem_amt", 0),
        money_extension("nch_bene_ip_ddctbl_amt", 1340),
        money_extension("nch_bene_pta_coinsrnc_lblty_amt", 0),
        money_extension("nch_ip_ncvrd_chrg_amt", 0),
        money_extension("nch_ip_tot_ddctn_amt", 1340),
        money_extension("prpayamt", 0),
        identifier_extension("fi_num", "99999"),
    ]
    _add_hospital_elements(claim, header)
    claim["hospitalization"] = {"start": header.start, "end": header.end}
    claim["information"] += [
        information(4, "clm_admsn_dt", date=header.start),
        information(5, "clm_ip_admsn_type_cd", code="1"),
        information(6, "clm_src_ip_admsn_cd", code="1"),
        information(7, "nch_bene_dschrg_dt", date=header.end, code="A"),
    ]
    # CMS gives the DRG an entry of its own, which STU3 forbids: diagnosis[x] is required.
    claim["diagnosis"][0]["packageCode"] = codeable_concept(variable_url("clm_drg_cd"), drg)
    claim["item"] = [
        *(_revenue_line(n, line, header, dated=False) for n, line in enumerate(lines, start=1)),
        _total_line(len(lines) + 1, charge, None),
    ]
    claim["totalCost"] = money(charge)
    claim["payment"] = {"amount": money(paid)}
    return claim


def _add_hospital_elements(claim: Resource, header: ClaimHeader) -> None:
    claim["billablePeriod"]["extension"] = [coding_extension("claim_query_cd", "3", "Final bill")]
    claim["provider"] = {"identifier": {"system": variable_url("prvdr_num"), "value": "999999"}}
    npi = {"system": NPI, "value": "9999999991"}
    hospital = {"identifier": npi, "display": "Sandbox Hospital (synthetic)"}
    claim["organization"] = hospital
    kind = coding_extension("clm_fac_type_cd", "1", "Hospital")
    claim["facility"] = {"extension": [kind], **hospital}
    claim["information"] = [
        information(1, "nch_wkly_proc_dt", date=header.processed),
        information(2, "clm_mco_pd_sw", code="0"),
        information(3, "clm_freq_cd", code="1"),
    ]
    claim["careTeam"] = care_team(header.provider)
    claim["diagnosis"] = diagnoses(header.diagnoses)


def _revenue_line(
    sequence: int, line: ServiceLine, header: ClaimHeader, *, dated: bool
) -> Resource:
    item: Resource = {
        "sequence": sequence,
        "careTeamLinkId": [1],
        "revenue": codeable_concept(variable_url("rev_cntr"), line.revenue),
        "locationAddress": {"state": "15"},
        "quantity": {"value": line.units},
        "adjudication": [],
    }
    if line.code:
        item["service"] = codeable_concept(HCPCS, line.code)
    if line.modifiers:
        item["modifier"] = modifiers(line)
    if dated:
        item["servicedDate"] = line.date or header.start
        item["adjudication"] = [
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
    item["adjudication"] += [
        adjudication("rev_cntr_rate_amt", 0),
        adjudication("rev_cntr_tot_chrg_amt", line.charge),
        adjudication("rev_cntr_ncvrd_chrg_amt", 0),
    ]
    return item


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
    header: ClaimHeader, ndc: str, drug: str, cost: float, *, days: int, fill: int
) -> Resource:
    """Return the claim of a drug dispensed under Part D; its only line carries all amounts.

    Args:
        header: patient, date and number of the claim.
        ndc: National Drug Code.
        drug: display name of the drug.
        cost: total cost in dollars.
        days: days of supply.
        fill: fill number, 0 for the first.
    """
    type_codings = [
        coding(f"{BLUE_BUTTON}/codesystem/eob-type", "PDE"),
        coding("http://hl7.org/fhir/ex-claimtype", "pharmacy", "Pharmacy"),
    ]
    claim = claim_resource(header, "pde", type_codings, "d", id_variable="pde_id")
    claim["identifier"].append(
        {"system": variable_url("rx_srvc_rfrnc_num"), "value": str(int(header.claim_id) % 10**6)}
    )
    claim["insurance"]["coverage"]["extension"] = [
        identifier_extension("plan_cntrct_rec_id", "S9999"),
        identifier_extension("plan_pbp_rec_num", "020"),
    ]
    pharmacy = {"identifier": {"system": NPI, "value": "9999999992"}, "display": "Sandbox Pharmacy"}
    claim["organization"] = pharmacy
    kind = coding_extension("phrmcy_srvc_type_cd", "01", "Community/retail pharmacy")
    claim["facility"] = {"extension": [kind], **pharmacy}
    claim["information"] = [
        information(1, "daw_prod_slctn_cd", code="0"),
        information(2, "dspnsng_stus_cd", code="C"),
        information(3, "drug_cvrg_stus_cd", code="C"),
        information(4, "rx_orgn_cd", code="3"),
    ]
    claim["careTeam"] = care_team(header.provider)
    claim["item"] = [_drug_line(header.start, ndc, drug, cost, days=days, fill=fill)]
    claim["payment"] = {"date": header.processed}
    return claim


def _drug_line(date: str, ndc: str, drug: str, cost: float, *, days: int, fill: int) -> Resource:
    invoice = codeable_concept("http://hl7.org/fhir/v3/ActCode", "RXDINV", "Rx dispense invoice")
    copayment = round_to_cents(cost * 0.25)
    amounts = {
        "cvrd_d_plan_pd_amt": cost - copayment,
        "gdc_blw_oopt_amt": cost,
        "gdc_abv_oopt_amt": 0,
        "ptnt_pay_amt": copayment,
        "othr_troop_amt": 0,
        "lics_amt": 0,
        "plro_amt": 0,
        "tot_rx_cst_amt": cost,
        "rptd_gap_dscnt_num": 0,
    }
    return {
        "sequence": 1,
        "careTeamLinkId": [1],
        "service": codeable_concept("http://hl7.org/fhir/sid/ndc", ndc, drug),
        "servicedDate": date,
        "quantity": {
            "extension": [
                {"url": variable_url("fill_num"), "valueQuantity": {"value": fill}},
                {"url": variable_url("days_suply_num"), "valueQuantity": {"value": days}},
            ],
            "value": float(days),
        },
        "adjudication": [adjudication(name, amount) for name, amount in amounts.items()],
        "detail": [{"sequence": 1, "type": invoice}],
    }


MEDICARE = ClaimForms(
    professional=carrier_claim,
    outpatient=outpatient_claim,
    inpatient=inpatient_claim,
    pharmacy=prescription_drug_event,
)
