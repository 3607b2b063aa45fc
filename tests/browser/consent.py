"""A holder's consent page on another site: approves, declines, or sends a faulty reply.

And a browser that does not come back from the sandbox's page.
"""

from __future__ import annotations

import html
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit


class Consent:
    """Serves `/authorize`; `replies` collects the addresses that it sent browsers back to."""

    def __init__(self, code: str, host: str = "localhost") -> None:
        self.replies: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = urlsplit(self.path)
                values = dict(parse_qsl(asked.query))
                back, state = values.get("redirect_uri", ""), values.get("state", "")
                if asked.path == "/authorize":
                    links = {
                        "Approve": {"code": code, "state": state},
                        "Decline": {"error": "access_denied", "state": state},
                        "Decline without state": {"error": "access_denied"},
                    }
                    rows = ""
                    for text, query in links.items():
                        go = urlencode({"to": f"{back}?{urlencode(query)}"})
                        rows += f'<p><a href="/go?{html.escape(go)}">{text}</a></p>'
                    self._send(200, f"<!DOCTYPE html><h1>Share your data?</h1>{rows}")
                elif "to" not in values:
                    self._send(404, "")
                else:
                    outer.replies.append(values["to"])
                    self._send(302, "", Location=values["to"])

            def _send(self, status: int, body: str, **headers: str) -> None:
                content = body.encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://{host}:{self._server.server_address[1]}/authorize"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


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
