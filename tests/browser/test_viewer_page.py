"""What hands and keys do to the viewer, on a bare page: a source without any kernel."""

from __future__ import annotations

import re

import pytest

from s4s_notebook.widgets.bundle import link
from s4s_notebook.widgets.viewer import Viewer

# A CT of five slices, each pixel worth its column and its slice's number, and a clip of 30 frames.
PAGE = """async ([code, css]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const { Viewer } = await import(url);
  const ids = (many) => Array.from({ length: many }, (_, at) => String(at));
  const series = [
    { key: "0", title: "1 · CT", detail: "Chest", modality: "CT", rate: null,
      presets: [{ name: "lung", center: -600, width: 1500 }],
      planes: [{ key: "stack", name: "Axial", ids: ids(5) },
        { key: "1", name: "Coronal", ids: ids(9) }] },
    { key: "1", title: "2 · US", detail: "Heart", modality: "US", rate: 30, presets: [],
      planes: [{ key: "stack", name: "Images", ids: ids(30) }] },
  ];
  window.asked = [];
  const picture = (at) => ({ rows: 64, columns: 64, type: "int16",
    slope: 1, intercept: 0, unit: "HU",
    pixels: Int16Array.from({ length: 64 * 64 }, (_, pixel) => (pixel % 64) + 100 * at),
    windows: [{ center: 40, width: 400, rule: "LINEAR" }],
    whole: { center: 32, width: 64, rule: "LINEAR" },
    spacing: [2, 1], position: [-32, -64, 5 * at], orientation: [1, 0, 0, 0, 1, 0],
    edges: { top: "A", bottom: "P", left: "R", right: "L" }, label: `Image ${at + 1}` });
  const source = {
    study: async () => ({ version: "1", growing: false, note: "a note", series }),
    slice: async (_series, _plane, id) => picture(Number(id)),
    thumbnail: async () => ({ rows: 1, columns: 1, type: "uint8", pixels: new Uint8Array(1) }),
    names: async (key) => { window.asked.push(key); return [["Name", `Person ${key}`]]; },
  };
  const viewer = new Viewer(source, { height: 400 });
  document.body.append(viewer.node);
  await viewer.start();
  window.viewer = viewer;
}"""
MINUS = "\N{MINUS SIGN}"
SHOWN = "() => viewer.slice && document.querySelector('.s4s-notice').hidden"


@pytest.fixture
def shown(page):
    page.set_content("<!doctype html><title>Viewer</title>")
    page.evaluate(PAGE, [link("viewer/panel.js"), Viewer._css])
    page.wait_for_function(SHOWN)
    page.locator(".s4s-stage").focus()
    return page


def at(page, column: float, row: float) -> tuple[float, float]:
    """Where a pixel's centre is on the page."""
    x, y = page.evaluate(
        """([column, row]) => {
          const { left, top, scaleX, scaleY } = viewer.stage.placed;
          const box = viewer.stage.node.getBoundingClientRect();
          return [box.left + left + (column + 0.5) * scaleX, box.top + top + (row + 0.5) * scaleY];
        }""",
        [column, row],
    )
    return x, y


def drag(page, start, end, **button: str) -> None:
    page.mouse.move(*start)
    page.mouse.down(**button)
    page.mouse.move(*end, steps=4)
    page.mouse.up(**button)


def state(page, words: str):
    """What ``words`` mean in the page, where ``view`` and ``windows`` are the viewer's."""
    return page.evaluate(f"(() => {{ const {{ view, windows }} = viewer; return {words}; }})()")


def said(page, words: str) -> None:
    page.get_by_role("status").filter(has_text=words).wait_for(state="attached")


