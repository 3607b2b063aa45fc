"""``s4s/start/<panel>``: from the Authorise link to the holder's page.

Only this server knows the address under which the browser reaches it, so it tells the kernel
where to be sent back to; the kernel registers there and answers with the holder's page.
"""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from .quiet import COOKIE, QuietHandler

PATIENCE = 60.0  # seconds for a kernel to register and answer
_TICK = 0.1
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:_]{1,255}", re.ASCII)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class StartHandler(QuietHandler):
    """Leads a person who is logged in to the holder's authorise page."""

    @authenticated
    async def get(self, panel: str) -> None:
        try:
            origin = self._origin()
        except ValueError:
            self.show(
                400,
                "This address is not the one your notebook is open at",
                "Open the notebook and press Authorise there, or paste the address back there.",
            )
            return
        try:
            await self._lead_on(panel, origin)
        except OSError as error:
            self.log.warning("s4s: a sign-in could not be started: %s", error.strerror)
            self.show(500, "The sign-in could not be started", "See this server's log.")

    async def _lead_on(self, panel: str, origin: str) -> None:
        if not self.rendezvous.has_panel(panel):
            self.show(404, "This panel is gone", "Run the cell with connect() again.")
            return
        callback = f"{origin}{url_path_join(self.base_url, 's4s/callback')}"
        number = self.rendezvous.ask(panel, callback)
        if number is None:
            self.show(429, "Too many sign-ins at once", "Finish one, or wait a minute.")
            return
        try:
            answer = await self._answer(panel, number)
        finally:
            self.rendezvous.withdraw(panel, number)
        url, problem = str(answer.get("url", "")), str(answer.get("problem", ""))
        if urlsplit(url).scheme not in {"http", "https"}:
            self.show(502, "The sign-in could not start", problem or "The kernel is not answering.")
            return
        self._remember(str(answer.get("name", "")), origin)
        self.redirect(through_proxy(url, origin, self.base_url))

    async def _answer(self, panel: str, number: str) -> dict[str, str]:
        for _ in range(int(PATIENCE / _TICK)):
            answer = self.rendezvous.answered(panel, number)
            if answer is not None:
                return answer
            await asyncio.sleep(_TICK)
        return {}

    def _origin(self) -> str:
        """Return the origin at which the browser shows the notebook.

        The panel tells it, as only the browser knows whether there is https in front of a
        proxy. Its host must be the one this request came to; X-Forwarded-Host is never read.

        Raises:
            ValueError: it is missing, odd, or another host's.
        """
        told = self.one("origin", 300) or f"{self.request.protocol}://{self.request.host}"
        if not _ORIGIN.fullmatch(told):
            raise ValueError("origin")
        host = told.partition("://")[2]
        if host.lower() != self.request.host.lower():
            raise ValueError("origin")
        if self.request.protocol == "https" and not told.startswith("https:"):
            raise ValueError("origin")
        return told

    def _remember(self, name: str, origin: str) -> None:
        self.set_cookie(
            COOKIE,
            name,
            path=url_path_join(self.base_url, "s4s/callback"),
            httponly=True,
            samesite="Lax",
            secure=origin.startswith("https:"),
            max_age=900,
        )


def through_proxy(url: str, origin: str, base_url: str) -> str:
    """Return where a browser at ``origin`` finds ``url``.

    The sandbox listens on this machine's loopback, which a browser elsewhere cannot reach:
    jupyter-server-proxy carries the page then. All other addresses are left as they are.

    >>> through_proxy("http://127.0.0.1:8080/a?b=c", "https://hub.example", "/user/me/")
    '/user/me/proxy/8080/a?b=c'
    >>> through_proxy("http://127.0.0.1:8080/a", "http://localhost:8888", "/")
    'http://127.0.0.1:8080/a'
    """
    page = urlsplit(url)
    if page.hostname not in _LOOPBACK or urlsplit(origin).hostname in _LOOPBACK:
        return url
    query = f"?{page.query}" if page.query else ""
    return url_path_join(base_url, "proxy", str(page.port or 80), page.path) + query
