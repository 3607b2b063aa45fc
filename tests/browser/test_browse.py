"""The browse panel in a real browser: with the sandbox, with hostile records, with many."""

from __future__ import annotations

import json
import re

import pytest

from tests.faultserver import FaultServer

SANDBOX = """
import s4s_notebook as s4s
from s4s_notebook.widgets import explore
sandbox = s4s.Sandbox(retry_after=1); sandbox.start()
me = sandbox.connect(patient="smart-1288992")
panel = explore(me)
panel
"""


def _ready(notebook):
    panel = notebook.page.locator(".s4s-browse").last
    panel.locator("tbody tr").first.wait_for(timeout=60_000, state="attached")
    notebook.idle()
    return panel


def _run(notebook, source):
    """Run `source` in a new last cell and give what it printed."""
    notebook.page.evaluate(
        """async (source) => {
          const app = window.jupyterapp ?? window.jupyterlab;
          const kernel = app.shell.currentWidget.sessionContext.session.kernel;
          let text = "";
          const future = kernel.requestExecute({ code: source });
          future.onIOPub = ({ content }) => {
            text += content.text ?? (content.traceback ?? []).join("\\n");
          };
          await future.done;
          window.s4sPrinted = text;
        }""",
        source,
    )
    return notebook.page.evaluate("window.s4sPrinted")


def test_from_a_filter_to_a_picture_and_a_selection(open_notebook, app):
    notebook = open_notebook(SANDBOX, app=app)
    notebook.run_all()
    panel = _ready(notebook)
    panel.get_by_text("smart-1288992").first.wait_for()
    panel.get_by_label("Modality").select_option("CT")
    panel.get_by_text("1\u20131 of 1").wait_for()
    code = panel.locator("code")
    same = _run(
        notebook, f"print({code.inner_text()}.equals(panel.selection), len(panel.selection))"
    )
    assert same.strip() == "True 1"
    panel.get_by_role("button", name="Download:").click()
    notebook.page.locator(".s4s-progress").get_by_text("✔ Study").first.wait_for(timeout=30_000)
    notebook.page.locator(".s4s-viewer").wait_for()
    panel.get_by_role("button", name="View:").wait_for()
    assert code.inner_text().startswith("study = await me.download("), "what was pressed last"
    panel.get_by_role("tab", name="Benefits").click()
    panel.get_by_role("button", name=re.compile("^Lines: ")).first.click()
    panel.get_by_text("Lines of the claim:").wait_for()
    panel.get_by_role("img", name=re.compile("Paid by month")).wait_for()
    panel.get_by_role("checkbox").first.check()
    notebook.page.wait_for_timeout(500)
    printed = _run(notebook, "print(len(panel.selection), 'claim_id' in panel.selection)")
    assert printed.strip() == "1 True"
    assert not [word for word in ("Synthetic", "1935-12-23") if word in notebook.save()]


@pytest.fixture
def away():
    """Another server, which must never be asked."""
    with FaultServer() as server:
        yield server


HOSTILE = """
from tests.browser.fakes import *
from tests.browser.hostile import strings
from s4s_notebook.widgets import explore, connect_panel, progress_panel
from s4s_notebook.widgets.connect import OriginQuestion
from s4s_notebook.errors import S4SError
from IPython.display import display
texts = strings({away!r})
record = [patient(texts[2])]
record += [study(n, text) for n, text in enumerate(texts)]
record += [claim(n, text) for n, text in enumerate(texts)]
me = FakeRecord(record, base=texts[0], notes=tuple(texts[:40]), imaging_origins=tuple(texts[40:80]))
display(explore(me))
other = FakeConnection(base=texts[1], notes=tuple(texts))
shown = connect_panel(other)
shown._say("\\n".join(texts))
display(shown)
import ipywidgets
display(ipywidgets.VBox([OriginQuestion(text) for text in texts[::8]] + [
    progress_panel(FakeWork([], phase="waiting", study_uid=text, message=text, seconds_left=3.0))
    for text in texts
]))
display(me.patient(), me.studies(), me.benefits(), me.benefit_lines())
failed = FakeWork([(0.1, dict(phase="failed", error=S4SError(text))) for text in texts[:1]],
    study_uid=texts[3]).start()
display(progress_panel(failed))
"""


