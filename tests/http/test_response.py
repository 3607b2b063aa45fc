"""What is in a body: strict JSON, bounded gzip, and what an error answer says."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook import errors
from s4s_notebook.http import response as strict
from s4s_notebook.http.client import Transport
from s4s_notebook.http.origins import Origins
from tests.faultserver import FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import Make
from tests.memory import measure

JSON = "application/json"
MIB = 1 << 20

NOT_JSON = {
    "HTML": b"<!DOCTYPE html><html>login</html>",
    "XML": b"<?xml version='1.0'?><Bundle/>",
    "empty": b"",
    "white space": b" \r\n",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "Latin-1": '{"a":"ü"}'.encode("latin-1"),
    "truncated": b'{"resourceType":"Bundle","entry":[{"resource":{',
    "two values": b"{}{}",
    "trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "comment": b'{"a":1 /* x */}',
    "control character": b'{"a":"\x01"}',
    "leading zero": b"[01]",
    "plus": b"[+1]",
}
HOSTILE = {
    "depth 100k": b"[" * 100_000 + b"]" * 100_000,
    "depth of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "5,000-digit int": b"[" + b"9" * 5000 + b"]",
    "negative 5,000-digit int": b"[-" + b"9" * 5000 + b"]",
    "NaN": b'{"a":NaN}',
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "1e999": b'{"a":1e999}',
    "-1e999": b'{"a":-1e999}',
    "duplicate key": b'{"a":1,"b":2,"a":3}',
    "duplicate key, same value": b'{"a":1,"a":1}',
    "duplicate key deep": b'{"x":[{"y":{"a":1,"a":2}}]}',
    "duplicate key by escape": b'{"a":1,"\\u0061":2}',
    "duplicate key and a hidden colon": b'{"a":1,"a":2,"b":"\\u003a"}',
    "duplicate key and a colon": b'{"a":":","a":2}',
    "lone high surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'["\\udc00"]',
    "lone surrogate in a key": b'{"\\uD834x":1}',
    "surrogates in the wrong order": b'["\\udd1e\\ud834"]',
    "surrogate in UTF-8": b'["\xed\xa0\x80"]',
}


@pytest.fixture(params=["orjson", "stdlib"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both parsers must refuse the same."""
    if request.param == "stdlib":
        monkeypatch.setattr(strict, "orjson", None)
    elif strict.orjson is None:
        pytest.skip("orjson is not installed")
    return request.param


@pytest.mark.fault("B08")
@pytest.mark.parametrize("kind", NOT_JSON)
def test_what_is_no_json(server: FaultServer, make: Make, parser: str, kind: str) -> None:
    server.on("/x", send.reply(200, NOT_JSON[kind], Content_Type="application/fhir+json"))
    reply = make().request("GET", server.url("/x?patient=7"), accept=JSON)
    with pytest.raises(errors.MalformedResponse) as caught:
        reply.json()
    assert "patient=***" in str(caught.value)
    assert len(str(caught.value)) < 500
    if kind in ("HTML", "XML"):
        assert "a page" in str(caught.value)


@pytest.mark.fault("B09")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_json(server: FaultServer, make: Make, parser: str, kind: str) -> None:
    server.on("/x", send.reply(200, HOSTILE[kind]))
    with pytest.raises(errors.MalformedResponse):
        make().request("GET", server.url("/x"), accept=JSON).json()


@pytest.mark.parametrize(
    "value",
    [{}, [], "x", 1, None, True, -0.5, {"a:b": ":"}, {"ü": "\U0001d11e"}, [[[]]], 2**53, "\\u003a"],
)
def test_good_json(parser: str, value: object) -> None:
    for ascii_only in (True, False):
        assert strict.parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


def test_depth_that_occurs_is_fine(parser: str) -> None:
    deep = b"[" * 100 + b"]" * 100
    assert strict.parse_json(deep) == json.loads(deep)


@pytest.mark.fault("B09")
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_all_that_is_written_is_read(value: object) -> None:
    raw = json.dumps(value).encode()
    assert strict.parse_json(raw) == value
    assert strict._exact(raw) == value


@pytest.mark.fault("B09")
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda s: s.encode("utf-8", "ignore")))
def test_any_bytes_are_json_or_our_error(raw: bytes) -> None:
    try:
        fast = strict.parse_json(raw)
    except strict.NotStrictError:
        return
    assert fast == strict._exact(raw)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c:", "d"]), st.sampled_from([1, ":", {}]))))
def test_duplicate_keys_are_always_seen(pairs: list[tuple[str, object]]) -> None:
    raw = "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in pairs) + "}"
    unique = len({key for key, _ in pairs}) == len(pairs)
    if unique:
        assert strict.parse_json(raw.encode()) == dict(pairs)
    else:
        with pytest.raises(strict.NotStrictError):
            strict.parse_json(raw.encode())


# ------------------------------------------------------------------ size and encoding


def receive(url: str, max_bytes: int) -> str:
    """Ask, and return the name of the error that ended it."""
    transport = Transport(origins=Origins(url))
    try:
        transport.request("GET", url, accept=JSON, max_bytes=max_bytes)
    except errors.S4SError as error:
        return type(error).__name__
    return "none"


