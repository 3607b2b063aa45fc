"""Sign-in and approval in the browser (RFC 6749 section 4.1): checks, consent, approvals."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from . import consent_pages
from .authority import MAX_ENTRIES, Approval, OAuthError, RegisteredClient
from .consent_pages import cookie, html, refusal, same_browser, set_cookie
from .context import NO_STORE, BadBodyError, Handler, SandboxContext, context_of, read_form
from .data.people import find_person
from .scopes import choices, narrowed


class UnknownClientError(Exception):
    """The app or its redirect address is unknown, so that nothing may be redirected."""


def unrepeated(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters without those that are repeated, which RFC 6749 forbids."""
    values_by_name: dict[str, list[str]] = {}
    for name, value in pairs:
        values_by_name.setdefault(name, []).append(value)
    return {name: values[0] for name, values in values_by_name.items() if len(values) == 1}


def registered_client(
    context: SandboxContext, parameters: Mapping[str, str]
) -> tuple[RegisteredClient, str]:
    """Return the app and its redirect address.

    Raises:
        UnknownClientError: Either is not registered.
    """
    client = context.authority.client(parameters.get("client_id", ""))
    if client is None:
        raise UnknownClientError("This app is not registered here (client_id).")
    redirect_uri = parameters.get("redirect_uri", "")
    if redirect_uri not in client.redirect_uris:
        raise UnknownClientError(
            "The app's return address is not one that it registered (redirect_uri)."
        )
    return client, redirect_uri


