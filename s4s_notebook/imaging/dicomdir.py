"""The files that a DICOMDIR lists (PS3.3 F.3, PS3.10 section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom.multival import MultiValue

from .facts import Reader
from .files import parse
from .instance import Instance


def files(directory: Instance) -> list[Path]:
    """The paths that a DICOMDIR refers to, in its order; none outside of its own folder."""
    if directory.path is None:
        return []
    folder, reader = directory.path.parent, Reader(directory.header())
    listed, _ = parse(lambda: list(_ids(reader)))
    return [_found(folder, one) for one in dict.fromkeys(listed)]


def _ids(reader: Reader) -> Iterator[tuple[str, ...]]:
    """Each record's file ID: the folders down to it, and its name."""
    for record in reader.items("DirectoryRecordSequence"):
        value = reader.get("ReferencedFileID", record)
        parts = [value] if isinstance(value, str) else value
        if isinstance(parts, list | MultiValue) and all(map(_is_name, parts)):
            yield tuple(parts)


def _is_name(part: object) -> bool:
    return isinstance(part, str) and part not in ("", ".", "..") and not set(part) & set("/\\\0:")


def _found(folder: Path, parts: tuple[str, ...]) -> Path:
    """The path; names copied from a CD are often in small letters."""
    exact = folder.joinpath(*parts)
    small = folder.joinpath(*(part.lower() for part in parts))
    return small if small.exists() and not exact.exists() else exact
