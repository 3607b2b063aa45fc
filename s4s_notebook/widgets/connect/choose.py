"""The chooser: which data holder, before there is a connection.

`connect()` without an address shows it and waits, so the rest of Run All goes on by itself.
The choice is read from files that the Jupyter server pages write, as a sign-in's reply is, or
received over the panel's channel where there are no such pages.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import anywidget
import ipywidgets
import traitlets

from ...connection.known_holders import Holders
from ...errors import DiscoveryError, S4SError
from ...smart.mailbox import Mailbox
from ...smart.redirect import jupyter_runtime_folder
from ...wording import safe_text
from ..bundle import link, style
from ..comm import Channel

PATIENCE = 3600.0  # seconds that a cell waits for a choice
SANDBOX = "sandbox"
_TICK = 0.2  # a longer wait would hold the interrupt button up
_Opened = TypeVar("_Opened")


class ChooserPanel(anywidget.AnyWidget):
    """The practice holder, the remembered holders, and a field for another's address.

    Args:
        holders: The remembered addresses.
        others: False where only the sandbox may be connected (on Binder).
        runtime: The Jupyter runtime folder; by default where this kernel's own file lies.
    """

    _esm = link("connect/choose.js")
    _css = style("connect/connect.css")
    picture = traitlets.Dict().tag(sync=True)
    line = traitlets.Instance(Channel).tag(sync=True, **ipywidgets.widget_serialization)

    def __init__(
        self, holders: Holders, *, others: bool = True, runtime: Path | None = None
    ) -> None:
        self._holders = holders
        self._others = others
        self._pressed: deque[Mapping[str, Any]] = deque(maxlen=64)
        self._mailbox = Mailbox(runtime or jupyter_runtime_folder())
        self.panel = self._mailbox.open_panel()
        super().__init__(picture=self._drawn(), line=Channel(self._pressed.append))

    def __repr__(self) -> str:
        # Stays in a saved notebook, so it says nothing that passes.
        return "Connect: choose a data holder in this panel (it needs a notebook with widgets)."

    def update(self, *, status: str = "", problem: str = "") -> None:
        """Show status and problem; while there is a ``status``, nothing can be pressed."""
        self.picture = self._drawn(status, problem)

    def wait(self, seconds: float = PATIENCE) -> str:
        """Return the address that was chosen, or "sandbox".

        Raises:
            DiscoveryError: No choice was made in time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(FileNotFoundError):  # somebody cleaned the folder up
                self._pressed.extend(self._mailbox.take_choices(self.panel))
            while self._pressed:
                address = self._handle(self._pressed.popleft())
                if address:
                    return address
            time.sleep(_TICK)
        raise DiscoveryError(
            "Nobody chose a data holder.",
            hint='Run the cell again, or say which: s4s.connect("https://…") or '
            's4s.connect("sandbox").',
        )

    def end(self) -> None:
        """Close the panel: no choice is accepted any more."""
        self._mailbox.close_panel(self.panel)
        self.close()
        self.line.close()

    def _drawn(self, status: str = "", problem: str = "") -> dict[str, Any]:
        return {
            "panel": self.panel,
            "holders": self._holders.all() if self._others else [],
            "others": self._others,
            "status": status,
            "problem": problem,
        }

    def _handle(self, pressed: Mapping[str, Any]) -> str:
        url = str(pressed.get("url", ""))[:2000].strip()
        match pressed.get("do"):
            case "remove":
                self._holders.remove(url)
                self.update()
            case "use" if url:
                return url
            case "use":
                self.update(problem="Write the holder's address first.")
        return ""


def choose(
    open_: Callable[[str], _Opened], *, others: bool = True, holders: Holders | None = None
) -> _Opened:
    """Show the chooser until ``open_`` accepts what was chosen; return its result.

    What is wrong with an address stands in the panel, which then waits for another.
    """
    from IPython.display import display

    panel = ChooserPanel(holders or Holders(), others=others)
    data, metadata = panel._repr_mimebundle_() or ({}, {})
    handle = display(  # type: ignore[no-untyped-call]
        data, metadata=metadata, raw=True, display_id=True
    )
    line = "No data holder was chosen."
    try:
        while True:
            url = panel.wait()
            panel.update(status=f"Asking {safe_text(url)} how one signs in…")
            try:
                opened = open_(url)
            except S4SError as error:
                panel.update(problem="\n".join(map(safe_text, str(error).splitlines())))
            else:
                line = f"Data holder: {safe_text(url)}"
                return opened
    finally:
        handle.update({"text/plain": line}, raw=True)
        panel.end()
