"""The authorization server, spoken to as a stranger would: raw HTTP, wrong on purpose."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from s4s_notebook import Sandbox
from s4s_notebook.errors import AuthorizationError

from .conftest import Answer, call, get

BACK = "http://127.0.0.1:1/cb"
VERIFIER = "v" * 50
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)
SCOPE = "launch/patient patient/*.read offline_access"


@dataclass
class App:
    """A client that a test drives by hand."""

    sandbox: Sandbox
    id: str
    secret: str | None

    def url(self, **changes: str | None) -> str:
        values: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": BACK,
            "scope": SCOPE,
            "state": "st4te",
            "aud": self.sandbox.fhir_url,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        pairs = {k: v for k, v in values.items() if v is not None}
        origin = self.sandbox.fhir_url.removesuffix("/api/fhir")
        return f"{origin}/oauth/authorize?{urlencode(pairs)}"

    def sign_in(self, patient: str = "smart-1288992", **options) -> dict[str, str]:
        where = self.sandbox.approve(self.url(), patient=patient, **options)
        return {k: v[0] for k, v in parse_qs(urlsplit(where).query).items()}

    def post(self, path: str, **form: str) -> Answer:
        origin = self.sandbox.fhir_url.removesuffix("/api/fhir")
        headers = {}
        if self.secret is None:
            form["client_id"] = self.id
        else:
            pair = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        return call("POST", f"{origin}/oauth/{path}", form=form, headers=headers)

    def redeem(self, code: str, **changes: str) -> Answer:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
            **changes,
        }
        return self.post("token", **form)

    def refresh(self, token: str, **more: str) -> Answer:
        return self.post("token", grant_type="refresh_token", refresh_token=token, **more)

    def may_read(self, token: str, patient: str = "smart-1288992") -> int:
        return get(f"{self.sandbox.fhir_url}/Patient/{patient}", token=token).status


def register(sandbox: Sandbox, **changes) -> Answer:
    body = {"client_name": "A test", "redirect_uris": [BACK], "scope": SCOPE, **changes}
    origin = sandbox.fhir_url.removesuffix("/api/fhir")
    headers = {"Content-Type": "application/json"}
    return call("POST", f"{origin}/oauth/register", body=json.dumps(body).encode(), headers=headers)


def app(sandbox: Sandbox, method: str = "client_secret_basic") -> App:
    made = register(sandbox, token_endpoint_auth_method=method)
    assert made.status == 201
    return App(sandbox, made.json()["client_id"], made.json().get("client_secret"))


@pytest.fixture
def client(shop: Sandbox) -> App:
    return app(shop)


def test_the_whole_way(shop: Sandbox, client: App) -> None:
    back = client.sign_in()
    assert back["state"] == "st4te"
    assert back["iss"] == shop.fhir_url
    answer = client.redeem(back["code"])
    grant = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (grant["token_type"], grant["expires_in"], grant["scope"], grant["patient"]) == (
        "Bearer",
        3600,
        SCOPE,
        "smart-1288992",
    )
    assert client.may_read(grant["access_token"]) == 200
    assert client.may_read(grant["access_token"], "smart-1137192") == 403


def test_public_client_needs_pkce(shop: Sandbox) -> None:
    public = app(shop, "none")
    assert public.secret is None
    assert public.redeem(public.sign_in()["code"]).status == 200
    refused = get(public.url(code_challenge=None, code_challenge_method=None))
    assert "error=invalid_request" in refused.headers["location"]


def test_secret_in_the_form_works_too(shop: Sandbox) -> None:
    client = app(shop, "client_secret_post")
    code = client.sign_in()["code"]
    secret, client.secret = client.secret, None
    assert client.redeem(code, client_secret=str(secret)).status == 200


def test_decline_shares_nothing(client: App) -> None:
    back = client.sign_in(decline=True)
    assert back["error"] == "access_denied"
    assert "code" not in back


def test_unticked_boxes_narrow_the_scope(shop: Sandbox, client: App) -> None:
    back = client.sign_in(share=["ImagingStudy"])
    grant = client.redeem(back["code"]).json()
    assert grant["scope"] == "launch/patient offline_access patient/ImagingStudy.read"
    token = grant["access_token"]
    assert get(f"{shop.fhir_url}/ImagingStudy", token=token).json()["total"] == 7
    for kind in ("ExplanationOfBenefit", "Coverage", "Patient"):
        assert get(f"{shop.fhir_url}/{kind}", token=token).status == 403
    with pytest.raises(AuthorizationError, match="at least one thing"):
        client.sign_in(share=[])


# -- I02 ---------------------------------------------------------------------------------


@pytest.mark.fault("I02")
def test_a_code_works_once_and_reuse_revokes(client: App) -> None:
    code = client.sign_in()["code"]
    grant = client.redeem(code).json()
    again = client.redeem(code)
    assert (again.status, again.json()["error"]) == (400, "invalid_grant")
    assert client.may_read(grant["access_token"]) == 401
    assert client.refresh(grant["refresh_token"]).status == 400


@pytest.mark.fault("I02")
def test_a_code_redeemed_by_many_at_once_is_given_to_one(client: App) -> None:
    code = client.sign_in()["code"]
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(client.redeem(code).status))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [200] + [400] * 11


@pytest.mark.fault("I02")
@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 50},
        {"code_verifier": ""},
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": ""},
        {"code": "nonsense"},
    ],
)
def test_a_code_with_anything_wrong_is_refused(client: App, changes: dict[str, str]) -> None:
    code = client.sign_in()["code"]
    answer = client.redeem(**{"code": code, **changes})
    assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.fault("I02")
def test_a_code_of_another_client_is_refused(shop: Sandbox, client: App) -> None:
    assert app(shop).redeem(client.sign_in()["code"]).status == 400


@pytest.mark.fault("I02")
def test_a_code_lives_100_seconds() -> None:
    clock = [1_795_000_000.0]
    with Sandbox(clock=lambda: clock[0]) as sandbox:
        client = app(sandbox)
        early, late = client.sign_in()["code"], client.sign_in()["code"]
        clock[0] += 99
        assert client.redeem(early).status == 200
        clock[0] += 2
        assert client.redeem(late).status == 400


@pytest.mark.fault("I02")
def test_refresh_rotates_and_reuse_revokes_everything(client: App) -> None:
    first = client.redeem(client.sign_in()["code"]).json()
    second = client.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert client.may_read(second["access_token"]) == 200
    reused = client.refresh(first["refresh_token"])
    assert (reused.status, reused.json()["error"]) == (400, "invalid_grant")
    assert client.may_read(second["access_token"]) == 401
    assert client.refresh(second["refresh_token"]).status == 400


def test_refresh_cannot_widen_and_fails_for_others(shop: Sandbox, client: App) -> None:
    grant = client.redeem(client.sign_in(share=["Patient"])["code"]).json()
    wide = client.refresh(grant["refresh_token"], scope="patient/*.read")
    assert wide.json()["error"] == "invalid_scope"
    assert app(shop).refresh(grant["refresh_token"]).status == 400
    assert client.refresh(grant["refresh_token"]).status == 200


def test_tokens_and_approvals_run_out() -> None:
    clock = [1_795_000_000.0]
    with Sandbox(clock=lambda: clock[0], access_lifetime=60) as sandbox:
        client = app(sandbox)
        grant = client.redeem(client.sign_in()["code"]).json()
        clock[0] += 61
        assert client.may_read(grant["access_token"]) == 401
        grant = client.refresh(grant["refresh_token"]).json()
        clock[0] += 365 * 86_400
        assert client.refresh(grant["refresh_token"]).json()["error"] == "invalid_grant"


def test_revocation(shop: Sandbox, client: App) -> None:
    grant = client.redeem(client.sign_in()["code"]).json()
    stranger = app(shop)
    assert stranger.post("revoke", token=grant["access_token"]).status == 200
    assert client.may_read(grant["access_token"]) == 200
    assert client.post("revoke", token="unknown").status == 200
    assert client.post("revoke", token=grant["access_token"]).status == 200
    assert client.may_read(grant["access_token"]) == 401
    newer = client.refresh(grant["refresh_token"]).json()
    assert client.post("revoke", token=newer["refresh_token"]).status == 200
    assert client.may_read(newer["access_token"]) == 401


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "openid profile"}, "invalid_scope"),
        ({"scope": "launch/patient offline_access"}, "invalid_scope"),
        ({"aud": "http://127.0.0.1:9/fhir"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
    ],
)
def test_bad_requests_go_back_to_the_app(
    client: App, changes: dict[str, str | None], error: str
) -> None:
    answer = get(client.url(**changes))
    assert answer.status == 303
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["error"] == [error]
    assert query["state"] == ["st4te"]
    assert "iss" in query


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"redirect_uri": "http://127.0.0.1:2/cb"},
        {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": None},
    ],
)
def test_unknown_apps_and_addresses_get_a_page(client: App, changes: dict[str, str | None]) -> None:
    answer = get(client.url(**changes))
    assert answer.status == 400
    assert "location" not in answer.headers
    assert b'role="alert"' in answer.body


def test_a_parameter_given_twice_is_none(client: App) -> None:
    answer = get(client.url() + "&redirect_uri=" + BACK)
    assert answer.status == 400


def consent(client: App) -> tuple[dict[str, str], str]:
    from s4s_notebook.sandbox.approve import ConsentForm

    answer = get(client.url())
    form = ConsentForm()
    form.feed(answer.body.decode())
    return form.hidden, answer.headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("spoil", ["cookie", "csrf", "transaction"])
def test_consent_is_bound_to_the_browser(shop: Sandbox, client: App, spoil: str) -> None:
    hidden, cookie = consent(client)
    form = {**hidden, "decision": "approve", "patient": "smart-1288992", "share": "Patient"}
    headers = {"Cookie": cookie}
    if spoil == "cookie":
        headers = {}
    else:
        form[spoil] = "x" * 40
    url = client.url().partition("?")[0]
    answer = call("POST", url, form=form, headers=headers)
    assert answer.status in (400, 403)
    assert "location" not in answer.headers


def test_consent_page_is_used_once(client: App) -> None:
    hidden, cookie = consent(client)
    form = {**hidden, "decision": "approve", "patient": "smart-1288992", "share": "Patient"}
    url = client.url().partition("?")[0]
    first = call("POST", url, form=form, headers={"Cookie": cookie})
    again = call("POST", url, form=form, headers={"Cookie": cookie})
    assert (first.status, again.status) == (303, 400)


def test_pages_have_a_strict_policy_and_escape(shop: Sandbox) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    made = register(shop, client_name=evil).json()
    client = App(shop, made["client_id"], made["client_secret"])
    page = get(client.url())
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:1" in policy
    assert b"<script" not in page.body
    assert b"<img" not in page.body
    assert page.headers["cache-control"] == "no-store"
    cookie = page.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/oauth" in cookie


def test_manage_page_ends_an_approval(fresh: Sandbox) -> None:
    client = app(fresh)
    grant = client.redeem(client.sign_in()["code"]).json()
    origin = fresh.fhir_url.removesuffix("/api/fhir")
    page = get(f"{origin}/oauth/manage")
    assert b"Daniel Synthetic-Adams" in page.body
    from s4s_notebook.sandbox.approve import ConsentForm

    form = ConsentForm()
    form.feed(page.body.decode())
    cookie = page.headers["set-cookie"].partition(";")[0]
    assert call("POST", f"{origin}/oauth/manage", form=form.hidden).status == 403
    done = call("POST", f"{origin}/oauth/manage", form=form.hidden, headers={"Cookie": cookie})
    assert done.status == 303
    assert client.may_read(grant["access_token"]) == 401


@pytest.mark.parametrize(
    "uris",
    [
        [],
        "http://127.0.0.1/cb",
        ["http://evil.example/cb"],
        ["javascript:alert(1)"],
        ["data:text/html,x"],
        ["/relative"],
        ["https://app.example/cb#frag"],
        ["https://app.example/c b"],
        ["http://[::1"],
        [None],
        [BACK] * 21,
    ],
)
def test_registration_refuses_dangerous_addresses(shop: Sandbox, uris: object) -> None:
    answer = register(shop, redirect_uris=uris)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_redirect_uri")


def test_registration_refuses_what_it_cannot_do(shop: Sandbox) -> None:
    assert register(shop, token_endpoint_auth_method="private_key_jwt").status == 400
    origin = shop.fhir_url.removesuffix("/api/fhir")
    for body in (b"", b"[]", b"{", b"\xff", b"[" * 50_000, b"x" * 100_000):
        assert call("POST", f"{origin}/oauth/register", body=body).status == 400


def test_wrong_secret_and_unknown_grant(client: App) -> None:
    code = client.sign_in()["code"]
    good, client.secret = client.secret, "wrong"
    refused = client.redeem(code)
    assert (refused.status, refused.json()["error"]) == (401, "invalid_client")
    assert refused.headers["www-authenticate"].startswith("Basic")
    client.secret = good
    assert client.post("token", grant_type="password").json()["error"] == "unsupported_grant_type"
    assert client.redeem(code).status == 200


def test_debug_calls_of_the_reference_server(shop: Sandbox, client: App) -> None:
    origin = shop.fhir_url.removesuffix("/api/fhir")
    body = json.dumps(
        {
            "client_id": client.id,
            "username": "daniel-adams",
            "patient_id": "smart-1288992",
            "access_lifetime": 60,
            "scope": SCOPE,
        }
    ).encode()
    grant = call("POST", f"{origin}/oauth/debug/token", body=body).json()
    assert grant["expires_in"] == 60
    assert client.may_read(grant["access_token"]) == 200
    told = get(f"{origin}/oauth/debug/introspect?token={grant['access_token']}").json()
    assert (told["active"], told["patient"], told["scope"]) == (True, "smart-1288992", SCOPE)
    assert (told["username"], told["access_token"]) == ("daniel-adams", grant["access_token"])
    # Dates as Flask writes them: a test of 60 seconds, an approval of a year.
    expires = parsedate_to_datetime(told["access_expires"]).timestamp()
    assert expires == pytest.approx(time.time() + 60, abs=5)
    assert parsedate_to_datetime(told["approval_expires"]).timestamp() > time.time() + 300 * 86_400
    url = f"{origin}/oauth/debug/introspect?token={grant['refresh_token']}"
    refresh = get(url).json()
    assert (refresh["active"], refresh["refresh_token"]) == (True, grant["refresh_token"])
    assert "access_expires" not in refresh
    newer = client.refresh(grant["refresh_token"]).json()
    assert get(url).json() == {"active": False}
    answer = client.post("introspect", token=newer["refresh_token"]).json()
    assert (answer["active"], answer["username"]) == (True, "daniel-adams")
    assert newer["refresh_token"] not in answer.values()
    assert get(f"{origin}/oauth/debug/introspect?token=nonsense").json() == {"active": False}


def test_discovery_documents_agree(shop: Sandbox) -> None:
    smart = get(f"{shop.fhir_url}/.well-known/smart-configuration").json()
    assert "smart-imaging-access" in smart["capabilities"]
    assert smart["associated_endpoints"] == [
        {"url": shop.wado_url, "capabilities": ["dicom-wado-rs"]}
    ]
    statement = get(f"{shop.fhir_url}/metadata").json()
    (extension,) = statement["rest"][0]["security"]["extension"]
    named = {e["url"]: e["valueUri"] for e in extension["extension"]}
    assert named["authorize"] == smart["authorization_endpoint"]
    assert named["token"] == smart["token_endpoint"]
    assert named["register"] == smart["registration_endpoint"]
    assert named["manage"] == smart["management_endpoint"]
    assert "security" not in get(f"{shop.open_fhir_url}/metadata").json()["rest"][0]


def test_a_proxy_carries_the_browser_only() -> None:
    public = "https://hub.example/user/ada/proxy/8123"
    with Sandbox(public_url=public) as sandbox:
        smart = get(f"{sandbox.fhir_url}/.well-known/smart-configuration").json()
        assert smart["authorization_endpoint"] == f"{public}/oauth/authorize"
        assert smart["management_endpoint"] == f"{public}/oauth/manage"
        origin = sandbox.fhir_url.removesuffix("/api/fhir")
        assert smart["issuer"] == sandbox.fhir_url
        assert smart["token_endpoint"] == f"{origin}/oauth/token"
        client = app(sandbox)
        # What the proxy hands on: its prefix stripped from the path, named in a header.
        headers = {"X-Forwarded-Prefix": "/user/ada/proxy/8123", "Host": "hub.example"}
        page = get(client.url(), headers=headers)
        assert page.status == 200
        assert b'action="authorize"' in page.body
        cookie = page.headers["set-cookie"].lower()
        assert "path=/user/ada/proxy/8123/oauth" in cookie
        assert "secure" in cookie
        assert b"http://127.0.0.1" not in page.body.replace(b"http://127.0.0.1:1", b"")


def test_requests_show_no_secret(fresh: Sandbox) -> None:
    client = app(fresh)
    code = client.sign_in()["code"]
    grant = client.redeem(code).json()
    client.may_read(grant["access_token"])
    origin = fresh.fhir_url.removesuffix("/api/fhir")
    get(f"{origin}/oauth/debug/introspect?token={grant['access_token']}")
    text = repr(fresh.requests) + repr(fresh.authority) + repr(fresh)
    secrets = [code, grant["access_token"], grant["refresh_token"], client.secret, "st4te"]
    for secret in [*secrets, CHALLENGE, VERIFIER]:
        assert secret not in text
    asked = [(r.method, r.path.partition("?")[0], r.token) for r in fresh.requests]
    assert ("GET", "/api/fhir/Patient/smart-1288992", True) in asked
    assert "token=***" in text


@pytest.mark.fault("I01")
def test_only_loopback_is_bound_unless_asked(shop: Sandbox) -> None:
    for port in (urlsplit(shop.fhir_url).port, urlsplit(shop.wado_url).port):
        assert bound_addresses(port) == {"127.0.0.1"}
    with Sandbox(expose=True) as open_:
        assert bound_addresses(urlsplit(open_.fhir_url).port) == {"0.0.0.0"}


def bound_addresses(port: int | None) -> set[str]:
    """Listening addresses of a TCP port, from the kernel's own table."""
    found = set()
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found
