"""``s4s/notebooks``: puts the workshop's notebooks into the person's own folder."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async
from tornado.web import HTTPError, authenticated

import s4s_notebook

WORKSHOP = "s4s-workshop"


def shipped() -> list[Path]:
    """Return the notebooks that come with the package, in their order.

    An installed package holds them; in a checkout they stand beside it.
    """
    package = Path(s4s_notebook.__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if found := sorted(folder.glob("[0-9]*.ipynb")):
            return found
    return []


class NotebooksHandler(APIHandler):
    auth_resource = "contents"

    @authenticated
    @authorized
    async def post(self) -> None:
        """Copy the first notebook, or all of them, and say which to open.

        Asked with ``{"which": "first" | "workshop", "folder": path}``; a notebook that is
        there already is left as it is, for somebody may have worked in it.
        """
        asked = self.get_json_body() or {}
        notebooks = shipped()
        if not notebooks:
            raise HTTPError(404, "This installation brings no notebooks.")
        folder = str(asked.get("folder", "")).strip("/")
        chosen = notebooks if asked.get("which") == "workshop" else notebooks[:1]
        if asked.get("which") == "workshop":
            folder = posixpath.join(folder, WORKSHOP)
            await self._make(folder)
        for notebook in chosen:
            await self._copy(notebook, posixpath.join(folder, notebook.name))
        self.set_status(201)
        self.finish({"path": posixpath.join(folder, notebooks[0].name)})

    async def _make(self, folder: str) -> None:
        contents: Any = self.contents_manager
        if not await ensure_async(contents.dir_exists(folder)):
            await ensure_async(contents.save({"type": "directory"}, folder))

    async def _copy(self, notebook: Path, path: str) -> None:
        contents: Any = self.contents_manager
        if await ensure_async(contents.file_exists(path)):
            return
        content = json.loads(notebook.read_text(encoding="utf-8"))
        model = {"type": "notebook", "format": "json", "content": content}
        await ensure_async(contents.save(model, path))
