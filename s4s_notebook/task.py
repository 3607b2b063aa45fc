"""Work in a thread that shows its state, can be cancelled, awaited or waited for."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from .errors import Cancelled
from .http.retry import Cancel, Waiting

T = TypeVar("T")
Unsubscribe = Callable[[], None]
_log = logging.getLogger(__name__)
_TICK = 0.1  # seconds; the longest that ■ has to wait
_PACE = 0.1  # seconds between two states told, unless the phase changes
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class State:
    """One moment of a download or a loading.

    Attributes:
        phase: "queued", "asking", "searching", "waiting", "receiving", "done", "failed" or
            "cancelled".
        study_uid: of the one study it is about, or None.
        seconds_left: until the next try, while waiting. attempt: which try that was.
        instances, bytes: what is filed, and what has come over the wire, so far.
        instances_expected, bytes_expected: as announced, or None where nobody says.
        rate: bytes a second, or None. message: a sentence, may be empty.
        error: why it failed, or None.
    """

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
    error: BaseException | None = None


class Task(Generic[T]):
    """Base of Download and Loading; :meth:`_work` runs in a thread of its own."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._guard = threading.RLock()
        self._listeners: list[Callable[[Any], None]] = []
        self._told = 0.0
        self._ended = threading.Event()
        self._result: T | None = None
        self._switch = Cancel()

    def _work(self) -> T:
        raise NotImplementedError

    def start(self) -> None:
        """Begin, on a thread of its own; what makes the work calls this."""
        run = contextvars.copy_context().run  # keeps a notebook cell's output in its place
        threading.Thread(target=run, args=(self._main,), name="s4s work", daemon=True).start()

    def _main(self) -> None:
        try:
            self._result = self._work()
            end = replace(self._state, phase="done", seconds_left=None)
        except Cancelled as error:
            end = replace(self._state, phase="cancelled", seconds_left=None, error=error)
        except BaseException as error:  # noqa: BLE001 - raised by result(), in the caller's thread
            end = replace(self._state, phase="failed", seconds_left=None, error=error)
        with self._guard:
            self._state = end
        self._tell()
        self._ended.set()

    @property
    def state(self) -> State:
        """How it stands now."""
        return self._state

    def subscribe(self, callback: Callable[[State], None]) -> Unsubscribe:
        """Call ``callback(state)`` from the worker's thread: at most ten times a second, at each
        change of phase, and with the final state. Returns a function that ends it."""
        with self._guard:
            self._listeners.append(callback)
            if self._state.phase in ENDED:
                callback(self._state)

        def unsubscribe() -> None:
            with self._guard:
                if callback in self._listeners:
                    self._listeners.remove(callback)

        return unsubscribe

    def _set(self, **changes: Any) -> None:
        """Change the state; listeners hear of it at once or with the next change."""
        with self._guard:
            before, self._state = self._state, replace(self._state, **changes)
            if self._state.phase != before.phase or time.monotonic() - self._told >= _PACE:
                self._tell()

    def _tell(self) -> None:
        with self._guard:
            self._told = time.monotonic()
            for callback in list(self._listeners):
                self._call(callback, self._state, listeners=self._listeners)

    def _call(
        self, callback: Callable[[Any], None], value: Any, *, listeners: list[Callable[[Any], None]]
    ) -> None:
        try:
            callback(value)
        except Exception:  # noqa: BLE001 - a panel's fault must not end a transfer
            _log.exception("A progress callback failed and is not called again.")
            with self._guard:
                listeners.remove(callback)

    def _waits(self, waiting: Waiting) -> None:
        """Shows a wait; for ``on_wait=``."""
        left = waiting.seconds_left if waiting.seconds_left > 0 else None
        phase = "asking" if left is None else "waiting"
        self._set(phase=phase, seconds_left=left, attempt=waiting.attempt)

    def cancel(self) -> None:
        """End it within a second; what came stays, and calling again goes on from there."""
        self._switch.set()

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, whichever it is; tells whether it came in time."""
        return self._ended.wait(seconds)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and give what came, or raise what went wrong.

        ■ (KeyboardInterrupt) ends the waiting only: the work goes on, and a second
        ``result()`` waits for it again. Use :meth:`cancel` to end the work.

        Raises:
            TimeoutError: not done after ``timeout`` seconds; it goes on.
            S4SError: why it failed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._ended.wait(_TICK):
                if end is not None and time.monotonic() > end:
                    raise TimeoutError("Not done yet; it goes on. Call result() again.")
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "Stopped waiting; the work goes on. result() waits again, cancel() ends it."
            ) from None
        return self._outcome()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        while not self._ended.is_set():
            await asyncio.sleep(_TICK)
        return self._outcome()

    def _outcome(self) -> T:
        # Told once more from the caller's cell: outputs of a thread whose cell has ended
        # are not saved in the notebook.
        self._tell()
        if self._state.error is not None:
            raise self._state.error
        return self._result  # type: ignore[return-value] # set, as there was no error

    def __repr__(self) -> str:
        s = self._state
        what = f" of study {s.study_uid}" if s.study_uid else ""
        of = "" if s.instances_expected is None else f" of {s.instances_expected}"
        count = f", {s.instances}{of} instances" if s.instances or of else ""
        return f"<{type(self).__name__}{what}: {s.phase}{count}>"
