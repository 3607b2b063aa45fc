"""The sign-in's side roads against the real sandbox: a client registered by hand, revoke and
forget, a browser that does not come back."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlsplit

import nbformat
import pytest
from nbconvert import HTMLExporter

from s4s_notebook.sandbox.authority import digest
from tests.browser.consent import stay_away
from tests.browser.test_browse import _run

# A holder that registers nobody by itself, with one confidential client that it was told of.
BY_HAND = """
import dataclasses
import s4s_notebook as s4s
from s4s_notebook.sandbox import fhir_routes
metadata = fhir_routes.authorization_server
fhir_routes.authorization_server = lambda context: {{
    name: value for name, value in metadata(context).items() if name != "registration_endpoint"}}
sandbox = s4s.Sandbox(retry_after=0).start()
authority = sandbox._context.authority
client, _ = authority.register("by hand", ({callback!r},), "client_secret_basic")
by_hand = dataclasses.replace(client, id="by-hand", secret_hash={secret_hash!r})
authority.clients["by-hand"] = by_hand
me = s4s.connect(sandbox.fhir_url)
"""
OPEN = """
import s4s_notebook as s4s
sandbox = s4s.Sandbox(retry_after=0).start()
me = s4s.connect(sandbox.fhir_url)
"""
PANEL = "panel = s4s.explore(me)\npanel"
GO_ON = "print('cell goes on:', len(me.studies()), me.status)"


def _consent(window, button="Approve"):
    window.get_by_role("radio", name="Daniel").check()
    window.get_by_role("button", name=button).click()


def _approve(notebook, how):
    with notebook.page.context.expect_page() as opened:
        how(notebook.page.locator(".s4s-connect").get_by_role("link", name="Authorise"))
    _consent(opened.value)
    opened.value.get_by_role("heading", name="Approved").wait_for()
    opened.value.close()


def _approvals(notebook):
    """How many approvals the holder still lists."""
    listed = "sandbox._context.authority.approvals.values()"
    return int(_run(notebook, f"print(sum(not each.revoked for each in {listed}))"))


def test_a_client_registered_by_hand_then_revoke_then_forget(open_notebook, jupyter, canary):
    callback, secret = f"{jupyter.url}s4s/callback", canary.code
    cell = BY_HAND.format(callback=callback, secret_hash=digest(secret))
    notebook = open_notebook(cell, GO_ON)
    notebook.run_all()
    panel = notebook.page.locator(".s4s-connect")
    panel.get_by_text(f"with this redirect address: {callback}").wait_for()
    assert panel.get_by_role("link", name="Authorise").is_hidden()
    panel.get_by_label("Client id").fill("by-hand")
    panel.get_by_label("Client secret").fill(secret)
    panel.get_by_label("Client secret").press("Enter")
    _approve(notebook, lambda link: link.click())
    notebook.page.get_by_text("cell goes on: 7 approved").wait_for(timeout=30_000)
    notebook.idle()
    assert _approvals(notebook) == 1
    panel.get_by_role("button", name="Revoke").click()
    panel.get_by_role("button", name="Revoke: press again").click()
    panel.get_by_text("Not authorised yet.").wait_for()
    assert _approvals(notebook) == 0, "the holder heard of it"
    _approve(notebook, lambda link: link.press("Enter"))
    panel.get_by_role("button", name="Forget").click()
    panel.get_by_text("Not authorised yet.").wait_for()
    assert _approvals(notebook) == 1, "forgetting is here alone"
    assert _run(notebook, "print(me.session.grant)").strip() == "None"
    assert secret not in notebook.save()


@pytest.mark.fault("G03")
def test_no_secret_is_saved_with_the_widgets_or_exported(open_notebook):
    """With JupyterLab's "save widget state" on, after a real sign-in, every panel in use."""
    notebook = open_notebook(OPEN, GO_ON, "me.download(me.studies().study_uid[1]).result()", PANEL)
    notebook.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState")
    notebook.run_all()
    codes = []
    context = notebook.page.context
    context.on("request", lambda request: codes.append(request.url))
    _approve(notebook, lambda link: link.click())
    panel = notebook.page.locator(".s4s-browse")
    panel.locator("tbody tr").first.wait_for(state="attached", timeout=60_000)
    notebook.idle()
    held = _run(
        notebook,
        "g = me.session.grant; print(g.access_token.reveal(), g.refresh_token.reveal())",
    )
    codes = [value for url in codes for key, value in parse_qsl(urlsplit(url).query)
             if key in {"code", "state"}]  # fmt: skip
    secrets = [*held.split(), *codes]
    assert len(held.split()) == 2
    assert len(set(codes)) == 2
    text = notebook.save()
    saved = json.loads(text)
    states = saved["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any("Authorise" in str(each) for each in states.values()), "the state is saved"
    html, _ = HTMLExporter().from_notebook_node(nbformat.reads(text, as_version=4))
    assert "s4s-browse" in html
    for form in (text, html):
        assert not [secret for secret in secrets if secret in form]
        assert not [name for name in ("Synthetic-Adams", "1935-12-23") if name in form]


def test_a_wrong_client_secret_is_said_in_the_panel(open_notebook, jupyter, canary):
    callback = f"{jupyter.url}s4s/callback"
    notebook = open_notebook(BY_HAND.format(callback=callback, secret_hash=digest(canary.code)))
    notebook.run_all()
    panel = notebook.page.locator(".s4s-connect")
    panel.get_by_label("Client id").fill("by-hand")
    panel.get_by_label("Client secret").fill("not that one")
    panel.get_by_role("button", name="Use this client").click()
    with notebook.page.context.expect_page() as opened:
        panel.get_by_role("link", name="Authorise").click()
    _consent(opened.value)
    panel.get_by_role("alert").filter(has_text="client").wait_for()
    panel.get_by_role("button", name="Use this client").wait_for()


def test_a_browser_that_does_not_come_back_then_pastes(open_notebook):
    """A declined request's address, then an approved one's."""
    notebook = open_notebook(OPEN, GO_ON)
    notebook.run_all()
    panel = notebook.page.locator(".s4s-connect")
    context = notebook.page.context
    landed = stay_away(context)
    panel.get_by_text("Did the page not come back here?").click()
    for button, told in (
        ("Decline", "Declined: nothing was shared."),
        ("Approve", "Approved · patient smart-1288992"),
    ):
        with context.expect_page() as opened:
            panel.get_by_role("link", name="Authorise").click()
        _consent(opened.value, button)
        opened.value.get_by_text("cannot be reached").wait_for()
        opened.value.close()
        assert "/s4s/callback?" in landed[-1]
        panel.get_by_label("Address").fill(landed[-1])
        panel.get_by_role("button", name="Finish").click()
        panel.get_by_text(told).wait_for()
        assert panel.get_by_label("Address").input_value() == ""
    assert "code=" not in notebook.save()
