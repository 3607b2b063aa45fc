"""The health plan of the CARIN personality: its members, coverages, providers and organizations.

Resources follow the CARIN Consumer Directed Payer Data Exchange guide (C4BB) 2.2 on FHIR R4. All
parties are invented. Their National Provider Identifiers have a valid check digit and begin with 2,
a range from which none has been issued.
"""

from __future__ import annotations

from dataclasses import dataclass

from .claim_elements import NPI, codeable_concept
from .people import Person, Resource

GUIDE = "http://hl7.org/fhir/us/carin-bb"
VERSION = "2.2.0"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
TAXONOMY = "http://nucc.org/provider-taxonomy"
PLAN_SYSTEM = "https://health-plan.example"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_TAX = "urn:oid:2.16.840.1.113883.4.4"
_NAIC = "urn:oid:2.16.840.1.113883.6.300"
_UPDATED = "2015-02-03T10:11:12.345Z"


def guide_system(name: str) -> str:
    """Return the URL of a code system that the guide defines."""
    return f"{GUIDE}/CodeSystem/{name}"


def profile_meta(profile: str, updated: str) -> Resource:
    """Return ``meta`` with the profile and its version, which the guide asks for."""
    url = f"{GUIDE}/StructureDefinition/{profile}|{VERSION}"
    return {"versionId": "1", "lastUpdated": updated, "profile": [url]}


def npi_of(first_nine: str) -> str:
    """Return the National Provider Identifier that begins with nine digits (45 CFR 162.406).

    The tenth digit is the Luhn check digit over ``80840`` and the nine digits.

    >>> npi_of("123456789")
    '1234567893'
    """
    total = 0
    for position, character in enumerate(reversed("80840" + first_nine)):
        digit = int(character) * (2 if position % 2 == 0 else 1)
        total += digit - 9 if digit > 9 else digit
    return f"{first_nine}{-total % 10}"


@dataclass(frozen=True)
class Provider:
    """A practitioner or an organization that provides services.

    Attributes:
        id: FHIR id.
        npi: National Provider Identifier.
        name: name of an organization, or ``family, given`` of a practitioner.
        taxonomy: code of the NUCC provider taxonomy.
        specialty: display of the taxonomy code.
        person: whether this is a practitioner.
    """

    id: str
    npi: str
    name: str
    taxonomy: str
    specialty: str
    person: bool

    @property
    def reference(self) -> Resource:
        """A reference to the resource, with a display."""
        kind = "Practitioner" if self.person else "Organization"
        return {"reference": f"{kind}/{self.id}", "display": self.name}

    @property
    def qualification(self) -> Resource:
        """The specialty as a CodeableConcept."""
        return codeable_concept(TAXONOMY, self.taxonomy, self.specialty)

    def resource(self) -> Resource:
        """Return the C4BB Practitioner or Organization."""
        number = {
            "type": codeable_concept(V2_0203, "NPI"),
            "system": NPI,
            "value": self.npi,
        }
        if self.person:
            family, _, first_name = self.name.partition(", ")
            return {
                "resourceType": "Practitioner",
                "id": self.id,
                "meta": profile_meta("C4BB-Practitioner", _UPDATED),
                "identifier": [number],
                "active": True,
                "name": [{"family": family, "given": [first_name], "suffix": ["MD"]}],
                "qualification": [{"code": self.qualification}],
            }
        return {
            "resourceType": "Organization",
            "id": self.id,
            "meta": profile_meta("C4BB-Organization", _UPDATED),
            "identifier": [number],
            "active": True,
            "type": [_organization_type("prov", "Healthcare Provider")],
            "name": self.name,
            "address": [_address("1 Practice Road")],
        }


def _organization_type(code: str, display: str) -> Resource:
    return codeable_concept(f"{_TERMINOLOGY}/organization-type", code, display)


def _address(line: str) -> Resource:
    return {
        "line": [line],
        "city": "Sampleton",
        "state": "HI",
        "postalCode": "99999",
        "country": "US",
    }


def _practitioner(number: int, name: str, taxonomy: str, specialty: str) -> Provider:
    npi = npi_of(f"2000001{number:02d}")
    return Provider(f"practitioner-{number}", npi, name, taxonomy, specialty, person=True)


def _organization(number: int, name: str, taxonomy: str, specialty: str) -> Provider:
    npi = npi_of(f"2000002{number:02d}")
    return Provider(f"organization-{number}", npi, name, taxonomy, specialty, person=False)


