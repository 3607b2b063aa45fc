"""The authorization server's machine side: tokens, registration, revocation, debug calls."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .authority import SCOPES, YEAR, OAuthError, RegisteredClient
from .capability import authorization_server
from .forms import BadBodyError, body_of, form_of
from .state import NO_STORE, State, state_of

Handler = Callable[[Request], Awaitable[Response]]
_METHODS = ("client_secret_basic", "client_secret_post", "none")
_SCHEMES_WITHOUT_HOST = ("javascript", "data", "file", "vbscript", "blob", "about")


def routes() -> list[Route]:
    return [
        Route("/.well-known/oauth-authorization-server", _metadata),
        Route("/oauth/token", _guard(_token), methods=["POST"]),
        Route("/oauth/register", _guard(_register), methods=["POST"]),
        Route("/oauth/revoke", _guard(_revoke), methods=["POST"]),
        Route("/oauth/introspect", _guard(_introspect), methods=["POST"]),
        Route("/oauth/debug/token", _guard(_debug_token), methods=["POST"]),
        Route("/oauth/debug/introspect", _guard(_debug_introspect), methods=["GET"]),
    ]


def _guard(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except OAuthError as error:
            return _refused(state_of(request), error)

    return guarded


def _refused(state: State, error: OAuthError) -> Response:
    """The error in the standard's words, or in those of S4S's own server."""
    text = "description" if state.personality.s4s_errors else "error_description"
    headers = dict(NO_STORE)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="s4s-sandbox"'
    return JSONResponse({"error": error.error, text: error.why}, error.status, headers=headers)


async def _metadata(request: Request) -> Response:
    return JSONResponse(authorization_server(state_of(request)))


async def _form(request: Request) -> dict[str, str]:
    """The form, each field once; raises OAuthError on anything else."""
    try:
        pairs = await form_of(request)
    except BadBodyError as error:
        raise OAuthError("invalid_request", str(error)) from error
    if len({name for name, _ in pairs}) != len(pairs):
        raise OAuthError("invalid_request", "a parameter came twice")
    return dict(pairs)


def _client(request: Request, state: State, form: Mapping[str, str]) -> RegisteredClient:
    """Who is asking: HTTP Basic, secret in the form, or a public client's id."""
    basic = _basic(request.headers.get("authorization", ""))
    client_id, secrets_ = form.get("client_id", ""), [form.get("client_secret", "")]
    if basic is not None:
        if client_id and client_id not in {pair[0] for pair in basic}:
            raise OAuthError("invalid_request", "two different client_ids")
        client_id, secrets_ = basic[0][0], [pair[1] for pair in basic]
        if state.authority.client(client_id) is None:
            client_id = basic[1][0]
    client = state.authority.client(client_id)
    if client is None:
        raise OAuthError("invalid_client", "this client is not registered", 401)
    if not client.public and not any(client.knows(secret) for secret in secrets_):
        raise OAuthError("invalid_client", "the client's secret is wrong or missing", 401)
    return client


def _basic(header: str) -> list[tuple[str, str]] | None:
    """Basic credentials, as sent and form-decoded: clients do either (RFC 6749 §2.3.1)."""
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
    state, form = state_of(request), await _form(request)
    client = _client(request, state, form)
    grant = form.get("grant_type")
    if grant == "authorization_code":
        _, made = state.authority.redeem(
            client,
            form.get("code", ""),
            form.get("redirect_uri", ""),
            form.get("code_verifier"),
        )
    elif grant == "refresh_token":
        _, made = state.authority.refresh(client, form.get("refresh_token", ""), form.get("scope"))
    else:
        raise OAuthError("unsupported_grant_type", "authorization_code or refresh_token")
    return JSONResponse(made, headers=NO_STORE)


