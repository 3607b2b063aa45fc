"""``s4s/callback``: where the holder sends the browser back to.

RFC 6749 section 4.1.2. The reply is handed to the kernel as it came, once; this server sees
the code pass by, but never a token and never the PKCE verifier that alone makes it useful.
"""

from __future__ import annotations

from jupyter_server.auth.decorator import allow_unauthenticated

from ..smart.mailbox import digest
from ..smart.reply_page import ENDINGS
from .quiet import COOKIE, QuietHandler

_KEPT = ("code", "state", "error", "error_description", "iss")
_AGAIN = "again"


class CallbackHandler(QuietHandler):
    """Takes the reply of a person who is logged in to this Jupyter server."""

    @allow_unauthenticated
    async def get(self) -> None:
        if not self.current_user:
            self._come_again()
            return
        try:
            reply = self._reply()
        except ValueError:
            self.show(400, *ENDINGS["unknown"])
            return
        name = digest(reply["state"]) if "state" in reply else self._from_cookie(reply)
        try:
            fresh = bool(name) and self.rendezvous.deliver(name, reply)
        except OSError as error:
            self.log.warning("s4s: a sign-in's reply could not be kept: %s", error.strerror)
            self.show(500, "The reply could not be kept", "The disk of this server is the reason.")
            return
        if not fresh:
            self.show(400, *ENDINGS["unknown"])
        elif "error" in reply:
            self.show(200, *ENDINGS["declined"])
        else:
            self.show(200, *ENDINGS["done"])

    def _come_again(self) -> None:
        """Ask the browser for the same page once more, now from ourselves.

        A login cookie with SameSite=Strict does not come along from the holder's page, but
        comes when our own page leads on.
        """
        if _AGAIN in self.request.query_arguments:
            self.show(
                403,
                "Not logged in to Jupyter",
                "Log in to Jupyter in this browser, then press Authorise in your notebook again.",
            )
            return
        query = f"{self.asked}&{_AGAIN}=1" if self.asked else f"{_AGAIN}=1"
        self.show(200, "One moment", "Going back to Jupyter.", go_to=f"?{query}")

    def _reply(self) -> dict[str, str]:
        reply = {name: value for name in _KEPT if (value := self.one(name)) is not None}
        if "state" not in reply and "error" not in reply:
            raise ValueError("state")
        return reply

    def _from_cookie(self, reply: dict[str, str]) -> str:
        """S4S's own server declines without a state: this browser knows which sign-in it was."""
        return "" if "code" in reply else (self.get_cookie(COOKIE) or "")
