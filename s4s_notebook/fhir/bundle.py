"""A searchset Bundle, read leniently; every problem is reported (FHIR STU3 section 2.36)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import errors
from ..http import redact
from ..http.origins import absolute
from ..http.response import Response
from ..problems import Problem
from .resources import objects, version_of


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
    """

    resources: tuple[dict[str, Any], ...]
    included: tuple[dict[str, Any], ...]
    problems: tuple[Problem, ...]
    next: str | None
    total: int | None
    date: float | None
    url: str


def read_page(reply: Response, type: str, url: str) -> Page:  # noqa: A002
    """Return a searchset Bundle as a Page (FHIR STU3 section 2.36).

    Raises:
        MalformedResponse: the response is no searchset Bundle.
    """
    body = json_object(reply)
    if body.get("resourceType") != "Bundle":
        raise errors.MalformedResponse(
            f"A {kind_of(body)} came in place of a Bundle of {type}.{_diagnosis(body)}",
            request=reply.request,
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


def _diagnosis(body: dict[str, Any]) -> str:
    words = "; ".join(filter(None, map(_issue_text, objects(body.get("issue")))))
    return f" It says: {redact.text(words, limit=300)}" if words else ""


def _issue_text(issue: dict[str, Any]) -> str:
    details = issue.get("details")
    text = details.get("text") if isinstance(details, dict) else None
    return str(issue.get("diagnostics") or text or issue.get("code") or "")
