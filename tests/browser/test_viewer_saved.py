"""A notebook saved with the viewer, where no kernel runs: the picture is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydicom.data import get_testdata_file

from s4s_notebook.widgets.bundle import link
from s4s_notebook.widgets.viewer import Viewer
from tests.browser.conftest import NotebookPage
from tests.browser.test_viewer import opened, view

SNAPSHOT = 'img[alt^="First slice: "]'
SHOWN = f"""() => {{
  const images = [...document.querySelectorAll('{SNAPSHOT}')];
  const all = images.filter((image) => image.checkVisibility());
  return all.length === 1 && all[0].complete && all[0].naturalWidth;
}}"""
OUTPUT = ".jp-OutputArea-output"
MISSING = "Error displaying widget: model not found"


@pytest.fixture(scope="module")
def saved(browser, jupyter):
    """A notebook that was run and saved; its kernel is gone. What its page looked like, too."""
    jupyter.write("saved.ipynb", view(get_testdata_file("CT_small.dcm")))
    page = browser.new_page()
    notebook = NotebookPage(page, jupyter, "saved.ipynb", "lab")
    notebook.run_all()
    opened(notebook)
    notebook.idle()
    notebook.save()
    notebook.seen = [page.locator(one).is_visible() for one in (".s4s-viewer", SNAPSHOT)]
    page.close()
    jupyter.end_kernels()
    return notebook


def words(page) -> str:
    """All text that a person sees in the outputs."""
    return "".join(page.locator(f"{OUTPUT}:visible").all_inner_texts()).strip()


def test_a_live_viewer_stands_alone(saved):
    assert saved.seen == [True, False]
    assert len(saved.path.read_text()) < 1_000_000


def test_html_by_nbconvert_shows_the_picture(saved, page, tmp_path):
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", str(tmp_path)]
    subprocess.run([*command, str(saved.path)], check=True, capture_output=True, timeout=120)
    [made] = tmp_path.glob("*.html")
    page.goto(made.as_uri(), wait_until="domcontentloaded")
    page.wait_for_function(SHOWN)
    assert page.evaluate(SHOWN) == 128
    assert words(page) == ""


def test_opened_again_the_picture_stands_without_an_error(saved, page, jupyter):
    """A new kernel knows no widget of the old one; Jupyter says so in its own words."""
    page.goto(jupyter.page(saved.path.name, "lab"))
    page.locator(OUTPUT, has_text=MISSING).wait_for(state="attached", timeout=60_000)
    page.wait_for_function(SHOWN)
    assert page.evaluate(SHOWN) == 128
    assert words(page) == ""


def test_jupyterlab_without_a_kernel_shows_the_picture(saved, page, jupyter):
    document = json.loads(saved.path.read_text())
    del document["metadata"]["kernelspec"]
    (jupyter.work / "without-kernel.ipynb").write_text(json.dumps(document))
    page.goto(jupyter.page("without-kernel.ipynb", "lab"))
    page.wait_for_function(SHOWN, timeout=60_000)
    assert page.evaluate(SHOWN) == 128
    assert not page.locator(".s4s-viewer").count()
    assert words(page) == ""


PAGE = """<div class="jp-OutputArea">
  <div class="jp-OutputArea-child"><div class="jp-OutputArea-output" id="here"></div></div>
  <div class="jp-OutputArea-child"><img alt="First slice: CT" src="data:image/png;base64,"></div>
</div>"""
# The widget with a model whose questions nobody hears, until `answer` does.
UNHEARD = """async ([code, css]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const asked = [], heard = [];
  const model = { on: (_, callback) => heard.push(callback), off() {}, get: () => 200,
    send: (message) => asked.push(message) };
  (await import(url)).default.render({ model, el: document.querySelector("#here") });
  window.answer = () => heard[0]({ id: asked[0].id, free: true }, []);
}"""


def test_a_viewer_that_nobody_answers_leaves_the_picture(page):
    """As from saved widget state, or of a kernel that hangs: one line, and the picture."""
    page.clock.install()
    page.set_content(PAGE)
    page.evaluate(UNHEARD, [Viewer._esm, Viewer._css])
    picture, stage = page.locator("img"), page.locator(".s4s-stage")
    assert stage.is_visible()
    assert not picture.is_visible()
    page.clock.run_for(4500)
    assert picture.is_visible()
    assert not stage.is_visible()
    assert "run this cell again" in page.locator(".s4s-viewer").inner_text()
    page.evaluate("answer()")
    stage.wait_for()
    assert not picture.is_visible()


# The viewer before a source that always fails.
FAILING = """async (code) => {
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const { Viewer } = await import(url);
  window.asked = 0;
  const study = async () => { window.asked += 1; throw new Error("The server is gone."); };
  const viewer = new Viewer({ study });
  document.body.append(viewer.node);
  viewer.start();
}"""


def test_a_source_that_fails_is_asked_ever_less_often(page):
    page.clock.install()
    page.set_content("<p>Here:</p>")
    page.evaluate(FAILING, link("viewer/panel.js"))
    page.clock.run_for(30_000)
    assert page.get_by_role("alert").inner_text() == "The server is gone."
    assert 5 < page.evaluate("asked") < 20
