"""Elements that Blue Button claims share (FHIR STU3): codings, money, adjudications, diagnoses.

Codes and elements follow the ExplanationOfBenefit of CMS Blue Button 2.0: ``type`` has four
codings, an adjudication category's code is a complete URL, claim-level amounts are extensions,
and ``insurance`` is a single object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from .people import BLUE_BUTTON, Resource

HCPCS = f"{BLUE_BUTTON}/codesystem/hcpcs"
NPI = "http://hl7.org/fhir/sid/us-npi"

# Display texts of the CMS variables that the sandbox emits (Chronic Conditions Warehouse, CCW).
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

# Displays of the ICD-10 codes.
ICD10_DISPLAYS = {
    "I10": "ESSENTIAL (PRIMARY) HYPERTENSION",
    "E11.9": "TYPE 2 DIABETES MELLITUS WITHOUT COMPLICATIONS",
    "E78.5": "HYPERLIPIDEMIA, UNSPECIFIED",
    "J44.9": "CHRONIC OBSTRUCTIVE PULMONARY DISEASE, UNSPECIFIED",
    "M17.9": "OSTEOARTHRITIS OF KNEE, UNSPECIFIED",
    "R91.8": "OTHER NONSPECIFIC ABNORMAL FINDING OF LUNG FIELD",
    "K76.9": "LIVER DISEASE, UNSPECIFIED",
    "M25.561": "PAIN IN RIGHT KNEE",
    "M89.9": "DISORDER OF BONE, UNSPECIFIED",
    "M54.2": "CERVICALGIA",
    "Z12.31": "ENCNTR SCREEN MAMMOGRAM FOR MALIGNANT NEOPLASM OF BREAST",
    "R59.0": "LOCALIZED ENLARGED LYMPH NODES",
    "Z36.89": "ANTENATAL SCREENING",
    "I67.1": "CEREBRAL ANEURYSM",
    "I65.29": "CAROTID ARTERY STENOSIS",
    "M54.6": "PAIN IN THORACIC SPINE",
    "R10.9": "ABDOMINAL PAIN",
    "R51": "HEADACHE",
    "I63.9": "CEREBRAL INFARCTION",
    "S09.90XA": "UNSPECIFIED INJURY OF HEAD",
    "C61": "MALIGNANT NEOPLASM OF PROSTATE",
}


def variable_url(name: str) -> str:
    """Return the URL of a CCW variable."""
    return f"{BLUE_BUTTON}/variables/{name}"


def round_to_cents(amount: float | Decimal) -> float:
    """Round an amount in dollars to cents, half up."""
    return float(Decimal(str(amount)).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


def money(amount: float) -> Resource:
    """Return a FHIR Money in US dollars."""
    return {"value": round_to_cents(amount), "system": "urn:iso:std:iso:4217", "code": "USD"}


def coding(system: str, code: str, display: str = "") -> Resource:
    """Return a Coding; an empty ``display`` is left out."""
    element = {"system": system, "code": code}
    if display:
        element["display"] = display
    return element


def codeable_concept(system: str, code: str, display: str = "") -> Resource:
    """Return a CodeableConcept with a single coding."""
    return {"coding": [coding(system, code, display)]}


def money_extension(name: str, amount: float) -> Resource:
    """Return an extension with the amount of a CCW variable."""
    return {"url": variable_url(name), "valueMoney": money(amount)}


def identifier_extension(name: str, value: str) -> Resource:
    """Return an extension with an identifier in the system of a CCW variable."""
    return {
        "url": variable_url(name),
        "valueIdentifier": {"system": variable_url(name), "value": value},
    }


def adjudication(name: str, amount: float) -> Resource:
    """Return an adjudication with an amount; the category's code is the variable's URL."""
    return {"category": _category("adjudication", name), "amount": money(amount)}


def adjudication_reason(name: str, code: str, display: str = "") -> Resource:
    """Return an adjudication with a reason code instead of an amount."""
    return {
        "category": _category("adjudication", name),
        "reason": codeable_concept(variable_url(name), code, display),
    }


def information(sequence: int, name: str, *, code: str = "", date: str = "") -> Resource:
    """Return an ``information`` entry with a code, a date, or both."""
    entry: Resource = {"sequence": sequence, "category": _category("information", name)}
    if code:
        entry["code"] = codeable_concept(variable_url(name), code)
    if date:
        entry["timingDate"] = date
    return entry


def _category(kind: str, name: str) -> Resource:
    return codeable_concept(f"{BLUE_BUTTON}/codesystem/{kind}", variable_url(name), VARIABLES[name])


def diagnoses(codes: Sequence[str]) -> list[Resource]:
    """Return diagnoses from ICD-10 codes; the first is principal."""
    entries: list[Resource] = []
    for sequence, code in enumerate(codes, start=1):
        concept = codeable_concept("http://hl7.org/fhir/sid/icd-10", code, ICD10_DISPLAYS[code])
        entry: Resource = {"sequence": sequence, "diagnosisCodeableConcept": concept}
        if sequence == 1:
            entry["type"] = [
                codeable_concept(
                    f"{BLUE_BUTTON}/codesystem/diagnosis-type",
                    "principal",
                    "The single medical diagnosis that is most relevant to the patient's chief "
                    "complaint or need for treatment.",
                )
            ]
        entries.append(entry)
    return entries


def care_team(npi: str, *, specialty: str = "") -> list[Resource]:
    """Return a care team of the primary provider, with a CMS specialty code if given."""
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
    """A billed service.

    Attributes:
        code: HCPCS code; empty on inpatient lines.
        charge: submitted charge in dollars.
        allowed: charge in dollars that Medicare allows; 80 % of it is paid.
        modifiers: HCPCS modifiers, such as ``26`` for the professional component.
        revenue: revenue centre code of a hospital line.
        date: service date; empty for the first day of the claim.
        place_of_service: CMS place of service code; ``11`` is an office.
        service_type: CMS type of service code; ``4`` is diagnostic radiology.
        units: number of services.
    """

    code: str
    charge: float
    allowed: float
    modifiers: tuple[str, ...] = ()
    revenue: str = ""
    date: str = ""
    place_of_service: str = "11"
    service_type: str = "1"
    units: int = 1

    @property
    def paid(self) -> float:
        """The amount paid by Medicare, in dollars."""
        return round_to_cents(self.allowed * 0.8)


@dataclass(frozen=True)
class ClaimHeader:
    """Patient, dates, provider and diagnoses of a claim.

    Attributes:
        patient_id: FHIR id of the patient.
        claim_id: claim number, decimal digits.
        start: first day of the billable period, ISO 8601.
        end: last day of the billable period.
        processed: day on which the claim was processed.
        updated: ``meta.lastUpdated`` as a FHIR instant.
        provider: NPI of the provider.
        diagnoses: ICD-10 codes, the principal diagnosis first.
    """

    patient_id: str
    claim_id: str
    start: str
    end: str
    processed: str
    updated: str
    provider: str
    diagnoses: tuple[str, ...]


# Returns a header for the first and last day of a claim, and its diagnoses.
HeaderMaker = Callable[[str, str, tuple[str, ...]], ClaimHeader]


@dataclass(frozen=True)
class ClaimForms:
    """How a payer writes the claims of one history.

    Attributes:
        professional: writes a physician's claim.
        outpatient: writes a hospital's claim for an outpatient.
        inpatient: writes the claim of a stay, from its lines, DRG and payment.
        pharmacy: writes the claim of a drug.
        versions: returns a claim, and after it the earlier versions that it replaced.
        further: returns claims of services that only this payer covers.
    """

    professional: Callable[[ClaimHeader, Sequence[ServiceLine]], Resource]
    outpatient: Callable[[ClaimHeader, Sequence[ServiceLine]], Resource]
    inpatient: Callable[[ClaimHeader, Sequence[ServiceLine], str, float], Resource]
    pharmacy: Callable[..., Resource]
    versions: Callable[[Resource], list[Resource]] = lambda claim: [claim]
    further: Callable[[HeaderMaker], Iterable[Resource]] = lambda _: ()


def claim_resource(
    header: ClaimHeader,
    claim_type: str,
    type_codings: list[Resource],
    part: str,
    id_variable: str = "clm_id",
) -> Resource:
    """Return an ExplanationOfBenefit with the elements that all claim types share.

    Args:
        header: patient, dates and number of the claim.
        claim_type: prefix of the resource id: ``carrier``, ``outpatient``, ``inpatient``, ``pde``.
        type_codings: codings of ``type``.
        part: Medicare part that pays: ``a``, ``b`` or ``d``.
        id_variable: CCW variable that is the system of the claim number.
    """
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": f"{claim_type}-{header.claim_id}",
        "meta": {"versionId": "1", "lastUpdated": header.updated},
        "identifier": [
            {"system": variable_url(id_variable), "value": header.claim_id},
            {
                "system": f"{BLUE_BUTTON}/identifier/claim-group",
                "value": str(int(header.claim_id) % 10**8),
            },
        ],
        "status": "active",
        "type": {"coding": type_codings},
        "patient": {"reference": f"Patient/{header.patient_id}"},
        "billablePeriod": {"start": header.start, "end": header.end},
        "insurance": {"coverage": {"reference": f"Coverage/part-{part}-{header.patient_id}"}},
    }


# Code and display of the CMS claim type, FHIR's claim type, and the near-line record type.
_CLAIM_TYPES = {
    "carrier": (
        "71",
        "Local carrier non-durable medical equipment, prosthetics, orthotics, and supplies "
        "(DMEPOS) claim",
        "professional",
        "O",
    ),
    "outpatient": ("40", "Hospital Outpatient claim", "professional", "W"),
    "inpatient": ("60", "Inpatient claim", "institutional", "V"),
}


def claim_type_codings(claim_type: str) -> list[Resource]:
    """Return the four codings of ``type``; readers must select them by system, not by index."""
    code, display, ex, near_line = _CLAIM_TYPES[claim_type]
    return [
        coding(variable_url("nch_clm_type_cd"), code, display),
        coding(f"{BLUE_BUTTON}/codesystem/eob-type", claim_type.upper()),
        coding("http://hl7.org/fhir/ex-claimtype", ex, ex.capitalize()),
        coding(variable_url("nch_near_line_rec_ident_cd"), near_line, _NEAR_LINE[near_line]),
    ]


def modifiers(line: ServiceLine) -> list[Resource]:
    """Return the HCPCS modifiers of a service line."""
    return [
        {"coding": [{"system": HCPCS, "version": "0", "code": code}]} for code in line.modifiers
    ]
