"""An authorisation server of authlib's, behind the scripted holder: somebody else's reading of
the standards (RFC 6749, 7009, 7591, 7636, 9207) that our client has to satisfy."""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Payload, OAuth2Request, grants
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter

from tests.faultserver.holder import Answer, Asked, Holder


class Client:
    def __init__(self, client_id: str, secret: str, info: dict[str, Any]) -> None:
        self.client_id, self.client_secret, self.info = client_id, secret, info

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return self.info["redirect_uris"][0]

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, uri):
        return uri in self.info["redirect_uris"]

    def check_client_secret(self, secret):
        return secrets.compare_digest(secret, self.client_secret)

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.info["token_endpoint_auth_method"]

    def check_response_type(self, response_type):
        return response_type in self.info["response_types"]

    def check_grant_type(self, grant_type):
        return grant_type in self.info["grant_types"]

    @property
    def client_info(self):
        return {"client_id": self.client_id, "client_secret": self.client_secret,
                "client_id_issued_at": 0, "client_secret_expires_at": 0}  # fmt: skip

    @property
    def client_metadata(self):
        return self.info


class Code:
    def __init__(self, code: str, request: Any) -> None:
        payload = request.payload
        self.code, self.client_id, self.user = code, request.client.client_id, request.user
        self.redirect_uri, self.scope = payload.redirect_uri, payload.scope
        self.code_challenge = payload.data.get("code_challenge")
        self.code_challenge_method = payload.data.get("code_challenge_method")

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class Token:
    def __init__(self, token: dict[str, Any], client: Client, user: str) -> None:
        self.token, self.client, self.user, self.revoked = token, client, user, False

    def check_client(self, client):
        return client is self.client

    def get_scope(self):
        return self.token["scope"]

    def get_expires_in(self):
        return self.token["expires_in"]

    def is_expired(self):
        return False

    def is_revoked(self):
        return self.revoked

    def get_user(self):
        return self.user

    def get_client(self):
        return self.client


class _Payload(OAuth2Payload):
    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    @property
    def data(self):
        return dict(self._pairs)

    @property
    def datalist(self):
        lists: dict[str, list[str]] = {}
        for name, value in self._pairs:
            lists.setdefault(name, []).append(value)
        return lists


class _Request(OAuth2Request):
    def __init__(self, asked: Asked) -> None:
        # authlib insists on https, of which a loopback server has none
        uri = f"https://holder.example{asked.target}"
        headers = {name.title(): value for name, value in asked.headers.items()}
        super().__init__(asked.method, uri, headers=headers)
        self._args = dict(parse_qsl(urlsplit(asked.target).query))
        self._form_values = dict(parse_qsl(asked.body.decode()))
        text = urlsplit(asked.target).query + "&" + asked.body.decode()
        self.payload = _Payload(parse_qsl(text))

    @property
    def args(self):
        return self._args

    @property
    def form(self):
        return self._form_values


class _JSONRequest:
    def __init__(self, asked: Asked) -> None:
        import json

        self.payload = _Payload(list(json.loads(asked.body).items()))
        self.headers, self.method = asked.headers, asked.method


class _CodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "none"]  # noqa: RUF012 - authlib's

    def save_authorization_code(self, code, request):
        self.server.codes[code] = Code(code, request)

    def query_authorization_code(self, code, client):
        found = self.server.codes.get(code)
        return found if found and found.client_id == client.client_id else None

    def delete_authorization_code(self, authorization_code):
        del self.server.codes[authorization_code.code]

    def authenticate_user(self, authorization_code):
        return authorization_code.user


class _RefreshGrant(grants.RefreshTokenGrant):
    INCLUDE_NEW_REFRESH_TOKEN = True
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "none"]  # noqa: RUF012 - authlib's

    def authenticate_refresh_token(self, refresh_token):
        for token in self.server.tokens:
            if token.token.get("refresh_token") == refresh_token and not token.revoked:
                return token
        return None

    def authenticate_user(self, refresh_token):
        return refresh_token.user

    def revoke_old_credential(self, refresh_token):
        refresh_token.revoked = True


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012 - authlib's

    def query_token(self, token_string, token_type_hint):
        for token in self.server.tokens:
            if token_string in (token.token["access_token"], token.token.get("refresh_token")):
                return token
        return None

    def revoke_token(self, token, request):
        token.revoked = True


class _Registration(ClientRegistrationEndpoint):
    def authenticate_token(self, request):
        return "anybody"

    def generate_client_info(self, request):
        return {"client_id": "c" + secrets.token_hex(8), "client_secret": secrets.token_urlsafe(8)}

    def save_client(self, client_info, client_metadata, request):
        client = Client(client_info["client_id"], client_info["client_secret"], client_metadata)
        self.server.clients[client.client_id] = client
        return client

    def get_server_metadata(self):
        return {
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }


class _Response(Answer):
    """With the one attribute that authlib's issuer extension wants of a framework."""

    @property
    def location(self):
        return self.headers.get("Location")

    @location.setter
    def location(self, value):
        self.headers["Location"] = value


class _Issuer(IssuerParameter):
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def get_issuer(self):
        return self.issuer


class Authority(AuthorizationServer):
    """authlib's server on the paths /authorize, /token, /revoke and /register of a holder."""

    def __init__(self, holder: Holder) -> None:
        super().__init__()
        self.clients: dict[str, Client] = {}
        self.codes: dict[str, Code] = {}
        self.tokens: list[Token] = []
        self.register_token_generator("default", BearerTokenGenerator(_token, _token, _an_hour))
        self.register_grant(_CodeGrant, [CodeChallenge(required=True)])
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_Revocation)
        self.register_endpoint(_Registration)
        self.register_extension(lambda server: _Issuer(f"{holder.origin}/fhir")(server))
        holder.on("/authorize", self._authorize)
        holder.on("/token", self.create_token_response)
        holder.on("/revoke", lambda asked: self.create_endpoint_response("revocation", asked))
        holder.on(
            "/register", lambda asked: self.create_endpoint_response("client_registration", asked)
        )

    def _authorize(self, asked: Asked) -> Answer:
        """The person approves at once."""
        request = self.create_oauth2_request(asked)
        grant = self.get_consent_grant(request, end_user="smart-1288992")
        return self.create_authorization_response(request, grant_user="smart-1288992", grant=grant)

    def query_client(self, client_id):
        return self.clients.get(client_id)

    def save_token(self, token, request):
        token["patient"] = request.user
        self.tokens.append(Token(token, request.client, request.user))

    def create_oauth2_request(self, request):
        return request if isinstance(request, OAuth2Request) else _Request(request)

    def create_json_request(self, request):
        return _JSONRequest(request)

    def handle_response(self, status, body, headers):
        raw = body if isinstance(body, dict) else str(body).encode()
        return _Response(raw, status, dict(headers))

    def send_signal(self, name, *args, **kwargs):
        """Nobody listens."""


def _token(*args: Any, **kwargs: Any) -> str:
    return secrets.token_urlsafe(24)


def _an_hour(*args: Any) -> int:
    return 3600 if time.time() else 0
