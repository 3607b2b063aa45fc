"""The token endpoint: client, grant, and a strict reading of the answer.

RFC 6749 sections 2.3, 5.1 and 5.2. A token call is never redirected and never carries a bearer
token. It is not repeated here when its connection broke: a code or a refresh token works once.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..http import redact
from ..http.client import Transport
from ..http.redact import Secret
from ..http.response import Response
from ..http.retry import RetryState
from ..task import Cancel

FIT = re.compile(r"[\x21-\x7e]{1,16384}")  # a token: RFC 6749 appendix A.12, without the space
# RFC 6749 sections 4.1.2.1 and 5.2, RFC 7591 section 3.2.2, RFC 7009 section 2.2.1.
ERROR_CODES = frozenset(
    {
        *("access_denied", "invalid_client", "invalid_client_metadata", "invalid_grant"),
        *("invalid_redirect_uri", "invalid_request", "invalid_scope", "server_error"),
        *("temporarily_unavailable", "unauthorized_client", "unsupported_grant_type"),
        *("unsupported_response_type", "unsupported_token_type"),
    }
)
_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
_MARGIN = 60.0  # seconds before the end at which a token is due for refresh, at most


@dataclass(frozen=True, slots=True)
class Client:
    """This program as the holder knows it; without a secret it is a public client."""

    client_id: str
    client_secret: Secret | str | None
    redirect_uri: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "client_secret", Secret.wrap(self.client_secret))

    @property
    def secret(self) -> Secret | None:
        """The client secret, never as plain text."""
        return Secret.wrap(self.client_secret)


@dataclass(frozen=True, slots=True)
class Grant:
    """The grant of a person.

    Attributes:
        access_token, refresh_token: shown as ``***``; the second may be None.
        expires_at: POSIX time, by our clock, or None where the holder does not say.
        lifetime: seconds from the grant to ``expires_at``, or None.
        scope: what was granted. patient: the id that it is about, or None.
    """

    access_token: Secret
    refresh_token: Secret | None
    expires_at: float | None
    scope: str
    patient: str | None
    lifetime: float | None = None

    def due(self, now: float) -> bool:
        """Return whether it is time to refresh: shortly before the end."""
        if self.expires_at is None:
            return False
        margin = _MARGIN if self.lifetime is None else min(_MARGIN, self.lifetime / 10)
        return now >= self.expires_at - margin


def request_token(
    transport: Transport,
    address: str,
    client: Client,
    form: Mapping[str, Secret | str],
    retry_state: RetryState,
) -> Response:
    """Post a form as :func:`post_form` does; wait and repeat at 503 and 429."""
    while True:
        wait_stored(transport, address, retry_state)
        reply = post_form(transport, address, client, form, cancel=retry_state.cancel)
        if not is_retry_later(reply):
            return reply
        wait_retry_after(reply, retry_state)


def wait_stored(transport: Transport, address: str, retry_state: RetryState) -> None:
    """Wait as an earlier answer asked. Raises RetryAfterTooLong, Cancelled."""
    transport.obey(address, retry_state, errors.Request("POST", redact.url(address)))


def is_retry_later(reply: Response) -> bool:
    """Return whether the answer says "come back later"."""
    return reply.status in (429, 503)


def wait_retry_after(reply: Response, retry_state: RetryState) -> None:
    """Wait as the answer asks. Raises RetryAfterTooLong, Cancelled."""
    values = reply.headers.get_list("retry-after")
    retry_state.wait_retry_after(
        reply.request, str(reply.status), values, reply.headers.get("date")
    )


def post_form(
    transport: Transport,
    address: str,
    client: Client,
    form: Mapping[str, Secret | str],
    *,
    cancel: Cancel | None = None,
) -> Response:
    """Return the answer of any status to one POST to the token or revocation endpoint.

    A confidential client uses HTTP Basic, a public one puts its id into the form (RFC 6749
    section 2.3.1). Id and secret go into Basic as they are: SMART says so, and S4S's server
    does not decode them.
    """
    secret = client.secret
    fields = {**form} if secret else {**form, "client_id": client.client_id}
    try:
        return transport.request(
            "POST",
            address,
            form={name: _plain(value) for name, value in fields.items()},
            basic=(client.client_id, secret.reveal()) if secret else None,
            accept="application/json",
            token=False,
            wait=False,
            follow=False,
            max_bytes=1 << 16,
            cancel=cancel,
        )
    except BaseException as error:  # noqa: BLE001 - raised again
        # The frames below hold secrets, and a verbose traceback prints what frames hold.
        raise error.with_traceback(None) from None


def _plain(value: Secret | str) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def read_grant(
    reply: Response, *, now: float, requested_scope: str, before: Grant | None = None
) -> Grant:
    """Return the grant of a successful token answer, read strictly (RFC 6749 section 5.1).

    Args:
        reply: the answer.
        now: our clock when the request was sent.
        requested_scope: the scope that was requested; it counts where the answer names none.
        before: the grant that this one renews; what is not sent anew stays.

    Raises:
        MalformedResponse: no JSON object, no bearer token, a token that is not fit for a header,
            an impossible lifetime.
    """
    body = reply.json()
    if not isinstance(body, dict):
        raise _malformed(reply, "is no JSON object")
    if str(body.get("token_type", "")).lower() != "bearer":
        raise _malformed(reply, "does not give a bearer token")
    lifetime = _lifetime(reply, body.get("expires_in"))
    refresh = before.refresh_token if before else None
    patient = _text(body.get("patient")) or (before.patient if before else None)
    if before and before.patient not in (None, patient):
        raise _malformed(reply, "is about another patient")
    if body.get("refresh_token"):
        refresh = _token(reply, "refresh_token", body["refresh_token"])
    return Grant(
        access_token=_token(reply, "access_token", body.get("access_token")),
        refresh_token=refresh,
        expires_at=None if lifetime is None else now + lifetime,
        scope=_text(body.get("scope")) or requested_scope,
        patient=patient,
        lifetime=lifetime,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _token(reply: Response, name: str, value: Any) -> Secret:
    if not isinstance(value, str) or not FIT.fullmatch(value):
        raise _malformed(reply, f"has no {name} that could be sent")
    return Secret(value)


def _lifetime(reply: Response, value: Any) -> float | None:
    """``expires_in`` in seconds. A number in quotes is common, and means what it says."""
    if value is None:
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e10:
        raise _malformed(reply, "has an impossible expires_in")
    return float(value)


def _malformed(reply: Response, problem: str) -> errors.MalformedResponse:
    return errors.MalformedResponse(
        f"The holder's token answer {problem}.",
        request=reply.request,
        hint="Nothing was sent with it. Authorise again, and tell the holder if it stays so.",
    )


def refusal(reply: Response) -> errors.S4SError:
    """Return the error of a token answer other than success (RFC 6749 section 5.2)."""
    if reply.status >= 500 or reply.status in (408, 429):
        return errors.HolderUnavailable(
            "The holder's sign-in server has a problem.", request=reply.request
        )
    if 300 <= reply.status < 400:
        return errors.TokenRefused(
            "The holder's token address redirects elsewhere. It was not followed: "
            "the request carries secrets.",
            request=reply.request,
            hint="Tell the holder that its metadata must name the final address.",
        )
    return errors.TokenRefused(
        f"The holder refused: {error_code(reply) or 'no reason given'}.",
        request=reply.request,
        holder_said=oauth_error(reply),
    )


def oauth_error(reply: Response) -> str:
    """``error: description`` of an answer, escaped and cut; S4S's server says ``description``.

    Secrets that were sent are cut out.
    """
    try:
        body = reply.json()
    except errors.MalformedResponse:
        return ""
    if not isinstance(body, dict):
        return ""
    parts = (body.get("error"), body.get("error_description") or body.get("description"))
    words = ": ".join(text for text in parts if isinstance(text, str) and text)
    return redact.holder_said(words, reply.sent)


def error_code(reply: Response) -> str:
    """Return the ``error`` of an answer where it is one that the standards define, else ""."""
    words = oauth_error(reply).partition(":")[0]
    return words if words in ERROR_CODES else ""


def escaped(text: str, limit: int) -> str:
    """Text from outside on one line, cut, harmless also where it is shown as HTML."""
    return html.escape(redact.text(text, limit=limit))
