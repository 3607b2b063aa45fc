"""The synthetic participants of the sandbox as FHIR STU3 Patient and Coverage resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]
BLUE_BUTTON = "https://bluebutton.cms.gov/resources"
MRN_SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"


@dataclass(frozen=True)
class Person:
    """A synthetic participant.

    Attributes:
        id: FHIR id of the Patient.
        given_name: first name.
        family_name: last name.
        gender: FHIR administrative gender.
        birth_date: ISO 8601 date.
        beneficiary: Medicare beneficiary id (CCW ``bene_id``).
    """

    id: str
    given_name: str
    family_name: str
    gender: str
    birth_date: str
    beneficiary: str

    @property
    def mrn(self) -> str:
        """Medical record number, which is the PatientID in the hospital's PACS."""
        return self.id.removeprefix("smart-")

    @property
    def name(self) -> str:
        """Given and family name."""
        return f"{self.given_name} {self.family_name}"


PEOPLE: tuple[Person, ...] = (
    Person("smart-1288992", "Daniel", "Synthetic-Adams", "male", "1935-12-23", "-19990000001"),
    Person("smart-1137192", "Susan", "Synthetic-Clark", "female", "1941-02-28", "-19990000002"),
    Person("smart-1551992", "Joseph", "Synthetic-Baker", "male", "1938-07-09", "-19990000003"),
    Person("smart-9999999", "Nora", "Synthetic-Empty", "female", "1950-01-01", "-19990000009"),
    Person("smart-1469713", "Ruth", "Synthetic-Davis", "female", "1949-06-14", "-19990000005"),
)


def find_person(patient_id: str) -> Person | None:
    """Return the person with a FHIR id, or None."""
    return next((p for p in PEOPLE if p.id == patient_id), None)


def patient_resource(person: Person, updated: str) -> Resource:
    """Return the Patient resource, with the extensions and identifiers of Blue Button."""
    return {
        "resourceType": "Patient",
        "id": person.id,
        "meta": {"versionId": "1", "lastUpdated": updated},
        "extension": [
            coding_extension("race", "1", "White"),
            {"url": f"{BLUE_BUTTON}/variables/rfrnc_yr", "valueDate": "2018"},
        ],
        "identifier": [
            {"system": f"{BLUE_BUTTON}/variables/bene_id", "value": person.beneficiary},
            {
                "type": {"coding": [{"system": "http://hl7.org/fhir/v2/0203", "code": "MR"}]},
                "system": MRN_SYSTEM,
                "value": person.mrn,
            },
        ],
        "active": True,
        "name": [{"use": "usual", "family": person.family_name, "given": [person.given_name, "X"]}],
        "gender": person.gender,
        "birthDate": person.birth_date,
        "address": [{"state": "15", "postalCode": "99999"}],
    }


def coverage_resources(person: Person, updated: str) -> list[Resource]:
    """Return Medicare parts A, B and D as three Coverage resources."""
    year = int(person.birth_date[:4]) + 65
    resources = []
    for part, first_year in (("a", year), ("b", year), ("d", 2006)):
        extensions = [
            coding_extension("ms_cd", "10", "Aged without end-stage renal disease (ESRD)"),
            {"url": f"{BLUE_BUTTON}/variables/rfrnc_yr", "valueDate": "2018"},
        ]
        if part == "a":
            extensions += [
                coding_extension("orec", "0", "Old age and survivor's insurance (OASI)"),
                coding_extension("crec", "0", "Old age and survivor's insurance (OASI)"),
                coding_extension("esrd_ind", "0", "the beneficiary does not have ESRD"),
            ]
        if part in "ab":
            extensions.append(coding_extension(f"{part}_trm_cd", "0", "Not Terminated"))
        extensions += [
            coding_extension(f"dual_{month:02d}", "NA", "Non-Medicaid") for month in range(1, 13)
        ]
        resources.append(
            {
                "resourceType": "Coverage",
                "id": f"part-{part}-{person.id}",
                "meta": {"versionId": "1", "lastUpdated": updated},
                "extension": extensions,
                "status": "active",
                "type": {"coding": [{"system": "Medicare", "code": f"Part {part.upper()}"}]},
                "beneficiary": {"reference": f"Patient/{person.id}"},
                "period": {"start": f"{first_year}-01-01"},
                "grouping": {"subGroup": "Medicare", "subPlan": f"Part {part.upper()}"},
            }
        )
    return resources


def coding_extension(variable: str, code: str, display: str = "") -> Resource:
    """Return a Blue Button extension with the code of a CCW variable."""
    url = f"{BLUE_BUTTON}/variables/{variable}"
    coding = {"system": url, "code": code}
    if display:
        coding["display"] = display
    return {"url": url, "valueCoding": coding}
