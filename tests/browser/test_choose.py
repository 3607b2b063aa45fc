"""`connect()` without an address: the chooser, in Run All, by mouse and by keyboard."""

from __future__ import annotations

import json

import pytest

import s4s_notebook as s4s

CELL = """
import json, pathlib
import s4s_notebook as s4s
from s4s_notebook.connection.known_holders import config_folder
folder = config_folder()
folder.mkdir(mode=0o700, parents=True, exist_ok=True)
(folder / "holders.json").write_text(json.dumps({kept!r}))
me = s4s.connect()
"""
GO_ON = "print('cell goes on:', len(me.studies()), me.holder.base)"
LOOK = "print('kept:', (folder / 'holders.json').read_text().split())"
DEAD = "http://127.0.0.1:9/fhir"


@pytest.fixture(scope="module")
def sandbox():
    with s4s.Sandbox(retry_after=0) as sandbox:
        yield sandbox


def _authorise(notebook):
    panel = notebook.page.locator(".s4s-connect:not(.s4s-choose)")
    with notebook.page.context.expect_page() as opened:
        panel.get_by_role("link", name="Authorise").click()
    window = opened.value
    window.get_by_role("radio", name="Daniel").check()
    window.get_by_role("button", name="Approve").click()
    window.get_by_role("heading", name="Approved").wait_for()
    return panel


def test_run_all_goes_on_with_the_holder_that_was_chosen(open_notebook, app, sandbox):
    """A wrong address, a dead one, then one that was used before; all while the cell waits."""
    notebook = open_notebook(CELL.format(kept=[sandbox.fhir_url, DEAD]), GO_ON, LOOK, app=app)
    notebook.run_all()
    chooser = notebook.page.locator(".s4s-choose")
    field = chooser.get_by_label("FHIR address of another holder")
    field.fill("ftp://holder")
    field.press("Enter")
    alert = chooser.get_by_role("alert")
    alert.filter(has_text="This is not a web address of a holder.").wait_for()
    assert field.input_value() == "ftp://holder"
    chooser.get_by_role("button", name=DEAD, exact=True).click()
    alert.filter(has_text="127.0.0.1:9").wait_for()
    chooser.get_by_role("button", name=f"Remove {DEAD} from this list").click()
    chooser.get_by_role("button", name=DEAD, exact=True).wait_for(state="detached")
    chooser.get_by_role("button", name=sandbox.fhir_url, exact=True).click()
    chooser.wait_for(state="detached")
    _authorise(notebook)
    notebook.page.get_by_text(f"cell goes on: 7 {sandbox.fhir_url}").wait_for(timeout=30_000)
    notebook.page.get_by_text(f"kept: ['[', '\"{sandbox.fhir_url}\"', ']']").wait_for()
    outputs = json.loads(notebook.save())["cells"][0]["outputs"]
    assert f"Data holder: {sandbox.fhir_url}" in json.dumps(outputs)


def test_the_chooser_by_keyboard_alone(open_notebook, sandbox):
    notebook = open_notebook(CELL.format(kept=[DEAD]), "print('chosen:', me.holder.base)")
    notebook.run_all()
    chooser = notebook.page.locator(".s4s-choose")
    chooser.get_by_role("button", name="Practice holder").focus()
    keys = notebook.page.keyboard
    for _ in range(3):  # the remembered holder, its Remove, the field
        keys.press("Tab")
    keys.type(f"{sandbox.fhir_url}/")
    keys.press("Enter")
    notebook.page.get_by_text(f"chosen: {sandbox.fhir_url}").wait_for(timeout=30_000)
    assert notebook.page.locator(".jp-CodeCell").count() == 2, "keys in the panel are not Jupyter's"


def test_without_our_server_pages_the_choice_comes_over_the_line(
    open_notebook, bare_jupyter, sandbox
):
    notebook = open_notebook(
        CELL.format(kept=[]), "print('chosen:', me.holder.base)", server=bare_jupyter
    )
    notebook.run_all()
    notebook.page.get_by_role("button", name="Practice holder").click()
    notebook.page.get_by_text("chosen: http://127.0.0.1").wait_for(timeout=60_000)
