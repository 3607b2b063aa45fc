"""The sandbox sends each stimulus of groups J to M that a holder can send; our answer to it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

import s4s_notebook as s4s
from s4s_notebook import Sandbox, errors

from .test_wado_routes import CT, uid

QUICK = s4s.WaitPolicy(budget=0.5, tries=1, first=0.0, floor=0.0, jitter=0.0)
Change = Callable[[Any], Any]


def json_edit(change: Change) -> Any:
    """Return an edit for `script`: the JSON that the sandbox would send, changed."""

    def edit(status: int, headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        return status, headers, json.dumps(change(json.loads(body))).encode()

    return edit


def each_study(change: Change) -> Any:
    def edit(bundle: Any) -> Any:
        for entry in bundle.get("entry", ()):
            if entry["resource"]["resourceType"] == "ImagingStudy":
                change(entry["resource"])
        return bundle

    return json_edit(edit)


def open_connection(sandbox: Sandbox, **options: Any) -> s4s.Connection:
    return sandbox.connect(waits=QUICK, **options)


def download(me: s4s.Connection, sandbox: Sandbox, description: str = CT) -> Any:
    return me.download(uid(sandbox, description)).result(60)


def test_an_announced_number_that_is_too_small(shop: Sandbox) -> None:  # J02
    shop.script("*/ImagingStudy*", edit=each_study(lambda one: one.update(numberOfInstances=3)))
    with open_connection(shop) as me:
        assert len(download(me, shop).paths) == 60


def test_a_study_that_lists_some_of_its_instances(shop: Sandbox) -> None:  # J03
    def shorten(one: Any) -> None:
        for series in one.get("series", ()):
            series["instance"] = series["instance"][:2]
        one.pop("numberOfInstances", None)

    shop.script("*/ImagingStudy*", edit=each_study(shorten))
    with open_connection(shop) as me:
        assert len(download(me, shop).paths) == 60


def test_a_500_that_speaks_of_no_study(shop: Sandbox) -> None:  # J05
    shop.script("*/ImagingStudy*", status=500, body=b"no study index is available")
    with open_connection(shop) as me:
        with pytest.raises(errors.S4SError):
            me.studies()
        me.update()
        assert len(me.studies()) > 0


def test_resources_of_somebody_else() -> None:  # J08
    with (
        Sandbox(ignores_patient=True) as sandbox,
        s4s.connect(sandbox.open_fhir_url, patient="smart-1288992") as me,
    ):
        assert set(me.studies().patient_id) == {"smart-1288992"}
        assert me.problems().why.str.contains("patient|person|somebody").any()


def test_an_instance_that_is_cut_within_whole_framing(shop: Sandbox) -> None:  # J09
    def shorten(status: int, headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        boundary = re.match(rb"\r\n(--\w+)\r\n", body)[1]
        parts = body.split(b"\r\n" + boundary)
        head, _, content = parts[1].partition(b"\r\n\r\n")
        head = re.sub(rb"Content-Length: \d+\r\n|\r\nContent-Length: \d+", b"", head)
        parts[1] = head + b"\r\n\r\n" + content[: len(content) * 6 // 10]
        return status, headers, (b"\r\n" + boundary).join(parts)

    shop.script("*/studies/*", times=None, edit=shorten)
    try:
        with open_connection(shop) as me, pytest.raises(errors.S4SError) as caught:
            download(me, shop)
    finally:
        shop.unscript()
    assert isinstance(caught.value, errors.IntegrityError | errors.Incomplete)


def test_two_resources_of_one_study(shop: Sandbox) -> None:  # J10
    def double(bundle: Any) -> Any:
        first = next(e for e in bundle["entry"] if e["resource"]["resourceType"] == "ImagingStudy")
        again = json.loads(json.dumps(first))
        again["resource"]["id"] = "of-another-archive"
        again["fullUrl"] = "urn:of-another-archive"
        return bundle | {"entry": [*bundle["entry"], again]}

    shop.script("*/ImagingStudy*", edit=json_edit(double))
    with open_connection(shop) as me:
        studies = me.studies()
        assert studies.study_uid.is_unique


@pytest.mark.parametrize("status", [404, 410])
def test_a_type_that_is_not_served(shop: Sandbox, status: int) -> None:  # J11
    shop.script("*/Coverage*", times=None, status=status)
    try:
        with open_connection(shop) as me:
            me.load().result(60)
            me.update()
            assert len(me.coverage()) == 0
    finally:
        shop.unscript()


@pytest.mark.parametrize(
    "headers",
    [
        [("Retry-After", "5"), ("Retry-After", "300")],
        [("Retry-After", "300;")],
        [("Retry-After", "300s")],
    ],
)
@pytest.mark.parametrize("status", [503, 429])
def test_a_wait_that_is_written_oddly(headers: Any, status: int) -> None:  # K06, K07
    with Sandbox(retry_after=0) as sandbox:
        sandbox.script("*/ImagingStudy*", status=status, headers=headers)
        with (
            open_connection(sandbox) as me,
            pytest.raises(errors.RetryAfterTooLong, match="300 s"),
        ):
            me.studies()


@pytest.mark.parametrize("path", ["*/oauth/token*", "*/.well-known/smart-configuration*"])
def test_a_busy_part_of_the_sign_in_is_asked_once(path: str) -> None:  # K01, K02
    with Sandbox() as sandbox:
        sandbox.script(path, times=None, status=503, headers=[("Retry-After", "3600")])
        for _ in range(3):
            with pytest.raises(errors.S4SError):
                open_connection(sandbox).close()
        asked = [one for one in sandbox.requests if one.status == 503]
        assert len(asked) == 1


def test_an_issuer_of_another_holder(shop: Sandbox) -> None:  # L02
    change = json_edit(lambda page: page | {"issuer": "https://other.example"})
    shop.script("*/smart-configuration*", edit=change)
    with pytest.raises(errors.S4SError, match="signs people in"):
        open_connection(shop)


def test_images_elsewhere_that_nobody_named(shop: Sandbox) -> None:  # L03
    with (
        open_connection(shop, allow_origins=[]) as me,
        pytest.raises(errors.UntrustedOrigin),
    ):
        download(me, shop)


def test_words_of_the_holder(shop: Sandbox) -> None:  # L04
    outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "Ann Smith, HIV"}]}
    shop.script("*/ImagingStudy*", status=400, body=json.dumps(outcome).encode())
    with open_connection(shop) as me, pytest.raises(errors.HTTPStatusError) as caught:
        me.studies()
    assert "Smith" not in str(caught.value)
    assert "Smith" in caught.value.holder_said


@pytest.mark.parametrize("link", ["http://[", "//", "http://a b/", "http://\\evil"])
def test_a_next_that_is_no_address(shop: Sandbox, link: str) -> None:  # L07
    change = json_edit(lambda page: page | {"link": [{"relation": "next", "url": link}]})
    shop.script("*/ImagingStudy*", edit=change)
    with open_connection(shop) as me, pytest.raises(errors.S4SError) as caught:
        me.studies()
    assert caught.value.request is not None


def test_a_bomb_of_gzip(shop: Sandbox) -> None:  # M01
    bomb = gzip.compress(b'{"resourceType":"Bundle","entry":[' + b"[]," * 20_000_000 + b"[]]}")
    headers = [("Content-Type", "application/fhir+json"), ("Content-Encoding", "gzip")]
    shop.script("*/ImagingStudy*", status=200, headers=headers, body=bomb)
    with open_connection(shop) as me, pytest.raises(errors.ContentError):
        me.studies()


def test_thousands_of_junk_parts(shop: Sandbox) -> None:  # M02
    junk = b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\njunk" * 8000 + b"\r\n--x--\r\n"
    headers = [("Content-Type", 'multipart/related; type="application/dicom"; boundary=x')]
    shop.script("*/studies/*", times=None, status=200, headers=headers, body=junk)
    try:
        with open_connection(shop) as me, pytest.raises(errors.S4SError):
            download(me, shop)
    finally:
        shop.unscript()
