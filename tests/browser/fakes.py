"""Work that goes through its phases as a script says: for the panels alone, without a holder."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class State:
    phase: str = "queued"
    study_uid: str | None = None
    seconds_left: float | None = None
    attempt: int = 1
    instances: int = 0
    instances_expected: int | None = None
    bytes: int = 0
    bytes_expected: int | None = None
    rate: float | None = None
    message: str = ""
    error: Any = None


class FakeWork:
    """Steps through `(seconds, changes)` in a thread, as a Download does."""

    def __init__(self, steps: Iterable[tuple[float, dict[str, Any]]], **start: Any) -> None:
        self.state = State(**start)
        self.cancelled_at = 0.0
        self._steps = list(steps)
        self._callbacks: list[Callable[[State], None]] = []
        self._stop = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), daemon=True
        )

    def start(self) -> FakeWork:
        self._thread.start()
        return self

    def subscribe(self, callback: Callable[[State], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def cancel(self) -> None:
        self.cancelled_at = time.time()
        self._stop.set()

    def result(self, timeout: float | None = None) -> None:
        self._end.wait(timeout)

    def _say(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        for callback in list(self._callbacks):
            callback(self.state)

    def _run(self) -> None:
        for seconds, changes in self._steps:
            self._say(**changes)
            if self._stop.wait(seconds):
                self._say(phase="cancelled")
                break
        self._end.set()


def waits(seconds: int, **start: Any) -> FakeWork:
    """A study whose archive wants `seconds`, counted down each second."""
    steps = [
        (1.0, {"phase": "waiting", "seconds_left": float(left), "attempt": 1})
        for left in range(seconds, 0, -1)
    ]
    return FakeWork(steps, study_uid="1.2.840.99", **start)
