"""The first elements of a DICOM file, read without building a dataset.

A study may have thousands of instances and each is checked before it is filed, so this reads
only what identifies it (DICOM PS3.10 §7.1 File Meta Information, PS3.5 §7 Data Element
structure) and stops at Series Instance UID. Nothing here trusts a length: each is compared with
what is there. Memory is constant, nesting is counted and not recursed into.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import InvalidDICOM, MalformedDICOM

_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG_FORM = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_HEADS = {order: struct.Struct(f"{order}HH2sH") for order in "<>"}
_LENGTHS = {order: struct.Struct(f"{order}I") for order in "<>"}
_ITEM_END, _SEQUENCE_END = 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LAST = 0x0020000E
_TAGS = {0x00080016, 0x00080018, 0x00100020, 0x0020000D, _LAST}
_META_TAGS = {0x00020002, 0x00020003, 0x00020010}
_INFLATE_LIMIT = 1 << 20
_DEEPEST = 64
#: Programs and archives: DOS, ELF, scripts, zip, Mach-O, Java, gzip, bzip2, 7z, xz, rar, PDF, OLE,
#: Android, ar, WebAssembly, Windows links.
_EXECUTABLE = (
    *(b"MZ", b"\x7fELF", b"#!", b"PK\x03\x04", b"PK\x05\x06", b"\xfe\xed\xfa\xce"),
    *(b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"),
    *(b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"\xfd7zXZ", b"Rar!", b"%PDF", b"\xd0\xcf\x11\xe0"),
    *(b"dex\n", b"!<arch>", b"\0asm", b"L\0\0\0\x01\x14\x02"),
)
_MARKUP = re.compile(rb"\s*<(!doctype|html|script|svg|\?xml|\?php|body|head)", re.IGNORECASE)


class InstanceHeader(NamedTuple):
    """The elements that identify an instance, as written; "" where one is missing."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    patient_id: str
    meta_sop_uid: str
    meta_sop_class: str
    transfer_syntax: str


class TooShort(Exception):  # noqa: N818 - between two modules, never shown
    """The bytes given end before the elements that identify the instance."""


def executable(preamble: bytes) -> bool:
    """Return whether the 128 bytes before ``DICM`` start a program, archive or web page."""
    return preamble.startswith(_EXECUTABLE) or _MARKUP.match(preamble) is not None


def read_header(data: memoryview, size: int | None = None) -> InstanceHeader:
    """Read the elements that identify an instance.

    Args:
        data: the bytes of the file, mapped or read, or its beginning.
        size: bytes of the complete file where ``data`` is only its beginning.

    Raises:
        InvalidDICOM: no ``DICM`` at byte 128.
        MalformedDICOM: it contradicts itself before Series Instance UID.
        TooShort: more of the file is needed; never where all of it was given.
    """
    size = len(data) if size is None else size
    if len(data) < 132 or bytes(data[128:132]) != b"DICM":
        raise InvalidDICOM("The bytes are not a DICOM file: there is no DICM at byte 128.")
    meta: dict[int, str] = {}
    body = 132
    for tag, start, length in _elements(data, 132, size, explicit=True, order="<", only=2):
        body = start + length
        if tag in _META_TAGS:
            meta[tag] = _text(data, start, length)
    syntax = meta.get(0x00020010, "")
    content, position = data, body
    if syntax == _DEFLATED:
        if len(data) < size:
            raise TooShort
        content, position = memoryview(_inflate(data[body:])), 0
        size = len(content)
    values: dict[int, str] = {}
    explicit, order = syntax != _IMPLICIT, ">" if syntax == _BIG_ENDIAN else "<"
    for tag, start, length in _elements(content, position, size, explicit=explicit, order=order):
        if tag in _TAGS:
            values[tag] = _text(content, start, length)
        if tag >= _LAST:
            break
    return InstanceHeader(
        study_uid=values.get(0x0020000D, ""),
        series_uid=values.get(_LAST, ""),
        sop_uid=values.get(0x00080018, ""),
        sop_class=values.get(0x00080016, ""),
        patient_id=values.get(0x00100020, ""),
        meta_sop_uid=meta.get(0x00020003, ""),
        meta_sop_class=meta.get(0x00020002, ""),
        transfer_syntax=syntax,
    )


def _elements(
    data: memoryview, at: int, size: int, *, explicit: bool, order: str, only: int | None = None
) -> Iterator[tuple[int, int, int]]:
    """Yield top-level elements (of group ``only``): tag, start of the value, its length."""
    depth, never = 0, _DEEPEST + 1
    implicit_above = never if explicit else -1
    while at + 8 <= size:
        tag, vr, length, at = _element(data, at, size, depth <= implicit_above, order)
        if only not in (None, tag >> 16):
            return
        if tag in (_ITEM_END, _SEQUENCE_END):
            depth -= 1
            if explicit and depth <= implicit_above:
                implicit_above = never
        elif length == _UNDEFINED:
            if vr == b"UN":  # what follows is implicit: PS3.5 §6.2.2
                implicit_above = min(implicit_above, depth)
            depth += 1
        elif at + length > size:
            raise MalformedDICOM("An element is longer than the file.")
        else:
            if depth == 0:
                yield tag, at, length
            at += length
        if not 0 <= depth <= _DEEPEST:
            raise MalformedDICOM("Sequences are nested too deeply, or end before they begin.")


def _element(
    data: memoryview, at: int, size: int, explicit: bool, order: str
) -> tuple[int, bytes, int, int]:
    """Return tag, VR or "", declared length and start of the value of the element at ``at``."""
    if at + 12 > len(data) < size:
        raise TooShort
    group, element, vr, short = _HEADS[order].unpack_from(data, at)
    if group == 0xFFFE or not explicit or not (vr.isalpha() and vr.isupper()):
        return group << 16 | element, b"", _LENGTHS[order].unpack_from(data, at + 4)[0], at + 8
    if vr not in _LONG_FORM:
        return group << 16 | element, vr, short, at + 8
    if at + 12 > len(data):
        raise MalformedDICOM("The file ends within an element.")
    return group << 16 | element, vr, _LENGTHS[order].unpack_from(data, at + 8)[0], at + 12


def _text(data: memoryview, start: int, length: int) -> str:
    """Return the value of an element, at most 256 bytes of it."""
    end = start + min(length, 256)
    if end > len(data):  # within the file, as the length was compared with its size
        raise TooShort
    return bytes(data[start:end]).decode("latin-1").strip("\0 ")


def _inflate(data: memoryview) -> bytes:
    """Return the start of a deflated dataset, at most 1 MB, whatever it would expand to."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _INFLATE_LIMIT)
    except zlib.error as error:
        raise MalformedDICOM("The deflated dataset cannot be inflated.") from error
