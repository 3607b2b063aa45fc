"""Where a holder's doors are: sign-in, tokens, imaging.

``{base}/.well-known/smart-configuration`` first (SMART App Launch 2.2, "Conformance"), then
``{base}/metadata``. The two are never raced: a holder must not see requests that it need not
answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .. import errors
from ..fhir.search import FHIR_JSON
from ..http.client import Transport
from ..http.origins import parse
from ..http.response import Response
from ..task import Cancel
from .metadata import DOORS, Holder, read_configuration, read_statement

__all__ = ["Holder", "check_base", "discover"]


def discover(
    transport: Transport, base: str, *, cancel: Cancel | None = None, required: bool = True
) -> Holder:
    """Ask the holder at ``base`` for its addresses; one request, two where needed.

    Args:
        required: raise where the holder offers no SMART sign-in; False gives a Holder with
            source "none", for an open holder or a token that one already has.

    Raises:
        DiscoveryError: no FHIR holder there, no sign-in, or addresses that are not safe to use.
        HolderUnavailable: no answer, or nothing but server errors.
    """
    base = check_base(base)
    found = _well_known(transport, base, cancel)
    if found.authorize is None or found.token is None:
        found = _metadata(transport, base, cancel, found, required)
    _open_doors(transport, found)
    return found


def check_base(base: str) -> str:
    """``base`` without a trailing slash. Raises DiscoveryError where it cannot be a FHIR base."""
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
        reply = _ask(transport, url, "application/json", cancel)
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
    transport: Transport, base: str, cancel: Cancel | None, known: Holder, required: bool
) -> Holder:
    """The CapabilityStatement, for what the first document left open."""
    reply = _ask(transport, f"{base}/metadata", FHIR_JSON, cancel)
    statement = _json(reply)
    # A DSTU2 server calls it Conformance; its extension is the same.
    kinds = ("CapabilityStatement", "Conformance")
    if statement is None or statement.get("resourceType") not in kinds:
        if required:
            raise _no_holder(reply, base)
        return replace(known, source="none", notes=(*known.notes, "No SMART metadata."))
    found = _read(read_statement, statement, base, reply)
    if found.authorize is None or found.token is None:
        if required:
            raise errors.DiscoveryError(
                f"{base} is a FHIR holder, but offers no SMART sign-in.",
                request=reply.request,
                hint="Pass access_token= or, for an open holder, patient= alone.",
            )
        return replace(known, fhir_version=found.fhir_version, source="none")
    if known.source == "none":
        return found
    # The first document had no sign-in, but may have told of imaging.
    doors = {door: getattr(found, door) for door in DOORS}
    return replace(known, **doors, fhir_version=found.fhir_version, source="metadata")


def _json(reply: Response) -> dict[str, Any] | None:
    """A successful answer's JSON object; None for all else, as many servers answer every
    unknown path with a web page."""
    if reply.status != 200:
        return None
    try:
        body = reply.json()
    except errors.MalformedResponse:
        return None
    return body if isinstance(body, dict) else None


def _ask(transport: Transport, url: str, accept: str, cancel: Cancel | None) -> Response:
    """The document, whatever the status; only a holder that is down is an error."""
    reply = transport.request("GET", url, accept=accept, token=False, cancel=cancel)
    if reply.status in (408, 429, 502, 503, 504):
        reply.checked()
    return reply


def _open_doors(transport: Transport, holder: Holder) -> None:
    """Let the OAuth addresses be spoken to, wherever they are; never with the access token."""
    for door in (holder.token, holder.register, holder.revoke):
        if door is not None:
            transport.origins.allow(door, tokens=False)


def _no_holder(reply: Response, base: str) -> errors.DiscoveryError:
    """Says what stands at the address instead."""
    last = base.rpartition("/")[2]
    if last in {"metadata", "Patient", "ImagingStudy"}:
        hint = f"Leave out /{last}: the base is what stands before it."
    elif reply.status in (401, 403):
        hint = "Pass access_token= if the holder has given you one."
    else:
        hint = ""
    if reply.status != 200:
        what = f"answers {reply.status} for its metadata"
    elif reply.body.lstrip()[:1] == b"<":
        what = "answers with a web page (or XML) in place of FHIR metadata"
    else:
        what = "answers with something other than FHIR metadata"
    return errors.DiscoveryError(f"{base} {what}.", request=reply.request, hint=hint)
