"""The whole sign-in and every search against the sandbox, in each of its personalities."""

from __future__ import annotations

import pytest

from s4s_notebook import Sandbox, errors
from s4s_notebook.fhir import search as fhir
from s4s_notebook.smart import registration as smart
from s4s_notebook.smart.discovery import discover
from s4s_notebook.smart.tokens import Tokens
from tests.faultserver.holder import transport_to

BACK = "http://127.0.0.1:9/callback"
PATIENT = "smart-1288992"


@pytest.fixture(params=["plain", "broker-2018", "smart-imaging"])
def sandbox(request):
    with Sandbox(personality=request.param, retry_after=0) as sandbox:
        yield sandbox


def test_sign_in_search_renew_revoke(sandbox):
    with transport_to(sandbox.fhir_url) as transport:
        at = discover(transport, sandbox.fhir_url)
        client = smart.register(transport, at, BACK)
        declined = smart.Login(at, client)
        with pytest.raises(errors.AccessDenied):
            declined.code_from(sandbox.approve(declined.url, patient=PATIENT, decline=True))
        login = smart.Login(at, client)
        code = login.code_from(sandbox.approve(login.url, patient=PATIENT))
        grant = smart.exchange(transport, at, client, login, code)
        assert grant.patient == PATIENT
        tokens = transport.tokens = Tokens(transport, at, client, grant)
        found = {}
        for kind, name in [
            ("ImagingStudy", "patient"),
            ("ExplanationOfBenefit", "patient"),
            ("Coverage", "beneficiary"),
        ]:
            base = at.imaging_base if kind == "ImagingStudy" else at.base
            pages = list(fhir.search(transport, base, kind, [(name, PATIENT)]))
            assert [page.problems for page in pages if page.problems] == []
            found[kind] = {fhir.key_of(each) for page in pages for each in page.resources}
            since = [(name, PATIENT), ("_lastUpdated", f"gt{fhir.instant(4e9)}")]
            later = list(fhir.search(transport, base, kind, since))
            assert sum(len(page.resources) for page in later) < len(found[kind])
        assert len(found["ExplanationOfBenefit"]) >= 40
        assert len(found["ImagingStudy"]) >= 3
        assert fhir.read(transport, at.base, "Patient", PATIENT)["id"] == PATIENT
        old = tokens.bearer()
        tokens.refresh(old)
        assert tokens.bearer() != old
        said = smart.revoke(transport, at, client, tokens.grant)
        assert said in ("revoked", at.manage)


def test_the_open_holder_needs_no_sign_in(sandbox):
    with transport_to(sandbox.open_fhir_url) as transport:
        at = discover(transport, sandbox.open_fhir_url, required=False)
        assert at.source == "none"
        (page, *_) = fhir.search(transport, at.base, "ImagingStudy", [("patient", PATIENT)])
        assert page.resources
    with transport_to(sandbox.open_fhir_url) as transport, pytest.raises(errors.DiscoveryError):
        discover(transport, sandbox.open_fhir_url)
