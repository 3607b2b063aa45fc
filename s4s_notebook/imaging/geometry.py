"""Group and sort slices along their normal, and report gaps, uneven steps and tilt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from statistics import median

import numpy as np
import numpy.typing as npt

from ..problems import Problem
from ..wording import count
from .frame import Frame
from .windows import Floats

_SAME_DIRECTION = math.sin(math.radians(0.1))
_OPPOSITE = str.maketrans("LRAPHF", "RLPAFH")
_AXES = (("L", "R"), ("P", "A"), ("H", "F"))  # patient coordinates: +x Left, +y Posterior, +z Head


def normal(orientation: Sequence[float]) -> Floats:
    """Return the unit vector from one slice to the next: row direction x column direction."""
    return _normal(tuple(orientation))


@lru_cache(maxsize=1024)
def _normal(orientation: tuple[float, ...]) -> Floats:
    cross = np.cross(orientation[:3], orientation[3:6])
    length = float(np.linalg.norm(cross))
    result = cross / length if length > 0 else cross
    result.flags.writeable = False  # one for all that share it
    return result


def letters(direction: Iterable[float]) -> str:
    """Name where a direction points in the body: "L", "PR", "H", ...; strongest first."""
    parts = sorted(zip(direction, _AXES, strict=True), key=lambda part: -abs(part[0]))
    return "".join(names[int(value < 0)] for value, names in parts if abs(value) > 0.25)


def edges(frame: Frame) -> dict[str, str]:
    """Name where the picture's four edges point in the body (PS3.3 C.7.6.1.1.1).

    By the frame's place in space; a projection has none, but may state them. Else empty.
    """
    right, bottom = frame.instance.towards
    if frame.orientation is not None:
        right, bottom = letters(frame.orientation[:3]), letters(frame.orientation[3:])
    return named_edges(right, bottom)


def named_edges(right: str, bottom: str) -> dict[str, str]:
    """Return the letters of all four edges; none where one of the two is not known."""
    if not (right and bottom):
        return {}
    left, top = right.translate(_OPPOSITE), bottom.translate(_OPPOSITE)
    return {"right": right, "left": left, "bottom": bottom, "top": top}


def plane(orientation: Sequence[float] | None) -> str:
    """Name the plane: axial, coronal, sagittal, oblique, or "" without an orientation."""
    if orientation is None:
        return ""
    through = np.abs(normal(orientation))
    axis = int(np.argmax(through))
    return ("sagittal", "coronal", "axial")[axis] if through[axis] > 0.9 else "oblique"


def depth(frame: Frame) -> float | None:
    """Return the distance in mm along the normal, from the patient origin."""
    if frame.position is None or frame.orientation is None:
        return None
    through = normal(frame.orientation).tolist()
    return float(sum(a * b for a, b in zip(through, frame.position, strict=True)))


def group_slices(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Group frames by orientation, size, spacing, kind and segment, each group sorted.

    Orientations within 0.1 degree and spacings within 0.1 % are the same. A group is sorted by
    depth along the normal; frames without a position by instance and frame number. Clips without
    a position stay apart.
    """
    exact: defaultdict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        exact[_kind(frame)].append(frame)
    groups: list[list[Frame]] = []
    for alike in exact.values():
        groups += _clusters(alike)
    return [sorted(group, key=_order) for group in groups]


def _kind(frame: Frame) -> Hashable:
    """Return what has to be equal within a group."""
    entry = frame.instance
    placed = frame.orientation is not None and frame.position is not None
    clip = entry.sop_uid if entry.count > 1 and not placed else None
    return (
        placed, clip, frame.rows, frame.columns, frame.color, entry.localizer, frame.segment,
        frame.spacing is None,
    )  # fmt: skip


