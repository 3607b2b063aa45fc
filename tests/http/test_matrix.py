"""Every fault with every operation: a typed error that names the request, and nothing leaks."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from s4s_notebook import errors
from s4s_notebook.dicomweb import wado as dicomweb
from s4s_notebook.dicomweb.qido import list_instances
from s4s_notebook.fhir import search as fhir
from s4s_notebook.fhir.endpoints import endpoints
from s4s_notebook.http.backend import Limits
from s4s_notebook.http.client import Transport
from s4s_notebook.http.redact import Secret
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.smart import registration as smart
from s4s_notebook.smart.authorization import Login
from s4s_notebook.smart.discovery import discover, read_configuration
from s4s_notebook.smart.token_endpoint import Client, Grant
from s4s_notebook.smart.tokens import Tokens
from tests.faultserver import FaultServer, Sink
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import FakeTokens, Make
from tests.faultserver.holder import configuration
from tests.http.test_client import BROKEN

JSON = "application/json"
STUDY = {"uid": "1.2.3", "endpoint": [{"reference": "Endpoint/e1"}]}


class Bench:
    """What the operations need: a holder whose every address is the server, and secrets."""

    def __init__(self, server: FaultServer, transport: Transport, canary: Any) -> None:
        self.server, self.transport, self.canary = server, transport, canary
        self.holder = read_configuration(configuration(server.origin), server.base)
        self.client = Client("app", Secret(canary.secret), "http://127.0.0.1:9/callback")
        self.grant = Grant(
            Secret(canary.token), Secret(canary.refresh), None, "patient/*.read", "p1"
        )
        self.login = Login(self.holder, self.client, clock=transport.clock)

    def get(self) -> None:
        self.transport.request(
            "GET", self.server.url("/x?patient=p1"), accept=JSON
        ).checked().json()

    def post(self) -> None:
        self.transport.request(
            "POST", self.server.url("/x"), accept=JSON, form={"code": self.canary.code}
        ).checked().json()

    def stream(self) -> None:
        with self.transport.stream(self.server.url("/x"), accept="a/b") as stream:
            list(stream.chunks())

    def discover(self) -> None:
        discover(self.transport, self.server.base)

    def register(self) -> None:
        smart.register(self.transport, self.holder, "http://127.0.0.1:9/callback")

    def exchange(self) -> None:
        smart.exchange(
            self.transport, self.holder, self.client, self.login, Secret(self.canary.code)
        )

    def refresh(self) -> None:
        Tokens(self.transport, self.holder, self.client, self.grant).refresh(self.canary.token)

    def revoke(self) -> None:
        smart.revoke(self.transport, self.holder, self.client, self.grant)

    def search(self) -> None:
        list(fhir.search(self.transport, self.server.base, "ImagingStudy", [("patient", "p1")]))

    def next_page(self) -> None:
        """The first page is good; the fault comes with the second, and the first is kept."""
        first = {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": [{"relation": "next", "url": self.server.url("/second?page=2")}],
            "entry": [{"resource": {"resourceType": "Coverage", "id": "c1"}}],
        }
        self.server.on("/fhir/Coverage", send.json(first))
        pages = fhir.search(self.transport, self.server.base, "Coverage", [("beneficiary", "p1")])
        assert next(pages).resources[0]["id"] == "c1"
        next(pages)

    def read(self) -> None:
        fhir.read(self.transport, self.server.base, "Patient", "p1")

    def endpoint(self) -> None:
        endpoints(self.transport, STUDY, (), self.server.base)

    def listing(self) -> None:
        if list_instances(self.transport, self.server.url("/studies/1.2.3")) is None:
            raise errors.NotFound("not offered", request=errors.Request("GET", "listing"))

    def retrieve(self) -> None:
        with dicomweb.retrieve(self.transport, self.server.url("/studies/1.2.3")) as parts:
            for part in parts:
                list(part.chunks())


OPERATIONS: dict[str, Callable[[Bench], None]] = {
    name: call for name, call in vars(Bench).items() if not name.startswith("_")
}
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
FAULTS: dict[str, Any] = BROKEN | {
    "nothing": b"",
    "reset": send.cut(GOOD, 20, reset=True),
    "cut head": GOOD[:40],
    "cut body": GOOD + b'Content-Length: 20\r\n\r\n{"resourceType"',
    "cut chunk": GOOD + b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"resour\r\n',
    "HTML": send.reply(200, b"<html>login</html>", Content_Type="text/html"),
    "empty": send.reply(200),
    "list": send.json([1, 2]),
    "number": send.json(5),
    "null": send.json(None),
    "other object": send.json({"resourceType": "Basic", "id": "b"}),
    "wrong types": send.json({"resourceType": ["Bundle"], "entry": 5, "access_token": 7}),
    "too deep": send.reply(200, b"[" * 100_000, Content_Type=JSON),
    "NaN": send.reply(200, b'{"a":NaN}', Content_Type=JSON),
    "same key twice": send.reply(200, b'{"a":1,"a":2}', Content_Type=JSON),
    "cut gzip": send.reply(200, gzip.compress(b"{}")[:-3], Content_Encoding="gzip"),
    "brotli": send.reply(200, b"\x0b\x02{}", Content_Encoding="br"),
    "206": send.reply(206, json.dumps({"resourceType": "Basic"}).encode()),
    "401": send.reply(401),
    "403": send.json({"issue": [{"diagnostics": "no"}]}, 403),
    "404": send.reply(404),
    "410": send.reply(410),
    "500": send.reply(500, b"<html>trace</html>"),
    "502": send.reply(502),
    "503 for ever": send.later("600"),
    "503 too long": send.later("9" * 30),
    "429 odd": send.later("soon", status=429),
    "redirect to a sink": "sink",
    "redirect for ever": send.redirect("/again"),
    "redirect to metadata": send.redirect("http://169.254.169.254/latest/"),
    "redirect to a file": send.redirect("file:///etc/passwd"),
    "redirect nowhere": send.reply(302),
    "silence": send.stall(),
    "silence in the body": send.stall(GOOD + b"Content-Length: 20\r\n\r\n{"),
    "drip": send.drip(GOOD + b"Content-Length: 20000\r\n\r\n", b" ", 0.02),
}
# A stream and a revocation (RFC 7009) do not look into a 200; `get` and `post` ask for any JSON.
OBJECTS = {"list", "number", "null", "other object", "wrong types"}
PAGES = OBJECTS | {"HTML", "empty", "too deep", "NaN", "same key twice"}
FINE = {
    "get": OBJECTS | {"206"},
    "post": OBJECTS | {"206"},
    "stream": PAGES | {"206"},
    "revoke": PAGES,
}


@pytest.mark.fault("B08", "C11", "D09", "D19")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_a_typed_error(
    server: FaultServer, sink: Sink, make: Make, canary: Any, kind: str, operation: str
) -> None:
    fault = send.redirect(f"{sink.origin}/x?sig=1") if FAULTS[kind] == "sink" else FAULTS[kind]
    server.on("*", fault)
    transport = make(
        tokens=FakeTokens(canary.token),
        waits=WaitPolicy(tries=2, jitter=0.0),
        limits=Limits(answer=0.25, stall=0.25, window=0.25),
    )
    bench = Bench(server, transport, canary)
    started = time.monotonic()
    try:
        OPERATIONS[operation](bench)
    except errors.S4SError as error:
        check(error, kind)
    else:
        assert kind in FINE.get(operation, ()), f"{operation} took {kind} for success"
    assert time.monotonic() - started < 10


def check(error: errors.S4SError, kind: str) -> None:
    shown = str(error) + repr(vars(error))
    assert "cAnArY" not in shown
    assert len(str(error)) < 1500
    assert error.hint, f"{kind}: the error does not say what to do next"
    assert error.request is not None or isinstance(
        error, (errors.DiscoveryError, errors.NotDownloadable, errors.AuthorizationError)
    )


def test_the_matrix_is_as_large_as_promised() -> None:
    assert len(OPERATIONS) * len(FAULTS) >= 400
