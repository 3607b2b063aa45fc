"""What the holder says about itself: SMART configuration and CapabilityStatement."""

from __future__ import annotations

from typing import Any

from .authority import SCOPES
from .data.people import Resource
from .search import OWN_PARAMETERS, PATIENT_PARAMETERS
from .state import State

OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_KINDS = {
    "_id": "token",
    "_lastUpdated": "date",
    "started": "date",
    "identifier": "token",
    "patient": "reference",
    "beneficiary": "reference",
    "startIndex": "number",
}


def oauth_urls(state: State) -> dict[str, str]:
    """The doors of the authorization server.

    ``authorize`` and ``manage`` are for the person's browser, which may have to come through
    a proxy; all else stays on loopback.
    """
    near = f"{state.fhir_origin}/oauth"
    far = f"{state.settings.public_url.rstrip('/')}/oauth" if state.settings.public_url else near
    return {
        "authorize": f"{far}/authorize",
        "token": f"{near}/token",
        "register": f"{near}/register",
        "revoke": f"{near}/revoke",
        "introspect": f"{near}/introspect",
        "manage": f"{far}/manage",
    }


def authorization_server(state: State) -> dict[str, Any]:
    """RFC 8414 metadata, the part that SMART's document shares."""
    urls = oauth_urls(state)
    return {
        "issuer": state.fhir_origin,
        "authorization_endpoint": urls["authorize"],
        "token_endpoint": urls["token"],
        "registration_endpoint": urls["register"],
        "revocation_endpoint": urls["revoke"],
        "introspection_endpoint": urls["introspect"],
        "management_endpoint": urls["manage"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic",
            "client_secret_post",
            "none",
        ],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "response_types_supported": ["code"],
        "scopes_supported": list(SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


def smart_configuration(state: State) -> dict[str, Any]:
    """SMART App Launch's discovery document, with the origin that images come from."""
    imaging = state.settings.wado or state.imaging_origin
    return {
        **authorization_server(state),
        "capabilities": [
            "launch-standalone",
            "client-public",
            "client-confidential-symmetric",
            "context-standalone-patient",
            "permission-patient",
            "permission-offline",
            "smart-imaging-access",
        ],
        "associated_endpoints": [{"url": imaging, "capabilities": ["dicom-wado-rs"]}],
    }


def statement(state: State, base: str, *, open_: bool) -> Resource:
    """The CapabilityStatement (STU3) of one base."""
    rest: Resource = {
        "mode": "server",
        "resource": [_resource(type_) for type_ in PATIENT_PARAMETERS],
    }
    if not open_:
        rest["security"] = {
            "service": [
                {
                    "coding": [
                        {
                            "system": "http://hl7.org/fhir/restful-security-service",
                            "code": "SMART-on-FHIR",
                        }
                    ]
                }
            ],
            "extension": [
                {
                    "url": OAUTH_URIS,
                    "extension": [
                        {"url": name, "valueUri": url}
                        for name, url in oauth_urls(state).items()
                        if name in ("authorize", "token", "register", "manage")
                    ],
                }
            ],
        }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-24",
        "publisher": "s4s-notebook sandbox (synthetic data)",
        "kind": "instance",
        "software": {"name": "s4s-notebook sandbox"},
        "implementation": {"description": "A practice data holder", "url": base},
        "fhirVersion": "4.0.1" if state.personality.r4_studies else "3.0.2",
        "acceptUnknown": "extensions",
        "format": ["application/fhir+json", "application/json+fhir", "json"],
        "rest": [rest],
    }


def _resource(type_: str) -> Resource:
    names = ["_id", "_lastUpdated", *PATIENT_PARAMETERS[type_], *OWN_PARAMETERS[type_]]
    made: Resource = {
        "type": type_,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "searchParam": [{"name": name, "type": _KINDS[name]} for name in [*names, "startIndex"]],
    }
    if type_ == "ImagingStudy":
        made["searchInclude"] = ["ImagingStudy:endpoint"]
    return made
