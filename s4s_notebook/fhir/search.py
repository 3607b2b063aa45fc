"""FHIR search and read: pages of resources, never a short list in silence.

FHIR STU3 section 3.1.6 (search), 2.36 (Bundle); S4S imaging data use case
(first-connection, periodic-update). Read as leniently as real holders write, but whatever
is wrong is reported as a Problem of its page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from .. import errors
from ..http import redact
from ..http.client import Transport
from ..http.origins import absolute, parse
from ..http.response import Response
from ..problems import Problem
from ..task import Cancel, OnWait
from .resources import instant, key_of, objects, version_of


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search.

    Attributes:
        resources: resources of the requested type, in the holder's order.
        included: resources of other types that came with them.
        problems: what is wrong with this page; nothing is dropped without one.
        next: the address of the next page, or None on the last; resume there.
        total: the holder's count of all matches, or None.
        date: POSIX time by the holder's clock when it answered, or None.
        url: the address of this page.
        confirmed: False where an error was read as "no match": that is no evidence of it.
    """

    resources: tuple[dict[str, Any], ...]
    included: tuple[dict[str, Any], ...]
    problems: tuple[Problem, ...]
    next: str | None
    total: int | None
    date: float | None
    url: str
    confirmed: bool = True


def read_page(reply: Response, type: str, url: str) -> Page:  # noqa: A002
    """Return a searchset Bundle as a Page (FHIR STU3 section 2.36).

    Raises:
        MalformedResponse: the response is no searchset Bundle.
    """
    body = json_object(reply)
    if body.get("resourceType") != "Bundle":
        raise errors.MalformedResponse(
            f"A {kind_of(body)} came in place of a Bundle of {type}.",
            request=reply.request,
            holder_said=_diagnosis(body, reply),
        )
    entries = body.get("entry", [])
    if not isinstance(entries, list):
        raise errors.MalformedResponse("Bundle.entry is no list.", request=reply.request)
    sorter = _Sorter(type)
    for position, entry in enumerate(entries):
        sorter.take(position, entry)
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
    """Sorts the entries of a Bundle into requested, included, and problems."""

    def __init__(self, type: str) -> None:  # noqa: A002
        self.type = type
        self.resources: list[dict[str, Any]] = []
        self.included: list[dict[str, Any]] = []
        self.problems: list[Problem] = []
        self._urls: set[tuple[str, str]] = set()

    def report(self, resource: str, path: str, value: Any, why: str) -> None:
        self.problems.append(Problem(resource, path, redact.text(str(value), limit=80), why))

    def take(self, position: int, entry: Any) -> None:
        where = f"Bundle.entry[{position}]"
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
        for issue in objects(outcome.get("issue")) or [{}]:
            why = f"the holder reports: {issue.get('severity', 'issue')}"
            self.report(
                where, "OperationOutcome.issue", _issue_text(issue), redact.text(why, limit=80)
            )

    def _full_url(self, where: str, url: Any, resource: dict[str, Any]) -> None:
        """Report a fullUrl that repeats for the same version (invariant bdl-7)."""
        if not isinstance(url, str):
            return
        version = (url, version_of(resource))
        if version in self._urls:
            self.report(where, "fullUrl", url, "stands twice in one page; both are kept")
        self._urls.add(version)


def _next(body: dict[str, Any], reply: Response) -> str | None:
    for link in objects(body.get("link")):
        if link.get("relation") == "next" and link.get("url"):
            if not isinstance(link["url"], str):
                raise errors.MalformedResponse("`next` is no address.", request=reply.request)
            try:
                return absolute(reply.url, link["url"])
            except errors.UntrustedOrigin:
                return link["url"]  # this page is good; asking for the next one says what is not
    return None


def json_object(reply: Response) -> dict[str, Any]:
    """Return the JSON object of a response.

    Raises:
        MalformedResponse: it is empty, or no JSON object.
    """
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


def kind_of(body: dict[str, Any]) -> str:
    """Return the resource type as safe text."""
    return redact.text(str(body.get("resourceType") or "JSON object without a type"), limit=60)


def _diagnosis(body: dict[str, Any], reply: Response) -> str:
    words = "; ".join(filter(None, map(_issue_text, objects(body.get("issue")))))
    return redact.holder_said(words, reply.sent)


def _issue_text(issue: dict[str, Any]) -> str:
    details = issue.get("details")
    text = details.get("text") if isinstance(details, dict) else None
    return str(issue.get("diagnostics") or text or issue.get("code") or "")


__all__ = [
    "FHIR_JSON",
    "Page",
    "check_id",
    "instant",
    "key_of",
    "read",
    "search",
    "search_url",
    "version_of",
]

FHIR_JSON = "application/fhir+json, application/json+fhir;q=0.9, application/json;q=0.8"

MAX_PAGES = 10_000
MAX_STALE = 100  # pages in a row that bring nothing new

