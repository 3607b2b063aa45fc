"""The table never says ``downloadable`` of what a download denies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from s4s_notebook import errors, tables
from s4s_notebook.fhir.endpoints import endpoints, study_url
from s4s_notebook.fhir.resources import study_uid
from s4s_notebook.http.client import Transport
from tests.faultserver import FaultServer
from tests.faultserver.fixtures import FakeTokens, Make
from tests.tables import sources

UID = "1.2.840.1"
ADDRESS = "https://images.example/wado"
WADO = "dicom-wado-rs"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "fhir"

UIDS: dict[str, dict[str, Any]] = {
    "STU3": {"uid": f"urn:oid:{UID}"},
    "STU3, bare": {"uid": UID},
    "R4": {"identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{UID}"}]},
    "R4, bare": {"identifier": [{"system": "urn:dicom:uid", "value": UID}]},
    "any URN": {"identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{UID}"}]},
    "any URN, after another": {
        "identifier": [
            {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:6a1f8e3c"},
            {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{UID}"},
        ]
    },
    "not in a list": {"identifier": {"system": "urn:dicom:uid", "value": UID}},
    "with a space": {"uid": f"{UID} "},
    "one component": {"uid": "12"},
    "no UID": {"uid": "urn:uuid:1"},
    "none": {},
}
CONNECTION_TYPES: dict[str, Any] = {
    "Coding": {"code": WADO},
    "CodeableConcept": {"coding": [{"code": WADO}]},
    "CodeableConcept, coding not in a list": {"coding": {"code": WADO}},
    "list of Coding": [{"code": WADO}],
    "list of CodeableConcept": [{"coding": [{"code": "ihe-iid"}]}, {"coding": [{"code": WADO}]}],
    "another": {"code": "dicom-wado-uri"},
    "text": WADO,
    "none": None,
}
ENDPOINTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "off": {"status": "off"},
    "odd status": {"status": ["active"]},
    "spaces": {"address": f" {ADDRESS} "},
    "this study": {"address": f"{ADDRESS}/studies/{UID}"},
    "another study": {"address": f"{ADDRESS}/studies/1.2.3.4"},
    "no address": {"address": " "},
    "another type": {"resourceType": "Organization"},
}
REFERENCES = {"contained": "#e", "included": "Endpoint/e", "versioned": "Endpoint/e/_history/2"}
REAL = [
    "hl7-r4", "hl7-stu3", "ms-fhir-server-stu3", "odd", "synthea-r4-smart",
    "synthea-stu3-derived",
]  # fmt: skip


def shape(uid: str, kind: str, endpoint: str, reference: str) -> list[dict[str, Any]]:
    """A study and its Endpoint, as resources of one answer."""
    resource = {
        "resourceType": "Endpoint",
        "id": "e",
        "status": "active",
        "connectionType": CONNECTION_TYPES[kind],
        "address": ADDRESS,
    } | ENDPOINTS[endpoint]
    study = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "endpoint": [{"reference": REFERENCES[reference]}],
        **UIDS[uid],
    }
    if reference == "contained":
        return [study | {"contained": [resource]}]
    return [study, resource]


def shapes() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for names in product(UIDS, CONNECTION_TYPES, ENDPOINTS, REFERENCES):
        yield " / ".join(names), shape(*names)


def denial(transport: Transport, server: FaultServer, resources: list[dict[str, Any]]) -> str:
    """Why the first study cannot be downloaded; empty where it can."""
    study = next(r for r in resources if r["resourceType"] == "ImagingStudy")
    included = [r for r in resources if r["resourceType"] == "Endpoint"]
    try:
        uid = study_uid(study)
        study_url(endpoints(transport, study, included, server.base)[0].address, uid)
    except errors.S4SError as error:
        return str(error)
    return ""


def downloadable(resources: list[dict[str, Any]]) -> bool | None:
    value = tables.studies(resources).downloadable.iloc[0]
    return None if pd.isna(value) else bool(value)


def test_a_table_and_a_download_agree_about_every_shape(server: FaultServer, make: Make) -> None:
    builder = tables.builder("studies")
    for name, resources in shapes():
        builder.add(resources, participant=name)
    offered = builder.frames()["studies"].set_index("participant").downloadable
    transport = make(tokens=FakeTokens("abc"))
    reasons = {name: denial(transport, server, resources) for name, resources in shapes()}
    assert len(offered) == len(reasons)
    for name, reason in reasons.items():
        if "another type" in name:  # such a reference must be asked for
            assert pd.isna(offered[name]) or not offered[name], name
        else:
            assert offered[name] == (not reason), (name, reason)
    assert 300 < sum(not reason for reason in reasons.values()) < len(reasons) - 300


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        ("any URN", "Coding"),
        ("R4", "CodeableConcept"),
        ("R4", "CodeableConcept, coding not in a list"),
        ("STU3", "list of CodeableConcept"),
    ],
)
@pytest.mark.parametrize("reference", REFERENCES)
def test_what_the_table_offers_is_downloadable(
    server: FaultServer, make: Make, uid: str, kind: str, reference: str
) -> None:
    resources = shape(uid, kind, "plain", reference)
    assert denial(make(tokens=FakeTokens("abc")), server, resources) == ""
    assert downloadable(resources) is True
    assert tables.studies(resources).endpoint.iloc[0] == ADDRESS


@pytest.mark.parametrize("endpoint", ["off", "another study"])
def test_what_a_download_denies_is_not_offered(
    server: FaultServer, make: Make, endpoint: str
) -> None:
    for reference in REFERENCES:
        resources = shape("STU3", "Coding", endpoint, reference)
        assert denial(make(tokens=FakeTokens("abc")), server, resources)
        assert downloadable(resources) is False


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("folder", REAL)
def test_real_studies(server: FaultServer, make: Make, folder: str) -> None:
    resources = sources.read(SHARED / folder)
    included = [r for r in resources if r["resourceType"] == "Endpoint"]
    studies = [r for r in resources if r["resourceType"] == "ImagingStudy"]
    assert studies
    for study in studies:
        offered = downloadable([study, *included])
        if offered:
            assert denial(make(tokens=FakeTokens("abc")), server, [study, *included]) == ""
