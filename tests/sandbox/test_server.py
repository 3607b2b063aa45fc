"""The command, the pages in a real browser, and a proxy in front."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s4s_notebook import Sandbox
from s4s_notebook.cli.sandbox import serve
from s4s_notebook.sandbox import Pacs

from .conftest import get
from .test_consent import app


@contextmanager
def command(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """``s4s sandbox`` as its own process; yields it and the addresses that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "s4s_notebook", "sandbox", "--imaging-port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        pairs = [re.split(r"\s{2,}", line.strip()) for line in lines[1:4]]
        yield process, dict(pairs)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_told_to_stop(number: int) -> None:
    with command("--port", "0") as (process, urls):
        bundle = get(f"{urls['FHIR, open']}/Patient").json()
        assert bundle["total"] == 5
        assert get(f"{urls['FHIR, with sign-in']}/Patient").status == 401
        assert get(f"{urls['images (WADO-RS)']}/studies/1.2.3").status == 401
        process.send_signal(number)
        assert process.wait(10) == 0


@pytest.mark.fault("I01")
def test_a_port_in_use_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as ended:
            serve(["--port", port, "--imaging-port", "0"])
        assert ended.value.code == 1
        assert "in use" in capsys.readouterr().err
        with pytest.raises(OSError, match="in use"):
            Sandbox(port=int(port)).start()


@pytest.mark.parametrize(
    "text", ["ORTHANC", "ORTHANC@host", "A@h:0", "A@h:99999", "@h:1", "A" * 17 + "@h:1", "A@h:1:2"]
)
def test_pacs_addresses_are_checked(text: str) -> None:
    with pytest.raises(ValueError, match="AET@host:port"):
        Pacs.parse(text)
    with pytest.raises(SystemExit):
        serve(["--pacs", text])


def test_pacs_addresses_are_read() -> None:
    assert Pacs.parse("ORTHANC@pacs.example:4242", our_aet="ME") == Pacs(
        "ORTHANC", "pacs.example", 4242, "ME"
    )


@pytest.mark.needs("chromium")
@pytest.mark.browser
def test_a_person_can_read_and_use_the_pages(fresh: Sandbox) -> None:
    """Keyboard alone, no accessibility violation, and it still fits at twice the text size."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    client = app(fresh)
    origin = fresh.fhir_url.removesuffix("/api/fhir")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 640, "height": 800})
        page.goto(client.url())
        assert Axe().run(page).violations_count == 0
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        assert page.get_by_label("Susan Synthetic-Clark").is_checked()
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide
        page.get_by_role("button", name="Approve").focus()
        with page.expect_request(lambda r: r.url.startswith("http://127.0.0.1:1/")) as sent:
            page.keyboard.press("Enter")
        code = re.search("code=([^&]+)", sent.value.url)[1]
        assert client.redeem(code).json()["patient"] == "smart-1137192"
        page = browser.new_page()
        page.goto(f"{origin}/oauth/manage")
        assert Axe().run(page).violations_count == 0
        page.get_by_role("button", name="End the approval").click()
        page.get_by_text("ended").wait_for()
        browser.close()
