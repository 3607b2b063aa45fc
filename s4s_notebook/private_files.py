"""Private files: folders that follow no link, modes, locks, durable and complete writes.

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
def disk(action: str) -> Iterator[None]:
    """Turn an error of the operating system into one of ours, which names the action.

    Raises:
        UnsafeStore: a link or another user's file is in the way.
        StoreError: the folder was removed.
        DiskProblem: any other failure.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnsafeStore(
                f"A link or another user's file is in the way while {action}."
            ) from error
        if error.errno in (errno.ENOENT, errno.ESTALE):
            raise gone() from error
        raise DiskProblem(f"The disk refused {action}: {error.strerror or error}.") from error


def gone() -> StoreError:
    """Return the error for work whose folder was purged."""
    return StoreError(
        "A folder of the store was removed while it was in use.",
        hint="It was purged, or moved by hand. Call again to start anew.",
    )


class Folder:
    """An open folder. Names below it are opened relative to it and never through a link.

    Attributes:
        path: where it was opened.
    """

    def __init__(self, path: Path, fd: int | None) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def root(cls, path: Path) -> Folder:
        """Open (or make) a folder that belongs to this user, with mode 0700."""
        with disk(f"opening the store {path}"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = Path(os.path.realpath(path))
            folder = cls(path, os.open(path, os.O_RDONLY | _NO_FOLLOW) if RELATIVE else None)
            status = os.stat(path)
            if hasattr(os, "getuid") and status.st_uid != os.getuid():
                folder.close()
                raise UnsafeStore(f"The store folder {path} belongs to another user.")
            if stat.S_IMODE(status.st_mode) & 0o077:
                os.chmod(path, 0o700)
        return folder

    @classmethod
    def private(cls, path: Path, is_own: Callable[[str], bool]) -> Folder:
        """Open a folder for this user alone; within one that is shared, a private one inside.

        A folder is shared where a group or everybody may write, or where its group may do more
        than everybody. Its mode is left alone.

        Args:
            path: the folder; made when it is not there.
            is_own: whether a name in it says that it is ours already. Then it is closed to
                others, and never left for another one inside.

        Raises:
            UnsafeStore: the folder, or the one inside, belongs to another user or is a link.
        """
        with disk(f"opening the store {path}"):
            if not path.is_dir() or not _is_shared(path) or any(map(is_own, os.listdir(path))):
                return cls.root(path)
            inside = Path(os.path.realpath(path)) / f"s4s-{os.getuid()}"
            if inside.is_symlink():
                raise UnsafeStore(f"{inside} is a link: somebody else may have planted it.")
        return cls.root(inside)

    def child(self, *names: str, create: bool = False) -> Folder:
        """Open a folder below.

        Args:
            *names: of each folder on the way.
            create: make those that are missing.

        Raises:
            FileNotFoundError: there is none, and ``create`` is False.
        """
        folder = self
        for name in names:
            below = folder._open_child(name, create)
            if folder is not self:
                folder.close()
            folder = below
        return folder

    def _open_child(self, name: str, create: bool) -> Folder:
        target, options = self._address(name)
        if create:
            with suppress(FileExistsError):
                os.mkdir(target, 0o700, **options)
                self.sync()
        fd = None
        if RELATIVE:
            fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW, **options)
        elif not stat.S_ISDIR(os.lstat(target).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", target)
        return Folder(self.path / name, fd)

    def _address(self, name: str) -> tuple[str, dict[str, Any]]:
        if name in ("", ".", "..") or "/" in name or "\0" in name or os.sep in name:
            raise UnsafeStore(f"{name!r} is not a file name.")
        return (name, {"dir_fd": self._base()}) if RELATIVE else (str(self.path / name), {})

    def _base(self) -> int | Path:
        """Return what names are relative to; never None, which would be the working folder."""
        if not RELATIVE:
            return self.path
        if self._fd is None:
            raise StoreError("This part of the store is closed.", hint="Open the store again.")
        return self._fd

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a file and return its descriptor; new files get mode 0600."""
        target, options = self._address(name)
        if not RELATIVE and os.path.islink(target):
            raise OSError(errno.ELOOP, "a link", target)
        return os.open(target, flags | _NO_FOLLOW | _BINARY, 0o600, **options)

    def size(self, name: str) -> int | None:
        """Return the bytes of a plain file, or None when there is none of that name."""
        target, options = self._address(name)
        try:
            status = os.stat(target, follow_symlinks=False, **options)
        except FileNotFoundError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def has(self, name: str) -> bool:
        """Return whether there is anything of that name, a link included."""
        target, options = self._address(name)
        try:
            os.stat(target, follow_symlinks=False, **options)
        except FileNotFoundError:
            return False
        return True

    def move(self, name: str, into: Folder, new: str) -> None:
        """Rename a file into another folder, where it replaces one of that name."""
        source, from_ = self._address(name)
        target, to = into._address(new)
        options = {"src_dir_fd": from_["dir_fd"], "dst_dir_fd": to["dir_fd"]} if RELATIVE else {}
        os.replace(source, target, **options)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        target, options = self._address(name)
        with suppress(FileNotFoundError):
            os.unlink(target, **options)

    def remove_tree(self, name: str) -> None:
        """Remove a file, a link (not its target) or a folder with all below it."""
        target, options = self._address(name)
        try:
            status = os.stat(target, follow_symlinks=False, **options)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            self.remove(name)
            return
        below = self.child(name)
        try:
            while True:
                for inner in below.names():
                    below.remove_tree(inner)
                try:
                    os.rmdir(target, **options)
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:  # else a download added a file
                        raise
                else:
                    return
        finally:
            below.close()

    def is_parent_of(self, below: Folder) -> bool:
        """Return whether an open folder is still the one that is here by its name."""
        target, options = self._address(below.path.name)
        try:
            status = os.stat(target, follow_symlinks=False, **options)
        except FileNotFoundError:
            return False
        return os.path.samestat(status, os.stat(below._base()))

    def names(self) -> list[str]:
        """Return the names in it, sorted."""
        return sorted(os.listdir(self._base()))

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each plain file, by name."""
        with os.scandir(self._base()) as entries:
            return {
                entry.name: entry.stat(follow_symlinks=False).st_size
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            }

    def write(self, name: str, content: bytes) -> None:
        """Write a complete small file in one step, durably, with mode 0600."""
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
        """Make the names in it durable."""
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close the folder."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self) -> None:
        self.close()  # as Python's files do: a process may have few of them open


def _is_shared(path: Path) -> bool:
    """Return whether a mode was given to share the folder, as 0770, 2750 or 1777 are."""
    if not hasattr(os, "getuid"):
        return False
    mode = path.stat().st_mode
    group, everybody = mode >> 3 & 0o7, mode & 0o7
    return bool((group | everybody) & 0o2 or group & ~everybody or mode & stat.S_ISGID)


def write_all(fd: int, *pieces: bytes | memoryview) -> None:
    """Write every byte; ``os.write`` may stop short, for one when the disk is nearly full."""
    remaining = [memoryview(piece) for piece in pieces]
    while remaining:
        written = os.writev(fd, remaining) if hasattr(os, "writev") else os.write(fd, remaining[0])
        while remaining and written >= len(remaining[0]):
            written -= len(remaining.pop(0))
        if remaining:
            remaining[0] = remaining[0][written:]


def start_writeback(fd: int) -> None:
    """Ask the system to write a file out now, so that the fsync soon after is quick."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def lock(
    folder: Folder, name: str, *, tick: Callable[[], None] | None = None, limit: float = 60.0
) -> Iterator[None]:
    """Hold a lock against every other thread and process.

    Args:
        folder: where the lock file is.
        name: of the lock file, which is removed on release.
        tick: called while waiting; may raise (Cancel).
        limit: seconds to wait.

    Raises:
        StoreLocked: another one held it for longer than ``limit``.
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
            # The last holder removed the file: a lock on that one would guard nothing.
            if os.fstat(fd).st_nlink:
                return fd
        except BlockingIOError:
            pass
        except PermissionError:  # pragma: no cover - how Windows says "held"
            pass
        os.close(fd)
    return None
