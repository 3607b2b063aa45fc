"""The rules of the authorization server: clients, approvals, codes and tokens.

RFC 6749 with PKCE (RFC 7636), registration (RFC 7591), revocation (RFC 7009) and SMART's
``patient``. A code and a refresh token can be used once; a second use revokes the approval.
Only hashes of secrets are stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from .scopes import allows, grantable_scopes, supported_scopes
from .settings import Settings

_T = TypeVar("_T")
YEAR = 365 * 86_400.0
MAX_ENTRIES = 2_000


class OAuthError(Exception):
    """A refusal by the authorization server.

    Attributes:
        error: Error code of the standard.
        description: Text for the client's developer.
        status: HTTP status of the response.
    """

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class RegisteredClient:
    """An app that registered; a public one has no secret."""

    id: str
    name: str
    secret_hash: str | None
    redirect_uris: tuple[str, ...]
    method: str

    @property
    def public(self) -> bool:
        """Whether the client has no secret."""
        return self.secret_hash is None

    def verify_secret(self, secret: str) -> bool:
        """Return whether the secret is the client's."""
        return self.secret_hash is not None and hmac.compare_digest(
            self.secret_hash, digest(secret)
        )


@dataclass
class Approval:
    """What one person allowed one app. Its tokens are invalid once it is revoked or expired."""

    id: str
    client_id: str
    patient_id: str
    scopes: tuple[str, ...]
    expires: float
    revoked: bool = False

    def covers(self, type_: str, interaction: str = "s") -> bool:
        """Return whether a resource type may be read by id (``r``) or searched (``s``)."""
        return allows(self.scopes, type_, interaction)


@dataclass(frozen=True)
class Token:
    """An access token of an approval; ``expires`` is POSIX time."""

    approval: Approval
    expires: float


@dataclass
class _Code:
    approval: Approval
    redirect_uri: str
    challenge: str | None
    expires: float
    used: bool = False


@dataclass
class _Refresh:
    approval: Approval
    used: bool = False


_SingleUse = TypeVar("_SingleUse", _Code, _Refresh)


