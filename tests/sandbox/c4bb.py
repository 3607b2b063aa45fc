"""The invariants and slices of the CARIN guide (C4BB 2.2), each by its id, as plain functions.

HL7's package with the profiles is not at hand, so each rule is written down from the guide's own
sources. ``problems(resource, resolve)`` returns the ids of the rules that a resource breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

GUIDE = "http://hl7.org/fhir/us/carin-bb"
HL7 = "http://terminology.hl7.org/CodeSystem"
NUCC = "http://nucc.org/provider-taxonomy"
TEETH = f"{HL7}/ADAUniversalToothDesignationSystem"
# Value set C4BBAdjudication: five codes of HL7, the rest of the guide.
HL7_AMOUNTS = ("submitted", "eligible", "deductible", "copay", "benefit")
GUIDE_AMOUNTS = (
    "coinsurance",
    "noncovered",
    "priorpayerpaid",
    "paidbypatient",
    "paidbypatientcash",
    "paidbypatientother",
    "paidtoprovider",
    "paidtopatient",
    "memberliability",
    "discount",
    "drugcost",
)
AMOUNTS = {(f"{HL7}/adjudication", code) for code in HL7_AMOUNTS}
AMOUNTS |= {(f"{GUIDE}/CodeSystem/C4BBAdjudication", code) for code in GUIDE_AMOUNTS}
DIAGNOSIS_TYPES = {
    "Inpatient-Institutional": {"principal", "admitting", "other", "externalcauseofinjury"},
    "Outpatient-Institutional": {
        "principal",
        "other",
        "externalcauseofinjury",
        "patientreasonforvisit",
    },
    "Professional-NonClinician": {"principal", "secondary"},
    "Oral": {"principal", "secondary"},
    "Pharmacy": set(),
}
INSTITUTIONAL_ROLES = {
    "attending",
    "primary",
    "referring",
    "operating",
    "otheroperating",
    "rendering",
}
ROLES = {
    "Inpatient-Institutional": INSTITUTIONAL_ROLES,
    "Outpatient-Institutional": INSTITUTIONAL_ROLES,
    "Professional-NonClinician": {
        "rendering",
        "purchasedservice",
        "primary",
        "referring",
        "supervisor",
    },
    "Oral": {"rendering", "purchasedservice", "primary", "referring", "supervisor"},
    "Pharmacy": {"primary", "prescribing", "rendering"},
}
# Category: the element that the slice demands.
SUPPORTING = {
    "admissionperiod": "timingPeriod",
    "clmrecvddate": "timingDate",
    "typeofbill": "code",
    "pointoforigin": "code",
    "admtype": "code",
    "discharge-status": "code",
    "drg": "code",
    "patientaccountnumber": "valueString",
    "medicalrecordnumber": "valueString",
    "servicefacility": "valueReference",
    "dayssupply": "valueQuantity",
    "refillnum": "valueQuantity",
    "refillsauthorized": "valueQuantity",
    "dawcode": "code",
    "brandgenericindicator": "code",
    "rxorigincode": "code",
    "compoundcode": "code",
    "additionalbodysite": "code",
    "missingtoothnumber": "code",
}
DEMANDED_INFORMATION = {
    "Inpatient-Institutional": {"admissionperiod"},
    "Pharmacy": {"dayssupply", "dawcode", "refillnum"},
}
DEMANDED_ADJUDICATION = {
    "Inpatient-Institutional": {"benefitpaymentstatus"},
    "Outpatient-Institutional": {"benefitpaymentstatus"},
    "Professional-NonClinician": {"renderingnetworkstatus"},
    "Oral": {"renderingnetworkstatus", "benefitpaymentstatus"},
    "Pharmacy": {"benefitpaymentstatus"},
}

Resolve = Callable[[dict], dict]


def codings(concept: dict | None) -> list[tuple[str, str]]:
    return [(c.get("system", ""), c.get("code", "")) for c in (concept or {}).get("coding", ())]


def codes(concepts: Iterable[dict] | dict | None) -> set[str]:
    if isinstance(concepts, dict):
        concepts = [concepts]
    return {code for concept in concepts or () for _, code in codings(concept)}


def kind_of(claim: dict) -> str:
    url = claim["meta"]["profile"][0].partition("|")[0]
    return url.removeprefix(f"{GUIDE}/StructureDefinition/C4BB-ExplanationOfBenefit-")


def has_amount(entries: Iterable[dict]) -> bool:
    return any(AMOUNTS & set(codings(entry["category"])) for entry in entries)


def profile_version(resource: dict) -> bool:
    """EOB-*-meta-profile-version, patient-, coverage-, organization-, practitioner-…"""
    stem = f"{GUIDE}/StructureDefinition/C4BB-{resource['resourceType']}"
    profiles = resource["meta"].get("profile", [])
    return any(p.startswith(stem) and p.partition("|")[2].startswith("2.2") for p in profiles)


def has_last_updated(resource: dict) -> bool:
    """uncontained-requires-lastUpdated; meta.lastUpdated 1..1"""
    return "lastUpdated" in resource["meta"]


def practitioner_identifier(resource: dict) -> bool:
    """Practitioner-identifier: an NPI or a tax id."""
    return any(codes(i.get("type")) & {"NPI", "TAX"} for i in resource["identifier"])


def member_id(patient: dict) -> bool:
    """C4BB-Patient: identifier[memberid] 1..*"""
    return any("MB" in codes(i.get("type")) for i in patient["identifier"])


def coverage_elements(coverage: dict) -> bool:
    """C4BB-Coverage: subscriberId, relationship, beneficiary and one payor."""
    names = ("subscriberId", "relationship", "beneficiary")
    return all(n in coverage for n in names) and len(coverage["payor"]) == 1


def unique_claim_id(claim: dict, _: Resolve) -> bool:
    types = [codings(i.get("type")) for i in claim["identifier"]]
    expected = (f"{GUIDE}/CodeSystem/C4BBIdentifierType", "uc")
    return sum(expected in t for t in types) == 1 and all(i["value"] for i in claim["identifier"])


def insurance_focal(claim: dict, _: Resolve) -> bool:
    return sum(i["focal"] is True for i in claim["insurance"]) < 2


def billable_start(claim: dict, _: Resolve) -> bool:
    return "start" in claim["billablePeriod"]


def related_elements(claim: dict, _: Resolve) -> bool:
    allowed = {"prior", "replacedby"}
    return all(
        codes(r["relationship"]) & allowed and r["reference"]["value"]
        for r in claim.get("related", ())
    )


def payee_party(claim: dict, _: Resolve) -> bool:
    payee = claim.get("payee", {})
    return "other" not in codes(payee.get("type")) or "party" in payee


def team_is(claim: dict, resolve: Resolve, roles: set[str], kind: str) -> bool:
    return all(
        resolve(m["provider"])["resourceType"] == kind
        for m in claim.get("careTeam", ())
        if codes(m["role"]) & roles
    )


def institutional_team(claim: dict, resolve: Resolve) -> bool:
    if "Institutional" not in kind_of(claim):
        return True
    roles = {"attending", "primary", "referring", "supervisor"}
    return team_is(claim, resolve, roles, "Practitioner")


def professional_team(claim: dict, resolve: Resolve) -> bool:
    if kind_of(claim) not in ("Professional-NonClinician", "Oral"):
        return True
    roles = {"rendering", "primary", "referring", "supervisor"}
    return team_is(claim, resolve, roles, "Practitioner")


def pharmacy_practitioner(claim: dict, resolve: Resolve) -> bool:
    roles = {"primary", "prescribing"}
    return kind_of(claim) != "Pharmacy" or team_is(claim, resolve, roles, "Practitioner")


def pharmacy_organization(claim: dict, resolve: Resolve) -> bool:
    return kind_of(claim) != "Pharmacy" or team_is(claim, resolve, {"rendering"}, "Organization")


def qualification(claim: dict, _: Resolve) -> bool:
    return all(
        any(system == NUCC for system, _ in codings(m.get("qualification")))
        for m in claim.get("careTeam", ())
        if "rendering" in codes(m["role"])
    )


def care_team_roles(claim: dict, _: Resolve) -> bool:
    allowed = ROLES[kind_of(claim)]
    return all(codes(m["role"]) <= allowed for m in claim.get("careTeam", ()))


def header_or_lines(claim: dict, _: Resolve) -> bool:
    if "Institutional" not in kind_of(claim):
        return True
    lines = [a for item in claim["item"] for a in item.get("adjudication", ())]
    return has_amount(claim.get("adjudication", ())) != has_amount(lines)


def amount_slice(claim: dict, _: Resolve) -> bool:
    return all(
        "adjudication" not in item or has_amount(item["adjudication"]) for item in claim["item"]
    )


def line_amounts(claim: dict, _: Resolve) -> bool:
    if "Institutional" in kind_of(claim):
        return True
    return all(has_amount(item.get("adjudication", ())) for item in claim["item"])


def total_amounts(claim: dict, _: Resolve) -> bool:
    return bool(claim.get("total")) and all(
        AMOUNTS & set(codings(t["category"])) and "amount" in t for t in claim["total"]
    )


def not_applicable(claim: dict, _: Resolve) -> bool:
    if kind_of(claim) != "Professional-NonClinician" or "vision" in codes(claim["type"]):
        return True
    return all("not-applicable" not in codes(i["productOrService"]) for i in claim["item"])


def point_of_origin(claim: dict, _: Resolve) -> bool:
    entries = [c for s in claim.get("supportingInfo", ()) for c in codings(s.get("code"))]
    nubc = "https://www.nubc.org/CodeSystem"
    admitted = {code for system, code in entries if system == f"{nubc}/PriorityTypeOfAdmitOrVisit"}
    if not admitted:
        return True
    systems = {system for system, _ in entries}
    if "4" in admitted:
        return f"{nubc}/PointOfOrigin" not in systems
    return f"{nubc}/PointOfOriginNewborn" not in systems


def information_slices(claim: dict, _: Resolve) -> bool:
    entries = claim.get("supportingInfo", [])
    names = [next(iter(codes(e["category"]))) for e in entries]
    single = [n for n in names if n not in ("additionalbodysite", "missingtoothnumber")]
    demanded = DEMANDED_INFORMATION.get(kind_of(claim), set())
    complete = all(SUPPORTING[n] in e for n, e in zip(names, entries, strict=True))
    return complete and len(single) == len(set(single)) and demanded <= set(names)


def adjudication_slices(claim: dict, _: Resolve) -> bool:
    entries = claim.get("adjudication", [])
    with_reason = {n for e in entries if "reason" in e for n in codes(e["category"])}
    return DEMANDED_ADJUDICATION[kind_of(claim)] <= with_reason


def line_status(claim: dict, _: Resolve) -> bool:
    if kind_of(claim) not in ("Professional-NonClinician", "Oral"):
        return True
    return all(
        sum("benefitpaymentstatus" in codes(a["category"]) for a in i["adjudication"]) == 1
        for i in claim["item"]
    )


def line_dates(claim: dict, _: Resolve) -> bool:
    expected = {"Outpatient-Institutional": ("servicedDate",), "Pharmacy": ("servicedDate",)}
    names = expected.get(kind_of(claim), ("servicedDate", "servicedPeriod"))
    if kind_of(claim) == "Inpatient-Institutional":
        return True
    return all(any(n in item for n in names) for item in claim["item"])


def line_places(claim: dict, _: Resolve) -> bool:
    if kind_of(claim) not in ("Professional-NonClinician", "Oral"):
        return True
    return all("locationCodeableConcept" in item for item in claim["item"])


def revenue(claim: dict, _: Resolve) -> bool:
    if kind_of(claim) != "Inpatient-Institutional":
        return True
    return all("revenue" in item for item in claim["item"])


def diagnosis_types(claim: dict, _: Resolve) -> bool:
    kind, entries = kind_of(claim), claim.get("diagnosis", [])
    if not entries:
        return kind in ("Oral", "Pharmacy")
    return all(
        len(d["type"]) == 1
        and codes(d["type"]) <= DIAGNOSIS_TYPES[kind]
        and "diagnosisCodeableConcept" in d
        for d in entries
    )


def sites(claim: dict) -> set[int]:
    return {
        s["sequence"]
        for s in claim.get("supportingInfo", ())
        if "additionalbodysite" in codes(s["category"])
    }


def additional_site_has_line(claim: dict, _: Resolve) -> bool:
    named = {n for item in claim["item"] for n in item.get("informationSequence", ())}
    return sites(claim) <= named


def additional_site_has_body_site(claim: dict, _: Resolve) -> bool:
    return all(
        "bodySite" in item
        for item in claim["item"]
        if sites(claim) & set(item.get("informationSequence", ()))
    )


def surface_has_tooth(claim: dict, _: Resolve) -> bool:
    return all(
        any(system == TEETH for system, _ in codings(item.get("bodySite")))
        or sites(claim) & set(item.get("informationSequence", ()))
        for item in claim["item"]
        if "subSite" in item
    )


CLAIM_RULES: dict[str, Callable[[dict, Resolve], bool]] = {
    "identifier[uniqueclaimid]": unique_claim_id,
    "EOB-insurance-focal": insurance_focal,
    "billablePeriod.start": billable_start,
    "related": related_elements,
    "EOB-payee-other-type-requires-party": payee_party,
    "EOB-inst-careTeam-practitioner": institutional_team,
    "EOB-prof-careTeam-practitioner": professional_team,
    "EOB-pharm-careTeam-practitioner": pharmacy_practitioner,
    "EOB-pharm-careTeam-organization": pharmacy_organization,
    "EOB-careteam-qualification": qualification,
    "careTeam.role": care_team_roles,
    "EOB-institutional-item-or-header-adjudication": header_or_lines,
    "adjudication-has-amount-type-slice": amount_slice,
    "item.adjudication[adjudicationamounttype]": line_amounts,
    "total[adjudicationamounttype]": total_amounts,
    "EOB-vision-item-productorservice": not_applicable,
    "EOB-inst-pointoforigin": point_of_origin,
    "supportingInfo slices": information_slices,
    "adjudication slices": adjudication_slices,
    "item.adjudication[benefitpaymentstatus]": line_status,
    "item.serviced": line_dates,
    "item.location": line_places,
    "item.revenue": revenue,
    "diagnosis.type": diagnosis_types,
    "Oral-EOB-supportinginfo-additionalbodysite-requires-line-item": additional_site_has_line,
    "Oral-line-item-with-linked-additionalbody-site-requires-bodysite": (
        additional_site_has_body_site
    ),
    "Oral-EOB-surface-subsite-requires-tooth-number": surface_has_tooth,
}
OTHER_RULES: dict[str, dict[str, Callable[[dict], bool]]] = {
    "Patient": {"identifier[memberid]": member_id},
    "Coverage": {"C4BB-Coverage": coverage_elements},
    "Practitioner": {"Practitioner-identifier": practitioner_identifier},
    "Organization": {},
}


def problems(resource: dict, resolve: Resolve) -> list[str]:
    """Return the ids of the rules that a resource breaks."""
    broken = []
    if not profile_version(resource):
        broken.append("meta-profile-version")
    if not has_last_updated(resource):
        broken.append("uncontained-requires-lastUpdated")
    if resource["resourceType"] == "ExplanationOfBenefit":
        return broken + [n for n, rule in CLAIM_RULES.items() if not rule(resource, resolve)]
    rules = OTHER_RULES[resource["resourceType"]]
    return broken + [name for name, rule in rules.items() if not rule(resource)]
