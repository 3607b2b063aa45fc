"""Every panel state against axe, in light and dark: no serious fault."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

PANELS = """
from tests.browser.fakes import *
from s4s_notebook.connection.known_holders import Holders
from s4s_notebook.widgets.connect.choose import ChooserPanel
from s4s_notebook.widgets.connect import OriginQuestion
from s4s_notebook.widgets import connect_panel, explore, progress_panel
from IPython.display import display
from s4s_notebook.errors import HolderUnavailable
import ipywidgets, pathlib, tempfile, threading
asked = connect_panel(FakeConnection())
asked._say("The request was declined.\\nNext: Authorise again.")
approved = FakeConnection(); approved._set("approved"); approved.patient_id = "smart-1"
needs = FakeConnection(register=None)
record = [patient("Sample")] + [study(n) for n in range(60)] + [claim(n) for n in range(60)]
panels = [asked, connect_panel(approved), connect_panel(needs)]
for status in ("waiting for approval", "declined", "expired", "open"):
    other = FakeConnection(); other._set(status)
    panels.append(connect_panel(other))
holders = Holders(pathlib.Path(tempfile.mkdtemp()))
for name in ("a", "b"):
    holders.add(f"https://{name}.example/fhir")
for said in ({}, {"status": "Asking https://a.example how one signs in…"}, {"problem": "No."}):
    chooser = ChooserPanel(holders); chooser.update(**said)
    panels.append(chooser)
panels += [OriginQuestion("https://images.example")]
for phase in ("queued", "waiting", "receiving", "done", "failed", "cancelled"):
    panels.append(progress_panel(FakeWork([], phase=phase, study_uid="1.2.3", seconds_left=272.0,
        instances=12, instances_expected=60, bytes=10**7, bytes_expected=10**8, rate=1e6)))
lines = claim(0) | {"item": [{"sequence": n} for n in range(1, 121)]}
class Failing(FakeRecord):
    def studies(self): raise HolderUnavailable("The holder did not answer.", hint="Try later.")
class Loading(FakeRecord):
    def studies(self): threading.Event().wait()
others = [explore(each) for each in (FakeRecord([patient("Empty")]), Failing([]), Loading([]))]
display(ipywidgets.VBox([*panels, explore(FakeRecord([*record, lines])), *others]))
"""


# JupyterLab's body is nothing high and hides what overflows, so axe would take every text for
# hidden and measure no contrast at all.
SEEN = "html, body { width: 100vw; height: 100vh }"


def _faults(page):
    page.evaluate(AXE)
    page.add_style_tag(content=SEEN)
    faults, measured = page.evaluate(
        """async () => {
          const include = [".s4s-connect", ".s4s-progress", ".s4s-ask", ".s4s-browse"]
            .filter((panel) => document.querySelector(panel)).map((panel) => [panel]);
          const { violations, passes } = await axe.run({ include });
          const contrast = passes.filter(({ id }) => id === "color-contrast")
            .flatMap(({ nodes }) => nodes).filter(({ any }) => any[0]?.data?.contrastRatio);
          const faults = violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
            .map(({ id, nodes }) => [id, nodes.slice(0, 9).map((node) =>
              [node.html.slice(0, 160), node.any[0]?.data?.contrastRatio])]);
          return [faults, contrast.length];
        }"""
    )
    assert measured > 100, "axe saw the panels' text"
    return faults


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_no_serious_fault(open_notebook, theme, tmp_path):
    notebook = open_notebook(PANELS)
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.run_all()
    page = notebook.page
    page.set_viewport_size({"width": 1280, "height": 6000})  # axe measures what is in sight
    panel = page.locator(".s4s-browse").first
    panel.locator(".s4s-scroll tbody tr").first.wait_for(state="attached", timeout=60_000)
    page.locator(".s4s-connect").first.get_by_text("Did the page not come back").click()
    assert _faults(page) == []
    for told in ("This record has no studies.", "The holder did not answer.", "Loading what was"):
        page.locator(".s4s-browse", has_text=told).wait_for()
    panel.get_by_role("tab", name="Benefits").click()
    panel.get_by_role("button", name="Lines: ").first.click()
    panel.get_by_text("Lines of the claim:").wait_for()
    assert _faults(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    # For a person to look at; kept with pytest's own temporary files.
    page.screenshot(path=tmp_path / "benefits.png")
    panel.get_by_role("tab", name="Studies").click()
    page.locator(".s4s-connect").first.scroll_into_view_if_needed()
    page.screenshot(path=tmp_path / "panels.png")
