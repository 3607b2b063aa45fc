"""A visitor of notebook 00 who presses three things: Run All Cells, Authorise, Approve."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM

# JupyterLab says "idle" before there is a kernel, so its server is asked as well.
CONNECTED = """async () => {
  const settings = JSON.parse(document.querySelector("#jupyter-config-data").textContent);
  const headers = { Authorization: `token ${settings.token}` };
  const kernels = await (await fetch(`${settings.baseUrl}api/kernels`, { headers })).json();
  return kernels.some((one) => one.execution_state === "idle" && one.connections > 0);
}"""

# Pictures that the saved notebook brought along do not count.
MARK_OLD = """() => {
  for (const image of document.querySelectorAll(".jp-OutputArea-output img"))
    image.dataset.old = "1";
}"""
NEW_PICTURE = """() => [...document.querySelectorAll(".jp-OutputArea-output img")].some(
  (image) => !image.dataset.old && image.src.startsWith("data:image/png")
    && image.complete && image.naturalWidth > 200)"""
ERRORS = """() => [...document.querySelectorAll(
    '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')]
  .map((output) => output.textContent)"""


SCREENS = 20_000  # pixels: from one end of the notebook to the other


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A new browser's page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM, headless=True
        )
        try:
            yield browser.new_page()
        finally:
            browser.close()


def _scroll(page: Any, pixels: int) -> None:
    page.locator(".jp-Notebook").hover()
    page.mouse.wheel(0, pixels)


def see_the_first_picture(
    page: Any, address: str, *, patience: float = 120, scroll: bool = True
) -> None:
    """Open notebook 00 at `address` and press until its picture is there.

    Nothing is typed, chosen or ticked; without `scroll`, Authorise has to be in view.
    Raises Playwright's TimeoutError, and AssertionError for an error in a cell.
    """
    page.goto(address)
    page.locator(".jp-Notebook").wait_for(timeout=patience * 1000)
    page.wait_for_function(CONNECTED, timeout=patience * 1000)
    page.get_by_text("| Idle").wait_for(timeout=patience * 1000)
    page.evaluate(MARK_OLD)
    page.locator(".lm-MenuBar-itemLabel").get_by_text("Run", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
    authorise = page.locator(".s4s-connect, .s4s-progress").get_by_role("link", name="Authorise")
    if scroll:  # JupyterLab goes to the last cell; 4.4 takes what is out of sight out of the page.
        _scroll(page, -SCREENS)
    authorise = authorise.first if scroll else authorise.last
    authorise.wait_for(timeout=patience * 1000)
    if not scroll:
        box = authorise.bounding_box()
        assert 0 <= box["y"] <= page.viewport_size["height"] - box["height"], "it is in view"
    with page.context.expect_page(timeout=patience * 1000) as opened:
        authorise.click(timeout=patience * 1000)
    window = opened.value
    window.get_by_role("button", name="Approve").click()
    window.get_by_role("heading", name="Approved").wait_for()
    _scroll(page, SCREENS)
    page.wait_for_function(NEW_PICTURE, timeout=patience * 1000)
    errors = page.evaluate(ERRORS)
    assert not errors, errors