def _clusters(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Join each frame to the first cluster whose first frame has its orientation and spacing.

    All clusters are compared at once: a file may hold thousands of frames, each turned a little.
    """
    clusters: list[list[Frame]] = []
    features = np.empty((len(frames), 8))
    exact: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        key = (frame.orientation, frame.spacing)
        if key in exact:
            exact[key].append(frame)
            continue
        mine = np.array(
            [*(frame.orientation or [math.nan] * 6), *(frame.spacing or [math.nan] * 2)]
        )
        same = np.flatnonzero(_parallel(features[: len(clusters)], mine))
        if not same.size:
            features[len(clusters)] = mine
            clusters.append([])
        exact[key] = clusters[int(same[0]) if same.size else -1]
        exact[key].append(frame)
    return clusters


def _parallel(features: Floats, mine: Floats) -> npt.NDArray[np.bool_]:
    """Return which rows (orientation, pixel spacing) are those of ``mine``, within tolerance.

    What is NaN on either side is not compared.
    """
    differs = np.any(np.abs(features[:, 6:] - mine[6:]) > 1e-3 * np.abs(features[:, 6:]), axis=1)
    for part in (slice(0, 3), slice(3, 6)):
        across = np.linalg.norm(np.cross(features[:, part], mine[part]), axis=1)
        differs |= (across >= _SAME_DIRECTION) | (features[:, part] @ mine[part] <= 0)
    return np.asarray(~differs, dtype=np.bool_)


def _order(frame: Frame) -> tuple[float, float, float]:
    number = frame.instance.number
    return (depth(frame) or 0.0, math.inf if number is None else number, frame.index)


def positions(frames: Sequence[Frame]) -> list[int]:
    """Return a number for each frame's position along the normal, from 0.

    Positions are one within 5 % of the usual step, and 0.1 mm at most.
    """
    depths = [depth(frame) or 0.0 for frame in frames]
    order = sorted(range(len(depths)), key=depths.__getitem__)
    steps = np.diff(np.array([depths[at] for at in order], np.float64))
    least = 1e-3 * (frames[0].spacing or (1.0, 1.0))[1] if frames else 0.0
    apart = steps[steps > least]
    tolerance = min(0.05 * median(apart.tolist()), 0.1) if apart.size else 0.1
    result, number = [0] * len(depths), 0
    for rank, at in enumerate(order):
        if rank and steps[rank - 1] > tolerance:
            number += 1
        result[at] = number
    return result


def step(frames: Sequence[Frame]) -> float | None:
    """Return the usual distance between neighbours in mm (the median), None for fewer than two."""
    depths = [d for d in map(depth, frames) if d is not None]
    if len(depths) < 2:
        return None
    steps = np.diff(depths)
    steps = steps[steps > 1e-3]
    return median(steps.tolist()) if steps.size else None


def remarks(frames: Sequence[Frame], series: str) -> list[Problem]:
    """Report gaps, duplicates, uneven steps and gantry tilt of a sorted stack."""
    existing = [depth(frame) for frame in frames]
    if len(existing) < 2 or None in existing:
        return []
    depths = np.array(existing, np.float64)
    steps = np.diff(depths)
    result = []
    same = int((steps <= 1e-3).sum())
    if same:
        why = f"{count(same, 'slice')} at the place of another"
        result.append(Problem(series, "ImagePositionPatient", "", why))
    usual = step(frames)
    if usual is None:
        return result
    gaps = [int(at) for at in np.flatnonzero(steps > 1.5 * usual)]
    for at in gaps[:5]:
        why = f"a gap of {steps[at]:.3g} mm after slice {at + 1}; the usual step is {usual:.3g} mm"
        result.append(Problem(series, "ImagePositionPatient", f"{depths[at]:.3f}", why))
    if len(gaps) > 5:
        result.append(Problem(series, "ImagePositionPatient", "", f"{len(gaps) - 5} more gaps"))
    even = steps[(steps > 1e-3) & (steps <= 1.5 * usual)]
    if even.size and np.ptp(even) > max(0.02 * usual, 0.02):
        why = f"steps from {even.min():.4g} to {even.max():.4g} mm"
        result.append(Problem(series, "ImagePositionPatient", "", why))
    angle = tilt(frames)
    if angle > 0.5:
        why = f"the gantry is tilted by {angle:.1f}°: the stack is sheared"
        result.append(Problem(series, "ImageOrientationPatient", f"{angle:.1f}", why))
    return result


def tilt(frames: Sequence[Frame]) -> float:
    """Return the degrees between the line of slice positions and the normal of the slices."""
    first, last = frames[0], frames[-1]
    if first.position is None or last.position is None or first.orientation is None:
        return 0.0
    way = np.subtract(last.position, first.position)
    along = abs(float(np.dot(way, normal(first.orientation))))
    across = math.sqrt(max(float(np.dot(way, way)) - along**2, 0.0))
    return math.degrees(math.atan2(across, along)) if along > 1e-3 else 0.0
