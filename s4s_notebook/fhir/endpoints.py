"""The one reader of an ImagingStudy's Endpoints: where its images are, STU3 and R4 alike.

Tables, downloads and checks all ask here, so that none of them offers what another denies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import errors
from ..http import redact
from ..task import Cancel
from .resources import check_uid, objects, read_reference

if TYPE_CHECKING:  # a table needs no HTTP
    from ..http.client import Transport

WADO_RS = "dicom-wado-rs"
_USABLE_STATUS = ("active", "test")
_FHIR = "application/fhir+json, application/json+fhir;q=0.9, application/json;q=0.8"


@dataclass(frozen=True)
class WadoEndpoint:
    """Where the images of a study are.

    Attributes:
        address: the WADO-RS base, or the address of the study below one.
        requires_token: whether the access token is to be sent; None where the Endpoint does not
            say.
        code: the code of its connectionType.
    """

    address: str
    requires_token: bool | None
    code: str


def connection_codes(endpoint: Mapping[str, Any]) -> list[str]:
    """Return the codes of ``Endpoint.connectionType``.

    It is a Coding in STU3 and R4, a list of CodeableConcepts in R5; real holders write a single
    CodeableConcept too. The system is not looked at, for it differs between versions.
    """
    return [
        coding["code"]
        for kind in objects(endpoint.get("connectionType"))
        for coding in (kind, *objects(kind.get("coding")))
        if isinstance(coding.get("code"), str)
    ]


def read_endpoint(resource: Mapping[str, Any]) -> WadoEndpoint:
    """Return the WADO-RS endpoint that a resource describes.

    Raises:
        NotDownloadable: no Endpoint, one out of service, of another type, or without an address.
    """
    if resource.get("resourceType") != "Endpoint":
        raise errors.NotDownloadable("it is no Endpoint.")
    status = resource.get("status", "active")
    if status not in _USABLE_STATUS:
        raise errors.NotDownloadable(f"it is {redact.text(str(status), limit=20)}.")
    if WADO_RS not in connection_codes(resource):
        raise errors.NotDownloadable("it offers no DICOMweb retrieval.")
    address = resource.get("address")
    if not isinstance(address, str) or not address.strip():
        raise errors.NotDownloadable("it has no address.")
    return WadoEndpoint(address.strip(), _requires_token(resource), WADO_RS)


def _requires_token(resource: Mapping[str, Any]) -> bool | None:
    required: bool | None = None
    for extension in objects(resource.get("extension")):
        url = extension.get("url")
        if isinstance(url, str) and url.rpartition("/")[2] == "requires-access-token":
            value = extension.get("valueBoolean")
            required = value if isinstance(value, bool) else None
    return required


def endpoint_references(study: Mapping[str, Any]) -> list[str]:
    """Return the references to Endpoints of the study, else of its series, each once."""
    for owners in ([study], objects(study.get("series"))):
        references = [
            reference["reference"].strip()
            for owner in owners
            for reference in objects(owner.get("endpoint"))
            if isinstance(reference.get("reference"), str)
        ]
        if references:
            return list(dict.fromkeys(references))
    return []


def is_address(reference: str) -> bool:
    """Return whether a reference is the address of the images instead of an Endpoint's."""
    return _is_absolute(reference) and not _names_endpoint(reference)


def _is_absolute(reference: str) -> bool:
    return re.match(r"https?://", reference) is not None


def _names_endpoint(reference: str) -> bool:
    target = read_reference(reference)
    return target.type == "Endpoint" and target.readable


def find_endpoint(
    study: Mapping[str, Any], included: Sequence[Mapping[str, Any]], reference: str
) -> Mapping[str, Any] | None:
    """Return the Endpoint that a reference leads to, contained or among ``included``, or None."""
    target = read_reference(reference)
    for resource in objects(study.get("contained")) if target.contained else included:
        if resource.get("id") == target.id and resource.get("resourceType") == "Endpoint":
            return resource
    return None


def endpoints(
    transport: Transport,
    study: Mapping[str, Any],
    included: Sequence[Mapping[str, Any]],
    base: str,
    *,
    cancel: Cancel | None = None,
) -> list[WadoEndpoint]:
    """Return the WADO-RS endpoints of an ImagingStudy, real resources before bare addresses.

    Args:
        transport: reads Endpoints that did not come with the study.
        study: the ImagingStudy.
        included: resources that came in the same answer.
        base: the FHIR base that the study came from, for relative references.
        cancel: stops the requests.

    Raises:
        NotDownloadable: none can be used; says why for each.
        UntrustedOrigin, BlockedAddress: the only ones lead to where nobody consented to.
    """
    usable: list[WadoEndpoint] = []
    addresses: list[WadoEndpoint] = []
    reasons: list[str] = []
    refusal: errors.TrustError | None = None
    for reference in endpoint_references(study):
        if is_address(reference):
            addresses.append(WadoEndpoint(reference, None, WADO_RS))
            continue
        try:
            resource = find_endpoint(study, included, reference)
            if resource is None:
                resource = _read(transport, base, reference, cancel)
            usable.append(read_endpoint(resource))
        except errors.TrustError as error:
            refusal = refusal or error
        except (errors.HTTPStatusError, errors.ContentError) as error:
            reasons.append(f"{redact.url(reference) or 'a contained Endpoint'}: {error.problem}")
    if usable or addresses:
        return usable + addresses
    if refusal is not None:
        raise refusal
    raise errors.NotDownloadable(
        "The study cannot be fetched: " + ("; ".join(reasons) or "it names no endpoint.")
    )


def _read(
    transport: Transport, base: str, reference: str, cancel: Cancel | None
) -> Mapping[str, Any]:
    """Read an Endpoint from the holder."""
    if reference.startswith(("#", "urn:uuid:")):
        raise errors.NotDownloadable("the resource that it refers to is missing.")
    if not _names_endpoint(reference):
        raise errors.NotDownloadable("the reference leads to no Endpoint.")
    url = reference if "://" in reference else f"{base.rstrip('/')}/{reference.lstrip('/')}"
    resource = transport.request("GET", url, accept=_FHIR, cancel=cancel).checked().json()
    return resource if isinstance(resource, dict) else {}


def contained_endpoints(study: Mapping[str, Any]) -> Iterator[WadoEndpoint | str]:
    """Yield what an ImagingStudy alone says of its endpoints, without any request.

    Yields:
        A :class:`WadoEndpoint` for each contained one that can be used, and the reference where
        it leads elsewhere. Nothing for those that cannot be used. The order is that of a
        download: Endpoints before bare addresses.
    """
    addresses: list[str] = []
    for reference in endpoint_references(study):
        if is_address(reference):
            addresses.append(reference)
        elif (resource := find_endpoint(study, (), reference)) is None:
            yield reference
        else:
            with suppress(errors.NotDownloadable):
                yield read_endpoint(resource)
    yield from addresses


def leads_to(address: str, uid: object) -> bool:
    """Return whether the images of this study can be asked for at this address."""
    try:
        study_url(address, check_uid(uid))
    except errors.ContentError:
        return False
    return True


def study_url(address: str, uid: str) -> str:
    """Return the address of a study below a WADO-RS base, which may already name the study.

    Raises:
        InvalidUID: ``uid`` is none.
        NotDownloadable: the address names another study.
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
