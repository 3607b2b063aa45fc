"""The whole sign-in against authlib's server: what we send is what the standards ask for."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from s4s_notebook import errors
from s4s_notebook.http.redact import Secret
from s4s_notebook.smart.discovery import discover
from s4s_notebook.smart.registration import Login, exchange, register, revoke
from s4s_notebook.smart.tokens import Tokens
from tests.faultserver.holder import Answer, configuration, holder, transport_to
from tests.smart.authlib_server import Authority

BACK = "http://127.0.0.1:9999/callback"


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


def browse(url: str) -> str:
    """Open the authorise page as a browser would; where it is sent back to."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(url, timeout=10)
    with caught.value:
        assert caught.value.code == 302
        return caught.value.headers["Location"]


@pytest.fixture
def place(caplog):
    # The other party logs the codes it sees; what is watched here is what we let out.
    caplog.set_level(logging.CRITICAL, logger="authlib")
    with holder() as server, transport_to(server.base) as transport:
        promised = {"authorization_response_iss_parameter_supported": True}
        server.on(
            "/fhir/.well-known/smart-configuration",
            Answer(configuration(server.origin, **promised)),
        )
        yield server, transport, Authority(server), discover(transport, server.base)


def signed_in(place):
    _, transport, _, at = place
    client = register(transport, at, BACK)
    login = Login(at, client)
    back = browse(login.url)
    return client, login, back, exchange(transport, at, client, login, login.code_from(back))


def test_from_registration_to_revocation(place):
    _, transport, authority, at = place
    client, _, back, grant = signed_in(place)
    assert "iss=" in back
    assert grant.patient == "smart-1288992"
    assert grant.lifetime == 3600
    tokens = Tokens(transport, at, client, grant)
    before = tokens.grant
    tokens.refresh(before.access_token.reveal())
    assert tokens.grant.access_token != before.access_token
    assert tokens.grant.refresh_token != before.refresh_token
    assert [token.revoked for token in authority.tokens] == [True, False]
    assert revoke(transport, at, client, tokens.grant) == "revoked"
    assert all(token.revoked for token in authority.tokens)
    with pytest.raises(errors.ReauthorizationRequired):
        tokens.refresh(tokens.bearer())


def test_a_code_is_good_once(place):
    _, transport, _, at = place
    client, login, back, _ = signed_in(place)
    code = dict(part.split("=") for part in back.partition("?")[2].split("&"))["code"]
    with pytest.raises(errors.TokenRefused, match="invalid_grant"):
        exchange(transport, at, client, login, code)


def test_another_verifier_is_refused(place):
    _, transport, _, at = place
    client = register(transport, at, BACK)
    login, other = Login(at, client), Login(at, client)
    code = login.code_from(browse(login.url))
    with pytest.raises(errors.TokenRefused, match="invalid_grant"):
        exchange(transport, at, client, other, code)


def test_a_wrong_secret_is_refused(place):
    _, transport, _, at = place
    client = register(transport, at, BACK)
    login = Login(at, client)
    code = login.code_from(browse(login.url))
    wrong = replace(client, client_secret=Secret("wrong"))
    with pytest.raises(errors.TokenRefused, match="invalid_client"):
        exchange(transport, at, wrong, login, code)


def test_a_public_client(place):
    _, transport, authority, at = place
    registered = register(transport, at, BACK)
    authority.clients[registered.client_id].info["token_endpoint_auth_method"] = "none"
    client = replace(registered, client_secret=None)
    login = Login(at, client)
    grant = exchange(transport, at, client, login, login.code_from(browse(login.url)))
    tokens = Tokens(transport, at, client, grant)
    tokens.refresh(tokens.bearer())
    assert tokens.grant.access_token != grant.access_token
