"""The rows of one table: collected in blocks, stored as sparse typed arrays, spread into a frame.

Only the rows of the current block exist as Python objects. Most cells of a claim are empty: what
a hospital fills in a pharmacy leaves out. In a frame each takes its room all the same; in a
block it takes one bit. So memory grows with the frame and not with the pages that were read. The
frame is made column by column; the blocks of each are given back to the system before the next
one is made.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .columns import TIMES, declared, shown
from .extract import compile_paths
from .values import NOT_A_TIME, concatenated, convert, known_texts, take_texts

_BLOCK = 2048
_SMALL = 8
_NOBODY = np.empty(0, dtype="int32")


class Table:
    """What one declared table needs to make rows; made once, shared by all builds.

    A row is a list: the declared columns, then its position within the resource.
    """

    def __init__(self, name: str, below: str = "", by_hand: Iterable[str] = ()) -> None:
        """Compile the declared paths of a table.

        Args:
            name: the table.
            below: the repeating element that makes a row, as in ``item``: only paths within it
                are read.
            by_hand: columns that the table's module fills itself.
        """
        self.name = name
        self.below = below
        self.columns = declared(name)
        self.at = {column.name: slot for slot, column in enumerate(self.columns)}
        self.blank: list[Any] = [None] * (len(self.columns) + 1)
        moneys = {slot for slot, column in enumerate(self.columns) if column.kind == "money"}
        paths = [() if c.name in by_hand else self._within(c.paths) for c in self.columns]
        self.extract = compile_paths(paths, moneys, self.at.get("currency"))

    def _within(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return the paths as seen from the element that makes a row."""
        start = f"{self.below}." if self.below else ""
        return tuple(path.removeprefix(start) for path in paths if path.startswith(start))

    def path(self, slot: int, position: int) -> str:
        """Return the path of a cell's value within the resource."""
        column = self.columns[slot]
        places = " | ".join(column.paths) or column.name
        return (
            places.replace(f"{self.below}.", f"{self.below}[{position}].") if self.below else places
        )


