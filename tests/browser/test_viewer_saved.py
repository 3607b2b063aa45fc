"""A notebook saved with the viewer, where no kernel runs: the picture is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydicom.data import get_testdata_file

from tests.browser.test_viewer import opened, view

SNAPSHOT = 'img[alt^="First slice: "]'
SHOWN = f"""() => {{
  const images = [...document.querySelectorAll('{SNAPSHOT}')];
  const all = images.filter((image) => image.checkVisibility());
  return all.length === 1 && all[0].complete && all[0].naturalWidth;
}}"""


@pytest.fixture
def saved(open_notebook):
    """The notebook as saved, and still open beside a live viewer."""
    notebook = open_notebook(view(get_testdata_file("CT_small.dcm")))
    notebook.run_all()
    opened(notebook)
    notebook.idle()
    text = notebook.save()
    assert len(text) < 1_000_000
    return notebook


def test_a_live_viewer_stands_alone(saved):
    assert saved.page.locator(".s4s-viewer").is_visible()
    assert saved.page.locator(SNAPSHOT).count() == 1
    assert not saved.page.locator(SNAPSHOT).is_visible()


def test_html_by_nbconvert_shows_the_picture(saved, tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", str(tmp_path)]
    subprocess.run([*command, str(saved.path)], check=True, capture_output=True, timeout=120)
    [page] = tmp_path.glob("*.html")
    saved.page.goto(page.as_uri(), wait_until="domcontentloaded")
    saved.page.wait_for_function(SHOWN)
    assert saved.page.evaluate(SHOWN) == 128


def test_jupyterlab_without_a_kernel_shows_the_picture(saved, jupyter):
    document = json.loads(saved.path.read_text())
    del document["metadata"]["kernelspec"]
    name = f"without-kernel-{saved.path.name}"
    (jupyter.work / name).write_text(json.dumps(document))
    saved.page.goto("about:blank")
    jupyter.end_kernels()
    saved.page.goto(jupyter.page(name, "lab"))
    saved.page.wait_for_function(SHOWN, timeout=60_000)
    assert saved.page.evaluate(SHOWN) == 128
    assert not saved.page.locator(".s4s-viewer").count()
