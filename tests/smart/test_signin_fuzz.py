"""Whatever a holder says about sign-in and search is understood, or ends in a typed error."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import example, given
from hypothesis import strategies as st

from s4s_notebook import errors
from s4s_notebook.fhir.resources import key_of, version_of
from s4s_notebook.fhir.search import read_page
from s4s_notebook.http.redact import Secret
from s4s_notebook.http.response import Response
from s4s_notebook.smart.authorization import Login
from s4s_notebook.smart.discovery import Holder, read_configuration, read_statement
from s4s_notebook.smart.token_endpoint import Client, Grant, oauth_error, read_grant
from s4s_notebook.smart.tokens import from_record, to_record

BASE = "https://h.example/fhir"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORDS = st.sampled_from(
    [
        "https://h.example/x",
        "http://127.0.0.1/x",
        "//evil",
        "smart-imaging-access",
        "Bundle",
        "ImagingStudy",
        "OperationOutcome",
        "next",
        "match",
        "include",
        "bearer",
        "S256",
        "token",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-2, 10**12) | st.floats(allow_nan=False) | TEXT
LEAVES = SCALARS | WORDS


def objects(*names: str, depth: int = 3) -> st.SearchStrategy[Any]:
    """JSON of any shape whose keys are mostly the ones that the reader looks for."""
    keys = st.sampled_from(names) | TEXT
    return st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=12,
    )


def reply_of(body: Any, status: int = 200) -> Response:
    raw = json.dumps(body).encode()
    request = errors.Request("GET", BASE, status)
    return Response(status, httpx.Headers(), f"{BASE}/ImagingStudy", raw, None, request)


CONFIGURATION = (
    "authorization_endpoint",
    "token_endpoint",
    "issuer",
    "capabilities",
    "associated_endpoints",
    "url",
    "code_challenge_methods_supported",
    "scopes_supported",
    "authorization_response_iss_parameter_supported",
)


@given(st.dictionaries(st.sampled_from(CONFIGURATION), objects(*CONFIGURATION), max_size=8))
@example({"associated_endpoints": 7})
@example({"associated_endpoints": [{"capabilities": ["smart-imaging-access"], "url": 7}]})
def test_any_configuration(body):
    try:
        found = read_configuration(body, BASE)
    except errors.DiscoveryError:
        return
    doors = [found.authorize, found.token, found.imaging_base, *found.imaging_origins]
    assert all(door is None or door.startswith("https://") for door in doors)


STATEMENT = ("rest", "security", "extension", "url", "valueUri", "fhirVersion")


@given(st.dictionaries(st.sampled_from(STATEMENT), objects(*STATEMENT), max_size=8))
def test_any_capability_statement(body):
    try:
        found = read_statement(body, BASE)
    except errors.DiscoveryError:
        return
    assert isinstance(found, Holder)


PAGE = (
    "resourceType",
    "entry",
    "resource",
    "fullUrl",
    "search",
    "mode",
    "link",
    "relation",
    "url",
    "total",
    "id",
    "meta",
    "issue",
    "identifier",
    "uid",
    "system",
    "value",
)
RESOURCE = st.dictionaries(st.sampled_from(PAGE), objects(*PAGE), max_size=6)
ENTRY = st.fixed_dictionaries(
    {}, optional={"resource": RESOURCE, "fullUrl": LEAVES, "search": RESOURCE}
)


@given(
    RESOURCE | st.fixed_dictionaries({"resourceType": st.just("Bundle"), "entry": st.lists(ENTRY)})
)
def test_any_page(body):
    try:
        page = read_page(reply_of(body), "ImagingStudy", BASE)
    except (errors.MalformedResponse, errors.TrustError):
        return
    entries = body.get("entry", [])
    came = len(page.resources) + len(page.included)
    assert came <= len(entries) <= came + len(page.problems)  # nothing is dropped in silence
    for resource in page.resources:
        assert key_of(resource).startswith("ImagingStudy/")
        assert version_of(resource)


TOKEN = ("access_token", "token_type", "expires_in", "refresh_token", "scope", "patient")


@given(st.dictionaries(st.sampled_from(TOKEN), objects(*TOKEN), max_size=6) | objects(*TOKEN))
@example({"access_token": "t", "token_type": "bearer", "patient": "x"})
def test_any_token_answer(body):
    try:
        grant = read_grant(reply_of(body), now=0.0, requested_scope="s")
    except errors.MalformedResponse:
        return
    assert grant.access_token.reveal().isascii()
    assert grant.scope
    record = to_record(Holder(BASE), Client("a", None, "r"), grant)
    assert from_record(Holder(BASE), json.loads(json.dumps(record)))[1] == grant


@given(objects("error", "error_description", "description"))
def test_any_oauth_error(body):
    told = oauth_error(reply_of(body, 400))
    assert len(told) < 2500
    assert not set("<>\n\r") & set(told)


@given(st.dictionaries(st.sampled_from(list(to_record(Holder(BASE), Client("a", None, "r"), Grant(
    Secret("t"), None, None, "s", None)))), LEAVES))  # fmt: skip
def test_any_record(changes):
    whole = to_record(
        Holder(BASE), Client("a", None, "r"), Grant(Secret("t"), None, None, "s", None)
    )
    kept = from_record(Holder(BASE), whole | changes)
    assert kept is None or kept[1].access_token.reveal()


LOGIN = Login(
    Holder(BASE, authorize="https://h.example/a", token="https://h.example/t"),
    Client("a", None, "https://app.example/back"),
)


@given(st.text() | TEXT.map("https://app.example/back?code=1&state={}".format))
@example("?")
@example("http://[bad/?state=1")
@example("?code=%ff%fe&state=%00")
def test_any_reply(text):
    try:
        LOGIN.code_from(text)
    except (errors.StateMismatch, errors.AccessDenied):
        return
    raise AssertionError("a reply without the state was taken")
