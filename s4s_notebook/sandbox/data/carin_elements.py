"""Elements of a health plan's claims by the CARIN guide (C4BB 2.2, FHIR R4).

Codings, care team, diagnoses, supporting information, and amounts, which obey in each place

    submitted = eligible + discount + noncovered
    eligible  = benefit + memberliability
    memberliability = copay + coinsurance + deductible

where ``benefit`` went to the provider or, out of network, to the patient.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from . import carin_parties as parties
from .carin_parties import Provider, guide_system
from .claim_elements import (
    ICD10_DISPLAYS,
    ClaimHeader,
    ServiceLine,
    codeable_concept,
    round_to_cents,
)
from .people import Resource

HL7 = "http://terminology.hl7.org/CodeSystem"
NUBC = "https://www.nubc.org/CodeSystem"
STATUS = guide_system("C4BBPayerAdjudicationStatus")
DISCRIMINATOR = guide_system("C4BBAdjudicationDiscriminator")
INFO = guide_system("C4BBSupportingInfoType")
_CPT = "http://www.ama-assn.org/go/cpt"
_HCPCS = "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
CDT = "http://www.ada.org/cdt"
NDC = "http://hl7.org/fhir/sid/ndc"
TEETH = f"{HL7}/ADAUniversalToothDesignationSystem"
PLACE_OF_SERVICE = (
    "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"
)
CARC = "https://x12.org/codes/claim-adjustment-reason-codes"
ON_ADMISSION = (
    "https://www.cms.gov/Medicare/Medicare-Fee-for-Service-Payment/HospitalAcqCond/Coding"
)
_MS_DRG = (
    "https://www.cms.gov/Medicare/Medicare-Fee-for-Service-Payment/AcuteInpatientPPS/"
    "MS-DRG-Classifications-and-Software"
)
# Amounts whose code HL7 defines; the guide defines the rest.
_HL7_AMOUNTS = frozenset({"submitted", "eligible", "deductible", "copay", "benefit"})
_HL7_ROLES = frozenset({"primary", "supervisor"})
_HL7_DIAGNOSIS_TYPES = frozenset({"principal", "admitting"})

Amounts = Mapping[str, float]


def new_claim(header: ClaimHeader, kind: str, profile: str, billing: Provider) -> Resource:
    """Return a claim with the elements of every kind; ``profile`` names the guide's profile."""
    type_ = "institutional" if kind in ("inpatient", "outpatient") else kind
    received = dt.date.fromisoformat(header.processed) - dt.timedelta(days=6)
    claim: Resource = {
        "resourceType": "ExplanationOfBenefit",
        "id": f"{kind}-{header.claim_id}",
        "meta": parties.profile_meta(f"C4BB-ExplanationOfBenefit-{profile}", header.updated),
        "identifier": [claim_number(header.claim_id)],
        "status": "active",
        "type": codeable_concept(f"{HL7}/claim-type", type_, type_.capitalize()),
        "use": "claim",
        "patient": {"reference": f"Patient/{header.patient_id}"},
        "billablePeriod": {"start": header.start, "end": header.end},
        "created": f"{header.processed}T00:00:00Z",
        "insurer": parties.PLAN_REFERENCE,
        "provider": billing.reference,
        "outcome": "complete",
        "supportingInfo": [],
        "insurance": [{"focal": True, "coverage": coverage_reference(header, "medical")}],
    }
    add_information(claim, "clmrecvddate", timingDate=received.isoformat())
    return claim


def institutional_claim(header: ClaimHeader, kind: str, bill: str) -> Resource:
    """Return the claim of a hospital; ``bill`` is the NUBC type of bill."""
    profile = f"{kind.capitalize()}-Institutional"
    claim = new_claim(header, kind, profile, parties.HOSPITAL)
    system = guide_system("C4BBInstitutionalClaimSubType")
    claim["subType"] = codeable_concept(system, kind, kind.capitalize())
    add_information(claim, "typeofbill", code=codeable_concept(f"{NUBC}/TypeOfBill", bill))
    add_information(claim, "patientaccountnumber", valueString=f"A{header.claim_id}")
    record = header.patient_id.removeprefix("smart-")
    add_information(claim, "medicalrecordnumber", valueString=record)
    claim["adjudication"] = [
        network_status("billingnetworkstatus", header),
        network_status("benefitpaymentstatus", header),
    ]
    return claim


