"""Registration, the sign-in and its reply, the exchange of the code, revocation."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import signal
import ssl
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import trustme
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from IPython.core.ultratb import VerboseTB

from s4s_notebook import errors
from s4s_notebook.http.redact import Secret
from s4s_notebook.smart.authorization import SCOPE, Login, challenge
from s4s_notebook.smart.discovery import Holder, read_configuration
from s4s_notebook.smart.registration import exchange, register, revoke
from s4s_notebook.smart.token_endpoint import Client, Grant
from tests.faultserver import FakeClock
from tests.faultserver.holder import Answer, configuration, holder, transport_to
from tests.faultserver.holder import Holder as Server

BACK = "http://127.0.0.1:9999/callback"
FAR = "https://h.example"


def found_at(origin: str, **changes) -> Holder:
    return read_configuration(configuration(origin, **changes), f"{origin}/fhir")


@pytest.fixture
def server():
    with holder() as server:
        yield server


@pytest.fixture
def at(server: Server) -> Holder:
    return found_at(server.origin)


@pytest.fixture
def client(canary) -> Client:
    return Client("app", canary.secret, BACK)


@pytest.fixture
def login() -> Login:
    return Login(found_at(FAR), Client("app", None, BACK), clock=FakeClock())


def state_of(login: Login) -> str:
    return dict(parse_qsl(urlsplit(login.url).query))["state"]


def reply_to(login: Login, **changes: str | None) -> str:
    """The address that a well-behaved holder sends the person back to."""
    values = {"code": "c0de", "state": state_of(login)} | changes
    return f"{BACK}?{urlencode({k: v for k, v in values.items() if v is not None})}"


def shown(error: BaseException) -> str:
    """All that a verbose traceback could print of an error: each frame's locals too."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    notebook = VerboseTB().text(type(error), error, error.__traceback__)  # %xmode Verbose
    return "".join(told.format()) + notebook


# ------------------------------------------------------------------ the authorise page


def test_the_authorise_address(login):
    page = urlsplit(login.url)
    asked = parse_qs(page.query)
    assert f"{page.scheme}://{page.netloc}{page.path}" == f"{FAR}/authorize"
    assert asked == {
        "response_type": ["code"],
        "client_id": ["app"],
        "redirect_uri": [BACK],
        "scope": ["launch/patient patient/*.read offline_access"],
        "state": asked["state"],
        "aud": [f"{FAR}/fhir"],
        "code_challenge": [create_s256_code_challenge(login.verifier.reveal())],
        "code_challenge_method": ["S256"],
    }


def test_it_says_what_authlib_says(login):
    theirs = prepare_grant_uri(
        f"{FAR}/authorize",
        client_id="app",
        response_type="code",
        redirect_uri=BACK,
        scope=SCOPE,
        state=state_of(login),
        aud=f"{FAR}/fhir",
        code_challenge=create_s256_code_challenge(login.verifier.reveal()),
        code_challenge_method="S256",
    )
    assert parse_qs(urlsplit(login.url).query) == parse_qs(urlsplit(theirs).query)


def test_the_endpoints_own_query_is_kept():
    far = found_at(FAR, authorization_endpoint=f"{FAR}/authorize?tenant=a%20b&blank=&state=evil")
    url = Login(far, Client("app", None, BACK), launch="xyz").url
    asked = parse_qs(urlsplit(url).query, keep_blank_values=True)
    assert asked["blank"] == [""]
    assert asked["tenant"] == ["a b"]
    assert len(asked["state"]) == 1
    assert asked["state"] != ["evil"]
    assert asked["launch"] == ["xyz"]


def test_the_state_hash_names_a_login_without_its_state(login):
    state = state_of(login)
    assert login.state_hash == hashlib.sha256(state.encode()).hexdigest()


@pytest.mark.fault("A04")
def test_ten_thousand_logins_never_repeat():
    far, states, verifiers = found_at(FAR), set(), set()
    for _ in range(10_000):
        login = Login(far)
        states.add(login._state.reveal())
        verifier = login.verifier.reveal()
        verifiers.add(verifier)
        assert 43 <= len(verifier) <= 128
    assert len(states) == len(verifiers) == 10_000
    # 32 random bytes, after a part that all logins of this process share
    assert all(len(state.partition(".")[2]) >= 43 for state in states)
    assert len({state.partition(".")[2] for state in states}) == 10_000


