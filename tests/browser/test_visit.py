"""A newcomer's whole visit in JupyterLab and Notebook 7, with the mouse and nothing typed.

Notebook 00 as it is: Run All, Authorise, Approve, both tables, the countdown, the picture;
then Cancel on another study, and a DICOM file by double-click. The same where the browser
blocks pop-ups, where it does not come back, and where the person declines first.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, urlsplit

import pytest

import s4s_notebook as s4s
from tests.browser.conftest import NotebookPage
from tests.browser.consent import stay_away
from tests.browser.jupyterserver import REPO, notebook

pytestmark = pytest.mark.needs("node")
WAYS = ["it comes back", "pop-ups are blocked", "the address is pasted", "declined at first"]
# Without a press of the person's, a script opens nothing where pop-ups are blocked.
TRY_A_POP_UP = "if (top === window) window.s4sBlocked = window.open('about:blank') === null;"


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def sandbox(lab):
    """The practice holder, told to new kernels as `s4s demo` tells it."""
    startup = lab.home / "ipython" / "profile_default" / "startup" / "sandbox.py"
    startup.parent.mkdir(parents=True, exist_ok=True)
    with s4s.Sandbox(retry_after=3) as running:
        startup.write_text(f"import os\nos.environ['S4S_SANDBOX_URL'] = {running.fhir_url!r}\n")
        yield running
    startup.unlink()


@pytest.fixture
def window(browser_type, browser_type_launch_args, way):
    options = dict(browser_type_launch_args)
    if way == "pop-ups are blocked":
        options["ignore_default_args"] = ["--disable-popup-blocking"]
    browser = browser_type.launch(**options)
    page = browser.new_page()
    if way == "pop-ups are blocked":
        page.add_init_script(TRY_A_POP_UP)
    yield page
    browser.close()


class Visit(NotebookPage):
    """What a visitor does: menus, links and buttons, found by the words on them."""

    def run(self, item):
        self.page.locator(".lm-MenuBar-itemLabel").get_by_text("Run", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()

    @property
    def panel(self):
        return self.page.locator(".s4s-connect")

    def consent(self, button):
        """Press Authorise and a button of the page that opens; give that page."""
        with self.page.context.expect_page() as opened:
            self.panel.get_by_role("link", name="Authorise").click()
        opened.value.get_by_role("button", name=button).click()
        return opened.value

    def approve(self):
        page = self.consent("Approve")
        page.get_by_role("heading", name="Approved").wait_for()
        page.close()

    def decline_then_approve(self):
        self.consent("Decline").get_by_role("heading", name="Not approved").wait_for()
        self.panel.get_by_text("Declined: nothing was shared.").wait_for()
        # The cell that waited says so and ends; the person changes their mind and goes on there.
        self.page.locator(".jp-RenderedText", has_text="The request was declined").first.wait_for()
        self.idle()
        self.approve()
        self.page.locator(".jp-CodeCell", has_text="await me.load()").locator(".cm-content").click()
        self.run("Run Selected Cell and All Below")

    def approve_and_paste(self):
        """The browser cannot reach the page that it is sent back to; its address is copied."""
        landed = stay_away(self.page.context)
        self.consent("Approve").get_by_text("cannot be reached").wait_for()
        [address] = landed
        self.panel.get_by_text("Did the page not come back here?").click()
        self.panel.get_by_label("Address").fill(address)
        self.panel.get_by_role("button", name="Finish").click()
        return address


def _first_notebook(name, server):
    """Notebook 00 as a reader gets it, its outputs cleared, and a last cell to browse."""
    book = json.loads((REPO / "notebooks" / "00-first-image.ipynb").read_text())
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    book["cells"] += notebook("s4s.explore(me)")["cells"]
    (server.work / name).write_text(json.dumps(book))


def _secrets(url):
    query = parse_qsl(urlsplit(url).query)
    return {value for name, value in query if name in {"code", "state"}}


@pytest.mark.fault("G03")
def test_from_run_all_to_a_double_click(window, app, way, lab, sandbox):
    name = f"visit-{app}-{WAYS.index(way)}.ipynb"
    _first_notebook(name, lab)
    secrets = set()
    window.context.on("request", lambda request: secrets.update(_secrets(request.url)))
    visit = Visit(window, lab, name, app)
    visit.run("Run All Cells")
    match way:
        case "the address is pasted":
            secrets |= _secrets(visit.approve_and_paste())
        case "declined at first":
            visit.decline_then_approve()
        case _:
            visit.approve()
    visit.panel.get_by_text("Approved · patient smart-1288992").wait_for()
    _see_the_countdown(window)
    _see_both_tables(window)
    _see_the_picture(window)
    _cancel_another(visit, sandbox)
    if way == "pop-ups are blocked":
        assert window.evaluate("window.s4sBlocked") is True, "they are"
    assert len(secrets) == (3 if way == "declined at first" else 2), "a code, a state for each try"
    saved = visit.save()
    assert not [secret for secret in secrets if secret in saved]
    assert '"image/png"' in saved
    assert re.search(r"✔ Study [\d.]+: \d+ instances", saved), "the final line is kept"
    log = lab.log.read_text()
    assert not [secret for secret in secrets if secret in log]
    _open_a_file(window, app)
    lab.end_kernels()


def _see_the_countdown(page):
    text = page.locator(".s4s-progress-text", has_text=re.compile(r"next try in 0:0\d \(try \d\)"))
    text.wait_for(timeout=30_000)
    text.evaluate("node => node.scrollIntoView()")  # at once: the next tick brings another node


def _see_both_tables(page):
    for column, cell in (("modalities", "CT chest"), ("payer_paid_amount", "USD")):
        table = page.locator("table.dataframe", has_text=column)
        table.get_by_text(cell).first.scroll_into_view_if_needed()
        assert table.is_visible()


def _see_the_picture(page):
    picture = page.get_by_role("img", name=re.compile("^Medical image: CT, Axial"))
    picture.wait_for(timeout=60_000)
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300


def _cancel_another(visit, sandbox):
    """A study whose archive takes its time is asked for in the browse panel, then given up."""
    panel = visit.page.locator(".s4s-browse")
    panel.locator("tbody tr").first.wait_for(state="attached", timeout=60_000)
    visit.idle()
    sandbox.script("*/studies/*", times=None, headers=[("Retry-After", "272")])
    panel.locator("tbody tr", has_text="MR").get_by_role("button", name="Download:").first.click()
    progress = visit.page.locator(".s4s-progress", has_text="The archive is fetching your study")
    progress.filter(has_text=re.compile(r"next try in 4:3\d \(try 2\)")).wait_for(timeout=30_000)
    progress.get_by_role("button", name="Cancel").click()
    last = visit.page.locator(".s4s-progress-text", has_text="■ Cancelled")
    last.wait_for()


def _open_a_file(page, app):
    if app == "lab":
        page.locator(".jp-DirListing-item", has_text=re.compile("^ct.dcm")).dblclick()
        shown = page
    else:
        with page.context.expect_page() as tree:
            page.locator("#jp-NotebookLogo").click()
        with page.context.expect_page() as opened:
            tree.value.locator(".jp-DirListing-item", has_text=re.compile("^ct.dcm")).dblclick()
        shown = opened.value
    shown.locator(".s4s-dicom .s4s-viewer canvas.s4s-picture").wait_for(timeout=30_000)
    shown.wait_for_function(
        """() => [...document.querySelectorAll(".s4s-dicom canvas")].some((canvas) => {
          const pixels = canvas.getContext("2d")
            ?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
          return new Set(pixels).size > 20;
        })""",
        timeout=30_000,
    )
