"""A PACS as the source of studies and images, with one C-MOVE per study and a bounded cache."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ... import temporary
from ..context import NotReadyError, UpstreamError
from ..data.archive import ArchivedStudy
from ..settings import Pacs
from .dimse import UID, find_studies, find_study
from .retrieve import StorageSCP, StudyMove

MAX_CONCURRENT_MOVES = 4
FIND_TTL_SECONDS = 20.0  # how long a C-FIND response is reused
MAX_FIND_RESULTS = 2_000  # studies whose last C-FIND response is stored
IDLE_SECONDS = 120.0  # a study read more recently is not evicted


@dataclass
class _CachedStudy:
    """A study in the cache, with monotonic times of the last check and the last use."""

    study: ArchivedStudy
    folder: Path
    size: int
    checked: float
    used: float


@dataclass
class _StudyVersion:
    """When a study was first found in its present state; archives do not report such a date."""

    study: ArchivedStudy
    since: float
    number: int = 1


@dataclass(eq=False, repr=False)
class PacsArchive:
    """A PACS reached by C-FIND and C-MOVE; thread-safe.

    Attributes:
        pacs: address and AE titles.
        mrns: PatientIDs in the archive by FHIR patient id.
        host: address on which the Storage SCP listens.
        limit: size of the cache in bytes. The least recently used study is evicted first. While
            no study can be evicted, further studies are not retrieved.
        clock: POSIX time, for ``meta.lastUpdated``.
    """

    pacs: Pacs
    mrns: dict[str, str]
    host: str = "127.0.0.1"
    limit: int = 4 << 30
    clock: Callable[[], float] = time.time
    _moves: dict[str, StudyMove] = field(default_factory=dict)
    _cache: dict[str, _CachedStudy] = field(default_factory=dict)
    _patient_results: dict[str, tuple[float, list[ArchivedStudy]]] = field(default_factory=dict)
    _study_results: dict[str, tuple[float, ArchivedStudy | None]] = field(default_factory=dict)
    _find_locks: dict[str, threading.Lock] = field(default_factory=dict)
    _versions: dict[str, _StudyVersion] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _receiver: StorageSCP | None = field(default=None)
    _folder: Path | None = field(default=None)

    def start(self) -> None:
        """Start the Storage SCP; raises OSError if its port is in use."""
        self._receiver = StorageSCP(self.pacs, self.host)
        self._receiver.start()
        temporary.remove_leftovers()
        self._folder = temporary.make_folder()
        # Removes the folder at the end of the process if close() is not called.
        weakref.finalize(self, temporary.remove_folder, self._folder)

    def close(self) -> None:
        """Abort moves, close the port and remove the cache."""
        with self._lock:
            moves = list(self._moves.values())
        for move in moves:
            move.cancel()
        for move in moves:
            move.finished.wait(10)
        if self._receiver is not None:
            self._receiver.stop()
        if self._folder is not None:
            temporary.remove_folder(self._folder)
            self._folder = None

    # -- studies -------------------------------------------------------------------------

    def listing(self, patient_id: str) -> list[tuple[ArchivedStudy, float, int]]:
        """Return the studies of a patient, newest first.

        Returns:
            Each study with the POSIX time at which it last changed, and its version number.
        """
        mrn = self.mrns.get(patient_id)
        if mrn is None:
            return []
        with self._lock:
            queried, studies = self._patient_results.get(patient_id, (float("-inf"), []))
        if time.monotonic() - queried > FIND_TTL_SECONDS:
            studies = find_studies(self.pacs, mrn, patient_id)
            with self._lock:
                self._patient_results[patient_id] = (time.monotonic(), studies)
        ordered = sorted(studies, key=lambda s: (s.started, s.uid), reverse=True)
        return [(s, *self._version(s)) for s in ordered]

    def _version(self, study: ArchivedStudy) -> tuple[float, int]:
        with self._lock:
            version = self._versions.get(study.uid)
            if version is None:
                version = self._versions[study.uid] = _StudyVersion(study, self.clock())
            elif version.study != study:
                version = _StudyVersion(study, self.clock(), version.number + 1)
                self._versions[study.uid] = version
            return version.since, version.number

    def refresh(self) -> None:
        """Query the archive again at the next search."""
        with self._lock:
            self._patient_results.clear()
            self._study_results.clear()
            for cached in self._cache.values():
                cached.checked = float("-inf")

    def study(self, study_uid: str) -> ArchivedStudy | None:
        """Return a study, without retrieving its images, or None if it is not in the archive.

        A cached study that has changed in the archive is evicted.
        """
        if not UID.fullmatch(study_uid):
            return None
        with self._lock:
            cached = self._cache.get(study_uid)
            move = self._moves.get(study_uid)
        if cached is not None and time.monotonic() - cached.checked < FIND_TTL_SECONDS:
            return cached.study
        if move is not None and not move.finished.is_set():
            return move.announced
        study = self._find_study(study_uid)
        with self._lock:
            cached = self._cache.get(study_uid)
            if cached is not None:
                if study is not None and _instance_uids(cached.study) == _instance_uids(study):
                    cached.checked = time.monotonic()
                else:
                    self._remove_cached(study_uid)  # changed in the archive: retrieve it again
        return study

    def _find_study(self, study_uid: str) -> ArchivedStudy | None:
        """Query a study with C-FIND; concurrent callers share a response."""
        with self._lock:
            find_lock = self._find_locks.setdefault(study_uid, threading.Lock())
        with find_lock:
            with self._lock:
                queried, study = self._study_results.get(study_uid, (float("-inf"), None))
            if time.monotonic() - queried < FIND_TTL_SECONDS:
                return study
            study = find_study(self.pacs, study_uid, {m: p for p, m in self.mrns.items()})
            with self._lock:
                self._study_results[study_uid] = (time.monotonic(), study)
                for results in (self._study_results, self._find_locks):
                    while len(results) > MAX_FIND_RESULTS:
                        results.pop(next(iter(results)))
            return study

    # -- images --------------------------------------------------------------------------

    def ready(self, study_uid: str) -> ArchivedStudy:
        """Return a study with a path for every instance; start its retrieval if necessary.

        Raises:
            KeyError: the study is not in the archive.
            NotReadyError: the retrieval has not finished.
            UpstreamError: the retrieval failed.
        """
        study = self.study(study_uid)
        if study is None:
            raise KeyError(study_uid)
        with self._lock:
            cached = self._cache.get(study_uid)
            if cached is not None:
                cached.used = time.monotonic()
                return cached.study
            move = self._moves.get(study_uid)
            if move is None:
                move = self._start_move(study)
        if move.finished.is_set():
            with self._lock:
                self._moves.pop(study_uid, None)
            if move.error is not None:
                raise move.error
        raise NotReadyError(move.remaining_seconds())

    def touch(self, study_uid: str) -> None:
        """Record that a study is being read, so that it is not evicted."""
        with self._lock:
            if study_uid in self._cache:
                self._cache[study_uid].used = time.monotonic()

    def _start_move(self, study: ArchivedStudy) -> StudyMove:
        if self._receiver is None or self._folder is None:
            raise UpstreamError(500, "the connection to the image archive is closed")
        running = sum(1 for m in self._moves.values() if not m.finished.is_set())
        if running >= MAX_CONCURRENT_MOVES or not self._evict():
            raise NotReadyError(5.0)
        try:
            folder = Path(tempfile.mkdtemp(dir=self._folder))
        except OSError as error:
            raise UpstreamError(500, f"the image cache: {error.strerror}") from error
        move = StudyMove(self.pacs, self._receiver, study, folder, self._finish_move)
        self._moves[study.uid] = move
        threading.Thread(target=move.run, name="s4s-sandbox-move", daemon=True).start()
        return move

    def _finish_move(self, move: StudyMove) -> None:
        """Add the study of a finished move to the cache, or remove its files after a failure."""
        if move.study is None:
            shutil.rmtree(move.folder, ignore_errors=True)
            return
        size = sum(path.stat().st_size for path in move.folder.iterdir())
        now = time.monotonic()
        with self._lock:
            self._cache[move.announced.uid] = _CachedStudy(move.study, move.folder, size, now, now)
            self._moves.pop(move.announced.uid, None)

    def _evict(self) -> bool:
        """Evict the least recently used studies; return whether the cache is within its limit."""
        by_last_use = sorted(self._cache.items(), key=lambda item: item[1].used)
        for uid, cached in by_last_use:
            if self._cache_size() <= self.limit:
                break
            if time.monotonic() - cached.used > IDLE_SECONDS:
                self._remove_cached(uid)
        return self._cache_size() <= self.limit

    def _cache_size(self) -> int:
        return sum(cached.size for cached in self._cache.values())

    def _remove_cached(self, study_uid: str) -> None:
        cached = self._cache.pop(study_uid)
        shutil.rmtree(cached.folder, ignore_errors=True)


def _instance_uids(study: ArchivedStudy) -> set[str]:
    return {instance.uid for _, instance in study.instances()}
