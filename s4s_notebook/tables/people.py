"""Patient → patients; Coverage → coverage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..fhir.resources import objects
from .builder import Kind
from .extract import Odd, codings, inner, odd_id
from .rows import Rows, Table
from .values import reference_id

PATIENTS = Table("patients", by_hand=["mbi"])
COVERAGE = Table("coverage")
_MBI = "http://hl7.org/fhir/sid/us-mbi"


def patient_of(resource: Mapping[str, Any], *elements: str) -> str:
    """The id within the reference to the patient; empty where there is none."""
    for element in elements:
        found = inner(resource, element, "reference")
        if type(found) is str and found.strip():
            try:
                return reference_id(found)[0]
            except ValueError:
                return ""
    return ""


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
    known = [i for i in objects(patient.get("identifier")) if i.get("system") == _MBI]
    for identifier in known:
        kinds = [identifier, *codings(identifier.get("type"))]
        says = [e.get("valueCoding") for kind in kinds for e in objects(kind.get("extension"))]
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
