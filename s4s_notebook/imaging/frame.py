"""One picture: a frame of a DICOM object, with its place in the body and its grey scale."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from . import cache, pixels
from .facts import Groups, Reader, lookup_table, windows
from .instance import Instance
from .windows import Array, Choice, Table
from .words import plain

Triple = tuple[float, float, float]


class Padding(NamedTuple):
    """Stored values from ``low`` to ``high`` lie outside the image (PS3.3 C.7.5.1.1.2)."""

    low: int
    high: int


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame; nothing is decoded before :meth:`stored` is called.

    Attributes:
        instance: the DICOM object; index: which of its frames, from 0.
        slope, intercept: modality value = slope · stored + intercept; 1 and 0 with a table.
        table: the Modality LUT, None where slope and intercept are used.
        unit: of the modality values ("HU", "BQML", "Gy"), "" when not stated.
        windows: the image's own windows and VOI LUTs; the first is the default.
        spacing: (between rows, between columns) in mm, None when not stated.
        aspect: height of a pixel divided by its width.
        position: of the first pixel's centre, (x, y, z) in mm, patient coordinates (LPS).
        orientation: direction cosines of a row, then of a column; six numbers.
        padding: stored values that are not part of the image.
        phase: what tells it from frames at the same place; see :func:`geometry.stacks`.
    """

    instance: Instance
    index: int
    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = field(default=None, repr=False)
    unit: str = ""
    windows: tuple[Choice, ...] = field(default=(), repr=False)
    spacing: tuple[float, float] | None = None
    aspect: float = 1.0
    position: Triple | None = None
    orientation: tuple[float, ...] | None = None
    padding: Padding | None = None
    phase: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """Stable name of the frame: SOP Instance UID, "/", frame number from 1."""
        return f"{self.instance.sop_uid}/{self.index + 1}"

    @property
    def rows(self) -> int:
        return self.instance.rows

    @property
    def columns(self) -> int:
        return self.instance.columns

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
        one = self.instance
        parts = [one.modality, one.description]
        if one.number is not None:
            parts.append(f"image {one.number:g}")
        if one.count > 1:
            parts.append(f"frame {self.index + 1} of {one.count}")
        return " · ".join(part for part in parts if part)

    def stored(self) -> Array:
        """Stored values, rows x columns, integers or floats; colour: rows x columns x 3, RGB.

        Palette images give their indices. The array is read-only and kept in a cache of
        limited size. Raises NotAnImage, PixelBudget, MissingCodec, DecodeFailed,
        MalformedDICOM.
        """
        return cache.frames.get((id(self.instance), self.index), self.instance, self._decode)

    def _decode(self) -> Array:
        return pixels.decode(self.instance, self.index)

    def values(self) -> Array:
        """Modality values, rows x columns (PS3.3 C.11.1): HU for CT; colour as stored.

        Integers where slope and intercept are whole numbers, float64 otherwise.
        """
        return self.modality(self.stored())

    def modality(self, stored: Array) -> Array:
        """Modality values for any array of ``stored`` values."""
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


def frames(instance: Instance, reader: Reader) -> tuple[Frame, ...]:
    """All frames of an instance."""
    groups = Groups(reader)
    if not groups:  # a cine: what holds for one frame holds for all
        first = _frame(instance, reader, groups, 0)
        return tuple(replace(first, index=index) for index in range(instance.count))
    return tuple(_frame(instance, reader, groups, index) for index in range(instance.count))


def _frame(instance: Instance, reader: Reader, groups: Groups, index: int) -> Frame:
    voi = groups.of("FrameVOILUTSequence", index)
    orientation = reader.numbers(
        "ImageOrientationPatient", groups.of("PlaneOrientationSequence", index), least=6
    )
    position = reader.numbers(
        "ImagePositionPatient", groups.of("PlanePositionSequence", index), least=3
    )
    spacing, aspect = _spacing(reader, groups.of("PixelMeasuresSequence", index))
    slope, intercept, table, unit = _scale(reader, instance, groups, index)
    return Frame(
        instance,
        index,
        slope=slope,
        intercept=intercept,
        table=table,
        unit=unit,
        windows=windows(reader, voi),
        spacing=spacing,
        aspect=aspect,
        position=None if position is None else (position[0], position[1], position[2]),
        orientation=None if orientation is None else orientation[:6],
        padding=_padding(reader, instance),
        phase=_phase(reader, groups.of("FrameContentSequence", index)),
    )


