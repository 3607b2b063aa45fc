"""Every term of the glossary is defined where the glossary says, and not used before.

A term is defined where it stands in bold in a Markdown cell's running text. Before that it may
be used as a link to its notebook or to the glossary, once in a notebook, as a reader then has a
way to its meaning. The first cell of its own notebook may name it: there it is announced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.notebooks import prose
from tests.notebooks.books import FOLDER, Book, Cell

GLOSSARY = FOLDER / "glossary.md"
_ROW = re.compile(r"^\|\s*\*\*(.+?)\*\*\s*\|(.*)\|\s*\[(\d\d)\]\(([^)]+)\)\s*\|$", re.MULTILINE)
# Bold that defines nothing: the form's own words, and what stands on a button.
NO_TERMS = frozenset(
    {"Time", "Before", "You will be able to", "Run → Run All Cells"}
    | {"Authorise", "Approve", "Decline", "Cancel", "Revoke", "Forget"}
)
# A word of the glossary in its everyday sense.
EVERYDAY: Mapping[str, str] = {}


@dataclass(frozen=True)
class Term:
    """A row of the glossary. ``names`` are its ways of writing: ``("checksum", "SHA-256")``."""

    names: tuple[str, ...]
    meaning: str
    notebook: str
    target: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds the term as a word, in the plural too; letter case counts if it has capitals."""
        return re.compile("|".join(_form(name) for name in self.names))


def glossary(text: str) -> list[Term]:
    """The rows of the glossary's table."""
    return [
        Term(tuple(re.split(r",\s+", found[1])), found[2].strip(), found[3], found[4])
        for found in _ROW.finditer(text)
    ]


def read(path: Path = GLOSSARY) -> list[Term]:
    return glossary(path.read_text("utf-8"))


def _form(name: str) -> str:
    words = [_word(word) for word in name.split()]
    flags = "" if any(letter.isupper() for letter in name) else "i"
    return rf"(?{flags}:(?<![\w-])" + r"\s+".join(words) + r"(?![\w]|-\w))"


def _word(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return rf"{re.escape(word[:-1])}(?:y|ies)"
    return rf"{re.escape(word)}(?:s|es)?"


def complaints(
    books: Sequence[Book], terms: Sequence[Term], everyday: Mapping[str, str] = EVERYDAY
) -> list[str]:
    """What is wrong with the glossary and the text, one sentence each."""
    told = [*_twice_in_the_glossary(terms)]
    for term in terms:
        told += _about(term, books, everyday)
    return [*told, *_not_in_the_glossary(books, terms)]


def _twice_in_the_glossary(terms: Sequence[Term]) -> Iterator[str]:
    names = [name for term in terms for name in term.names]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"glossary: {name!r} has more than one row"


def _about(term: Term, books: Sequence[Book], everyday: Mapping[str, str]) -> Iterator[str]:
    name = term.names[0]
    named = [book for book in books if book.number == term.notebook]
    if not named or named[0].name != term.target:
        yield f"glossary: {name!r} leads to {term.target}, which is not notebook {term.notebook}"
        return
    home = named[0]
    places = [(book, *place) for book in books for place in _definitions(term, book)]
    if not [book for book, *_ in places if book is home]:
        yield f"{home.name}: does not define {name!r} (in bold), as the glossary says"
        return
    for book, cell, _ in places:
        if book is not home:
            yield f"{book.at(cell)}: {name!r} is in bold, but the glossary says {home.name}"
    defined_in, at = next((cell, at) for book, cell, at in places if book is home)
    for book in books[: books.index(home)]:
        yield from _used(term, book, book.cells, everyday)
    before = [cell for cell in home.cells[1:] if cell.number < defined_in.number]
    start = Cell(defined_in.number, "markdown", defined_in.source[:at])
    yield from _used(term, home, [*before, *([start] if defined_in.number > 1 else [])], everyday)


def _definitions(term: Term, book: Book) -> Iterator[tuple[Cell, int]]:
    for cell in book.cells:
        if cell.kind == "markdown":
            for at, text in prose.bold(cell.source):
                if _is(term, text):
                    yield cell, at


def _is(term: Term, text: str) -> bool:
    """Whether bold text is the term, in brackets or with an addition in brackets or not."""
    plain = re.sub(r"\s*\(.*\)$", "", text).strip(" .,:;")
    return any(
        re.fullmatch(_form(name), form)
        for name in term.names
        for form in (plain, plain[:1].lower() + plain[1:], text)
    )


def _used(
    term: Term, book: Book, cells: Sequence[Cell], everyday: Mapping[str, str]
) -> Iterator[str]:
    for cell in cells:
        if cell.kind != "markdown":
            continue
        text = prose.reading(cell.source)
        for phrase in everyday.get(term.names[0], "").split(", "):
            if phrase:
                text = text.replace(phrase, " " * len(phrase))
        found = term.pattern.search(text)
        if found is None:
            continue
        if not _leads_on(term, cell.source, found.start()):
            yield f"{book.at(cell)}: {found[0]!r} is used before notebook {term.notebook}"
        return


def _leads_on(term: Term, source: str, at: int) -> bool:
    """Whether the word at this place is a link to what it means."""
    return any(
        found.start() <= at < found.end()
        and found[2].partition("#")[0] in (term.target, GLOSSARY.name)
        for found in prose.LINK.finditer(source)
    )


def _not_in_the_glossary(books: Sequence[Book], terms: Sequence[Term]) -> Iterator[str]:
    for book in books:
        for cell in book.cells:
            for _, text in prose.bold(cell.source) if cell.kind == "markdown" else ():
                if not _is_emphasis(text) and not any(_is(term, text) for term in terms):
                    yield f"{book.at(cell)}: {text!r} is in bold, but not in the glossary"


def _is_emphasis(text: str) -> bool:
    """Whether bold text is a label, a letter, or a whole sentence that is stressed."""
    label = text.strip(" .,:;")
    return label in NO_TERMS or len(label) == 1 or (text.endswith(".") and len(text.split()) > 2)
