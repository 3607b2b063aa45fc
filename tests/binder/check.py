"""From the binder folder alone to the first picture, with the versions of Binder's base image."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.binder import extensions, image, machine
from tests.binder.visitor import chromium, see_the_first_picture
from tests.browser.jupyterserver import TOKEN, JupyterServer

NOTEBOOK = "notebooks/00-first-image.ipynb"
BASE = ("jupyterlab", "notebook", "ipykernel", "ipywidgets")  # what the image must not change


class Report:
    """Prints each requirement as met or not met, and counts the latter."""

    failures = 0

    def require(self, condition: object, text: str) -> None:
        print(f"  {'ok ' if condition else 'NOT'} {text}", flush=True)
        self.failures += not condition


class BinderServer(JupyterServer):
    """Jupyter of the image, in the repository's folder, with nothing but what was installed."""

    def __init__(self, home: Path, repository: Path, python: Path) -> None:
        home.mkdir()
        (home / "work").symlink_to(repository)
        super().__init__(home, python=str(python), installed=True)
        # Binder starts the Jupyter server, not JupyterLab's own program.
        command = ["jupyter_server" if word == "jupyterlab" else word for word in self._command]
        self._command = ["env", "BINDER_SERVICE_HOST=127.0.0.1", *command]

    def memory(self) -> int:
        """Bytes that the server and its kernels hold (shared pages counted once: PSS)."""
        server = psutil.Process(self.pid)
        family = [server, *server.children(recursive=True)]
        return sum(process.memory_full_info().pss for process in family)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.binder", description=__doc__)
    parser.add_argument(
        "--python", help="the interpreter for the image (default: one of runtime.txt's version)"
    )
    arguments = parser.parse_args(argv)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="s4s-binder-") as temporary:
        folder = Path(temporary)
        repository = machine.clone(folder / "repository")
        print("The Dockerfile that repo2docker renders, without Docker:")
        rendered = image.render(repository, folder)
        _judge_dockerfile(report, rendered, repository)
        print("Its steps, in a fresh environment with the base image's versions, without Node:")
        python = image.build(rendered, repository, folder, arguments.python or _python(rendered))
        _judge_environment(report, rendered, repository, python)
        _judge_extensions(report, folder, python)
        print("A visitor, in Chromium:")
        _judge_visit(report, folder, repository, python)
    print(f"\n{report.failures} not as it should be." if report.failures else "\nAll is well.")
    return 1 if report.failures else 0


def _python(rendered: image.Rendered) -> str:
    """Find an interpreter of the image's version, up to its last digit."""
    wanted = tuple(map(int, rendered.python.split(".")[:2]))
    if sys.version_info[:2] == wanted:
        return sys.executable
    found = shutil.which(f"python{wanted[0]}.{wanted[1]}")
    if found is None:
        raise SystemExit(f"This check needs Python {wanted[0]}.{wanted[1]}, as the image has.")
    return found


def _judge_dockerfile(report: Report, rendered: image.Rendered, repository: Path) -> None:
    runtime = (repository / "binder" / "runtime.txt").read_text().strip()
    report.require(
        f"python-{rendered.python}".startswith(runtime),
        f"{runtime} of runtime.txt gives the base image with Python {rendered.python}",
    )
    cached = rendered.position('pip install --no-cache-dir -r "binder/requirements.txt"')
    copied = rendered.position("COPY --chown=0:0 src/ ")
    built = rendered.position("RUN ./binder/postBuild")
    report.require(
        cached < copied < built,
        "dependencies before the repository: their layer stays cached when only code changes",
    )


def _judge_environment(
    report: Report, rendered: image.Rendered, repository: Path, python: Path
) -> None:
    pinned = image.pins(repository / "binder" / "requirements.txt")
    now = image.installed(python)
    came = {name for name, version in now.items() if rendered.base.get(name) != version}
    free = came - set(pinned) - {"s4s-notebook"}
    report.require(not free, f"all {len(came)} packages that came are pinned; free: {free or 0}")
    other = {name: version for name, version in pinned.items() if now.get(name) != version}
    report.require(not other, f"all {len(pinned)} pins were kept to; others: {other or 0}")
    for name in BASE:
        report.require(now.get(name) == rendered.base[name], f"{name} {rendered.base[name]}")
    tested = image.pins(repository / "constraints.txt")
    other = {name: version for name, version in pinned.items() if tested.get(name) != version}
    report.require(
        not other, f"the pins are the versions that the tests run on; others: {other or 0}"
    )
    leftovers = [
        p for p in ("node_modules", "lib") if (repository / "s4s_notebook/lab" / p).exists()
    ]
    report.require(not leftovers, f"nothing of the build is left in the image: {leftovers}")


def _judge_extensions(report: Report, folder: Path, python: Path) -> None:
    said = extensions.listed(python, machine.environment(folder, python))
    report.require(extensions.enabled(said), "both extensions are enabled and OK")
    print("      " + "\n".join(said.values()).replace("\n", "\n      "))


@contextmanager
def _serving(folder: Path, repository: Path, python: Path) -> Iterator[BinderServer]:
    before = os.environ["PATH"]
    os.environ["PATH"] = machine.environment(folder, python)["PATH"]
    server = BinderServer(folder / "served", repository, python)
    try:
        yield server.start()  # type: ignore[misc]  # `start` returns its self
    finally:
        server.stop()
        os.environ["PATH"] = before


def _judge_visit(report: Report, folder: Path, repository: Path, python: Path) -> None:
    with _serving(folder, repository, python) as server, chromium() as page:
        with urllib.request.urlopen(f"{server.url}?token={TOKEN}") as reply:
            landed = reply.url
        report.require(
            urlsplit(landed).path.endswith(f"/lab/tree/{NOTEBOOK}"),
            f"without the address of a notebook one lands on {NOTEBOOK}",
        )
        began = time.monotonic()
        try:
            see_the_first_picture(page, server.page(NOTEBOOK))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            report.require(False, f"the picture after Run All, Authorise, Approve: {error}")
            print(server.log.read_text()[-3000:])
            print(page.locator("body").inner_text()[-3000:])
            return
        seconds = time.monotonic() - began
        report.require(True, "Run All, Authorise, Approve: the picture is there")
        print(f"      {seconds:.1f} s from the notebook's address to the picture")
        print(f"      {server.memory() / 2**20:.0f} MB held by Jupyter and the kernel")
        before, found, after = server.log.read_text().partition("Traceback")
        report.require(not found, "no traceback in the log")
        if found:
            print(before[-500:] + found + after[:3000])
