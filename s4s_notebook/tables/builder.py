"""Streams resources into tables: one pass, duplicates merged, nothing dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..problems import Problem
from .extract import Odd
from .rows import Rows, Table
from .versions import Name, Register, content_of, digest_of, said_of

_DIFFER = "two copies of the same version differ; the later, else one by its values, is kept"
_DIFFER_UNSAID = "two copies differ and neither has a version; one is kept"

Emit = Callable[[dict[str, Any], str, Rows, Odd], None]
"""Drafts the rows of a resource: (resource, key, rows, odd)."""


Notes = Mapping[tuple[str, str], Any]
"""What ``Emit`` left with ``rows.note``, by participant and key."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type of resource becomes rows.

    Attributes:
        identify: the resource → (patient, day, key): what rows are ordered by; patient and key
            together are what makes two copies the same. An empty key: told apart by content.
        emit: table name → what adds the rows.
        amend: table name → what puts the last hand to the frame, with the notes of its rows
            by participant and key.
    """

    identify: Callable[[Mapping[str, Any]], tuple[str, str, str]]
    emit: Mapping[str, Emit]
    amend: Mapping[str, Callable[[pd.DataFrame, Notes], None]] | None = None


class Builder:
    """Builds several tables from one stream of resources.

    Args:
        names: the tables wanted.
        kinds: resource type → :class:`Kind`.
        tables: name → :class:`Table`.
        problems: a list that receives a :class:`Problem` for each value that did not parse.
    """

    def __init__(
        self,
        names: Iterable[str],
        kinds: Mapping[str, Kind],
        tables: Mapping[str, Table],
        problems: list[Problem] | None = None,
    ) -> None:
        self._register = Register()
        self._told: dict[tuple[int, Problem], None] = {}  # number of the resource, or -1
        self._into = problems
        self._kinds = kinds
        self._rows = {name: Rows(tables[name], self._report) for name in names}
        self._participants = False

    def add(self, resources: Iterable[Any], participant: str = "") -> Builder:
        """Take in resources; Bundles among them stand for their entries.

        With ``participant`` the frames get a first column of that name, and copies are merged
        within a participant only.
        """
        self._participants |= bool(participant)
        for resource in unbundled(resources, self._note):
            kind = self._kinds.get(resource["resourceType"])
            if kind is not None:
                self._take(resource, kind, participant)
        return self

    def _take(self, resource: dict[str, Any], kind: Kind, participant: str) -> None:
        emits = [(kind.emit[name], rows) for name, rows in self._rows.items() if name in kind.emit]
        if not emits:
            return
        patient, day, key = kind.identify(resource)
        key = key or f"sha256:{content_of(resource)}"
        name = Name(participant, patient, day, key, resource["resourceType"])
        told: list[tuple[str, Any, str]] = []

        def odd(path: str, value: Any, why: str) -> None:
            told.append((path, value, why))

        def drafted() -> bytes:
            for emit, rows in emits:
                emit(resource, key, rows, odd)
            return digest_of([rows.draft for _, rows in emits])

        number = self._register.enter(name, said_of(resource), drafted)
        for _, rows in emits:
            rows.settle(number)
        if number is not None:
            for path, value, why in told:
                self._report(number, path, value, why)

    def _report(self, number: int, path: str, value: Any, why: str) -> None:
        name = self._register.name(number)
        problem = Problem(f"{name.type}/{name.key}", path, shown(value), why)
        self._told[number, problem] = None

    def _note(self, problem: Problem) -> None:
        self._told[-1, problem] = None

    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables, each with the same columns and dtypes whatever came in.

        To be called once: what was collected is used up, so that no more than one column is
        held twice.
        """
        for rows in self._rows.values():
            rows.flush()  # tells of problems, which needs the keys
        register = self._register
        rank = register.ranks()
        problems = self._problems(rank)
        for rows in self._rows.values():
            names = {number: register.name(number) for number in rows.notes if rank[number] >= 0}
            rows.notes = {(n.participant, n.key): rows.notes[i] for i, n in names.items()}
        participants, who = register.participants()
        self._copies = register.copies
        del self._register, register
        frames = {}
        for name, rows in self._rows.items():
            frame, owners = rows.frame(rank)
            if self._participants:
                texts = pd.array(participants, dtype="str")
                frame.insert(0, "participant", pd.Series(texts.take(who[owners])))
            frames[name] = self._finished(name, frame, len(problems))
        if self._into is not None:
            self._into.extend(problems)
        return frames

    def _problems(self, rank: np.ndarray[Any, Any]) -> list[Problem]:
        """Each once, those of the copies that stay, in the order of the rows."""
        for number, versioned in self._register.differing():
            self._report(number, "", "", _DIFFER if versioned else _DIFFER_UNSAID)
        ranked = [(int(rank[n]) if n >= 0 else -1, n, problem) for n, problem in self._told]
        told = [problem for _, n, problem in ranked if n < 0]
        told += [problem for _, problem in sorted((r, p) for r, n, p in ranked if n >= 0 <= r)]
        self._told.clear()
        return list(dict.fromkeys(told))

    def _finished(self, name: str, frame: pd.DataFrame, problems: int) -> pd.DataFrame:
        types = [type_ for type_, kind in self._kinds.items() if name in kind.emit]
        for type_ in types:
            amend = (self._kinds[type_].amend or {}).get(name)
            if amend is not None:
                amend(frame, self._rows[name].notes)
        frame.attrs["table"] = name
        frame.attrs["duplicates"] = sum(self._copies[type_] for type_ in types)
        frame.attrs["problems"] = problems
        return frame


def unbundled(
    resources: Iterable[Any], note: Callable[[Problem], None], place: str = "resource"
) -> Iterator[Any]:
    """The resources themselves, Bundles and their entries opened.

    Raises:
        TypeError: those are no resources, but text, or nothing.
    """
    if resources is None or isinstance(resources, str | bytes):
        raise TypeError(
            f"resources are FHIR resources as dicts, not {type(resources).__name__}; "
            "json.loads(text) makes them of text."
        )
    if isinstance(resources, Mapping):
        resources = (resources,)
    for number, resource in enumerate(resources):
        type_ = resource.get("resourceType") if isinstance(resource, dict) else None
        if type_ == "Bundle":
            entries = resource.get("entry") or ()
            if isinstance(entries, list):
                yield from unbundled(entries, note, "Bundle.entry")
            else:
                note(Problem("Bundle", "entry", shown(entries), "a list was expected"))
        elif type(type_) is str:
            yield resource
        elif isinstance(resource, dict) and isinstance(resource.get("resource"), dict):
            yield from unbundled((resource["resource"],), note)
        else:
            what = f"{place} {number}"
            note(Problem(what, "resourceType", shown(resource), "not a resource"))


def shown(value: Any) -> str:
    """A value as text, at most 80 characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
