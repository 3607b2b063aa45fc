"""The quirks of real holders, and our own client among them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from fhir.resources.R4B.endpoint import Endpoint
from fhir.resources.R4B.imagingstudy import ImagingStudy

from s4s_notebook import Sandbox

from .conftest import get
from .test_consent import App, app, register

PATIENT = "smart-1288992"


def studies(sandbox: Sandbox) -> list[dict]:
    bundle = get(f"{sandbox.open_fhir_url}/ImagingStudy?patient={PATIENT}").json()
    return list(bundle["entry"])


def test_the_broker_of_2018() -> None:
    with Sandbox(personality="broker-2018", retry_after=5) as sandbox:
        for entry in studies(sandbox):
            study = entry["resource"]
            assert {"id", "meta", "series"}.isdisjoint(study)
            assert "fullUrl" not in entry
            assert len(study["started"]) == 19
            uid = study["uid"].removeprefix("urn:oid:")
            address = study["contained"][0]["address"]
            assert address.endswith(f"/studies/{uid}")
            assert study["endpoint"] == [
                {"reference": "#wado-endpoint"},
                {"reference": address},
            ]
        waiting = get(address)
        assert waiting.status == 503
        assert "retry-after" not in waiting.headers
        nobody = get(f"{sandbox.open_fhir_url}/ImagingStudy?patient=smart-9999999")
        assert nobody.status == 500
        assert get(f"{sandbox.fhir_url}/Patient/{PATIENT}").status == 500
        assert get(f"{sandbox.fhir_url}/.well-known/smart-configuration").status == 404
        assert get(f"{sandbox.fhir_url}/metadata").status == 200


def test_the_brokers_authorization_server() -> None:
    with Sandbox(personality="broker-2018") as sandbox:
        client = app(sandbox)
        declined = client.sign_in(decline=True)
        assert declined["error"] == "access_denied"
        assert "state" not in declined
        assert "iss" not in declined
        assert set(register(sandbox, redirect_uris=[]).json()) == {"error", "description"}
        first = client.redeem(client.sign_in()["code"]).json()
        client.redeem(client.sign_in()["code"])
        assert client.refresh(first["refresh_token"]).status == 400  # a new approval ends the old


def test_smart_imaging_is_r4_with_endpoints_of_their_own() -> None:
    with Sandbox(personality="smart-imaging", retry_after=1.5) as sandbox:
        for entry in studies(sandbox):
            study = entry["resource"]
            ImagingStudy.model_validate(study)
            assert "uid" not in study
            assert study["identifier"][0]["system"] == "urn:dicom:uid"
            assert study["identifier"][0]["value"].startswith("urn:oid:")
        reference = study["endpoint"][0]["reference"]
        open_endpoint = get(f"{sandbox.open_fhir_url}/{reference}").json()
        Endpoint.model_validate(open_endpoint)
        assert open_endpoint["extension"][0]["valueBoolean"] is False
        token = sandbox.token(PATIENT)
        own = get(f"{sandbox.fhir_url}/{reference}", token=token).json()
        assert own["extension"][0]["valueBoolean"] is True
        assert get(f"{sandbox.fhir_url}/Endpoint/wado-smart-1137192", token=token).status == 403
        uid = study["identifier"][0]["value"].removeprefix("urn:oid:")
        waiting = get(f"{open_endpoint['address']}/studies/{uid}")
        assert waiting.status == 503
        assert 1.0 < float(waiting.headers["retry-after"]) <= 1.5
        assert "." in waiting.headers["retry-after"]
        query = f"patient={PATIENT}&_include=ImagingStudy:endpoint"
        bundle = get(f"{sandbox.open_fhir_url}/ImagingStudy?{query}").json()
        assert bundle["entry"][-1]["search"]["mode"] == "include"


@pytest.mark.parametrize("personality", ["broker-2018", "smart-imaging"])
def test_our_client_gets_a_study_from_each(personality: str) -> None:
    with Sandbox(personality=personality, retry_after=1) as sandbox:
        # The broker's documents do not name where its images come from: say it.
        connection = sandbox.connect(PATIENT, allow_origins=[sandbox.wado_url])
        frame = connection.studies()
        assert len(frame) == 7
        knee = frame[frame.description == "MR knee without contrast"].iloc[0]
        study = connection.download(knee).result(60)
        assert len(study.paths) == 1
        assert len(connection.benefits()) == 57
        connection.close()


def test_an_unknown_personality_is_named() -> None:
    with pytest.raises(ValueError, match="broker-2018"):
        Sandbox(personality="pirate").start()


def test_errors_come_back_to_a_client_with_a_query_of_its_own() -> None:
    with Sandbox() as sandbox:
        back = "http://127.0.0.1:1/cb?tab=2"
        made = register(sandbox, redirect_uris=[back]).json()
        client = App(sandbox, made["client_id"], made["client_secret"])
        where = sandbox.approve(client.url(redirect_uri=back))
        query = parse_qs(urlsplit(where).query)
        assert query["tab"] == ["2"]
        assert query["state"] == ["st4te"]
