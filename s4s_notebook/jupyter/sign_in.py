"""The sign-in pages of the Jupyter server: ``s4s/start``, ``s4s/callback``, ``s4s/choice``.

The reply of the holder (RFC 6749 section 4.1.2) is handed to the kernel unchanged, once. This
server sees the code pass by, but never a token and never the PKCE verifier that alone makes the
code useful.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from tornado.web import HTTPError, authenticated

from ..smart.loopback import ENDINGS, HEADERS, page
from ..smart.mailbox import Mailbox, state_digest

START_TIMEOUT = 60.0  # seconds for a kernel to register and answer
MAX_BODY = 8 * 1024

_POLL_INTERVAL = 0.1
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:_]{1,255}", re.ASCII)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_REPLY_PARAMETERS = ("code", "state", "error", "error_description", "iss")
_RETRIED = "again"
_CHOICE_ACTIONS = frozenset({"use", "remove"})


class SignInHandler(JupyterHandler):
    """A page whose address may hold an authorisation code.

    The address is cut to its path before anything can log it or send it on to a login page.
    Every error ends in a page of ours: an exception that escapes would be logged with the
    complete request.
    """

    def initialize(self, mailbox: Mailbox) -> None:
        """Take the folder that this server and its kernels share."""
        self.mailbox = mailbox

    async def prepare(self, **options: Any) -> Any:
        """Remove the query from the request before it can be logged."""
        self.original_query = self.request.query
        self.request.uri = self.request.path
        self.request.query = ""
        return await super().prepare(**options)

    def set_default_headers(self) -> None:
        """Set the security headers of our pages."""
        super().set_default_headers()
        for name, value in HEADERS.items():
            self.set_header(name, value)

    @property
    def content_security_policy(self) -> str:
        """The policy of our pages, which load nothing."""
        return HEADERS["Content-Security-Policy"]

    def write_error(self, status_code: int, **_details: Any) -> None:
        """Answer an error with a page that says nothing of the request."""
        self.show(status_code, "That did not work", "Go back to your notebook and try again.")

    def show(self, status: int, title: str, text: str, *, go_to: str = "") -> None:
        """Answer with a page and nothing else."""
        self.set_status(status)
        self.finish(page(title, text, go_to=go_to))

    def single_parameter(self, name: str, limit: int = 4096) -> str | None:
        """Return a parameter that stands in the query exactly once, or None.

        Raises:
            ValueError: it is repeated, too long or not UTF-8: the reply is void (RFC 6749 3.1).
        """
        values = self.request.query_arguments.get(name, [])
        if not values:
            return None
        if len(values) > 1 or len(values[0]) > limit:
            raise ValueError(name)
        return values[0].decode("utf-8")


class StartHandler(SignInHandler):
    """``s4s/start/<panel>``: leads a person from the Authorise link to the holder's page.

    Only this server knows the address at which the browser reaches it, so it passes its redirect
    address to the kernel; the kernel registers that and answers with the holder's page.
    """

    @authenticated
    async def get(self, panel: str) -> None:
        """Redirect to the holder's authorise page."""
        try:
            origin = self._browser_origin()
        except ValueError:
            self.show(
                400,
                "This address is not the one your notebook is open at",
                "Open the notebook and press Authorise there, or paste the address back there.",
            )
            return
        try:
            await self._redirect_to_holder(panel, origin)
        except OSError as error:
            self.log.warning("s4s: a sign-in could not be started: %s", error.strerror)
            self.show(500, "The sign-in could not be started", "See this server's log.")

    async def _redirect_to_holder(self, panel: str, origin: str) -> None:
        if not self.mailbox.has_panel(panel):
            self.show(404, "This panel is gone", "Run the cell with connect() again.")
            return
        callback = f"{origin}{url_path_join(self.base_url, 's4s/callback')}"
        number = self.mailbox.request_sign_in(panel, callback)
        if number is None:
            self.show(429, "Too many sign-ins at once", "Finish one, or wait a minute.")
            return
        try:
            answer = await self._wait_for_answer(panel, number)
        finally:
            self.mailbox.cancel_request(panel, number)
        url, problem = str(answer.get("url", "")), str(answer.get("problem", ""))
        if urlsplit(url).scheme not in {"http", "https"}:
            self.show(502, "The sign-in could not start", problem or "The kernel is not answering.")
            return
        self.redirect(through_proxy(url, origin, self.base_url))

    async def _wait_for_answer(self, panel: str, number: str) -> dict[str, str]:
        for _ in range(int(START_TIMEOUT / _POLL_INTERVAL)):
            answer = self.mailbox.take_answer(panel, number)
            if answer is not None:
                return answer
            await asyncio.sleep(_POLL_INTERVAL)
        return {}

    def _browser_origin(self) -> str:
        """Return the origin at which the browser shows the notebook.

        The panel sends it, as only the browser knows whether there is https in front of a proxy.
        Its host must be the one this request came to; X-Forwarded-Host is never read.

        Raises:
            ValueError: it is missing, malformed, or another host's.
        """
        origin = self.single_parameter("origin", 300)
        origin = origin or f"{self.request.protocol}://{self.request.host}"
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("origin")
        host = origin.partition("://")[2]
        if host.lower() != self.request.host.lower():
            raise ValueError("origin")
        if self.request.protocol == "https" and not origin.startswith("https:"):
            raise ValueError("origin")
        return origin


