"""Consent and words: who takes part in a sign-in, whose reply it is, what of it is shown."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from s4s_notebook import Connection, connect, errors
from s4s_notebook.fhir.search import search
from s4s_notebook.http.origins import Origins
from s4s_notebook.http.redact import Secret, holder_said
from s4s_notebook.smart.approval import Approval, Status
from s4s_notebook.smart.authorization import SCOPE, Login, scope_for
from s4s_notebook.smart.discovery import Holder, discover, read_configuration
from s4s_notebook.smart.loopback import Listener
from s4s_notebook.smart.redirect import SignIn
from s4s_notebook.smart.token_endpoint import Client
from tests.faultserver.holder import Answer, configuration, holder, transport_to

WELL_KNOWN = "/fhir/.well-known/smart-configuration"
BACK = "http://127.0.0.1:9999/callback"
TYPES = ("Patient", "ImagingStudy")


@pytest.mark.fault("L01")
def test_every_origin_of_a_sign_in_is_listed_with_what_it_gets():
    body = configuration(
        "https://h.example",
        token_endpoint="https://tokens.example/t",
        revocation_endpoint="https://end.example/r",
    )
    found = read_configuration(body, "https://h.example/fhir").sign_in_origins
    assert list(found) == ["https://tokens.example:443", "https://end.example:443"]
    assert "the code" in found["https://tokens.example:443"][0]


@pytest.fixture
def elsewhere(canary):
    """A holder, and another server that its metadata name for registration and revocation."""
    with holder() as server, holder() as other:
        body = configuration(
            server.origin,
            registration_endpoint=f"{other.origin}/register",
            revocation_endpoint=f"{other.origin}/revoke",
        )
        server.on(WELL_KNOWN, Answer(body))
        other.on("/register", Answer({"client_id": "app", "client_secret": canary.secret}, 201))
        token = {"access_token": canary.token, "refresh_token": canary.refresh, "patient": "p"}
        server.on("/token", Answer({**token, "token_type": "Bearer", "scope": "patient/*.read"}))
        other.on("/revoke", Answer(b""))
        yield server, other


def approved(server, **options):
    me = Connection(server.base, **options)
    state = me.authorize_url().partition("state=")[2].partition("&")[0]
    return me.finish(f"http://127.0.0.1/s4s/callback?code=c&state={state}")


@pytest.mark.fault("L01")
@pytest.mark.parametrize("answer", [None, False, True])
def test_a_revocation_endpoint_elsewhere_asks_first(elsewhere, canary, answer):
    server, other = elsewhere
    questions = []

    def ask(origin):
        questions.append((origin, other.count("/revoke")))
        return answer

    with approved(server, ask=None if answer is None else ask) as me:
        if answer:
            assert me.revoke() == "revoked"
            sent = [asked.form["token"] for asked in other.asked if asked.path == "/revoke"]
            assert sent == [canary.refresh, canary.token]
        else:
            with pytest.raises(errors.UntrustedOrigin, match="nobody has consented") as caught:
                me.revoke()
            assert caught.value.origin == other.origin
            assert f"allow_origins=[{other.origin!r}]" in caught.value.hint
            assert other.count("/revoke") == 0
            assert me.status == "approved"
    # Its registration at the same server is no consent to send tokens there.
    assert questions == ([] if answer is None else [(other.origin, 0)])


@pytest.mark.fault("L01")
def test_a_revocation_endpoint_that_was_named_before_is_not_asked_about(elsewhere):
    server, other = elsewhere
    with approved(server, allow_origins=[other.origin]) as me:
        assert me.revoke() == "revoked"
    assert other.count("/revoke") == 2


def test_a_script_registers_once(capsys, elsewhere):
    server, other = elsewhere
    with connect(server.base) as me:
        state = me.authorize_url().partition("state=")[2].partition("&")[0]
        with pytest.raises(errors.AuthorizationRequired):
            me.studies()
        me.finish(f"http://127.0.0.1/s4s/callback?code=c&state={state}")
        me.authorize_url()
    shown = capsys.readouterr().out
    assert f"{other.origin} gets this app's registration; the tokens" in shown
    assert other.count("/register") == 1


@pytest.mark.fault("L02")
def test_a_holder_that_names_another_ones_issuer_begins_no_sign_in():
    with holder() as server:
        body = configuration(server.origin, issuer="https://honest.example")
        server.on(WELL_KNOWN, Answer(body))
        origins = Origins(server.base)
        with transport_to(server.base) as transport:
            found = discover(transport, server.base)
        assert not origins.is_trusted("https://honest.example")
    with pytest.raises(errors.AuthorizationError, match="cannot speak for"):
        Login(found, Client("app", None, BACK))


@pytest.mark.fault("L02", "A06")
@pytest.mark.parametrize("iss", ["https://honest.example", "https://h.example.evil.example"])
def test_a_reply_of_another_issuer_at_a_holder_that_names_none(iss):
    at = Holder("https://h.example/fhir", "https://x.example/a", "https://h.example/t")
    login = Login(at, Client("app", None, BACK))
    reply = {"code": "c0de", "state": login.url.partition("state=")[2].partition("&")[0]}
    with pytest.raises(errors.StateMismatch, match="another server"):
        login.code_from({**reply, "iss": iss})
    assert login.code_from({**reply, "iss": "https://h.example/fhir"}).reveal() == "c0de"


SECRET = "Zx81-qwertz.42_Kl"


@pytest.mark.fault("L04")
@pytest.mark.parametrize(
    "dress",
    [
        SECRET,
        SECRET[3:12],
        quote(SECRET, safe="").replace("-", "%2D"),
        "".join(f"%{ord(c):02x}" for c in SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(b"app:" + SECRET.encode()).decode(),
        SECRET.encode().hex(),
        " ".join(SECRET),
        f"{SECRET[:8]} {SECRET[8:]}",
        f"{SECRET},{SECRET}",
        SECRET[::-1],
    ],
)
def test_a_secret_is_cut_out_of_a_holders_words_in_any_dress(dress):
    said = holder_said(f"before {dress} after <b>", [Secret(SECRET)])
    assert said == "before *** after &lt;b&gt;"


@pytest.mark.fault("L06")
def test_a_reply_without_a_state_ends_no_sign_in_at_the_listener(tmp_path):
    replies, problems = [], []
    state = "s" * 64
    sign_in = SignIn(
        lambda _: ("https://h.example/a", __import__("hashlib").sha256(state.encode()).hexdigest()),
        replies.append,
        on_problem=problems.append,
        runtime=tmp_path,
    )
    try:
        listener = sign_in.listen()
        assert isinstance(listener, Listener)
        sign_in.link()
        for query in ("error=access_denied&error_description=forged", "error=x&state=wrong"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{listener.redirect_uri}?{query}", timeout=5)
            assert caught.value.code == 400
            assert b"forged" not in caught.value.read()
        assert (replies, set(problems)) == ([], {""})
        urllib.request.urlopen(f"{listener.redirect_uri}?code=1&state={state}", timeout=5).close()
        assert len(replies) == 1
    finally:
        sign_in.close()


UNREADABLE = ("http://[", "https://[::1/x", "https://h.example:port/", "http://", "ht tp://x")


@pytest.mark.fault("L07")
@pytest.mark.parametrize("address", UNREADABLE)
def test_a_location_that_no_parser_takes_is_typed_and_names_the_request(address):
    with holder() as server:
        server.on("/fhir/Coverage", Answer(b"", 302, {"Location": address}))
        with (
            transport_to(server.base) as transport,
            pytest.raises(errors.UntrustedOrigin) as caught,
        ):
            transport.request("GET", f"{server.base}/Coverage", accept="application/json")
    assert str(caught.value.request) == f"GET {server.base}/Coverage"


@pytest.mark.fault("L07")
@pytest.mark.parametrize("address", UNREADABLE)
def test_a_next_link_that_no_parser_takes_names_the_page_that_it_came_with(address):
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": {"resourceType": "Coverage", "id": "c"}}],
        "link": [{"relation": "next", "url": address}],
    }
    with holder() as server:
        server.on("/fhir/Coverage", Answer(bundle))
        with transport_to(server.base) as transport:
            pages = search(transport, server.base, "Coverage", [("patient", "p")])
            assert [resource["id"] for resource in next(pages).resources] == ["c"]
            with pytest.raises(errors.TrustError) as caught:
                next(pages)
    assert str(caught.value.request) == f"GET {server.base}/Coverage?patient=*** → 200"
    assert server.count("/fhir/Coverage") == 1


@pytest.mark.fault("L07")
@pytest.mark.parametrize("address", UNREADABLE)
def test_an_endpoint_that_no_parser_takes_is_typed_and_names_the_request(address):
    uid = "1.2.826.0.1"
    endpoint = {
        "resourceType": "Endpoint",
        "id": "e",
        "status": "active",
        "connectionType": {"code": "dicom-wado-rs"},
        "address": address,
    }
    study = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "uid": f"urn:oid:{uid}",
        "patient": {"reference": "Patient/p"},
        "contained": [endpoint],
        "endpoint": [{"reference": "#e"}],
    }
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": study}]}
    with holder() as server:
        server.on(WELL_KNOWN, Answer(configuration(server.origin)))
        server.on("/fhir/ImagingStudy", Answer(bundle))
        with Connection(server.base, patient="p", access_token="t0ken") as me:
            me.studies()
            with pytest.raises(errors.S4SError) as caught:
                me.download(uid).result(10)
    assert isinstance(caught.value, errors.TrustError)
    assert uid in str(caught.value.request)


def test_relative_addresses_are_read_from_where_the_document_is():
    body = configuration("https://h.example", token_endpoint="/auth/token")
    assert read_configuration(body, "https://h.example/fhir").token == (
        "https://h.example/auth/token"
    )


@pytest.mark.parametrize(
    ("listed", "capabilities", "scope"),
    [
        ((), (), SCOPE),
        (("patient/*.read", "patient/*.rs"), (), SCOPE),
        (("patient/*.rs",), (), "launch/patient patient/*.rs offline_access"),
        (("patient/*.cruds",), (), "launch/patient patient/*.rs offline_access"),
        (
            ("patient/ImagingStudy.rs", "patient/Patient.rs", "patient/Goal.rs"),
            (),
            "launch/patient patient/Patient.rs patient/ImagingStudy.rs offline_access",
        ),
        ((), ("permission-v2",), "launch/patient patient/*.rs offline_access"),
        ((), ("permission-v1", "permission-v2"), SCOPE),
    ],
)
def test_a_holder_that_takes_v2_alone_is_asked_in_v2(listed, capabilities, scope):
    at = Holder("https://h.example", scopes=listed, capabilities=capabilities)
    assert scope_for(at, TYPES) == scope


def test_only_the_current_owner_ends_an_approval():
    approval, statuses = Approval(), []
    approval.on_change(statuses.append)
    before, now = object(), object()
    approval.sign_in(Status.WAITING)
    approval.accept(before)
    approval.accept(now)
    approval.end(before, Status.WITHDRAWN)  # a request that failed late
    assert approval.status == "approved"
    approval.end(now, Status.WITHDRAWN)
    assert statuses == ["waiting for approval", "approved", "withdrawn"]
