"""Our pages on the Jupyter server, and the word to kernels that they are there."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir
from jupyter_server.utils import url_path_join

from ..errors import UnsafeStore
from ..smart.mailbox import Rendezvous
from .callback import CallbackHandler
from .choice import ChoiceHandler
from .dicom import DicomHandler
from .notebooks import NotebooksHandler
from .pictures import PictureMaker
from .quiet import Meeting
from .sandbox import SandboxHandler, SandboxKeeper
from .start import StartHandler
from .status import StatusHandler


def add_routes(server: Any) -> None:
    """Register ``s4s/…`` under the server's base URL."""
    app = server.web_app
    base = app.settings["base_url"]
    maker = PictureMaker()
    atexit.register(maker.close)
    routes: list[tuple[Any, ...]] = [
        (r"s4s/status", StatusHandler),
        (r"s4s/notebooks", NotebooksHandler),
        (r"s4s/sandbox", SandboxHandler, {"keeper": SandboxKeeper()}),
        (r"s4s/dicom/(study|slice|thumbnail|names)", DicomHandler, {"maker": maker}),
    ]
    try:
        meeting = Meeting(Rendezvous(Path(server.runtime_dir or jupyter_runtime_dir())))
    except (OSError, UnsafeStore) as error:
        server.log.warning("s4s: sign-in pages are off: %s", error)
    else:
        routes += [
            (r"s4s/start/([0-9a-f]{64})", StartHandler, {"meeting": meeting}),
            (r"s4s/choice/([0-9a-f]{64})", ChoiceHandler, {"meeting": meeting}),
            (r"s4s/callback", CallbackHandler, {"meeting": meeting}),
        ]
        meeting.rendezvous.announce_server()
        atexit.register(meeting.rendezvous.withdraw_server)
    app.add_handlers(".*$", [(url_path_join(base, place), *rest) for place, *rest in routes])
    server.log.info("s4s: our pages are on")
