"""Associations with the archive, and C-FIND."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from ..data.archive import ArchivedInstance, ArchivedSeries, ArchivedStudy
from ..settings import Pacs
from ..state import NotReadyError, UpstreamError

DOWN_SECONDS = 30.0
DIMSE_SECONDS = 60.0


@contextmanager
def open_association(pacs: Pacs, context: str) -> Iterator[Any]:
    """An association for one presentation context; released at the end, aborted on error.

    Raises NotReadyError when the archive cannot be reached now, UpstreamError(502) when it
    refuses us for good (it does not know our AE title, say).
    """
    _knock(pacs)
    entity = AE(ae_title=pacs.our_aet)
    entity.acse_timeout = 10
    entity.dimse_timeout = DIMSE_SECONDS
    entity.network_timeout = DIMSE_SECONDS
    entity.connection_timeout = 5
    entity.add_requested_context(context)
    refusals: list[Any] = []
    association = entity.associate(
        pacs.host,
        pacs.port,
        ae_title=pacs.aet,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_ACSE_RECV, lambda event: refusals.append(event.primitive)),
        ],
    )
    try:
        if not association.is_established:
            raise _refused(refusals)
        yield association
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()
        _close(association)


def _knock(pacs: Pacs) -> None:
    """See whether anybody listens; pynetdicom leaks its socket when nobody does."""
    try:
        socket.create_connection((pacs.host, pacs.port), timeout=5).close()
    except OSError as error:
        raise NotReadyError(DOWN_SECONDS) from error


def _close(association: Any) -> None:
    """pynetdicom leaves the socket of a broken association open."""
    if association.is_alive():
        association.join(5)
    wrapper = association.dul.socket
    sock = wrapper.socket if wrapper is not None else None
    if sock is not None:
        sock.close()


def no_delay(event: Any) -> None:
    """Without this each message waits 40 ms for an acknowledgement (Nagle's algorithm)."""
    sock = event.assoc.dul.socket.socket
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def pause_reactor(association: Any) -> None:
    """Have pynetdicom's own reader stand still before a request is sent.

    It says that it is paused a moment before it is; a request sent in that moment has its first
    answer read by the wrong thread, which then ends the association.
    """
    association._reactor_checkpoint.clear()
    for _ in range(2):
        time.sleep(0.005)
        while association.is_alive() and not association._is_paused:
            time.sleep(0.001)


def _refused(primitives: list[Any]) -> Exception:
    # A-ASSOCIATE: result 1 is a rejection for good, 2 for now (PS3.8 §9.3.4).
    if any(getattr(p, "result", None) == 1 for p in primitives):
        return UpstreamError(502, "the image archive refuses us: does it know our AE title?")
    return NotReadyError(DOWN_SECONDS)


def dimse_error(status: Any, doing: str) -> Exception:
    """The error for a DIMSE status that is neither success nor pending."""
    if not status or "Status" not in status:
        return NotReadyError(DOWN_SECONDS)  # the association broke; the archive may come back
    code = int(status.Status)
    if code & 0xFF00 == 0xA700:
        return NotReadyError(DOWN_SECONDS)  # out of resources
    return UpstreamError(502, f"the image archive failed while {doing} (status 0x{code:04X})")


UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_MODEL = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve, FIND
_STUDY = ("PatientID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription")
_SERIES = ("Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined")
_INSTANCE = ("InstanceNumber", "SOPClassUID")


def find_studies(pacs: Pacs, mrn: str, patient_id: str) -> list[ArchivedStudy]:
    """All studies of one patient. Raises NotReadyError or UpstreamError.

    An archive may read ``*`` and ``?`` in a patient id as wildcards: such ids find nothing,
    and answers about another patient are dropped.
    """
    if not mrn or re.search(r"[*?\\]", mrn):
        return []
    with open_association(pacs, _MODEL) as association:
        found = _find(association, "STUDY", {"PatientID": mrn, "StudyInstanceUID": ""}, _STUDY)
        return [
            _study(association, answer, patient_id)
            for answer in found
            if str(answer.get("PatientID", "")).strip() == mrn
        ]


def find_study(pacs: Pacs, study_uid: str, patients: dict[str, str]) -> ArchivedStudy | None:
    """One study, if it belongs to one of ``patients`` (MRN → patient id)."""
    with open_association(pacs, _MODEL) as association:
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
    pause_reactor(association)
    for status, answer in association.send_c_find(query, _MODEL):
        if status and "Status" in status and status.Status in (0xFF00, 0xFF01):
            found.append(answer)
    if not status or status.get("Status") != 0x0000:
        raise dimse_error(status, f"searching at {level} level")
    return found


def _study(association: Any, answer: Dataset, patient_id: str) -> ArchivedStudy:
    uid = str(answer.StudyInstanceUID)
    keys = {"StudyInstanceUID": uid, "SeriesInstanceUID": ""}
    series = [
        _series(association, uid, entry)
        for entry in _find(association, "SERIES", keys, _SERIES)
        if UID.fullmatch(str(entry.get("SeriesInstanceUID", "")))
    ]
    return ArchivedStudy(
        uid=uid,
        patient_id=patient_id,
        started=_started(answer),
        accession=str(answer.get("AccessionNumber") or "").strip(),
        description=str(answer.get("StudyDescription") or "").strip(),
        series=tuple(sorted(series, key=lambda s: (s.number, s.uid))),
    )


def _series(association: Any, study_uid: str, entry: Dataset) -> ArchivedSeries:
    uid = str(entry.SeriesInstanceUID)
    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": uid, "SOPInstanceUID": ""}
    instances = [
        ArchivedInstance(
            uid=str(item.SOPInstanceUID),
            sop_class=str(item.get("SOPClassUID") or ""),
            number=_whole(item.get("InstanceNumber")),
        )
        for item in _find(association, "IMAGE", keys, _INSTANCE)
        if UID.fullmatch(str(item.get("SOPInstanceUID", "")))
    ]
    return ArchivedSeries(
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
