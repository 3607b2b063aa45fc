"""The endpoints that clients call: metadata, token, registration, revocation, introspection."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .authority import YEAR, OAuthError, RegisteredClient
from .context import (
    NO_STORE,
    BadBodyError,
    Handler,
    SandboxContext,
    context_of,
    read_body,
    read_form,
)
from .data.people import find_person

_METHODS = ("client_secret_basic", "client_secret_post", "none")
_SCHEMES_WITHOUT_HOST = ("javascript", "data", "file", "vbscript", "blob", "about")


def oauth_urls(context: SandboxContext) -> dict[str, str]:
    """Return the addresses of the authorization server by name.

    ``authorize`` and ``manage`` are opened in a browser, perhaps through a proxy; the client
    calls all others over loopback.
    """
    loopback = f"{context.fhir_origin}/oauth"
    public = loopback
    if context.settings.public_url:
        public = f"{context.settings.public_url.rstrip('/')}/oauth"
    return {
        "authorize": f"{public}/authorize",
        "token": f"{loopback}/token",
        "register": f"{loopback}/register",
        "revoke": f"{loopback}/revoke",
        "introspect": f"{loopback}/introspect",
        "manage": f"{public}/manage",
    }


def authorization_server(context: SandboxContext) -> dict[str, Any]:
    """Return the authorization server metadata (RFC 8414)."""
    urls = oauth_urls(context)
    return {
        "issuer": context.fhir_base,
        "authorization_endpoint": urls["authorize"],
        "token_endpoint": urls["token"],
        "registration_endpoint": urls["register"],
        "revocation_endpoint": urls["revoke"],
        "introspection_endpoint": urls["introspect"],
        "management_endpoint": urls["manage"],
        "token_endpoint_auth_methods_supported": list(_METHODS),
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "response_types_supported": ["code"],
        "scopes_supported": list(context.authority.scopes),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


def routes() -> list[Route]:
    """Return the routes of the authorization server that clients call."""
    return [
        Route("/.well-known/oauth-authorization-server/api/fhir", _metadata),
        Route("/oauth/token", _guard(_token), methods=["POST"]),
        Route("/oauth/register", _guard(_register), methods=["POST"]),
        Route("/oauth/revoke", _guard(_revoke), methods=["POST"]),
        Route("/oauth/introspect", _guard(_introspect), methods=["POST"]),
        Route("/oauth/debug/token", _guard(_debugging(_debug_token)), methods=["POST"]),
        Route("/oauth/debug/introspect", _guard(_debugging(_debug_introspect)), methods=["GET"]),
    ]


def _debugging(handler: Handler) -> Handler:
    """Return a handler that is off where everything needs a sign-in."""

    async def guarded(request: Request) -> Response:
        if not context_of(request).settings.open_access:
            raise OAuthError("access_denied", "this sandbox has no access without sign-in", 403)
        return await handler(request)

    return guarded


def _guard(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except OAuthError as error:
            return _refused(context_of(request), error)

    return guarded


def _refused(context: SandboxContext, error: OAuthError) -> Response:
    """Return the error as RFC 6749 writes it, or as the reference server of S4S does."""
    text = "description" if context.personality.s4s_errors else "error_description"
    headers = dict(NO_STORE)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="s4s-sandbox"'
    return JSONResponse(
        {"error": error.error, text: error.description}, error.status, headers=headers
    )


async def _metadata(request: Request) -> Response:
    return JSONResponse(authorization_server(context_of(request)))


async def _form(request: Request) -> dict[str, str]:
    """Return the form; raise OAuthError if a parameter is repeated."""
    try:
        pairs = await read_form(request)
    except BadBodyError as error:
        raise OAuthError("invalid_request", str(error)) from error
    if len({name for name, _ in pairs}) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is repeated")
    return dict(pairs)


def _client(request: Request, context: SandboxContext, form: Mapping[str, str]) -> RegisteredClient:
    """Return the authenticated client: HTTP Basic, secret in the form, or a public client's id."""
    basic = _basic(request.headers.get("authorization", ""))
    client_id, secrets_ = form.get("client_id", ""), [form.get("client_secret", "")]
    if basic is not None:
        if client_id and client_id not in {pair[0] for pair in basic}:
            raise OAuthError("invalid_request", "two different client_ids")
        client_id, secrets_ = basic[0][0], [pair[1] for pair in basic]
        if context.authority.client(client_id) is None:
            client_id = basic[1][0]
    client = context.authority.client(client_id)
    if client is None:
        raise OAuthError("invalid_client", "this client is not registered", 401)
    if not client.public and not any(client.verify_secret(secret) for secret in secrets_):
        raise OAuthError("invalid_client", "the client's secret is wrong or missing", 401)
    return client


