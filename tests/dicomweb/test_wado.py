"""Studies over WADO-RS from a holder that sends what it should not, on real sockets."""

from __future__ import annotations

import random
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from s4s_notebook import errors
from s4s_notebook.dicomweb.qido import list_instances
from s4s_notebook.dicomweb.wado import Instance, retrieve
from s4s_notebook.fhir.endpoints import study_url
from s4s_notebook.http.backend import Limits
from s4s_notebook.http.client import Transport
from s4s_notebook.http.origins import Origins
from s4s_notebook.http.retry import WaitPolicy
from tests.faultserver import Conversation, FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import FakeTokens, Make

STUDY = "/dicom-web/studies/1.2.3"
PARTS = [b"first", b"", b"third \r\n--b0undar", bytes(range(200))]
ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
AS_THE_SEED = "multipart/related; type=application/dicom"
FRAMINGS = ["length", "chunked", "close"]


def fetch(transport: Transport, url: str, **how: Any) -> list[bytes]:
    with retrieve(transport, url, **how) as parts:
        return [b"".join(part.chunks()) for part in parts]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("lengths", [True, False])
def test_a_study_comes_as_it_was(server, make: Make, framing: str, lengths: bool) -> None:
    server.on(STUDY, send.study(PARTS, framing, lengths=lengths))
    transport = make(tokens=FakeTokens("abc"))
    assert fetch(transport, server.url(STUDY)) == PARTS
    assert fetch(transport, server.url(STUDY), token=False) == PARTS
    assert server.requests[0].header("Accept") == ANY_SYNTAX
    assert [seen.bearer for seen in server.requests] == ["abc", None]


@pytest.mark.parametrize("status", [406, 400])
def test_the_seeds_form_is_tried_when_the_first_is_refused(server, make, status: int) -> None:
    server.on(STUDY, send.reply(status), send.study(PARTS))
    assert fetch(make(), server.url(STUDY)) == PARTS
    assert [seen.header("Accept") for seen in server.requests] == [ANY_SYNTAX, AS_THE_SEED]
    server.on(STUDY, send.reply(status))
    with pytest.raises(errors.HTTPStatusError):
        fetch(make(), server.url(STUDY))
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, errors.Forbidden), (404, errors.NotFound), (401, errors.AuthorizationRequired),
     (500, errors.HTTPStatusError), (304, errors.HTTPStatusError)],
)  # fmt: skip
def test_other_refusals_are_told(server, make, status: int, kind: type) -> None:
    server.on(STUDY, send.reply(status))
    with pytest.raises(kind) as caught:
        fetch(make(), server.url(STUDY))
    assert caught.value.request.status == status
    assert len(server.requests) == 1


def test_a_study_is_waited_for(server: FaultServer, make: Make, clock) -> None:
    server.on(STUDY, send.later("300"), send.study(PARTS))
    seen: list[float] = []
    got = fetch(make(), server.url(STUDY), on_wait=lambda w: seen.append(w.seconds_left))
    assert got == PARTS
    assert sum(clock.slept) == pytest.approx(300)
    assert seen[-1] == 0.0


@pytest.mark.fault("D01", "D02")
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_study_cut_at_every_byte_is_seen(server: FaultServer, make: Make, framing: str) -> None:
    """Whatever the framing, and also when the holder itself frames the cut body properly."""
    parts = [random.Random(2).randbytes(300), b"", b"x" * 150]
    body = send.multipart(parts)
    headers, framed = send.frame(body, framing)
    whole = send.head(200, headers | {"Content-Type": send.MULTIPART}) + framed
    end = whole.rindex(b"--b0undary--") + len(b"--b0undary--") if framing == "close" else len(whole)
    transport = make(waits=WaitPolicy(tries=1))
    for at in range(whole.index(b"\r\n\r\n") + 4, end):
        server.on(STUDY, send.cut(whole, at))
        with pytest.raises(errors.IntegrityError):
            fetch(transport, server.url(STUDY))
    server.on(STUDY, send.cut(whole, len(whole)))
    assert fetch(transport, server.url(STUDY)) == parts


