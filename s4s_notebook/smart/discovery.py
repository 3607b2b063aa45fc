"""Discovery of a holder's endpoints: sign-in, tokens, imaging.

``{base}/.well-known/smart-configuration`` first (SMART App Launch 2.2, "Conformance"), then
``{base}/metadata``. The two are never raced: a holder must not see requests that it need not
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .. import errors
from ..fhir.resources import objects
from ..fhir.search import FHIR_JSON
from ..http.client import Transport
from ..http.origins import absolute, is_local, origin, parse
from ..http.response import DOCUMENT_BYTES, Response
from ..task import Cancel

_OAUTH_URIS = "oauth-uris"  # its address had two forms, both end in this
_IMAGING = "smart-imaging-access"
_WADO = "dicom-wado-rs"
_ISS = "authorization_response_iss_parameter_supported"
ENDPOINTS = {
    "authorize": "authorization_endpoint",
    "token": "token_endpoint",
    "register": "registration_endpoint",
    "revoke": "revocation_endpoint",
    "manage": "management_endpoint",
}
_GETS = {
    "authorize": "your sign-in",
    "token": "the code, the tokens and the client's secret",
    "register": "this app's registration",
    "revoke": "the tokens and the client's secret when you revoke (you are asked first)",
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
        foreign_issuer: that name where it is not the address at which these metadata were read,
            and the person has not named it: no sign-in is begun (RFC 8414 section 3.3).
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
    foreign_issuer: str = ""

    def __post_init__(self) -> None:
        if not self.imaging_base:
            object.__setattr__(self, "imaging_base", self.base)

    @property
    def sign_in_origins(self) -> dict[str, list[str]]:
        """Other origins than the holder's own that take part in the sign-in, and what they get."""
        origins: dict[str, list[str]] = {}
        for name_, gets in _GETS.items():
            url = getattr(self, name_)
            if url is not None and origin(url) != origin(self.base):
                origins.setdefault(origin(url), []).append(gets)
        return origins


def discover(
    transport: Transport, base: str, *, cancel: Cancel | None = None, required: bool = True
) -> Holder:
    """Read the holder's endpoints; one request, two where needed.

    Args:
        transport: sends the requests.
        base: the FHIR base address.
        cancel: stops the requests.
        required: raise where the holder offers no SMART sign-in; False gives a Holder with
            source "none", for an open holder or a token that one already has.

    Raises:
        DiscoveryError: no FHIR holder there, no sign-in, or addresses that are not safe to use.
        HolderUnavailable: no answer, or nothing but server errors.
    """
    base = check_base(base)
    holder = _well_known(transport, base, cancel)
    if holder.authorize is None or holder.token is None:
        holder = _metadata(transport, base, cancel, holder, required)
    issuer = holder.issuer
    # RFC 8414 section 3.1 removes a final "/": both names lead to these metadata.
    if issuer and issuer not in {base, f"{base}/", *transport.origins.named}:
        note = (
            f"Its issuer is {issuer}, not {base}: no sign-in begins unless you connect with "
            f"allow_origins=[{issuer!r}]."
        )
        holder = replace(holder, foreign_issuer=issuer, notes=(*holder.notes, note))
    _allow_endpoints(transport, holder)
    return holder


def check_base(base: str) -> str:
    """Return ``base`` without a trailing slash.

    Raises:
        DiscoveryError: it cannot be a FHIR base.
    """
    text = base.strip().rstrip("/")
    if "?" in text or "#" in text:
        raise errors.DiscoveryError("A FHIR base address has no '?' and no '#'.")
    if not text.lower().startswith(("https://", "http://")):
        raise errors.DiscoveryError("This is not a web address of a holder.")
    try:
        parse(text)
    except errors.UntrustedOrigin:
        raise errors.DiscoveryError("This is not a web address of a holder.") from None
    return text


def _well_known(transport: Transport, base: str, cancel: Cancel | None) -> Holder:
    url = f"{base}/.well-known/smart-configuration"
    try:
        reply = _get(transport, url, "application/json", cancel)
    except (errors.UntrustedOrigin, errors.MalformedResponse):
        return Holder(base)  # led off to a log-in page, or round in circles: not here
    body = _json(reply)
    return Holder(base) if body is None else _read(read_configuration, body, base, reply)


def _read(
    reader: Callable[[dict[str, Any], str], Holder],
    body: dict[str, Any],
    base: str,
    reply: Response,
) -> Holder:
    try:
        return reader(body, base)
    except errors.DiscoveryError as error:
        error.request = reply.request
        raise