@pytest.mark.fault("A04")
def test_the_challenge_is_that_of_rfc_7636():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge(Secret(verifier)) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert challenge(Secret(verifier)) == create_s256_code_challenge(verifier)


@pytest.mark.fault("A05")
@pytest.mark.parametrize("methods", [["plain"], [], ["s256"]])
def test_pkce_without_s256_is_refused_unless_told(methods):
    far = found_at(FAR, code_challenge_methods_supported=methods)
    with pytest.raises(errors.AuthorizationError, match="not S256") as caught:
        Login(far)
    assert "legacy=True" in caught.value.hint
    login = Login(far, Client("app", None, BACK), legacy=True)
    assert "code_challenge_method=S256" in login.url


@pytest.mark.fault("A05")
def test_a_holder_that_says_nothing_of_pkce_gets_s256_and_a_note():
    far = found_at(FAR, code_challenge_methods_supported=None)
    assert far.pkce_methods is None
    assert any("does not promise PKCE" in note for note in far.notes)
    assert "code_challenge_method=S256" in Login(far, Client("app", None, BACK)).url


def test_no_sign_in_no_login():
    for half in ({}, {"authorize": FAR}, {"token": FAR}):
        with pytest.raises(errors.AuthorizationError, match="offers no sign-in"):
            Login(Holder(FAR, **half))


def test_the_client_may_come_later_and_starts_the_lifetime():
    clock = FakeClock()
    login = Login(found_at(FAR), clock=clock, lifetime=10)
    with pytest.raises(errors.AuthorizationError, match="no client yet"):
        _ = login.url
    clock.sleep(9)
    login.use(Client("late", None, BACK))
    clock.sleep(9)
    assert not login.expired
    assert "client_id=late" in login.url


# ------------------------------------------------------------------ the reply


@pytest.mark.parametrize("form", ["url", "query", "mapping", "lists", "padded", "fragment"])
def test_the_code_comes_out_of_any_form(login, form):
    url = reply_to(login)
    query = urlsplit(url).query
    pairs = dict(parse_qsl(query))
    forms = {
        "url": url,
        "query": query,
        "mapping": pairs | {"error": None, "iss": None},
        "lists": {name: [value] for name, value in pairs.items()},
        "padded": f"  {url}\n",
        "fragment": f"{url}#_=_",
    }
    code = login.code_from(forms[form])
    assert isinstance(code, Secret)
    assert code.reveal() == "c0de"


@pytest.mark.fault("A01")
@pytest.mark.parametrize(
    "changes",
    [{"state": None}, {"state": "wrong"}, {"state": ""}, {"state": "x" * 50 + ".y"}],
)
def test_a_state_that_is_missing_or_wrong(login, changes, canary):
    url = reply_to(login, code=canary.code, **changes)
    with pytest.raises(errors.StateMismatch) as caught:
        login.code_from(url)
    told = shown(caught.value.with_traceback(caught.value.__traceback__.tb_next))
    assert canary.code not in told
    assert login._state.reveal() not in told
    assert login.code_from(reply_to(login)).reveal() == "c0de"  # the right one still counts


@pytest.mark.fault("A01")
@pytest.mark.parametrize("name", ["state", "code", "iss", "error"])
def test_a_parameter_that_stands_twice(login, name):
    url = reply_to(login, **({} if name in {"state", "code"} else {name: "x"}))
    again = dict(parse_qsl(urlsplit(url).query))[name]
    with pytest.raises(errors.StateMismatch, match=f"repeats {name}"):
        login.code_from(f"{url}&{urlencode({name: again})}")


@pytest.mark.fault("A01")
def test_too_many_parameters(login):
    with pytest.raises(errors.StateMismatch, match="too many"):
        login.code_from(reply_to(login) + "&a=1" * 100)


@pytest.mark.parametrize("url", ["authorise", "https://h.example/", "", "hello"])
def test_the_wrong_page(login, url):
    url = login.url if url == "authorise" else url
    with pytest.raises(errors.StateMismatch) as caught:
        login.code_from(url)
    assert caught.value.hint


def test_an_empty_code(login):
    with pytest.raises(errors.StateMismatch, match="neither a code nor an error"):
        login.code_from(reply_to(login, code=""))


