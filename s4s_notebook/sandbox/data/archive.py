"""The sandbox's own archive: studies with their files, and their FHIR ImagingStudy resources.

Files that ship with pydicom are read in place. Phantoms are generated on first use.
"""

from __future__ import annotations

import os
import re
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
from .phantom_files import phantom_uid

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ENDPOINT_ID = "wado-endpoint"
_CONNECTION_TYPE = "http://hl7.org/fhir/endpoint-connection-type"
_DICOM_PAYLOAD = {"system": "urn:oid:1.3.6.1.4.1.19376.1.2.3", "code": "dicom", "display": "DICOM"}
_HEADER_ELEMENTS: list[str] = [
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
    """A SOP instance; ``path`` is None until its study is prepared."""

    uid: str
    sop_class: str
    number: int
    path: Path | None = None


@dataclass(frozen=True)
class ArchivedSeries:
    """A series with its instances."""

    uid: str
    number: int
    modality: str
    description: str
    body_site: str
    instances: tuple[ArchivedInstance, ...]


@dataclass(frozen=True)
class ArchivedStudy:
    """A study of a patient.

    Attributes:
        uid: Study Instance UID.
        patient_id: FHIR id of the patient.
        started: ISO 8601 local time without a time zone, as DICOM has none.
        accession: accession number, or an empty string.
        description: study description, or an empty string.
        series: series in order of their numbers.
        available: whether the images can be served.
        phantom: how to generate the files; None for files that exist.
    """

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
        """Modalities without repetition, in order of the series."""
        return tuple(dict.fromkeys(series.modality for series in self.series))

    @property
    def instance_count(self) -> int:
        """Number of instances of all series."""
        return sum(len(series.instances) for series in self.series)

    def instances(self) -> Iterable[tuple[ArchivedSeries, ArchivedInstance]]:
        """Return each instance with its series."""
        return ((series, instance) for series in self.series for instance in series.instances)

    def with_paths(self, paths: dict[str, Path]) -> ArchivedStudy:
        """Return the study with the file of each instance, by SOP Instance UID."""
        return replace(
            self,
            series=tuple(
                replace(s, instances=tuple(replace(i, path=paths[i.uid]) for i in s.instances))
                for s in self.series
            ),
        )


class SampleArchive:
    """The studies of some patients by Study Instance UID; thread-safe.

    Phantoms are generated on first use in a temporary folder, which :meth:`close` removes.

    Args:
        patients: FHIR ids of the patients.
    """

    def __init__(self, patients: Iterable[str]) -> None:
        selected = set(patients)
        self._studies = {s.uid: s for s in _all_studies() if s.patient_id in selected}
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._finalizer: weakref.finalize[[str, bool], SampleArchive] | None = None
        self._closed = False

    def studies(self) -> list[ArchivedStudy]:
        """Return all studies, newest first."""
        return sorted(self._studies.values(), key=lambda s: (s.started, s.uid), reverse=True)

    def study(self, study_uid: str) -> ArchivedStudy | None:
        """Return a study, or None if the archive does not have it."""
        return self._studies.get(study_uid)

    def prepare(self, study_uid: str) -> ArchivedStudy:
        """Return a study with a path for every instance; generate its phantom if necessary.

        Raises:
            KeyError: the archive does not have the study, cannot serve it, or is closed.
        """
        study = self._studies[study_uid]
        if not study.available:
            raise KeyError(study_uid)
        phantom = study.phantom
        if phantom is None:
            return study
        with self._lock:
            if self._closed:
                raise KeyError(study_uid)
            study = self._studies[study_uid]
            if all(i.path is not None for _, i in study.instances()):
                return study
            prepared = self._generate(study, phantom)
            self._studies[study_uid] = prepared
            return prepared

    def _generate(self, study: ArchivedStudy, phantom: PhantomStudy) -> ArchivedStudy:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="s4s-sandbox-"))
            # Removes the folder at the end of the process if close() is not called.
            self._finalizer = weakref.finalize(self, shutil.rmtree, str(self._folder), True)
        folder = self._folder / phantom.exam.key
        folder.mkdir(mode=0o700)
        paths = {path.stem: path for path in phantom.write(phantom.exam, folder)}
        return study.with_paths(paths)

    def close(self) -> None:
        """Remove the generated files; no phantom can be prepared afterwards."""
        with self._lock:
            self._closed = True
            if self._finalizer is not None:
                self._finalizer()


@lru_cache(maxsize=1)
def _all_studies() -> tuple[ArchivedStudy, ...]:
    """Return every study of the catalogue; headers are read once per process (0.2 s)."""
    return (
        *(_packaged_study(entry) for entry in PACKAGED_STUDIES),
        *(_phantom_study(entry) for entry in PHANTOM_STUDIES),
        *(_unavailable_study(entry) for entry in UNAVAILABLE_STUDIES),
    )


def package_folder() -> Path:
    """Return the folder of the test files that ship with pydicom."""
    return Path(os.path.dirname(pydicom.__file__)) / "data" / "test_files"


def _packaged_study(entry: PackagedStudy) -> ArchivedStudy:
    files: dict[str, list[tuple[FileDataset, Path]]] = {}
    first: FileDataset | None = None
    for name in entry.files:
        path = package_folder() / name
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_HEADER_ELEMENTS)
        first = first or header
        files.setdefault(str(header.SeriesInstanceUID), []).append((header, path))
    if first is None:
        raise ValueError(f"{entry.description} has no files")
    return ArchivedStudy(
        uid=str(first.StudyInstanceUID),
        patient_id=entry.patient_id,
        started=entry.started or local_time(first.StudyDate, first.get("StudyTime")),
        accession=str(first.get("AccessionNumber") or ""),
        description=entry.description,
        series=tuple(
            _series(series_uid, number, members, entry.body_site)
            for number, (series_uid, members) in enumerate(files.items(), start=1)
        ),
    )


