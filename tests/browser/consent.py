"""A holder's consent page on another site: approves, declines, or sends a faulty reply.

And a browser that does not come back from the sandbox's page.
"""

from __future__ import annotations

import html
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.faultserver import Conversation, FaultServer, scripts


class Consent:
    """Serves `/authorize`; `replies` collects the addresses that it sent browsers back to."""

    def __init__(self, code: str, host: str = "localhost") -> None:
        self.replies: list[str] = []
        self._code = code
        self._server = FaultServer().on("/authorize", self._ask).on("/go", self._go)
        self.url = f"http://{host}:{self._server.port}/authorize"

    def _ask(self, talk: Conversation) -> None:
        values = dict(parse_qsl(urlsplit(talk.seen.target).query))
        back, state = values.get("redirect_uri", ""), values.get("state", "")
        links = {
            "Approve": {"code": self._code, "state": state},
            "Decline": {"error": "access_denied", "state": state},
            "Decline without state": {"error": "access_denied"},
        }
        rows = ""
        for text, query in links.items():
            go = urlencode({"to": f"{back}?{urlencode(query)}"})
            rows += f'<p><a href="/go?{html.escape(go)}">{text}</a></p>'
        page = f"<!DOCTYPE html><h1>Share your data?</h1>{rows}".encode()
        scripts.reply(200, page, Content_Type="text/html; charset=utf-8")(talk)

    def _go(self, talk: Conversation) -> None:
        [target] = talk.seen.query["to"]
        self.replies.append(target)
        scripts.redirect(target)(talk)

    def close(self) -> None:
        self._server.stop()


def stay_away(context: Any) -> list[str]:
    """Keep a browser from following the sandbox's page back; collect where it was sent to."""
    landed: list[str] = []

    def stay(route: Any) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        reply = route.fetch(max_redirects=0)
        landed.append(reply.headers.get("location", ""))
        route.fulfill(status=200, body="This site cannot be reached")

    context.route(lambda url: "/oauth/" in url, stay)
    return landed