@pytest.mark.fault("A02")
def test_a_reply_counts_once(login):
    url = reply_to(login)
    login.code_from(url)
    with pytest.raises(errors.StateMismatch, match="used already"):
        login.code_from(url)


@pytest.mark.fault("A02")
def test_in_parallel_exactly_one_reaches_the_token_address(server, at, client):
    server.on("/token", Answer({"access_token": "t", "token_type": "bearer"}))
    login = Login(at, client)
    url, start = reply_to(login), threading.Barrier(16)

    def one(transport) -> str:
        start.wait()
        try:
            exchange(transport, at, client, login, login.code_from(url))
        except errors.StateMismatch:
            return "refused"
        return "granted"

    with transport_to(server.base) as transport, ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(one, [transport] * 16))
    assert sorted(ends) == ["granted"] + ["refused"] * 15
    assert server.count("/token") == 1


@pytest.mark.fault("A03")
@pytest.mark.parametrize("which", ["wall", "steady"])
def test_after_the_lifetime_by_either_clock(login, which):
    if which == "wall":
        login._clock.now += 601
    else:
        login._clock.up += 601
    with pytest.raises(errors.LoginExpired, match="600 seconds"):
        login.code_from(reply_to(login))


@pytest.mark.fault("A03")
def test_the_state_of_another_session_of_this_kernel(login):
    other = Login(found_at(FAR), Client("app", None, BACK))
    with pytest.raises(errors.StateMismatch):
        login.code_from(reply_to(other))
    with pytest.raises(errors.StateMismatch):
        other.code_from(reply_to(login))
    for untouched in (login, other):  # each still takes the reply that is its own
        assert untouched.code_from(reply_to(untouched)).reveal() == "c0de"


_OTHER_KERNEL = """
from s4s_notebook.smart.discovery import Holder
from s4s_notebook.smart.token_endpoint import Client
from s4s_notebook.smart.authorization import Login
far = Holder("https://h.example/fhir", authorize="https://h.example/a", token="https://h.example/t")
print(Login(far, Client("app", None, "http://127.0.0.1:9999/callback")).url)
"""


@pytest.mark.fault("A03")
def test_a_reply_after_a_restart_of_the_kernel(login):
    import subprocess
    import sys

    before = subprocess.run(
        [sys.executable, "-c", _OTHER_KERNEL], check=True, capture_output=True, text=True
    ).stdout.strip()
    state = dict(parse_qsl(urlsplit(before).query))["state"]
    # The other process has no canary in its states; the length is what tells.
    assert len(state.partition(".")[0]) == 12
    late = Login(found_at(FAR), Client("app", None, BACK))
    with pytest.raises((errors.LoginExpired, errors.StateMismatch)) as caught:
        late.code_from(f"{BACK}?code=x&state={state}")
    assert isinstance(caught.value, errors.LoginExpired)
    assert "restart" in str(caught.value)


@pytest.mark.fault("A06")
def test_an_issuer_that_differs(login):
    with pytest.raises(errors.StateMismatch, match="another server"):
        login.code_from(reply_to(login, iss="https://evil.example"))
    assert login.code_from(reply_to(login, iss=f"{FAR}/fhir")).reveal() == "c0de"


@pytest.mark.fault("A06")
def test_an_issuer_that_is_promised_and_missing():
    far = found_at(FAR, authorization_response_iss_parameter_supported=True)
    login = Login(far, Client("app", None, BACK))
    with pytest.raises(errors.StateMismatch, match="names no issuer"):
        login.code_from(reply_to(login))
    with pytest.raises(errors.StateMismatch, match="names no issuer"):
        login.code_from(reply_to(login, code=None, error="access_denied"))
    assert login.code_from(reply_to(login, iss=f"{FAR}/fhir")).reveal() == "c0de"


def test_declined(login):
    said = {"code": None, "error": "access_denied"}
    with pytest.raises(errors.AccessDenied) as caught:
        login.code_from(reply_to(login, **said))
    assert caught.value.problem == "The request was declined."
    other = Login(login.holder, login.client)
    with pytest.raises(errors.AccessDenied) as caught:
        other.code_from(reply_to(other, **said, error_description="not today"))
    assert caught.value.problem == "The request was declined."
    assert caught.value.holder_said == "access_denied: not today"
    with pytest.raises(errors.StateMismatch, match="used already"):
        login.code_from(reply_to(login))