#: All that a broker of 2018 says in a 500 that means "none"; any other text is an error.
_NO_STUDIES = re.compile(
    r"no (imaging )?(studies|study)( (were )?found)?( for (this|the) patient)?[.!]?", re.IGNORECASE
)
_ID_PARAMETERS = {"_id", "patient", "beneficiary", "subject"}
_FORBIDDEN_IN_ID = set("/?#&\\,|")


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
    """Yield the pages of ``GET {base}/{type}?{params}``, each fetched when it is needed.

    Pages that came before an error stay good: go on with ``start=page.next`` of the last one.
    Pages may overlap; :func:`key_of` and :func:`version_of` tell the same resource.

    Args:
        transport: sends the requests.
        base: the FHIR base of the holder.
        type: the resource type.
        params: names and values; values are percent-encoded.
        start: the address of the page to begin at instead of the first.
        cancel: stops the search.
        on_wait: called while the holder makes us wait.
        max_pages: the most pages that one search may have.

    Raises:
        InvalidUID: a patient id that could change the request; nothing was asked.
        UntrustedOrigin: ``next`` leads to an origin that nobody has consented to.
        PagingLoop: ``next`` comes back to a page, or never ends.
        MalformedResponse: an answer that is no Bundle.
        HTTPStatusError, HolderUnavailable, RetryAfterTooLong, Cancelled: as the transport says.
    """
    url = start or search_url(base, type, params)
    progress = _Progress(type, complete=start is None, max_pages=max_pages)
    while url:
        progress.start_page(url)
        reply = transport.request("GET", url, accept=FHIR_JSON, cancel=cancel, on_wait=on_wait)
        page = progress.page(_no_studies(reply, type, url) or read_page(reply.checked(), type, url))
        yield page
        url = page.next or ""
        if url:
            _check_next(url, reply)


def _check_next(url: str, reply: Response) -> None:
    """Raise UntrustedOrigin or BlockedAddress for what is no address, with the page's request."""
    try:
        parse(url)
    except errors.TrustError as error:
        error.request = reply.request
        raise


def search_url(base: str, type: str, params: Sequence[tuple[str, str]]) -> str:  # noqa: A002
    """Return the address of a search's first page.

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
    """Return ``GET {base}/{type}/{id}`` as a dict (FHIR STU3 section 3.1.0.1).

    Raises:
        InvalidUID: an id that could change the request; nothing was asked.
        NotFound: no such resource. Other errors as for :func:`search`.
    """
    url = f"{base.rstrip('/')}/{quote(type, safe='')}/{quote(check_id(id), safe='')}"
    reply = transport.request("GET", url, accept=FHIR_JSON, cancel=cancel, on_wait=on_wait)
    body = json_object(reply.checked())
    if body.get("resourceType") != type:
        raise errors.MalformedResponse(
            f"A {kind_of(body)} came in place of a {type}.", request=reply.request
        )
    if body.get("id", id) != id:
        raise errors.MalformedResponse(
            f"Another {type} came than the requested one.", request=reply.request
        )
    return body


def check_id(text: str) -> str:
    """Return ``text`` if it can stand in an address as one id; real ids are freer than FHIR allows.

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
class _Progress:
    """The pages of a search so far: detects loops, and compares the count with ``total``."""

    type: str
    complete: bool
    max_pages: int
    visited: set[str] = field(default_factory=set)
    seen: set[tuple[str, str]] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    stale: int = 0

    def start_page(self, url: str) -> None:
        digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        count = len(self.visited)
        if digest in self.visited:
            raise _paging_loop(f"Page {count} of {self.type} leads back to an earlier page.", url)
        if count >= self.max_pages:
            raise _paging_loop(f"{self.type} has more than {self.max_pages} pages.", url)
        if self.stale > MAX_STALE:
            raise _paging_loop(
                f"{self.stale} pages of {self.type} in a row brought nothing new.", url
            )
        self.visited.add(digest)

    def page(self, page: Page) -> Page:
        before = len(self.seen)
        for resource in page.resources:
            key = key_of(resource)
            self.keys.add(key)
            self.seen.add((key, version_of(resource)))
        self.stale = self.stale + 1 if len(self.seen) == before else 0
        if page.next is None and self.complete and page.total not in (None, len(self.keys)):
            why = f"the holder counts {page.total}, but {len(self.keys)} came"
            problem = Problem("Bundle", "total", str(page.total), why)
            return replace(page, problems=(*page.problems, problem))
        return page


def _paging_loop(problem: str, url: str) -> errors.PagingLoop:
    return errors.PagingLoop(problem, request=errors.Request("GET", redact.url(url)))


def _no_studies(reply: Response, type: str, url: str) -> Page | None:  # noqa: A002
    """Return an empty page where a status of 500 only means "no studies" (S4S broker, 2018)."""
    if reply.status != 500 or type != "ImagingStudy":
        return None
    words = _whole_text(reply)
    if _NO_STUDIES.fullmatch(words) is None:
        return None
    problem = Problem(type, "", words, "a status of 500 that says so was read as no match")
    return Page((), (), (problem,), None, None, reply.date, url, confirmed=False)


def _whole_text(reply: Response) -> str:
    """Return all the words of an error: those of its one issue or member, else its body."""
    try:
        body = reply.json()
    except errors.MalformedResponse:
        return reply.body[:200].decode("utf-8", "replace").strip()
    if isinstance(body, dict):
        issues = objects(body.get("issue"))
        values = [_issue_text(issue) for issue in issues] if issues else list(body.values())
        body = values[0] if len(values) == 1 else None
    return body.strip() if isinstance(body, str) else ""
