"""`s4s check`: all met here, exactly the known deviations there, no traceback anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from s4s_notebook import Sandbox
from s4s_notebook.cli.check import check, check_command
from s4s_notebook.cli.check.report import SENTENCES
from s4s_notebook.sandbox import approve
from tests.orthanc import free_port, orthanc

KNOWN = {
    None: set(),
    "broker-2018": {
        "resources are dated",
        "ImagingStudy.started",
        "endpoint",
        "Endpoint.address",
        "a token is needed",
        "other patients are closed",
        "nothing found is no error",
        "503 says when",
    },
    "smart-imaging": {"STU3", "ImagingStudy.uid", "503 says when"},
}


@pytest.mark.parametrize("personality", KNOWN)
def test_deviations_are_named_exactly(personality: str | None) -> None:
    with Sandbox(retry_after=1, personality=personality) as sandbox:
        found = check(sandbox.fhir_url, approve=approve)
    verdicts = dict(zip(found.requirement, found.verdict, strict=True))
    assert {name for name, v in verdicts.items() if v == "not met"} == KNOWN[personality]
    assert set(verdicts) == set(SENTENCES)
    offered = {name for name, v in verdicts.items() if v == "not offered"}
    assert offered == ({".well-known", "PKCE S256"} if personality == "broker-2018" else set())
    assert "not tried" not in set(verdicts.values())
    assert list(found.columns) == ["requirement", "verdict", "asked", "came", "sentence"]


def test_the_open_base_needs_no_sign_in(shop: Sandbox) -> None:
    found = check(shop.open_fhir_url, patient="smart-1288992")
    assert "not met" not in set(found.verdict)
    assert not any(r.token for r in shop.requests if "/api/open-fhir" in r.path)


def test_a_decline_and_a_missing_patient_are_reported(shop: Sandbox) -> None:
    found = check(shop.fhir_url, approve=lambda url: approve(url, decline=True))
    row = found[found.requirement == "approval"].iloc[0]
    assert row.verdict == "not met"
    assert "declined" in row.came
    assert check(shop.open_fhir_url).verdict.iloc[-1] == "not tried"


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 500, "body": b"<html>"},
        {"status": 200, "body": b"[]"},
        {"status": 200, "body": b'{"resourceType":"Bundle","entry":[{"resource":7}]}'},
        {"raw": b"nonsense\r\n\r\n"},
        {"status": 302, "headers": [("Location", "http://evil.example/")]},
    ],
)
def test_a_broken_holder_gives_a_report(fresh: Sandbox, rule: dict) -> None:
    fresh.script("/api/open-fhir*", times=None, **rule)
    found = check(fresh.open_fhir_url, patient="smart-1288992")
    assert "not met" in set(found.verdict)


def test_nothing_listens() -> None:
    found = check("http://127.0.0.1:9/fhir", patient="x")
    assert next(iter(found.verdict)) == "not met"


@pytest.mark.needs("orthanc")
def test_bare_dicomweb_says_what_is_missing(tmp_path: Path) -> None:
    with orthanc(tmp_path) as server:
        found = check(f"{server.url}/dicom-web", patient="1CT1")
    verdicts = dict(zip(found.requirement, found.verdict, strict=True))
    assert verdicts["CapabilityStatement"] == "not met"
    assert verdicts["SMART sign-in"] == "not offered"
    assert verdicts["ImagingStudy first-connection"] == "not met"


def test_the_command(shop: Sandbox, tmp_path: Path, capsys, monkeypatch) -> None:
    report = tmp_path / "report.md"
    options = [shop.fhir_url, "--approve-as", "smart-1288992", "--report", str(report)]
    assert check_command(options) == 0
    text = report.read_text()
    assert text.rstrip() == capsys.readouterr().out.rstrip()
    assert text.startswith("# Sync for Science imaging:")
    assert "| images | met |" in text
    with Sandbox(personality="broker-2018", retry_after=0) as broker:
        assert check_command([broker.fhir_url, "--approve-as", "smart-1288992"]) == 1
        assert "## What the specification says" in capsys.readouterr().out
    monkeypatch.setenv("HOLDER_TOKEN", shop.token("smart-1137192"))
    options = [shop.fhir_url, "--token-from", "HOLDER_TOKEN", "--patient", "smart-1137192"]
    assert check_command(options) == 0


ODD = [7, "text", [], {}, [7], [[]], [None], None, True]


@pytest.mark.parametrize(
    "endpoint",
    [
        {"connectionType": {"coding": [{"code": "dicom-wado-rs"}]}},
        {"connectionType": [{"coding": [{"code": "dicom-wado-rs"}]}]},
        {"connectionType": {"code": "dicom-wado-rs"}},
    ],
)
def test_each_form_of_connection_type_is_read(fresh: Sandbox, endpoint: dict) -> None:
    contained = {"resourceType": "Endpoint", "id": "e", "address": fresh.wado_url, **endpoint}
    study = {"resourceType": "ImagingStudy", "uid": "1.2.3", "endpoint": [{"reference": "#e"}]}
    found = _check_of(fresh, {**study, "contained": [contained]})
    assert found["endpoint"] == "met"


@pytest.mark.parametrize("odd", ODD)
def test_elements_of_any_shape_give_a_report(fresh: Sandbox, odd: object) -> None:
    names = ("endpoint", "contained", "identifier", "uid", "started", "numberOfInstances", "meta")
    study = {"resourceType": "ImagingStudy", "uid": "1.2.3", "endpoint": [{"reference": "#e"}]}
    contained = {"resourceType": "Endpoint", "id": "e", "address": fresh.wado_url}
    for name in names:
        assert _check_of(fresh, {**study, "contained": [contained], name: odd})["endpoint"]
    for name in ("connectionType", "address", "extension", "status", "id"):
        broken = {**contained, "connectionType": {"code": "dicom-wado-rs"}, name: odd}
        assert _check_of(fresh, {**study, "contained": [broken]})["endpoint"]


@pytest.mark.parametrize("odd", ODD)
def test_bundles_of_any_shape_give_a_report(fresh: Sandbox, odd: object) -> None:
    for name in ("link", "entry"):
        bundle = {"resourceType": "Bundle", "entry": [], name: odd}
        body = json.dumps(bundle).encode()
        fresh.script("/api/open-fhir/ImagingStudy*", times=None, status=200, body=body)
        assert len(check(fresh.open_fhir_url, patient="p"))


def _check_of(sandbox: Sandbox, study: dict) -> dict[str, str]:
    """The verdicts on a holder whose only study is this one."""
    bundle = {"resourceType": "Bundle", "entry": [{"resource": study}]}
    body = json.dumps(bundle).encode()
    sandbox.script("/api/open-fhir/ImagingStudy*", times=None, status=200, body=body)
    found = check(sandbox.open_fhir_url, patient="p")
    return dict(zip(found.requirement, found.verdict, strict=True))


@pytest.mark.fault("J15")
def test_an_r4_server_of_somebody_else_is_read_to_the_end(tmp_path: Path) -> None:
    with Sandbox(personality="smart-imaging") as sandbox, sandbox.connect() as me:
        me.load().result()
        kinds = ("Patient", "ImagingStudy", "ExplanationOfBenefit")
        resources = {kind: {one["id"]: one for one in me.resources(kind)} for kind in kinds}
    file, port = tmp_path / "resources.json", free_port()
    file.write_text(json.dumps(resources))
    program = [sys.executable, "-W", "ignore", "-m", "tests.cli.r4_server", str(file), str(port)]
    process = subprocess.Popen(program, cwd=Path(__file__).resolve().parents[2])
    url = f"http://127.0.0.1:{port}"
    try:
        until_up(f"{url}/metadata", process)
        found = check(url, patient="smart-1288992").set_index("requirement")
    finally:
        process.terminate()
        process.wait()
    assert found.verdict["Patient"] == found.verdict["CapabilityStatement"] == "met"
    assert found.came["ImagingStudy first-connection"] == "200 Bundle, 7 resources in all"
    assert found.came["ExplanationOfBenefit first-connection"].endswith("57 resources in all")
    assert found.verdict["STU3"] == "not met"
    assert found.verdict["Coverage"] == "not met"  # it does not serve them
    assert found.came["Coverage"] == "404"


@pytest.mark.fault("J15")
@pytest.mark.needs("orthanc")
def test_an_orthanc_is_no_fhir_holder_and_said_to_be_none(tmp_path: Path) -> None:
    with orthanc(tmp_path) as server:
        for url in (server.url, server.wado, f"{server.wado}/studies"):
            found = check(url, patient="p1")
            assert found.verdict.iloc[0] == "not met"
            assert "met" not in set(found.verdict)


def until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            urlopen(url, timeout=5).close()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        else:
            return