def test_declined_without_a_state_as_s4s_does_it_is_told_but_ends_nothing(login):
    with pytest.raises(errors.AccessDenied):
        login.code_from(f"{BACK}?error=access_denied")
    with pytest.raises(errors.AccessDenied):
        login.code_from(f"{BACK}?error=access_denied&code=forged")
    assert login.code_from(reply_to(login)).reveal() == "c0de"


@pytest.mark.parametrize("state", ["wrong", ""])
def test_declined_with_a_wrong_state(login, state):
    with pytest.raises(errors.StateMismatch):
        login.code_from(reply_to(login, code=None, error="access_denied", state=state))


@pytest.mark.fault("A07")
@pytest.mark.parametrize(
    ("error", "description"),
    [
        ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
        ("server_error", "line\r\nSet-Cookie: a=b\x1b[31m"),
        ("server_error", "x" * 10_000_000),
        ("y" * 10_000_000, "\u202egnp.exe\x00"),
    ],
    ids=["html", "crlf", "long description", "long error"],
)
def test_errors_are_escaped_and_cut(login, error, description):
    with pytest.raises(errors.AccessDenied) as caught:
        login.code_from(reply_to(login, code=None, error=error, error_description=description))
    told = str(caught.value)
    assert len(told) < 600
    assert not set("<\r\x1b\u202e\x00") & set(told)
    assert "Set-Cookie" not in told or "\n" not in caught.value.problem


# ------------------------------------------------------------------ nothing shows a secret


@pytest.mark.fault("G04")
def test_a_login_shows_no_verifier_and_no_state(login):
    secrets = [login.verifier.reveal(), login._state.reveal()]
    seen = f"{login!r} {login} {vars(login)} {login.__dict__}"
    assert repr(login) == f"<Login at {FAR}/fhir, waiting>"
    assert not any(secret in seen for secret in secrets)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(login)


@pytest.mark.fault("G04")
def test_grants_and_clients_show_stars(canary, client):
    grant = Grant(Secret(canary.token), Secret(canary.refresh), 1.0, "s", "p")
    seen = f"{grant} {grant!r} {client} {client!r} {json.dumps([grant.access_token], default=str)}"
    seen += f"{Secret(canary.token):>10} {Secret(canary.token)!s} {pickle.dumps((grant, client))!r}"
    assert "cAnArY" not in seen
    assert "***" in seen
    with pytest.raises(TypeError):
        json.dumps(grant.access_token)
    with pytest.raises(TypeError):
        vars(grant.access_token)


def test_a_secret_is_equal_hashable_and_survives_a_copy(canary):
    one, same, other = Secret(canary.token), Secret(canary.token), Secret("x")
    assert one == same
    assert one != other
    assert one != canary.token
    assert len({one, same, other}) == 2
    assert copy.deepcopy(one).reveal() == copy.copy(one).reveal() == canary.token
    assert pickle.loads(pickle.dumps(one)).reveal() == "***"
    assert Secret.wrap(None) is None
    assert Secret.wrap(one) is one


# ------------------------------------------------------------------ the exchange


def grant_from(server: Server, at: Holder, client: Client, code="c0de", **options) -> Grant:
    with transport_to(server.base, **options) as transport:
        transport.origins.allow(at.token, tokens=False)
        return exchange(transport, at, client, Login(at, client), code)


def test_a_confidential_client_uses_basic(server, at, client, canary):
    body = {
        "access_token": canary.token,
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "patient/*.read",
        "refresh_token": canary.refresh,
        "patient": "smart-1288992",
    }
    server.on("/token", Answer(body))
    clock = FakeClock()
    grant = grant_from(server, at, client, canary.code, clock=clock)
    assert grant.access_token.reveal() == canary.token
    assert grant.refresh_token == Secret(canary.refresh)
    assert (grant.expires_at, grant.lifetime) == (clock.now + 3600, 3600)
    assert (grant.scope, grant.patient) == ("patient/*.read", "smart-1288992")
    (asked,) = server.asked
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.form["grant_type"] == "authorization_code"
    assert asked.form["code"] == canary.code
    assert asked.form["redirect_uri"] == BACK
    assert "client_id" not in asked.form
    assert "client_secret" not in asked.form
    import base64

    scheme, pair = asked.headers["authorization"].split()
    assert (scheme, base64.b64decode(pair).decode()) == ("Basic", f"app:{canary.secret}")


