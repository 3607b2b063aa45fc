"""The access token over time: one refresh for many threads and many processes.

RFC 6749 section 6, with rotation of the refresh token (RFC 9700 section 4.14). A refresh whose
answer is lost is asked for once more; if the holder has used the token up by then, the person
authorises again. Nothing is ever tried in a loop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from .. import errors
from ..http.client import Transport
from ..http.redact import Secret
from ..http.response import Response
from ..http.retry import RetryState
from ..task import TICK, Cancel, Clock
from .approval import Approval, Status
from .discovery import Holder
from .token_endpoint import (
    FIT,
    Client,
    Grant,
    error_code,
    is_retry_later,
    oauth_error,
    post_form,
    read_grant,
    refusal,
    wait_retry_after,
    wait_stored,
)

_TYPES: dict[str, Any] = {
    **dict.fromkeys(("client_id", "redirect_uri", "scope", "access_token"), str),
    **dict.fromkeys(("client_secret", "refresh_token", "patient"), str | None),
    **dict.fromkeys(("expires_at", "lifetime"), float | int | None),
}
_RETRY_PAUSE = 30.0  # seconds before a refresh ahead of time is tried again after it failed


class TokenStore(Protocol):
    """The store of an approval, from one process to the next."""

    def lock(self) -> AbstractContextManager[Any]:
        """Keep other processes out while the tokens are renewed."""

    def load(self) -> dict[str, Any] | None:
        """Return the saved record; None where there is none that can be read."""

    def saved(self) -> bool:
        """Return whether there is a record, torn or not."""

    def save(self, record: dict[str, Any]) -> None:
        """Save the complete record or nothing."""

    def forget(self) -> None:
        """Remove the record."""


class FixedToken:
    """A token that one already has; it cannot be renewed.

    Raises:
        TokenRefused: text that is not fit for a header, as with a line break in it.
    """

    def __init__(self, token: Secret | str, approval: Approval | None = None) -> None:
        self._approval = approval
        self._token = Secret(token.strip()) if isinstance(token, str) else token
        if not FIT.fullmatch(self._token.reveal()):
            token = ""
            raise errors.TokenRefused(
                "This is no access token: it is empty, or has spaces or odd characters in it.",
                hint="Pass the token alone, without 'Bearer'.",
            )

    def __repr__(self) -> str:
        return "<FixedToken ***>"

    def bearer(self) -> str:
        """Return the token."""
        return self._token.reveal()

    def refresh(self, rejected: str, *, cancel: Cancel | None = None) -> None:  # noqa: ARG002 - the TokenSource protocol
        """Raise an error, as the token cannot be renewed.

        Raises:
            ReauthorizationRequired: always.
        """
        self.reject(rejected)
        raise errors.ReauthorizationRequired(
            "The holder does not accept the token that was passed.",
            hint="Get a new token and connect again; what was downloaded stays.",
        )

    def reject(self, rejected: str) -> None:  # noqa: ARG002 - the TokenSource protocol
        """Record that the holder's own server refused the token."""
        if self._approval is not None:
            self._approval.end(self, Status.EXPIRED)


