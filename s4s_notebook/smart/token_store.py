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
from contextlib import contextmanager, suppress
from typing import Any

from .. import private_files as system
from ..errors import StoreError, UnsafeStore

_SERVICE = "s4s-notebook"
_FOLDER = "tokens"
_RING = ".ring"
_LARGEST = 1 << 16  # bytes
_Key = tuple[str, str, str]


class FileTokenStore:
    """Keeps a grant in ``<root>/tokens/``, readable by nobody else."""

    _END = ""

    def __init__(self, root: system.Folder, issuer: str, client_id: str, patient: str) -> None:
        self.key: _Key = (issuer, client_id, patient)
        self._name = hashlib.sha256("\0".join(self.key).encode()).hexdigest()[:40]
        with system.disk("opening the folder for tokens"):
            self._folder = root.child(_FOLDER, create=True)

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
            self._folder.remove(self._name + self._END)
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
                return file.read(_LARGEST).decode("utf-8", "replace")

    def _write(self, text: str) -> None:
        with system.disk("keeping a token"):
            self._folder.write(self._name + self._END, text.encode())


class KeyringTokenStore(FileTokenStore):
    """Keeps a grant in the system keyring. A file without secrets says that there is one, as a
    keyring cannot be asked for all that it keeps."""

    _END = _RING

    def __init__(self, root: system.Folder, issuer: str, client_id: str, patient: str) -> None:
        super().__init__(root, issuer, client_id, patient)
        try:
            import keyring
        except ImportError as error:
            raise StoreError(
                "A sign-in is kept in the system's keyring, which cannot be opened from here.",
                hint="pip install 's4s-notebook[keyring]', then call again.",
            ) from error
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
        with _opening():
            if self._read() is not None:
                self._ring.delete_password(_SERVICE, self._name)
        super().forget()

    def _read(self) -> str | None:
        with _opening():
            return self._ring.get_password(_SERVICE, self._name)  # type: ignore[no-any-return,unused-ignore] # keyring is untyped

    def _write(self, text: str) -> None:
        super()._write(json.dumps({"for": list(self.key)}))
        with _opening():
            self._ring.set_password(_SERVICE, self._name, text)


@contextmanager
def _opening() -> Iterator[None]:
    """A keyring that is locked or broken is an error that says so."""
    from keyring.errors import KeyringError

    try:
        yield
    except KeyringError as error:
        raise StoreError(
            "The system's keyring does not open.",
            hint="Unlock it and call again, or connect without remember=.",
        ) from error


def remembered(
    root: system.Folder, issuer: str | None = None, patient: str | None = None
) -> list[FileTokenStore]:
    """The keepers of every sign-in that is kept, of one issuer and patient where they are given."""
    found: list[FileTokenStore] = []
    with system.disk("looking for tokens"), suppress(FileNotFoundError, NotADirectoryError):
        tokens = root.child(_FOLDER)
        for name in tokens.names():
            key = _key_of(tokens, name)
            if key is not None and issuer in (None, key[0]) and patient in (None, key[2]):
                make = KeyringTokenStore if name.endswith(_RING) else FileTokenStore
                found.append(make(root, *key))
        tokens.close()
    return found


def _key_of(tokens: system.Folder, name: str) -> _Key | None:
    """Whose sign-in a file is about; None for locks, links, and what was torn."""
    if tokens.size(name) is None:
        return None
    with open(tokens.open(name), "rb") as file, suppress(ValueError):
        kept = json.loads(file.read(_LARGEST))
        key = kept.get("for") if isinstance(kept, dict) else None
        if isinstance(key, list) and len(key) == 3 and all(isinstance(k, str) for k in key):
            return key[0], key[1], key[2]
    return None
