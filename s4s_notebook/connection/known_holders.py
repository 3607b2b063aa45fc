"""The addresses of holders that were connected to before.

Addresses only, never a token, a client or a patient. They are in ``holders.json`` (mode 0600) in
the user's configuration folder; ``Connection.forget()`` removes them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from ..private_files import Folder, disk

MAX_ADDRESSES = 12  # the oldest is dropped first
MAX_BYTES = 64 * 1024
_FILE = "holders.json"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def config_folder() -> Path:
    """Return the folder of this user's settings for s4s; it need not exist.

    ``$XDG_CONFIG_HOME/s4s-notebook``, by default below ``~/.config``; on macOS and Windows
    where programs there store settings.
    """
    if sys.platform == "win32":  # pragma: no cover - POSIX is what the tests run on
        return Path(os.environ.get("APPDATA") or Path.home()) / "s4s-notebook"
    if sys.platform == "darwin":  # pragma: no cover
        return Path.home() / "Library" / "Application Support" / "s4s-notebook"
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".config") / "s4s-notebook"


class Holders:
    """The remembered addresses, latest first.

    Args:
        folder: by default :func:`config_folder`. It is made when the first address is stored.

    Each method may raise UnsafeStore (a link or another user's folder is in the way) and
    DiskProblem (the disk refused).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = folder or config_folder()

    def all(self) -> list[str]:
        """Return the addresses; none where there is no file, or an unreadable one."""
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
        """Put ``base`` first. An address on this machine is left out: its port changes."""
        if urlsplit(base).hostname not in _LOOPBACK:
            self._write(
                [base, *(address for address in self.all() if address != base)][:MAX_ADDRESSES]
            )

    def remove(self, base: str) -> None:
        """Remove ``base``; nothing is written where it is not stored."""
        addresses = self.all()
        if base in addresses:
            self._write([address for address in addresses if address != base])

    def _write(self, addresses: list[str]) -> None:
        with disk("writing the remembered holders"):
            folder = Folder.root(self._path)
            try:
                folder.write(_FILE, json.dumps(addresses, indent=1).encode())
            finally:
                folder.close()


def _addresses(content: bytes) -> list[str]:
    """Return the addresses in the file; leave out anything else."""
    try:
        value = json.loads(content)
    except ValueError:  # cut short or another program's: as if nothing were remembered
        return []
    listed = value if isinstance(value, list) else []
    return [
        address
        for address in listed
        if isinstance(address, str) and address.startswith(("https://", "http://"))
    ][:MAX_ADDRESSES]
