"""A redirect address on this machine, for kernels without our Jupyter server pages.

RFC 8252 section 7.3: 127.0.0.1 and a port of the system's choice. It serves two pages, the
start of a sign-in and its reply, to browsers on the same machine.
"""

from __future__ import annotations

import contextvars
import html
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em}"
    "h1{font-size:1.4em}"
)

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page(title: str, text: str, *, go_to: str = "") -> str:
    """Return a page without scripts, links or forms; ``go_to`` makes it lead on by itself."""
    refresh = f'<meta http-equiv="refresh" content="0;url={html.escape(go_to)}">' if go_to else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{refresh}'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></main></body></html>"
    )


GO_BACK = "You can close this page and go back to your notebook."
ENDINGS = {
    "done": ("Approved", f"The reply has reached your notebook. {GO_BACK}"),
    "declined": ("Not approved", f"Nothing was shared. {GO_BACK}"),
    "unknown": (
        "This sign-in is over",
        "It was answered already, took too long, its notebook was closed, or the reply does not "
        "say which sign-in it belongs to. If you declined, nothing was shared. "
        "Go back to your notebook and press Authorise again.",
    ),
}


Reply = Callable[[str], str]  # the query, to one of ENDINGS
Start = Callable[[str], str]  # the redirect address, to the holder's page


class Listener:
    """Listens until closed.

    Args:
        panel: the name under which the start page can be asked for, not to be guessed.
        start: gives the holder's page; its error text is shown to the person.
        reply: takes the query of the redirected address.
        port: 0 lets the system choose.
        path: of the redirect address.
    """

    def __init__(
        self, panel: str, start: Start, reply: Reply, port: int = 0, path: str = "/callback"
    ) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._panel = panel
        self._start = start
        self._reply = reply
        self._path = path
        self.port = int(self._server.server_address[1])
        run = contextvars.copy_context().run
        self._thread = Thread(
            target=run, args=(self._server.serve_forever, 0.2), name="s4s listener", daemon=True
        )
        self._thread.start()

    @property
    def redirect_uri(self) -> str:
        """The redirect address."""
        return f"http://127.0.0.1:{self.port}{self._path}"

    @property
    def start_url(self) -> str:
        """The page that starts a sign-in."""
        return f"http://127.0.0.1:{self.port}/start/{self._panel}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, host: str, address: str) -> tuple[int, dict[str, str], str]:
        """Return status, headers and body for a GET of ``address`` with this Host header."""
        if host not in {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}:
            return 403, {}, page("Not here", "This address is not one of ours.")
        path, _, query = address.partition("?")
        if path == self._path:
            ending = self._reply(query)
            return (400 if ending == "unknown" else 200), {}, page(*ENDINGS[ending])
        if path != f"/start/{self._panel}":
            return 404, {}, page("Not here", "Go back to your notebook and press Authorise.")
        try:
            return 302, {"Location": self._start(self.redirect_uri)}, ""
        except Exception as error:  # noqa: BLE001 - a thread of ours must answer; the panel tells
            return 502, {}, page("The sign-in could not start", str(error))


def _handler(listener: Listener) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds; a browser that says nothing holds a thread no longer

        def do_GET(self) -> None:
            status, headers, body = listener.answer(self.headers.get("Host", ""), self.path)
            content = body.encode()
            self.send_response(status)
            for name, value in {**HEADERS, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_words: object) -> None:
            """Say nothing: the address holds a code."""

    return Handler
