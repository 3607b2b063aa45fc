"""`python -m tests.benchmarks viewer`: a frame on screen, beside matplotlib inline and ipympl.

One JupyterLab, one headless Chromium, one synthetic CT series of 512 x 512. For our viewer a
frame is: next slice or next window, look-up table, canvas, done; the control, taken in turns
with it, is a loop over as many pixels that touches no page, so its 95th percentile is what the
machine does to any code. For the peers a frame is a whole kernel round trip, from the request to
the new picture in the page. The first image is clocked from the download's first part, whole in
the kernel, to the canvas. Memory is the browser's while 2,000 slices are scrolled through.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from contextlib import closing
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
  const context = viewer.stage.canvas.getContext("2d");
  const [from, to] = [new Uint16Array(512 * 512), new Uint32Array(512 * 512)];
  const table = new Uint32Array(65536);
  const times = [], control = [];
  const timed = (work, list) => {
    const start = performance.now();
    work();
    list.push(performance.now() - start);
  };
  for (let i = 0; i < 300; i += 1) {
    await screen();
    timed(() => {
      if (what === "scroll") viewer.go(i % Math.min(viewer.count, 200));
      else viewer.windows.set(40 + i, 400 + i);
      viewer.draw();
      context.getImageData(0, 0, 1, 1); // until it is painted
    }, times);
    await screen();
    timed(() => {
      for (let round = 0; round < 3; round += 1) {
        for (let at = 0; at < from.length; at += 1) to[at] = table[from[at] + round];
      }
    }, control);
  }
  return [times, control];
}"""

FIRST = """() => {
  const viewer = document.querySelector(".s4s-viewer")?.viewer;
  return viewer?.firstPainted ? (performance.timeOrigin + viewer.firstPainted) / 1000 : null;
}"""

# The moment, by time.time(), at which the last byte of each part is here.
RECEIVED = """
import time
import s4s_notebook as s4s
from s4s_notebook.store.receive import Receiver
moments, receive = [], Receiver.receive
def clocked(self, chunks, *more):
    def whole():
        yield from chunks
        moments.append(time.time())
    return receive(self, whole(), *more)
Receiver.receive = clocked
sandbox = s4s.Sandbox(retry_after=2).start()
me = sandbox.connect()
studies = me.studies()
download = me.download(studies[studies.modalities == "CT"].iloc[0])
download.view()
"""

LIMIT = """async ([from, to]) => {
  const viewer = document.querySelector(".s4s-viewer").viewer;
  let most = 0;
  for (let i = from; i < to; i += 1) {
    viewer.go(i);
    const since = performance.now();
    while (!viewer.slice) {
      if (performance.now() - since > 30000) throw new Error(`slice ${i} did not come`);
      await new Promise((done) => setTimeout(done, 1));
    }
    viewer.draw();
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


def frames(page: Any, name: str, what: str) -> float:
    times, control = page.evaluate(FRAMES, what)
    middle = line(name, times)
    line("  control: a loop over 3 x 512 x 512", control)
    return middle


def ours(page: Any, server: JupyterServer, folder: Path) -> float:
    notebook = NotebookPage(page, server, write(server, cell("study.view()", folder)), "lab")
    notebook.run_all()
    page.wait_for_function(f"() => {VIEWER}?.slice", timeout=120_000)
    page.wait_for_function(
        f"() => {VIEWER}.slices.count === {VIEWER}.count && {VIEWER}.slices.idle", timeout=120_000
    )
    scroll = frames(page, "s4s viewer, next slice", "scroll")
    frames(page, "s4s viewer, next window", "window")
    return scroll


def first_image(page: Any, server: JupyterServer) -> None:
    """From the download's first part, whole in the kernel, to the canvas; the viewer waits."""
    notebook = NotebookPage(
        page, server, write(server, RECEIVED, "download.result(60); print(moments[0])"), "lab"
    )
    notebook.run_all()
    page.wait_for_function(FIRST, timeout=60_000)
    notebook.idle()
    received = float(notebook.cell(1).locator(".jp-OutputArea-output").inner_text())
    shown = page.evaluate(FIRST)
    print(f"{'first part received → on screen':36} {(shown - received) * 1000:8.0f}   ms (aim 300)")


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


class Memory:
    """What one page's process takes, in MiB."""

    def __init__(self, browser: Any, page: Any) -> None:
        self._browser = browser.new_browser_cdp_session()
        self._page = page.context.new_cdp_session(page)

    def rss(self) -> float:
        """Of the largest renderer: its resident pages."""
        processes = self._browser.send("SystemInfo.getProcessInfo")["processInfo"]
        found = [one["id"] for one in processes if one["type"] == "renderer"]
        statm = [Path(f"/proc/{pid}/statm").read_text().split() for pid in found]
        return max(int(one[1]) for one in statm) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def heap(self) -> tuple[float, float]:
        """JavaScript's objects, and the bytes of array buffers beside them."""
        self._page.send("HeapProfiler.collectGarbage")
        usage = self._page.send("Runtime.getHeapUsage")
        return usage["usedSize"] / 2**20, usage.get("backingStorageSize", 0) / 2**20

    def __str__(self) -> str:
        objects, buffers = self.heap()
        return f"objects {objects:4.0f}, buffers {buffers:4.0f}, process {self.rss():5.0f} MiB"


def limit(page: Any, server: JupyterServer, folder: Path, count: int) -> None:
    start = time.monotonic()
    code = cell("study.view(memory=128)", folder)
    notebook = NotebookPage(page, server, write(server, code), "lab")
    memory = Memory(page.context.browser, page)
    print(f"{count} slices: before the viewer    {memory}")
    notebook.run_all()
    page.wait_for_function(f"() => {VIEWER}?.slice", timeout=180_000)
    print(f"  first slice after {time.monotonic() - start:.0f} s")
    most = allowed = kept = 0
    for at in range(0, count, 250):
        held, allowed, kept = page.evaluate(LIMIT, [at, min(at + 250, count)])
        most = max(most, held)
        print(f"  {min(at + 250, count):4} slices scrolled through  {memory}", flush=True)
    frames(page, f"s4s viewer, next of {count} slices", "scroll")
    print(
        f"  at most {most / 2**20:.0f} MiB of pixels held, limit {allowed / 2**20:.0f} MiB; "
        f"{kept} slices kept; {time.monotonic() - start:.0f} s in all"
    )


_written = iter(range(100))


def write(server: JupyterServer, *cells: str) -> str:
    name = f"benchmark-{next(_written)}.ipynb"
    server.write(name, *cells)
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
            with closing(fresh()) as page:
                mine = ours(page, server, root / "some")
            with closing(fresh()) as page:
                first_image(page, server)
            for name, run in (("matplotlib inline", inline), ("ipympl", ipympl)):
                with closing(fresh()) as page:
                    print(f"  {run(page, server, root / 'some') / mine:.0f} times ours: {name}")
                server.end_kernels()
            with closing(fresh()) as page:
                limit(page, server, root / "many", options.many)
        finally:
            chromium.close()
            server.stop()
    return 0
