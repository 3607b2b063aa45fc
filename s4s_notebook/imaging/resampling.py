"""Values of one grid on another, by interpolation in millimetres; projections through slabs.

A grid is its shape, its affine (column, row, slice, 1) → (x, y, z, 1) and the depth of each slice,
which need not be even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .nifti import extra
from .windows import Array, Floats

_ORDER = [2, 1, 0]  # SciPy counts slice, row, column
_EVEN = 1e-6  # of a step
_SHRINK, _ROUNDING = 1e-9, 1e-6


class Grid(NamedTuple):
    """Where voxels lie.

    Attributes:
        shape: slices, rows, columns.
        affine: 4x4, (column, row, slice, 1) → mm, with the mean step between slices.
        depths: of each slice, in mm from the first along the first axis.
    """

    shape: tuple[int, int, int]
    affine: Floats
    depths: Floats

    @property
    def step(self) -> float:
        """The mean step between slices in mm."""
        return float(np.linalg.norm(self.affine[:3, 2]))

    @property
    def even(self) -> bool:
        """Whether all steps are alike."""
        if len(self.depths) < 2:
            return True
        ideal = np.arange(len(self.depths)) * self.step
        return bool(np.abs(self.depths - ideal).max() <= _EVEN * self.step)


def sampled(values: Array, source: Grid, target: Grid, fill: float, order: int = 1) -> Array:
    """Return values on another grid; ``fill`` outside of the outermost voxel centres.

    Args:
        values: of the source, slices x rows x columns.
        source: where they lie.
        target: where they are wanted.
        fill: for what lies outside.
        order: 1 for linear interpolation, 0 for the nearest voxel.
    """
    matrix = np.linalg.inv(source.affine) @ target.affine
    if source.even and target.even:
        # Towards the centre by 1e-9, so that no rounding puts an edge outside.
        middle = (np.array(source.shape) - 1) / 2
        rotation = np.round(matrix[:3, :3][np.ix_(_ORDER, _ORDER)], 12) * (1 - _SHRINK)
        offset = np.round(matrix[:3, 3][_ORDER], 9)
        return np.asarray(
            extra("scipy.ndimage").affine_transform(
                values,
                rotation,
                middle + (offset - middle) * (1 - _SHRINK),
                output_shape=target.shape,
                order=order,
                mode="constant",
                cval=fill,
            )
        )
    result = np.empty(target.shape, np.float32)
    rows, columns = np.mgrid[: target.shape[1], : target.shape[2]].astype(np.float64)
    for at, depth in enumerate(target.depths):
        points = np.stack([columns, rows, np.full_like(rows, depth / target.step)])
        column, row, place = np.einsum("ij,jrc->irc", matrix[:3, :3], points) + matrix[
            :3, 3, None, None
        ].round(9)
        place = _index(place * source.step, source.depths)
        row, column = _within(row, source.shape[1]), _within(column, source.shape[2])
        result[at] = extra("scipy.ndimage").map_coordinates(
            values, [place, row, column], order=order, mode="constant", cval=fill
        )
    return result


def _within(index: Floats, size: int) -> Floats:
    """Return indices, with those that rounding put outside at the edge."""
    near = np.clip(index, 0, size - 1)
    return np.where(np.abs(near - index) < _ROUNDING, near, index)


def _index(depth: Floats, depths: Floats) -> Floats:
    """Return the slice index, with fractions, at a depth; -1 outside."""
    near = np.round(depth, 6)
    return np.interp(near, np.round(depths, 6), np.arange(len(depths)), left=-1.0, right=-1.0)


_REDUCE: dict[str, Callable[..., Any]] = {
    "max": np.fmax.reduce,
    "min": np.fmin.reduce,
    "mean": np.nanmean,
}


def projected(
    values: Array, places: Sequence[float] | Floats, slab: float | None, kind: str
) -> Array:
    """Return maximum, minimum or mean along the first axis, through a slab around each place.

    NaN takes no part.

    Args:
        values: of three axes.
        places: in mm, along the first axis.
        slab: thickness in mm; None for all, which leaves one slice.
        kind: "max", "min" or "mean".
    """
    reduce = _REDUCE[kind]
    if slab is None:
        return np.asarray(reduce(values, axis=0))[None]
    result = np.empty(values.shape, np.float64 if kind == "mean" else values.dtype)
    where = np.asarray(places, np.float64)
    for at, place in enumerate(where):
        near = np.flatnonzero(np.abs(where - place) <= slab / 2 + 1e-6)
        result[at] = reduce(values[near[0] : near[-1] + 1], axis=0)
    return result
