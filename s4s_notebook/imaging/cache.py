"""The decoded frames last used, up to a number of bytes."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable

from .windows import Array


class Cache:
    """Keeps arrays up to ``limit`` bytes, dropping those not used for longest. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[weakref.ref[object], Array]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, owner: object, make: Callable[[], Array]) -> Array:
        """The array kept for ``key`` by ``owner``, else the one that ``make`` gives."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0]() is owner:
                self._kept.move_to_end(key)
                return kept[1]
        array = make()
        array.flags.writeable = False
        self._keep(key, owner, array)
        return array

    def _keep(self, key: Hashable, owner: object, array: Array) -> None:
        with self._lock:
            old = self._kept.pop(key, None)
            self._bytes -= old[1].nbytes if old else 0
            if array.nbytes > self.limit:
                return
            self._kept[key] = (weakref.ref(owner), array)
            self._bytes += array.nbytes
            while self._bytes > self.limit:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes


frames = Cache(128 * 2**20)
