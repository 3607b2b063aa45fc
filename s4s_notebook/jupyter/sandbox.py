"""``s4s/sandbox``: the practice data holder, started and stopped from JupyterLab."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

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
