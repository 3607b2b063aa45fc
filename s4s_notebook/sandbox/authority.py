"""The authorization server's memory and rules: clients, codes, tokens, approvals.

RFC 6749 with PKCE (7636), registration (7591), revocation (7009) and SMART's ``patient``.
Codes work once; a refresh token works once; either used twice ends the whole approval.
Only hashes of secrets are kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass, field
from typing import TypeVar

from .settings import Settings

TYPE_SCOPES = {
    "Patient": "patient/Patient.read",
    "ImagingStudy": "patient/ImagingStudy.read",
    "ExplanationOfBenefit": "patient/ExplanationOfBenefit.read",
    "Coverage": "patient/Coverage.read",
}
SCOPES = ("launch/patient", "patient/*.read", "offline_access", *TYPE_SCOPES.values())
_T = TypeVar("_T")
YEAR = 365 * 86_400.0
MAX_ENTRIES = 2_000


class OAuthError(Exception):
    """A refusal by the rules: ``error`` is the code of the standard, ``why`` a sentence."""

    def __init__(self, error: str, why: str, status: int = 400) -> None:
        super().__init__(f"{error}: {why}")
        self.error = error
        self.why = why
        self.status = status


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class RegisteredClient:
    id: str
    name: str
    secret_hash: str | None
    redirect_uris: tuple[str, ...]
    method: str

    @property
    def public(self) -> bool:
        return self.secret_hash is None

    def knows(self, secret: str) -> bool:
        return self.secret_hash is not None and hmac.compare_digest(
            self.secret_hash, digest(secret)
        )


@dataclass
class Approval:
    """What one person allowed one app; revoked or expired, all of its tokens are dead."""

    id: str
    client_id: str
    patient_id: str
    scopes: tuple[str, ...]
    made: float
    expires: float
    revoked: bool = False

    def covers(self, type_: str) -> bool:
        """Whether a resource type may be read."""
        kinds = {scope.partition("/")[2].rpartition(".")[0] for scope in self.scopes}
        return bool(kinds & {"*", type_}) or (type_ == "Endpoint" and "ImagingStudy" in kinds)


@dataclass(frozen=True)
class Token:
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


_Once = TypeVar("_Once", _Code, _Refresh)


@dataclass
class Authority:
    """Thread-safe. Everything is bounded: the oldest entries go when there are too many."""

    settings: Settings
    clients: dict[str, RegisteredClient] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    _codes: dict[str, _Code] = field(default_factory=dict, repr=False)
    _access: dict[str, Token] = field(default_factory=dict, repr=False)
    _refresh: dict[str, _Refresh] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    # -- clients -------------------------------------------------------------------------

    def register(
        self, name: str, redirect_uris: tuple[str, ...], method: str
    ) -> tuple[RegisteredClient, str | None]:
        """A new client and its secret (None for a public one)."""
        secret = None if method == "none" else secrets.token_urlsafe(32)
        client = RegisteredClient(
            id=f"s4s-{secrets.token_hex(8)}",
            name=name,
            secret_hash=None if secret is None else digest(secret),
            redirect_uris=redirect_uris,
            method=method,
        )
        with self._lock:
            _bounded(self.clients, client.id, client)
        return client, secret

    def client(self, client_id: str) -> RegisteredClient | None:
        return self.clients.get(client_id)

    # -- approvals and codes -------------------------------------------------------------

    def approve(
        self, client_id: str, patient_id: str, scopes: tuple[str, ...], seconds: float = YEAR
    ) -> Approval:
        now = self.settings.now()
        approval = Approval(
            secrets.token_hex(8), client_id, patient_id, scopes, now, now + min(seconds, 2 * YEAR)
        )
        with self._lock:
            _bounded(self.approvals, approval.id, approval)
        return approval

    def revoke_approval(self, approval_id: str) -> None:
        """End an approval and every token made from it; raises KeyError when unknown."""
        with self._lock:
            self.approvals[approval_id].revoked = True

    def code(self, approval: Approval, redirect_uri: str, challenge: str | None) -> str:
        code = secrets.token_urlsafe(24)
        expires = self.settings.now() + self.settings.code_lifetime
        with self._lock:
            _bounded(self._codes, digest(code), _Code(approval, redirect_uri, challenge, expires))
        return code

    def redeem(
        self, client: RegisteredClient, code: str, redirect_uri: str, verifier: str | None
    ) -> tuple[Approval, dict[str, object]]:
        """Tokens for a code; raises OAuthError(invalid_grant) on any mismatch."""
        with self._lock:
            held = _unused(self._codes.get(digest(code)), client, "code")
            held.used = True
            if self.settings.now() >= held.expires:
                raise OAuthError("invalid_grant", "this code is too old")
            if held.redirect_uri != redirect_uri:
                raise OAuthError("invalid_grant", "redirect_uri is not the one of the sign-in")
            _check_verifier(held.challenge, verifier)
            return held.approval, self.issue(held.approval)

    # -- tokens --------------------------------------------------------------------------

    def issue(self, approval: Approval, lifetime: float | None = None) -> dict[str, object]:
        """The token response of one approval, with a new refresh token if it may have one."""
        seconds = self.settings.access_lifetime if lifetime is None else lifetime
        access = secrets.token_urlsafe(32)
        made: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(seconds),
            "scope": " ".join(approval.scopes),
            "patient": approval.patient_id,
        }
        with self._lock:
            token = Token(approval, min(self.settings.now() + seconds, approval.expires))
            _bounded(self._access, digest(access), token)
            if "offline_access" in approval.scopes:
                refresh = secrets.token_urlsafe(32)
                _bounded(self._refresh, digest(refresh), _Refresh(approval))
                made["refresh_token"] = refresh
        return made

    def refresh(
        self, client: RegisteredClient, token: str, scope: str | None
    ) -> tuple[Approval, dict[str, object]]:
        """New tokens for a refresh token, which is used up by it."""
        with self._lock:
            held = _unused(self._refresh.get(digest(token)), client, "refresh token")
            self._check(held.approval)
            if scope is not None and not set(scope.split()) <= set(held.approval.scopes):
                raise OAuthError("invalid_scope", "a refresh cannot widen the scope")
            held.used = True
            return held.approval, self.issue(held.approval)

    def _check(self, approval: Approval) -> None:
        if approval.revoked:
            raise OAuthError("invalid_grant", "this approval was withdrawn")
        if self.settings.now() >= approval.expires:
            raise OAuthError("invalid_grant", "this approval has run out")

    def token(self, access: str) -> Token | None:
        """The living access token, or None."""
        with self._lock:
            held = self._access.get(digest(access))
        if held is None or held.approval.revoked or self.settings.now() >= held.expires:
            return None
        return held

    def expire_access(self) -> None:
        """Let every access token run out now; refresh tokens stay (for tests)."""
        with self._lock:
            self._access.clear()

    def revoke(self, client: RegisteredClient, token: str) -> None:
        """RFC 7009: a refresh token ends the approval, an access token only itself.

        Unknown tokens and those of other clients are passed over in silence, as §2.2 wants.
        """
        with self._lock:
            access = self._access.get(digest(token))
            if access is not None and access.approval.client_id == client.id:
                del self._access[digest(token)]
            refresh = self._refresh.get(digest(token))
            if refresh is not None and refresh.approval.client_id == client.id:
                refresh.approval.revoked = True


def _unused(held: _Once | None, client: RegisteredClient, what: str) -> _Once:
    """What may be used once, if it is this client's; a second use withdraws the approval."""
    if held is None or held.approval.client_id != client.id:
        raise OAuthError("invalid_grant", f"this {what} is unknown")
    if held.used:
        held.approval.revoked = True
        raise OAuthError("invalid_grant", f"this {what} was used before: its approval is withdrawn")
    return held


def _check_verifier(challenge: str | None, verifier: str | None) -> None:
    if challenge is None:
        if verifier is not None:
            raise OAuthError("invalid_grant", "a verifier came, but the sign-in had no challenge")
        return
    if verifier is None:
        raise OAuthError("invalid_grant", "code_verifier is missing")
    hashed = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
    made = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
    if not hmac.compare_digest(made, challenge):
        raise OAuthError("invalid_grant", "code_verifier does not fit the challenge")


def _bounded(entries: dict[str, _T], key: str, value: _T) -> None:
    entries[key] = value
    while len(entries) > MAX_ENTRIES:
        del entries[next(iter(entries))]
