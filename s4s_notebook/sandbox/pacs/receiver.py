"""Our Storage SCP: where the archive sends images to. Bytes are kept as they come."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    AllTransferSyntaxes,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt

from ..settings import Pacs
from .association import no_delay
from .find import UID

SUCCESS, NO_SPACE, NOT_OURS, UNREADABLE = 0x0000, 0xA700, 0xA900, 0xC000


@dataclass
class Delivery:
    """What one C-MOVE brings: a folder, and the instances that lie in it complete."""

    study_uid: str
    folder: Path
    received: dict[str, Path] = field(default_factory=dict)
    no_space: bool = False


class Receiver:
    """Listens on ``pacs.store_port`` and files what belongs to a move of ours.

    Raises OSError from :meth:`start` when the port is taken.
    """

    def __init__(self, pacs: Pacs, host: str) -> None:
        self._pacs = pacs
        self._host = host
        self._deliveries: dict[int, Delivery] = {}
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

    def expect(self, message_id: int, delivery: Delivery) -> None:
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


def _file(delivery: Delivery, instance_uid: str, data: bytes) -> int:
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
