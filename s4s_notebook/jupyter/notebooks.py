"""``s4s/notebooks``: copies the workshop into the person's own folder."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async
from tornado.web import HTTPError, authenticated

WORKSHOP = "s4s-workshop"
CONTENTS = "README.md"  # the page that lists the notebooks
_NOTEBOOKS = "[0-9]*.ipynb"
_PAGES = ("*.md", "how-to/*.md")


def shipped() -> tuple[Path, list[Path]]:
    """Return the folder of notebooks that belongs to the package, and its files in order.

    It is inside an installed package, and beside the package in a checkout. Files that only the
    tests need are left out. The list is empty where there are no notebooks.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if notebooks := sorted(folder.glob(_NOTEBOOKS)):
            pages = (path for kind in _PAGES for path in sorted(folder.glob(kind)))
            return folder, [*notebooks, *pages]
    return package, []


class NotebooksHandler(APIHandler):
    """Copies the workshop's notebooks into the person's own folder."""

    auth_resource = "contents"

    @authenticated
    @authorized
    async def post(self) -> None:
        """Copy the workshop into a folder of its own, and answer which file to open there.

        The body is ``{"which": "first" | "workshop", "folder": path}``: the first notebook, or
        the page that lists them all. They link to each other, so all are copied together. A
        file that exists stays as it is, for somebody may have worked in it.
        """
        body = self.get_json_body() or {}
        source, files = shipped()
        if not files:
            raise HTTPError(404, "This installation brings no notebooks.")
        folder = str(body.get("folder", "")).strip("/")
        if posixpath.basename(folder) != WORKSHOP:  # not a workshop within a workshop
            folder = posixpath.join(folder, WORKSHOP)
        names = [path.relative_to(source).as_posix() for path in files]
        for parent in dict.fromkeys(posixpath.dirname(name) for name in names):
            await self._make_folder(posixpath.join(folder, parent).rstrip("/"))
        for path, name in zip(files, names, strict=True):
            await self._copy(path, posixpath.join(folder, name))
        workshop = body.get("which") == "workshop" and CONTENTS in names
        self.set_status(201)
        self.finish({"path": posixpath.join(folder, CONTENTS if workshop else names[0])})

    async def _make_folder(self, folder: str) -> None:
        contents: Any = self.contents_manager
        if not await ensure_async(contents.dir_exists(folder)):
            await ensure_async(contents.save({"type": "directory"}, folder))

    async def _copy(self, file: Path, path: str) -> None:
        contents: Any = self.contents_manager
        if not await ensure_async(contents.file_exists(path)):
            await ensure_async(contents.save(_model(file), path))


def _model(file: Path) -> dict[str, Any]:
    """Return a file in the form that Jupyter's contents service takes."""
    if file.suffix == ".ipynb":
        content = json.loads(file.read_text(encoding="utf-8"))
        return {"type": "notebook", "format": "json", "content": content}
    return {"type": "file", "format": "text", "content": file.read_text(encoding="utf-8")}
