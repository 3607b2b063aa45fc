"""Every link in the texts leads somewhere, as far as that can be seen without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.notebooks import prose
from tests.notebooks.books import REPO

TEXTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_HOST = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", re.ASCII)


def files(repo: Path = REPO) -> list[Path]:
    """The texts that are looked through: those at the top, and all beside the notebooks."""
    beside = (repo / "notebooks").rglob("*")
    return [repo / name for name in TEXTS] + sorted(
        path
        for path in beside
        if path.suffix in (".md", ".ipynb") and ".ipynb_checkpoints" not in path.parts
    )


def complaints(repo: Path = REPO) -> list[str]:
    """Links that lead nowhere, and pictures without alt text, one sentence each."""
    return [
        f"{path.relative_to(repo)}: {text}"
        for path in files(repo)
        for link in prose.links(markdown(path))
        for text in _about(link, path, repo)
    ]


def markdown(path: Path) -> str:
    """The Markdown of a text or of a notebook's cells."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def _about(link: prose.Link, path: Path, repo: Path) -> Iterator[str]:
    if link.is_picture and not link.text:
        yield f"the picture {link.target} has no alt text"
    if urlsplit(link.target).scheme:
        if not _is_well_formed(link.target):
            yield f"{link.target} is no well-formed https address"
        return
    place, _, fragment = link.target.partition("#")
    target = (path.parent / unquote(place)).resolve() if place else path
    if place.startswith("/") or not target.is_relative_to(repo):
        yield f"{link.target} leads out of the repository"
    elif not _exists(target):
        yield f"{link.target} leads to nothing"
    elif fragment and not _has(target, unquote(fragment)):
        yield f"{link.target}: no heading has that anchor"


def _is_well_formed(address: str) -> bool:
    parts = urlsplit(address)
    odd = parts.username is not None or re.search(r"[\s\"'<>\\^`{}|]|[.,;]$", address)
    return parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None and not odd


def _exists(target: Path) -> bool:
    """Whether it is there under exactly this name, also on a disk that ignores case."""
    return target.exists() and target.name in (entry.name for entry in target.parent.iterdir())


def _has(target: Path, fragment: str) -> bool:
    if target.suffix not in (".md", ".ipynb"):
        return False
    return fragment in map(prose.anchor, prose.headings(markdown(target)))
