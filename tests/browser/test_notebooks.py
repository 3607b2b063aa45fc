"""The workshop's notebooks run cell by cell in a browser; what is wrong in one is seen."""

from __future__ import annotations

import json

import pytest

from tests.browser.jupyterserver import notebook
from tests.notebooks.books import book, workshop
from tests.notebooks.look import Desk

WIDE = "from IPython.display import HTML\nHTML('<div style=\"width: 2000px\">wide</div>')"
BARE = "HTML('<img src=\"data:image/gif;base64,R0lGODlhAQABAAAAACw=\">')"
LOUD = "import sys\nprint('a warning', file=sys.stderr)"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.server.start()
    yield desk
    desk.server.stop()


def test_what_is_too_wide_bare_or_loud_is_seen(page, desk, tmp_path):
    content = notebook("1", WIDE, BARE, LOUD)
    (desk.server.work / "notebooks" / "99-bad.ipynb").write_text(json.dumps(content))
    told = desk.look(page, book("99-bad.ipynb", content), tmp_path)
    assert len(told) == 3, told
    assert told[0].startswith("cell 2: ")
    assert "pixels too wide" in told[0]
    assert told[1].startswith("a picture without alt text: <img")
    assert told[2] == "on stderr: a warning\n"
    assert [path.name for path in tmp_path.iterdir()] == ["99-1.png"]


@pytest.mark.slow
@pytest.mark.parametrize("book", workshop(), ids=lambda book: book.number)
def test_a_notebook_runs_and_fits_a_window_of_1280_pixels(page, desk, tmp_path, book):
    assert desk.look(page, book, tmp_path) == []
    assert list(tmp_path.glob(f"{book.number}-*.png"))