@pytest.mark.fault("G01", "G02")
def test_hostile_strings_are_shown_and_do_nothing(open_notebook, app, away):
    notebook = open_notebook(HOSTILE.format(away=away.origin), app=app)
    notebook.run_all()
    panel = _ready(notebook)
    texts_seen = 0
    for table in ("Studies", "Benefits"):
        panel.get_by_role("tab", name=table).click()
        while True:
            rows = panel.get_by_role("tabpanel").locator(".s4s-scroll tbody tr")
            rows.first.wait_for()
            texts_seen += rows.count()
            following = panel.get_by_role("tabpanel").get_by_role("button", name="Next")
            if following.is_disabled():
                break
            before = rows.first.inner_text()
            following.click()
            notebook.page.wait_for_function(
                "([before, at]) => [...document.querySelectorAll('.s4s-scroll tbody tr')]"
                ".filter((row) => row.offsetParent)[0]?.innerText !== before",
                arg=[before, 0],
            )
    assert texts_seen >= 2 * 150
    panel.get_by_role("button", name=re.compile("^Lines: ")).first.click()
    panel.get_by_text("Lines of the claim:").wait_for()
    page = notebook.page
    assert page.locator(".s4s-connect-problem").inner_text().count("<script>") > 10
    assert page.locator(".s4s-progress").count() > 150
    assert page.locator("table.dataframe").count() == 4
    assert page.evaluate("window.s4sHit") is None
    made = page.evaluate(
        """() => [...document.querySelectorAll(
            ".s4s-browse, .s4s-connect, .s4s-progress, .s4s-ask")]
          .flatMap((panel) => [...panel.querySelectorAll(
            "script, img, iframe, object, embed, link, style, base, meta, video, audio, image, use,"
            + "[onerror], [onload], [style], [data-commandlinker-command], #s4s,"
            + "a[href^=javascript]")])
          .map((node) => node.outerHTML.slice(0, 100))"""
    )
    assert made == []
    notebook.save()
    assert [seen.target for seen in away.requests] == []


@pytest.mark.fault("G02")
def test_a_saved_notebook_with_hostile_lines_is_harmless_when_opened(open_notebook, away):
    from tests.browser.hostile import strings

    cell = """
from tests.browser.fakes import *
from tests.browser.hostile import strings
from s4s_notebook.errors import S4SError
from s4s_notebook.widgets import progress_panel
for text in strings({url!r})[{first}:{first} + 40]:
    work = FakeWork([(0, dict(phase="failed", error=S4SError(text)))], study_uid="1.2")
    progress_panel(work).display(); work.start(); work.result(5)
"""
    # A cell keeps fifty outputs at most.
    cells = [cell.format(url=away.origin, first=first) for first in range(0, 160, 40)]
    notebook = open_notebook(*cells)
    notebook.run_all()
    last = f"#{len(strings('')) - 1}"
    notebook.page.locator(".jp-OutputArea-output", has_text=last).wait_for(
        timeout=60_000, state="attached"
    )
    notebook.idle()
    saved = json.loads(notebook.save())
    outputs = [output for cell in saved["cells"] for output in cell["outputs"]]
    assert len(outputs) == len(strings(""))
    assert {kind for output in outputs for kind in output["data"]} == {"text/plain"}
    notebook.page.reload()
    notebook.page.locator(".jp-OutputArea-output").first.wait_for()
    assert notebook.page.evaluate("window.s4sHit") is None
    assert [seen.target for seen in away.requests] == []


