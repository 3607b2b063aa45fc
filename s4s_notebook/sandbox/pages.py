"""The pages a person sees: consent, refusal, and the list of what was allowed.

Plain HTML without scripts, readable at any size, usable by keyboard and screen reader. Links
and form actions are relative, so that the pages work behind a proxy with a path of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from html import escape

from .authority import Approval, RegisteredClient
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
    kinds: Sequence[str],
    *,
    goes_to: str,
    offline: bool,
    transaction: str,
    csrf: str,
    nonce: str,
    message: str = "",
) -> str:
    """The consent page: who, what, how long, and two buttons."""
    who = "".join(
        f'<label><input type="radio" name="patient" value="{escape(p.id)}"'
        f"{' checked' if n == 0 else ''}> {escape(p.name)}, born {escape(p.birth_date)}</label>"
        for n, p in enumerate(people)
    )
    what = "".join(
        f'<label><input type="checkbox" name="share" value="{kind}" checked'
        f' aria-describedby="about-{kind}"> {SHARED[kind][0]}</label>'
        f'<p class="hint" id="about-{kind}">{SHARED[kind][1]}</p>'
        for kind in kinds
    )
    stay = (
        "The app may look again for new data until then; you can end that at any time on the "
        '<a href="manage">page of your approvals</a>.'
        if offline
        else "The app may read for an hour at most."
    )
    warning = f'<p role="alert" class="note">{escape(message)}</p>' if message else ""
    body = f"""{warning}
<p><strong>{escape(client.name)}</strong> asks to read a health record. What you allow goes to
<strong>{escape(goes_to)}</strong>.</p>
<p class="note">This is a practice holder: every person and every record is made up.</p>
<form method="post" action="authorize">
<input type="hidden" name="transaction" value="{escape(transaction)}">
<input type="hidden" name="csrf" value="{escape(csrf)}">
<fieldset><legend>Who are you?</legend>{who}</fieldset>
<fieldset><legend>What may be read?</legend>{what}</fieldset>
<fieldset><legend>For how long?</legend>
<label for="days">The approval ends after</label>
<select id="days" name="days"><option value="1">one day</option><option value="30">30 days</option>
<option value="365" selected>one year</option><option value="730">two years</option></select>
<p class="hint">{stay}</p></fieldset>
<p><button class="go" name="decision" value="approve">Approve</button>
<button class="no" name="decision" value="decline">Decline</button></p>
</form>"""
    return page(f"Share a record with {client.name}?", body, nonce)


def refusal(why: str, nonce: str) -> str:
    """Shown instead of a redirect when the app cannot be trusted with one."""
    body = (
        f'<p role="alert">{escape(why)}</p>'
        "<p>Nothing was shared. Close this page and start again from your notebook.</p>"
    )
    return page("This sign-in cannot go on", body, nonce)


def manage(
    approvals: Sequence[tuple[Approval, str, str]], *, csrf: str, nonce: str, now: float
) -> str:
    """The list of approvals: (approval, app's name, person's name), each with a way to end it."""
    rows = "".join(_row(approval, app, who, csrf, now) for approval, app, who in approvals)
    table = (
        "<table><thead><tr><th scope='col'>App</th><th scope='col'>Person</th>"
        "<th scope='col'>Until</th><th scope='col'>State</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else "<p>No app may read anything at present.</p>"
    )
    return page("Your approvals", f"<p>Apps that may read a record here.</p>{table}", nonce)


def _row(approval: Approval, app: str, who: str, csrf: str, now: float) -> str:
    until = dt.datetime.fromtimestamp(approval.expires, dt.UTC).date().isoformat()
    if approval.revoked:
        state = "ended"
    elif now >= approval.expires:
        state = "run out"
    else:
        state = (
            '<form method="post" action="manage">'
            f'<input type="hidden" name="csrf" value="{escape(csrf)}">'
            f'<input type="hidden" name="approval" value="{escape(approval.id)}">'
            f'<button class="no" aria-label="End the approval of {escape(app)} for {escape(who)}">'
            "End it</button></form>"
        )
    return f"<tr><td>{escape(app)}</td><td>{escape(who)}</td><td>{until}</td><td>{state}</td></tr>"
