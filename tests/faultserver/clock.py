"""A clock that only moves when somebody sleeps, so that hours of waiting take no time."""

from __future__ import annotations

from collections.abc import Callable


class FakeClock:
    """`time` and `monotonic` are apart, so that a test can set the one without the other."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now, self.up = now, 5_000.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] | None = None

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.up

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.up += seconds
        if self.on_sleep is not None:
            self.on_sleep()
