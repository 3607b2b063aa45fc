"""Until when a holder wants no request: shared by all processes of this user, store or no store.

One small file a wait, in the user's private state folder (:func:`state_folder`). Its name is a
salted hash of what waits: the address of a study for its images, else the address without its
query. So it holds neither names nor ids. The wait ends by the boot clock, which nobody can set,
as long as the machine was not restarted; after a restart, and on systems without
``/proc/sys/kernel/random/boot_id``, by the wall clock, but never later than the seconds that were
asked for: a clock set ahead then shortens the wait, and one set back by a day does not lengthen it
by more than itself.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import sys
import threading
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from ..errors import StoreError
from ..private_files import Folder, disk, lock, write_all
from ..task import Clock, SystemClock

_STUDY = re.compile(r".*/studies/[0-9.]+")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SALT, _LOCK = "salt", ".lock"
_MOST_BYTES = 1024
_log = logging.getLogger(__name__)


def state_folder() -> Path:
    """Return the folder of this user's state of s4s; it need not exist.

    ``$XDG_STATE_HOME/s4s-notebook``, by default below ``~/.local/state``; on macOS and Windows
    where programs there store such files.
    """
    if sys.platform == "win32":  # pragma: no cover - POSIX is what the tests run on
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "s4s-notebook"
    if sys.platform == "darwin":  # pragma: no cover
        return Path.home() / "Library" / "Application Support" / "s4s-notebook"
    folder = os.environ.get("XDG_STATE_HOME", "")
    base = Path(folder) if os.path.isabs(folder) else Path.home() / ".local" / "state"
    return base / "s4s-notebook"


@cache
def boot_id() -> str:
    """Return the id of the machine's current run, or "" where the system has none."""
    with suppress(OSError):
        return _BOOT_ID.read_text("ascii").strip()
    return ""


def scope(url: str) -> str:
    """Return what waits together: a study with all below it, else an address without its query.

    >>> scope("https://h/wado/studies/1.2/series/1.3/instances/1.4?x=1")
    'https://h/wado/studies/1.2'
    >>> scope("https://h/fhir/ImagingStudy?patient=7")
    'https://h/fhir/ImagingStudy'
    """
    address = re.split(r"[?#]", url, maxsplit=1)[0]
    study = _STUDY.match(address)
    return study[0] if study else address


@dataclass(frozen=True, slots=True)
class StoredWait:
    """A wait that a holder asked for.

    Attributes:
        until: when it ends, POSIX seconds by the wall clock.
        seconds: its length when it began.
        boot: :func:`boot_id` of the machine when it began.
        boot_until: when it ends, by that run's clock.
        status: the HTTP status that asked for it.
    """

    until: float
    seconds: float
    boot: str
    boot_until: float
    status: int

    def remaining(self, clock: Clock) -> float:
        """Return the seconds left, at most those that were asked for."""
        if self.boot and self.boot == boot_id():
            left = self.boot_until - clock.monotonic()
        else:
            left = self.until - clock.time()
        return max(0.0, min(left, self.seconds))


