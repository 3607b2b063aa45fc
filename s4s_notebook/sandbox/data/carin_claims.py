"""Claims of a health plan by the CARIN guide (C4BB 2.2, FHIR R4): five kinds of claim.

Inpatient and outpatient institutional, professional, pharmacy and oral. A hospital stay has its
money in the claim's ``adjudication``, every other kind in its lines; never both.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace

from . import carin_parties as parties
from .carin_elements import (
    CDT,
    HL7,
    NDC,
    NUBC,
    ON_ADMISSION,
    PLACE_OF_SERVICE,
    STATUS,
    TEETH,
    add_information,
    adjustment_reason,
    amount_entries,
    claim_number,
    coverage_reference,
    diagnosis_element,
    diagnosis_type,
    institutional_claim,
    is_adjustment,
    line_amounts,
    money_element,
    network_status,
    new_claim,
    procedure_code,
    service_line,
    team_member,
    typed_diagnoses,
    with_totals,
)
from .carin_parties import guide_system
from .claim_elements import (
    ClaimForms,
    ClaimHeader,
    HeaderMaker,
    ServiceLine,
    codeable_concept,
    round_to_cents,
)
from .people import Resource

_MS_DRG = (
    "https://www.cms.gov/Medicare/Medicare-Fee-for-Service-Payment/AcuteInpatientPPS/"
    "MS-DRG-Classifications-and-Software"
)
INPATIENT_DEDUCTIBLE = 1340.0


def professional_claim(header: ClaimHeader, lines: Sequence[ServiceLine]) -> Resource:
    """Return the claim of a physician; imaging is read by a radiologist."""
    imaging = any(line.service_type == "4" or line.code.startswith("7") for line in lines)
    billing = parties.RADIOLOGY if imaging else parties.PRACTICE
    rendering = parties.RADIOLOGIST if imaging else parties.PRIMARY_CARE
    claim = new_claim(header, "professional", "Professional-NonClinician", billing)
    claim["careTeam"] = [team_member(1, "rendering", rendering)]
    claim["careTeam"] += [
        team_member(2, "referring" if imaging else "primary", parties.PRIMARY_CARE)
    ]
    claim["diagnosis"] = typed_diagnoses(header, "secondary")
    if any("26" in line.modifiers for line in lines):
        add_information(claim, "servicefacility", valueReference=parties.HOSPITAL.reference)
    claim["adjudication"] = [
        network_status("billingnetworkstatus", header),
        network_status("renderingnetworkstatus", header),
        network_status("benefitpaymentstatus", header),
    ]
    claim["item"] = [
        {
            **service_line(sequence, line, header),
            "locationCodeableConcept": codeable_concept(PLACE_OF_SERVICE, line.place_of_service),
        }
        for sequence, line in enumerate(lines, start=1)
    ]
    for item in claim["item"]:
        item["adjudication"].append(network_status("benefitpaymentstatus", header))
        if len(claim["supportingInfo"]) > 1:
            item["informationSequence"] = [2]
    return with_totals(claim, header)


def outpatient_claim(header: ClaimHeader, lines: Sequence[ServiceLine]) -> Resource:
    """Return the claim of a hospital's outpatient department, with money in its lines."""
    claim = institutional_claim(header, "outpatient", "0131")
    reason = {"sequence": len(header.diagnoses) + 1, **diagnosis_element(header.diagnoses[0])}
    reason["type"] = [diagnosis_type("patientreasonforvisit")]
    claim["diagnosis"] = [*typed_diagnoses(header, "other"), reason]
    claim["careTeam"] = [team_member(1, "attending", parties.HOSPITALIST)]
    claim["item"] = [
        {
            **service_line(sequence, line, header),
            "revenue": codeable_concept(f"{NUBC}/RevenueCodes", line.revenue),
        }
        for sequence, line in enumerate(lines, start=1)
    ]
    for item, line in zip(claim["item"], lines, strict=True):
        if line.code.startswith("7"):
            item["careTeamSequence"] = [2]
    if any(line.code.startswith("7") for line in lines):
        claim["careTeam"].append(team_member(2, "rendering", parties.RADIOLOGIST))
    return with_totals(claim, header)


