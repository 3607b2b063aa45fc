"""Several volumes on one grid as one array with named axes: time, echo, b-value, phase."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AmbiguousVolume
from ..tracebacks import methods_without_variables
from .nifti import write_nifti, write_sidecars
from .splitting import Part, Split
from .volume import SHEARED, UNEVEN, Volume, lazy_array
from .windows import Array


@methods_without_variables
class VolumeStack:
    """Volumes on one grid, indexed [..., slice, row, column]; modality values.

    Attributes:
        volumes: all volumes, the last of the leading axes fastest.
        dims: names of the axes, such as ("time", "z", "y", "x").
        shape: one number for each axis.
        coords: values of each leading axis; in the unit of ``units`` ("" for plain numbers).
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        coords: dict[str, list[Any]],
        units: dict[str, str],
    ) -> None:
        self.volumes = tuple(volumes)
        self.coords, self.units = coords, units
        self.dims = (*coords, "z", "y", "x")
        self.shape = (*(len(values) for values in coords.values()), *self.volumes[0].shape)
        self.dtype = np.result_type(*{volume.dtype for volume in volumes})
        self.affine = self.volumes[0].affine

    @classmethod
    def of(cls, split: Split) -> VolumeStack:
        """Arrange the volumes of a series by what differs between them.

        Raises:
            AmbiguousVolume: the volumes do not lie on one grid.
        """
        volumes = {part: Volume(part.frames) for part in split.parts}
        check_grid([*volumes.values()])
        axes = _leading_axes(split)
        coords: dict[str, list[Any]] = {}
        units: dict[str, str] = {}
        for axis, labels in axes.items():
            one_each = [_part_with(split.parts, axis, label) for label in labels]
            coords[axis], units[axis] = Split(tuple(one_each), split.axes).coordinates(axis)
        ordered = [
            volumes[_part_at(split.parts, dict(zip(axes, labels, strict=True)))]
            for labels in product(*axes.values())
        ]
        return cls(ordered, coords, units)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("A stack of volumes is made slice by slice, so it is always a copy.")
        out = np.empty((len(self.volumes), *self.shape[-3:]), dtype or self.dtype)
        for at, volume in enumerate(self.volumes):
            for index in range(len(volume)):
                out[at, index] = volume.fresh_slice(index)
        return out.reshape(self.shape)

    def __getitem__(self, key: Any) -> Array:
        """NumPy indexing; only the slices that are needed are decoded."""
        leading = len(self.coords)
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            missing = len(self.shape) - (len(keys) - 1)
            keys = (*keys[:at], *[slice(None)] * missing, *keys[at + 1 :])
        keys = (*keys, *[slice(None)] * (len(self.shape) - len(keys)))
        numbers = np.arange(len(self.volumes)).reshape(self.shape[:leading])[keys[:leading]]
        rest = keys[leading:]
        if np.ndim(numbers) == 0:
            return self.volumes[int(numbers)][rest].astype(self.dtype, copy=False)
        parts = [self.volumes[int(number)][rest] for number in numbers.ravel()]
        if not parts:
            return np.empty((*numbers.shape, *self.volumes[0].shape), self.dtype)
        return np.stack(parts).reshape(*numbers.shape, *parts[0].shape).astype(self.dtype)

    def to_xarray(self) -> Any:
        """Return a lazily read DataArray with the coordinates of all axes. Needs xarray."""
        first = self.volumes[0]
        coords = {
            axis: (axis, values, {"units": self.units[axis]} if self.units[axis] else {})
            for axis, values in self.coords.items()
        }
        return lazy_array(self, self.dims, {**coords, **first.coordinates()}, first.attributes())

    def to_nifti(
        self,
        path: str | Path,
        *,
        sheared: bool = False,
        resample: bool = False,
        sidecar: bool = True,
    ) -> Path:
        """Write one 4-D NIfTI-1 file, volume by volume; return the path. Needs nibabel.

        The step of the fourth axis is written where it is an even time in seconds.

        Args:
            path: where to write.
            sheared: as for :meth:`Volume.to_nifti`.
            resample: as for :meth:`Volume.to_nifti`.
            sidecar: write a .json as BIDS has it, with the times; for diffusion a .bval and,
                where the directions are certain, a .bvec.

        Raises:
            AmbiguousVolume: the volumes differ on more than one axis, or make no even grid.
        """
        if len(self.coords) != 1:
            raise AmbiguousVolume(
                f"NIfTI has one axis beside space; these volumes have {', '.join(self.coords)}.",
                hint="Write each of .volumes, or use to_xarray().",
            )
        if not resample:
            for volume in self.volumes:
                volume.check_even()
        [(axis, values)] = self.coords.items()
        steps = np.diff(np.array(values, np.float64)) if axis == "time" else np.array([])
        even = steps.size and np.ptp(steps) <= 0.01 * abs(float(steps.mean()))
        step = float(steps.mean()) if even and self.units[axis] == "s" else None
        if sidecar:
            timed = values if axis == "time" and self.units[axis] == "s" else None
            write_sidecars(Path(path), self.volumes, timed)
        first = self.volumes[0]
        if (first.sheared and not sheared) or (resample and first.uneven > UNEVEN):
            why = "the gantry is tilted" if first.sheared else "the slices are not evenly spaced"
            warnings.warn(f"The volumes were resampled: {why}.", stacklevel=2)
            straight = first.resample()
            volumes = [straight, *(volume.resample(straight) for volume in self.volumes[1:])]
            return write_nifti(
                Path(path), volumes, self.dtype, straight.affine, time_step=step,
                description=f"resampled: {why}",
            )  # fmt: skip
        if first.sheared:
            warnings.warn(SHEARED, stacklevel=2)
        return write_nifti(
            Path(path), self.volumes, self.dtype, self.affine, sheared=first.sheared, time_step=step
        )

    def __repr__(self) -> str:
        axes = ", ".join(f"{dim} {n}" for dim, n in zip(self.dims, self.shape, strict=True))
        return f"<VolumeStack ({axes}), {self.dtype}>"