def test_a_public_client_puts_its_id_into_the_form(server, at):
    server.on("/token", Answer({"access_token": "t", "token_type": "bearer"}))
    grant = grant_from(server, at, Client("pub", None, BACK))
    (asked,) = server.asked
    assert asked.form["client_id"] == "pub"
    assert "authorization" not in asked.headers
    assert grant.scope == SCOPE  # not named in the answer, so as asked for
    assert (grant.expires_at, grant.refresh_token, grant.patient) == (None, None, None)
    assert not grant.due(1e12)


@pytest.mark.fault("A08")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_token_call_is_never_redirected(server, at, client, status, elsewhere, canary):
    with holder() as sink:
        target = f"{sink.origin if elsewhere else server.origin}/stolen"
        server.on("/token", Answer(b"", status, {"Location": target}))
        with pytest.raises(errors.TokenRefused, match="redirects elsewhere") as caught:
            grant_from(server, at, client, canary.code)
        assert sink.asked == []
    assert server.count("/stolen") == 0
    assert caught.value.request.status == status


@pytest.mark.fault("A09")
@pytest.mark.parametrize("fault", ["expired", "self-signed", "wrong host"])
def test_bad_certificates_get_nothing(fault, client, canary, tmp_path, monkeypatch):
    import datetime
    import socket

    authority, stranger = trustme.CA(), trustme.CA()
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    certificates = {
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=past),
        "self-signed": lambda: stranger.issue_cert("127.0.0.1"),
        "wrong host": lambda: authority.issue_cert("other.example"),
    }
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificates[fault]().configure_cert(context)
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            sock, _ = listener.accept()
            try:
                with context.wrap_socket(sock, server_side=True) as tls:
                    got.append(tls.recv(4096))
            except OSError:
                sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        origin = f"https://127.0.0.1:{listener.getsockname()[1]}"
        at = found_at(origin)
        with transport_to(f"{origin}/fhir") as transport, pytest.raises(errors.TrustError):
            exchange(transport, at, client, Login(at, client), canary.code)
        thread.join(10)
    assert b"".join(got) == b""


FAULTY = {
    "html": Answer(b"<html>Log in</html>"),
    "empty": Answer(b""),
    "list": Answer([]),
    "10 MB": Answer(b'{"access_token": "' + b"x" * 10_000_000 + b'"}'),
    "no token": Answer({"token_type": "bearer"}),
    "empty token": Answer({"access_token": "", "token_type": "bearer"}),
    "token is a number": Answer({"access_token": 5, "token_type": "bearer"}),
    "mac": Answer({"access_token": "t", "token_type": "mac"}),
    "no type": Answer({"access_token": "t"}),
    "type is a list": Answer({"access_token": "t", "token_type": ["bearer"]}),
    "crlf": Answer({"access_token": "t\r\nX-Evil: 1", "token_type": "bearer"}),
    "space": Answer({"access_token": "t t", "token_type": "bearer"}),
    "not ascii": Answer({"access_token": "tökén", "token_type": "bearer"}),
    "refresh crlf": Answer({"access_token": "t", "token_type": "bearer", "refresh_token": "r\n"}),
    "minus one": Answer({"access_token": "t", "token_type": "bearer", "expires_in": -1}),
    "zero": Answer({"access_token": "t", "token_type": "bearer", "expires_in": 0}),
    "true": Answer({"access_token": "t", "token_type": "bearer", "expires_in": True}),
    "1e999": Answer(b'{"access_token": "t", "token_type": "bearer", "expires_in": 1e999}'),
    "NaN": Answer(b'{"access_token": "t", "token_type": "bearer", "expires_in": NaN}'),
    "1_0": Answer({"access_token": "t", "token_type": "bearer", "expires_in": "1_0"}),
    "arabic": Answer({"access_token": "t", "token_type": "bearer", "expires_in": "٣"}),
    "1e300": Answer({"access_token": "t", "token_type": "bearer", "expires_in": 1e300}),
    "twice": Answer(b'{"access_token": "t", "access_token": "u", "token_type": "bearer"}'),
}


@pytest.mark.fault("A10")
@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_token_answer_is_refused(server, at, client, name):
    server.on("/token", FAULTY[name])
    with pytest.raises(errors.MalformedResponse) as caught:
        grant_from(server, at, client)
    assert caught.value.request.method == "POST"
    assert caught.value.request.status in (200, None)
    assert caught.value.hint
    assert server.count("/token") == 1