@pytest.mark.fault("D02")
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_cut_study_in_proper_framing_is_seen(server, make, framing: str) -> None:
    body = send.multipart([b"one" * 30, b"two"])
    end = body.rindex(b"--b0undary--") + len(b"--b0undary--")
    transport = make()
    for at in range(end):
        server.on(STUDY, send.reply(200, body[:at], framing, Content_Type=send.MULTIPART))
        with pytest.raises(errors.IntegrityError) as caught:
            fetch(transport, server.url(STUDY))
        assert caught.value.request.status == 200


@pytest.mark.fault("D03")
def test_single_bytes_on_the_wire_give_the_same(server: FaultServer, make: Make) -> None:
    def script(talk: Conversation) -> None:
        headers, body = send.frame(send.multipart(PARTS), "chunked")
        for byte in send.head(200, headers | {"Content-Type": send.MULTIPART}) + body:
            talk.send(bytes([byte]))

    server.on(STUDY, script)
    assert fetch(make(), server.url(STUDY)) == PARTS


@pytest.mark.fault("D05")
@pytest.mark.parametrize(
    "kind",
    [
        "multipart/related",
        'multipart/related; boundary=""',
        "multipart/related; boundary=b0undary; boundary=x",
    ],
)
def test_an_unusable_boundary(server: FaultServer, make: Make, kind: str) -> None:
    server.on(STUDY, send.reply(200, send.multipart(PARTS), Content_Type=kind))
    with pytest.raises(errors.MalformedResponse) as caught:
        fetch(make(), server.url(STUDY))
    assert caught.value.request.url == server.url(STUDY)


@pytest.mark.fault("D06", "D07")
@pytest.mark.parametrize("old", [b"Content-Length: 5", b"Content-Type: application/dicom"])
def test_odd_part_headers(server: FaultServer, make: Make, old: bytes) -> None:
    body = send.multipart(PARTS).replace(old, b"Content-Length: +5\r\nX: \x00", 1)
    server.on(STUDY, send.reply(200, body, Content_Type=send.MULTIPART))
    with pytest.raises(errors.ContentError) as caught:
        fetch(make(), server.url(STUDY))
    assert caught.value.request is not None


@pytest.mark.fault("D08")
def test_an_endless_epilogue_is_no_success(server: FaultServer, make: Make) -> None:
    first = send.head(200, {"Content-Type": send.MULTIPART}) + send.multipart([b"one"])
    server.on(STUDY, send.flood(first, bytes(65536), 1 << 30))
    with pytest.raises(errors.MalformedResponse, match="beside"):
        fetch(make(), server.url(STUDY))
    assert server.sent < 64 << 20


@pytest.mark.fault("D09")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (send.MULTIPART, b"--b0undary--\r\n"),
        (send.MULTIPART, b""),
        (send.MULTIPART, send.multipart([b"<html>"], kind=b"text/html")),
        (
            send.MULTIPART,
            send.multipart([send.multipart([b"a"])], kind=b"multipart/related; boundary=b"),
        ),
        ("text/html", b"<html>not now</html>"),
        ("application/fhir+json", b"{}"),
        ("multipart/mixed; boundary=b0undary", send.multipart([b"a"])),
        ("", b""),
    ],
)
def test_a_200_without_images_is_no_success(server, make, kind: str, body: bytes) -> None:
    server.on(STUDY, send.reply(200, body, Content_Type=kind))
    with pytest.raises(errors.ContentError):
        fetch(make(), server.url(STUDY))


@pytest.mark.fault("D09")
@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_another_2xx_is_not_200(server: FaultServer, make: Make, status: int) -> None:
    body = b"" if status == 204 else send.multipart(PARTS)
    server.on(STUDY, send.reply(status, body, Content_Type=send.MULTIPART))
    with pytest.raises(errors.IntegrityError, match=str(status)):
        fetch(make(), server.url(STUDY))


def test_parts_without_a_type_are_taken_for_dicom(server: FaultServer, make: Make) -> None:
    body = b"--b0undary\r\n\r\none\r\n--b0undary--"
    server.on(STUDY, send.reply(200, body, Content_Type=send.MULTIPART))
    assert fetch(make(), server.url(STUDY)) == [b"one"]


