"""What the launcher's cards call: a copy of the workshop, and the practice data holder."""

from __future__ import annotations

import asyncio
import atexit
import base64
import json
import os
import posixpath
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async
from tornado.web import HTTPError, authenticated

WORKSHOP = "s4s-workshop"
CONTENTS = "README.md"  # the page that lists the notebooks
_NOTEBOOKS = "[0-9]*.ipynb"
_PAGES = ("*.md", "how-to/*.md", "images/sandbox.png")  # the picture is in a how-to page


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
    if file.suffix == ".png":
        content = base64.b64encode(file.read_bytes()).decode("ascii")
        return {"type": "file", "format": "base64", "content": content}
    return {"type": "file", "format": "text", "content": file.read_text(encoding="utf-8")}


# `connect("sandbox")` in kernels that start from now on finds the running sandbox by this.
SANDBOX_URL = "S4S_SANDBOX_URL"
TIMEOUT = 60.0  # seconds to start and to stop


class SandboxProcess:
    """At most one sandbox, in a process of its own, on loopback."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._lock = asyncio.Lock()
        self.url = ""
        atexit.register(self._terminate)

    @property
    def running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the sandbox unless it runs.

        Raises:
            OSError: it ended at once.
            TimeoutError: it did not start in time.
        """
        async with self._lock:
            if self.running:
                return
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "s4s_notebook", "sandbox", "--json"),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=DEVNULL,
            )
            try:
                self.url = await asyncio.wait_for(self._read_address(), TIMEOUT)
            except TimeoutError:
                self._terminate()
                raise
            os.environ[SANDBOX_URL] = self.url

    async def stop(self) -> None:
        """Stop the sandbox if it runs."""
        async with self._lock:
            process, self._process, self.url = self._process, None, ""
            os.environ.pop(SANDBOX_URL, None)
            if process is None or process.returncode is not None:
                return
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), TIMEOUT)
            except TimeoutError:
                process.kill()

    async def _read_address(self) -> str:
        """Return the FHIR address from the line of JSON that `s4s sandbox --json` prints."""
        if self._process is None or self._process.stdout is None:
            raise OSError("The sandbox did not start.")
        line = await self._process.stdout.readline()
        if not line:
            raise OSError("The sandbox ended at once; `s4s sandbox` in a terminal says why.")
        return str(json.loads(line)["fhir_url"])

    def _terminate(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()


class SandboxHandler(APIHandler):
    """Answers whether the sandbox runs and where; starts and stops it."""

    auth_resource = "terminals"  # it starts a process

    def initialize(self, sandbox: SandboxProcess) -> None:
        """Take the process that all requests share."""
        self._sandbox = sandbox

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer whether the sandbox runs, and its address."""
        self._send_state()

    @authenticated
    @authorized
    async def post(self) -> None:
        """Start (``{"run": true}``) or stop the sandbox; answer as for GET."""
        body: Any = self.get_json_body() or {}
        try:
            await (self._sandbox.start() if body.get("run") else self._sandbox.stop())
        except (OSError, TimeoutError) as error:
            raise HTTPError(502, str(error) or "The sandbox did not start in time.") from None
        self._send_state()

    def _send_state(self) -> None:
        self.finish({"running": self._sandbox.running, "url": self._sandbox.url})
