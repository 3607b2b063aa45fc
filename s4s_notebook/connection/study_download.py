"""One study on its way to disk; every Download of it in this process shares this one worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..dicomweb import wado as dicomweb
from ..errors import (
    HolderUnavailable,
    HTTPStatusError,
    Incomplete,
    IntegrityError,
    InvalidDICOM,
    Stalled,
)
from ..fhir.endpoints import WadoEndpoint, endpoints, study_url
from ..http.client import Transport
from ..problems import Problem
from ..store import Filed, Participant, Receiver, Store, StudyFolder
from ..task import Cancel, Task, TaskState, Unsubscribe
from .download_plan import Piece, announced, pieces

_NOT_OFFERED = frozenset({400, 403, 404, 405, 406, 410, 415, 500, 501})
_RATE_OVER = 0.5  # seconds


class Source(Protocol):
    """The part of a Connection that a transfer needs."""

    store: Store

    @property
    def participant(self) -> Participant: ...
    def ready(self, cancel: Cancel, say: Callable[[str], None]) -> Transport:
        """The transport, once there is an approval to use."""

    def imaging_study(self, uid: str, cancel: Cancel) -> Mapping[str, Any]:
        """The ImagingStudy; asks the holder if nobody has."""

    def included(self) -> Sequence[Mapping[str, Any]]:
        """Endpoint resources that came with the studies."""

    @property
    def imaging_base(self) -> str: ...
    def no_pieces(self, address: str, learnt: bool = False) -> bool:
        """Whether that endpoint gives whole studies only; ``learnt`` keeps that in mind."""


class Transfer(Task[list[Path]]):
    """Fetches what is missing of one study, checks and files it.

    Raises (from ``result()``):
        Incomplete: fewer instances than announced, or some that did not belong.
        InvalidDICOM: what came in their place was no DICOM.
        NotDownloadable, NotFound, IntegrityError, Stalled, ...: as the request ended.
    """

    def __init__(self, source: Source, uid: str) -> None:
        super().__init__(TaskState(study_uid=uid))
        self.uid, self._source = uid, source
        self._told_instances: list[Path] = []
        self._instance_listeners: list[Callable[[Path], None]] = []
        self._bytes, self._since = 0, time.monotonic()

    def on_instance(self, callback: Callable[[Path], None]) -> Unsubscribe:
        """Call ``callback(path)`` for each instance that is filed; first for those already."""
        with self._guard:
            for path in self._told_instances:
                callback(path)
            self._instance_listeners.append(callback)

        def unsubscribe() -> None:
            with self._guard:
                if callback in self._instance_listeners:
                    self._instance_listeners.remove(callback)

        return unsubscribe

    def _filed(self, path: Path, size: int) -> None:  # noqa: ARG002 - the Receiver tells both
        with self._guard:
            self._told_instances.append(path)
            listeners = list(self._instance_listeners)
        self._set(instances=len(self._told_instances))
        for callback in listeners:
            self._call(callback, path, listeners=self._instance_listeners)

    def _work(self) -> list[Path]:
        folder = self._source.store.study(self._source.participant, self.uid)
        self._set(phase="asking", message="")
        with folder.lock(self._switch.check):
            for filed in folder.instances().values():
                self._filed(folder.file(filed), filed.size)
            if not folder.complete():
                self._fetch(folder)
        return folder.paths()

    def _fetch(self, folder: StudyFolder) -> None:
        source, cancel = self._source, self._switch
        transport = source.ready(cancel, lambda text: self._set(message=text))
        study = source.imaging_study(self.uid, cancel)
        said = announced(study)
        self._set(instances_expected=said.instances or len(said.listed) or None)
        found = endpoints(transport, study, source.included(), source.imaging_base, cancel=cancel)
        for number, endpoint in enumerate(found):
            try:
                self._from(folder, transport, endpoint, said.instances, said.listed)
            except (HTTPStatusError, HolderUnavailable):
                if number == len(found) - 1:
                    raise
            else:
                return

    def _from(
        self,
        folder: StudyFolder,
        transport: Transport,
        endpoint: WadoEndpoint,
        count: int | None,
        listed: Sequence[dicomweb.Instance],
    ) -> None:
        url = study_url(endpoint.address, self.uid)
        token = endpoint.requires_token is not False
        receiver = None
        while receiver is None:
            before = len(folder.instances())
            try:
                receiver = self._receive(folder, transport, url, token, count, listed)
            except (IntegrityError, Stalled, HolderUnavailable):
                # Go on at once where only what is missing will be asked for, and it leads on.
                if self._source.no_pieces(url) or len(folder.instances()) == before:
                    raise
        have = folder.instances()
        if count is not None and len(have) < count and not listed:
            listed = self._list(transport, url, token)
        self._conclude(folder, receiver, have, count, listed)

    def _list(self, transport: Transport, url: str, token: bool) -> Sequence[dicomweb.Instance]:
        """What the holder says the study has, where it offers to say (QIDO-RS)."""
        return dicomweb.instances(transport, url, cancel=self._switch, token=token) or ()

    def _plan(
        self,
        transport: Transport,
        url: str,
        token: bool,
        count: int | None,
        listed: Sequence[dicomweb.Instance],
        have: Mapping[str, Filed],
    ) -> list[Piece] | None:
        """What to ask for: pieces, nothing (a process was killed when all had come, before that
        was written down), or None for the whole study."""
        if count is not None and len(have) >= count:
            return []
        if not have or self._source.no_pieces(url):
            return None
        listed = listed or self._list(transport, url, token)
        todo = list(pieces(url, listed, have))
        return todo if todo or (listed and count is None) else None

    def _receive(
        self,
        folder: StudyFolder,
        transport: Transport,
        url: str,
        token: bool,
        count: int | None,
        listed: Sequence[dicomweb.Instance],
    ) -> Receiver:
        have = folder.instances()
        todo = self._plan(transport, url, token, count, listed, have)
        with Receiver(folder, self._filed) as receiver:
            if todo:
                self._set(message=f"{len(have)} instances are here; asking for the others alone")
            for number, piece in enumerate(todo or ()):
                try:
                    self._take(receiver, transport, piece, token)
                except HTTPStatusError as error:
                    status = error.request.status if error.request else None
                    if status not in _NOT_OFFERED:
                        raise
                    if number == 0 and not receiver.filed:
                        self._source.no_pieces(url, learnt=True)
                        todo = None
                        break
            if todo is None:
                if have:
                    self._set(message=f"skipping the {len(have)} instances that are here")
                self._take(receiver, transport, Piece(url, None), token)
        return receiver

    def _take(self, receiver: Receiver, transport: Transport, piece: Piece, token: bool) -> None:
        with dicomweb.retrieve(
            transport, piece.url, cancel=self._switch, on_wait=self._show_wait, token=token
        ) as parts:
            self._set(phase="receiving", seconds_left=None)
            for part in parts:
                receiver.take(self._counted(part.chunks()), piece.sop_uid)
        self._set(bytes=self._bytes)

    def _counted(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """Pass chunks on and count their bytes and their pace."""
        for chunk in chunks:
            self._bytes += len(chunk)
            passed = time.monotonic() - self._since
            if passed >= _RATE_OVER:
                rate = (self._bytes - self._state.bytes) / passed
                self._since = time.monotonic()
                self._set(bytes=self._bytes, rate=rate)
            yield chunk

    def _conclude(
        self,
        folder: StudyFolder,
        receiver: Receiver,
        have: Mapping[str, Filed],
        count: int | None,
        listed: Sequence[dicomweb.Instance],
    ) -> None:
        """Compare what is on disk with what was announced, and write down how it ended."""
        missing = tuple(each.instance_uid for each in listed if each.instance_uid not in have)
        odd = receiver.rejected
        short = bool(missing) or not have or (count is not None and len(have) < count)
        whole = not short and (count is not None or not odd)
        folder.settle(expected=count, complete=whole, dicom_patient=receiver.dicom_patient)
        if odd:
            found = [
                Problem(
                    f"ImagingStudy/{self.uid}", "instance", each.sop_uid, f"set aside: {each.why}"
                )
                for each in odd
            ]
            self._source.participant.add_problems("ImagingStudy", found)
        if whole:
            return
        broken = next((each.error for each in odd if isinstance(each.error, InvalidDICOM)), None)
        if broken is not None and all(each.error for each in odd) and len(missing) <= len(odd):
            raise InvalidDICOM(
                f"{len(odd)} of the study's parts are not DICOM files; {len(have)} instances are "
                "kept.",
                hint="connection.problems() lists them. Call again to ask once more.",
            )
        raise Incomplete(
            f"{len(have)} of {count or len(have) + (len(missing) or len(odd))} instances came"
            + (
                f", {len(odd)} were set aside ({', '.join(sorted({e.why for e in odd}))})"
                if odd
                else ""
            )
            + ".",
            partial=folder.paths(),
            missing=missing or tuple(each.sop_uid for each in odd if each.sop_uid),
        )
