"""The message channel from a panel into a kernel that may be busy.

A widget message waits until the running cell ends: ipykernel answers a comm on the thread that
last published on it, and a panel is published by a cell. Front ends since JupyterLab 4.4 ask
for a thread of its own (a subshell) for widget messages. So the channel has a comm of its own,
which leaves that choice to the front end; what the browser sends then arrives at once.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from ..errors import S4SError


class Channel(ipywidgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
    """Carries small messages from a panel to ``handler``, also while a cell runs.

    The browser repeats a message until it is acknowledged (a subshell takes a moment to
    start); ``handler`` sees each once. It must return at once and be safe on any thread.
    """

    def __init__(self, handler: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._handler = handler
        self._seen: deque[str] = deque(maxlen=64)
        self._lock = threading.Lock()
        self.on_msg(self._receive)
        leave_thread_to_front_end(self)

    def __repr__(self) -> str:
        return "<channel to the kernel>"

    def _receive(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        number = str(content.get("number", ""))[:64]
        # A repeat may arrive on another thread at the same time. The acknowledgement ends the
        # browser's repeats, so it follows the call of the handler.
        with self._lock:
            new = number not in self._seen
            self._seen.append(number)
        if new:
            self._handler(content)
        self.send({"heard": number})


def leave_thread_to_front_end(widget: ipywidgets.Widget) -> None:
    """Answer the widget's messages on the thread that the front end asks for."""
    if hasattr(widget.comm, "_reply_subshell_for"):  # ipykernel 7.1 and later
        widget.comm._reply_subshell_for = lambda _data, requested: requested


def run_in_thread(function: Callable[[], None]) -> None:
    """Run ``function`` on a thread that writes to the output of the running cell."""
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(function,), name="s4s panel", daemon=True).start()


def run_action(action: Callable[[], None], on_error: Callable[[str], None]) -> None:
    """Run what a button does on a thread, for a holder may answer slowly.

    Args:
        action: What the button does.
        on_error: Called with the message of an error, for the panel to show.
    """

    def run() -> None:
        try:
            action()
        except S4SError as error:
            on_error(str(error))
        except Exception as error:  # noqa: BLE001 - on a thread, only the panel can show it
            on_error(f"That failed: {type(error).__name__}.")

    run_in_thread(run)
