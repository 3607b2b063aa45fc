"""One sign-in of one person: the page to open, and the reply that comes back.

SMART App Launch 1.0 and 2.2 (standalone launch), RFC 6749 section 4.1, PKCE (RFC 7636,
S256 always), issuer identification (RFC 9207).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ..errors import AccessDenied, AuthorizationError, LoginExpired, StateMismatch
from ..http.redact import Secret
from ..task import Clock, SystemClock
from .discovery import Holder
from .token_endpoint import ERROR_CODES, Client, escaped

SCOPE = "launch/patient patient/*.read offline_access"

# Every state made by this process begins with this, so that a reply which belongs to
# a kernel that is gone can say so. The rest of the state (256 bits) is what protects.
_PROCESS = secrets.token_hex(6)

_V2 = re.compile(r"patient/(\*|[A-Za-z]+)\.c?ru?d?s")
_PARAMETERS = ("state", "code", "iss", "error", "error_description", "error_uri")


class Login:
    """A sign-in that waits for its reply. It holds the PKCE verifier, and never shows it.

    Args:
        holder: the data holder; needs ``authorize`` and ``token``.
        client: this program. May be left out until the redirect address is known: see :meth:`use`.
        scope: the requested scope.
        launch: the opaque ``launch`` value of an EHR launch; None for a standalone launch.
        lifetime: seconds that the authorise page stays good.
        legacy: go on although the holder says that it supports PKCE, but not S256.

    Raises:
        AuthorizationError: the holder offers no sign-in, or PKCE without S256.
    """

    def __init__(
        self,
        holder: Holder,
        client: Client | None = None,
        *,
        scope: str = SCOPE,
        launch: str | None = None,
        lifetime: float = 600.0,
        legacy: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if holder.authorize is None or holder.token is None:
            raise AuthorizationError(
                f"{holder.base} offers no sign-in.",
                hint="Pass access_token= or patient= where the holder needs no sign-in.",
            )
        if holder.foreign_issuer:
            raise AuthorizationError(
                f"{holder.base} says that {holder.foreign_issuer} signs people in, which it "
                "cannot speak for: a reply of that server could go to the wrong place.",
                hint=f"If you trust both, connect with allow_origins=[{holder.foreign_issuer!r}].",
            )
        if holder.pkce_methods is not None and "S256" not in holder.pkce_methods and not legacy:
            raise AuthorizationError(
                f"{holder.base} lists PKCE methods, but not S256, so a stolen code could be used.",
                hint="Ask the holder to support S256, or pass legacy=True to go on all the same.",
            )
        self.holder = holder
        self.client = client
        self.scope = scope
        self.launch = launch
        self.lifetime = lifetime
        self._clock: Clock = clock or SystemClock()
        self._state = Secret(f"{_PROCESS}.{secrets.token_urlsafe(32)}")
        self.verifier = Secret(secrets.token_urlsafe(64))
        self._lock = threading.Lock()
        self._used = False
        self._begin()

    def __repr__(self) -> str:
        return f"<Login at {self.holder.base}, {'over' if self._used else 'waiting'}>"

    def __reduce__(self) -> str:
        raise TypeError("A Login cannot be pickled: its verifier stays in this process.")

    def use(self, client: Client) -> None:
        """Set the client, once the redirect address is known; the lifetime starts now."""
        self.client = client
        self._begin()

    def _begin(self) -> None:
        # Two clocks: one may stand still while a laptop sleeps, the other may be set.
        self._began = (self._clock.time(), self._clock.monotonic())

    @property
    def expired(self) -> bool:
        """True when the lifetime is over, by either clock."""
        wall, steady = self._began
        age = max(self._clock.time() - wall, self._clock.monotonic() - steady)
        return age > self.lifetime

    @property
    def state_hash(self) -> str:
        """SHA-256 of the state in hex: names this sign-in without giving it away."""
        return hashlib.sha256(self._state.reveal().encode()).hexdigest()

    @property
    def url(self) -> str:
        """The page that the person opens to approve (RFC 6749 section 4.1.1)."""
        if self.client is None:
            raise AuthorizationError("This sign-in has no client yet.", hint="Call use(client).")
        page = urlsplit(self.holder.authorize or "")
        ours = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uri,
            "scope": self.scope,
            "state": self._state.reveal(),
            "aud": self.holder.base,
            "code_challenge": challenge(self.verifier),
            "code_challenge_method": "S256",
        }
        if self.launch is not None:
            ours["launch"] = self.launch
        # The endpoint's own query must be kept (RFC 6749 section 3.1).
        parameters = [pair for pair in parse_qsl(page.query, True) if pair[0] not in ours]
        query = urlencode([*parameters, *ours.items()], quote_via=quote)
        return urlunsplit((page.scheme, page.netloc, page.path, query, ""))

    def code_from(self, reply: str | Mapping[str, str | Sequence[str] | None]) -> Secret:
        """Return the code of the reply after all checks; works once, also in parallel.

        Args:
            reply: the redirected URL, its query, or its parameters.

        Raises:
            StateMismatch: state or iss missing, wrong or repeated; no code; used before.
            AccessDenied: the reply is an error (RFC 6749 section 4.1.2.1).
            LoginExpired: after the lifetime, or from a kernel that is gone.
        """
        try:
            return self._accept(_single_parameters(_parameters(reply)))
        except AuthorizationError as error:
            reply = ""  # a verbose traceback prints locals: this one, and those of deeper frames
            raise error.with_traceback(None) from None

    def _accept(self, values: Mapping[str, str]) -> Secret:
        with self._lock:
            self._check_state(values)
            if self._used:
                raise StateMismatch("This sign-in is over: its reply was used already.")
            if self.expired:
                raise LoginExpired(f"This sign-in was good for {self.lifetime:.0f} seconds.")
            if "state" in values:
                self._check_issuer(values.get("iss"))
            if "error" in values:
                # S4S's own server declines without a state. Such a reply may be forged, so it
                # is shown to the person but does not end the sign-in.
                self._used = "state" in values
                raise _denied(values)
            if not values.get("code"):
                raise StateMismatch(
                    "This address holds neither a code nor an error.",
                    hint="Paste the address of the page that the holder sent you back to.",
                )
            self._used = True
            return Secret(values["code"])

    def _check_state(self, values: Mapping[str, str]) -> None:
        state = values.get("state")
        if state is None and "error" in values:
            return
        if state is None:
            raise StateMismatch("The reply has no state, so it may come from anybody.")
        mine = self._state.reveal().encode()
        if hmac.compare_digest(state.encode("utf-8", "surrogatepass"), mine):
            return
        before, dot, rest = state.partition(".")
        if dot and len(before) == len(_PROCESS) and len(rest) >= 43 and before != _PROCESS:
            raise LoginExpired(
                "The reply belongs to a sign-in of another kernel, or from before a restart."
            )
        raise StateMismatch("The reply's state is not the one of this sign-in.")

    def _check_issuer(self, iss: str | None) -> None:
        """RFC 9207 section 2.4: guards against a reply of another holder's server."""
        issuer = self.holder.issuer
        if iss is None and self.holder.iss_promised:
            raise StateMismatch("The reply names no issuer, though the holder promises one.")
        base = self.holder.base
        # A holder that names no issuer can be no other than the one whose metadata were read.
        if iss is not None and iss not in ({base, f"{base}/"} if issuer is None else {issuer}):
            raise StateMismatch(f"The reply comes from another server than {issuer or base}.")


