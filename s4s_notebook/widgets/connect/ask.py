"""A question that must be answered before data may come from an origin nobody has named."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import anywidget
import ipywidgets
import traitlets

from ...wording import safe_text
from ..bundle import link, style
from ..comm import Channel

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
            question=f"The images are at {self._origin}, which this holder did not announce. "
            "May they be fetched from there, with your approval?",
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
        return f"Images from {self._origin}: {verdict}."

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
