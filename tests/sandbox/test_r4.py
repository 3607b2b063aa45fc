"""The personalities in FHIR R4: every resource is valid, and clients of R4 start."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from s4s_notebook import Sandbox

from .conftest import get
from .test_consent import BACK, register
from .test_data import required_codes

PERSONALITIES = ["smart-imaging"]


def model(type_: str):
    module = importlib.import_module(f"fhir.resources.R4B.{type_.lower()}")
    return getattr(module, type_)


@pytest.fixture(scope="module", params=PERSONALITIES)
def holder(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(personality=request.param, retry_after=0) as sandbox:
        yield sandbox


def all_pages(url: str) -> list[dict]:
    resources = []
    while url:
        bundle = get(url).json()
        model("Bundle").model_validate(bundle)
        resources += [entry["resource"] for entry in bundle.get("entry", [])]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return resources


def test_every_resource_is_valid_r4(holder: Sandbox) -> None:
    statement = get(f"{holder.open_fhir_url}/metadata").json()
    types = [resource["type"] for resource in statement["rest"][0]["resource"]]
    assert {"Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit", "Endpoint"} <= set(types)
    count = 0
    for type_ in types:
        for resource in all_pages(f"{holder.open_fhir_url}/{type_}?_count=100"):
            valid = model(type_).model_validate(resource)
            assert required_codes(valid, resource, type_) == []
            assert json.loads(valid.model_dump_json()).keys() == resource.keys()
            count += 1
    assert count >= 213


def test_statements_and_outcomes_are_valid_r4(holder: Sandbox) -> None:
    for base in (holder.fhir_url, holder.open_fhir_url):
        statement = get(f"{base}/metadata").json()
        valid = model("CapabilityStatement").model_validate(statement)
        # ``format`` takes any media type beside the codes that the model lists.
        assert [p for p in required_codes(valid, statement) if not p.startswith(".format=")] == []
        assert statement["fhirVersion"] == "4.0.1"
    outcome = get(f"{holder.open_fhir_url}/Patient/nobody").json()
    assert required_codes(model("OperationOutcome").model_validate(outcome), outcome) == []


def test_the_amounts_of_a_claim_are_those_of_stu3() -> None:
    def amounts(value: object) -> list[float]:
        if isinstance(value, list):
            return [amount for item in value for amount in amounts(item)]
        if not isinstance(value, dict):
            return []
        if "currency" in value or value.get("code") == "USD":
            return [value["value"]]
        return [amount for item in value.values() for amount in amounts(item)]

    with Sandbox() as plain, Sandbox(personality="smart-imaging") as newer:
        older = all_claims(plain)
        converted = all_claims(newer)
    assert older.keys() == converted.keys()
    for id_, claim in older.items():
        assert sorted(amounts(claim)) == sorted(amounts(converted[id_]))
        assert len(claim["item"]) == len(converted[id_]["item"])
        assert claim.get("diagnosis") == converted[id_].get("diagnosis")


def all_claims(sandbox: Sandbox) -> dict[str, dict]:
    url, claims = f"{sandbox.open_fhir_url}/ExplanationOfBenefit?_count=100", {}
    while url:
        bundle = get(url).json()
        claims |= {entry["resource"]["id"]: entry["resource"] for entry in bundle["entry"]}
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return claims


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_smarts_own_python_client_signs_in_and_reads(holder: Sandbox) -> None:
    from fhirclient.client import FHIRClient
    from fhirclient.models.explanationofbenefit import ExplanationOfBenefit
    from fhirclient.models.imagingstudy import ImagingStudy
    from fhirclient.models.patient import Patient

    registered = register(holder).json()
    smart = FHIRClient(
        settings={
            "app_id": registered["client_id"],
            "app_secret": registered["client_secret"],
            "api_base": holder.fhir_url,
            "redirect_uri": BACK,
            "scope": "launch/patient patient/*.rs offline_access",
        }
    )
    assert smart.prepare() is False
    back = holder.approve(smart.authorize_url)
    assert {"code", "state"} <= set(parse_qs(urlsplit(back).query))
    smart.handle_callback(back)
    assert smart.ready
    assert smart.patient.id == "smart-1288992"
    assert Patient.read("smart-1288992", smart.server).birthDate.isostring == "1935-12-23"
    search = {"patient": "smart-1288992"}
    assert len(list(ImagingStudy.where(search).perform_resources_iter(smart.server))) == 7
    claims = list(ExplanationOfBenefit.where(search).perform_resources_iter(smart.server))
    assert len(claims) == len(holder.resources("ExplanationOfBenefit", "smart-1288992"))
    assert all(claim.use == "claim" for claim in claims)
