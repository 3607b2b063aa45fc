"""Background work with a state, cancel and await; clocks and waits of long calls."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from .errors import Cancelled, Request, Stopped
from .tracebacks import clear_variables

T = TypeVar("T")
Unsubscribe = Callable[[], None]
_log = logging.getLogger(__name__)
TICK = 0.2  # seconds; Cancel and the interrupt button must act within one second
_POLL = 0.1  # seconds; the longest delay of the interrupt button
_INTERVAL = 0.1  # seconds between two reports, unless the phase changes
_LAST_CALLS = 2.0  # seconds in which the callbacks get the final state before the work has ended
ENDED = ("done", "failed", "cancelled")
_STOPPED = "Stopped waiting; the work goes on. result() waits again, cancel() ends it."


class Clock(Protocol):
    """The time and the pauses of long calls; tests pass a clock of their own."""

    def time(self) -> float:
        """Return POSIX seconds."""

    def monotonic(self) -> float:
        """Return seconds of a clock that cannot be set."""

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""


class SystemClock:
    """The machine's clock. ``monotonic`` counts time asleep too, where the system can tell."""

    _boot = getattr(time, "CLOCK_BOOTTIME", None)

    def time(self) -> float:
        """Return POSIX seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of a clock that cannot be set."""
        return time.monotonic() if self._boot is None else time.clock_gettime(self._boot)

    def sleep(self, seconds: float) -> None:
        """Pause this thread."""
        time.sleep(seconds)


class Cancel:
    """A switch that one thread sets and every long call checks."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Cancel every call that has this switch."""
        self._event.set()

    def is_set(self) -> bool:
        """Return whether the switch is set."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the switch; return whether it is set."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise :class:`Cancelled` if the switch is set."""
        if self._event.is_set():
            raise Cancelled("Cancelled.")


@dataclass(frozen=True)
class Waiting:
    """One moment of the wait before a request is repeated.

    Attributes:
        request: the request that will be repeated.
        seconds_left: seconds until then; 0 when the wait is over.
        not_before: POSIX seconds of the repetition.
        attempt: which attempt is waiting, from 1.
        reason: the HTTP status, "connection" or "kept" (a wait of an earlier process).
    """

    request: Request
    seconds_left: float
    not_before: float
    attempt: int
    reason: str


OnWait = Callable[[Waiting], None]