@dataclass
class Authority:
    """The clients, approvals and tokens of one authorization server; thread-safe.

    At most 2,000 of each are stored; the oldest is removed first.
    """

    settings: Settings
    clients: dict[str, RegisteredClient] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    _codes: dict[str, _Code] = field(default_factory=dict, repr=False)
    _access: dict[str, Token] = field(default_factory=dict, repr=False)
    _refresh: dict[str, _Refresh] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the holder supports."""
        return supported_scopes(self.settings.served_types, self.settings.granted_versions)

    def grantable(self, requested: Iterable[str]) -> tuple[str, ...]:
        """Return the scopes to grant for those that an app requests."""
        settings = self.settings
        return grantable_scopes(requested, settings.served_types, settings.granted_versions)

    # -- clients -------------------------------------------------------------------------

    def register(
        self, name: str, redirect_uris: tuple[str, ...], method: str
    ) -> tuple[RegisteredClient, str | None]:
        """Register a client; return it and its secret (None for a public one)."""
        secret = None if method == "none" else secrets.token_urlsafe(32)
        client = RegisteredClient(
            id=f"s4s-{secrets.token_hex(8)}",
            name=name,
            secret_hash=None if secret is None else digest(secret),
            redirect_uris=redirect_uris,
            method=method,
        )
        with self._lock:
            _add_bounded(self.clients, client.id, client)
        return client, secret

    def client(self, client_id: str) -> RegisteredClient | None:
        """Return a client by its id."""
        return self.clients.get(client_id)

    # -- approvals and codes -------------------------------------------------------------

    def approve(
        self, client_id: str, patient_id: str, scopes: tuple[str, ...], seconds: float = YEAR
    ) -> Approval:
        """Create an approval that expires after some seconds, two years at most."""
        expires = self.settings.now() + min(seconds, 2 * YEAR)
        approval = Approval(secrets.token_hex(8), client_id, patient_id, scopes, expires)
        with self._lock:
            _add_bounded(self.approvals, approval.id, approval)
        return approval

    def revoke_approval(self, approval_id: str) -> None:
        """Revoke an approval and all of its tokens.

        Raises:
            KeyError: There is no such approval.
        """
        with self._lock:
            self.approvals[approval_id].revoked = True

    def issue_code(self, approval: Approval, redirect_uri: str, challenge: str | None) -> str:
        """Return a new authorization code, bound to an address and a PKCE challenge."""
        code = secrets.token_urlsafe(24)
        expires = self.settings.now() + self.settings.code_lifetime
        with self._lock:
            _add_bounded(
                self._codes, digest(code), _Code(approval, redirect_uri, challenge, expires)
            )
        return code

    def redeem(
        self, client: RegisteredClient, code: str, redirect_uri: str, verifier: str | None
    ) -> tuple[Approval, dict[str, object]]:
        """Exchange a code for a token response (RFC 6749 section 4.1.3).

        Raises:
            OAuthError: The code, the address or the verifier is wrong (invalid_grant).
        """
        with self._lock:
            stored = _unused(self._codes.get(digest(code)), client, "code")
            stored.used = True
            if self.settings.now() >= stored.expires:
                raise OAuthError("invalid_grant", "this code is too old")
            if stored.redirect_uri != redirect_uri:
                raise OAuthError("invalid_grant", "redirect_uri is not the one of the sign-in")
            _check_verifier(stored.challenge, verifier)
            return stored.approval, self.issue(stored.approval)

    # -- tokens --------------------------------------------------------------------------

    def issue(self, approval: Approval, lifetime: float | None = None) -> dict[str, object]:
        """Return a token response, with a refresh token if the scope has ``offline_access``."""
        seconds = self.settings.access_lifetime if lifetime is None else lifetime
        access = secrets.token_urlsafe(32)
        response: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(seconds),
            "scope": " ".join(approval.scopes),
            "patient": approval.patient_id,
        }
        with self._lock:
            token = Token(approval, min(self.settings.now() + seconds, approval.expires))
            _add_bounded(self._access, digest(access), token)
            if "offline_access" in approval.scopes:
                refresh = secrets.token_urlsafe(32)
                _add_bounded(self._refresh, digest(refresh), _Refresh(approval))
                response["refresh_token"] = refresh
        return response

    def refresh(
        self, client: RegisteredClient, token: str, scope: str | None
    ) -> tuple[Approval, dict[str, object]]:
        """Exchange a refresh token for a token response (RFC 6749 section 6).

        Raises:
            OAuthError: The token is unknown or used, or the scope is wider.
        """
        with self._lock:
            stored = _unused(self._refresh.get(digest(token)), client, "refresh token")
            self._require_active(stored.approval)
            if scope is not None and not set(scope.split()) <= set(stored.approval.scopes):
                raise OAuthError("invalid_scope", "a refresh cannot widen the scope")
            stored.used = True
            return stored.approval, self.issue(stored.approval)

    def _require_active(self, approval: Approval) -> None:
        if approval.revoked:
            raise OAuthError("invalid_grant", "this approval was withdrawn")
        if self.settings.now() >= approval.expires:
            raise OAuthError("invalid_grant", "this approval has run out")

    def token(self, access: str) -> Token | None:
        """Return the valid access token of this text, or None."""
        with self._lock:
            token = self._access.get(digest(access))
        if token is None or token.approval.revoked or self.settings.now() >= token.expires:
            return None
        return token

    def refresh_approval(self, token: str) -> Approval | None:
        """Return the approval of a refresh token that can still be used, or None."""
        with self._lock:
            stored = self._refresh.get(digest(token))
        if stored is None or stored.used or stored.approval.revoked:
            return None
        return stored.approval if self.settings.now() < stored.approval.expires else None

    def expire_access(self) -> None:
        """Expire every access token now; refresh tokens stay valid."""
        with self._lock:
            self._access.clear()

    def revoke(self, client: RegisteredClient, token: str) -> None:
        """Revoke an access token alone, or with a refresh token its approval.

        Unknown tokens and those of other clients are ignored (RFC 7009 section 2.2).
        """
        with self._lock:
            access = self._access.get(digest(token))
            if access is not None and access.approval.client_id == client.id:
                del self._access[digest(token)]
            refresh = self._refresh.get(digest(token))
            if refresh is not None and refresh.approval.client_id == client.id:
                refresh.approval.revoked = True


def _unused(grant: _SingleUse | None, client: RegisteredClient, kind: str) -> _SingleUse:
    """Return a code or token that this client may use; a second use revokes the approval."""
    if grant is None or grant.approval.client_id != client.id:
        raise OAuthError("invalid_grant", f"this {kind} is unknown")
    if grant.used:
        grant.approval.revoked = True
        raise OAuthError("invalid_grant", f"this {kind} was used before: its approval is withdrawn")
    return grant


def _check_verifier(challenge: str | None, verifier: str | None) -> None:
    if challenge is None:
        if verifier is not None:
            raise OAuthError(
                "invalid_grant", "a verifier was sent, but the sign-in had no challenge"
            )
        return
    if verifier is None:
        raise OAuthError("invalid_grant", "code_verifier is missing")
    hashed = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
    expected = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
    if not hmac.compare_digest(expected, challenge):
        raise OAuthError("invalid_grant", "code_verifier does not fit the challenge")


def _add_bounded(entries: dict[str, _T], key: str, value: _T) -> None:
    entries[key] = value
    while len(entries) > MAX_ENTRIES:
        del entries[next(iter(entries))]