PRIMARY_CARE = _practitioner(1, "Example, Alice", "207R00000X", "Internal Medicine")
RADIOLOGIST = _practitioner(2, "Sample, Robert", "2085R0202X", "Diagnostic Radiology")
HOSPITALIST = _practitioner(3, "Specimen, Maria", "208M00000X", "Hospitalist")
SURGEON = _practitioner(4, "Mockup, Victor", "207X00000X", "Orthopaedic Surgery")
DENTIST = _practitioner(5, "Placeholder, Wendy", "1223G0001X", "General Practice Dentistry")
PRACTICE = _organization(1, "Sandbox Medical Group", "261QP2300X", "Primary Care Clinic")
RADIOLOGY = _organization(2, "Sandbox Radiology Associates", "261QR0200X", "Radiology Clinic")
HOSPITAL = _organization(3, "Sandbox Hospital", "282N00000X", "General Acute Care Hospital")
PHARMACY = _organization(4, "Sandbox Pharmacy", "3336C0003X", "Community/Retail Pharmacy")
DENTAL_PRACTICE = _organization(5, "Sandbox Dental Care", "122300000X", "Dentist")
PROVIDERS = (
    PRIMARY_CARE,
    RADIOLOGIST,
    HOSPITALIST,
    SURGEON,
    DENTIST,
    PRACTICE,
    RADIOLOGY,
    HOSPITAL,
    PHARMACY,
    DENTAL_PRACTICE,
)
PLAN_ID = "health-plan"
PLAN_NAME = "Sandbox Health Plan"
PLAN_REFERENCE: Resource = {"reference": f"Organization/{PLAN_ID}", "display": PLAN_NAME}


def party_resources() -> list[Resource]:
    """Return the health plan, and every practitioner and organization that its claims name."""
    plan = {
        "resourceType": "Organization",
        "id": PLAN_ID,
        "meta": profile_meta("C4BB-Organization", _UPDATED),
        "identifier": [
            {
                "type": codeable_concept(guide_system("C4BBIdentifierType"), "payerid"),
                "system": f"{PLAN_SYSTEM}/payer-id",
                "value": "SHP01",
            },
            {
                "type": codeable_concept(guide_system("C4BBIdentifierType"), "naiccode"),
                "system": _NAIC,
                "value": "99990",
            },
            {"type": codeable_concept(V2_0203, "TAX"), "system": _TAX, "value": "00-0000001"},
        ],
        "active": True,
        "type": [_organization_type("pay", "Payer")],
        "name": PLAN_NAME,
        "telecom": [{"system": "phone", "value": "+1-555-0100"}],
        "address": [_address("1 Plan Street")],
    }
    return [plan, *(provider.resource() for provider in PROVIDERS)]


def member_number(person: Person) -> str:
    """Return the number on the member's card."""
    return f"SHP{person.mrn}01"


def member_resource(person: Person, updated: str) -> Resource:
    """Return the C4BB Patient of a member."""
    us_core = "http://hl7.org/fhir/us/core/StructureDefinition"
    return {
        "resourceType": "Patient",
        "id": person.id,
        "meta": profile_meta("C4BB-Patient", updated),
        "extension": [
            {"url": f"{us_core}/us-core-birthsex", "valueCode": person.gender[0].upper()}
        ],
        "identifier": [
            {
                "type": codeable_concept(V2_0203, "MB"),
                "system": f"{PLAN_SYSTEM}/member-number",
                "value": member_number(person),
            },
            {
                "type": codeable_concept(guide_system("C4BBIdentifierType"), "um"),
                "system": f"{PLAN_SYSTEM}/unique-member",
                "value": f"U{person.mrn}",
            },
        ],
        "active": True,
        "name": [{"use": "official", "family": person.family_name, "given": [person.given_name]}],
        "gender": person.gender,
        "birthDate": person.birth_date,
        "address": [_address("2 Member Avenue")],
    }


def coverage_id(patient_id: str, kind: str) -> str:
    """Return the id of a member's ``medical`` or ``dental`` Coverage."""
    return f"{kind}-{patient_id}"


def member_coverages(person: Person, updated: str) -> list[Resource]:
    """Return the member's medical plan, which covers drugs too, and the dental plan."""
    return [
        _coverage(person, updated, "medical", ("PPO1", "Sandbox PPO Gold")),
        _coverage(person, updated, "dental", ("DEN1", "Sandbox Dental Basic")),
    ]


def _coverage(person: Person, updated: str, kind: str, plan: tuple[str, str]) -> Resource:
    classes = [("group", "G1000", "Sandbox Manufacturing"), ("plan", *plan)]
    if kind == "medical":
        classes += [("rxbin", "999999", ""), ("rxpcn", "SHPRX", "")]
    policy = "DENTPRG" if kind == "dental" else "HIP"
    return {
        "resourceType": "Coverage",
        "id": coverage_id(person.id, kind),
        "meta": profile_meta("C4BB-Coverage", updated),
        "identifier": [
            {
                "type": codeable_concept(V2_0203, "MB"),
                "system": f"{PLAN_SYSTEM}/member-number",
                "value": member_number(person),
            }
        ],
        "status": "active",
        "type": codeable_concept(f"{_TERMINOLOGY}/v3-ActCode", policy),
        "subscriberId": f"SHP{person.mrn}",
        "beneficiary": {"reference": f"Patient/{person.id}"},
        "relationship": codeable_concept(f"{_TERMINOLOGY}/subscriber-relationship", "self"),
        "period": {"start": "2001-01-01"},
        "payor": [PLAN_REFERENCE],
        "class": [
            {
                "type": codeable_concept(f"{_TERMINOLOGY}/coverage-class", code),
                "value": value,
                **({"name": name} if name else {}),
            }
            for code, value, name in classes
        ],
    }
