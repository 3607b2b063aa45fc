"""The rows of one table: collected in blocks, kept as typed arrays, spread into a frame.

Only the rows of the current block exist as Python objects, and what is kept of the others is
less than the frame will be (see :mod:`.sparse`). So memory grows with the frame and not with
the pages that were read. The frame is made column by column; the blocks of each are given back
to the system before the next one is made.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .columns import declared
from .memory import Freed
from .sparse import Sparse, joined, sparse, spread
from .values import convert
from .walk import compile_paths

_BLOCK = 2048
_SMALL = 8
_NOBODY = np.empty(0, dtype="int32")


class Table:
    """What one declared table needs to make rows; made once, shared by all builds.

    A row is a list: the declared columns, then its place within the resource.
    """

    def __init__(self, name: str, below: str = "", by_hand: Iterable[str] = ()) -> None:
        """``below`` is the repeating element that makes a row, as in ``item``: only paths within
        it are walked. ``by_hand`` names columns that the table's module fills itself."""
        self.name = name
        self.below = below
        self.columns = declared(name)
        self.at = {column.name: slot for slot, column in enumerate(self.columns)}
        self.blank: list[Any] = [None] * (len(self.columns) + 1)
        moneys = {slot for slot, column in enumerate(self.columns) if column.kind == "money"}
        paths = [() if c.name in by_hand else self._within(c.paths) for c in self.columns]
        self.walk = compile_paths(paths, moneys, self.at.get("currency"))

    def _within(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The paths as seen from the element that makes a row."""
        start = f"{self.below}." if self.below else ""
        return tuple(path.removeprefix(start) for path in paths if path.startswith(start))

    def path(self, slot: int, place: int) -> str:
        """Where in the resource the value of a cell stands."""
        column = self.columns[slot]
        places = " | ".join(column.paths) or column.name
        return places.replace(f"{self.below}.", f"{self.below}[{place}].") if self.below else places


class Rows:
    """The rows of one table as they come in: first as a draft, until it is known whether the
    resource that they are of is kept."""

    def __init__(self, table: Table, report: Callable[[int, str, Any, str], None]) -> None:
        self.table = table
        self._draft: list[tuple[Any, ...]] = []
        self._noted: tuple[Any, ...] = ()
        self.notes: dict[Any, Any] = {}
        """What the table's module needs at the end, by the number of the resource."""
        self._report = report
        self._buffer: list[tuple[Any, ...]] = []
        self._owners = array("i")  # for each row the number of its resource
        self._columns: list[list[Sparse]] = [[] for _ in table.columns]

    def add(self, row: list[Any], place: int = 0) -> None:
        """Draft a row."""
        row[-1] = place
        self._draft.append(tuple(row))  # a tuple of texts costs the garbage collector nothing

    def note(self, value: Any) -> None:
        """Draft what the table's module needs at the end."""
        self._noted = (value,)

    @property
    def draft(self) -> tuple[Any, ...]:
        """What the resource that is being read comes to."""
        return *self._draft, self._noted

    def settle(self, number: int | None) -> None:
        """Keep the draft as that of the resource with this number, or drop it where it is None."""
        if number is not None:
            self._buffer += self._draft
            self._owners.extend([number] * len(self._draft))
            if self._noted:
                self.notes[number] = self._noted[0]
        self._draft, self._noted = [], ()
        if len(self._buffer) >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Turn the rows that wait into typed arrays."""
        rows, self._buffer = self._buffer, []
        if not rows and self._owners:
            return
        owners = self._owners[len(self._owners) - len(rows) :]
        table = self.table
        raw: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(table.blank)
        for slot, column in enumerate(table.columns):

            def report(place: int, value: Any, why: str, slot: int = slot) -> None:
                self._report(owners[place], table.path(slot, rows[place][-1]), value, why)

            block = sparse(column.kind, convert(column.kind, raw[slot], report))
            _append(self._columns[slot], block)

    def frame(self, rank: np.ndarray[Any, Any]) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
        """All rows, ordered by the rank of their resource; rank -1 leaves them out. And the
        number of the resource of each. To be called once: what was collected is used up."""
        self.flush()
        owners = np.frombuffer(self._owners, dtype="int32") if self._owners else _NOBODY
        ranks = rank[owners]
        order = np.argsort(ranks, kind="stable")[int((ranks < 0).sum()) :]
        place = np.full(len(owners), -1)
        place[order] = np.arange(len(order))
        columns = self.table.columns
        data: dict[str, Any] = {}
        freed = Freed()
        # The largest first: while it is held twice, the others are still small.
        sizes = [sum(block.nbytes for block in blocks) for blocks in self._columns]
        for slot in sorted(range(len(columns)), key=sizes.__getitem__, reverse=True):
            column = columns[slot]
            data[column.name] = spread(column.kind, self._columns[slot], place, len(order))
            freed.add(sizes[slot] + data[column.name].nbytes)
        index = pd.RangeIndex(len(order))
        whole = {column.name: data.pop(column.name) for column in columns}
        return pd.DataFrame(whole, index=index, copy=False), owners[order]


def _append(blocks: list[Sparse], block: Sparse) -> None:
    """Add a block, and join the small ones when there are enough of them."""
    blocks.append(block)
    if len(blocks) >= _SMALL and all(b.size <= _BLOCK for b in blocks[-_SMALL:]):
        blocks[-_SMALL:] = [joined(blocks[-_SMALL:])]
