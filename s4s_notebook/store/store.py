"""``Store``: a folder of what was downloaded, with tables of all its participants."""

from __future__ import annotations

import re
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import private_files as system
from .. import temporary
from ..errors import Incomplete, InvalidArgument, InvalidUID, StoreError
from ..fhir.resources import REFERRED, study_uid
from ..smart.token_store import FileTokenStore, KeyringTokenStore, remembered
from ..tracebacks import methods_without_variables
from .index import NAME as INDEX_NAME
from .index import Index
from .journal import Record
from .names import safe_name
from .overview import IncompleteWarning, participants_frame, problems_frame, store_card
from .participant import Participant
from .study_folder import FileProblem, StudyFolder

if TYPE_CHECKING:
    import pandas as pd

_QUARANTINE = "quarantine"


def _is_own(name: str) -> bool:
    """Return whether a name at the root is one that a store makes: its index, a holder's folder."""
    return name == INDEX_NAME or name.startswith((safe_name("https://"), safe_name("http://")))


@methods_without_variables
class Store:
    """A folder that holds what was downloaded; several processes may share it.

    Each table method returns all participants in one frame, with a first column ``participant``
    (FHIR base address and Patient id), and ``attrs["participants"]``: how many were read, those
    without a row included, ``attrs["complete"]`` and ``attrs["incomplete"]``: of how many a
    search ended early or never ran. A warning says so; with ``strict=True`` Incomplete is raised,
    whose ``.partial`` is the frame. A folder that is no store is an error, not an empty frame.

    Args:
        root: the folder; made with mode 0700 when it is not there. Within one that is shared
            with a group, a private folder ``s4s-<user number>`` is made and used. Without one,
            everything lives in a private temporary folder that is removed with the store; that of a
            process that was killed is removed when the next store is opened.

    Raises:
        UnsafeStore: the folder belongs to another user, or a link was planted in it.
        DiskProblem: it cannot be written.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.temporary = root is None
        with system.disk("making a temporary folder"):
            temporary.remove_leftovers()
            path = temporary.make_folder() if root is None else Path(root).expanduser()
        self._folder = system.Folder.private(path, _is_own)
        self.root = self._folder.path
        self._guard = threading.Lock()
        self._participants: weakref.WeakValueDictionary[tuple[str, str], Participant]
        self._participants = weakref.WeakValueDictionary()  # those in use, each once
        self._index = Index(self._folder)
        if self._index.rebuilt:
            try:
                self._find_participants()
            except BaseException:
                self._index.close()
                raise
        self._remove = (
            weakref.finalize(self, temporary.remove_folder, path) if self.temporary else None
        )

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def _repr_html_(self) -> str:
        people = list(self.iter_participants())
        studies = (self.study(one, uid) for one in people for uid in one.study_uids())
        sizes = [file.size for study in studies for file in study.instances().values()]
        note = "temporary: removed when it is closed" if self.temporary else ""
        return store_card(people, sizes, str(self.root), note)

    def _find_participants(self) -> None:
        """Read every journal below the root into a new index."""
        with system.disk("reading the store"):
            for holder in self._folder.names():
                if (self.root / holder).is_dir() and holder not in (_QUARANTINE, "tokens"):
                    for patient in self._folder.child(holder).names():
                        identity = Participant.identity(self._folder, holder, patient)
                        if identity is not None:
                            self.participant(*identity)

    def participant(self, holder: str, patient: str) -> Participant:
        """Return one patient at one holder (its FHIR base address), stored already or not."""
        with self._guard:
            participant = self._participants.get((holder, patient))
            if participant is None:
                with system.disk("opening a participant's folder"):
                    participant = Participant(self._folder, self._index, holder, patient)
                self._participants[holder, patient] = participant
            return participant

    def participants(self) -> pd.DataFrame:
        """One row per participant and resource type: what was received, and whether all of it.

        Columns: ``participant``, ``type``, ``complete`` (the last search was read to its end),
        ``last_update`` and ``waits_until`` (UTC; null where none). Raises as the tables do.
        """
        self._check_exists()
        return participants_frame(self.iter_participants())

    def problems(self) -> pd.DataFrame:
        """Return what did not parse or did not belong: one row per value.

        Columns, all ``str``: ``participant``, ``resource``, ``path``, ``value``, ``why``.
        """
        self._check_exists()
        return problems_frame(self.iter_participants())

    def _check_exists(self) -> None:
        """Raise an error for a folder in which nobody's data are; a temporary one may be empty."""
        if (
            not (self.temporary or self._index.purged)
            and next(self.iter_participants(), None) is None
        ):
            raise StoreError(
                f"There is no store at {self.root}: it holds no participant.",
                hint="Check the folder; connect(url, store=...) makes a store.",
            )

    def iter_participants(self) -> Iterator[Participant]:
        """Yield all participants of the store, ordered by holder and patient.

        Only one folder need be open at a time: a process may have fewer files open than a study
        has participants.
        """
        rows = self._index.rows(
            "SELECT holder, patient FROM participant WHERE holder NOT NULL ORDER BY holder, patient"
        )
        for holder, patient in rows:
            yield self.participant(holder, patient)

    # Tables

    def patients(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per participant (FHIR Patient).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("patients")``.
        """
        return self._table("patients", "Patient", strict)

    def coverage(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per insurance coverage (FHIR Coverage).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("coverage")``.
        """
        return self._table("coverage", "Coverage", strict)

    def studies(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per imaging study (FHIR ImagingStudy).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("studies")``.
        """
        return self._table("studies", "ImagingStudy", strict)

    def series(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per series that a holder lists.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("series")``.
        """
        return self._table("series", "ImagingStudy", strict)

    def benefits(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per claim (FHIR ExplanationOfBenefit).

        Columns: ``participant``, then those of ``s4s.tables.dictionary("benefits")``.
        """
        return self._table("benefits", "ExplanationOfBenefit", strict)

    def benefit_lines(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per line of a claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("benefit_lines")``.
        """
        return self._table("benefit_lines", "ExplanationOfBenefit", strict)

    def diagnoses(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per diagnosis of a claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("diagnoses")``.
        """
        return self._table("diagnoses", "ExplanationOfBenefit", strict)

    def procedures(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per procedure of a claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("procedures")``.
        """
        return self._table("procedures", "ExplanationOfBenefit", strict)

    def adjudications(self, *, strict: bool = False) -> pd.DataFrame:
        """One row per adjudication, at whatever level of the claim.

        Columns: ``participant``, then those of ``s4s.tables.dictionary("adjudications")``.
        """
        return self._table("adjudications", "ExplanationOfBenefit", strict)

    def table(self, name: str, *, strict: bool = False) -> pd.DataFrame:
        """Return a table by its name: those above, and the long ones, as in ``"care_team"``.

        Columns: ``participant``, then those of ``s4s.tables.dictionary(name)``.

        Raises:
            ValueError: there is no such table.
        """
        from .. import tables

        return self._table(name, tables.resource_type(name), strict)

    def unread(self) -> pd.DataFrame:
        """Return what stands in the resources and in no table: one row per kind of content.

        Columns: as :func:`s4s_notebook.tables.unread`, over all participants.
        """
        from .. import tables

        return tables.unread(
            resource
            for participant in self.iter_participants()
            for resource_type in (*tables.RESOURCE_TYPES, *REFERRED)
            for resource in participant.resources(resource_type)
        )

    def _table(self, name: str, resource_type: str, strict: bool) -> pd.DataFrame:
        """Build a table of all participants from their resources of one type."""
        from .. import tables

        self._check_exists()
        incomplete: list[str] = []
        builder = tables.builder(name)
        builder.add((), participant="nobody")  # an empty store has the column all the same
        count = 0
        for participant in self.iter_participants():
            label = f"{participant.holder}/Patient/{participant.patient}"
            count += 1
            if not participant.is_complete(resource_type):
                incomplete.append(label)
            for other in tables.BESIDE.get(name, ()):
                builder.add(participant.resources(other), participant=label)
            builder.add(participant.resources(resource_type), participant=label)
        frame = builder.frames()[name]
        frame.attrs["participants"] = count
        frame.attrs["complete"], frame.attrs["incomplete"] = not incomplete, len(incomplete)
        if incomplete:
            problem = f"{len(incomplete)} of {count} participants lack some {resource_type}."
            hint = "Store.participants() names them; Connection.update() continues."
            if strict:
                raise Incomplete(problem, hint=hint, partial=frame, missing=tuple(incomplete))
            warnings.warn(f"{problem} {hint}", IncompleteWarning, stacklevel=3)
        return frame

    # Files

    def study(self, participant: Participant, uid: str) -> StudyFolder:
        """Return the folder of one study (DICOM Study Instance UID).

        Raises:
            InvalidUID: that is no UID.
        """
        with system.disk("opening the quarantine"):
            quarantine = self._folder.child(_QUARANTINE, create=True)
        return StudyFolder(participant, quarantine, uid)

    def token_store(
        self, issuer: str, client_id: str, patient: str, *, kind: Literal["keyring", "file"]
    ) -> FileTokenStore:
        """Return where to remember a sign-in of this issuer, client and patient."""
        make = FileTokenStore if kind == "file" else KeyringTokenStore
        return make(self._folder, issuer, client_id, patient)

    def verify(self) -> list[FileProblem]:
        """Hash every file; return those missing or changed, which the next download fetches."""
        return [
            problem
            for participant in self.iter_participants()
            for uid in participant.study_uids()
            for problem in self.study(participant, uid).verify()
        ]

    def purge(
        self,
        what: Literal["all"] | None = None,
        *,
        patient: str | None = None,
        study: str | None = None,
    ) -> None:
        """Remove data for good, from files, journal, index and quarantine.

        Args:
            what: "all" empties the store.
            patient: everything of this FHIR patient id, at every holder.
            study: this Study Instance UID: its files and its ImagingStudy.

        Remembered sign-ins are removed with their patient. Claims and other resources that
        mention a study stay. A download that is under way ends with an error, and leaves nothing.

        Raises:
            ValueError: not exactly one of the three was given.
            DiskProblem: the disk is full or failing; the next call goes on.
        """
        if [what, patient, study].count(None) != 2:
            raise InvalidArgument('purge("all"), purge(patient=...) or purge(study=...)')
        if what == "all":
            self._purge_all()
        elif patient is not None:
            self._purge_patient(patient)
        elif study is not None:
            for participant in self.iter_participants():
                self._purge_study(participant, study)
        self._index.purged = True
        self._index.compact()  # also what an earlier call could not

    def _purge_all(self) -> None:
        for token_store in remembered(self._folder):
            token_store.forget()
        self._index.close()
        for participant in list(self._participants.values()):
            participant.close()
        self._participants.clear()
        with system.disk("purging the store"):
            for name in self._folder.names():
                self._folder.remove_tree(name)
            self._folder.sync()
        self._index = Index(self._folder)

    def _purge_patient(self, patient: str) -> None:
        # The index last: while the patient is in it, a purge that failed can be repeated. No
        # folder is opened, as that could write to a disk that is full.
        rows = self._index.rows(
            "SELECT id, folder, holder FROM participant WHERE patient=?", patient
        )
        for number, path, holder in rows:
            with self._guard:
                participant = self._participants.pop((holder, patient), None)
            if participant is not None:
                participant.close()
            for token_store in remembered(self._folder, holder, patient):
                token_store.forget()
            names = tuple(path.split("/"))
            self._remove_below(names)
            self._remove_below((_QUARANTINE, *names))
            self._index.forget(number, entirely=True)

    def _purge_study(self, participant: Participant, uid: str) -> None:
        self._remove_below((*participant.names, safe_name(uid)))
        self._remove_below((_QUARANTINE, *participant.names, safe_name(uid)))
        participant.rewrite(_StudyRemoval(uid))

    def remembered(self, issuer: str, patient: str | None) -> list[FileTokenStore]:
        """Return the remembered sign-ins of an issuer, and of one patient where that is given."""
        return remembered(self._folder, issuer, patient)

    def _remove_below(self, names: tuple[str, ...]) -> None:
        """Remove a folder, and those above it that are then empty."""
        with system.disk("purging"), suppress(FileNotFoundError):
            for depth in range(len(names) - 1, -1, -1):
                parent = self._folder.child(*names[:depth])
                if depth == len(names) - 1 or not parent.child(names[depth]).names():
                    parent.remove_tree(names[depth])
                    parent.sync()

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


class _StudyRemoval:
    """Removes from a journal, record by record, what belongs to a study.

    Args:
        uid: Study Instance UID.
    """

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._mention = re.compile(rf"(?<![\d.]){re.escape(uid)}(?![\d.])")
        self._keys: set[str] = set()  # of its ImagingStudy resources

    def __call__(self, record: Record) -> Record | None:
        """Return a record without the study, None when it is about nothing else."""
        kind = record.get("t")
        if kind in ("study", "file", "lost"):
            return None if record.get("study") == self._uid else record
        if kind == "wait":
            return None if self._mention.search(str(record.get("what"))) else record
        if kind == "resource":
            return None if self._is_the_study(record) else record
        if kind in ("page", "problems"):
            problems = [row for row in record["problems"] if not self._is_about(str(row[0]))]
            seen = [key for key in record.get("seen", ()) if key not in self._keys]
            return {**record, "problems": problems, "seen": seen}
        return record

    def _is_the_study(self, record: Record) -> bool:
        if record.get("type") != "ImagingStudy":
            return False
        with suppress(InvalidUID):
            if study_uid(record["body"]) == self._uid:
                self._keys.add(record["key"])
                return True
        return False

    def _is_about(self, resource: str) -> bool:
        return resource in self._keys or self._mention.search(resource) is not None
