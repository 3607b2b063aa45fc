"""`connect` in a script: what it prints, what it takes back, where it keeps things."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request

import pytest

import s4s_notebook as s4s
from s4s_notebook import _connect as start

CALLBACK = "http://127.0.0.1:1/callback"


@pytest.fixture(scope="module")
def sandbox():
    with s4s.Sandbox(retry_after=0) as sandbox:
        yield sandbox


@pytest.fixture
def registered(sandbox):
    """A confidential client, registered by hand."""
    origin = sandbox.fhir_url.removesuffix("/api/fhir")
    asked = {
        "client_name": "a script",
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    request = urllib.request.Request(
        f"{origin}/oauth/register",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def test_a_script_prints_the_page_and_takes_the_address_back(sandbox, registered, capsys):
    client = {name: registered[name] for name in ("client_id", "client_secret")}
    with s4s.connect(sandbox.fhir_url, redirect_uri=CALLBACK, **client) as me:
        said = capsys.readouterr().out
        [page] = re.findall(r"http://\S+/oauth/authorize\S+", said)
        assert "connection.finish(address)" in said
        assert registered["client_secret"] not in said
        me.finish(sandbox.approve(page))
        assert me.status == "approved"
        assert len(me.studies()) == 7


def test_a_token_that_one_has_asks_nobody(sandbox, capsys):
    token = sandbox.token("smart-1288992")
    url = sandbox.fhir_url
    with s4s.connect(url, access_token=token, patient="smart-1288992") as me:
        assert len(me.coverage()) == 3
    assert capsys.readouterr().out == ""


def test_an_open_holder_needs_no_sign_in(sandbox, capsys):
    with s4s.connect(sandbox.open_fhir_url, patient="smart-1288992") as me:
        assert me.status == "open"
        assert len(me.patient()) == 1
    assert capsys.readouterr().out == ""


def test_the_sandbox_signs_in_unattended_where_that_is_asked_for(sandbox, monkeypatch, tmp_path):
    monkeypatch.setenv(start.SANDBOX_URL, sandbox.fhir_url)
    monkeypatch.setenv(start.SANDBOX_APPROVE, "smart-1288992")
    monkeypatch.setenv(start.STORE_FOLDER, str(tmp_path / "kept"))
    with s4s.connect("sandbox") as me:
        assert me.patient_id == "smart-1288992"
        assert me.store.root == tmp_path / "kept"


def test_a_sandbox_is_started_where_none_runs():
    code = (
        "import s4s_notebook as s4s\n"
        "with s4s.connect('sandbox') as me:\n"
        "    print(me.holder.base, me.status)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert re.search(r"http://127\.0\.0\.1:\d+/api/fhir waiting for approval", shown.stdout)


def test_a_script_must_name_a_holder():
    with pytest.raises(s4s.DiscoveryError, match=r's4s\.connect\("sandbox"\)'):
        s4s.connect()


def test_unattended_the_sandbox_is_chosen(sandbox, monkeypatch):
    monkeypatch.setenv(start.SANDBOX_URL, sandbox.fhir_url)
    monkeypatch.setenv(start.SANDBOX_APPROVE, "smart-1288992")
    with s4s.connect() as me:
        assert me.holder.base == sandbox.fhir_url


def test_an_address_is_remembered_and_forgotten_with_the_approval(sandbox, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "s4s-notebook" / "holders.json"
    with s4s.connect(sandbox.open_fhir_url, patient="smart-1288992") as me:
        assert not file.exists(), "a script remembers nothing"
        start._remember_holder("https://a.example")
        monkeypatch.setattr(me.session, "base", "https://a.example")
        me.forget()
    assert json.loads(file.read_text()) == []


def test_no_address_is_remembered_on_a_shared_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("BINDER_SERVICE_HOST", "10.0.0.1")
    start._remember_holder("https://a.example")
    assert not list(tmp_path.iterdir())


def test_settings_that_cannot_be_written_are_told_and_stop_nothing(monkeypatch, tmp_path):
    (tmp_path / "s4s-notebook").write_text("in the way")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.warns(UserWarning, match="not remembered"):
        start._remember_holder("https://a.example")
