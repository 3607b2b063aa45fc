"""What a store knows of its participants: how complete they are, and what did not parse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..cards import card
from ..fhir.resources import RESOURCE_TYPES
from ..problems import Problem
from ..wording import count, size
from .participant import Participant

if TYPE_CHECKING:
    import pandas as pd

#: The tables that are built from each resource type.
TABLES = {
    "Patient": ("patients",),
    "Coverage": ("coverage",),
    "ImagingStudy": ("studies", "series"),
    "ExplanationOfBenefit": (
        *("benefits", "benefit_lines", "diagnoses", "procedures", "adjudications"),
    ),
}


class IncompleteWarning(UserWarning):
    """A frame of a store lacks data of some participants; its ``attrs`` say of how many."""


def label(participant: Participant) -> str:
    """Return what a frame calls a participant: the FHIR address of the Patient."""
    return f"{participant.holder}/Patient/{participant.patient}"


def participants_frame(participants: Iterable[Participant]) -> pd.DataFrame:
    """Return one row per participant and type; see :meth:`Store.participants`."""
    import pandas as pd

    rows = []
    for participant in participants:
        for kind in RESOURCE_TYPES:
            point = participant.sync_point(kind)
            rows.append(
                (
                    label(participant),
                    kind,
                    participant.is_complete(kind),
                    point.retrieved if point else None,
                    participant.waits_until(kind),
                )
            )
    columns = ["participant", "type", "complete", "last_update", "waits_until"]
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype({"participant": "str", "type": "str", "complete": "bool"})
    for name in columns[3:]:
        seconds = frame[name].astype("float64")
        frame[name] = pd.to_datetime(seconds, unit="s", utc=True).astype("datetime64[us, UTC]")
    return frame


def store_card(people: list[Participant], sizes: list[int], folder: str, note: str) -> str:
    """Return the card of a store as HTML.

    Args:
        people: its participants.
        sizes: the bytes of each downloaded file.
        folder: where it is.
        note: what happens to the folder; "" where it stays.
    """
    complete = sum(all(map(one.is_complete, RESOURCE_TYPES)) for one in people)
    waiting = sum(any(map(one.waits_until, RESOURCE_TYPES)) for one in people)
    facts = [
        ("People", f"{len(people):,}, {complete:,} of them complete"),
        ("Waiting", f"{waiting:,} until the time that a holder set" if waiting else ""),
        ("Studies", f"{_held(people, 'ImagingStudy'):,}"),
        ("Claims", f"{_held(people, 'ExplanationOfBenefit'):,}"),
        ("Downloaded", f"{count(len(sizes), 'file')}, {size(sum(sizes))}"),
        ("Folder", folder),
        ("", note),
    ]
    return card("Store", facts)


def _held(people: list[Participant], kind: str) -> int:
    return sum(not gone for one in people for _, gone in one.versions(kind).values())


def problems_frame(participants: Iterable[Participant]) -> pd.DataFrame:
    """Return the problems of pages and tables of each participant, each once."""
    import pandas as pd

    rows = [
        (label(participant), *problem)
        for participant in participants
        for problem in dict.fromkeys(participant.problems() + _of_tables(participant))
    ]
    return pd.DataFrame(rows, columns=["participant", *Problem._fields], dtype="str")


def _of_tables(participant: Participant) -> list[Problem]:
    from .. import tables

    problems: list[Problem] = []
    for kind, names in TABLES.items():
        tables.build(names, participant.resources(kind), problems)
    return problems
