"""Two HTTP servers on loopback in one background thread, with a log of requests."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .context import Record, SandboxContext
from .faults import TRANSPORT


class NoAccessLogProtocol(H11Protocol):
    """The HTTP/1.1 protocol without an access log, which would print codes in queries.

    ``access_log=False`` does not suffice, because uvicorn logs when any logger has a handler,
    the root logger included.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            # A scripted fault may need the connection itself.
            scope[TRANSPORT] = self.transport
            await inner(scope, receive, send)

        self.app = app


class Servers:
    """The servers of several applications, each on its own socket.

    Args:
        host: Address to listen on.
        ports: A port for each application; 0 for any free port.

    Raises:
        OSError: A port is in use.
    """

    def __init__(self, host: str, ports: Sequence[int]) -> None:
        self.sockets: list[socket.socket] = []
        try:
            for port in ports:
                self.sockets.append(_bound(host, port))
        except OSError:
            self._close_sockets()
            raise
        self._servers: list[uvicorn.Server] = []
        self._thread: threading.Thread | None = None

    @property
    def ports(self) -> list[int]:
        """The ports of the sockets."""
        return [int(s.getsockname()[1]) for s in self.sockets]

    def start(self, apps: Sequence[ASGIApp]) -> None:
        """Serve the applications, and return when every server accepts connections.

        Raises:
            RuntimeError: A server does not start.
        """
        self._servers = [uvicorn.Server(_config(app)) for app in apps]
        self._thread = threading.Thread(target=self._run, name="s4s-sandbox", daemon=True)
        self._thread.start()
        pause = threading.Event()
        while not all(server.started for server in self._servers):
            if not self._thread.is_alive():
                raise RuntimeError("the sandbox's servers did not start")
            pause.wait(0.005)

    def _run(self) -> None:
        async def serve() -> None:
            await asyncio.gather(
                *(s.serve(sockets=[k]) for s, k in zip(self._servers, self.sockets, strict=True))
            )
            # A reader that has stopped reading would keep its transport open for ever.
            for server in self._servers:
                for connection in list(server.server_state.connections):
                    connection.transport.abort()
            await asyncio.sleep(0.01)

        asyncio.run(serve())

    def stop(self) -> None:
        """Stop within about a second, including open streams."""
        for server in self._servers:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self.sockets:
            sock.close()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=NoAccessLogProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=256 * 1024,
    )


def _bound(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


SECRETS = frozenset(
    {
        "access_token",
        "client_secret",
        "code",
        "code_challenge",
        "code_verifier",
        "refresh_token",
        "state",
        "token",
    }
)
_PREFIX = re.compile(r"(/[A-Za-z0-9._~@%-]+)+")


class RequestRecorder:
    """ASGI middleware that adds a :class:`Record` of each request to the log."""

    def __init__(self, app: ASGIApp, context: SandboxContext, *, imaging: bool) -> None:
        self._app = app
        self._context = context
        self._imaging = imaging

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request and log its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = formatdate(self._context.settings.now(), usegmt=True)
                message["headers"] = [*message["headers"], (b"date", now.encode())]
                self._add(scope, message)
            await send(message)

        await self._app(scope, receive, recording)

    def _add(self, scope: Scope, response: Message) -> None:
        request_headers = dict(scope["headers"])
        response_headers = {name.lower(): value for name, value in response.get("headers", ())}
        retry = response_headers.get(b"retry-after")
        context = self._context
        context.log.append(
            Record(
                method=scope["method"],
                path=redacted_path(scope),
                status=response["status"],
                origin=context.imaging_origin if self._imaging else context.fhir_origin,
                token=b"authorization" in request_headers,
                retry_after=None if retry is None else retry.decode("latin-1"),
                time=time.time(),
            )
        )


def redacted_path(scope: Scope) -> str:
    """Return path and query with the values of secrets replaced by ``***``."""
    path: str = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    query = scope["query_string"].decode("latin-1")
    if not query:
        return path
    pairs = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        hidden = unquote(name) in SECRETS
        pairs.append(f"{name}{equals}{'***' if hidden else value}")
    return f"{path}?{'&'.join(pairs)}"


class ForwardedPrefix:
    """ASGI middleware for an application behind a proxy's path.

    jupyter-server-proxy strips its prefix and sends it in ``X-Forwarded-Prefix``; Starlette
    ignores that header, so ``root_path`` and ``path`` are set here. Repeated slashes in the
    path, which some DICOMweb clients send, are collapsed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request below the prefix."""
        if scope["type"] == "http":
            scope = self._with_prefix(dict(scope))
        await self._app(scope, receive, send)

    @staticmethod
    def _with_prefix(scope: Scope) -> Scope:
        scope["path"] = re.sub("//+", "/", scope["path"])
        prefix = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1")
        prefix = prefix.rstrip("/")
        if prefix and len(prefix) < 500 and _PREFIX.fullmatch(prefix):
            scope["root_path"] = prefix
            scope["path"] = prefix + scope["path"]
        return scope
