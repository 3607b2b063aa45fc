"""What one thread hands to another, so that each wakes the other as seldom as can be."""

from __future__ import annotations

import queue
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """A queue of ``room`` pieces at most, from one thread to one other; the giver waits for room.

    Waking a thread costs more than hashing a block, above all on a virtual machine, and then the
    two fight for the interpreter. ``queue.Queue`` does so several times for a piece; here a giver
    that waits is woken when there is room for several.
    """

    def __init__(self, room: int) -> None:
        self._pieces: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lot = max(1, room // 2)
        self._taken = 0
        for _ in range(room):
            self._room.put(None)

    def put(self, piece: T) -> None:
        self._room.get()
        self._pieces.put(piece)

    def get(self, timeout: float | None = None) -> T:
        """The next piece. Raises queue.Empty after ``timeout`` seconds."""
        piece = self._pieces.get(timeout=timeout)
        self._taken += 1
        if self._taken == self._lot:
            for _ in range(self._taken):
                self._room.put(None)
            self._taken = 0
        return piece
