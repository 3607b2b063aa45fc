"""Authorise in real JupyterLab and Notebook 7: the reply finds its way to a waiting cell."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.consent import Consent
from tests.browser.jupyterserver import JupyterServer

# The cell blocks the kernel until the sign-in is over, as `me.studies()` in Run All does.
CELL = """
import time
from tests.browser.fakes import FakeConnection
from s4s_notebook.widgets import connect_panel
from IPython.display import display
me = FakeConnection({page!r})
display(connect_panel(me))
for _ in range(400):
    if me.approved.is_set():
        break
    time.sleep(0.1)
print("cell goes on:", me.status, me.patient_id)
"""


@pytest.fixture
def consent(canary):
    page = Consent(canary.code)
    yield page
    page.close()


def _approve(notebook, answer="Approve"):
    panel = notebook.page.locator(".s4s-connect")
    with notebook.page.context.expect_page() as opened:
        panel.get_by_role("link", name="Authorise").click()
    window = opened.value
    window.get_by_role("link", name=answer, exact=True).click()
    return panel, window


def test_a_waiting_cell_goes_on_once_approved(open_notebook, app, consent, canary, jupyter):
    notebook = open_notebook(CELL.format(page=consent.url), app=app)
    notebook.run_all()
    panel, window = _approve(notebook)
    window.get_by_role("heading", name="Approved").wait_for()
    assert window.evaluate("window.opener") is None
    notebook.page.get_by_text("cell goes on: approved smart-1288992").wait_for(timeout=10_000)
    panel.get_by_text("Approved · patient smart-1288992").wait_for()
    assert panel.get_by_role("link", name="Authorise").is_hidden()
    assert panel.get_by_role("button", name="Revoke").is_visible()
    assert consent.replies[0].startswith(f"{jupyter.url}s4s/callback?")
    saved = notebook.save()
    assert canary.code not in saved
    assert "state=" not in saved
    assert not [path for path in (jupyter.runtime / "s4s").iterdir() if "reply" in path.name]
    log = jupyter.log.read_text()
    assert canary.code not in log
    assert "code=" not in log


def test_declined_and_then_approved(open_notebook, consent):
    notebook = open_notebook(CELL.format(page=consent.url))
    notebook.run_all()
    panel, window = _approve(notebook, "Decline")
    window.get_by_role("heading", name="Not approved").wait_for()
    panel.get_by_text("Declined: nothing was shared.").wait_for()
    assert panel.get_by_role("alert").filter(has_text="declined").count() == 0, "it is said once"
    _approve(notebook)
    notebook.page.get_by_text("cell goes on: approved").wait_for(timeout=10_000)


@pytest.mark.fault("L06")
def test_a_decline_without_state_ends_no_sign_in(open_notebook, consent):
    notebook = open_notebook(CELL.format(page=consent.url))
    notebook.run_all()
    panel, window = _approve(notebook, "Decline without state")
    window.get_by_role("heading", name="This sign-in is over").wait_for()
    window.get_by_text("If you declined, nothing was shared.").wait_for()
    assert panel.get_by_role("alert").filter(has_text="declined").count() == 0
    _approve(notebook)
    notebook.page.get_by_text("cell goes on: approved").wait_for(timeout=10_000)


def test_without_our_server_pages_the_reply_comes_to_the_kernel(
    open_notebook, app, consent, bare_jupyter
):
    notebook = open_notebook(CELL.format(page=consent.url), app=app, server=bare_jupyter)
    notebook.run_all()
    _, window = _approve(notebook)
    window.get_by_role("heading", name="Approved").wait_for()
    assert consent.replies[0].startswith("http://127.0.0.1:")
    assert "/callback?" in consent.replies[0]
    notebook.page.get_by_text("cell goes on: approved").wait_for(timeout=10_000)


def test_the_address_can_be_pasted_while_the_cell_waits(open_notebook, consent, canary):
    notebook = open_notebook(CELL.format(page=consent.url))
    notebook.run_all()
    panel = notebook.page.locator(".s4s-connect")
    panel.get_by_role("link", name="Authorise").wait_for()
    href = panel.get_by_role("link", name="Authorise").get_attribute("href")
    # A browser that cannot come back: the reply's page does not load, its address remains.
    window = notebook.page.context.new_page()
    window.goto(href if "://" in href else f"http://127.0.0.1:{notebook.server.port}{href}")
    go = window.get_by_role("link", name="Approve", exact=True).get_attribute("href")
    landed = parse_qs(urlsplit(go).query)["to"][0]
    panel.get_by_text("Did the page not come back here?").click()
    address = panel.get_by_label("Address")
    address.fill(landed)
    panel.get_by_role("button", name="Finish").click()
    notebook.page.get_by_text("cell goes on: approved").wait_for(timeout=10_000)
    assert address.input_value() == ""
    assert canary.code not in notebook.save()


@pytest.fixture(scope="session")
def strict_jupyter(tmp_path_factory):
    """A Jupyter whose login cookie does not come along from another site."""
    strict = "--IdentityProvider.cookie_options={'samesite': 'Strict'}"
    server = JupyterServer(tmp_path_factory.mktemp("strict"), strict).start()
    yield server
    server.stop()


@pytest.mark.fault("H01")
def test_a_strict_login_cookie_is_waited_for(open_notebook, consent, strict_jupyter):
    notebook = open_notebook(CELL.format(page=consent.url), server=strict_jupyter)
    cookies = {cookie["name"]: cookie for cookie in notebook.page.context.cookies()}
    assert any(cookie["sameSite"] == "Strict" for cookie in cookies.values())
    notebook.run_all()
    _, window = _approve(notebook)
    window.get_by_role("heading", name="Approved").wait_for()
    notebook.page.get_by_text("cell goes on: approved").wait_for(timeout=10_000)
    assert "again=1" in window.url


@pytest.mark.fault("H06")
def test_messages_from_other_windows_do_nothing(open_notebook, consent, canary):
    notebook = open_notebook(CELL.format(page=consent.url))
    notebook.run_all()
    panel = notebook.page.locator(".s4s-connect")
    panel.get_by_role("link", name="Authorise").wait_for()
    before = panel.inner_text()
    forged = """(code) => {
      for (const data of [{ code, state: "x" }, { s4s: "done" }, `?code=${code}&state=x`, "done"]) {
        window.postMessage(data, "*");
        for (const name of ["s4s", "s4s-signin", "jupyter"])
          new BroadcastChannel(name).postMessage(data);
      }
    }"""
    notebook.page.evaluate(forged, canary.code)
    # What our own pages say: nothing at all, to nobody.
    notebook.page.evaluate(
        """() => {
          window.heard = [];
          window.addEventListener("message", (event) => window.heard.push(String(event.data)));
          new BroadcastChannel("s4s").onmessage = (event) => window.heard.push(String(event.data));
        }"""
    )
    assert panel.inner_text() == before
    _, window = _approve(notebook)
    window.get_by_role("heading", name="Approved").wait_for()
    assert window.evaluate("window.opener") is None
    notebook.page.get_by_text("cell goes on: approved").wait_for(timeout=10_000)
    heard = notebook.page.evaluate("window.heard")
    assert not [text for text in heard if canary.code in text or "state" in text]
