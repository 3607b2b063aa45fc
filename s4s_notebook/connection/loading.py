"""Searches that bring resources into the store, several types at a time.

Sync for Science, Imaging Data use case, *first-connection* and *periodic-update*: no page is
skipped, no resource stored twice, and a search that was cut off continues. The sync point is the
holder's own time when it answered the first page, less the time that answer took: whatever
changes while the pages are read is requested again the next time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ..errors import Cancelled, ContentError, HTTPStatusError, Incomplete, NotFound, S4SError
from ..fhir import search as fhir
from ..fhir.resources import REFERRED, RESOURCE_TYPES, is_older, other_patient
from ..fhir.search import Page
from ..http import redact
from ..http.client import Transport
from ..problems import Problem
from ..store.participant import Entry, Participant, Run
from ..task import Cancel, OnWait, Task, TaskState, Waiting
from ..wording import count
from .referred import REFERRING, read_referred
from .session import Session

T = TypeVar("T")
_RESUMABLE = 6 * 3600.0  # seconds; after that a page address may show other pages
_PAGE_GONE = (400, 404, 410)
_NOT_SERVED = (404, 405, 410, 501)
_SLACK = 2.0  # seconds; a Date header has full seconds only


class SearchContext(NamedTuple):
    """How a search reaches the holder, and whom it reports to."""

    transport: Transport
    base: str
    cancel: Cancel
    on_wait: OnWait
    on_page: Callable[[int], None]
    patient_base: str
    page_size: Callable[[str], int | None]
    overlap: float


def query(kind: str, patient: str, since: str | None = None) -> list[tuple[str, str]]:
    """Return the parameters of the search for a resource type."""
    name = RESOURCE_TYPES[kind]
    parameters = [] if name is None else [(name, patient)]
    return parameters + ([("_lastUpdated", f"gt{since}")] if since else [])


def sync(context: SearchContext, participant: Participant, kind: str, *, full: bool) -> str:
    """Bring one resource type up to date.

    What was received before an error remains, and the next call continues after it.

    Args:
        context: how to reach the holder.
        participant: whose resources.
        kind: resource type.
        full: request everything; what is not received is then no longer served.

    Returns:
        The id of the run, by which its changes are stored.
    """
    run = _start_run(context, participant, kind, full=full)
    versions = participant.versions(kind)
    clock = context.transport.clock
    started = clock.time()
    state = ""
    try:
        for page in _pages(context, participant, kind, run):
            until = run.until if run.pages else _sync_time(page, clock.time() - started)
            run = run._replace(pages=run.pages + 1, next=page.next, until=until)
            if not page.confirmed:
                state = "unconfirmed"
            mine = _of_patient(page, participant.patient)
            _store_page(participant, kind, run, mine, versions)
            context.on_page(len(mine.resources))
    except HTTPStatusError as error:
        state = _unserved(participant, kind, run, error)
    if not (state or versions or run.since):
        _check_patient(context, participant, kind)
    participant.finish(kind, run, clock.time(), state)
    return run.run


def _unserved(participant: Participant, kind: str, run: Run, error: HTTPStatusError) -> str:
    """Return what a status says of the whole type; raise the error where it says nothing."""
    status = error.request.status if error.request else None
    if run.pages or status not in _NOT_SERVED:
        raise error
    if RESOURCE_TYPES[kind] is not None:
        return "not served"
    if participant.versions(kind) or status == 410:
        return "gone"
    if any(map(participant.versions, RESOURCE_TYPES)):  # so the patient exists
        return "not served"
    raise error


def _check_patient(context: SearchContext, participant: Participant, kind: str) -> None:
    """Read the Patient after an empty answer: who mistypes an id is answered with one too.

    Raises:
        NotFound: the holder has neither this patient nor anything else of it.
    """
    if any(map(participant.versions, RESOURCE_TYPES)):
        return
    options: dict[str, Any] = {"cancel": context.cancel, "on_wait": context.on_wait}
    try:
        fhir.read(
            context.transport, context.patient_base, "Patient", participant.patient, **options
        )
    except NotFound as error:
        raise NotFound(
            f"No {kind} came, and the holder has no Patient of this id.",
            request=error.request,
            hint="Check the patient id.",
        ) from error
    except (HTTPStatusError, ContentError) as error:
        why = f"no {kind} came, and the Patient could not be read either: {error.problem}"
        participant.add_problems(kind, [Problem("Patient", "", "", why)])


def _of_patient(page: Page, patient: str) -> Page:
    """Return the page without the resources of other people, each reported as a problem."""
    problems = list(page.problems)

    def is_mine(resource: dict[str, Any]) -> bool:
        owner = other_patient(resource, patient)
        if owner is not None:
            element, value = owner
            why = "belongs to somebody else; it was not stored"
            key = redact.text(fhir.key_of(resource), limit=120)
            problems.append(Problem(key, element, redact.text(value, limit=80), why))
        return owner is None

    resources = tuple(filter(is_mine, page.resources))
    included = tuple(filter(is_mine, page.included))
    return replace(page, resources=resources, included=included, problems=tuple(problems))


def _start_run(context: SearchContext, participant: Participant, kind: str, *, full: bool) -> Run:
    """Return the run that was cut off, if it can be continued, else a new one."""
    now = context.transport.clock.time()
    previous, point = participant.run(kind), participant.sync_point(kind)
    if previous is not None and previous.next and (previous.full or not full):
        age = now - float(previous.run.partition("-")[0])
        if abs(age) < _RESUMABLE:
            return previous
    since = None
    if not full and point is not None and point.until is not None:
        since = fhir.instant(point.until - context.overlap)
    # Without a time by the holder's clock everything is requested, as the first time.
    everything = full or point is None
    return Run(f"{now:.0f}-{secrets.token_hex(6)}", since, None, None, everything, 0)


def _pages(context: SearchContext, participant: Participant, kind: str, run: Run) -> Iterator[Page]:
    """Yield the pages of a search, from where the run was cut off."""
    options: dict[str, Any] = {"cancel": context.cancel, "on_wait": context.on_wait}
    if RESOURCE_TYPES[kind] is None:
        resource = fhir.read(context.transport, context.base, kind, participant.patient, **options)
        yield Page((resource,), (), (), None, None, None, "")
        return
    params = query(kind, participant.patient, run.since)
    if run.next:
        remaining = fhir.search(
            context.transport, context.base, kind, params, start=run.next, **options
        )
        try:
            yield next(remaining)
        except HTTPStatusError as error:
            # The holder has dropped the page: from the start; nothing is stored twice.
            if error.request is None or error.request.status not in _PAGE_GONE:
                raise
        else:
            yield from remaining
            return
    size = context.page_size(kind)
    if size is not None:
        params.append(("_count", str(size)))
    yield from fhir.search(context.transport, context.base, kind, params, **options)


def _sync_time(page: Page, seconds: float) -> float | None:
    """Return the time, by the holder's clock, of which a page is surely complete, or None."""
    if page.date is not None:
        return page.date - max(0.0, seconds) - _SLACK
    times = [time for resource in page.resources if (time := _last_updated(resource)) is not None]
    return max(times) - _SLACK if times else None