def inpatient_claim(
    header: ClaimHeader, lines: Sequence[ServiceLine], drg: str, paid: float
) -> Resource:
    """Return the claim of a hospital stay, paid by DRG, with money at the claim alone.

    Args:
        header: patient, dates and number of the claim.
        lines: charges of the stay.
        drg: diagnosis-related group.
        paid: payment for the complete stay, in dollars.
    """
    surgical = drg == "470"
    claim = institutional_claim(header, "inpatient", "0111")
    add_information(
        claim, "admissionperiod", timingPeriod={"start": header.start, "end": header.end}
    )
    add_information(claim, "pointoforigin", code=codeable_concept(f"{NUBC}/PointOfOrigin", "1"))
    priority = codeable_concept(f"{NUBC}/PriorityTypeOfAdmitOrVisit", "3" if surgical else "1")
    add_information(claim, "admtype", code=priority)
    home = codeable_concept(f"{NUBC}/PatDischargeStatus", "01", "Discharged to home")
    add_information(claim, "discharge-status", code=home)
    add_information(claim, "drg", code=_drg(drg, header.end))
    claim["careTeam"] = [team_member(1, "attending", parties.HOSPITALIST)]
    if surgical:
        claim["careTeam"].append(team_member(2, "operating", parties.SURGEON))
        claim["procedure"] = [_knee_replacement(header.start)]
    admitting = {"sequence": len(header.diagnoses) + 1, **diagnosis_element(header.diagnoses[0])}
    admitting["type"] = [diagnosis_type("admitting")]
    claim["diagnosis"] = typed_diagnoses(header, "other")
    for diagnosis in claim["diagnosis"]:
        diagnosis["onAdmission"] = codeable_concept(ON_ADMISSION, "Y")
    claim["diagnosis"].append(admitting)
    claim["item"] = [
        _stay_line(sequence, line, header) for sequence, line in enumerate(lines, start=1)
    ]
    charge = sum(line.charge for line in lines)
    eligible = paid + INPATIENT_DEDUCTIBLE
    amounts = {
        "submitted": charge,
        "eligible": eligible,
        "discount": max(0.0, charge - eligible),
        "noncovered": 0.0,
        "deductible": INPATIENT_DEDUCTIBLE,
        "memberliability": INPATIENT_DEDUCTIBLE,
        "benefit": paid,
        "paidtoprovider": paid,
    }
    claim["adjudication"] += amount_entries(amounts)
    if eligible > charge:
        claim["adjudication"].append(adjustment_reason("94", "Processed in Excess of charges."))
    return with_totals(claim, header)


def _drg(code: str, discharged: str) -> Resource:
    # Version 36 is that of the fiscal year 2019, which began in October 2018.
    year, month = int(discharged[:4]), int(discharged[5:7])
    version = year + (month >= 10) - 1983
    return {"coding": [{"system": _MS_DRG, "version": str(version), "code": code}]}


def _knee_replacement(day: str) -> Resource:
    return {
        "sequence": 1,
        "type": [codeable_concept(guide_system("C4BBClaimProcedureType"), "principal")],
        "date": day,
        "procedureCodeableConcept": codeable_concept(
            "http://www.cms.gov/Medicare/Coding/ICD10", "0SRC0J9"
        ),
    }


def _stay_line(sequence: int, line: ServiceLine, header: ClaimHeader) -> Resource:
    return {
        "sequence": sequence,
        "careTeamSequence": [1],
        "revenue": codeable_concept(f"{NUBC}/RevenueCodes", line.revenue),
        "productOrService": procedure_code(line.code),
        "servicedPeriod": {"start": header.start, "end": header.end},
        "quantity": {"value": line.units},
    }


