"""Walk a DICOM file's structure before pydicom does (PS3.5 section 7).

pydicom recurses into nested sequences and takes what it gets at the end of a file. This
walk keeps its own short stack, so that a file that contradicts itself ends in
:class:`MalformedDICOM` and never in RecursionError, and so that the place of the pixel data
is known without reading it.
"""

from __future__ import annotations

from typing import BinaryIO, Literal, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from ..errors import MalformedDICOM

DEEPEST = 64
MOST_ELEMENTS = 2_000_000
UNDEFINED = 0xFFFFFFFF
PIXEL_KEYWORDS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_BULK = {b"OB", b"OW", b"OD", b"OF"}


class PixelLocation(NamedTuple):
    """Where the pixel data lie: ``length`` is None for encapsulated (compressed) data.

    ``room`` is the number of bytes from ``offset`` to the end of the file.
    """

    keyword: str
    vr: str
    offset: int
    length: int | None
    room: int


class _Level(NamedTuple):
    end: int | None  # where it ends, None when a delimiter ends it
    implicit: bool
    kind: str  # "dataset", "sequence" or "fragments"


class _Element(NamedTuple):
    tag: int
    vr: bytes
    length: int
    value: int


def locate_pixels(
    file: BinaryIO, start: int, size: int, *, implicit: bool, little: bool
) -> PixelLocation | None:
    """Check the structure from ``start`` up to the pixel data, or to the end of the file.

    Returns the place of the pixel data, None when there are none. Raises MalformedDICOM for
    a value that reaches past the end, a delimiter that is missing, nesting below
    ``DEEPEST`` levels, more than ``MOST_ELEMENTS`` elements.
    """
    stack = [_Level(None, implicit, "dataset")]
    position = start
    for _ in range(MOST_ELEMENTS):
        while len(stack) > 1 and stack[-1].end is not None and position >= stack[-1].end:
            stack.pop()
        if position >= size:
            break
        element = _read(file, position, size, stack[-1].implicit, little)
        if element is None:
            break
        if len(stack) == 1 and element.tag in PIXEL_KEYWORDS:
            length = None if element.length == UNDEFINED else element.length
            vr = element.vr.decode("latin-1") if element.vr in _BULK else "OW"
            room = max(0, size - element.value)
            return PixelLocation(PIXEL_KEYWORDS[element.tag], vr, element.value, length, room)
        position = _step(stack, element, size)
    else:
        raise MalformedDICOM(f"The file has more than {MOST_ELEMENTS:,} elements.")
    if len(stack) > 1:
        raise MalformedDICOM("The file ends inside a sequence: a delimiter is missing.")
    return None


def _read(
    file: BinaryIO, position: int, size: int, implicit: bool, little: bool
) -> _Element | None:
    file.seek(position)
    head = file.read(12)
    order: Literal["little", "big"] = "little" if little else "big"
    if len(head) < 8:
        if head.strip(b"\0"):
            raise MalformedDICOM(f"The file ends inside an element, at byte {position:,}.")
        return None  # zeros that fill up the last block
    tag = int.from_bytes(head[0:2], order) << 16 | int.from_bytes(head[2:4], order)
    vr = head[4:6]
    if tag >> 16 == 0xFFFE:
        return _Element(tag, b"", int.from_bytes(head[4:8], order), position + 8)
    if implicit or not (vr.isalpha() and vr.isupper()):
        existing = dictionary_VR(tag) if dictionary_has_tag(tag) else ""
        length, value = int.from_bytes(head[4:8], order), position + 8
        vr = existing[:2].encode()
    elif vr in _LONG:
        length, value = int.from_bytes(head[8:12], order), position + 12
    else:
        length, value = int.from_bytes(head[6:8], order), position + 8
    if length != UNDEFINED and tag not in PIXEL_KEYWORDS and value + length > size:
        raise MalformedDICOM(
            f"({tag >> 16:04X},{tag & 0xFFFF:04X}) declares {length:,} bytes, "
            f"but only {max(0, size - value):,} are left in the file."
        )
    return _Element(tag, vr, length, value)


def _step(stack: list[_Level], element: _Element, size: int) -> int:
    """Enter, leave or pass one element; returns where the next one starts."""
    top = stack[-1]
    end = None if element.length == UNDEFINED else element.value + element.length
    if element.tag == _ITEM:
        if top.kind == "fragments":
            return _inside(end, size)
        _push(stack, _Level(end, top.implicit, "dataset"))
        return element.value
    if element.tag in (_ITEM_END, _SEQUENCE_END):
        kinds = ("dataset",) if element.tag == _ITEM_END else ("sequence", "fragments")
        if len(stack) > 1 and top.kind in kinds and top.end is None:
            stack.pop()
        return element.value
    if element.vr == b"SQ" or (end is None and element.vr not in _BULK):
        # UN of undefined length holds implicit VR data, whatever the file is in (PS3.5 6.2.2).
        implicit = top.implicit or element.vr == b"UN"
        _push(stack, _Level(end, implicit, "sequence"))
        return element.value
    if end is None:
        _push(stack, _Level(None, top.implicit, "fragments"))
        return element.value
    return end


def _push(stack: list[_Level], level: _Level) -> None:
    if len(stack) > 2 * DEEPEST:  # a sequence and its item are two levels
        raise MalformedDICOM(f"Sequences are nested more than {DEEPEST} deep.")
    stack.append(level)


def _inside(end: int | None, size: int) -> int:
    if end is None or end > size:
        raise MalformedDICOM("A fragment reaches past the end of the file.")
    return end
