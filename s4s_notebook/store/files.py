"""The instances of one study on disk: what is there, what is sound, what is set aside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .. import private_files as system
from ..errors import DICOMError, InvalidUID
from ..fhir.resources import is_uid
from .filed import Filed, identify, measure
from .names import safe_name
from .participant import Participant, Tick

PART = ".part-"
_PATIENCE = 60.0  # seconds that a download may keep what is to be set aside


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
        """The study's folder."""
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
        for filed in self._recorded():
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
        """Where the file of an instance lies."""
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
        self.owner.record([{"t": "study", **fact, "patient": dicom_patient}], self.folder)

    def record(self, batch: Sequence[Filed]) -> None:
        """Write down files before they get their names: see :meth:`_recover`."""
        lines = [
            {"t": "file", "study": self.uid, "series": f.series_uid, "sop": f.sop_uid}
            | {"name": f.name, "size": f.size, "sha256": f.sha256, "part": f.part}
            for f in batch
        ]
        self.owner.record(lines, self.folder)

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
        where = folder or self.folder
        if not where.has(name):  # purged: no folder of the patient may come back for it
            raise system.gone()
        place = (*self.owner.names, safe_name(self.uid))
        aside = self.quarantine.child(*place, create=True)
        where.move(name, aside, f"{sha256[:32]}.{why}")
        aside.sync()
        aside.close()

    def _recover(self) -> None:
        """After a kill: recorded parts get their names, other parts go, strangers are checked."""
        rows = self._recorded()
        with system.disk("mending the study's folder"):
            parts = {name for name in self.folder.names() if name.startswith(PART)}
            waiting = [f for f in rows if f.part in parts and self.folder.size(f.part) == f.size]
            self.place(waiting)
            for name in parts.difference(f.part for f in waiting):
                self.folder.remove(name)
        self._adopt({(safe_name(f.series_uid), f.name) for f in rows})

    def _adopt(self, known: set[tuple[str, str]]) -> None:
        """Record sound files whose record was lost; set the others aside."""
        with system.disk("looking into the study's folder"):
            for series_name in self.folder.names():
                if series_name.startswith("."):
                    continue
                series = self.folder.child(series_name)
                for name in series.names():
                    if (series_name, name) not in known:
                        self._take_in(series, name)
                series.close()

    def _take_in(self, series: system.Folder, name: str) -> None:
        """Record a file that nothing is known of, if it says that it belongs where it stands."""
        size, digest = measure(series, name)
        fd = series.open(name)
        try:
            filed, fault, patient = identify(fd, self.uid, size, digest)
        except DICOMError:
            fault = "stranger"
        finally:
            os.close(fd)
        if not fault and "" != patient != self.dicom_patient != "":
            fault = "other-patient"
        if not fault and (safe_name(filed.series_uid), filed.name) != (series.path.name, name):
            fault = "stranger"
        if fault:
            self.set_aside(name, fault, digest, series)
        else:
            self.record([filed])

    def verify(self) -> list[Finding]:
        """Compare every file with its recorded size and SHA-256.

        A changed file is set aside, so that the next download fetches it, and it alone.

        Raises:
            StoreLocked: something is odd, and a download that goes on may be the reason.
        """
        # Files that are filed do not change, so a download need not be waited for.
        if not any(self._oddity(filed)[0] for filed in self._recorded()):
            return []
        findings: list[Finding] = []
        with self.lock(limit=_PATIENCE):
            for filed in self._recorded():
                what, digest = self._oddity(filed)
                if what == "changed":
                    with system.disk("setting a changed file aside"):
                        series = self.folder.child(safe_name(filed.series_uid))
                        self.set_aside(filed.name, what, digest, series)
                        series.close()
                if what:
                    findings.append(Finding(self.file(filed), self.uid, filed.sop_uid, what))
            if findings:
                sops = [finding.sop_uid for finding in findings]
                self.owner.record([{"t": "lost", "study": self.uid, "sops": sops}])
        return findings

    def _recorded(self) -> list[Filed]:
        return [Filed(*row) for row in self.owner.instance_rows(self.uid)]

    def _oddity(self, filed: Filed) -> tuple[str, str]:
        """("", "missing" or "changed"; the SHA-256 of what stands there)."""
        with system.disk("verifying files"):
            try:
                series = self.folder.child(safe_name(filed.series_uid))
                size, digest = measure(series, filed.name)
            except FileNotFoundError:
                return "missing", ""
            series.close()
        same = (size, digest) == (filed.size, filed.sha256)
        return ("" if same else "changed"), digest