@pytest.mark.fault("D10")
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_plain_reply_is_one_instance(server: FaultServer, make: Make, framing: str) -> None:
    kind = "Application/DICOM; transfer-syntax=1.2"
    server.on(STUDY, send.reply(200, b"x" * 5000, framing, Content_Type=kind))
    assert fetch(make(), server.url(STUDY)) == [b"x" * 5000]
    headers, body = send.frame(b"x" * 5000, framing)
    whole = send.head(200, headers | {"Content-Type": kind}) + body
    for at in (len(whole) - 5000, len(whole) - 6, len(whole) - 1):
        server.on(STUDY, send.cut(whole, at))
        with pytest.raises(errors.IntegrityError):
            fetch(make(), server.url(STUDY))


@pytest.mark.fault("D10")
def test_a_plain_reply_that_does_not_say_where_it_ends(server: FaultServer, make: Make) -> None:
    server.on(STUDY, send.reply(200, b"x", "close", Content_Type="application/dicom"))
    with pytest.raises(errors.IntegrityError, match="where it ends"):
        fetch(make(), server.url(STUDY))


@pytest.mark.fault("D11")
def test_a_signed_address_elsewhere_gets_no_token(server: FaultServer, make: Make) -> None:
    with FaultServer() as bucket:
        server.on(STUDY, send.redirect(bucket.url("/signed?sig=secret")))
        bucket.on("/signed", send.study(PARTS))
        tokens = FakeTokens("abc")
        with pytest.raises(errors.UntrustedOrigin) as caught:
            fetch(make(tokens=tokens), server.url(STUDY))
        assert "sig" not in str(caught.value)
        assert bucket.connections == 0
        origins = Origins(server.base, allow_origins=[bucket.origin])
        assert fetch(make(tokens=tokens, origins=origins), server.url(STUDY)) == PARTS
        assert bucket.requests[0].header("Authorization") is None


@pytest.mark.fault("D15")
@pytest.mark.parametrize("how", ["stall", "drip"])
def test_a_study_that_stops_coming(server: FaultServer, make: Make, how: str) -> None:
    first = (
        send.head(200, {"Content-Type": send.MULTIPART}) + send.multipart([b"a" * 50, b"b"])[:150]
    )
    server.on(STUDY, send.stall(first) if how == "stall" else send.drip(first, b"x", 0.05))
    got: list[bytes] = []

    def run() -> None:
        with retrieve(make(limits=Limits(stall=0.4, window=0.4)), server.url(STUDY)) as parts:
            for part in parts:
                got.append(b"".join(part.chunks()))

    with pytest.raises(errors.Stalled) as caught:
        run()
    assert got == [b"a" * 50]
    assert caught.value.request.url == server.url(STUDY)
    server.on(STUDY, send.study(PARTS))
    assert fetch(make(), server.url(STUDY)) == PARTS


@pytest.mark.fault("D16")
def test_a_reset_in_the_middle(server: FaultServer, make: Make) -> None:
    headers, body = send.frame(send.multipart(PARTS), "close")
    whole = send.head(200, headers | {"Content-Type": send.MULTIPART}) + body
    server.on(STUDY, send.cut(whole, len(whole) - 100, reset=True))
    with pytest.raises(errors.IntegrityError, match="cut"):
        fetch(make(), server.url(STUDY))


