"""FHIR search and read: pages of resources, never a short list in silence.

FHIR STU3 section 3.1.6 (search), 2.36 (Bundle); S4S imaging data use case
(first-connection, periodic-update). Read as leniently as real holders write, but whatever is
odd is reported as a Problem of its page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from .. import errors
from ..problems import Problem
from . import redact
from .answers import Reply
from .transport import Transport
from .trust import absolute
from .waiting import Cancel, OnWait

FHIR_JSON = "application/fhir+json, application/json+fhir;q=0.9, application/json;q=0.8"

MAX_PAGES = 10_000
MAX_STALE = 100  # pages in a row that bring nothing new

_ID_PARAMETERS = {"_id", "patient", "beneficiary", "subject"}
_FORBIDDEN_IN_ID = set("/?#&\\,|")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search.

    Attributes:
        resources: resources of the type asked for, in the holder's order.
        included: resources of other types that came with them.
        problems: what is odd about this page; nothing is dropped without one.
        next: the address of the next page, or None on the last; resume there.
        total: the holder's count of all matches, or None.
        date: POSIX time by the holder's clock when it answered, or None.
        url: the address of this page.
    """

    resources: tuple[dict[str, Any], ...]
    included: tuple[dict[str, Any], ...]
    problems: tuple[Problem, ...]
    next: str | None
    total: int | None
    date: float | None
    url: str


def search(
    transport: Transport,
    base: str,
    type: str,  # noqa: A002 - the FHIR word for it
    params: Sequence[tuple[str, str]],
    *,
    start: str | None = None,
    cancel: Cancel | None = None,
    on_wait: OnWait | None = None,
    max_pages: int = MAX_PAGES,
) -> Iterator[Page]:
    """Pages of ``GET {base}/{type}?{params}``, each fetched when it is asked for.

    Pages that came before an error stay good: go on with ``start=page.next`` of the last one.
    Pages may overlap; :func:`key_of` and :func:`version_of` tell the same resource.

    Args:
        params: names and values; values are percent-encoded.
        start: the address of the page to begin at instead of the first.
        max_pages: the most pages that one search may have.

    Raises:
        InvalidUID: a patient id that could change the request; nothing was asked.
        UntrustedOrigin: ``next`` leads to an origin that nobody has consented to.
        PagingLoop: ``next`` comes back to a page, or never ends.
        MalformedResponse: an answer that is no Bundle.
        HTTPStatusError, HolderUnavailable, RetryAfterTooLong, Cancelled: as the transport says.
    """
    url = start or search_url(base, type, params)
    walk = _Walk(type, whole=start is None, max_pages=max_pages)
    while url:
        walk.enter(url)
        reply = _get(transport, url, cancel, on_wait)
        page = walk.page(read_page(reply, type, url))
        yield page
        url = page.next or ""


def search_url(base: str, type: str, params: Sequence[tuple[str, str]]) -> str:  # noqa: A002
    """The address of a search's first page.

    >>> search_url("https://h/fhir", "ImagingStudy", [("patient", "smart 1+1")])
    'https://h/fhir/ImagingStudy?patient=smart%201%2B1'
    """
    for name, value in params:
        if name in _ID_PARAMETERS:
            check_id(value.removeprefix("Patient/"))
    query = urlencode(params, quote_via=quote, safe=":,/")
    return f"{base.rstrip('/')}/{quote(type, safe='')}" + (f"?{query}" if query else "")


def read(
    transport: Transport,
    base: str,
    type: str,  # noqa: A002 - the FHIR word for it
    id: str,  # noqa: A002 - the FHIR word for it
    *,
    cancel: Cancel | None = None,
    on_wait: OnWait | None = None,
) -> dict[str, Any]:
    """``GET {base}/{type}/{id}`` as a dict (FHIR STU3 section 3.1.0.1).

    Raises:
        InvalidUID: an id that could change the request; nothing was asked.
        NotFound: no such resource. Other errors as for :func:`search`.
    """
    url = f"{base.rstrip('/')}/{quote(type, safe='')}/{quote(check_id(id), safe='')}"
    reply = _get(transport, url, cancel, on_wait)
    body = _json_object(reply)
    if body.get("resourceType") != type:
        raise errors.MalformedResponse(
            f"A {_kind(body)} came in place of a {type}.", request=reply.request
        )
    return body


