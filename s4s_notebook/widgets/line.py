"""A line into a kernel that is busy.

A widget message waits until the running cell ends: ipykernel answers a comm on the thread that
last published on it, and a panel is published by a cell. Front ends since JupyterLab 4.4 ask
for a thread of its own (a subshell) for widget messages. So the line has a comm of its own,
which leaves that choice to the front end; what the browser sends then arrives at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets


class Line(ipywidgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
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
        if hasattr(self.comm, "_reply_subshell_for"):  # ipykernel 7.1 and later
            self.comm._reply_subshell_for = as_asked

    def __repr__(self) -> str:
        return "<line to the kernel>"

    def _receive(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        number = str(content.get("number", ""))[:64]
        # A repeat may arrive on another thread at the same time. What is told as heard has
        # been handed over: the browser asks no more then.
        with self._lock:
            new = number not in self._seen
            self._seen.append(number)
        if new:
            self._handler(content)
        self.send({"heard": number})


def as_asked(_data: object, asked: str | None) -> str | None:
    """Leave the thread that answers to the front end: in place of ipykernel's own choice."""
    return asked