def _series(
    series_uid: str, number: int, members: list[tuple[FileDataset, Path]], body_site: str
) -> ArchivedSeries:
    first = members[0][0]
    return ArchivedSeries(
        uid=series_uid,
        number=int(first.get("SeriesNumber") or number),
        modality=str(first.get("Modality") or "OT"),
        description=str(first.get("SeriesDescription") or ""),
        body_site=str(first.get("BodyPartExamined") or body_site),
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


def local_time(study_date: object, study_time: object) -> str:
    """Return DICOM's date and time in ISO 8601, or an empty string if there is no date."""
    date = re.sub(r"\D", "", str(study_date or ""))
    if len(date) != 8:
        return ""
    time = (re.sub(r"\D", "", str(study_time or "")[:6]) + "000000")[:6]
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}"


def _phantom_study(entry: PhantomStudy) -> ArchivedStudy:
    exam = entry.exam
    return ArchivedStudy(
        uid=exam.study_uid,
        patient_id=exam.person.id,
        started=local_time(exam.date, exam.time),
        accession=exam.accession,
        description=exam.description,
        series=tuple(
            ArchivedSeries(
                uid=phantom_uid(exam.key, str(series.number)),
                number=series.number,
                modality=series.modality,
                description=series.description,
                body_site=entry.body_site,
                instances=tuple(
                    ArchivedInstance(
                        phantom_uid(exam.key, str(series.number), str(n)), series.sop_class, n
                    )
                    for n in range(1, series.instances + 1)
                ),
            )
            for series in entry.series
        ),
        phantom=entry,
    )


def _unavailable_study(entry: UnavailableStudy) -> ArchivedStudy:
    uid = phantom_uid(entry.study_uid, "1")
    series = ArchivedSeries(uid, 1, entry.modality, entry.description, entry.body_site, ())
    return ArchivedStudy(
        uid=entry.study_uid,
        patient_id=entry.patient_id,
        started=entry.started,
        accession="",
        description=entry.description,
        series=(series,),
        available=False,
    )


def endpoint_resource(address: str, *, id_: str = ENDPOINT_ID) -> Resource:
    """Return a WADO-RS Endpoint.

    The imaging use case of Sync for Science says ``Endpoint.url`` for the standard's ``address``.
    """
    return {
        "resourceType": "Endpoint",
        "id": id_,
        "status": "active",
        "connectionType": {"system": _CONNECTION_TYPE, "code": "dicom-wado-rs"},
        "name": "Images of this patient by WADO-RS",
        "payloadType": [{"coding": [_DICOM_PAYLOAD], "text": "DICOM"}],
        "payloadMimeType": ["application/dicom"],
        "address": address,
    }


def imaging_study_resource(
    study: ArchivedStudy, *, id_: str, updated: str, address: str, version: str = "1"
) -> Resource:
    """Return a study as ImagingStudy, with its Endpoint contained.

    Args:
        study: the study.
        id_: id of the resource.
        updated: ``meta.lastUpdated`` as a FHIR instant.
        address: WADO-RS base of the images; not used for an unavailable study.
        version: ``meta.versionId``.
    """
    resource: Resource = {
        "resourceType": "ImagingStudy",
        "id": id_,
        "meta": {"versionId": version, "lastUpdated": updated},
        "uid": f"urn:oid:{study.uid}",
        "availability": "ONLINE" if study.available else "UNAVAILABLE",
        "patient": {"reference": f"Patient/{study.patient_id}"},
        "numberOfSeries": len(study.series),
        "numberOfInstances": study.instance_count,
    }
    # FHIR allows no empty strings and lists, and archives leave many attributes empty.
    if study.description:
        resource["description"] = study.description
    if study.series:
        resource["modalityList"] = [{"system": DICOM, "code": code} for code in study.modalities]
        resource["series"] = [_series_element(series) for series in study.series]
    if study.started:
        # FHIR requires a time zone; DICOM has none here, and the sandbox hospital uses UTC.
        resource["started"] = f"{study.started}+00:00"
    if study.accession:
        resource["accession"] = {"system": "urn:oid:2.25.7461", "value": study.accession}
    if study.available:
        resource["contained"] = [endpoint_resource(address)]
        resource["endpoint"] = [{"reference": f"#{ENDPOINT_ID}"}]
    return resource


def _series_element(series: ArchivedSeries) -> Resource:
    element: Resource = {
        "uid": f"urn:oid:{series.uid}",
        "number": series.number,
        "modality": {"system": DICOM, "code": series.modality},
        "numberOfInstances": len(series.instances),
        "availability": "ONLINE" if series.instances else "UNAVAILABLE",
    }
    if series.description:
        element["description"] = series.description
    if series.body_site:
        site = series.body_site.title()
        element["bodySite"] = {"system": "http://snomed.info/sct", "display": site}
    # STU3 requires a SOP class for each instance, and some archives do not report it.
    if series.instances and all(instance.sop_class for instance in series.instances):
        element["instance"] = [
            {
                "uid": f"urn:oid:{instance.uid}",
                "number": instance.number,
                "sopClass": f"urn:oid:{instance.sop_class}",
            }
            for instance in series.instances
        ]
    return element
