"""The other two planes through a stack: axial, coronal, sagittal, cut where the voxels lie.

Nothing is interpolated: a cut at a fixed row or column of all slices is shown with its own
spacing, turned so that the head is up (or the front, in axial planes) and the patient's left
is on the right, as radiologists look at it.
"""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import AmbiguousVolume, DICOMError, NotAnImage, PixelBudget
from ...imaging.frame import Frame
from ...imaging.geometry import depth, letters, named_edges
from ...imaging.series import Series
from ...imaging.volume import Volume
from ...imaging.windows import Array

#: The most bytes of a stack that are stored for cutting; larger ones offer their own plane only.
BUDGET = 2**30

#: Normal along x, y, z: the plane's name, and where right and down point (LPS).
_VIEWS = (
    ("Sagittal", (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    ("Coronal", (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    ("Axial", (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
)


class Layout(NamedTuple):
    """How the cuts at a fixed ``axis`` of a volume are laid out on screen."""

    name: str
    axis: int
    down: int
    right: int
    down_sign: int
    right_sign: int


def layout(axes: NDArray[np.float64], axis: int) -> Layout:
    """Return the layout of the cuts that hold volume axis ``axis`` (1 row, 2 column) fixed."""
    name, right, down = _VIEWS[int(np.argmax(np.abs(axes[axis])))]
    first, second = (other for other in range(3) if other != axis)
    pairs = [(first, second), (second, first)]
    a, b = max(pairs, key=lambda p: abs(axes[p[0]] @ down) + abs(axes[p[1]] @ right))
    signs = [-1 if float(component) < 0 else 1 for component in (axes[a] @ down, axes[b] @ right)]
    return Layout(name, axis, a, b, signs[0], signs[1])


class Cuts:
    """Cuts stacks; stores the voxels of the series that was cut last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: Series | None = None
        self._volume: Volume | None = None
        self._voxels: Array | None = None

    def planes(self, series: Series) -> list[dict[str, Any]]:
        """Return the other planes of a series, as ``Pictures.study`` gives them."""
        volume = _volume(series)
        if volume is None:
            return []
        shape = volume.shape if volume.regular else volume.orthogonal_grid()[0]
        layouts = [layout(volume.axes, axis) for axis in (1, 2)]
        return [
            {"key": str(cut.axis), "name": cut.name, "ids": list(range(shape[cut.axis]))}
            for cut in layouts
        ]

    def cut(self, series: Series, plane: str, index: int) -> tuple[Frame, dict[str, Any], Array]:
        """Return one slice of another plane.

        Returns:
            The frame whose windows apply, values and geometry for the browser, and the pixels.

        Raises:
            NotAnImage: There is no such plane or slice.
        """
        volume, voxels = self._load(series)
        axis = int(plane)
        if axis not in (1, 2) or not 0 <= index < volume.shape[axis]:
            raise NotAnImage("There is no such plane.")
        cut = layout(volume.axes, axis)
        key = (slice(None), index) if axis == 1 else (slice(None), slice(None), index)
        picture = volume[key] if voxels is None else voxels[key]
        if cut.down > cut.right:
            picture = picture.T
        picture = picture[:: cut.down_sign, :: cut.right_sign]
        middle = series.frames[len(series.frames) // 2]
        return middle, {**_values(middle), **_geometry(volume, cut, index)}, picture

    def _load(self, series: Series) -> tuple[Volume, Array | None]:
        """Return the volume to cut, and its voxels once they are read."""
        with self._lock:
            if self._series is series and self._volume is not None:
                return self._volume, self._voxels
            volume = _volume(series)
            if volume is None:
                raise NotAnImage("This series makes no volume.")
            if not volume.regular:  # lengths in a cut are true on an orthogonal grid only
                volume = volume.resample()
            self._series, self._volume, self._voxels = series, volume, None
            if any(frame.instance.compressed for frame in volume.frames):
                self._voxels = np.asarray(volume)
            elif volume.frames:  # the first cuts read what they need, and need not wait
                work = threading.Thread(target=self._fill, args=(volume,), daemon=True)
                work.start()
            return volume, self._voxels

    def _fill(self, volume: Volume) -> None:
        try:
            voxels = np.asarray(volume)
        except DICOMError:  # the cuts say it, one by one
            return
        with self._lock:
            if self._volume is volume:
                self._voxels = voxels


def _volume(series: Series) -> Volume | None:
    """Return the series as a volume if it is grey and has three slices or more in a stack."""
    depths = [depth(frame) for frame in series.frames]
    if len(depths) < 3 or None in depths or series.frames[0].color:
        return None
    if min(np.diff(np.array(depths, np.float64))) < 1e-3:
        return None
    try:
        volume = series.volume()
    except (AmbiguousVolume, NotAnImage, PixelBudget):
        return None
    size = int(np.prod(volume.shape)) * volume.dtype.itemsize
    if not volume.regular and find_spec("scipy") is None:
        return None  # it cannot be resampled
    return volume if size <= BUDGET else None


def _values(frame: Frame) -> dict[str, Any]:
    """Return the value range of a cut: a volume holds modality values, so only padding is added."""
    padding = None
    if frame.padding is not None:
        ends = frame.modality(np.array(frame.padding))
        padding = [float(ends.min()), float(ends.max())]
    return {"slope": 1.0, "intercept": 0.0, "modality": None, "padding": padding}


def _geometry(volume: Volume, cut: Layout, index: int) -> dict[str, Any]:
    steps = volume.axes * np.array(volume.spacing)[:, None]
    position = np.array(volume.origin) + steps[cut.axis] * index
    for axis, sign in ((cut.down, cut.down_sign), (cut.right, cut.right_sign)):
        if sign < 0:
            position = position + steps[axis] * (volume.shape[axis] - 1)
    right, down = volume.axes[cut.right] * cut.right_sign, volume.axes[cut.down] * cut.down_sign
    main = int(np.argmax(np.abs(volume.axes[cut.axis])))
    return {
        "spacing": [volume.spacing[cut.down], volume.spacing[cut.right]],
        "aspect": volume.spacing[cut.down] / volume.spacing[cut.right],
        "position": position.tolist(),
        "orientation": [*right.tolist(), *down.tolist()],
        "edges": named_edges(letters(right), letters(down)),
        "label": f"{'xyz'[main]} {position[main]:.1f} mm".replace("-", "\N{MINUS SIGN}"),
    }
