"""A running sandbox and a plain HTTP client that does nothing on its own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from s4s_notebook import Sandbox


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(
    method: str,
    url: str,
    *,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """One request, no redirects, no retries."""
    sent = {"Accept": "*/*", **(headers or {})}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if form is not None:
        body = urlencode(form).encode()
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body=body, headers=sent)
        reply = connection.getresponse()
        read = reply.read()
        return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, read)
    finally:
        connection.close()


def get(url: str, **options: Any) -> Answer:
    return call("GET", url, **options)


@pytest.fixture(scope="module")
def shop() -> Iterator[Sandbox]:
    """One sandbox for a module's tests: no waits, three people and one without a record."""
    with Sandbox(retry_after=0) as sandbox:
        yield sandbox


@pytest.fixture
def fresh() -> Iterator[Sandbox]:
    """A sandbox that the test may change."""
    with Sandbox(retry_after=0) as sandbox:
        yield sandbox
