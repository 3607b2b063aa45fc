"""C-FIND: the studies of a patient with their series and instances.

Archives differ in what they fill in, so only what every archive must return is relied on:
UIDs and the keys of the level; counts and modalities come from the lower levels.
"""

from __future__ import annotations

import re
from typing import Any

from pydicom.dataset import Dataset

from ..library import HeldSeries, HeldStudy, Instance
from ..settings import Pacs
from .association import associated, failed, park

UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_MODEL = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve, FIND
_STUDY = ("PatientID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription")
_SERIES = ("Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined")
_INSTANCE = ("InstanceNumber", "SOPClassUID")


def find_studies(pacs: Pacs, mrn: str, patient_id: str) -> list[HeldStudy]:
    """All studies of one patient. Raises NotReadyError or UpstreamError.

    An archive may read ``*`` and ``?`` in a patient id as wildcards: such ids find nothing,
    and answers about another patient are dropped.
    """
    if not mrn or re.search(r"[*?\\]", mrn):
        return []
    with associated(pacs, _MODEL) as association:
        found = _find(association, "STUDY", {"PatientID": mrn, "StudyInstanceUID": ""}, _STUDY)
        return [
            _study(association, answer, patient_id)
            for answer in found
            if str(answer.get("PatientID", "")).strip() == mrn
        ]


def find_study(pacs: Pacs, study_uid: str, patients: dict[str, str]) -> HeldStudy | None:
    """One study, if it belongs to one of ``patients`` (MRN → patient id)."""
    with associated(pacs, _MODEL) as association:
        keys = {"StudyInstanceUID": study_uid}
        for answer in _find(association, "STUDY", keys, _STUDY):
            owner = patients.get(str(answer.get("PatientID", "")).strip())
            if answer.StudyInstanceUID == study_uid and owner is not None:
                return _study(association, answer, owner)
    return None


def _find(
    association: Any, level: str, keys: dict[str, str], wanted: tuple[str, ...]
) -> list[Dataset]:
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 192"
    query.QueryRetrieveLevel = level
    for name in wanted:
        setattr(query, name, keys.get(name, ""))
    for name, value in keys.items():
        setattr(query, name, value)
    found: list[Dataset] = []
    status: Any = None
    park(association)
    for status, answer in association.send_c_find(query, _MODEL):
        if status and "Status" in status and status.Status in (0xFF00, 0xFF01):
            found.append(answer)
    if not status or status.get("Status") != 0x0000:
        raise failed(status, f"searching at {level} level")
    return found


def _study(association: Any, answer: Dataset, patient_id: str) -> HeldStudy:
    uid = str(answer.StudyInstanceUID)
    keys = {"StudyInstanceUID": uid, "SeriesInstanceUID": ""}
    series = [
        _series(association, uid, entry)
        for entry in _find(association, "SERIES", keys, _SERIES)
        if UID.fullmatch(str(entry.get("SeriesInstanceUID", "")))
    ]
    return HeldStudy(
        uid=uid,
        patient_id=patient_id,
        started=_started(answer),
        accession=str(answer.get("AccessionNumber") or "").strip(),
        description=str(answer.get("StudyDescription") or "").strip(),
        series=tuple(sorted(series, key=lambda s: (s.number, s.uid))),
    )


def _series(association: Any, study_uid: str, entry: Dataset) -> HeldSeries:
    uid = str(entry.SeriesInstanceUID)
    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": uid, "SOPInstanceUID": ""}
    instances = [
        Instance(
            uid=str(item.SOPInstanceUID),
            sop_class=str(item.get("SOPClassUID") or ""),
            number=_whole(item.get("InstanceNumber")),
        )
        for item in _find(association, "IMAGE", keys, _INSTANCE)
        if UID.fullmatch(str(item.get("SOPInstanceUID", "")))
    ]
    return HeldSeries(
        uid=uid,
        number=_whole(entry.get("SeriesNumber")),
        modality=str(entry.get("Modality") or "").strip() or "OT",
        description=str(entry.get("SeriesDescription") or "").strip(),
        body_site=str(entry.get("BodyPartExamined") or "").strip(),
        instances=tuple(sorted(instances, key=lambda i: (i.number, i.uid))),
    )


def _whole(value: object) -> int:
    text = str(value if value is not None else "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _started(answer: Dataset) -> str:
    """Date and time as FHIR writes them; an empty text where the archive has no date."""
    date = re.sub(r"\D", "", str(answer.get("StudyDate") or ""))
    if len(date) != 8:
        return ""
    time = (re.sub(r"\D", "", str(answer.get("StudyTime") or "")[:6]) + "000000")[:6]
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}"
