"""Lengths in a picture: the scale of each part of it, where that comes from, and what it measures.

A pixel of a cut has its size in the body. A projection has one at the detector, at the body or
on the film (PS3.3 10.7.1); ultrasound has one for each region, in that region's units (C.8.5.5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from .attributes import AttributeReader, FunctionalGroups

_PROJECTIONS = {"CR", "DX", "IO", "MG", "OT", "PX", "RF", "RG", "RTIMAGE", "SC", "XA"}
#: PhysicalUnitsXDirection (0018,6024); a length in cm is given in mm.
_PHYSICAL = {
    1: "%", 2: "dB", 3: "mm", 4: "s", 5: "Hz", 6: "dB/s", 7: "cm/s", 8: "cm2", 9: "cm2/s",
    10: "cm3", 11: "cm3/s", 12: "degree",
}  # fmt: skip
_CALIBRATED = {
    "FIDUCIAL": "calibrated on an object in the picture",
    "GEOMETRY": "corrected for magnification",
}
_NO_SCALE = "no calibration here"
_SAME = 1e-3  # spacings that differ by less are one


@dataclass(frozen=True, slots=True)
class Scale:
    """What a pixel measures in a picture, or in a region of it.

    Attributes:
        down, across: the size of a pixel in ``units``, 0 where there is none.
        units: down and across: "mm", "s", "cm/s", ...; "" where there is none.
        origin: "body"; "calibrated" or "detector" or "film" for projections; "unstated" where a
            projection has a spacing and does not say at which depth.
        note: the same for a person to read, "" for a size in the body.
        region: first and last column and row of an ultrasound region, None for the whole picture.
        low: whether a region of high priority goes before this one where they overlap.
    """

    down: float
    across: float
    units: tuple[str, str] = ("mm", "mm")
    origin: str = "body"
    note: str = ""
    region: tuple[int, int, int, int] | None = None
    low: bool = False

    @property
    def spatial(self) -> bool:
        """Whether both ways are mm."""
        return self.units == ("mm", "mm")

    def holds(self, point: Sequence[float]) -> bool:
        """Return whether a point (column, row) lies in the region."""
        if self.region is None:
            return True
        left, right, top, bottom = self.region
        return left - 0.5 <= point[0] < right + 0.5 and top - 0.5 <= point[1] < bottom + 0.5


@dataclass(frozen=True, slots=True)
class Length:
    """A distance in a picture.

    Attributes:
        parts: value and unit; across and down apart where the units differ, as in a Doppler strip.
        origin: see :class:`Scale`; "none" for pixels.
        note: what to know about it: "estimated at the patient (÷ 1.8)", "at the detector".
    """

    parts: tuple[tuple[float, str], ...]
    origin: str
    note: str = ""

    @property
    def value(self) -> float:
        """The first, and most often only, value."""
        return self.parts[0][0]

    @property
    def unit(self) -> str:
        """The unit of :attr:`value`."""
        return self.parts[0][1]

    def __str__(self) -> str:
        words = ", ".join(f"{value:.4g} {unit}" for value, unit in self.parts)
        return f"{words} ({self.note})" if self.note else words


def measured_length(
    scales: Sequence[Scale], start: Sequence[float], end: Sequence[float], aspect: float = 1.0
) -> Length:
    """Return the distance of two points (column, row) by the scale in which both lie.

    Args:
        scales: those of the picture.
        start: one end; whole numbers are the centres of pixels.
        end: the other end.
        aspect: height of a pixel divided by its width, for a distance in pixels.

    Returns:
        A distance in the scale's units, or in pixels (of a column's width) where none holds both.
    """
    across, down = abs(end[0] - start[0]), abs(end[1] - start[1])
    scale = scale_at(scales, start, end)
    if scale is None:
        return Length(((math.hypot(across, down * aspect), "px"),), "none", _NO_SCALE)
    if scale.spatial:
        size = math.hypot(across * scale.across, down * scale.down)
        return Length(((size, "mm"),), scale.origin, scale.note)
    parts = ((across * scale.across, scale.units[1]), (down * scale.down, scale.units[0]))
    return Length(tuple(part for part in parts if part[1]), scale.origin, scale.note)


def scale_at(scales: Sequence[Scale], *points: Sequence[float]) -> Scale | None:
    """Return the scale of a picture at all of some points (column, row); None where they differ.

    Where regions overlap, one of high priority goes first, then the smallest.
    """
    of_points = [
        min((scale for scale in scales if scale.holds(point)), key=_rank, default=None)
        for point in points
    ]
    first = of_points[0]
    return first if first is not None and any(first.units) and _all_same(of_points) else None


def scale_of_pixels(scales: Sequence[Scale], rows: Any, columns: Any) -> Scale | None:
    """Return the scale that holds at every one of some pixels; None where there are two, or none.

    Args:
        scales: those of the picture.
        rows: the row of each pixel, an array.
        columns: the column of each pixel.
    """
    left = np.ones(np.shape(rows), np.bool_)
    result: Scale | None = None
    for scale in sorted(scales, key=_rank):
        mine = left
        if scale.region is not None:
            first, last, top, bottom = scale.region
            mine = left & (columns >= first) & (columns <= last) & (rows >= top) & (rows <= bottom)
        if mine.any():
            if result is not None or not any(scale.units):
                return None
            result, left = scale, left & ~mine
    return None if left.any() else result


def _all_same(scales: Sequence[Scale | None]) -> bool:
    return all(scale is scales[0] for scale in scales)


def _rank(scale: Scale) -> tuple[bool, int]:
    if scale.region is None:
        return scale.low, 0
    left, right, top, bottom = scale.region
    return scale.low, (right - left) * (bottom - top)


def read_scales(
    reader: AttributeReader, groups: FunctionalGroups, index: int, modality: str
) -> tuple[Scale, ...]:
    """Read the scales of frame ``index``: the ultrasound regions', or one for the picture."""
    regions = reader.items("SequenceOfUltrasoundRegions")
    if regions:
        columns, rows = reader.whole("Columns"), reader.whole("Rows")
        read = (_region(reader, region, columns, rows) for region in regions)
        return tuple(scale for scale in read if scale is not None)
    one = _of_picture(reader, groups, index, modality)
    return () if one is None else (one,)


