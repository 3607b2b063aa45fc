"""Waiting as the holder asks: budget, countdown, cancel, and never early."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from ..errors import Request, RetryAfterTooLong
from ..task import TICK, Cancel, Clock, OnWait, Waiting
from .retry_after import ABSURD, parse_retry_after


@dataclass
class WaitPolicy:
    """How long is patient enough.

    Attributes:
        budget: seconds that one request may wait in all, however often it is put off.
        floor: shortest pause in seconds, so that ``Retry-After: 0`` is no hot loop.
        jitter: up to this share of a pause (and at most 5 s) is added, never taken away.
        first, longest: back-off in seconds where the holder gives no usable Retry-After.
        tries: attempts in all where nothing says that waiting helps (connection lost, 502, ...).
    """

    budget: float = 2 * 3600.0
    floor: float = 1.0
    jitter: float = 0.05
    first: float = 1.0
    longest: float = 120.0
    tries: int = 4
    random: Callable[[], float] = field(default=random.random, repr=False)

    def pause(self, retry_after: float | None, attempt: int) -> float:
        """Seconds until try ``attempt + 1``: what the holder asked for, or back-off."""
        if retry_after is None:
            retry_after = min(self.longest, self.first * 2.0 ** min(attempt - 1, 20))
        seconds = max(self.floor, retry_after)
        return seconds + min(5.0, seconds * self.jitter) * self.random()


def wait(
    clock: Clock,
    seconds: float,
    *,
    cancel: Cancel | None,
    tell: Callable[[float], None],
) -> None:
    """Sleep until ``seconds`` are over by the clock that cannot be set, in short ticks.

    ``tell(seconds_left)`` is called at least once a second and with 0.0 at the end.
    """
    end = clock.monotonic() + seconds
    told = float("inf")
    while (left := end - clock.monotonic()) > 0:
        if cancel is not None:
            cancel.check()
        if told - left >= 0.5:
            tell(left)
            told = left
        clock.sleep(min(TICK, left))
    if cancel is not None:
        cancel.check()
    tell(0.0)


class RetryState:
    """All the waits of one request: counts tries and seconds, and ends in an error that resumes.

    ``keep(not_before)`` is called before each wait, so that it can outlive this process.
    """

    def __init__(
        self,
        policy: WaitPolicy,
        clock: Clock,
        cancel: Cancel | None = None,
        on_wait: OnWait | None = None,
        keep: Callable[[float], None] | None = None,
    ) -> None:
        self.policy, self.clock, self.cancel = policy, clock, cancel
        self.attempt, self.waited = 1, 0.0
        self._failures = 0  # since the holder last said "later", which shows that it lives
        self._on_wait, self._keep = on_wait, keep

    @property
    def exhausted(self) -> bool:
        """Whether failures in a row have used up all tries but the one under way."""
        return self._failures + 1 >= self.policy.tries

    def wait_until(self, not_before: float | None, request: Request) -> None:
        """Obey a wait that an earlier process was told to make."""
        left = 0.0 if not_before is None else not_before - self.clock.time()
        if left > 0:
            self._wait(left, left, request, "kept")

    def wait_retry_after(
        self, request: Request, reason: str, values: Sequence[str], date: str | None
    ) -> None:
        """Wait as an answer's Retry-After says, or with back-off.

        Raises:
            RetryAfterTooLong: the budget ends before the holder wants us back.
        """
        try:
            asked = parse_retry_after(values, now=self.clock.time(), date=date)
        except RetryAfterTooLong as error:
            # Not kept: a slip of the holder's must not bar this request for ever.
            self._give_up(request, error.retry_after or ABSURD, error.retry_after)
        self._wait(self.policy.pause(asked, self.attempt), asked, request, reason)
        self.attempt += 1
        self._failures = 0

    def back_off(self, request: Request, reason: str) -> bool:
        """Back off after a failure that may pass; False when the tries are used up."""
        if self.exhausted:
            return False
        self._failures += 1
        self._wait(self.policy.pause(None, self._failures), None, request, reason)
        self.attempt += 1
        return True

    def _wait(self, pause: float, asked: float | None, request: Request, reason: str) -> None:
        not_before = self.clock.time() + pause
        if self._keep is not None and reason != "kept":
            self._keep(not_before)
        if self.waited + pause > self.policy.budget:
            self._give_up(request, pause, asked)
        started = self.clock.monotonic()

        def tell(left: float) -> None:
            if self._on_wait is not None:
                self._on_wait(Waiting(request, left, not_before, self.attempt, reason))

        try:
            wait(self.clock, pause, cancel=self.cancel, tell=tell)
        finally:
            self.waited += self.clock.monotonic() - started

    def _give_up(self, request: Request, pause: float, asked: float | None) -> NoReturn:
        raise RetryAfterTooLong(
            f"The holder wants us back in {pause:.0f} s; after {self.waited:.0f} s of waiting and "
            f"{self.attempt} tries the budget of {self.policy.budget:.0f} s does not allow that.",
            request=request,
            retry_after=asked,
            not_before=self.clock.time() + pause,
            waited=self.waited,
            attempts=self.attempt,
        )
