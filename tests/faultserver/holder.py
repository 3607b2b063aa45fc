"""A small holder on the fault server: JSON by path, answered by rules that a test gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from s4s_notebook.http.client import Transport
from s4s_notebook.http.origins import Origins
from s4s_notebook.http.retry import WaitPolicy
from tests.faultserver import FaultServer
from tests.faultserver.server import Conversation, Script, Seen


@dataclass
class Answer:
    """What to send; ``hang_up`` closes the connection without a word."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False

    def raw(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + body


class Asked:
    """One request as a rule sees it."""

    def __init__(self, seen: Seen) -> None:
        self.method, self.target, self.body = seen.method, seen.target, seen.body
        self.path, self.query = seen.path, seen.query
        self.headers = {name.lower(): value for name, value in seen.headers}

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


Rule = Callable[[Asked], Answer] | Answer


class Holder(FaultServer):
    """Rules of a path are used one after the other, the last one for ever."""

    def on(self, path: str, *rules: Rule) -> Holder:
        super().on(path, *map(_script, rules))
        return self

    @property
    def asked(self) -> list[Asked]:
        return [Asked(seen) for seen in self.requests]

    def count(self, path: str) -> int:
        return len(self.at(path))


def _script(rule: Rule) -> Script:
    def script(conversation: Conversation) -> None:
        answer = rule(Asked(conversation.seen)) if callable(rule) else rule
        if not answer.hang_up:
            conversation.keep = True
            conversation.send(answer.raw())

    return script


@contextmanager
def holder() -> Iterator[Holder]:
    with Holder() as server:
        yield server


@contextmanager
def transport_to(url: str, **options: Any) -> Iterator[Transport]:
    options.setdefault("waits", WaitPolicy(floor=0.0, jitter=0.0, first=0.0))
    origins = Origins(url, options.pop("allow_origins", ()))
    transport = Transport(origins=origins, **options)
    try:
        yield transport
    finally:
        transport.close()


CONFIGURATION = {
    "authorization_endpoint": "{origin}/authorize",
    "token_endpoint": "{origin}/token",
    "registration_endpoint": "{origin}/register",
    "revocation_endpoint": "{origin}/revoke",
    "management_endpoint": "{origin}/manage",
    "issuer": "{origin}/fhir",
    "code_challenge_methods_supported": ["S256"],
    "capabilities": ["launch-standalone", "client-confidential-symmetric"],
    "scopes_supported": ["patient/*.read"],
}


def configuration(origin: str, **changes: Any) -> dict[str, Any]:
    """A smart-configuration; a change to None leaves the entry out."""
    full = {
        name: value.format(origin=origin) if isinstance(value, str) else value
        for name, value in CONFIGURATION.items()
    } | changes
    return {name: value for name, value in full.items() if value is not None}
