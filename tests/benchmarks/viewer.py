"""`python -m tests.benchmarks viewer`: a frame on screen, beside matplotlib inline and ipympl.

One JupyterLab, one headless Chromium, one synthetic CT series of 512 x 512. For our viewer a
frame is: next slice or next window, look-up table, canvas, done; for the peers it is a whole
kernel round trip, from the request to the new picture in the page. Memory is what the viewer
holds while 2,000 slices are scrolled through, against its limit.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from playwright.sync_api import sync_playwright
from pydicom.data import get_testdata_file

from tests.browser.conftest import CHROMIUM, NotebookPage
from tests.browser.jupyterserver import JupyterServer

VIEWER = 'document.querySelector(".s4s-viewer")?.viewer'
SIDE = 512

FRAMES = """async (what) => {
  const viewer = document.querySelector(".s4s-viewer").viewer;
  const screen = () => new Promise(requestAnimationFrame);
  const times = [];
  for (let i = 0; i < 300; i += 1) {
    await screen();
    const start = performance.now();
    if (what === "scroll") viewer.go(i % viewer.count);
    else viewer.setWindow(40 + i, 400 + i);
    viewer.draw();
    viewer.stage.canvas.getContext("2d").getImageData(0, 0, 1, 1); // until it is painted
    times.push(performance.now() - start);
  }
  return times;
}"""

FIRST = """() => {
  const viewer = document.querySelector(".s4s-viewer").viewer;
  return viewer.firstPainted - viewer.firstHeard;
}"""

LIMIT = """async (count) => {
  const viewer = document.querySelector(".s4s-viewer").viewer;
  let most = 0;
  for (let i = 0; i < count; i += 7) {
    viewer.go(i);
    while (!viewer.slice) {
      await new Promise((done) => setTimeout(done, 5));
      viewer.draw();
    }
    most = Math.max(most, viewer.slices.bytes);
  }
  return [most, viewer.slices.limit, viewer.slices.count];
}"""

# The peers draw one slice a call; the page is asked when its picture has changed.
INLINE = """
import matplotlib.pyplot as plt
%matplotlib inline
from IPython.display import display
def once(n, handle):
    figure, axes = plt.subplots(figsize=(5.12, 5.12))
    axes.imshow(pixels[n], cmap="gray", vmin=-160, vmax=240); axes.set_axis_off()
    axes.set_title(str(n)); handle.update(figure); plt.close(figure)
"""


def series(folder: Path, count: int) -> None:
    """Write `count` CT slices of 512 x 512 whose values change from slice to slice."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.Rows = dataset.Columns = SIDE
    rows, columns = np.mgrid[:SIDE, :SIDE]
    body = np.hypot((rows - 256) / 180, (columns - 256) / 230) < 1
    noise = np.random.default_rng(7).integers(-20, 20, (SIDE, SIDE))
    uid = dataset.SOPInstanceUID
    for at in range(count):
        values = np.where(body, 1064 + noise + 40 * np.sin(columns / 30 + at / 9), 24)
        dataset.PixelData = values.astype("<i2").tobytes()
        dataset.ImagePositionPatient = [-180, -180, at * 1.0]
        dataset.InstanceNumber = at + 1
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{at}"
        dataset.save_as(folder / f"{at:04}.dcm")


def cell(body: str, folder: Path) -> str:
    return f"import s4s_notebook as s4s\nstudy = s4s.read({str(folder)!r})\n{body}"


def line(name: str, times: list[float]) -> float:
    ordered = sorted(times)
    middle = statistics.median(ordered)
    late = ordered[int(len(ordered) * 0.95)]
    print(f"{name:36} {middle:8.2f} {late:8.2f}   ms (median, 95th percentile)")
    return middle


def ours(page: Any, server: JupyterServer, folder: Path) -> float:
    notebook = NotebookPage(page, server, write(server, cell("study.view()", folder)), "lab")
    notebook.run_all()
    page.wait_for_function(f"() => {VIEWER}?.slice", timeout=120_000)
    page.wait_for_function(
        f"() => {VIEWER}.slices.count === {VIEWER}.count && {VIEWER}.slices.idle", timeout=120_000
    )
    first = page.evaluate(FIRST)
    scroll = line("s4s viewer, next slice", page.evaluate(FRAMES, "scroll"))
    line("s4s viewer, next window", page.evaluate(FRAMES, "window"))
    print(f"{'first slice received → on screen':36} {first:8.2f}            ms (aim 300)")
    return scroll


