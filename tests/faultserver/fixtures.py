"""What the protocol tests share: a faulty holder, a foreign sink, a clock, transports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from s4s_notebook.http.client import Transport
from s4s_notebook.http.origins import Origins
from s4s_notebook.http.retry import WaitPolicy
from tests.faultserver import FakeClock, FaultServer, Sink

# HYPOTHESIS_PROFILE=nightly tries a hundred times as much. A loaded machine is no failure.
settings.register_profile("commit", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commit"))

Make = Callable[..., Transport]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A foreign origin; after the test it must not have heard from us."""
    with Sink() as running:
        yield running
        running.assert_untouched()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class FakeTokens:
    """A token source that counts; each refresh gives the next of its tokens."""

    def __init__(self, *tokens: str) -> None:
        self.tokens, self.rejected = list(tokens), list[str]()

    def bearer(self) -> str | None:
        return self.tokens[0]

    def reject(self, rejected: str) -> None:
        """Nothing is recorded here."""

    def refresh(self, rejected: str, *, cancel: Any = None) -> None:
        self.rejected.append(rejected)
        if len(self.tokens) > 1:
            self.tokens.pop(0)


@pytest.fixture
def make(server: FaultServer, clock: FakeClock) -> Iterator[Make]:
    """Transports to `server` on a fake clock without jitter; `origins=` and others as given."""
    made: list[Transport] = []

    def build(**how: Any) -> Transport:
        how.setdefault("origins", Origins(server.base))
        how.setdefault("clock", clock)
        how.setdefault("waits", WaitPolicy(jitter=0.0))
        made.append(Transport(**how))
        return made[-1]

    yield build
    for transport in made:
        transport.close()
