"""From a frame to what a screen shows: the grey-level pipeline of PS3.3 C.11, PS3.14 apart.

stored → Modality LUT or rescale → VOI LUT or window, from white to black for MONOCHROME1 →
truncated to 0-255. Truncated, not rounded, as DCMTK does. Padding is black.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from ..errors import DICOMError, InvalidArgument, MalformedDICOM
from .dicom_object import DicomObject
from .reader import PARSE_ERRORS, parse
from .windows import Array, Choice, Floats, Window, chosen, spread

Greys = NDArray[np.uint8]


class Picture(Protocol):
    """What :class:`~s4s_notebook.imaging.frame.Frame` offers to be shown."""

    @property
    def color(self) -> bool: ...  # noqa: D102
    @property
    def photometric(self) -> str: ...  # noqa: D102
    @property
    def windows(self) -> tuple[Choice, ...]: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def padding(self) -> tuple[int, int] | None: ...  # noqa: D102
    @property
    def instance(self) -> DicomObject: ...  # noqa: D102
    def stored(self) -> Array: ...  # noqa: D102
    def modality(self, stored: Array) -> Array: ...  # noqa: D102


def shown(frame: Picture, window: Any = None) -> Greys:
    """Return what a viewer shows of a frame: see :func:`~s4s_notebook.imaging.render`."""
    stored = frame.stored()
    if frame.photometric == "PALETTE COLOR":
        return colors(frame.instance.header(), stored)
    if frame.color:
        return eight_bits(stored)
    choice = choose(frame, window)
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2 and stored.size > 2**15:
        kind = np.iinfo(stored.dtype)  # a table of all values is quicker than each pixel
        table = _grey(frame, np.arange(kind.min, kind.max + 1), choice)
        return np.asarray(table[stored.astype(np.int32) - kind.min])
    return _grey(frame, stored, choice)


def png(frame: Picture, window: Any = None, bits: int = 8) -> bytes:
    """Return the picture as a PNG of 8 bits, or of 16 for grey levels in 65,536 steps.

    Raises ValueError for another depth, or 16 bits of colour; and what :func:`shown` raises.
    """
    if bits not in (8, 16) or (bits == 16 and frame.color):
        raise InvalidArgument("bits is 8, or 16 for pictures without colour.")
    if bits == 8:
        picture = shown(frame, window)
    else:
        picture = _levels(frame, frame.stored(), choose(frame, window), 65535).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "png")
    return out.getvalue()


def choose(frame: Picture, window: Any = None) -> Choice:
    """Return the window that :func:`shown` uses for ``window``; decodes when it must measure."""
    choice = chosen(window, frame.windows, frame.unit)
    return measured(frame) if choice is None else choice


def measured(frame: Picture) -> Choice:
    """Return the window from the smallest to the largest value inside the image."""
    stored = frame.stored()
    if frame.padding is not None:
        low, high = frame.padding
        stored = stored[(stored < low) | (stored > high)]
    return spread(frame.modality(stored))


def shared_range(frames: Sequence[Picture]) -> Window | None:
    """Return one window for all frames of a series whose file states none; None where it does.

    For PET from 0 to the 99.5th percentile of all slices, for MR from the 1st to the 99th, for
    others from the smallest to the largest value. Of many slices, 64 are measured, or 16 where
    they are compressed.
    """
    if frames[0].color or any(frame.windows for frame in frames):
        return None
    most = 16 if frames[0].instance.compressed else 64
    step = max(1, -(-len(frames) // most))
    samples = [part for frame in frames[::step] if (part := _sample(frame)).size]
    if not samples:
        return None
    values = np.concatenate(samples)
    ends = _PERCENTILES.get(frames[0].instance.modality)
    if ends is None:
        return replace(spread(values), name=_SERIES)
    low, high = (float(end) for end in np.percentile(values, ends))
    low = min(0.0, low) if ends[0] == 0.0 else low
    if high <= low:  # nearly all is background
        return replace(spread(values), name=_SERIES)
    return Window((low + high) / 2, high - low, "LINEAR_EXACT", _SERIES)


_SERIES = "of the series"
_PERCENTILES = {"PT": (0.0, 99.5), "MR": (1.0, 99.0)}


def _sample(frame: Picture) -> Array:
    """Return finite modality values of a frame, at most some 65,000; none where it is damaged."""
    try:
        stored = frame.stored()
    except DICOMError:  # which is shown in its place
        return np.empty(0)
    step = max(1, int((stored.size / 2**16) ** 0.5))
    stored = stored[::step, ::step]
    if frame.padding is not None:
        low, high = frame.padding
        stored = stored[(stored < low) | (stored > high)]
    values = frame.modality(stored).ravel()
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _grey(frame: Picture, stored: Array, choice: Choice) -> Greys:
    return np.asarray(_levels(frame, stored, choice, 255).astype(np.uint8))


def _levels(frame: Picture, stored: Array, choice: Choice, white: int) -> Floats:
    """Return grey levels from 0 to ``white``; padding is black."""
    ends = (float(white), 0.0) if frame.photometric == "MONOCHROME1" else (0.0, float(white))
    levels = choice.levels(frame.modality(stored), *ends)
    greys = np.nan_to_num(levels, nan=0.0).clip(0, white)
    if frame.padding is not None:
        low, high = frame.padding
        greys[(stored >= low) & (stored <= high)] = 0
    return np.asarray(greys, np.float64)


_CHANNELS = ("Red", "Green", "Blue")


def colors(header: Dataset, stored: Array) -> NDArray[np.uint8]:
    """Return RGB, rows x columns x 3, for indices. Raises MalformedDICOM for a damaged palette."""
    try:
        result, _ = parse(lambda: _colors(header, stored))
    except PARSE_ERRORS as error:
        raise MalformedDICOM("The palette is missing or damaged.") from error
    return result


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
    """Reduce colour of 8, 16 or 32 bits a sample to its highest 8 bits."""
    return (color >> (8 * (color.dtype.itemsize - 1))).astype(np.uint8)
