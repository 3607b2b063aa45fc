"""Slices as a volume in patient space, decoded slice by slice."""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AmbiguousVolume, NotAnImage
from ..tracebacks import methods_without_variables
from . import geometry
from .attributes import AttributeReader, FunctionalGroups
from .frame import Frame, one_map
from .mosaic import is_mosaic
from .nifti import RGB, extra, write_nifti, write_sidecars
from .resampling import Grid, projected, sampled
from .windows import Array, Floats

SHEARED = "The slices are sheared; programs on ITK refuse such a file."
UNEVEN = 0.05  # part of a step by which a slice may lie off an even grid
_SEVERAL, _THREADS = 16, 4
_LARGE = 2**22  # bytes
_AIR = -1024.0  # HU outside of a resampled volume
_STRAIGHT = 0.25  # pixels by which a shear may move the last slice before it counts


@methods_without_variables
class Volume:
    """Slices of one stack, indexed [slice, row, column]; modality values.

    Attributes:
        frames: the slices, in order; empty for a volume that was resampled.
        shape: (slices, rows, columns); dtype: int16, int32, float32 or float64.
        spacing: (between slices, between rows, between columns) in mm; the first is the mean.
        origin: (x, y, z) of the first voxel's centre in mm, patient coordinates (LPS).
        axes: 3x3, the unit vectors of slice, row index and column index, as rows (LPS).
        affine: 4x4, (column, row, slice, 1) → (x, y, z, 1) in mm, LPS, as ITK has it.
        unit: of the values ("HU", "BQML"), "" when not stated.
        reference: Frame of Reference UID (0020,0052), "" when not stated.
    """

    colored = False

    def __init__(self, frames: Sequence[Frame]) -> None:
        first, last = frames[0], frames[-1]
        if first.position is None or first.orientation is None or first.spacing is None:
            raise NotAnImage(
                "These pictures have no place in space, so they make no volume.",
                hint="Use .frames[i].values() for each of them.",
            )
        if first.color and not self.colored:
            raise NotAnImage("A volume is of grey values; these pictures are in colour.")
        if is_mosaic(first):
            raise AmbiguousVolume(
                "These pictures are mosaics, and the headers do not say how to unfold them.",
                hint="Use .frames[i].values() for the mosaics as they are.",
            )
        self.frames, self.unit = tuple(frames), first.unit
        self.reference = first.instance.frame_of_reference
        self.series_uid = first.instance.series_uid
        self.shape: tuple[int, int, int] = (len(frames), first.rows, first.columns)
        self.dtype = np.result_type(*{_dtype(frame) for frame in frames})
        self.origin = first.position
        row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:6])
        direction = np.subtract(last.position or first.position, first.position)
        length = float(np.linalg.norm(direction))
        between = length / (len(frames) - 1) if len(frames) > 1 else 0.0
        if len(frames) > 1 and between <= 1e-3:
            raise NotAnImage(
                f"The {len(frames):,} pictures all have the same position, so they make no volume.",
                hint="Use .frames[i].values() for each of them.",
            )
        through = geometry.normal(first.orientation)
        along = float(np.dot(direction, through))
        across = float(np.linalg.norm(direction - along * through))
        #: Whether the slices are shifted against each other, as a tilted gantry does it.
        self.sheared = across >= _STRAIGHT * min(first.spacing)
        if self.sheared:
            through = direction / length
        elif between:
            between = abs(along) / (len(frames) - 1)
        self.spacing = (between or stated_thickness(first) or 1.0, *first.spacing)
        self.axes: Floats = np.stack([through, column, row])
        self.affine: Floats = np.eye(4)
        self.affine[:3, :3] = (self.axes * np.array(self.spacing)[:, None])[::-1].T
        self.affine[:3, 3] = self.origin

    @property
    def depths(self) -> Floats:
        """Where each slice lies, in mm from the first along the first axis."""
        places = np.array([frame.position for frame in self.frames], np.float64)
        return np.asarray((places - self.origin) @ self.axes[0])

    @property
    def uneven(self) -> float:
        """Largest distance of a slice from an even grid, as a part of the step; 0.0 is even."""
        depths = self.depths
        if len(depths) < 3:
            return 0.0
        even = np.linspace(depths[0], depths[-1], len(depths))
        return float(np.abs(depths - even).max() / self.spacing[0])

    @property
    def regular(self) -> bool:
        """Whether the axes are orthogonal and the steps even, so that a cut is true to scale."""
        return not self.sheared and self.uneven <= UNEVEN

    def check_even(self) -> None:
        """Raise AmbiguousVolume where a slice lies more than 5 % of a step off an even grid."""
        if self.uneven > UNEVEN:
            usual = geometry.step(self.frames) or 0.0
            raise AmbiguousVolume(
                f"The slices are not evenly spaced: a slice lies {self.uneven:.2g} steps off an "
                f"even grid; the usual step is {usual:.3g} mm.",
                hint="Use to_xarray(), which keeps the positions, or resample=True.",
            )

    def __len__(self) -> int:
        return self.shape[0]

    def slice(self, index: int) -> Array:
        """Modality values of one slice, rows x columns, in the volume's dtype."""
        return self.frames[index].values().astype(self.dtype, copy=False)

    def __getitem__(self, key: Any) -> Array:
        """NumPy indexing; only the slices that are needed are decoded."""
        keys = key if isinstance(key, tuple) else (key,)
        if keys and keys[0] is Ellipsis:
            keys = (slice(None),) * (4 - len(keys)) + keys[1:]
        first, rest = (keys[0], keys[1:]) if keys else (slice(None), ())
        if isinstance(first, int | np.integer):
            return self.slice(int(first))[rest]
        requested = np.arange(len(self))[first]
        several = requested.size > _SEVERAL  # they would push all else out of the cache
        take = self.fresh_slice if several else self.slice
        # A copy of each part, so that the rest of its slice need not stay in memory.
        parts = [np.array(take(int(index))[rest], self.dtype) for index in requested]
        if parts:
            return np.stack(parts)
        return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("A volume is made slice by slice, so it is always a copy.")
        out = np.empty(self.shape, dtype or self.dtype)

        plain = type(self).fresh_slice is Volume.fresh_slice and out.dtype == self.dtype

        def fill(index: int) -> None:
            if not (plain and self.frames[index].values_into(out[index])):
                out[index] = self.fresh_slice(index)

        if len(self) <= _SEVERAL or any(frame.instance.compressed for frame in self.frames):
            for index in range(len(self)):
                fill(index)
        else:  # files are read, and memory is taken, outside of the interpreter's lock
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(fill, range(len(self))))
        return out

    def fresh_slice(self, index: int) -> Array:
        """Return a slice for one use: a whole volume would push all else out of the cache."""
        return self.frames[index].fresh_values()

    def coordinates(self) -> dict[str, Any]:
        """Return the coordinates of z, y and x in mm, as xarray has them.

        A sheared volume has those of z alone: see ``affine``.
        """
        result: dict[str, Any] = {"z": ("z", self.depths, {"units": "mm"})}
        if not self.sheared:
            for dim, axis in (("y", 1), ("x", 2)):
                values = np.arange(self.shape[axis]) * self.spacing[axis]
                result[dim] = (dim, values, {"units": "mm"})
        return result

    def attributes(self) -> dict[str, Any]:
        """Return unit and geometry, as attributes of an xarray DataArray."""
        return {
            "units": self.unit,
            "origin": list(self.origin),
            "axes": self.axes.ravel().tolist(),
            "affine": self.affine.ravel().tolist(),
            "sheared": int(self.sheared),
        }

    def to_xarray(self) -> Any:
        """Return a DataArray with dims z, y, x and coordinates in mm; read lazily."""
        return lazy_array(self, ("z", "y", "x"), self.coordinates(), self.attributes())

    def real_world(self, unit: str | None = None) -> Volume:
        """Return the volume in the physical quantity that the file maps its values to.

        Args:
            unit: UCUM code of one of several mappings, such as "mm2/s".

        Raises:
            NotAnImage: there is no such mapping, or there are several and none is named.
        """
        if not self.frames:
            raise NotAnImage("A volume that was resampled has no stored values to map.")
        return _QuantityVolume(self.frames, unit)

    @property
    def grid(self) -> Grid:
        """Where the voxels lie, uneven steps included."""
        return Grid(self.shape, self.affine, self.depths)

    def resample(
        self,
        to: Volume | None = None,
        spacing: float | tuple[float, float, float] | None = None,
        *,
        fill: float | None = None,
        aligned: bool = False,
    ) -> Volume:
        """Return this volume on another grid, by linear interpolation. Needs scipy.

        Args:
            to: the volume whose grid it gets, uneven steps included.
            spacing: mm between voxels, or between slices, rows and columns. By default that of
                this volume, with orthogonal axes and even steps.
            fill: stands outside of this volume, and where it is padding; by default -1024 for HU,
                else its lowest value. NaN makes whole numbers floats.
            aligned: the caller knows that both volumes lie in one patient space, where the files
                do not say so by one Frame of Reference UID.

        Returns:
            A volume in memory. Values are interpolated, not averaged, on a coarser grid.

        Raises:
            AmbiguousVolume: the frames of reference differ or are not stated, or a single slice
                has no stated thickness.
        """
        if to is not None and not aligned:
            self._check_reference(to)
        if to is None and len(self) == 1 and self.frames and not stated_thickness(self.frames[0]):
            raise AmbiguousVolume("This is one slice, and the file does not say how thick it is.")
        source = self._unpadded()
        if fill is None:
            finite = source[np.isfinite(source)]
            fill = _AIR if self.unit == "HU" else float(finite.min()) if finite.size else 0.0
        source[np.isnan(source)] = fill
        if to is None:
            shape, affine = self.orthogonal_grid(spacing)
            step = float(np.linalg.norm(affine[:3, 2]))
            grid = Grid(shape, affine, np.arange(shape[0], dtype=np.float64) * step)
        else:
            grid = to.grid
        values = sampled(source, self.grid, grid, fill)
        if self.dtype.kind in "iu" and math.isfinite(fill):
            values = np.rint(values).astype(self.dtype)
        elif self.dtype.kind == "f":
            values = values.astype(self.dtype)
        return _ArrayVolume(values, grid, self)

    def with_values(self, values: Array, grid: Grid) -> Volume:
        """Return a volume in memory, on ``grid``, with this one's unit."""
        return _ArrayVolume(values, grid, self)

    def _check_reference(self, to: Volume) -> None:
        """Raise AmbiguousVolume unless both are stated to be of one frame of reference."""
        if self.reference == to.reference and (self.reference or self.series_uid == to.series_uid):
            return
        why = "are of two frames of reference" if self.reference and to.reference else (
            "do not both state a frame of reference"
        )  # fmt: skip
        raise AmbiguousVolume(
            f"The two volumes {why}, so where one lies in the other is not certain.",
            hint="resample(to=..., aligned=True) where you know that they lie in one space.",
        )

    def _unpadded(self) -> Array:
        """Return all values as floats, with NaN in place of padding."""
        small = self.dtype.itemsize <= 2 or self.dtype == np.float32
        values = np.array(self, np.float32 if small else np.float64)
        for at, frame in enumerate(self.frames):
            if frame.padding is not None:
                stored = frame.stored()
                values[at][(stored >= frame.padding.low) & (stored <= frame.padding.high)] = np.nan
        return values

    def isotropic(self, spacing: float | None = None) -> Volume:
        """Return this volume with cubic voxels, of its smallest spacing or of ``spacing`` in mm.

        Raises:
            AmbiguousVolume: as for :meth:`resample`.
        """
        return self.resample(spacing=min(self.spacing) if spacing is None else spacing)

    def mip(self, slab: float | None = None, axis: str = "z", kind: str = "max") -> Volume:
        """Return the largest value through the volume, or through a slab around each slice.

        Distances are in mm. A sheared volume is resampled to orthogonal axes first. Padding
        takes no part; where there is nothing else, the lowest value stands.

        Args:
            slab: thickness in mm; by default all, which leaves one slice.
            axis: along which to look: "z" (from slice to slice), "y" (rows) or "x" (columns).
            kind: "max", "min" (airways) or "mean" (a thick slice).

        Returns:
            A volume in memory, of one slice where ``slab`` is None; the axis comes first.
        """
        if axis not in "zyx" or len(axis) != 1 or kind not in ("max", "min", "mean"):
            raise ValueError('axis is "z", "y" or "x"; kind is "max", "min" or "mean".')
        if slab is not None and not slab > 0:
            raise ValueError("slab is above 0 mm.")
        volume = self.resample() if self.sheared else self
        number = "zyx".index(axis)
        if number:
            volume.check_even()
        values = np.moveaxis(volume._unpadded(), number, 0)
        places = volume.depths
        if number:
            places = np.asarray(np.arange(len(values)) * volume.spacing[number], np.float64)
        lowest = np.nanmin(values) if np.isfinite(values).any() else 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # slabs of padding alone
            result = projected(values, places, slab, kind)
        result = np.where(np.isnan(result), lowest, result)
        order = [number, *(at for at in range(3) if at != number)]
        affine = volume.affine.copy()
        affine[:3, :3] = affine[:3, :3][:, [2 - at for at in order[::-1]]]
        extent = float(places[-1] - places[0]) if len(places) > 1 else 0.0
        if slab is None:
            across = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
            affine[:3, 3] += across * extent / 2
            affine[:3, 2] = across * (extent + volume.spacing[number])
            places = np.zeros(1)
        shape = (result.shape[0], result.shape[1], result.shape[2])
        kept = self.dtype if kind != "mean" else np.dtype(np.float32)
        return _ArrayVolume(result.astype(kept), Grid(shape, affine, np.array(places)), self)

    def orthogonal_grid(
        self, spacing: float | tuple[float, float, float] | None = None
    ) -> tuple[tuple[int, int, int], Floats]:
        """Return the shape and affine of an orthogonal grid that holds all of this volume."""
        row, column = self.axes[2], self.axes[1]
        through = np.cross(row, column)
        steps = np.array([self.spacing[0] * float(self.axes[0] @ through), *self.spacing[1:]])
        new = steps if spacing is None else np.broadcast_to(np.array(spacing, np.float64), (3,))
        ends = np.array(self.shape) - 1
        shear = ends[0] * self.spacing[0] * self.axes[0]
        low, high = [], []
        for direction, extent in zip(
            (through, column, row), ends * np.array([0.0, *self.spacing[1:]]), strict=True
        ):
            corners = [0.0, extent, float(shear @ direction), float(shear @ direction) + extent]
            low.append(min(corners))
            high.append(max(corners))
        # Whole steps before the first voxel, so that the planes that agree stay as they are.
        before = np.ceil(-np.array(low) / new - 1e-6)
        after = np.ceil(np.array(high) / new - 1e-6)
        axes = np.stack([through, column, row])
        affine = np.eye(4)
        affine[:3, :3] = (axes * new[:, None])[::-1].T
        affine[:3, 3] = np.array(self.origin) - (before * new) @ axes
        count = (before + after + 1).astype(int)
        return (int(count[0]), int(count[1]), int(count[2])), affine

    def to_nifti(
        self,
        path: str | Path,
        *,
        sheared: bool = False,
        resample: bool = False,
        sidecar: bool = True,
    ) -> Path:
        """Write NIfTI-1 (.nii, .nii.gz), in RAS as NIfTI has it; return the path. Needs nibabel.

        Args:
            path: where to write.
            sheared: write slices of a tilted gantry as they are: the sform is sheared and the
                qform code is 0, which programs on ITK refuse. By default they are resampled to an
                orthogonal grid (linear interpolation), which a warning and the header's
                description say.
            resample: resample slices that are not evenly spaced; otherwise they are refused.
            sidecar: write what the headers say of the acquisition beside it, as BIDS has it
                (.json); without names, dates and UIDs, but with the series' and the protocol's
                descriptions, which are free text.

        Raises:
            AmbiguousVolume: the slices are not evenly spaced.
        """
        path = Path(path)
        if not resample:
            self.check_even()
        if sidecar and self.frames:
            write_sidecars(path, [self])
        if (self.sheared and not sheared) or (resample and self.uneven > UNEVEN):
            why = "the gantry is tilted" if self.sheared else "the slices are not evenly spaced"
            warnings.warn(f"The volume was resampled: {why}.", stacklevel=2)
            return write_nifti(
                path, [straight := self.resample()], straight.dtype, straight.affine,
                description=f"resampled: {why}",
            )  # fmt: skip
        if self.sheared:
            warnings.warn(SHEARED, stacklevel=2)
        return write_nifti(path, [self], self.dtype, self.affine, sheared=self.sheared)

    def __repr__(self) -> str:
        spacing = " x ".join(f"{value:.3g}" for value in self.spacing)
        sheared = ", sheared" if self.sheared else ""
        return f"<Volume {self.shape}, {self.dtype}, {spacing} mm{sheared}>"