def check_id(text: str) -> str:
    """``text`` if it can stand in an address as one id; real ids are freer than FHIR allows.

    >>> check_id("-20140000000296--4")
    '-20140000000296--4'
    """
    bad = (
        not text.strip()
        or len(text) > 256
        or text in {".", ".."}
        or any(c in _FORBIDDEN_IN_ID or not c.isprintable() for c in text)
    )
    if bad:
        raise errors.InvalidUID(
            "This id cannot stand in a request.",
            hint="Nothing was asked. An id is 1 to 256 characters, without / \\ ? # & , |.",
        )
    return text


@dataclass
class _Walk:
    """Where a search has been: finds loops, and counts what came against ``total``."""

    type: str
    whole: bool
    max_pages: int
    visited: set[str] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    stale: int = 0

    def enter(self, url: str) -> None:
        mark = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        if mark in self.visited:
            raise errors.PagingLoop(
                f"Page {len(self.visited)} of {self.type} leads back to an earlier page."
            )
        if len(self.visited) >= self.max_pages:
            raise errors.PagingLoop(f"{self.type} has more than {self.max_pages} pages.")
        self.visited.add(mark)

    def page(self, page: Page) -> Page:
        before = len(self.seen)
        self.keys.update(key_of(each) for each in page.resources)
        self.seen.update((key_of(each), version_of(each)) for each in page.resources)
        self.stale = self.stale + 1 if len(self.seen) == before else 0
        if self.stale > MAX_STALE and page.next:
            raise errors.PagingLoop(
                f"{self.stale} pages of {self.type} in a row brought nothing new."
            )
        if page.next is None and self.whole and page.total not in (None, len(self.keys)):
            why = f"the holder counts {page.total}, but {len(self.keys)} came"
            odd = Problem("Bundle", "total", str(page.total), why)
            return replace(page, problems=(*page.problems, odd))
        return page


def read_page(reply: Reply, type: str, url: str) -> Page:  # noqa: A002
    """A searchset Bundle as a Page (FHIR STU3 section 2.36). Raises MalformedResponse."""
    body = _json_object(reply)
    if body.get("resourceType") != "Bundle":
        raise errors.MalformedResponse(
            f"A {_kind(body)} came in place of a Bundle of {type}.{_diagnosis(body)}",
            request=reply.request,
        )
    entries = body.get("entry", [])
    if not isinstance(entries, list):
        raise errors.MalformedResponse("Bundle.entry is no list.", request=reply.request)
    sorter = _Sorter(type)
    for place, entry in enumerate(entries):
        sorter.take(place, entry)
    total = body.get("total")
    if total is not None and (not isinstance(total, int) or isinstance(total, bool) or total < 0):
        sorter.report("Bundle", "total", total, "is no count")
        total = None
    return Page(
        resources=tuple(sorter.resources),
        included=tuple(sorter.included),
        problems=tuple(sorter.problems),
        next=_next(body, reply),
        total=total,
        date=reply.date,
        url=url,
    )


class _Sorter:
    """Sorts the entries of a Bundle into asked for, included, and odd."""

    def __init__(self, type: str) -> None:  # noqa: A002
        self.type = type
        self.resources: list[dict[str, Any]] = []
        self.included: list[dict[str, Any]] = []
        self.problems: list[Problem] = []
        self._urls: set[tuple[str, str]] = set()

    def report(self, resource: str, path: str, value: Any, why: str) -> None:
        self.problems.append(Problem(resource, path, redact.text(str(value), limit=80), why))

    def take(self, place: int, entry: Any) -> None:
        where = f"Bundle.entry[{place}]"
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            self.report(where, "resource", resource, "an entry without a resource")
            return
        kind = resource.get("resourceType")
        if kind == "OperationOutcome":
            self._outcome(where, resource)
            return
        if not isinstance(kind, str):
            self.report(where, "resource.resourceType", kind, "a resource without a type")
            return
        self._full_url(where, entry.get("fullUrl"), resource)
        search = entry.get("search")
        mode = search.get("mode") if isinstance(search, dict) else None
        if kind == self.type and mode != "include":
            self.resources.append(resource)
            return
        if mode == "match":
            self.report(where, "resource.resourceType", kind, f"is no {self.type}")
        self.included.append(resource)

    def _outcome(self, where: str, outcome: dict[str, Any]) -> None:
        for issue in dicts(outcome.get("issue")) or [{}]:
            why = f"the holder reports: {issue.get('severity', 'issue')}"
            self.report(where, "OperationOutcome.issue", _words(issue), redact.text(why, limit=80))

    def _full_url(self, where: str, url: Any, resource: dict[str, Any]) -> None:
        """A fullUrl may repeat only for another version (invariant bdl-7)."""
        if not isinstance(url, str):
            return
        mark = (url, version_of(resource))
        if mark in self._urls:
            self.report(where, "fullUrl", url, "stands twice in one page; both are kept")
        self._urls.add(mark)