def claim_number(number: str) -> Resource:
    """Return the payer's unique claim identifier."""
    return {
        "type": codeable_concept(guide_system("C4BBIdentifierType"), "uc", "Unique Claim ID"),
        "system": f"{parties.PLAN_SYSTEM}/claim-number",
        "value": f"SHP{number}",
    }


def coverage_reference(header: ClaimHeader, kind: str) -> Resource:
    """Return a reference to the ``medical`` or ``dental`` Coverage."""
    return {"reference": f"Coverage/{parties.coverage_id(header.patient_id, kind)}"}


def add_information(claim: Resource, category: str, **element: object) -> None:
    """Append an entry to ``supportingInfo`` with the next sequence number."""
    entries = claim["supportingInfo"]
    concept = codeable_concept(INFO, category)
    entries.append({"sequence": len(entries) + 1, "category": concept, **element})


def team_member(sequence: int, role: str, provider: Provider) -> Resource:
    """Return a member of the care team; a rendering provider has a qualification."""
    system = f"{HL7}/claimcareteamrole"
    member: Resource = {
        "sequence": sequence,
        "provider": provider.reference,
        "role": codeable_concept(
            system if role in _HL7_ROLES else guide_system("C4BBClaimCareTeamRole"), role
        ),
    }
    if role == "rendering":
        member["qualification"] = provider.qualification
    return member


def diagnosis_element(code: str) -> Resource:
    """Return the code of a diagnosis by ICD-10-CM."""
    concept = codeable_concept("http://hl7.org/fhir/sid/icd-10-cm", code, ICD10_DISPLAYS[code])
    return {"diagnosisCodeableConcept": concept}


def diagnosis_type(code: str) -> Resource:
    """Return a diagnosis type in HL7's code system or, if it has none, the guide's."""
    if code in _HL7_DIAGNOSIS_TYPES:
        return codeable_concept(f"{HL7}/ex-diagnosistype", code)
    return codeable_concept(guide_system("C4BBClaimDiagnosisType"), code)


def typed_diagnoses(header: ClaimHeader, further: str) -> list[Resource]:
    """Return the diagnoses: the first is principal, the others have type ``further``."""
    return [
        {
            "sequence": sequence,
            **diagnosis_element(code),
            "type": [diagnosis_type("principal" if sequence == 1 else further)],
        }
        for sequence, code in enumerate(header.diagnoses, start=1)
    ]


def procedure_code(code: str) -> Resource:
    """Return a CPT or HCPCS code; an empty one is not applicable."""
    if not code:
        return codeable_concept(f"{HL7}/data-absent-reason", "not-applicable")
    return codeable_concept(_CPT if code[0].isdigit() else _HCPCS, code)


def service_line(sequence: int, line: ServiceLine, header: ClaimHeader) -> Resource:
    """Return a line with its date, modifiers and amounts."""
    item: Resource = {
        "sequence": sequence,
        "careTeamSequence": [1],
        "diagnosisSequence": [1],
        "productOrService": procedure_code(line.code),
        "servicedDate": line.date or header.start,
        "quantity": {"value": line.units},
    }
    if line.modifiers:
        item["modifier"] = [
            codeable_concept(_CPT if code.isdigit() else _HCPCS, code) for code in line.modifiers
        ]
    charge, allowed = round_to_cents(line.charge), round_to_cents(line.allowed)
    amounts = line_amounts(
        charge, allowed, round_to_cents(allowed - line.paid), _share(line, header), header
    )
    item["adjudication"] = amount_entries(amounts)
    item["adjudication"].append({"category": _category("allowedunits"), "value": line.units})
    if amounts["noncovered"]:
        item["adjudication"].append(adjustment_reason("96", "Non-covered charge(s)."))
    return item


