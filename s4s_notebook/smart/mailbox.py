"""The files by which a kernel and the Jupyter server exchange a sign-in.

A waiting cell gets no widget messages, so the redirected browser's reply travels through files
in ``<Jupyter runtime folder>/s4s/``, which only their owner can read::

    panel-<id>             the kernel: a panel waits; its id opens the start page
    ask-<id>-<number>      the server: somebody pressed Authorise; the redirect address to use
    answer-<id>-<number>   the kernel: the holder's page to go on to, or why not
    choice-<id>-<number>   the server: somebody chose a holder in this panel
    expected-<hash>        the kernel: a sign-in waits for its reply; SHA-256 of its state
    reply-<hash>           the server: code, state, error, iss; written once, read once

No token and no PKCE verifier is ever written here. Standard library only: the Jupyter server
imports this, and must stay light.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DiskProblem, UnsafeStore

MAX_PENDING = 16  # sign-ins that one panel may have under way
MAX_BYTES = 64 * 1024
LIFETIME = 24 * 3600.0  # seconds after which a file is a leftover

_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NUMBER = re.compile(r"[0-9a-f]{16}", re.ASCII)


def state_digest(state: str) -> str:
    """Return the SHA-256 of a ``state``, which names the files of its sign-in."""
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()


class Mailbox:
    """The folder, seen from either side.

    Raises:
        UnsafeStore: the folder is a link, belongs to somebody else, or others may enter it.
        DiskProblem: it cannot be made, or a file in it cannot be written.
    """

    def __init__(self, runtime: Path) -> None:
        self.folder = runtime / "s4s"
        with _disk(self.folder):
            self._make()

    def _make(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise UnsafeStore(f"{self.folder} is not a folder of its own.")
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            raise UnsafeStore(f"{self.folder} belongs to somebody else.")
        if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
            self.folder.chmod(0o700)

    # -- the kernel's side

    def open_panel(self) -> str:
        """Announce a panel; its id is what the start page is asked for by."""
        self._sweep()
        panel = secrets.token_hex(32)
        self._write(f"panel-{panel}", {"pid": os.getpid()})
        return panel

    def close_panel(self, panel: str) -> None:
        """Forget a panel and what was asked through it."""
        beginnings = (f"ask-{panel}-", f"answer-{panel}-", f"choice-{panel}-")
        for name in (f"panel-{panel}", *self._names(*beginnings)):
            self._remove(name)

    def sign_in_requests(self, panel: str) -> Iterator[tuple[str, str]]:
        """Take the requests of the start page: number and redirect address."""
        for name in self._names(f"ask-{panel}-"):
            request = self._take(name)
            if request is not None:
                yield name.rpartition("-")[2], str(request.get("redirect_uri", ""))

    def take_choices(self, panel: str) -> Iterator[dict[str, Any]]:
        """Take the choices of holders."""
        for name in self._names(f"choice-{panel}-"):
            choice = self._take(name)
            if choice is not None:
                yield choice

    def answer(
        self, panel: str, number: str, *, url: str = "", name: str = "", problem: str = ""
    ) -> None:
        """Answer a request with the holder's page; ``name`` is the digest of its state."""
        content = {"url": url, "name": name, "problem": problem}
        self._write(f"answer-{panel}-{number}", content)

    def expect_reply(self, state_hash: str) -> None:
        """Accept one reply to this sign-in."""
        with contextlib.suppress(FileExistsError):
            self._write(f"expected-{state_hash}", {})

    def cancel_reply(self, state_hash: str) -> None:
        """Accept no reply any more, and remove an unread one."""
        self._remove(f"expected-{state_hash}")
        self._remove(f"reply-{state_hash}")

    def take_reply(self, state_hash: str) -> dict[str, Any] | None:
        """Take the reply, if it is there."""
        return self._take(f"reply-{state_hash}")

    def has_server(self) -> bool:
        """Return whether a Jupyter server with our extension uses this folder."""
        for name in self._names("server-"):
            pid = name.removeprefix("server-")
            if pid.isdecimal() and _process_runs(int(pid)):
                return True
            self._remove(name)
        return False

    # -- the server's side

    def register_server(self) -> None:
        """Leave a file that says that this server has our pages."""
        with contextlib.suppress(FileExistsError):
            self._write(f"server-{os.getpid()}", {})

    def unregister_server(self) -> None:
        """Remove the file of this server."""
        self._remove(f"server-{os.getpid()}")

    def has_panel(self, panel: str) -> bool:
        """Return whether this panel's kernel still runs; a panel of a dead one is forgotten."""
        if not _ID.fullmatch(panel):
            return False
        made = self._read(f"panel-{panel}")
        if made is None:
            return False
        if _process_runs(int(made.get("pid", 0))):
            return True
        self.close_panel(panel)
        return False

    def request_sign_in(self, panel: str, redirect_uri: str) -> str | None:
        """Request the holder's page from the panel's kernel; None when too many are pending."""
        if len(self._names(f"ask-{panel}-", f"answer-{panel}-")) >= MAX_PENDING:
            return None
        number = secrets.token_hex(8)
        self._write(f"ask-{panel}-{number}", {"redirect_uri": redirect_uri})
        return number

    def add_choice(self, panel: str, choice: Mapping[str, str]) -> bool:
        """Pass on a choice; False when too many choices are pending."""
        if len(self._names(f"choice-{panel}-")) >= MAX_PENDING:
            return False
        self._write(f"choice-{panel}-{time.time_ns():020d}", choice)
        return True

    def take_answer(self, panel: str, number: str) -> dict[str, Any] | None:
        """Take the answer, if it is there."""
        if not _NUMBER.fullmatch(number):
            return None
        return self._take(f"answer-{panel}-{number}")

    def cancel_request(self, panel: str, number: str) -> None:
        """Remove a request and its answer."""
        self._remove(f"ask-{panel}-{number}")
        self._remove(f"answer-{panel}-{number}")

    def deliver_reply(self, state_hash: str, reply: Mapping[str, str]) -> bool:
        """Hand over the browser's reply. True for the first reply of an expected sign-in.

        Whoever removes the ``expected`` file first has the right to write: exactly one wins.
        """
        if not _ID.fullmatch(state_hash):
            return False
        try:
            os.unlink(self.folder / f"expected-{state_hash}")
        except FileNotFoundError:
            return False
        self._write(f"reply-{state_hash}", reply)
        return True

    # -- files

    def _names(self, *beginnings: str) -> list[str]:
        return sorted(
            entry.name for entry in self.folder.iterdir() if entry.name.startswith(beginnings)
        )

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write the complete file or none; FileExistsError when the name is taken."""
        beside = self.folder / f"new-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        try:
            with _disk(self.folder):
                with os.fdopen(os.open(beside, flags, 0o600), "w", encoding="utf-8") as file:
                    json.dump(content, file)
                try:
                    os.link(beside, self.folder / name)
                except FileExistsError:
                    raise
                except OSError:  # a file system without links, as network drives and FAT are
                    self._rename(beside, self.folder / name)
        finally:
            self._remove(beside.name)

    @staticmethod
    def _rename(file: Path, target: Path) -> None:
        """Give a file its name. Two that take one name at once write the same content."""
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "the name is taken", str(target))
        os.replace(file, target)

    def _take(self, name: str) -> dict[str, Any] | None:
        """Read and remove; None when it is not there or is not ours.

        The file is moved first: one that comes between reading and removing would be lost.
        """
        taken = f"new-{secrets.token_hex(8)}"
        try:
            os.rename(self.folder / name, self.folder / taken)
        except FileNotFoundError:
            return None
        content = self._read(taken)
        self._remove(taken)
        return content

    def _read(self, name: str) -> dict[str, Any] | None:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
        try:
            with os.fdopen(os.open(self.folder / name, flags), encoding="utf-8") as file:
                content = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError):  # not there, a planted link, or not written by us
            return None
        return content if isinstance(content, dict) else None

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / name)

    def _sweep(self) -> None:
        old = time.time() - LIFETIME
        for entry in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if entry.lstat().st_mtime < old:
                    entry.unlink()


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system into one of ours that says what would help."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise DiskProblem(
            f"The sign-in's folder {folder} cannot be used: {error.strerror or error}.",
            hint="Set JUPYTER_RUNTIME_DIR to a folder of yours that can be written, and start "
            "Jupyter again. Without a notebook, open the authorise page and paste the address.",
        ) from error


def _process_runs(pid: int) -> bool:
    if pid <= 0:
        return False
    if os.name == "nt":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
