"""Streams resources into tables: one pass, in blocks, duplicates merged, nothing dropped.

Only the rows of the current block exist as Python objects; finished blocks are typed arrays.
So memory grows with the frames and not with the pages that were read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..problems import Problem
from .columns import declared
from .paths import Odd, compile_paths
from .values import MOMENTS, NOT_A_TIME, convert, finish

_BLOCK = 2048


class Table:
    """What one declared table needs to make rows; made once, shared by all builds.

    A row is a list: the declared columns, then where the row came from (number of the resource,
    place within it).
    """

    def __init__(self, name: str, below: str = "", by_hand: Iterable[str] = ()) -> None:
        """``below`` is the repeating element that makes a row, as in ``item``: only paths within
        it are walked. ``by_hand`` names columns that the table's module fills itself."""
        self.name = name
        self.below = below
        self.columns = declared(name)
        self.at = {column.name: slot for slot, column in enumerate(self.columns)}
        self.blank: list[Any] = [None] * (len(self.columns) + 2)
        moneys = {slot for slot, column in enumerate(self.columns) if column.kind == "money"}
        paths = [() if c.name in by_hand else self._within(c.paths) for c in self.columns]
        self.walk = compile_paths(paths, moneys, self.at.get("currency"))

    def _within(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The paths as seen from the element that makes a row."""
        if not self.below:
            return tuple(paths)
        start = self.below + "."
        return tuple(path.removeprefix(start) for path in paths if path.startswith(start))

    def path(self, slot: int, place: int) -> str:
        """Where in the resource the value of a cell stands."""
        column = self.columns[slot]
        places = " | ".join(column.paths) or column.name
        if self.below:
            places = places.replace(f"{self.below}.", f"{self.below}[{place}].")
        return places


class Rows:
    """The rows of one table as they come in."""

    def __init__(self, table: Table, report: Callable[[int, str, Any, str], None]) -> None:
        self.table = table
        self._report = report
        self._buffer: list[tuple[Any, ...]] = []
        self._blocks: list[list[Any]] = []

    def add(self, row: list[Any], resource: int, place: int = 0) -> None:
        row[-2], row[-1] = resource, place
        self._buffer.append(tuple(row))  # a tuple of texts costs the garbage collector nothing
        if len(self._buffer) >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Turn the rows that wait into typed arrays."""
        rows, self._buffer = self._buffer, []
        if not rows and self._blocks:
            return
        table = self.table
        raw: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(table.blank)
        block: list[Any] = []
        for slot, column in enumerate(table.columns):

            def report(place: int, value: Any, why: str, slot: int = slot) -> None:
                row = rows[place]
                self._report(row[-2], table.path(slot, row[-1]), value, why)

            block.append(convert(column.kind, raw[slot], report))
        block.append(np.array(raw[-2], dtype="int64"))
        self._blocks.append(block)

    def frame(self, rank: np.ndarray[Any, Any]) -> pd.DataFrame:
        """All rows, ordered by the rank of their resource; rank -1 leaves them out."""
        self.flush()
        blocks, self._blocks = self._blocks, []
        owners = np.concatenate([block.pop() for block in blocks])
        ranks = rank[owners]
        order = np.argsort(ranks, kind="stable")[int((ranks < 0).sum()) :]
        data: dict[str, Any] = {}
        for column in reversed(self.table.columns):
            data[column.name] = finish(column.kind, [block.pop() for block in blocks], order)
        names = [column.name for column in self.table.columns]
        index = pd.RangeIndex(len(order))
        return pd.DataFrame({name: data.pop(name) for name in names}, index=index, copy=False)


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type of resource becomes rows.

    Attributes:
        identify: the resource → (patient, day, key): what rows are ordered by; patient and key
            together are what makes two copies the same. An empty key: told apart by content.
        emit: table name → (resource, key, number, rows, odd): adds the rows.
    """

    identify: Callable[[Mapping[str, Any]], tuple[str, str, str]]
    emit: Mapping[str, Callable[[dict[str, Any], str, int, Rows, Odd], None]]


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
        self._labels: list[str] = []
        self._order: list[tuple[str, str, str]] = []
        self._best: dict[tuple[str, str, str], tuple[tuple[Any, ...], int]] = {}
        self._dead: set[int] = set()
        self._duplicates = 0
        self.rows = {name: Rows(tables[name], self._report) for name in names}
        self._kinds = {
            type_: (
                kind.identify,
                [(kind.emit[name], rows) for name, rows in self.rows.items() if name in kind.emit],
            )
            for type_, kind in kinds.items()
        }

    def add(self, resources: Iterable[Any]) -> Builder:
        """Take in resources; Bundles among them stand for their entries."""
        for resource in unbundled(resources, self._note):
            known = self._kinds.get(resource.get("resourceType", ""))
            if known is not None:
                self._take(resource, *known)
        return self

    def _take(self, resource: dict[str, Any], identify: Any, emits: list[Any]) -> None:
        if not emits:
            return
        order = identify(resource)
        type_ = resource["resourceType"]
        version, digest = version_of(resource, bool(order[2]))
        if not order[2]:
            order = (order[0], order[1], f"sha256:{digest[:16]}")
        number, key = len(self._labels), (type_, order[0], order[2])
        label = f"{type_}/{order[2]}"
        best = self._best.get(key)
        if best is not None:
            self._duplicates += 1
            if version <= best[0]:
                self._conflict(label, version, best[0])
                return
            self._conflict(label, version, best[0])
            self._dead.add(best[1])
        self._best[key] = (version, number)
        self._labels.append(label)
        self._order.append(order)

        def odd(path: str, value: Any, why: str) -> None:
            self._report(number, path, value, why)

        for emit, rows in emits:
            emit(resource, order[2], number, rows, odd)

    def _conflict(self, label: str, new: tuple[Any, ...], old: tuple[Any, ...]) -> None:
        """Two copies without a version that differ: say so, for the choice is arbitrary."""
        if new != old and new[:2] == old[:2]:
            why = "two copies differ and neither has a version; one is kept"
            self._note(Problem(label, "", "", why))

    def _report(self, number: int, path: str, value: Any, why: str) -> None:
        self._note(Problem(self._labels[number], path, shown(value), why))

    def _note(self, problem: Problem) -> None:
        self._problems[problem] = None

    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables, each with the same columns and dtypes whatever came in."""
        alive = [n for n in range(len(self._labels)) if n not in self._dead]
        alive.sort(key=self._order.__getitem__)
        rank = np.full(len(self._labels), -1, dtype="int64")
        rank[alive] = np.arange(len(alive))
        frames = {name: rows.frame(rank) for name, rows in self.rows.items()}
        for name, frame in frames.items():
            frame.attrs.update(
                table=name,
                resources=len(alive),
                duplicates=self._duplicates,
                problems=len(self._problems),
            )
        if self._into is not None:
            self._into.extend(self._problems)
        return frames


def unbundled(resources: Iterable[Any], note: Callable[[Problem], None]) -> Iterator[Any]:
    """The resources themselves, Bundles opened."""
    if isinstance(resources, Mapping):
        resources = (resources,)
    for place, resource in enumerate(resources):
        if not isinstance(resource, dict):
            note(Problem(f"resource {place}", "", shown(resource), "not a resource"))
        elif resource.get("resourceType") == "Bundle":
            yield from _entries(resource, note)
        elif "resourceType" not in resource and isinstance(resource.get("resource"), dict):
            yield from unbundled((resource["resource"],), note)  # an entry on its own
        elif type(resource.get("resourceType")) is str:
            yield resource
        else:
            value = shown(resource.get("resourceType"))
            note(Problem(f"resource {place}", "resourceType", value, "no resource type"))


def _entries(bundle: dict[str, Any], note: Callable[[Problem], None]) -> Iterator[Any]:
    entries = bundle.get("entry") or ()
    if not isinstance(entries, list):
        note(Problem("Bundle", "entry", shown(entries), "a list was expected"))
        return
    for place, entry in enumerate(entries):
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            yield from unbundled((entry["resource"],), note)
        else:
            note(Problem(f"Bundle entry {place}", "resource", shown(entry), "no resource in it"))


def shown(value: Any) -> str:
    """A value as text, at most 80 characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def version_of(resource: Mapping[str, Any], has_key: bool) -> tuple[tuple[Any, ...], str]:
    """What tells the newer of two copies, and the digest of the content.

    Ordered by versionId where it is a number, then lastUpdated, then the digest, so that the
    choice never depends on which came first. The digest is worked out only for resources that
    have no version, or no id of their own.
    """
    meta = resource.get("meta")
    number, updated = -1, NOT_A_TIME
    if type(meta) is dict:
        found = meta.get("versionId")
        if type(found) is str and found.isascii() and found.isdigit() and len(found) < 19:
            number = int(found)
        instant = meta.get("lastUpdated")
        updated = MOMENTS[instant] if type(instant) is str else NOT_A_TIME
    if has_key and (updated != NOT_A_TIME or number >= 0):
        return (number, updated, ""), ""
    text = json.dumps(resource, sort_keys=True, default=repr)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return (number, updated, digest), digest
