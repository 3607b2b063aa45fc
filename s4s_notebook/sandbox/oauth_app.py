"""The authorization server's pages: consent, and the list of approvals."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from . import pages
from .authority import MAX_ENTRIES, Approval, RegisteredClient
from .browser import cookie, html, refusal, same_browser, set_cookie
from .consent import (
    Form,
    RedirectedError,
    UntrustedError,
    checked,
    kinds,
    narrowed,
    single,
    trusted,
)
from .data.people import find_person
from .forms import BadBodyError, form_of
from .state import NO_STORE, State, state_of

Handler = Callable[[Request], Awaitable[Response]]
PENDING_SECONDS = 600


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
        asked = single(request.query_params.multi_items())
        try:
            client, redirect_uri = trusted(state, asked)
        except UntrustedError as error:
            return refusal(400, str(error))
        try:
            pending = self._open(state, client, redirect_uri, asked, cookie(request, state))
        except RedirectedError as error:
            return _back(
                state,
                redirect_uri,
                asked.get("state", ""),
                {"error": error.error, "error_description": error.why},
            )
        return self._consent_page(request, pending, "")

    def _open(
        self,
        state: State,
        client: RegisteredClient,
        redirect_uri: str,
        asked: Mapping[str, str],
        csrf: str,
    ) -> tuple[str, Pending]:
        scopes = checked(state, client, asked)
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

    def _consent_page(
        self, request: Request, opened: tuple[str, Pending], message: str
    ) -> Response:
        state = state_of(request)
        transaction, pending = opened
        goes_to = urlsplit(pending.redirect_uri)

        def draw(nonce: str) -> str:
            return pages.consent(
                pending.client,
                state.holding.people,
                kinds(pending.scopes),
                goes_to=goes_to.netloc or goes_to.scheme,
                offline="offline_access" in pending.scopes,
                transaction=transaction,
                csrf=pending.csrf,
                nonce=nonce,
                message=message,
            )

        allowed = f"{goes_to.scheme}://{goes_to.netloc}" if goes_to.netloc else f"{goes_to.scheme}:"
        response = html(draw, 400 if message else 200, form_action=allowed)
        set_cookie(response, request, state, pending.csrf)
        return response

    async def decide(self, request: Request) -> Response:
        state = state_of(request)
        form = Form(await form_of(request))
        transaction = form.one("transaction")
        pending = self._pending.get(transaction)
        if pending is None or state.settings.now() >= pending.expires:
            return refusal(400, "This page is too old or was used before.")
        if not same_browser(request, state, form) or form.one("csrf") != pending.csrf:
            return refusal(403, "This form does not come from this browser.")
        if form.one("decision") != "approve":
            del self._pending[transaction]
            return _decline(state, pending)
        patient_id = form.one("patient")
        if patient_id not in {p.id for p in state.holding.people}:
            return self._consent_page(request, (transaction, pending), "Say who you are.")
        scopes = narrowed(pending.scopes, form)
        if not kinds(scopes):
            message = "Allow at least one thing, or decline."
            return self._consent_page(request, (transaction, pending), message)
        del self._pending[transaction]
        return _approve(state, pending, patient_id, scopes, form.one("days"))

    # -- approvals -----------------------------------------------------------------------

    async def list_approvals(self, request: Request) -> Response:
        state = state_of(request)
        csrf = cookie(request, state)
        rows = [
            (approval, _app_name(state, approval), _person_name(approval))
            for approval in reversed(state.authority.approvals.values())
        ]

        def draw(nonce: str) -> str:
            return pages.manage(rows[:200], csrf=csrf, nonce=nonce, now=state.settings.now())

        response = html(draw, 200)
        set_cookie(response, request, state, csrf)
        return response

    async def end_approval(self, request: Request) -> Response:
        state = state_of(request)
        form = Form(await form_of(request))
        if not same_browser(request, state, form):
            return refusal(403, "This form does not come from this browser.")
        try:
            state.authority.revoke_approval(form.one("approval"))
        except KeyError:
            return refusal(404, "There is no such approval.")
        return RedirectResponse("manage", 303, headers=NO_STORE)


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadBodyError as error:
            return refusal(400, f"The form could not be read: {error}.")

    return guarded


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


def _app_name(state: State, approval: Approval) -> str:
    client = state.authority.client(approval.client_id)
    return client.name if client is not None else "an app"


def _person_name(approval: Approval) -> str:
    who = find_person(approval.patient_id)
    return who.name if who is not None else approval.patient_id
