"""The two rules for browsers: CORS (Fetch standard, SMART 2.2), and a check of the Host header."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .context import SandboxContext

_METHODS = "GET, POST, OPTIONS"
_REQUEST_HEADERS = "Authorization, Content-Type, Accept, Prefer, If-None-Match"
_EXPOSED = "Retry-After, ETag, Location, WWW-Authenticate, Warning, Content-Length"
# Discovery, registration and what needs no token: any app may read these.
_FOR_ANY_ORIGIN = re.compile(
    r"/api/fhir/(\.well-known/smart-configuration|metadata)|/\.well-known/.*|/oauth/register"
    r"|/api/open-fhir(/.*)?|/open/.*"
)
_FOR_REGISTERED = re.compile(
    r"/api/fhir(/.*)?|/oauth/(token|revoke|introspect)|/Patient/.*|/studies.*"
)
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]/?#@\s]+)(:(?P<port>[0-9]{1,5}))?")


def _path(scope: Scope) -> str:
    """Return the path without the prefix of a proxy."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


class CrossOrigin:
    """ASGI middleware for CORS.

    Any origin may read discovery and the open face; the token endpoint, FHIR with a token and
    images are for the origins of registered redirect addresses (SMART 2.2, section 2.0.3).
    """

    def __init__(self, app: ASGIApp, context: SandboxContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight request, or add the headers to the response."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = self._allowed(_path(scope), origin)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            response = Response(status_code=204 if allowed else 403, headers=_preflight(allowed))
            await response(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                response_headers.add_vary_header("Origin")
                if allowed:
                    response_headers["Access-Control-Allow-Origin"] = allowed
                    response_headers["Access-Control-Expose-Headers"] = _EXPOSED
            await send(message)

        await self._app(scope, receive, with_headers)

    def _allowed(self, path: str, origin: str) -> str:
        """Return the value of Access-Control-Allow-Origin, or an empty text."""
        if _FOR_ANY_ORIGIN.fullmatch(path):
            return "*"
        if not _FOR_REGISTERED.fullmatch(path):
            return ""
        clients = list(self._context.authority.clients.values())
        registered = {_origin(uri) for client in clients for uri in client.redirect_uris}
        return origin if origin in registered else ""


def _preflight(allowed: str) -> dict[str, str]:
    if not allowed:
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": allowed,
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _REQUEST_HEADERS,
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


class HostCheck:
    """ASGI middleware that answers 421 to a request under a foreign Host name.

    A page of another site whose name was rebound to loopback sends its own name in Host, with
    the sandbox's port. Accepted are loopback addresses, ``localhost``, the host of
    ``public_url``, the configured names, any address when the sandbox is exposed, and what a
    proxy carries: it names its prefix, and its port is another.
    """

    def __init__(self, app: ASGIApp, context: SandboxContext, port: int) -> None:
        self._app = app
        self._port = port
        settings = context.settings
        public = urlsplit(settings.public_url).hostname if settings.public_url else None
        self._names = {"localhost", *(name.lower() for name in settings.host_names)}
        self._names |= {public} if public else set()
        self._exposed = settings.host == "0.0.0.0"  # noqa: S104 - only when asked for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http" and not self._accepts(Headers(scope=scope)):
            text = "This sandbox is not served under this Host name; see --host-name.\n"
            await PlainTextResponse(text, 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _accepts(self, headers: Headers) -> bool:
        hosts = headers.getlist("host")
        if not hosts:  # HTTP/1.0, which no browser sends
            return True
        match = _HOST.fullmatch(hosts[0].strip())
        if match is None or len(hosts) != 1:
            return False
        name = match["name"].lower()
        if name in self._names or self._is_own_address(name.strip("[]")):
            return True
        return "x-forwarded-prefix" in headers and int(match["port"] or 443) != self._port

    def _is_own_address(self, name: str) -> bool:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._exposed
