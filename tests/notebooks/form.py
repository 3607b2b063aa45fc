"""The form of a notebook of the workshop: what stands where, and how long it may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.notebooks import prose
from tests.notebooks.books import Book, Cell
from tests.notebooks.names import python

CELLS = range(10, 26)
LINES = 10
MINUTES = range(5, 91)
TITLE = re.compile(r"\A# \S")
TIME = re.compile(r"\*\*Time\*\*:?\s*(?:about\s+)?(\d+) minutes")
OBJECTIVES = re.compile(r"\*\*You will be able to\*\*:?\s*\n+((?:- .*\n?(?:  .*\n?)*)+)")
SECTION = re.compile(r"^## (\d+) · \S", re.MULTILINE)
EXERCISE = re.compile(r"^### Exercise (\d+) · \S.*$", re.MULTILINE)
KEY_POINTS = re.compile(r"\A## Key points\n+((?:- .*\n?(?:  .*\n?)*)+)")
FOLDED = {"source_hidden": True, "outputs_hidden": True}


def complaints(books: Sequence[Book]) -> list[str]:
    """What is not in form, one sentence each."""
    told: list[str] = []
    for book in books:
        told += _of_any(book)
        told += _of_a_chapter(book)
    for book, following in pairwise(books):
        if following.name not in _targets(book.cells[-1]):
            told.append(f"{book.name}: its last cell has no link to {following.name}")
    return told


def _of_any(book: Book) -> Iterator[str]:
    kernel = book.metadata.get("kernelspec", {})
    if kernel.get("name") != "python3" or kernel.get("language") != "python":
        yield f"{book.name}: its kernelspec is not python3"
    if not TITLE.match(book.cells[0].source):
        yield f"{book.name}: it does not begin with a title"
    for cell in book.cells:
        if "execution" in cell.metadata:
            yield f"{book.at(cell)}: its metadata say when it ran"
        if cell.kind == "code" and (lines := _lines(cell)) > LINES:
            yield f"{book.at(cell)}: {lines} lines of code, at most {LINES}"


def _lines(cell: Cell) -> int:
    lines = [line.strip() for line in cell.source.splitlines()]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _of_a_chapter(book: Book) -> Iterator[str]:
    if len(book.cells) not in CELLS:
        yield f"{book.name}: {len(book.cells)} cells, {CELLS.start} to {CELLS.stop - 1} wanted"
    yield from _opening(book)
    numbers = [
        int(n)
        for cell in book.cells
        if cell.kind == "markdown"
        for n in SECTION.findall(cell.source)
    ]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        yield f"{book.name}: its sections are numbered {numbers}"
    yield from _exercises(book)
    points = KEY_POINTS.search(book.cells[-1].source)
    if points is None or not 3 <= points[1].count("\n- ") + 1 <= 5:
        yield f"{book.name}: its last cell does not begin with three to five key points"


def _opening(book: Book) -> Iterator[str]:
    first = book.cells[0].source
    time = TIME.search(first)
    if time is None or int(time[1]) not in MINUTES:
        yield f"{book.name}: its first cell does not say **Time**: … minutes"
    if "**Before**" not in first:
        yield f"{book.name}: its first cell does not say what comes **Before**"
    objectives = OBJECTIVES.search(first)
    if objectives is None or not 1 <= objectives[1].count("\n- ") + 1 <= 3:
        yield f"{book.name}: its first cell does not list one to three objectives"


def _exercises(book: Book) -> Iterator[str]:
    found = [
        (cell, int(number))
        for cell in book.cells
        if cell.kind == "markdown"
        for number in EXERCISE.findall(cell.source)
    ]
    if [number for _, number in found] not in ([1, 2], [1, 2, 3]):
        yield f"{book.name}: two or three exercises wanted, numbered; there are {len(found)}"
    for cell, number in found:
        yield from (f"{book.at(cell)}: exercise {number} {text}" for text in _parts(book, cell))
    solutions = [cell for cell in book.cells if cell.is_solution]
    if len(solutions) != len(found):
        yield f"{book.name}: {len(solutions)} solutions for {len(found)} exercises"


def _parts(book: Book, question: Cell) -> Iterator[str]:
    """What an exercise lacks of: question, a place to try, a folded solution."""
    turn, solution = (*book.cells[question.number : question.number + 2], *[question] * 2)[:2]
    if turn.kind != "code" or "exercise" not in turn.tags or "# Your turn" not in turn.source:
        yield "is not followed by a code cell to try it, tagged exercise"
    if solution.kind != "code" or not solution.is_solution:
        yield "has no solution after that, tagged solution"
    elif not FOLDED.items() <= solution.metadata.get("jupyter", {}).items():
        yield "has a solution that is not folded"
    elif not python(solution.source).strip():
        yield "has an empty solution"


def _targets(cell: Cell) -> list[str]:
    return [link.target for link in prose.links(cell.source)]
