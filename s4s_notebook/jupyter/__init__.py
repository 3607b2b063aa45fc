"""The Jupyter server extension: pages for sign-in, DICOM files, the sandbox and the workshop."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from .._version import __version__
from ..errors import S4SError
from ..smart.mailbox import Mailbox
from .dicom import DicomHandler, DicomReader
from .launcher import NotebooksHandler, SandboxHandler, SandboxProcess
from .sign_in import CallbackHandler, HolderChoiceHandler, StartHandler


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "s4s_notebook.jupyter"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Register ``s4s/…`` under the server's base URL.

    The server runs on without the sign-in pages where their folder is not safe to use.
    """
    app = server.web_app
    base = app.settings["base_url"]
    reader = DicomReader()
    atexit.register(reader.close)
    routes: list[tuple[Any, ...]] = [
        (r"s4s/status", StatusHandler),
        (r"s4s/notebooks", NotebooksHandler),
        (r"s4s/sandbox", SandboxHandler, {"sandbox": SandboxProcess()}),
        (r"s4s/dicom/(study|slice|thumbnail|names)", DicomHandler, {"reader": reader}),
    ]
    try:
        mailbox = Mailbox(Path(server.runtime_dir or jupyter_runtime_dir()))
        mailbox.register_server()
    except (OSError, S4SError) as error:
        server.log.warning("s4s: sign-in pages are off: %s", error)
    else:
        routes += [
            (r"s4s/start/([0-9a-f]{64})", StartHandler, {"mailbox": mailbox}),
            (r"s4s/choice/([0-9a-f]{64})", HolderChoiceHandler, {"mailbox": mailbox}),
            (r"s4s/callback", CallbackHandler, {"mailbox": mailbox}),
        ]
        atexit.register(mailbox.unregister_server)
    app.add_handlers(".*$", [(url_path_join(base, path), *rest) for path, *rest in routes])
    server.log.info("s4s: our pages are on")


class StatusHandler(APIHandler):
    """``s4s/status``: lets a panel in the browser see that our pages are here."""

    @authenticated
    async def get(self) -> None:
        """Answer with the version of this package."""
        self.set_header("Cache-Control", "no-store")
        self.finish({"s4s": __version__})
