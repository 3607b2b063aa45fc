"""FHIR resources → DataFrames that a statistician can trust.

Nine tables, one function each: an iterable of FHIR resources (dicts; Bundles stand for their
entries) in, a DataFrame out, STU3 and R4 alike::

    problems = []
    lines = tables.benefit_lines(resources, problems)
    tables.dictionary("benefit_lines")     # every column: dtype, unit, FHIR paths, meaning

- Every frame has all its columns in the same order and dtype, whatever came in.
- What does not parse is null in the frame and a :class:`~s4s_notebook.problems.Problem` in
  ``problems``; one wrong value costs its own cell, never a row.
- Copies of a resource are merged: the newest version stays, ``frame.attrs["duplicates"]``
  counts the others. Rows are in the order of patient, day and key, whatever the order of the
  resources.
- :func:`build` makes several tables in one pass; :func:`builder` takes in page after page and
  keeps rows only, so memory grows with the frames.
- :data:`LONG_TABLES` are further tables of a row for each member of what repeats, by name, as in
  ``tables.care_team(resources)``; :func:`unread` lists what stands in no table.
- :func:`countable` leaves out what no sum may count: estimates, cancelled and replaced claims.
- :func:`link` pairs studies with the claim lines that seem to have paid for them.

pandas' own writers work on every frame: ``frame.to_parquet(path)`` and ``pd.read_parquet(path)``
give the identical frame; for CSV use ``frame.to_csv(path, index=False)`` and :func:`read_csv`.
:func:`to_stata` and :func:`to_excel` write what those programs take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from ..problems import Problem
from ..tracebacks import without_variables
from . import claim_lines, claims, imaging_studies, long_tables, people
from .billing import countable
from .builder import Builder, Kind
from .columns import LONG_TABLES, TABLES, check, describe, dictionary
from .files import read_csv, to_excel, to_stata
from .imaging_studies import complete_series
from .linking import link
from .providers import complete
from .rows import Table
from .unread import Accountant, unread

_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        people.PATIENTS,
        people.COVERAGE,
        imaging_studies.STUDIES,
        imaging_studies.SERIES,
        claims.BENEFITS,
        claim_lines.LINES,
        claim_lines.DIAGNOSES,
        claim_lines.PROCEDURES,
        claim_lines.ADJUDICATIONS,
        *long_tables.TABLES.values(),
    )
}
_KINDS = {
    "Patient": people.PATIENT,
    "Coverage": replace(
        people.COVERED,
        emit={**people.COVERED.emit, "coverage_classes": long_tables.COVERAGE_CLASSES},
    ),
    "Endpoint": imaging_studies.ENDPOINT,
    "ImagingStudy": imaging_studies.KIND,
    "ExplanationOfBenefit": Kind(
        claims.identify,
        {
            "benefits": claims.emit_benefit,
            "benefit_lines": claim_lines.emit_lines,
            "diagnoses": claim_lines.repeating(claim_lines.DIAGNOSES),
            "procedures": claim_lines.repeating(claim_lines.PROCEDURES),
            "adjudications": claim_lines.emit_adjudications,
            **long_tables.EMIT,
        },
        {**long_tables.AMEND, "benefits": complete, "benefit_lines": complete},
        claims.context_of,
    ),
    **dict.fromkeys(("Practitioner", "Organization"), long_tables.PROVIDER),
}

RESOURCE_TYPES = ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit")
"""The types that tables are made of; :data:`BESIDE` are read with them where they are stored."""
BESIDE = {
    "studies": ("Endpoint",),  # it says where the images are
    **dict.fromkeys(
        ("benefits", "benefit_lines", "care_team", "providers"), ("Practitioner", "Organization")
    ),
}


def resource_type(name: str) -> str:
    """Return which type of resource a table is made of.

    Raises:
        ValueError: there is no such table.
    """
    check(name)
    return next(type_ for type_ in RESOURCE_TYPES if name in _KINDS[type_].emit)


TableOf = Callable[..., pd.DataFrame]


@without_variables
def builder(
    *names: str, problems: list[Problem] | None = None, report_unread: bool = False
) -> Builder:
    """Return a builder for several tables from one pass.

    Call ``add(resources)`` as often as needed, then ``frames()``. Only rows are stored, so
    resources can be streamed page by page.

    Args:
        names: which of :data:`TABLES` and :data:`LONG_TABLES`; without any, all :data:`TABLES`.
        problems: a list that receives what did not parse.
        report_unread: count what stands in no table (:func:`unread` lists it): the summary is
            one of the problems, the number of values ``attrs["unread"]``.

    Raises:
        ValueError: there is no such table.
    """
    for name in names:
        check(name)
    accountant = Accountant() if report_unread else None
    return Builder(names or TABLES, _KINDS, _TABLES, problems, accountant)


@without_variables
def build(
    names: Iterable[str],
    resources: Iterable[Any],
    problems: list[Problem] | None = None,
    *,
    report_unread: bool = False,
) -> dict[str, pd.DataFrame]:
    """Build several tables from one pass over the resources.

    Args:
        names: which of :data:`TABLES` and :data:`LONG_TABLES`.
        resources: FHIR resources or Bundles; may be a generator, which is read once.
        problems: a list that receives what did not parse.
        report_unread: as for :func:`builder`.

    Returns:
        The frames by name.
    """
    making = builder(*names, problems=problems, report_unread=report_unread)
    return making.add(resources).frames()


def _table(name: str, row: str) -> TableOf:
    @without_variables
    def table(resources: Iterable[Any], problems: list[Problem] | None = None) -> pd.DataFrame:
        return build((name,), resources, problems)[name]

    table.__name__ = table.__qualname__ = name
    table.__doc__ = f"""One row {row}.

