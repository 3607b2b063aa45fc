"""I04: faults of groups A to D, told to the sandbox and seen on the wire, byte for byte."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from s4s_notebook import Sandbox

from .conftest import call, get
from .test_consent import app
from .test_wado_routes import uid


def wire(url: str, token: str | None = None, timeout: float = 10) -> tuple[bytes, bool]:
    """Everything the server sends to one GET, and whether it ended with a reset."""
    parts = urlsplit(url)
    lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    got = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout) as sock:
        sock.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        while True:
            try:
                piece = sock.recv(65536)
            except ConnectionResetError:
                return got, True
            if not piece:
                return got, False
            got += piece


@pytest.fixture
def stage(fresh: Sandbox) -> Any:
    study = uid(fresh, "Whole body bone scan")
    places = {
        "wado": f"{fresh.wado_base('smart-1288992', open_=True)}/studies/{study}",
        "fhir": f"{fresh.open_fhir_url}/ImagingStudy?patient=smart-1288992",
        "eob": f"{fresh.open_fhir_url}/ExplanationOfBenefit?patient=smart-1288992",
        "token": fresh.fhir_url.removesuffix("/api/fhir") + "/oauth/token",
        "smart": f"{fresh.fhir_url}/.well-known/smart-configuration",
    }
    return fresh, places


def without_end(status: int, headers: Any, body: bytes) -> Any:
    return status, headers, body[: body.rindex(b"\r\n--")]


def other_next(status: int, headers: Any, body: bytes) -> Any:
    return status, headers, body.replace(b'"url":"http://127.0.0.1', b'"url":"http://evil.example')


BIG = b"x" * 10_000_000
LONG = b"h" * 200_000
TWO_LENGTHS = b"Content-Length: 5\r\nTransfer-Encoding: chunked"
PART = b"--b\r\nContent-Type: application/dicom\r\n"
RELATED = [("Content-Type", 'multipart/related; type="application/dicom"; boundary=b')]
# id, place, the rule, and what must be on the wire.
ANSWERS: list[tuple[str, str, dict[str, Any], bytes]] = [
    ("A05", "smart", {"edit": lambda s, h, b: (s, h, b.replace(b"S256", b"plain"))}, b'"plain"'),
    ("A08", "token", {"status": 307, "headers": [("Location", "http://evil.example/")]}, b" 307 "),
    ("A10", "token", {"status": 200, "body": b"<html>", "headers": [("Content-Type", "text/html")]},
     b"<html>"),
    ("A10", "token", {"status": 200, "body": BIG}, BIG),
    ("B01", "eob", {"edit": other_next}, b"http://evil.example"),
    ("B06", "fhir", {"status": 302, "headers": [("Location", "/api/open-fhir/x")]}, b" 302 "),
    ("B08", "fhir", {"status": 200, "body": b"\xef\xbb\xbf{}"}, b"\xef\xbb\xbf{}"),
    ("B09", "fhir", {"status": 200, "body": b"[" * 100_000}, b"[" * 100_000),
    ("B10", "fhir", {"status": 200, "body": b"\x1f\x8b", "headers": [("Content-Encoding", "gzip")]},
     b"content-encoding: gzip"),
    ("C01", "fhir", {"headers": [("Retry-After", "300")]}, b"retry-after: 300"),
    ("C02", "fhir", {"headers": [("Retry-After", "Sunday, 06-Nov-94 08:49:37 GMT")]}, b"06-Nov-94"),
    ("C04", "fhir", {"headers": [("Retry-After", "1"), ("Retry-After", "2")]},
     b"retry-after: 1\r\nretry-after: 2"),
    ("C05", "fhir", {"headers": [("Retry-After", "9" * 30)]}, b"9" * 30),
    ("C11", "fhir", {"status": 429}, b" 429 "),
    ("D01", "wado", {"edit": without_end}, b"DICM"),
    ("D04", "wado", {"status": 200, "headers": RELATED, "body": PART + b"\r\n--bx--b--\r\n"},
     b"--bx--b--"),
    ("D05", "wado", {"status": 200, "headers": [("Content-Type", "multipart/related")],
                     "body": PART}, b"content-type: multipart/related\r\n"),
    ("D06", "wado", {"status": 200, "headers": RELATED,
                     "body": PART + b"Content-Length: 1_0\r\n\r\n"}, b"Content-Length: 1_0"),
    ("D09", "wado", {"status": 200, "headers": RELATED, "body": b"--b--\r\n"}, b"--b--\r\n"),
    ("D10", "wado", {"status": 200, "headers": [("Content-Type", "application/dicom")],
                     "body": b"\0" * 128 + b"DICM"}, b"DICM"),
    ("D11", "wado", {"status": 307, "headers": [("Location", "http://evil.example/?sig=1")]},
     b"location: http://evil.example/?sig=1"),
    ("D19", "wado", {"raw": b"HTTP/1.1 200 OK\r\n" + TWO_LENGTHS + b"\r\n\r\n0\r\n\r\n"},
     TWO_LENGTHS),
    ("D19", "wado", {"raw": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000}, b"103 Early"),
    ("D19", "wado", {"raw": b"HTTP/1.1 200 OK\r\nX: " + LONG + b"\r\n\r\n"}, LONG),
]  # fmt: skip


@pytest.mark.fault("I04")
@pytest.mark.parametrize(
    ("place", "rule", "seen"),
    [case[1:] for case in ANSWERS],
    ids=[f"{n}-{case[0]}" for n, case in enumerate(ANSWERS)],
)
def test_a_scripted_answer_is_on_the_wire_once(
    stage: Any, place: str, rule: dict[str, Any], seen: bytes
) -> None:
    sandbox, places = stage
    url = places[place]
    told = sandbox.script(f"*{urlsplit(url).path}*", **rule)
    got, _ = wire(url)
    assert seen in got
    assert told.used == 1
    after, _ = wire(url)
    status = after.split(b"\r\n", 1)[0]
    assert (b" 405 " if place == "token" else b" 200 ") in status  # the script is over


@pytest.mark.fault("I04")
@pytest.mark.parametrize("cut", [0, 1, 1000])
def test_a_body_cut_short_closes_the_connection(stage: Any, cut: int) -> None:
    sandbox, places = stage
    sandbox.script("*/studies/*", edit=lambda s, h, b: (s, h, b), cut=cut)
    head, _, body = wire(places["wado"])[0].partition(b"\r\n\r\n")
    assert b"content-length:" in head
    assert len(body) == cut


@pytest.mark.fault("I04")
def test_a_reset_in_the_middle(stage: Any) -> None:
    sandbox, places = stage
    sandbox.script("*/studies/*", edit=lambda s, h, b: (s, h, b), cut=5000, reset=True)
    got, reset = wire(places["wado"])
    assert reset
    assert len(got) < 6000


@pytest.mark.fault("I04")
def test_delay_and_drip(stage: Any) -> None:
    sandbox, places = stage
    sandbox.script("*/ImagingStudy*", status=200, body=b"0123456789", delay=0.3, drip=0.05)
    started = time.monotonic()
    got, _ = wire(places["fhir"])
    assert got.endswith(b"0123456789")
    assert time.monotonic() - started >= 0.75


@pytest.mark.fault("I04")
def test_the_nth_page_fails_and_then_works(stage: Any) -> None:
    sandbox, places = stage
    sandbox.script("*/ExplanationOfBenefit*", after=1, times=2, status=503)
    statuses = [get(places["eob"]).status for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]
    sandbox.script("*/ExplanationOfBenefit*", times=None, status=500)
    assert {get(places["eob"]).status for _ in range(3)} == {500}
    sandbox.unscript()
    assert get(places["eob"]).status == 200


@pytest.mark.fault("I04")
def test_a_token_answer_can_be_lost_after_it_was_made(stage: Any) -> None:
    """A12: the holder has rotated, the client never hears of it."""
    sandbox, _ = stage
    client = app(sandbox)
    grant = client.redeem(client.sign_in()["code"]).json()
    sandbox.script("/oauth/token", edit=lambda s, h, b: (s, h, b), cut=0, reset=True)
    with pytest.raises((http.client.HTTPException, OSError)):
        client.refresh(grant["refresh_token"])
    assert client.refresh(grant["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.fault("I04")
def test_two_origins_by_default(shop: Sandbox) -> None:
    fhir, imaging = urlsplit(shop.fhir_url), urlsplit(shop.wado_url)
    assert fhir.hostname == imaging.hostname == "127.0.0.1"
    assert fhir.port != imaging.port
    smart = get(f"{shop.fhir_url}/.well-known/smart-configuration").json()
    assert urlsplit(smart["token_endpoint"]).netloc == fhir.netloc
    study = get(f"{shop.open_fhir_url}/ImagingStudy").json()["entry"][0]["resource"]
    assert urlsplit(study["contained"][0]["address"]).netloc == imaging.netloc


@pytest.mark.fault("I05")
def test_everything_held_is_made_up(shop: Sandbox) -> None:
    """Names say so, numbers are out of every real range, and phantoms carry the same names."""
    text = json.dumps([shop.resources(kind) for kind in ("Patient", "ExplanationOfBenefit")])
    for patient in shop.resources("Patient"):
        assert patient["name"][0]["family"].startswith("Synthetic-")
        assert patient["identifier"][0]["value"].startswith("-")
    assert "Sandbox Hospital (synthetic)" in text
    npis = {part.split('"')[0] for part in text.split('us-npi", "value": "')[1:]}
    assert npis
    assert all(npi.startswith("99") for npi in npis)


@pytest.mark.fault("I05")
def test_on_binder_only_the_sandbox_can_be_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    from s4s_notebook._connect import connect
    from s4s_notebook.errors import UntrustedOrigin

    with Sandbox() as other:
        monkeypatch.setenv("BINDER_SERVICE_HOST", "10.0.0.1")
        with pytest.raises(UntrustedOrigin):
            connect(other.fhir_url)
        assert other.requests == []
        monkeypatch.setenv("S4S_SANDBOX_URL", other.fhir_url)
        connection = connect("sandbox")
        assert connection.holder.base == other.fhir_url
        connection.close()


def test_post_bodies_reach_the_holder_through_an_edit(stage: Any) -> None:
    sandbox, places = stage
    sandbox.script("*_search*", edit=lambda s, h, b: (s, [*h, ("X-Seen", "yes")], b))
    answer = call(
        "POST", places["fhir"].partition("?")[0] + "/_search", form={"patient": "smart-1288992"}
    )
    assert (answer.status, answer.headers["x-seen"], answer.json()["total"]) == (200, "yes", 7)