def offered_scopes(
    context: SandboxContext, client: RegisteredClient, parameters: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the scopes to offer on the consent page.

    Raises:
        OAuthError: SMART does not allow a parameter.
    """
    if parameters.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if not parameters.get("state"):
        raise OAuthError("invalid_request", "state is missing")
    if parameters.get("aud", "").rstrip("/") != context.fhir_base:
        raise OAuthError("invalid_request", f"aud must be {context.fhir_base}")
    challenge = parameters.get("code_challenge")
    if challenge is not None and parameters.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "code_challenge_method must be S256")
    if challenge is None and client.public:
        raise OAuthError("invalid_request", "a public client must use PKCE")
    scopes = context.authority.grantable(parameters.get("scope", "").split())
    if not choices(scopes):
        raise OAuthError("invalid_scope", f"ask for some of: {' '.join(context.authority.scopes)}")
    return scopes


PENDING_SECONDS = 600


@dataclass(frozen=True)
class PendingSignIn:
    """A sign-in that waits for the person; ``csrf`` binds it to one browser."""

    client: RegisteredClient
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str | None
    csrf: str
    expires: float


class SignInRoutes:
    """The routes below ``/oauth`` that a person's browser opens."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingSignIn] = {}

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/oauth/authorize", self.show, methods=["GET"]),
            Route("/oauth/authorize", _guarded(self.show_or_decide), methods=["POST"]),
            Route("/oauth/manage", self.list_approvals, methods=["GET"]),
            Route("/oauth/manage", _guarded(self.end_approval), methods=["POST"]),
        ]

    # -- consent -------------------------------------------------------------------------

    async def show(self, request: Request) -> Response:
        """Answer an authorization request by GET with the consent page."""
        return self._show(request, request.query_params.multi_items())

    async def show_or_decide(self, request: Request) -> Response:
        """Answer a POST: the consent form, or an authorization request (``authorize-post``)."""
        pairs = await read_form(request)
        if "transaction" not in dict(pairs):
            return self._show(request, pairs)
        return self._decide(request, ImmutableMultiDict(pairs))

    def _show(self, request: Request, pairs: list[tuple[str, str]]) -> Response:
        context = context_of(request)
        parameters = unrepeated(pairs)
        try:
            client, redirect_uri = registered_client(context, parameters)
        except UnknownClientError as error:
            return refusal(400, str(error))
        try:
            pending = self._add_pending(
                context, client, redirect_uri, parameters, cookie(request, context)
            )
        except OAuthError as error:
            description = {"error": error.error, "error_description": error.description}
            return _redirect(context, redirect_uri, parameters.get("state", ""), description)
        return self._consent_page(request, pending, "")

    def _add_pending(
        self,
        context: SandboxContext,
        client: RegisteredClient,
        redirect_uri: str,
        parameters: Mapping[str, str],
        csrf: str,
    ) -> tuple[str, PendingSignIn]:
        scopes = offered_scopes(context, client, parameters)
        transaction = secrets.token_urlsafe(16)
        pending = PendingSignIn(
            client=client,
            redirect_uri=redirect_uri,
            scopes=scopes,
            state=parameters["state"],
            challenge=parameters.get("code_challenge"),
            csrf=csrf,
            expires=context.settings.now() + PENDING_SECONDS,
        )
        self._pending[transaction] = pending
        while len(self._pending) > MAX_ENTRIES:
            del self._pending[next(iter(self._pending))]
        return transaction, pending

    def _consent_page(
        self, request: Request, entry: tuple[str, PendingSignIn], message: str
    ) -> Response:
        context = context_of(request)
        transaction, pending = entry
        goes_to = urlsplit(pending.redirect_uri)

        body = consent_pages.consent(
            pending.client,
            context.resources.people,
            choices(pending.scopes),
            goes_to=goes_to.netloc or goes_to.scheme,
            offline="offline_access" in pending.scopes,
            transaction=transaction,
            csrf=pending.csrf,
            message=message,
        )
        title = f"Share a record with {pending.client.name}?"
        allowed = f"{goes_to.scheme}://{goes_to.netloc}" if goes_to.netloc else f"{goes_to.scheme}:"
        response = html(title, body, 400 if message else 200, form_action=allowed)
        set_cookie(response, request, context, pending.csrf)
        return response

    def _decide(self, request: Request, form: ImmutableMultiDict[str, str]) -> Response:
        """Answer the consent form with a redirect to the app."""
        context = context_of(request)
        transaction = form.get("transaction", "")
        pending = self._pending.get(transaction)
        if pending is None or context.settings.now() >= pending.expires:
            return refusal(400, "This page is too old or was used before.")
        csrf = form.get("csrf", "")
        if not same_browser(request, context, csrf) or csrf != pending.csrf:
            return refusal(403, "This form does not come from this browser.")
        if form.get("decision", "") != "approve":
            del self._pending[transaction]
            return _decline(context, pending)
        patient_id = form.get("patient", "")
        if patient_id not in {p.id for p in context.resources.people}:
            return self._consent_page(request, (transaction, pending), "Say who you are.")
        scopes = narrowed(pending.scopes, form.getlist("share"))
        if not choices(scopes):
            message = "Allow at least one thing, or decline."
            return self._consent_page(request, (transaction, pending), message)
        del self._pending[transaction]
        return _approve(context, pending, patient_id, scopes, form.get("days", ""))

    # -- approvals -----------------------------------------------------------------------

    async def list_approvals(self, request: Request) -> Response:
        """Answer with the list of approvals."""
        context = context_of(request)
        csrf = cookie(request, context)
        rows = [
            (approval, _app_name(context, approval), _person_name(approval))
            for approval in reversed(context.authority.approvals.values())
        ]

        body = consent_pages.manage(rows[:200], csrf=csrf, now=context.settings.now())
        response = html("Your approvals", body, 200)
        set_cookie(response, request, context, csrf)
        return response

    async def end_approval(self, request: Request) -> Response:
        """Revoke the approval that the form names."""
        context = context_of(request)
        form = ImmutableMultiDict(await read_form(request))
        if not same_browser(request, context, form.get("csrf", "")):
            return refusal(403, "This form does not come from this browser.")
        try:
            context.authority.revoke_approval(form.get("approval", ""))
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
    context: SandboxContext,
    pending: PendingSignIn,
    patient_id: str,
    scopes: tuple[str, ...],
    days: str,
) -> Response:
    seconds = (int(days) if days in ("1", "30", "365", "730") else 365) * 86_400.0
    if context.personality.one_approval_per_client:
        for old in list(context.authority.approvals.values()):
            if old.client_id == pending.client.id:
                context.authority.revoke_approval(old.id)
    approval = context.authority.approve(pending.client.id, patient_id, scopes, seconds)
    code = context.authority.issue_code(approval, pending.redirect_uri, pending.challenge)
    return _redirect(context, pending.redirect_uri, pending.state, {"code": code})


def _decline(context: SandboxContext, pending: PendingSignIn) -> Response:
    sent = "" if context.personality.decline_without_state else pending.state
    description = {"error": "access_denied", "error_description": "the person declined"}
    return _redirect(context, pending.redirect_uri, sent, description)


def _redirect(
    context: SandboxContext, redirect_uri: str, sent: str, values: Mapping[str, str]
) -> Response:
    """Redirect to the app with ``values``, its state and the issuer (RFC 9207)."""
    pairs = dict(values)
    if sent:
        pairs["state"] = sent
    if context.personality.well_known:
        pairs["iss"] = context.fhir_base
    glue = "&" if urlsplit(redirect_uri).query else "?"
    headers = {**NO_STORE, "Referrer-Policy": "no-referrer"}
    return RedirectResponse(f"{redirect_uri}{glue}{urlencode(pairs)}", 303, headers=headers)


def _app_name(context: SandboxContext, approval: Approval) -> str:
    client = context.authority.client(approval.client_id)
    return client.name if client is not None else "an app"


def _person_name(approval: Approval) -> str:
    person = find_person(approval.patient_id)
    return person.name if person is not None else approval.patient_id