def pharmacy_claim(
    header: ClaimHeader, ndc: str, drug: str, cost: float, *, days: int, fill: int
) -> Resource:
    """Return the claim of a pharmacy for a dispensed drug.

    Args:
        header: patient, date and number of the claim.
        ndc: National Drug Code, 11 digits.
        drug: display name of the drug.
        cost: price of the drug in dollars.
        days: days of supply.
        fill: fill number, 0 for the first.
    """
    brand = "Ventolin" in drug
    claim = new_claim(header, "pharmacy", "Pharmacy", parties.PHARMACY)
    for category, code in (
        ("dawcode", "0"),
        ("brandgenericindicator", "1" if brand else "2"),
        ("rxorigincode", "3"),
        ("compoundcode", "1"),
    ):
        add_information(claim, category, code=codeable_concept(_NCPDP[category], code))
    for category, value in (("dayssupply", days), ("refillnum", fill), ("refillsauthorized", 3)):
        add_information(claim, category, valueQuantity={"value": value})
    claim["careTeam"] = [
        team_member(1, "prescribing", parties.PRIMARY_CARE),
        team_member(2, "primary", parties.PRIMARY_CARE),
    ]
    claim["adjudication"] = [
        network_status("billingnetworkstatus", header),
        network_status("benefitpaymentstatus", header),
    ]
    copay = round_to_cents(cost * 0.25)
    price = round_to_cents(cost)
    amounts = line_amounts(round_to_cents(cost * 1.2), price, copay, "copay", header)
    claim["item"] = [
        {
            "sequence": 1,
            "careTeamSequence": [1],
            "productOrService": codeable_concept(NDC, ndc, drug),
            "servicedDate": header.start,
            "quantity": {"value": days, "unit": "each", "code": "EA"},
            "adjudication": amount_entries({**amounts, "drugcost": price, "paidbypatient": copay}),
        }
    ]
    return with_totals(claim, header)


_NCPDP = {
    "dawcode": f"{HL7}/NCPDPDispensedAsWrittenOrProductSelectionCode",
    "brandgenericindicator": f"{HL7}/NCPDPBrandGenericIndicator",
    "rxorigincode": f"{HL7}/NCPDPPrescriptionOriginCode",
    "compoundcode": f"{HL7}/NCPDPCompoundCode",
}


def compound_claim(header: ClaimHeader) -> Resource:
    """Return the claim of an ointment that the pharmacy mixed from two ingredients."""
    claim = pharmacy_claim(header, "", "", 46.0, days=14, fill=0)
    for entry in claim["supportingInfo"]:
        if entry["category"]["coding"][0]["code"] == "compoundcode":
            entry["code"] = codeable_concept(_NCPDP["compoundcode"], "2")
    item = claim["item"][0]
    item["productOrService"] = codeable_concept(guide_system("C4BBCompoundLiteral"), "compound")
    item["quantity"] = {"value": 60, "unit": "gram", "code": "GM"}
    item["detail"] = [
        {
            "sequence": sequence,
            "productOrService": codeable_concept(NDC, ndc, name),
            "quantity": {"value": grams, "unit": "gram", "code": "GM"},
        }
        for sequence, (ndc, name, grams) in enumerate(
            (("00168000215", "Hydrocortisone 1 % ointment", 45), ("00168002138", "Zinc oxide", 15)),
            start=1,
        )
    ]
    return claim


def oral_claim(header: ClaimHeader, services: Sequence[ServiceLine]) -> Resource:
    """Return a dentist's claim; a service's ``revenue`` is ``tooth`` or ``tooth:surfaces``.

    A second tooth (``tooth+tooth``) is an additional body site.
    """
    claim = new_claim(header, "oral", "Oral", parties.DENTAL_PRACTICE)
    claim["insurance"][0]["coverage"] = coverage_reference(header, "dental")
    claim["careTeam"] = [team_member(1, "rendering", parties.DENTIST)]
    claim["adjudication"] = [
        network_status("billingnetworkstatus", header),
        network_status("renderingnetworkstatus", header),
        network_status("benefitpaymentstatus", header),
    ]
    add_information(claim, "missingtoothnumber", code=codeable_concept(TEETH, "1"))
    claim["item"] = []
    for sequence, service in enumerate(services, start=1):
        item = service_line(sequence, replace(service, revenue=""), header)
        item.pop("diagnosisSequence")
        item["productOrService"] = codeable_concept(CDT, service.code)
        item["locationCodeableConcept"] = codeable_concept(PLACE_OF_SERVICE, "11")
        item["adjudication"].append(network_status("benefitpaymentstatus", header))
        _add_tooth(claim, item, service.revenue)
        claim["item"].append(item)
    return with_totals(claim, header)