def check_grid(volumes: Sequence[Volume]) -> None:
    """Raise AmbiguousVolume unless all volumes have the same grid, to a quarter of a voxel."""
    first = volumes[0]
    far = np.array([*(n - 1 for n in first.shape[::-1]), 1.0])
    for number, volume in enumerate(volumes, 1):
        if volume.shape != first.shape:
            raise AmbiguousVolume(
                f"Volume {number} is {volume.shape}, the first {first.shape} (slices, rows, "
                "columns): together they make no array.",
            )
        shift = (volume.affine - first.affine) @ np.stack([[0.0, 0.0, 0.0, 1.0], far], axis=1)
        if np.abs(shift).max() > 0.25 * min(first.spacing):
            raise AmbiguousVolume(
                f"Volume {number} lies elsewhere than the first: together they make no array.",
            )


def _leading_axes(split: Split) -> dict[str, list[tuple[int, ...]]]:
    """Return the labels of each axis; one axis for all where they make no full product."""
    axes = {
        axis: sorted({part.labels.get(axis, ()) for part in split.parts}) for axis in split.axes
    }
    if int(np.prod([len(labels) for labels in axes.values()])) == len(split.parts):
        return axes
    name = split.axes[-1] if len(split.axes) == 1 else "volume"
    return {name: [(at,) for at in range(len(split.parts))]}


def _part_with(parts: Sequence[Part], axis: str, label: tuple[int, ...]) -> Part:
    if axis == "volume" and all("volume" not in part.labels for part in parts):
        return parts[label[0]]
    return next(part for part in parts if part.labels.get(axis, ()) == label)


def _part_at(parts: Sequence[Part], labels: dict[str, tuple[int, ...]]) -> Part:
    if [*labels] == ["volume"] and all("volume" not in part.labels for part in parts):
        return parts[labels["volume"][0]]
    return next(
        part
        for part in parts
        if all(part.labels.get(axis, ()) == label for axis, label in labels.items())
    )
