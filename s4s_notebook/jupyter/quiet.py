"""What our sign-in pages share: safe headers, and logs that never see an address's query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jupyter_server.base.handlers import JupyterHandler

from ..smart.mailbox import Rendezvous
from ..smart.reply_page import HEADERS, page

COOKIE = "s4s-signin"


@dataclass(frozen=True)
class Meeting:
    """Where this server and its kernels meet."""

    rendezvous: Rendezvous


class QuietHandler(JupyterHandler):
    """A page that may be asked for with a code in its address.

    The address is cut to its path before anything can log it or send it on to a login page,
    and whatever goes wrong ends in a page of ours: an exception that escapes would be logged
    with the whole request.
    """

    def initialize(self, meeting: Meeting) -> None:
        self.rendezvous = meeting.rendezvous

    async def prepare(self, **options: Any) -> Any:
        self.asked = self.request.query
        self.request.uri = self.request.path
        self.request.query = ""
        return await super().prepare(**options)

    def set_default_headers(self) -> None:
        super().set_default_headers()
        for name, value in HEADERS.items():
            self.set_header(name, value)

    @property
    def content_security_policy(self) -> str:
        return HEADERS["Content-Security-Policy"]

    def write_error(self, status_code: int, **_details: Any) -> None:
        self.show(status_code, "That did not work", "Go back to your notebook and try again.")

    def show(self, status: int, title: str, text: str, *, go_to: str = "") -> None:
        """Answer with a page and nothing else."""
        self.set_status(status)
        self.finish(page(title, text, go_to=go_to))

    def one(self, name: str, limit: int = 4096) -> str | None:
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
