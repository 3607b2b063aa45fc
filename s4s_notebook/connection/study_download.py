"""The download of one study: which requests it takes, and what is received and stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..dicomweb import wado
from ..dicomweb.qido import InstanceList, list_instances
from ..errors import (
    ContentError,
    HolderUnavailable,
    HTTPStatusError,
    Incomplete,
    IntegrityError,
    InvalidDICOM,
    MalformedResponse,
    NotFound,
    S4SError,
    Stalled,
    TrustError,
)
from ..fhir.endpoints import endpoints, study_url
from ..fhir.resources import is_uid, objects, read_reference
from ..http.client import Transport
from ..problems import Problem
from ..store.participant import Participant
from ..store.receive import Receiver, Rejected
from ..store.store import Store
from ..store.study_folder import StoredInstance, StudyFolder
from ..task import Cancel, Task, TaskState, Unsubscribe
from .completeness import NO_BOUND, LowerBound, Outcome, all_evidence, lower_bound

_NOT_OFFERED = frozenset({400, 403, 404, 405, 406, 410, 415, 500, 501})
_NEXT_ENDPOINT = (HTTPStatusError, HolderUnavailable, ContentError, TrustError, Stalled)
_FAILURES = 4  # attempts in a row that brought nothing
_COMPLETE_ATTEMPTS = 10  # where each sends the complete study
_PAUSE = 0.1  # seconds, doubled after each attempt that brought nothing
_MOST_REJECTED = 300  # parts of one answer
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
        Incomplete: fewer instances than announced or listed, some that did not belong, or no
            evidence that these are all.
        InvalidDICOM: what was received in their place was no DICOM.
        IntegrityError: the transfer was cut again and again, or instances were cut before it.
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
        self._set(instances=len(self._reported))
        self._call_later(self._instance_listeners, path)

    def _work(self) -> list[Path]:
        folder = self._source.store.study(self._source.participant(), self.uid)
        self._set(phase="asking", message="")
        with folder.lock(self._switch.check):
            for instance in folder.instances().values():
                self._report(folder.file(instance), instance.size)
            if not self._complete(folder):
                self._fetch(folder)
        return folder.paths()

    def _complete(self, folder: StudyFolder) -> bool:
        """Return whether all is here, also by what the holder announced since the download."""
        if not (folder.complete() and folder.evidence):
            return False
        return lower_bound(*self._source.participant().study_resources(self.uid)).met(
            folder.instances()
        )

    def _fetch(self, folder: StudyFolder) -> None:
        """Download from the first endpoint that has all, or from each of several archives."""
        source, cancel = self._source, self._switch
        transport = source.prepare(cancel, self._await_approval)
        study = source.find_study(self.uid, cancel)
        copies: Sequence[Mapping[str, Any]] = source.participant().study_resources(self.uid)
        copies = copies or [study]
        for copy in copies:
            _check_patient(copy, source.participant().patient)
        bound = lower_bound(*copies)
        self._set(instances_expected=bound.count)
        targets, error = self._targets(transport, copies)
        each = len(copies) > 1  # each resource may be of an archive of its own
        outcomes: list[Outcome] = []
        for target in targets:
            try:
                outcome = self._fetch_from(target, folder, NO_BOUND if each else bound)
            except _NEXT_ENDPOINT as failure:
                if not (outcomes and isinstance(failure, NotFound)):
                    error = error or failure
                continue
            outcomes = [*outcomes, outcome] if each else [outcome]
            if not each and outcome.proves(folder.instances(), bound):
                break
        if error is not None and (each or not outcomes):
            raise error
        self._finish_study(folder, outcomes, bound)

    def _targets(
        self, transport: Transport, copies: Sequence[Mapping[str, Any]]
    ) -> tuple[list[_Target], S4SError | None]:
        """Return the addresses of all endpoints, each once, and why one cannot be used.

        Raises:
            S4SError: none can be used.
        """
        participant, base = self._source.participant(), self._source.imaging_base()
        included = list(participant.resources("Endpoint"))
        targets: dict[str, _Target] = {}
        error: S4SError | None = None
        for copy in copies:
            try:
                usable = endpoints(transport, copy, included, base, cancel=self._switch)
                for endpoint in usable:
                    url = study_url(endpoint.address, self.uid)
                    targets[url] = _Target(transport, url, endpoint.requires_token is not False)
            except (ContentError, TrustError) as failure:
                error = error or failure
        if error is not None and not targets:
            raise error
        return list(targets.values()), error

    def _fetch_from(self, target: _Target, folder: StudyFolder, bound: LowerBound) -> Outcome:
        """Download from one endpoint; begin again after a cut, as often as that may help."""
        failures = attempts = 0
        while True:
            before, attempts = len(folder.instances()), attempts + 1
            try:
                return self._receive(target, folder, bound)
            except (IntegrityError, Stalled, HolderUnavailable) as error:
                # Without delay where some came and only what is missing is requested.
                progress = len(folder.instances()) > before
                complete_only = target.url in self._source.study_only
                failures = 0 if progress else failures + 1
                resumes = progress and not complete_only
                if failures == _FAILURES or (complete_only and attempts == _COMPLETE_ATTEMPTS):
                    raise
                if not resumes and not isinstance(error, IntegrityError):
                    raise
                if not resumes and self._switch.wait(_PAUSE * 2**failures):
                    self._switch.check()

    def _list(self, target: _Target) -> InstanceList | None:
        """Return the instances that the holder lists (QIDO-RS); None where it offers no list."""
        transport, url, token = target
        return list_instances(
            transport, url, cancel=self._switch, on_wait=self._show_wait, token=token
        )

    def _plan(
        self, target: _Target, folder: StudyFolder, bound: LowerBound, outcome: Outcome
    ) -> list[RetrieveRequest] | None:
        """Return the requests for what is missing, or None for the complete study.

        Only a list that was read to its end says what is missing. No request is needed where a
        process was killed after all had been received.
        """
        stored = folder.instances()
        if not stored:
            return None
        if folder.evidence:  # it was complete, and files were lost since
            outcome.resumed = True
            listed = tuple(wado.Instance(*uids) for uids in folder.lost())
        else:
            outcome.listing = self._list(target)
            if outcome.listing is None or not outcome.listing.exhausted:
                return [] if folder.complete() else None
            listed = outcome.listing.instances
        total = {*stored, *(instance.instance_uid for instance in listed)}
        known = {*total, *(instance.instance_uid for instance in bound.instances)}
        missing = list(missing_requests(target.url, listed, stored))
        if len(known) > len(total) or (bound.count or 0) > len(total):
            return None  # the list contradicts the ImagingStudy
        return None if missing and target.url in self._source.study_only else missing

    def _receive(self, target: _Target, folder: StudyFolder, bound: LowerBound) -> Outcome:
        outcome = Outcome()
        missing = self._plan(target, folder, bound, outcome)
        stored = len(folder.instances())
        receiver = Receiver(folder, self._report)
        outcome.rejected = receiver.rejected
        try:
            with receiver:
                if missing:
                    self._set(message=f"{stored} instances are here; requesting the others")
                    if not self._retrieve_each(target, receiver, missing):
                        missing, outcome.resumed = None, False
                if missing is None:
                    if stored:
                        self._set(message=f"skipping the {stored} instances that are here")
                    self._retrieve(target, receiver, RetrieveRequest(target.url, None))
                    outcome.transferred = True
        finally:
            self._report_rejected(receiver.rejected)
        outcome.dicom_patient = receiver.dicom_patient
        if outcome.transferred and not outcome.proves(folder.instances(), bound):
            outcome.listing = outcome.listing or self._list(target)
        return outcome

    def _retrieve_each(
        self, target: _Target, receiver: Receiver, requests: Sequence[RetrieveRequest]
    ) -> bool:
        """Retrieve series and instances; return False where the holder offers no such pieces."""
        for number, request in enumerate(requests):
            try:
                self._retrieve(target, receiver, request)
            except HTTPStatusError as error:
                status = error.request.status if error.request else None
                if status not in _NOT_OFFERED:
                    raise
                if number == 0 and not receiver.stored:
                    self._source.study_only.add(target.url)
                    return False
        return True

    def _retrieve(self, target: _Target, receiver: Receiver, request: RetrieveRequest) -> None:
        with wado.retrieve(
            target.transport,
            request.url,
            cancel=self._switch,
            on_wait=self._show_wait,
            token=target.token,
            on_foreign=lambda kind: receiver.rejected.append(Rejected(kind, "foreign")),
        ) as instances:
            self._set(phase="receiving", seconds_left=None)
            for instance in instances:
                receiver.receive(self._counted(instance.chunks()), request.sop_uid)
                if len(receiver.rejected) > _MOST_REJECTED:
                    raise MalformedResponse("Too many parts of the answer are unusable.")
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
        self, folder: StudyFolder, outcomes: Sequence[Outcome], bound: LowerBound
    ) -> None:
        """Hold what is on disk against the evidence, record it, raise if it is short."""
        stored = folder.instances()
        evidence = all_evidence(outcomes, stored, bound)
        unchecked = not evidence and folder.complete() and not folder.evidence
        if unchecked and not any(o.listing and o.listing.exhausted for o in outcomes):
            self._problem("complete", "", "recorded by version 0.1; the holder lists nothing")
            return
        if folder.lost():
            evidence = ""
        patient = outcomes[-1].dicom_patient
        folder.record_end(expected=bound.count, evidence=evidence, dicom_patient=patient)
        if bound.count is not None and len(stored) > bound.count:
            why = f"the holder has {len(stored)} instances; all of them are stored"
            self._problem("numberOfInstances", str(bound.count), why)
        if patient and self._source.participant().dicom_patients(self.uid) - {patient}:
            self._problem("PatientID", "", "differs from other studies of this participant")
        if not evidence:
            raise _short_of(folder, outcomes, bound)

    def _problem(self, path: str, value: str, why: str) -> None:
        problem = Problem(f"ImagingStudy/{self.uid}", path, value, why)
        self._source.participant().add_problems("ImagingStudy", [problem])

    def _report_rejected(self, rejected: Sequence[Rejected]) -> None:
        resource = f"ImagingStudy/{self.uid}"
        problems = [
            Problem(resource, "instance", part.sop_uid, f"set aside: {part.reason}")
            for part in rejected
        ]
        if problems:
            self._source.participant().add_problems("ImagingStudy", problems)


def _check_patient(study: Mapping[str, Any], patient: str) -> None:
    """Raise NotFound where an ImagingStudy names another Patient, STU3 or R4."""
    for name in ("patient", "subject"):
        for owner in objects(study.get(name)):
            text = owner.get("reference")
            reference = read_reference(text) if isinstance(text, str) else None
            if reference is None or reference.type not in ("Patient", ""):
                continue
            if reference.readable and reference.id != patient:
                raise NotFound("The study that the holder lists is of another patient.")


def _short_of(
    folder: StudyFolder, outcomes: Sequence[Outcome], bound: LowerBound
) -> Incomplete | InvalidDICOM | IntegrityError:
    """Return the error of a study that is not complete."""
    stored = folder.instances()
    listed = [i for o in outcomes if o.listing for i in o.listing.instances]
    missing = dict.fromkeys(i.instance_uid for i in (*bound.instances, *listed))
    missing |= dict.fromkeys(sop for _, sop in folder.lost())
    missing = {sop: None for sop in missing if sop not in stored}
    rejected = [part for outcome in outcomes for part in outcome.rejected]
    truncated = sum(isinstance(part.error, IntegrityError) for part in rejected)
    if truncated:
        return IntegrityError(
            f"{truncated} of the study's instances end too early and were set aside; "
            f"{len(stored)} instances are stored.",
        )
    invalid = any(isinstance(part.error, InvalidDICOM) for part in rejected)
    if invalid and all(part.error for part in rejected) and len(missing) <= len(rejected):
        return InvalidDICOM(
            f"{len(rejected)} of the study's parts are not DICOM files; {len(stored)} instances "
            "are stored.",
            hint="connection.problems() lists them. Call again to request them once more.",
        )
    reasons = ", ".join(sorted({part.reason for part in rejected}))
    total = max(bound.count or 0, len(stored) + len(missing))
    return Incomplete(
        (
            f"{len(stored)} of {total} instances were received"
            if total > len(stored)
            else f"{len(stored)} instances were received; nothing shows that these are all"
        )
        + (f", {len(rejected)} were set aside ({reasons})" if rejected else "")
        + ".",
        partial=folder.paths(),
        missing=tuple(missing) or tuple(p.sop_uid for p in rejected if is_uid(p.sop_uid)),
    )


def missing_requests(
    url: str, listed: Collection[wado.Instance], stored: Mapping[str, StoredInstance]
) -> Iterator[RetrieveRequest]:
    """Yield the requests for the missing instances of a study.

    A series of which nothing is stored is one request, other instances one each.

    Args:
        url: WADO-RS address of the study.
        listed: its instances.
        stored: what is on disk, by SOP Instance UID.
    """
    partial = {instance.series_uid for instance in stored.values()}
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