@dataclass(frozen=True)
class TaskState:
    """One moment of a download or of loading.

    Attributes:
        phase: "queued", "asking", "searching", "waiting", "receiving", "done", "failed" or
            "cancelled".
        study_uid: the study of the work, or None.
        seconds_left: seconds until the next attempt, while waiting.
        attempt: number of that attempt, from 1.
        instances: instances stored so far.
        instances_expected: instances announced, or None.
        bytes: bytes received so far.
        bytes_expected: bytes announced, or None.
        rate: bytes a second, or None.
        message: a sentence, may be empty.
        awaits_approval: whether it goes on once somebody has pressed Authorise and approved.
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
    awaits_approval: bool = False
    error: BaseException | None = None


class _Calls:
    """Calls callbacks in order, in a thread of its own that starts with the first and ends idle."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[], None], object, str]] = deque()
        self._changed = threading.Condition()
        self._running = False

    def add(self, call: Callable[[], None], callback: object, phase: str = "") -> None:
        """Make a call later; it replaces the callback's last one that waits in the same phase."""
        with self._changed:
            latest = next(
                (at for at in reversed(range(len(self._waiting))) if self._waiting[at][2]
                 and self._waiting[at][1] == callback), None,
            )  # fmt: skip
            if phase and latest is not None and self._waiting[latest][2] == phase:
                self._waiting[latest] = (call, callback, phase)
            else:
                self._waiting.append((call, callback, phase))
            if not self._running:
                self._running = True
                run = contextvars.copy_context().run  # keeps output below its notebook cell
                threading.Thread(
                    target=run, args=(self._make,), name="s4s callbacks", daemon=True
                ).start()

    def _make(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._running = False
                    self._changed.notify_all()
                    return
                call = self._waiting.popleft()[0]
            call()

    def finish(self, seconds: float) -> bool:
        """Wait at most ``seconds`` until all calls have been made; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)


class StoppedWaiting(asyncio.CancelledError):
    """The interrupt button while a cell awaits a task; a notebook shows its one line alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Task(Generic[T]):
    """Base of Download and Loading; :meth:`_work` runs in its own thread."""

    def __init__(self, state: TaskState) -> None:
        self._state = state
        self._guard = threading.RLock()
        self._listeners: list[Callable[[Any], None]] = []
        self._observers: list[Callable[[Any], None]] = []  # ours, which return at once
        self._calls = _Calls()
        self._published = 0.0
        self._ended = threading.Event()
        self._result: T | None = None
        self._switch = Cancel()

    def _work(self) -> T:
        raise NotImplementedError

    def start(self) -> None:
        """Start the work in its own thread."""
        run = contextvars.copy_context().run  # keeps output below its notebook cell
        threading.Thread(target=run, args=(self._main,), name="s4s work", daemon=True).start()

    def _main(self) -> None:
        try:
            self._result = self._work()
            end = replace(self._state, phase="done", seconds_left=None)
        except Cancelled as error:
            clear_variables(error)
            end = replace(self._state, phase="cancelled", seconds_left=None, error=error)
        except BaseException as error:  # noqa: BLE001 - raised by result(), in the caller's thread
            clear_variables(error)
            end = replace(self._state, phase="failed", seconds_left=None, error=error)
        with self._guard:
            self._state = end
        self._publish()
        self._calls.finish(_LAST_CALLS)
        self._ended.set()

    @property
    def state(self) -> TaskState:
        """The current state."""
        return self._state

    def subscribe(self, callback: Callable[[TaskState], None]) -> Unsubscribe:
        """Call ``callback(state)`` from a thread of the callbacks: a slow one delays no transfer.

        Calls happen at most ten times a second, at each change of phase, and with the final state;
        a slow callback is spared the states in between.

        Returns:
            A function that ends the subscription.
        """
        with self._guard:
            self._listeners.append(callback)
            if self._state.phase in ENDED:
                callback(self._state)

        def unsubscribe() -> None:
            with self._guard:
                if callback in self._listeners:
                    self._listeners.remove(callback)

        return unsubscribe

    def _observe(self, callback: Callable[[TaskState], None]) -> None:
        """Call ``callback(state)`` with each published state, from the worker's thread."""
        with self._guard:
            self._observers.append(callback)

    def _set(self, **changes: Any) -> None:
        """Change the state; listeners are called now or with the next change."""
        with self._guard:
            before, self._state = self._state, replace(self._state, **changes)
            if self._state.phase != before.phase or time.monotonic() - self._published >= _INTERVAL:
                self._publish()

    def _publish(self) -> None:
        with self._guard:
            self._published = time.monotonic()
            for callback in list(self._observers):
                self._call(callback, self._state, self._observers)
            self._call_later(self._listeners, self._state, self._state.phase)

    def _call_later(
        self, listeners: list[Callable[[Any], None]], value: Any, phase: str = ""
    ) -> None:
        """Call all listeners from the thread of the callbacks."""
        with self._guard:
            for callback in list(listeners):
                call = functools.partial(self._call, callback, value, listeners)
                self._calls.add(call, callback, phase)

    def _call(
        self, callback: Callable[[Any], None], value: Any, listeners: list[Callable[[Any], None]]
    ) -> None:
        if callback not in listeners:  # it has left meanwhile
            return
        try:
            callback(value)
        except Exception:  # noqa: BLE001 - a failing panel must not end a transfer
            _log.exception("A progress callback failed and is not called again.")
            with self._guard:
                if callback in listeners:
                    listeners.remove(callback)

    def _await_approval(self, text: str) -> None:
        """Show that it waits for an approval; "" when it has come."""
        self._set(phase="asking", message=text, awaits_approval=bool(text))

    def _show_wait(self, waiting: Waiting) -> None:
        """Show a wait before a repeated request; for ``on_wait=``."""
        remaining = waiting.seconds_left if waiting.seconds_left > 0 else None
        phase = "asking" if remaining is None else "waiting"
        self._set(phase=phase, seconds_left=remaining, attempt=waiting.attempt)

    def cancel(self) -> None:
        """End the work within a second. What arrived is kept; a new call continues from there."""
        self._switch.set()

    def done(self) -> bool:
        """Return whether the work has ended, successfully or not."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds`` for the end; return whether the work has ended."""
        return self._ended.wait(seconds)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return the result.

        The interrupt button (KeyboardInterrupt) ends the waiting only: the work continues, and
        another ``result()`` waits for it again. Use :meth:`cancel` to end the work.

        Raises:
            TimeoutError: not done after ``timeout`` seconds; the work continues.
            S4SError: why it failed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._ended.wait(_POLL):
                if end is not None and time.monotonic() > end:
                    raise TimeoutError("Not done yet; it goes on. Call result() again.")
        except KeyboardInterrupt:
            raise Stopped(_STOPPED) from None
        return self._outcome()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        try:
            while not self._ended.is_set():
                await asyncio.sleep(_POLL)
        except asyncio.CancelledError:
            raise StoppedWaiting(_STOPPED) from None
        return self._outcome()

    def _outcome(self) -> T:
        # Reported once more from the caller's cell: a notebook does not save the output of a
        # thread whose cell has ended.
        if self._calls.finish(0):
            for callback in list(self._listeners):
                self._call(callback, self._state, self._listeners)
        if self._state.error is not None:
            raise self._state.error
        return self._result  # type: ignore[return-value] # set, as there was no error

    def __repr__(self) -> str:
        s = self._state
        study = f" of study {s.study_uid}" if s.study_uid else ""
        of = "" if s.instances_expected is None else f" of {s.instances_expected}"
        count = f", {s.instances}{of} instances" if s.instances or of else ""
        return f"<{type(self).__name__}{study}: {s.phase}{count}>"
