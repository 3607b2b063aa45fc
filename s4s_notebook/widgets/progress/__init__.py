"""The progress panel: one for every wait and every transfer.

It shows what a :class:`~.Download` or ``Loading`` is doing, with the
countdown to the next try and a Cancel that works while a cell runs. When the work has ended,
the panel gives way to one line of text, which a saved notebook keeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import anywidget
import ipywidgets
import traitlets

from ...errors import AccessDenied
from ...smart.redirect import SignIn
from ...wording import clock, safe_text, size
from ...wording import count as counted
from ..bundle import link, style
from ..comm import Channel, run_action

ENDED = frozenset({"done", "failed", "cancelled"})


class State(Protocol):
    """The state of a Download or Loading; all counts may be None."""

    phase: str
    study_uid: str | None
    seconds_left: float | None
    attempt: int
    instances: int
    instances_expected: int | None
    bytes: int
    bytes_expected: int | None
    rate: float | None
    message: str
    awaits_approval: bool
    error: Any


class Work(Protocol):
    """A Download or a Loading."""

    @property
    def state(self) -> State:
        """The state now."""
        ...

    def subscribe(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call ``callback`` with each state; return what ends that."""
        ...

    def cancel(self) -> None:
        """Stop the work."""


class ProgressPanel(anywidget.AnyWidget):
    """A bar, one line of text and Cancel, for one piece of work.

    ``panel.text`` is the line as it stands now. No address, code or token is in the state
    that travels to the browser: only counts and a sentence.

    Args:
        work: what it follows.
        sign_in: of the connection, so that a line that waits for an approval has an Authorise
            button of its own.
    """

    _esm = link("progress/progress.js")
    _css = style("shared/screen_reader.css", "progress/progress.css")
    picture = traitlets.Dict().tag(sync=True)
    line = traitlets.Instance(Channel).tag(sync=True, **ipywidgets.widget_serialization)

    def __init__(self, work: Work, sign_in: SignIn | None = None) -> None:
        self._work, self._sign_in = work, sign_in
        self._label = label(work.state)
        self._handles: list[Any] = []
        self._final = threading.Event()
        super().__init__(picture=self._picture(work.state), line=Channel(self._from_browser))
        self._unsubscribe = work.subscribe(self._follow)

    @property
    def text(self) -> str:
        """The line of text as it stands now."""
        return str(self.picture["text"])

    def __repr__(self) -> str:
        return self.text

    def display(self) -> None:
        """Show the panel under the running cell; its place later holds the final line."""
        from IPython.display import display

        if self._final.is_set():
            display(_final_line(self.text), raw=True)  # type: ignore[no-untyped-call]
            return
        data, metadata = self._repr_mimebundle_() or ({}, {})
        handle = display(  # type: ignore[no-untyped-call]
            data, metadata=metadata, raw=True, display_id=True
        )
        self._handles.append(handle)
        if self._final.is_set():  # it ended while it was being shown
            handle.update(_final_line(self.text), raw=True)

    def _ipython_display_(self) -> None:
        self.display()

    def _picture(self, state: State) -> dict[str, Any]:
        return {
            "phase": state.phase,
            "label": self._label,
            "text": describe(state),
            "share": share(state),
            "ended": state.phase in ENDED,
            **self._authorise(state),
        }

    def _authorise(self, state: State) -> dict[str, Any]:
        """Return what an Authorise button needs while the work waits for an approval."""
        sign_in = self._sign_in
        if sign_in is None or not state.awaits_approval or state.phase in ENDED:
            return {"authorise": False}
        local = sign_in.listener.start_url if sign_in.listener else ""
        return {"authorise": True, "panel": sign_in.panel, "local": local}

    def _follow(self, state: State) -> None:
        self.picture = self._picture(state)
        if state.phase in ENDED:
            self._final.set()
            for handle in self._handles:
                handle.update(_final_line(self.text), raw=True)

    def _from_browser(self, content: Mapping[str, Any]) -> None:
        if content.get("do") == "cancel":
            self._work.cancel()
        elif self._sign_in is not None and content.get("do") in ("listen", "link"):
            run_action(partial(self._find_route, self._sign_in, content["do"]), lambda _: None)

    def _find_route(self, sign_in: SignIn, action: str) -> None:
        """Do what the Connect panel does for a browser that our server pages do not reach."""
        if action == "link":
            self.line.send({"link": sign_in.link()})
        else:
            sign_in.listen()
            self.picture = self._picture(self._work.state)


