"""What is on disk: files that can be relied on, a SQLite index of them, and what was asked when.

::

    <root>/                                  0700, every file 0600
      index.sqlite                           a view of the records; made again when lost
      <holder>/<patient>/record.ndjson       what came and when: the truth behind the index
      <holder>/<patient>/<study>/<series>/<instance>.dcm
      quarantine/<holder>/<patient>/<study>/ what came and did not belong
      tokens/                                only when somebody asked to be remembered
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from .. import private_files as system
from ..smart.token_store import FileKeeper, KeyringKeeper, remembered
from .filed import Filed
from .files import Finding, StudyFolder
from .index import Index
from .journal import encode
from .names import safe_name
from .participant import Entry, Mark, Participant, Run
from .receive import Receiver, Rejected

__all__ = [
    "Entry",
    "FileKeeper",
    "Filed",
    "Finding",
    "KeyringKeeper",
    "Mark",
    "Participant",
    "Receiver",
    "Rejected",
    "Run",
    "Store",
    "StudyFolder",
]

_QUARANTINE = "quarantine"


class Store:
    """A folder that keeps what was downloaded; several processes may share it.

    Args:
        root: the folder; made with mode 0700 when it is not there. Without one, everything
            lives in a private temporary folder that goes with the store.

    Raises:
        UnsafeStore: the folder belongs to somebody else, or a link was planted in it.
        DiskProblem: it cannot be written.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.temporary = root is None
        path = Path(tempfile.mkdtemp(prefix="s4s-") if root is None else root).expanduser()
        self._folder = system.Folder.root(path)
        self.root = self._folder.path
        self._guard = threading.Lock()
        self._participants: weakref.WeakValueDictionary[tuple[str, str], Participant]
        self._participants = weakref.WeakValueDictionary()  # one each, while it is in use
        self._index = Index(self._folder)
        if self._index.rebuilt:
            self._find_participants()
        self._remove = (
            weakref.finalize(self, shutil.rmtree, self.root, True) if self.temporary else None
        )

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def _find_participants(self) -> None:
        """Read every record below the root into a new index."""
        with system.disk("reading the store"):
            for holder in self._folder.names():
                if (self.root / holder).is_dir() and holder not in (_QUARANTINE, "tokens"):
                    for patient in self._folder.child(holder).names():
                        record = Participant.who(self._folder, holder, patient)
                        if record is not None:
                            self.participant(*record)

    def participant(self, holder: str, patient: str) -> Participant:
        """What is kept of one patient at one holder (its FHIR base address)."""
        with self._guard:
            found = self._participants.get((holder, patient))
            if found is None:
                with system.disk("opening a participant's folder"):
                    found = Participant(self._folder, self._index, holder, patient)
                self._participants[holder, patient] = found
            return found

    def participants(self) -> list[Participant]:
        """All that the store keeps, ordered by holder and patient."""
        return list(self.each())

    def each(self) -> Iterator[Participant]:
        """The same one by one: only the folder of one need be open at a time, and a process may
        have fewer files open than a study has participants."""
        rows = self._index.rows(
            "SELECT holder, patient FROM participant WHERE holder NOT NULL ORDER BY holder, patient"
        )
        for holder, patient in rows:
            yield self.participant(holder, patient)

    def study(self, participant: Participant, uid: str) -> StudyFolder:
        """The files of one study (DICOM Study Instance UID).

        Raises:
            InvalidUID: that is no UID.
        """
        with system.disk("opening the quarantine"):
            quarantine = self._folder.child(_QUARANTINE, create=True)
        return StudyFolder(participant, quarantine, uid)

    def keeper(
        self, issuer: str, client_id: str, patient: str, *, kind: Literal["keyring", "file"]
    ) -> FileKeeper:
        """Where to remember a sign-in for exactly this issuer, client and patient."""
        make = FileKeeper if kind == "file" else KeyringKeeper
        return make(self._folder, issuer, client_id, patient)

    def verify(self) -> list[Finding]:
        """Hash every file: names what is missing or changed; the next download fetches those."""
        return [
            finding
            for participant in self.each()
            for uid in participant.study_uids()
            for finding in self.study(participant, uid).verify()
        ]

    def purge(
        self,
        what: Literal["all"] | None = None,
        *,
        patient: str | None = None,
        study: str | None = None,
    ) -> None:
        """Remove for good, from files, record, index and quarantine.

        Args:
            what: "all" empties the store.
            patient: everything of this FHIR patient id, at every holder.
            study: this Study Instance UID: its files and its ImagingStudy.

        Remembered sign-ins go with their patient. A download of it that is under way ends with
        an error, and leaves nothing either.
        """
        if [what, patient, study].count(None) != 2:
            raise ValueError('purge("all"), purge(patient=...) or purge(study=...)')
        if what == "all":
            self._purge_all()
        for participant in self.each():
            if participant.patient == patient:
                self._purge_patient(participant)
            elif study is not None:
                self._purge_study(participant, study)

    def _purge_all(self) -> None:
        for keeper in remembered(self._folder):
            keeper.forget()
        self._index.close()
        for participant in list(self._participants.values()):
            participant.close()
        self._participants.clear()
        with system.disk("purging the store"):
            for name in self._folder.names():
                self._folder.remove_tree(name)
            self._folder.sync()
        self._index = Index(self._folder)

    def _purge_patient(self, participant: Participant) -> None:
        # The index last: as long as it knows of the patient, a purge that failed can be repeated.
        with self._guard:
            self._participants.pop((participant.holder, participant.patient), None)
        for keeper in remembered(self._folder, participant.holder, participant.patient):
            keeper.forget()
        participant.close()
        self._remove_below(participant.names)
        self._remove_below((_QUARANTINE, *participant.names))
        self._index.forget(participant.id, entirely=True)

    def _purge_study(self, participant: Participant, uid: str) -> None:
        self._remove_below((*participant.names, safe_name(uid)))
        self._remove_below((_QUARANTINE, *participant.names, safe_name(uid)))
        participant.rewrite(
            partial(_without_study, re.compile(rf"(?<![\d.]){re.escape(uid)}(?![\d.])"))
        )

    def remembered(self, issuer: str, patient: str | None) -> list[FileKeeper]:
        """Every sign-in that is kept for an issuer, and for one patient where that is given."""
        return remembered(self._folder, issuer, patient)

    def _remove_below(self, names: tuple[str, ...]) -> None:
        """Remove what is there, and the folders above it that it leaves empty."""
        with system.disk("purging"), suppress(FileNotFoundError):
            for depth in range(len(names) - 1, -1, -1):
                above = self._folder.child(*names[:depth])
                if depth == len(names) - 1 or not above.child(names[depth]).names():
                    above.remove_tree(names[depth])
                    above.sync()

    def close(self) -> None:
        """Close files; a temporary store is removed."""
        with self._guard:
            for participant in list(self._participants.values()):
                participant.close()
            self._participants.clear()
        self._index.close()
        self._folder.close()
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _without_study(uid: re.Pattern[str], record: dict[str, Any]) -> dict[str, Any] | None:
    """A fact without any word of a study, or None when it is about nothing else."""
    if record.get("t") in ("page", "problems"):
        told = [problem for problem in record["problems"] if not uid.search(str(problem))]
        seen = [key for key in record.get("seen", ()) if not uid.search(key)]
        return {**record, "problems": told, "seen": seen}
    return None if uid.search(encode(record).decode("utf-8", "replace")) else record
