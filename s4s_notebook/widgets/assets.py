"""The panels' JavaScript and style sheets: plain files beside the Python.

A widget's module reaches the browser as one text, so shared parts are put in front of it.
"""

from __future__ import annotations

from importlib.resources import files


def source(*names: str) -> str:
    """Return the files of this folder, one after the other, as one text."""
    folder = files(__package__)
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
