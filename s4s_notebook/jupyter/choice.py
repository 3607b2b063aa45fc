"""``s4s/choice/<panel>``: the holder that somebody chose, to a kernel whose cell waits for it."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from .quiet import Meeting

MAX_BODY = 8 * 1024
_DOES = frozenset({"use", "remove"})


class ChoiceHandler(APIHandler):
    """Takes ``{"do": "use" | "remove", "url": address}``; answers 204.

    A POST with the XSRF token: what is chosen here makes the kernel ask that address.
    """

    auth_resource = "kernels"

    def initialize(self, meeting: Meeting) -> None:
        self._rendezvous = meeting.rendezvous

    @authenticated
    @authorized
    async def post(self, panel: str) -> None:
        asked = self.get_json_body() if len(self.request.body) <= MAX_BODY else None
        if not isinstance(asked, dict) or asked.get("do") not in _DOES:
            raise HTTPError(400, "That is no choice of ours.")
        if not self._rendezvous.has_panel(panel):
            raise HTTPError(404, "This panel is gone: run the cell with connect() again.")
        chosen = {"do": str(asked["do"]), "url": str(asked.get("url", ""))}
        if not self._rendezvous.choose(panel, chosen):
            raise HTTPError(429, "The kernel has not taken the last choices yet.")
        self.set_status(204)
        self.finish()