Args:
    resources: FHIR resources or Bundles, STU3 or R4; other types are passed over.
    problems: a list that receives what did not parse.

Returns:
    A DataFrame with these columns, always:

{describe(name)}
"""
    return table


patients = _table("patients", "a Patient")
coverage = _table("coverage", "a Coverage")
studies = _table("studies", "an ImagingStudy")
series = _table("series", "a series that the holder lists")
benefits = _table("benefits", "a claim (ExplanationOfBenefit)")
benefit_lines = _table("benefit_lines", "a line of a claim")
diagnoses = _table("diagnoses", "a diagnosis of a claim")
procedures = _table("procedures", "a procedure of a claim")
adjudications = _table("adjudications", "an adjudication, at whatever level of the claim")
supporting_info = _table("supporting_info", "a supporting information of a claim")
care_team = _table("care_team", "a member of a claim's care team")
providers = _table("providers", "a provider: a resource, or one that stands within a claim")
identifiers = _table("identifiers", "an identifier of a claim")
related = _table("related", "a claim that a claim refers to")
insurance = _table("insurance", "a coverage that a claim names")
coverage_classes = _table("coverage_classes", "a class of a coverage: group, plan and others")
line_links = _table("line_links", "a link of a line to the lists of its claim")
details = _table("details", "a detail of a line, or a detail of that")
notes = _table("notes", "a note of a claim")


__all__ = [
    "BESIDE",
    "LONG_TABLES",
    "RESOURCE_TYPES",
    "TABLES",
    "adjudications",
    "benefit_lines",
    "benefits",
    "build",
    "builder",
    "care_team",
    "complete_series",
    "countable",
    "coverage",
    "coverage_classes",
    "details",
    "diagnoses",
    "dictionary",
    "identifiers",
    "insurance",
    "line_links",
    "link",
    "notes",
    "patients",
    "procedures",
    "providers",
    "read_csv",
    "related",
    "resource_type",
    "series",
    "studies",
    "supporting_info",
    "to_excel",
    "to_stata",
    "unread",
]
