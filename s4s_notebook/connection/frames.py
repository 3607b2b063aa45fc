"""Frames of one connection: cached, with where they came from in ``attrs``."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd

from .. import tables
from ..fhir.search import instant, search_url
from ..problems import Problem
from .dicom_series import dicom_series
from .search_to_store import KINDS, query

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
        frame = tables.complete_series(frame, dicom_series(connection.store, who, []))
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
    for _ in dicom_series(connection.store, who, found):
        pass  # what it tells is what is wanted
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
