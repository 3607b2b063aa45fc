"""Where a refresh token may be kept between sessions: the system keyring, or a 0600 file.

An entry belongs to one issuer, client and patient and is given back for exactly those. Both
kinds implement ``protocol.tokens.Keeper``: ``lock() load() save() forget()``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import UnsafeStore
from . import system

_SERVICE = "s4s-notebook"
_Key = tuple[str, str, str]


class FileKeeper:
    """Keeps a grant in ``<root>/tokens/``, readable by nobody else."""

    def __init__(self, root: system.Folder, issuer: str, client_id: str, patient: str) -> None:
        self.key: _Key = (issuer, client_id, patient)
        self._name = hashlib.sha256("\0".join(self.key).encode()).hexdigest()[:40]
        with system.disk("opening the folder for tokens"):
            self._folder = root.child("tokens", create=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One refresh at a time, over all threads and processes."""
        with system.lock(self._folder, f"{self._name}.lock"):
            yield

    def load(self) -> dict[str, Any] | None:
        """What was saved, or None when there is nothing, or a torn file.

        Raises:
            UnsafeStore: others can read the file.
        """
        text = self._read()
        if text is None:
            return None
        try:
            kept = json.loads(text)
        except ValueError:
            return None
        # The name is a hash already; the key inside guards against a file moved by hand.
        if not isinstance(kept, dict) or kept.get("for") != list(self.key):
            return None
        grant = kept.get("grant")
        return grant if isinstance(grant, dict) else None

    def save(self, grant: dict[str, Any]) -> None:
        self._write(json.dumps({"for": list(self.key), "grant": grant}))

    def forget(self) -> None:
        with system.disk("forgetting a token"):
            self._folder.remove(self._name)
            self._folder.sync()

    def _read(self) -> str | None:
        with system.disk("reading a token"):
            try:
                fd = self._folder.open(self._name)
            except FileNotFoundError:
                return None
            with open(fd, "rb") as file:
                if os.name != "nt" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise UnsafeStore("Others can read the token file, so it is not used.")
                return file.read(1 << 16).decode("utf-8", "replace")

    def _write(self, text: str) -> None:
        with system.disk("keeping a token"):
            self._folder.write(self._name, text.encode())


class KeyringKeeper(FileKeeper):
    """Keeps a grant in the system keyring; only the lock is a file."""

    def __init__(self, root: system.Folder, issuer: str, client_id: str, patient: str) -> None:
        super().__init__(root, issuer, client_id, patient)
        import keyring

        self._ring: Any = keyring

    @staticmethod
    def available() -> bool:
        """True when there is a keyring that really keeps secrets (there is none on Binder)."""
        try:
            import keyring
        except ImportError:
            return False
        return float(keyring.get_keyring().priority) > 0

    def forget(self) -> None:
        if self._read() is not None:
            self._ring.delete_password(_SERVICE, self._name)

    def _read(self) -> str | None:
        return self._ring.get_password(_SERVICE, self._name)  # type: ignore[no-any-return,unused-ignore] # keyring is untyped

    def _write(self, text: str) -> None:
        self._ring.set_password(_SERVICE, self._name, text)
