"""From an ImagingStudy to the address of its images: STU3 and R4, contained or referred to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..http import redact
from ..http.client import Transport
from ..task import Cancel

WADO_RS = "dicom-wado-rs"
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+", re.ASCII)  # leading zeros are wrong, and are met
_RESOURCE = re.compile(r"(?:.*/)?Endpoint/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")
_FHIR = "application/fhir+json, application/json+fhir;q=0.9, application/json;q=0.8"


@dataclass(frozen=True)
class WadoEndpoint:
    """Where images can be had. ``requires_token`` is None where the Endpoint does not say."""

    address: str
    requires_token: bool | None
    code: str


def check_uid(text: object) -> str:
    """The DICOM UID, without ``urn:oid:``. Raises :class:`InvalidUID`; then nothing was asked."""
    uid = text.removeprefix("urn:oid:") if isinstance(text, str) else ""
    if not _UID.fullmatch(uid) or len(uid) > 64:
        raise errors.InvalidUID(f"{redact.text(str(text), limit=80)!r} is no DICOM UID.")
    return uid


def study_uid(study: Mapping[str, Any]) -> str:
    """The Study Instance UID of an ImagingStudy, STU3 (``uid``) or R4 (``identifier``).

    Raises:
        InvalidUID: it has none, or one that is no UID.
    """
    if "uid" in study:
        return check_uid(study["uid"])
    for identifier in mappings(study.get("identifier")):
        if identifier.get("system") == "urn:dicom:uid":
            return check_uid(identifier.get("value"))
    raise errors.InvalidUID("The ImagingStudy has no Study Instance UID.")


def endpoints(
    transport: Transport,
    study: Mapping[str, Any],
    included: Sequence[Mapping[str, Any]],
    base: str,
    *,
    cancel: Cancel | None = None,
) -> list[WadoEndpoint]:
    """The WADO-RS endpoints of an ImagingStudy, real resources before bare addresses.

    Args:
        included: resources that came in the same answer.
        base: the FHIR base that the study came from, for relative references.

    Raises:
        NotDownloadable: none can be used; says why for each.
        UntrustedOrigin, BlockedAddress: the only ones lead to where nobody consented to.
    """
    found: list[WadoEndpoint] = []
    bare: list[WadoEndpoint] = []
    reasons: list[str] = []
    refusal: errors.TrustError | None = None
    for reference in _references(study):
        if re.match(r"https?://", reference) and not _RESOURCE.fullmatch(reference):
            bare.append(WadoEndpoint(reference, None, WADO_RS))
            continue
        try:
            resource = _resolve(transport, study, included, base, reference, cancel)
            found.append(_usable(resource))
        except errors.TrustError as error:
            refusal = refusal or error
        except (errors.HTTPStatusError, errors.ContentError) as error:
            reasons.append(f"{redact.url(reference)}: {error.problem}")
    if found or bare:
        return found + bare
    if refusal is not None:
        raise refusal
    raise errors.NotDownloadable(
        "The study cannot be fetched: " + ("; ".join(reasons) or "it names no endpoint.")
    )


def _references(study: Mapping[str, Any]) -> list[str]:
    """References of the study, else of its series, each once."""
    for owners in ([study], mappings(study.get("series"))):
        found = [
            reference["reference"].strip()
            for owner in owners
            for reference in mappings(owner.get("endpoint"))
            if isinstance(reference.get("reference"), str)
        ]
        if found:
            return list(dict.fromkeys(found))
    return []


def _resolve(
    transport: Transport,
    study: Mapping[str, Any],
    included: Sequence[Mapping[str, Any]],
    base: str,
    reference: str,
    cancel: Cancel | None,
) -> Mapping[str, Any]:
    """The resource behind a reference: contained, included, or read from the holder."""
    if reference.startswith("#"):
        here, wanted = mappings(study.get("contained")), reference[1:]
    else:
        match = _RESOURCE.fullmatch(reference)
        urn = reference.removeprefix("urn:uuid:")
        if match is None and urn == reference:
            raise errors.NotDownloadable("the reference leads to no Endpoint.")
        here, wanted = list(included), match[1] if match else urn
    for resource in here:
        if resource.get("id") == wanted and resource.get("resourceType") == "Endpoint":
            return resource
    if reference.startswith(("#", "urn:")):
        raise errors.NotDownloadable("what it refers to did not come.")
    url = reference if "://" in reference else f"{base.rstrip('/')}/{reference.lstrip('/')}"
    reply = transport.request("GET", url, accept=_FHIR, cancel=cancel)
    resource = reply.checked().json()
    return resource if isinstance(resource, dict) else {}


def _usable(resource: Mapping[str, Any]) -> WadoEndpoint:
    if resource.get("resourceType") != "Endpoint":
        raise errors.NotDownloadable("it is no Endpoint.")
    if resource.get("status", "active") not in ("active", "test"):
        raise errors.NotDownloadable(f"it is {redact.text(str(resource['status']), limit=20)}.")
    kinds = resource.get("connectionType")
    codes = [kind.get("code") for kind in mappings(kinds if isinstance(kinds, list) else [kinds])]
    if WADO_RS not in codes:
        raise errors.NotDownloadable("it offers no DICOMweb retrieval.")
    address = resource.get("address")
    if not isinstance(address, str) or not address.strip():
        raise errors.NotDownloadable("it has no address.")
    needs: bool | None = None
    for extension in mappings(resource.get("extension")):
        url = extension.get("url")
        if isinstance(url, str) and url.rpartition("/")[2] == "requires-access-token":
            value = extension.get("valueBoolean")
            needs = value if isinstance(value, bool) else None
    return WadoEndpoint(address.strip(), needs, WADO_RS)


def study_url(address: str, uid: str) -> str:
    """The address of a study below a WADO-RS base, which may already name the study.

    Raises:
        InvalidUID: ``uid`` is none. NotDownloadable: the address names another study.
    """
    uid = check_uid(uid)
    path, question, query = address.strip().partition("?")
    path = path.rstrip("/")
    named = re.search(r"/studies(?:/([^/]*))?$", path)
    if named is None:
        path = f"{path}/studies/{uid}"
    elif named[1] is None:
        path = f"{path}/{uid}"
    elif named[1] != uid:
        raise errors.NotDownloadable("The study's endpoint names another study.")
    return f"{path}{question}{query}"


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects in a JSON list; anything else is not there."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
