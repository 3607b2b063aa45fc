"""Our pages on the Jupyter server, and the word to kernels that they are there."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir
from jupyter_server.utils import url_path_join

from s4s_notebook.errors import UnsafeStore
from s4s_notebook.jupyter.callback import CallbackHandler
from s4s_notebook.jupyter.choice import ChoiceHandler
from s4s_notebook.jupyter.dicom import DicomHandler
from s4s_notebook.jupyter.notebooks import NotebooksHandler
from s4s_notebook.jupyter.pictures import PictureMaker
from s4s_notebook.jupyter.quiet import Meeting
from s4s_notebook.jupyter.sandbox import SandboxHandler, SandboxKeeper
from s4s_notebook.jupyter.start import StartHandler
from s4s_notebook.jupyter.status import StatusHandler
from s4s_notebook.rendezvous import Rendezvous


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
