"""SMART scopes of both versions: what is listed is granted, and what is granted holds."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from s4s_notebook import Sandbox
from s4s_notebook.sandbox.scopes import allows, grantable_scopes, narrowed

from .conftest import get
from .test_consent import App, app

TYPES = ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit", "Endpoint")


def granted(client: App, scope: str, **options) -> dict:
    where = client.sandbox.approve(client.url(scope=scope), **options)
    query = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
    if "error" in query:
        return query
    return dict(client.redeem(query["code"]).json())


def supported(sandbox: Sandbox) -> list[str]:
    smart = get(f"{sandbox.fhir_url}/.well-known/smart-configuration").json()
    return list(smart["scopes_supported"])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_each_listed_scope_is_granted_and_no_scope_of_the_other_version(version: str) -> None:
    with Sandbox(scope_versions=(version,)) as sandbox:
        client = app(sandbox)
        smart = get(f"{sandbox.fhir_url}/.well-known/smart-configuration").json()
        assert [c for c in smart["capabilities"] if c.startswith("permission-v")] == [
            f"permission-{version}"
        ]
        listed = smart["scopes_supported"]
        assert granted(client, " ".join(listed))["scope"].split() == listed
        for scope in listed:
            if scope.startswith("patient/") and "Endpoint" not in scope:
                assert granted(client, scope)["scope"] == scope
        other = {"v1": "patient/*.rs", "v2": "patient/*.read"}[version]
        assert granted(client, other)["error"] == "invalid_scope"
        mixed = f"launch/patient {other} {listed[2]}"
        assert granted(client, mixed)["scope"] == f"launch/patient {listed[2]}"


def test_version_2_separates_reading_from_searching(shop: Sandbox) -> None:
    client = app(shop)
    scope = "patient/Patient.r patient/ImagingStudy.s patient/Coverage.cruds"
    grant = granted(client, scope)
    assert grant["scope"] == "patient/Patient.r patient/ImagingStudy.s patient/Coverage.rs"
    token, base = grant["access_token"], shop.fhir_url
    study = shop.resources("ImagingStudy", "smart-1288992")[0]["id"]
    answers = {
        path: get(f"{base}/{path}", token=token).status
        for path in (
            "Patient/smart-1288992",
            "Patient",
            f"ImagingStudy/{study}",
            "ImagingStudy",
            "Coverage",
            "Coverage/part-a-smart-1288992",
            "ExplanationOfBenefit",
        )
    }
    assert list(answers.values()) == [200, 403, 403, 200, 200, 200, 403]


def test_unticked_types_leave_the_scopes_of_the_others(shop: Sandbox) -> None:
    scope = "launch/patient patient/*.rs patient/Endpoint.r"
    grant = granted(app(shop), scope, share=["ImagingStudy"])
    assert grant["scope"] == "launch/patient patient/ImagingStudy.rs patient/Endpoint.r"
    assert narrowed(scope.split(), ["Coverage"]) == ("launch/patient", "patient/Coverage.rs")


@pytest.mark.parametrize(
    ("scope", "result"),
    [
        ("patient/*.*", ("patient/*.read",)),
        ("patient/*.cruds", ("patient/*.rs",)),
        ("patient/*.r patient/*.r", ("patient/*.r",)),
        ("patient/*.sr", ()),
        ("patient/*.", ()),
        ("patient/*.write patient/*.cud", ()),
        ("patient/Observation.rs patient/patient.rs user/*.rs", ()),
        ("patient/Coverage.rs?status=active", ()),
        ("patient/Coverage.rs\n", ()),
        ("openid fhirUser launch offline_access", ("offline_access",)),
    ],
)
def test_scopes_that_are_wider_odd_or_unknown(scope: str, result: tuple[str, ...]) -> None:
    assert grantable_scopes(scope.split(" "), TYPES) == result


def test_endpoints_come_with_their_studies() -> None:
    assert allows(["patient/ImagingStudy.rs"], "Endpoint", "r")
    assert not allows(["patient/ImagingStudy.s"], "Endpoint", "r")
    assert not allows(["patient/Coverage.rs", "launch/patient"], "Endpoint", "r")
