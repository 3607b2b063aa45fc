"""The first hour: Authorise is on the screen, approved once, Revoke asks, a restart is said."""

from __future__ import annotations

CONNECT = """
import s4s_notebook as s4s
sandbox = s4s.Sandbox(retry_after=0).start()
me = s4s.connect(sandbox.fhir_url)
"""
TALL = "from IPython.display import HTML\nHTML('<div style=\"height: 2000px\">tall</div>')"
AGAIN = "again = s4s.connect(sandbox.fhir_url)\nprint('again', len(again.studies()), again.status)"
AFTER = "third = s4s.connect(sandbox.fhir_url)\nprint('third', third.status)"


def test_authorise_is_in_view_and_pressed_once(open_notebook, app):
    notebook = open_notebook(CONNECT, TALL, "await me.load()\nprint('loaded')", AGAIN, app=app)
    page = notebook.page
    notebook.run_all()
    go = page.locator(".s4s-progress").get_by_role("link", name="Authorise")
    go.wait_for(timeout=20_000)
    page.wait_for_function(
        """() => { const { top, bottom } = document.querySelector(".s4s-progress a.s4s-go")
          .getBoundingClientRect(); return top >= 0 && bottom <= innerHeight; }"""
    )
    with page.context.expect_page() as opened:
        go.click()
    opened.value.get_by_role("button", name="Approve").click()
    page.get_by_text("loaded", exact=True).wait_for(timeout=20_000)
    page.get_by_text("approved", exact=False).last.wait_for(timeout=20_000)
    page.locator(".jp-OutputArea-output", has_text="again 7 approved").wait_for(timeout=20_000)


def test_revoke_asks_once_and_a_restart_is_said(open_notebook):
    sign_in = "from s4s_notebook.sandbox import approve\nme.finish(approve(me.authorize_url(),"
    sign_in += " patient='smart-1288992'))\nprint(me.status)"
    notebook = open_notebook(CONNECT, sign_in, AFTER)
    notebook.run_all()
    page = notebook.page
    page.get_by_text("third approved").wait_for(timeout=20_000)
    panel = page.locator(".s4s-connect").first
    panel.get_by_role("button", name="Revoke").click()
    panel.get_by_role("button", name="Revoke: press again").click()
    panel.get_by_text("Not authorised yet.").wait_for()
    page.locator(".jp-CodeCell").nth(2).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.get_by_text("third not authorised").wait_for(timeout=20_000)
    notebook.command("kernelmenu:restart")
    page.locator(".jp-Dialog button", has_text="Restart").click()
    panel.get_by_text("The kernel has restarted: run this cell again").wait_for(timeout=20_000)
    assert panel.get_by_role("link", name="Authorise").count() == 0
    notebook.idle()
