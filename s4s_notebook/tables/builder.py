"""Streams resources into tables: one pass, duplicates merged, nothing dropped in silence."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..problems import Problem
from .rows import Rows, Table
from .times import NOT_A_TIME
from .values import MOMENTS
from .walk import Odd

_DIFFER = "two copies differ and neither has a version; one is kept"
_SAID = 16  # bytes of a version that the holder said, before the digest of the content
_UNSAID = struct.pack(">QQ", 0, 0)

Emit = Callable[[dict[str, Any], str, int, Rows, Odd], None]
"""Adds the rows of a resource: (resource, key, number of the resource, rows, odd)."""


Notes = Mapping[tuple[str, str], Any]
"""What ``Emit`` left in ``rows.notes``, by participant and key."""


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
        self._problems: dict[Problem, None] = {}
        self._into = problems
        self._kinds = kinds
        self._rows = {name: Rows(tables[name], self._report) for name in names}
        self._order: list[tuple[str, ...]] = []  # participant, patient, day, key, type
        self._texts: dict[str, str] = {}  # patients and days repeat: each kept once
        self._versions: list[bytes] = []
        self._best: dict[bytes, int] = {}  # digest of what makes two copies the same → number
        self._dead: set[int] = set()
        self._duplicates: Counter[str] = Counter()
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
        type_ = resource["resourceType"]
        version = version_of(resource, bool(key))
        key = key or f"sha256:{version[_SAID:].hex()}"
        number, same = len(self._order), _digest(type_, participant, patient, key)
        best = self._best.get(same)
        if best is not None:
            kept = self._versions[best]
            self._duplicates[type_] += 1
            if version != kept and version[:_SAID] == kept[:_SAID]:
                self._note(Problem(f"{type_}/{key}", "", "", _DIFFER))
            if version <= kept:
                return
            self._dead.add(best)
        self._best[same] = number
        self._versions.append(version)
        patient, day = (self._texts.setdefault(text, text) for text in (patient, day))
        self._order.append((participant, patient, day, key, type_))

        def odd(path: str, value: Any, why: str) -> None:
            self._report(number, path, value, why)

        for emit, rows in emits:
            emit(resource, key, number, rows, odd)

    def _report(self, number: int, path: str, value: Any, why: str) -> None:
        key, type_ = self._order[number][3:]
        self._note(Problem(f"{type_}/{key}", path, shown(value), why))

    def _note(self, problem: Problem) -> None:
        self._problems[problem] = None

    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables, each with the same columns and dtypes whatever came in.

        To be called once: what was collected is used up, so that no more than one column is
        held twice.
        """
        for rows in self._rows.values():
            rows.flush()  # tells of problems, which needs the keys
        order = self._order
        alive = [n for n in range(len(order)) if n not in self._dead]
        alive.sort(key=order.__getitem__)
        rank = np.full(len(order), -1, dtype="int64")
        rank[alive] = np.arange(len(alive))
        for rows in self._rows.values():
            told = {(order[n][0], order[n][3]): note for n, note in rows.notes.items()}
            rows.notes = told  # a number is above those of the older copies
        codes: dict[str, int] = {}
        who = np.array([codes.setdefault(one[0], len(codes)) for one in order], dtype="int64")
        for used in (self._order, self._texts, self._versions, self._best):
            used.clear()
        participants = pd.array(list(codes), dtype="str") if self._participants else None
        frames = {}
        for name, rows in self._rows.items():
            frame, owners = rows.frame(rank)
            if participants is not None:
                frame.insert(0, "participant", pd.Series(participants.take(who[owners])))
            frames[name] = self._finished(name, frame)
        if self._into is not None:
            self._into.extend(self._problems)
        return frames

    def _finished(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        types = [type_ for type_, kind in self._kinds.items() if name in kind.emit]
        for type_ in types:
            amend = (self._kinds[type_].amend or {}).get(name)
            if amend is not None:
                amend(frame, self._rows[name].notes)
        frame.attrs["table"] = name
        frame.attrs["duplicates"] = sum(self._duplicates[type_] for type_ in types)
        frame.attrs["problems"] = len(self._problems)
        return frame


def unbundled(
    resources: Iterable[Any], note: Callable[[Problem], None], place: str = "resource"
) -> Iterator[Any]:
    """The resources themselves, Bundles and their entries opened."""
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


def version_of(resource: Mapping[str, Any], has_key: bool) -> bytes:
    """What tells the newer of two copies: to be compared as it is.

    Ordered by versionId where it is a number, then lastUpdated, then a digest of the content, so
    that the choice does not depend on which came first. The digest is worked out only for
    resources that have no version, or no id of their own: it takes as long as a third of parsing
    them. So of two copies that claim the same version the first stays, unseen.
    """
    meta = resource.get("meta")
    number, updated = -1, NOT_A_TIME
    if type(meta) is dict:
        found, instant = meta.get("versionId"), meta.get("lastUpdated")
        if type(found) is str and found.isascii() and found.isdigit() and len(found) < 19:
            number = int(found)
        updated = MOMENTS[instant] if type(instant) is str else NOT_A_TIME
    said = struct.pack(">QQ", number + 1, updated - NOT_A_TIME)
    if has_key and said != _UNSAID:
        return said
    text = json.dumps(resource, sort_keys=True, default=repr)
    return said + hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]


def _digest(*texts: str) -> bytes:
    """Sixteen bytes that stand for the texts."""
    return hashlib.sha256(repr(texts).encode("ascii", "backslashreplace")).digest()[:16]
