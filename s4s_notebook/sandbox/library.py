"""The sandbox's archive: studies, their series and instances, and the files behind them."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset

from .catalogue import GENERATED, NOT_HELD, SHIPPED, Generated, NotHeld, Shipped
from .phantoms.writing import uid

HEADER: list[str] = [
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "StudyInstanceUID",
    "BodyPartExamined",
]


@dataclass(frozen=True)
class Instance:
    """One stored object; ``path`` is None until its study has been prepared."""

    uid: str
    sop_class: str
    number: int
    path: Path | None = None


@dataclass(frozen=True)
class HeldSeries:
    uid: str
    number: int
    modality: str
    description: str
    body_site: str
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class HeldStudy:
    """A study of one patient. ``started`` is local time without a zone, as DICOM has it."""

    uid: str
    patient_id: str
    started: str
    accession: str
    description: str
    series: tuple[HeldSeries, ...]
    available: bool = True
    generated: Generated | None = field(default=None, compare=False, repr=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(series.modality for series in self.series))

    @property
    def instance_count(self) -> int:
        return sum(len(series.instances) for series in self.series)

    def instances(self) -> Iterable[tuple[HeldSeries, Instance]]:
        return ((series, instance) for series in self.series for instance in series.instances)


class Library:
    """Studies by UID. Phantoms are drawn on first use into a private folder.

    ``close()`` removes that folder. Files from pydicom's package are read where they lie.
    """

    def __init__(self, patients: Iterable[str]) -> None:
        wanted = set(patients)
        self._studies = {s.uid: s for s in _known() if s.patient_id in wanted}
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._remove: weakref.finalize[[str, bool], Library] | None = None
        self._closed = False

    def studies(self) -> list[HeldStudy]:
        """All studies, newest first."""
        return sorted(self._studies.values(), key=lambda s: (s.started, s.uid), reverse=True)

    def study(self, study_uid: str) -> HeldStudy | None:
        return self._studies.get(study_uid)

    def prepare(self, study_uid: str) -> HeldStudy:
        """The study with a path for every instance; draws a phantom the first time.

        Raises KeyError when the study is not held or cannot be served.
        """
        study = self._studies[study_uid]
        if not study.available:
            raise KeyError(study_uid)
        plan = study.generated
        if plan is None:
            return study
        with self._lock:
            if self._closed:
                raise KeyError(study_uid)
            study = self._studies[study_uid]
            if all(i.path is not None for _, i in study.instances()):
                return study
            ready = self._draw(study, plan)
            self._studies[study_uid] = ready
            return ready

    def _draw(self, study: HeldStudy, plan: Generated) -> HeldStudy:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="s4s-sandbox-"))
            # Also when nobody calls close(): at the end of the process at the latest.
            self._remove = weakref.finalize(self, shutil.rmtree, str(self._folder), True)
        folder = self._folder / plan.exam.key
        folder.mkdir(mode=0o700)
        paths = {path.stem: path for path in plan.write(plan.exam, folder)}
        return replace(
            study,
            series=tuple(
                replace(
                    series,
                    instances=tuple(replace(i, path=paths[i.uid]) for i in series.instances),
                )
                for series in study.series
            ),
        )

    def close(self) -> None:
        """Remove what was drawn; nothing can be prepared afterwards."""
        with self._lock:
            self._closed = True
            if self._remove is not None:
                self._remove()


@lru_cache(maxsize=1)
def _known() -> tuple[HeldStudy, ...]:
    """Every study of the catalogue; headers are read once a process (0.2 s)."""
    shipped = [_shipped(entry) for entry in SHIPPED]
    return tuple(
        shipped + [_planned(entry) for entry in GENERATED] + [_listed(entry) for entry in NOT_HELD]
    )


def package_folder() -> Path:
    """Where pydicom keeps the files that ship with it."""
    return Path(os.path.dirname(pydicom.__file__)) / "data" / "test_files"


def _shipped(entry: Shipped) -> HeldStudy:
    found: dict[str, list[tuple[FileDataset, Path]]] = {}
    first: FileDataset | None = None
    for name in entry.files:
        path = package_folder() / name
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
        first = first or header
        found.setdefault(str(header.SeriesInstanceUID), []).append((header, path))
    if first is None:
        raise ValueError(f"{entry.description} names no file")
    return HeldStudy(
        uid=str(first.StudyInstanceUID),
        patient_id=entry.patient_id,
        started=entry.started or _started(first),
        accession=str(first.get("AccessionNumber") or ""),
        description=entry.description,
        series=tuple(
            _series(series_uid, number, members, entry.body_site)
            for number, (series_uid, members) in enumerate(found.items(), start=1)
        ),
    )


def _series(
    series_uid: str, number: int, members: list[tuple[FileDataset, Path]], body_site: str
) -> HeldSeries:
    head = members[0][0]
    return HeldSeries(
        uid=series_uid,
        number=int(head.get("SeriesNumber") or number),
        modality=str(head.get("Modality") or "OT"),
        description=str(head.get("SeriesDescription") or ""),
        body_site=str(head.get("BodyPartExamined") or body_site),
        instances=tuple(
            Instance(
                uid=str(header.SOPInstanceUID),
                sop_class=str(header.SOPClassUID),
                number=int(header.get("InstanceNumber") or position),
                path=path,
            )
            for position, (header, path) in enumerate(members, start=1)
        ),
    )


def _started(header: FileDataset) -> str:
    date = str(header.StudyDate)
    time = (str(header.get("StudyTime") or "") + "000000")[:6]
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{time[:2]}:{time[2:4]}:{time[4:6]}"


def _planned(entry: Generated) -> HeldStudy:
    exam = entry.exam
    return HeldStudy(
        uid=exam.study_uid,
        patient_id=entry.patient_id,
        started=f"{exam.date[:4]}-{exam.date[4:6]}-{exam.date[6:]}"
        f"T{exam.time[:2]}:{exam.time[2:4]}:{exam.time[4:]}",
        accession=exam.accession,
        description=exam.description,
        series=tuple(
            HeldSeries(
                uid=uid(exam.key, str(planned.number)),
                number=planned.number,
                modality=planned.modality,
                description=planned.description,
                body_site=entry.body_site,
                instances=tuple(
                    Instance(uid(exam.key, str(planned.number), str(n)), planned.sop_class, n)
                    for n in range(1, planned.instances + 1)
                ),
            )
            for planned in entry.series
        ),
        generated=entry,
    )


def _listed(entry: NotHeld) -> HeldStudy:
    series = HeldSeries(
        uid=uid(entry.study_uid, "1"),
        number=1,
        modality=entry.modality,
        description=entry.description,
        body_site=entry.body_site,
        instances=(),
    )
    return HeldStudy(
        uid=entry.study_uid,
        patient_id=entry.patient_id,
        started=entry.started,
        accession="",
        description=entry.description,
        series=(series,),
        available=False,
    )
