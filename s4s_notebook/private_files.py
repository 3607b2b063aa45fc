"""The one place with platform calls: folders that follow no link, modes, locks, durable writes.

On POSIX every name is opened below an open folder with ``O_NOFOLLOW``, so that a link planted
(or swapped in) anywhere below the root is refused. Windows has no such calls: there each step
is checked with ``lstat`` before it is used, and modes are left to the user's profile.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import DiskProblem, StoreError, StoreLocked, UnsafeStore

if os.name == "nt":  # pragma: no cover - POSIX is what the tests run on
    import msvcrt
else:
    import fcntl

RELATIVE = os.open in os.supports_dir_fd
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_LOCK_TICKS = (0.002, 0.05)


@contextmanager
def disk(doing: str) -> Iterator[None]:
    """Turn what the operating system says into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnsafeStore(
                f"A link or a stranger's file is in the way while {doing}."
            ) from error
        if error.errno in (errno.ENOENT, errno.ESTALE):
            raise gone() from error
        raise DiskProblem(f"The disk refused {doing}: {error.strerror or error}.") from error


def gone() -> StoreError:
    """The error of work that finds its folder purged."""
    return StoreError(
        "A folder of the store was removed while it was in use.",
        hint="It was purged, or moved by hand. Call again to start anew.",
    )


class Folder:
    """An open folder. Names below it are opened relative to it and never through a link."""

    def __init__(self, path: Path, fd: int | None) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def root(cls, path: Path) -> Folder:
        """Open (or make) the root; mode 0700 whatever the umask, and ours."""
        with disk(f"opening the store {path}"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = Path(os.path.realpath(path))
            folder = cls(path, os.open(path, os.O_RDONLY | _NO_FOLLOW) if RELATIVE else None)
            about = os.stat(path)
            if hasattr(os, "getuid") and about.st_uid != os.getuid():
                folder.close()
                raise UnsafeStore(f"The store folder {path} belongs to somebody else.")
            if stat.S_IMODE(about.st_mode) & 0o077:
                os.chmod(path, 0o700)
        return folder

    def child(self, *names: str, create: bool = False) -> Folder:
        """The folder below; FileNotFoundError when there is none and ``create`` is False."""
        here = self
        for name in names:
            there = here._step(name, create)
            if here is not self:
                here.close()
            here = there
        return here

    def _step(self, name: str, create: bool) -> Folder:
        where, at = self._where(name)
        if create:
            with suppress(FileExistsError):
                os.mkdir(where, 0o700, **at)
                self.sync()
        fd = None
        if RELATIVE:
            fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW, **at)
        elif not stat.S_ISDIR(os.lstat(where).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", where)
        return Folder(self.path / name, fd)

    def _where(self, name: str) -> tuple[str, dict[str, Any]]:
        if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
            raise UnsafeStore(f"{name!r} is no name for a file.")
        return (name, {"dir_fd": self._here()}) if RELATIVE else (str(self.path / name), {})

    def _here(self) -> int | Path:
        """Where names are looked up. Never None, which to the system is the working folder."""
        if not RELATIVE:
            return self.path
        if self._fd is None:
            raise StoreError("This part of the store is closed.", hint="Open the store again.")
        return self._fd

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """A file descriptor; new files get mode 0600."""
        where, at = self._where(name)
        if not RELATIVE and os.path.islink(where):
            raise OSError(errno.ELOOP, "a link", where)
        return os.open(where, flags | _NO_FOLLOW | _BINARY, 0o600, **at)

    def size(self, name: str) -> int | None:
        """Bytes of a plain file, or None when there is none of that name."""
        where, at = self._where(name)
        try:
            about = os.stat(where, follow_symlinks=False, **at)
        except FileNotFoundError:
            return None
        return about.st_size if stat.S_ISREG(about.st_mode) else None

    def has(self, name: str) -> bool:
        """Whether there is anything of that name, a link included."""
        where, at = self._where(name)
        try:
            os.stat(where, follow_symlinks=False, **at)
        except FileNotFoundError:
            return False
        return True

    def move(self, name: str, into: Folder, new: str) -> None:
        """Rename; what stood there is replaced."""
        where, at = self._where(name)
        target, there = into._where(new)
        ends = {"src_dir_fd": at["dir_fd"], "dst_dir_fd": there["dir_fd"]} if RELATIVE else {}
        os.replace(where, target, **ends)

    def remove(self, name: str) -> None:
        where, at = self._where(name)
        with suppress(FileNotFoundError):
            os.unlink(where, **at)

    def remove_tree(self, name: str) -> None:
        """Remove a file, a link (not what it points at) or a whole folder."""
        where, at = self._where(name)
        try:
            about = os.stat(where, follow_symlinks=False, **at)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(about.st_mode):
            self.remove(name)
            return
        below = self.child(name)
        try:
            while True:
                for inner in below.names():
                    below.remove_tree(inner)
                try:
                    os.rmdir(where, **at)
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:  # else a download filed something meanwhile
                        raise
                else:
                    return
        finally:
            below.close()

    def holds(self, below: Folder) -> bool:
        """Whether an open folder is still the one that stands here by its name."""
        where, at = self._where(below.path.name)
        try:
            there = os.stat(where, follow_symlinks=False, **at)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.stat(below._here()))

    def names(self) -> list[str]:
        return sorted(os.listdir(self._here()))

    def sizes(self) -> dict[str, int]:
        """Bytes of each plain file, by name."""
        with os.scandir(self._here()) as entries:
            return {
                entry.name: entry.stat(follow_symlinks=False).st_size
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            }

    def write(self, name: str, content: bytes) -> None:
        """Put a small file in place in one step, durably, 0600."""
        part = f".part-{name}"
        self.remove(part)
        fd = self.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        self.move(part, self, name)
        self.sync()

    def sync(self) -> None:
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self) -> None:
        self.close()  # as Python's own files do: a process may have few of them open


