"""Walks through the consent page as a person's browser would: real HTTP, form and cookie."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from ..errors import AuthorizationError


class ConsentForm(HTMLParser):
    """The first form of a page: its action, hidden fields, boxes and radio values."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self.boxes: list[tuple[str, str]] = []
        self.radios: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            self.action = given.get("action", "")
        if tag != "input":
            return
        name, value = given.get("name", ""), given.get("value", "")
        if given.get("type") == "hidden":
            self.hidden[name] = value
        elif given.get("type") == "checkbox":
            self.boxes.append((name, value))
        elif given.get("type") == "radio":
            self.radios.append(value)


def approve(
    authorize_url: str,
    *,
    patient: str = "smart-1288992",
    decline: bool = False,
    share: Sequence[str] | None = None,
    days: int = 365,
) -> str:
    """Open the consent page, choose ``patient``, press Approve (or Decline).

    ``share`` limits the ticks to some resource types. Returns the address that the browser
    would go to: the app's, with ``code`` and ``state``, or with ``error``. Works on any
    running sandbox; that address itself is not opened.

    Raises AuthorizationError when the page refuses.
    """
    status, headers, body = _call("GET", authorize_url)
    if status in (302, 303):
        return headers["location"]
    if status != 200:
        raise AuthorizationError(f"the consent page answered {status}: {_heading(body)}")
    form = ConsentForm()
    form.feed(body)
    fields = [*form.hidden.items(), ("patient", patient), ("days", str(days))]
    fields += [(name, value) for name, value in form.boxes if share is None or value in share]
    fields.append(("decision", "decline" if decline else "approve"))
    target = urljoin(authorize_url.partition("?")[0], form.action)
    status, headers, body = _call("POST", target, urlencode(fields), headers.get("set-cookie", ""))
    if status not in (302, 303):
        raise AuthorizationError(f"the consent page answered {status}: {_heading(body)}")
    return headers["location"]


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
        answer = connection.getresponse()
        body = answer.read(1_000_000).decode("utf-8", "replace")
        found = {k.lower(): v for k, v in answer.getheaders()}
        found["set-cookie"] = _cookies(answer.msg.get_all("Set-Cookie", []))
        return answer.status, found, body
    finally:
        connection.close()


def _cookies(lines: Sequence[str]) -> str:
    """All cookies that were set, as they are sent back; a proxy adds some of its own."""
    jar = SimpleCookie()
    for line in lines:
        jar.load(line)
    return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())


class _Alert(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self._inside = ("role", "alert") in attrs

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.text += data


def _heading(body: str) -> str:
    alert = _Alert()
    alert.feed(body)
    return alert.text.strip()[:200] or "no reason given"