def _share(line: ServiceLine, header: ClaimHeader) -> str:
    """Return the name of the patient's share: a visit has a copay, others one of two."""
    if line.code.startswith("99"):
        return "copay"
    return "deductible" if int(header.claim_id) % 5 == 1 else "coinsurance"


def line_amounts(
    charge: float, allowed: float, owed: float, share: str, header: ClaimHeader
) -> dict[str, float]:
    """Return all amounts of a line; nothing is covered where nothing is allowed."""
    benefit = allowed - owed
    recipient = "paidtopatient" if is_outside_network(header) else "paidtoprovider"
    return {
        "submitted": charge,
        "eligible": allowed,
        "discount": charge - allowed if allowed else 0.0,
        "noncovered": 0.0 if allowed else charge,
        share: owed,
        "memberliability": owed,
        "benefit": benefit,
        recipient: benefit,
    }


def amount_entries(amounts: Amounts) -> list[Resource]:
    """Return an adjudication for each amount, by the code of its category."""
    return [
        {"category": _amount_category(name), "amount": money_element(amount)}
        for name, amount in amounts.items()
    ]


def _amount_category(name: str) -> Resource:
    system = f"{HL7}/adjudication" if name in _HL7_AMOUNTS else guide_system("C4BBAdjudication")
    return codeable_concept(system, name)


def _category(name: str) -> Resource:
    return codeable_concept(DISCRIMINATOR, name)


def money_element(amount: float) -> Resource:
    """Return a FHIR R4 Money in US dollars."""
    return {"value": round_to_cents(amount), "currency": "USD"}


def adjustment_reason(code: str, display: str) -> Resource:
    """Return an adjudication with a claim adjustment reason code (CARC)."""
    reason = codeable_concept(CARC, code, display)
    return {"category": _category("adjustmentreason"), "reason": reason}


def is_outside_network(header: ClaimHeader) -> bool:
    """Return whether the provider is outside the plan's network: one claim in 13."""
    return int(header.claim_id) % 13 == 0


def network_status(category: str, header: ClaimHeader) -> Resource:
    """Return an adjudication that says whether the provider is in the plan's network."""
    code = "outofnetwork" if is_outside_network(header) else "innetwork"
    return {"category": _category(category), "reason": codeable_concept(STATUS, code)}


def with_totals(claim: Resource, header: ClaimHeader) -> Resource:
    """Add totals, payee and payment, which follow from the amounts of the claim or its lines."""
    sums: dict[str, float] = {}
    for entry in _adjudications(claim):
        if "amount" in entry:
            code = entry["category"]["coding"][0]["code"]
            sums[code] = sums.get(code, 0.0) + entry["amount"]["value"]
    claim["total"] = amount_entries(sums)
    paid = round_to_cents(sums["benefit"])
    if is_outside_network(header):
        type_ = codeable_concept(guide_system("C4BBPayeeType"), "beneficiary")
        claim["payee"] = {"type": type_, "party": claim["patient"]}
    else:
        type_ = codeable_concept(f"{HL7}/payeetype", "provider")
        claim["payee"] = {"type": type_, "party": claim["provider"]}
    claim["payment"] = {
        "type": codeable_concept(STATUS, "paid" if paid else "denied"),
        "date": header.processed,
        "amount": money_element(paid),
    }
    if sums["noncovered"]:
        claim["processNote"] = [
            {"number": 1, "type": "display", "text": "A service that was stopped is not covered."}
        ]
        for item in claim["item"]:
            if any(is_adjustment(entry) for entry in item["adjudication"]):
                item["noteNumber"] = [1]
    return claim


def is_adjustment(entry: Resource) -> bool:
    """Return whether an adjudication has an adjustment reason."""
    return bool(entry["category"]["coding"][0]["code"] == "adjustmentreason")


def _adjudications(claim: Resource) -> list[Resource]:
    lines = (entry for item in claim["item"] for entry in item.get("adjudication", ()))
    return [*claim["adjudication"], *lines]
