"""Resolve what a caller names into files: a path, a folder, several, a DICOMDIR."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydicom.multival import MultiValue

from .attributes import AttributeReader
from .instance import Instance
from .reader import parse

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def expand_paths(paths: Paths) -> list[Path]:
    """Return ``paths`` as a list; raise TypeError for what names no file."""
    requested: Any = paths
    if isinstance(requested, str | bytes | os.PathLike) or not isinstance(requested, Iterable):
        requested = [requested]
    total = list(requested)
    for entry in total:
        if not isinstance(entry, str | os.PathLike):
            description = type(entry if isinstance(paths, list | tuple | set) else paths).__name__
            raise TypeError(f"A study is read from files and folders, not from {description}.")
    return [Path(entry).expanduser() for entry in total]


def listed_files(directory: Instance) -> list[Path]:
    """Return the paths that a DICOMDIR refers to, in its order; none outside of its own folder."""
    if directory.path is None:
        return []
    folder, reader = directory.path.parent, AttributeReader(directory.header())
    listed, _ = parse(lambda: list(_ids(reader)))
    return [_found(folder, entry) for entry in dict.fromkeys(listed)]


def _ids(reader: AttributeReader) -> Iterator[tuple[str, ...]]:
    """Each record's file ID: the folders down to it, and its name."""
    for record in reader.items("DirectoryRecordSequence"):
        value = reader.get("ReferencedFileID", record)
        parts = [value] if isinstance(value, str) else value
        if isinstance(parts, list | MultiValue) and all(map(_is_name, parts)):
            yield tuple(parts)


def _is_name(part: object) -> bool:
    return isinstance(part, str) and part not in ("", ".", "..") and not set(part) & set("/\\\0:")


def _found(folder: Path, parts: tuple[str, ...]) -> Path:
    """Return the path; names copied from a CD are often in small letters."""
    exact = folder.joinpath(*parts)
    small = folder.joinpath(*(part.lower() for part in parts))
    return small if small.exists() and not exact.exists() else exact
