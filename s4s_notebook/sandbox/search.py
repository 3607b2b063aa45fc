"""FHIR search (STU3): parameters, date comparison, selection, and pages of a searchset."""

from __future__ import annotations

import calendar
import datetime as dt
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from .data.people import Resource

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_SHAPE = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d{2})(-(?P<day>\d{2})"
    r"(T(?P<hour>\d{2}):(?P<minute>\d{2})(:(?P<second>\d{2})(\.(?P<part>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d{2}:\d{2})?)?)?)?",
    re.ASCII,
)
_MICRO = 1_000_000


class BadDateError(ValueError):
    """The text is no FHIR date; the message says what is valid."""


@dataclass(frozen=True)
class DateRange:
    """A half-open range of POSIX time in microseconds: a date or time with its precision."""

    low: int
    high: int


def date_range(text: str) -> DateRange:
    """Return the range of a FHIR date, dateTime or instant; ``2016-04`` is the month.

    A time without a zone is read as UTC, because the examples of Sync for Science, Imaging
    Data use case have none.

    Raises:
        BadDateError: The text is no FHIR date.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise BadDateError(
            f"{text!r} is no FHIR date (YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss[.sss]]"
            "[zone]); is the + of the zone percent-encoded as %2B?"
        )
    parts = match.groupdict()
    try:
        return _span(parts)
    except (ValueError, OverflowError) as error:
        raise BadDateError(f"{text!r} is no day of the calendar: {error}") from error


def _span(parts: dict[str, str | None]) -> DateRange:
    year, month, day = int(parts["year"] or 0), int(parts["month"] or 1), int(parts["day"] or 1)
    hour, minute = int(parts["hour"] or 0), int(parts["minute"] or 0)
    second, fraction = int(parts["second"] or 0), parts["part"] or ""
    micro = int((fraction + "000000")[:6])
    zone = dt.UTC if parts["zone"] in (None, "Z") else _zone(parts["zone"] or "")
    start = dt.datetime(year, month, day, hour, minute, second, micro, tzinfo=zone)
    low = (start - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return DateRange(low, low + _width(parts, year, month, fraction))


def _width(parts: dict[str, str | None], year: int, month: int, fraction: str) -> int:
    """Return the length of the range, which is the date's precision, in microseconds."""
    day = 86_400 * _MICRO
    if parts["month"] is None:
        return (366 if calendar.isleap(year) else 365) * day
    if parts["day"] is None:
        return calendar.monthrange(year, month)[1] * day
    if parts["hour"] is None:
        return day
    if parts["second"] is None:
        return 60 * _MICRO
    return max(1, int(_MICRO // 10 ** len(fraction)))


def _zone(text: str) -> dt.timezone:
    sign = -1 if text[0] == "-" else 1
    offset = dt.timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return dt.timezone(sign * offset)


def date_matches(value: str, criterion: str, now: float) -> bool:
    """Return whether a resource's date matches (STU3, search section 2.21.1.2).

    Args:
        value: The date in the resource. One that is no date matches nothing.
        criterion: The search value, such as ``gt2016-04-16``.
        now: POSIX time, the reference of the prefix ``ap``.

    Raises:
        BadDateError: The criterion is no date.
    """
    prefix, text = (
        (criterion[:2], criterion[2:]) if criterion[:2] in PREFIXES else ("eq", criterion)
    )
    search = date_range(text)
    try:
        resource = date_range(value)
    except BadDateError:
        return False
    return _compare(prefix, resource, search, now)


def _compare(prefix: str, value: DateRange, search: DateRange, now: float) -> bool:
    inside = search.low <= value.low and value.high <= search.high
    if prefix == "ap":
        slack = abs(int(now * _MICRO) - search.low) // 10
        return value.low < search.high + slack and value.high > search.low - slack
    return {
        "eq": inside,
        "ne": not inside,
        "gt": value.high > search.high,
        "lt": value.low < search.low,
        "ge": value.high > search.high or inside,
        "le": value.low < search.low or inside,
        "sa": value.low >= search.high,
        "eb": value.high <= search.low,
    }[prefix]


Parameters = Sequence[tuple[str, str]]
MAX_COUNT = 100

_ABOUT_ALL = ("_id", "_lastUpdated")
# The parameters that name the patient.
PATIENT_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Patient": (),
    "Coverage": ("beneficiary", "patient"),
    "ImagingStudy": ("patient",),
    "ExplanationOfBenefit": ("patient",),
    "Endpoint": (),
    "Practitioner": (),
    "Organization": (),
}
OWN_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Patient": ("identifier",),
    "Coverage": ("identifier",),
    "ImagingStudy": ("identifier", "started"),
    "ExplanationOfBenefit": ("identifier",),
    "Endpoint": ("identifier",),
    "Practitioner": ("identifier",),
    "Organization": ("identifier",),
}
_PAGING = ("_count", "startIndex", "_format", "_pretty", "_include", "_total", "_totalMethod")


