"""I03: schemathesis over every route: whatever comes in, no 5xx goes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis

from s4s_notebook import Sandbox

TEXT = {"type": "string"}
UIDS = {"type": "string", "minLength": 1}


def query(*names: str, required: bool = False) -> list[dict[str, Any]]:
    return [{"name": n, "in": "query", "required": required, "schema": TEXT} for n in names]


def in_path(*names: str) -> list[dict[str, Any]]:
    return [{"name": n, "in": "path", "required": True, "schema": UIDS} for n in names]


def operation(parameters: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"parameters": parameters, "responses": {"200": {"description": "ok"}}, **more}


def form(*names: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict.fromkeys(names, TEXT)}
    return {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": schema}}}}


def json_body() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "client_name": {},
            "redirect_uris": {},
            "scope": {},
            "token_endpoint_auth_method": {},
            "client_id": {},
            "username": {},
            "patient_id": {},
            "access_lifetime": {},
            "approval_expires": {},
        },
    }
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}


SEARCH = query("patient", "beneficiary", "_id", "identifier", "started", "_lastUpdated", "_count",
               "startIndex", "_include", "_format", "_summary")  # fmt: skip
AUTHORIZE = query("response_type", "client_id", "redirect_uri", "scope", "state", "aud",
                  "code_challenge", "code_challenge_method")  # fmt: skip
TOKEN = ("grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret",
         "refresh_token", "scope", "token")  # fmt: skip


def fhir_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/oauth/authorize": {
            "get": operation(AUTHORIZE),
            "post": operation([], **form("transaction", "csrf", "decision", "patient", "share")),
        },
        "/oauth/manage": {"get": operation([]), "post": operation([], **form("csrf", "approval"))},
        "/oauth/token": {"post": operation([], **form(*TOKEN))},
        "/oauth/revoke": {"post": operation([], **form(*TOKEN))},
        "/oauth/introspect": {"post": operation([], **form(*TOKEN))},
        "/oauth/register": {"post": operation([], **json_body())},
        "/oauth/debug/token": {"post": operation([], **json_body())},
        "/oauth/debug/introspect": {"get": operation(query("token"))},
        "/.well-known/oauth-authorization-server/api/fhir": {"get": operation([])},
        "/api/fhir/.well-known/smart-configuration": {"get": operation([])},
    }
    for base in ("/api/fhir", "/api/open-fhir"):
        paths[f"{base}/metadata"] = {"get": operation(query("_format"))}
        for type_ in ("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit", "Endpoint"):
            paths[f"{base}/{type_}"] = {"get": operation(SEARCH)}
        paths[f"{base}/{{type}}/{{id}}"] = {"get": operation(in_path("type", "id"))}
        paths[f"{base}/{{type}}/_search"] = {
            "post": operation(in_path("type"), **form("patient", "_count", "_lastUpdated"))
        }
    return paths


def wado_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for gate, names in (("", ()), ("/Patient/{p}/$wado-rs", ("p",)),
                        ("/open/Patient/{p}/$wado-rs", ("p",))):  # fmt: skip
        for place, more in (
            ("/studies/{s}", ("s",)),
            ("/studies/{s}/series/{x}", ("s", "x")),
            ("/studies/{s}/series/{x}/instances/{i}", ("s", "x", "i")),
        ):
            for end in ("", "/metadata"):
                accept = {"name": "Accept", "in": "header", "schema": TEXT}
                parameters = [*in_path(*names, *more), accept]
                paths[f"{gate}{place}{end}"] = {"get": operation(parameters)}
        for place, more in (
            ("/studies/{s}/series", ("s",)),
            ("/studies/{s}/instances", ("s",)),
            ("/studies/{s}/series/{x}/instances", ("s", "x")),
        ):
            keys = [
                {"name": name, "in": "query", "schema": TEXT}
                for name in ("limit", "offset", "Modality")
            ]
            paths[f"{gate}{place}"] = {"get": operation([*in_path(*names, *more), *keys])}
    return paths


def schema_of(paths: dict[str, Any], url: str) -> Any:
    document = {"openapi": "3.0.3", "info": {"title": "s", "version": "1"}, "paths": paths}
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    return schema


@pytest.fixture(scope="module")
def target() -> Iterator[Sandbox]:
    with Sandbox(retry_after=0) as sandbox:
        yield sandbox


@pytest.mark.fault("I03")
@pytest.mark.parametrize("which", ["fhir", "wado"])
@pytest.mark.parametrize("signed_in", [False, True])
def test_no_route_answers_5xx(target: Sandbox, which: str, signed_in: bool) -> None:
    url = target.fhir_url.removesuffix("/api/fhir") if which == "fhir" else target.wado_url
    schema = schema_of(fhir_paths() if which == "fhir" else wado_paths(), url)
    headers = {"Authorization": f"Bearer {target.token('smart-1288992')}"} if signed_in else {}
    asked = 0
    for result in schema.get_all_operations():
        api = result.ok()

        @hypothesis.settings(
            max_examples=25,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=api.as_strategy())
        def every(case: Any) -> None:
            nonlocal asked
            asked += 1
            answer = case.call(base_url=url, headers=headers)
            assert answer.status_code < 500, (case.method, case.path, answer.status_code)

        every()
    assert asked > 200
    assert all(record.status < 500 for record in target.requests)
