"""The studies that the sandbox holds."""

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

from .catalogue import (
    PACKAGED_STUDIES,
    PHANTOM_STUDIES,
    UNAVAILABLE_STUDIES,
    PackagedStudy,
    PhantomStudy,
    UnavailableStudy,
)
from .people import Resource
from .phantom_files import uid

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
class ArchivedInstance:
    """One stored object; ``path`` is None until its study has been prepared."""

    uid: str
    sop_class: str
    number: int
    path: Path | None = None


@dataclass(frozen=True)
class ArchivedSeries:
    uid: str
    number: int
    modality: str
    description: str
    body_site: str
    instances: tuple[ArchivedInstance, ...]


@dataclass(frozen=True)
class ArchivedStudy:
    """A study of one patient. ``started`` is local time without a zone, as DICOM has it."""

    uid: str
    patient_id: str
    started: str
    accession: str
    description: str
    series: tuple[ArchivedSeries, ...]
    available: bool = True
    phantom: PhantomStudy | None = field(default=None, compare=False, repr=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(series.modality for series in self.series))

    @property
    def instance_count(self) -> int:
        return sum(len(series.instances) for series in self.series)

    def instances(self) -> Iterable[tuple[ArchivedSeries, ArchivedInstance]]:
        return ((series, instance) for series in self.series for instance in series.instances)


class SampleArchive:
    """Studies by UID. Phantoms are drawn on first use into a private folder.

    ``close()`` removes that folder. Files from pydicom's package are read where they lie.
    """

    def __init__(self, patients: Iterable[str]) -> None:
        wanted = set(patients)
        self._studies = {s.uid: s for s in _known() if s.patient_id in wanted}
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._remove: weakref.finalize[[str, bool], SampleArchive] | None = None
        self._closed = False

    def studies(self) -> list[ArchivedStudy]:
        """All studies, newest first."""
        return sorted(self._studies.values(), key=lambda s: (s.started, s.uid), reverse=True)

    def study(self, study_uid: str) -> ArchivedStudy | None:
        return self._studies.get(study_uid)

    def prepare(self, study_uid: str) -> ArchivedStudy:
        """The study with a path for every instance; draws a phantom the first time.

        Raises KeyError when the study is not held or cannot be served.
        """
        study = self._studies[study_uid]
        if not study.available:
            raise KeyError(study_uid)
        plan = study.phantom
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

    def _draw(self, study: ArchivedStudy, plan: PhantomStudy) -> ArchivedStudy:
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
def _known() -> tuple[ArchivedStudy, ...]:
    """Every study of the catalogue; headers are read once a process (0.2 s)."""
    shipped = [_shipped(entry) for entry in PACKAGED_STUDIES]
    return tuple(
        shipped
        + [_planned(entry) for entry in PHANTOM_STUDIES]
        + [_listed(entry) for entry in UNAVAILABLE_STUDIES]
    )


def package_folder() -> Path:
    """Where pydicom keeps the files that ship with it."""
    return Path(os.path.dirname(pydicom.__file__)) / "data" / "test_files"


