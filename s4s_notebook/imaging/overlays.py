"""Overlays (groups 6000 to 601E, PS3.3 C.9.2): graphics that lie on a picture, one bit a pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from ..errors import MalformedDICOM
from ..wording import safe_text
from .reader import PARSE_ERRORS, parse
from .regions import Bits


@dataclass(frozen=True, eq=False)
class Overlay:
    """An overlay on a picture.

    Attributes:
        group: 0x6000, 0x6002, ...; label, description: as the file has them.
        kind: "graphics", or "region" of interest (0x60xx,0040).
        mask: bool, rows x columns of the picture.
    """

    group: int
    label: str
    description: str
    kind: str
    mask: Bits = field(repr=False)


def overlays_of(header: Dataset, index: int, shape: tuple[int, int]) -> tuple[Overlay, ...]:
    """Return the overlays of frame ``index`` of a picture of (rows, columns).

    Raises:
        MalformedDICOM: an overlay's data do not fit its size, or lie in the unused bits of the
            pixel data, which the standard retired in 2004 and which are not read.
    """
    try:
        return parse(lambda: _overlays(header, index, shape))[0]
    except PARSE_ERRORS as error:
        raise MalformedDICOM(f"The overlays are damaged ({type(error).__name__}).") from error


def _overlays(header: Dataset, index: int, shape: tuple[int, int]) -> tuple[Overlay, ...]:
    result = []
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0010) not in header:
            continue
        if (group, 0x3000) not in header:
            raise MalformedDICOM(
                f"The overlay {group:04X} lies in the bits of the pixel data, or is missing.",
                hint="Leave overlays=True out to see the picture without it.",
            )
        mask = _mask(header, group, index, shape)
        if mask is None:
            continue
        kind = "region" if _value(header, group, 0x0040) == "R" else "graphics"
        label, words = _value(header, group, 0x1500), _value(header, group, 0x0022)
        result.append(
            Overlay(group, safe_text(label or "", 64), safe_text(words or "", 64), kind, mask)
        )
    return tuple(result)


def _value(header: Dataset, group: int, element: int) -> Any:
    entry = header.get((group, element))
    return None if entry is None else entry.value


def _mask(header: Dataset, group: int, index: int, shape: tuple[int, int]) -> Bits | None:
    """Return one overlay on its picture; None where it is not of this frame."""
    rows, columns = int(_value(header, group, 0x0010)), int(_value(header, group, 0x0011))
    frames = int(_value(header, group, 0x0015) or 1)
    first = int(_value(header, group, 0x0051) or 1) - 1
    at = index - first if frames > 1 or (group, 0x0051) in header else 0
    if not 0 <= at < frames:
        return None
    size = rows * columns
    data = np.frombuffer(_value(header, group, 0x3000), np.uint8)
    if rows <= 0 or columns <= 0 or data.size * 8 < size * (at + 1):
        raise MalformedDICOM(f"The overlay {group:04X} is shorter than its {rows} x {columns}.")
    first_bit = size * at
    part = data[first_bit // 8 : (first_bit + size + 7) // 8]
    bits = np.unpackbits(part, bitorder="little")[first_bit % 8 : first_bit % 8 + size]
    own = bits.reshape(rows, columns).astype(np.bool_)
    top, left = (int(part) - 1 for part in _value(header, group, 0x0050) or (1, 1))
    result = np.zeros(shape, np.bool_)
    down, across = max(top, 0), max(left, 0)
    inside = own[down - top : shape[0] - top, across - left : shape[1] - left]
    result[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return result
