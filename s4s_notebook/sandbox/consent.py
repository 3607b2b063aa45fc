"""The rules of the consent page: whom to trust, what may be asked for, what a person ticked."""

from __future__ import annotations

from collections.abc import Mapping

from . import pages
from .authority import SCOPES, TYPE_SCOPES, RegisteredClient
from .state import State


class UntrustedError(Exception):
    """Nothing may be redirected: the app or its address is not known."""


class RedirectedError(Exception):
    """A refusal that the app may hear of, at its registered address."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(why)
        self.error = error
        self.why = why


class Form:
    """The fields of a posted form; one that is missing reads as an empty text."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def one(self, name: str) -> str:
        return dict(self._pairs).get(name, "")

    def all(self, name: str) -> set[str]:
        return {value for key, value in self._pairs if key == name}


def single(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters that come twice are dropped: RFC 6749 forbids them, and guessing is unsafe."""
    seen: dict[str, list[str]] = {}
    for name, value in pairs:
        seen.setdefault(name, []).append(value)
    return {name: values[0] for name, values in seen.items() if len(values) == 1}


def trusted(state: State, asked: Mapping[str, str]) -> tuple[RegisteredClient, str]:
    """The app and its return address; raises UntrustedError when either is not known."""
    client = state.authority.client(asked.get("client_id", ""))
    if client is None:
        raise UntrustedError("This app is not registered here (client_id).")
    redirect_uri = asked.get("redirect_uri", "")
    if redirect_uri not in client.redirect_uris:
        raise UntrustedError(
            "The app's return address is not one that it registered (redirect_uri)."
        )
    return client, redirect_uri


def checked(state: State, client: RegisteredClient, asked: Mapping[str, str]) -> tuple[str, ...]:
    """The scopes to offer; raises RedirectedError for anything that SMART does not allow."""
    if asked.get("response_type") != "code":
        raise RedirectedError("unsupported_response_type", "response_type must be code")
    if not asked.get("state"):
        raise RedirectedError("invalid_request", "state is missing")
    if asked.get("aud", "").rstrip("/") != state.fhir_base:
        raise RedirectedError("invalid_request", f"aud must be {state.fhir_base}")
    challenge = asked.get("code_challenge")
    if challenge is not None and asked.get("code_challenge_method") != "S256":
        raise RedirectedError("invalid_request", "code_challenge_method must be S256")
    if challenge is None and client.public:
        raise RedirectedError("invalid_request", "a public client must use PKCE")
    scopes = tuple(s for s in dict.fromkeys(asked.get("scope", "").split()) if s in SCOPES)
    if not kinds(scopes):
        raise RedirectedError("invalid_scope", f"ask for some of: {' '.join(SCOPES)}")
    return scopes


def kinds(scopes: tuple[str, ...]) -> list[str]:
    """The resource types that some scopes open."""
    return [
        kind for kind in pages.SHARED if "patient/*.read" in scopes or TYPE_SCOPES[kind] in scopes
    ]


def narrowed(scopes: tuple[str, ...], form: Form) -> tuple[str, ...]:
    """What remains of the scopes after the person's ticks."""
    ticked = form.all("share")
    offered = kinds(scopes)
    if ticked >= set(offered):
        return scopes
    kept = [scope for scope in scopes if not scope.startswith("patient/")]
    return tuple(kept + [TYPE_SCOPES[kind] for kind in offered if kind in ticked])
