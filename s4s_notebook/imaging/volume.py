"""A stack of slices as a volume in patient space, decoded slice by slice."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NotAnImage
from . import geometry
from .frame import Frame
from .windows import Array, Floats


class Volume:
    """Slices of one stack, indexed [slice, row, column]; modality values.

    Attributes:
        frames: the slices, in order.
        shape: (slices, rows, columns); dtype: int16, int32, float32 or float64.
        spacing: (between slices, between rows, between columns) in mm; the first is the mean.
        origin: (x, y, z) of the first voxel's centre in mm, patient coordinates (LPS).
        axes: 3x3, the unit vectors of slice, row index and column index, as rows (LPS).
        affine: 4x4, (column, row, slice, 1) → (x, y, z, 1) in mm, LPS, as ITK has it.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        first, last = frames[0], frames[-1]
        if first.position is None or first.orientation is None or first.spacing is None:
            raise NotAnImage(
                "These pictures have no place in space, so they make no volume.",
                hint="Use .frames[i].values() for each of them.",
            )
        if first.color:
            raise NotAnImage("A volume is of grey values; these pictures are in colour.")
        self.frames = tuple(frames)
        self.shape = (len(frames), first.rows, first.columns)
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
        through = direction / length if between else geometry.normal(first.orientation)
        self.spacing = (between or _thickness(first), *first.spacing)
        self.axes: Floats = np.stack([through, column, row])
        self.affine: Floats = np.eye(4)
        self.affine[:3, :3] = (self.axes * np.array(self.spacing)[:, None])[::-1].T
        self.affine[:3, 3] = self.origin

    @property
    def depths(self) -> Floats:
        """Where each slice lies, in mm from the first along the first axis."""
        places = np.array([frame.position for frame in self.frames], np.float64)
        return np.asarray((places - self.origin) @ self.axes[0])

    def __len__(self) -> int:
        return len(self.frames)

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
        parts = [self.slice(int(index))[rest] for index in requested]
        if parts:
            return np.stack(parts)
        return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("A volume is made slice by slice, so it is always a copy.")
        out = np.empty(self.shape, dtype or self.dtype)
        for index in range(len(self)):
            out[index] = self.slice(index)
        return out

    def to_xarray(self) -> Any:
        """Return a DataArray with dims z, y, x and coordinates in mm; read lazily."""
        return _data_array(self)

    def to_nifti(self, path: str | Path) -> Path:
        """Write NIfTI-1 (.nii, .nii.gz) slice by slice, in RAS as NIfTI has it; return the path.

        NIfTI has one step between slices: a warning tells when the slices have several.
        """
        target = Path(path)
        to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
        header = _extra("nibabel").Nifti1Header()
        if uneven := [
            entry.why for entry in geometry.remarks(self.frames, "") if "tilted" not in entry.why
        ]:
            warnings.warn(f"The slices are not evenly spaced: {uneven[0]}.", stacklevel=2)
        header.set_data_dtype(self.dtype)
        header.set_data_shape(self.shape[::-1])
        header.set_sform(to_ras @ self.affine, code="scanner")
        header.set_qform(to_ras @ self.affine, code="scanner")
        header.set_xyzt_units("mm")
        opening: Any = gzip.open if target.suffix == ".gz" else open
        with opening(target, "wb") as file:
            header.write_to(file)
            file.write(b"\0" * (int(header.get_data_offset()) - file.tell()))
            for index in range(len(self)):
                file.write(np.ascontiguousarray(self.slice(index)).tobytes())
        return target

    def __repr__(self) -> str:
        spacing = " x ".join(f"{value:.3g}" for value in self.spacing)
        return f"<Volume {self.shape}, {self.dtype}, {spacing} mm>"


def _extra(module: str) -> Any:
    """Import what the extra ``volume`` installs."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        error.msg += ": pip install 's4s-notebook[volume]'"
        raise


def _data_array(volume: Volume) -> Any:
    """Return a lazily decoded DataArray (z, y, x); xarray is imported here, when it is needed."""
    xarray, indexing = _extra("xarray"), _extra("xarray.core.indexing")
    base: Any = _extra("xarray.backends").BackendArray

    class Slices(base):  # type: ignore[misc] # xarray is not installed everywhere
        def __init__(self) -> None:
            self.shape, self.dtype = volume.shape, volume.dtype

        def __getitem__(self, key: Any) -> Any:
            basic = indexing.IndexingSupport.BASIC
            return indexing.explicit_indexing_adapter(key, self.shape, basic, volume.__getitem__)

    dims = ("z", "y", "x")
    data = indexing.LazilyIndexedArray(Slices())
    in_plane = (np.arange(volume.shape[axis]) * volume.spacing[axis] for axis in (1, 2))
    positions = zip(dims, (volume.depths, *in_plane), strict=True)
    coords = {dim: (dim, values, {"units": "mm"}) for dim, values in positions}
    attrs = {
        "units": volume.frames[0].unit,
        "origin": list(volume.origin),
        "axes": volume.axes.ravel().tolist(),
    }
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


def _thickness(frame: Frame) -> float:
    header = frame.instance.header()
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            value = float(header.get(keyword) or 0)
        except (TypeError, ValueError):
            continue
        if value > 0:
            return value
    return 1.0
