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
from .discovery import Holder
from .token_endpoint import (
    FIT,
    Client,
    Grant,
    ask_once,
    oauth_error,
    put_off,
    read_grant,
    refusal,
    wait_out,
)

_KINDS: dict[str, Any] = {
    **dict.fromkeys(("client_id", "redirect_uri", "scope", "access_token"), str),
    **dict.fromkeys(("client_secret", "refresh_token", "patient"), str | None),
    **dict.fromkeys(("expires_at", "lifetime"), float | int | None),
}
_PAUSE = 30.0  # seconds before a refresh ahead of time is tried again after it failed


class TokenStore(Protocol):
    """Where an approval is kept from one process to the next."""

    def lock(self) -> AbstractContextManager[Any]:
        """Keep other processes out while the tokens are renewed."""

    def load(self) -> dict[str, Any] | None:
        """What was saved; None where there is nothing that can be read."""

    def save(self, record: dict[str, Any]) -> None:
        """Keep the record, whole or not at all."""

    def forget(self) -> None:
        """Remove the record."""


class FixedToken:
    """A token that one already has; it cannot be renewed.

    Raises:
        TokenRefused: text that is not fit for a header, as with a line break in it.
    """

    def __init__(self, token: Secret | str) -> None:
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
        """The token."""
        return self._token.reveal()

    def refresh(self, rejected: str, *, cancel: Cancel | None = None) -> None:  # noqa: ARG002 - the TokenSource protocol
        """Raises ReauthorizationRequired: there is nothing to renew it with."""
        raise errors.ReauthorizationRequired(
            "The holder does not accept the token that was passed.",
            hint="Get a new token and connect again; what was downloaded stays.",
        )


class Tokens:
    """The tokens of one approval; renews them when they are due or rejected.

    Args:
        keeper: where they are kept; None keeps them in memory only.
        clock: as for the transport, by default the transport's own.
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
    ) -> None:
        self._transport, self._holder, self._client = transport, holder, client
        self._grant, self._token_store = grant, token_store
        self._clock: Clock = clock or transport.clock
        self._held = {grant.access_token}  # what was ours once is never taken over again
        self._lock = threading.Lock()
        self._over: str | None = None  # why the approval is used up
        self._not_before = float("-inf")

    def __repr__(self) -> str:
        return f"<Tokens for {self._holder.base}, {'over' if self._over else 'good'}>"

    @property
    def grant(self) -> Grant:
        """What is held now."""
        return self._grant

    @property
    def client(self) -> Client:
        """Who holds it."""
        return self._client

    def save(self) -> None:
        """Save the grant with the keeper, as after a new sign-in."""
        if self._token_store is not None:
            with self._token_store.lock():
                self._token_store.save(to_record(self._holder, self._client, self._grant))

    def bearer(self) -> str:
        """The token to send now, renewed if it is due.

        A holder that cannot renew it for the moment is no reason to stop: the token at hand is
        sent, and its answer decides.

        Raises:
            ReauthorizationRequired: the approval is used up.
        """
        if self._over:
            self._renew(self._grant.access_token, None)  # another process may have a new approval
        held = self._grant
        now = self._clock.time()
        if held.due(now) and held.refresh_token and self._clock.monotonic() >= self._not_before:
            try:
                self._renew(held.access_token, None)
            except (errors.HolderUnavailable, errors.WaitError):
                self._not_before = self._clock.monotonic() + _PAUSE
        return self._grant.access_token.reveal()

    def refresh(self, rejected: str, *, cancel: Cancel | None = None) -> None:
        """Renew the token that the holder rejected; nothing if that has happened already.

        Raises:
            ReauthorizationRequired: the approval is used up.
            HolderUnavailable, RetryAfterTooLong, Cancelled: not now; the approval stays.
        """
        retry_state = RetryState(self._transport.waits, self._clock, cancel)
        self._renew(Secret(rejected), retry_state)

    def _renew(self, rejected: Secret, retry_state: RetryState | None) -> None:
        """Renew unless somebody has. Without patience, "come back later" is an error at once."""
        cancel = retry_state.cancel if retry_state else None
        while True:
            with self._alone(cancel):
                if self._grant.access_token != rejected or self._adopt():
                    return
                if self._over or self._grant.refresh_token is None:
                    raise errors.ReauthorizationRequired(
                        self._over or "The token has run out, and the holder gave none to renew it."
                    )
                now = self._clock.time()
                reply = self._ask(self._grant.refresh_token, cancel)
                if not put_off(reply):
                    self._take(reply, now)
                    return
            if retry_state is None:
                raise errors.HolderUnavailable(
                    "The holder cannot renew the token now.", request=reply.request
                )
            wait_out(reply, retry_state)  # without the locks: others may find that it is over

    @contextmanager
    def _alone(self, cancel: Cancel | None) -> Iterator[None]:
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
        kept = self._kept()
        if kept is None or kept[1].access_token in self._held:
            return False
        (self._client, self._grant), self._over = kept, None
        self._held.add(self._grant.access_token)
        return True

    def _kept(self) -> tuple[Client, Grant] | None:
        """What the keeper holds for this patient."""
        kept = from_record(self._holder, self._token_store.load()) if self._token_store else None
        return kept if kept and kept[1].patient == self._grant.patient else None

    def _ask(self, token: Secret, cancel: Cancel | None) -> Response:
        """The refresh call; once more if its answer was lost, since the holder may not have
        seen it. If it has, it says that the refresh token is used up, and that is the end."""
        form: dict[str, Secret | str] = {
            "grant_type": "refresh_token",
            "refresh_token": token,
        }
        address = self._holder.token or ""
        try:
            return ask_once(self._transport, address, self._client, form, cancel=cancel)
        except errors.HolderUnavailable:
            return ask_once(self._transport, address, self._client, form, cancel=cancel)

    def _take(self, reply: Response, now: float) -> None:
        said = oauth_error(reply) if reply.status in (400, 401, 403) else ""
        if said:  # without an OAuth error it may be a proxy that speaks, and nothing is over
            self._over = f"The approval is used up: {said}."
            kept = self._kept()
            if self._token_store and kept and kept[1].access_token in self._held:
                self._token_store.forget()
            raise errors.ReauthorizationRequired(self._over, request=reply.request)
        if reply.status != 200:
            raise refusal(reply)
        self._grant = read_grant(reply, now=now, asked=self._grant.scope, before=self._grant)
        self._held.add(self._grant.access_token)
        # Saved before it is used: if this process dies now, the next one has the new tokens.
        if self._token_store is not None:
            self._token_store.save(to_record(self._holder, self._client, self._grant))


def to_record(holder: Holder, client: Client, grant: Grant) -> dict[str, Any]:
    """What a keeper keeps, secrets in plain text: for a keyring or a 0600 file, nowhere else."""
    return {
        "base": holder.base,
        "token_endpoint": holder.token,
        "client_id": client.client_id,
        "client_secret": _open(client.secret),
        "redirect_uri": client.redirect_uri,
        "access_token": grant.access_token.reveal(),
        "refresh_token": _open(grant.refresh_token),
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
    whole = all(isinstance(record.get(name), kind) for name, kind in _KINDS.items())
    if not whole or not FIT.fullmatch(record["access_token"]):
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


def _open(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
