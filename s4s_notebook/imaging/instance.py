"""A DICOM instance with its frames: their position, grey scale and windows."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ..errors import InvalidArgument, InvalidDICOM, NotAnImage
from ..tracebacks import methods_without_variables, without_variables
from ..wording import safe_text
from .acquisition import read_acquisition
from .attributes import AttributeReader, FunctionalGroups, lookup_table, real_world_maps, windows
from .dicom_object import DicomObject
from .frame import Frame, Padding, Triple
from .grey_levels import Greys, shown
from .lengths import read_scales, spatial_spacing
from .mosaic import is_mosaic, unfolded
from .reader import NATIVE, Header, read_header
from .structure import PIXEL_KEYWORDS, PixelLocation
from .windows import Table

#: Segmentations, label maps, structure sets and doses: they lie on the pictures of a series.
OVER_PICTURES = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.481.2",
)


@methods_without_variables
class Instance(DicomObject):
    """A DICOM object with its frames.

    Attributes:
        frames: the pictures that it holds; empty for an object without any.
    """

    frames: tuple[Frame, ...]

    @classmethod
    def from_path(cls, path: Path, *, force: bool = False) -> Instance:
        """Read a file's header. Raises InvalidDICOM or MalformedDICOM."""
        try:
            header = read_header(path, force=force)
        except FileNotFoundError as error:
            raise InvalidDICOM(f"There is no file {path}.", hint="Check the path.") from error
        except OSError as error:
            hint = "Check that it is a file that you may read."
            raise InvalidDICOM(f"{path.name}: {error.strerror}.", hint=hint) from error
        return cls(header, path, force=force)

    @classmethod
    def from_dataset(cls, dataset: Dataset) -> Instance:
        """Describe a Dataset that is in memory; its pixel data stay where they are."""
        meta = getattr(dataset, "file_meta", None)
        syntax = str(meta.get("TransferSyntaxUID", "")) if meta else ""
        pixels = None
        for keyword in PIXEL_KEYWORDS.values():
            if keyword in dataset:
                element = dataset[keyword]
                room = len(element.value or b"")
                length = room if syntax in NATIVE else None
                vr = "OB" if element.VR == "OB" else "OW"
                pixels = PixelLocation(keyword, vr, 0, length, room)
        return cls(Header(dataset, pixels, syntax, ()), None)

    def _describe(self, attributes: AttributeReader) -> None:
        super()._describe(attributes)
        self.frames = build_frames(self, attributes) if self.count else ()
        if not self.frames and "Image Storage" in self.kind:
            self.kind += " without pixel data"


def build_frames(instance: DicomObject, reader: AttributeReader) -> tuple[Frame, ...]:
    """Build all frames of an instance."""
    groups = FunctionalGroups(reader)
    if not groups:  # a cine: what holds for one frame holds for all
        first = _of_detector(reader, _frame(instance, reader, groups, 0))
        if is_mosaic(first) and (tiles := unfolded(reader, first)):
            return tiles
        places = _dose_positions(instance, reader, first) or _slice_positions(
            instance, reader, first
        )
        vectors = _vectors(instance, reader)
        return tuple(
            replace(
                first,
                index=index,
                position=places[index] if places else first.position,
                acquisition=first.acquisition._replace(
                    dimensions=tuple(vector[index] for vector in vectors) or None
                ),
            )
            for index in range(instance.count)
        )
    segments = _segments(reader)
    result: list[Frame] = []
    alike: Frame | None = None  # a frame with no groups of its own but its place
    for index in range(instance.count):
        placed_only = groups.own(index) <= _PLACE_GROUPS
        if alike is not None and placed_only:
            result.append(replace(alike, index=index, position=_position(reader, groups, index)))
            continue
        frame = _frame(instance, reader, groups, index)
        item = groups.of("SegmentIdentificationSequence", index)
        number = reader.number("ReferencedSegmentNumber", item) if item else None
        segment = "" if number is None else segments.get(number, f"segment {number:g}")
        result.append(replace(frame, segment=segment))
        alike = result[-1] if placed_only else alike
    return tuple(result)


_PLACE_GROUPS = {Tag("PlanePositionSequence")}


def _position(reader: AttributeReader, groups: FunctionalGroups, index: int) -> Triple | None:
    """Return the position of the first pixel of frame ``index``."""
    item = groups.of("PlanePositionSequence", index)
    values = reader.numbers("ImagePositionPatient", item, least=3)
    return None if values is None else (values[0], values[1], values[2])


