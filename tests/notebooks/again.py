"""`python -m tests.notebooks.again 02 04`: runs notebooks unattended and saves what they show.

The sandbox's pages are walked through by program. Of the panels' state only that is saved which
a panel in the notebook still needs, so that it looks the same when it is opened again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.notebooks.books import FOLDER

_STATE = "application/vnd.jupyter.widget-state+json"
_VIEW = "application/vnd.jupyter.widget-view+json"


def run(name: str) -> None:
    """Run one notebook in place. Raises CellExecutionError where a cell fails."""
    path = FOLDER / name
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    book.metadata.pop("widgets", None)
    client = NotebookClient(
        book,
        timeout=300,
        record_timing=False,
        store_widget_state=True,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute(env={**os.environ, "S4S_SANDBOX_APPROVE": "smart-1288992"})
    keep_what_is_shown(book)
    text = nbformat.writes(book)  # type: ignore[no-untyped-call]
    path.write_text(str(text).rstrip("\n") + "\n", encoding="utf-8")


def keep_what_is_shown(book: dict[str, Any]) -> None:
    """Drop the state of panels that gave way to their last line."""
    saved = book["metadata"].get("widgets", {}).get(_STATE)
    if saved is None:
        return
    shown = [
        output["data"][_VIEW]["model_id"]
        for cell in book["cells"]
        for output in cell.get("outputs", ())
        if _VIEW in output.get("data", {})
    ]
    kept: dict[str, Any] = {}
    while shown:
        model = shown.pop()
        if model not in kept and model in saved["state"]:
            kept[model] = saved["state"][model]
            shown += re.findall(r"IPY_MODEL_([0-9a-f]{32})", json.dumps(kept[model]))
    if kept:
        saved["state"] = kept
    else:
        del book["metadata"]["widgets"]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.again", description=__doc__)
    parser.add_argument("notebooks", nargs="*", help="their numbers (default: all)")
    numbers = parser.parse_args(argv).notebooks
    for path in sorted(FOLDER.glob("[0-9][0-9]-*.ipynb")):
        if not numbers or path.name[:2] in numbers:
            run(path.name)
            print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
