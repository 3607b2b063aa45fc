"""A store as a researcher sees it: all participants that it keeps in one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import store

if TYPE_CHECKING:
    import pandas as pd


class Store(store.Store):
    """A folder that keeps what was downloaded; several processes may share it.

    Each table method gives all participants in one frame, with a first column ``participant``
    (FHIR base address and Patient id), and ``attrs["participants"]``: how many were read, those
    without a row included. Resources are read one at a time into that frame.

    Args:
        root: the folder; made with mode 0700 when it is not there. Without one, everything
            lives in a private temporary folder that goes with the store.

    Raises:
        UnsafeStore: the folder belongs to somebody else, or a link was planted in it.
        DiskProblem: it cannot be written.
    """

    def patients(self) -> pd.DataFrame:
        """One row per participant (FHIR Patient).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("patients")``.
        """
        return self._cohort("patients", "Patient")

    def coverage(self) -> pd.DataFrame:
        """One row per insurance coverage (FHIR Coverage).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("coverage")``.
        """
        return self._cohort("coverage", "Coverage")

    def studies(self) -> pd.DataFrame:
        """One row per imaging study (FHIR ImagingStudy).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("studies")``.
        """
        return self._cohort("studies", "ImagingStudy")

    def series(self) -> pd.DataFrame:
        """One row per series that a holder lists.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("series")``.
        """
        return self._cohort("series", "ImagingStudy")

    def benefits(self) -> pd.DataFrame:
        """One row per claim (FHIR ExplanationOfBenefit).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("benefits")``.
        """
        return self._cohort("benefits", "ExplanationOfBenefit")

    def benefit_lines(self) -> pd.DataFrame:
        """One row per line of a claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("benefit_lines")``.
        """
        return self._cohort("benefit_lines", "ExplanationOfBenefit")

    def diagnoses(self) -> pd.DataFrame:
        """One row per diagnosis of a claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("diagnoses")``.
        """
        return self._cohort("diagnoses", "ExplanationOfBenefit")

    def procedures(self) -> pd.DataFrame:
        """One row per procedure of a claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("procedures")``.
        """
        return self._cohort("procedures", "ExplanationOfBenefit")

    def adjudications(self) -> pd.DataFrame:
        """One row per adjudication, at whatever level of the claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("adjudications")``.
        """
        return self._cohort("adjudications", "ExplanationOfBenefit")

    def _cohort(self, name: str, kind: str) -> pd.DataFrame:
        from .. import tables

        builder = tables.builder(name)
        builder.add((), participant="nobody")  # an empty store has the column all the same
        people: list[str] = []
        for who in self.each():
            person = f"{who.holder}/Patient/{who.patient}"
            people.append(person)
            if name == "studies":  # tells where the images are
                builder.add(who.resources("Endpoint"), participant=person)
            builder.add(who.resources(kind), participant=person)
        frame = builder.frames()[name]
        frame.attrs["participants"] = len(people)
        return frame
