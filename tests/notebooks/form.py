"""What a notebook of the workshop needs in order to work: kernel, exercises, solutions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.notebooks import prose
from tests.notebooks.books import Book, Cell

TIME = re.compile(r"\*\*Time\*\*:?\s*(?:about\s+)?(\d+) minutes")
EXERCISE = re.compile(r"^### Exercise (\d+) · \S.*$", re.MULTILINE)
FOLDED = {"source_hidden": True, "outputs_hidden": True}


def complaints(books: Sequence[Book]) -> list[str]:
    """Return one sentence for each thing that a reader or Jupyter would trip over."""
    problems = [problem for book in books for problem in _check(book)]
    for book, following in pairwise(books):
        if following.name not in [link.target for link in prose.links(book.cells[-1].source)]:
            problems.append(f"{book.name}: its last cell has no link to {following.name}")
    return problems


def _check(book: Book) -> Iterator[str]:
    kernel = book.metadata.get("kernelspec", {})
    if kernel.get("name") != "python3" or kernel.get("language") != "python":
        yield f"{book.name}: its kernelspec is not python3"
    for cell in book.cells:
        if "execution" in cell.metadata:
            yield f"{book.at(cell)}: its metadata say when it ran"
        if cell.kind == "markdown":
            for number in EXERCISE.findall(cell.source):
                for problem in _check_exercise(book, cell):
                    yield f"{book.at(cell)}: exercise {number} {problem}"


def _check_exercise(book: Book, question: Cell) -> Iterator[str]:
    """Yield what an exercise lacks of: question, a cell to try it in, a folded solution."""
    turn, solution = (*book.cells[question.number : question.number + 2], *[question] * 2)[:2]
    if turn.kind != "code" or "exercise" not in turn.tags:
        yield "is not followed by a code cell to try it, tagged exercise"
    if solution.kind != "code" or not solution.is_solution or not solution.source.strip():
        yield "has no solution after that, tagged solution"
    elif not FOLDED.items() <= solution.metadata.get("jupyter", {}).items():
        yield "has a solution that is not folded"