class ColorVolume(Volume):
    """Slices in colour, for NIfTI: each voxel is red, green and blue of 8 bits."""

    colored = True

    def __init__(self, frames: Sequence[Frame]) -> None:
        super().__init__(frames)
        self.dtype = np.dtype(RGB)

    def slice(self, index: int) -> Array:
        """Return one slice, rows x columns, of red, green and blue."""
        from .grey_levels import shown

        return np.ascontiguousarray(shown(self.frames[index])).view(self.dtype)[..., 0]

    def fresh_slice(self, index: int) -> Array:
        """Return the same: it is in no cache."""
        return self.slice(index)


class _QuantityVolume(Volume):
    """A volume in the quantity of its real world value mapping; NaN where nothing is mapped."""

    def __init__(self, frames: Sequence[Frame], unit: str | None) -> None:
        super().__init__(frames)
        maps = [one_map(frame, unit)[0] for frame in frames]
        if len({(entry.unit, entry.label) for entry in maps}) > 1:
            raise NotAnImage("The slices are mapped to different quantities.")
        self.unit, self.dtype = maps[0].unit, np.dtype(np.float64)

    def slice(self, index: int) -> Array:
        """Return the quantity in one slice, rows x columns."""
        return self.frames[index].real_world_values(self.unit)

    def fresh_slice(self, index: int) -> Array:
        """Return the same: mapped values are in no cache."""
        return self.slice(index)


