"""C-MOVE of a study, and the Storage SCP that receives its instances (PS3.4 Annexes B and C)."""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import AllTransferSyntaxes, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt

from ..context import NotReadyError, UpstreamError
from ..data.archive import ArchivedStudy
from ..settings import Pacs
from .dimse import UID, dimse_error, no_delay, open_association, pause_reactor

_MOVE_MODEL = "1.2.840.10008.5.1.4.1.2.2.2"  # Study Root Query/Retrieve, MOVE
_message_numbers = itertools.count(1)
ASSUMED_INSTANCES_PER_SECOND = 60.0
MAX_RETRY_SECONDS = 600.0
MAX_MOVES = 3
# C-STORE status codes (PS3.4 §B.2.3).
SUCCESS, NO_SPACE, NOT_REQUESTED, UNREADABLE = 0x0000, 0xA700, 0xA900, 0xC000


@dataclass
class StudyMove:
    """The retrieval of a study.

    The final status of the archive is not trusted: some archives report success before, or
    without, sending every instance.

    Attributes:
        pacs: the archive.
        receiver: Storage SCP to which the archive sends.
        announced: the study with the instances that C-FIND returned.
        folder: where the instances are written.
        done_callback: called with the move just before ``finished`` is set.
        study: the study with a path for every instance, once it is complete.
        error: why the retrieval failed, or None.
        finished: set when the thread has ended.
    """

    pacs: Pacs
    receiver: StorageSCP
    announced: ArchivedStudy
    folder: Path
    done_callback: Callable[[StudyMove], None]
    study: ArchivedStudy | None = None
    error: Exception | None = None
    finished: threading.Event = field(default_factory=threading.Event)
    _incoming_study: IncomingStudy | None = None
    _started: float = field(default_factory=time.monotonic)
    _association: Any = None
    _cancelled: bool = False

    def run(self) -> None:
        """Retrieve the study, and repeat the C-MOVE while instances are missing."""
        try:
            self.study = self._retrieve()
        except (NotReadyError, UpstreamError) as error:
            self.error = error
        except OSError as error:
            self.error = UpstreamError(500, f"the image cache cannot be written: {error.strerror}")
        finally:
            self.done_callback(self)
            self.finished.set()

    def _retrieve(self) -> ArchivedStudy:
        expected = {instance.uid for _, instance in self.announced.instances()}
        incoming = IncomingStudy(self.announced.uid, self.folder)
        self._incoming_study = incoming
        error: Exception | None = None
        for _ in range(MAX_MOVES):
            error = self._move(incoming)
            self._wait_for_writes(incoming, expected)
            if incoming.no_space:
                raise UpstreamError(500, "the image cache is full")
            if expected <= incoming.received.keys():
                return self.announced.with_paths(incoming.received)
            if error is not None or self._cancelled:
                break
        if error is not None:
            raise error
        missing = len(expected - incoming.received.keys())
        raise UpstreamError(
            502, f"the image archive sent {len(expected) - missing} of {len(expected)} instances"
        )

    def _move(self, incoming: IncomingStudy) -> Exception | None:
        """Send a C-MOVE and return the error with which it ended, if any."""
        message_id = next(_message_numbers) % 65_535 + 1
        self.receiver.register(message_id, incoming)
        status: Any = None
        try:
            with open_association(self.pacs, _MOVE_MODEL) as association:
                self._association = association
                query = Dataset()
                query.QueryRetrieveLevel = "STUDY"
                query.StudyInstanceUID = self.announced.uid
                pause_reactor(association)
                responses = association.send_c_move(
                    query, self.pacs.our_aet, _MOVE_MODEL, msg_id=message_id
                )
                for status, _ in responses:
                    if status and status.get("Status") != 0xFF00:
                        break
        except (NotReadyError, UpstreamError) as error:
            return error
        finally:
            self._association = None
            self.receiver.unregister(message_id)
        if not status or status.get("Status") not in (0x0000, 0xB000):
            return dimse_error(status, "sending images")
        return None

    @staticmethod
    def _wait_for_writes(incoming: IncomingStudy, expected: set[str]) -> None:
        """Wait up to 0.2 s for instances that are still being written."""
        deadline = time.monotonic() + 0.2
        while not expected <= incoming.received.keys() and time.monotonic() < deadline:
            time.sleep(0.02)

    def remaining_seconds(self) -> float:
        """Estimate the remaining seconds from the instances received so far; 1 s to 10 min."""
        total = max(1, self.announced.instance_count)
        received = 0 if self._incoming_study is None else len(self._incoming_study.received)
        elapsed = time.monotonic() - self._started
        rate = received / elapsed if received and elapsed > 0.1 else ASSUMED_INSTANCES_PER_SECOND
        return min(MAX_RETRY_SECONDS, max(1.0, (total - received) / rate))

    def cancel(self) -> None:
        """Abort the association, which ends the thread."""
        self._cancelled = True
        association = self._association
        if association is not None:
            association.abort()


