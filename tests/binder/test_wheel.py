"""A clone becomes a wheel without Node, and the wheel alone brings both extensions."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from tests.binder import extensions, machine
from tests.binder.visitor import chromium
from tests.browser.jupyterserver import TOKEN, JupyterServer


@pytest.fixture
def folder():
    """A temporary folder that does not outlive the test: environments are large."""
    with tempfile.TemporaryDirectory(prefix="s4s-wheel-") as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_the_wheel_alone_brings_both_extensions(folder):
    settings = machine.environment(folder)
    repository = machine.clone(folder / "clone")
    builder = machine.virtualenv(folder / "builder")
    for program in sorted(machine.NODE):
        which = f"command -v {program} || true"
        assert machine.run("bash", "-c", which, env=settings) == "", "there is no Node here"

    machine.run(
        *(builder, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist"),
        repository,
        env=settings,
    )

    (wheel,) = (folder / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith("labextensions/s4s-notebook/package.json")]
    assert not [name for name in names if "node_modules" in name or "/lab/" in name]
    beside = ("08-your-own.ipynb", "README.md", "glossary.md", "how-to/tokens.md")
    assert {f"s4s_notebook/notebooks/{name}" for name in beside} <= set(names)
    empty = machine.virtualenv(folder / "empty")
    machine.run(empty, "-m", "pip", "install", "--quiet", wheel, env=settings)
    installed = machine.environment(folder, empty)
    said = extensions.listed(empty, installed)
    assert extensions.enabled(said), said
    _look_at_it(folder / "served", empty)
    _ask_the_doctor(empty, installed)


def _look_at_it(home, python):
    """The launcher's card and a DICOM file, in a JupyterLab of that environment."""
    server = JupyterServer(home, python=str(python), installed=True)
    shutil.copy(get_testdata_file("CT_small.dcm"), server.work / "ct.dcm")
    try:
        with chromium() as page:
            page.goto(f"{server.start().url}lab?token={TOKEN}")
            page.locator(".jp-LauncherCard", has_text="first image").wait_for(timeout=60_000)
            page.locator(".jp-DirListing-item", has_text="ct.dcm").dblclick()
            page.locator(".s4s-dicom .s4s-viewer canvas.s4s-picture").wait_for(timeout=60_000)
    finally:
        server.stop()


def _ask_the_doctor(python, settings):
    """An environment without the extra codecs: all is well but for them."""
    asked = subprocess.run(
        [python.parent / "s4s", "doctor"], env=settings, text=True, capture_output=True
    )
    assert asked.returncode == 1
    wrong = [line for line in asked.stdout.splitlines() if not line.startswith("✔")]
    assert wrong == [
        "✘ Codecs: missing: JPEG Lossless, JPEG-LS, HTJ2K",
        "    → pip install 's4s-notebook[codecs]', then restart the kernel",
    ]


@pytest.mark.parametrize(
    ("server", "lab"),
    [
        ("s4s_notebook.jupyter enabled - Validating s4s_notebook.jupyter... X is not", "as below"),
        ("as below", "s4s-notebook v0.1.0 disabled OK"),
        ("as below", ""),
    ],
)
def test_what_is_not_enabled_or_not_in_order_is_seen(server, lab):
    good = {
        "server": "s4s_notebook.jupyter enabled\n- Validating s4s_notebook.jupyter...\n"
        "s4s_notebook.jupyter 0.1.0 OK",
        "lab": "s4s-notebook v0.1.0 enabled OK (python, s4s-notebook)",
    }
    assert extensions.enabled(good)
    given = {"server": server, "lab": lab}
    assert not extensions.enabled(
        {name: good[name] if text == "as below" else text for name, text in given.items()}
    )
