"""Our pages on the Jupyter server, and the word to kernels that they are there."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir
from jupyter_server.utils import url_path_join

from s4s_notebook.errors import UnsafeStore
from s4s_notebook.jupyter.callback import CallbackHandler
from s4s_notebook.jupyter.quiet import Meeting
from s4s_notebook.jupyter.start import StartHandler
from s4s_notebook.jupyter.status import StatusHandler
from s4s_notebook.rendezvous import Rendezvous


def add_routes(server: Any) -> None:
    """Register ``s4s/…`` under the server's base URL."""
    app = server.web_app
    try:
        meeting = Meeting(Rendezvous(Path(server.runtime_dir or jupyter_runtime_dir())))
    except (OSError, UnsafeStore) as error:
        server.log.warning("s4s: sign-in pages are off: %s", error)
        return
    base = app.settings["base_url"]
    with_meeting = {"meeting": meeting}
    app.add_handlers(
        ".*$",
        [
            (url_path_join(base, r"s4s/start/([0-9a-f]{64})"), StartHandler, with_meeting),
            (url_path_join(base, r"s4s/callback"), CallbackHandler, with_meeting),
            (url_path_join(base, r"s4s/status"), StatusHandler),
        ],
    )
    meeting.rendezvous.announce_server()
    atexit.register(meeting.rendezvous.withdraw_server)
    server.log.info("s4s: sign-in pages are on")
