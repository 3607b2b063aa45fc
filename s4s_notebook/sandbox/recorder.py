"""Outermost layer of both servers: records each request, redacts it, answers behind a prefix."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .state import Record, State

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


class Recorder:
    """Writes one :class:`Record` a request into the sandbox's log."""

    def __init__(self, app: ASGIApp, state: State, *, imaging: bool) -> None:
        self._app = app
        self._state = state
        self._imaging = imaging

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = formatdate(self._state.settings.now(), usegmt=True)
                message["headers"] = [*message["headers"], (b"date", now.encode())]
                self._add(scope, message)
            await send(message)

        await self._app(scope, receive, recording)

    def _add(self, scope: Scope, answer: Message) -> None:
        asked = dict(scope["headers"])
        sent = {name.lower(): value for name, value in answer.get("headers", ())}
        retry = sent.get(b"retry-after")
        state = self._state
        state.log.add(
            Record(
                method=scope["method"],
                path=redacted(scope),
                status=answer["status"],
                origin=state.imaging_origin if self._imaging else state.fhir_origin,
                token=b"authorization" in asked,
                retry_after=None if retry is None else retry.decode("latin-1"),
                time=time.time(),
            )
        )


def redacted(scope: Scope) -> str:
    """Path and query with every secret's value replaced by ``***``."""
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


class Prefixed:
    """Lets the app live below a proxy's path.

    jupyter-server-proxy strips its prefix and names it in ``X-Forwarded-Prefix``; Starlette
    ignores that header, so ``root_path`` and ``path`` are set from it here. Double slashes at
    the start of a path, which some DICOMweb clients make, are folded too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = self._placed(dict(scope))
        await self._app(scope, receive, send)

    @staticmethod
    def _placed(scope: Scope) -> Scope:
        scope["path"] = re.sub("//+", "/", scope["path"])
        prefix = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1")
        prefix = prefix.rstrip("/")
        if prefix and len(prefix) < 500 and _PREFIX.fullmatch(prefix):
            scope["root_path"] = prefix
            scope["path"] = prefix + scope["path"]
        return scope
