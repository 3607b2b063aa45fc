"""What Jupyter itself says about our two extensions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.binder.machine import run

OURS = re.compile(r"s4s_notebook\.jupyter|s4s-notebook v")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def listed(python: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the lines about s4s in `jupyter server extension list` and `… labextension list`."""
    said = {}
    for name, words in (("server", ("server", "extension")), ("lab", ("labextension",))):
        command = (python.parent / "jupyter", *words, "list")
        text = COLOUR.sub("", run(*command, cwd=Path(settings["HOME"]), env=settings))
        lines = [" ".join(line.split()) for line in text.splitlines() if OURS.search(line)]
        said[name] = "\n".join(lines)
    return said


def enabled(said: Mapping[str, str]) -> bool:
    """Tell whether both extensions are enabled and found in order."""
    server, lab = said["server"], said["lab"]
    return (
        bool(re.search(r"s4s_notebook\.jupyter enabled", server))
        and bool(re.search(r"s4s_notebook\.jupyter \S* ?OK", server))
        and bool(re.search(r"s4s-notebook v\S+ enabled OK", lab))
    )
