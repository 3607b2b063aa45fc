"""Hospital claims: outpatient days and inpatient stays, each with its total line 0001."""

from __future__ import annotations

from collections.abc import Sequence

from .claim_bricks import (
    HCPCS,
    NPI,
    adjudication,
    care_team,
    coding,
    concept,
    diagnoses,
    identifier_extension,
    information,
    money,
    money_extension,
    variable,
)
from .claims import Line, Visit, head, modifiers, types
from .people import Resource, coding_extension


def outpatient(visit: Visit, lines: Sequence[Line]) -> Resource:
    """A hospital's claim for a day; its last line, revenue centre 0001, is the total."""
    made = head(
        visit,
        "outpatient",
        [
            *types("40", "Hospital Outpatient claim", "OUTPATIENT", "professional", "W"),
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
    made = head(
        visit,
        "inpatient",
        [
            *types("60", "Inpatient claim", "INPATIENT", "institutional", "V"),
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
        "revenue": concept(variable("rev_cntr"), "0001"),
        "locationAddress": {"state": "15"},
        "quantity": {"value": 0},
        "adjudication": [*amounts, adjudication("rev_cntr_ncvrd_chrg_amt", 0)],
    }
