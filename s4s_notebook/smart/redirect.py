"""The redirect of a sign-in: carries the browser's reply to the kernel, also while a cell runs.

The reply arrives in files that the pages of the Jupyter server write (:mod:`.mailbox`), at a
listener on 127.0.0.1 (:mod:`.loopback`), or by pasting. A thread of the kernel passes it on.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from ..errors import AuthorizationError, S4SError
from ..http.origins import split
from .loopback import Listener
from .mailbox import Mailbox, state_digest

POLL_INTERVAL = 0.2  # seconds
REPLY_LIFETIME = 900.0  # seconds for which a reply is accepted


class SignIn:
    """The routes by which the browser's reply reaches this kernel.

    Args:
        begin: starts a sign-in with a redirect address; returns the holder's page and the
            SHA-256 of the sign-in's state (see :attr:`.Login.state_hash`).
        finish: takes the redirected address.
        on_problem: gets, in plain text, what went wrong; ``""`` when a new attempt starts.
        redirect_uri: the redirect address of a client registered by hand; None where any will do.
        runtime: the Jupyter runtime folder; by default that of this kernel's connection file.

    Attributes:
        panel: the name of the start page, valid as long as this kernel runs.
        listener: the one on 127.0.0.1, or None while the Jupyter server does the work.
        problem: why the registered redirect address cannot be served; the reply can be pasted.

    Raises:
        UnsafeStore, DiskProblem: the folder of the replies cannot be used.
        AuthorizationError: no listener can be opened.
    """

    def __init__(
        self,
        begin: Callable[[str], tuple[str, str]],
        finish: Callable[[str], object],
        *,
        on_problem: Callable[[str], None],
        redirect_uri: str | None = None,
        runtime: Path | None = None,
    ) -> None:
        self._begin_sign_in, self._finish_sign_in = begin, finish
        self._on_problem = on_problem
        self._expected: dict[str, tuple[str, float]] = {}  # by state hash
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._mailbox = Mailbox(runtime or jupyter_runtime_folder())
        self.panel = self._mailbox.open_panel()
        self.listener: Listener | None = None
        self._registered = redirect_uri
        self.problem = ""
        if self._registered or not self._mailbox.has_server():
            try:
                self.listen()
            except AuthorizationError as error:
                self.problem = str(error)
        run = contextvars.copy_context().run
        self._thread = threading.Thread(
            target=run, args=(self._poll,), name="s4s sign-in", daemon=True
        )
        self._thread.start()

    def listen(self) -> Listener:
        """Open the listener on 127.0.0.1, for a browser that does not reach our server pages.

        Raises:
            AuthorizationError: the port of the registered redirect address is in use.
        """
        with self._lock:
            if self.listener is None:
                port, path = _loopback_address(self._registered)
                try:
                    self.listener = Listener(
                        self.panel, self._authorize_url, self._receive, port, path
                    )
                except (OSError, OverflowError) as error:
                    raise _cannot_listen(port, error) from error
                self.problem = ""
            return self.listener

    def link(self) -> str:
        """Return the holder's page for a browser elsewhere; its reply has to be pasted."""
        return self._authorize_url(self._registered or self.listen().redirect_uri)

    def paste(self, redirected_url: str) -> None:
        """Finish in the background with an address that the person copied."""
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._finish, redirected_url),
            name="s4s pasted reply",
            daemon=True,
        ).start()

    def close(self) -> None:
        """Close all routes; nothing of this sign-in stays on disk."""
        self._closed.set()
        self._thread.join(5)
        for name in list(self._expected):
            self._mailbox.cancel_reply(name)
        self._mailbox.close_panel(self.panel)
        if self.listener is not None:
            self.listener.close()

    @property
    def must_paste(self) -> bool:
        """Whether the registered redirect address is one that this machine cannot serve."""
        if self._registered is None:
            return False
        return self.listener is None or _loopback_address(self._registered)[0] == 0

    def _authorize_url(self, redirect_uri: str) -> str:
        """Return the holder's page."""
        return self._begin(redirect_uri)[0]

    def _begin(self, redirect_uri: str) -> tuple[str, str]:
        """Return the holder's page and the state's hash; one reply to it is accepted from now on.

        A client that was registered by hand has its own redirect address; the holder would
        refuse another one.
        """
        self._on_problem("")
        redirect_uri = self._registered or redirect_uri
        url, state_hash = self._begin_sign_in(redirect_uri)
        self._expected[state_hash] = (redirect_uri, time.monotonic() + REPLY_LIFETIME)
        self._mailbox.expect_reply(state_hash)
        return url, state_hash

    def _poll(self) -> None:
        while not self._closed.wait(POLL_INTERVAL):
            with contextlib.suppress(FileNotFoundError):  # somebody removed the folder
                self._answer_requests()
                self._take_replies()

    def _answer_requests(self) -> None:
        for number, redirect_uri in self._mailbox.sign_in_requests(self.panel):
            try:
                url, state_hash = self._begin(redirect_uri)
            except S4SError as error:
                self._on_problem(str(error))
                self._mailbox.answer(self.panel, number, problem=error.problem)
            else:
                self._mailbox.answer(self.panel, number, url=url, name=state_hash)

    def _take_replies(self) -> None:
        for name, (redirect_uri, deadline) in list(self._expected.items()):
            reply = self._mailbox.take_reply(name)
            if reply is not None:
                self._forget(name)
                self._finish(f"{redirect_uri}?{urlencode(reply)}")
            elif time.monotonic() > deadline:
                self._forget(name)

    def _receive(self, query: str) -> str:
        """Take a reply from the listener; return the key of the page to show."""
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
        with self._lock:
            expected = [name for state in states if (name := state_digest(state)) in self._expected]
            for name in expected:
                self._forget(name)
        return bool(expected)

    def _forget(self, name: str) -> None:
        self._expected.pop(name, None)
        self._mailbox.cancel_reply(name)

    def _finish(self, redirected_url: str) -> bool:
        try:
            self._finish_sign_in(redirected_url)
        except S4SError as error:
            self._on_problem(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - only the panel can show an error of this thread
            self._on_problem(f"The sign-in failed: {type(error).__name__}.")
            return False
        return True


def _cannot_listen(port: int, error: Exception) -> AuthorizationError:
    reason = getattr(error, "strerror", None) or str(error)
    return AuthorizationError(
        f"The redirect address on port {port} of this machine cannot be served: {reason}.",
        hint="End the program that uses the port and make the panel again; or open the holder's "
        "page all the same and paste the address that the browser ends at.",
    )


def _loopback_address(redirect_uri: str | None) -> tuple[int, str]:
    """Return the port and path of a loopback address; port 0 for any other."""
    address = split(redirect_uri or "")
    if address.scheme == "http" and address.hostname in {"127.0.0.1", "localhost"}:
        return address.port or 80, address.path or "/"
    return 0, "/callback"


def jupyter_runtime_folder() -> Path:
    """Return the folder of this kernel's connection file, which its Jupyter server made."""
    from jupyter_core.paths import jupyter_runtime_dir

    connection_file = _connection_file()
    return connection_file.parent if connection_file else Path(jupyter_runtime_dir())


def _connection_file() -> Path | None:
    try:
        from ipykernel.connect import get_connection_file
    except ImportError:
        return None
    try:
        return Path(get_connection_file())
    except RuntimeError:  # no kernel in this process
        return None
