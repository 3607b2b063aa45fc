#!/usr/bin/env python3
"""`python3 binder/links.py`: the Binder badge, and a link for each notebook.

A Binder link holds the address of its repository. That is read from the git remote `origin`, or
given: `--remote https://…`. With `--write` the badge goes into README.md and the links go into
notebooks/README.md, in the place of what stands there between the marks `binder`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

REPO = Path(__file__).resolve().parent.parent
BINDER = "https://mybinder.org"
MARKS = re.compile(r"(?<=<!-- binder -->\n).*?(?=<!-- /binder -->)", re.DOTALL)


def image(remote: str) -> str:
    """Return the address at which Binder builds and starts this repository.

    Takes the forms that git knows: https://, ssh:// and git@host:path. A name or a token in
    it is left out. Raises ValueError where it leads to no other computer.
    """
    short = re.fullmatch(r"(?:[^@/:]+@)?([^/:]+\.[^/:]+):(?!//)(.+)", remote)
    host, path = short.groups() if short else (urlsplit(remote).hostname, urlsplit(remote).path)
    path = path.strip("/").removesuffix(".git")
    if not host or "." not in host or not path:
        raise ValueError(f"Binder cannot reach the repository at {remote!r}")
    if host == "github.com":
        place = f"gh/{path}"
    elif host == "gitlab.com":
        place = f"gl/{quote(path, safe='')}"
    else:
        place = f"git/{quote(f'https://{host}/{path}', safe='')}"
    return f"{BINDER}/v2/{place}/HEAD"


def link(remote: str, notebook: str) -> str:
    """Return the address that opens one notebook, by its path in the repository."""
    return f"{image(remote)}?urlpath=lab/tree/{notebook}"


def title(book: Path) -> str:
    """Return the first heading of a notebook."""
    first = json.loads(book.read_text("utf-8"))["cells"][0]["source"]
    return "".join(first).partition("\n")[0].removeprefix("# ")


def texts(remote: str, repo: Path = REPO) -> dict[str, str]:
    """Return the Markdown that goes into each file, by path."""
    books = sorted((repo / "notebooks").glob("[0-9][0-9]-*.ipynb"))
    first = link(remote, f"notebooks/{books[0].name}")
    rows = [
        f"- {book.name[:2]} [{title(book)}]({link(remote, f'notebooks/{book.name}')})\n"
        for book in books
    ]
    badge = f"[![Launch on Binder]({BINDER}/badge_logo.svg)]({first})\n"
    return {"README.md": badge, "notebooks/README.md": "\n" + "".join(rows) + "\n"}


def write(remote: str, repo: Path = REPO) -> None:
    """Put the badge and the links between the marks. Raises ValueError where those are missing."""
    for name, text in texts(remote, repo).items():
        path = repo / name
        old = path.read_text("utf-8")
        if len(MARKS.findall(old)) != 1:
            raise ValueError(f"{name} lacks the marks <!-- binder --> and <!-- /binder -->")
        path.write_text(MARKS.sub(lambda _, text=text: text, old), encoding="utf-8")


def origin(repo: Path = REPO) -> str:
    """Return the remote `origin` of the clone; raise ValueError where it has none."""
    command = ["git", "-C", str(repo), "remote", "get-url", "origin"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError("this folder has no git remote `origin`; give the address: --remote URL")
    return done.stdout.strip()


def main(argv: list[str]) -> int:
    """Print or write the links, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--remote", help="address of the repository (default: git's origin)")
    parser.add_argument("--write", action="store_true", help="write them into the two README.md")
    given = parser.parse_args(argv)
    try:
        remote = given.remote or origin()
        if given.write:
            write(remote)
        else:
            print(*texts(remote).values(), sep="", end="")
    except ValueError as error:
        print(f"binder/links.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
