"""Answers for a person's browser: pages under a strict policy, and the cookie they need."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from . import pages
from .consent import Form
from .state import NO_STORE, State


def refusal(status: int, why: str) -> HTMLResponse:
    """The page that says why a sign-in cannot go on."""
    return html(lambda nonce: pages.refusal(why, nonce), status)


def html(draw: Callable[[str], str], status: int, *, form_action: str = "") -> HTMLResponse:
    """A page under a strict policy; ``draw`` gets the nonce that its style needs."""
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


def cookie(request: Request, state: State) -> str:
    """What binds forms to this browser; a new one when it has none."""
    held = request.cookies.get(_cookie_name(state), "")
    return held if len(held) >= 32 else secrets.token_urlsafe(32)


def set_cookie(response: Response, request: Request, state: State, value: str) -> None:
    """Set it for the pages below ``/oauth`` alone, wherever a proxy has put them."""
    response.set_cookie(
        _cookie_name(state),
        value,
        path=f"{request.scope.get('root_path', '')}/oauth",
        httponly=True,
        samesite="lax",
        secure=(state.settings.public_url or "").startswith("https:"),
        max_age=3600,
    )


def same_browser(request: Request, state: State, form: Form) -> bool:
    """Whether a form came from the browser that its page was made for."""
    held = request.cookies.get(_cookie_name(state), "")
    return bool(held) and hmac.compare_digest(held.encode(), form.one("csrf").encode())
