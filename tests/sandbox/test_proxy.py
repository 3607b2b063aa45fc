"""Behind a real jupyter-server-proxy, as on Binder: the browser's part goes through it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from s4s_notebook import Sandbox
from tests.orthanc import free_port

from .archives import wait_for_port
from .conftest import call, get
from .test_consent import app

BASE = "/user/ada-abc123/"


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """A Jupyter server with its proxy; yields its address, base URL included."""
    port = free_port()
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    command = [
        *(sys.executable, "-m", "jupyter", "server", "--no-browser", "--allow-root"),
        *(f"--port={port}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.base_url={BASE}"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"),
        "--ServerApp.jpserver_extensions={'jupyter_server_proxy': True}",
    ]
    log = (folder / "jupyter.log").open("wb")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}{BASE}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def test_sign_in_through_jupyter_server_proxy(tmp_path: Path, canary) -> None:
    canary.allow(tmp_path)  # Jupyter's own request log, which is not ours to redact
    port = free_port()
    with jupyter(tmp_path) as server:
        public = f"{server}proxy/{port}"
        with Sandbox(port=port, public_url=public, retry_after=0) as sandbox:
            smart = get(f"{sandbox.fhir_url}/.well-known/smart-configuration").json()
            assert smart["authorization_endpoint"] == f"{public}/oauth/authorize"
            client = app(sandbox)
            url = client.url().replace(f"http://127.0.0.1:{port}", public)
            page = get(url)
            assert page.status == 200
            assert b"Who are you?" in page.body
            back = sandbox.approve(url)
            query = parse_qs(urlsplit(back).query)
            assert query["iss"] == [f"http://127.0.0.1:{port}/api/fhir"]
            grant = client.redeem(query["code"][0]).json()
            assert client.may_read(grant["access_token"]) == 200

            manage = get(f"{public}/oauth/manage")
            assert manage.status == 200
            from s4s_notebook.sandbox.approve import ConsentForm

            form = ConsentForm()
            form.feed(manage.body.decode())
            cookie = f"s4s_sandbox_{port}={form.hidden['csrf']}"
            done = call(
                "POST", f"{public}/oauth/manage", form=form.hidden, headers={"Cookie": cookie}
            )
            assert done.status == 303
            assert done.headers["location"].rpartition("/")[2] == "manage"
            assert client.may_read(grant["access_token"]) == 401
            # What is not for browsers keeps its own address.
            bundle = get(f"{public}/api/open-fhir/ImagingStudy").json()
            assert bundle["link"][0]["url"].startswith(sandbox.open_fhir_url)


@pytest.mark.parametrize("prefix", ["//evil.example", "/a b", '/"><script>', "x", "/" * 600])
def test_odd_prefixes_are_ignored(shop: Sandbox, prefix: str) -> None:
    answer = get(f"{shop.open_fhir_url}/Patient", headers={"X-Forwarded-Prefix": prefix})
    assert answer.status == 200