def inline(page: Any, server: JupyterServer, folder: Path) -> float:
    body = (
        "pixels = [frame.values() for frame in study.series[0].frames[:30]]\n"
        + INLINE
        + "handle = display('start', display_id=True)\nonce(0, handle)"
    )
    return peer(page, server, cell(body, folder), "once({n}, handle)", "matplotlib inline", "img")


def ipympl(page: Any, server: JupyterServer, folder: Path) -> float:
    body = (
        "%matplotlib widget\nimport matplotlib.pyplot as plt\n"
        "pixels = [frame.values() for frame in study.series[0].frames[:30]]\n"
        "figure, axes = plt.subplots(figsize=(5.12, 5.12))\n"
        "shown = axes.imshow(pixels[0], cmap='gray', vmin=-160, vmax=240)\n"
        "def once(n):\n    shown.set_data(pixels[n]); axes.set_title(str(n))\n"
        "    figure.canvas.draw()\n"
        "plt.show()"
    )
    return peer(page, server, cell(body, folder), "once({n})", "ipympl", "canvas")


# Runs code in the kernel and waits until the picture in the output is another one.
ROUND = """async ([code, kind]) => {
  const app = window.jupyterapp ?? window.jupyterlab;
  const kernel = app.shell.currentWidget.sessionContext.session.kernel;
  const found = () => {
    const all = document.querySelectorAll(`.jp-OutputArea-output ${kind}`);
    if (kind === "img") return all[0]?.src;
    return [...all].map((one) => {
      if (!one.width || !one.height) return "";
      const data = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
      let sum = 0;
      for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i]) | 0;
      return sum;
    }).join();
  };
  const before = found();
  const start = performance.now();
  kernel.requestExecute({ code, silent: false, store_history: false });
  while (found() === before) {
    if (performance.now() - start > 5000) throw new Error("no new picture came");
    await new Promise((done) => setTimeout(done, 1));
  }
  return performance.now() - start;
}"""


def peer(page: Any, server: JupyterServer, code: str, call: str, name: str, kind: str) -> float:
    notebook = NotebookPage(page, server, write(server, code), "lab")
    notebook.run_all()
    page.locator(f".jp-OutputArea-output {kind}").first.wait_for(timeout=60_000)
    notebook.idle()
    page.wait_for_timeout(1500)
    turns = [page.evaluate(ROUND, [call.format(n=n), kind]) for n in range(1, 26)]
    return line(name, turns[3:])


def limit(page: Any, server: JupyterServer, folder: Path, count: int) -> None:
    code = cell("study.view(memory=128)", folder)
    notebook = NotebookPage(page, server, write(server, code), "lab")
    notebook.run_all()
    page.wait_for_function(f"() => {VIEWER}?.slice", timeout=180_000)
    most, most_allowed, kept = page.evaluate(LIMIT, count)
    print(
        f"{count} slices scrolled: at most {most / 2**20:.0f} MiB of pixels in the browser, "
        f"limit {most_allowed / 2**20:.0f} MiB; {kept} slices kept"
    )


_written = iter(range(100))


def write(server: JupyterServer, code: str) -> str:
    name = f"benchmark-{next(_written)}.ipynb"
    server.write(name, code)
    return name


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks viewer", description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--many", type=int, default=2000, help="slices for the memory limit")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        root = Path(home)
        for name, count in (("some", options.slices), ("many", options.many)):
            (root / name).mkdir()
            series(root / name, count)
        server = JupyterServer(root / "jupyter").start()
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM
        )
        try:
            fresh = chromium.new_context(viewport={"width": 1200, "height": 900}).new_page
            mine = ours(fresh(), server, root / "some")
            for name, run in (("matplotlib inline", inline), ("ipympl", ipympl)):
                print(f"  {run(fresh(), server, root / 'some') / mine:.0f} times ours: {name}")
            limit(fresh(), server, root / "many", options.many)
        finally:
            chromium.close()
            server.stop()
    return 0
