"""Frames of one connection: cached, with where they came from in ``attrs``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import tables
from ..problems import Problem
from ..protocol.fhir import instant, search_url
from ..store import Participant, Store
from .sync import KINDS, query

if TYPE_CHECKING:
    from . import Connection

_TABLES = {
    "Patient": ("patients",),
    "Coverage": ("coverage",),
    "ImagingStudy": ("studies", "series"),
    "ExplanationOfBenefit": (
        *("benefits", "benefit_lines", "diagnoses", "procedures", "adjudications"),
    ),
}


def table(connection: Connection, name: str, kind: str, *, complete: bool = True) -> pd.DataFrame:
    """A table of what is kept; made once for as long as nothing changes."""
    who = connection.participant
    frame, _ = _made(connection, name, kind)
    frame = frame.copy()  # shares memory until somebody writes to it
    if name == "series":
        attrs = frame.attrs
        frame = tables.complete_series(frame, _dicom_series(connection.store, who))
        frame.attrs = attrs
    mark, run = who.mark(kind), who.run(kind)
    pages = mark.pages if mark else run.pages if run else 0
    frame.attrs |= {
        "holder": who.holder,
        "query": search_url("", kind, query(kind, who.patient)).lstrip("/"),
        "retrieved": instant(mark.retrieved) if mark else None,
        "pages": pages,
        "complete": complete,
    }
    return frame


def _made(connection: Connection, name: str, kind: str) -> tuple[pd.DataFrame, list[Problem]]:
    who = connection.participant
    state = (who.id, name), who.mark(kind), who.run(kind)
    kept = connection._frames.get(state[0])
    if kept is None or kept[0] != state:
        found: list[Problem] = []
        beside = who.resources("Endpoint") if name == "studies" else ()
        frame = tables.build((name,), chain(beside, who.resources(kind)), found)[name]
        kept = connection._frames[state[0]] = (state, frame, found)
    return kept[1], kept[2]


def problems(connection: Connection) -> pd.DataFrame:
    """What the pages and the tables of everything that is here complained of, each once."""
    who = connection.participant
    found = who.problems()
    for kind, names in _TABLES.items():
        if who.mark(kind) is not None:
            for name in names:
                found += _made(connection, name, kind)[1]
    return pd.DataFrame(list(dict.fromkeys(found)), columns=list(Problem._fields), dtype="str")


def changes(connection: Connection, runs: Mapping[str, str]) -> pd.DataFrame:
    """What each run changed."""
    rows = [
        (kind, key, change)
        for kind in KINDS
        if kind in runs
        for key, change in connection.participant.changes(kind, runs[kind])
    ]
    return pd.DataFrame(rows, columns=["resource_type", "key", "change"], dtype="str")


def _dicom_series(store: Store, who: Participant) -> Iterator[dict[str, Any]]:
    """What the files say of each series on disk, read from the first file of each."""
    import pydicom

    wanted = ["Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined"]
    for uid in who.study_uids():
        folder = store.study(who, uid)
        count: dict[str, int] = {}
        first: dict[str, Any] = {}
        for filed in folder.instances().values():
            count[filed.series_uid] = count.get(filed.series_uid, 0) + 1
            first.setdefault(filed.series_uid, folder.file(filed))
        for series_uid, path in first.items():
            said = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
            modality, number, description, part = (said.get(tag) for tag in wanted)
            yield {
                "study_uid": uid,
                "series_uid": series_uid,
                "patient_id": who.patient,
                "modality": modality or None,
                "number": int(number) if number is not None else None,
                "description": str(description) if description else None,
                "body_site": str(part) if part else None,
                "instance_count": count[series_uid],
            }
