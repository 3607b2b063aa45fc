"""The instances of one study on disk: recorded, verified, recovered after a kill, quarantined."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .. import private_files as system
from ..errors import DICOMError, InvalidUID
from ..fhir.resources import is_uid
from .header import executable, read_header
from .names import safe_name
from .participant import Participant, StudyRow, Tick

PART = ".part-"
_LOCK_TIMEOUT = 60.0  # seconds that verify() waits for a download that is under way
_BLOCK = 1 << 20  # bytes that are hashed at a time
_HEAD = 1 << 15  # bytes; enough for all but pixels in most files
_WINDOW = 1 << 12  # bytes that are read further on, at each fragment of encapsulated pixels


class StoredInstance(NamedTuple):
    """An instance that is checked, synced and recorded.

    Attributes:
        series_uid: Series Instance UID.
        sop_uid: SOP Instance UID.
        name: of the file, in the folder of its series.
        size: bytes.
        sha256: of the file, in hex.
        part: the name under which the file was received, in the study's folder.
    """

    series_uid: str
    sop_uid: str
    name: str
    size: int
    sha256: str
    part: str = ""


class FileProblem(NamedTuple):
    """A file that is not as it was recorded: ``what`` is "missing" or "changed"."""

    path: Path
    study_uid: str
    sop_uid: str
    what: str


class StudyFolder:
    """``<root>/<holder>/<patient>/<study>``, its rows in the index and its lock.

    Args:
        participant: whose study it is.
        quarantine: the store's folder for files that do not belong.
        uid: Study Instance UID.

    Raises:
        InvalidUID: that is no UID.
    """

    def __init__(self, participant: Participant, quarantine: system.Folder, uid: str) -> None:
        if not is_uid(uid):
            raise InvalidUID("That is not a DICOM Study Instance UID.")
        self.participant, self.uid = participant, uid
        self._quarantine = quarantine
        with system.disk("opening the study's folder"):
            self.folder = participant.folder.child(safe_name(uid), create=True)
        self._row = participant.study_row(uid)

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self.folder.path

    @property
    def expected(self) -> int | None:
        """Instances that the holder announced at the last download."""
        return self._row.expected

    @property
    def evidence(self) -> str:
        """How the holder showed at the last complete download that it was complete.

        "transfer" or "list"; "" where it did not: see ``connection.completeness``. Version 0.1
        recorded none: such a study is held against the holder's list at the next download, where
        it offers one.
        """
        return self._row.evidence

    @property
    def dicom_patient(self) -> str:
        """Patient ID in the files; a study belongs to one patient."""
        return self._row.patient

    @contextmanager
    def lock(self, tick: Tick | None = None, limit: float = float("inf")) -> Iterator[None]:
        """Hold the study's lock, over all processes; first recover what a kill left behind.

        Args:
            tick: called while another process holds the lock; may raise (Cancel).
            limit: seconds to wait.

        Raises:
            StoreLocked: another process held the lock for longer than ``limit``.
        """
        with system.lock(self.folder, ".lock", tick=tick, limit=limit):
            self._row = self.participant.study_row(self.uid)
            self._recover()
            yield

    def instances(self) -> dict[str, StoredInstance]:
        """Return what is recorded and on disk with its full size, by SOP Instance UID."""
        stored: dict[str, StoredInstance] = {}
        sizes: dict[str, dict[str, int]] = {}
        for instance in self._recorded():
            if instance.series_uid not in sizes:
                sizes[instance.series_uid] = self._sizes(instance.series_uid)
            if sizes[instance.series_uid].get(instance.name) == instance.size:
                stored[instance.sop_uid] = instance
        return stored

    def _sizes(self, series_uid: str) -> dict[str, int]:
        """Return the bytes of each file of a series, by name."""
        with system.disk("reading the study's folder"):
            try:
                series = self.folder.child(safe_name(series_uid))
            except FileNotFoundError:
                return {}
            sizes = series.sizes()
            series.close()
        return sizes

    def file(self, instance: StoredInstance) -> Path:
        """Return the path of an instance."""
        return self.path / safe_name(instance.series_uid) / instance.name

    def paths(self) -> list[Path]:
        """Return the files, sorted by name within their series."""
        names = sorted((safe_name(i.series_uid), i.name) for i in self.instances().values())
        return [self.path / series / name for series, name in names]

    def lost(self) -> list[tuple[str, str]]:
        """Return Series and SOP Instance UIDs of what was recorded once and is not on disk."""
        stored = self.instances()
        rows = self.participant.instance_rows(self.uid)
        return [(series, sop) for series, sop, *_ in rows if sop not in stored]

    def complete(self) -> bool:
        """Return whether a download ended complete, and all is still there."""
        row = self.participant.study_row(self.uid)
        rows = self.participant.instance_rows(self.uid)
        return (row.complete or row.evidence != "") and 0 < len(rows) == len(self.instances())

    def record_end(self, *, expected: int | None, evidence: str, dicom_patient: str) -> None:
        """Record how a download ended: complete where there is evidence for it."""
        complete = evidence != ""
        self._row = StudyRow(expected, complete, dicom_patient, evidence)
        study = {"study": self.uid, "expected": expected, "complete": complete}
        more = {"patient": dicom_patient, "evidence": evidence}
        self.participant.record([{"t": "study", **study, **more}], self.folder)

    def record(self, batch: Sequence[StoredInstance]) -> None:
        """Record instances before their files get their names: see :meth:`_recover`."""
        lines = [
            {"t": "file", "study": self.uid, "series": i.series_uid, "sop": i.sop_uid}
            | {"name": i.name, "size": i.size, "sha256": i.sha256, "part": i.part}
            for i in batch
        ]
        self.participant.record(lines, self.folder)

    def rename_parts(self, batch: Sequence[StoredInstance]) -> None:
        """Move recorded parts to their names, durably."""
        for series_uid in sorted({instance.series_uid for instance in batch}):
            series = self.folder.child(safe_name(series_uid), create=True)
            for instance in batch:
                if instance.series_uid == series_uid:
                    self.folder.move(instance.part, series, instance.name)
            series.sync()
            series.close()

    def quarantine(
        self, name: str, reason: str, sha256: str, folder: system.Folder | None = None
    ) -> None:
        """Move a file to quarantine, where nothing reads it as data.

        Args:
            name: of the file, below ``folder``.
            reason: a word that becomes the ending of its name.
            sha256: of its content.
            folder: by default the study's own.
        """
        source = folder or self.folder
        if not source.has(name):  # purged: no folder of the patient may come back for it
            raise system.gone()
        names = (*self.participant.names, safe_name(self.uid))
        target = self._quarantine.child(*names, create=True)
        source.move(name, target, f"{sha256[:32]}.{reason}")
        target.sync()
        target.close()

    def _recover(self) -> None:
        """Finish what a kill cut off.

        Recorded parts get their names, other parts are removed, and files without a record are
        checked.
        """
        recorded = self._recorded()
        with system.disk("recovering the study's folder"):
            parts = {name for name in self.folder.names() if name.startswith(PART)}
            pending = [
                i for i in recorded if i.part in parts and self.folder.size(i.part) == i.size
            ]
            self.rename_parts(pending)
            for name in parts.difference(i.part for i in pending):
                self.folder.remove(name)
        self._check_unrecorded({(safe_name(i.series_uid), i.name) for i in recorded})

    def _check_unrecorded(self, recorded: set[tuple[str, str]]) -> None:
        """Record sound files whose record was lost; quarantine the others."""
        with system.disk("reading the study's folder"):
            for series_name in self.folder.names():
                if series_name.startswith("."):
                    continue
                series = self.folder.child(series_name)
                for name in series.names():
                    if (series_name, name) not in recorded:
                        self._check_file(series, name)
                series.close()

    def _check_file(self, series: system.Folder, name: str) -> None:
        """Record one file, if its header says that it belongs where it is."""
        size, digest = measure(series, name)
        fd = series.open(name)
        try:
            instance, reason, patient = identify(fd, self.uid, size, digest)
        except DICOMError:
            reason = "stranger"
        finally:
            os.close(fd)
        if not reason and "" != patient != self.dicom_patient != "":
            reason = "other-patient"
        if not reason and (safe_name(instance.series_uid), instance.name) != (
            series.path.name,
            name,
        ):
            reason = "stranger"
        if reason:
            self.quarantine(name, reason, digest, series)
        else:
            self.record([instance])

    def verify(self) -> list[FileProblem]:
        """Compare every file with its recorded size and SHA-256.

        A changed file is quarantined, so that the next download fetches it, and it alone.

        Raises:
            StoreLocked: a file differs, and a download is under way that may be the reason.
        """
        # Stored files do not change, so a download need not be waited for.
        if not any(self._compare(instance)[0] for instance in self._recorded()):
            return []
        problems: list[FileProblem] = []
        with self.lock(limit=_LOCK_TIMEOUT):
            for instance in self._recorded():
                difference, digest = self._compare(instance)
                if difference == "changed":
                    with system.disk("setting a changed file aside"):
                        series = self.folder.child(safe_name(instance.series_uid))
                        self.quarantine(instance.name, difference, digest, series)
                        series.close()
                if difference:
                    path = self.file(instance)
                    problems.append(FileProblem(path, self.uid, instance.sop_uid, difference))
            if problems:
                sops = [problem.sop_uid for problem in problems]
                self.participant.record([{"t": "lost", "study": self.uid, "sops": sops}])
        return problems

    def _recorded(self) -> list[StoredInstance]:
        rows = self.participant.instance_rows(self.uid)
        return [instance for row in rows if (instance := StoredInstance(*row)).size >= 0]

    def _compare(self, instance: StoredInstance) -> tuple[str, str]:
        """Return "", "missing" or "changed", and the SHA-256 of the file that is there."""
        with system.disk("verifying files"):
            try:
                series = self.folder.child(safe_name(instance.series_uid))
                size, digest = measure(series, instance.name)
            except FileNotFoundError:
                return "missing", ""
            series.close()
        same = (size, digest) == (instance.size, instance.sha256)
        return ("" if same else "changed"), digest


def measure(folder: system.Folder, name: str) -> tuple[int, str]:
    """Return size and SHA-256 of a file, in constant memory."""
    with open(folder.open(name), "rb", buffering=0) as file:
        digest = hashlib.sha256()
        size = 0
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def identify(fd: int, study_uid: str, size: int, digest: str) -> tuple[StoredInstance, str, str]:
    """Read from the header of a file which instance it is and whether it belongs to a study.

    Returns:
        The instance, the reason why it does not belong ("" when it does), and its Patient ID.

    Raises:
        InvalidDICOM: not a DICOM file.
        MalformedDICOM: it contradicts itself.
    """

    def read(at: int, count: int = _WINDOW) -> memoryview:
        os.lseek(fd, at, os.SEEK_SET)
        return memoryview(os.read(fd, count))

    head = read(0, min(size, _HEAD))
    header = read_header(head, size, read)
    reason = ""
    if executable(bytes(head[:128])):
        reason = "program"
    elif not (is_uid(header.sop_uid) and is_uid(header.series_uid)):
        reason = "uid-unusable"
    elif header.study_uid != study_uid:
        reason = "other-study"
    elif header.meta_sop_uid not in ("", header.sop_uid):
        reason = "uids-disagree"
    elif header.meta_sop_class not in ("", header.sop_class):
        reason = "classes-disagree"
    name = f"{safe_name(header.sop_uid)}.dcm"
    instance = StoredInstance(header.series_uid, header.sop_uid, name, size, digest)
    return instance, reason, header.patient_id
