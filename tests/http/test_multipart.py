"""The multipart reader by itself: every cut, every split, every odd header."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook.errors import ContentError, IntegrityError, MalformedResponse
from s4s_notebook.http.multipart import MultipartLimits, Parts, media_type
from tests.faultserver.scripts import MULTIPART, multipart

PARTS = [b"first", b"", b"\r\n", b"\r\n--b0undar", b"\r\n--b0undaryX", bytes(range(256)), b"--\r"]


def read(body: bytes, step: int = 0, kind: str = MULTIPART, **limits: int) -> list[bytes]:
    step = step or max(1, len(body))
    chunks = [body[i : i + step] for i in range(0, len(body), step)]
    return [b"".join(part.chunks()) for part in Parts(kind, chunks, MultipartLimits(**limits))]


def closing(body: bytes) -> int:
    """Where the closing boundary ends; what follows is of no interest."""
    return body.rindex(b"--b0undary--") + len(b"--b0undary--")


@pytest.mark.parametrize("lengths", [True, False])
def test_parts_come_as_they_were(lengths: bool) -> None:
    assert read(multipart(PARTS, lengths=lengths)) == PARTS


def test_headers_are_told() -> None:
    body = (
        b"--b0undary\r\nContent-Type: Application/DICOM; transfer-syntax=1.2\r\n"
        b"CONTENT-location:\thttp://h/x \r\nX: \xe4\r\nX-Empty:\r\n\r\nab\r\n--b0undary--"
    )
    part = next(iter(Parts(MULTIPART, [body])))
    assert part.content_type == "application/dicom"
    assert part.headers["content-location"] == "http://h/x"
    assert part.headers["x"] == "\xe4"
    assert part.headers["x-empty"] == ""
    bare = next(iter(Parts(MULTIPART, [b"--b0undary\r\n\r\nab\r\n--b0undary--"])))
    assert bare.content_type == ""


def test_a_part_that_is_not_read_is_checked_all_the_same() -> None:
    body = multipart(PARTS)
    assert len(list(Parts(MULTIPART, [body]))) == len(PARTS)
    with pytest.raises(IntegrityError):
        list(Parts(MULTIPART, [body.replace(b"Content-Length: 5", b"Content-Length: 6")]))


@pytest.mark.fault("D01")
@pytest.mark.parametrize("lengths", [True, False])
def test_a_missing_closing_boundary_is_seen(lengths: bool) -> None:
    body = multipart([b"one", b"two"], lengths=lengths)
    got: list[bytes] = []

    def run() -> None:
        for part in Parts(MULTIPART, [body[: body.rindex(b"\r\n--b0undary--")]]):
            got.append(b"".join(part.chunks()))

    with pytest.raises(IntegrityError):
        run()
    assert got == [b"one"]


@pytest.mark.fault("D02")
@pytest.mark.parametrize("lengths", [True, False])
def test_a_cut_at_every_byte_of_40_kb_is_seen(lengths: bool) -> None:
    rng = random.Random(1)
    parts = [rng.randbytes(n) for n in (13_000, 0, 1, 9_000, 18_000)]
    body = multipart(parts, lengths=lengths)
    assert len(body) > 40_000
    end = closing(body)
    for at in range(end):
        with pytest.raises(IntegrityError):
            read(body[:at])
    for at in range(end, len(body) + 1):
        assert read(body[:at]) == parts


@pytest.mark.fault("D03")
@pytest.mark.parametrize("lengths", [True, False])
def test_any_split_gives_the_same_bytes(lengths: bool) -> None:
    body = multipart(PARTS, lengths=lengths)
    for step in range(1, 80):
        assert read(body, step) == PARTS
    for at in range(1, len(body)):
        got = [b"".join(part.chunks()) for part in Parts(MULTIPART, [body[:at], b"", body[at:]])]
        assert got == PARTS


NEAR = [
    b"\r\n--b0undar",
    b"\r\n--b0undaryy",
    b"\r\n--b0undary-",
    b"\r\n--b0undary--x",
    b"\r\n--b0undary \t x",
    b"\r\n--b0undary" + b" " * 200 + b"\r\n",
    b"\r\n--b0undary\r",
    b"\r\n--b0undary\n",
    b"\n--b0undary\r\n",
    b"\r--b0undary--",
    b"--b0undary-- ",
    b"\r\n\r\n--b0undar\r\n--b0undar",
    b"\r\n--B0UNDARY\r\n",
    b"\r\n--b0undary\x00--",
    b"\r",
    b"\r\n",
    b"\r\n-",
    b"-" * 100,
]


@pytest.mark.fault("D04")
@pytest.mark.parametrize("near", NEAR)
@pytest.mark.parametrize("lengths", [True, False])
def test_bytes_like_a_boundary_are_payload(near: bytes, lengths: bool) -> None:
    parts = [near, b"x" + near, near + b"x", near * 3 + b"z"]
    body = multipart(parts, lengths=lengths)
    for step in (1, 7, 0):
        assert read(body, step) == parts


@pytest.mark.fault("D04")
def test_a_stated_length_protects_even_a_whole_boundary() -> None:
    parts = [b"x\r\n--b0undary--\r\n", b"y\r\n--b0undary\r\nContent-Type: a/b\r\n\r\n"]
    assert read(multipart(parts)) == parts


@pytest.mark.fault("D05")
@pytest.mark.parametrize(
    "kind",
    [
        "multipart/related",
        "multipart/related; boundary",
        "multipart/related; boundary=",
        'multipart/related; boundary=""',
        "multipart/related; boundary=" + "x" * 71,
        'multipart/related; boundary="a;b"',
        "multipart/related; boundary=b;oundary",
        "multipart/related; boundary=b\u00f6",
        'multipart/related; boundary="b\r\n"',
        'multipart/related; boundary="b "',
        'multipart/related; boundary="b',
        "multipart/related; boundary=a; boundary=a",
        "multipart/related; boundary=a; BOUNDARY=b",
        "multipart/related boundary=a",
        "multipart/related; =a; boundary=a",
        "multipart/related; boundary=<a>",
        "",
    ],
)
def test_boundaries_that_cannot_be_used(kind: str) -> None:
    with pytest.raises(MalformedResponse):
        Parts(kind, [])


@pytest.mark.fault("D05")
@pytest.mark.parametrize(
    ("written", "boundary"),
    [
        ("boundary=abc", "abc"),
        ('boundary="abc"', "abc"),
        ('type="application/dicom";boundary="a b"', "a b"),
        (' ; boundary="x"', "x"),
        ("BOUNDARY=----=_Part_1.2", "----=_Part_1.2"),
        ("boundary=" + "x" * 70, "x" * 70),
        (r'boundary="a\b"', "ab"),
        ("boundary='()+_,-./:=?z", "'()+_,-./:=?z"),
        ('start="<a;b>"; boundary=q;', "q"),
    ],
)
def test_boundaries_that_can(written: str, boundary: str) -> None:
    body = multipart([b"one", b"two"], boundary=boundary.encode())
    assert read(body, kind=f"Multipart/Related; {written}") == [b"one", b"two"]


def test_media_types() -> None:
    assert media_type('Application/DICOM ;A=b; c="d;e"') == (
        "application/dicom",
        {"a": "b", "c": "d;e"},
    )
    assert media_type("text/html") == ("text/html", {})


@pytest.mark.fault("D06")
@pytest.mark.parametrize(
    "length",
    [b"4", b"6", b"0", b"100000", b"+5", b"-1", b"1_0", b"5.0", b"0x5", b"", b"5 5", b"\xb2",
     b"9" * 19, b"5, 5"],
)  # fmt: skip
def test_a_wrong_length_is_seen(length: bytes) -> None:
    body = multipart([b"12345", b"67890"]).replace(
        b"Content-Length: 5", b"Content-Length: " + length, 1
    )
    for step in (0, 1, 3):
        with pytest.raises(IntegrityError):
            read(body, step)


@pytest.mark.fault("D06")
@pytest.mark.parametrize("second", [b"5", b"6"])
def test_two_lengths_are_one_too_many(second: bytes) -> None:
    body = multipart([b"12345"]).replace(
        b"Content-Length: 5", b"Content-Length: 5\r\ncontent-length: " + second
    )
    with pytest.raises(IntegrityError):
        read(body)


HEADERS = {
    "128 headers": b"".join(b"X-%d: y\r\n" % n for n in range(128)),
    "1 MB line": b"X: " + b"y" * (1 << 20) + b"\r\n",
    "NUL": b"X: a\x00b\r\n",
    "bare LF": b"X: a\nY: b\r\n",
    "bare CR": b"X: a\rY: b\r\n",
    "no colon": b"nonsense\r\n",
    "space before the colon": b"X : a\r\n",
    "empty name": b": a\r\n",
    "folded before the first": b" X: a\r\nY: b\r\n",
    "folded name": b"X\r\n : a\r\n",
    "delete": b"X: \x7f\r\n",
}


@pytest.mark.fault("D07")
@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("step", [0, 1000, 7])
def test_headers_that_cannot_be_read(kind: str, step: int) -> None:
    body = b"--b0undary\r\n" + HEADERS[kind] + b"\r\nab\r\n--b0undary--\r\n"
    with pytest.raises(MalformedResponse):
        read(body, step)


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b"\r\n \t  "])
def test_folded_headers_are_read_as_one_line(fold: bytes, step: int) -> None:
    """RFC 822 3.1.1, which MIME parts still follow."""
    head = b"Content-Type: multipart/x;" + fold + b"a=b\r\nContent-Length:" + fold + b"2\r\n"
    body = b"--b0undary\r\n" + head + b"\r\nab\r\n--b0undary--\r\n"
    chunks = [body[i : i + (step or 999)] for i in range(0, len(body), step or 999)]
    parts = [(part.headers, b"".join(part.chunks())) for part in Parts(MULTIPART, chunks)]
    assert parts == [({"content-type": "multipart/x; a=b", "content-length": "2"}, b"ab")]


@pytest.mark.parametrize(
    "written",
    [
        "boundary*=us-ascii'en'b0undary", "boundary*=UTF-8''b0%75ndary", "boundary*=''b0undary",
        "boundary*0=b0un; boundary*1=dary", 'boundary*1="dary"; boundary*0="b0un"',
        "boundary*0*=us-ascii''b0%75n; boundary*1=dary",
        "boundary*=us-ascii''b0undary; boundary=b0undary",
    ],
)  # fmt: skip
def test_a_boundary_in_the_long_form_is_read(written: str) -> None:
    """RFC 2231 sections 3 and 4."""
    assert read(multipart([b"a", b"b"]), kind=f"multipart/related; {written}") == [b"a", b"b"]


@pytest.mark.parametrize(
    "written",
    [
        "boundary*=b0undary", "boundary*=us-ascii'b0undary", "boundary*=none''b0undary",
        "boundary*1=b0undary", "boundary*0=b0un; boundary*2=dary", "boundary**=a",
        "boundary*0=a; boundary*00=b",
        "boundary*=us-ascii''b0undary; boundary=other", "boundary*=utf-8''b%FFdary", "*=a",
    ],
)  # fmt: skip
def test_a_boundary_in_a_broken_long_form_is_refused(written: str) -> None:
    with pytest.raises(MalformedResponse):
        read(multipart([b"a"]), kind=f"multipart/related; {written}")


@pytest.mark.fault("D07")
def test_headers_without_an_end() -> None:
    def endless() -> Iterator[bytes]:
        yield b"--b0undary\r\n"
        while True:
            yield b"X: y\r\n"

    with pytest.raises(MalformedResponse, match="too long"):
        list(Parts(MULTIPART, endless()))
    for cut in (b"--b0undary\r\nX: y", b"--b0undary\r\nX: y\r\n", b"--b0undary\r\n\r"):
        with pytest.raises(IntegrityError):
            read(cut)


@pytest.mark.parametrize("step", range(1, 12))
@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_headers_is_the_same_however_they_arrive(step: int, over: int) -> None:
    limits = MultipartLimits(header_bytes=300)
    body = b"--b\r\nX: " + b"x" * (297 + over) + b"\r\n\r\nab\r\n--b--"
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    parts = Parts("multipart/related; boundary=b", pieces, limits)
    if over:
        with pytest.raises(MalformedResponse, match="too long"):
            list(parts)
    else:
        assert [b"".join(part.chunks()) for part in parts] == [b"ab"]


def test_many_headers_within_the_limits_are_fine() -> None:
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(60)) + b"Y: " + b"z" * 10_000 + b"\r\n"
    assert read(b"--b0undary\r\n" + lines + b"\r\nab\r\n--b0undary--", 11) == [b"ab"]


@pytest.mark.parametrize("beside", [b"", b"This is a preamble.\r\n", b"--b0undarx\r\n", b"\r\n"])
def test_a_little_beside_the_boundaries_is_allowed(beside: bytes) -> None:
    body = beside + multipart([b"one"]) + beside
    assert read(body, 5) == [b"one"]


@pytest.mark.fault("D08")
@pytest.mark.parametrize("where", ["preamble", "epilogue", "preamble without boundary"])
def test_a_gigabyte_beside_the_boundaries_is_cut_short(where: str) -> None:
    taken = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        if where == "epilogue":
            yield multipart([b"one"])
        filler = b"--b0undar" * 8000 if where != "preamble" else bytes(1 << 16)
        for _ in range((1 << 30) // len(filler)):
            taken += len(filler)
            yield filler
        yield multipart([b"one"])

    tracemalloc.start()
    try:
        with pytest.raises(MalformedResponse, match="beside"):
            list(Parts(MULTIPART, chunks()))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert taken < 1 << 20


@pytest.mark.fault("D08")
def test_a_million_empty_parts_are_too_many() -> None:
    one = b"--b0undary\r\n\r\n\r\n"
    chunks = (one * 100 for _ in range(10_000))
    count = 0

    def run() -> None:
        nonlocal count
        for _ in Parts(MULTIPART, chunks, MultipartLimits(parts=50_000)):
            count += 1

    with pytest.raises(MalformedResponse, match="50,000 parts"):
        run()
    assert count == 50_000


@pytest.mark.fault("D08", "D17")
@pytest.mark.parametrize("lengths", [True, False])
def test_memory_does_not_grow_with_a_part(lengths: bool) -> None:
    piece, times = bytes(1 << 16), 4096  # 256 MiB
    start, _, end = multipart([b"@"], lengths=False).partition(b"@")
    if lengths:
        start = start.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % (times << 16))

    def chunks() -> Iterator[bytes]:
        yield start
        for _ in range(times):
            yield piece
        yield end

    tracemalloc.start()
    try:
        size = sum(len(chunk) for part in Parts(MULTIPART, chunks()) for chunk in part.chunks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == times << 16
    assert peak < 1 << 20


@pytest.mark.fault("D09")
def test_no_parts_at_all() -> None:
    assert read(b"--b0undary--\r\n") == []
    for body in (b"", b"\r\n", b"<html>", b"--b0undary", b"--b0undary-"):
        with pytest.raises(IntegrityError):
            read(body)


def splits(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[a:b] for a, b in pairwise(edges)]


payloads = st.lists(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"\r\n", b"--", b"b0undary", b"b0undar", b"x", b"\r", b"\n"])).map(
        b"".join
    ),
    max_size=6,
)


@pytest.mark.fault("D03", "D04")
@given(payloads, st.lists(st.integers(0, 10_000), max_size=8), st.booleans())
def test_whatever_is_written_is_read(parts: list[bytes], cuts: list[int], lengths: bool) -> None:
    if not lengths:  # without lengths a payload must not hold the boundary itself
        parts = [p.replace(b"b0undary", b"b0undar") for p in parts]
    body = multipart(parts, lengths=lengths)
    got = [b"".join(part.chunks()) for part in Parts(MULTIPART, splits(body, cuts))]
    assert got == parts


@pytest.mark.fault("D02")
@given(payloads, st.integers(0, 10_000), st.booleans())
def test_whatever_is_cut_is_seen(parts: list[bytes], at: int, lengths: bool) -> None:
    parts = [p.replace(b"b0undary", b"b0undar") for p in parts]
    body = multipart(parts, lengths=lengths)
    with pytest.raises(IntegrityError):
        read(body[: at % closing(body)])


@pytest.mark.fault("D07")
@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_end_in_parts_or_our_error(noise: bytes, step: int) -> None:
    for body in (noise, b"--b0undary\r\n" + noise, b"--b0undary\r\n\r\n" + noise + b"--b0undary--"):
        for way in (step, 0):
            try:
                out = read(body, way)
            except ContentError:
                continue
            assert sum(map(len, out)) <= len(body)


@given(st.text(max_size=100))
def test_any_content_type_is_read_or_refused(value: str) -> None:
    try:
        kind, parameters = media_type(value)
    except MalformedResponse:
        return
    assert kind == kind.lower()
    assert all(name == name.lower() for name in parameters)


def test_chunks_may_be_views() -> None:
    whole = io.BytesIO(multipart(PARTS)).getbuffer()
    chunks = [whole[i : i + 9] for i in range(0, len(whole), 9)]
    assert [b"".join(part.chunks()) for part in Parts(MULTIPART, chunks)] == PARTS


@pytest.mark.parametrize("lengths", [True, False])
def test_a_part_is_finished_as_soon_as_its_boundary_has_come(lengths: bool) -> None:
    """A PACS may take minutes for the next instance; this one must not wait for it."""
    first, second = b"first", b"second"
    body = multipart([first, second], lengths=lengths)
    edge = body.index(b"--b0undary", 5) + len(b"--b0undary\r\n")

    def chunks() -> Iterator[bytes]:
        yield body[:edge]
        assert finished == [first]
        yield body[edge:-2]
        assert finished == [first]
        yield body[-2:]

    finished: list[bytes] = []
    for part in Parts(MULTIPART, chunks()):
        finished.append(b"".join(part.chunks()))
    assert finished == [first, second]
