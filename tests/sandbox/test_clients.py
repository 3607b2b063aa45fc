"""Clients that others wrote, against the sandbox over real HTTP."""

from __future__ import annotations

import urllib.parse

import pytest
from authlib.integrations.requests_client import OAuth2Session
from dicomweb_client.api import DICOMwebClient
from fhirpy import SyncFHIRClient

from s4s_notebook import Sandbox

from .test_consent import BACK, SCOPE, register

# fhirpy opens a session of requests for each call and leaves it to the garbage collector.
LEAKY = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",
    "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning",
)


@LEAKY
def test_fhirpy_searches_page_by_page(shop: Sandbox) -> None:
    client = SyncFHIRClient(shop.fhir_url, authorization=f"Bearer {shop.token('smart-1288992')}")
    claims = client.resources("ExplanationOfBenefit").search(patient="smart-1288992").limit(10)
    assert len(claims.fetch_all()) == 57
    assert len(claims.fetch()) == 10
    studies = client.resources("ImagingStudy").search(patient="smart-1288992")
    assert {s["uid"] for s in studies.fetch_all()} == {
        s["uid"] for s in shop.resources("ImagingStudy", "smart-1288992")
    }
    assert studies.count() == 7
    assert client.reference("Patient", "smart-1288992").to_resource()["birthDate"] == "1935-12-23"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib.*")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_authlib_signs_in_refreshes_and_revokes(shop: Sandbox, method: str) -> None:
    made = register(shop, token_endpoint_auth_method=method).json()
    origin = shop.fhir_url.removesuffix("/api/fhir")
    with OAuth2Session(
        made["client_id"],
        made.get("client_secret"),
        scope=SCOPE,
        redirect_uri=BACK,
        token_endpoint_auth_method=method,
        code_challenge_method="S256",
        revocation_endpoint_auth_method=method,
    ) as session:
        verifier = "a" * 64
        url, _ = session.create_authorization_url(
            f"{origin}/oauth/authorize", code_verifier=verifier, aud=shop.fhir_url
        )
        back = shop.approve(url)
        token = session.fetch_token(
            f"{origin}/oauth/token", authorization_response=back, code_verifier=verifier
        )
        assert token["patient"] == "smart-1288992"
        answer = session.get(f"{shop.fhir_url}/Patient/smart-1288992")
        assert answer.status_code == 200
        newer = session.refresh_token(f"{origin}/oauth/token")
        assert newer["refresh_token"] != token["refresh_token"]
        assert session.get(f"{shop.fhir_url}/Patient/smart-1288992").status_code == 200
        session.revoke_token(f"{origin}/oauth/revoke", token=newer["refresh_token"])
        assert session.get(f"{shop.fhir_url}/Patient/smart-1288992").status_code == 401


@pytest.mark.parametrize("slash", ["", "/"])
def test_dicomweb_client_reads_studies(shop: Sandbox, slash: str) -> None:
    study = next(
        s for s in shop.resources("ImagingStudy") if s["description"] == "MR angiography, brain"
    )
    uid = study["uid"].removeprefix("urn:oid:")
    token = shop.token("smart-1137192")
    client = DICOMwebClient(
        shop.wado_base("smart-1137192") + slash,
        headers={"Authorization": f"Bearer {token}"},
    )
    datasets = client.retrieve_study(uid)
    assert len(datasets) == study["numberOfInstances"]
    assert {str(d.StudyInstanceUID) for d in datasets} == {uid}
    series = study["series"][0]
    series_uid = series["uid"].removeprefix("urn:oid:")
    assert len(client.retrieve_series(uid, series_uid)) == series["numberOfInstances"]
    instance_uid = series["instance"][0]["uid"].removeprefix("urn:oid:")
    single = client.retrieve_instance(uid, series_uid, instance_uid)
    assert single.SOPInstanceUID == instance_uid
    assert len(client.retrieve_study_metadata(uid)) == study["numberOfInstances"]


@LEAKY
def test_links_are_percent_encoded_absolute_urls(shop: Sandbox) -> None:
    client = SyncFHIRClient(shop.open_fhir_url)
    bundle = client.execute(
        "ExplanationOfBenefit",
        method="get",
        params={"patient": "smart-1288992", "_lastUpdated": "gt2014-01-01T00:00:00+01:00"},
    )
    link = next(x["url"] for x in bundle["link"] if x["relation"] == "next")
    assert "%2B01%3A00" in link or "%2B01:00" in link
    assert urllib.parse.urlsplit(link).scheme == "http"
