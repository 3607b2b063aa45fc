"""``s4s/status``: tells a panel in the browser that our pages are here."""

from __future__ import annotations

from jupyter_server.base.handlers import APIHandler
from tornado.web import authenticated

from .._version import __version__


class StatusHandler(APIHandler):
    @authenticated
    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.finish({"s4s": __version__})
