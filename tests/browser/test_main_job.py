"""Cancel on a busy kernel against the clock, and notebook 00's sign-in behind a hub."""

from __future__ import annotations

import json
import ssl

import pytest
import trustme

from tests.browser.conftest import NotebookPage
from tests.browser.jupyterserver import REPO, JupyterServer


def first_notebook():
    text = (REPO / "notebooks" / "00-first-image.ipynb").read_text()
    cells = json.loads(text)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def approve(notebook, button="Approve"):
    panel = notebook.page.locator(".s4s-connect")
    with notebook.page.context.expect_page() as opened:
        panel.get_by_role("link", name="Authorise").click()
    window = opened.value
    window.get_by_role("radio", name="Daniel").check()
    window.get_by_role("button", name=button).click()
    return window


@pytest.mark.fault("C01")
def test_cancel_a_real_wait_while_the_cell_blocks(open_notebook):
    notebook = open_notebook(
        "import s4s_notebook as s4s\n"
        "sandbox = s4s.Sandbox(retry_after=300)\nsandbox.start()\n"
        "me = s4s.connect(sandbox.fhir_url)",
        "uid = me.studies().query('downloadable').study_uid.iloc[0]\n"
        "try:\n    me.download(uid).result()\n"
        "except s4s.Cancelled as error:\n    print('cancelled in the cell')",
    )
    notebook.run_all()
    approve(notebook).get_by_role("heading", name="Approved").wait_for()
    panel = notebook.page.locator(".s4s-progress", has_text="next try in 4:5")
    panel.wait_for(timeout=30_000)
    # Timed in the page: from the click to the final line, whatever drives the mouse.
    took = notebook.page.evaluate_handle(
        """() => new Promise((resolve) => {
          let pressed = 0;
          document.addEventListener("click", () => (pressed = performance.now()), true);
          new MutationObserver(() => {
            if (pressed && document.body.innerText.includes("cancelled in the cell"))
              resolve(performance.now() - pressed);
          }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }).then((milliseconds) => (window.took = milliseconds)) && null"""
    )
    assert took is not None
    panel.get_by_role("button", name="Cancel").click()
    notebook.page.get_by_text("cancelled in the cell").wait_for()
    notebook.page.wait_for_function("window.took !== undefined")
    assert notebook.page.evaluate("window.took") < 1000


@pytest.mark.fault("H07")
def test_the_sandbox_is_reached_through_the_hub(browser_type, browser_type_launch_args, hub):
    """The browser is elsewhere: it knows the hub's name, and no port but the hub's."""
    rules = f"--host-resolver-rules=MAP hub.example 127.0.0.1:{hub.port}, MAP * ~NOTFOUND"
    options = browser_type_launch_args | {"args": [*browser_type_launch_args["args"], rules]}
    hub.write("hub.ipynb", *first_notebook()[:3])
    browser = browser_type.launch(**options)
    try:
        page = browser.new_page(ignore_https_errors=True)
        page.goto(hub.page("hub.ipynb").replace(f"127.0.0.1:{hub.port}", "hub.example"))
        page.locator(".jp-Notebook").wait_for(timeout=60_000)
        notebook = Opened(page)
        notebook.idle()
        notebook.run_all()
        window = approve(notebook)
        window.get_by_role("heading", name="Approved").wait_for()
        assert window.url.startswith("https://hub.example/user/repo-abc123/s4s/callback")
        page.get_by_text("CT chest without contrast").first.wait_for(timeout=60_000)
    finally:
        browser.close()
        hub.end_kernels()


class Opened(NotebookPage):
    """A notebook that is open already."""

    def __init__(self, page):
        self.page = page


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A Jupyter with a name and a certificate, as behind a hub."""
    folder = tmp_path_factory.mktemp("certificate")
    authority, trust = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trust)
    certificate = authority.issue_cert("hub.example", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "hub.pem")
    server = JupyterServer(
        tmp_path_factory.mktemp("hub"),
        "--ServerApp.allow_remote_access=True",
        f"--ServerApp.certfile={folder / 'hub.pem'}",
        trust=trust,
    ).start()
    yield server
    server.stop()
