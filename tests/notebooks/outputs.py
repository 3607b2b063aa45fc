"""The outputs that are saved: what they must not hold, and what they must say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

from tests.notebooks.books import Book, texts

WIDTH = 110  # characters of a line of plain text: about 900 pixels in JupyterLab
TABLE_COLUMNS = 9  # with the index
TABLE_WIDTH = 150  # characters: the longest words of all columns together

_CODE = ("_esm", "_css")  # a panel's own program and style, the same for everybody

SHOULD_NOT = {
    "a port": re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]):\d+"),
    "a path of a machine": re.compile(r"(?<![\w.:/])/(?:tmp|home|root|work|Users|var|usr|opt)/\w"),
    "a path of Windows": re.compile(r"\b[A-Z]:\\\w"),
    "an address in memory": re.compile(r"\b0x[0-9a-f]{8,}\b"),
    "a token": re.compile(
        r"\bBearer\s+[\w~+/.-]{8,}|\beyJ[\w-]{10,}\.|(?:code|state)=[\w.~-]{16,}"
    ),
    "what looks like a secret": re.compile(
        r"(?<![\w/.-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)(?!\w+-\w+-)[\w-]{36,}(?![\w/.-])"
    ),
}


def complaints(books: Sequence[Book]) -> list[str]:
    """What is wrong with the saved outputs, one sentence each."""
    told = [
        f"{book.at(cell)}: {text}"
        for book in books
        for cell in book.cells
        for output in cell.outputs
        for text in _about(output)
    ]
    return told + [f"{book.name}: {text}" for book in books for text in _panels(book)]


def _panels(book: Book) -> Iterator[str]:
    """What the saved state of panels must not hold. They may name a sandbox that is gone."""
    for saved in book.metadata.get("widgets", {}).values():
        for model in saved["state"].values():
            state = {name: kept for name, kept in model["state"].items() if name not in _CODE}
            text = re.sub(r"IPY_MODEL_[0-9a-f]{32}", "", json.dumps(state))
            for name, pattern in SHOULD_NOT.items():
                if name != "a port" and pattern.search(text):
                    yield f"the saved state of {model['model_name']} holds {name}"


def _about(output: dict[str, Any]) -> Iterator[str]:
    if output["output_type"] == "error":
        yield f"an error is saved: {output['ename']}"
        return
    if output.get("name") == "stderr":
        yield "text on stderr is saved"
    yield from _pictures(output)
    media = output.get("data", {})
    for kind, text in texts(output):
        for name, pattern in SHOULD_NOT.items():
            if pattern.search(text):
                yield f"{kind} holds {name}"
        if kind == "text/html":
            yield from _page(text)
        elif kind == "text/plain" and not _has_more(media):
            widest = max(map(len, text.splitlines()), default=0)
            if widest > WIDTH:
                yield f"a line of {widest} characters, at most {WIDTH}"


def _has_more(media: dict[str, Any]) -> bool:
    """Whether the plain text is only what stands in where nothing better can be shown."""
    return any(kind == "text/html" or kind.startswith(("image/", "application/")) for kind in media)


def _pictures(output: dict[str, Any]) -> Iterator[str]:
    data, metadata = output.get("data", {}), output.get("metadata", {})
    for kind in [kind for kind in data if kind.startswith("image/")]:
        alt = metadata.get(kind, {}).get("alt", "")
        if not alt.strip() and not re.search(r'<img[^>]*\balt="[^"]+"', _html(data)):
            yield f"a picture ({kind}) without alt text"


def _html(data: dict[str, Any]) -> str:
    html = data.get("text/html", "")
    return html if isinstance(html, str) else "".join(html)


class _Reader(HTMLParser):
    """Reads tables' cells and pictures' alt texts."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.without_alt = 0
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img" and not (dict(attrs).get("alt") or "").strip():
            self.without_alt += 1
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def _page(html: str) -> Iterator[str]:
    reader = _Reader()
    reader.feed(html)
    if reader.without_alt:
        yield f"{reader.without_alt} pictures in HTML without alt text"
    if columns := max(map(len, reader.rows), default=0):
        if columns > TABLE_COLUMNS:
            yield f"a table of {columns} columns, at most {TABLE_COLUMNS}"
        # A browser breaks a cell's text between words, so the longest word counts.
        widths = [
            max(max(map(len, row[at].split()), default=0) for row in reader.rows if at < len(row))
            for at in range(columns)
        ]
        if sum(widths) > TABLE_WIDTH:
            yield f"a table of {sum(widths)} characters in a line, at most {TABLE_WIDTH}"
