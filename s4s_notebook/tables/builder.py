"""Streams resources into tables: one pass, duplicates merged, nothing dropped silently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ..errors import InvalidArgument
from ..problems import Problem
from ..tracebacks import methods_without_variables
from ..wording import safe_text
from .extract import Report
from .providers import TYPES as PROVIDERS
from .providers import Directory
from .rows import Rows, Table
from .versions import Identity, Versions, content_of, digest_of, stated_version

_DIFFER = "two copies of the same version differ; the later, else one by its values, is kept"
_DIFFER_UNVERSIONED = "two copies differ and neither has a version; one is kept"

Emit = Callable[[dict[str, Any], str, Rows, Report], None]
"""Drafts the rows of a resource: (resource, key, rows, report)."""


Notes = Mapping[tuple[str, str, str], Any]
"""What ``Emit`` stored with ``rows.note``, by participant, type and key."""

Amend = Callable[[pd.DataFrame, Notes, Directory], pd.DataFrame | None]
"""Completes a frame, or returns another: (frame, notes of its rows, providers that were read)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type of resource becomes rows.

    Attributes:
        identify: the resource → (patient, day, key): what rows are ordered by; patient and key
            together are what makes two copies the same. An empty key: told apart by content.
        emit: table name → what adds the rows.
        amend: table name → what completes the frame.
        context: the resource → what several tables read from it, for ``rows.context()``: worked
            out once.
    """

    identify: Callable[[Mapping[str, Any]], tuple[str, str, str]]
    emit: Mapping[str, Emit]
    amend: Mapping[str, Amend] | None = None
    context: Callable[[Mapping[str, Any]], Any] | None = None


class Accounting(Protocol):
    """Counts what stands in resources and in no table."""

    @property
    def unread(self) -> int:
        """How many values."""

    def add(self, resource: dict[str, Any]) -> None:
        """Account for one resource."""

    def problem(self) -> Problem | None:
        """Return the summary; None where everything was read."""


@methods_without_variables
class Builder:
    """Builds several tables from one stream of resources.

    Args:
        names: the tables to build.
        kinds: resource type → :class:`Kind`.
        tables: name → :class:`Table`.
        problems: a list that receives a :class:`Problem` for each value that did not parse.
        accountant: counts what stands in no table; its summary goes to ``problems``, the
            number of values into ``attrs["unread"]``.
    """

    def __init__(
        self,
        names: Iterable[str],
        kinds: Mapping[str, Kind],
        tables: Mapping[str, Table],
        problems: list[Problem] | None = None,
        accountant: Accounting | None = None,
    ) -> None:
        self._accountant = accountant
        self._versions = Versions()
        self._reported: dict[tuple[int, Problem], None] = {}  # number of the resource, or -1
        self._into = problems
        self._kinds = kinds
        self._rows = {name: Rows(tables[name], self._report) for name in names}
        self._participants = False
        self._directory = Directory()

    def add(self, resources: Iterable[Any], participant: str = "") -> Builder:
        """Take in resources; Bundles among them stand for their entries.

        With ``participant`` the frames get a first column of that name, and copies are merged
        within a participant only.
        """
        self._participants |= bool(participant)
        for resource in unbundled(resources, self._note):
            if self._accountant is not None:
                self._accountant.add(resource)
            if resource["resourceType"] in PROVIDERS:
                self._directory.add(participant, resource)
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
        name = Identity(participant, patient, day, key, resource["resourceType"])
        problems: list[tuple[str, Any, str]] = []

        def report(path: str, value: Any, why: str) -> None:
            problems.append((path, value, why))

        shared: list[Any] = []

        def context() -> Any:
            if not shared and kind.context is not None:
                shared.append(kind.context(resource))
            return shared[0]

        def drafted() -> bytes:
            for emit, rows in emits:
                rows.context = context
                emit(resource, key, rows, report)
            return digest_of([rows.draft for _, rows in emits])

        number = self._versions.add(name, stated_version(resource), drafted)
        for _, rows in emits:
            rows.settle(number)
        if number is not None:
            for path, value, why in problems:
                self._report(number, path, value, why)

    def _report(self, number: int, path: str, value: Any, why: str) -> None:
        name = self._versions.identity(number)
        key = name.key.partition(" ")[0]  # what follows tells two resources of a study apart
        problem = Problem(f"{name.type}/{key}", path, safe_text(value, 80), why)
        self._reported[number, problem] = None

    def _note(self, problem: Problem) -> None:
        self._reported[-1, problem] = None

    def frames(self) -> dict[str, pd.DataFrame]:
        """Return the tables, each with the same columns and dtypes whatever came in.

        To be called once: the collected rows are consumed, so that no more than one column is
        in memory twice.
        """
        for rows in self._rows.values():
            rows.flush()  # reports problems, which needs the keys
        versions = self._versions
        rank = versions.ranks()
        problems = self._problems(rank)
        for rows in self._rows.values():
            names = {
                number: versions.identity(number) for number in rows.notes if rank[number] >= 0
            }
            rows.notes = {(n.participant, n.type, n.key): rows.notes[i] for i, n in names.items()}
        participants, codes = versions.participants()
        self._copies = versions.copies
        del self._versions, versions
        frames = {}
        for name, rows in self._rows.items():
            frame, owners = rows.frame(rank)
            if self._participants:
                texts = pd.array(participants, dtype="str")
                frame.insert(0, "participant", pd.Series(texts.take(codes[owners])))
            frames[name] = self._finished(name, frame, len(problems))
        if self._into is not None:
            self._into.extend(problems)
            summary = self._accountant.problem() if self._accountant is not None else None
            self._into.extend([summary] if summary is not None else [])
        return frames

    def _problems(self, rank: np.ndarray[Any, Any]) -> list[Problem]:
        """Return each problem once, those of the newest copies, in the order of the rows."""
        for number, versioned in self._versions.differing():
            self._report(number, "", "", _DIFFER if versioned else _DIFFER_UNVERSIONED)
        ranked = [(int(rank[n]) if n >= 0 else -1, n, problem) for n, problem in self._reported]
        ordered = [problem for _, n, problem in ranked if n < 0]
        ordered += [problem for _, problem in sorted((r, p) for r, n, p in ranked if n >= 0 <= r)]
        self._reported.clear()
        return list(dict.fromkeys(ordered))

    def _finished(self, name: str, frame: pd.DataFrame, problems: int) -> pd.DataFrame:
        types = [type_ for type_, kind in self._kinds.items() if name in kind.emit]
        for type_ in types:
            amend = (self._kinds[type_].amend or {}).get(name)
            if amend is not None:
                amended = amend(frame, self._rows[name].notes, self._directory)
                frame = frame if amended is None else amended
        frame.attrs["table"] = name
        frame.attrs["duplicates"] = sum(self._copies[type_] for type_ in types)
        frame.attrs["problems"] = problems
        if self._accountant is not None:
            frame.attrs["unread"] = self._accountant.unread
        return frame


def unbundled(
    resources: Iterable[Any], note: Callable[[Problem], None], origin: str = "resource"
) -> Iterator[Any]:
    """Yield the resources themselves, those of Bundles and their entries too.

    Raises:
        TypeError: those are no resources, but text, or nothing.
    """
    if resources is None or isinstance(resources, str | bytes):
        raise InvalidArgument(
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
                note(Problem("Bundle", "entry", safe_text(entries, 80), "a list was expected"))
        elif type(type_) is str:
            yield resource
        elif isinstance(resource, dict) and isinstance(resource.get("resource"), dict):
            yield from unbundled((resource["resource"],), note)
        else:
            label = f"{origin} {number}"
            note(Problem(label, "resourceType", safe_text(resource, 80), "not a resource"))
