"""What one exchange may cost: limits on time, on trickle and on headers, and the cancel switch."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Self

from ..errors import MalformedResponse, Stalled
from ..task import Cancel

_current = threading.local()


@dataclass(frozen=True)
class Limits:
    """Seconds for connecting, for an answer to begin and for a silence; and the least speed.

    ``floor`` bytes a second must arrive on average over each ``window`` seconds spent waiting
    for bytes; time that we take ourselves does not count. ``head`` bytes may come before the body.
    """

    connect: float = 30.0
    answer: float = 300.0
    stall: float = 120.0
    floor: float = 512.0
    window: float = 60.0
    head: int = 256 * 1024


class ConnectionBroken(Exception):  # noqa: N818 - a sign between two modules, never shown
    """The connection failed; ``temporary`` tells whether another try may help."""

    def __init__(self, why: str, *, temporary: bool = True) -> None:
        super().__init__(why)
        self.temporary = temporary


class Monitor:
    """Looks at every read and write of one exchange.

    Used as ``with watch:`` it is the one that this thread's sockets answer to.
    """

    def __init__(self, limits: Limits | None = None, cancel: Cancel | None = None) -> None:
        self.limits, self.cancel = limits or Limits(), cancel
        self.in_body = False
        self.ended = False  # the other side closed the connection
        self._waited, self._bytes = 0.0, 0
        self._outer: Monitor | None = None

    def __enter__(self) -> Self:
        self._outer, _current.watch = getattr(_current, "watch", None), self
        return self

    def __exit__(self, *_: object) -> None:
        _current.watch = self._outer

    @staticmethod
    def current() -> Monitor | None:
        found: Monitor | None = getattr(_current, "watch", None)
        return found

    def body(self) -> None:
        """The head has come; from now on the limits of a body hold."""
        self.in_body, self._waited, self._bytes = True, 0.0, 0

    def check(self) -> None:
        if self.cancel is not None:
            self.cancel.check()

    def idle(self, since: float, limit: float, what: str) -> None:
        """Nothing has happened since that monotonic time. Raises Cancelled, Stalled."""
        self.check()
        seconds = time.monotonic() - since
        if seconds > limit:
            raise Stalled(f"The holder {what} for {seconds:.0f} seconds.")

    def silent(self, since: float) -> None:
        """No byte has come since. Raises Cancelled, Stalled."""
        if self.in_body:
            self.idle(since, self.limits.stall, "sent nothing")
        else:
            self.idle(since - self._waited, self.limits.answer, "gave no answer")

    def received(self, count: int, since: float) -> None:
        """``count`` bytes have come since. Raises MalformedResponse, Stalled."""
        now = time.monotonic()
        self.ended = count == 0
        self._waited += now - since
        self._bytes += count
        if not self.in_body:
            if self._bytes > self.limits.head:
                raise MalformedResponse("The headers of the answer never end.")
            self.silent(now)
        elif self._waited > self.limits.window:
            if self._bytes < self.limits.floor * self._waited:
                raise Stalled(f"Only {self._bytes:,} bytes came in {self._waited:.0f} seconds.")
            self._waited, self._bytes = 0.0, 0
