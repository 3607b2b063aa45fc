"""The synthetic people whose records the sandbox holds. None of them exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]
BLUE_BUTTON = "https://bluebutton.cms.gov/resources"
MRN_SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"


@dataclass(frozen=True)
class Person:
    """One participant; ``mrn`` is the number under which the hospital's PACS knows them."""

    id: str
    mrn: str
    given: str
    family: str
    gender: str
    birth_date: str
    beneficiary: str

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def dicom_name(self) -> str:
        return f"{self.family}^{self.given}"


PEOPLE: tuple[Person, ...] = (
    Person(
        "smart-1288992",
        "1288992",
        "Daniel",
        "Synthetic-Adams",
        "male",
        "1935-12-23",
        "-19990000001",
    ),
    Person(
        "smart-1137192",
        "1137192",
        "Susan",
        "Synthetic-Clark",
        "female",
        "1941-02-28",
        "-19990000002",
    ),
    Person(
        "smart-1551992",
        "1551992",
        "Joseph",
        "Synthetic-Baker",
        "male",
        "1938-07-09",
        "-19990000003",
    ),
    Person(
        "smart-9999999",
        "9999999",
        "Nora",
        "Synthetic-Empty",
        "female",
        "1950-01-01",
        "-19990000009",
    ),
)


def find_person(patient_id: str) -> Person | None:
    """The person with that FHIR id, or None."""
    return next((p for p in PEOPLE if p.id == patient_id), None)


def patient_resource(who: Person, updated: str) -> Resource:
    """Patient, STU3, with the extensions and identifiers that Blue Button gives."""
    return {
        "resourceType": "Patient",
        "id": who.id,
        "meta": {"versionId": "1", "lastUpdated": updated},
        "extension": [
            coding_extension("race", "1", "White"),
            {"url": f"{BLUE_BUTTON}/variables/rfrnc_yr", "valueDate": "2018"},
        ],
        "identifier": [
            {"system": f"{BLUE_BUTTON}/variables/bene_id", "value": who.beneficiary},
            {
                "type": {"coding": [{"system": "http://hl7.org/fhir/v2/0203", "code": "MR"}]},
                "system": MRN_SYSTEM,
                "value": who.mrn,
            },
        ],
        "active": True,
        "name": [{"use": "usual", "family": who.family, "given": [who.given, "X"]}],
        "gender": who.gender,
        "birthDate": who.birth_date,
        "address": [{"state": "15", "postalCode": "99999"}],
    }


def coverage_resources(who: Person, updated: str) -> list[Resource]:
    """Medicare parts A, B and D, as three Coverage resources (STU3)."""
    year = int(who.birth_date[:4]) + 65
    made = []
    for part, first, status in (
        ("a", year, "active"),
        ("b", year, "active"),
        ("d", 2006, "active"),
    ):
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
        made.append(
            {
                "resourceType": "Coverage",
                "id": f"part-{part}-{who.id}",
                "meta": {"versionId": "1", "lastUpdated": updated},
                "extension": extensions,
                "status": status,
                "type": {"coding": [{"system": "Medicare", "code": f"Part {part.upper()}"}]},
                "beneficiary": {"reference": f"Patient/{who.id}"},
                "period": {"start": f"{first}-01-01"},
                "grouping": {"subGroup": "Medicare", "subPlan": f"Part {part.upper()}"},
            }
        )
    return made


def coding_extension(variable: str, code: str, display: str = "") -> Resource:
    """A Blue Button extension that carries the code of one CCW variable."""
    url = f"{BLUE_BUTTON}/variables/{variable}"
    coding = {"system": url, "code": code}
    if display:
        coding["display"] = display
    return {"url": url, "valueCoding": coding}