@dataclass
class IncomingStudy:
    """The instances of a study received so far; ``received`` maps SOP Instance UIDs to files."""

    study_uid: str
    folder: Path
    received: dict[str, Path] = field(default_factory=dict)
    no_space: bool = False


class StorageSCP:
    """A Storage SCP on ``pacs.store_port``; it accepts only instances of registered moves.

    Args:
        pacs: AE title and port.
        host: address to bind.
    """

    def __init__(self, pacs: Pacs, host: str) -> None:
        self._pacs = pacs
        self._host = host
        self._incoming: dict[int, IncomingStudy] = {}
        self._lock = threading.Lock()
        self._server: Any = None

    def start(self) -> None:
        """Bind the port and accept associations; raises OSError if the port is in use."""
        entity = AE(ae_title=self._pacs.our_aet)
        entity.require_called_aet = True
        entity.maximum_associations = 50
        # The acceptor selects in its own order. Uncompressed first, or archives convert files.
        uncompressed = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        syntaxes = uncompressed + [s for s in AllTransferSyntaxes if s not in uncompressed]
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax is not None:
                entity.add_supported_context(context.abstract_syntax, syntaxes)
        self._server = entity.start_server(
            (self._host, self._pacs.store_port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_CONN_OPEN, no_delay)],
        )

    def stop(self) -> None:
        """Close the port and all associations."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def register(self, message_id: int, incoming: IncomingStudy) -> None:
        """Accept the instances of a C-MOVE request."""
        with self._lock:
            self._incoming[message_id] = incoming

    def unregister(self, message_id: int) -> None:
        """Accept no more instances of a C-MOVE request."""
        with self._lock:
            self._incoming.pop(message_id, None)

    def _store(self, event: Any) -> int:
        """Store an instance and return the C-STORE status (PS3.4 §B.2.3)."""
        with self._lock:
            incoming = self._incoming.get(event.request.MoveOriginatorMessageID)
        if incoming is None:
            return NOT_REQUESTED
        data = event.encoded_dataset()
        try:
            header = dcmread(
                BytesIO(data), stop_before_pixels=True, specific_tags=["StudyInstanceUID"]
            )
        except (InvalidDicomError, EOFError, ValueError, KeyError):
            return UNREADABLE
        instance_uid = str(event.request.AffectedSOPInstanceUID)
        if str(header.get("StudyInstanceUID")) != incoming.study_uid:
            return NOT_REQUESTED
        if not UID.fullmatch(instance_uid) or len(instance_uid) > 64:
            return UNREADABLE
        return _write_instance(incoming, instance_uid, data)


def _write_instance(incoming: IncomingStudy, instance_uid: str, data: bytes) -> int:
    """Write to a temporary file, then rename it, so that a visible file is complete."""
    path = incoming.folder / f"{instance_uid}.dcm"
    temporary = incoming.folder / f"{instance_uid}.{threading.get_ident()}.part"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            incoming.no_space = True
            return NO_SPACE
        return UNREADABLE
    incoming.received[instance_uid] = path
    return SUCCESS
