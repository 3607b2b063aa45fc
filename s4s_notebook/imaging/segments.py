"""Segmentations (PS3.3 C.8.20) on the grid of a series: binary, fractional and label maps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import UncertainMask
from ..wording import count, safe_text
from .attributes import AttributeReader, FunctionalGroups
from .frame import Frame
from .geometry import depth, normal
from .instance import Instance
from .masks import LABEL_MAP, Mask, check_reference
from .reader import parse
from .volume import Volume
from .windows import Array, Floats

_IN_PLANE = 0.05  # of a pixel
_THROUGH = 0.1  # of a step
Read = Callable[[Frame], Array]


def segment_masks(entry: Instance, grid: Volume, others: list[str]) -> list[Mask]:
    """Return a mask for each segment of a segmentation; see :func:`masks_on`.

    Raises:
        UncertainMask: it does not lie evidently in the space of the volume.
    """
    return parse(lambda: _segment_masks(entry, grid, others))[0]


def _segment_masks(entry: Instance, grid: Volume, others: list[str]) -> list[Mask]:
    reader = AttributeReader(entry.header())
    check_reference(entry.frame_of_reference, reader.dataset, grid)
    frames = _placed(entry, reader, grid)
    kind = reader.text("SegmentationType").upper()
    labels = entry.sop_class == LABEL_MAP or kind == "LABELMAP"
    groups = FunctionalGroups(reader)
    of_segment: defaultdict[int, list[Frame]] = defaultdict(list)
    for frame in frames:
        item = groups.of("SegmentIdentificationSequence", frame.index)
        number = reader.number("ReferencedSegmentNumber", item) if item else None
        of_segment[int(number or 0)].append(frame)
    fractional = kind == "FRACTIONAL" and not labels
    most = reader.number("MaximumFractionalValue") or 255.0
    background = reader.number("PixelPaddingValue") or 0.0
    result = []
    for item in reader.items("SegmentSequence"):
        number = int(reader.number("SegmentNumber", item) or 0)
        if labels and number == background:
            continue
        own = frames if labels else of_segment.pop(number, [])
        read: Read = partial(_label, number) if labels else _fraction(most) if fractional else _set
        name = safe_text(reader.get("SegmentLabel", item) or f"segment {number}", 64)
        result.append(
            Mask(
                name,
                number,
                "fractional segment" if fractional else "segment",
                entry.sop_uid,
                grid.grid,
                grid.reference,
                partial(_on_grid, own, frames, read, grid, _stated_step(reader, groups)),
            )
        )
    if not labels and (lost := sum(map(len, of_segment.values()))):
        others.append(f"{entry.kind}: {count(lost, 'frame')} of segments that are not described")
    return result


def _set(frame: Frame) -> Array:
    return np.asarray(frame.stored() != 0)


def _label(number: int, frame: Frame) -> Array:
    return np.asarray(frame.stored() == number)


def _fraction(most: float) -> Read:
    return lambda frame: (frame.stored() / np.float32(most)).astype(np.float32)


def _placed(entry: Instance, reader: AttributeReader, grid: Volume) -> list[Frame]:
    """Return the frames with a position: their own, or that of the picture each refers to."""
    if all(frame.position and frame.orientation and frame.spacing for frame in entry.frames):
        return list(entry.frames)
    pictures = {(frame.instance.sop_uid, frame.index): frame for frame in grid.frames}
    groups = FunctionalGroups(reader)
    result = []
    for frame in entry.frames:
        image = groups.of("DerivationImageSequence", frame.index)
        sources = reader.items("SourceImageSequence", image) if image else ()
        keys = {
            (
                str(reader.get("ReferencedSOPInstanceUID", source) or ""),
                int(reader.number("ReferencedFrameNumber", source) or 1) - 1,
            )
            for source in sources
        }
        own = [pictures[key] for key in keys if key in pictures]
        if len(own) != 1 or (own[0].rows, own[0].columns) != (frame.rows, frame.columns):
            raise UncertainMask("Its frames have no position, and refer to no one picture each.")
        place = {name: getattr(own[0], name) for name in ("position", "orientation", "spacing")}
        result.append(replace(frame, **place))
    return result


def _stated_step(reader: AttributeReader, groups: FunctionalGroups) -> float | None:
    """Return the distance that a frame of the segmentation stands for, None where none is said."""
    measures = groups.of("PixelMeasuresSequence", 0)
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = reader.number(keyword, measures) or reader.number(keyword)
        if value and value > 0:
            return value
    return None


def _on_grid(
    frames: Sequence[Frame], all_frames: Sequence[Frame], read: Read, grid: Volume,
    stated: float | None,
) -> tuple[Array, tuple[str, ...]]:  # fmt: skip
    """Return the frames of one segment on a grid, and what was left out.

    Slices without a frame are empty: writers leave out empty frames.
    """
    dtype = np.float32 if frames and read(frames[0]).dtype == np.float32 else np.bool_
    result: Array = np.zeros(grid.shape, dtype)
    slices = _same_slices(frames, grid)
    if slices is not None:
        outside = 0
        for frame, at in zip(frames, slices, strict=True):
            values = read(frame)
            if at is None:
                outside += int(bool(values.any()))
                continue
            if result[at].any() and values.any():
                raise UncertainMask("Two frames of one segment lie at one place.")
            result[at] = np.maximum(result[at], values)
        note = f"{count(outside, 'frame')} outside of the series"
        return result, (note,) if outside else ()
    return _nearest(frames, all_frames, read, grid, stated, result)


def _same_slices(frames: Sequence[Frame], grid: Volume) -> list[int | None] | None:
    """Return the slice of each frame, None for one outside; None where one fits no slice."""
    result: list[int | None] = []
    first = grid.frames[0]
    through = normal(first.orientation or ())
    depths = np.array([depth(frame) or 0.0 for frame in grid.frames])
    step = float(np.median(np.abs(np.diff(depths)))) if len(depths) > 1 else grid.spacing[0]
    for frame in frames:
        alike = (
            (frame.rows, frame.columns) == (first.rows, first.columns)
            and np.allclose(frame.orientation or (), first.orientation or (), atol=1e-4)
            and np.allclose(frame.spacing or (), first.spacing or (), rtol=1e-3)
        )
        if not alike:
            return None
        place = float(np.dot(through, frame.position or ()))
        at = int(np.argmin(np.abs(depths - place)))
        if abs(depths[at] - place) > _THROUGH * step:
            if depths.min() - step / 2 <= place <= depths.max() + step / 2:
                return None
            result.append(None)
            continue
        shift = np.subtract(frame.position or (), grid.frames[at].position or ())
        across = np.abs(shift - through * float(shift @ through)).max()
        if across > _IN_PLANE * min(first.spacing or (1.0,)):
            return None
        result.append(at)
    return result


def _nearest(
    frames: Sequence[Frame], all_frames: Sequence[Frame], read: Read, grid: Volume,
    stated: float | None, result: Array,
) -> tuple[Array, tuple[str, ...]]:  # fmt: skip
    """Take for each voxel of the grid the nearest pixel of the segmentation's own grid."""
    if not frames:
        return result, ()
    first = frames[0]
    orientation, spacing = first.orientation or (), first.spacing or (1.0, 1.0)
    if any(
        not np.allclose(frame.orientation or (), orientation, atol=1e-4)
        or frame.spacing != first.spacing
        for frame in frames
    ):
        raise UncertainMask("The frames of one segment lie in several directions.")
    frames = sorted(frames, key=lambda frame: depth(frame) or 0.0)
    depths = np.array([depth(frame) or 0.0 for frame in frames])
    if len(depths) > 1 and np.diff(depths).min() < 1e-3:
        raise UncertainMask("Two frames of one segment lie at one place.")
    half = _own_step(all_frames, stated) / 2
    stack = np.stack([read(frame) for frame in frames])
    origins = np.array([frame.position for frame in frames], np.float64)
    row, column, through = (
        np.array(orientation[:3]), np.array(orientation[3:]), normal(orientation)
    )  # fmt: skip
    used: set[int] = set()
    for at, picture in enumerate(grid.frames):
        points = _points(picture)
        deep = points @ through
        near = np.clip(np.searchsorted(depths, deep), 0, len(depths) - 1)
        before = np.clip(near - 1, 0, None)
        near = np.where(np.abs(depths[before] - deep) < np.abs(depths[near] - deep), before, near)
        offset = points - origins[near]
        x = np.floor(offset @ row / spacing[1] + 0.5).astype(int)
        y = np.floor(offset @ column / spacing[0] + 0.5).astype(int)
        away = deep - depths[near]
        inside = (
            (away > -half) & (away <= half)
            & (x >= 0) & (x < stack.shape[2]) & (y >= 0) & (y < stack.shape[1])
        )  # fmt: skip
        result[at][inside] = stack[near[inside], y[inside], x[inside]]
        used |= set(np.unique(near[inside]).tolist())
    notes = ["the nearest voxels of the segmentation's own grid"]
    if lost := sum(bool(stack[at].any()) for at in range(len(stack)) if at not in used):
        notes.append(f"{count(lost, 'frame')} between the slices, or outside of the series")
    return result, tuple(notes)


def _own_step(frames: Sequence[Frame], stated: float | None) -> float:
    """Return the step of a segmentation's own grid: as it is stated, and no more than its gaps."""
    depths = np.unique([round(depth(frame) or 0.0, 3) for frame in frames])
    gap = float(np.diff(depths).min()) if len(depths) > 1 else None
    steps = [step for step in (stated, gap) if step]
    if not steps:
        raise UncertainMask("It does not say how thick its one slice is.")
    return min(steps)


def _points(frame: Frame) -> Floats:
    """Return the place of each pixel centre in mm, rows x columns x 3."""
    orientation, spacing = np.array(frame.orientation), frame.spacing or (1.0, 1.0)
    across = np.arange(frame.columns)[:, None] * spacing[1] * orientation[:3]
    down = np.arange(frame.rows)[:, None] * spacing[0] * orientation[3:]
    return np.asarray(np.array(frame.position) + down[:, None] + across[None], np.float64)
