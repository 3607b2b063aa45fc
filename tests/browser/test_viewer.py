"""The viewer in a real browser: exact grey levels, no word to the kernel, nothing saved."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from s4s_notebook.imaging import read, render

CANVAS = """() => {
  const canvas = document.querySelector(".s4s-viewer canvas.s4s-picture");
  const { width, height } = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  let text = "";
  for (let i = 0; i < data.length; i += 8192)
    text += String.fromCharCode(...data.subarray(i, i + 8192));
  return { width, height, data: btoa(text) };
}"""
VIEWER = 'document.querySelector(".s4s-viewer")?.viewer'

FILES = {
    "CT, signed, rescaled": "CT_small.dcm",
    "MR with a narrow window": "MR_small.dcm",
    "MONOCHROME1": "dicomdirtests/77654033/CR1/6154",
    "colour cine": "examples_ybr_color.dcm",
    "palette": "examples_palette.dcm",
    "JPEG 2000": "JPEG2000.dcm",
    "32-bit dose": "rtdose.dcm",
    "padding and windows of its own": "dicomdirtests/98892001/CT2N/6293",
}


def opened(notebook) -> None:
    """Wait until the viewer shows a slice."""
    notebook.page.wait_for_function(
        f"() => {VIEWER}?.slice && document.querySelector('.s4s-notice').hidden", timeout=60_000
    )
    notebook.page.evaluate(f"{VIEWER}.draw()")


def canvas(page) -> np.ndarray:
    seen = page.evaluate(CANVAS)
    data = np.frombuffer(base64.b64decode(seen["data"]), np.uint8)
    return data.reshape(seen["height"], seen["width"], 4)[..., :3]


def as_rgb(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def view(path, more="") -> str:
    return f"import s4s_notebook as s4s\ns4s.read({str(path)!r}, force=True).view({more})"


@pytest.mark.parametrize("name", FILES)
def test_canvas_pixels_equal_render(name, open_notebook):
    path = get_testdata_file(FILES[name])
    notebook = open_notebook(view(path))
    notebook.run_all()
    opened(notebook)
    series = read(path, force=True).series[0]
    picture = render(series.frames[0], series.grey_range)
    assert np.array_equal(canvas(notebook.page), as_rgb(picture))


@pytest.mark.parametrize("window", ["lung", "bone", "brain"])
def test_presets_equal_render(window, open_notebook):
    path = get_testdata_file("CT_small.dcm")
    notebook = open_notebook(view(path))
    notebook.run_all()
    opened(notebook)
    series = read(path).series[0]
    choices = list(series.window_choices)
    assert window in choices
    notebook.page.get_by_role("combobox", name="Window").select_option(label=window)
    notebook.page.evaluate(f"{VIEWER}.draw()")
    assert np.array_equal(canvas(notebook.page), as_rgb(render(series.frames[0], window)))


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    """A stack of 60 slices, as the sandbox serves it."""
    from s4s_notebook import Sandbox, Store

    root = tmp_path_factory.mktemp("chest")
    with (
        Sandbox(retry_after=0) as sandbox,
        Store(root) as store,
        sandbox.connect(store=store) as me,
    ):
        studies = me.studies()
        paths = me.download(studies[studies.modalities == "CT"].iloc[0]).result(60).paths
        yield paths[0].parent


COUNT = """() => {
  window.s4sSent = 0;
  const app = window.jupyterapp ?? window.jupyterlab;
  app.shell.currentWidget.sessionContext.session.kernel.anyMessage.connect((_, message) => {
    if (message.direction === "send") window.s4sSent += 1;
  });
}"""


@pytest.fixture(scope="module")
def long_series(tmp_path_factory):
    """300 slices of 512 x 512, no two alike: 157 MB of pixels."""
    folder = tmp_path_factory.mktemp("long")
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.Rows = dataset.Columns = 512
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    rows, columns = np.mgrid[:512, :512]
    body = np.where(np.hypot(rows / 180 - 1.42, columns / 230 - 1.11) < 1, 1064, 24)
    pixels = (body + np.random.default_rng(7).integers(-150, 150, (512, 512))).astype("<i2")
    uid = dataset.SOPInstanceUID
    for at in range(300):
        dataset.PixelData = np.roll(pixels, at, axis=1).tobytes()
        dataset.ImagePositionPatient = [-180, -180, at]
        dataset.InstanceNumber = at + 1
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{at}"
        dataset.save_as(folder / f"{at:03}.dcm")
    return folder


def test_300_slices_scroll_and_window_without_a_word_to_the_kernel(open_notebook, long_series):
    notebook = open_notebook(view(long_series))
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    loaded = f"() => {VIEWER}.slices.count === 300 && {VIEWER}.slices.idle"
    page.wait_for_function(loaded, timeout=90_000)
    assert page.evaluate(f"{VIEWER}.slices.bytes") == 300 * 512 * 512 * 2
    notebook.idle()
    page.wait_for_timeout(1500)
    page.evaluate(COUNT)
    frames = read(long_series).series[0].frames

    def exact(window=None):
        page.evaluate(f"{VIEWER}.draw()")
        frame = frames[page.evaluate(f"{VIEWER}.view.index")]
        assert np.array_equal(canvas(page), as_rgb(render(frame, window)))
        return frame

    stage = page.locator(".s4s-stage")
    stage.focus()
    seen = [exact()]
    for key in ("ArrowDown", "PageDown", "End", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(exact())
    assert [frames.index(frame) for frame in seen] == [0, 1, 11, 299, 298]
    page.get_by_label("Slice", exact=True).fill("150")
    exact()
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    for _ in range(60):
        page.mouse.wheel(0, 100)
    page.mouse.down()
    page.mouse.move(x + 90, y - 40, steps=12)
    page.mouse.up()
    page.wait_for_timeout(500)
    assert page.evaluate(f"{VIEWER}.view.index") == 210
    center, width = page.evaluate(f"[{VIEWER}.view.window.center, {VIEWER}.view.window.width]")
    assert (center, width) != (40, 400)
    exact((center, width))
    assert page.evaluate("window.s4sSent") == 0


def test_other_planes_come_from_the_kernel(open_notebook, chest):
    notebook = open_notebook(view(chest))
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    page.get_by_role("combobox", name="Window").select_option(label="lung")
    page.get_by_label("Plane").select_option(label="Coronal")
    page.wait_for_function(f"() => {VIEWER}.slice && {VIEWER}.plane.name === 'Coronal'")
    volume = read(chest).series[0].volume()
    assert page.evaluate(f"{VIEWER}.count") == volume.shape[1]
    assert page.evaluate(f"{VIEWER}.view.index") == volume.shape[1] // 2
    assert page.evaluate(f"{VIEWER}.view.window.center") == -600
    assert page.get_by_role("combobox", name="Window").input_value() == "preset:lung"
    page.wait_for_function(f"() => {VIEWER}.slice?.rows === 60")
    shown = page.evaluate(f"Array.from({VIEWER}.slice.pixels)")
    row = np.asarray(volume)[:, page.evaluate(f"Number({VIEWER}.plane.ids[{VIEWER}.view.index])")]
    assert np.array_equal(np.array(shown).reshape(row.shape), row[::-1])


def test_numbers_that_are_typed_hold_at_once(open_notebook, chest):
    notebook = open_notebook(view(chest))
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    for label, number in (("Window centre", "-500"), ("Window width", "900")):
        page.get_by_label(label).click()
        page.keyboard.press("Control+a")
        page.keyboard.type(number)
        page.keyboard.press("Enter")
    page.evaluate(f"{VIEWER}.draw()")
    frame = read(chest).series[0].frames[0]
    assert np.array_equal(canvas(page), as_rgb(render(frame, (-500, 900))))
    page.get_by_role("button", name="Invert").click()  # and the keys go on to the picture
    page.keyboard.press("PageDown")
    assert page.evaluate(f"{VIEWER}.view.index") == 10


def test_an_image_without_a_window_says_that_its_range_is_shown(open_notebook):
    notebook = open_notebook(view(get_testdata_file("rtdose.dcm")))
    notebook.run_all()
    opened(notebook)
    choice = notebook.page.get_by_role("combobox", name="Window")
    assert choice.evaluate("(one) => one.selectedOptions[0].textContent") == "whole range"


@pytest.mark.parametrize("name", ["dicomdirtests/77654033/CR1/6154", "MR_small.dcm"])
def test_the_edges_have_the_letters_that_plot_has(name, open_notebook):
    """A projection states where its rows point; a slice lies in space."""
    path = get_testdata_file(name)
    notebook = open_notebook(view(path))
    notebook.run_all()
    opened(notebook)
    shown = notebook.page.locator(".s4s-edge").all_inner_texts()  # top, bottom, left, right
    drawn = {text.get_text() for text in read(path).plot(scale=False).axes[0].texts}
    assert len(drawn) == 4
    assert set(shown) == drawn
    assert shown == (["H", "F", "R", "L"] if "CR1" in name else ["A", "P", "R", "L"])


@pytest.mark.fault("G03")
def test_a_saved_notebook_keeps_the_picture_and_no_name(open_notebook, tmp_path):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientName = "Hidden^Canary"
    dataset.save_as(tmp_path / "a.dcm")
    notebook = open_notebook(view(tmp_path / "a.dcm"))
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    assert "Hidden" not in page.locator(".s4s-viewer").inner_text()
    page.get_by_role("button", name="Names").click()
    page.get_by_text("Hidden").first.wait_for()
    notebook.idle()
    saved = notebook.save()
    assert "Hidden" not in saved
    assert len(saved) < 1_000_000
    [_, output] = [o for cell in json.loads(saved)["cells"] for o in cell["outputs"]]
    png = Image.open(io.BytesIO(base64.b64decode("".join(output["data"]["image/png"]))))
    assert np.array_equal(np.asarray(png), render(read(tmp_path / "a.dcm").series[0].frames[0]))
    assert output["metadata"]["image/png"]["alt"]


def test_no_snapshot_where_none_is_wanted(open_notebook):
    notebook = open_notebook(view(get_testdata_file("CT_small.dcm"), "snapshot=False"))
    notebook.run_all()
    opened(notebook)
    assert "image/png" not in notebook.save()


def test_slices_appear_while_the_download_runs(open_notebook):
    notebook = open_notebook(
        "import s4s_notebook as s4s\n"
        "sandbox = s4s.Sandbox(retry_after=0).start()\n"
        "me = sandbox.connect()\n"
        "studies = me.studies()\n"
        "download = me.download(studies[studies.modalities == 'CT'].iloc[0])\n"
        "download.view()",
    )
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    page.wait_for_function(f"() => {VIEWER}.count === 60 && !{VIEWER}.study.growing")


@pytest.mark.parametrize("app", ["notebook"], indirect=True)
def test_it_works_in_notebook_7(open_notebook, app):
    path = get_testdata_file("MR_small.dcm")
    notebook = open_notebook(view(path), app=app)
    notebook.run_all()
    opened(notebook)
    assert np.array_equal(canvas(notebook.page), as_rgb(render(read(path).series[0].frames[0])))


def test_probe_and_length_by_keyboard(open_notebook, chest):
    notebook = open_notebook(view(chest))
    notebook.run_all()
    opened(notebook)
    page = notebook.page
    page.locator(".s4s-stage").focus()
    page.keyboard.press("p")
    page.keyboard.press("Enter")
    page.wait_for_function("() => /HU/.test(document.querySelector('.s4s-viewer').innerText)")
    said = page.locator(".s4s-viewer").inner_text()
    assert "mm" in said
    said = page.locator(".s4s-readout").inner_text()
    page.keyboard.press("PageDown")
    page.wait_for_function(
        "(said) => document.querySelector('.s4s-readout').innerText !== said", arg=said
    )
    assert re.search(r"z \W?[\d.]+ mm · \W?\d+ HU", page.locator(".s4s-readout").inner_text())
