"""Contours of a structure set (PS3.3 C.8.8.6) as masks on the grid of a series.

A pixel is inside where its centre is, by the even-odd rule over all contours of a region on one
plane: so a hole is a contour within a contour, and CLOSEDPLANAR_XOR is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from ..errors import UncertainMask
from ..wording import count, safe_text
from .attributes import AttributeReader
from .geometry import depth, normal
from .instance import Instance
from .masks import Mask, check_reference
from .reader import parse
from .regions import filled
from .volume import Volume
from .windows import Array, Floats

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.05  # of a step, by which the points of a contour may lie off its plane


class _Contour(NamedTuple):
    points: Floats
    depth: float


def contour_masks(entry: Instance, grid: Volume, others: list[str]) -> list[Mask]:
    """Return a mask for each region of interest with closed contours; see :func:`masks_on`."""
    return parse(lambda: _contour_masks(entry, grid, others))[0]


def _contour_masks(entry: Instance, grid: Volume, others: list[str]) -> list[Mask]:
    reader = AttributeReader(entry.header())
    regions = {
        int(reader.number("ROINumber", item) or 0): item
        for item in reader.items("StructureSetROISequence")
    }
    result = []
    for item in reader.items("ROIContourSequence"):
        number = int(reader.number("ReferencedROINumber", item) or 0)
        region = regions.get(number, Dataset())
        name = safe_text(reader.get("ROIName", region) or f"region {number}", 64)
        reference = str(reader.get("ReferencedFrameOfReferenceUID", region) or "")
        contours, dropped = _read(reader, item)
        if not contours:
            others.append(f"{name}: no closed contour{_listed(dropped)}")
            continue
        try:
            check_reference(reference or entry.frame_of_reference, reader.dataset, grid)
        except UncertainMask as error:
            others.append(f"{name}: {error.problem}")
            continue
        load = partial(_on_grid, contours, dropped, grid)
        result.append(
            Mask(name, number, "contours", entry.sop_uid, grid.grid, grid.reference, load)
        )
    return result


def _listed(dropped: Sequence[str]) -> str:
    return f" ({'; '.join(dropped)})" if dropped else ""


def _read(reader: AttributeReader, item: Dataset) -> tuple[list[Floats], tuple[str, ...]]:
    """Return the closed contours of a region, points x 3, and what was left out."""
    contours: list[Floats] = []
    kinds: dict[str, int] = {}
    for contour in reader.items("ContourSequence", item):
        kind = str(reader.get("ContourGeometricType", contour) or "no type").strip().upper()
        numbers = reader.numbers("ContourData", contour)
        if kind not in _CLOSED:
            why = f"of type {safe_text(kind, 20)}"
        elif numbers is None or len(numbers) % 3:
            why = "not readable"
        elif len(numbers) < 9:
            why = "of fewer than three points"
        else:
            contours.append(np.array(numbers, np.float64).reshape(-1, 3))
            continue
        kinds[why] = kinds.get(why, 0) + 1
    return contours, tuple(f"{count(n, 'contour')} {why} left out" for why, n in kinds.items())


def _on_grid(
    contours: Sequence[Floats], dropped: tuple[str, ...], grid: Volume
) -> tuple[Array, tuple[str, ...]]:
    """Fill contours, each plane on the nearest slice within half a step."""
    first = grid.frames[0]
    through = normal(first.orientation or ())
    depths = np.array([depth(frame) or 0.0 for frame in grid.frames])
    step = float(np.median(np.abs(np.diff(depths)))) if len(depths) > 1 else grid.spacing[0]
    flat = [_Contour(points, float((points @ through).mean())) for points in contours]
    level = [c for c in flat if np.ptp(c.points @ through) <= 2 * _FLAT * step]
    notes = list(dropped)
    if len(level) < len(flat):
        notes.append(f"{count(len(flat) - len(level), 'contour')} across the slices left out")
    if not level:
        raise UncertainMask("No contour lies in the plane of the slices.")
    planes = _planes(level, _FLAT * step)
    result = np.zeros(grid.shape, np.bool_)
    placed = set()
    for at, place in enumerate(depths):
        key = min(planes, key=lambda plane: abs(plane - place))
        if -step / 2 < key - place <= step / 2:
            placed.add(key)
            outlines = [_pixels(contour.points, grid, at) for contour in planes[key]]
            result[at] = filled(outlines, grid.shape[1:])
    outside, between = 0, 0
    for key, group in planes.items():
        if key not in placed:
            within = depths.min() - step / 2 <= key <= depths.max() + step / 2
            between += len(group) * within
            outside += len(group) * (not within)
    if between:
        notes.append(f"{count(between, 'contour')} between slices left out")
    if outside:
        notes.append(f"{count(outside, 'contour')} outside of the series")
    if (gaps := _gaps(sorted(placed), step)) > 0:
        notes.append(f"{count(gaps, 'slice')} between contours left empty")
    return result, tuple(notes)


def _gaps(placed: Sequence[float], step: float) -> int:
    """Return how many slices lie between contours that are further apart than slices."""
    return int(sum(max(round(gap / step) - 1, 0) for gap in np.diff(placed)))


def _planes(contours: Sequence[_Contour], tolerance: float) -> dict[float, list[_Contour]]:
    """Group contours by depth."""
    planes: dict[float, list[_Contour]] = {}
    key = None
    for contour in sorted(contours, key=lambda entry: entry.depth):
        if key is None or contour.depth - key > tolerance:
            key = contour.depth
        planes.setdefault(key, []).append(contour)
    return planes


def _pixels(points: Floats, grid: Volume, at: int) -> Floats:
    """Return points in mm as (column, row) of a slice."""
    frame = grid.frames[at]
    orientation, spacing = np.array(frame.orientation), frame.spacing or (1.0, 1.0)
    offset = points - np.array(frame.position)
    return np.stack(
        [offset @ orientation[:3] / spacing[1], offset @ orientation[3:] / spacing[0]], axis=1
    )