def _shipped(entry: PackagedStudy) -> ArchivedStudy:
    found: dict[str, list[tuple[FileDataset, Path]]] = {}
    first: FileDataset | None = None
    for name in entry.files:
        path = package_folder() / name
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
        first = first or header
        found.setdefault(str(header.SeriesInstanceUID), []).append((header, path))
    if first is None:
        raise ValueError(f"{entry.description} names no file")
    return ArchivedStudy(
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
) -> ArchivedSeries:
    head = members[0][0]
    return ArchivedSeries(
        uid=series_uid,
        number=int(head.get("SeriesNumber") or number),
        modality=str(head.get("Modality") or "OT"),
        description=str(head.get("SeriesDescription") or ""),
        body_site=str(head.get("BodyPartExamined") or body_site),
        instances=tuple(
            ArchivedInstance(
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


def _planned(entry: PhantomStudy) -> ArchivedStudy:
    exam = entry.exam
    return ArchivedStudy(
        uid=exam.study_uid,
        patient_id=entry.patient_id,
        started=f"{exam.date[:4]}-{exam.date[4:6]}-{exam.date[6:]}"
        f"T{exam.time[:2]}:{exam.time[2:4]}:{exam.time[4:]}",
        accession=exam.accession,
        description=exam.description,
        series=tuple(
            ArchivedSeries(
                uid=uid(exam.key, str(planned.number)),
                number=planned.number,
                modality=planned.modality,
                description=planned.description,
                body_site=entry.body_site,
                instances=tuple(
                    ArchivedInstance(
                        uid(exam.key, str(planned.number), str(n)), planned.sop_class, n
                    )
                    for n in range(1, planned.instances + 1)
                ),
            )
            for planned in entry.series
        ),
        phantom=entry,
    )


def _listed(entry: UnavailableStudy) -> ArchivedStudy:
    series = ArchivedSeries(
        uid=uid(entry.study_uid, "1"),
        number=1,
        modality=entry.modality,
        description=entry.description,
        body_site=entry.body_site,
        instances=(),
    )
    return ArchivedStudy(
        uid=entry.study_uid,
        patient_id=entry.patient_id,
        started=entry.started,
        accession="",
        description=entry.description,
        series=(series,),
        available=False,
    )


DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ENDPOINT_ID = "wado-endpoint"


def endpoint_resource(address: str, *, id_: str = ENDPOINT_ID) -> Resource:
    """A WADO-RS Endpoint; the seed's ``Endpoint.url`` is the standard's ``address``."""
    return {
        "resourceType": "Endpoint",
        "id": id_,
        "status": "active",
        "connectionType": {
            "system": "http://hl7.org/fhir/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        "name": "Images of this patient by WADO-RS",
        "payloadType": [
            {
                "coding": [
                    {
                        "system": "urn:oid:1.3.6.1.4.1.19376.1.2.3",
                        "code": "dicom",
                        "display": "DICOM",
                    }
                ],
                "text": "DICOM",
            }
        ],
        "payloadMimeType": ["application/dicom"],
        "address": address,
    }


def imaging_study_resource(
    study: ArchivedStudy, *, id_: str, updated: str, address: str, version: str = "1"
) -> Resource:
    """One ImagingStudy. ``address`` is where its images are served; unused if they are not."""
    made: Resource = {
        "resourceType": "ImagingStudy",
        "id": id_,
        "meta": {"versionId": version, "lastUpdated": updated},
        "uid": f"urn:oid:{study.uid}",
        "availability": "ONLINE" if study.available else "UNAVAILABLE",
        "patient": {"reference": f"Patient/{study.patient_id}"},
        "numberOfSeries": len(study.series),
        "numberOfInstances": study.instance_count,
    }
    # FHIR allows no empty text and no empty list, and archives leave much out.
    if study.description:
        made["description"] = study.description
    if study.series:
        made["modalityList"] = [{"system": DICOM, "code": code} for code in study.modalities]
        made["series"] = [_series_element(series) for series in study.series]
    if study.started:
        # FHIR wants a zone on a time; DICOM has none here, and the hospital keeps UTC.
        made["started"] = f"{study.started}+00:00"
    if study.accession:
        made["accession"] = {"system": "urn:oid:2.25.7461", "value": study.accession}
    if study.available:
        made["contained"] = [endpoint_resource(address)]
        made["endpoint"] = [{"reference": f"#{ENDPOINT_ID}"}]
    return made


def _series_element(series: ArchivedSeries) -> Resource:
    made: Resource = {
        "uid": f"urn:oid:{series.uid}",
        "number": series.number,
        "modality": {"system": DICOM, "code": series.modality},
        "numberOfInstances": len(series.instances),
        "availability": "ONLINE" if series.instances else "UNAVAILABLE",
    }
    if series.description:
        made["description"] = series.description
    if series.body_site:
        made["bodySite"] = {"system": "http://snomed.info/sct", "display": series.body_site.title()}
    # STU3 wants a SOP class for each instance, and some archives do not tell it.
    if series.instances and all(instance.sop_class for instance in series.instances):
        made["instance"] = [
            {
                "uid": f"urn:oid:{instance.uid}",
                "number": instance.number,
                "sopClass": f"urn:oid:{instance.sop_class}",
            }
            for instance in series.instances
        ]
    return made