def _spacing(reader: Reader, measures: Dataset | None) -> tuple[tuple[float, float] | None, float]:
    """Spacing in mm, and the aspect ratio even where there is no spacing."""
    for keyword in ("PixelSpacing", "NominalScannedPixelSpacing", "ImagerPixelSpacing"):
        found = reader.numbers(keyword, measures, least=2, positive=True)
        if found:
            return (found[0], found[1]), found[0] / found[1]
    regions = reader.items("SequenceOfUltrasoundRegions")
    scales = {scale for region in regions if (scale := _region(reader, region))}
    if len(scales) == 1:  # one for the whole picture
        down, across = scales.pop()
        return (down, across), down / across
    ratio = reader.numbers("PixelAspectRatio", least=2, positive=True)
    return None, ratio[0] / ratio[1] if ratio else 1.0


def _region(reader: Reader, region: Dataset) -> tuple[float, float] | None:
    """The scale of an ultrasound region, down and across in mm a pixel; None if not spatial."""
    keywords = ("PhysicalDeltaY", "PhysicalDeltaX")
    units = {reader.get(f"PhysicalUnits{axis}Direction", region) for axis in "XY"}
    down, across = (abs(reader.number(one, region) or 0) * 10 for one in keywords)
    return (down, across) if down and across and units == {3} else None  # 3 is cm


def _scale(
    reader: Reader, instance: Instance, groups: Groups, index: int
) -> tuple[float, float, Table | None, str]:
    """Slope, intercept, Modality LUT and unit of one frame."""
    item = groups.of("PixelValueTransformationSequence", index)
    for lut in reader.items("ModalityLUTSequence"):
        if table := lookup_table(reader, lut):
            return 1.0, 0.0, table, _unit(reader.get("ModalityLUTType", lut), "")
    slope, intercept = reader.number("RescaleSlope", item), reader.number("RescaleIntercept", item)
    if slope == 0:
        reader.odd("RescaleSlope", slope, "0 would make all values equal; 1 is used")
        slope = None
    scaling = reader.number("DoseGridScaling")
    if scaling and instance.modality == "RTDOSE":
        return scaling, 0.0, None, _unit(reader.get("DoseUnits"), "").capitalize()
    default = "HU" if instance.modality == "CT" and slope is not None else ""
    unit = _unit(reader.get("RescaleType", item) or reader.get("Units"), default)
    return 1.0 if slope is None else slope, intercept or 0.0, None, unit


def _unit(stated: object, default: str) -> str:
    text = plain(stated or "", 16).strip()
    return default if text.upper() in ("", "US", "UNSPECIFIED") else text


def _padding(reader: Reader, instance: Instance) -> Padding | None:
    value = reader.number("PixelPaddingValue")
    if value is None or instance.samples > 1:
        return None
    limit = reader.number("PixelPaddingRangeLimit")
    ends = sorted(_as_stored(one, instance) for one in (value, value if limit is None else limit))
    return Padding(ends[0], ends[1])


def _as_stored(value: float, instance: Instance) -> int:
    """Padding is often written with the wrong sign: read it as the pixels are read."""
    number, full = int(value), 1 << min(max(instance.bits_allocated, 1), 64)
    if instance.signed and number >= full // 2:
        return number - full
    return number + full if not instance.signed and number < 0 else number


def _phase(reader: Reader, content: Dataset | None) -> tuple[float, ...]:
    """What tells apart frames at the same place: temporal position, echo, acquisition."""
    index = reader.number("TemporalPositionIndex", content) if content else None
    keywords = ("TemporalPositionIdentifier", "EchoNumbers", "AcquisitionNumber")
    return tuple(index if index is not None else reader.number(k) or 0.0 for k in keywords)
