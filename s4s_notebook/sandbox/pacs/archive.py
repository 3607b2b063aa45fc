"""A PACS as a source of studies and images: one move a study, a bounded cache, honest errors."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..data.archive import ArchivedStudy
from ..settings import Pacs
from ..state import NotReadyError, UpstreamError
from .dimse import UID, find_studies, find_study
from .retrieve import StorageSCP, StudyMove

MOVES_AT_ONCE = 4
FRESH_SECONDS = 20.0  # how long an answer of C-FIND is believed
MEMORY = 2_000  # studies whose last answer is remembered
QUIET_SECONDS = 120.0  # a study that somebody may be reading is not thrown out


@dataclass
class _Kept:
    study: ArchivedStudy
    folder: Path
    size: int
    checked: float
    used: float


@dataclass
class _Seen:
    """When a study was first seen as it is now: an archive keeps no such date."""

    study: ArchivedStudy
    since: float
    version: int = 1


@dataclass(eq=False)
class PacsArchive:
    """Thread-safe. ``mrns`` maps patient ids to the archive's PatientIDs.

    ``limit`` bounds the cache in bytes: the study unused for longest goes first, and while
    nothing may go, new studies wait.
    """

    pacs: Pacs
    mrns: dict[str, str]
    host: str = "127.0.0.1"
    limit: int = 4 << 30
    clock: Callable[[], float] = time.time
    _moves: dict[str, StudyMove] = field(default_factory=dict, repr=False)
    _kept: dict[str, _Kept] = field(default_factory=dict, repr=False)
    _found: dict[str, tuple[float, list[ArchivedStudy]]] = field(default_factory=dict, repr=False)
    _looked: dict[str, tuple[float, ArchivedStudy | None]] = field(default_factory=dict, repr=False)
    _turns: dict[str, threading.Lock] = field(default_factory=dict, repr=False)
    _seen: dict[str, _Seen] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _receiver: StorageSCP | None = field(default=None, repr=False)
    _folder: Path | None = field(default=None, repr=False)

    def start(self) -> None:
        """Open our Storage SCP; raises OSError when its port is taken."""
        self._receiver = StorageSCP(self.pacs, self.host)
        self._receiver.start()
        self._folder = Path(tempfile.mkdtemp(prefix="s4s-pacs-"))
        # Also when nobody calls close(): at the end of the process at the latest.
        weakref.finalize(self, shutil.rmtree, str(self._folder), True)

    def close(self) -> None:
        """Abort moves, close the port, remove the cache."""
        with self._lock:
            moves = list(self._moves.values())
        for move in moves:
            move.cancel()
        for move in moves:
            move.finished.wait(10)
        if self._receiver is not None:
            self._receiver.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None

    # -- what there is -------------------------------------------------------------------

    def listing(self, patient_id: str) -> list[tuple[ArchivedStudy, float, int]]:
        """Studies of a patient, newest first, each with (last changed, version)."""
        mrn = self.mrns.get(patient_id)
        if mrn is None:
            return []
        with self._lock:
            asked, held = self._found.get(patient_id, (float("-inf"), []))
        if time.monotonic() - asked > FRESH_SECONDS:
            held = find_studies(self.pacs, mrn, patient_id)
            with self._lock:
                self._found[patient_id] = (time.monotonic(), held)
        ordered = sorted(held, key=lambda s: (s.started, s.uid), reverse=True)
        return [(s, *self._dated(s)) for s in ordered]

    def _dated(self, study: ArchivedStudy) -> tuple[float, int]:
        with self._lock:
            seen = self._seen.get(study.uid)
            if seen is None:
                seen = self._seen[study.uid] = _Seen(study, self.clock())
            elif seen.study != study:
                seen = self._seen[study.uid] = _Seen(study, self.clock(), seen.version + 1)
            return seen.since, seen.version

    def refresh(self) -> None:
        """Ask the archive again at the next search."""
        with self._lock:
            self._found.clear()
            self._looked.clear()
            for kept in self._kept.values():
                kept.checked = float("-inf")

    def study(self, study_uid: str) -> ArchivedStudy | None:
        if not UID.fullmatch(study_uid):
            return None
        with self._lock:
            kept = self._kept.get(study_uid)
            move = self._moves.get(study_uid)
        if kept is not None and time.monotonic() - kept.checked < FRESH_SECONDS:
            return kept.study
        if move is not None and not move.finished.is_set():
            return move.announced
        found = self._looked_up(study_uid)
        with self._lock:
            kept = self._kept.get(study_uid)
            if kept is not None and found is not None and _uids(kept.study) == _uids(found):
                kept.checked = time.monotonic()
            elif kept is not None:
                self._drop(study_uid)  # the archive has changed: move it again
        return found

    def _looked_up(self, study_uid: str) -> ArchivedStudy | None:
        """C-FIND for one study; many who ask at once share one answer."""
        with self._lock:
            turn = self._turns.setdefault(study_uid, threading.Lock())
        with turn:
            with self._lock:
                asked, found = self._looked.get(study_uid, (float("-inf"), None))
            if time.monotonic() - asked < FRESH_SECONDS:
                return found
            found = find_study(self.pacs, study_uid, {m: p for p, m in self.mrns.items()})
            with self._lock:
                self._looked[study_uid] = (time.monotonic(), found)
                for memory in (self._looked, self._turns):
                    while len(memory) > MEMORY:
                        memory.pop(next(iter(memory)))
            return found

    # -- images --------------------------------------------------------------------------

    def ready(self, study_uid: str) -> ArchivedStudy:
        found = self.study(study_uid)
        if found is None:
            raise KeyError(study_uid)
        with self._lock:
            kept = self._kept.get(study_uid)
            if kept is not None:
                kept.used = time.monotonic()
                return kept.study
            move = self._moves.get(study_uid)
            if move is None:
                move = self._begin(found)
        if move.finished.is_set():
            with self._lock:
                self._moves.pop(study_uid, None)
            if move.error is not None:
                raise move.error
        raise NotReadyError(move.seconds_left())

    def touch(self, study_uid: str) -> None:
        """Somebody is reading this study."""
        with self._lock:
            if study_uid in self._kept:
                self._kept[study_uid].used = time.monotonic()

    def _begin(self, study: ArchivedStudy) -> StudyMove:
        if self._receiver is None or self._folder is None:
            raise UpstreamError(500, "the link to the image archive is closed")
        running = sum(1 for m in self._moves.values() if not m.finished.is_set())
        if running >= MOVES_AT_ONCE or not self._made_room():
            raise NotReadyError(5.0)
        try:
            folder = Path(tempfile.mkdtemp(dir=self._folder))
        except OSError as error:
            raise UpstreamError(500, f"the image cache: {error.strerror}") from error
        move = StudyMove(self.pacs, self._receiver, study, folder, self._arrived)
        self._moves[study.uid] = move
        threading.Thread(target=move.run, name="s4s-sandbox-move", daemon=True).start()
        return move

    def _arrived(self, move: StudyMove) -> None:
        """A move has ended: keep the study, or remove what came of it."""
        if move.study is None:
            shutil.rmtree(move.folder, ignore_errors=True)
            return
        size = sum(path.stat().st_size for path in move.folder.iterdir())
        now = time.monotonic()
        with self._lock:
            self._kept[move.announced.uid] = _Kept(move.study, move.folder, size, now, now)
            self._moves.pop(move.announced.uid, None)

    def _made_room(self) -> bool:
        """Throw out the studies unused for longest; False when all are in use."""
        by_age = sorted(self._kept.items(), key=lambda item: item[1].used)
        for uid, kept in by_age:
            if sum(k.size for k in self._kept.values()) <= self.limit:
                break
            if time.monotonic() - kept.used > QUIET_SECONDS:
                self._drop(uid)
        return sum(k.size for k in self._kept.values()) <= self.limit

    def _drop(self, study_uid: str) -> None:
        kept = self._kept.pop(study_uid)
        shutil.rmtree(kept.folder, ignore_errors=True)


def _uids(study: ArchivedStudy) -> set[str]:
    return {instance.uid for _, instance in study.instances()}