class _ArrayVolume(Volume):
    """A volume whose values are in memory."""

    def __init__(self, values: Array, grid: Grid, source: Volume) -> None:
        affine = grid.affine
        self._values, self._depths = values, grid.depths
        self.frames, self.unit = (), source.unit
        self.reference, self.series_uid = source.reference, source.series_uid
        self.shape = (values.shape[0], values.shape[1], values.shape[2])
        self.dtype, self.affine = values.dtype, affine
        columns = affine[:3, :3].T[::-1]
        spacing = np.linalg.norm(columns, axis=1)
        self.spacing = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        self.axes = columns / spacing[:, None]
        self.origin = (float(affine[0, 3]), float(affine[1, 3]), float(affine[2, 3]))
        self.sheared = bool(abs(self.axes[0] @ np.cross(self.axes[2], self.axes[1])) < 1 - 1e-9)

    @property
    def depths(self) -> Floats:
        """Where each slice lies, in mm from the first along the first axis."""
        return self._depths

    def slice(self, index: int) -> Array:
        """Return one slice, rows x columns."""
        return np.asarray(self._values[index])

    def fresh_slice(self, index: int) -> Array:
        """Return the same: it is in no cache."""
        return self.slice(index)


def _room(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Array:
    """Return an array to be filled, in small pages.

    NumPy asks for huge pages, for which the system may stop to compact its memory: up to a second
    for a CT, which takes a quarter of one to read.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        return np.empty(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)


def lazy_array(
    source: Any, dims: tuple[str, ...], coords: Mapping[str, Any], attrs: Mapping[str, Any]
) -> Any:
    """Return a lazily decoded DataArray; xarray is imported here, when it is needed."""
    xarray, indexing = extra("xarray"), extra("xarray.core.indexing")
    base: Any = extra("xarray.backends").BackendArray

    class Slices(base):  # type: ignore[misc] # xarray is not installed everywhere
        def __init__(self) -> None:
            self.shape, self.dtype = source.shape, source.dtype

        def __getitem__(self, key: Any) -> Any:
            basic = indexing.IndexingSupport.BASIC
            return indexing.explicit_indexing_adapter(key, self.shape, basic, source.__getitem__)

    data = indexing.LazilyIndexedArray(Slices())
    return xarray.DataArray(xarray.Variable(dims, data, attrs), coords, name="values")


def _dtype(frame: Frame) -> np.dtype[Any]:
    """Return the smallest type that holds all modality values of a frame."""
    entry = frame.instance
    if entry.pixels is not None and entry.pixels.keyword != "PixelData":
        return np.dtype(np.float32 if entry.bits_allocated == 32 else np.float64)
    whole = frame.slope.is_integer() and frame.intercept.is_integer()
    if frame.table is not None or not whole:
        return np.dtype(np.float32 if entry.bits_allocated <= 16 else np.float64)
    low, high = (-(2 ** (entry.bits_stored - 1)), 2 ** (entry.bits_stored - 1) - 1)
    if not entry.signed:
        low, high = 0, 2**entry.bits_stored - 1
    ends = sorted(value * frame.slope + frame.intercept for value in (low, high))
    for kind in (np.int16, np.int32):
        info = np.iinfo(kind)
        if info.min <= ends[0] and ends[1] <= info.max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def stated_thickness(frame: Frame) -> float | None:
    """Return the distance in mm that one slice stands for, None where the header has none."""
    reader = AttributeReader(frame.instance.header())
    measures = FunctionalGroups(reader).of("PixelMeasuresSequence", frame.index)
    for item in (measures, None):
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            value = reader.number(keyword, item)
            if value is not None and value > 0:
                return value
    return None