class CallbackHandler(SignInHandler):
    """``s4s/callback``: the redirect address, for a person logged in to this Jupyter server."""

    @allow_unauthenticated
    async def get(self) -> None:
        """Hand the holder's reply to the kernel that expects it."""
        if not self.current_user:
            self._retry_with_cookie()
            return
        try:
            reply = self._read_reply()
        except ValueError:
            self.show(400, *ENDINGS["unknown"])
            return
        try:
            delivered = self.mailbox.deliver_reply(state_digest(reply["state"]), reply)
        except OSError as error:
            self.log.warning("s4s: a sign-in's reply could not be stored: %s", error.strerror)
            self.show(500, "The reply could not be stored", "Look into the log of this server.")
            return
        if not delivered:
            self.show(400, *ENDINGS["unknown"])
        elif "error" in reply:
            self.show(200, *ENDINGS["declined"])
        else:
            self.show(200, *ENDINGS["done"])

    def _retry_with_cookie(self) -> None:
        """Make the browser load the same page once more, from our own page.

        A login cookie with SameSite=Strict is not sent on the way from the holder's page, but
        is sent when our own page leads on.
        """
        if _RETRIED in self.request.query_arguments:
            self.show(
                403,
                "Not logged in to Jupyter",
                "Log in to Jupyter in this browser, then press Authorise in your notebook again.",
            )
            return
        query = f"{self.original_query}&" if self.original_query else ""
        self.show(200, "One moment", "Going back to Jupyter.", go_to=f"?{query}{_RETRIED}=1")

    def _read_reply(self) -> dict[str, str]:
        reply = {
            name: value
            for name in _REPLY_PARAMETERS
            if (value := self.single_parameter(name)) is not None
        }
        if "state" not in reply:  # it may come from anybody, so it ends no sign-in
            raise ValueError("state")
        return reply


class HolderChoiceHandler(APIHandler):
    """``s4s/choice/<panel>``: passes the chosen holder to a kernel whose cell waits for it.

    Takes ``{"do": "use" | "remove", "url": address}``; answers 204. It is a POST with the XSRF
    token, since the kernel then sends requests to that address.
    """

    auth_resource = "kernels"

    def initialize(self, mailbox: Mailbox) -> None:
        """Take the folder that this server and its kernels share."""
        self._mailbox = mailbox

    @authenticated
    @authorized
    async def post(self, panel: str) -> None:
        """Pass a choice on to the panel's kernel."""
        body = self.get_json_body() if len(self.request.body) <= MAX_BODY else None
        if not isinstance(body, dict) or body.get("do") not in _CHOICE_ACTIONS:
            raise HTTPError(400, "That is no choice of ours.")
        if not self._mailbox.has_panel(panel):
            raise HTTPError(404, "This panel is gone: run the cell with connect() again.")
        choice = {"do": str(body["do"]), "url": str(body.get("url", ""))}
        if not self._mailbox.add_choice(panel, choice):
            raise HTTPError(429, "The kernel has not taken the last choices yet.")
        self.set_status(204)
        self.finish()


def through_proxy(url: str, origin: str, base_url: str) -> str:
    """Return the address at which a browser at ``origin`` reaches ``url``.

    The sandbox listens on this machine's loopback, which a browser elsewhere cannot reach:
    jupyter-server-proxy carries the page then. All other addresses stay as they are.

    >>> through_proxy("http://127.0.0.1:8080/a?b=c", "https://hub.example", "/user/me/")
    '/user/me/proxy/8080/a?b=c'
    >>> through_proxy("http://127.0.0.1:8080/a", "http://localhost:8888", "/")
    'http://127.0.0.1:8080/a'
    """
    target = urlsplit(url)
    if target.hostname not in _LOOPBACK or urlsplit(origin).hostname in _LOOPBACK:
        return url
    query = f"?{target.query}" if target.query else ""
    return url_path_join(base_url, "proxy", str(target.port or 80), target.path) + query
