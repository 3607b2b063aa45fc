"""SMART on FHIR, step by step: register, sign in, exchange the code, revoke.

SMART App Launch 1.0 and 2.2 (standalone launch, confidential and public clients), RFC 7591
(registration), RFC 6749 (code grant), RFC 7009 (revocation).
"""

from __future__ import annotations

from dataclasses import replace

from .. import errors
from ..http.client import Transport
from ..http.origins import parse
from ..http.redact import Secret
from ..http.retry import RetryState
from ..task import Cancel
from .authorization import SCOPE, Login, challenge
from .discovery import Holder
from .token_endpoint import (
    Client,
    Grant,
    error_code,
    oauth_error,
    read_grant,
    refusal,
    request_token,
)

__all__ = [
    "SCOPE",
    "Client",
    "Grant",
    "Login",
    "Secret",
    "challenge",
    "exchange",
    "register",
    "revoke",
]

_CODE_LIFE = 90.0  # seconds that a put-off exchange may wait; S4S's codes live 100 s


def register(
    transport: Transport,
    holder: Holder,
    redirect_uri: str,
    *,
    client_name: str = "s4s-notebook",
    scope: str = SCOPE,
    cancel: Cancel | None = None,
) -> Client:
    """Register this program with the holder (RFC 7591 section 3).

    Raises:
        AuthorizationError: the holder offers no registration.
        AccessDenied: it refused, or registered something else than was asked for.
        MalformedResponse: its answer names no client.
        TrustError: a redirect address that would carry the code unencrypted.
    """
    if holder.register is None:
        raise errors.AuthorizationError(
            f"{holder.base} does not register programs by itself.",
            hint="Ask the holder for a client_id (and client_secret), then pass them to connect().",
        )
    parse(redirect_uri)  # http:// only on this machine
    reply = transport.request(
        "POST",
        holder.register,
        json={
            "client_name": client_name,
            "redirect_uris": [redirect_uri],
            "scope": scope,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
        },
        accept="application/json",
        token=False,
        follow=False,
        max_bytes=1 << 16,
        cancel=cancel,
    )
    if reply.status not in (200, 201):
        if not 400 <= reply.status < 500:
            raise refusal(reply)
        raise errors.AccessDenied(
            f"The holder did not register this program: {error_code(reply) or 'no reason given'}.",
            request=reply.request,
            holder_said=oauth_error(reply),
            hint="Ask the holder for a client_id, then pass it to connect().",
        )
    body = reply.json()
    client_id = body.get("client_id") if isinstance(body, dict) else None
    if not isinstance(client_id, str) or not client_id or not client_id.isprintable():
        raise errors.MalformedResponse(
            "The holder's registration names no client.", request=reply.request
        )
    registered = body.get("redirect_uris", [redirect_uri])
    if not isinstance(registered, list) or redirect_uri not in registered:
        raise errors.AccessDenied(
            "The holder registered another redirect address.", request=reply.request
        )
    secret = body.get("client_secret")
    return Client(client_id, Secret(secret) if isinstance(secret, str) else None, redirect_uri)


def exchange(
    transport: Transport,
    holder: Holder,
    client: Client,
    login: Login,
    code: Secret | str,
    *,
    cancel: Cancel | None = None,
) -> Grant:
    """Trade the code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5); one request.

    Raises:
        TokenRefused: wrong or used code, wrong client, or an address that redirects.
        MalformedResponse: an answer that is no token. HolderUnavailable: no answer.
    """
    retry_state = RetryState(replace(transport.waits, budget=_CODE_LIFE), transport.clock, cancel)
    now = transport.clock.time()
    form: dict[str, Secret | str] = {
        "grant_type": "authorization_code",
        "code": Secret(code) if isinstance(code, str) else code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": login.verifier,
    }
    code = ""  # a verbose traceback prints locals
    reply = request_token(transport, _token_address(holder), client, form, retry_state)
    if reply.status != 200:
        raise refusal(reply)
    return read_grant(reply, now=now, requested_scope=login.scope)


def revoke(
    transport: Transport,
    holder: Holder,
    client: Client,
    grant: Grant,
    *,
    cancel: Cancel | None = None,
) -> str:
    """Take the approval back: "revoked", or the address of the page where the person can do it.

    RFC 7009 where the holder offers it: the refresh token first, which ends the approval, then
    the access token, which some servers let live on.

    Raises:
        AuthorizationError: the holder offers neither way. TokenRefused: it refused.
    """
    if holder.revoke is None:
        if holder.manage is None:
            raise errors.AuthorizationError(
                f"{holder.base} offers no way to take an approval back.",
                hint="Forget it here with connection.forget(), and ask the holder to end it.",
            )
        return holder.manage
    retry_state = RetryState(transport.waits, transport.clock, cancel)
    for hint, token in (
        ("refresh_token", grant.refresh_token),
        ("access_token", grant.access_token),
    ):
        if token is None:
            continue
        form: dict[str, Secret | str] = {"token": token, "token_type_hint": hint}
        reply = request_token(transport, holder.revoke, client, form, retry_state)
        if reply.status not in (200, 204):
            raise refusal(reply)
    return "revoked"


def _token_address(holder: Holder) -> str:
    if holder.token is None:
        raise errors.AuthorizationError(f"{holder.base} has no token address.")
    return holder.token
