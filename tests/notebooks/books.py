"""The notebooks as a reader meets them: in order, cell after cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
FOLDER = REPO / "notebooks"
CHAPTERS = tuple(f"{number:02d}" for number in range(9))


@dataclass(frozen=True)
class Cell:
    """One cell. ``number`` counts from 1, as a person would say it."""

    number: int
    kind: str
    source: str
    metadata: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[dict[str, Any], ...] = ()

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(self.metadata.get("tags", ()))

    @property
    def is_solution(self) -> bool:
        return "solution" in self.tags


@dataclass(frozen=True)
class Book:
    """A notebook. ``number`` is what its name begins with: ``"03"``."""

    name: str
    cells: tuple[Cell, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> str:
        return self.name[:2]

    def at(self, cell: Cell) -> str:
        """Where a complaint points."""
        return f"{self.name}, cell {cell.number}"


def book(name: str, content: dict[str, Any]) -> Book:
    """A notebook of its JSON (nbformat 4)."""
    cells = tuple(
        Cell(
            number,
            cell["cell_type"],
            _joined(cell["source"]),
            cell.get("metadata", {}),
            tuple(cell.get("outputs", ())),
        )
        for number, cell in enumerate(content["cells"], 1)
    )
    return Book(name, cells, content.get("metadata", {}))


@cache
def workshop(folder: Path = FOLDER) -> tuple[Book, ...]:
    """All notebooks in reading order."""
    paths = sorted(folder.glob("[0-9][0-9]-*.ipynb"))
    return tuple(book(path.name, json.loads(path.read_text("utf-8"))) for path in paths)


def texts(output: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What of an output is text: pairs of media type and text, pictures within HTML left out."""
    if output["output_type"] == "stream":
        yield "text/plain", _joined(output["text"])
    for media, data in output.get("data", {}).items():
        if media.startswith("text/"):
            yield media, re.sub(r"data:image/[^\"')\s]+", "data:image", _joined(data))


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