class Waits:
    """The waits of this process, and where there is a folder those of all processes.

    Safe to use from many threads and processes. A folder that cannot be used is reported in the
    log once; the waits then last as long as the process.

    Args:
        folder: where they are stored; None stores nothing.
        clock: the clock that waits are measured by.
    """

    def __init__(self, folder: Path | None, clock: Clock | None = None) -> None:
        self._path, self._clock = folder, clock or SystemClock()
        self._memory: dict[str, StoredWait] = {}
        self._guard = threading.Lock()
        self._swept = False

    @classmethod
    def of_user(cls, clock: Clock | None = None) -> Waits:
        """Return the waits of this user, of every connection and process."""
        return cls(state_folder() / "waits", clock)

    def until(self, url: str) -> float | None:
        """Return until when nothing is requested there, POSIX seconds; None: it does not wait.

        Args:
            url: any address of a study, for its images; else that of a search or a document,
                with or without its query, as ``{base}/ImagingStudy``.
        """
        wait = self.get(url)
        return None if wait is None else self._clock.time() + wait.remaining(self._clock)

    def get(self, url: str) -> StoredWait | None:
        """Return the wait of an address that has not ended, or None."""
        key = scope(url)
        candidates = [self._memory.get(key), self._read(key)]
        waits = [w for w in candidates if w is not None and w.remaining(self._clock) > 0]
        return max(waits, key=lambda wait: wait.remaining(self._clock), default=None)

    def set(self, url: str, seconds: float, status: int) -> None:
        """Store a wait that begins now; a longer one that is stored already stays.

        Args:
            url: what was requested.
            seconds: how long nothing may be requested there.
            status: the HTTP status that asked for it, 0 for a lost connection.
        """
        key = scope(url)
        wait = StoredWait(
            self._clock.time() + seconds,
            seconds,
            boot_id(),
            self._clock.monotonic() + seconds,
            status,
        )
        with self._guard:
            earlier = self._memory.get(key)
            if earlier is None or earlier.remaining(self._clock) < seconds:
                self._memory = (
                    {k: w for k, w in self._memory.items() if w.remaining(self._clock) > 0}
                    if len(self._memory) > 1000
                    else self._memory
                )
                self._memory[key] = wait
        if self._path is not None:
            try:
                self._write(self._path, key, wait)
            except StoreError as error:
                self._give_up(error)

    def _give_up(self, error: StoreError) -> None:
        _log.warning("Waits are not stored for other processes: %s", error)
        self._path = None

    def _read(self, key: str) -> StoredWait | None:
        if self._path is None or not self._path.is_dir():
            return None
        try:
            with disk("reading the stored waits"), closing(Folder.root(self._path)) as folder:
                salt = _content(folder, _SALT)
                return _parsed(_content(folder, _name(salt, key))) if salt else None
        except StoreError as error:
            self._give_up(error)
            return None

    def _write(self, path: Path, key: str, wait: StoredWait) -> None:
        with (
            disk("storing a wait"),
            closing(Folder.root(path)) as folder,
            lock(folder, _LOCK),
        ):
            salt = _content(folder, _SALT)
            if not salt:
                salt = secrets.token_bytes(32)
                folder.write(_SALT, salt)
            if not self._swept:
                self._sweep(folder)
            name = _name(salt, key)
            earlier = _parsed(_content(folder, name))
            if earlier is None or earlier.remaining(self._clock) < wait.seconds:
                _replace(folder, name, json.dumps(asdict(wait)).encode())

    def _sweep(self, folder: Folder) -> None:
        """Remove what has ended, once a process."""
        self._swept = True
        for name in folder.names():
            if name not in (_SALT, _LOCK):
                wait = _parsed(_content(folder, name))
                if wait is None or wait.remaining(self._clock) <= 0:
                    folder.remove(name)


def _name(salt: bytes, key: str) -> str:
    return hashlib.sha256(salt + key.encode("utf-8", "surrogatepass")).hexdigest()


def _content(folder: Folder, name: str) -> bytes:
    """Return a small file; nothing where there is none."""
    try:
        fd = folder.open(name)
    except FileNotFoundError:
        return b""
    with os.fdopen(fd, "rb") as file:
        return file.read(_MOST_BYTES)


def _replace(folder: Folder, name: str, content: bytes) -> None:
    """Write a complete file in one step. It need outlive a killed process, but no power cut."""
    part = f".part-{name}"
    folder.remove(part)
    fd = folder.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(fd, content)
    finally:
        os.close(fd)
    folder.move(part, folder, name)


def _parsed(content: bytes) -> StoredWait | None:
    """Return the wait in a file; None where there is none, or the file is another program's."""
    try:
        wait = StoredWait(**json.loads(content))
    except (ValueError, TypeError):
        return None
    numbers = (wait.until, wait.seconds, wait.boot_until, wait.status)
    fits = isinstance(wait.boot, str) and all(type(n) in (int, float) for n in numbers)
    return wait if fits else None
