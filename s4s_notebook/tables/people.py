"""Patient → patients; Coverage → coverage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .claims import patient_of
from .paths import Odd
from .rows import Kind, Rows, Table

PATIENTS = Table("patients")
COVERAGE = Table("coverage")


def _key(resource: Mapping[str, Any]) -> str:
    found = resource.get("id")
    return found if type(found) is str and found.isprintable() else ""


def emit_patient(patient: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row a Patient."""
    row = PATIENTS.blank.copy()
    PATIENTS.walk(patient, row, odd)
    row[PATIENTS.at["patient_id"]] = key
    deceased = PATIENTS.at["deceased"]
    if row[deceased] is None and row[PATIENTS.at["deceased_date"]] is not None:
        row[deceased] = True
    rows.add(row, number)


def emit_coverage(coverage: dict[str, Any], key: str, number: int, rows: Rows, odd: Odd) -> None:
    """One row a Coverage."""
    row = COVERAGE.blank.copy()
    COVERAGE.walk(coverage, row, odd)
    row[COVERAGE.at["coverage_id"]] = key
    rows.add(row, number)


PATIENT = Kind(lambda patient: ("", "", _key(patient)), {"patients": emit_patient})
COVERED = Kind(
    lambda coverage: (patient_of(coverage, "beneficiary"), "", _key(coverage)),
    {"coverage": emit_coverage},
)
