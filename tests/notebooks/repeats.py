"""No notebook says what another has said: no run of words stands in two of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tests.notebooks import prose
from tests.notebooks.books import Book

RUN = 8  # words
# What stands in every notebook, and is meant to.
SET = re.compile(r"\*\(The solution is folded below: press the bar to unfold\.\)\*")


def complaints(books: Sequence[Book]) -> list[str]:
    """Where a notebook repeats another, one sentence each; the longest stretch, said once."""
    told: list[str] = []
    first: dict[tuple[str, ...], str] = {}
    for book in books:
        found: dict[tuple[str, ...], str] = {}
        end = -1
        for place, at, run in _runs(book):
            if run in first and at > end:
                told.append(f"{place} repeats {first[run]}: {' '.join(run)} …")
            end = at + 1 if run in first else -1
            found.setdefault(run, place)
        first |= {run: place for run, place in found.items() if run not in first}
    return told


def _runs(book: Book) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Every run of words in the running text; the first cell's form is the same in all."""
    number = 0
    for cell in book.cells[1:]:
        number += RUN  # runs do not go from cell to cell
        if cell.kind == "markdown":
            words = re.findall(r"[^\W_]+", SET.sub("", prose.reading(cell.source)).lower())
            for at in range(len(words) - RUN + 1):
                number += 1
                yield book.at(cell), number, tuple(words[at : at + RUN])