def _segments(reader: AttributeReader) -> dict[float | None, str]:
    """Read the labels of a segmentation's segments, by number (PS3.3 C.8.20.4)."""
    total = reader.items("SegmentSequence")
    labels = [safe_text(reader.get("SegmentLabel", entry) or "", 64) for entry in total]
    numbers = [reader.number("SegmentNumber", entry) for entry in total]
    # The number too where two have one label: they must not be taken for one.
    twice = {label for label in labels if labels.count(label) > 1 or not label}
    return {
        number: f"{label} segment {number:g}".strip() if label in twice else label
        for number, label in zip(numbers, labels, strict=True)
        if number is not None
    }


def _frame(
    instance: DicomObject, reader: AttributeReader, groups: FunctionalGroups, index: int
) -> Frame:
    voi = groups.of("FrameVOILUTSequence", index)
    orientation = reader.numbers(
        "ImageOrientationPatient", groups.of("PlaneOrientationSequence", index), least=6
    )
    scales = read_scales(reader, groups, index, instance.modality)
    spacing = spatial_spacing(scales)
    slope, intercept, table, unit = _scale(reader, instance, groups, index)
    floats = instance.pixels is not None and instance.pixels.keyword != "PixelData"
    whole = slope.is_integer() and intercept.is_integer()
    fractional = table is None and (floats or not whole)
    return Frame(
        instance,
        index,
        slope=slope,
        intercept=intercept,
        table=table,
        unit=unit,
        windows=windows(reader, voi, fractional=fractional),
        real_world=real_world_maps(reader, groups.of("RealWorldValueMappingSequence", index)),
        spacing=spacing,
        scales=scales,
        aspect=_aspect(reader, spacing),
        position=_position(reader, groups, index),
        orientation=None if orientation is None else orientation[:6],
        padding=_padding(reader, instance),
        acquisition=read_acquisition(reader, groups, index),
    )


def _dose_positions(
    instance: DicomObject, reader: AttributeReader, first: Frame
) -> list[Triple] | None:
    """Return the position of each plane of a dose grid (PS3.3 C.8.8.3.2), else None.

    GridFrameOffsetVector counts from the first plane along the normal, or, where it does not
    begin with 0, states the planes' own z.
    """
    offsets = reader.numbers("GridFrameOffsetVector") if instance.modality == "RTDOSE" else None
    if offsets is None or first.position is None or first.orientation is None:
        return None
    if len(offsets) < instance.count:
        reader.report("GridFrameOffsetVector", len(offsets), f"there are {instance.count} frames")
        return None
    row, column = first.orientation[:3], first.orientation[3:]
    direction = (0.0, 0.0, 1.0) if offsets[0] else np.cross(row, column).tolist()
    return [
        tuple(p + (entry - offsets[0]) * d for p, d in zip(first.position, direction, strict=True))
        for entry in offsets
    ]


def _of_detector(reader: AttributeReader, first: Frame) -> Frame:
    """Return the first frame with the position that a tomogram states for its detector.

    Reconstructed tomograms alone have one (PS3.3 C.8.4.15); projections are of no plane.
    """
    detectors = reader.items("DetectorInformationSequence")
    if first.position is not None or not detectors or "RECON" not in reader.text("ImageType"):
        return first
    orientation = reader.numbers("ImageOrientationPatient", detectors[0], least=6)
    position = reader.numbers("ImagePositionPatient", detectors[0], least=3)
    if orientation is None or position is None:
        return first
    place = (position[0], position[1], position[2])
    return replace(first, position=place, orientation=orientation[:6])


def _vectors(instance: DicomObject, reader: AttributeReader) -> list[tuple[float, ...]]:
    """Return what tells the frames of nuclear medicine apart beside their slice (C.8.4.8)."""
    if instance.modality != "NM":
        return []
    read = [reader.numbers(f"{name}Vector") for name in _VECTORS]
    return [
        vector
        for vector in read
        if vector is not None and len(vector) == instance.count and len(set(vector)) > 1
    ]


_VECTORS = ("EnergyWindow", "Detector", "Phase", "RRInterval", "TimeSlot", "TimeSlice")


def _slice_positions(
    instance: DicomObject, reader: AttributeReader, first: Frame
) -> list[Triple] | None:
    """Return the position of each slice of a tomogram (PS3.3 C.8.4.15), else None.

    SliceVector numbers the slices; SpacingBetweenSlices is positive along the normal.
    """
    numbers = reader.numbers("SliceVector")
    if instance.modality != "NM" or first.position is None or first.orientation is None:
        return None
    step = reader.number("SpacingBetweenSlices") or reader.number("SliceThickness")
    if numbers is None or len(numbers) < instance.count or not step:
        reader.report("SliceVector", "", "does not say where the slices are")
        return None
    row, column = first.orientation[:3], first.orientation[3:]
    normal = np.cross(row, column)
    places = np.array(first.position) + np.outer(np.array(numbers) - 1, step * normal)
    return [(float(x), float(y), float(z)) for x, y, z in places]