def _last_updated(resource: dict[str, Any]) -> float | None:
    meta = resource.get("meta")
    text = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _store_page(
    participant: Participant, kind: str, run: Run, page: Page, versions: dict[str, tuple[str, bool]]
) -> None:
    """Store what is new or changed; pages may overlap, so a resource may be on two."""
    entries: list[Entry] = []
    seen: list[str] = []
    for resource in page.resources:
        key, version = fhir.key_of(resource), fhir.version_of(resource)
        previous = versions.get(key)
        stale = previous is not None and not run.full and is_older(version, previous[0])
        if previous == (version, False) or stale:
            seen.append(key)
            continue
        entries.append(Entry(key, version, resource, "changed" if previous else "new"))
        versions[key] = (version, False)
    included = [
        (
            str(resource["resourceType"]),
            Entry(fhir.key_of(resource), fhir.version_of(resource), resource),
        )
        for resource in page.included
    ]
    if included:
        stored = {type_: participant.versions(type_) for type_, _ in included}
        included = [(t, e) for t, e in included if stored[t].get(e.key) != (e.version, False)]
    participant.save_page(kind, run, entries, seen=seen, included=included, problems=page.problems)


class Loading(Task[T]):
    """A search of several types in the background; await it, or call ``result()``.

    It starts at once and gives the connection. A type that fails does not stop the others.

    Raises (from ``result()`` and ``await``):
        Incomplete: some types failed; ``.missing`` names them, ``.partial`` is the connection,
            whose tables hold what was received.
        S4SError: the one type requested failed, or all of them did.
        Cancelled: calling again continues after the last page received.

    Attributes:
        runs: the id of each type's run.
        failed: the error of each type that failed.
    """

    def __init__(
        self,
        session: Session,
        kinds: Iterable[str],
        *,
        result: T,
        update: bool = False,
        full: bool = False,
    ) -> None:
        super().__init__(TaskState())
        self._session, self._kinds, self._value = session, tuple(kinds), result
        self._update, self._full = update, full
        self._waiting: dict[str, Waiting] = {}
        self._count = 0
        self.runs: dict[str, str] = {}
        self.failed: dict[str, S4SError] = {}
        self.start()

    def _work(self) -> T:
        if not self._kinds:
            self._set(message="Everything is stored already")
            return self._value
        self._set(phase="asking")
        self._session.ready(self._switch, self._await_approval)
        self._set(phase="searching", message=f"Requesting {', '.join(self._kinds)}")
        with ThreadPoolExecutor(len(self._kinds)) as pool:
            futures = {
                kind: pool.submit(copy_context().run, self._sync, kind) for kind in self._kinds
            }
        for kind, future in futures.items():
            self._settle(kind, future.result)
        participant = self._session.participant
        if any(map(participant.versions, RESOURCE_TYPES)):  # so the patient exists
            for kind in [k for k, error in self.failed.items() if isinstance(error, NotFound)]:
                run = participant.run(kind)
                if run is None or run.next is None:  # it lacked no page, but this evidence
                    del self.failed[kind]
                    self._settle(kind, partial(self._sync, kind))
        self._read_referred()
        self._set(message=self._summary(participant))
        return self._end()

    def _summary(self, participant: Participant) -> str:
        received = count(self._count, "resource")
        if not self._update:
            return received
        runs = {kind: run for kind, run in self.runs.items() if run}
        changes = [c for kind, run in runs.items() for _, c in participant.changes(kind, run)]
        unchanged = changes.count("unchanged")
        return f"{len(changes) - unchanged:,} new, changed or gone; {unchanged:,} unchanged"

    def _read_referred(self) -> None:
        """Read the providers and payers that new or changed resources refer to."""
        session = self._session
        if not session.read_referred or not self._have_new_references():
            return
        read = partial(
            fhir.read,
            session.transport,
            session.holder.base,
            cancel=self._switch,
            on_wait=lambda w: self._report_wait("What claims refer to", w),
        )
        covered = [kind for kind in REFERRED if session.covers(kind)]
        read_referred(
            read,
            session.holder.base,
            session.participant,
            covered,
            cancel=self._switch,
            clock=session.transport.clock,
            full=self._full,
        )

    def _have_new_references(self) -> bool:
        """Return whether a search brought something, or reading was interrupted before."""
        participant = self._session.participant
        if any(participant.state(kind) == "postponed" for kind in REFERRED):
            return True
        return self._full or any(
            change in ("new", "changed")
            for kind in REFERRING
            if kind in self.runs
            for _, change in participant.changes(kind, self.runs[kind])
        )

    def _settle(self, kind: str, run: Callable[[], str]) -> None:
        try:
            self.runs[kind] = run()
        except S4SError as error:
            self.failed[kind] = error

    def _sync(self, kind: str) -> str:
        """Bring one type up to date, and return the id of the run, "" where it was already."""
        session = self._session
        base = session.holder.imaging_base if kind == "ImagingStudy" else session.holder.base
        context = SearchContext(
            session.transport,
            base,
            self._switch,
            lambda w: self._report_wait(kind, w),
            self._page,
            session.holder.base,
            session.page_size,
            session.overlap,
        )
        participant = session.participant
        with participant.sync_lock(kind, self._switch.check):
            if not self._update and participant.sync_point(kind) is not None:
                return ""  # another call received it while this one waited
            return sync(context, participant, kind, full=self._full)

    def _page(self, count: int) -> None:
        with self._guard:
            self._count += count
            self._set(message=f"{self._count} resources so far")

    def _report_wait(self, kind: str, waiting: Waiting) -> None:
        """Report the longest of the waits; the other types continue meanwhile."""
        with self._guard:
            self._waiting[kind] = waiting
            if waiting.seconds_left <= 0:
                del self._waiting[kind]
            if not self._waiting:
                self._set(phase="searching", seconds_left=None)
                return
            kind, longest = max(self._waiting.items(), key=lambda item: item[1].seconds_left)
            self._show_wait(longest)
            self._state = replace(self._state, message=f"{kind} is not ready yet")

    def _end(self) -> T:
        for error in self.failed.values():
            if isinstance(error, Cancelled):
                raise error
        if len(self.failed) == len(self._kinds):
            raise next(iter(self.failed.values()))
        if self.failed:
            kind, error = next(iter(self.failed.items()))
            raise Incomplete(
                f"{', '.join(self.failed)} could not be loaded ({kind}: {error.problem}).",
                request=error.request,
                hint="The other tables are loaded. Call again to request what is missing.",
                partial=self._value,
                missing=tuple(self.failed),
            ) from error
        return self._value
