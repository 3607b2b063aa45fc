"""What a CapabilityStatement says, and whether there is FHIR at an address at all.

A statement is a hint of what a holder takes; what it serves is known from its answers alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from .. import errors
from ..http.client import Transport
from ..http.response import Response
from .resources import objects
from .search import FHIR_JSON

_KINDS = ("CapabilityStatement", "Conformance")  # DSTU2 has the latter
_USUAL = ("fhir", "api/fhir", "fhir/r4", "r4", "fhir/stu3")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a holder says of itself at ``/metadata``.

    Attributes:
        body: the CapabilityStatement; empty where there is none.
    """

    body: dict[str, Any] = field(default_factory=dict)

    def takes(self, kind: str, parameter: str) -> bool:
        """Return whether it lists a search parameter, for this resource type or for all."""
        for rest in objects(self.body.get("rest")):
            types = [r for r in objects(rest.get("resource")) if r.get("type") == kind]
            for owner in (rest, *types):
                if any(p.get("name") == parameter for p in objects(owner.get("searchParam"))):
                    return True
        return False


def read_statement(transport: Transport, base: str) -> Statement:
    """Return the CapabilityStatement; an empty one where none came, for it is a hint only."""
    try:
        reply = transport.request(
            "GET", f"{base}/metadata", accept=FHIR_JSON, token=False, wait=False
        )
    except errors.Cancelled:
        raise
    except errors.S4SError:
        return Statement()
    body = _json(reply)
    return Statement(body if body.get("resourceType") in _KINDS else {})


def check_is_fhir(transport: Transport, base: str, patient: str | None) -> None:
    """Raise an error for an address without metadata that is no FHIR base.

    The Patient is evidence of one, then any FHIR resource there. Where there is none, the
    addresses that are usual on the same server are tried, without the token.

    Raises:
        DiscoveryError: another address is a FHIR base, or this one answers with web pages.
    """
    reply = transport.request(
        "GET", f"{base}/Patient/{quote(patient or '', safe='')}", accept=FHIR_JSON, wait=False
    )
    if "resourceType" in _json(reply) or reply.status in (401, 403, 429, 503):
        return
    for candidate in _candidates(base):
        if read_statement(transport, candidate).body:
            raise errors.DiscoveryError(
                f"{base} is no FHIR base.",
                request=reply.request,
                hint=f"{candidate} is one: connect to that address.",
            )
    if reply.status == 200 or reply.body.lstrip()[:1] == b"<":
        raise errors.DiscoveryError(f"{base} is no FHIR base.", request=reply.request)


def _candidates(base: str) -> list[str]:
    """Return the addresses above ``base``, then those that are usual on its server."""
    place = urlsplit(base)
    root = f"{place.scheme}://{place.netloc}"
    names = [name for name in place.path.split("/") if name]
    above = ["/".join([root, *names[:length]]) for length in range(len(names) - 1, -1, -1)]
    usual = [f"{root}/{name}" for name in _USUAL]
    return [address for address in dict.fromkeys((*above, *usual)) if address != base][:9]


def _json(reply: Response) -> dict[str, Any]:
    try:
        body = reply.json()
    except errors.MalformedResponse:
        return {}
    return body if isinstance(body, dict) else {}
