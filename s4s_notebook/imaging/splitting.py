"""Split a series into volumes: one picture at each position, and what differs between volumes.

Pictures at one position are told apart by an attribute that some position shows with all of its
values (echo, b-value, time point, ...), else by their order. Where neither is certain, the split is
refused: see :class:`~s4s_notebook.errors.AmbiguousVolume`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from ..errors import AmbiguousVolume
from ..wording import count
from .acquisition import Acquisition
from .frame import Frame
from .geometry import depth, positions

#: The axis that each attribute belongs to, in the order in which attributes are tried.
AXES = {
    "kind": "part",
    "unit": "part",
    "echo_number": "echo",
    "echo_time": "echo",
    "inversion_time": "inversion_time",
    "flip_angle": "flip_angle",
    "b_value": "b_value",
    "direction": "b_value",
    "temporal_position": "time",
    "frame_reference_time": "time",
    "trigger_time": "phase",
    "acquisition_number": "time",
    "acquisition_clock": "time",
    "content_clock": "time",
    "dimensions": "time",
}
UNITS = {
    "echo": "ms",
    "inversion_time": "ms",
    "flip_angle": "degree",
    "b_value": "s/mm2",
    "phase": "ms",
    "time": "s",
}
_CLOCKS = (
    "temporal_position",
    "frame_reference_time",
    "trigger_time",
    "acquisition_clock",
    "content_clock",
)
_SAME = 1e-6  # numbers that are no measurements differ by more
_TOLERANCES: dict[str, Callable[[float], float]] = {
    "echo_time": lambda value: max(0.05, 0.01 * abs(value)),
    "b_value": lambda value: max(1.0, 0.01 * abs(value)),
    "frame_reference_time": lambda _: 1.0,
    "trigger_time": lambda _: 1.0,
    "acquisition_clock": lambda _: 0.05,
    "content_clock": lambda _: 0.05,
}


@dataclass(frozen=True, eq=False)
class Part:
    """The frames of one volume, sorted along the normal.

    Attributes:
        frames: one at each position.
        labels: the number of its value on each axis, from 0.
    """

    frames: tuple[Frame, ...]
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """A series in volumes.

    Attributes:
        parts: the volumes, in the order of their values.
        axes: names of what differs between them.
        notes: what a person should know about how they were told apart.
    """

    parts: tuple[Part, ...]
    axes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def coordinates(self, axis: str) -> tuple[list[Any], str]:
        """Return the value of each part on an axis, and its unit ("" for plain numbers)."""
        return _coordinates(self.parts, axis)


class _Cell:
    """Frames that no attribute has told apart yet."""

    def __init__(self, frames: Sequence[Frame], labels: Mapping[str, tuple[int, ...]]) -> None:
        self.frames, self.labels = tuple(frames), dict(labels)

    def with_label(self, frames: Sequence[Frame], axis: str, label: int) -> _Cell:
        """Return some of the frames as a cell of their own."""
        labels = {**self.labels, axis: (*self.labels.get(axis, ()), label)}
        return _Cell(frames, labels)


def split(frames: Sequence[Frame], by: str | None = None) -> Split:
    """Split frames of one orientation, size and spacing into volumes.

    Args:
        frames: frames with a position and an orientation.
        by: a DICOM keyword whose values tell the volumes apart, such as "AcquisitionNumber".

    Returns:
        The volumes: one where no position holds two pictures.

    Raises:
        AmbiguousVolume: positions hold different numbers of pictures, and no attribute says why.
    """
    if not frames or any(depth(frame) is None for frame in frames):
        return Split((Part(tuple(frames)),))
    where = dict(zip(frames, positions(frames), strict=True))
    cells = [_Cell(frames, {})]
    if by is not None:
        cells = _by_keyword(cells[0], by)
    elif slabs := _slabs(frames, where):
        note = f"{count(len(slabs), 'slab')} by AcquisitionNumber or AcquisitionTime"
        return Split(tuple(Part(slab) for slab in slabs), (), (note,))
    names = () if by is not None else tuple(AXES)
    for name in names:
        if not any(_collisions(cell.frames, where) for cell in cells):
            break
        cells = [smaller for cell in cells for smaller in _by_attribute(cell, name, where)]
    notes: list[str] = []
    ranked: list[_Cell] = []
    for cell in cells:
        if _collisions(cell.frames, where):
            smaller, note = _by_rank(cell, where, by)
            ranked += smaller
            notes.append(note)
        else:
            ranked.append(cell)
    ranked.sort(key=lambda cell: [cell.labels.get(axis, ()) for axis in _axis_order(ranked)])
    if _directed(ranked):
        ranked.sort(key=lambda cell: min(map(_number, cell.frames)))
        ranked = [_Cell(cell.frames, {"b_value": (at,)}) for at, cell in enumerate(ranked)]
    parts = tuple(Part(tuple(sorted(cell.frames, key=_depth)), cell.labels) for cell in ranked)
    return Split(parts, tuple(_axis_order(ranked)), tuple(dict.fromkeys(notes)))


def _directed(cells: Sequence[_Cell]) -> bool:
    """Return whether volumes differ by the direction of diffusion: then they stay as acquired."""
    axes = {axis for cell in cells for axis in cell.labels}
    return axes <= {"b_value", "time"} and any(
        cell.frames[0].acquisition.direction is not None and cell.labels.get("b_value")
        for cell in cells
        if cell.frames
    )


def _axis_order(cells: Sequence[_Cell]) -> list[str]:
    existing = {axis for cell in cells for axis in cell.labels}
    return [axis for axis in dict.fromkeys((*AXES.values(), "volume")) if axis in existing]


def _depth(frame: Frame) -> float:
    return depth(frame) or 0.0


def _collisions(frames: Sequence[Frame], where: Mapping[Frame, int]) -> int:
    """Return how many pictures share a position with another."""
    return len(frames) - len({where[frame] for frame in frames})


def _value(frame: Frame, name: str) -> Any:
    return frame.unit or None if name == "unit" else getattr(frame.acquisition, name)


def _by_attribute(cell: _Cell, name: str, where: Mapping[Frame, int]) -> list[_Cell]:
    """Divide a cell by an attribute if its values are an axis; else return it as it is.

    An axis is an attribute that all pictures have, of which some position shows every value
    (which excludes numbers that count over the slices), and that tells pictures at one
    position apart.
    """
    before = _collisions(cell.frames, where)
    values = [_value(frame, name) for frame in cell.frames]
    if not before or any(value is None for value in values):
        return [cell]
    labels = cluster(values, _TOLERANCES.get(name))
    groups: defaultdict[int, list[Frame]] = defaultdict(list)
    at_position: defaultdict[int, set[int]] = defaultdict(set)
    for frame, label in zip(cell.frames, labels, strict=True):
        groups[label].append(frame)
        at_position[where[frame]].add(label)
    complete = len(groups) == max(len(shown) for shown in at_position.values())
    after = sum(_collisions(group, where) for group in groups.values())
    if len(groups) < 2 or not complete or after >= before:
        return [cell]
    return [cell.with_label(groups[label], AXES[name], label) for label in sorted(groups)]


def cluster(
    values: Sequence[Hashable], tolerance: Callable[[float], float] | None = None
) -> list[int]:
    """Return a number for each value, from 0 in order; one for all within a tolerance."""
    distinct = sorted(set(values), key=lambda v: (str(type(v)), v))
    numbers: dict[Hashable, int] = {}
    previous: Any = None
    for value in distinct:
        same = previous is not None and _same(previous, value, tolerance)
        numbers[value] = max(numbers.values(), default=-1) + (not same)
        previous = value
    return [numbers[value] for value in values]


def _same(a: Any, b: Any, tolerance: Callable[[float], float] | None) -> bool:
    if isinstance(a, float | int) and isinstance(b, float | int):
        return abs(b - a) <= (tolerance(b) if tolerance else _SAME * max(1.0, abs(a)))
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return all(abs(x - y) < 1e-3 for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _by_keyword(cell: _Cell, keyword: str) -> list[_Cell]:
    values = [str(frame.instance.header().get(keyword, "")) for frame in cell.frames]
    numbers: list[Any] = list(values)
    with suppress(ValueError):  # text is sorted as text
        numbers = [float(value) for value in values]
    groups: defaultdict[int, list[Frame]] = defaultdict(list)
    for frame, label in zip(cell.frames, cluster(numbers), strict=True):
        groups[label].append(frame)
    return [cell.with_label(groups[label], "volume", label) for label in sorted(groups)]


def _by_rank(cell: _Cell, where: Mapping[Frame, int], by: str | None) -> tuple[list[_Cell], str]:
    """Divide a cell by the order of the pictures at each position."""
    at_position: defaultdict[int, list[Frame]] = defaultdict(list)
    for frame in cell.frames:
        at_position[where[frame]].append(frame)
    sizes = Counter(len(group) for group in at_position.values())
    if len(sizes) > 1 or by is not None:
        raise _ambiguous(at_position, by)
    clock = next((name for name in _CLOCKS if _orders(at_position, name)), None)
    rows = [
        sorted(group, key=_number if clock is None else lambda f: _value(f, clock))
        for group in at_position.values()
    ]
    axis = AXES[clock] if clock else "time"
    note = (
        f"volumes by {clock.replace('_', ' ')}"
        if clock
        else "time points by InstanceNumber; the headers state no times"
    )
    columns = zip(*rows, strict=True)
    return [cell.with_label(column, axis, at) for at, column in enumerate(columns)], note


def _orders(at_position: Mapping[int, Sequence[Frame]], name: str) -> bool:
    """Return whether every picture has a value that differs from all others at its position."""
    for group in at_position.values():
        values = [_value(frame, name) for frame in group]
        if None in values or len(set(cluster(values))) < len(values):
            return False
    return True


def _number(frame: Frame) -> tuple[float, int]:
    number = frame.instance.number
    return (math.inf if number is None else number, frame.index)


def _ambiguous(at_position: Mapping[int, Sequence[Frame]], by: str | None) -> AmbiguousVolume:
    sizes = [len(at_position[position]) for position in sorted(at_position)]
    total = sum(sizes)
    listed = ", ".join(map(str, sizes[:12])) + (", …" if len(sizes) > 12 else "")
    tried = by or "echo, diffusion, time and acquisition"
    return AmbiguousVolume(
        f"{count(total, 'picture')} lie at {count(len(sizes), 'position')} ({listed} pictures "
        f"each), and {tried} does not tell them apart: no volume can be made without a guess.",
        hint='Use .frames, or name the element that decides: volume(split_by="AcquisitionNumber").',
    )


def _slabs(frames: Sequence[Frame], where: Mapping[Frame, int]) -> list[tuple[Frame, ...]]:
    """Return slabs of evenly spaced slices where the series as one is not evenly spaced."""
    ordered = sorted(frames, key=_depth)
    if _collisions(frames, where) or len(frames) < 6 or _even(ordered):
        return []
    for name in ("acquisition_number", "acquisition_clock"):
        values = [_value(frame, name) for frame in ordered]
        if None in values:
            continue
        groups: defaultdict[int, list[Frame]] = defaultdict(list)
        for frame, label in zip(ordered, cluster(values, _TOLERANCES.get(name)), strict=True):
            groups[label].append(frame)
        slabs = [tuple(groups[label]) for label in sorted(groups)]
        if len(slabs) > 1 and all(len(slab) >= 3 and _even(slab) for slab in slabs):
            return slabs
    return []


def _even(frames: Sequence[Frame]) -> bool:
    depths = [_depth(frame) for frame in frames]
    step = (depths[-1] - depths[0]) / max(len(depths) - 1, 1)
    return all(abs(d - depths[0] - at * step) <= 0.05 * abs(step) for at, d in enumerate(depths))


def _coordinates(parts: Sequence[Part], axis: str) -> tuple[list[Any], str]:
    """Return the value of each part on an axis, with its unit, or plain numbers from 0."""
    sources = {
        "part": ("kind",),
        "echo": ("echo_time", "echo_number"),
        "phase": ("trigger_time",),
        "time": ("frame_reference_time", "acquisition_clock", "content_clock", "trigger_time"),
    }.get(axis, (axis,))
    for name in sources:
        if name not in Acquisition._fields:
            continue
        values = [_middle(part, name) for part in parts]
        if any(value is None for value in values):
            continue
        if axis != "time":
            return values, "" if name == "echo_number" else UNITS.get(axis, "")
        scale = 1.0 if name.endswith("clock") else 1e-3
        if _rises(parts, values):
            start = min(values) if name.endswith("clock") else 0.0
            return [round((value - start) * scale, 6) for value in values], "s"
    order = sorted({part.labels.get(axis, ()) for part in parts})
    return [float(order.index(part.labels.get(axis, ()))) for part in parts], ""


def _middle(part: Part, name: str) -> Any:
    values = [getattr(frame.acquisition, name) for frame in part.frames]
    if any(value is None for value in values):
        return None
    return median(values) if isinstance(values[0], float | int) else values[0]


def _rises(parts: Sequence[Part], values: Sequence[float]) -> bool:
    """Return whether the times grow with the time points: else they are not theirs."""
    by_label: dict[tuple[int, ...], float] = {}
    for part, value in zip(parts, values, strict=True):
        by_label.setdefault(part.labels.get("time", ()), value)
    ordered = [by_label[label] for label in sorted(by_label)]
    return all(a < b for a, b in pairwise(ordered)) and len(ordered) > 1
