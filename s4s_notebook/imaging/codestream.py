"""Look at a compressed frame's own size before any codec does.

A file of a few kilobytes can declare 65,535 x 65,535 pixels inside its JPEG, whatever its
DICOM header says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import MalformedDICOM, PixelBudget

if TYPE_CHECKING:
    from .instance import Instance

# JPEG and JPEG-LS: start of frame markers; C4, C8 and CC are something else.
_BOMB = "Nothing was decoded. The file contradicts itself: ask whoever made it."
_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def check(frame: bytes, instance: Instance, size: int) -> None:
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
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream declares, else None."""
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC, then SIZ; after the JP2 boxes, if any
    if at < 0 or len(frame) < at + 24:
        return None
    right, bottom, left, top = (
        int.from_bytes(frame[at + 8 + 4 * n : at + 12 + 4 * n], "big") for n in range(4)
    )
    return bottom - top, right - left


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
