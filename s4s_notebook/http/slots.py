"""The limit of requests under way at one origin, over all connections of this process.

Requests are served in the order in which they came. A long transfer never takes the last slot, so
that a token can be renewed and a list be read while studies are received.
"""

from __future__ import annotations

import threading

from ..task import TICK, Cancel


class Slot:
    """A request under way; :meth:`release` ends it, once."""

    def __init__(self, slots: OriginSlots, *, long: bool) -> None:
        self._slots, self.long = slots, long
        self.granted, self._released = threading.Event(), False

    def release(self) -> None:
        """Let the next request begin."""
        if not self._released:
            self._released = True
            self._slots.release(self)

    def __del__(self) -> None:
        self.release()  # of a response that nobody closed


class OriginSlots:
    """The requests under way at one origin, and those whose turn has not come."""

    def __init__(self) -> None:
        self._guard = threading.RLock()  # a garbage collection may release a slot at any point
        self._queue: list[Slot] = []
        self._active: list[bool] = []  # whether each is a long transfer
        self._limit = 1

    def acquire(self, limit: int, *, long: bool, cancel: Cancel | None) -> Slot:
        """Wait for a slot.

        Args:
            limit: how many requests may be under way; long transfers may be one fewer.
            long: whether this is a long transfer.
            cancel: ends the wait.

        Raises:
            Cancelled: the switch is set.
        """
        slot = Slot(self, long=long)
        with self._guard:
            self._limit = max(1, limit)
            self._queue.append(slot)
            self._grant()
        try:
            while not slot.granted.wait(TICK):
                if cancel is not None:
                    cancel.check()
        except BaseException:
            slot.release()
            raise
        return slot

    def release(self, slot: Slot) -> None:
        """End a request, or its place in the queue."""
        with self._guard:
            if slot.granted.is_set():
                self._active.remove(slot.long)
            elif slot in self._queue:
                self._queue.remove(slot)
            self._grant()

    def _grant(self) -> None:
        longest = max(1, self._limit - 1)
        for slot in list(self._queue):
            if len(self._active) >= self._limit:
                return
            if not slot.long or sum(self._active) < longest:
                self._queue.remove(slot)
                self._active.append(slot.long)
                slot.granted.set()


_origins: dict[str, OriginSlots] = {}
_origins_guard = threading.Lock()


def slots_of(origin: str) -> OriginSlots:
    """Return the slots of an origin, the same for every connection of this process."""
    with _origins_guard:
        return _origins.setdefault(origin, OriginSlots())
