"""Palette colour: indices into three tables (PS3.3 C.7.6.3.1.5-6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from ..errors import MalformedDICOM
from .files import ODD, parse
from .windows import Array

_CHANNELS = ("Red", "Green", "Blue")


def colors(header: Dataset, stored: Array) -> NDArray[np.uint8]:
    """RGB, rows x columns x 3, for indices. Raises MalformedDICOM for a damaged palette."""
    try:
        found, _ = parse(lambda: _colors(header, stored))
    except ODD as error:
        raise MalformedDICOM("The palette is missing or damaged.") from error
    return found


def _colors(header: Dataset, stored: Array) -> NDArray[np.uint8]:
    if "SegmentedRedPaletteColorLookupTableData" in header:
        return eight_bits(apply_color_lut(stored, header)[..., :3])
    return np.stack([_channel(header, stored, channel) for channel in _CHANNELS], axis=-1)


def _channel(header: Dataset, stored: Array, channel: str) -> NDArray[np.uint8]:
    length, first, bits = header[f"{channel}PaletteColorLookupTableDescriptor"].value
    data = header[f"{channel}PaletteColorLookupTableData"].value
    length = length or 65536
    if len(data) < 2 * length:  # two entries a word
        table: Array = np.frombuffer(data, np.uint8, length)
    else:  # pydicom gives the bytes as they stand in the file
        little = header.original_encoding[1] is not False
        table = np.frombuffer(data, "<u2" if little else ">u2", length)
        if bits > 8 or table.max() > 255:
            table = table >> 8
    index = np.clip(stored.astype(np.int64) - first, 0, length - 1)
    return np.asarray(table[index].astype(np.uint8))


def eight_bits(color: Array) -> NDArray[np.uint8]:
    """Colour of 8, 16 or 32 bits a sample, by its highest 8 bits."""
    return (color >> (8 * (color.dtype.itemsize - 1))).astype(np.uint8)
