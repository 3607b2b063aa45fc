"""The one reader of what resources have in common: lists, UIDs, references, times, versions.

STU3 and R4 alike, and as lenient as real holders are. Whoever needs a study's UID, the id within
a reference, a date or the version of a resource calls the function here, so that a table, a
download and a check never disagree about it.
"""

from __future__ import annotations

import hashlib
import json
import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from .. import errors
from ..http import redact

UID_SYSTEMS = ("urn:dicom:uid", "urn:ietf:rfc:3986")
"""Identifier systems of a Study Instance UID: that of R4, and the one for any URN."""

#: Resource types in the order of their requests, with the search parameter of the patient.
RESOURCE_TYPES = {
    "Patient": None,
    "Coverage": "beneficiary",
    "ImagingStudy": "patient",
    "ExplanationOfBenefit": "patient",
}

#: Types that claims and coverages refer to, which no search for the patient lists.
REFERRED = ("Practitioner", "Organization")

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)  # real files have leading zeros
_FHIR_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ].*)?)?)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)


# ---------------------------------------------------------------------------- lists and objects


def objects(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of an element, whether it repeats or not.

    Args:
        value: what stands at the element: a list, an object, or anything else.

    Returns:
        The objects of a list, or the object alone; whatever is no object is left out.
    """
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict)]
    return [value] if isinstance(value, dict) else []


# ---------------------------------------------------------------------------- DICOM UIDs


def is_uid(text: object) -> bool:
    """Return whether this is a DICOM UID: digits and dots, at most 64 (DICOM PS3.5 section 9.1).

    Leading zeros are wrong there, but real files have them.
    """
    return isinstance(text, str) and len(text) <= 64 and _UID.fullmatch(text) is not None


def bare_uid(text: object) -> str:
    """Return the text of a UID without ``urn:oid:``; empty for anything that is no text."""
    return text.removeprefix("urn:oid:") if isinstance(text, str) else ""


def check_uid(text: object) -> str:
    """Return the DICOM UID, without ``urn:oid:``, if it may stand in a request.

    Raises:
        InvalidUID: it is none, or has a single component, as no UID of an archive has.
    """
    uid = bare_uid(text)
    if not is_uid(uid) or "." not in uid:
        raise errors.InvalidUID(f"{redact.text(str(text), limit=80)!r} is no DICOM UID.")
    return uid


def given_study_uid(study: Mapping[str, Any]) -> Any:
    """Return the Study Instance UID as the holder wrote it.

    Returns:
        STU3's ``uid``, else the value of R4's ``identifier`` of one of :data:`UID_SYSTEMS`, the
        first that is a UID before any other; None where there is none.
    """
    if study.get("uid") is not None:
        return study["uid"]
    identifiers = objects(study.get("identifier"))
    values = [
        identifier.get("value")
        for system in UID_SYSTEMS
        for identifier in identifiers
        if identifier.get("system") == system
    ]
    return next((value for value in values if is_uid(bare_uid(value))), next(iter(values), None))


def study_uid(study: Mapping[str, Any]) -> str:
    """Return the Study Instance UID of an ImagingStudy, STU3 or R4.

    Raises:
        InvalidUID: it has none, or one that is no UID.
    """
    uid = given_study_uid(study)
    if uid is None and "uid" not in study:
        raise errors.InvalidUID("The ImagingStudy has no Study Instance UID.")
    return check_uid(uid)


# ---------------------------------------------------------------------------- references


class Reference(NamedTuple):
    """What the text of a FHIR reference leads to.

    Attributes:
        type: the resource type before the id, empty where none is given.
        id: the id of the resource, without version.
        contained: whether the resource stands within the one that refers to it.
    """

    type: str
    id: str
    contained: bool = False

    @property
    def readable(self) -> bool:
        """Whether the holder can be asked for it by type and id."""
        return not self.contained and bool(self.type) and _FHIR_ID.fullmatch(self.id) is not None


def read_reference(text: str) -> Reference:
    """Read a reference: relative, absolute, versioned, ``urn:uuid:`` or contained.

    Spaces around it do no harm. ``urn:uuid:`` references have no type.

    >>> read_reference(" https://h/fhir/Endpoint/e1/_history/2")
    Reference(type='Endpoint', id='e1', contained=False)
    """
    text = text.strip()
    if text.startswith("#"):
        return Reference("", text[1:], contained=True)
    *path, last = text.split("/_history/")[0].rstrip("/").split("/")
    return Reference(path[-1] if path else "", last.strip().removeprefix("urn:uuid:"))


def patient_id(text: str) -> str:
    """Return the id of a patient that was given as an id or as a reference to one.

    >>> patient_id(" Patient/smart-1288992 ")
    'smart-1288992'
    """
    text = text.strip()
    return read_reference(text).id if text.startswith("Patient/") else text


def other_patient(resource: Mapping[str, Any], patient: str) -> tuple[str, str] | None:
    """Return where a resource says that it belongs to somebody else, or None.

    ``patient``, ``subject`` and ``beneficiary`` are read, and the id of a Patient. What names
    nobody, or a contained or ``urn:uuid:`` resource, says nothing of whose it is.

    Args:
        resource: STU3 or R4.
        patient: the FHIR id of the patient it should belong to.

    Returns:
        The element, and what stands there.
    """
    if resource.get("resourceType") == "Patient":
        id_ = resource.get("id", patient)
        return None if id_ == patient else ("id", str(id_))
    for element in ("patient", "subject", "beneficiary"):
        for reference in objects(resource.get(element)):
            text = reference.get("reference")
            if not isinstance(text, str) or "urn:" in text:
                continue
            target = read_reference(text)
            mine = target.type in ("", "Patient") and target.id in ("", patient)
            if not target.contained and not mine:
                return f"{element}.reference", text
    return None


# ---------------------------------------------------------------------------- dates and times


def instant(epoch: float) -> str:
    """Return POSIX seconds as a FHIR instant in UTC, cut to milliseconds (never later).

    >>> instant(1459479152.0009)
    '2016-04-01T02:52:32.000Z'
    """
    moment = datetime.fromtimestamp(epoch, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def read_date(text: str, *, last: bool = False) -> tuple[date, str]:
    """Return the calendar day as written, and a caution where a part of it is missing.

    Args:
        text: a FHIR date or dateTime.
        last: it is the end of a period: of a year or a month the last day counts, else the first
            (FHIR R4 section 2.24.0.11).

    Raises:
        ValueError: not a FHIR date or dateTime.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError("not a date")
    year, month, day = match.groups()
    try:
        first_month, first_day = (12, 31) if last else (1, 1)
        if last and month and not day:
            first_day = monthrange(int(year), int(month))[1]
        result = date(int(year), int(month or first_month), int(day or first_day))
    except ValueError as error:
        raise ValueError("not a day of the calendar") from error
    if day:
        return result, ""
    precision, end = "month" if month else "year", "last" if last else "first"
    return result, f"only the {precision} is given; its {end} day is taken"


def read_instant(text: str) -> tuple[datetime, str]:
    """Return the moment, and a caution where no zone or no time was given.

    Raises:
        ValueError: not a FHIR dateTime or instant.
    """
    if len(text) > 19 and text[10] == "T" and text[4] == text[7] == "-":
        try:  # the usual form, many times faster than what follows
            moment = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            if moment.tzinfo is not None:
                return moment, ""
    match = _TIME.fullmatch(text)
    if match is None:
        day, caution = read_date(text)
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return midnight, caution or "only the day is given; 00:00 UTC is taken"
    day_text, hour, minute, second, fraction, zone = match.groups()
    day, _ = read_date(day_text)
    seconds = min(int(second or 0), 59)  # a leap second is shown as the one before
    try:
        moment = datetime(day.year, day.month, day.day, int(hour), int(minute), seconds, tzinfo=UTC)
        moment += timedelta(microseconds=int(float(fraction or 0) * 1_000_000))
        moment -= _utc_offset(zone or "Z")
    except (ValueError, OverflowError) as error:
        raise ValueError("not a time of day") from error
    return moment, "" if zone else "no time zone is given; UTC is taken"


def _utc_offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta(0)
    sign = -1 if zone[0] == "-" else 1
    return sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))


