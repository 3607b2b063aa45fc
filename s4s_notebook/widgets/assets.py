"""The panels' JavaScript and style sheets: plain files beside the Python.

A widget's module reaches the browser as one text, so shared parts are put in front of it.
"""

from __future__ import annotations

import re
from importlib.resources import files

# What people need and browsers do not: imports of one another, comments, indentation.
_SPARE_JS = re.compile(r"^import [^;]*;\n|^\s*(?://|/\*\*|\*).*\n|[ \t]+// .*$|^\s+", re.MULTILINE)
_SPARE_CSS = re.compile(r"/\*.*?\*/|^\s+|(?<=[{};,])\s+", re.MULTILINE | re.DOTALL)


def source(*names: str) -> str:
    """Return the files of this folder, one after the other, as one text."""
    folder = files(__package__)
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def lean_script(*names: str) -> str:
    """ES modules as one, each named after those that it imports, without what is spare."""
    return _SPARE_JS.sub("", source(*names))


def lean_style(*names: str) -> str:
    """Style sheets as one, without what is spare."""
    return _SPARE_CSS.sub("", source(*names))