class Tokens:
    """The tokens of one approval; renews them when they are due or rejected.

    Args:
        token_store: saves them; None leaves them in memory only.
        clock: as for the transport, by default the transport's own.
        approval: is told when the holder ends the approval.
    """

    def __init__(
        self,
        transport: Transport,
        holder: Holder,
        client: Client,
        grant: Grant,
        *,
        token_store: TokenStore | None = None,
        clock: Clock | None = None,
        approval: Approval | None = None,
    ) -> None:
        self._approval = approval or Approval()
        self._transport, self._holder, self._client = transport, holder, client
        self._grant, self._token_store = grant, token_store
        self._clock: Clock = clock or transport.clock
        self._own_tokens = {grant.access_token}  # what was ours once is never taken over again
        self._lock = threading.Lock()
        self._saved = token_store is not None and token_store.saved()
        self._ended: str | None = None  # why the approval is used up
        self._not_before = float("-inf")

    def __repr__(self) -> str:
        return f"<Tokens for {self._holder.base}, {'over' if self._ended else 'good'}>"

    @property
    def grant(self) -> Grant:
        """The current grant."""
        return self._grant

    @property
    def client(self) -> Client:
        """The client of the grant."""
        return self._client

    def save(self) -> None:
        """Save the grant in the token store, as after a new sign-in."""
        if self._token_store is not None:
            with self._token_store.lock():
                self._save()

    def _save(self) -> None:
        if self._token_store is not None:
            self._token_store.save(to_record(self._holder, self._client, self._grant))
            self._saved = True

    def bearer(self) -> str:
        """Return the token to send now, renewed if it is due.

        A holder that cannot renew it for the moment is no reason to stop: the token at hand is
        sent, and its answer decides.

        Raises:
            ReauthorizationRequired: the approval is used up.
        """
        if self._ended:
            self._renew(self._grant.access_token, None)  # another process may have a new approval
        grant = self._grant
        now = self._clock.time()
        if grant.due(now) and grant.refresh_token and self._clock.monotonic() >= self._not_before:
            try:
                self._renew(grant.access_token, None)
            except (errors.HolderUnavailable, errors.WaitError):
                self._not_before = self._clock.monotonic() + _RETRY_PAUSE
        return self._grant.access_token.reveal()

    def refresh(self, rejected: str, *, cancel: Cancel | None = None) -> None:
        """Renew the token that the holder rejected; nothing if that has happened already.

        Raises:
            ReauthorizationRequired: the approval is used up.
            HolderUnavailable, RetryAfterTooLong, Cancelled: not now; the approval stays.
        """
        retry_state = RetryState(self._transport.waits, self._clock, cancel)
        self._renew(Secret(rejected), retry_state)

    def reject(self, rejected: str) -> None:
        """Record that the holder refused a token that had just been renewed."""
        if Secret(rejected) == self._grant.access_token:
            self._approval.end(self, Status.WITHDRAWN)

    def adopt(self) -> None:
        """Take over an approval that another process has stored, if there is one."""
        with self._exclusive(None):
            adopted = self._adopt()
        if adopted:
            self._approval.accept(self)

    def _renew(self, rejected: Secret, retry_state: RetryState | None) -> None:
        try:
            self._renew_until_answered(rejected, retry_state)
        except errors.ReauthorizationRequired:
            self._approval.end(self, Status.WITHDRAWN if self._ended else Status.EXPIRED)
            raise

    def _renew_until_answered(self, rejected: Secret, retry_state: RetryState | None) -> None:
        """Renew unless somebody has. Without patience, "come back later" is an error at once."""
        cancel = retry_state.cancel if retry_state else None
        while True:
            with self._exclusive(cancel):
                if self._grant.access_token != rejected or self._adopt():
                    return
                if self._saved and self._token_store and not self._token_store.saved():
                    self._ended = self._ended or "Another process found the approval used up."
                if self._ended or self._grant.refresh_token is None:
                    raise errors.ReauthorizationRequired(
                        self._ended
                        or "The token has run out, and the holder gave none to renew it."
                    )
                now = self._clock.time()
                reply = self._request(self._grant.refresh_token, cancel)
                if reply is not None and not is_retry_later(reply):
                    self._receive(reply, now)
                    return
            # Without the locks: others may find that it is over.
            if retry_state is None:
                raise errors.HolderUnavailable(
                    "The holder cannot renew the token now.",
                    request=reply.request if reply else None,
                )
            if reply is None:
                wait_stored(self._transport, self._holder.token or "", retry_state)
            else:
                wait_retry_after(reply, retry_state)

    @contextmanager
    def _exclusive(self, cancel: Cancel | None) -> Iterator[None]:
        """No other thread and no other process renews meanwhile."""
        while not self._lock.acquire(timeout=TICK):
            if cancel is not None:
                cancel.check()
        try:
            with self._token_store.lock() if self._token_store else nullcontext():
                yield
        finally:
            self._lock.release()

    def _adopt(self) -> bool:
        """Take over what another process has renewed, or got by a new sign-in."""
        stored = self._stored()
        if stored is None or stored[1].access_token in self._own_tokens:
            return False
        (self._client, self._grant), self._ended = stored, None
        self._own_tokens.add(self._grant.access_token)
        return True

    def _stored(self) -> tuple[Client, Grant] | None:
        """Return the stored approval of this patient."""
        stored = from_record(self._holder, self._token_store.load()) if self._token_store else None
        return stored if stored and stored[1].patient == self._grant.patient else None

    def _request(self, token: Secret, cancel: Cancel | None) -> Response | None:
        """Send the refresh request, once more if its answer was lost; None where it has to wait.

        The holder may not have received the first one. If it has, it answers that the refresh
        token is used up, and the person authorises again.
        """
        form: dict[str, Secret | str] = {"grant_type": "refresh_token", "refresh_token": token}
        address = self._holder.token or ""
        try:
            return post_form(self._transport, address, self._client, form, cancel=cancel)
        except errors.HolderUnavailable:
            return post_form(self._transport, address, self._client, form, cancel=cancel)
        except errors.RetryAfterTooLong:  # another thread or process was told so
            return None

    def _receive(self, reply: Response, now: float) -> None:
        problem = oauth_error(reply) if reply.status in (400, 401, 403) else ""
        if problem:  # without an OAuth error it may be a proxy that speaks, and nothing is over
            self._ended = f"The approval is used up: {error_code(reply) or 'refused'}."
            stored = self._stored()
            if self._token_store and stored and stored[1].access_token in self._own_tokens:
                self._token_store.forget()
            raise errors.ReauthorizationRequired(
                self._ended, request=reply.request, holder_said=problem
            )
        if reply.status != 200:
            raise refusal(reply)
        self._grant = read_grant(
            reply, now=now, requested_scope=self._grant.scope, before=self._grant
        )
        self._own_tokens.add(self._grant.access_token)
        # Saved before it is used: if this process dies now, the next one has the new tokens.
        self._save()


def to_record(holder: Holder, client: Client, grant: Grant) -> dict[str, Any]:
    """Return the record to save, secrets in plain text: for a keyring or a 0600 file only."""
    return {
        "base": holder.base,
        "token_endpoint": holder.token,
        "client_id": client.client_id,
        "client_secret": _reveal(client.secret),
        "redirect_uri": client.redirect_uri,
        "access_token": grant.access_token.reveal(),
        "refresh_token": _reveal(grant.refresh_token),
        "expires_at": grant.expires_at,
        "lifetime": grant.lifetime,
        "scope": grant.scope,
        "patient": grant.patient,
    }


def from_record(holder: Holder, record: dict[str, Any] | None) -> tuple[Client, Grant] | None:
    """Client and grant out of a record, or None where it is torn or of another holder."""
    if not isinstance(record, dict):
        return None
    if (record.get("base"), record.get("token_endpoint")) != (holder.base, holder.token):
        return None
    complete = all(isinstance(record.get(name), kind) for name, kind in _TYPES.items())
    if not complete or not FIT.fullmatch(record["access_token"]):
        return None
    client = Client(record["client_id"], record["client_secret"], record["redirect_uri"])
    return client, Grant(
        access_token=Secret(record["access_token"]),
        refresh_token=Secret.wrap(record["refresh_token"]),
        expires_at=record["expires_at"],
        scope=record["scope"],
        patient=record["patient"],
        lifetime=record["lifetime"],
    )


def _reveal(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
