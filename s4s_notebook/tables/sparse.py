"""Blocks of a column that hold only the values that are there, until the frame is made.

Most cells of a claim are empty: what a hospital fills in a pharmacy leaves out. In a frame each
takes its room all the same; here it takes one bit. So what is collected stays well below the
size of the frame that it becomes, and the frame is the most that is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .times import NOT_A_TIME
from .values import concatenated, known_texts, taken

Array = np.ndarray[Any, Any]


class Sparse(NamedTuple):
    """Rows of one column: how many, a bit for each that has a value, and those values (an Arrow
    array for text where there is Arrow, else a NumPy array)."""

    size: int
    bits: Array
    values: Any

    @property
    def present(self) -> Array:
        """For each row, whether it has a value."""
        return np.unpackbits(self.bits, count=self.size).view(bool)

    @property
    def nbytes(self) -> int:
        return int(self.bits.nbytes + self.values.nbytes)


def sparse(kind: str, block: Any) -> Sparse:
    """A block as :func:`~s4s_notebook.tables.values.convert` makes it, without its nulls."""
    if kind in {"int", "flag"}:
        found, mask = block
        present = ~mask
    elif kind in {"number", "money"}:
        found, present = block, ~np.isnan(block)
    elif kind in {"date", "instant"}:
        found, present = block, block != NOT_A_TIME
    elif isinstance(block, np.ndarray):
        found, present = block, np.array([one is not None for one in block], dtype=bool)
    else:
        present, texts = known_texts(block)
        return Sparse(len(present), np.packbits(present), texts)
    return Sparse(len(present), np.packbits(present), found[present])


def joined(blocks: Sequence[Sparse]) -> Sparse:
    """Several blocks as one; many small ones take more room and time than a large one."""
    present = np.concatenate([block.present for block in blocks])
    return Sparse(len(present), np.packbits(present), concatenated([b.values for b in blocks]))


def spread(kind: str, blocks: list[Sparse], place: Array, count: int) -> Any:
    """The column as a pandas array; ``blocks`` is used up.

    Args:
        kind: one of :data:`s4s_notebook.tables.columns.DTYPES`.
        blocks: all rows, in the order in which they came.
        place: for each of them where it stands in the frame, -1 for nowhere.
        count: the rows of the frame.
    """
    if kind in {"number", "money"}:
        return _filled(np.full(count, np.nan), blocks, place)
    if kind in {"date", "instant"}:
        times = pd.Series(
            _filled(np.full(count, NOT_A_TIME), blocks, place).view("datetime64[us]"), copy=False
        )
        return (times.dt.tz_localize("UTC") if kind == "instant" else times).array
    if kind in {"int", "flag"}:
        mask = np.ones(count, dtype=bool)
        for _, rows in _placed(blocks, place):
            mask[rows] = False
        dtype, made = _MASKED[kind]
        return made(_filled(np.zeros(count, dtype=dtype), blocks, place), mask)
    return pd.array(_texts(blocks, place, count), dtype="str")


_MASKED = {
    "int": ("int64", pd.arrays.IntegerArray),
    "flag": ("bool", pd.arrays.BooleanArray),
}


def _placed(blocks: Sequence[Sparse], place: Array) -> Iterator[tuple[Array, Array]]:
    """For each block which of its values are wanted, and in which rows of the frame."""
    start = 0
    for block in blocks:
        rows = place[start : start + block.size][block.present]
        start += block.size
        wanted = rows >= 0
        yield wanted, rows[wanted]


def _filled(out: Array, blocks: list[Sparse], place: Array) -> Array:
    for block, (wanted, rows) in zip(blocks, _placed(blocks, place), strict=True):
        out[rows] = block.values[wanted]
    blocks.clear()
    return out


def _texts(blocks: list[Sparse], place: Array, count: int) -> Any:
    if isinstance(blocks[0].values, np.ndarray):
        return _filled(np.full(count, None, dtype=object), blocks, place)
    where, before = np.full(count, -1), 0
    for block, (wanted, rows) in zip(blocks, _placed(blocks, place), strict=True):
        where[rows] = before + np.flatnonzero(wanted)
        before += len(block.values)
    whole = concatenated([block.values for block in blocks])
    blocks.clear()
    return taken(whole, where)
