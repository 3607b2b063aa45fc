"""Temporary folders for patient data: those of processes that were killed are removed later.

A folder is locked for as long as its process lives. The kernel gives the lock back however the
process ends, so that a folder without a lock, and with something in it, is a leftover.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if os.name != "nt":
    import fcntl

PREFIX = "s4s-private-"

_locks: dict[Path, int] = {}


def make_folder() -> Path:
    """Make and lock a folder of mode 0700.

    Raises:
        OSError: the disk refuses it.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    if os.name != "nt":  # Windows has no lock for a folder, and keeps what is left
        _locks[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(_locks[path], fcntl.LOCK_EX)
    return path


def remove_folder(path: Path) -> None:
    """Remove a folder of this process with all that is in it, then its lock."""
    shutil.rmtree(path, ignore_errors=True)
    lock = _locks.pop(path, None)
    if lock is not None:
        os.close(lock)


def remove_leftovers() -> tuple[int, list[Path]]:
    """Remove what killed processes of this user left.

    Returns:
        How many folders were removed, and those that could not be.
    """
    removed, stuck = 0, list[Path]()
    if os.name == "nt":
        return removed, stuck
    try:
        found = list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    except OSError:  # a folder that cannot be listed stops no store from being opened
        found = []
    for path in found:
        with _leftover(path) as is_one:
            if is_one:
                shutil.rmtree(path, ignore_errors=True)
                removed += not path.exists()
                stuck += [path] if path.exists() else []
    return removed, stuck


@contextmanager
def _leftover(path: Path) -> Iterator[bool]:
    """Lock a folder and tell whether it is a leftover: ours, in nobody's use, and not empty.

    An empty one may have been made a moment ago, by a process that is about to lock it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # removed meanwhile, a link, or another user's
        yield False
        return
    try:
        status = os.fstat(fd)
        ours = status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == stat.S_IRWXU
        free = False
        if ours and os.listdir(fd):
            with suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
        yield free
    finally:
        os.close(fd)