# ---------------------------------------------------------------------------- identity and version


def key_of(resource: Mapping[str, Any]) -> str:
    """Return what two copies of a resource share: ``Type/id``, else study UID, else content.

    >>> key_of({"resourceType": "Patient", "id": "smart-1288992"})
    'Patient/smart-1288992'
    """
    kind, id_ = resource.get("resourceType"), resource.get("id")
    if isinstance(id_, str) and id_:
        return f"{kind}/{id_}"
    uid = bare_uid(given_study_uid(resource)) if kind == "ImagingStudy" else ""
    return f"{kind}/{uid or 'sha256-' + _digest(resource)}"


def version_of(resource: Mapping[str, Any]) -> str:
    """Return what two versions differ in: versionId and lastUpdated, else content."""
    meta = resource.get("meta")
    if isinstance(meta, dict):
        parts = [meta.get("versionId"), meta.get("lastUpdated")]
        texts = [part for part in parts if isinstance(part, str) and part]
        if texts:
            return " ".join(texts)
    return f"sha256-{_digest(resource)}"


def is_older(version: str, stored: str) -> bool:
    """Return whether a :func:`version_of` was last updated before another one of its resource."""
    try:
        moments = [datetime.fromisoformat(text.rpartition(" ")[2]) for text in (version, stored)]
        return moments[0] < moments[1]
    except (ValueError, TypeError):  # one of them has no time, or no zone
        return False


def _digest(resource: Mapping[str, Any]) -> str:
    text = json.dumps(resource, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