def _add_tooth(claim: Resource, item: Resource, site: str) -> None:
    teeth, _, surfaces = site.partition(":")
    if not teeth:
        return
    first, *others = teeth.split("+")
    item["bodySite"] = codeable_concept(TEETH, first)
    if surfaces:
        item["subSite"] = [codeable_concept(guide_system("C4BBSurfaceCodes"), s) for s in surfaces]
    for tooth in others:
        add_information(claim, "additionalbodysite", code=codeable_concept(TEETH, tooth))
        item.setdefault("informationSequence", []).append(len(claim["supportingInfo"]))


# CDT code, charge, allowed charge, site: examination, cleaning, bitewings; then a filling of two
# surfaces, scaling of two teeth, and a film of one tooth.
_DENTAL_VISITS = (
    (
        ServiceLine("D0120", 68, 45.0),
        ServiceLine("D1110", 120, 81.0),
        ServiceLine("D0274", 84, 52.0),
    ),
    (
        ServiceLine("D2392", 260, 171.0, revenue="30:OD"),
        ServiceLine("D4342", 190, 128.0, revenue="2+3"),
        ServiceLine("D0220", 36, 22.0, revenue="30"),
    ),
)


def further_claims(header: HeaderMaker) -> Iterator[Resource]:
    """Yield what Medicare does not pay: visits to the dentist; and a compounded ointment."""
    for year in (2016, 2017, 2018):
        for month, services in zip((3, 10), _DENTAL_VISITS, strict=True):
            day = f"{year}-{month:02d}-12"
            yield oral_claim(header(day, day, ()), services)
    day = "2017-06-20"
    yield compound_claim(header(day, day, ()))


def claim_versions(claim: Resource) -> list[Resource]:
    """Return a claim with its earlier version, if it has one: one claim in 11 has.

    The earlier version was denied for want of information, is cancelled, and names the claim that
    replaced it; the later one names the earlier as prior.
    """
    number = claim["id"].rpartition("-")[2]
    if int(number) % 11 != 3:
        return [claim]
    earlier = copy.deepcopy(claim)
    earlier["id"] += "-v1"
    earlier["identifier"] = [claim_number(f"{number}V1")]
    earlier["status"] = "cancelled"
    day = dt.date.fromisoformat(claim["payment"]["date"]) - dt.timedelta(days=4)
    earlier["created"] = f"{day}T00:00:00Z"
    earlier["payment"] = {
        "type": codeable_concept(STATUS, "denied"),
        "date": day.isoformat(),
        "amount": money_element(0),
    }
    earlier.pop("processNote", None)
    for part in (earlier, *earlier["item"]):
        part.pop("noteNumber", None)
        if any("amount" in entry for entry in part.get("adjudication", ())):
            reason = adjustment_reason("16", "Claim/service lacks information or has errors.")
            part["adjudication"] = [*_denied(part["adjudication"]), reason]
    earlier["total"] = _denied(earlier["total"])
    prior = codeable_concept(f"{HL7}/ex-relatedclaimrelationship", "prior")
    replaced = codeable_concept(guide_system("C4BBRelatedClaimRelationshipCodes"), "replacedby")
    earlier["related"] = [{"relationship": replaced, "reference": claim["identifier"][0]}]
    claim["related"] = [{"relationship": prior, "reference": earlier["identifier"][0]}]
    for entry in claim["supportingInfo"]:
        if entry["category"]["coding"][0]["code"] == "typeofbill":
            coding = entry["code"]["coding"][0]
            coding["code"] = coding["code"][:3] + "7"  # replacement of a prior claim
    return [claim, earlier]


def _denied(entries: Sequence[Resource]) -> list[Resource]:
    """Return amounts after a denial: what was submitted is not covered, all else is 0."""
    amounts = {
        entry["category"]["coding"][0]["code"]: entry["amount"]["value"]
        for entry in entries
        if "amount" in entry
    }
    unchanged = {"submitted", "drugcost"} & amounts.keys()
    denied = {name: amounts[name] if name in unchanged else 0.0 for name in amounts}
    if denied:
        denied["noncovered"] = amounts["submitted"]
    rest = [entry for entry in entries if "amount" not in entry and not is_adjustment(entry)]
    return [*amount_entries(denied), *rest]


CARIN = ClaimForms(
    professional=professional_claim,
    outpatient=outpatient_claim,
    inpatient=inpatient_claim,
    pharmacy=pharmacy_claim,
    versions=claim_versions,
    further=further_claims,
)
