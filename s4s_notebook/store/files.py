"""The instances of one study on disk: what is there, what is sound, what is set aside."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import DICOMError, InvalidUID
from . import system
from .header import executable, is_uid, read_header
from .names import safe_name
from .participant import Participant, Tick

PART = ".part-"
_BLOCK = 1 << 20


class Filed(NamedTuple):
    """An instance that is checked, synced and recorded; ``size`` in bytes, ``sha256`` in hex."""

    series_uid: str
    sop_uid: str
    name: str
    size: int
    sha256: str
    part: str = ""


class Finding(NamedTuple):
    """Something that is not as it was recorded: ``what`` is "missing" or "changed"."""

    path: Path
    study_uid: str
    sop_uid: str
    what: str


class StudyFolder:
    """``<root>/<holder>/<patient>/<study>``, its rows in the index and its lock."""

    def __init__(self, owner: Participant, quarantine: system.Folder, uid: str) -> None:
        if not is_uid(uid):
            raise InvalidUID("That is not a DICOM Study Instance UID.")
        self.owner, self.uid = owner, uid
        self.quarantine = quarantine
        with system.disk("opening the study's folder"):
            self.folder = owner.folder.child(safe_name(uid), create=True)
        self._known = owner.study_row(uid)

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def expected(self) -> int | None:
        """Instances announced when the study was last asked for."""
        return self._known[0]

    @property
    def dicom_patient(self) -> str:
        """Patient ID in the files; a study belongs to one."""
        return self._known[2]

    @contextmanager
    def lock(self, tick: Tick | None = None, limit: float = float("inf")) -> Iterator[None]:
        """One download of a study at a time, over all processes; then mend what a kill left."""
        with system.lock(self.folder, ".lock", tick=tick, limit=limit):
            self._known = self.owner.study_row(self.uid)
            self._recover()
            yield

    def instances(self) -> dict[str, Filed]:
        """What is recorded and there with its full size, by SOP Instance UID."""
        found: dict[str, Filed] = {}
        sizes: dict[str, dict[str, int]] = {}
        for row in self.owner.instance_rows(self.uid):
            filed = Filed(*row)
            if filed.series_uid not in sizes:
                sizes[filed.series_uid] = self._sizes(filed.series_uid)
            if sizes[filed.series_uid].get(filed.name) == filed.size:
                found[filed.sop_uid] = filed
        return found

    def _sizes(self, series_uid: str) -> dict[str, int]:
        with system.disk("looking into the study's folder"):
            try:
                series = self.folder.child(safe_name(series_uid))
            except FileNotFoundError:
                return {}
            found = series.sizes()
            series.close()
        return found

    def file(self, filed: Filed) -> Path:
        return self.path / safe_name(filed.series_uid) / filed.name

    def paths(self) -> list[Path]:
        """The files, sorted by name within their series."""
        places = sorted((safe_name(f.series_uid), f.name) for f in self.instances().values())
        return [self.path / series / name for series, name in places]

    def complete(self) -> bool:
        """True when a download ended with all that was announced, and all of it is still there."""
        known = self.owner.study_row(self.uid)
        here = len(self.instances())
        return bool(known[1]) and here > 0 and here == len(self.owner.instance_rows(self.uid))

    def settle(self, *, expected: int | None, complete: bool, dicom_patient: str) -> None:
        """Write down how a download ended."""
        self._known = (expected, complete, dicom_patient)
        fact = {"study": self.uid, "expected": expected, "complete": complete}
        self.owner.record([{"t": "study", **fact, "patient": dicom_patient}])

    def record(self, batch: Sequence[Filed]) -> None:
        """Write down files before they get their names: see :meth:`_recover`."""
        lines = [
            {"t": "file", "study": self.uid, "series": f.series_uid, "sop": f.sop_uid}
            | {"name": f.name, "size": f.size, "sha256": f.sha256, "part": f.part}
            for f in batch
        ]
        self.owner.record(lines)

    def place(self, batch: Sequence[Filed]) -> None:
        """Give recorded parts their names, durably."""
        for series_uid in sorted({filed.series_uid for filed in batch}):
            series = self.folder.child(safe_name(series_uid), create=True)
            for filed in batch:
                if filed.series_uid == series_uid:
                    self.folder.move(filed.part, series, filed.name)
            series.sync()
            series.close()

    def set_aside(
        self, name: str, why: str, sha256: str, folder: system.Folder | None = None
    ) -> None:
        """Move a file to quarantine, where nothing reads it as data."""
        place = (*self.owner.names, safe_name(self.uid))
        aside = self.quarantine.child(*place, create=True)
        (folder or self.folder).move(name, aside, f"{sha256[:32]}.{why}")
        aside.sync()
        aside.close()

    def _recover(self) -> None:
        """After a kill: recorded parts get their names, other parts go, strangers are checked."""
        rows = [Filed(*row) for row in self.owner.instance_rows(self.uid)]
        with system.disk("mending the study's folder"):
            parts = {name for name in self.folder.names() if name.startswith(PART)}
            waiting = [f for f in rows if f.part in parts and self.folder.size(f.part) == f.size]
            self.place(waiting)
            for name in parts.difference(f.part for f in waiting):
                self.folder.remove(name)
        self._adopt({(safe_name(f.series_uid), f.name) for f in rows})

    def _adopt(self, known: set[tuple[str, str]]) -> None:
        """Record sound files whose record was lost; set the others aside."""
        for series_name in self.folder.names():
            if series_name.startswith("."):
                continue
            with system.disk("looking into the study's folder"):
                series = self.folder.child(series_name)
            for name in series.names():
                if (series_name, name) not in known:
                    size, digest = measure(series, name)
                    filed = self._identify(series, name, size, digest)
                    if filed is None or (safe_name(filed.series_uid), filed.name) != (
                        series_name,
                        name,
                    ):
                        self.set_aside(name, "stranger", digest, series)
                    else:
                        self.record([filed])
            series.close()

    def _identify(self, folder: system.Folder, name: str, size: int, digest: str) -> Filed | None:
        fd = folder.open(name)
        try:
            return identify(fd, self.uid, size, digest)[0]
        except DICOMError:
            return None
        finally:
            os.close(fd)

    def verify(self) -> list[Finding]:
        """Compare every file with its recorded size and SHA-256.

        A changed file is set aside, so that the next download fetches it, and it alone.
        """
        findings: list[Finding] = []
        with self.lock():
            for filed in (Filed(*row) for row in self.owner.instance_rows(self.uid)):
                what = self._compare(filed)
                if what:
                    findings.append(Finding(self.file(filed), self.uid, filed.sop_uid, what))
            if findings:
                sops = [finding.sop_uid for finding in findings]
                self.owner.record([{"t": "lost", "study": self.uid, "sops": sops}])
        return findings

    def _compare(self, filed: Filed) -> str:
        with system.disk("verifying files"):
            try:
                series = self.folder.child(safe_name(filed.series_uid))
                size, digest = measure(series, filed.name)
            except FileNotFoundError:
                return "missing"
            if (size, digest) == (filed.size, filed.sha256):
                return ""
            self.set_aside(filed.name, "changed", digest, series)
            series.close()
        return "changed"


def measure(folder: system.Folder, name: str) -> tuple[int, str]:
    """Size and SHA-256 of a file, in constant memory."""
    with open(folder.open(name), "rb", buffering=0) as file:
        digest = hashlib.sha256()
        size = 0
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def identify(fd: int, study_uid: str, size: int, digest: str) -> tuple[Filed, str, str]:
    """Read what a file says it is: (where it belongs, why it does not, its Patient ID).

    Raises:
        InvalidDICOM: not a DICOM file.
        MalformedDICOM: it contradicts itself.
    """
    view = memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_READ) if size else b"")
    header = read_header(view)
    preamble = bytes(view[:128])
    fault = ""
    if executable(preamble):
        fault = "program"
    elif not (is_uid(header.sop_uid) and is_uid(header.series_uid)):
        fault = "uid-unusable"
    elif header.study_uid != study_uid:
        fault = "other-study"
    elif header.meta_sop_uid not in ("", header.sop_uid):
        fault = "uids-disagree"
    elif header.meta_sop_class not in ("", header.sop_class):
        fault = "classes-disagree"
    name = f"{safe_name(header.sop_uid)}.dcm"
    return Filed(header.series_uid, header.sop_uid, name, size, digest), fault, header.patient_id
