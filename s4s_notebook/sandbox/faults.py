"""Scripted faults: rules that replace or change the next responses of the sandbox.

A rule sends its own response (status, headers, body, or raw bytes), or edits the response of
the data holder. It can delay, truncate or reset, so that every fault that a client has to
handle can be produced over a real socket.
"""

from __future__ import annotations

import asyncio
import fnmatch
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers = Sequence[tuple[str, str]]
Edit = Callable[[int, Headers, bytes], tuple[int, Headers, bytes]]
TRANSPORT = "s4s.transport"  # where the server's protocol puts the connection's transport


@dataclass
class Rule:
    """What happens to the requests whose path, with its query, matches a pattern.

    Attributes:
        path: A glob such as ``*/studies/*`` or ``/oauth/token``.
        times: How many requests the rule applies to; None for all from now on.
        after: How many matching requests pass before.
        status: HTTP status of the response.
        headers: Headers of the response; Content-Length is added if it is missing.
        body: Body of the response.
        raw: Bytes to send in place of an HTTP response.
        edit: Returns the status, headers and body to send for those of the data holder.
        cut: Close the connection after this many bytes of the body.
        reset: End with a TCP reset instead of a close.
        delay: Seconds before the response begins.
        drip: Seconds between single bytes.
        used: How many requests the rule was applied to.
    """

    path: str
    times: int | None = 1
    after: int = 0
    status: int = 503
    headers: Headers = ()
    body: bytes = b""
    raw: bytes | None = None
    edit: Edit | None = None
    cut: int | None = None
    reset: bool = False
    delay: float = 0.0
    drip: float = 0.0
    used: int = 0

    def matches(self, path: str) -> bool:
        """Return whether the rule is for this path."""
        return fnmatch.fnmatchcase(path, self.path)


class Script:
    """The rules of one sandbox; the oldest that matches is applied. Thread-safe."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> Rule:
        """Add a rule and return it."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()

    def take(self, path: str) -> Rule | None:
        """Return the rule for a request, if there is one, and count its use."""
        with self._lock:
            for rule in self._rules:
                if not rule.matches(path):
                    continue
                if rule.after > 0:
                    rule.after -= 1
                    continue
                if rule.times is None or rule.used < rule.times:
                    rule.used += 1
                    return rule
        return None


class FaultInjector:
    """ASGI middleware that applies the rules of a :class:`Script`."""

    def __init__(self, app: ASGIApp, script: Script) -> None:
        self._app = app
        self._script = script

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by a rule, or by the application."""
        rule = self._script.take(_target(scope)) if scope["type"] == "http" else None
        if rule is None:
            await self._app(scope, receive, send)
            return
        if rule.delay:
            await asyncio.sleep(rule.delay)
        if rule.raw is not None:
            await _send_raw(rule, scope, receive)
            return
        status, headers, body = rule.status, rule.headers, rule.body
        if rule.edit is not None:
            status, headers, body = rule.edit(*await self._own_response(scope, receive))
        await _send(rule, scope, receive, send, (status, headers, body))

    async def _own_response(self, scope: Scope, receive: Receive) -> tuple[int, Headers, bytes]:
        """Return the response of the data holder without Content-Length."""
        status, headers, body = 500, [], bytearray()

        async def collect(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [
                    (k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"]
                ]
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, collect)
        others = [(name, value) for name, value in headers if name.lower() != "content-length"]
        return status, others, bytes(body)


def _target(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


async def _send(
    rule: Rule, scope: Scope, receive: Receive, send: Send, response: tuple[int, Headers, bytes]
) -> None:
    status, headers, body = response
    pairs = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers]
    if not any(name in (b"content-length", b"transfer-encoding") for name, _ in pairs):
        pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    complete = rule.cut is None
    sent = body if rule.cut is None else body[: rule.cut]
    if rule.drip:
        for byte in sent:
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await asyncio.sleep(rule.drip)
        sent = b""
    await send({"type": "http.response.body", "body": sent, "more_body": not complete})
    if not complete:
        await _disconnect(rule, scope, receive)


async def _send_raw(rule: Rule, scope: Scope, receive: Receive) -> None:
    transport: asyncio.Transport = scope[TRANSPORT]
    data = rule.raw or b""
    if rule.drip:
        for byte in data:
            transport.write(bytes([byte]))
            await asyncio.sleep(rule.drip)
    else:
        transport.write(data if rule.cut is None else data[: rule.cut])
    await _disconnect(rule, scope, receive)


async def _disconnect(rule: Rule, scope: Scope, receive: Receive) -> None:
    """Close or reset the connection, and wait until the server notices."""
    transport: asyncio.Transport = scope[TRANSPORT]
    sock = transport.get_extra_info("socket")
    if rule.reset and sock is not None:
        while transport.get_write_buffer_size():
            await asyncio.sleep(0.005)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
