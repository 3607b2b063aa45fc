"""The pages that a person's browser shows: consent, refusal, and the list of approvals.

Plain HTML without scripts, usable by keyboard and screen reader, under a strict Content
Security Policy. Links and form actions are relative, so that the pages work behind a proxy.
"""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
from collections.abc import Sequence
from html import escape
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .authority import Approval, RegisteredClient
from .context import NO_STORE, SandboxContext
from .data.people import Person

STYLE = """
:root { color-scheme: light dark; --edge: #8a8f98; --go: #14532d; --no: #7f1d1d; }
body {
  font: 1.05rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem;
}
h1 { font-size: 1.5rem; line-height: 1.25; }
fieldset {
  border: 1px solid var(--edge); border-radius: .5rem; margin: 1rem 0; padding: .5rem 1rem;
}
legend { font-weight: 600; padding: 0 .4rem; }
label { display: block; padding: .35rem 0; cursor: pointer; }
input, select, button { font: inherit; }
input:focus-visible, select:focus-visible, button:focus-visible {
  outline: 3px solid #2563eb; outline-offset: 2px;
}
.hint { color: #4b5563; font-size: .95rem; margin: .1rem 0 .1rem 1.7rem; }
@media (prefers-color-scheme: dark) { .hint { color: #b6bcc6; } }
button {
  padding: .6rem 1.4rem; border-radius: .4rem; border: 1px solid var(--edge);
  cursor: pointer; margin-right: .8rem;
}
button.go { background: var(--go); color: #fff; border-color: var(--go); }
button.no { background: #fff; color: var(--no); border-color: var(--no); }
.note { border-left: 4px solid var(--edge); padding: .2rem .8rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem; border-bottom: 1px solid var(--edge); }
"""

SHARED = {
    "ImagingStudy": ("Images", "CT, MR, ultrasound and other pictures, with their descriptions"),
    "ExplanationOfBenefit": ("Claims", "what Medicare paid, for which service, on which day"),
    "Coverage": ("Coverage", "which parts of Medicare the person has, since when"),
    "Patient": ("Name and birth date", "who the person is"),
}


def page(title: str, body: str, nonce: str) -> str:
    """Return a complete HTML page; ``nonce`` allows its style."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f'<style nonce="{nonce}">{STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>\n{body}</main></body></html>"
    )


def consent(
    client: RegisteredClient,
    people: Sequence[Person],
    resource_types: Sequence[str],
    *,
    goes_to: str,
    offline: bool,
    transaction: str,
    csrf: str,
    message: str = "",
) -> str:
    """Return the body of the consent page.

    Args:
        client: The app.
        people: The participants to choose from.
        resource_types: The resource types to choose from.
        goes_to: Where the data go: host or scheme of the app.
        offline: Whether the app may read without the person present.
        transaction: Id of the pending sign-in.
        csrf: Token that binds the form to the browser.
        message: A warning above the form.
    """
    participants = "".join(
        f'<label><input type="radio" name="patient" value="{escape(p.id)}"'
        f"{' checked' if n == 0 else ''}> {escape(p.name)}, born {escape(p.birth_date)}</label>"
        for n, p in enumerate(people)
    )
    types = "".join(
        f'<label><input type="checkbox" name="share" value="{kind}" checked'
        f' aria-describedby="about-{kind}"> {SHARED[kind][0]}</label>'
        f'<p class="hint" id="about-{kind}">{SHARED[kind][1]}</p>'
        for kind in resource_types
    )
    hint = (
        "The app may look again for new data until then; you can end that at any time on the "
        '<a href="manage">page of your approvals</a>.'
        if offline
        else "The app may read for an hour at most."
    )
    warning = f'<p role="alert" class="note">{escape(message)}</p>' if message else ""
    return f"""{warning}
