"""Retries: waits as the holder requests, with budget, countdown and cancel, and never early."""

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
    """How long and how often to wait for a holder.

    Attributes:
        budget: seconds that one request may wait in all, however often it is put off.
        floor: shortest pause in seconds, so that ``Retry-After: 0`` is no hot loop.
        jitter: up to this share of a pause (and at most 5 s) is added, never taken away.
        first, longest: back-off in seconds where the holder gives no usable Retry-After.
        tries: attempts in all where nothing says that waiting helps (connection lost, 502, ...).
        per_origin: requests under way at one origin at a time, from all connections of this
            process; transfers of images may be one fewer.
        random: a number from 0 to 1 for the jitter.
    """

    budget: float = 2 * 3600.0
    floor: float = 1.0
    jitter: float = 0.05
    first: float = 1.0
    longest: float = 120.0
    tries: int = 4
    per_origin: int = 6
    random: Callable[[], float] = field(default=random.random, repr=False)

    def pause(self, retry_after: float | None, attempt: int) -> float:
        """Return the seconds before attempt ``attempt + 1``: as requested, or back-off."""
        if retry_after is None:
            retry_after = min(self.longest, self.first * 2.0 ** min(attempt - 1, 20))
        seconds = max(self.floor, retry_after)
        return seconds + min(5.0, seconds * self.jitter) * self.random()


def wait(
    clock: Clock, seconds: float, *, cancel: Cancel | None, report: Callable[[float], None]
) -> None:
    """Sleep until ``seconds`` are over by the clock that cannot be set, in short ticks.

    Args:
        clock: the clock to sleep by.
        seconds: how long.
        cancel: ends the wait.
        report: called with the seconds left at least once a second, and with 0.0 at the end.

    Raises:
        Cancelled: the switch is set.
    """
    end = clock.monotonic() + seconds
    reported = float("inf")
    while (remaining := end - clock.monotonic()) > 0:
        if cancel is not None:
            cancel.check()
        if reported - remaining >= 0.5:
            report(remaining)
            reported = remaining
        clock.sleep(min(TICK, remaining))
    if cancel is not None:
        cancel.check()
    report(0.0)


class RetryState:
    """The attempts and waits of one request.

    Args:
        policy: how long and how often to wait.
        clock: the clock to wait by.
        cancel: ends a wait.
        on_wait: called while waiting.
        on_pause: called with the seconds and the HTTP status of each wait that a response asks
            for, before it begins, so that it can outlive the process.

    Attributes:
        attempt: the current attempt, from 1.
        waited: seconds waited in all.
    """

    def __init__(
        self,
        policy: WaitPolicy,
        clock: Clock,
        cancel: Cancel | None = None,
        on_wait: OnWait | None = None,
        on_pause: Callable[[float, int], None] | None = None,
    ) -> None:
        self.policy, self.clock, self.cancel = policy, clock, cancel
        self.attempt, self.waited = 1, 0.0
        self._failures = 0  # since the last "come back later", which shows that the holder lives
        self._on_wait, self._on_pause = on_wait, on_pause

    @property
    def exhausted(self) -> bool:
        """Whether failures in a row have used up all attempts but the current one."""
        return self._failures + 1 >= self.policy.tries

    def wait_stored(self, remaining: float, request: Request, *, refused: bool = False) -> None:
        """Wait as an earlier call was told to.

        Args:
            remaining: seconds.
            request: what waits.
            refused: raise at once, as that call did.

        Raises:
            RetryAfterTooLong: that exceeds the budget, or ``refused``.
        """
        if refused:
            raise RetryAfterTooLong(
                f"The holder refused this, and wants no request for another {remaining:.0f} s.",
                request=request,
                retry_after=remaining,
                not_before=self.clock.time() + remaining,
                waited=self.waited,
                attempts=0,
            )
        if remaining > 0:
            self._wait(remaining, remaining, request, "kept")

    def wait_retry_after(
        self, request: Request, reason: str, values: Sequence[str], date: str | None
    ) -> None:
        """Wait as the Retry-After values of a response say, or with back-off.

        Raises:
            RetryAfterTooLong: the budget ends before the holder wants us back.
        """
        try:
            requested = parse_retry_after(values, now=self.clock.time(), date=date)
        except RetryAfterTooLong as error:
            # Not stored: a mistake of the holder must not block this request for ever.
            self._give_up(request, error.retry_after or ABSURD, error.retry_after)
        self._failures, pause = 0, self.policy.pause(requested, self.attempt)
        if self._on_pause is not None:
            self._on_pause(pause, int(reason))
        self._wait(pause, requested, request, reason)
        self.attempt += 1

    def back_off(self, request: Request, reason: str) -> bool:
        """Wait after a failure that may pass; return False when the attempts are used up."""
        if self.exhausted:
            return False
        self._failures += 1
        self._wait(self.policy.pause(None, self._failures), None, request, reason)
        self.attempt += 1
        return True

    def _wait(self, pause: float, requested: float | None, request: Request, reason: str) -> None:
        if self.waited + pause > self.policy.budget:
            self._give_up(request, pause, requested)
        started, not_before = self.clock.monotonic(), self.clock.time() + pause

        def report(remaining: float) -> None:
            if self._on_wait is not None:
                self._on_wait(Waiting(request, remaining, not_before, self.attempt, reason))

        try:
            wait(self.clock, pause, cancel=self.cancel, report=report)
        finally:
            self.waited += self.clock.monotonic() - started

    def _give_up(self, request: Request, pause: float, requested: float | None) -> NoReturn:
        raise RetryAfterTooLong(
            f"The holder wants us back in {pause:.0f} s; after {self.waited:.0f} s of waiting and "
            f"{self.attempt} tries the budget of {self.policy.budget:.0f} s does not allow that.",
            request=request,
            retry_after=requested,
            not_before=self.clock.time() + pause,
            waited=self.waited,
            attempts=self.attempt,
        )