def label(state: State) -> str:
    """Return what the work is, for a screen reader."""
    return f"Download of study {safe_text(state.study_uid, 64)}" if state.study_uid else "Loading"


def share(state: State) -> float | None:
    """Return how much is done, 0 to 1, or None where nobody knows."""
    if state.phase == "done":
        return 1.0
    if state.phase != "receiving":
        return None
    for count, expected in (
        (state.bytes, state.bytes_expected),
        (state.instances, state.instances_expected),
    ):
        if expected:
            return min(1.0, count / expected)
    return None


def describe(state: State) -> str:
    """Return the state as one sentence."""
    words = _WORDS.get(state.phase, _plain)
    return words(state)


def _plain(state: State) -> str:
    return safe_text(state.message) or "Working…"


def _waiting(state: State) -> str:
    subject = "The archive is fetching your study" if state.study_uid else "The holder is not ready"
    text = safe_text(state.message)
    return (
        f"{text or subject}: next try in {clock(state.seconds_left or 0)} (try {state.attempt + 1})"
    )


def _receiving(state: State) -> str:
    parts = []
    if state.instances or state.instances_expected:
        of = f" of {state.instances_expected:,}" if state.instances_expected else ""
        parts.append(f"{state.instances:,}{of} instances")
    if state.bytes:
        of = f" of {size(state.bytes_expected)}" if state.bytes_expected else ""
        parts.append(size(state.bytes) + of)
    if state.rate:
        parts.append(f"{size(state.rate)}/s")
        if state.bytes_expected:
            seconds = max(0, state.bytes_expected - state.bytes) / state.rate
            parts.append(f"{clock(seconds)} left")
    if state.message:
        parts.append(safe_text(state.message))
    return " · ".join(parts) or "Receiving…"


def _done(state: State) -> str:
    if not state.study_uid and not state.instances:
        return f"✔ {safe_text(state.message) or 'Loaded.'}"
    received = f"{counted(state.instances, 'instance')}, {size(state.bytes)}"
    if not state.study_uid:
        return f"✔ {received}: {safe_text(state.message)}"
    return f"✔ Study {safe_text(state.study_uid, 64)}: {received}"


def _failed(state: State) -> str:
    if isinstance(state.error, AccessDenied):  # the panel and the cell say it
        return "✘ Nothing was loaded."
    problem = getattr(state.error, "problem", state.error)
    return f"✘ {safe_text(problem or state.message or 'That failed.', 600)}"


def _cancelled(state: State) -> str:
    images = bool(state.study_uid or state.instances)
    stored = f"; {counted(state.instances, 'instance')} kept" if images else ""
    return f"■ Cancelled{stored}. Call again to go on."


_WORDS: Mapping[str, Callable[[State], str]] = {
    "queued": lambda _state: "Waiting for its turn…",
    "asking": lambda state: safe_text(state.message) or "Asking the holder…",
    "waiting": _waiting,
    "receiving": _receiving,
    "done": _done,
    "failed": _failed,
    "cancelled": _cancelled,
}


def _final_line(text: str) -> dict[str, str]:
    return {"text/plain": text}


def progress_panel(work: Work, sign_in: SignIn | None = None) -> ProgressPanel:
    """Return a panel that follows a Download or Loading to its end.

    Nothing is fetched by it, and closing it stops nothing: two panels may follow one download.
    """
    return ProgressPanel(work, sign_in)


def show_progress(work: Work, sign_in: SignIn | None = None) -> None:
    """Show a panel for ``work`` under the running cell (``Connection(display=…)``)."""
    progress_panel(work, sign_in).display()
