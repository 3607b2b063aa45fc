"""Read how a picture was acquired: what distinguishes it from others at the same position.

Sources: PS3.3 C.8.3.1 (MR), C.8.13.5 (enhanced MR), C.8.9.4 (PET), C.7.6.16.2.2 (frame content),
and the private elements in which Siemens, GE, Philips and UIH store the b-value.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from pydicom.dataset import Dataset

from .attributes import AttributeReader, FunctionalGroups
from .reader import PARSE_ERRORS

# (group, element) of the b-value and of the gradient direction along patient axes (LPS).
_SIEMENS, _PHILIPS, _UIH = (0x0019, 0x100C), (0x2001, 0x1003), (0x0065, 0x1009)
_GE = (0x0043, 0x1039)
_UIH_GRID = (0x0065, 0x1050)
_SIEMENS_DIRECTION = (0x0019, 0x100E)
_PHILIPS_DIRECTION = ((0x2005, 0x10B0), (0x2005, 0x10B1), (0x2005, 0x10B2))
_GE_COMPLEX = {0.0: "M", 1.0: "P", 2.0: "R", 3.0: "I"}  # (0043,102F)
_POSITION_POINTERS = {0x00209056, 0x00209057, 0x00200032}  # stack, position in stack, position
_LARGEST_B = 100_000.0  # s/mm²; larger numbers are no b-values


class Acquisition(NamedTuple):
    """How a picture was acquired; None where the header does not say.

    Attributes:
        kind: values 3 and up of ImageType or FrameType, such as "M" or "ADC".
        echo_number: EchoNumbers (0018,0086).
        echo_time: in ms; inversion_time: in ms; flip_angle: in degrees.
        b_value: in s/mm²; direction: of the diffusion gradient, patient coordinates (LPS).
        temporal_position: TemporalPositionIdentifier or TemporalPositionIndex, from 1.
        frame_reference_time: in ms from the start of the series; trigger_time: in ms.
        acquisition_number: AcquisitionNumber (0020,0012).
        acquisition_clock, content_clock: in s; only differences have a meaning.
        dimensions: DimensionIndexValues of an enhanced object, without those of the position.
    """

    kind: str | None = None
    echo_number: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    flip_angle: float | None = None
    b_value: float | None = None
    direction: tuple[float, ...] | None = None
    temporal_position: float | None = None
    frame_reference_time: float | None = None
    trigger_time: float | None = None
    acquisition_number: float | None = None
    acquisition_clock: float | None = None
    content_clock: float | None = None
    dimensions: tuple[float, ...] | None = None


def read_acquisition(reader: AttributeReader, groups: FunctionalGroups, index: int) -> Acquisition:
    """Return how frame ``index`` was acquired, by its functional groups or the top level."""
    content = groups.of("FrameContentSequence", index)
    echo = groups.of("MREchoSequence", index)
    timing = groups.of("MRTimingAndRelatedParametersSequence", index)
    cardiac = groups.of("CardiacSynchronizationSequence", index)
    modifier = groups.of("MRModifierSequence", index)
    b_value, direction = _diffusion(reader, groups.of("MRDiffusionSequence", index))
    number = reader.number

    def of_content(keyword: str, plain: str) -> float | None:
        value = number(keyword, content) if content else None
        return number(plain) if value is None else value

    return Acquisition(
        kind=_kind(reader, groups, index),
        echo_number=number("EchoNumbers"),
        echo_time=number("EffectiveEchoTime", echo) if echo else number("EchoTime"),
        inversion_time=number("InversionTimes", modifier) if modifier else number("InversionTime"),
        flip_angle=number("FlipAngle", timing) if timing else number("FlipAngle"),
        b_value=b_value,
        direction=direction,
        temporal_position=of_content("TemporalPositionIndex", "TemporalPositionIdentifier"),
        frame_reference_time=number("FrameReferenceTime"),
        trigger_time=number("NominalCardiacTriggerDelayTime", cardiac)
        if cardiac
        else number("TriggerTime"),
        acquisition_number=of_content("FrameAcquisitionNumber", "AcquisitionNumber"),
        acquisition_clock=_clock(reader, content, "FrameAcquisitionDateTime", "Acquisition"),
        content_clock=_clock(reader, None, "", "Content"),
        dimensions=_dimensions(reader, content),
    )


def _kind(reader: AttributeReader, groups: FunctionalGroups, index: int) -> str | None:
    """Return the kind of picture; Siemens' number of the echo is none."""
    for keyword in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence"):
        if item := groups.of(keyword, index):
            values = reader.get("FrameType", item)
            break
    else:
        values = reader.get("ImageType")
    parts = [values] if isinstance(values, str) else list(values or ())
    kind = [str(part).strip() for part in parts[2:]]
    kind = [part for part in kind if part and not part.upper().startswith("ECHO_")]
    complex_part = _GE_COMPLEX.get(_private(reader, (0x0043, 0x102F)) or 0.0, "M")
    if complex_part != "M":
        kind.append(complex_part)
    if (_private(reader, _UIH_GRID) or 0.0) > 1:  # UIH's mosaic
        kind.append("MOSAIC")
    return "\\".join(kind) or None


