"""Scripted faults: what a test or a teacher wants the next answers to be.

A rule answers in place of the holder (status, headers, body, or raw bytes on the wire), or
changes the holder's own answer. It may stop in the middle, reset, dawdle and drip, so that
every fault a client must survive can be shown over a real socket.
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
    """What happens to requests whose path (with its query) fits the pattern.

    Attributes:
        path: a glob, as ``*/studies/*`` or ``/oauth/token``.
        times: how many requests it takes; None for all from now on.
        after: how many fitting requests pass untouched before.
        status, headers, body: the answer. Content-Length is added unless it is given.
        raw: bytes put on the wire instead of any HTTP answer of ours.
        edit: gets the holder's own status, headers and body; returns what to send.
        cut: close the connection after so many bytes of the body.
        reset: end with a TCP reset instead of a close.
        delay: seconds before the answer begins; drip: seconds between single bytes.
        used: how many requests it has answered.
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

    def fits(self, path: str) -> bool:
        """Whether a request for this path is meant."""
        return fnmatch.fnmatchcase(path, self.path)


class Script:
    """The rules of one sandbox; the oldest that fits wins. Thread-safe."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, path: str) -> Rule | None:
        """The rule for this request, if there is one; counts it as used."""
        with self._lock:
            for rule in self._rules:
                if not rule.fits(path):
                    continue
                if rule.after > 0:
                    rule.after -= 1
                    continue
                if rule.times is None or rule.used < rule.times:
                    rule.used += 1
                    return rule
        return None


class FaultInjector:
    """The layer of a server that follows the script."""

    def __init__(self, app: ASGIApp, script: Script) -> None:
        self._app = app
        self._script = script

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rule = self._script.take(_target(scope)) if scope["type"] == "http" else None
        if rule is None:
            await self._app(scope, receive, send)
            return
        if rule.delay:
            await asyncio.sleep(rule.delay)
        if rule.raw is not None:
            await _raw(rule, scope, receive)
            return
        status, headers, body = rule.status, rule.headers, rule.body
        if rule.edit is not None:
            status, headers, body = rule.edit(*await self._own_answer(scope, receive))
        await _answer(rule, scope, receive, send, (status, headers, body))

    async def _own_answer(self, scope: Scope, receive: Receive) -> tuple[int, Headers, bytes]:
        """What the holder would have said, Content-Length left out."""
        status, headers, body = 500, [], bytearray()

        async def keep(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [
                    (k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"]
                ]
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, keep)
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        return status, kept, bytes(body)


def _target(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


async def _answer(
    rule: Rule, scope: Scope, receive: Receive, send: Send, made: tuple[int, Headers, bytes]
) -> None:
    status, headers, body = made
    pairs = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers]
    if not any(name in (b"content-length", b"transfer-encoding") for name, _ in pairs):
        pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    whole = rule.cut is None
    sent = body if rule.cut is None else body[: rule.cut]
    if rule.drip:
        for byte in sent:
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await asyncio.sleep(rule.drip)
        sent = b""
    await send({"type": "http.response.body", "body": sent, "more_body": not whole})
    if not whole:
        await _hang_up(rule, scope, receive)


async def _raw(rule: Rule, scope: Scope, receive: Receive) -> None:
    transport: asyncio.Transport = scope[TRANSPORT]
    data = rule.raw or b""
    if rule.drip:
        for byte in data:
            transport.write(bytes([byte]))
            await asyncio.sleep(rule.drip)
    else:
        transport.write(data if rule.cut is None else data[: rule.cut])
    await _hang_up(rule, scope, receive)


async def _hang_up(rule: Rule, scope: Scope, receive: Receive) -> None:
    """End the connection here, by a reset if the rule says so, and wait until it is gone."""
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