class BadSearchError(ValueError):
    """A search that is refused with status 400; the message is sent to the client."""


@dataclass(frozen=True)
class SearchQuery:
    """A parsed search.

    Attributes:
        type: The resource type.
        patients: Ids of the patients in the search; None when it names none.
        filters: Names and alternative values of all other parameters.
        count: Resources in a page.
        start: Index of the first resource of the page.
        include_endpoint: Whether Endpoints are included.
        applied: The parameters for the links of the Bundle.
        ignored: Names of unknown parameters.
    """

    type: str
    patients: tuple[str, ...] | None
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    count: int
    start: int
    include_endpoint: bool
    applied: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...] = field(default=())


def parse_search(
    type_: str, parameters: Parameters, *, page_size: int, strict: bool = False
) -> SearchQuery:
    """Parse the parameters of a search.

    Args:
        type_: The resource type.
        parameters: Names and values.
        page_size: Default of ``_count``.
        strict: Whether unknown parameters are an error (``Prefer: handling=strict``).

    Raises:
        BadSearchError: A value is invalid, or a parameter is unknown and ``strict`` is set.
    """
    patients: list[str] = []
    filters: list[tuple[str, tuple[str, ...]]] = []
    applied: list[tuple[str, str]] = []
    ignored: list[str] = []
    has_patient = False
    for name, value in parameters:
        if name in PATIENT_PARAMETERS[type_]:
            has_patient = True
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
    return SearchQuery(
        type=type_,
        patients=tuple(patients) if has_patient else None,
        filters=tuple(filters),
        count=min(MAX_COUNT, _natural(single.get("_count"), page_size, "_count")),
        start=_natural(single.get("startIndex"), 0, "startIndex"),
        include_endpoint=any(
            name == "_include" and value.startswith("ImagingStudy:endpoint")
            for name, value in parameters
        ),
        applied=tuple(applied),
        ignored=tuple(ignored),
    )


def _natural(text: str | None, default: int, name: str) -> int:
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise BadSearchError(f"{name} must be a whole number, not {text[:40]!r}")
    return max(0, int(text))


def select_resources(
    query: SearchQuery, resources: Sequence[Resource], now: float
) -> list[Resource]:
    """Return the resources that match every filter.

    Raises:
        BadSearchError: A date is invalid.
    """
    try:
        return [
            r for r in resources if all(_matches_filter(r, f, v, now) for f, v in query.filters)
        ]
    except BadDateError as error:
        raise BadSearchError(str(error)) from error


def _matches_filter(resource: Resource, name: str, values: Sequence[str], now: float) -> bool:
    if name == "_id":
        return resource["id"] in values
    if name == "_lastUpdated":
        return any(date_matches(resource["meta"]["lastUpdated"], v, now) for v in values)
    if name == "started":
        return any(date_matches(str(resource.get("started", "")), v, now) for v in values)
    return any(_matches_identifier(resource, value) for value in values)


def _matches_identifier(resource: Resource, token: str) -> bool:
    """Return whether ``system|value``, ``|value`` or ``value`` is an identifier.

    The UID and the accession number of a study count as identifiers.
    """
    system, bar, value = token.rpartition("|")
    identifiers = [
        (i.get("system", ""), i.get("value", "")) for i in resource.get("identifier", ())
    ]
    uid = str(resource.get("uid", "")).removeprefix("urn:oid:")
    if uid:
        identifiers += [("urn:ietf:rfc:3986", f"urn:oid:{uid}"), ("urn:dicom:uid", uid), ("", uid)]
    accession = resource.get("accession")
    if accession:
        identifiers.append((accession.get("system", ""), accession.get("value", "")))
    return any(v == value and (not bar or not system or s == system) for s, v in identifiers)


@dataclass(frozen=True)
class BundleBuilder:
    """A builder of searchset Bundles with absolute links.

    Attributes:
        base: The FHIR base.
        now: Returns the present time as a FHIR instant.
        outcome: Returns an OperationOutcome for severity, code and text.
    """

    base: str
    now: Callable[[], str]
    outcome: Callable[[str, str, str], Resource]

    def page(
        self, query: SearchQuery, resources: Sequence[Resource], included: Sequence[Resource]
    ) -> Resource:
        """Return one page as a Bundle; a start beyond the end gives an empty page."""
        window = resources[query.start : query.start + query.count]
        bundle: Resource = {
            "resourceType": "Bundle",
            "id": str(uuid.uuid4()),
            "meta": {"lastUpdated": self.now()},
            "type": "searchset",
            "total": len(resources),
            "link": self._links(query, len(resources)),
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

    def _links(self, query: SearchQuery, total: int) -> list[Resource]:
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

    def _url(self, query: SearchQuery, start: int) -> str:
        pairs = [*query.applied, ("startIndex", str(start)), ("_count", str(query.count))]
        return f"{self.base}/{query.type}?{urlencode(pairs, quote_via=quote)}"
