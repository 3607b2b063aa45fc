"""Solutions use only what was shown before them.

Ours are the public names of the toolkit: what ``s4s`` exports, and methods and attributes of
what it gives out. A learner can use one in an exercise only if an earlier cell that is no
solution, or text in `backticks`, has it. The same holds for the arguments of our functions and
for the columns of our frames, which an output may have shown. pandas and Python are free.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import s4s_notebook as s4s
from s4s_notebook.connection import Loading
from s4s_notebook.imaging import Frame, Series, Window
from s4s_notebook.http.client import Exchange
from s4s_notebook.sandbox import Pacs, Record, Rule
from s4s_notebook.store import Filed, Finding, Participant, StudyFolder
from s4s_notebook.tables.columns import TABLES, declared
from tests.notebooks import prose
from tests.notebooks.books import Book, Cell, texts

GIVEN_OUT: tuple[type, ...] = (
    *(s4s.Connection, s4s.Download, s4s.Sandbox, s4s.Store, s4s.Study, s4s.S4SError),
    *(Loading, Frame, Series, Window, Exchange, Pacs, Record, Rule),
    *(Filed, Finding, Participant, StudyFolder),
)
# Ours too, but pandas and Python have the same names, and a learner may mean theirs.
_KNOWN: tuple[type, ...] = (pd.DataFrame, pd.Series, str, tuple, list, dict, set, Exception, Path)
_FREE = frozenset(name for kind in _KNOWN for name in dir(kind)) | {"path", "time", "read_csv"}


@cache
def ours() -> frozenset[str]:
    """Public names of the toolkit."""
    names = {*s4s.__all__, *s4s.tables.__all__}
    for kind in GIVEN_OUT:
        names |= {*dir(kind), *getattr(kind, "__annotations__", ())}
    return frozenset(name for name in names if not name.startswith("_")) - _FREE


@cache
def columns() -> frozenset[str]:
    """Columns of our frames."""
    return frozenset(column.name for table in TABLES for column in declared(table))


def complaints(books: Sequence[Book]) -> list[str]:
    """What a solution uses and nothing before it has shown."""
    told: list[str] = []
    shown: set[str] = set()
    seen: set[str] = set()  # words of outputs, where columns are read
    for book in books:
        for cell in book.cells:
            if cell.is_solution:
                told += [f"{book.at(cell)}: {text}" for text in _unknown(cell, shown, seen)]
            else:
                shown |= set(_words(cell))
                seen |= set(_output_words(cell))
    return told


def _words(cell: Cell) -> Iterator[str]:
    if cell.kind == "markdown":
        yield from prose.code_words(cell.source)
    elif cell.kind == "code":
        yield from re.findall(r"[^\W\d]\w*", _without_comments(cell.source))


def _output_words(cell: Cell) -> Iterator[str]:
    for output in cell.outputs:
        for _, text in texts(output):
            yield from re.findall(r"[^\W\d]\w*", text)


def _without_comments(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("#"))


def _unknown(cell: Cell, shown: set[str], seen: set[str]) -> Iterator[str]:
    used = list(_used(ast.parse(python(cell.source))))
    own = {name for kind, name in used if kind == "own"}
    for kind, name in dict.fromkeys(used):
        if name in shown or name in own:
            continue
        if kind == "argument":
            yield f"the argument {name!r} was not shown before"
        elif name in columns() - _FREE and kind in ("name", "text"):
            if name not in seen and "_" in name:  # a plain word may be anything
                yield f"the column {name!r} was not shown before"
        elif kind == "name" and name in ours():
            yield f"{name!r} was not shown before"


def python(source: str) -> str:
    """The cell without what only a notebook understands (``%magic``, ``!command``)."""
    return "\n".join("" if re.match(r"\s*[%!]", line) else line for line in source.splitlines())


def _used(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What a cell uses: ("name" | "argument" | "text" | "own", word)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield "name", node.attr
        elif isinstance(node, ast.Name):
            yield ("own" if isinstance(node.ctx, ast.Store) else "name"), node.id
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("s4s_notebook"):
            yield from (("name", alias.name) for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield "own", node.name
        elif isinstance(node, ast.arg):
            yield "own", node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "text", node.value
        elif isinstance(node, ast.Call):
            yield from _arguments(node)


def _arguments(call: ast.Call) -> Iterator[tuple[str, Any]]:
    function = call.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    if name in ours():
        yield from (("argument", keyword.arg) for keyword in call.keywords if keyword.arg)
