"""Sort slices into stacks along their normal, and report gaps, duplicates and tilt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from ..problems import Problem
from ..wording import count
from .frame import Frame, Phase
from .windows import Floats

_OPPOSITE = str.maketrans("LRAPHF", "RLPAFH")
_AXES = (("L", "R"), ("P", "A"), ("H", "F"))  # patient coordinates: +x Left, +y Posterior, +z Head


def normal(orientation: Sequence[float]) -> Floats:
    """Return the unit vector from one slice to the next: row direction x column direction."""
    cross = np.cross(orientation[:3], orientation[3:6])
    length = float(np.linalg.norm(cross))
    return cross / length if length > 0 else cross


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
    return float(np.dot(normal(frame.orientation), frame.position))


def sort_slices(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Split frames into stacks of one orientation, size, kind and segment, each sorted.

    Sorted by place along the normal; frames without a place by instance and frame number.
    Frames that lie at the same places but belong to different phases (temporal position, echo,
    acquisition, diffusion, kind of image) become stacks of their own. Cine clips stay apart.
    """
    groups: defaultdict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[_kind(frame)].append(frame)
    return [phase for group in groups.values() for phase in _phases(sorted(group, key=_order))]


def _kind(frame: Frame) -> Hashable:
    entry = frame.instance
    if frame.orientation is None or frame.position is None:
        location: Hashable = entry.sop_uid if entry.count > 1 else None
    else:
        location = tuple(round(value, 3) + 0.0 for value in frame.orientation)
    return (
        location,
        entry.rows,
        entry.columns,
        frame.color,
        frame.spacing,
        entry.localizer,
        frame.segment,
    )


def _order(frame: Frame) -> tuple[float, float, float]:
    number = frame.instance.number
    return (depth(frame) or 0.0, math.inf if number is None else number, frame.index)


def _phases(group: list[Frame]) -> list[list[Frame]]:
    depths = [depth(frame) for frame in group]
    places = len({None if d is None else round(d, 3) for d in depths})
    if None in depths or places == len(group):
        return [group]
    by_phase: defaultdict[Phase, list[Frame]] = defaultdict(list)
    for frame in group:
        by_phase[frame.phase].append(frame)
    apart = all(
        len({round(depth(f) or 0.0, 3) for f in phase}) == len(phase) for phase in by_phase.values()
    )
    sizes = {len(phase) for phase in by_phase.values()}
    # Where each slice differs from all others, that is no phase.
    stacked = len(sizes) == 1 and (places == 1 or 1 not in sizes)
    return [by_phase[key] for key in sorted(by_phase)] if apart and stacked else [group]


def step(frames: Sequence[Frame]) -> float | None:
    """Return the usual distance between neighbours in mm (the median), None for fewer than two."""
    depths = [d for d in map(depth, frames) if d is not None]
    if len(depths) < 2:
        return None
    steps = np.diff(depths)
    steps = steps[steps > 1e-3]
    return float(np.median(steps)) if steps.size else None


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
