"""`s4s demo` in a clone, from the command to the first picture, pressing three things."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.binder import machine
from tests.binder.visitor import see_the_first_picture

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/lab/tree/\S+token=\w+")


@pytest.fixture(scope="module")
def synced():
    """An installed clone, and settings in which to run its commands."""
    with tempfile.TemporaryDirectory(prefix="s4s-demo-") as folder:
        yield _sync(Path(folder))


def _sync(folder):
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv, "the README's command needs uv"
    cache = os.environ.get("UV_CACHE_DIR") or Path("~/.cache/uv").expanduser()
    settings = machine.environment(folder) | {"UV_CACHE_DIR": str(cache)}
    clone = machine.clone(folder / "clone")
    machine.run(uv, "venv", "--quiet", "--python", sys.executable, ".venv", cwd=clone, env=settings)
    install = ("pip", "install", "--quiet", "-c", "constraints.txt", ".")
    machine.run(uv, *install, cwd=clone, env=settings)
    return clone, settings


def printed_address(log, demo):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and demo.poll() is None:
        if found := ADDRESS.search(log.read_text()):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no address:\n{log.read_text()[-3000:]}")


@pytest.mark.slow
def test_from_the_command_to_the_picture(page, synced, tmp_path, capsys):
    clone, settings = synced
    log = tmp_path / "demo.log"
    began = time.monotonic()
    with log.open("wb") as out:
        demo = subprocess.Popen(
            [clone / ".venv/bin/s4s", "demo", "--no-browser"],
            cwd=clone,
            env=settings,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        address = printed_address(log, demo)
        started = time.monotonic() - began
        see_the_first_picture(page, address, scroll=False)
        seconds = time.monotonic() - began
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        time.sleep(0.5)
        os.killpg(demo.pid, signal.SIGTERM)
        demo.wait(30)
    with capsys.disabled():
        print(f"\ns4s demo: Jupyter's address after {started:.1f} s, the picture {seconds:.1f} s")
    assert "Traceback" not in log.read_text()
    listed = machine.run(clone / ".venv/bin/jupyter", "labextension", "list", env=settings)
    assert re.search(r"s4s-notebook v\S+ .*enabled.*OK", listed)
    assert not machine.run("git", "status", "--short", cwd=clone), "the clone stays clean"
