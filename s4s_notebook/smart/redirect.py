"""A sign-in that comes back by itself, while a cell may be waiting for it.

The reply arrives in files that our Jupyter server pages write (:mod:`..rendezvous`), at a
listener on 127.0.0.1, or by pasting; a thread of the kernel takes it to the connection.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import AuthorizationError, S4SError
from .loopback import Listener
from .mailbox import Rendezvous, digest

TICK = 0.2  # seconds between looks into the folder
LIFETIME = 900.0  # seconds that a reply is let in


class _Login(Protocol):
    @property
    def state_hash(self) -> str: ...


class Signable(Protocol):
    """The part of a Connection that signing in needs."""

    @property
    def redirect_uri(self) -> str | None: ...
    @property
    def login(self) -> _Login | None: ...
    def authorize_url(self, redirect_uri: str | None = None) -> str: ...
    def finish(self, redirected_url: str) -> object: ...


class SignIn:
    """Brings the browser's reply to ``connection.finish``.

    Args:
        connection: what signs in.
        on_problem: told, in plain text, what went wrong; ``""`` when a new attempt starts.
        runtime: the Jupyter runtime folder; by default where this kernel's own file lies.

    Attributes:
        panel: the name of the start page; good for as long as this kernel runs.
        listener: on 127.0.0.1, or None while the Jupyter server does the work.
    """

    def __init__(
        self,
        connection: Signable,
        *,
        on_problem: Callable[[str], None],
        runtime: Path | None = None,
    ) -> None:
        self._connection = connection
        self._on_problem = on_problem
        self._expected: dict[str, tuple[str, float]] = {}  # state hash: redirect address, until
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._rendezvous = Rendezvous(runtime or runtime_folder())
        self.panel = self._rendezvous.open_panel()
        self.listener: Listener | None = None
        self._registered = connection.redirect_uri
        if self._registered or not self._rendezvous.server_is_here():
            self.listen()
        run = contextvars.copy_context().run
        self._thread = threading.Thread(
            target=run, args=(self._watch,), name="s4s sign-in", daemon=True
        )
        self._thread.start()

    def listen(self) -> Listener:
        """Open the address on 127.0.0.1, for a browser that does not see our server pages."""
        with self._lock:
            if self.listener is None:
                port, path = _on_this_machine(self._registered)
                self.listener = Listener(self.panel, self._page, self._heard, port, path)
            return self.listener

    def link(self) -> str:
        """Return the holder's page for a browser elsewhere; its reply has to be pasted."""
        return self._page(self.listen().redirect_uri)

    def paste(self, redirected_url: str) -> None:
        """Finish with an address that the person copied. Returns at once."""
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._finish, redirected_url),
            name="s4s pasted reply",
            daemon=True,
        ).start()

    def close(self) -> None:
        """End the routes; nothing of this sign-in stays on disk."""
        self._closed.set()
        self._thread.join(5)
        for name in list(self._expected):
            self._rendezvous.unexpect(name)
        self._rendezvous.close_panel(self.panel)
        if self.listener is not None:
            self.listener.close()

    @property
    def must_paste(self) -> bool:
        """Whether the registered redirect address leads where nobody listens for us."""
        return self._registered is not None and _on_this_machine(self._registered)[0] == 0

    def _page(self, redirect_uri: str) -> str:
        """Return the holder's page; from now on one reply to it is let in.

        A client that somebody registered by hand has its own redirect address; another one
        would be refused by the holder.
        """
        self._on_problem("")
        redirect_uri = self._registered or redirect_uri
        url = self._connection.authorize_url(redirect_uri)
        login = self._connection.login
        if login is None:
            raise AuthorizationError("There is nothing to authorise.", hint="Go on: it is open.")
        self._expected[login.state_hash] = (redirect_uri, time.monotonic() + LIFETIME)
        self._rendezvous.expect(login.state_hash)
        return url

    def _watch(self) -> None:
        while not self._closed.wait(TICK):
            with contextlib.suppress(FileNotFoundError):  # somebody cleaned the folder up
                self._answer_asks()
                self._take_replies()

    def _answer_asks(self) -> None:
        for number, redirect_uri in self._rendezvous.asks(self.panel):
            try:
                url = self._page(redirect_uri)
            except S4SError as error:
                self._on_problem(str(error))
                self._rendezvous.answer(self.panel, number, problem=error.problem)
            else:
                login = self._connection.login
                name = login.state_hash if login else ""
                self._rendezvous.answer(self.panel, number, url=url, name=name)

    def _take_replies(self) -> None:
        for name, (redirect_uri, until) in list(self._expected.items()):
            reply = self._rendezvous.reply(name)
            if reply is not None:
                self._forget(name)
                self._finish(f"{redirect_uri}?{urlencode(reply)}")
            elif time.monotonic() > until:
                self._forget(name)

    def _heard(self, query: str) -> str:
        """Take a reply that came to the listener; return how its page ends."""
        if not self._is_expected(query):
            return "unknown"
        redirect_uri = self.listen().redirect_uri
        if self._finish(f"{redirect_uri}?{query}"):
            return "done"
        return "declined"

    def _is_expected(self, query: str) -> bool:
        try:
            values = parse_qsl(query, max_num_fields=50)
        except ValueError:  # more fields than a reply can have
            return False
        states = [value for key, value in values if key == "state"]
        if not states:  # S4S's own server declines without a state
            return bool(self._expected) and any(key == "error" for key, _ in values)
        with self._lock:
            known = [name for state in states if (name := digest(state)) in self._expected]
            for name in known:
                self._forget(name)
        return bool(known)

    def _forget(self, name: str) -> None:
        self._expected.pop(name, None)
        self._rendezvous.unexpect(name)

    def _finish(self, redirected_url: str) -> bool:
        try:
            self._connection.finish(redirected_url)
        except S4SError as error:
            self._on_problem(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - on a thread, only the panel can tell
            self._on_problem(f"The sign-in failed: {type(error).__name__}.")
            return False
        return True


def _on_this_machine(redirect_uri: str | None) -> tuple[int, str]:
    """Return port and path at which a listener can serve this address; 0 where it cannot."""
    address = urlsplit(redirect_uri or "")
    if address.scheme == "http" and address.hostname in {"127.0.0.1", "localhost"}:
        return address.port or 80, address.path or "/"
    return 0, "/callback"


def runtime_folder() -> Path:
    """Return the folder of this kernel's connection file, which its Jupyter server made."""
    from jupyter_core.paths import jupyter_runtime_dir

    from_kernel = _connection_file()
    return from_kernel.parent if from_kernel else Path(jupyter_runtime_dir())


def _connection_file() -> Path | None:
    try:
        from ipykernel.connect import get_connection_file
    except ImportError:
        return None
    try:
        return Path(get_connection_file())
    except RuntimeError:  # no kernel in this process
        return None
