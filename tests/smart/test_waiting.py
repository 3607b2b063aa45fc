"""Every call of sign-in and discovery obeys a Retry-After, and the next process does so too."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from s4s_notebook import errors
from s4s_notebook.http.client import Transport
from s4s_notebook.http.redact import Secret
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.http.waits import Waits
from s4s_notebook.smart.authorization import Login
from s4s_notebook.smart.discovery import discover, read_configuration
from s4s_notebook.smart.registration import exchange, register, revoke
from s4s_notebook.smart.token_endpoint import Client, Grant
from s4s_notebook.smart.tokens import Tokens, to_record
from tests.faultserver import FakeClock, FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.holder import Answer, configuration, holder, transport_to

from .rotating import FileTokenStore, Rotating
from .test_tokens import run_children

BACK = "http://127.0.0.1:9999/callback"
CLIENT = Client("app", None, BACK)
HOUR = 3600.0


def exchange_code(transport: Transport, server: FaultServer) -> Any:
    at = read_configuration(configuration(server.origin), server.base)
    login = Login(at, CLIENT, clock=transport.clock)
    return exchange(transport, at, CLIENT, login, Secret("code"))


def register_client(transport: Transport, server: FaultServer) -> Any:
    return register(transport, read_configuration(configuration(server.origin), server.base), BACK)


def revoke_grant(transport: Transport, server: FaultServer) -> Any:
    at = read_configuration(configuration(server.origin), server.base)
    return revoke(transport, at, CLIENT, Grant(Secret("a"), None, None, "s", "p"))


def find(transport: Transport, server: FaultServer) -> Any:
    return discover(transport, server.base)


CAPABILITIES = {
    "resourceType": "CapabilityStatement",
    "rest": [{"security": {"extension": [{"url": "x/oauth-uris", "extension": [
        {"url": "authorize", "valueUri": "/authorize"}, {"url": "token", "valueUri": "/token"},
    ]}]}}],
}  # fmt: skip
CALLS: dict[str, tuple[str, Callable[..., Any], dict[str, Any], int]] = {
    "code": ("/token", exchange_code, {"access_token": "t", "token_type": "bearer"}, 200),
    "registration": ("/register", register_client, {"client_id": "c"}, 201),
    "revocation": ("/revoke", revoke_grant, {}, 200),
    "discovery": ("/fhir/.well-known/smart-configuration", find, {}, 200),
    "CapabilityStatement": ("/fhir/metadata", find, CAPABILITIES, 200),
}


@pytest.mark.fault("K02")
@pytest.mark.parametrize("status", [503, 429])
@pytest.mark.parametrize("name", CALLS)
def test_a_retry_after_is_obeyed_and_stored(
    server: FaultServer, clock: FakeClock, tmp_path: Path, name: str, status: int
) -> None:
    path, call, body, good = CALLS[name]
    times: list[float] = []

    def answer(talk: Any) -> None:
        times.append(clock.up)
        later = len(times) == 1
        body_ = configuration(server.origin) if name == "discovery" else body
        (send.later("3600", status=status) if later else send.json(body_, good))(talk)

    server.on(path, answer)

    def once(budget: float) -> Any:
        """Call as a new process does."""
        options = {"clock": clock, "waits": WaitPolicy(budget=budget, jitter=0.0)}
        with transport_to(
            server.base, stored_waits=Waits(tmp_path / "waits", clock), **options
        ) as transport:
            transport.origins.allow(server.origin, tokens=False)
            return call(transport, server)

    for _ in range(2):
        with pytest.raises(errors.RetryAfterTooLong) as caught:
            once(budget=10.0)
        assert caught.value.not_before == pytest.approx(times[0] + HOUR + clock.now - clock.up)
    assert len(times) == 1
    if name == "code":  # a code does not live that long
        clock.sleep(HOUR)
    once(budget=2 * HOUR)
    assert len(times) == 2
    assert HOUR <= times[1] - times[0] < HOUR + 10


@pytest.fixture
def rotating(canary) -> Any:
    with holder() as server:
        yield Rotating(server, canary.token)


def record_of(rotating: Rotating) -> tuple[Any, Grant]:
    server = rotating.server
    at = read_configuration(configuration(server.origin), server.base)
    return at, Grant(Secret(rotating.access), Secret(rotating.refresh), 1.0, "s", "p")


@pytest.mark.fault("K01")
@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "rejected"])
def test_a_busy_token_endpoint_sees_one_request_of_two_processes(
    rotating: Rotating, tmp_path: Path, canary, accepted: bool
) -> None:
    """20 threads with a token that is due, whether or not the holder still takes it."""
    server = rotating.server
    rotating.before = lambda asked: Answer(b"", 503, {"Retry-After": "3600"})
    if not accepted:
        server.on("/fhir/Patient/p", Answer({}, 401))
    token_store = FileTokenStore(tmp_path / "kept.json")
    canary.allow(token_store.path)
    at, grant = record_of(rotating)
    token_store.save(to_record(at, CLIENT, grant))
    result = "ok" if accepted else "RetryAfterTooLong"
    assert run_children(server, token_store, 2, 10) == [result] * 20
    assert run_children(server, token_store, 1, 1) == [result]  # after a restart
    assert server.count("/token") == 1


@pytest.mark.fault("K01")
def test_a_busy_token_endpoint_sees_no_request_for_an_hour(rotating: Rotating) -> None:
    """20 threads over two hours, with a token that is due and still taken."""
    clock, times = FakeClock(), list[float]()

    def busy(asked: Any) -> Answer | None:
        times.append(clock.up)
        return Answer(b"", 503, {"Retry-After": "3600"}) if len(times) == 1 else None

    rotating.before = busy
    at, grant = record_of(rotating)
    with (
        transport_to(rotating.server.base, clock=clock) as transport,
        ThreadPoolExecutor(20) as pool,
    ):
        transport.tokens = Tokens(transport, at, CLIENT, grant)
        address = f"{rotating.server.base}/Patient/p"
        for _ in range(13):
            replies = pool.map(
                lambda _: transport.request("GET", address, accept="*/*").status, range(20)
            )
            assert set(replies) == {200}
            clock.sleep(300)
    assert len(times) == 2
    assert times[1] - times[0] >= HOUR
