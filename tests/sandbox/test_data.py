"""What the sandbox holds: valid STU3, the same in every run, and true to Blue Button's shape."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pydicom
import pytest
from fhir.resources.STU3.bundle import Bundle
from fhir.resources.STU3.capabilitystatement import CapabilityStatement
from fhir.resources.STU3.coverage import Coverage
from fhir.resources.STU3.endpoint import Endpoint
from fhir.resources.STU3.explanationofbenefit import ExplanationOfBenefit
from fhir.resources.STU3.imagingstudy import ImagingStudy
from fhir.resources.STU3.operationoutcome import OperationOutcome
from fhir.resources.STU3.patient import Patient

from s4s_notebook import Sandbox
from s4s_notebook.sandbox.data.archive import SampleArchive, package_folder

from .conftest import get

MODELS = {
    "Patient": Patient,
    "Coverage": Coverage,
    "ImagingStudy": ImagingStudy,
    "ExplanationOfBenefit": ExplanationOfBenefit,
    "Endpoint": Endpoint,
}


def all_pages(url: str) -> list[dict]:
    resources = []
    while url:
        bundle = get(url).json()
        Bundle.model_validate(bundle)
        resources += [e["resource"] for e in bundle.get("entry", [])]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return resources


def required_codes(model, resource: dict, path: str = "") -> list[str]:
    """Codes outside their required value set: the model itself does not look."""
    problems = []
    for name, field in type(model).model_fields.items():
        allowed = (field.json_schema_extra or {}).get("enum_values")
        value = getattr(model, name, None)
        if allowed and value is not None and value not in allowed:
            problems.append(f"{path}.{name}={value}")
        for item in value if isinstance(value, list) else [value]:
            if hasattr(type(item), "model_fields"):
                problems += required_codes(item, resource, f"{path}.{name}")
    return problems


@pytest.mark.parametrize("type_", MODELS)
def test_every_resource_is_valid_stu3(shop: Sandbox, type_: str) -> None:
    resources = all_pages(f"{shop.open_fhir_url}/{type_}?_count=100")
    assert len(resources) >= 4
    for resource in resources:
        model = MODELS[type_].model_validate(resource)
        assert required_codes(model, resource, type_) == []


def test_statements_and_outcomes_are_valid_stu3(shop: Sandbox) -> None:
    for base in (shop.fhir_url, shop.open_fhir_url):
        CapabilityStatement.model_validate(get(f"{base}/metadata").json())
    OperationOutcome.model_validate(get(f"{shop.open_fhir_url}/Patient/nobody").json())


def test_contained_references_lead_somewhere(shop: Sandbox) -> None:
    for study in all_pages(f"{shop.open_fhir_url}/ImagingStudy?_count=100"):
        local = {f"#{c['id']}" for c in study.get("contained", [])}
        assert {e["reference"] for e in study.get("endpoint", [])} <= local
        if study["availability"] == "ONLINE":
            assert local


def test_the_invariants_that_matter(shop: Sandbox) -> None:
    """Counts agree, links inside a claim lead to something, references outside it too."""
    ids = {
        f"{kind}/{r['id']}"
        for kind in ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit")
        for r in shop.resources(kind)
    }
    assert all(re.fullmatch(r"[A-Za-z]+/[A-Za-z0-9.\-]{1,64}", name) for name in ids)
    for study in shop.resources("ImagingStudy"):
        assert study["patient"]["reference"] in ids
        assert study["numberOfSeries"] == len(study["series"])
        counts = [s["numberOfInstances"] for s in study["series"]]
        assert study["numberOfInstances"] == sum(counts)
        assert counts == [len(s.get("instance", [])) for s in study["series"]]
        uids = [i["uid"] for s in study["series"] for i in s.get("instance", [])]
        assert len(uids) == len(set(uids))
    for claim in shop.resources("ExplanationOfBenefit"):
        assert claim["patient"]["reference"] in ids
        assert claim["insurance"]["coverage"]["reference"] in ids
        team = {member["sequence"] for member in claim["careTeam"]}
        problems = {entry["sequence"] for entry in claim.get("diagnosis", [])}
        lines = [line["sequence"] for line in claim["item"]]
        assert lines == list(range(1, len(lines) + 1))
        for line in claim["item"]:
            assert set(line.get("careTeamLinkId", [])) <= team
            assert set(line.get("diagnosisLinkId", [])) <= problems
        period = claim["billablePeriod"]
        assert period["start"] <= period["end"] <= claim["meta"]["lastUpdated"]


def test_same_seed_same_data_other_seed_other_claims() -> None:
    def dump(seed: int) -> str:
        with Sandbox(seed=seed) as sandbox:
            kinds = ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit")
            return json.dumps([sandbox.resources(kind) for kind in kinds])

    assert dump(1) == dump(1)
    assert dump(1) != dump(2)


def test_forty_claims_a_patient_in_four_kinds(shop: Sandbox) -> None:
    for patient in shop.patients[:3]:
        claims = shop.resources("ExplanationOfBenefit", patient)
        assert len(claims) >= 40
        kinds = {c["id"].partition("-")[0] for c in claims}
        assert kinds == {"carrier", "outpatient", "inpatient", "pde"}
    assert shop.resources("ExplanationOfBenefit", "smart-9999999") == []


def test_studies_cover_the_kinds_that_workshops_need(shop: Sandbox) -> None:
    codes = {m["code"] for s in shop.resources("ImagingStudy") for m in s["modalityList"]}
    assert {"CT", "MR", "US", "CR", "DX", "MG", "NM", "SR", "OT"} <= codes
    first_ct = next(
        s
        for s in shop.resources("ImagingStudy", "smart-1288992")
        if s["modalityList"][0]["code"] == "CT"
    )
    assert (first_ct["description"], first_ct["numberOfInstances"]) == (
        "CT chest without contrast",
        60,
    )


def test_shipped_files_are_pydicoms_own_bytes() -> None:
    archive = SampleArchive(("smart-1288992", "smart-1137192", "smart-1551992"))
    shipped = [s for s in archive.studies() if s.phantom is None and s.available]
    assert len(shipped) >= 15
    syntaxes, photometric = set(), set()
    for study in shipped:
        for _, instance in study.instances():
            assert isinstance(instance.path, Path)
            assert instance.path.is_relative_to(package_folder())
            header = pydicom.dcmread(instance.path, stop_before_pixels=True)
            assert header.StudyInstanceUID == study.uid
            assert header.SOPInstanceUID == instance.uid
            syntaxes.add(str(header.file_meta.TransferSyntaxUID))
            photometric.add(header.get("PhotometricInterpretation"))
    assert len(syntaxes) >= 4
    assert {"MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL_422"} <= photometric


def amount(entry: dict, variable: str) -> float | None:
    for adjudication in entry["adjudication"]:
        if adjudication["category"]["coding"][0]["code"].endswith(f"/{variable}"):
            return adjudication.get("amount", {}).get("value")
    return None


def test_money_adds_up(shop: Sandbox) -> None:
    for claim in shop.resources("ExplanationOfBenefit"):
        kind = claim["id"].partition("-")[0]
        if kind == "carrier":
            lines = sum(amount(i, "line_nch_pmt_amt") for i in claim["item"])
            assert lines == pytest.approx(claim["payment"]["amount"]["value"], abs=0.011)
        if kind in ("outpatient", "inpatient"):
            *lines, total = claim["item"]
            assert total["revenue"]["coding"][0]["code"] == "0001"
            charges = sum(amount(i, "rev_cntr_tot_chrg_amt") for i in lines)
            assert charges == pytest.approx(claim["totalCost"]["value"], abs=0.02)
            assert amount(total, "rev_cntr_tot_chrg_amt") == claim["totalCost"]["value"]


def test_truth_names_real_lines_and_studies(shop: Sandbox) -> None:
    claims = {c["id"]: c for c in shop.resources("ExplanationOfBenefit")}
    studies = {s["uid"].removeprefix("urn:oid:"): s for s in shop.resources("ImagingStudy")}
    truth = shop.truth
    assert len(truth.payments) >= 25
    assert len(truth.non_matches) >= 8
    for payment in truth.payments:
        line = claims[payment.claim]["item"][payment.line - 1]
        assert line["sequence"] == payment.line
        owner = f"Patient/{payment.patient_id}"
        assert claims[payment.claim]["patient"]["reference"] == owner
        assert studies[payment.study_uid]["patient"]["reference"] == owner
        if payment.component != "stay":
            code = line["service"]["coding"][0]["code"]
            assert 70010 <= int(code) <= 79999
    components = {p.component for p in truth.payments}
    assert components == {"global", "professional", "technical", "stay"}
    paid_or_not = {p.study_uid for p in truth.payments} | set(truth.unpaid)
    assert paid_or_not == set(studies)


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("kind", ["carrier", "outpatient", "inpatient", "pde"])
def test_claims_have_no_element_that_blue_button_lacks(
    shop: Sandbox, shared_data: Path, kind: str
) -> None:
    """Each path of ours is one that CMS's own server writes, but for what STU3 demands."""
    folder = shared_data / "fhir"
    seen: set[str] = set()
    for source in ("cms-bfd-v1-stu3", "cms-bb2-web-v1-stu3"):
        for file in sorted((folder / source).glob("eob*.json")):
            document = json.loads(file.read_text())
            resources = [e["resource"] for e in document.get("entry", [])] or [document]
            for resource in resources:
                seen |= paths(resource)
    ours: set[str] = set()
    for claim in shop.resources("ExplanationOfBenefit"):
        if claim["id"].startswith(kind):
            ours |= paths(claim)
    demanded = {
        "meta.versionId",
        "diagnosis.packageCode",
        "item.detail.sequence",
        "item.detail.type.coding.display",
    }
    extra = {p for p in ours - seen if not any(p.startswith(d) for d in demanded)}
    assert extra == set()


def paths(value: object, path: str = "") -> set[str]:
    if isinstance(value, dict):
        names = set()
        for key, inner in value.items():
            names |= paths(inner, f"{path}.{key}" if path else key)
        return names
    if isinstance(value, list):
        return set().union(*(paths(inner, path) for inner in value)) if value else set()
    return {path}
