"""One JupyterLab and one Chromium for the browser tests."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file

from tests.browser.jupyterserver import REPO, JupyterServer

CHROMIUM = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in str(item.path).replace("\\", "/"):
            item.add_marker(pytest.mark.needs("chromium"))
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return {"executable_path": shutil.which("chromium"), "args": CHROMIUM, "headless": True}


@pytest.fixture(scope="session")
def base_url() -> None:
    """Take the place of a plugin's fixture, whose shape pytest 9 warns about."""


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    server = JupyterServer(tmp_path_factory.mktemp("jupyter")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def bare_jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A Jupyter without our server pages."""
    server = JupyterServer(tmp_path_factory.mktemp("bare"), extension=False).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def labextension() -> Path:
    """The built extension; built now if it is older than its source, as for a wheel."""
    place = REPO / "s4s_notebook" / "lab" / "backend" / "s4s_extension.py"
    spec = importlib.util.spec_from_file_location("s4s_extension", place)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    build.build_extension()
    return REPO / "s4s_notebook" / "labextension"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, labextension: Path) -> Iterator[JupyterServer]:
    extensions = tmp_path_factory.mktemp("extensions")
    (extensions / "s4s-notebook").symlink_to(labextension)
    server = JupyterServer(
        tmp_path_factory.mktemp("lab"),
        f"--LabApp.extra_labextensions_path={extensions}",
        f"--JupyterNotebookApp.extra_labextensions_path={extensions}",
    ).start()
    shutil.copy(get_testdata_file("CT_small.dcm"), server.work / "ct.dcm")
    shutil.copy(get_testdata_file("MR_small.dcm"), server.work / "1.3.6.1.4.1.5962.1.1.4.1.1")
    shutil.copy(get_testdata_file("CT_small.dcm"), server.work / "IM0001")
    yield server
    server.end_kernels()
    server.stop()


@pytest.fixture(params=["lab", "notebook"])
def app(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class NotebookPage:
    """A notebook open in the browser, driven as a person would."""

    def __init__(self, page: Any, server: JupyterServer, name: str, app: str) -> None:
        self.page = page
        self.server = server
        self.path = server.work / name
        page.goto(server.page(name, app))
        page.locator(".jp-Notebook").wait_for(timeout=60_000)
        self.idle()

    def idle(self) -> None:
        """Wait until the kernel is there and idle."""
        self.page.wait_for_function(
            """() => {
              const app = window.jupyterapp ?? window.jupyterlab;
              const panel = app?.shell.currentWidget;
              return panel?.sessionContext?.session?.kernel?.status === "idle";
            }""",
            timeout=60_000,
        )

    def command(self, name: str, args: dict[str, Any] | None = None) -> None:
        self.page.evaluate(
            """([name, args]) => {
              const app = window.jupyterapp ?? window.jupyterlab;
              app.commands.execute(name, args ?? {});
            }""",
            [name, args],
        )

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def save(self) -> str:
        self.page.evaluate(
            """async () => {
              const app = window.jupyterapp ?? window.jupyterlab;
              await app.commands.execute("docmanager:save");
            }"""
        )
        return self.path.read_text()

    def cell(self, number: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)


_numbers = itertools.count(1)


@pytest.fixture
def open_notebook(page: Any, jupyter: JupyterServer) -> Iterator[Callable[..., NotebookPage]]:
    """Open a new notebook with these cells; its kernel ends with the test."""
    used = set()

    def open_(*cells: str, app: str = "lab", server: JupyterServer = jupyter) -> NotebookPage:
        name = f"test-{next(_numbers)}.ipynb"
        server.write(name, *cells)
        used.add(server)
        return NotebookPage(page, server, name, app)

    yield open_
    for server in used:
        server.end_kernels()
