"""The bricks of a Blue Button claim (STU3): codings, money, adjudications, information."""

from __future__ import annotations

from dataclasses import dataclass
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


def variable_url(name: str) -> str:
    """The URL of one CCW variable."""
    return f"{BLUE_BUTTON}/variables/{name}"


def round_to_cents(amount: float | Decimal) -> float:
    """An amount in dollars, rounded to cents as a bank does."""
    return float(Decimal(str(amount)).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def money(amount: float) -> Resource:
    return {"value": round_to_cents(amount), "system": "urn:iso:std:iso:4217", "code": "USD"}


def coding(system: str, code: str, display: str = "") -> Resource:
    made = {"system": system, "code": code}
    if display:
        made["display"] = display
    return made


def codeable_concept(system: str, code: str, display: str = "") -> Resource:
    return {"coding": [coding(system, code, display)]}


def money_extension(name: str, amount: float) -> Resource:
    return {"url": variable_url(name), "valueMoney": money(amount)}


def identifier_extension(name: str, value: str) -> Resource:
    return {
        "url": variable_url(name),
        "valueIdentifier": {"system": variable_url(name), "value": value},
    }


def adjudication(name: str, amount: float) -> Resource:
    """An amount under Blue Button's way: the category's code is a whole URL."""
    return {"category": _category("adjudication", name), "amount": money(amount)}


def adjudication_reason(name: str, code: str, display: str = "") -> Resource:
    return {
        "category": _category("adjudication", name),
        "reason": codeable_concept(variable_url(name), code, display),
    }


def information(sequence: int, name: str, *, code: str = "", date: str = "") -> Resource:
    made: Resource = {"sequence": sequence, "category": _category("information", name)}
    if code:
        made["code"] = codeable_concept(variable_url(name), code)
    if date:
        made["timingDate"] = date
    return made


def _category(kind: str, name: str) -> Resource:
    return codeable_concept(f"{BLUE_BUTTON}/codesystem/{kind}", variable_url(name), VARIABLES[name])


def diagnoses(*codes: tuple[str, str]) -> list[Resource]:
    """Diagnoses in ICD-10, the first one principal."""
    made: list[Resource] = []
    for sequence, (code, display) in enumerate(codes, start=1):
        entry: Resource = {
            "sequence": sequence,
            "diagnosisCodeableConcept": codeable_concept(
                "http://hl7.org/fhir/sid/icd-10", code, display
            ),
        }
        if sequence == 1:
            entry["type"] = [
                codeable_concept(
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
        "role": codeable_concept(
            "http://hl7.org/fhir/claimcareteamrole", "primary", "Primary provider"
        ),
    }
    if specialty:
        member["responsible"] = True
        member["qualification"] = codeable_concept(variable_url("prvdr_spclty"), specialty)
    return [member]


_NEAR_LINE = {
    "O": "Part B physician/supplier claim record (processed by local carriers; can include DMEPOS "
    "services)",
    "W": "Part B institutional claim record (outpatient [HOP], HHA)",
    "V": "Part A institutional claim record (inpatient [IP], skilled nursing facility [SNF], "
    "hospice [HOS], or home health agency [HHA])",
}


@dataclass(frozen=True)
class ServiceLine:
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
        return round_to_cents(self.allowed * 0.8)


@dataclass(frozen=True)
class Encounter:
    """What the claims of one day have in common."""

    patient_id: str
    claim_id: str
    start: str
    end: str
    processed: str
    updated: str
    provider: str
    diagnoses: tuple[tuple[str, str], ...]


def claim_header(
    visit: Encounter,
    kind: str,
    type_codings: list[Resource],
    part: str,
    id_variable: str = "clm_id",
) -> Resource:
    """What every kind of claim begins with; ``part`` is the Medicare part that pays."""
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": f"{kind}-{visit.claim_id}",
        "meta": {"versionId": "1", "lastUpdated": visit.updated},
        "identifier": [
            {"system": variable_url(id_variable), "value": visit.claim_id},
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


def claim_type_codings(
    claim_type: str, display: str, eob: str, ex: str, near_line: str
) -> list[Resource]:
    """The four codings of ``type``: tables must pick by system, never by position."""
    return [
        coding(variable_url("nch_clm_type_cd"), claim_type, display),
        coding(f"{BLUE_BUTTON}/codesystem/eob-type", eob),
        coding("http://hl7.org/fhir/ex-claimtype", ex, ex.capitalize()),
        coding(variable_url("nch_near_line_rec_ident_cd"), near_line, _NEAR_LINE[near_line]),
    ]


def modifiers(line: ServiceLine) -> list[Resource]:
    """A line's HCPCS modifiers."""
    return [
        {"coding": [{"system": HCPCS, "version": "0", "code": code}]} for code in line.modifiers
    ]
