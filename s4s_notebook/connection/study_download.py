"""The download of one study: which requests it takes, and what is received and stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..dicomweb import wado
from ..errors import (
    HolderUnavailable,
    HTTPStatusError,
    Incomplete,
    IntegrityError,
    InvalidDICOM,
    InvalidUID,
    Stalled,
)
from ..fhir.endpoints import endpoints, study_url
from ..fhir.resources import check_uid, objects
from ..http.client import Transport
from ..problems import Problem
from ..store.participant import Participant
from ..store.receive import Receiver, Rejected
from ..store.store import Store
from ..store.study_folder import StoredInstance, StudyFolder
from ..task import Cancel, Task, TaskState, Unsubscribe

_NOT_OFFERED = frozenset({400, 403, 404, 405, 406, 410, 415, 500, 501})
_RATE_INTERVAL = 0.5  # seconds over which the rate is measured


@dataclass(frozen=True)
class DownloadSource:
    """What downloads need of a connection.

    Attributes:
        store: where files are stored.
        participant: returns whose studies they are.
        prepare: returns the transport, once there is an approval; gets a Cancel, and a function
            that it calls with a sentence while it waits.
        find_study: returns the ImagingStudy with a Study Instance UID; may request it.
        imaging_base: returns the FHIR base address that serves ImagingStudy.
        study_only: addresses that serve complete studies only; downloads add to it.
    """

    store: Store
    participant: Callable[[], Participant]
    prepare: Callable[[Cancel, Callable[[str], None]], Transport]
    find_study: Callable[[str, Cancel], Mapping[str, Any]]
    imaging_base: Callable[[], str]
    study_only: set[str]


class Announced(NamedTuple):
    """What an ImagingStudy says of its instances: how many, and which where it lists them."""

    total: int | None
    listed: tuple[wado.Instance, ...]


class RetrieveRequest(NamedTuple):
    """A WADO-RS request: its address, and the SOP Instance UID when it is for one instance."""

    url: str
    sop_uid: str | None


class _Target(NamedTuple):
    """Where a study is requested: its WADO-RS address, and whether that takes the token."""

    transport: Transport
    url: str
    token: bool


class StudyDownload(Task[list[Path]]):
    """Fetches what is missing of one study, checks and stores it; gives the files.

    Raises (from ``result()``):
        Incomplete: fewer instances than announced, or some that did not belong.
        InvalidDICOM: what was received in their place was no DICOM.
        NotDownloadable, NotFound, IntegrityError, Stalled, ...: as the request ended.
    """

    def __init__(self, source: DownloadSource, uid: str) -> None:
        super().__init__(TaskState(study_uid=uid))
        self.uid, self._source = uid, source
        self._reported: list[Path] = []
        self._instance_listeners: list[Callable[[Path], None]] = []
        self._bytes, self._since = 0, time.monotonic()

    def on_instance(self, callback: Callable[[Path], None]) -> Unsubscribe:
        """Call ``callback(path)`` for each instance that is stored; first for those already."""
        with self._guard:
            for path in self._reported:
                callback(path)
            self._instance_listeners.append(callback)

        def unsubscribe() -> None:
            with self._guard:
                if callback in self._instance_listeners:
                    self._instance_listeners.remove(callback)

        return unsubscribe

    def _report(self, path: Path, size: int) -> None:  # noqa: ARG002 - the Receiver passes both
        with self._guard:
            self._reported.append(path)
            listeners = list(self._instance_listeners)
        self._set(instances=len(self._reported))
        for callback in listeners:
            self._call(callback, path, listeners=self._instance_listeners)

    def _work(self) -> list[Path]:
        folder = self._source.store.study(self._source.participant(), self.uid)
        self._set(phase="asking", message="")
        with folder.lock(self._switch.check):
            for instance in folder.instances().values():
                self._report(folder.file(instance), instance.size)
            if not folder.complete():
                self._fetch(folder)
        return folder.paths()

    def _fetch(self, folder: StudyFolder) -> None:
        """Download from the first endpoint that answers."""
        source, cancel = self._source, self._switch
        transport = source.prepare(cancel, lambda text: self._set(message=text))
        study = source.find_study(self.uid, cancel)
        expected = announced(study)
        self._set(instances_expected=expected.total or len(expected.listed) or None)
        included = list(source.participant().resources("Endpoint"))
        candidates = endpoints(transport, study, included, source.imaging_base(), cancel=cancel)
        for number, endpoint in enumerate(candidates, 1):
            url = study_url(endpoint.address, self.uid)
            target = _Target(transport, url, endpoint.requires_token is not False)
            try:
                self._fetch_from(target, folder, expected)
            except (HTTPStatusError, HolderUnavailable):
                if number == len(candidates):
                    raise
            else:
                return

    def _fetch_from(self, target: _Target, folder: StudyFolder, expected: Announced) -> None:
        """Download from one endpoint; continue as long as each attempt adds instances."""
        receiver = None
        while receiver is None:
            before = len(folder.instances())
            try:
                receiver = self._receive(target, folder, expected)
            except (IntegrityError, Stalled, HolderUnavailable):
                # Continue without delay where only what is missing is requested, and some came.
                if target.url in self._source.study_only or len(folder.instances()) == before:
                    raise
        stored = folder.instances()
        count, listed = expected
        if count is not None and len(stored) < count and not listed:
            expected = Announced(count, self._query_instances(target))
        self._finish_study(folder, receiver, stored, expected)

    def _query_instances(self, target: _Target) -> tuple[wado.Instance, ...]:
        """Return the instances that the holder lists (QIDO-RS), none where it offers no list."""
        transport, url, token = target
        return tuple(wado.instances(transport, url, cancel=self._switch, token=token) or ())

    def _plan(
        self, target: _Target, expected: Announced, stored: Mapping[str, StoredInstance]
    ) -> list[RetrieveRequest] | None:
        """Return the requests for what is missing, or None for the complete study.

        No request is needed where a process was killed after all had been received.
        """
        count, listed = expected
        if count is not None and len(stored) >= count:
            return []
        if not stored or target.url in self._source.study_only:
            return None
        listed = listed or self._query_instances(target)
        missing = list(missing_requests(target.url, listed, stored))
        return missing if missing or (listed and count is None) else None

    def _receive(self, target: _Target, folder: StudyFolder, expected: Announced) -> Receiver:
        stored = folder.instances()
        missing = self._plan(target, expected, stored)
        with Receiver(folder, self._report) as receiver:
            if missing:
                self._set(message=f"{len(stored)} instances are here; requesting the others")
            for number, request in enumerate(missing or ()):
                try:
                    self._retrieve(target, receiver, request)
                except HTTPStatusError as error:
                    status = error.request.status if error.request else None
                    if status not in _NOT_OFFERED:
                        raise
                    if number == 0 and not receiver.stored:
                        self._source.study_only.add(target.url)
                        missing = None
                        break
            if missing is None:
                if stored:
                    self._set(message=f"skipping the {len(stored)} instances that are here")
                self._retrieve(target, receiver, RetrieveRequest(target.url, None))
        return receiver

    def _retrieve(self, target: _Target, receiver: Receiver, request: RetrieveRequest) -> None:
        with wado.retrieve(
            target.transport,
            request.url,
            cancel=self._switch,
            on_wait=self._show_wait,
            token=target.token,
        ) as instances:
            self._set(phase="receiving", seconds_left=None)
            for instance in instances:
                receiver.receive(self._counted(instance.chunks()), request.sop_uid)
        self._set(bytes=self._bytes)

    def _counted(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """Yield chunks, and report their bytes and rate."""
        for chunk in chunks:
            self._bytes += len(chunk)
            seconds = time.monotonic() - self._since
            if seconds >= _RATE_INTERVAL:
                rate = (self._bytes - self._state.bytes) / seconds
                self._since = time.monotonic()
                self._set(bytes=self._bytes, rate=rate)
            yield chunk

    def _finish_study(
        self,
        folder: StudyFolder,
        receiver: Receiver,
        stored: Mapping[str, StoredInstance],
        expected: Announced,
    ) -> None:
        """Compare what is on disk with what was announced, record it, raise if it is short."""
        count, listed = expected
        missing = tuple(i.instance_uid for i in listed if i.instance_uid not in stored)
        rejected = receiver.rejected
        short = bool(missing) or not stored or (count is not None and len(stored) < count)
        complete = not short and (count is not None or not rejected)
        folder.record_end(expected=count, complete=complete, dicom_patient=receiver.dicom_patient)
        if rejected:
            resource = f"ImagingStudy/{self.uid}"
            problems = [
                Problem(resource, "instance", part.sop_uid, f"set aside: {part.reason}")
                for part in rejected
            ]
            self._source.participant().add_problems("ImagingStudy", problems)
        if not complete:
            raise _short_of(folder, rejected, len(stored), count, missing)


def _short_of(
    folder: StudyFolder,
    rejected: Sequence[Rejected],
    stored: int,
    count: int | None,
    missing: tuple[str, ...],
) -> Incomplete | InvalidDICOM:
    """Return the error of a study that is not complete."""
    invalid = next((r.error for r in rejected if isinstance(r.error, InvalidDICOM)), None)
    if invalid is not None and all(r.error for r in rejected) and len(missing) <= len(rejected):
        return InvalidDICOM(
            f"{len(rejected)} of the study's parts are not DICOM files; {stored} instances are "
            "stored.",
            hint="connection.problems() lists them. Call again to request them once more.",
        )
    total = count or stored + (len(missing) or len(rejected))
    reasons = ", ".join(sorted({part.reason for part in rejected}))
    return Incomplete(
        f"{stored} of {total} instances were received"
        + (f", {len(rejected)} were set aside ({reasons})" if rejected else "")
        + ".",
        partial=folder.paths(),
        missing=missing or tuple(part.sop_uid for part in rejected if part.sop_uid),
    )


def announced(study: Mapping[str, Any]) -> Announced:
    """Read ``numberOfInstances`` and the lists of series of an ImagingStudy, STU3 or R4."""
    listed: list[wado.Instance] = []
    counts: list[int | None] = []
    for series in objects(study.get("series")):
        counts.append(_count(series))
        for instance in objects(series.get("instance")):
            with suppress(InvalidUID):  # it still counts by number
                listed.append(
                    wado.Instance(check_uid(series.get("uid")), check_uid(instance.get("uid")))
                )
    count = _count(study)
    if count is None and counts and None not in counts:
        count = sum(number for number in counts if number is not None)
    return Announced(count, tuple(listed) if count in (None, len(listed)) else ())


def missing_requests(
    url: str, listed: Collection[wado.Instance], stored: Collection[str]
) -> Iterator[RetrieveRequest]:
    """Yield the requests for the missing instances of a study.

    A series of which nothing is stored is one request, other instances one each.

    Args:
        url: WADO-RS address of the study.
        listed: its instances.
        stored: SOP Instance UIDs that are on disk.
    """
    partial = {instance.series_uid for instance in listed if instance.instance_uid in stored}
    requested: set[str] = set()
    for instance in listed:
        if instance.instance_uid in stored or instance.series_uid in requested:
            continue
        if instance.series_uid in partial:
            yield RetrieveRequest(wado.instance_url(url, instance), instance.instance_uid)
        else:
            requested.add(instance.series_uid)
            path, question, query = url.partition("?")
            yield RetrieveRequest(f"{path}/series/{instance.series_uid}{question}{query}", None)


def _count(resource: Mapping[str, Any]) -> int | None:
    count = resource.get("numberOfInstances")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None
