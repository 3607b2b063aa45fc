"""Approval of a sign-in without a browser: loads the consent page and submits its form."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from ..errors import AuthorizationError


class ConsentForm(HTMLParser):
    """A parser of a page: its first form, and its alert.

    Attributes:
        action: Address that the form is sent to.
        hidden: Values of the hidden fields by name.
        boxes: Names and values of the check boxes.
        alert: Text with the role ``alert``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self.boxes: list[tuple[str, str]] = []
        self.alert = ""
        self._in_alert = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read the form and its inputs."""
        attributes = {name: value or "" for name, value in attrs}
        self._in_alert = attributes.get("role") == "alert"
        if tag == "form" and not self.action:
            self.action = attributes.get("action", "")
        if tag != "input":
            return
        name, value = attributes.get("name", ""), attributes.get("value", "")
        if attributes.get("type") == "hidden":
            self.hidden[name] = value
        elif attributes.get("type") == "checkbox":
            self.boxes.append((name, value))

    def handle_data(self, data: str) -> None:
        """Read the text of the alert."""
        if self._in_alert:
            self.alert += data


def approve(
    authorize_url: str,
    *,
    patient: str = "smart-1288992",
    decline: bool = False,
    share: Sequence[str] | None = None,
    days: int = 365,
) -> str:
    """Load the consent page, select ``patient``, and approve or decline.

    Args:
        authorize_url: The authorization request of any running sandbox.
        patient: Id of the participant.
        decline: Whether to decline.
        share: The resource types to allow; all by default.
        days: How long the approval lasts.

    Returns:
        The redirect to the app, with ``code`` and ``state`` or with ``error``. It is not opened.

    Raises:
        AuthorizationError: The page refuses.
    """
    status, headers, body = _call("GET", authorize_url)
    if status in (302, 303):
        return headers["location"]
    if status != 200:
        raise _refusal(status, body)
    form = ConsentForm()
    form.feed(body)
    fields = [*form.hidden.items(), ("patient", patient), ("days", str(days))]
    fields += [(name, value) for name, value in form.boxes if share is None or value in share]
    fields.append(("decision", "decline" if decline else "approve"))
    target = urljoin(authorize_url.partition("?")[0], form.action)
    status, headers, body = _call("POST", target, urlencode(fields), headers.get("set-cookie", ""))
    if status not in (302, 303):
        raise _refusal(status, body)
    return headers["location"]


def _refusal(status: int, body: str) -> AuthorizationError:
    page = ConsentForm()
    page.feed(body)
    text = page.alert.strip()[:200] or "no reason given"
    return AuthorizationError(f"the consent page answered {status}: {text}")


def _call(
    method: str, url: str, form: str | None = None, cookie: str = ""
) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=30)
    try:
        headers = {"Accept": "text/html"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if cookie:
            headers["Cookie"] = cookie
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=form, headers=headers)
        response = connection.getresponse()
        body = response.read(1_000_000).decode("utf-8", "replace")
        response_headers = {k.lower(): v for k, v in response.getheaders()}
        response_headers["set-cookie"] = _cookies(response.msg.get_all("Set-Cookie", []))
        return response.status, response_headers, body
    finally:
        connection.close()


def _cookies(lines: Sequence[str]) -> str:
    """Return the Cookie header for all cookies that were set, a proxy's included."""
    jar = SimpleCookie()
    for line in lines:
        jar.load(line)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())
