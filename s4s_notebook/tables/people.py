"""Patient → patients; Coverage → coverage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..fhir.resources import objects
from .builder import Kind
from .extract import Report, codings, inner, report_id
from .rows import Rows, Table
from .values import preferred, reference_id

PATIENTS = Table("patients", by_hand=["mbi"])
COVERAGE = Table("coverage")
_IN_USE = ("name", "address")  # the elements that list former ones too
_PART = re.compile("Part [A-D]")
_MBI = "http://hl7.org/fhir/sid/us-mbi"


def patient_of(resource: Mapping[str, Any], *elements: str) -> str:
    """Return the id within the reference to the patient; empty where there is none."""
    for element in elements:
        reference = inner(resource, element, "reference")
        if type(reference) is str and reference.strip():
            try:
                return reference_id(reference)[0]
            except ValueError:
                return ""
    return ""


def _key(resource: Mapping[str, Any]) -> str:
    id_ = resource.get("id")
    return id_ if type(id_) is str and id_.isprintable() else ""


def emit_patient(patient: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per Patient."""
    row = PATIENTS.blank.copy()
    PATIENTS.extract({**patient, **_in_use(patient)}, row, report)
    report_id(patient, key, report)
    row[PATIENTS.at["patient_id"]] = key
    row[PATIENTS.at["mbi"]] = _mbi(patient)
    deceased = PATIENTS.at["deceased"]
    if row[deceased] is None and row[PATIENTS.at["deceased_date"]] is not None:
        row[deceased] = True
    rows.add(row)


def _in_use(patient: dict[str, Any]) -> dict[str, Any]:
    """Return names and addresses without former ones, the usual first; as sent where malformed."""
    values = {element: patient.get(element) for element in _IN_USE}
    return {
        element: preferred(value)
        for element, value in values.items()
        if type(value) is list and all(type(one) is dict for one in value)
    }


def _mbi(patient: dict[str, Any]) -> Any:
    """Return the current Medicare beneficiary identifier, else the first."""
    identifiers = [i for i in objects(patient.get("identifier")) if i.get("system") == _MBI]
    for identifier in identifiers:
        kinds = [identifier, *codings(identifier.get("type"))]
        values = [e.get("valueCoding") for kind in kinds for e in objects(kind.get("extension"))]
        if any(type(coding) is dict and coding.get("code") == "current" for coding in values):
            return identifier.get("value")
    return identifiers[0].get("value") if identifiers else None


def emit_coverage(coverage: dict[str, Any], key: str, rows: Rows, report: Report) -> None:
    """Add one row per Coverage."""
    row = COVERAGE.blank.copy()
    COVERAGE.extract(coverage, row, report)
    report_id(coverage, key, report)
    row[COVERAGE.at["coverage_id"]] = key
    plan = row[COVERAGE.at["plan_id"]]
    if type(plan) is str and _PART.fullmatch(plan):
        row[COVERAGE.at["part"]] = plan
    rows.add(row)


PATIENT = Kind(lambda patient: ("", "", _key(patient)), {"patients": emit_patient})
COVERED = Kind(
    lambda coverage: (patient_of(coverage, "beneficiary"), "", _key(coverage)),
    {"coverage": emit_coverage},
)
