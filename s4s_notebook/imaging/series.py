"""A series, or one stack of it: pictures in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotAnImage
from ..problems import Problem
from ..wording import count
from . import geometry
from .frame import Frame
from .instance import Instance
from .windows import PRESETS, Choice, Window

if TYPE_CHECKING:
    from .volume import Volume


@dataclass(frozen=True, eq=False)
class Series:
    """Frames of one series that belong in one stack, sorted; or an object without pictures.

    Attributes:
        uid: Series Instance UID; stack: number of this stack within it, from 1; of: how many.
        instances: the DICOM objects, in the order of their first frame.
        frames: the pictures, sorted along the normal; empty for an object without pictures.
    """

    uid: str
    instances: tuple[Instance, ...]
    frames: tuple[Frame, ...]
    stack: int = 1
    of: int = 1

    @property
    def key(self) -> str:
        """Unique within a study: series UID, "#", stack number."""
        return f"{self.uid}#{self.stack}"

    @property
    def modality(self) -> str:
        """Modality (0008,0060) of the first object, as in "CT"."""
        return self.instances[0].modality

    @property
    def description(self) -> str:
        """Series Description (0008,103E) of the first object; "" where it has none."""
        return self.instances[0].description

    @property
    def kind(self) -> str:
        """What the objects are, in DICOM's words: "CT Image Storage", "Basic Text SR Storage"."""
        return self.instances[0].kind

    @property
    def plane(self) -> str:
        """Axial, coronal, sagittal or oblique, in small letters; "" when the file does not say."""
        return geometry.plane(self.frames[0].orientation) if self.frames else ""

    @property
    def label(self) -> str:
        """Short and without names: "CT · Chest · axial · 60 slices"."""
        parts = [self.modality, self.description, self.plane]
        if self.modality == "SEG" and self.frames:  # a mask, not a picture of the person
            parts.insert(1, self.kind)
        parts.append(self.part)
        parts.append(self.kind if not self.frames else count(len(self.frames), self._noun))
        return " · ".join(part for part in parts if part)

    @property
    def part(self) -> str:
        """Which part of its series it is: a segment's label, "stack 1 of 2", or "" for all."""
        if self.frames and self.frames[0].segment:
            return self.frames[0].segment
        return f"stack {self.stack} of {self.of}" if self.of > 1 else ""

    @property
    def _noun(self) -> str:
        return "frame" if self.frame_time is not None else "slice" if self.plane else "image"

    @property
    def frame_time(self) -> float | None:
        """Milliseconds a frame for cine (the mean, where frames differ), None for stills."""
        times = self.instances[0].frame_times if len(self.instances) == 1 else None
        if times is None or len({frame.position for frame in self.frames}) > 1:
            return None
        steps = times[1:] or times  # a vector's first entry is 0 by definition
        return sum(steps) / len(steps) or None

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What did not parse, and gaps, duplicates, uneven steps, gantry tilt."""
        own = [problem for element in self.instances for problem in element.problems]
        # The frames of a clip all have the same position, as they should.
        places = () if self.frame_time is not None else self.frames
        return tuple(own + geometry.remarks(places, self.uid))

    @property
    def window_choices(self) -> dict[str, Choice]:
        """Windows by name: the file's own (of the middle slice) first, then presets for HU."""
        if not self.frames or self.frames[0].color:
            return {}
        middle = self.frames[len(self.frames) // 2]
        result: dict[str, Choice] = {}
        for at, element in enumerate(middle.windows):
            result.setdefault(element.name or f"file {at + 1}", element)
        if middle.unit == "HU":
            for name, numbers in PRESETS.items():
                result.setdefault(name, Window(*numbers, name=name))
        return result

    def volume(self) -> Volume:
        """Return the stack as a volume with axes in mm; slices are decoded when they are used.

        Raises NotAnImage when the frames have no place in space or are in colour.
        """
        from .volume import Volume

        if not self.frames:
            raise NotAnImage(f"This is no image but: {self.kind}.")
        return Volume(self.frames)

    def to_xarray(self) -> Any:
        """Return an xarray DataArray (z, y, x), read slice by slice when used. Needs xarray."""
        return self.volume().to_xarray()

    def to_nifti(self, path: str | Path) -> Path:
        """Write the volume as NIfTI-1 (.nii or .nii.gz), slice by slice. Needs nibabel."""
        return self.volume().to_nifti(path)

    def plot(self, frame: Any = None, **options: Any) -> Any:
        """Draw this series: see :meth:`Study.plot`."""
        from .plot import draw

        if not self.frames:
            raise NotAnImage(f"This is no image but: {self.kind}.")
        heading = [self.modality, self.description, self.part, self.plane]
        return draw(self.frames, heading, self._noun, frame, **options)

    def __repr__(self) -> str:
        return f"<Series {self.label}>"


def arrange(instances: Iterable[Instance]) -> list[Series]:
    """Arrange instances into the series of a study, by series number, then stack."""
    by_uid: dict[str, list[Instance]] = {}
    for element in instances:
        by_uid.setdefault(element.series_uid, []).append(element)
    result = [series for uid, total in by_uid.items() for series in _of_uid(uid, total)]
    return sorted(result, key=_order)


def _of_uid(uid: str, instances: Sequence[Instance]) -> list[Series]:
    owners = {frame: instance for instance in instances for frame in instance.frames}
    groups: list[tuple[tuple[Instance, ...], tuple[Frame, ...]]] = [
        (tuple(dict.fromkeys(owners[frame] for frame in stack)), tuple(stack))
        for stack in geometry.sort_slices(owners)
    ]
    groups.sort(key=lambda group: (-len(group[1]), _number(group[0][0])))
    kinds: dict[str, list[Instance]] = {}
    for element in instances:
        if not element.frames:
            kinds.setdefault(element.sop_class, []).append(element)
    groups += [(tuple(total), ()) for total in kinds.values()]
    return [Series(uid, *group, at + 1, len(groups)) for at, group in enumerate(groups)]


def _number(element: Instance) -> float:
    return float("inf") if element.number is None else element.number


def _order(series: Series) -> tuple[bool, float, str, int]:
    number = series.instances[0].series_number
    return (
        not series.frames, float("inf") if number is None else number, series.uid, series.stack
    )  # fmt: skip
