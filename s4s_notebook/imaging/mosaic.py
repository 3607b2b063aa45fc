"""Unfold a Siemens mosaic: the slices of a volume side by side in one picture.

The number of slices and the direction from one to the next are in Siemens' own elements; the
position is that of a picture of the sheet's size around the first slice.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import replace
from typing import Any

import numpy as np

from .acquisition import private_numbers
from .attributes import AttributeReader
from .frame import Frame
from .geometry import normal
from .windows import Floats

_MOST = 4096  # tiles, and elements of a CSA header
_NUMBER = r"\s*=\s*(-?[\d.]+(?:e-?\d+)?)"


def is_mosaic(frame: Frame) -> bool:
    """Return whether a frame is a sheet of several slices."""
    return frame.tile is None and "MOSAIC" in (frame.acquisition.kind or "").split("\\")


def unfolded(reader: AttributeReader, sheet: Frame) -> tuple[Frame, ...]:
    """Return the slices of a mosaic, or nothing, with a problem, where the file does not say."""
    amount = _amount(reader)
    side = math.ceil(math.sqrt(amount)) if amount else 0
    if not amount or sheet.rows % side or sheet.columns % side:
        reader.report("NumberOfImagesInMosaic", amount or "", "does not divide the mosaic")
        return ()
    rows, columns = sheet.rows // side, sheet.columns // side
    if not _of_size(reader, rows, columns):
        reader.report("AcquisitionMatrixText", "", f"is not {rows} x {columns}")
        return ()
    step = reader.number("SpacingBetweenSlices")
    if step is None:
        step = reader.number("SliceThickness")
        reader.report("SpacingBetweenSlices", "", "absent; SliceThickness was used")
    if not step or sheet.position is None or sheet.orientation is None or sheet.spacing is None:
        reader.report("ImagePositionPatient", "", "the slices of the mosaic have no place")
        return ()
    along, down = np.array(sheet.orientation[:3]), np.array(sheet.orientation[3:])
    first = (
        np.array(sheet.position)
        + along * sheet.spacing[1] * (sheet.columns - columns) / 2
        + down * sheet.spacing[0] * (sheet.rows - rows) / 2
    )
    through = _direction(reader, sheet, amount) * step
    places = first + np.outer(np.arange(amount), through)
    return tuple(
        replace(
            sheet,
            index=at,
            tile=(at // side * rows, at % side * columns, rows, columns),
            position=(float(place[0]), float(place[1]), float(place[2])),
        )
        for at, place in enumerate(places)
    )


def slice_times(reader: AttributeReader) -> tuple[float, ...] | None:
    """Return when each slice of a mosaic was acquired, in ms from the first; None if not stated."""
    count = _amount(reader)
    element = reader.dataset.get((0x0019, 0x1029))
    return private_numbers(element.value, count) if element is not None and count else None


def _amount(reader: AttributeReader) -> int:
    """Return the number of slices, 0 where the file does not say."""
    element = reader.dataset.get((0x0019, 0x100A))
    number = private_numbers(element.value, 1) if element is not None else None
    if element is not None and isinstance(element.value, bytes) and len(element.value) == 2:
        number = struct.unpack("<H", element.value)
    number = number or csa_numbers(_bytes(reader, 0x1010), "NumberOfImagesInMosaic")[:1]
    if not number:
        text = re.search(r"sSliceArray\.lSize" + _NUMBER, _protocol(reader))
        number = (float(text[1]),) if text else (0.0,)
    return int(number[0]) if 1 < number[0] <= _MOST else 0


def _of_size(reader: AttributeReader, rows: int, columns: int) -> bool:
    """Return whether the matrix that Siemens writes as text is that of a slice, or is absent."""
    element = reader.dataset.get((0x0051, 0x100B))
    value = b"" if element is None else element.value
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    size = re.match(r"(\d+)[^*]*\*\s*(\d+)", text.strip())
    if size is None or "I" in text.upper():  # interpolated
        return True
    return {int(size[1]), int(size[2])} <= {rows, columns}


def _direction(reader: AttributeReader, sheet: Frame, amount: int) -> Floats:
    """Return the unit vector from a slice to the next (LPS)."""
    stated = csa_numbers(_bytes(reader, 0x1010), "SliceNormalVector")
    through = normal(sheet.orientation or ())
    if len(stated) < 3:
        ends = [_protocol_position(_protocol(reader), at) for at in (0, amount - 1)]
        stated = tuple(b - a for a, b in zip(*ends, strict=True)) if all(ends) else ()
    if len(stated) < 3 or not any(stated):
        reader.report("SliceNormalVector", "", "absent: the slices are taken along the normal")
        return through
    return through if float(np.dot(stated[:3], through)) >= 0 else -through


def _protocol(reader: AttributeReader) -> str:
    """Return Siemens' protocol, which is text within the CSA series header."""
    return _bytes(reader, 0x1020).decode("latin-1")


def _protocol_position(text: str, at: int) -> tuple[float, ...]:
    """Return the position of a slice by the protocol, which leaves zeros out; () without one."""
    name = rf"sSliceArray\.asSlice\[{at}\]\.sPosition\."
    if not re.search(name, text):
        return ()
    found = [re.search(name + axis + _NUMBER, text) for axis in ("dSag", "dCor", "dTra")]
    return tuple(float(match[1]) if match else 0.0 for match in found)


def _bytes(reader: AttributeReader, element: int) -> bytes:
    found: Any = reader.dataset.get((0x0029, element))
    value = b"" if found is None else found.value
    return value if isinstance(value, bytes) else b""


def csa_numbers(data: bytes, name: str) -> tuple[float, ...]:
    """Return the numbers of an element in a Siemens CSA header of version 2; () without them."""
    if data[:4] != b"SV10":
        return ()
    try:
        [total] = struct.unpack_from("<I", data, 8)
        at = 16
        for _ in range(min(total, _MOST)):
            title, _, _, _, count = struct.unpack_from("<64si4sii", data, at)
            at += 84
            values = []
            for _ in range(min(count, _MOST)):
                length = struct.unpack_from("<4i", data, at)[1]
                values.append(data[at + 16 : at + 16 + length].split(b"\0")[0].strip())
                at += 16 + (length + 3) // 4 * 4
            if title.split(b"\0")[0].decode("latin-1") == name:
                return tuple(float(value) for value in values if value)
    except (struct.error, ValueError):  # damaged, so it says nothing
        pass
    return ()
