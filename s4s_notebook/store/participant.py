"""What a store holds of one participant at one holder: resources, marks, waits, studies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from .. import private_files as system
from ..fhir.resources import is_uid
from ..problems import Problem
from .index import Index
from .journal import Journal, Record
from .names import safe_name

Tick = Callable[[], None]


class Mark(NamedTuple):
    """Up to where a type is known: times are POSIX seconds, ``upto`` by the holder's clock."""

    upto: float | None
    retrieved: float
    pages: int


class Run(NamedTuple):
    """A search that is under way, or was cut off: ``next`` is the page to go on with."""

    run: str
    since: str | None
    next: str | None
    upto: float | None
    full: bool
    pages: int


class Entry(NamedTuple):
    """A resource as a page brought it."""

    key: str
    version: str
    body: dict[str, Any]
    change: str = "new"


class Participant:
    """Made by :meth:`Store.participant`; safe to use from many threads and processes."""

    def __init__(self, root: system.Folder, index: Index, holder: str, patient: str) -> None:
        self.holder, self.patient = holder, patient
        self.names = (safe_name(holder), safe_name(patient))
        self._root, self._index = root, index
        self.folder = root.child(*self.names, create=True)
        self._journal = Journal(self.folder)
        self._guard = threading.RLock()
        place = "/".join(self.names)
        self._index.run("INSERT OR IGNORE INTO participant(folder) VALUES(?)", place)
        [(self.id,)] = self._index.rows("SELECT id FROM participant WHERE folder=?", place)
        self._catch_up()
        if not self._journal.size():
            self.record([{"t": "who", "holder": holder, "patient": patient}])

    @staticmethod
    def who(root: system.Folder, holder_name: str, patient_name: str) -> tuple[str, str] | None:
        """Holder and patient as the record in that folder says, None where there is no record."""
        with suppress(NotADirectoryError):
            first = Journal(root.child(holder_name, patient_name)).first()
            if first is not None and first.get("t") == "who":
                return first["holder"], first["patient"]
        return None

    # The record and its view in the index

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._guard, system.lock(self.folder, ".lock"):
            yield

    def record(self, records: Iterable[Record], about: system.Folder | None = None) -> None:
        """Write facts down, durably, then enter them into the index.

        ``about`` is the study's folder that they tell of. Once that is purged, nothing is written.
        """
        with self._alone():
            if about is not None and not self.folder.holds(about):
                raise system.gone()
            self._replay()
            self._index.apply(self.id, self._journal.append(records))

    def _catch_up(self) -> None:
        """Enter what another process, or a killed one, wrote down and did not enter."""
        if self._journal.size() != self._read():
            with self._alone():
                self._replay()

    def _read(self) -> int:
        found = self._index.rows("SELECT read FROM participant WHERE id=?", self.id)
        if not found:  # another process has purged this patient
            raise system.gone()
        return int(found[0][0])

    def _replay(self) -> None:
        read, size = self._read(), self._journal.size()
        if size < read:
            self._index.forget(self.id, entirely=False)
            read = 0
        if size > read:
            self._index.apply(self.id, self._journal.replay(read))

    def rewrite(self, edit: Callable[[Record], Record | None]) -> None:
        """Change facts, or take them out (None), in the record and the index, for good."""
        with self._alone():
            self._journal.rewrite(edit)
            self._index.forget(self.id, entirely=False)
            self._replay()

    # Resources

    @contextmanager
    def asking(self, kind: str, tick: Tick) -> Iterator[None]:
        """One run of a type at a time, over all threads and processes.

        Two full runs at once would each take what the other saw for no longer served. ``tick``
        is called while another one asks, and may raise (Cancel).
        """
        with system.lock(self.folder, f".asking-{kind}", tick=tick, limit=float("inf")):
            yield

    def resources(self, kind: str, *, gone: bool = False) -> Iterator[dict[str, Any]]:
        """Stored resources of a type in the order they first came, one in memory at a time.

        ``gone=True`` gives those that the holder no longer serves instead.
        """
        self._catch_up()
        places = self._index.rows(
            "SELECT offset, length FROM resource WHERE participant=? AND type=? AND (gone<>'')=?"
            " ORDER BY rowid",
            *(self.id, kind, gone),
        )
        if places:
            for record in self._journal.bodies(places):
                yield record["body"]

    def versions(self, kind: str) -> dict[str, tuple[str, bool]]:
        """``{key: (version, no longer served)}``."""
        self._catch_up()
        return {
            key: (version, bool(gone))
            for key, version, gone in self._index.rows(
                "SELECT key, version, gone FROM resource WHERE participant=? AND type=?",
                *(self.id, kind),
            )
        }

    def changes(self, kind: str, run: str) -> list[tuple[str, str]]:
        """(key, "new", "changed", "gone" or "unchanged") of each resource, after that run."""
        self._catch_up()
        return self._index.rows(
            "SELECT key, iif(run=?, change, 'unchanged') FROM resource"
            " WHERE participant=? AND type=? AND gone IN ('', ?) ORDER BY rowid",
            *(run, self.id, kind, run),
        )

    def save_page(
        self,
        kind: str,
        run: Run,
        entries: Sequence[Entry],
        *,
        seen: Sequence[str] = (),
        included: Sequence[tuple[str, Entry]] = (),
        problems: Sequence[Problem] = (),
    ) -> None:
        """Keep one page: new or changed ``entries``, keys only ``seen``, and where to go on."""
        lines = [
            {"t": "resource", "type": type_, "run": run.run, **entry._asdict()}
            for type_, entry in [*((kind, e) for e in entries), *included]
        ]
        page = {"t": "page", "type": kind, **run._asdict(), "seen": list(seen)}
        self.record([*lines, {**page, "problems": [list(problem) for problem in problems]}])

    def run(self, kind: str) -> Run | None:
        """The search of this type that has begun and not ended; None where none has."""
        self._catch_up()
        found = self._index.rows(
            "SELECT run, since, next, upto, full, pages FROM run WHERE participant=? AND type=?",
            *(self.id, kind),
        )
        return Run(*found[0])._replace(full=bool(found[0][4])) if found else None

    def finish(self, kind: str, run: Run, retrieved: float) -> None:
        """Move the mark; after a ``full`` run what was not seen is no longer served."""
        mark = {"upto": run.upto, "retrieved": retrieved, "pages": run.pages}
        self.record([{"t": "mark", "type": kind, "run": run.run, "full": run.full, **mark}])

    def mark(self, kind: str) -> Mark | None:
        """How far this type is complete; None where it never was."""
        self._catch_up()
        found = self._index.rows(
            "SELECT upto, retrieved, pages FROM mark WHERE participant=? AND type=?", self.id, kind
        )
        return Mark(*found[0]) if found else None

    def problems(self) -> list[Problem]:
        """What was odd in the pages that came."""
        self._catch_up()
        return [
            Problem(*row)
            for row in self._index.rows(
                "SELECT resource, path, value, why FROM problem WHERE participant=?", self.id
            )
        ]

    def add_problems(self, kind: str, problems: Sequence[Problem]) -> None:
        """Keep what was odd in a page of this type."""
        self.record([{"t": "problems", "type": kind, "problems": [list(p) for p in problems]}])

    # Consent and waits

    def consent(self, origin: str) -> None:
        """Keep that the person consented to an origin of this holder's images."""
        self.record([{"t": "consent", "origin": origin}])

    def consents(self) -> list[str]:
        """The origins of images that the person consented to."""
        self._catch_up()
        rows = self._index.rows("SELECT origin FROM consent WHERE participant=?", self.id)
        return [origin for (origin,) in rows]

    def forget_consents(self) -> None:
        """Take back what :meth:`consent` kept."""
        if self.consents():
            self.rewrite(lambda record: None if record.get("t") == "consent" else record)

    def set_wait(self, what: str, not_before: float, seconds: float) -> None:
        """Keep until when a holder asked us to stay away, so that a new process obeys it too."""
        self.record([{"t": "wait", "what": what, "not_before": not_before, "seconds": seconds}])

    def wait_left(self, what: str, now: float) -> float:
        """Seconds still to wait; never more than was asked, even if the clock was set back."""
        self._catch_up()
        found = self._index.rows(
            "SELECT not_before, seconds FROM wait WHERE participant=? AND what=?", self.id, what
        )
        return max(0.0, min(found[0][0] - now, found[0][1])) if found else 0.0

    # Studies

    def study_row(self, uid: str) -> tuple[int | None, bool, str]:
        """Instances announced, whether a download ended with all of them, DICOM Patient ID."""
        self._catch_up()
        found = self._index.rows(
            "SELECT expected, complete, patient FROM study WHERE participant=? AND study=?",
            *(self.id, uid),
        )
        return (found[0][0], bool(found[0][1]), found[0][2]) if found else (None, False, "")

    def instance_rows(self, uid: str) -> list[tuple[Any, ...]]:
        """The fields of ``files.Filed`` for each recorded instance of a study."""
        self._catch_up()
        return self._index.rows(
            "SELECT series, sop, name, size, sha256, part FROM instance"
            " WHERE participant=? AND study=? ORDER BY rowid",
            *(self.id, uid),
        )

    def study_uids(self) -> list[str]:
        """Studies of which something is on disk."""
        with system.disk("looking into the store"):
            return [name for name in self.folder.names() if is_uid(name)]

    def close(self) -> None:
        """Close the folder."""
        self.folder.close()
