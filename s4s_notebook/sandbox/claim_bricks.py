"""The bricks of a Blue Button claim (STU3): codings, money, adjudications, information."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from .people import BLUE_BUTTON, Resource

HCPCS = f"{BLUE_BUTTON}/codesystem/hcpcs"
NPI = "http://hl7.org/fhir/sid/us-npi"

# Displays of CMS's variables that the sandbox emits.
VARIABLES = {
    "line_nch_pmt_amt": "Line NCH Medicare Payment Amount",
    "line_bene_pmt_amt": "Line Payment Amount to Beneficiary",
    "line_prvdr_pmt_amt": "Line Provider Payment Amount",
    "line_bene_ptb_ddctbl_amt": "Line Beneficiary Part B Deductible Amount",
    "line_bene_prmry_pyr_pd_amt": "Line Primary Payer (if not Medicare) Paid Amount",
    "line_coinsrnc_amt": "Line Beneficiary Coinsurance Amount",
    "line_sbmtd_chrg_amt": "Line Submitted Charge Amount",
    "line_alowd_chrg_amt": "Line Allowed Charge Amount",
    "line_prcsg_ind_cd": "Line Processing Indicator Code",
    "rev_cntr_blood_ddctbl_amt": "Revenue Center Blood Deductible Amount",
    "rev_cntr_cash_ddctbl_amt": "Revenue Center Cash Deductible Amount",
    "rev_cntr_coinsrnc_wge_adjstd_c": (
        "Revenue Center Coinsurance/Wage Adjusted Coinsurance Amount"
    ),
    "rev_cntr_rdcd_coinsrnc_amt": "Revenue Center Reduced Coinsurance Amount",
    "rev_cntr_1st_msp_pd_amt": "Revenue Center 1st Medicare Secondary Payer (MSP) Paid Amount",
    "rev_cntr_2nd_msp_pd_amt": "Revenue Center 2nd Medicare Secondary Payer (MSP) Paid Amount",
    "rev_cntr_prvdr_pmt_amt": "Revenue Center (Medicare) Provider Payment Amount",
    "rev_cntr_bene_pmt_amt": "Revenue Center Payment Amount to Beneficiary",
    "rev_cntr_ptnt_rspnsblty_pmt": "Revenue Center Patient Responsibility Payment Amount",
    "rev_cntr_pmt_amt_amt": "Revenue Center (Medicare) Payment Amount",
    "rev_cntr_rate_amt": "Revenue Center Rate Amount",
    "rev_cntr_tot_chrg_amt": "Revenue Center Total Charge Amount",
    "rev_cntr_ncvrd_chrg_amt": "Revenue Center Non-Covered Charge Amount",
    "cvrd_d_plan_pd_amt": "Amount paid by Part D plan for the PDE (drug is covered by Part D)",
    "gdc_blw_oopt_amt": "Gross Drug Cost Below Part D Out-of-Pocket Threshold (GDCB)",
    "gdc_abv_oopt_amt": "Gross Drug Cost Above Part D Out-of-Pocket Threshold (GDCA)",
    "ptnt_pay_amt": "Amount Paid by Patient",
    "othr_troop_amt": "Other True Out-of-Pocket (TrOOP) Amount",
    "lics_amt": "Amount paid for the PDE by Part D low income subsidy",
    "plro_amt": "Reduction in patient liability due to payments by other payers (PLRO)",
    "tot_rx_cst_amt": "Total drug cost (Part D)",
    "rptd_gap_dscnt_num": "Gap Discount Amount",
    "nch_wkly_proc_dt": "NCH Weekly Claim Processing Date",
    "clm_mco_pd_sw": "Claim MCO Paid Switch",
    "clm_freq_cd": "Claim Frequency Code",
    "ptnt_dschrg_stus_cd": "Patient Discharge Status Code",
    "clm_admsn_dt": "Claim Admission Date",
    "clm_ip_admsn_type_cd": "Claim Inpatient Admission Type Code",
    "clm_src_ip_admsn_cd": "Claim Source Inpatient Admission Code",
    "nch_bene_dschrg_dt": "Beneficiary Discharge Date",
    "dspnsng_stus_cd": "Dispensing Status Code",
    "daw_prod_slctn_cd": "Dispense as Written (DAW) Product Selection Code",
    "drug_cvrg_stus_cd": "Drug Coverage Status Code",
    "rx_orgn_cd": "Prescription Origination Code",
}


def variable(name: str) -> str:
    """The URL of one CCW variable."""
    return f"{BLUE_BUTTON}/variables/{name}"


def cents(amount: float | Decimal) -> float:
    """An amount in dollars, rounded to cents as a bank does."""
    return float(Decimal(str(amount)).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def money(amount: float) -> Resource:
    return {"value": cents(amount), "system": "urn:iso:std:iso:4217", "code": "USD"}


def coding(system: str, code: str, display: str = "") -> Resource:
    made = {"system": system, "code": code}
    if display:
        made["display"] = display
    return made


def concept(system: str, code: str, display: str = "") -> Resource:
    return {"coding": [coding(system, code, display)]}


def money_extension(name: str, amount: float) -> Resource:
    return {"url": variable(name), "valueMoney": money(amount)}


def identifier_extension(name: str, value: str) -> Resource:
    return {
        "url": variable(name),
        "valueIdentifier": {"system": variable(name), "value": value},
    }


def adjudication(name: str, amount: float) -> Resource:
    """An amount under Blue Button's way: the category's code is a whole URL."""
    return {"category": _category("adjudication", name), "amount": money(amount)}


def adjudication_reason(name: str, code: str, display: str = "") -> Resource:
    return {
        "category": _category("adjudication", name),
        "reason": concept(variable(name), code, display),
    }


def information(sequence: int, name: str, *, code: str = "", date: str = "") -> Resource:
    made: Resource = {"sequence": sequence, "category": _category("information", name)}
    if code:
        made["code"] = concept(variable(name), code)
    if date:
        made["timingDate"] = date
    return made


def _category(kind: str, name: str) -> Resource:
    return concept(f"{BLUE_BUTTON}/codesystem/{kind}", variable(name), VARIABLES[name])


def diagnoses(*codes: tuple[str, str]) -> list[Resource]:
    """Diagnoses in ICD-10, the first one principal."""
    made: list[Resource] = []
    for sequence, (code, display) in enumerate(codes, start=1):
        entry: Resource = {
            "sequence": sequence,
            "diagnosisCodeableConcept": concept("http://hl7.org/fhir/sid/icd-10", code, display),
        }
        if sequence == 1:
            entry["type"] = [
                concept(
                    f"{BLUE_BUTTON}/codesystem/diagnosis-type",
                    "principal",
                    "The single medical diagnosis that is most relevant to the patient's chief "
                    "complaint or need for treatment.",
                )
            ]
        made.append(entry)
    return made


def care_team(npi: str, *, specialty: str = "") -> list[Resource]:
    member: Resource = {
        "sequence": 1,
        "provider": {"identifier": {"system": NPI, "value": npi}},
        "role": concept("http://hl7.org/fhir/claimcareteamrole", "primary", "Primary provider"),
    }
    if specialty:
        member["responsible"] = True
        member["qualification"] = concept(variable("prvdr_spclty"), specialty)
    return [member]