@pytest.mark.fault("A10")
@pytest.mark.parametrize(("said", "meant"), [("3600", 3600.0), (0.5, 0.5), (None, None)])
def test_lifetimes_that_are_understood(server, at, client, said, meant):
    server.on("/token", Answer({"access_token": "t", "token_type": "BEARER", "expires_in": said}))
    assert grant_from(server, at, client).lifetime == meant


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": "invalid_grant", "error_description": "too old"}, "invalid_grant: too old"),
        ({"error": "invalid_grant", "description": "S4S says so"}, "invalid_grant: S4S says so"),
        ({"error": "<b>", "error_description": "<script>" + "x" * 9000}, "&lt;b&gt;: &lt;script"),
        ([], "no reason given"),
        (b"<html>Bad request</html>", "no reason given"),
    ],
)
def test_a_refused_code(server, at, client, body, told):
    server.on("/token", Answer(body, 400))
    with pytest.raises(errors.TokenRefused) as caught:
        grant_from(server, at, client)
    assert told in (caught.value.holder_said or caught.value.problem)
    assert len(str(caught.value)) + len(caught.value.holder_said) < 900
    assert not any(words in str(caught.value) for words in ("too old", "says so", "script"))
    assert caught.value.request.status == 400


def test_a_sign_in_server_with_a_problem(server, at, client):
    server.on("/token", Answer(b"oops", 500))
    with pytest.raises(errors.HolderUnavailable):
        grant_from(server, at, client)


def test_a_busy_token_address_is_waited_for_while_the_code_lives(server, at, client):
    good = Answer({"access_token": "t", "token_type": "bearer"})
    server.on("/token", Answer(b"", 503, {"Retry-After": "30"}), good)
    clock = FakeClock()
    began = clock.now
    assert grant_from(server, at, client, clock=clock).access_token == Secret("t")
    assert clock.now - began >= 30
    server.on("/token", Answer(b"", 503, {"Retry-After": "300"}))
    with pytest.raises(errors.RetryAfterTooLong):
        grant_from(server, at, client, clock=FakeClock())


def test_a_code_is_not_sent_again_after_the_connection_broke(server, at, client):
    server.on("/token", Answer(hang_up=True))
    with pytest.raises(errors.HolderUnavailable):
        grant_from(server, at, client)
    assert server.count("/token") == 1


@pytest.mark.fault("G04")
@pytest.mark.parametrize("answer", [Answer(hang_up=True), Answer({"error": "x"}, 400), Answer(b"")])
def test_a_verbose_traceback_of_an_exchange_shows_no_secret(server, at, client, canary, answer):
    server.on("/token", answer)
    login = Login(at, client)
    verifier = login.verifier.reveal()
    with transport_to(server.base) as transport:
        try:
            exchange(transport, at, client, login, Secret(canary.code))
        except errors.S4SError as error:
            # from here down: this frame holds the verifier itself
            told = shown(error.with_traceback(error.__traceback__.tb_next))
    assert verifier not in told
    assert canary.code not in told
    assert canary.secret not in told


@pytest.mark.fault("G04")
def test_an_interrupted_exchange_shows_no_secret(server, at, client, canary):
    gate = threading.Event()

    def interrupt(asked):
        signal.raise_signal(signal.SIGINT)  # reaches the main thread, as the stop button does
        gate.wait(5)
        return Answer(hang_up=True)

    server.on("/token", interrupt)
    login = Login(at, client)
    verifier = login.verifier.reveal()
    with transport_to(server.base) as transport:
        try:
            exchange(transport, at, client, login, Secret(canary.code))
        except KeyboardInterrupt as error:
            told = shown(error.with_traceback(error.__traceback__.tb_next))
        finally:
            gate.set()
    assert "exchange" in told
    assert verifier not in told
    assert canary.code not in told
    assert canary.secret not in told


def test_no_token_address(server, client):
    with transport_to(server.base) as transport, pytest.raises(errors.AuthorizationError):
        exchange(transport, Holder(server.base), client, Login(found_at(FAR)), "c")


# ------------------------------------------------------------------ registration


def registered(server: Server, at: Holder, redirect: str = BACK) -> Client:
    with transport_to(server.base) as transport:
        return register(transport, at, redirect)


