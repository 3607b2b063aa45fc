"""One participant at one holder: resources, sync points, consents, waits and studies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from .. import private_files as system
from ..errors import InvalidUID
from ..fhir.resources import is_uid, study_uid
from ..http.waits import Waits
from ..problems import Problem
from .index import Index
from .journal import Journal, Record
from .names import safe_name

Tick = Callable[[], None]


class SyncPoint(NamedTuple):
    """How far a resource type has been retrieved; times are POSIX seconds.

    Attributes:
        until: the next search asks for what changed after this, by the holder's clock; None
            where the holder gave no time.
        retrieved: when the last search ended, by the local clock.
        pages: of that search.
    """

    until: float | None
    retrieved: float
    pages: int


class Run(NamedTuple):
    """A search that is under way, or was cut off.

    Attributes:
        run: an id, which begins with the POSIX time at which it began.
        since: the ``_lastUpdated`` it requests, or None for everything.
        next: address of the page to continue with.
        until: as in :class:`SyncPoint`, once the first page was received.
        full: whether all resources are requested, so that those not served are gone.
        pages: received so far.
    """

    run: str
    since: str | None
    next: str | None
    until: float | None
    full: bool
    pages: int


#: What :meth:`Participant.state` means, as a problem says it.
_STATES = {
    "not served": "the holder does not serve this type",
    "gone": "the holder no longer serves this patient",
    "unconfirmed": "an error was read as no match; the next update requests everything again",
    "refused": "the approval does not cover this type; what claims refer to stays without it",
    "postponed": "not all that claims refer to could be read; the next update continues",
}


class Entry(NamedTuple):
    """A resource of a page; ``change`` is "new" or "changed"."""

    key: str
    version: str
    body: dict[str, Any]
    change: str = "new"


class StudyRow(NamedTuple):
    """How the last download of a study ended.

    Attributes:
        expected: instances that its ImagingStudy announced.
        complete: whether it was complete.
        patient: DICOM Patient ID in the files.
        evidence: how the holder showed that it was complete, "transfer" or "list"; "" where it is
            not, or where version 0.1 wrote it, which took a number for evidence.
    """

    expected: int | None = None
    complete: bool = False
    patient: str = ""
    evidence: str = ""


class Participant:
    """What a store holds of one patient at one holder; made by :meth:`Store.participant`.

    Safe to use from many threads and processes.

    Attributes:
        holder: FHIR base address.
        patient: FHIR id.
    """

    def __init__(self, root: system.Folder, index: Index, holder: str, patient: str) -> None:
        self.holder, self.patient = holder, patient
        self.names = (safe_name(holder), safe_name(patient))
        self._root, self._index = root, index
        self.folder = root.child(*self.names, create=True)
        self._journal = Journal(self.folder)
        self._guard = threading.RLock()
        self._study_uids: dict[tuple[str, str], str] = {}  # of an ImagingStudy's key and version
        path = "/".join(self.names)
        self._index.run("INSERT OR IGNORE INTO participant(folder) VALUES(?)", path)
        [(self.id,)] = self._index.rows("SELECT id FROM participant WHERE folder=?", path)
        self._catch_up()
        if not self._journal.size():
            self.record([{"t": "who", "holder": holder, "patient": patient}])

    @staticmethod
    def identity(
        root: system.Folder, holder_name: str, patient_name: str
    ) -> tuple[str, str] | None:
        """Return holder and patient as the journal in a folder names them, None without one."""
        with suppress(NotADirectoryError):
            record = Journal(root.child(holder_name, patient_name)).first()
            if record is not None and record.get("t") == "who":
                return record["holder"], record["patient"]
        return None

    # The journal and its view in the index

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._guard, system.lock(self.folder, ".lock"):
            yield

    def record(self, records: Iterable[Record], study: system.Folder | None = None) -> None:
        """Append records to the journal, durably, then enter them into the index.

        Args:
            records: JSON objects; see ``index.APPLY``.
            study: the folder of the study that they describe.

        Raises:
            StoreError: that study was purged; nothing is written.
        """
        with self._locked():
            if study is not None and not self.folder.is_parent_of(study):
                raise system.gone()
            self._replay()
            self._index.apply(self.id, self._journal.append(records))

    def _catch_up(self) -> None:
        """Enter what another process, or a killed one, appended to the journal only."""
        if self._journal.size() != self._indexed_bytes():
            with self._locked():
                self._replay()

    def _indexed_bytes(self) -> int:
        """Return how much of the journal is in the index."""
        rows = self._index.rows("SELECT read FROM participant WHERE id=?", self.id)
        if not rows:  # another process has purged this patient
            raise system.gone()
        return int(rows[0][0])

    def _replay(self) -> None:
        indexed, size = self._indexed_bytes(), self._journal.size()
        if size < indexed:
            self._index.forget(self.id, entirely=False)
            indexed = 0
        if size > indexed:
            self._index.apply(self.id, self._journal.replay(indexed))

    def rewrite(self, edit: Callable[[Record], Record | None]) -> None:
        """Change records, or remove them (None), in the journal and the index, for good."""
        with self._locked():
            self._journal.rewrite(edit)
            self._index.forget(self.id, entirely=False)
            self._replay()

    # Resources

    @contextmanager
    def sync_lock(self, kind: str, tick: Tick) -> Iterator[None]:
        """Hold the lock of a resource type: one search at a time, over all processes.

        Two full runs at once would each take what the other saw for no longer served.

        Args:
            kind: resource type.
            tick: called while another one holds the lock; may raise (Cancel).
        """
        with system.lock(self.folder, f".asking-{kind}", tick=tick, limit=float("inf")):
            yield

    def resources(self, kind: str, *, gone: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the stored resources of a type, one in memory at a time.

        They come in the order in which they were first received.

        Args:
            kind: resource type.
            gone: yield those that the holder no longer serves instead.
        """
        self._catch_up()
        positions = self._index.rows(
            "SELECT offset, length FROM resource WHERE participant=? AND type=? AND (gone<>'')=?"
            " ORDER BY rowid",
            *(self.id, kind, gone),
        )
        if positions:
            for record in self._journal.read(positions):
                yield record["body"]

    def versions(self, kind: str) -> dict[str, tuple[str, bool]]:
        """Return ``{key: (version, no longer served)}``."""
        self._catch_up()
        return {
            key: (version, bool(gone))
            for key, version, gone in self._index.rows(
                "SELECT key, version, gone FROM resource WHERE participant=? AND type=?",
                *(self.id, kind),
            )
        }

    def changes(self, kind: str, run: str) -> list[tuple[str, str]]:
        """Return (key, "new", "changed", "gone" or "unchanged") of each resource after a run."""
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
        """Store one page of a search.

        Args:
            kind: resource type.
            run: the search, with the address of its next page.
            entries: resources that are new or changed.
            seen: keys of those that are stored already, in this version.
            included: resources of other types, each with its type.
            problems: what did not parse or did not belong.
        """
        lines = [
            {"t": "resource", "type": type_, "run": run.run, **entry._asdict()}
            for type_, entry in [*((kind, e) for e in entries), *included]
        ]
        page = {"t": "page", "type": kind, **_run_fields(run), "seen": list(seen)}
        self.record([*lines, {**page, "problems": [list(problem) for problem in problems]}])

    def add_resource(self, kind: str, run: str, entry: Entry) -> None:
        """Store a resource that was read by its id.

        Args:
            kind: resource type.
            run: the id of the run that read it.
            entry: the resource.
        """
        self.record([{"t": "resource", "type": kind, "run": run, **entry._asdict()}])

    def run(self, kind: str) -> Run | None:
        """Return the search of this type that has begun and not ended, or None."""
        self._catch_up()
        rows = self._index.rows(
            "SELECT run, since, next, upto, full, pages FROM run WHERE participant=? AND type=?",
            *(self.id, kind),
        )
        return Run(*rows[0])._replace(full=bool(rows[0][4])) if rows else None

    def finish(self, kind: str, run: Run, retrieved: float, state: str = "") -> None:
        """End a search: move the sync point; after a full run what was not seen is gone.

        Args:
            kind: resource type.
            run: the search.
            retrieved: when it ended, POSIX seconds.
            state: see :meth:`state`. With "not served" and "unconfirmed" the search gave no
                evidence: the mark stays where it was, and nothing is gone.
        """
        if state in ("not served", "unconfirmed", "refused", "postponed"):
            point = self.sync_point(kind)
            run = run._replace(full=False, until=point.until if point else None)
        mark = {"upto": run.until, "retrieved": retrieved, "pages": run.pages, "state": state}
        self.record([{"t": "mark", "type": kind, "run": run.run, "full": run.full, **mark}])

    def sync_point(self, kind: str) -> SyncPoint | None:
        """Return how far this type was retrieved; None where no search has ended."""
        self._catch_up()
        rows = self._index.rows(
            "SELECT upto, retrieved, pages FROM mark WHERE participant=? AND type=?",
            *(self.id, kind),
        )
        return SyncPoint(*rows[0]) if rows else None

    def state(self, kind: str) -> str | None:
        """Return how the last search of a type ended, None where none has.

        "" is the usual end, "not served" where the holder does not serve the type, "gone" where
        it no longer serves the patient, "unconfirmed" where an error was read as "no match".
        """
        self._catch_up()
        rows = self._index.rows(
            "SELECT state FROM mark WHERE participant=? AND type=?", self.id, kind
        )
        return rows[0][0] if rows else None

    def is_complete(self, kind: str) -> bool:
        """Return whether the last search of a type was read to its end."""
        return self.state(kind) not in (None, "unconfirmed") and self.run(kind) is None

    def problems(self) -> list[Problem]:
        """Return what did not parse or did not belong in the pages received, and states."""
        self._catch_up()
        rows = self._index.rows(
            "SELECT type, state FROM mark WHERE participant=? AND state<>''", self.id
        )
        states = [Problem(kind, "", "", _STATES[state]) for kind, state in rows]
        return states + [
            Problem(*row)
            for row in self._index.rows(
                "SELECT resource, path, value, why FROM problem WHERE participant=?", self.id
            )
        ]

    def add_problems(self, kind: str, problems: Sequence[Problem]) -> None:
        """Store what did not parse or did not belong, for a resource type."""
        self.record([{"t": "problems", "type": kind, "problems": [list(p) for p in problems]}])

    # Consent and waits

    def consent(self, origin: str) -> None:
        """Store that the person consented to an origin of this holder's images."""
        self.record([{"t": "consent", "origin": origin}])

    def consents(self) -> list[str]:
        """Return the origins of images that the person consented to."""
        self._catch_up()
        rows = self._index.rows("SELECT origin FROM consent WHERE participant=?", self.id)
        return [origin for (origin,) in rows]

    def forget_consents(self) -> None:
        """Remove what :meth:`consent` stored."""
        if self.consents():
            self.rewrite(lambda record: None if record.get("t") == "consent" else record)

    def set_wait(self, key: str, not_before: float, seconds: float) -> None:
        """Store a Retry-After, so that a new process obeys it too.

        Args:
            key: what the holder asked to wait for.
            not_before: POSIX seconds before which it is not to be requested.
            seconds: of the wait that was requested.
        """
        self.record([{"t": "wait", "what": key, "not_before": not_before, "seconds": seconds}])

    def remaining_wait(self, key: str, now: float) -> float:
        """Return seconds to wait; at most those requested, even if the clock was set back."""
        self._catch_up()
        rows = self._index.rows(
            "SELECT not_before, seconds FROM wait WHERE participant=? AND what=?", self.id, key
        )
        return max(0.0, min(rows[0][0] - now, rows[0][1])) if rows else 0.0

    def waits_until(self, kind: str) -> float | None:
        """Return until when the holder wants no search of a type, POSIX seconds, or None."""
        return Waits.of_user().until(f"{self.holder}/{kind}")

    # Studies

    def study_resources(self, uid: str) -> list[dict[str, Any]]:
        """Return the ImagingStudy resources with a Study Instance UID; each is parsed once."""
        self._catch_up()
        rows = self._index.rows(
            "SELECT key, version, offset, length FROM resource"
            " WHERE participant=? AND type='ImagingStudy' AND gone='' ORDER BY rowid",
            self.id,
        )
        new = [row for row in rows if row[:2] not in self._study_uids]
        for row, record in zip(new, self._journal.read(row[2:] for row in new), strict=True):
            self._study_uids[row[:2]] = ""
            with suppress(InvalidUID):  # a study without a UID is not the one
                self._study_uids[row[:2]] = study_uid(record["body"])
        same = [row[2:] for row in rows if self._study_uids[row[:2]] == uid]
        return [record["body"] for record in self._journal.read(same)]

    def study_row(self, uid: str) -> StudyRow:
        """Return how the last download of a study ended."""
        self._catch_up()
        rows = self._index.rows(
            "SELECT expected, complete, patient, evidence FROM study"
            " WHERE participant=? AND study=?",
            *(self.id, uid),
        )
        return StudyRow(*rows[0])._replace(complete=bool(rows[0][1])) if rows else StudyRow()

    def dicom_patients(self, uid: str) -> set[str]:
        """Return the DICOM Patient IDs of the participant's studies other than this one."""
        self._catch_up()
        rows = self._index.rows(
            "SELECT DISTINCT patient FROM study WHERE participant=? AND study<>? AND patient<>''",
            *(self.id, uid),
        )
        return {patient for (patient,) in rows}

    def instance_rows(self, uid: str) -> list[tuple[Any, ...]]:
        """Return the fields of ``StoredInstance`` for each recorded instance of a study.

        A size of -1 means that the file was lost.
        """
        self._catch_up()
        return self._index.rows(
            "SELECT series, sop, name, size, sha256, part FROM instance"
            " WHERE participant=? AND study=? ORDER BY rowid",
            *(self.id, uid),
        )

    def study_uids(self) -> list[str]:
        """Return the Study Instance UIDs of which something is on disk."""
        with system.disk("reading the store"):
            return [name for name in self.folder.names() if is_uid(name)]

    def close(self) -> None:
        """Close the folder."""
        self.folder.close()


def _run_fields(run: Run) -> Record:
    """Return a run as the journal writes it, where ``until`` is called "upto"."""
    fields = run._asdict()
    return {**fields, "upto": fields.pop("until")}
