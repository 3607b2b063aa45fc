"""The requirements of the check, and the report on a holder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

MET, NOT_MET, NOT_OFFERED, NOT_TRIED = "met", "not met", "not offered", "not tried"

# What each requirement rests on: the words of the Sync for Science document or of a standard.
SENTENCES = {
    "CapabilityStatement": (
        "Sync for Science, metadata: a holder describes itself at GET /metadata."
    ),
    "SMART sign-in": (
        "Sync for Science, security: the authorize and token endpoints stand in the "
        "CapabilityStatement's security extension (oauth-uris) or in .well-known/smart-"
        "configuration."
    ),
    ".well-known": "SMART App Launch 2: GET {base}/.well-known/smart-configuration.",
    "PKCE S256": "SMART App Launch 2: code_challenge_methods_supported includes S256.",
    "registration": "RFC 7591: a registration endpoint lets an app introduce itself.",
    "revocation": "RFC 7009, or a manage page for the person.",
    "approval": "Sync for Science, security: the participant approves, and the app gets a token.",
    "a token is needed": "RFC 6750: without a valid token the answer is 401.",
    "other patients are closed": "A token opens the record of one patient: others are 403 or 404.",
    "Patient": "S4S financial use case: GET /Patient/{id}.",
    "Coverage": "S4S financial use case: GET /Coverage?beneficiary={id}.",
    "ImagingStudy first-connection": (
        "Imaging Data use case: GET /ImagingStudy?patient={{patientId}}."
    ),
    "ExplanationOfBenefit first-connection": (
        "Imaging Data use case: GET /ExplanationOfBenefit?patient={{patientId}}."
    ),
    "ImagingStudy periodic-update": (
        "Imaging Data use case: GET "
        "/ImagingStudy?patient={{patientId}}&_lastUpdated=gt{{lastCheck}}."
    ),
    "ExplanationOfBenefit periodic-update": (
        "Imaging Data use case: GET "
        "/ExplanationOfBenefit?patient={{patientId}}&_lastUpdated=gt{{lastCheck}}."
    ),
    "paging": "FHIR STU3: pages are linked by absolute `next` links, on the holder's own origin.",
    "resources are dated": (
        "periodic-update needs it: every resource has an id and meta.lastUpdated."
    ),
    "STU3": "Imaging Data use case: the Imaging Data use case is aligned with FHIR STU3.",
    "ImagingStudy.uid": (
        "Imaging Data use case: each ImagingStudy in the response bundle will include an "
        "ImagingStudy.uid value."
    ),
    "ImagingStudy.started": "FHIR: a dateTime with a time has a zone.",
    "endpoint": "Imaging Data use case: ... and an ImagingStudy.endpoint reference.",
    "Endpoint.address": (
        "Imaging Data use case: the reference resolves to an Endpoint whose address is a "
        "DICOM WADO service; /studies/{uid} is appended to it."
    ),
    "nothing found is no error": "FHIR: a search that finds nothing is a Bundle without entries.",
    "503 says when": (
        "Imaging Data use case: the 503 response carries a Retry-After header indicating "
        "how many seconds to wait."
    ),
    "images": (
        "Imaging Data use case: GET {address}/studies/{uid} with Accept: "
        "multipart/related; type=application/dicom."
    ),
    "study is whole": (
        "DICOM PS3.18 §10.4: every instance of the study, framed to its closing boundary;"
        " ImagingStudy.numberOfInstances says how many."
    ),
    "unknown study": "DICOM PS3.18 §10.4: 404 for a study that is not there.",
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one requirement.

    Attributes:
        requirement: its name, a key of :data:`SENTENCES`.
        verdict: "met", "not met", "not offered" or "not tried".
        request: what was requested, or which element was read.
        answer: what the holder answered.
    """

    requirement: str
    verdict: str
    request: str
    answer: str

    @property
    def sentence(self) -> str:
        """What the requirement rests on."""
        return SENTENCES[self.requirement]


class Report(list[Outcome]):
    """The outcomes so far, in the order of the check."""

    def record(self, requirement: str, verdict: str, request: str, answer: str) -> None:
        """Add an outcome."""
        self.append(Outcome(requirement, verdict, request, answer))

    def judge(self, requirement: str, good: object, request: str, answer: str) -> None:
        """Add an outcome that is "met" when ``good`` is true, else "not met"."""
        self.record(requirement, MET if good else NOT_MET, request, answer)

    def judge_all(self, requirement: str, request: str, good: Sequence[bool]) -> None:
        """Add an outcome that is "met" when all are true; "not tried" when there are none."""
        if good:
            self.judge(requirement, all(good), request, f"{sum(good)} of {len(good)}")
        else:
            self.record(requirement, NOT_TRIED, request, "there are none")


def frame(outcomes: Sequence[Outcome], url: str) -> DataFrame:
    """Return the outcomes as a DataFrame, one row per requirement; all columns are text."""
    import pandas as pd

    attributes = {
        "requirement": "requirement",
        "verdict": "verdict",
        "asked": "request",
        "came": "answer",
        "sentence": "sentence",
    }
    table = pd.DataFrame(
        {
            column: pd.Series([getattr(outcome, name) for outcome in outcomes], dtype="str")
            for column, name in attributes.items()
        }
    )
    table.attrs["holder"] = url
    return table


def markdown(outcomes: Sequence[Outcome], url: str) -> str:
    """Return the report as Markdown: a summary, all outcomes, and what is not met."""
    counts = {v: sum(o.verdict == v for o in outcomes) for v in (MET, NOT_MET, NOT_OFFERED)}
    lines = [
        f"# Sync for Science imaging: {url}",
        "",
        ", ".join(f"{number} {verdict}" for verdict, number in counts.items()),
        "",
        "| requirement | verdict | asked | came |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(o.requirement)} | {_bold(o.verdict)} | {_cell(o.request)} | {_cell(o.answer)} |"
        for o in outcomes
    ]
    failures = [outcome for outcome in outcomes if outcome.verdict == NOT_MET]
    if failures:
        lines += ["", "## What the specification says", ""]
        lines += [f"- **{outcome.requirement}**: {outcome.sentence}" for outcome in failures]
    return "\n".join(lines) + "\n"


def _bold(verdict: str) -> str:
    return f"**{verdict}**" if verdict == NOT_MET else verdict


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:300]
