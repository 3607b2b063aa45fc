"""C-MOVE and the Storage SCP."""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    AllTransferSyntaxes,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt

from ..data.archive import ArchivedStudy
from ..settings import Pacs
from ..state import NotReadyError, UpstreamError
from .dimse import UID, dimse_error, no_delay, open_association, pause_reactor

_MODEL = "1.2.840.10008.5.1.4.1.2.2.2"  # Study Root Query/Retrieve, MOVE
_numbers = itertools.count(1)
GUESS_PER_SECOND = 60.0
LONGEST_HINT = 600.0
TRIES = 3


@dataclass
class StudyMove:
    """A study on its way.

    ``finished`` is set when the thread is done; then either ``study`` has a path for every
    instance that C-FIND announced, or ``error`` says why not. An archive's own final status
    is not believed: some say "success" before, or without, sending everything.
    """

    pacs: Pacs
    receiver: StorageSCP
    announced: ArchivedStudy
    folder: Path
    done_callback: Callable[[StudyMove], None]
    study: ArchivedStudy | None = None
    error: Exception | None = None
    finished: threading.Event = field(default_factory=threading.Event)
    _delivery: IncomingStudy | None = None
    _started: float = field(default_factory=time.monotonic)
    _association: Any = None
    _cancelled: bool = False

    def run(self) -> None:
        """The thread's body: moves, counts, moves again what did not come."""
        try:
            self.study = self._all()
        except (NotReadyError, UpstreamError) as error:
            self.error = error
        except OSError as error:
            self.error = UpstreamError(500, f"the image cache cannot be written: {error.strerror}")
        finally:
            self.done_callback(self)
            self.finished.set()

    def _all(self) -> ArchivedStudy:
        wanted = {instance.uid for _, instance in self.announced.instances()}
        delivery = IncomingStudy(self.announced.uid, self.folder)
        self._delivery = delivery
        error: Exception | None = None
        for _ in range(TRIES):
            error = self._once(delivery)
            self._settle(delivery, wanted)
            if delivery.no_space:
                raise UpstreamError(500, "the image cache is full")
            if wanted <= delivery.received.keys():
                return _with_paths(self.announced, delivery.received)
            if error is not None or self._cancelled:
                break
        if error is not None:
            raise error
        missing = len(wanted - delivery.received.keys())
        raise UpstreamError(
            502, f"the image archive sent {len(wanted) - missing} of {len(wanted)} instances"
        )

    def _once(self, delivery: IncomingStudy) -> Exception | None:
        """One C-MOVE; returns the error it ended with instead of raising it."""
        number = next(_numbers) % 65_535 + 1
        self.receiver.expect(number, delivery)
        status: Any = None
        try:
            with open_association(self.pacs, _MODEL) as association:
                self._association = association
                query = Dataset()
                query.QueryRetrieveLevel = "STUDY"
                query.StudyInstanceUID = self.announced.uid
                pause_reactor(association)
                replies = association.send_c_move(query, self.pacs.our_aet, _MODEL, msg_id=number)
                for status, _ in replies:
                    if status and status.get("Status") != 0xFF00:
                        break
        except (NotReadyError, UpstreamError) as error:
            return error
        finally:
            self._association = None
            self.receiver.forget(number)
        if not status or status.get("Status") not in (0x0000, 0xB000):
            return dimse_error(status, "sending images")
        return None

    @staticmethod
    def _settle(delivery: IncomingStudy, wanted: set[str]) -> None:
        """Give instances that are still being written a moment to land."""
        deadline = time.monotonic() + 0.2
        while not wanted <= delivery.received.keys() and time.monotonic() < deadline:
            time.sleep(0.02)

    def seconds_left(self) -> float:
        """When to come back, from the instances that came so far; between 1 s and 10 min."""
        total = max(1, self.announced.instance_count)
        done = 0 if self._delivery is None else len(self._delivery.received)
        spent = time.monotonic() - self._started
        pace = done / spent if done and spent > 0.1 else GUESS_PER_SECOND
        return min(LONGEST_HINT, max(1.0, (total - done) / pace))

    def cancel(self) -> None:
        """Abort the association; the thread then ends by itself."""
        self._cancelled = True
        association = self._association
        if association is not None:
            association.abort()


def _with_paths(study: ArchivedStudy, paths: dict[str, Path]) -> ArchivedStudy:
    return replace(
        study,
        series=tuple(
            replace(s, instances=tuple(replace(i, path=paths[i.uid]) for i in s.instances))
            for s in study.series
        ),
    )


SUCCESS, NO_SPACE, NOT_OURS, UNREADABLE = 0x0000, 0xA700, 0xA900, 0xC000


@dataclass
class IncomingStudy:
    """What one C-MOVE brings: a folder, and the instances that lie in it complete."""

    study_uid: str
    folder: Path
    received: dict[str, Path] = field(default_factory=dict)
    no_space: bool = False


class StorageSCP:
    """Listens on ``pacs.store_port`` and files what belongs to a move of ours.

    Raises OSError from :meth:`start` when the port is taken.
    """

    def __init__(self, pacs: Pacs, host: str) -> None:
        self._pacs = pacs
        self._host = host
        self._deliveries: dict[int, IncomingStudy] = {}
        self._lock = threading.Lock()
        self._server: Any = None

    def start(self) -> None:
        entity = AE(ae_title=self._pacs.our_aet)
        entity.require_called_aet = True
        entity.maximum_associations = 50
        # The acceptor picks by its own order: uncompressed first, or files change on the way.
        first = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        syntaxes = first + [s for s in AllTransferSyntaxes if s not in first]
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax is not None:
                entity.add_supported_context(context.abstract_syntax, syntaxes)
        self._server = entity.start_server(
            (self._host, self._pacs.store_port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_CONN_OPEN, no_delay)],
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def expect(self, message_id: int, delivery: IncomingStudy) -> None:
        with self._lock:
            self._deliveries[message_id] = delivery

    def forget(self, message_id: int) -> None:
        with self._lock:
            self._deliveries.pop(message_id, None)

    def _store(self, event: Any) -> int:
        """Keep one instance; the status tells the archive how it went (PS3.4 §B.2.3)."""
        with self._lock:
            delivery = self._deliveries.get(event.request.MoveOriginatorMessageID)
        if delivery is None:
            return NOT_OURS
        data = event.encoded_dataset()
        try:
            header = dcmread(
                BytesIO(data), stop_before_pixels=True, specific_tags=["StudyInstanceUID"]
            )
        except (InvalidDicomError, EOFError, ValueError, KeyError):
            return UNREADABLE
        instance_uid = str(event.request.AffectedSOPInstanceUID)
        if str(header.get("StudyInstanceUID")) != delivery.study_uid:
            return NOT_OURS
        if not UID.fullmatch(instance_uid) or len(instance_uid) > 64:
            return UNREADABLE
        return _file(delivery, instance_uid, data)


def _file(delivery: IncomingStudy, instance_uid: str, data: bytes) -> int:
    """Write beside, then rename: a file that is visible is whole."""
    path = delivery.folder / f"{instance_uid}.dcm"
    beside = delivery.folder / f"{instance_uid}.{threading.get_ident()}.part"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            delivery.no_space = True
            return NO_SPACE
        return UNREADABLE
    delivery.received[instance_uid] = path
    return SUCCESS
