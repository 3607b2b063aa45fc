"""The elements that identify a DICOM object, read without building a dataset, and its end.

A study may have thousands of instances and each is checked before it is filed (DICOM PS3.10 §7.1
File Meta Information, PS3.5 §7 Data Element structure). The chain of elements must end where the
file ends, so that a file that was cut is found out: values are skipped by their lengths,
sequences and encapsulated pixels of undefined length are followed to their delimiters. Nothing
here trusts a length: each is compared with what is there. Memory is constant, nesting is counted
and not recursed into, and elements are counted.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import InvalidDICOM, MalformedDICOM, TruncatedDICOM

_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LONG_FORM = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_HEADS = {order: struct.Struct(f"{order}HH2sH") for order in "<>"}
_LENGTHS = {order: struct.Struct(f"{order}I") for order in "<>"}
_ITEM_END, _SEQUENCE_END = 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_TAGS = {0x00080016, 0x00080018, 0x00100020, 0x0020000D, 0x0020000E}
_META_TAGS = {0x00020002, 0x00020003, 0x00020010}
_ROWS = 0x00280010
#: Pixel Data Provider URL, Float Pixel Data, Double Float Pixel Data, Pixel Data.
_PIXELS = frozenset({0x00287FE0, 0x7FE00008, 0x7FE00009, 0x7FE00010})
_INFLATE_LIMIT = 1 << 29  # bytes that a deflated dataset may become; they are not kept
_STEP = 1 << 16  # bytes that are inflated, or looked at, in one go
_TRAILER = 9  # bytes after a deflated dataset: the checksum and length of gzip, and a pad
_DEEPEST = 64
_MOST = 2 << 20  # elements, nested ones and fragments of pixels included
#: Programs and archives: DOS, ELF, scripts, zip, Mach-O, Java, gzip, bzip2, 7z, xz, rar, PDF, OLE,
#: Android, ar, WebAssembly, Windows links, Zstandard, LZ4, cabinets, RPM, compress.
_EXECUTABLE = (
    *(b"MZ", b"\x7fELF", b"#!", b"PK\x03\x04", b"PK\x05\x06", b"\xfe\xed\xfa\xce"),
    *(b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"),
    *(b"\x1f\x8b", b"BZh", b"7z\xbc\xaf", b"\xfd7zXZ", b"Rar!", b"%PDF", b"\xd0\xcf\x11\xe0"),
    *(b"dex\n", b"!<arch>", b"\0asm", b"L\0\0\0\x01\x14\x02"),
    *(b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"MSCF", b"\xed\xab\xee\xdb", b"\x1f\x9d"),
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


class _Source:
    """Bytes that are read from front to back through a window."""

    __slots__ = ("_read", "end", "size", "start", "view")

    def __init__(
        self, view: memoryview, size: int, read: Callable[[int], memoryview] | None
    ) -> None:
        self.view, self.start, self.end, self.size = view, 0, len(view), size
        self._read = read

    def seek(self, at: int) -> None:
        """Let the window begin at an offset."""
        view = self.view[at - self.start :] if self._read is None else self._read(at)
        if not len(view) and at < self.size:
            raise TruncatedDICOM("The file ends too early.")
        self.view, self.start, self.end = view, at, at + len(view)


def executable(preamble: bytes) -> bool:
    """Return whether the 128 bytes before ``DICM`` start a program, archive or web page."""
    return preamble.startswith(_EXECUTABLE) or _MARKUP.match(preamble) is not None


def read_header(
    data: memoryview, size: int | None = None, read: Callable[[int], memoryview] | None = None
) -> InstanceHeader:
    """Read the elements that identify an instance, and follow the others to the end of the file.

    Args:
        data: the bytes of the file, or its beginning: 132 bytes at least where it has them.
        size: bytes of the complete file where ``data`` is only its beginning.
        read: returns bytes of the file from an offset on, 256 at least where it has them; needed
            where ``data`` is only its beginning.

    Raises:
        InvalidDICOM: no ``DICM`` at byte 128.
        TruncatedDICOM: the elements do not end where the file ends, or an image has no pixels.
        MalformedDICOM: it contradicts itself, or is beyond the limits.
    """
    size = len(data) if size is None else size
    if len(data) < 132 or bytes(data[128:132]) != b"DICM":
        raise InvalidDICOM("The bytes are not a DICOM file: there is no DICM at byte 128.")
    meta: dict[int, str] = {}
    body = 132
    source = _Source(data, size, read)
    for tag, start, length in _group_2(source):
        body = start + length
        if tag in _META_TAGS:
            meta[tag] = _text(source, start, length)
    syntax = meta.get(0x00020010, "")
    content, position = source, body
    if syntax == _DEFLATED:
        inflated = sum(map(len, _inflate(_Source(data, size, read), body)))
        window = _Window(_inflate(_Source(data, size, read), body))
        content, position = _Source(window(0), inflated, window), 0
    values: dict[int, str] = {}
    image = pixels = False
    explicit, order = syntax != _IMPLICIT, ">" if syntax == _BIG_ENDIAN else "<"
    for tag, start, length in _elements(content, position, explicit=explicit, order=order):
        if tag in _TAGS:
            values[tag] = _text(content, start, length)
        image = image or tag == _ROWS
        pixels = pixels or tag in _PIXELS
    if image and not pixels:
        raise TruncatedDICOM("The image ends before its pixels.")
    return InstanceHeader(
        study_uid=values.get(0x0020000D, ""),
        series_uid=values.get(0x0020000E, ""),
        sop_uid=values.get(0x00080018, ""),
        sop_class=values.get(0x00080016, ""),
        patient_id=values.get(0x00100020, ""),
        meta_sop_uid=meta.get(0x00020003, ""),
        meta_sop_class=meta.get(0x00020002, ""),
        transfer_syntax=syntax,
    )


class _Nesting:
    """Open sequences and items of undefined length, and whether implicit VR applies within."""

    def __init__(self, explicit: bool) -> None:
        self.depth, self.implicit = 0, not explicit
        self._explicit, self._since = explicit, 0

    def open(self, vr: bytes) -> None:
        """Enter a sequence, an item or encapsulated pixels."""
        if vr == b"UN" and not self.implicit:  # what follows is implicit: PS3.5 §6.2.2
            self.implicit, self._since = True, self.depth
        self._move(1)

    def close(self) -> None:
        """Leave it at a delimiter."""
        self._move(-1)
        if self._explicit and self.depth <= self._since:
            self.implicit = False

    def _move(self, step: int) -> None:
        self.depth += step
        if not 0 <= self.depth <= _DEEPEST:
            raise MalformedDICOM("Sequences are nested too deeply, or end before they begin.")


def _group_2(source: _Source) -> Iterator[tuple[int, int, int]]:
    """Yield the elements of the File Meta Information: tag, start of the value, its length."""
    at = 132
    while at + 8 <= source.size:
        tag, _, length, at = _element(source, at, False, "<")
        if tag >> 16 != 2:
            return
        if at + length > source.size:
            raise TruncatedDICOM("An element is longer than the file.")
        yield tag, at, length
        at += length


def _elements(
    source: _Source, at: int, *, explicit: bool, order: str
) -> Iterator[tuple[int, int, int]]:
    """Yield top-level elements, to the end of the file.

    Yields:
        Tag, start of the value, its length (0 where it is undefined).
    """
    size, nesting = source.size, _Nesting(explicit)
    for _ in range(_MOST):
        if at + 8 > size:
            break
        tag, vr, length, at = _element(source, at, nesting.implicit, order)
        if tag in (_ITEM_END, _SEQUENCE_END):
            nesting.close()
            continue
        undefined = length == _UNDEFINED
        length = 0 if undefined else length
        if at + length > size:
            raise TruncatedDICOM("An element is longer than the file.")
        if not nesting.depth:
            if tag == 0:  # no data element: only zeros may follow
                break
            yield tag, at, length
        if undefined:
            nesting.open(vr)
        at += length
    else:
        raise MalformedDICOM(f"The file has more than {_MOST:,} elements.")
    _check_end(source, at, nesting.depth)


def _check_end(source: _Source, at: int, depth: int) -> None:
    """Raise TruncatedDICOM unless everything is closed and only zeros follow."""
    if depth:
        raise TruncatedDICOM("The file ends within a sequence or within encapsulated pixels.")
    while at < source.size:
        if at >= source.end:
            source.seek(at)
        rest = bytes(source.view[at - source.start :][:_STEP])
        if rest.strip(b"\0"):
            raise TruncatedDICOM("The elements do not end where the file ends.")
        at += len(rest)


def _element(source: _Source, at: int, implicit: bool, order: str) -> tuple[int, bytes, int, int]:
    """Return tag, VR or "", declared length and start of the value of the element at ``at``."""
    if at + 12 > source.end < source.size or at > source.end:
        source.seek(at)
    data, position = source.view, at - source.start
    if position + 8 > len(data):
        raise TruncatedDICOM("The file ends within an element.")
    group, element, vr, short = _HEADS[order].unpack_from(data, position)
    if group == 0xFFFE or implicit or not (vr.isalpha() and vr.isupper()):
        return (
            group << 16 | element,
            b"",
            _LENGTHS[order].unpack_from(data, position + 4)[0],
            at + 8,
        )
    if vr not in _LONG_FORM:
        return group << 16 | element, vr, short, at + 8
    if position + 12 > len(data):
        raise TruncatedDICOM("The file ends within an element.")
    return group << 16 | element, vr, _LENGTHS[order].unpack_from(data, position + 8)[0], at + 12


def _text(source: _Source, start: int, length: int) -> str:
    """Return the value of an element, at most 256 bytes of it."""
    end = start + min(length, 256)
    if end > source.end:  # within the file, as the length was compared with its size
        source.seek(start)
    value = bytes(source.view[start - source.start : end - source.start])
    return value.decode("latin-1").strip("\0 ")


class _Window:
    """Inflated bytes from an offset on; offsets only grow."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._bytes, self._start = pieces, b"", 0

    def __call__(self, at: int) -> memoryview:
        while self._start + len(self._bytes) < at + 256:
            passed = min(at - self._start, len(self._bytes))
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._bytes, self._start = self._bytes[passed:] + piece, self._start + passed
        return memoryview(self._bytes)[at - self._start :]


def _inflate(source: _Source, at: int) -> Iterator[bytes]:
    """Yield a deflated dataset (PS3.5 §A.5) in small pieces, to the end of its stream.

    Raises:
        TruncatedDICOM: the stream does not end.
        MalformedDICOM: it cannot be inflated, becomes too large, or something follows it.
    """
    inflater, pending, total = zlib.decompressobj(-zlib.MAX_WBITS), b"", 0
    while not inflater.eof:
        if not pending:
            if at >= source.size:
                raise TruncatedDICOM("The deflated dataset does not end.")
            if at >= source.end:
                source.seek(at)
            pending = bytes(source.view[at - source.start :][:_STEP])
            at += len(pending)
        try:
            piece = inflater.decompress(pending, _STEP)
        except zlib.error as error:
            raise MalformedDICOM("The deflated dataset cannot be inflated.") from error
        pending, total = inflater.unconsumed_tail, total + len(piece)
        if total > _INFLATE_LIMIT:
            raise MalformedDICOM(
                f"The deflated dataset becomes more than {_INFLATE_LIMIT >> 20} MiB."
            )
        if piece:
            yield piece
    if source.size - at + len(inflater.unused_data) > _TRAILER:
        raise MalformedDICOM("Something follows the deflated dataset.")
