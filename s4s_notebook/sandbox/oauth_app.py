"""The authorization server's pages: consent, and the list of approvals."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from s4s_notebook.sandbox import pages
from s4s_notebook.sandbox.authority import (
    MAX_ENTRIES,
    SCOPES,
    TYPE_SCOPES,
    Approval,
    RegisteredClient,
)
from s4s_notebook.sandbox.forms import BadBodyError, form_of
from s4s_notebook.sandbox.people import person
from s4s_notebook.sandbox.state import NO_STORE, State, state_of

Handler = Callable[[Request], Awaitable[Response]]
PENDING_SECONDS = 600


class UntrustedError(Exception):
    """Nothing may be redirected: the app or its address is not known."""


class RedirectedError(Exception):
    """A refusal that the app may hear of, at its registered address."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(why)
        self.error = error
        self.why = why


@dataclass(frozen=True)
class Pending:
    """One sign-in under way; bound to the browser that opened it by ``csrf``."""

    client: RegisteredClient
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str | None
    csrf: str
    expires: float


class Form:
    """The fields of a posted form; one that is missing reads as an empty text."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def one(self, name: str) -> str:
        return dict(self._pairs).get(name, "")

    def all(self, name: str) -> set[str]:
        return {value for key, value in self._pairs if key == name}


class SignIn:
    """Routes below ``/oauth`` that a person's browser visits."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/oauth/authorize", self.show, methods=["GET"]),
            Route("/oauth/authorize", _guarded(self.decide), methods=["POST"]),
            Route("/oauth/manage", self.list_approvals, methods=["GET"]),
            Route("/oauth/manage", _guarded(self.end_approval), methods=["POST"]),
        ]

    # -- consent -------------------------------------------------------------------------

    async def show(self, request: Request) -> Response:
        state = state_of(request)
        asked = _single(request.query_params.multi_items())
        try:
            client, redirect_uri = _trusted(state, asked)
        except UntrustedError as error:
            return _refusal(400, str(error))
        try:
            pending = self._open(state, client, redirect_uri, asked, _cookie(request, state))
        except RedirectedError as error:
            return _back(
                state,
                redirect_uri,
                asked.get("state", ""),
                {"error": error.error, "error_description": error.why},
            )
        return self._consent_page(state, pending, "")

    def _open(
        self,
        state: State,
        client: RegisteredClient,
        redirect_uri: str,
        asked: Mapping[str, str],
        csrf: str,
    ) -> tuple[str, Pending]:
        scopes = _checked(state, client, asked)
        transaction = secrets.token_urlsafe(16)
        pending = Pending(
            client=client,
            redirect_uri=redirect_uri,
            scopes=scopes,
            state=asked["state"],
            challenge=asked.get("code_challenge"),
            csrf=csrf,
            expires=state.settings.now() + PENDING_SECONDS,
        )
        self._pending[transaction] = pending
        while len(self._pending) > MAX_ENTRIES:
            del self._pending[next(iter(self._pending))]
        return transaction, pending

    def _consent_page(self, state: State, opened: tuple[str, Pending], message: str) -> Response:
        transaction, pending = opened
        goes_to = urlsplit(pending.redirect_uri)

        def draw(nonce: str) -> str:
            return pages.consent(
                pending.client,
                state.holding.people,
                _kinds(pending.scopes),
                goes_to=goes_to.netloc or goes_to.scheme,
                offline="offline_access" in pending.scopes,
                transaction=transaction,
                csrf=pending.csrf,
                nonce=nonce,
                message=message,
            )

        allowed = f"{goes_to.scheme}://{goes_to.netloc}" if goes_to.netloc else f"{goes_to.scheme}:"
        response = _html(draw, 400 if message else 200, form_action=allowed)
        _set_cookie(response, state, pending.csrf)
        return response

    async def decide(self, request: Request) -> Response:
        state = state_of(request)
        form = Form(await form_of(request))
        transaction = form.one("transaction")
        pending = self._pending.get(transaction)
        if pending is None or state.settings.now() >= pending.expires:
            return _refusal(400, "This page is too old or was used before.")
        if not _same_browser(request, state, form) or form.one("csrf") != pending.csrf:
            return _refusal(403, "This form does not come from this browser.")
        if form.one("decision") != "approve":
            del self._pending[transaction]
            return _decline(state, pending)
        patient_id = form.one("patient")
        if patient_id not in {p.id for p in state.holding.people}:
            return self._consent_page(state, (transaction, pending), "Say who you are.")
        scopes = _narrowed(pending.scopes, form)
        if not _kinds(scopes):
            message = "Allow at least one thing, or decline."
            return self._consent_page(state, (transaction, pending), message)
        del self._pending[transaction]
        return _approve(state, pending, patient_id, scopes, form.one("days"))

    # -- approvals -----------------------------------------------------------------------

    async def list_approvals(self, request: Request) -> Response:
        state = state_of(request)
        csrf = _cookie(request, state)
        rows = [
            (approval, _app_name(state, approval), _person_name(approval))
            for approval in reversed(state.authority.approvals.values())
        ]

        def draw(nonce: str) -> str:
            return pages.manage(rows[:200], csrf=csrf, nonce=nonce, now=state.settings.now())

        response = _html(draw, 200)
        _set_cookie(response, state, csrf)
        return response

    async def end_approval(self, request: Request) -> Response:
        state = state_of(request)
        form = Form(await form_of(request))
        if not _same_browser(request, state, form):
            return _refusal(403, "This form does not come from this browser.")
        try:
            state.authority.revoke_approval(form.one("approval"))
        except KeyError:
            return _refusal(404, "There is no such approval.")
        return RedirectResponse("manage", 303, headers=NO_STORE)


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadBodyError as error:
            return _refusal(400, f"The form could not be read: {error}.")

    return guarded


