"""The sandbox's STU3 resources in FHIR R4, as Blue Button moved its own from version 1 to 2."""

from __future__ import annotations

from typing import Any

from .people import Resource

V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
ADJUDICATION = "http://terminology.hl7.org/CodeSystem/adjudication"
DATA_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_INFORMATION_TYPE = "http://hl7.org/fhir/us/carin-bb/CodeSystem/C4BBSupportingInfoType"
_COVERAGE_CLASS = "http://terminology.hl7.org/CodeSystem/coverage-class"
_PAYER = {"identifier": {"value": "CMS"}, "display": "Centers for Medicare and Medicaid Services"}
# Code systems that got another address in R4.
_SYSTEMS = {
    "http://hl7.org/fhir/v2/0203": V2_0203,
    "http://hl7.org/fhir/ex-claimtype": "http://terminology.hl7.org/CodeSystem/claim-type",
    "http://hl7.org/fhir/claimcareteamrole": (
        "http://terminology.hl7.org/CodeSystem/claimcareteamrole"
    ),
    "http://hl7.org/fhir/endpoint-connection-type": (
        "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
    ),
}
_SAME_IN_BOTH = (
    "resourceType",
    "id",
    "meta",
    "extension",
    "identifier",
    "status",
    "type",
    "patient",
    "billablePeriod",
    "disposition",
    "careTeam",
    "diagnosis",
    "payment",
)
_RENAMED_IN_ITEMS = {
    "careTeamLinkId": "careTeamSequence",
    "diagnosisLinkId": "diagnosisSequence",
    "service": "productOrService",
}


def as_r4(resource: Resource) -> Resource:
    """Return a stored resource in R4; one that is in R4 already is returned as it is."""
    convert = {
        "ImagingStudy": _study,
        "ExplanationOfBenefit": _claim,
        "Coverage": _coverage,
    }.get(resource["resourceType"])
    result: Resource = _values(resource if convert is None else convert(resource))
    return result


def _values(value: Any) -> Any:
    """Return a value with Money and code systems of R4."""
    if isinstance(value, list):
        return [_values(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("system") == "urn:iso:std:iso:4217":
        return {"value": value["value"], "currency": value["code"]}
    result = {name: _values(inner) for name, inner in value.items()}
    if result.get("system") in _SYSTEMS:
        result["system"] = _SYSTEMS[result["system"]]
    return result


def _concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


# -- coverage and claims -------------------------------------------------------------------


def _coverage(coverage: Resource) -> Resource:
    """Return a Coverage with a payor; ``grouping`` becomes two classes."""
    if "payor" in coverage:
        return coverage
    result = {name: value for name, value in coverage.items() if name != "grouping"}
    grouping = coverage["grouping"]
    result["payor"] = [_PAYER]
    result["class"] = [
        {"type": _concept(_COVERAGE_CLASS, kind), "value": grouping[name]}
        for kind, name in (("group", "subGroup"), ("plan", "subPlan"))
    ]
    return result


def _claim(claim: Resource) -> Resource:
    """Return a claim with the elements that R4 requires."""
    if "use" in claim:
        return claim
    result: Resource = {name: claim[name] for name in _SAME_IN_BOTH if name in claim}
    contained, provider = _provider(claim)
    result |= {
        "use": "claim",
        "created": claim["meta"]["lastUpdated"],
        "insurer": _PAYER,
        "provider": provider,
        "outcome": "complete",
        "insurance": [{"focal": True, **claim["insurance"]}],
        "supportingInfo": _supporting_info(claim),
        "item": [_item(item) for item in claim["item"]],
    }
    if contained:
        result["contained"] = contained
    if "facility" in claim:
        result["facility"] = claim["facility"]
    if "totalCost" in claim:
        result["total"] = [
            {"category": _concept(ADJUDICATION, "submitted"), "amount": claim["totalCost"]}
        ]
    return result if result["supportingInfo"] else _without(result, "supportingInfo")


def _without(element: Resource, name: str) -> Resource:
    return {key: value for key, value in element.items() if key != name}


def _provider(claim: Resource) -> tuple[list[Resource], Resource]:
    """Return contained resources, and the reference to the provider, which R4 requires.

    A hospital's CCN and NPI, which STU3 gives to ``provider`` and ``organization``, are
    identifiers of one contained Organization.
    """
    organization = claim.get("organization")
    if organization is None:
        return [], claim["careTeam"][0]["provider"]
    if "provider" not in claim:
        return [], organization
    provider_number = {"type": _concept(V2_0203, "PRN"), **claim["provider"]["identifier"]}
    npi = {"type": _concept(V2_0203, "NPI"), **organization["identifier"]}
    contained = {
        "resourceType": "Organization",
        "id": "provider-org",
        "identifier": [provider_number, npi],
        "active": True,
        "name": organization["display"],
    }
    return [contained], {"reference": "#provider-org"}


def _supporting_info(claim: Resource) -> list[Resource]:
    entries = list(claim.get("information", ()))
    stay = claim.get("hospitalization")
    if stay is not None:
        entries.append(
            {
                "sequence": len(entries) + 1,
                "category": _concept(_INFORMATION_TYPE, "admissionperiod"),
                "timingPeriod": stay,
            }
        )
    return entries


def _item(item: Resource) -> Resource:
    # The detail of a drug's line says in STU3 alone that it is an invoice of a pharmacy.
    result = {
        _RENAMED_IN_ITEMS.get(name, name): value for name, value in item.items() if name != "detail"
    }
    result.setdefault("productOrService", _concept(DATA_ABSENT, "not-applicable"))
    return result


# -- imaging -------------------------------------------------------------------------------

_STATUS = {"ONLINE": "available", "UNAVAILABLE": "cancelled"}


def _study(study: Resource) -> Resource:
    """Return a study: uid is in identifier, patient is subject, availability is status."""
    if "uid" not in study:
        return study
    result: Resource = {
        name: study[name]
        for name in (
            "resourceType",
            "id",
            "meta",
            "contained",
            "endpoint",
            "started",
            "numberOfSeries",
            "numberOfInstances",
            "description",
        )
        if name in study
    }
    result["identifier"] = [{"system": "urn:dicom:uid", "value": study["uid"]}]
    if "accession" in study:
        result["identifier"].append({**study["accession"], "type": _concept(V2_0203, "ACSN")})
    result["status"] = _STATUS.get(study["availability"], "available")
    if "modalityList" in study:
        result["modality"] = study["modalityList"]
    result["subject"] = study["patient"]
    if "series" in study:
        result["series"] = [_series(series) for series in study["series"]]
    return result


def _series(series: Resource) -> Resource:
    result = {k: v for k, v in series.items() if k not in ("uid", "availability", "instance")}
    result["uid"] = _bare(series["uid"])
    if "instance" in series:
        result["instance"] = [
            {
                "uid": _bare(instance["uid"]),
                "number": instance["number"],
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": instance["sopClass"]},
            }
            for instance in series["instance"]
        ]
    return result


def _bare(uid: object) -> str:
    return str(uid).removeprefix("urn:oid:")
