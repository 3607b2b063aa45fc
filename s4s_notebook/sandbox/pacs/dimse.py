"""Associations with a DICOM archive, and C-FIND for the studies of a patient (PS3.4 Annex C).

Archives differ in the attributes that they return. Only UIDs and the keys of each level are relied
on; counts and modalities come from the series and instance levels.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from ..context import NotReadyError, UpstreamError
from ..data.archive import ArchivedInstance, ArchivedSeries, ArchivedStudy, local_time
from ..settings import Pacs

UNREACHABLE_RETRY_SECONDS = 30.0
LOST_RESPONSE_RETRY_SECONDS = 1.0
_PENDING = (0xFF00, 0xFF01)
DIMSE_SECONDS = 60.0
UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_FIND_MODEL = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root Query/Retrieve, FIND
_STUDY_KEYS = ("PatientID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription")
_SERIES_KEYS = ("Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined")
_INSTANCE_KEYS = ("InstanceNumber", "SOPClassUID")


@contextmanager
def open_association(pacs: Pacs, context: str) -> Iterator[Any]:
    """Open an association for a presentation context; release it at the end, abort it on error.

    Args:
        pacs: address and AE titles.
        context: abstract syntax UID.

    Yields:
        The established pynetdicom association.

    Raises:
        NotReadyError: the archive cannot be reached at present.
        UpstreamError: the archive rejected the association permanently, for example because it
            does not know the calling AE title (502).
    """
    _check_reachable(pacs)
    entity = AE(ae_title=pacs.our_aet)
    entity.acse_timeout = 10
    entity.dimse_timeout = DIMSE_SECONDS
    entity.network_timeout = DIMSE_SECONDS
    entity.connection_timeout = 5
    entity.add_requested_context(context)
    rejections: list[Any] = []
    association = entity.associate(
        pacs.host,
        pacs.port,
        ae_title=pacs.aet,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_ACSE_RECV, lambda event: rejections.append(event.primitive)),
        ],
    )
    try:
        if not association.is_established:
            raise _rejection_error(rejections)
        yield association
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()
        _close_socket(association)


def _check_reachable(pacs: Pacs) -> None:
    """Check that the port is open, as pynetdicom leaks a socket when it is not."""
    try:
        socket.create_connection((pacs.host, pacs.port), timeout=5).close()
    except OSError as error:
        raise NotReadyError(UNREACHABLE_RETRY_SECONDS) from error


def _close_socket(association: Any) -> None:
    """Close the socket, which pynetdicom leaves open when an association breaks."""
    if association.is_alive():
        association.join(5)
    wrapper = association.dul.socket
    sock = wrapper.socket if wrapper is not None else None
    if sock is not None:
        sock.close()


def no_delay(event: Any) -> None:
    """Turn off Nagle's algorithm, which delays each message by 40 ms."""
    sock = event.assoc.dul.socket.socket
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _ReactorGate(threading.Event):
    """The event on which pynetdicom's reader thread waits, which says that the thread waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self.reached.set()
        return super().wait(timeout)


def pause_reactor(association: Any) -> None:
    """Pause the reader thread of pynetdicom before a request is sent.

    pynetdicom's own flag says that the thread is paused slightly before it is. The thread would
    then read the first response to the request, and the response would be lost.
    """
    gate, former = _ReactorGate(), association._reactor_checkpoint
    association._reactor_checkpoint = gate
    former.set()
    while association.is_alive() and not gate.reached.wait(0.05):
        pass


def _rejection_error(primitives: list[Any]) -> Exception:
    # A-ASSOCIATE-RJ: result 1 is a permanent rejection, 2 a transient one (PS3.8 §9.3.4).
    if any(getattr(p, "result", None) == 1 for p in primitives):
        message = "the image archive rejected the association: does it know our AE title?"
        return UpstreamError(502, message)
    return NotReadyError(UNREACHABLE_RETRY_SECONDS)


def dimse_error(status: Any, operation: str) -> Exception:
    """Return the error for a DIMSE status that is neither success nor pending."""
    if not status or "Status" not in status:
        return NotReadyError(UNREACHABLE_RETRY_SECONDS)  # the association broke
    code = int(status.Status)
    if code & 0xFF00 == 0xA700:
        return NotReadyError(UNREACHABLE_RETRY_SECONDS)  # out of resources
    return UpstreamError(502, f"the image archive failed while {operation} (status 0x{code:04X})")


def find_studies(pacs: Pacs, mrn: str, patient_id: str) -> list[ArchivedStudy]:
    """Return all studies of a patient.

    Archives may treat ``*`` and ``?`` in a PatientID as wildcards. No study is returned for such an
    id, and responses about other patients are dropped.

    Args:
        pacs: the archive.
        mrn: PatientID in the archive.
        patient_id: FHIR id of the patient.

    Raises:
        NotReadyError: the archive cannot answer at present.
        UpstreamError: the archive failed.
    """
    if not mrn or re.search(r"[*?\\]", mrn):
        return []
    with open_association(pacs, _FIND_MODEL) as association:
        keys = {"PatientID": mrn, "StudyInstanceUID": ""}
        return [
            _study(association, response, patient_id)
            for response in _find(association, "STUDY", keys, _STUDY_KEYS)
            if str(response.get("PatientID", "")).strip() == mrn
        ]


def find_study(pacs: Pacs, study_uid: str, patients: dict[str, str]) -> ArchivedStudy | None:
    """Return a study, or None if the archive has none of ``patients`` (PatientID to FHIR id).

    Raises:
        NotReadyError: the archive cannot answer at present.
        UpstreamError: the archive failed.
    """
    with open_association(pacs, _FIND_MODEL) as association:
        keys = {"StudyInstanceUID": study_uid}
        for response in _find(association, "STUDY", keys, _STUDY_KEYS):
            patient_id = patients.get(str(response.get("PatientID", "")).strip())
            if response.StudyInstanceUID == study_uid and patient_id is not None:
                return _study(association, response, patient_id)
    return None


def _find(
    association: Any, level: str, keys: dict[str, str], return_keys: tuple[str, ...]
) -> list[Dataset]:
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 192"
    query.QueryRetrieveLevel = level
    for name, value in {**dict.fromkeys(return_keys, ""), **keys}.items():
        setattr(query, name, value)
    responses: list[Dataset] = []
    received: list[int] = []
    status: Any = None
    handler = (evt.EVT_DIMSE_RECV, lambda event: received.append(event.message.command_set.Status))
    association.bind(*handler)
    pause_reactor(association)
    for status, response in association.send_c_find(query, _FIND_MODEL):
        if status and "Status" in status and status.Status in _PENDING:
            responses.append(response)
    association.unbind(*handler)
    if not status or status.get("Status") != 0x0000:
        raise dimse_error(status, f"searching at {level} level")
    if len(responses) != sum(code in _PENDING for code in received):
        # The reader thread took a response for its own: the list is short, so it is no answer.
        raise NotReadyError(LOST_RESPONSE_RETRY_SECONDS)
    return responses


def _study(association: Any, response: Dataset, patient_id: str) -> ArchivedStudy:
    uid = str(response.StudyInstanceUID)
    keys = {"StudyInstanceUID": uid, "SeriesInstanceUID": ""}
    series = [
        _series(association, uid, entry)
        for entry in _find(association, "SERIES", keys, _SERIES_KEYS)
        if UID.fullmatch(str(entry.get("SeriesInstanceUID", "")))
    ]
    return ArchivedStudy(
        uid=uid,
        patient_id=patient_id,
        started=local_time(response.get("StudyDate"), response.get("StudyTime")),
        accession=str(response.get("AccessionNumber") or "").strip(),
        description=str(response.get("StudyDescription") or "").strip(),
        series=tuple(sorted(series, key=lambda s: (s.number, s.uid))),
    )


def _series(association: Any, study_uid: str, entry: Dataset) -> ArchivedSeries:
    uid = str(entry.SeriesInstanceUID)
    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": uid, "SOPInstanceUID": ""}
    instances = [
        ArchivedInstance(
            uid=str(item.SOPInstanceUID),
            sop_class=str(item.get("SOPClassUID") or ""),
            number=_integer(item.get("InstanceNumber")),
        )
        for item in _find(association, "IMAGE", keys, _INSTANCE_KEYS)
        if UID.fullmatch(str(item.get("SOPInstanceUID", "")))
    ]
    return ArchivedSeries(
        uid=uid,
        number=_integer(entry.get("SeriesNumber")),
        modality=str(entry.get("Modality") or "").strip() or "OT",
        description=str(entry.get("SeriesDescription") or "").strip(),
        body_site=str(entry.get("BodyPartExamined") or "").strip(),
        instances=tuple(sorted(instances, key=lambda i: (i.number, i.uid))),
    )


def _integer(value: object) -> int:
    text = str(value if value is not None else "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