def _single(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters that come twice are dropped: RFC 6749 forbids them, and guessing is unsafe."""
    seen: dict[str, list[str]] = {}
    for name, value in pairs:
        seen.setdefault(name, []).append(value)
    return {name: values[0] for name, values in seen.items() if len(values) == 1}


def _trusted(state: State, asked: Mapping[str, str]) -> tuple[RegisteredClient, str]:
    client = state.authority.client(asked.get("client_id", ""))
    if client is None:
        raise UntrustedError("This app is not registered here (client_id).")
    redirect_uri = asked.get("redirect_uri", "")
    if redirect_uri not in client.redirect_uris:
        raise UntrustedError(
            "The app's return address is not one that it registered (redirect_uri)."
        )
    return client, redirect_uri


def _checked(state: State, client: RegisteredClient, asked: Mapping[str, str]) -> tuple[str, ...]:
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
    if not _kinds(scopes):
        raise RedirectedError("invalid_scope", f"ask for some of: {' '.join(SCOPES)}")
    return scopes


def _kinds(scopes: tuple[str, ...]) -> list[str]:
    """The resource types that some scopes open."""
    return [
        kind for kind in pages.SHARED if "patient/*.read" in scopes or TYPE_SCOPES[kind] in scopes
    ]


def _narrowed(scopes: tuple[str, ...], form: Form) -> tuple[str, ...]:
    """What remains of the scopes after the person's ticks."""
    ticked = form.all("share")
    offered = _kinds(scopes)
    if ticked >= set(offered):
        return scopes
    kept = [scope for scope in scopes if not scope.startswith("patient/")]
    return tuple(kept + [TYPE_SCOPES[kind] for kind in offered if kind in ticked])


def _approve(
    state: State, pending: Pending, patient_id: str, scopes: tuple[str, ...], days: str
) -> Response:
    seconds = (int(days) if days in ("1", "30", "365", "730") else 365) * 86_400.0
    if state.personality.one_approval_per_client:
        for old in list(state.authority.approvals.values()):
            if old.client_id == pending.client.id:
                state.authority.revoke_approval(old.id)
    approval = state.authority.approve(pending.client.id, patient_id, scopes, seconds)
    code = state.authority.code(approval, pending.redirect_uri, pending.challenge)
    return _back(state, pending.redirect_uri, pending.state, {"code": code})


def _decline(state: State, pending: Pending) -> Response:
    sent = "" if state.personality.decline_without_state else pending.state
    why = {"error": "access_denied", "error_description": "the person declined"}
    return _back(state, pending.redirect_uri, sent, why)


def _back(state: State, redirect_uri: str, sent: str, values: Mapping[str, str]) -> Response:
    """Redirect to the app with ``values``, its state and who we are (RFC 9207)."""
    pairs = dict(values)
    if sent:
        pairs["state"] = sent
    if state.personality.well_known:
        pairs["iss"] = state.fhir_origin
    glue = "&" if urlsplit(redirect_uri).query else "?"
    headers = {**NO_STORE, "Referrer-Policy": "no-referrer"}
    return RedirectResponse(f"{redirect_uri}{glue}{urlencode(pairs)}", 303, headers=headers)


def _refusal(status: int, why: str) -> HTMLResponse:
    return _html(lambda nonce: pages.refusal(why, nonce), status)


def _html(draw: Callable[[str], str], status: int, *, form_action: str = "") -> HTMLResponse:
    nonce = secrets.token_urlsafe(12)
    text = draw(nonce)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action 'self' {form_action}"
    )
    headers = {
        **NO_STORE,
        "Content-Security-Policy": policy.strip(),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(text, status, headers=headers)


def _cookie_name(state: State) -> str:
    # Cookies know no ports: two sandboxes on one machine must not share one.
    return f"s4s_sandbox_{urlsplit(state.fhir_origin).port}"


def _cookie(request: Request, state: State) -> str:
    held = request.cookies.get(_cookie_name(state), "")
    return held if len(held) >= 32 else secrets.token_urlsafe(32)


def _set_cookie(response: Response, state: State, value: str) -> None:
    response.set_cookie(_cookie_name(state), value, httponly=True, samesite="lax", max_age=3600)


def _same_browser(request: Request, state: State, form: Form) -> bool:
    held = request.cookies.get(_cookie_name(state), "")
    return bool(held) and hmac.compare_digest(held.encode(), form.one("csrf").encode())


def _app_name(state: State, approval: Approval) -> str:
    client = state.authority.client(approval.client_id)
    return client.name if client is not None else "an app"


def _person_name(approval: Approval) -> str:
    who = person(approval.patient_id)
    return who.name if who is not None else approval.patient_id
