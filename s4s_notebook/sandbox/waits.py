"""Images that are not at hand at once: the first request for a study starts the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .data.archive import ArchivedStudy, SampleArchive
from .state import NotReadyError


class Preparing:
    """Counts down from the first time a key is asked for; thread-safe and bounded."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ready_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def left(self, key: str) -> float:
        """Seconds until ``key`` is ready; 0 when it is."""
        if self._seconds <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            ready_at = self._ready_at.setdefault(key, now + self._seconds)
            if len(self._ready_at) > 5_000:
                del self._ready_at[next(iter(self._ready_at))]
            return max(0.0, ready_at - now)

    def forget(self) -> None:
        """Make every key slow again, as after a night in which a cache was emptied."""
        with self._lock:
            self._ready_at.clear()


class LibraryImages:
    """The library as a source of images that takes ``retry_after`` seconds the first time."""

    def __init__(self, library: SampleArchive, preparing: Preparing) -> None:
        self._library = library
        self._preparing = preparing
        self._drawing: dict[str, threading.Thread] = {}

    def study(self, study_uid: str) -> ArchivedStudy | None:
        return self._library.study(study_uid)

    def ready(self, study_uid: str) -> ArchivedStudy:
        study = self._library.study(study_uid)
        if study is None or not study.available:
            raise KeyError(study_uid)
        left = self._preparing.left(study_uid)
        if left > 0:
            self._draw_meanwhile(study_uid)
            raise NotReadyError(left)
        return self._library.prepare(study_uid)

    def _draw_meanwhile(self, study_uid: str) -> None:
        if study_uid not in self._drawing:
            thread = threading.Thread(
                target=self._library.prepare, args=(study_uid,), name="s4s-sandbox-draw"
            )
            self._drawing[study_uid] = thread
            thread.start()

    def touch(self, study_uid: str) -> None:
        """Nothing to do: the library throws nothing out."""

    def close(self) -> None:
        for thread in self._drawing.values():
            thread.join()
        self._drawing.clear()
        self._library.close()
