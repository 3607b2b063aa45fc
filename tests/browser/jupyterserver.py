"""A real JupyterLab (and Notebook 7) on loopback, with a home of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
BASE_URL = "/user/repo-abc123/"
TOKEN = "letmein"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def notebook(*cells: str) -> dict[str, Any]:
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate(cells)
        ],
    }


class JupyterServer:
    """Starts `jupyter lab` under a hub-like base URL; `extra` are further arguments.

    With `installed`, nothing counts but what the environment of `python` has: the extensions
    enable themselves, and this checkout is out of sight. `through` is a command that starts
    the command after it, as another user for one.
    """

    def __init__(
        self,
        home: Path,
        *extra: str,
        extension: bool = True,
        python: str = "",
        installed: bool = False,
        through: Sequence[str] = (),
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._trust = trust  # of an https server's certificate
        self._path = {} if installed else {"PYTHONPATH": str(REPO)}
        self.home = home
        self.work = home / "work"
        self.runtime = home / "runtime"
        self.log = home / "server.log"
        self.port = free_port()
        for folder in (self.work, self.runtime, home / "config"):
            folder.mkdir(parents=True, exist_ok=True)
        if not installed:
            enabled = {"ServerApp": {"jpserver_extensions": {"s4s_notebook.jupyter": extension}}}
            (home / "config" / "jupyter_server_config.json").write_text(json.dumps(enabled))
        quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
        overrides = home / "config" / "labconfig" / "default_setting_overrides.json"
        overrides.parent.mkdir(exist_ok=True)
        overrides.write_text(json.dumps(quiet))
        self._command = [
            *through,
            python or sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.base_url={BASE_URL}",
            f"--ServerApp.root_dir={self.work}",
            f"--IdentityProvider.token={TOKEN}",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            *extra,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._trust else 'http'}://127.0.0.1:{self.port}{BASE_URL}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> JupyterServer:
        home = self.home
        left_out = ("JUPYTER", "PYTHONPATH")
        env = {
            name: value
            for name, value in os.environ.items()
            if not any(word in name for word in left_out)
        }
        env |= self._path | {
            "HOME": str(home),
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "MPLCONFIGDIR": str(home / "mpl"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=env, cwd=home, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}api", timeout=2, context=self._trust):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(f"Jupyter did not start:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def write(self, name: str, *cells: str) -> Path:
        path = self.work / name
        path.write_text(json.dumps(notebook(*cells)))
        return path

    def page(self, name: str, app: str = "lab") -> str:
        place = f"lab/tree/{name}" if app == "lab" else f"notebooks/{name}"
        return f"{self.url}{place}?token={TOKEN}&reset"

    def api(self, method: str, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}api/{path}", method=method, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=20, context=self._trust) as reply:
            return json.loads(reply.read() or "null")

    def end_kernels(self) -> None:
        """End every notebook's kernel, so that the next test starts from nothing."""
        for session in self.api("GET", "sessions"):
            self.api("DELETE", f"sessions/{session['id']}")