@pytest.mark.fault("D17")
def test_a_large_study_takes_little_memory(server: FaultServer, make: Make) -> None:
    size, pieces = 1 << 28, 4096
    start, _, end = send.multipart([b"@"], lengths=False).partition(b"@")
    start = start.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % size)

    def script(talk: Conversation) -> None:
        talk.send(send.head(200, {"Content-Type": send.MULTIPART}) + start)
        piece = bytes(size // pieces)
        for _ in range(pieces):
            talk.sock.sendall(piece)
        talk.send(end)

    server.on(STUDY, script)
    tracemalloc.start()
    try:
        with retrieve(make(), server.url(STUDY)) as parts:
            got = sum(len(chunk) for part in parts for chunk in part.chunks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got == size
    assert peak < 8 << 20


@pytest.mark.fault("D18")
def test_four_studies_at_once_do_not_mix(server: FaultServer, make: Make) -> None:
    transport = make()
    wanted = {}
    for number in range(4):
        path = f"/dicom-web/studies/1.2.{number}"
        wanted[path] = [bytes([number]) * 70_000 for _ in range(20)]
        server.on(path, send.study(wanted[path], "chunked"))
    got: dict[str, list[bytes]] = {}

    def run(path: str) -> None:
        got[path] = fetch(transport, server.url(path))

    threads = [threading.Thread(target=run, args=(path,)) for path in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == wanted


@pytest.mark.fault("D19")
@pytest.mark.parametrize(
    "extra",
    [
        {"Transfer-Encoding": "chunked", "Content-Length": "10"},
        {"Content-Encoding": "gzip", "Content-Length": "10"},
        {"Content-Length": "10, 11"},
        {"X": "y" * 200_000},
    ],
)
def test_broken_http_around_a_study(server: FaultServer, make: Make, extra) -> None:
    head = send.head(200, {"Content-Type": send.MULTIPART} | extra)
    server.on(STUDY, head + send.multipart(PARTS))
    with pytest.raises(errors.MalformedResponse):
        fetch(make(), server.url(STUDY))


@pytest.mark.fault("A13")
def test_a_token_that_ends_between_instances(server: FaultServer, make: Make) -> None:
    tokens = FakeTokens("old", "new")
    server.on("/1", send.study([b"1"]))
    server.on("/2", send.reply(401), send.study([b"2"]))
    transport = make(tokens=tokens)
    assert fetch(transport, server.url("/1")) == [b"1"]
    assert fetch(transport, server.url("/2")) == [b"2"]
    assert tokens.rejected == ["old"]


# ------------------------------------------------------------------ parts that are no images


@pytest.mark.parametrize("kind", [b"text/plain; charset=utf-8", b"application/json", b"image/png"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_foreign_part_is_skipped_and_reported(server, make: Make, kind: bytes, at: int) -> None:
    parts = [send.multipart([part])[: -len(send.multipart([]))] for part in PARTS[:2]]
    parts.insert(at, send.multipart([b"note"], kind=kind)[: -len(send.multipart([]))])
    body = b"".join(parts) + send.multipart([])
    server.on(STUDY, send.reply(200, body, "length", Content_Type=send.MULTIPART))
    seen: list[str] = []
    assert fetch(make(), server.url(STUDY), on_foreign=seen.append) == PARTS[:2]
    assert seen == [kind.decode().partition(";")[0]]
    with pytest.raises(errors.MalformedResponse):
        fetch(make(), server.url(STUDY))


@pytest.mark.parametrize(
    ("kind", "count"), [(b"text/html", 1), (b"multipart/related", 1), (b"text/plain", 101)]
)
def test_pages_nested_parts_and_many_foreign_parts_are_errors(
    server, make: Make, kind: bytes, count: int
) -> None:
    image = send.multipart(PARTS[:1])[: -len(send.multipart([]))]
    body = image + send.multipart([b"x"] * count, kind=kind)
    server.on(STUDY, send.reply(200, body, "length", Content_Type=send.MULTIPART))
    with pytest.raises(errors.MalformedResponse):
        fetch(make(), server.url(STUDY), on_foreign=lambda kind: None)


def test_foreign_parts_alone_are_no_study(server, make: Make) -> None:
    body = send.multipart([b"not now"], kind=b"text/plain")
    server.on(STUDY, send.reply(200, body, "length", Content_Type=send.MULTIPART))
    with pytest.raises(errors.MalformedResponse, match="single image"):
        fetch(make(), server.url(STUDY), on_foreign=lambda kind: None)


# ------------------------------------------------------------------ a real one


@pytest.mark.needs("orthanc")
def test_a_real_orthanc(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    from tests.orthanc import orthanc

    files = [Path(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]
    with orthanc(tmp_path / "orthanc") as holder:
        holder.upload(files)
        transport = Transport(origins=Origins(holder.url))
        for file in files:
            original = dcmread(file)
            url = study_url(holder.wado, original.StudyInstanceUID)
            instance = Instance(original.SeriesInstanceUID, original.SOPInstanceUID)
            assert list_instances(transport, url) == ((instance,), True)
            [body] = fetch(transport, url)
            target = tmp_path / "got.dcm"
            target.write_bytes(body)
            assert dcmread(target) == original
        with pytest.raises(errors.NotFound):
            fetch(transport, study_url(holder.wado, "1.2.3.4"))
        transport.close()
