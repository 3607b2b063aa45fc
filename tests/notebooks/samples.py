"""Small notebooks for the tests of the checks."""

from __future__ import annotations

from typing import Any

from tests.notebooks.books import Book, book

KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
SHUT = {"source_hidden": True, "outputs_hidden": True}
OPENING = """# A title

Why.

**Time**: 20 minutes · **Before**: [notebook 00](00-first.ipynb)

**You will be able to**

- do this
- and that.
"""
CLOSING = """## Key points

- One,
  in two lines.
- Two.
- Three.

Next: [notebook 02](02-next.ipynb).
"""


def text(source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": metadata}


def code(source: str, *outputs: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [*outputs]}


def turn() -> dict[str, Any]:
    return code("# Your turn", tags=["exercise"])


def solution(source: str = "1 + 1", **jupyter: Any) -> dict[str, Any]:
    return code(source, tags=["solution"], jupyter=SHUT | jupyter)


def shows(**data: Any) -> dict[str, Any]:
    """An output of media types, written as ``text_plain``."""
    media = {name.replace("_", "/"): value for name, value in data.items()}
    return {"output_type": "execute_result", "data": media, "metadata": {}}


def made(name: str, *cells: dict[str, Any], **metadata: Any) -> Book:
    return book(name, {"cells": [*cells], "metadata": KERNEL | metadata})


def chapter(name: str = "01-sample.ipynb", kernelspec: Any = None, **change: Any) -> Book:
    """A chapter in good form; ``change`` puts another cell (or None: no cell) at ``c3=…``."""
    cells = [
        text(OPENING),
        text("## 1 · First\n\nLook at this."),
        code("a = 1"),
        text("## 2 · Second\n\n### Exercise 1 · What if?\n\nTry."),
        turn(),
        solution(),
        text("### Exercise 2 · And then?\n\nTry."),
        turn(),
        solution(),
        *(cell for _ in range(4) for cell in (text("Look."), code("a"))),
        text(CLOSING),
    ]
    for place, cell in change.items():
        cells[int(place[1:])] = cell
    metadata = {"kernelspec": kernelspec} if kernelspec else {}
    return made(name, *(cell for cell in cells if cell is not None), **metadata)
