"""A withdrawn approval: the panel offers Authorise, and the next call waits for it."""

from __future__ import annotations

import pytest

from tests.browser.test_main_job import approve

CONNECT = """
import s4s_notebook as s4s
sandbox = s4s.Sandbox(retry_after=0).start()
me = s4s.connect(sandbox.fhir_url)
"""
FIRST = "print(len(me.studies()), 'studies at first')"
WITHDRAW = """
sandbox.authority.expire_access()
for approval in list(sandbox.authority.approvals):
    sandbox.authority.revoke_approval(approval)
"""
TOLD = """
try:
    me.update()
except s4s.ReauthorizationRequired as error:
    print("the call says:", type(error).__name__)
"""
NEXT = """
print("changes:", len(me.update()), "status:", me.status)
"""


def run(notebook, at: int) -> None:
    notebook.page.locator(".jp-CodeCell").nth(at).locator(".cm-content").click()
    notebook.page.keyboard.press("Control+Enter")


@pytest.mark.fault("B12")
def test_after_a_withdrawal_the_next_call_waits_for_a_new_approval(open_notebook, app):
    notebook = open_notebook(CONNECT, FIRST, WITHDRAW, TOLD, NEXT, app=app)
    asked = []
    notebook.page.on("request", lambda request: asked.append(request))
    for at in (0, 1):
        run(notebook, at)
    panel = notebook.page.locator(".s4s-connect").first
    # Who gets what is read from the panel, before anything is approved.
    text = panel.inner_text()
    assert "127.0.0.1" in text
    approve(notebook).get_by_role("heading", name="Approved").wait_for()
    notebook.page.get_by_text("studies at first").wait_for(timeout=20_000)
    run(notebook, 2)
    notebook.idle()
    run(notebook, 3)
    notebook.page.get_by_text("the call says: ReauthorizationRequired").wait_for(timeout=20_000)
    panel.get_by_text("The holder no longer accepts the approval.").wait_for()
    panel.get_by_role("link", name="Authorise").wait_for()
    run(notebook, 4)
    notebook.page.wait_for_timeout(2_000)
    assert notebook.page.get_by_text("status: approved").count() == 0
    approve(notebook).get_by_role("heading", name="Approved").wait_for()
    notebook.page.get_by_text("status: approved").wait_for(timeout=20_000)
    status = [one for one in asked if "s4s/status" in one.url and one.method == "GET"]
    assert status
    assert all(one.headers.get("x-xsrftoken") for one in status)
