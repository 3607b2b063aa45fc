"""Where an approval may be kept: the system keyring, a 0600 file, or this process's memory.

An entry belongs to one issuer, client and patient and is given back for exactly those. All
kinds implement :class:`.tokens.TokenStore`: ``lock() load() saved() save() forget()``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from .. import private_files as private_files
from ..errors import StoreError, UnsafeStore
from ..http.redact import Secret

_SERVICE = "s4s-notebook"
_FOLDER = "tokens"
_RING = ".ring"
_LARGEST = 1 << 16  # bytes
_Key = tuple[str, str, str]


class FileTokenStore:
    """A token store in ``<root>/tokens/``, readable by its owner only."""

    _END = ""

    def __init__(
        self, root: private_files.Folder, issuer: str, client_id: str, patient: str
    ) -> None:
        self.key: _Key = (issuer, client_id, patient)
        self._name = hashlib.sha256("\0".join(self.key).encode()).hexdigest()[:40]
        with private_files.disk("opening the folder for tokens"):
            self._folder = root.child(_FOLDER, create=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One refresh at a time, over all threads and processes."""
        with private_files.lock(self._folder, f"{self._name}.lock"):
            yield

    def load(self) -> dict[str, Any] | None:
        """Return the saved grant; None when there is none, or an incomplete file.

        Raises:
            UnsafeStore: others can read the file.
        """
        text = self._read()
        if text is None:
            return None
        try:
            content = json.loads(text)
        except ValueError:
            return None
        # The name is a hash already; the key inside guards against a file moved by hand.
        if not isinstance(content, dict) or content.get("for") != list(self.key):
            return None
        grant = content.get("grant")
        return grant if isinstance(grant, dict) else None

    def saved(self) -> bool:
        """Return whether a grant is saved, readable or not."""
        with private_files.disk("looking for a token"):
            return self._folder.has(self._name + self._END)

    def save(self, grant: dict[str, Any]) -> None:
        """Save the grant in one step."""
        self._write(json.dumps({"for": list(self.key), "grant": grant}))

    def forget(self) -> None:
        """Remove the grant."""
        with private_files.disk("forgetting a token"):
            self._folder.remove(self._name + self._END)
            self._folder.sync()

    def _read(self) -> str | None:
        with private_files.disk("reading a token"):
            try:
                fd = self._folder.open(self._name)
            except FileNotFoundError:
                return None
            with open(fd, "rb") as file:
                if os.name != "nt" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise UnsafeStore("Others can read the token file, so it is not used.")
                return file.read(_LARGEST).decode("utf-8", "replace")

    def _write(self, text: str) -> None:
        with private_files.disk("keeping a token"):
            self._folder.write(self._name + self._END, text.encode())


class KeyringTokenStore(FileTokenStore):
    """A token store in the system keyring.

    A file without secrets says that there is an entry, as a keyring cannot list its entries.
    """

    _END = _RING

    def __init__(
        self, root: private_files.Folder, issuer: str, client_id: str, patient: str
    ) -> None:
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
        """Return whether there is a keyring that stores secrets (there is none on Binder)."""
        try:
            import keyring
        except ImportError:
            return False
        return float(keyring.get_keyring().priority) > 0

    def forget(self) -> None:
        """Remove the grant and its entry in the keyring."""
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


class MemoryTokenStore:
    """The approvals of this process: a second connection to a holder needs no second one.

    Args:
        key: holder, client, scope and patient, as they were requested.

    Attributes:
        origins: the origins that the person consented to with this approval.
    """

    _grants: ClassVar[dict[tuple[str, ...], tuple[Secret, tuple[str, ...]]]] = {}
    _locks: ClassVar[dict[tuple[str, ...], threading.RLock]] = {}

    def __init__(self, key: tuple[str, ...]) -> None:
        self._key = key
        self.origins: tuple[str, ...] = self._grants[key][1] if key in self._grants else ()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One refresh at a time, over all threads."""
        with self._locks.setdefault(self._key, threading.RLock()):
            yield

    def load(self) -> dict[str, Any] | None:
        """Return the grant, or None."""
        entry = self._grants.get(self._key)
        return None if entry is None else dict(json.loads(entry[0].reveal()))

    def saved(self) -> bool:
        """Return whether there is a grant."""
        return self._key in self._grants

    def save(self, grant: dict[str, Any]) -> None:
        """Keep the grant, and the origins."""
        self._grants[self._key] = Secret(json.dumps(grant)), self.origins

    def forget(self) -> None:
        """Drop the grant."""
        self._grants.pop(self._key, None)


@contextmanager
def _opening() -> Iterator[None]:
    """Turn the error of a locked or broken keyring into a StoreError."""
    from keyring.errors import KeyringError

    try:
        yield
    except KeyringError as error:
        raise StoreError(
            "The system's keyring does not open.",
            hint="Unlock it and call again, or connect without remember=.",
        ) from error


def remembered(
    root: private_files.Folder, issuer: str | None = None, patient: str | None = None
) -> list[FileTokenStore]:
    """Return the token stores of all saved sign-ins, or of one issuer or patient."""
    stores: list[FileTokenStore] = []
    with private_files.disk("looking for tokens"), suppress(FileNotFoundError, NotADirectoryError):
        tokens = root.child(_FOLDER)
        for name in tokens.names():
            key = _key_of(tokens, name)
            if key is not None and issuer in (None, key[0]) and patient in (None, key[2]):
                make = KeyringTokenStore if name.endswith(_RING) else FileTokenStore
                stores.append(make(root, *key))
        tokens.close()
    return stores


def _key_of(tokens: private_files.Folder, name: str) -> _Key | None:
    """Whose sign-in a file is about; None for locks, links, and what was torn."""
    if tokens.size(name) is None:
        return None
    with open(tokens.open(name), "rb") as file, suppress(ValueError):
        content = json.loads(file.read(_LARGEST))
        key = content.get("for") if isinstance(content, dict) else None
        if isinstance(key, list) and len(key) == 3 and all(isinstance(k, str) for k in key):
            return key[0], key[1], key[2]
    return None
