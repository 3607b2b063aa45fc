"""The rows of one table: collected in blocks, kept as typed arrays, joined into a frame.

Only the rows of the current block exist as Python objects. So memory grows with the frame and
not with the pages that were read. The frame is made column by column; the blocks of each are
given back to the system before the next one is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .columns import declared
from .values import convert, finish, give_back, join
from .walk import compile_paths

_BLOCK = 2048
_SMALL = 8


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
        start = f"{self.below}." if self.below else ""
        return tuple(path.removeprefix(start) for path in paths if path.startswith(start))

    def path(self, slot: int, place: int) -> str:
        """Where in the resource the value of a cell stands."""
        column = self.columns[slot]
        places = " | ".join(column.paths) or column.name
        return places.replace(f"{self.below}.", f"{self.below}[{place}].") if self.below else places


class Rows:
    """The rows of one table as they come in; ``notes`` are for what its module needs at the end,
    by the number of the resource."""

    def __init__(self, table: Table, report: Callable[[int, str, Any, str], None]) -> None:
        self.table = table
        self.notes: dict[Any, Any] = {}
        self._report = report
        self._buffer: list[tuple[Any, ...]] = []
        self._small: list[list[Any]] = []  # blocks of _BLOCK rows, a value a column
        self._blocks: list[list[Any]] = []  # _SMALL of them each

    def add(self, row: list[Any], resource: int, place: int = 0) -> None:
        row[-2], row[-1] = resource, place
        self._buffer.append(tuple(row))  # a tuple of texts costs the garbage collector nothing
        if len(self._buffer) >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Turn the rows that wait into typed arrays."""
        rows, self._buffer = self._buffer, []
        if not rows and (self._small or self._blocks):
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
        self._small.append(block)
        if len(self._small) == _SMALL:
            self._blocks.append(_joined(self._small))

    def frame(self, rank: np.ndarray[Any, Any]) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
        """All rows, ordered by the rank of their resource; rank -1 leaves them out. And the
        number of the resource of each."""
        self.flush()
        blocks = [*self._blocks, *self._small]
        self._blocks, self._small = [], []
        owners = join([block.pop() for block in blocks])
        ranks = rank[owners]
        order = np.argsort(ranks, kind="stable")[int((ranks < 0).sum()) :]
        data: dict[str, Any] = {}
        for column in reversed(self.table.columns):
            whole = join([block.pop() for block in blocks])
            data[column.name] = finish(column.kind, whole, order)
            del whole
            give_back()
        names = [column.name for column in self.table.columns]
        index = pd.RangeIndex(len(order))
        frame = pd.DataFrame({name: data.pop(name) for name in names}, index=index, copy=False)
        return frame, owners[order]


def _joined(blocks: list[list[Any]]) -> list[Any]:
    """Many small blocks as a large one, which takes half the room; the small ones are used up."""
    columns = [join([block.pop() for block in blocks]) for _ in range(len(blocks[0]))]
    blocks.clear()
    give_back()
    return columns[::-1]