def _basic(header: str) -> list[tuple[str, str]] | None:
    """Return Basic credentials as sent and form-decoded: clients do either (RFC 6749 §2.3.1)."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(rest.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OAuthError("invalid_client", "the Basic header is broken", 401) from error
    name, _, secret = text.partition(":")
    return [(name, secret), (unquote_plus(name), unquote_plus(secret))]


async def _token(request: Request) -> Response:
    context, form = context_of(request), await _form(request)
    client = _client(request, context, form)
    grant = form.get("grant_type")
    if grant == "authorization_code":
        _, response = context.authority.redeem(
            client, form.get("code", ""), form.get("redirect_uri", ""), form.get("code_verifier")
        )
    elif grant == "refresh_token":
        _, response = context.authority.refresh(
            client, form.get("refresh_token", ""), form.get("scope")
        )
    else:
        raise OAuthError("unsupported_grant_type", "authorization_code or refresh_token")
    return JSONResponse(response, headers=NO_STORE)


async def _register(request: Request) -> Response:
    context, body = context_of(request), await _json(request)
    uris = body.get("redirect_uris")
    if not isinstance(uris, list) or not 1 <= len(uris) <= 20:
        raise OAuthError("invalid_redirect_uri", "redirect_uris must list 1 to 20 addresses")
    if not all(_is_redirect_address(uri) for uri in uris):
        problem = "redirect_uris must be absolute, without a fragment, https or loopback"
        raise OAuthError("invalid_redirect_uri", problem)
    method = body.get("token_endpoint_auth_method", "client_secret_basic")
    if method not in _METHODS:
        raise OAuthError("invalid_client_metadata", f"one of {', '.join(_METHODS)}")
    name = body.get("client_name", "an app without a name")
    scope = body.get("scope", " ".join(context.authority.scopes))
    if not isinstance(name, str) or not isinstance(scope, str):
        raise OAuthError("invalid_client_metadata", "client_name and scope must be text")
    client, secret = context.authority.register(name[:100], tuple(uris), method)
    response: dict[str, Any] = {
        "client_id": client.id,
        "client_id_issued_at": int(context.settings.now()),
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": method,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": " ".join(context.authority.grantable(scope.split())),
    }
    if secret is not None:
        response |= {"client_secret": secret, "client_secret_expires_at": 0}
    return JSONResponse(response, 201, headers=NO_STORE)


def _is_redirect_address(uri: object) -> bool:
    """Return whether an address is absolute, without a fragment, and https or loopback."""
    if not isinstance(uri, str) or len(uri) > 2000 or not uri.isascii() or not uri.isprintable():
        return False
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    if not parts.scheme or "#" in uri or " " in uri or parts.scheme in _SCHEMES_WITHOUT_HOST:
        return False
    if parts.scheme == "http":
        return host in ("127.0.0.1", "localhost", "::1")
    return parts.scheme != "https" or bool(host)


async def _revoke(request: Request) -> Response:
    context, form = context_of(request), await _form(request)
    client = _client(request, context, form)
    if not form.get("token"):
        raise OAuthError("invalid_request", "token is missing")
    context.authority.revoke(client, form["token"])
    return Response(status_code=200, headers=NO_STORE)


async def _introspect(request: Request) -> Response:
    context, form = context_of(request), await _form(request)
    client = _client(request, context, form)
    result = _introspection(context, form.get("token", ""))
    if result.get("client_id") != client.id:
        result = {"active": False}
    return JSONResponse(result, headers=NO_STORE)


def _introspection(context: SandboxContext, token: str) -> dict[str, Any]:
    """Return what a token allows (RFC 7662), for access and refresh tokens.

    The names beside those of the RFC, and dates in HTTP's form, are those of the reference
    server of Sync for Science.
    """
    access = context.authority.token(token)
    approval = access.approval if access else context.authority.refresh_approval(token)
    if approval is None:
        return {"active": False}
    expires = access.expires if access else approval.expires
    return {
        "active": True,
        "client_id": approval.client_id,
        "scope": " ".join(approval.scopes),
        "patient": approval.patient_id,
        "username": _username(approval.patient_id),
        "token_type": "Bearer" if access else "refresh_token",
        "exp": int(expires),
        "approval_expires": formatdate(approval.expires, usegmt=True),
        **({"access_expires": formatdate(expires, usegmt=True)} if access else {}),
    }


def _username(patient_id: str) -> str:
    """Return a participant's account name, such as ``daniel-adams``."""
    person = find_person(patient_id)
    if person is None:
        return patient_id
    return f"{person.given_name}-{person.family_name.rpartition('-')[2]}".lower()


async def _debug_introspect(request: Request) -> Response:
    """Introspect without credentials, as the reference server of Sync for Science does."""
    context, token = context_of(request), request.query_params.get("token", "")
    result = _introspection(context, token)
    if result["active"]:
        access = "access_expires" in result
        result |= {"security_labels": [], "access_token" if access else "refresh_token": token}
    return JSONResponse(result, headers=NO_STORE)


async def _debug_token(request: Request) -> Response:
    """Issue a token without a browser, as the reference server of Sync for Science does."""
    context, body = context_of(request), await _json(request)
    patient_id = body.get("patient_id", body.get("username"))
    if patient_id not in {p.id for p in context.resources.people}:
        raise OAuthError("invalid_request", "patient_id names nobody here")
    client_id = body.get("client_id")
    if not isinstance(client_id, str) or context.authority.client(client_id) is None:
        raise OAuthError("invalid_client", "register the client first", 401)
    supported = context.authority.scopes
    scopes = context.authority.grantable(str(body.get("scope", " ".join(supported[:3]))).split())
    if not scopes:
        raise OAuthError("invalid_scope", f"ask for some of: {' '.join(supported)}")
    lifetime = _seconds(body.get("access_lifetime", context.settings.access_lifetime))
    until = body.get("approval_expires")
    seconds = YEAR if until is None else _seconds(until) - context.settings.now()
    approval = context.authority.approve(client_id, str(patient_id), scopes, seconds)
    return JSONResponse(context.authority.issue(approval, lifetime), headers=NO_STORE)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise OAuthError("invalid_request", "lifetimes are numbers of seconds")
    return float(value)


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await read_body(request))
    except (ValueError, RecursionError) as error:
        raise OAuthError("invalid_client_metadata", "the body is not JSON") from error
    if not isinstance(body, dict):
        raise OAuthError("invalid_client_metadata", "the body is not a JSON object")
    return body
