"""One picture: a frame of a DICOM object, with its place in the body and its grey scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import NotAnImage
from ..tracebacks import methods_without_variables
from . import pixels
from .acquisition import Acquisition
from .attributes import RealWorldMap
from .dicom_object import DicomObject
from .lengths import Length, Scale, measured_length
from .overlays import Overlay, overlays_of
from .windows import Array, Choice, Floats, Table

Triple = tuple[float, float, float]


class Padding(NamedTuple):
    """Stored values from ``low`` to ``high`` lie outside the image (PS3.3 C.7.5.1.1.2)."""

    low: int
    high: int


@methods_without_variables
@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame; nothing is decoded before :meth:`stored` is called.

    Attributes:
        instance: the DICOM object; index: which of its frames, from 0.
        slope, intercept: modality value = slope · stored + intercept; 1 and 0 with a table.
        table: the Modality LUT, None where slope and intercept are used.
        unit: of the modality values ("HU", "BQML", "Gy"), "" when not stated.
        windows: the image's own windows and VOI LUTs; the first is the default.
        spacing: (between rows, between columns) in mm, None when not stated or not one for all.
        scales: what a pixel measures, for each region of the picture; see :meth:`length`.
        aspect: height of a pixel divided by its width.
        position: of the first pixel's centre, (x, y, z) in mm, patient coordinates (LPS).
        orientation: direction cosines of a row, then of a column; six numbers.
        padding: stored values that are not part of the image.
        segment: the label of what is marked in it, for a segmentation.
        real_world: mappings to physical quantities; see :meth:`real_world_values`.
        acquisition: what distinguishes it from frames at the same position.
        tile: first row, first column, rows and columns of a slice in a mosaic; None for others.
    """

    instance: DicomObject
    index: int
    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = field(default=None, repr=False)
    unit: str = ""
    windows: tuple[Choice, ...] = field(default=(), repr=False)
    spacing: tuple[float, float] | None = None
    scales: tuple[Scale, ...] = field(default=(), repr=False)
    aspect: float = 1.0
    position: Triple | None = None
    orientation: tuple[float, ...] | None = None
    padding: Padding | None = None
    segment: str = ""
    real_world: tuple[RealWorldMap, ...] = field(default=(), repr=False)
    acquisition: Acquisition = field(default=Acquisition(), repr=False)
    tile: tuple[int, int, int, int] | None = None

    @property
    def key(self) -> str:
        """Stable name of the frame: SOP Instance UID, "/", frame number from 1."""
        return f"{self.instance.sop_uid}/{self.index + 1}"

    @property
    def rows(self) -> int:
        """Height in pixels (0028,0010)."""
        return self.tile[2] if self.tile else self.instance.rows

    @property
    def columns(self) -> int:
        """Width in pixels (0028,0011)."""
        return self.tile[3] if self.tile else self.instance.columns

    @property
    def photometric(self) -> str:
        """PhotometricInterpretation of the file; decoded colour is always RGB."""
        return self.instance.photometric

    @property
    def color(self) -> bool:
        """True when :func:`render` gives HxWx3: RGB, YBR or palette."""
        return self.instance.samples > 1 or self.photometric == "PALETTE COLOR"

    @property
    def label(self) -> str:
        """Short and without names: modality, series description, instance, frame."""
        entry = self.instance
        parts = [entry.modality, entry.description]
        if entry.number is not None:
            parts.append(f"image {entry.number:g}")
        if self.tile:
            parts.append(f"slice {self.index + 1}")
        elif entry.count > 1:
            parts.append(f"frame {self.index + 1} of {entry.count}")
        return " · ".join(part for part in parts if part)

    def length(self, start: Sequence[float], end: Sequence[float]) -> Length:
        """Return the distance of two points (column, row), with its unit and where that is from.

        In ultrasound by the region in which both points lie, in that region's unit; in a
        projection at the body, or "at the detector" where the file has no magnification; in px
        where there is no scale.

        >>> from pydicom.data import get_testdata_file
        >>> from s4s_notebook.imaging import read
        >>> frame = read(get_testdata_file("CT_small.dcm")).series[0].frames[0]
        >>> print(frame.length((0, 0), (30, 40)))
        33.07 mm
        """
        return measured_length(self.scales, start, end, self.aspect)

    @property
    def overlays(self) -> tuple[Overlay, ...]:
        """Graphics that the file lays on the picture (groups 60xx), each as a mask.

        Raises:
            MalformedDICOM: one does not fit its size, or lies in unused bits of the pixels.
        """
        return overlays_of(self.instance.header(), self.index, (self.rows, self.columns))

    def stored(self) -> Array:
        """Return stored values, rows x columns, integers or floats; colour: x 3 (RGB).

        Palette images give their indices. The array is read-only and kept in a cache of
        limited size. Raises NotAnImage, PixelBudget, MissingCodec, DecodeFailed,
        MalformedDICOM.
        """
        return pixels.frame_cache.get((id(self.instance), self.index), self.instance, self._decode)

    def _decode(self) -> Array:
        if self.tile is None:
            return pixels.decode(self.instance, self.index)
        key = (id(self.instance), "mosaic")
        sheet = pixels.frame_cache.get(key, self.instance, lambda: pixels.decode(self.instance, 0))
        row, column, rows, columns = self.tile
        return sheet[row : row + rows, column : column + columns].copy()

    def values(self) -> Array:
        """Return modality values, rows x columns (PS3.3 C.11.1): HU for CT; colour as stored.

        Integers where slope and intercept are whole numbers, float64 otherwise.
        """
        return self.modality(self.stored())

    def fresh_values(self) -> Array:
        """Return modality values as :meth:`values` does, without the cache of decoded frames."""
        return self.modality(self._decode())

    def values_into(self, out: Array) -> bool:
        """Read whole modality values straight into ``out``; False where they must be decoded.

        ``out`` is of a type that holds all of them; what passes its ends in between comes back.
        """
        whole = self.slope.is_integer() and self.intercept.is_integer()
        if self.color or self.tile is not None or self.table is not None or not whole:
            return False
        if not pixels.decode_into(self.instance, self.index, out):
            return False
        if self.slope != 1:
            out *= int(self.slope)
        if self.intercept:
            out += int(self.intercept)
        return True

    def real_world_values(self, unit: str | None = None) -> Floats:
        """Return the physical quantity that the file maps its stored values to; NaN outside.

        Args:
            unit: UCUM code of one of several mappings, such as "mm2/s".

        Raises:
            NotAnImage: the file has no such mapping, or several and none is named.
        """
        maps = one_map(self, unit)
        stored = self.stored()
        result = np.full(stored.shape, np.nan)
        for entry in maps:  # ranges of one quantity
            part = entry.values(stored)
            result = np.where(np.isnan(result), part, result)
        return result

    def save_png(self, path: str | Path, window: Any = None, bits: int = 8) -> Path:
        """Write the picture as PNG, pixel by pixel; return the path.

        Args:
            path: the file to write.
            window: as for :func:`~s4s_notebook.imaging.render`.
            bits: 8, or 16 for grey levels in 65,536 steps over the window; colour has 8 only.
        """
        from .grey_levels import png

        Path(path).write_bytes(png(self, window, bits))
        return Path(path)

    def modality(self, stored: Array) -> Array:
        """Return modality values for any array of ``stored`` values."""
        if self.color or ((self.slope, self.intercept) == (1.0, 0.0) and self.table is None):
            return stored
        if self.table is not None:
            return self.table.look_up(stored)
        whole = self.slope.is_integer() and self.intercept.is_integer()
        reach = abs(self.slope) * 2.0**self.instance.bits_allocated + abs(self.intercept)
        if whole and stored.dtype.kind in "iu" and reach < 2**31:
            return stored.astype(np.int32) * np.int32(self.slope) + np.int32(self.intercept)
        with np.errstate(over="ignore"):
            return stored * self.slope + self.intercept


def one_map(frame: Frame, unit: str | None) -> list[RealWorldMap]:
    """Return the ranges of a frame's mapping to a quantity. Raises NotAnImage unless it is one."""
    maps = [entry for entry in frame.real_world if unit in (None, entry.unit)]
    if len({(entry.unit, entry.label) for entry in maps}) != 1:
        existing = ", ".join(sorted({f'"{entry.unit}"' for entry in frame.real_world})) or "none"
        raise NotAnImage(
            f"One real world value mapping is needed; the units of this picture's: {existing}.",
            hint="Use values() for the modality values, or name the unit.",
        )
    return maps