def test_what_a_mouse_does(shown):
    middle = at(shown, 32, 32)
    aside = (middle[0] + 60, middle[1] - 40)
    drag(shown, middle, aside)
    wide = state(shown, "[windows.now.center, windows.now.width]")
    assert wide[0] < 0  # up is brighter
    assert wide[1] > 450
    drag(shown, middle, aside, button="middle")
    assert state(shown, "view.pan") == [60, -40]
    drag(shown, middle, aside, button="right")
    assert state(shown, "view.zoom") == pytest.approx(1.306, abs=0.001)
    shown.mouse.dblclick(*middle)
    assert state(shown, "[view.zoom, view.pan]") == [1, [0, 0]]
    shown.keyboard.down("Control")
    shown.mouse.wheel(0, -300)
    shown.keyboard.up("Control")
    shown.wait_for_function("() => viewer.view.zoom > 2.7")
    shown.keyboard.down("Shift")
    drag(shown, middle, aside)
    shown.keyboard.up("Shift")
    assert state(shown, "[windows.now.center, windows.now.width]") == wide
    shown.mouse.wheel(0, 100)
    shown.wait_for_function("() => viewer.view.index === 1")
    shown.get_by_role("slider", name="Slice").fill("4")
    assert state(shown, "view.index") == 4
    shown.get_by_role("button", name="Reset").click()
    assert state(shown, "[view.index, view.zoom, view.window]") == [4, 1, None]


def test_lengths_are_in_mm_both_ways(shown):
    shown.get_by_role("button", name="Measure").click()
    drag(shown, at(shown, 10, 10), at(shown, 20, 10))
    said(shown, "Length 10.0 mm")
    drag(shown, at(shown, 10, 10), at(shown, 10, 20))
    said(shown, "Length 20.0 mm")
    assert shown.locator(".s4s-marks text").all_text_contents() == ["10.0 mm", "20.0 mm"]
    drag(shown, at(shown, 30, 30), at(shown, 30, 30))  # a click is no length
    shown.keyboard.press("Delete")
    shown.keyboard.press("ArrowDown")
    shown.keyboard.press("Enter")
    shown.keyboard.press("Shift+ArrowRight")
    shown.keyboard.press("Enter")
    said(shown, "Length 10.0 mm")
    shown.wait_for_function("() => document.querySelectorAll('.s4s-marks text').length === 2")
    shown.get_by_role("slider", name="Slice").fill("1")  # each slice has its own
    shown.wait_for_function("() => !document.querySelector('.s4s-marks text')")


def test_the_probe_says_place_and_value(shown):
    shown.mouse.move(*at(shown, 20, 10))
    readout = shown.locator(".s4s-readout")
    assert readout.inner_text() == "col 20, row 10 · x ~12.0, y ~44.0, z 0.0 mm · 20 HU".replace(
        "~", MINUS
    )
    shown.keyboard.press("PageDown")
    readout.filter(has_text="z 20.0 mm · 420 HU").wait_for()
    shown.keyboard.press("p")
    shown.keyboard.press("Enter")
    shown.keyboard.press("ArrowLeft")
    readout.filter(has_text=f"col 31, row 32 · x {MINUS}1.0, y 0.0, z 20.0 mm · 431 HU").wait_for()
    said(shown, "col 31, row 32")


def test_windows_by_key_list_and_number(shown):
    listed = shown.get_by_role("combobox", name="Window")
    assert listed.locator("option").all_text_contents() == [
        "40 / 400", "lung", "whole range", "by hand",
    ]  # fmt: skip
    shown.keyboard.press("1")
    assert state(shown, "windows.now.center") == -600
    said(shown, "Window lung")
    listed.select_option(label="whole range")
    assert state(shown, "windows.now.width") == 64
    shown.locator(".s4s-stage").focus()
    shown.keyboard.press("Shift+ArrowUp")
    assert listed.input_value() == "custom"
    shown.keyboard.press("i")
    invert = shown.get_by_role("button", name="Invert")
    assert invert.get_attribute("aria-pressed") == "true"
    shown.keyboard.press("0")
    assert state(shown, "[windows.now.center, view.inverted]") == [40, True]