def key_of(resource: dict[str, Any]) -> str:
    """What makes two copies the same resource: ``Type/id``; else the study UID; else content.

    >>> key_of({"resourceType": "Patient", "id": "smart-1288992"})
    'Patient/smart-1288992'
    """
    kind, id_ = resource.get("resourceType"), resource.get("id")
    if isinstance(id_, str) and id_:
        return f"{kind}/{id_}"
    if kind == "ImagingStudy":
        for uid in (resource.get("uid"), *map(_study_uid, dicts(resource.get("identifier")))):
            if isinstance(uid, str) and uid:
                return f"{kind}/{uid.removeprefix('urn:oid:')}"
    return f"{kind}/sha256-{_digest(resource)}"


def _study_uid(identifier: dict[str, Any]) -> Any:
    return identifier.get("value") if identifier.get("system") == "urn:dicom:uid" else None


def version_of(resource: dict[str, Any]) -> str:
    """What tells two versions of a resource apart: versionId and lastUpdated; else content."""
    meta = resource.get("meta")
    if isinstance(meta, dict):
        marks = [meta.get("versionId"), meta.get("lastUpdated")]
        if any(isinstance(mark, str) and mark for mark in marks):
            return " ".join(mark for mark in marks if isinstance(mark, str) and mark)
    return f"sha256-{_digest(resource)}"


def _digest(resource: dict[str, Any]) -> str:
    text = json.dumps(resource, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def instant(epoch: float) -> str:
    """POSIX seconds as a FHIR instant in UTC, cut to milliseconds (never later than given).

    >>> instant(1459479152.0009)
    '2016-04-01T02:52:32.000Z'
    """
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _next(body: dict[str, Any], reply: Reply) -> str | None:
    for link in dicts(body.get("link")):
        if link.get("relation") == "next" and link.get("url"):
            if not isinstance(link["url"], str):
                raise errors.MalformedResponse("`next` is no address.", request=reply.request)
            return absolute(reply.url, link["url"])
    return None


def _json_object(reply: Reply) -> dict[str, Any]:
    if not reply.body.strip():
        raise errors.MalformedResponse(
            "The answer is empty.",
            request=reply.request,
            hint="Some brokers send this while their archive is busy: call again in a minute.",
        )
    body = reply.json()
    if not isinstance(body, dict):
        raise errors.MalformedResponse("The answer is no FHIR resource.", request=reply.request)
    return body


def _get(transport: Transport, url: str, cancel: Cancel | None, on_wait: OnWait | None) -> Reply:
    reply = transport.request("GET", url, accept=FHIR_JSON, cancel=cancel, on_wait=on_wait)
    return reply.checked()


def _kind(body: dict[str, Any]) -> str:
    return redact.text(str(body.get("resourceType") or "JSON object without a type"), limit=60)


def _diagnosis(body: dict[str, Any]) -> str:
    words = "; ".join(filter(None, map(_words, dicts(body.get("issue")))))
    return f" It says: {redact.text(words, limit=300)}" if words else ""


def _words(issue: dict[str, Any]) -> str:
    details = issue.get("details")
    text = details.get("text") if isinstance(details, dict) else None
    return str(issue.get("diagnostics") or text or issue.get("code") or "")


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a JSON list; nothing where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