def _metadata(
    transport: Transport, base: str, cancel: Cancel | None, partial: Holder, required: bool
) -> Holder:
    """Read the CapabilityStatement for what the first document does not say."""
    reply = _get(transport, f"{base}/metadata", FHIR_JSON, cancel)
    statement = _json(reply)
    # A DSTU2 server calls it Conformance; its extension is the same.
    kinds = ("CapabilityStatement", "Conformance")
    if statement is None or statement.get("resourceType") not in kinds:
        if required:
            raise _no_holder(reply, base)
        return replace(partial, source="none", notes=(*partial.notes, "No SMART metadata."))
    holder = _read(read_statement, statement, base, reply)
    if holder.authorize is None or holder.token is None:
        if required:
            raise errors.DiscoveryError(
                f"{base} is a FHIR holder, but offers no SMART sign-in.",
                request=reply.request,
                hint="Pass access_token= or, for an open holder, patient= alone.",
            )
        return replace(partial, fhir_version=holder.fhir_version, source="none")
    if partial.source == "none":
        return holder
    # The first document had no sign-in, but may have told of imaging.
    endpoints = {name_: getattr(holder, name_) for name_ in ENDPOINTS}
    return replace(partial, **endpoints, fhir_version=holder.fhir_version, source="metadata")


def _json(reply: Response) -> dict[str, Any] | None:
    """Return the JSON object of a successful answer, else None.

    Many servers answer every unknown path with a web page.
    """
    if reply.status != 200:
        return None
    try:
        body = reply.json()
    except errors.MalformedResponse:
        return None
    return body if isinstance(body, dict) else None


def _get(transport: Transport, url: str, accept: str, cancel: Cancel | None) -> Response:
    """Return the answer of any status; only an unavailable holder is an error."""
    reply = transport.request(
        "GET", url, accept=accept, token=False, cancel=cancel, max_bytes=DOCUMENT_BYTES
    )
    if reply.status in (408, 429, 502, 503, 504):
        reply.checked()
    return reply


def _allow_endpoints(transport: Transport, holder: Holder) -> None:
    """Allow requests to the OAuth addresses on any origin, never with the access token."""
    for url in (holder.token, holder.register):
        if url is not None:
            transport.origins.allow(url, tokens=False)


def _no_holder(reply: Response, base: str) -> errors.DiscoveryError:
    """Return an error that describes the answer of this address."""
    last = base.rpartition("/")[2]
    if last in {"metadata", "Patient", "ImagingStudy"}:
        hint = f"Leave out /{last}: the base is what stands before it."
    elif reply.status in (401, 403):
        hint = "Pass access_token= if the holder has given you one."
    else:
        hint = ""
    if reply.status != 200:
        problem = f"answers {reply.status} for its metadata"
    elif reply.body.lstrip()[:1] == b"<":
        problem = "answers with a web page (or XML) in place of FHIR metadata"
    else:
        problem = "answers with something other than FHIR metadata"
    return errors.DiscoveryError(f"{base} {problem}.", request=reply.request, hint=hint)


def read_configuration(body: dict[str, Any], base: str) -> Holder:
    """Return a Holder of a ``smart-configuration`` document (SMART App Launch 2.2, RFC 8414).

    Raises DiscoveryError for an address that is not https, or a promise it contradicts.
    """
    notes: list[str] = []
    methods = body.get("code_challenge_methods_supported")
    if not isinstance(methods, list):
        notes.append(_NO_PROMISE)
    endpoints: dict[str, Any] = {
        name_: _safe_url(body.get(name), name, base) for name_, name in ENDPOINTS.items()
    }
    issuer = _issuer(body, base)
    imaging_base, imaging_origins = _imaging(body, base, notes)
    return Holder(
        base,
        **endpoints,
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


def _issuer(body: dict[str, Any], base: str) -> str | None:
    """Return the issuer letter by letter, as the replies must repeat it (RFC 9207)."""
    issuer = body.get("issuer") or None
    if _safe_url(issuer, "issuer", base) is not None:
        return str(issuer)
    if body.get(_ISS) is True:
        raise errors.DiscoveryError(
            f"{base} promises to name its issuer in each reply, but has no issuer."
        )
    return None


def _imaging(body: dict[str, Any], base: str, notes: list[str]) -> tuple[str, tuple[str, ...]]:
    """Return the FHIR base for images and the other origins of images."""
    bases: list[str] = [base] if _IMAGING in _texts(body.get("capabilities")) else []
    named: list[str] = []
    for place in objects(body.get("associated_endpoints")):
        able = _texts(place.get("capabilities"))
        if _IMAGING not in able and _WADO not in able:
            continue
        url = _safe_url(place.get("url"), "associated_endpoints.url", base)
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
    """Return a Holder of a CapabilityStatement (SMART App Launch 1.0, ``oauth-uris``).

    Raises DiscoveryError for an address that is not https.
    """
    holder: dict[str, Any] = {}
    for name, value in _oauth_uris(statement):
        if name in ENDPOINTS and name not in holder:
            holder[name] = _safe_url(value, name, base)
    version = statement.get("fhirVersion")
    return Holder(
        base,
        **holder,
        fhir_version=version if isinstance(version, str) else None,
        source="metadata" if holder else "none",
        notes=(_NO_PROMISE,) if holder else (),
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
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _safe_url(url: Any, name: str, base: str) -> str | None:
    """``url`` if it is safe to use. http is for loopback, and loopback for a holder on it."""
    if url is None:
        return None
    url = url if isinstance(url, str) else ""
    try:
        # A relative address is read from where the document is (RFC 3986 section 5.1.3).
        url = absolute(f"{base}/.well-known/smart-configuration", url) if url else ""
        place = parse(url)
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
