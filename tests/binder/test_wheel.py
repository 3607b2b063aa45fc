"""A clone becomes a wheel without Node, and the wheel alone brings both extensions."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.binder import extensions, machine


@pytest.fixture
def folder():
    """A temporary folder that does not outlive the test: environments are large."""
    with tempfile.TemporaryDirectory(prefix="s4s-wheel-") as name:
        yield Path(name)


@pytest.mark.slow
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
    said = extensions.listed(empty, machine.environment(folder, empty))
    assert extensions.enabled(said), said


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