@pytest.mark.fault("B10")
def test_a_gzip_bomb_is_refused_in_bounded_memory(server: FaultServer) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(bytes(MIB)) for _ in range(1024)) + squeeze.flush()
    assert len(bomb) < 2 * MIB
    server.on("/x", send.reply(200, bomb, Content_Encoding="gzip"))
    growth, end = measure(receive, server.url("/x"), 32 * MIB)
    assert end == "MalformedResponse"
    assert growth < 96


@pytest.mark.fault("B10")
def test_an_endless_body_is_refused(server: FaultServer, make: Make) -> None:
    server.on("/x", send.flood(send.head(200), b"x" * 65536, 1 << 40))
    with pytest.raises(errors.MalformedResponse, match="larger than"):
        make().request("GET", server.url("/x"), accept=JSON, max_bytes=MIB)
    assert server.sent < 32 * MIB


@pytest.mark.fault("B10")
@pytest.mark.parametrize(
    "coding",
    ["br", "zstd", "deflate", "compress", "gzip, gzip", "x-evil", ", ".join(["gzip"] * 200)],
)
def test_encodings_that_were_not_asked_for(server, make, coding: str) -> None:
    server.on("/x", send.reply(200, gzip.compress(b"{}"), Content_Encoding=coding))
    with pytest.raises(errors.MalformedResponse, match="not requested") as caught:
        make().request("GET", server.url("/x"), accept=JSON)
    assert len(str(caught.value)) < 400


@pytest.mark.fault("B10")
def test_gzip_cut_at_every_byte_with_the_right_length(server: FaultServer, make: Make) -> None:
    whole = gzip.compress(json.dumps({"a": list(range(40))}).encode(), mtime=0)
    transport = make()
    server.on("/x", send.reply(200, whole, Content_Encoding="GZip"))
    assert transport.request("GET", server.url("/x"), accept=JSON).json()["a"][-1] == 39
    for at in range(1, len(whole)):
        server.on("/x", send.reply(200, whole[:at], Content_Encoding="gzip"))
        with pytest.raises(errors.IntegrityError):
            transport.request("GET", server.url("/x"), accept=JSON)


@pytest.mark.fault("B10")
@pytest.mark.parametrize("kind", ["flipped", "trailing", "empty", "second member"])
def test_damaged_gzip(server: FaultServer, make: Make, kind: str) -> None:
    whole = gzip.compress(b"{}" * 100)
    body = {
        "flipped": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "trailing": whole + b"x",
        "empty": b"",
        "second member": whole + whole,
    }[kind]
    server.on("/x", send.reply(200, body, Content_Encoding="gzip"))
    with pytest.raises(errors.IntegrityError):
        make().request("GET", server.url("/x"), accept=JSON)


@pytest.mark.fault("B10", "D19")
def test_a_stream_is_never_encoded(server: FaultServer, make: Make) -> None:
    server.on("/x", send.reply(200, gzip.compress(b"x"), Content_Encoding="gzip"))
    with (
        pytest.raises(errors.MalformedResponse, match="not requested"),
        make().stream(server.url("/x"), accept="a/b"),
    ):
        pass
    assert server.requests[0].header("Accept-Encoding") == "identity"


def test_an_error_that_cannot_be_read_is_still_its_status(server: FaultServer, make: Make) -> None:
    for odd in (
        send.reply(404, b"x", Content_Encoding="br"),
        send.reply(404, b"x" * 100_000),
        send.reply(404, b"\x1f\x8b", Content_Encoding="gzip"),
    ):
        server.on("/x", odd)
        with pytest.raises(errors.NotFound), make().stream(server.url("/x"), accept="a/b"):
            pass


@pytest.mark.fault("A07")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"issue": [{"diagnostics": "no such patient"}]}, "no such patient"),
        ({"issue": [{"details": {"text": "gone"}}, {"code": "invalid"}]}, "gone; invalid"),
        ({"error": "invalid_request", "description": "S4S way"}, "invalid_request; S4S way"),
        ({"issue": "x", "error": 5}, ""),
        ({"issue": ["x", {"details": 3, "diagnostics": None}]}, ""),
        ([1], ""),
        ("x", ""),
        ({"error": "a\r\nb\x00" + "c" * 10_000}, "a  b c"),
    ],
)
def test_what_a_holder_says_is_told_in_one_line(server, make, body, said: str) -> None:
    server.on("/x", send.json(body, 400))
    with pytest.raises(errors.HTTPStatusError) as caught:
        make().request("GET", server.url("/x"), accept=JSON).checked()
    assert caught.value.details.startswith(said)
    assert len(caught.value.details) <= 500
    assert caught.value.details.isprintable()


def test_a_long_chunked_body_is_whole(server: FaultServer, make: Make) -> None:
    body = json.dumps([{"a": n, "b": str(n)} for n in range(40_000)]).encode()
    server.on("/x", send.reply(200, body, "chunked"))
    assert len(make().request("GET", server.url("/x"), accept=JSON).json()) == 40_000


@given(st.integers(-(10**40), 10**40))
def test_both_parsers_agree_on_long_numbers(number: int) -> None:
    raw = str(number).encode()
    one, other = strict.parse_json(raw), strict._exact(raw)
    assert (one, type(one)) == (other, type(other))
