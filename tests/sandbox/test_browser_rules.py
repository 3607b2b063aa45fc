"""What browsers may do: read other origins where SMART allows it, and nothing by a foreign name."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from s4s_notebook import Sandbox

from .conftest import call, get
from .test_consent import BACK, app, register

APP = "https://app.example"


def origin_of(sandbox: Sandbox) -> str:
    return sandbox.fhir_url.removesuffix("/api/fhir")


def allowed(answer) -> str | None:
    return answer.headers.get("access-control-allow-origin")


def test_any_origin_may_read_discovery_and_the_open_face(shop: Sandbox) -> None:
    foreign = {"Origin": "https://other.example"}
    for url in (
        f"{shop.fhir_url}/.well-known/smart-configuration",
        f"{shop.fhir_url}/metadata",
        f"{origin_of(shop)}/.well-known/oauth-authorization-server/api/fhir",
        f"{shop.open_fhir_url}/ImagingStudy?patient=smart-1288992",
        f"{shop.wado_base('smart-1288992', open_=True)}/studies/1.2",
    ):
        answer = get(url, headers=foreign)
        assert (allowed(answer), answer.headers["vary"]) == ("*", "Origin"), url
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert allowed(get(f"{shop.fhir_url}/metadata")) is None


def test_only_registered_origins_may_use_tokens(fresh: Sandbox) -> None:
    token = fresh.token("smart-1288992")
    urls = [
        f"{fresh.fhir_url}/Patient",
        f"{origin_of(fresh)}/oauth/token",
        f"{fresh.wado_base('smart-1288992')}/studies/1.2",
    ]

    def seen(origin: str) -> set[str | None]:
        return {allowed(get(url, token=token, headers={"Origin": origin})) for url in urls}

    assert seen(APP) == {None}
    assert register(fresh, redirect_uris=[f"{APP}/callback"]).status == 201
    assert seen(APP) == {APP}
    assert seen("https://other.example") == seen("null") == {None}
    # A refusal is readable too, or the app could not tell why.
    refused = get(urls[0], headers={"Origin": APP})
    assert (refused.status, allowed(refused)) == (401, APP)


def test_a_preflight_request_is_answered_without_a_token(fresh: Sandbox) -> None:
    register(fresh, redirect_uris=[f"{APP}/callback"])
    asked = {
        "Origin": APP,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = call("OPTIONS", f"{fresh.fhir_url}/ImagingStudy", headers=asked)
    assert (answer.status, allowed(answer)) == (204, APP)
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    other = {**asked, "Origin": "https://other.example"}
    assert call("OPTIONS", f"{fresh.fhir_url}/ImagingStudy", headers=other).status == 403


def test_the_pages_for_people_are_closed_to_scripts(shop: Sandbox) -> None:
    for path in ("oauth/authorize", "oauth/manage", "oauth/debug/introspect?token=x"):
        answer = get(f"{origin_of(shop)}/{path}", headers={"Origin": BACK.rpartition("/")[0]})
        assert allowed(answer) is None


def test_an_authorization_request_may_be_a_post(shop: Sandbox) -> None:
    client = app(shop)
    smart = get(f"{shop.fhir_url}/.well-known/smart-configuration").json()
    assert "authorize-post" in smart["capabilities"]
    url, _, query = client.url().partition("?")
    page = call("POST", url, form={k: v[0] for k, v in parse_qs(query).items()})
    assert (page.status, b"Who are you?" in page.body) == (200, True)
    by_get = get(client.url())
    assert page.body.count(b"<input") == by_get.body.count(b"<input")
    wrong = call("POST", url, form={**{k: v[0] for k, v in parse_qs(query).items()}, "aud": "x"})
    assert parse_qs(urlsplit(wrong.headers["location"]).query)["error"] == ["invalid_request"]
    assert call("POST", url, form={"client_id": "nobody"}).status == 400


def under(sandbox: Sandbox, host: str, path: str = "/api/open-fhir/Patient", **headers: str) -> int:
    parts = urlsplit(sandbox.fhir_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        port = str(parts.port)
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host.replace("PORT", port))
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.fault("L09")
@pytest.mark.parametrize(
    "host",
    ["evil.example:PORT", "evil.example", "127.0.0.1.evil.example:PORT", "localhost.evil:PORT",
     "10.0.0.1:PORT", "127.0.0.1:PORT@evil.example", "[::ffff:10.0.0.1]:PORT", "", "127.1:x"],
)  # fmt: skip
def test_a_foreign_host_name_is_refused_on_both_servers(shop: Sandbox, host: str) -> None:
    assert under(shop, host) == 421
    assert under(shop, host, "/api/fhir/metadata") == 421
    assert under(shop, host, "/oauth/manage") == 421
    parts = urlsplit(shop.wado_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
        value = host.replace("PORT", str(parts.port))
        sock.sendall(f"GET /studies HTTP/1.1\r\nHost: {value}\r\n\r\n".encode())
        assert sock.recv(100).split(b" ")[1] == b"421"


@pytest.mark.fault("L09")
def test_a_rebound_name_is_refused_though_it_claims_a_proxy(shop: Sandbox) -> None:
    assert under(shop, "evil.example:PORT", X_Forwarded_Prefix="/user/a/proxy/1") == 421
    # A real proxy's host has the proxy's port.
    assert under(shop, "hub.example", X_Forwarded_Prefix="/user/a/proxy/1") == 200
    assert under(shop, "lab.example:8888", X_Forwarded_Prefix="/proxy/1") == 200


def test_loopback_and_configured_names_are_served() -> None:
    options = {"public_url": "https://hub.example/proxy/1", "host_names": ["Holder.test"]}
    with Sandbox(**options) as sandbox:
        for host in ("127.0.0.1:PORT", "localhost:PORT", "LOCALHOST", "[::1]:PORT", "127.9.9.9"):
            assert under(sandbox, host) == 200, host
        assert under(sandbox, "hub.example") == under(sandbox, "holder.test:PORT") == 200
        assert under(sandbox, "other.test:PORT") == 421


@pytest.mark.fault("L09")
def test_without_open_access_nothing_is_served_without_sign_in() -> None:
    with Sandbox(open_access=False, retry_after=0) as sandbox:
        token = sandbox.token("smart-1288992")
        assert get(f"{sandbox.fhir_url}/Patient", token=token).status == 200
        for path in ("metadata", "Patient", "Patient/smart-1288992", "ImagingStudy?patient=x"):
            assert get(f"{sandbox.open_fhir_url}/{path}").status == 404
        study = sandbox.resources("ImagingStudy", "smart-1288992")[0]["uid"].rpartition(":")[2]
        url = f"{sandbox.wado_base('smart-1288992', open_=True)}/studies/{study}"
        for headers in ({}, {"X-Forwarded-Prefix": "/x"}):
            assert get(url, headers=headers).status in (401, 404)
        assert get(url.replace("/open/", "/"), token=token).status == 200
        body = urlencode({"a": "b"}).encode()
        assert call("POST", f"{origin_of(sandbox)}/oauth/debug/token", body=body).status == 403
        assert get(f"{origin_of(sandbox)}/oauth/debug/introspect?token={token}").status == 403


@pytest.mark.fault("L09")
def test_in_front_of_a_pacs_open_access_has_to_be_asked_for() -> None:
    assert Sandbox().settings.open_access
    assert not Sandbox(pacs="AE@127.0.0.1:104").settings.open_access
    assert Sandbox(pacs="AE@127.0.0.1:104", open_access=True).settings.open_access
