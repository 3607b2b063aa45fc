"""Open and parse DICOM files: read the header, find the pixel data without reading it."""

from __future__ import annotations

import io
import logging
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ..errors import InvalidDICOM, MalformedDICOM
from .structure import PIXEL_KEYWORDS, PixelLocation, locate_pixels

MOST_INFLATED = 128 * 2**20
#: What pydicom and its converters raise on values that break the standard.
PARSE_ERRORS = (
    ArithmeticError, AttributeError, BytesLengthException, EOFError, InvalidDicomError,
    LookupError, MemoryError, NotImplementedError, OSError, RecursionError, TypeError,
    ValueError, struct.error,
)  # fmt: skip
#: What a portal or a CD may hold in place of files, and what to do then.
_ARCHIVES = {b"PK\x03\x04": "ZIP", b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}
_UNPACK = "Unpack it, then read the folder."
T = TypeVar("T")
_parsing = threading.RLock()


class Header(NamedTuple):
    """A file's header: ``pixels`` says where the pixel data lie in :func:`contents`."""

    dataset: Dataset
    pixels: PixelLocation | None
    transfer_syntax: str
    remarks: tuple[str, ...]


def parse(work: Callable[[], T]) -> tuple[T, tuple[str, ...]]:
    """Run ``work`` on pydicom objects; returns its result and pydicom's warnings.

    One at a time: the warning filters that turn pydicom's warnings into remarks belong to
    the whole process.
    """
    with _parsing, quiet(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work()
    return result, tuple(dict.fromkeys(str(w.message).split(". Please")[0] for w in caught))


def read_header(path: Path, *, force: bool = False) -> Header:
    """Read all of a file but its pixel data (PS3.10).

    Raises InvalidDICOM when it is no DICOM file, MalformedDICOM when it contradicts itself.
    A file without preamble is read where its structure holds to the end and it states what it
    is. With ``force``, others are tried and a broken structure is read as far as it goes.
    """
    with contents(path, force=force) as (file, syntax):
        bare = not _has_prefix(file)
        try:
            matches, broken = _structure(file, syntax), tuple[str, ...]()
        except MalformedDICOM as error:
            if bare and not force:
                raise _no_prefix(path) from error
            if not force:
                error.hint = "read(path, force=True) keeps it, and .tags() shows what it holds."
                raise
            matches, broken = None, (error.problem,)
        file.seek(0)
        plain = syntax == ExplicitVRLittleEndian and matches is not None and not (force or bare)
        try:
            dataset, remarks = parse(
                lambda: (
                    _read_plain(file)
                    if plain
                    else dcmread(file, stop_before_pixels=True, force=force or bare)
                )
            )
        except PARSE_ERRORS as error:
            raise MalformedDICOM(
                f"{path.name}: {type(error).__name__} while reading it."
            ) from error
    if bare and not force and not ("SOPClassUID" in dataset and "StudyInstanceUID" in dataset):
        raise _no_prefix(path)
    if force and not any(map(dictionary_has_tag, dataset.keys())):
        hint = "Leave it out: it is no DICOM file."
        raise InvalidDICOM(f"{path.name} holds no DICOM element.", hint=hint)
    return Header(dataset, matches, syntax, (*broken, *remarks))


def _read_plain(file: BinaryIO) -> Dataset:
    """Read a header in explicit little endian, by what dcmread does, in half its time."""
    file.seek(132)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    dataset = read_dataset(
        file, False, True, stop_when=lambda tag, _vr, _length: tag in PIXEL_KEYWORDS
    )
    dataset.file_meta = FileMetaDataset(meta)
    return dataset


@contextmanager
def contents(path: Path, *, force: bool = False) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file for reading, inflated if deflated, and its transfer syntax UID."""
    with path.open("rb") as file:
        prefix = file.read(132)
        for magic, kind in _ARCHIVES.items():
            if prefix.startswith(magic) and prefix[128:] != b"DICM":
                raise InvalidDICOM(f"{path.name} is a {kind} archive.", hint=_UNPACK)
        begin = 132
        if len(prefix) < 132 or prefix[128:] != b"DICM":
            if not prefix:
                raise InvalidDICOM(f"{path.name} is empty.")
            if not force and prefix[:2] not in _FIRST_GROUPS:
                raise _no_prefix(path)
            begin = 0
        syntax, start = _transfer_syntax(file, begin)
        if syntax == DeflatedExplicitVRLittleEndian:
            yield _inflated(file, start), syntax
        else:
            yield file, syntax


#: Groups 2 and 8, with which a dataset without preamble begins.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")


def _has_prefix(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(132)[128:] == b"DICM"


def _no_prefix(path: Path) -> InvalidDICOM:
    return InvalidDICOM(f"{path.name} has no DICM prefix: it is no DICOM file.")


def _transfer_syntax(file: BinaryIO, position: int) -> tuple[str, int]:
    """Read group 2, always explicit little endian; returns the UID and the dataset's start."""
    syntax = ""
    while True:
        file.seek(position)
        head = file.read(12)
        if len(head) < 8 or head[0:2] != b"\x02\x00":
            return syntax, position
        long = head[4:6] in (b"OB", b"UN", b"UT")
        size = int.from_bytes(head[8:12] if long else head[6:8], "little")
        position += 12 if long else 8
        if head[2:4] == b"\x10\x00":
            file.seek(position)
            syntax = file.read(min(size, 64)).decode("ascii", "replace").strip("\0 ")
        position += size


def _inflated(file: BinaryIO, start: int) -> BinaryIO:
    """Inflate a deflated dataset, at most ``MOST_INFLATED`` bytes of it."""
    file.seek(0)
    # The same number of bytes, so that lengths in group 2 still hold.
    meta = file.read(start).replace(b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    out = io.BytesIO()
    out.write(meta)
    try:
        while block := file.read(2**16):
            out.write(inflate.decompress(block, MOST_INFLATED + 1 - out.tell()))
            if out.tell() > MOST_INFLATED or inflate.unconsumed_tail:
                raise MalformedDICOM(f"Inflates to more than {MOST_INFLATED // 2**20} MiB.")
    except zlib.error as error:
        raise MalformedDICOM("The deflated data are damaged.") from error
    if not inflate.eof:
        raise MalformedDICOM("The deflated data end too early.")
    return out


def _structure(file: BinaryIO, syntax: str) -> PixelLocation | None:
    size = file.seek(0, io.SEEK_END)
    _, start = _transfer_syntax(file, 132 if _has_prefix(file) else 0)
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    if not syntax:  # no group 2, or none that says: tell by the first element
        file.seek(start)
        head = file.read(6)
        implicit, little = not re.fullmatch(rb"[A-Z]{2}", head[4:6]), head[:1] != b"\0"
    return locate_pixels(file, start, size, implicit=implicit, little=little)


NATIVE = {
    "",
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
}


def native(syntax: str) -> str:
    """Return the syntax as which pixel data of ``syntax`` lie in :func:`contents`."""
    return ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax


class _Quiet(logging.Filter):
    """Drops what the thread that parses would log; other users of pydicom keep their log."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what pydicom logs in this thread out of the logs: it quotes values of patients."""
    log, silence = logging.getLogger("pydicom"), _Quiet()
    log.addFilter(silence)
    try:
        yield
    finally:
        log.removeFilter(silence)