class Rows:
    """The rows of one table as they come in.

    They are a draft first, until it is clear whether their resource is the newest copy.
    """

    def __init__(self, table: Table, report: Callable[[int, str, Any, str], None]) -> None:
        self.table = table
        self._draft: list[tuple[Any, ...]] = []
        self._noted: tuple[Any, ...] = ()
        self.context: Callable[[], Any] = tuple
        """What the resource's kind works out once for all tables; see Kind."""
        self.notes: dict[Any, Any] = {}
        """What the table's module needs at the end, by the number of the resource."""
        self._report = report
        self._buffer: list[tuple[Any, ...]] = []
        self._owners = array("i")  # for each row the number of its resource
        self._columns: list[list[Sparse]] = [[] for _ in table.columns]

    def add(self, row: list[Any], position: int = 0) -> None:
        """Draft a row."""
        row[-1] = position
        self._draft.append(tuple(row))  # a tuple of texts costs the garbage collector nothing

    def note(self, value: Any) -> None:
        """Draft what the table's module needs at the end."""
        self._noted = (value,)

    @property
    def draft(self) -> tuple[Any, ...]:
        """What the resource that is being read comes to."""
        return *self._draft, self._noted

    def settle(self, number: int | None) -> None:
        """Accept the draft as that of the resource with this number, or drop it for None."""
        if number is not None:
            self._buffer += self._draft
            self._owners.extend([number] * len(self._draft))
            if self._noted:
                self.notes[number] = self._noted[0]
        self._draft, self._noted = [], ()
        if len(self._buffer) >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Convert the waiting rows to typed arrays."""
        rows, self._buffer = self._buffer, []
        if not rows and self._owners:
            return
        owners = self._owners[len(self._owners) - len(rows) :]
        table = self.table
        empty: dict[str, Sparse] = {}  # most columns of most blocks have no value
        nulls = (None,) * len(rows)
        raw: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(table.blank)
        for slot, column in enumerate(table.columns):

            def report(position: int, value: Any, why: str, slot: int = slot) -> None:
                self._report(owners[position], table.path(slot, rows[position][-1]), value, why)

            values = raw[slot]
            if values == nulls:
                if column.kind not in empty:
                    empty[column.kind] = _empty(column.kind, len(values))
                block = empty[column.kind]
            else:
                block = sparse(column.kind, convert(column.kind, values, report))
            _append(self._columns[slot], block)

    def frame(self, rank: np.ndarray[Any, Any]) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
        """Return all rows in the order of the ranks of their resources, and their numbers.

        To be called once: the collected blocks are consumed. A rank of -1 leaves rows out.
        """
        self.flush()
        owners = np.frombuffer(self._owners, dtype="int32") if self._owners else _NOBODY
        ranks = rank[owners]
        order = np.argsort(ranks, kind="stable")[int((ranks < 0).sum()) :]
        position = np.full(len(owners), -1)
        position[order] = np.arange(len(order))
        columns = self.table.columns
        data: dict[str, Any] = {}
        freed = FreedMemory()
        # The largest first: while it is held twice, the others are still small.
        sizes = [sum(block.nbytes for block in blocks) for blocks in self._columns]
        for slot in sorted(range(len(columns)), key=sizes.__getitem__, reverse=True):
            column = columns[slot]
            data[column.name] = spread(column.kind, self._columns[slot], position, len(order))
            freed.add(sizes[slot] + data[column.name].nbytes)
        index = pd.RangeIndex(len(order))
        complete = {column.name: data.pop(column.name) for column in shown(self.table.name)}
        return pd.DataFrame(complete, index=index, copy=False), owners[order]


def _append(blocks: list[Sparse], block: Sparse) -> None:
    """Add a block, and join the small ones when there are enough of them."""
    blocks.append(block)
    if len(blocks) >= _SMALL and all(b.size <= _BLOCK for b in blocks[-_SMALL:]):
        blocks[-_SMALL:] = [joined(blocks[-_SMALL:])]


Array = np.ndarray[Any, Any]


class Sparse(NamedTuple):
    """A block of one column without its nulls.

    Attributes:
        size: how many rows.
        bits: a bit for each row, set where it has a value.
        values: those values: an Arrow array for text where there is Arrow, else NumPy's.
    """

    size: int
    bits: Array
    values: Any

    @property
    def present(self) -> Array:
        """For each row, whether it has a value."""
        return np.unpackbits(self.bits, count=self.size).view(bool)

    @property
    def nbytes(self) -> int:
        """Bytes of the block."""
        return int(self.bits.nbytes + self.values.nbytes)


def sparse(kind: str, block: Any) -> Sparse:
    """Return a block of :func:`~s4s_notebook.tables.values.convert` without its nulls."""
    if kind in {"int", "flag"}:
        values, mask = block
        present = ~mask
    elif kind in {"number", "money"}:
        values, present = block, ~np.isnan(block)
    elif kind in TIMES:
        values, present = block, block != NOT_A_TIME
    elif isinstance(block, np.ndarray):
        values, present = block, np.array([value is not None for value in block], dtype=bool)
    else:
        present, texts = known_texts(block)
        return Sparse(len(present), np.packbits(present), texts)
    return Sparse(len(present), np.packbits(present), values[present])


def _empty(kind: str, size: int) -> Sparse:
    """Return a block of nulls."""
    return sparse(kind, convert(kind, (None,) * size, lambda *_: None))


def joined(blocks: Sequence[Sparse]) -> Sparse:
    """Return several blocks as one; many small ones take more room and time than a large one."""
    present = np.concatenate([block.present for block in blocks])
    return Sparse(len(present), np.packbits(present), concatenated([b.values for b in blocks]))


def spread(kind: str, blocks: list[Sparse], position: Array, count: int) -> Any:
    """Return the column as a pandas array; ``blocks`` is consumed.

    Args:
        kind: one of :data:`s4s_notebook.tables.columns.DTYPES`.
        blocks: all rows, in the order in which they came.
        position: for each of them its row in the frame, -1 for none.
        count: the rows of the frame.
    """
    if kind in {"number", "money"}:
        return _filled(np.full(count, np.nan), blocks, position)
    if kind in TIMES:
        times = pd.Series(
            _filled(np.full(count, NOT_A_TIME), blocks, position).view("datetime64[us]"), copy=False
        )
        return (times.dt.tz_localize("UTC") if kind == "instant" else times).array
    if kind in {"int", "flag"}:
        mask = np.ones(count, dtype=bool)
        for _, rows in _placed(blocks, position):
            mask[rows] = False
        dtype, made = _MASKED[kind]
        return made(_filled(np.zeros(count, dtype=dtype), blocks, position), mask)
    return pd.array(_texts(blocks, position, count), dtype="str")


_MASKED = {"int": ("int64", pd.arrays.IntegerArray), "flag": ("bool", pd.arrays.BooleanArray)}


def _placed(blocks: Sequence[Sparse], position: Array) -> Iterator[tuple[Array, Array]]:
    """For each block which of its values are wanted, and in which rows of the frame."""
    start = 0
    for block in blocks:
        rows = position[start : start + block.size][block.present]
        start += block.size
        selected = rows >= 0
        yield selected, rows[selected]


def _filled(out: Array, blocks: list[Sparse], position: Array) -> Array:
    for block, (selected, rows) in zip(blocks, _placed(blocks, position), strict=True):
        out[rows] = block.values[selected]
    blocks.clear()
    return out


def _texts(blocks: list[Sparse], position: Array, count: int) -> Any:
    if isinstance(blocks[0].values, np.ndarray):
        return _filled(np.full(count, None, dtype=object), blocks, position)
    where, before = np.full(count, -1), 0
    for block, (selected, rows) in zip(blocks, _placed(blocks, position), strict=True):
        where[rows] = before + np.flatnonzero(selected)
        before += len(block.values)
    complete = concatenated([block.values for block in blocks])
    blocks.clear()
    return take_texts(complete, where)


_WORTH_IT = 8 << 20  # bytes; a look at the whole heap takes some ten milliseconds


def _trim() -> Callable[[int], int]:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # only glibc has it, and only glibc needs it
        return lambda _: 0
    return trim


class FreedMemory:
    """Counts freed memory, and returns it to the system whenever that is worth the time.

    The C library keeps freed blocks in pieces that the next blocks do not fit: a third of a
    frame, for as long as the process lives.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._trim = _trim()

    def add(self, size: int) -> None:
        """Count ``size`` bytes that were freed, in small blocks."""
        self._bytes += size
        if self._bytes >= _WORTH_IT:
            self._trim(0)
            self._bytes = 0
