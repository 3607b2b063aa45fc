"""From a file's bytes to an array of stored values, within a budget (PS3.5 section 8)."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, BinaryIO

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
)

from ..errors import MalformedDICOM, MissingCodec, PixelBudget
from ..wording import safe_text
from . import decode_worker
from .dicom_object import DicomObject
from .reader import PARSE_ERRORS, parse
from .windows import Array

#: The most bytes that one decoded frame may take, and how many such frames one object.
FRAME_BUDGET = 512 * 2**20
OBJECT_FRAMES = 64
_LARGE = "Raise s4s_notebook.imaging.pixels.FRAME_BUDGET if you trust the file."
_ODD = "The header cannot be right; .tags() shows what it says."


def check_budget(instance: DicomObject) -> int:
    """Return the size of a decoded frame in bytes; raise PixelBudget when it is too large."""
    if instance.rows < 1 or instance.columns < 1:
        raise PixelBudget(
            f"The image has {instance.rows} rows and {instance.columns} columns.", hint=_ODD
        )
    bits = f"{instance.samples} samples of {instance.bits_stored} in {instance.bits_allocated} bits"
    if instance.samples not in (1, 3, 4) or instance.bits_allocated not in (1, 8, 16, 32, 64):
        raise PixelBudget(f"{bits} a pixel cannot be decoded.", hint=_ODD)
    if not 1 <= instance.bits_stored <= instance.bits_allocated:
        raise PixelBudget(f"{bits} a pixel contradict each other.", hint=_ODD)
    size = (
        instance.rows * instance.columns * instance.samples * max(instance.bits_allocated // 8, 1)
    )
    if size > FRAME_BUDGET or size * instance.declared > OBJECT_FRAMES * FRAME_BUDGET:
        decoded = size * instance.declared / 2**20
        raise PixelBudget(
            f"{instance.declared:,} x {instance.rows:,} x {instance.columns:,} pixels "
            f"take {decoded:,.0f} MiB "
            f"decoded; the limit is {FRAME_BUDGET / 2**20:,.0f} MiB a frame.",
            hint=_LARGE,
        )
    return size


def decode(instance: DicomObject, index: int) -> Array:
    """Return the stored values of a frame: rows x columns, or rows x columns x 3 in RGB.

    Compressed data are decoded in a child process. Raises NotAnImage, MalformedDICOM,
    PixelBudget, MissingCodec, DecodeFailed.
    """
    with instance.open_pixels() as file:
        size = check_budget(instance)
        if instance.compressed:
            array = _decompressed(instance, file, index, size)
        else:
            array = _native(instance, file, index)
    shape: tuple[int, ...] = (instance.rows, instance.columns)
    if instance.samples > 1:
        shape += (instance.samples,)
    if array.shape != shape:
        raise MalformedDICOM(f"Decoding gave {array.shape}, the header says {shape}.")
    return _own_bits(instance, array)[..., :3] if array.ndim == 3 else _own_bits(instance, array)


def _own_bits(instance: DicomObject, array: Array) -> Array:
    """Move the stored bits down where they do not end at bit 0 (HighBit; retired, but met)."""
    shift = instance.high_bit - instance.bits_stored + 1
    if shift <= 0 or instance.compressed or array.dtype.kind not in "iu":
        return array
    if instance.high_bit >= instance.bits_allocated:
        raise MalformedDICOM(f"HighBit is {instance.high_bit} of {instance.bits_allocated} bits.")
    moved = array >> shift
    if not instance.signed:
        moved &= (1 << instance.bits_stored) - 1
    return moved


def _options(instance: DicomObject) -> dict[str, Any]:
    pixels = instance.located()
    shifted = instance.high_bit != instance.bits_stored - 1 and not instance.compressed
    options: dict[str, Any] = {
        "rows": instance.rows,
        "columns": instance.columns,
        "samples_per_pixel": instance.samples,
        "photometric_interpretation": instance.photometric,
        "number_of_frames": 1 if instance.compressed else instance.count,
        "bits_allocated": instance.bits_allocated,
        "bits_stored": instance.bits_allocated if shifted else instance.bits_stored,
        "pixel_representation": int(instance.signed),
        "pixel_keyword": pixels.keyword,
        "pixel_vr": pixels.vr,
    }
    if instance.samples > 1:
        options["planar_configuration"] = instance.planar
    return options


def _native(instance: DicomObject, file: BinaryIO, index: int) -> Array:
    start = file.tell()
    options = _options(instance)
    bits = instance.rows * instance.columns * instance.samples * instance.bits_allocated
    if instance.photometric == "YBR_FULL_422":
        bits = bits // 3 * 2
    need = (bits * (index + 1) + 7) // 8
    have = file.seek(0, os.SEEK_END) - start
    have = min(have, instance.located().length or have)
    if need > have:
        raise MalformedDICOM(f"The pixel data end too early: {have:,} bytes of {need:,}.")
    if instance.syntax in _LITTLE and instance.samples == 1 and instance.bits_allocated in _PLAIN:
        file.seek(start + bits // 8 * index)
        return _plain(instance, file, bits // 8)
    in_order = instance.syntax in _LITTLE or instance.located().vr == "OB"
    if in_order and instance.samples == 1 and instance.bits_allocated == 1:
        return _bits(instance, file, start, bits * index, bits)
    file.seek(start)
    decoder = _decoder(instance.syntax)
    try:
        (array, _), _ = parse(lambda: decoder.as_array(file, index=index, **options))
    except PARSE_ERRORS as error:
        raise MalformedDICOM(f"The pixel data do not fit the header: {error}") from error
    return np.asarray(array)


_LITTLE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_PLAIN = (8, 16, 32)  # bits allocated


def _bits(instance: DicomObject, file: BinaryIO, start: int, first: int, count: int) -> Array:
    """Return a frame of one bit a pixel, lowest bit first; it may begin within a byte."""
    file.seek(start + first // 8)
    data = np.frombuffer(file.read((first % 8 + count + 7) // 8), np.uint8)
    values = np.unpackbits(data, bitorder="little")[first % 8 : first % 8 + count]
    return values.reshape(instance.rows, instance.columns)


def decode_into(instance: DicomObject, index: int, out: Array) -> bool:
    """Read a frame of whole numbers straight into an array; False where it must be decoded.

    Only pixel data that lie in the file as the array has them are read so; all others, and any
    that are too short, go through :func:`decode`, which says what is wrong.
    """
    bits = instance.bits_allocated
    if (
        instance.path is None
        or instance.syntax not in _LITTLE
        or instance.samples != 1
        or instance.high_bit != instance.bits_stored - 1
        or instance.located().keyword != "PixelData"
        or (out.dtype.kind, out.dtype.itemsize * 8) != ("i", bits)
        or out.shape != (instance.rows, instance.columns)
    ):
        return False
    check_budget(instance)
    with instance.open_pixels() as file:
        file.seek(out.nbytes * index, os.SEEK_CUR)
        room = instance.located().length or 0
        if out.nbytes * (index + 1) > room or file.readinto(out.reshape(-1).view(np.uint8)) != (  # type: ignore[attr-defined]
            out.nbytes
        ):
            return False
    own = out if instance.signed else out.view(f"<u{out.dtype.itemsize}")
    if unused := bits - instance.bits_stored:
        own <<= unused
        own >>= unused
    return True


def _plain(instance: DicomObject, file: BinaryIO, size: int) -> Array:
    """Return the values of one frame without colour, little endian, as they lie in the file."""
    kind = "f" if instance.located().keyword != "PixelData" else "i" if instance.signed else "u"
    data = np.empty(size, np.uint8)
    if file.readinto(data) != size:  # type: ignore[attr-defined]
        raise MalformedDICOM("The pixel data end too early.")
    values: Array = data.view(f"<{kind}{instance.bits_allocated // 8}")
    values = values.reshape(instance.rows, instance.columns)
    unused = instance.bits_allocated - instance.bits_stored
    if kind != "f" and unused and instance.high_bit == instance.bits_stored - 1:
        values <<= unused  # the sign, and no overlays that lie above it
        values >>= unused
    return values


def _decompressed(instance: DicomObject, file: BinaryIO, index: int, size: int) -> Array:
    syntax = instance.syntax
    if syntax == JPEGExtended12Bit and instance.bits_stored > 8:
        syntax = JPEGLosslessSV1  # GDCM reads 12 bits too, but pydicom lets it only under this name
    decoder = _decoder(syntax)
    try:
        frame, _ = parse(
            lambda: get_frame(file, index, number_of_frames=instance.count, **_offsets(instance))
        )
    except PARSE_ERRORS as error:
        raise MalformedDICOM(f"Frame {index + 1} is not in the compressed data.") from error
    check_codestream(frame, instance, size)
    if not decoder.is_available:
        raise MissingCodec(f"Nothing installed decodes {UID(instance.syntax).name}.")
    return decode_worker.worker.decode(syntax, _options(instance), frame, size)


def _offsets(instance: DicomObject) -> dict[str, Any]:
    header = instance.header() if instance.count > 1 else Dataset()
    keywords = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    if any(keyword not in header for keyword in keywords):
        return {}
    return {"extended_offsets": tuple(header[keyword].value for keyword in keywords)}


def _decoder(syntax: str) -> Decoder:
    try:
        return parse(lambda: get_decoder(UID(syntax)))[0]
    except NotImplementedError as error:
        raise MissingCodec(
            f"The transfer syntax {safe_text(syntax, 64)} is not known.",
            hint="The header can be read all the same: use .tags().",
        ) from error


# JPEG and JPEG-LS: start of frame markers; C4, C8 and CC are something else.
_BOMB = "Nothing was decoded. The file contradicts itself: ask whoever made it."
_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def check_codestream(frame: bytes, instance: DicomObject, size: int) -> None:
    """Raise PixelBudget when ``frame`` holds more pixels than ``instance`` declares."""
    declared = dimensions(frame)
    if declared is None:
        if len(frame) > 2 * size + 2**16:
            raise PixelBudget(
                f"{len(frame):,} compressed bytes for {size:,} decoded ones.", hint=_BOMB
            )
        return
    rows, columns = declared
    if rows * columns > instance.rows * instance.columns:
        raise PixelBudget(
            f"The compressed image has {columns:,} x {rows:,} pixels, "
            f"the header says {instance.columns:,} x {instance.rows:,}.",
            hint=_BOMB,
        )
    if declared != (instance.rows, instance.columns):
        raise MalformedDICOM(
            f"The compressed image has {columns:,} x {rows:,} pixels, "
            f"the header says {instance.columns:,} x {instance.rows:,}."
        )


def dimensions(frame: bytes) -> tuple[int, int] | None:
    """Return rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream declares, else None."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC, then SIZ; after the JP2 boxes, if any
    if at < 0 or len(frame) < at + 24:
        return None
    x1, y1, x0, y0 = (
        int.from_bytes(frame[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4)
    )
    return y1 - y0, x1 - x0


def _jpeg(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _SOF:
            return int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(
                frame[at + 7 : at + 9], "big"
            )
        if marker == 0xFF:  # fill byte
            at += 1
        else:
            at += 2 + max(int.from_bytes(frame[at + 2 : at + 4], "big"), 2)
    return None


class FrameCache:
    """Keeps arrays up to ``limit`` bytes, dropping those not used for longest. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[weakref.ref[object], Array]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, owner: object, make: Callable[[], Array]) -> Array:
        """Return the array cached for ``key`` by ``owner``, else the one that ``make`` returns."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0]() is owner:
                self._kept.move_to_end(key)
                return kept[1]
        array = make()
        array.flags.writeable = False
        self._keep(key, owner, array)
        return array

    def _keep(self, key: Hashable, owner: object, array: Array) -> None:
        with self._lock:
            old = self._kept.pop(key, None)
            self._bytes -= old[1].nbytes if old else 0
            if array.nbytes > self.limit:
                return
            self._kept[key] = (weakref.ref(owner), array)
            self._bytes += array.nbytes
            while self._bytes > self.limit:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes


frame_cache = FrameCache(128 * 2**20)
