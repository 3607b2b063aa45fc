"""DICOM files made byte by byte, so that every field can be wrong on purpose."""

from __future__ import annotations

import random
import struct
import zlib

STUDY = "1.2.826.0.1.3680043.9.7777.1"
SERIES = f"{STUDY}.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT"}


def element(tag: int, vr: bytes, value: bytes, *, explicit=True, order="<", length=None) -> bytes:
    pad = b"\0" if vr == b"UI" else b" "
    value += pad * (len(value) % 2)
    size = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack(order + "I", size) + value
    if vr in _LONG:
        return head + vr + b"\0\0" + struct.pack(order + "I", size) + value
    return head + vr + struct.pack(order + "H", size) + value


def make(
    sop: str = f"{SERIES}.1",
    *,
    study: str = STUDY,
    series: str = SERIES,
    patient: str = "P1",
    meta_sop: str | None = None,
    meta_class: str = CT,
    preamble: bytes = b"",
    syntax: str = EXPLICIT,
    size: int = 64,
    before_uids: bytes = b"",
    after_uids: bytes = b"",
    seed: int = 0,
    pixels: bytes | None = None,
) -> bytes:
    """A CT instance with these pixels, else ``size`` random bytes of them."""
    meta = (
        element(0x00020001, b"OB", b"\0\1")
        + element(0x00020002, b"UI", meta_class.encode())
        + element(0x00020003, b"UI", (sop if meta_sop is None else meta_sop).encode())
        + element(0x00020010, b"UI", syntax.encode())
    )
    meta = element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta
    how = {"explicit": syntax != IMPLICIT, "order": ">" if syntax == BIG else "<"}
    block = random.Random(f"{sop}{seed}").randbytes(min(size, 1 << 20))
    if pixels is None:
        pixels = (block * (size // len(block) + 1))[:size] if block else b""
    body = (
        element(0x00080016, b"UI", CT.encode(), **how)
        + element(0x00080018, b"UI", sop.encode(), **how)
        + element(0x00080060, b"CS", b"CT", **how)
        + element(0x00100010, b"PN", b"Canary^Name", **how)
        + element(0x00100020, b"LO", patient.encode(), **how)
        + before_uids
        + element(0x0020000D, b"UI", study.encode(), **how)
        + element(0x0020000E, b"UI", series.encode(), **how)
        + after_uids
        + element(0x7FE00010, b"OW", pixels, **how)
    )
    if syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return preamble.ljust(128, b"\0") + b"DICM" + meta + body


def study_of(count: int, size: int = 64) -> dict[str, bytes]:
    """``{SOP Instance UID: file}`` in two series."""
    made = {}
    for number in range(1, count + 1):
        series = f"{STUDY}.{1 + number % 2}"
        made[f"{series}.{number}"] = make(f"{series}.{number}", series=series, size=size)
    return made


def sop(number: int) -> str:
    return f"{SERIES}.{number}"


def chunks(data: bytes, size: int = 1000):
    return (data[at : at + size] for at in range(0, len(data), size))