def state_hash(reply: Secret) -> str:
    """Return SHA-256 of the state in a redirected address; of "" where it has none."""
    try:
        values = dict(_parameters(reply.reveal()))
    except StateMismatch:
        values = {}
    return hashlib.sha256(values.get("state", "").encode("utf-8", "surrogatepass")).hexdigest()


def challenge(verifier: Secret) -> str:
    """Return the S256 code challenge (RFC 7636 section 4.2).

    >>> challenge(Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    digest = hashlib.sha256(verifier.reveal().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _parameters(reply: str | Mapping[str, str | Sequence[str] | None]) -> list[tuple[str, str]]:
    if isinstance(reply, str):
        text = reply.strip().partition("#")[0]
        query = text.partition("?")[2] or text
        try:
            return parse_qsl(query, keep_blank_values=True, max_num_fields=50)
        except ValueError:
            raise StateMismatch("The reply has too many parameters.") from None
    pairs = []
    for name, value in reply.items():
        items = [value] if isinstance(value, str) else value or []
        pairs += [(name, item) for item in items]
    return pairs


def _single_parameters(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the OAuth parameters; a repeated one makes the reply void (RFC 6749 section 3.1)."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in _PARAMETERS and name in values:
            raise StateMismatch(f"The reply repeats {name}.")
        if name in _PARAMETERS:
            values[name] = value
    return values


def _denied(values: Mapping[str, str]) -> AccessDenied:
    words = (values["error"], values.get("error_description", ""))
    code = values["error"] if values["error"] in ERROR_CODES else ""
    if code == "access_denied":
        problem = "The request was declined."
    else:
        problem = f"The holder refused{': ' if code else ''}{code}."
    said = ": ".join(escaped(text, 200) for text in words if text)
    return AccessDenied(problem, holder_said=said)


def scope_for(holder: Holder, resource_types: Iterable[str]) -> str:
    """Return the scopes to request: v1 where the holder takes them, else SMART v2.

    A holder takes v2 alone where ``scopes_supported`` lists ``patient/…`` scopes of the form
    ``.rs`` and none of the form ``.read``, or its capabilities name ``permission-v2`` without
    ``permission-v1`` (SMART App Launch 2.2, "Scopes and Launch Context").
    """
    clinical = [scope for scope in holder.scopes if scope.startswith("patient/")]
    first = any(scope.endswith((".read", ".*")) for scope in clinical)
    second = {match[1] for scope in clinical if (match := _V2.fullmatch(scope))}
    named = "permission-v2" in holder.capabilities and not clinical
    if first or not (second or named) or (named and "permission-v1" in holder.capabilities):
        return SCOPE
    types = ["*"] if "*" in second or not second else [t for t in resource_types if t in second]
    return " ".join(["launch/patient", *(f"patient/{t}.rs" for t in types), "offline_access"])
