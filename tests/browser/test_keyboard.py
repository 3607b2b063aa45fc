"""From Run All to a picture and its lines with the keyboard alone: no mouse, no focus by script."""

from __future__ import annotations

import json

import pytest

import s4s_notebook as s4s
from tests.browser.test_browse import _run

OPEN = "import s4s_notebook as s4s\nme = s4s.connect({url!r})"
GO_ON = "await me.load()\nprint('cell goes on:', me.status)"
PANEL = "panel = s4s.explore(me)\npanel"
MOST = 150  # presses of Tab from one place to the next
# What has the focus, as a screen reader says it: role or tag, and its words.
HELD = """() => {
  const held = document.activeElement;
  const label = held.getAttribute("aria-label") ?? held.labels?.[0]?.innerText ?? held.innerText;
  const inside = held.closest(".s4s-connect, .s4s-browse, .s4s-progress, .s4s-viewer, .s4s-ask");
  const role = held.getAttribute("role") ?? held.type ?? "";
  return [inside?.classList[0] ?? "", role || held.localName, (label ?? "").trim().slice(0, 200)];
}"""


@pytest.fixture
def sandbox():
    with s4s.Sandbox(retry_after=0) as sandbox:
        yield sandbox


class Keys:
    """A person without a mouse at one page."""

    def __init__(self, page):
        self.page = page
        self.press = page.keyboard.press
        self.type = page.keyboard.type

    def held(self):
        return self.page.evaluate(HELD)

    def tab_to(self, panel, words, key="Tab"):
        """Press Tab until something of this panel has the focus whose words begin so."""
        seen = []
        for _ in range(MOST):
            where, role, label = self.held()
            if where == panel and label.startswith(words):
                return role
            seen.append((where, role, label[:40]))
            self.press(key)
        raise AssertionError(f"{words!r} was not reached; on the way: {seen}")


def test_everything_by_keyboard(open_notebook, sandbox):
    notebook = open_notebook(OPEN.format(url=sandbox.fhir_url), GO_ON, PANEL)
    notebook.page.locator(".jp-Notebook").focus()
    notebook.run_all()
    page, keys = notebook.page, Keys(notebook.page)
    page.locator(".s4s-connect").get_by_role("link", name="Authorise").wait_for()
    # The panel is above the last cell, which Run All has made the current one.
    keys.tab_to("s4s-connect", "Authorise", "Shift+Tab")
    with page.context.expect_page() as opened:
        keys.press("Enter")
    _approve(Keys(opened.value))
    opened.value.close()
    page.get_by_text("cell goes on: approved").wait_for(timeout=30_000)
    panel = page.locator(".s4s-browse")
    panel.locator("tbody tr").first.wait_for(state="attached", timeout=60_000)

    assert keys.tab_to("s4s-browse", "Studies") == "tab"
    keys.press("ArrowRight")
    assert keys.held()[1:] == ["tab", panel.get_by_role("tab", selected=True).inner_text()]
    keys.tab_to("s4s-browse", "Lines: ")
    keys.press("Enter")
    panel.get_by_text("Lines of the claim:").wait_for()
    page.wait_for_function("document.activeElement.classList.contains('s4s-lines')")
    keys.tab_to("s4s-browse", "Benefits", "Shift+Tab")
    keys.press("ArrowLeft")

    keys.tab_to("s4s-browse", "Text")
    keys.type("chest")
    panel.get_by_role("tabpanel").get_by_text("1\u20132 of 2").wait_for()
    keys.tab_to("s4s-browse", "Date")
    for order in ("ascending", "descending"):
        keys.press("Enter")
        panel.locator(f'[aria-sort="{order}"]').wait_for()
        assert keys.held()[2] == "Date", "what was pressed keeps the focus"
    keys.tab_to("s4s-browse", "Choose ")
    keys.press("Space")
    page.wait_for_function("document.activeElement.checked")
    keys.press("d")
    keys.press("d")
    notebook.idle()
    assert _run(notebook, "print(len(panel.selection))").strip() == "1"
    assert len(json.loads(notebook.save())["cells"]) == 3, "keys in the panel are not Jupyter's"

    _cancel_then_view(page, keys, sandbox)


def _approve(keys):
    keys.page.get_by_role("button", name="Approve").wait_for()
    for _ in range(MOST):
        if keys.held()[1] == "radio":
            break
        keys.press("Tab")
    keys.press("ArrowDown")
    keys.press("ArrowUp")
    assert keys.page.get_by_role("radio", name="Daniel").is_checked()
    keys.tab_to("", "Approve")
    keys.press("Enter")
    keys.page.get_by_role("heading", name="Approved").wait_for()


def _cancel_then_view(page, keys, sandbox):
    panel = page.locator(".s4s-browse")
    sandbox.script("*/studies/*", times=None, headers=[("Retry-After", "272")])
    keys.tab_to("s4s-browse", "Download: ")
    keys.press("Enter")
    page.locator(".s4s-progress", has_text="next try in 4:3").wait_for(timeout=30_000)
    keys.tab_to("s4s-progress", "Cancel")
    keys.press("Enter")
    page.locator(".s4s-progress-text", has_text="■ Cancelled").wait_for()
    sandbox.unscript()
    keys.tab_to("s4s-browse", "Download: ", "Shift+Tab")
    keys.press("Enter")
    panel.get_by_role("button", name="View:").first.wait_for(timeout=60_000)
    page.locator(".s4s-viewer canvas.s4s-picture").wait_for()
    keys.tab_to("s4s-viewer", "")
