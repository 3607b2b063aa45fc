"""A small holder on a real loopback socket, which does whatever a test tells it to."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from s4s_notebook.protocol.transport import Transport
from s4s_notebook.protocol.trust import Trust
from s4s_notebook.protocol.waiting import WaitPolicy


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass
class Answer:
    """What to send; ``hang_up`` closes the connection without a word."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False

    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Rule = Callable[[Asked], Answer] | Answer


class Holder:
    """Answers by path; the rules of a path are used one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._rules: dict[str, list[Rule]] = {}
        self._lock = threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), _handler(self))
        self.port = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.base = f"{self.origin}/fhir"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def on(self, path: str, *rules: Rule) -> None:
        self._rules[path] = list(rules)

    def count(self, path: str) -> int:
        return sum(each.path == path for each in self.asked)

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.asked.append(asked)
            rules = self._rules.get(asked.path, [Answer({"resourceType": "none"}, 404)])
            rule = rules.pop(0) if len(rules) > 1 else rules[0]
        return rule(asked) if callable(rule) else rule

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle of an answer is part of many a test."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(holder: Holder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = holder.answer(Asked(self.command, self.path, headers, body))
            if answer.hang_up:
                self.close_connection = True
                return
            raw = answer.raw()
            if "Date" in answer.headers:
                self.send_response_only(answer.status)
            else:
                self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler


@contextmanager
def holder() -> Iterator[Holder]:
    server = Holder()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def transport_to(url: str, **options: Any) -> Iterator[Transport]:
    options.setdefault("waits", WaitPolicy(floor=0.0, jitter=0.0, first=0.0))
    transport = Transport(trust=Trust(url), **options)
    try:
        yield transport
    finally:
        transport.close()


class FakeClock:
    """A clock that only moves when told, or when somebody sleeps."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.steady = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.steady

    def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def move(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds


CONFIGURATION = {
    "authorization_endpoint": "{origin}/authorize",
    "token_endpoint": "{origin}/token",
    "registration_endpoint": "{origin}/register",
    "revocation_endpoint": "{origin}/revoke",
    "management_endpoint": "{origin}/manage",
    "issuer": "{origin}",
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