def _diffusion(
    reader: AttributeReader, item: Dataset | None
) -> tuple[float | None, tuple[float, ...] | None]:
    """Return b-value and gradient direction, standard elements first, then the vendors' own."""
    b_value = reader.number("DiffusionBValue", item)
    nested = reader.items("DiffusionGradientDirectionSequence", item)
    direction = reader.numbers("DiffusionGradientOrientation", nested[0] if nested else item)
    for tag in (_SIEMENS, _PHILIPS, _UIH):
        if b_value is None:
            b_value = _private(reader, tag)
    if b_value is None and (value := _private(reader, _GE)) is not None:
        b_value = value - 1e9 if value >= 1e9 else value  # 1000000750 stands for 750
    if b_value is not None and not 0 <= b_value <= _LARGEST_B:
        b_value = None
    if direction is None:
        direction = _privates(reader, _SIEMENS_DIRECTION, 3)
    if direction is None:
        parts = [_private(reader, tag) for tag in _PHILIPS_DIRECTION]
        direction = tuple(part for part in parts if part is not None)
    return b_value, direction if direction and len(direction) == 3 and any(direction) else None


def _private(reader: AttributeReader, tag: tuple[int, int]) -> float | None:
    values = _privates(reader, tag, 1)
    return values[0] if values else None


def _privates(
    reader: AttributeReader, tag: tuple[int, int], count: int
) -> tuple[float, ...] | None:
    """Return the first ``count`` numbers of a private element; in implicit VR they are bytes."""
    try:
        element = reader.dataset.get(tag)
    except PARSE_ERRORS:  # what is damaged says nothing of diffusion
        return None
    return private_numbers(None if element is None else element.value, count)


def private_numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Return the first ``count`` numbers of a value, also where it came as bytes."""
    try:
        if isinstance(value, bytes):
            value = _of_bytes(value)
        if value is None or value == "":
            return None
        parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        numbers = tuple(float(part) for part in parts[:count])
    except PARSE_ERRORS:  # no numbers
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _of_bytes(value: bytes) -> list[Any]:
    """Return the numbers in bytes: text with backslashes, doubles, or one float."""
    text = value.rstrip(b"\0 ")
    if text and not text.strip(b"0123456789+-.eE\\ "):
        return text.decode("ascii").split("\\")
    if len(value) % 8 == 0:
        return list(struct.unpack(f"<{len(value) // 8}d", value))
    return list(struct.unpack("<f", value)) if len(value) == 4 else []


def _clock(
    reader: AttributeReader, content: Dataset | None, in_content: str, name: str
) -> float | None:
    """Return a date and time in seconds; a time without a date counts from midnight."""
    for keyword, item in ((in_content, content), (f"{name}DateTime", None)):
        if (keyword and item is not None) or keyword == "AcquisitionDateTime":
            value = datetime_seconds(str(reader.get(keyword, item) or ""))
            if value is not None:
                return value
    return clock_seconds(reader.text(f"{name}Date"), reader.text(f"{name}Time"))


def datetime_seconds(text: str) -> float | None:
    """Return seconds of a DT value (PS3.5 6.2) with a time, None for what is not one.

    The offset from UTC is left out: other elements state the same local time.
    """
    if len(text.strip()) < 14:
        return None
    return clock_seconds(text[:8], text[8:].split("+")[0].split("-")[0])


def clock_seconds(day: str, time: str) -> float | None:
    """Return seconds of a DA and a TM value (PS3.5 6.2), None for what is not one."""
    digits, _, fraction = time.strip().replace(":", "").partition(".")
    if not digits.isascii() or not digits.isdigit() or len(digits) not in (2, 4, 6):
        return None
    hours, minutes, seconds = (int(digits[at : at + 2] or 0) for at in (0, 2, 4))
    result = hours * 3600.0 + minutes * 60 + seconds
    if fraction.isascii() and fraction.isdigit():
        result += float(f"0.{fraction}")
    try:
        return result + date.fromisoformat(day.strip()).toordinal() * 86400.0
    except ValueError:
        return result


def _dimensions(reader: AttributeReader, content: Dataset | None) -> tuple[float, ...] | None:
    """Return the dimension index values that do not tell the position (PS3.3 C.7.6.17)."""
    values = reader.numbers("DimensionIndexValues", content) if content else None
    if values is None:
        return None
    pointers = [
        reader.number("DimensionIndexPointer", item)
        for item in reader.items("DimensionIndexSequence")
    ]
    if len(pointers) != len(values):
        return None
    pairs = zip(pointers, values, strict=True)
    return tuple(v for p, v in pairs if p is None or int(p) not in _POSITION_POINTERS) or None
