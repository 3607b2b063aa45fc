"""The JupyterLab extension: DICOM files, launcher, commands; in Lab and Notebook 7."""

from __future__ import annotations

import json
import re

import pytest

from tests.browser.jupyterserver import TOKEN

pytestmark = pytest.mark.needs("node")


def _open(page, server, place="lab"):
    page.goto(f"{server.url}{place}?token={TOKEN}&reset")
    page.locator("#jp-main-dock-panel, .jp-Notebook, .jp-FileBrowser").first.wait_for()


def _see_a_picture(viewer):
    viewer.locator("canvas.s4s-picture").wait_for(timeout=30_000)
    viewer.page.wait_for_function(
        """() => [...document.querySelectorAll(".s4s-viewer canvas")].some((canvas) => {
          const pixels = canvas.getContext("2d")
            ?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
          return new Set(pixels).size > 20;
        })""",
        timeout=30_000,
    )


@pytest.mark.parametrize("name", ["ct.dcm", "1.3.6.1.4.1.5962.1.1.4.1.1"])
def test_a_dicom_file_opens_by_double_click(page, lab, name):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    _open(page, lab)
    page.locator(".jp-DirListing-item", has_text=re.compile(f"^{re.escape(name)}")).dblclick()
    _see_a_picture(page.locator(".s4s-dicom .s4s-viewer"))
    stage = page.locator(".s4s-dicom .s4s-stage").bounding_box()
    assert stage["height"] > page.viewport_size["height"] / 2, "the picture fills the tab"
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.wait_for_function(
        "before => document.querySelector('.s4s-dicom .s4s-stage').clientHeight > before + 200",
        arg=stage["height"],
    )
    fetched = [url for url in asked if f"contents/{name}" in url and "content=1" in url]
    assert not fetched, "the file itself is not fetched, only its slices"
    assert not page.locator(".jp-Dialog").count()


def test_open_with_dicom_on_any_file(page, lab):
    _open(page, lab)
    page.locator(".jp-DirListing-item", has_text="IM0001").click(button="right")
    page.locator(".lm-Menu-itemLabel", has_text="Open With").hover()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^DICOM$")).click()
    _see_a_picture(page.locator(".s4s-dicom .s4s-viewer"))


def test_a_dicom_file_opens_in_notebook_7(page, lab):
    _open(page, lab, "tree")
    item = page.locator(".jp-DirListing-item", has_text=re.compile("^ct.dcm"))
    item.wait_for()
    with page.context.expect_page() as opened:
        item.dblclick()
    _see_a_picture(opened.value.locator(".s4s-dicom .s4s-viewer"))


def test_the_launcher_leads_to_the_first_notebook(page, lab):
    _open(page, lab)
    card = page.locator(".jp-LauncherCard", has_text="first image")
    card.wait_for()
    card.click()
    page.locator(".jp-Notebook").wait_for()
    assert page.locator(".jp-mod-current .lm-TabBar-tabLabel", has_text="00-first").count()
    assert (lab.work / "s4s-workshop" / "00-first-image.ipynb").exists()


def test_the_launcher_leads_to_the_list_of_notebooks_and_on(page, lab):
    _open(page, lab)
    page.locator(".jp-LauncherCard", has_text="workshop").click()
    contents = page.locator(".jp-MarkdownViewer:visible")
    contents.get_by_role("heading", level=1).wait_for()
    contents.get_by_role("link", name="Your first image").click()
    page.locator(".jp-Notebook:visible").wait_for()


def _palette(page):
    """The palette's search box, by the menu: the keys that open it also close it."""
    page.locator(".lm-MenuBar-itemLabel", has_text="View").click()
    page.locator(".lm-Menu-itemLabel", has_text="Activate Command Palette").click()
    box = page.locator(".lm-CommandPalette-input:visible")
    box.wait_for()
    return box


def test_the_palette_starts_and_stops_the_sandbox(page, lab):
    _open(page, lab)
    for words, told in (
        ("S4S: start the sandbox", "The sandbox runs at http://127.0.0.1"),
        ("S4S: stop the sandbox", "The sandbox has stopped"),
    ):
        _palette(page).fill(words)
        page.locator(".lm-CommandPalette-item.lm-mod-active", has_text=words).wait_for()
        page.keyboard.press("Enter")
        page.get_by_text(told).wait_for(timeout=60_000)


def _set(page, **settings):
    page.evaluate(
        """async (settings) => {
          const url = document.querySelector("#jupyter-config-data");
          const { baseUrl, token } = JSON.parse(url.textContent);
          await fetch(`${baseUrl}lab/api/settings/s4s-notebook:commands`, {
            method: "PUT", body: JSON.stringify({ raw: JSON.stringify(settings) }),
            headers: { Authorization: `token ${token}` } });
        }""",
        settings,
    )
    page.reload()


def test_a_new_notebook_connects_as_the_settings_say(page, lab):
    _open(page, lab)
    for settings, line in (
        (
            {"holder": 'https://h.example/"x', "store": "/data/mine"},
            r's4s.connect("https://h.example/\"x", store=s4s.Store("/data/mine"))',
        ),
        ({"holder": "", "store": ""}, "s4s.connect()"),
    ):
        page.locator(".jp-LauncherCard", has_text="connect").first.wait_for()
        _set(page, **settings)
        before = set(lab.work.glob("Untitled*.ipynb"))
        page.locator(".jp-LauncherCard:visible", has_text="connect").click()
        page.locator(".jp-Notebook .jp-CodeCell:visible").wait_for()
        [made] = set(lab.work.glob("Untitled*.ipynb")) - before
        source = "".join(json.loads(made.read_text())["cells"][0]["source"])
        assert source.endswith(f"me = {line}")
        _open(page, lab)
