"""What people hand over in place of files: one path, several, a folder, a "~"."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def listed(paths: Paths) -> list[Path]:
    """``paths`` as a list; TypeError for what names no file."""
    given: Any = paths
    if isinstance(given, str | bytes | os.PathLike) or not isinstance(given, Iterable):
        given = [given]
    many = list(given)
    for one in many:
        if not isinstance(one, str | os.PathLike):
            what = type(one if isinstance(paths, list | tuple | set) else paths).__name__
            raise TypeError(f"A study is read from files and folders, not from {what}.")
    return [Path(one).expanduser() for one in many]