def write_all(fd: int, *pieces: bytes | memoryview) -> None:
    """Write every byte; ``os.write`` may stop short, for one when the disk is nearly full."""
    left = [memoryview(piece) for piece in pieces]
    while left:
        written = os.writev(fd, left) if hasattr(os, "writev") else os.write(fd, left[0])
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left:
            left[0] = left[0][written:]


def start_writeback(fd: int) -> None:
    """Let the disk begin now, so that the fsync that follows soon has little left to do."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def lock(
    folder: Folder, name: str, *, tick: Callable[[], None] | None = None, limit: float = 60.0
) -> Iterator[None]:
    """Hold ``name`` against every other thread and process; the file goes when it is released.

    ``tick`` is called while waiting and may raise (Cancel). StoreLocked after ``limit`` seconds.
    """
    end, pause = time.monotonic() + limit, _LOCK_TICKS[0]
    while (fd := _try_lock(folder, name)) is None:
        if tick is not None:
            tick()
        if time.monotonic() > end:
            raise StoreLocked("Another process has been holding this part of the store.")
        time.sleep(pause)
        pause = min(pause * 2, _LOCK_TICKS[1])
    try:
        yield
    finally:
        with disk("releasing a lock"):
            _release(folder, name, fd)


def _release(folder: Folder, name: str, fd: int) -> None:
    if os.name == "nt":  # pragma: no cover - an open file cannot be removed there
        os.close(fd)
        with suppress(PermissionError):
            folder.remove(name)
        return
    try:
        folder.remove(name)
    finally:
        os.close(fd)


def _try_lock(folder: Folder, name: str) -> int | None:
    with disk("taking a lock"):
        fd = folder.open(name, os.O_RDWR | os.O_CREAT)
        try:
            if os.name == "nt":  # pragma: no cover
                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore] # Windows only
            else:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it removed the file: a lock on that one would guard nothing.
            if os.fstat(fd).st_nlink:
                return fd
        except BlockingIOError:
            pass
        except PermissionError:  # pragma: no cover - how Windows says "held"
            pass
        os.close(fd)
    return None