def test_registration_asks_as_rfc_7591_says(server, at, canary):
    body = {
        "client_id": "new",
        "client_secret": canary.secret,
        "client_secret_expires_at": 0,
        "redirect_uris": [BACK],
    }
    server.on("/register", Answer(body, 201))
    client = registered(server, at)
    assert (client.client_id, client.secret, client.redirect_uri) == (
        "new",
        Secret(canary.secret),
        BACK,
    )
    (asked,) = server.asked
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {
        "client_name": "s4s-notebook",
        "redirect_uris": [BACK],
        "scope": SCOPE,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
    }


def test_a_public_client_has_no_secret(server, at):
    server.on("/register", Answer({"client_id": "pub"}, 200))
    assert registered(server, at).secret is None


@pytest.mark.parametrize("key", ["description", "error_description"])
def test_a_refused_registration_says_why(server, at, key):
    server.on("/register", Answer({"error": "invalid_redirect_uri", key: "no <thanks>"}, 400))
    with pytest.raises(errors.AccessDenied, match="invalid_redirect_uri") as caught:
        registered(server, at)
    assert "thanks" not in str(caught.value)
    assert caught.value.holder_said == "invalid_redirect_uri: no &lt;thanks&gt;"


@pytest.mark.parametrize("body", [b"<html>", [], {}, {"client_id": 7}, {"client_id": "a\nb"}])
def test_a_registration_that_names_no_client(server, at, body):
    server.on("/register", Answer(body, 201))
    with pytest.raises(errors.MalformedResponse):
        registered(server, at)


@pytest.mark.parametrize("uris", [["https://evil.example/"], "x", []])
def test_another_redirect_address_is_refused(server, at, uris):
    server.on("/register", Answer({"client_id": "new", "redirect_uris": uris}, 201))
    with pytest.raises(errors.AccessDenied, match="another redirect address"):
        registered(server, at)


def test_registration_is_not_redirected(server, at):
    server.on("/register", Answer(b"", 307, {"Location": f"{server.origin}/other"}))
    with pytest.raises(errors.TokenRefused):
        registered(server, at)
    assert server.count("/other") == 0


def test_no_registration_offered(server, at):
    with pytest.raises(errors.AuthorizationError, match="does not register"):
        registered(server, found_at(server.origin, registration_endpoint=None))


def test_a_redirect_address_that_is_not_encrypted(server, at):
    with pytest.raises(errors.TrustError):
        registered(server, at, "http://far.example/callback")
    assert server.asked == []


# ------------------------------------------------------------------ revocation


def revoked(server: Server, at: Holder, client: Client, grant: Grant) -> str:
    with transport_to(server.base) as transport:
        return revoke(transport, at, client, grant)


@pytest.fixture
def grant(canary) -> Grant:
    return Grant(Secret(canary.token), Secret(canary.refresh), None, SCOPE, "p")


def test_revoking_both_tokens(server, at, client, grant, canary):
    server.on("/revoke", Answer(b""))
    assert revoked(server, at, client, grant) == "revoked"
    assert [each.form for each in server.asked] == [
        {"token": canary.refresh, "token_type_hint": "refresh_token"},
        {"token": canary.token, "token_type_hint": "access_token"},
    ]
    assert all(each.headers["authorization"].startswith("Basic ") for each in server.asked)


def test_revoking_without_a_refresh_token(server, at, client, canary):
    server.on("/revoke", Answer(b""))
    revoked(server, at, client, Grant(Secret(canary.token), None, None, SCOPE, None))
    assert server.count("/revoke") == 1


def test_a_refused_revocation(server, at, client, grant):
    server.on("/revoke", Answer({"error": "unsupported_token_type"}, 400))
    with pytest.raises(errors.TokenRefused, match="unsupported_token_type"):
        revoked(server, at, client, grant)


def test_else_the_page_where_the_person_can_do_it(server, client, grant):
    at = found_at(server.origin, revocation_endpoint=None)
    assert revoked(server, at, client, grant) == f"{server.origin}/manage"
    assert server.asked == []


def test_neither_way(server, client, grant):
    at = found_at(server.origin, revocation_endpoint=None, management_endpoint=None)
    with pytest.raises(errors.AuthorizationError, match="no way"):
        revoked(server, at, client, grant)
