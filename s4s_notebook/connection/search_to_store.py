"""From the holder's pages to the store: nothing skipped, nothing doubled, goes on where it ended.

S4S imaging data use case, *first-connection* and *periodic-update*. The mark is the holder's own
clock when it answered the first page, less the time that answer took: whatever changes while the
pages are read is asked for again the next time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ..errors import HTTPStatusError
from ..fhir import search as fhir
from ..fhir.search import Page
from ..http.client import Transport
from ..store import Entry, Participant, Run
from ..task import Cancel, OnWait

#: Resource types in the order they are asked for, with the parameter that names the patient.
KINDS = {
    "Patient": None,
    "Coverage": "beneficiary",
    "ImagingStudy": "patient",
    "ExplanationOfBenefit": "patient",
}
_RESUMABLE = 6 * 3600.0  # seconds; after that a page address may show other pages
_FORGOTTEN = (400, 404, 410)
_SLACK = 2.0  # seconds; a Date header is cut to whole ones


class Line(NamedTuple):
    """To the holder, and what to tell while it lasts."""

    transport: Transport
    base: str
    cancel: Cancel
    on_wait: OnWait
    on_page: Callable[[int], None]


def query(kind: str, patient: str, since: str | None = None) -> list[tuple[str, str]]:
    """The parameters of the search for a type."""
    name = KINDS[kind]
    found = [] if name is None else [(name, patient)]
    return found + ([("_lastUpdated", f"gt{since}")] if since else [])


def sync(line: Line, who: Participant, kind: str, *, full: bool) -> str:
    """Bring one type up to date; gives the name of the run, by which the changes are kept.

    What came before an error stays, and the next call goes on after it.

    Args:
        full: ask for everything; what does not come is then no longer served.
    """
    run = _begin(line, who, kind, full=full)
    versions = who.versions(kind)
    began = line.transport.clock.time()
    for page in _pages(line, who, kind, run):
        upto = run.upto if run.pages else _upto(page, line.transport.clock.time() - began)
        run = run._replace(pages=run.pages + 1, next=page.next, upto=upto)
        _keep(who, kind, run, page, versions)
        line.on_page(len(page.resources))
    who.finish(kind, run, line.transport.clock.time())
    return run.run


def _begin(line: Line, who: Participant, kind: str, *, full: bool) -> Run:
    """The run that was cut off, if it is worth going on with, else a new one."""
    now = line.transport.clock.time()
    cut, mark = who.run(kind), who.mark(kind)
    if cut is not None and cut.next and (cut.full or not full):
        age = now - float(cut.run.partition("-")[0])
        if abs(age) < _RESUMABLE:
            return cut
    since = None if full or mark is None or mark.upto is None else fhir.instant(mark.upto)
    # Without a mark by the holder's clock everything is asked for, as the first time.
    whole = full or mark is None
    return Run(f"{now:.0f}-{secrets.token_hex(6)}", since, None, None, whole, 0)


def _pages(line: Line, who: Participant, kind: str, run: Run) -> Iterator[Page]:
    options: dict[str, Any] = {"cancel": line.cancel, "on_wait": line.on_wait}
    if KINDS[kind] is None:
        found = fhir.read(line.transport, line.base, kind, who.patient, **options)
        yield Page((found,), (), (), None, None, None, "")
        return
    params = query(kind, who.patient, run.since)
    if run.next:
        rest = fhir.search(line.transport, line.base, kind, params, start=run.next, **options)
        try:
            yield next(rest)
        except HTTPStatusError as error:
            # The holder forgot where we were: from the start; what is here is not kept twice.
            if error.request is None or error.request.status not in _FORGOTTEN:
                raise
        else:
            yield from rest
            return
    yield from fhir.search(line.transport, line.base, kind, params, **options)


def _upto(page: Page, took: float) -> float | None:
    """Up to when the holder has surely told all, by its own clock; None where it has none."""
    if page.date is not None:
        return page.date - max(0.0, took) - _SLACK
    told = [moment for each in page.resources if (moment := _last_updated(each)) is not None]
    return max(told) - _SLACK if told else None


def _last_updated(resource: dict[str, Any]) -> float | None:
    meta = resource.get("meta")
    text = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _keep(
    who: Participant,
    kind: str,
    run: Run,
    page: Page,
    versions: dict[str, tuple[str, bool]],
) -> None:
    """Keep what is new or changed; pages overlap, so a resource may come twice."""
    entries: list[Entry] = []
    seen: list[str] = []
    for resource in page.resources:
        key, version = fhir.key_of(resource), fhir.version_of(resource)
        before = versions.get(key)
        if before == (version, False):
            seen.append(key)
            continue
        entries.append(Entry(key, version, resource, "changed" if before else "new"))
        versions[key] = (version, False)
    included = [
        (str(each["resourceType"]), Entry(fhir.key_of(each), fhir.version_of(each), each))
        for each in page.included
    ]
    if included:
        held = {type_: who.versions(type_) for type_, _ in included}
        included = [(t, e) for t, e in included if held[t].get(e.key) != (e.version, False)]
    who.save_page(kind, run, entries, seen=seen, included=included, problems=page.problems)
