"""FHIR search over the holding: which parameters exist, what they select, the page they make."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from .data.people import Resource
from .dates import BadDateError, matches
from .holding import patient_of

Parameters = Sequence[tuple[str, str]]
MAX_COUNT = 100

_ABOUT_ALL = ("_id", "_lastUpdated")
# Which element holds the patient that a search names.
PATIENT_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Patient": (),
    "Coverage": ("beneficiary", "patient"),
    "ImagingStudy": ("patient",),
    "ExplanationOfBenefit": ("patient",),
    "Endpoint": (),
}
OWN_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Patient": ("identifier",),
    "Coverage": ("identifier",),
    "ImagingStudy": ("identifier", "started"),
    "ExplanationOfBenefit": ("identifier",),
    "Endpoint": ("identifier",),
}
_PAGING = ("_count", "startIndex", "_format", "_pretty", "_include", "_total", "_totalMethod")


class BadSearchError(ValueError):
    """A search that the holder refuses with 400; the message goes to the client."""


@dataclass(frozen=True)
class Query:
    """A parsed search. ``patients`` is None when the search names none."""

    type: str
    patients: tuple[str, ...] | None
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    count: int
    start: int
    include_endpoint: bool
    applied: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...] = field(default=())


def parse(type_: str, parameters: Parameters, *, page_size: int, strict: bool = False) -> Query:
    """Read a search's parameters; raises BadSearchError on values that make no sense.

    Unknown parameters are ignored and reported, or refused when the client asks for
    ``Prefer: handling=strict``, as FHIR wants.
    """
    patients: list[str] = []
    filters: list[tuple[str, tuple[str, ...]]] = []
    applied: list[tuple[str, str]] = []
    ignored: list[str] = []
    named = False
    for name, value in parameters:
        if name in PATIENT_PARAMETERS[type_]:
            named = True
            patients += [part.rpartition("/")[2] for part in value.split(",")]
        elif name in _ABOUT_ALL or name in OWN_PARAMETERS[type_]:
            filters.append((name, tuple(value.split(","))))
        elif name not in _PAGING:
            ignored.append(name)
            continue
        if name not in ("_count", "startIndex"):
            applied.append((name, value))
    if ignored and strict:
        raise BadSearchError(f"unknown search parameter: {', '.join(ignored)}")
    single = dict(parameters)
    return Query(
        type=type_,
        patients=tuple(patients) if named else None,
        filters=tuple(filters),
        count=min(MAX_COUNT, _whole(single.get("_count"), page_size, "_count")),
        start=_whole(single.get("startIndex"), 0, "startIndex"),
        include_endpoint=any(
            name == "_include" and value.startswith("ImagingStudy:endpoint")
            for name, value in parameters
        ),
        applied=tuple(applied),
        ignored=tuple(ignored),
    )


def _whole(text: str | None, default: int, name: str) -> int:
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise BadSearchError(f"{name} must be a whole number, not {text[:40]!r}")
    return max(0, int(text))


def select(query: Query, resources: Sequence[Resource], now: float) -> list[Resource]:
    """The resources that fit every filter; raises BadSearchError on a bad date."""
    try:
        return [r for r in resources if all(_fits(r, f, v, now) for f, v in query.filters)]
    except BadDateError as error:
        raise BadSearchError(str(error)) from error


def _fits(resource: Resource, name: str, values: Sequence[str], now: float) -> bool:
    if name == "_id":
        return resource["id"] in values
    if name == "_lastUpdated":
        return any(matches(resource["meta"]["lastUpdated"], v, now) for v in values)
    if name == "started":
        return any(matches(str(resource.get("started", "")), v, now) for v in values)
    return any(_identified(resource, value) for value in values)


def _identified(resource: Resource, token: str) -> bool:
    """``identifier=system|value``, ``|value`` or ``value``; a study's UID counts as one."""
    system, bar, value = token.rpartition("|")
    held = [(i.get("system", ""), i.get("value", "")) for i in resource.get("identifier", ())]
    uid = str(resource.get("uid", "")).removeprefix("urn:oid:")
    if uid:
        held += [("urn:ietf:rfc:3986", f"urn:oid:{uid}"), ("urn:dicom:uid", uid), ("", uid)]
    accession = resource.get("accession")
    if accession:
        held.append((accession.get("system", ""), accession.get("value", "")))
    return any(v == value and (not bar or not system or s == system) for s, v in held)


@dataclass(frozen=True)
class PageMaker:
    """Turns selected resources into a searchset Bundle with absolute links."""

    base: str
    now: Callable[[], str]
    outcome: Callable[[str, str, str], Resource]

    def page(
        self, query: Query, found: Sequence[Resource], included: Sequence[Resource]
    ) -> Resource:
        """The page that the query asks for. A start beyond the end gives an empty page."""
        window = found[query.start : query.start + query.count]
        bundle: Resource = {
            "resourceType": "Bundle",
            "id": str(uuid.uuid4()),
            "meta": {"lastUpdated": self.now()},
            "type": "searchset",
            "total": len(found),
            "link": self._links(query, len(found)),
        }
        entries = [self._entry(resource, "match") for resource in window]
        if window:
            entries += [self._entry(resource, "include") for resource in included]
        if query.ignored:
            note = self.outcome(
                "warning", "not-supported", f"ignored: {', '.join(query.ignored)}"[:400]
            )
            entries.append({"resource": note, "search": {"mode": "outcome"}})
        if entries:
            bundle["entry"] = entries
        return bundle

    def _entry(self, resource: Resource, mode: str) -> Resource:
        entry: Resource = {"resource": resource, "search": {"mode": mode}}
        if "id" in resource:
            entry["fullUrl"] = f"{self.base}/{resource['resourceType']}/{resource['id']}"
        return entry

    def _links(self, query: Query, total: int) -> list[Resource]:
        links = [("self", query.start)]
        if query.count:
            last = max(0, (total - 1) // query.count * query.count)
            links.append(("first", 0))
            if query.start > 0:
                links.append(("previous", max(0, query.start - query.count)))
            if query.start + query.count < total:
                links.append(("next", query.start + query.count))
            links.append(("last", last))
        return [{"relation": name, "url": self._url(query, start)} for name, start in links]

    def _url(self, query: Query, start: int) -> str:
        pairs = [*query.applied, ("startIndex", str(start)), ("_count", str(query.count))]
        return f"{self.base}/{query.type}?{urlencode(pairs, quote_via=quote)}"


def of_patients(resources: Sequence[Resource], patients: Sequence[str]) -> list[Resource]:
    wanted = set(patients)
    return [resource for resource in resources if patient_of(resource) in wanted]