def spatial_spacing(scales: Sequence[Scale]) -> tuple[float, float] | None:
    """Return mm between rows and between columns where one scale in mm holds for a picture."""
    sizes = {(scale.down, scale.across) for scale in scales if scale.spatial}
    return sizes.pop() if len(sizes) == 1 else None


def _region(reader: AttributeReader, region: Dataset, columns: int, rows: int) -> Scale | None:
    """Read an ultrasound region; one that is not known holds its place without a unit."""
    corners = [
        reader.number(f"RegionLocation{name}", region)
        for name in ("MinX0", "MaxX1", "MinY0", "MaxY1")
    ]
    if None in corners:
        reader.report("SequenceOfUltrasoundRegions", "", "a region without a place")
        return None
    left, right, top, bottom = (int(value or 0) for value in corners)
    place = max(left, 0), min(right, columns - 1), max(top, 0), min(bottom, rows - 1)
    sizes, units = [], []
    for axis in "YX":
        unit = _PHYSICAL.get(int(reader.number(f"PhysicalUnits{axis}Direction", region) or 0), "")
        size = abs(reader.number(f"PhysicalDelta{axis}", region) or 0.0)
        sizes.append(size * 10 if unit == "mm" else size)
        units.append(unit if size else "")
    flags = int(reader.number("RegionFlags", region) or 0)
    known = any(units)
    return Scale(
        sizes[0], sizes[1], (units[0], units[1]), "body" if known else "none",
        "" if known else _NO_SCALE, place, bool(flags & 1),
    )  # fmt: skip


def _of_picture(
    reader: AttributeReader, groups: FunctionalGroups, index: int, modality: str
) -> Scale | None:
    isocentre = groups.of("ProjectionPixelCalibrationSequence", index)
    if isocentre is not None and (
        size := _pair(reader, "ObjectPixelSpacingInCenterOfBeam", isocentre)
    ):
        return Scale(*size, origin="calibrated", note="at the isocentre")
    measures = groups.of("PixelMeasuresSequence", index)
    spacing = _pair(reader, "PixelSpacing", measures) or _pair(reader, "PixelSpacing")
    detector = _pair(reader, "ImagerPixelSpacing")
    film = _pair(reader, "NominalScannedPixelSpacing")
    if spacing and modality not in _PROJECTIONS:
        return Scale(*spacing)
    if spacing:
        stated = reader.text("PixelSpacingCalibrationType").upper()
        if stated in _CALIBRATED:
            return Scale(*spacing, origin="calibrated", note=_CALIBRATED[stated])
        other = detector or film
        if other is None:
            return Scale(*spacing, origin="unstated", note="the file does not say at which depth")
        if any(abs(a - b) > _SAME * b for a, b in zip(spacing, other, strict=True)):
            return Scale(*spacing, origin="calibrated", note="corrected (method not stated)")
    if detector:
        return _at_patient(reader, detector)
    if film:
        return Scale(*film, origin="film", note="on the film")
    plane = _pair(reader, "ImagePlanePixelSpacing")
    return None if plane is None else _at_isocentre(reader, plane)


def _pair(
    reader: AttributeReader, keyword: str, item: Dataset | None = None
) -> tuple[float, float] | None:
    """Return the two sizes of an element, None where it has none above 0."""
    result = reader.numbers(keyword, item, least=2, positive=True)
    return None if result is None else (result[0], result[1])


def _at_patient(reader: AttributeReader, detector: tuple[float, float]) -> Scale:
    """Return the spacing at the detector divided by the magnification, where the file has one."""
    factor = reader.number("EstimatedRadiographicMagnificationFactor")
    if factor is None:
        source = reader.number("DistanceSourceToDetector")
        patient = reader.number("DistanceSourceToPatient")
        factor = source / patient if source and patient and patient > 0 else None
    if factor is None or factor <= 1:
        return Scale(*detector, origin="detector", note="at the detector; the body part is smaller")
    down, across = (size / factor for size in detector)
    note = f"estimated at the patient (÷ {factor:.3g})"
    return Scale(down, across, origin="body", note=note)


def _at_isocentre(reader: AttributeReader, plane: tuple[float, float]) -> Scale:
    """Return the spacing of a portal image at the machine's axis (PS3.3 C.8.8.2)."""
    axis, distance = reader.number("RadiationMachineSAD"), reader.number("RTImageSID")
    if not axis or not distance or min(axis, distance) <= 0:
        return Scale(*plane, origin="detector", note="at the image plane")
    down, across = (size * axis / distance for size in plane)
    return Scale(down, across, origin="body", note="at the isocentre")