async def _register(request: Request) -> Response:
    state, body = state_of(request), await _json(request)
    uris = body.get("redirect_uris")
    if not isinstance(uris, list) or not 1 <= len(uris) <= 20:
        raise OAuthError("invalid_redirect_uri", "redirect_uris must list 1 to 20 addresses")
    for uri in uris:
        _check_redirect(uri)
    method = body.get("token_endpoint_auth_method", "client_secret_basic")
    if method not in _METHODS:
        raise OAuthError("invalid_client_metadata", f"one of {', '.join(_METHODS)}")
    name = body.get("client_name", "an app without a name")
    scope = body.get("scope", " ".join(SCOPES))
    if not isinstance(name, str) or not isinstance(scope, str):
        raise OAuthError("invalid_client_metadata", "client_name and scope must be text")
    client, secret = state.authority.register(name[:100], tuple(uris), method)
    made: dict[str, Any] = {
        "client_id": client.id,
        "client_id_issued_at": int(state.settings.now()),
        "client_name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": method,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": " ".join(s for s in scope.split() if s in SCOPES),
    }
    if secret is not None:
        made |= {"client_secret": secret, "client_secret_expires_at": 0}
    return JSONResponse(made, 201, headers=NO_STORE)


def _check_redirect(uri: object) -> None:
    problem = "redirect_uris must be absolute, without a fragment, https or loopback"
    if not isinstance(uri, str) or len(uri) > 2000 or not uri.isascii() or not uri.isprintable():
        raise OAuthError("invalid_redirect_uri", problem)
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise OAuthError("invalid_redirect_uri", problem) from error
    if not parts.scheme or "#" in uri or " " in uri or parts.scheme in _SCHEMES_WITHOUT_HOST:
        raise OAuthError("invalid_redirect_uri", problem)
    if parts.scheme in ("http", "https") and not host:
        raise OAuthError("invalid_redirect_uri", problem)
    if parts.scheme == "http" and host not in ("127.0.0.1", "localhost", "::1"):
        raise OAuthError("invalid_redirect_uri", problem)


async def _revoke(request: Request) -> Response:
    state, form = state_of(request), await _form(request)
    client = _client(request, state, form)
    if not form.get("token"):
        raise OAuthError("invalid_request", "token is missing")
    state.authority.revoke(client, form["token"])
    return Response(status_code=200, headers=NO_STORE)


async def _introspect(request: Request) -> Response:
    state, form = state_of(request), await _form(request)
    client = _client(request, state, form)
    described = _described(state, form.get("token", ""))
    if described.get("client_id") != client.id:
        described = {"active": False}
    return JSONResponse(described, headers=NO_STORE)


def _described(state: State, token: str) -> dict[str, Any]:
    held = state.authority.token(token)
    if held is None:
        return {"active": False}
    approval = held.approval
    return {
        "active": True,
        "client_id": approval.client_id,
        "scope": " ".join(approval.scopes),
        "patient": approval.patient_id,
        "token_type": "Bearer",
        "exp": int(held.expires),
        "approval_expires": int(approval.expires),
    }


async def _debug_introspect(request: Request) -> Response:
    """S4S's reference server answers this without credentials; so do we, on loopback."""
    state = state_of(request)
    return JSONResponse(_described(state, request.query_params.get("token", "")), headers=NO_STORE)


async def _debug_token(request: Request) -> Response:
    """A token without a browser, as S4S's reference server makes them for workshops."""
    state, body = state_of(request), await _json(request)
    patient_id = body.get("patient_id", body.get("username"))
    if patient_id not in {p.id for p in state.holding.people}:
        raise OAuthError("invalid_request", "patient_id names nobody here")
    client_id = body.get("client_id")
    if not isinstance(client_id, str) or state.authority.client(client_id) is None:
        raise OAuthError("invalid_client", "register the client first", 401)
    scope = body.get("scope", "launch/patient patient/*.read offline_access")
    scopes = tuple(s for s in str(scope).split() if s in SCOPES)
    if not scopes:
        raise OAuthError("invalid_scope", f"ask for some of: {' '.join(SCOPES)}")
    lifetime = _seconds(body.get("access_lifetime", state.settings.access_lifetime))
    until = body.get("approval_expires")
    seconds = YEAR if until is None else _seconds(until) - state.settings.now()
    approval = state.authority.approve(client_id, str(patient_id), scopes, seconds)
    return JSONResponse(state.authority.issue(approval, lifetime), headers=NO_STORE)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise OAuthError("invalid_request", "lifetimes are numbers of seconds")
    return float(value)


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await body_of(request))
    except (ValueError, RecursionError) as error:
        raise OAuthError("invalid_client_metadata", "the body is not JSON") from error
    if not isinstance(body, dict):
        raise OAuthError("invalid_client_metadata", "the body is not a JSON object")
    return body
