"""The progress panel in real JupyterLab and Notebook 7."""

from __future__ import annotations

import json
import re
import time

SETUP = """
from tests.browser.fakes import FakeWork, waits
from s4s_notebook.widgets import progress_panel
"""


def _outputs(text: str) -> list[dict]:
    return [output for cell in json.loads(text)["cells"] for output in cell["outputs"]]


def test_countdown_and_cancel_while_the_cell_runs(open_notebook, app):
    notebook = open_notebook(
        SETUP,
        "import time\nwork = waits(272).start()\nprogress_panel(work).display()\n"
        "for _ in range(300):\n    time.sleep(0.1)\n"
        "    if work._end.is_set(): break\n"
        "print(f'cell back after {time.time() - work.cancelled_at:.2f} s')",
        app=app,
    )
    notebook.run_all()
    panel = notebook.page.locator(".s4s-progress")
    text = panel.locator(".s4s-progress-text")
    text.filter(has_text=re.compile(r"next try in 4:3\d \(try 2\)")).wait_for(timeout=20_000)
    bar = panel.get_by_role("progressbar")
    assert "1.2.840.99" in bar.get_attribute("aria-label")
    assert "next try in" in bar.get_attribute("aria-valuetext")
    time.sleep(2)  # so long does the line need to get off the main thread
    pressed = time.time()
    panel.get_by_role("button", name="Cancel").click()
    notebook.page.get_by_text("Cancelled; 0 instances kept").first.wait_for(timeout=5_000)
    took = time.time() - pressed
    assert took < 1, f"Cancel took {took:.2f} s on a busy kernel"
    notebook.idle()
    assert notebook.page.locator(".s4s-progress").count() == 0


def test_one_final_line_stays_in_the_saved_notebook(open_notebook, app):
    notebook = open_notebook(
        SETUP,
        """steps = [(2, dict(phase="receiving", instances=n, instances_expected=60,
    bytes=n*526000, bytes_expected=60*526000, rate=5.2e6)) for n in (12, 60)]
steps.append((0, dict(phase="done")))
work = FakeWork(steps, study_uid="1.2.840.99").start()
progress_panel(work)""",
        app=app,
    )
    notebook.run_all()
    panel = notebook.page.locator(".s4s-progress")
    text = panel.locator(".s4s-progress-text")
    text.filter(
        has_text=re.compile(r"12 of 60 instances · 6.3 MB of 31.6 MB · 5.2 MB/s")
    ).wait_for()
    assert panel.get_by_role("progressbar").get_attribute("value") is not None
    line = "✔ Study 1.2.840.99: 60 instances, 31.6 MB"
    notebook.page.get_by_text(line).wait_for()
    outputs = _outputs(notebook.save())
    assert [output["data"] for output in outputs] == [{"text/plain": [line]}]
