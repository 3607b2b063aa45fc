"""Memory that freed blocks leave behind, given back to the system.

The C library keeps what was freed, in pieces that the next blocks do not fit: a third of a frame,
for as long as the process lives.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_WORTH_IT = 8 << 20  # bytes; a look at the whole heap takes some ten milliseconds


def _trim() -> Callable[[int], int]:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # only glibc has it, and only glibc needs it
        return lambda _: 0
    return found


class Freed:
    """Counts what is freed, and has it given back whenever that is worth the time."""

    def __init__(self) -> None:
        self._bytes = 0
        self._trim = _trim()

    def add(self, size: int) -> None:
        """Told of ``size`` bytes that were freed, in small blocks."""
        self._bytes += size
        if self._bytes >= _WORTH_IT:
            self._trim(0)
            self._bytes = 0