def _aspect(reader: AttributeReader, spacing: tuple[float, float] | None) -> float:
    """Return height by width of a pixel, by the spacing or as the file states it."""
    if spacing:
        return spacing[0] / spacing[1]
    ratio = reader.numbers("PixelAspectRatio", least=2, positive=True)
    return ratio[0] / ratio[1] if ratio else 1.0


def _scale(
    reader: AttributeReader, instance: DicomObject, groups: FunctionalGroups, index: int
) -> tuple[float, float, Table | None, str]:
    """Slope, intercept, Modality LUT and unit of one frame."""
    item = groups.of("PixelValueTransformationSequence", index)
    for lut in reader.items("ModalityLUTSequence"):
        if table := lookup_table(reader, lut):
            return 1.0, 0.0, table, _unit(reader.get("ModalityLUTType", lut), "")
    slope, intercept = reader.number("RescaleSlope", item), reader.number("RescaleIntercept", item)
    if slope == 0:
        reader.report("RescaleSlope", slope, "0 would make all values equal; 1 is used")
        slope = None
    scaling = reader.number("DoseGridScaling")
    if scaling and instance.modality == "RTDOSE":
        return scaling, 0.0, None, _unit(reader.get("DoseUnits"), "").capitalize()
    hounsfield = instance.modality == "CT" and slope is not None and not instance.localizer
    default = "HU" if hounsfield else ""
    unit = _unit(reader.get("RescaleType", item) or reader.get("Units"), default)
    return 1.0 if slope is None else slope, intercept or 0.0, None, unit


def _unit(stated: object, default: str) -> str:
    text = safe_text(stated or "", 16).strip()
    return default if text.upper() in ("", "US", "UNSPECIFIED") else _RESCALE_TYPES.get(text, text)


#: RescaleType (0028,1054), PS3.3 C.11.1.1.2, where the term is no unit to read: thousandths of
#: optical density, ...
_RESCALE_TYPES = {"OD": "10^-3 OD", "MGML": "mg/ml", "PCT": "%", "ED": "10^23 e/ml", "EDW": "N/Nw"}


def _padding(reader: AttributeReader, instance: DicomObject) -> Padding | None:
    value = reader.number("PixelPaddingValue")
    if value is None or instance.samples > 1:
        return None
    limit = reader.number("PixelPaddingRangeLimit")
    ends = sorted(
        _as_stored(entry, instance) for entry in (value, value if limit is None else limit)
    )
    return Padding(ends[0], ends[1])


def _as_stored(value: float, instance: DicomObject) -> int:
    """Read padding as the pixels are read: it is often written with the wrong sign."""
    number, full = int(value), 1 << min(max(instance.bits_allocated, 1), 64)
    if instance.signed and number >= full // 2:
        return number - full
    return number + full if not instance.signed and number < 0 else number


@without_variables
def render(image: Frame | Instance | Dataset | Path | str, window: Any = None) -> Greys:
    """Return what a viewer shows: uint8, rows x columns, or rows x columns x 3 for colour.

    ``image`` is a :class:`Frame`; of an :class:`Instance`, a pydicom Dataset or a path the first
    frame is shown.
    ``window`` is as for :func:`~s4s_notebook.imaging.windows.chosen`: by default the image's
    first window or VOI LUT, or from the smallest to the largest value where it has none.

    Raises InvalidDICOM, NotAnImage, PixelBudget, MissingCodec, DecodeFailed, MalformedDICOM;
    ValueError for an unknown window, TypeError for what is no image.

    >>> from pydicom.data import get_testdata_file
    >>> render(get_testdata_file("CT_small.dcm"), "bone")[0, :3]
    array([0, 0, 0], dtype=uint8)
    >>> render(get_testdata_file("examples_rgb_color.dcm")).shape
    (240, 320, 3)
    """
    return shown(_as_frame(image), window)


def _as_frame(image: Frame | Instance | Dataset | Path | str) -> Frame:
    if isinstance(image, Frame):
        return image
    if isinstance(image, Instance):
        instance = image
    elif isinstance(image, Dataset):
        instance = Instance.from_dataset(image)
    elif isinstance(image, str | os.PathLike):
        instance = Instance.from_path(Path(image).expanduser())
    else:
        raise InvalidArgument(
            "render() takes a frame (study.series[0].frames[0]), an instance, a pydicom Dataset "
            f"or a path, not {type(image).__name__}."
        )
    if not instance.frames:
        raise NotAnImage(f"This is no image but: {instance.kind}.")
    return instance.frames[0]
