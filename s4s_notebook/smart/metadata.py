"""What a holder says about itself, read into one shape.

A ``smart-configuration`` document (SMART App Launch 2.2, RFC 8414, RFC 9207, SMART imaging
access) or a CapabilityStatement (SMART App Launch 1.0, ``oauth-uris`` extension).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..fhir.resources import objects
from ..http.origins import is_local, origin, parse

_OAUTH_URIS = "oauth-uris"  # its address had two forms, both end in this
_IMAGING = "smart-imaging-access"
_WADO = "dicom-wado-rs"
_ISS = "authorization_response_iss_parameter_supported"
DOORS = {
    "authorize": "authorization_endpoint",
    "token": "token_endpoint",
    "register": "registration_endpoint",
    "revoke": "revocation_endpoint",
    "manage": "management_endpoint",
}
_NO_PROMISE = "The holder does not promise PKCE; S256 is sent all the same."


@dataclass(frozen=True, slots=True)
class Holder:
    """What discovery found. Every address is https, or loopback where the holder itself is.

    Attributes:
        base: FHIR base address as given, without a trailing slash.
        authorize, token, register, revoke, manage: OAuth addresses, or None.
        issuer: the holder's own name for its OAuth server; ``iss_promised`` says that each
            reply of the authorise page carries it (RFC 9207).
        pkce_methods: the methods listed; None where the holder says nothing.
        scopes, capabilities: as listed.
        imaging_base: the FHIR base for ImagingStudy; equal to ``base`` unless advertised.
        imaging_origins: other origins that discovery names for images.
        fhir_version: as in the CapabilityStatement; None where that was not read.
        source: "well-known", "metadata" or "none" (no SMART metadata).
        notes: sentences for the person.
    """

    base: str
    authorize: str | None = None
    token: str | None = None
    register: str | None = None
    revoke: str | None = None
    manage: str | None = None
    issuer: str | None = None
    iss_promised: bool = False
    pkce_methods: tuple[str, ...] | None = None
    scopes: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    imaging_base: str = ""
    imaging_origins: tuple[str, ...] = ()
    fhir_version: str | None = None
    source: str = "none"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.imaging_base:
            object.__setattr__(self, "imaging_base", self.base)


def read_configuration(body: dict[str, Any], base: str) -> Holder:
    """A ``smart-configuration`` document as a Holder (SMART App Launch 2.2, RFC 8414).

    Raises DiscoveryError for an address that is not https, or a promise it contradicts.
    """
    notes: list[str] = []
    methods = body.get("code_challenge_methods_supported")
    if not isinstance(methods, list):
        notes.append(_NO_PROMISE)
    doors = {door: _door(body.get(name), name, base) for door, name in DOORS.items()}
    issuer = _issuer(body, base, doors, notes)
    imaging_base, imaging_origins = _imaging(body, base, notes)
    return Holder(
        base,
        **doors,
        issuer=issuer,
        iss_promised=body.get(_ISS) is True,
        pkce_methods=_texts(methods) if isinstance(methods, list) else None,
        scopes=_texts(body.get("scopes_supported")),
        capabilities=_texts(body.get("capabilities")),
        imaging_base=imaging_base,
        imaging_origins=imaging_origins,
        source="well-known",
        notes=tuple(notes),
    )


def _issuer(
    body: dict[str, Any], base: str, doors: dict[str, str | None], notes: list[str]
) -> str | None:
    issuer = body.get("issuer") or None
    at = _door(issuer, "issuer", base)
    if at is None:
        if body.get(_ISS) is True:
            raise errors.DiscoveryError(
                f"{base} promises to name its issuer in each reply, but has no issuer."
            )
        return None
    near = {origin(url) for url in (base, doors["authorize"], doors["token"]) if url}
    if origin(at) not in near:
        notes.append(f"The issuer {at} is on another server than the sign-in.")
    return at


def _imaging(body: dict[str, Any], base: str, notes: list[str]) -> tuple[str, tuple[str, ...]]:
    """The FHIR base for images, and the other origins that images come from."""
    bases: list[str] = [base] if _IMAGING in _texts(body.get("capabilities")) else []
    named: list[str] = []
    for place in objects(body.get("associated_endpoints")):
        able = _texts(place.get("capabilities"))
        if _IMAGING not in able and _WADO not in able:
            continue
        url = _door(place.get("url"), "associated_endpoints.url", base)
        if url is None:
            notes.append("An associated endpoint has no address.")
            continue
        named.append(origin(url))
        if _IMAGING in able:
            bases.append(url.rstrip("/"))
    if len(bases) > 1:
        notes.append(f"Several imaging bases are named; {bases[0]} is used.")
    others = tuple(dict.fromkeys(at for at in named if at != origin(base)))
    return (bases[0] if bases else base), others


def read_statement(statement: dict[str, Any], base: str) -> Holder:
    """A CapabilityStatement as a Holder (SMART App Launch 1.0, ``oauth-uris`` extension).

    Raises DiscoveryError for an address that is not https.
    """
    found: dict[str, Any] = {}
    for name, value in _oauth_uris(statement):
        if name in DOORS and name not in found:
            found[name] = _door(value, name, base)
    version = statement.get("fhirVersion")
    return Holder(
        base,
        **found,
        fhir_version=version if isinstance(version, str) else None,
        source="metadata" if found else "none",
        notes=(_NO_PROMISE,) if found else (),
    )


def _oauth_uris(statement: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for rest in objects(statement.get("rest")):
        security = rest.get("security")
        for extension in objects(security.get("extension") if isinstance(security, dict) else None):
            if str(extension.get("url", "")).rstrip("/").rpartition("/")[2] != _OAUTH_URIS:
                continue
            for uri in objects(extension.get("extension")):
                yield str(uri.get("url", "")), uri.get("valueUri") or uri.get("valueUrl")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _door(url: Any, name: str, base: str) -> str | None:
    """``url`` if it is safe to use. http is for loopback, and loopback for a holder on it."""
    if url is None:
        return None
    try:
        place = parse(url if isinstance(url, str) else "")
    except errors.TrustError as error:
        raise _unsafe(base, name, str(error.problem)) from None
    if is_local(place.host) and not is_local(parse(base).host):
        raise _unsafe(base, name, "It leads back to your own machine.")
    return str(url)


def _unsafe(base: str, name: str, why: str) -> errors.DiscoveryError:
    return errors.DiscoveryError(
        f"{base} gives no safe address for {name}. {why}",
        hint="Nothing was sent. Show this to the holder: its metadata are wrong.",
    )
