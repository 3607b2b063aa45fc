"""The addresses of holders that somebody connected to, for the next time.

Addresses only, never a token, a client or a patient: they stand in ``holders.json`` (0600) in
the user's own configuration folder, and go with ``Connection.forget()``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from ..private_files import Folder, disk

MOST = 12  # addresses; the oldest goes first
MAX_BYTES = 64 * 1024
_FILE = "holders.json"
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


def config_folder() -> Path:
    """Return the folder of this user's settings for s4s; it need not exist.

    ``$XDG_CONFIG_HOME/s4s-notebook``, by default below ``~/.config``; on macOS and Windows
    where programs there keep such things.
    """
    if sys.platform == "win32":  # pragma: no cover - POSIX is what the tests run on
        return Path(os.environ.get("APPDATA") or Path.home()) / "s4s-notebook"
    if sys.platform == "darwin":  # pragma: no cover
        return Path.home() / "Library" / "Application Support" / "s4s-notebook"
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(named) if os.path.isabs(named) else Path.home() / ".config") / "s4s-notebook"


class Holders:
    """The remembered addresses, latest first.

    Args:
        folder: by default :func:`config_folder`. It is made when the first address is kept.

    Each method may raise UnsafeStore (a link or somebody else's folder is in the way) and
    DiskProblem (the disk refused).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = folder or config_folder()

    def all(self) -> list[str]:
        """Return the addresses; none where nothing is kept, or nothing of ours."""
        if not self._path.is_dir():
            return []
        with disk("reading the remembered holders"):
            folder = Folder.root(self._path)
            try:
                fd = folder.open(_FILE)
            except FileNotFoundError:
                return []
            finally:
                folder.close()
            with os.fdopen(fd, "rb") as file:
                return _addresses(file.read(MAX_BYTES))

    def add(self, base: str) -> None:
        """Put ``base`` first. An address on this machine is not kept: its port passes."""
        if urlsplit(base).hostname not in _HERE:
            self._write([base, *(each for each in self.all() if each != base)][:MOST])

    def remove(self, base: str) -> None:
        """Forget ``base``; nothing is touched where it is not kept."""
        kept = self.all()
        if base in kept:
            self._write([each for each in kept if each != base])

    def _write(self, addresses: list[str]) -> None:
        with disk("keeping the remembered holders"):
            folder = Folder.root(self._path)
            try:
                folder.write(_FILE, json.dumps(addresses, indent=1).encode())
            finally:
                folder.close()


def _addresses(content: bytes) -> list[str]:
    """Return what a file of ours holds; whatever else stands there is left out."""
    try:
        found = json.loads(content)
    except ValueError:  # cut short or not ours: as if nothing were remembered
        return []
    listed = found if isinstance(found, list) else []
    return [
        each
        for each in listed
        if isinstance(each, str) and each.startswith(("https://", "http://"))
    ][:MOST]
