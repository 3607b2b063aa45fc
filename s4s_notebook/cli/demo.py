"""`s4s demo`: the first notebook in JupyterLab, with a sandbox beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .._connect import SANDBOX_URL
from ..errors import S4SError

NOTEBOOK = "00-first-image.ipynb"
# What the tests, the repository's README and Jupyter itself need.
_NOT_FOR_READERS = ("conftest.py", "__pycache__", "images", ".*")


def notebooks() -> Path:
    """Return the folder of notebooks: the checkout's, else the one inside the package."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if (folder / NOTEBOOK).exists():
            return folder
    raise S4SError("The notebooks are not installed.", hint="Reinstall s4s-notebook.")


def demo(*, browser: bool = True) -> int:
    """Start the sandbox, open JupyterLab on the first notebook, stop both on Ctrl-C."""
    from ..sandbox import SandboxServer

    folder = _writable(notebooks())
    with SandboxServer() as sandbox:
        print(f"The sandbox, a data holder with made-up patients, is at {sandbox.fhir_url}")
        print("JupyterLab opens; choose Run > Run All Cells. Ctrl-C here ends both.")
        command = [
            *(sys.executable, "-m", "jupyter", "lab"),
            f"--ServerApp.root_dir={folder}",
            f"--LabApp.default_url=/lab/tree/{NOTEBOOK}",
            "--LabApp.news_url=None",
            *([] if browser else ["--no-browser"]),
            *(["--allow-root"] if _is_root() else []),
        ]
        environment = {**os.environ, SANDBOX_URL: sandbox.fhir_url}
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait()


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _writable(folder: Path) -> Path:
    """Return `folder`, or a copy of it in the working directory where it is read-only."""
    if os.access(folder, os.W_OK) and "site-packages" not in folder.parts:
        return folder
    copy = Path.cwd() / "s4s-notebooks"
    if not copy.exists():
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(*_NOT_FOR_READERS))
    return copy
