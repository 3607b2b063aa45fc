"""The viewer where things are not quiet: a busy kernel, two views, hostile text, a lost codec."""

from __future__ import annotations

import pydicom
import pytest
from pydicom.data import get_testdata_file

from tests.browser.test_viewer import VIEWER, opened, view

HOSTILE = '<img src=x onerror="window.s4sHit=1"><script>window.s4sHit=1</script>'


def test_slices_come_while_a_later_cell_runs(open_notebook):
    path = get_testdata_file("CT_small.dcm")
    notebook = open_notebook(view(path), "import time\nfor _ in range(450): time.sleep(0.1)")
    notebook.run_all()
    opened(notebook)
    assert "[*]" in notebook.cell(1).inner_text(), "the picture came only after the cell"
    notebook.command("notebook:interrupt-kernel")


def test_two_views_of_one_viewer_show_the_same(open_notebook):
    path = get_testdata_file("MR_small.dcm")
    notebook = open_notebook(
        f"import s4s_notebook as s4s\nv = s4s.read({str(path)!r}).view()\nv", "v"
    )
    notebook.run_all()
    page = notebook.page
    page.locator(".s4s-viewer").nth(1).wait_for(timeout=60_000)
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.s4s-viewer')];"
        " return all.length === 2 && all.every((one) => one.viewer.slice); }"
    )


@pytest.mark.fault("G01")
def test_hostile_text_stays_text(open_notebook, tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.SeriesDescription = HOSTILE[:64]
    dataset.PatientName = "<script>window.s4sHit</script>"
    dataset.PatientID = "<svg onload=window.s4sHit=1>"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.WindowCenterWidthExplanation = "<b onclick=window.s4sHit=1>w</b>"
    dataset.save_as(tmp_path / "a.dcm")
    notebook = open_notebook(view(tmp_path / "a.dcm"))
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    page.get_by_role("button", name="Names").click()
    page.get_by_text("<svg onload").first.wait_for()
    assert "<img src=x" in page.locator(".s4s-corner").first.text_content()
    assert page.locator(".s4s-viewer :is(img, script, b, svg[onload])").count() == 0
    assert page.evaluate("window.s4sHit") is None


def test_a_picture_that_cannot_be_made_says_why(open_notebook, tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PixelData = dataset.PixelData[:100]
    dataset.save_as(tmp_path / "a.dcm")
    notebook = open_notebook(view(tmp_path / "a.dcm"))
    notebook.run_all()
    notebook.page.locator(".s4s-notice").filter(has_text="end too early").wait_for(timeout=60_000)


def test_keys_do_not_reach_the_notebook(open_notebook):
    notebook = open_notebook(view(get_testdata_file("CT_small.dcm")))
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    page.locator(".s4s-stage").click()
    for key in ("b", "a", "x", "m", "Escape", "i", "z", "Enter"):
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert page.evaluate(f"{VIEWER}.view.inverted") is True