def test_planes_and_series_by_key(shown):
    shown.keyboard.press("v")
    shown.wait_for_function(f"() => viewer.plane.name === 'Coronal' && ({SHOWN})()")
    assert state(shown, "view.index") == 4
    assert "Coronal, slice 5 of 9" in shown.locator("canvas[role=img]").get_attribute("aria-label")
    shown.keyboard.press("s")
    shown.wait_for_function("() => viewer.series.key === '1'")
    cards = shown.get_by_role("listbox", name="Series").get_by_role("option")
    assert cards.all_inner_texts() == ["1 · CT\nChest\n5 images", "2 · US\nHeart\n30 images"]
    assert [card.get_attribute("aria-selected") for card in cards.all()] == ["false", "true"]
    cards.nth(1).focus()
    shown.keyboard.press("ArrowUp")
    assert state(shown, "[viewer.series.key, viewer.plane.name, view.index]") == ["0", "Axial", 0]


def test_a_clip_plays_at_its_own_pace(page):
    page.clock.install()
    page.set_content("<!doctype html><title>Viewer</title>")
    page.evaluate(PAGE, [link("viewer/panel.js"), Viewer._css])
    page.evaluate("viewer.show('1')")
    page.clock.run_for(1000)
    page.evaluate(SHOWN)
    place = "[viewer.view.index, performance.now()]"  # by the page's own clock
    _, since = page.evaluate(f"(viewer.cine.play(), {place})")
    page.clock.run_for(500)
    first, now = page.evaluate(f"(viewer.cine.speed(0.5), {place})")
    assert first == pytest.approx(30 * (now - since) / 1000, abs=2)
    page.clock.run_for(400)
    second, then = page.evaluate(f"(viewer.cine.pause(), {place})")
    assert second - first == pytest.approx(15 * (then - now) / 1000, abs=2)
    page.clock.run_for(1000)
    assert page.evaluate("viewer.view.index") == second


def test_names_are_asked_for_when_somebody_wants_them(shown):
    corner = shown.locator(".s4s-corner").first
    assert shown.evaluate("asked") == []
    shown.keyboard.press("n")
    corner.filter(has_text="Person 0").wait_for()
    shown.keyboard.press("s")
    corner.filter(has_text="Person 1").wait_for()
    shown.keyboard.press("n")
    shown.wait_for_function("() => !document.body.innerText.includes('Person')")
    shown.keyboard.press("S")
    assert shown.evaluate("asked") == ["0", "1"]


def test_every_control_has_a_name_and_is_reached_by_tab(shown):
    shown.get_by_role("button", name="Window and level").focus()
    reached = []
    for _ in range(30):
        reached.append(
            shown.evaluate("document.activeElement.title || document.activeElement.ariaLabel || ''")
        )
        shown.keyboard.press("Tab")
    controls = shown.locator(".s4s-viewer :is(button, input, select, [tabindex='0']):visible")
    assert controls.count() == 18
    snapshot = shown.locator(".s4s-viewer").aria_snapshot()
    assert not re.search(r"- (button|slider|combobox|spinbutton|application)\s*(\[|:|$)", snapshot)
    names = [one for one in reached if one]
    assert {"Pan (g)", "Window width", "Play (c)", "Slice", "Keys (?)"} <= set(names)
    assert any(one.startswith("Image.") for one in names)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_it_follows_the_colour_scheme(shown, scheme, dark):
    shown.emulate_media(color_scheme=scheme)
    color = shown.locator(".s4s-viewer").evaluate("(one) => getComputedStyle(one).backgroundColor")
    red = int(re.findall(r"\d+", color)[0])
    assert (red < 128) is dark
    shown.get_by_role("button", name="Fit").focus()
    shown.keyboard.press("Tab")
    style = "(one) => getComputedStyle(one).outlineStyle"
    assert shown.get_by_role("button", name="Reset").evaluate(style) == "solid"