<p><strong>{escape(client.name)}</strong> asks to read a health record. What you allow goes to
<strong>{escape(goes_to)}</strong>.</p>
<p class="note">This is a practice holder: every person and every record is made up.</p>
<form method="post" action="authorize">
<input type="hidden" name="transaction" value="{escape(transaction)}">
<input type="hidden" name="csrf" value="{escape(csrf)}">
<fieldset><legend>Who are you?</legend>{participants}</fieldset>
<fieldset><legend>What may be read?</legend>{types}</fieldset>
<fieldset><legend>For how long?</legend>
<label for="days">The approval ends after</label>
<select id="days" name="days"><option value="1">one day</option><option value="30">30 days</option>
<option value="365" selected>one year</option><option value="730">two years</option></select>
<p class="hint">{hint}</p></fieldset>
<p><button class="go" name="decision" value="approve">Approve</button>
<button class="no" name="decision" value="decline">Decline</button></p>
</form>"""


def manage(approvals: Sequence[tuple[Approval, str, str]], *, csrf: str, now: float) -> str:
    """Return the body of the list of approvals, each with app, person and an end button."""
    rows = "".join(_row(approval, app, person, csrf, now) for approval, app, person in approvals)
    table = (
        "<table><thead><tr><th scope='col'>App</th><th scope='col'>Person</th>"
        "<th scope='col'>Until</th><th scope='col'>State</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else "<p>No app may read anything at present.</p>"
    )
    return f"<p>Apps that may read a record here.</p>{table}"


def _row(approval: Approval, app: str, person: str, csrf: str, now: float) -> str:
    until = dt.datetime.fromtimestamp(approval.expires, dt.UTC).date().isoformat()
    if approval.revoked:
        status = "ended"
    elif now >= approval.expires:
        status = "run out"
    else:
        status = (
            '<form method="post" action="manage">'
            f'<input type="hidden" name="csrf" value="{escape(csrf)}">'
            f'<input type="hidden" name="approval" value="{escape(approval.id)}">'
            f'<button class="no" aria-label="End the approval of {escape(app)} for '
            f'{escape(person)}">'
            "End it</button></form>"
        )
    return (
        f"<tr><td>{escape(app)}</td><td>{escape(person)}</td><td>{until}</td><td>{status}</td></tr>"
    )


def refusal(status: int, description: str) -> HTMLResponse:
    """Return the response that says why a sign-in is refused."""
    body = (
        f'<p role="alert">{escape(description)}</p>'
        "<p>Nothing was shared. Close this page and start again from your notebook.</p>"
    )
    return html("This sign-in cannot go on", body, status)


def html(title: str, body: str, status: int, *, form_action: str = "") -> HTMLResponse:
    """Return a page under a strict Content Security Policy.

    Args:
        title: Title and heading.
        body: HTML below the heading.
        status: HTTP status.
        form_action: Source to which a form may be redirected.
    """
    nonce = secrets.token_urlsafe(12)
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
    return HTMLResponse(page(title, body, nonce), status, headers=headers)


def _cookie_name(context: SandboxContext) -> str:
    # Cookies know no ports: two sandboxes on one machine must not share one.
    return f"s4s_sandbox_{urlsplit(context.fhir_origin).port}"


def cookie(request: Request, context: SandboxContext) -> str:
    """Return the cookie that binds forms to the browser; a new value when it has none."""
    current = request.cookies.get(_cookie_name(context), "")
    return current if len(current) >= 32 else secrets.token_urlsafe(32)


def set_cookie(response: Response, request: Request, context: SandboxContext, value: str) -> None:
    """Set the cookie for the pages below ``/oauth``, with the prefix of a proxy."""
    response.set_cookie(
        _cookie_name(context),
        value,
        path=f"{request.scope.get('root_path', '')}/oauth",
        httponly=True,
        samesite="lax",
        secure=(context.settings.public_url or "").startswith("https:"),
        max_age=3600,
    )


def same_browser(request: Request, context: SandboxContext, csrf: str) -> bool:
    """Return whether a form was sent by the browser that opened the page."""
    current = request.cookies.get(_cookie_name(context), "")
    return bool(current) and hmac.compare_digest(current.encode(), csrf.encode())