@pytest.mark.fault("G08")
def test_ten_thousand_studies_come_a_page_at_a_time(open_notebook):
    notebook = open_notebook(
        """
from tests.browser.fakes import *
from s4s_notebook.widgets import explore
claims = [claim(n % 500) | {"id": str(n)} for n in range(10_000)]
me = FakeRecord([study(n) for n in range(10_000)] + claims)
sent = []
panel = explore(me)
send = panel._line.send
def counted(content, buffers=None):
    sent.append(len(str(content)))
    send(content, buffers)
panel._line.send = counted
panel
"""
    )
    notebook.run_all()
    panel = _ready(notebook)
    panel.get_by_text("1\u201350 of 10,000").wait_for()
    panel.get_by_role("button", name="Next").first.click()
    panel.get_by_text("51\u2013100 of 10,000").wait_for()
    panel.get_by_label("Text").first.fill("number 9999")
    panel.get_by_text("1\u20131 of 1").wait_for()
    sizes = json.loads(_run(notebook, "import json; print(json.dumps(sent))"))
    assert len(sizes) < 40
    assert max(sizes) < 30_000


@pytest.mark.fault("G07")
def test_two_panels_on_one_study_fetch_it_once(open_notebook):
    two = "import ipywidgets\nipywidgets.VBox([panel, explore(me)])"
    source = SANDBOX.replace("retry_after=1", "retry_after=2").removesuffix("panel\n") + two
    notebook = open_notebook(source)
    notebook.run_all()
    panels = notebook.page.locator(".s4s-browse")
    for number in (0, 1):
        row = panels.nth(number).locator("tbody tr").first
        row.wait_for(timeout=60_000, state="attached")
    notebook.idle()
    for number in (0, 1):
        row = panels.nth(number).locator("tbody tr", has_text="CT chest")
        row.wait_for(timeout=12_000)
        assert panels.nth(number).locator(".s4s-note").inner_text() == ""
        row.get_by_role("button").click()  # Download, or View where the other was quicker
    for number in (0, 1):
        row = panels.nth(number).locator("tbody tr", has_text="CT chest")
        row.get_by_role("button", name="View:").wait_for(timeout=60_000)
    printed = _run(
        notebook,
        "uid = me.studies().query('modalities == \"CT\"').study_uid.iloc[0]\n"
        "asked = [each for each in sandbox.requests if uid in each.path and each.status == 200]\n"
        "print(*(each.path for each in asked), sep='\\n')",
    )
    [asked] = printed.split()
    assert "/studies/" in asked


@pytest.mark.fault("G07")
def test_a_closed_panel_does_not_stop_or_repeat_the_download(open_notebook):
    notebook = open_notebook(SANDBOX.replace("retry_after=1", "retry_after=3"))
    notebook.run_all()
    panel = _ready(notebook)
    panel.locator("tbody tr", has_text="CT chest").get_by_role("button", name="Download:").click()
    notebook.page.locator(".s4s-progress", has_text="next try").wait_for()
    _run(notebook, "panel.close(); panel._stage.close()")
    printed = _run(
        notebook,
        "uid = me.studies().query('modalities == \"CT\"').study_uid.iloc[0]\n"
        "study = me.download(uid).result()\n"
        "asked = [each for each in sandbox.requests if uid in each.path and each.status == 200]\n"
        "print(len(asked), len(study.paths))",
    )
    assert printed.strip() == "1 60"


@pytest.mark.fault("G07")
def test_after_a_kernel_restart_the_old_panel_says_nothing_wrong(open_notebook):
    notebook = open_notebook(SANDBOX)
    notebook.run_all()
    _ready(notebook)
    notebook.page.evaluate(
        """() => (window.jupyterapp ?? window.jupyterlab)
          .shell.currentWidget.sessionContext.session.kernel.restart()"""
    )
    notebook.idle()
    notebook.run_all()
    panel = _ready(notebook)
    panel.locator("tbody tr", has_text="CT chest").get_by_role("button", name="Download:").click()
    panel.get_by_role("button", name="View:").wait_for(timeout=60_000)
