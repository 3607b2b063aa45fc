"""`python -m tests.notebooks.look 02 --folder seen`: runs notebooks in a browser, cell by cell.

A real JupyterLab in a window of 1280 pixels, its file list open as a newcomer has it. Where a
panel asks, *Authorise* and *Approve* are pressed. What is too wide, has no alt text or went wrong
is told; pictures of the whole notebook, solutions unfolded, are left in the folder to be looked at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.binder.visitor import chromium
from tests.browser.conftest import NotebookPage
from tests.browser.jupyterserver import JupyterServer
from tests.notebooks.books import FOLDER, Book, Cell, workshop

WIDTH, HEIGHT = 1280, 900  # of the window
SHEET = 1500  # pixels of height that one picture shows
PATIENCE = 120  # seconds for one cell

START = """(index) => {
  const app = window.jupyterapp;
  const notebook = app.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  app.commands.execute("notebook:run-cell");
}"""
RAN = """(index) => {
  const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
  return cell.model.executionState === "idle" && cell.model.executionCount !== null;
}"""
WIDE = """() => {
  const told = new Set();
  for (const element of document.querySelectorAll(".jp-Notebook, .jp-Notebook *")) {
    const over = element.scrollWidth - element.clientWidth;
    const style = getComputedStyle(element);
    if (over > 1 && element.clientWidth > 0 && ["auto", "scroll"].includes(style.overflowX)) {
      const cell = element.closest(".jp-Cell");
      const cells = [...document.querySelectorAll(".jp-Notebook .jp-Cell")];
      const place = cell ? `cell ${cells.indexOf(cell) + 1}` : "the notebook";
      told.add(`${place}: ${over} pixels too wide (${element.className})`);
    }
  }
  return [...told];
}"""
# JupyterLab gives a picture that has no text of its own the text "Image".
BARE = """() => [...document.querySelectorAll(".jp-Notebook img")]
  .filter((image) => ["", "Image"].includes(image.alt.trim()))
  .map((image) => `a picture without alt text: ${image.outerHTML.slice(0, 80)}`)"""
WRONG = """() => [...document.querySelectorAll(
    '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')]
  .map((output) => `on stderr: ${output.textContent.slice(0, 200)}`)"""


class Desk:
    """A JupyterLab with a copy of the workshop, and a window to look at it."""

    def __init__(self, home: Path) -> None:
        self.server = JupyterServer(home)
        shutil.copytree(FOLDER, self.server.work / "notebooks")
        overrides = home / "config" / "labconfig" / "default_setting_overrides.json"
        settings = json.loads(overrides.read_text())
        # Every cell stays in the page, so that all of it can be measured.
        settings["@jupyterlab/notebook-extension:tracker"] = {"windowingMode": "none"}
        overrides.write_text(json.dumps(settings))

    def look(self, page: Any, book: Book, folder: Path) -> list[str]:
        """Run the notebook; what is not as it should be. Pictures go into ``folder``."""
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        notebook = NotebookPage(page, self.server, f"notebooks/{book.name}", "lab")
        notebook.command("notebook:clear-all-cell-outputs")
        for cell in book.cells:
            if cell.kind == "code":
                self._run(page, cell)
        notebook.command("notebook:show-all-cell-code")
        notebook.command("notebook:show-all-cell-outputs")
        page.wait_for_timeout(1000)
        told = [*page.evaluate(WIDE), *page.evaluate(BARE), *page.evaluate(WRONG)]
        _picture(page, folder, book.number)
        self.server.end_kernels()
        return told

    def _run(self, page: Any, cell: Cell) -> None:
        """Run a cell to its end. A panel in it may hold it up until it is pressed, or not."""
        index = cell.number - 1
        page.evaluate(START, index)
        place = page.locator(".jp-Notebook .jp-Cell").nth(index)
        authorise = place.locator(".s4s-connect").get_by_role("link", name="Authorise")
        end = time.monotonic() + PATIENCE
        waits = "s4s.connect(" in cell.source
        while not page.evaluate(RAN, index) or waits:
            if authorise.count() and authorise.is_visible():
                _approve(page, authorise)
                waits = False
            if time.monotonic() > end:
                raise TimeoutError(f"cell {cell.number} did not end")
            page.wait_for_timeout(200)


def _approve(page: Any, authorise: Any) -> None:
    with page.context.expect_page() as opened:
        authorise.click()
    window = opened.value
    window.get_by_role("button", name="Approve").click()
    window.get_by_role("heading", name="Approved").wait_for()
    window.close()


def _picture(page: Any, folder: Path, number: str) -> None:
    """The whole notebook from its first cell, in sheets: the window is made as tall as it is."""
    outer = page.locator(".jp-NotebookPanel-notebook .jp-WindowedPanel-outer")
    ends = outer.evaluate(
        """(element) => {
          element.scrollTop = 0;
          const cells = [...element.querySelectorAll(".jp-Cell")];
          return cells.at(-1).getBoundingClientRect().bottom;
        }"""
    )
    height = int(ends) + 40
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.wait_for_timeout(1500)
    outer.evaluate("(element) => { element.scrollTop = 0; }")
    for part, top in enumerate(range(0, height, SHEET), 1):
        clip = {"x": 0, "y": top, "width": WIDTH, "height": min(SHEET, height - top)}
        page.screenshot(path=folder / f"{number}-{part}.png", clip=clip)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.look", description=__doc__)
    parser.add_argument("notebooks", nargs="*", help="their numbers (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("seen"), help="for the pictures")
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="s4s-look-") as home:
        desk = Desk(Path(home))
        desk.server.start()
        try:
            for book in workshop():
                if given.notebooks and book.number not in given.notebooks:
                    continue
                with chromium() as page:
                    told = desk.look(page, book, given.folder)
                wrong += len(told)
                print(f"{book.name}: {'in order' if not told else len(told)}", flush=True)
                for text in told:
                    print(f"  {text}")
        finally:
            desk.server.stop()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
