"""Patient → patients; Coverage → coverage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .builder import Kind
from .elements import objects, odd_id, patient_of
from .rows import Rows, Table
from .walk import Odd

PATIENTS = Table("patients", by_hand=["mbi"])
COVERAGE = Table("coverage")
_MBI = "http://hl7.org/fhir/sid/us-mbi"


def _key(resource: Mapping[str, Any]) -> str:
    found = resource.get("id")
    return found if type(found) is str and found.isprintable() else ""


def emit_patient(patient: dict[str, Any], key: str, rows: Rows, odd: Odd) -> None:
    """One row per Patient."""
    row = PATIENTS.blank.copy()
    PATIENTS.walk(patient, row, odd)
    odd_id(patient, key, odd)
    row[PATIENTS.at["patient_id"]] = key
    row[PATIENTS.at["mbi"]] = _mbi(patient)
    deceased = PATIENTS.at["deceased"]
    if row[deceased] is None and row[PATIENTS.at["deceased_date"]] is not None:
        row[deceased] = True
    rows.add(row)


def _mbi(patient: dict[str, Any]) -> Any:
    """The current Medicare beneficiary identifier, else the first."""
    known = [i for i in objects(patient, "identifier") if i.get("system") == _MBI]
    for identifier in known:
        kinds = [identifier, *objects(identifier.get("type"), "coding")]
        says = [e.get("valueCoding") for kind in kinds for e in objects(kind, "extension")]
        if any(type(coding) is dict and coding.get("code") == "current" for coding in says):
            return identifier.get("value")
    return known[0].get("value") if known else None


def emit_coverage(coverage: dict[str, Any], key: str, rows: Rows, odd: Odd) -> None:
    """One row per Coverage."""
    row = COVERAGE.blank.copy()
    COVERAGE.walk(coverage, row, odd)
    odd_id(coverage, key, odd)
    row[COVERAGE.at["coverage_id"]] = key
    rows.add(row)


PATIENT = Kind(lambda patient: ("", "", _key(patient)), {"patients": emit_patient})
COVERED = Kind(
    lambda coverage: (patient_of(coverage, "beneficiary"), "", _key(coverage)),
    {"coverage": emit_coverage},
)
