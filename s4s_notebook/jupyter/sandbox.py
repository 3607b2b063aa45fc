"""``s4s/sandbox``: the practice data holder, started and stopped from JupyterLab."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

# `connect("sandbox")` in kernels that start from now on finds the running one by this.
SANDBOX_URL = "S4S_SANDBOX_URL"
PATIENCE = 60.0  # seconds to start and to stop
_FHIR = re.compile(rb"FHIR, with sign-in\s+(http://\S+)")


class SandboxKeeper:
    """At most one sandbox, a process of its own on loopback."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._lock = asyncio.Lock()
        self.url = ""
        atexit.register(self._end)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it unless it runs.

        Raises:
            OSError, TimeoutError: it did not come up.
        """
        async with self._lock:
            if self.running:
                return
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "s4s_notebook.sandbox"),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=DEVNULL,
            )
            try:
                self.url = await asyncio.wait_for(self._address(), PATIENCE)
            except TimeoutError:
                self._end()
                raise
            os.environ[SANDBOX_URL] = self.url

    async def stop(self) -> None:
        async with self._lock:
            process, self._process, self.url = self._process, None, ""
            os.environ.pop(SANDBOX_URL, None)
            if process is None or process.returncode is not None:
                return
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), PATIENCE)
            except TimeoutError:
                process.kill()

    async def _address(self) -> str:
        if self._process is None or self._process.stdout is None:
            raise OSError("The sandbox did not start.")
        async for line in self._process.stdout:
            if found := _FHIR.search(line):
                return found[1].decode("ascii")
        raise OSError("The sandbox ended at once; `s4s sandbox` in a terminal says why.")

    def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()


class SandboxHandler(APIHandler):
    auth_resource = "terminals"  # it starts a process

    def initialize(self, keeper: SandboxKeeper) -> None:
        self._keeper = keeper

    @authenticated
    @authorized
    async def get(self) -> None:
        self._tell()

    @authenticated
    @authorized
    async def post(self) -> None:
        """Start (``{"run": true}``) or stop it; answers where it is."""
        asked: Any = self.get_json_body() or {}
        try:
            await (self._keeper.start() if asked.get("run") else self._keeper.stop())
        except (OSError, TimeoutError) as error:
            raise HTTPError(502, str(error) or "The sandbox did not start in time.") from None
        self._tell()

    def _tell(self) -> None:
        self.finish({"running": self._keeper.running, "url": self._keeper.url})
