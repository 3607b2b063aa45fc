"""Small answers that become large: structure is counted before it is parsed."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from s4s_notebook import errors
from s4s_notebook.dicomweb import qido
from s4s_notebook.fhir import search
from s4s_notebook.http import response as strict
from s4s_notebook.http.client import Transport
from s4s_notebook.http.origins import Origins
from s4s_notebook.http.redact import Secret
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.smart.discovery import discover, read_configuration
from s4s_notebook.smart.registration import register
from s4s_notebook.smart.token_endpoint import Client, Grant
from s4s_notebook.smart.tokens import Tokens
from tests.faultserver import FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.holder import configuration
from tests.memory import growth_of, measure

MIB = 1 << 20
BOMBS = {
    "lists": (b"[", b"[],", b"0]", 60 * MIB),
    "objects": (b'{"resourceType":"Bundle","entry":[', b"{},", b"{}]}", 60 * MIB),
    "entries": (b'{"resourceType":"Bundle","entry":[', b"[[]],", b"0]}", 30 * MIB),
    "floats": (b"[", b"1.5,", b"0]", 16 * MIB),  # four million
    "members": (b'{"issue":[', b'{"":1},', b"{}]}", 30 * MIB),
    "wide text": (b'["\xf0\x9f\x98\x80', b"aaaa", b'"]', 60 * MIB),
}

DAILY = ("lists", "floats", "wide text")


def squeezed(kind: str) -> bytes:
    """The bomb as gzip, of a few dozen KiB."""
    start, unit, end, size = BOMBS[kind]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [start, *[unit * (MIB // len(unit))] * (size // MIB), end]
    return b"".join(map(squeeze.compress, pieces)) + squeeze.flush()


def operations(base: str) -> dict[str, Callable[[], Any]]:
    """What reads JSON of a holder."""
    transport = Transport(origins=Origins(base), waits=WaitPolicy(budget=0.0))
    origin = base.removesuffix("/fhir")
    holder = read_configuration(configuration(origin), base)
    client = Client("app", None, "http://127.0.0.1:9/callback")
    grant = Grant(Secret("access"), Secret("refresh"), None, "s", "p", None)
    tokens = Tokens(transport, holder, client, grant)

    def error() -> Any:
        return transport.request("GET", f"{base}/error", accept="*/*").checked()

    return {
        "Bundle": lambda: list(search.search(transport, base, "Coverage", [("patient", "p")])),
        "read": lambda: search.read(transport, base, "Patient", "p"),
        "metadata": lambda: discover(transport, base),
        "error": error,
        "list": lambda: qido.list_instances(transport, f"{base}/studies/1.2.3"),
        "registration": lambda: register(transport, holder, "http://127.0.0.1:9/callback"),
        "token": lambda: tokens.refresh("access"),
    }


def run_all(base: str) -> dict[str, tuple[float, str]]:
    """Return for each operation by how many MiB it grew, and the error that ended it."""

    def attempt(operation: Callable[[], Any]) -> str:
        try:
            operation()
        except errors.S4SError as error:
            return type(error).__name__
        return "none"

    return {name: growth_of(attempt, call) for name, call in operations(base).items()}


@pytest.mark.fault("M01", "B10")
@pytest.mark.parametrize(
    "kind",
    [kind if kind in DAILY else pytest.param(kind, marks=pytest.mark.slow) for kind in BOMBS],
)
def test_a_bomb_of_structure_ends_every_operation(server: FaultServer, kind: str) -> None:
    bomb = squeezed(kind)
    assert len(bomb) < 80 << 10
    server.on("*", send.reply(200, bomb, Content_Encoding="gzip"))
    server.on("/fhir/error", send.reply(500, bomb, Content_Encoding="gzip"))
    _, ends = measure(run_all, server.base)
    assert {name: end for name, (_, end) in ends.items()} == {
        "Bundle": "MalformedResponse",
        "read": "MalformedResponse",
        "metadata": "MalformedResponse",
        "error": "HTTPStatusError",
        "list": "MalformedResponse",
        "registration": "MalformedResponse",
        "token": "MalformedResponse",
    }
    limits = dict.fromkeys(ends, 96) | {"error": 4, "registration": 4, "token": 4, "metadata": 40}
    assert {name: growth for name, (growth, _) in ends.items() if growth > limits[name]} == {}


# ------------------------------------------------------------------ just below the limits


def filled(kind: str, structure: int) -> bytes:
    """A text with so many signs of structure."""
    start, unit, end, _ = {
        **BOMBS,
        "names": (b'[{"', b'":1,"', b'":1}]', 0),
        "strings": (b"[", b'"ab",', b"0]", 0),
        "text of two bytes": (b"[", '"\u4e2d",'.encode(), b"0]", 0),
    }[kind]
    each = sum(map(unit.count, (b"{", b"[", b",", b":")))
    if kind != "names":
        return start + unit * (structure // each) + end
    return start + unit.join(b"%x" % number for number in range(structure // each)) + end


def parse_filled(kind: str, structure: int, with_orjson: bool) -> str:
    if not with_orjson:
        strict.orjson = None
    raw = filled(kind, structure)
    try:
        strict.parse_json(raw)
    except strict.NotStrictError as error:
        return str(error)
    return ""


@pytest.mark.fault("M01")
@pytest.mark.parametrize(
    ("kind", "with_orjson"),
    [
        ("lists", True),
        ("members", False),
        *(
            pytest.param(kind, with_orjson, marks=pytest.mark.slow)
            for kind in ("entries", "floats", "names", "strings", "text of two bytes")
            for with_orjson in (True, False)
        ),
    ],
)
def test_what_is_just_below_the_limit_takes_what_was_reckoned(kind, with_orjson) -> None:
    """The largest text that is read: bytes and signs of structure together use up the limit."""
    sample = filled(kind, 100_000)
    signs = sum(map(sample.count, (b"{", b"[", b",", b":")))
    structure = int(strict.VALUE_BYTES / (96 + 2 * len(sample) / signs)) - 1000
    growth, end = measure(parse_filled, kind, structure, with_orjson)
    assert end == ""
    assert 60 < growth < 256
    _, end = measure(parse_filled, kind, 2 * structure, with_orjson)
    assert "signs of structure" in end


@pytest.mark.fault("M01")
@pytest.mark.parametrize(
    ("character", "with_orjson"),
    [("\U0001f600", False), ("\U0001f600", True), ("\u4e2d", False), ("a", False)],
)
def test_a_page_of_nearly_nothing_but_text(character: str, with_orjson: bool) -> None:
    growth, _ = measure(parse_text, character, with_orjson)
    assert growth < 256


def parse_text(character: str, with_orjson: bool) -> None:
    """The largest body that may come, of narrow characters but one."""
    if not with_orjson:
        strict.orjson = None
    start = f'["{character}'.encode()
    size = strict.BUNDLE_BYTES - len(start) - 2
    with contextlib.suppress(strict.TooManyValuesError):
        strict.parse_json(start + b"a" * size + b'"]')
    strict.parse_json(start + b"a" * (size * 3 // 4) + b'"]')


def test_pages_that_occur_are_read() -> None:
    """Ten thousand resources in one page, with names that are not ASCII."""
    resource = {"resourceType": "Coverage", "id": "c", "text": {"div": "Jos\u00e9, " * 20}}
    resource["class"] = [{"code": str(number), "display": "x"} for number in range(10)]
    entry = [{"resource": resource}] * 10_000
    raw = json.dumps({"resourceType": "Bundle", "entry": entry}, ensure_ascii=False).encode()
    assert len(raw) > strict.VALUE_BYTES // 40
    assert len(strict.parse_json(raw)["entry"]) == 10_000


def test_commas_and_braces_in_text_are_not_what_is_counted_first() -> None:
    """A small body is read whatever it holds."""
    raw = json.dumps({"div": "{[,:" * (1 << 19)}).encode()
    assert strict.parse_json(raw)["div"].startswith("{[,:")
