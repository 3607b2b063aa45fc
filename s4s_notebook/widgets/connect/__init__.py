"""The Connect panel: the data holder, the Authorise link, and the status of the sign-in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anywidget
import ipywidgets
import traitlets

from ...errors import AuthorizationError
from ...smart.redirect import SignIn
from ...wording import safe_text
from ..bundle import link, style
from ..comm import Channel, run_action

_DISCOVERY = {
    "well-known": "It describes its sign-in at .well-known/smart-configuration.",
    "metadata": "It describes its sign-in in its CapabilityStatement.",
    "none": "It offers no sign-in.",
}
_STATUS = {
    "not authorised": "Not authorised yet.",
    "waiting for approval": "Waiting for approval in the holder's page.",
    "declined": "Declined: nothing was shared.",
    "expired": "The approval is over. Authorise again; what was downloaded stays.",
    "withdrawn": "The holder no longer accepts the approval. Authorise again; "
    "what was downloaded stays.",
    "open": "Open: this holder needs no sign-in.",
}
_Made = TypeVar("_Made")
_sign_ins: WeakKeyDictionary[Any, SignIn] = WeakKeyDictionary()
_NOTHING_TO_AUTHORISE = frozenset({"approved", "open"})


class ConnectPanel(anywidget.AnyWidget):
    """Shows one connection's sign-in and brings it to an end.

    Nothing secret is in the state that travels to the browser and may be saved: no state, no
    code, no client secret, no authorise address.
    """

    _esm = link("connect/connect.js")
    _css = style("connect/connect.css")
    picture = traitlets.Dict().tag(sync=True)
    line = traitlets.Instance(Channel).tag(sync=True, **ipywidgets.widget_serialization)

    def __init__(self, connection: Any, *, runtime: Path | None = None) -> None:
        self._connection = connection
        self._problem = ""
        self._manage = ""
        self._typed = False  # a client's id and secret, in this panel
        self._lock = threading.Lock()
        self.sign_in = SignIn(
            self._begin_sign_in,
            connection.session.finish,
            on_problem=self._say,
            redirect_uri=connection.session.redirect_uri,
            runtime=runtime,
        )
        self._problem = _lines(self.sign_in.problem)
        _sign_ins[connection.session] = self.sign_in
        super().__init__(picture=self._drawn(), line=Channel(self._from_browser))
        connection.session.on_status(lambda *_: self._draw())

    @property
    def text(self) -> str:
        """The panel in one line."""
        return f"{self.picture['title']}: {self.picture['status']}"

    def __repr__(self) -> str:
        # Stays in a saved notebook, so it says nothing that passes.
        return "Connect: press Authorise in this panel (it needs a notebook that shows widgets)."

    def _begin_sign_in(self, redirect_uri: str) -> tuple[str, str]:
        """Return the holder's page and the hash of the sign-in's state."""
        session = self._connection.session
        url = session.authorize_url(redirect_uri)
        if session.login is None:
            raise AuthorizationError("There is nothing to authorise.", hint="Go on: it is open.")
        return url, session.login.state_hash

    def _say(self, problem: str) -> None:
        declined = self._connection.status == "declined"  # which the status says
        self._problem = "" if declined else _lines(problem)
        self._draw()

    def _draw(self) -> None:
        with self._lock:
            self.picture = self._drawn()

    def _drawn(self) -> dict[str, Any]:
        connection = self._connection
        status = connection.status
        authorise = status not in _NOTHING_TO_AUTHORISE
        needs_client = authorise and _needs_client(connection)
        listener = self.sign_in.listener
        return {
            "title": safe_text(connection.holder.base),
            "facts": _facts(connection),
            "status": _status(connection),
            "problem": self._problem,
            "authorise": authorise and not needs_client,
            "needs_client": needs_client,
            "client_form": needs_client or self._client_is_wrong(),
            "revocable": status == "approved",
            "manage": self._manage,
            "paste": self.sign_in.must_paste,
            "panel": self.sign_in.panel,
            "local": listener.start_url if listener else "",
        }

    def _client_is_wrong(self) -> bool:
        """Whether a client that was typed here may be why it failed: it can be typed again."""
        return bool(self._typed and self._problem and self._connection.status != "approved")

    def _from_browser(self, content: Mapping[str, Any]) -> None:
        """Run what was pressed."""
        actions: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "listen": self._listen,
            "link": self._link,
            "paste": self._paste,
            "client": self._client,
            "revoke": self._revoke,
            "forget": self._forget,
        }
        action = actions.get(str(content.get("do")))
        if action is not None:
            run_action(partial(action, content), self._say)

    def _listen(self, _content: Mapping[str, Any]) -> None:
        self.sign_in.listen()
        self._draw()

    def _link(self, _content: Mapping[str, Any]) -> None:
        self.line.send({"link": self.sign_in.link()})

    def _paste(self, content: Mapping[str, Any]) -> None:
        self._say("")
        self.sign_in.paste(str(content.get("url", "")))

    def _client(self, content: Mapping[str, Any]) -> None:
        self._say("")
        secret = str(content.get("client_secret") or "") or None
        self._connection.session.use_client(str(content.get("client_id", "")), secret)
        self._typed = True
        self._draw()

    def _revoke(self, _content: Mapping[str, Any]) -> None:
        self._say("")
        outcome = self._connection.revoke()
        self._manage = "" if outcome == "revoked" else str(outcome or "")
        self._draw()

    def _forget(self, _content: Mapping[str, Any]) -> None:
        self._say("")
        self._connection.forget()
        self._draw()


def _needs_client(connection: Any) -> bool:
    return connection.holder.register is None and connection.session.client_id is None


def _facts(connection: Any) -> list[str]:
    """Return what to know before pressing Authorise, and once approved, what was allowed."""
    if connection.status == "approved":
        return _granted(connection.session.grant)
    if connection.status in _NOTHING_TO_AUTHORISE:
        return []
    holder = connection.holder
    facts = [_DISCOVERY.get(holder.source, "")]
    facts += [safe_text(note) for note in connection.notes]
    facts += [
        f"{safe_text(origin)} gets {'; '.join(gets)}."
        for origin, gets in holder.sign_in_origins.items()
    ]
    facts += [
        f"Images come from {safe_text(origin)}. Authorise also lets them be fetched from there."
        for origin in holder.imaging_origins
    ]
    return [fact for fact in facts if fact]


def _granted(grant: Any) -> list[str]:
    if grant is None:
        return []
    facts = [f"Allowed: {safe_text(grant.scope, 120)}"] if grant.scope else []
    if grant.expires_at:
        until = datetime.fromtimestamp(grant.expires_at, UTC).astimezone()
        then = "then it is renewed" if grant.refresh_token else "then authorise again"
        facts.append(f"Until {until:%H:%M} ({until:%Z}), {then}.")
    return facts


def _status(connection: Any) -> str:
    if connection.status != "approved":
        return _STATUS[connection.status]
    patient = connection.patient_id
    return f"Approved · patient {safe_text(patient, 64)}" if patient else "Approved"


def _lines(problem: str) -> str:
    return "\n".join(safe_text(line) for line in problem.splitlines())


def sign_in_of(session: Any) -> SignIn | None:
    """Return the sign-in of the last panel of a session, or None."""
    return _sign_ins.get(session)


def connect_panel(connection: Any) -> ConnectPanel:
    """Return a panel with an Authorise link for ``connection``.

    Pressing it opens the holder's page; the reply comes back by itself, also while a cell
    waits (``me.studies()`` in Run All goes on once approved).
    """
    return ConnectPanel(connection)


def opened(make: Callable[[], _Made], url: str) -> _Made:
    """Return the connection that ``make`` creates, its panel shown in the running cell.

    While the holder at ``url`` is asked how one signs in, a line there says so; the panel then
    takes its place. Without ``url`` the line is left out.
    """
    from IPython.display import display

    if not url:
        connection = make()
        display(connect_panel(connection))  # type: ignore[no-untyped-call]
        return connection
    handle = display(  # type: ignore[no-untyped-call]
        {"text/plain": f"Asking {safe_text(url)} how one signs in…"}, raw=True, display_id=True
    )
    try:
        connection = make()
    except BaseException:
        handle.update({"text/plain": "There is no sign-in to show."}, raw=True)
        raise
    data, metadata = connect_panel(connection)._repr_mimebundle_() or ({}, {})
    handle.update(data, metadata=metadata, raw=True)
    return connection


PATIENCE = 600.0  # seconds; no answer is a refusal
_TICK = 0.2  # a longer wait would hold the interrupt button up


class OriginQuestion(anywidget.AnyWidget):
    """Asks whether ``origin`` may be sent this connection's approval.

    >>> "https://images.example" in OriginQuestion("https://images.example").question
    True
    """

    _esm = link("connect/ask.js")
    _css = style("connect/ask.css")
    question = traitlets.Unicode().tag(sync=True)
    line = traitlets.Instance(Channel).tag(sync=True, **ipywidgets.widget_serialization)

    def __init__(self, origin: str) -> None:
        self._origin = safe_text(origin)
        self._answered = threading.Event()
        self._allowed = False
        super().__init__(
            question=f"This connection leads to {self._origin}, another server than the holder's. "
            "May your approval be sent there?",
            line=Channel(self._from_browser),
        )

    def __repr__(self) -> str:
        return self.question

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Return what the person answered; False after ``seconds`` without an answer."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._answered.wait(_TICK):
                return self._allowed
        return False

    def outcome(self) -> str:
        """Return the line that a saved notebook stores."""
        verdict = "allowed" if self._allowed else "refused"
        return f"{self._origin}: {verdict}."

    def _from_browser(self, content: Mapping[str, Any]) -> None:
        self._allowed = content.get("do") == "allow"
        self._answered.set()


def ask_origin(origin: str) -> bool:
    """Show the question and wait for the answer, also while the kernel is busy."""
    from IPython.display import display

    question = OriginQuestion(origin)
    data, metadata = question._repr_mimebundle_() or ({}, {})
    handle = display(  # type: ignore[no-untyped-call]
        data, metadata=metadata, raw=True, display_id=True
    )
    allowed = question.wait()
    handle.update({"text/plain": question.outcome()}, raw=True)
    return allowed
