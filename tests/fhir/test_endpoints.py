"""From an ImagingStudy to the address of its images."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook import errors
from s4s_notebook.fhir.endpoints import WadoEndpoint, endpoints, study_url
from s4s_notebook.fhir.resources import check_uid, study_uid
from tests.faultserver import FaultServer, Sink
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import FakeTokens, Make

ADDRESS = "https://imaging-server/Patient/smart-1288992/$wado-rs"
NEEDS = "http://fhir-registry.smarthealthit.org/StructureDefinition/requires-access-token"


def endpoint(number: str = "e1", **more: Any) -> dict[str, Any]:
    found = {
        "resourceType": "Endpoint",
        "id": number,
        "status": "active",
        "connectionType": {"system": "x", "code": "dicom-wado-rs"},
        "address": ADDRESS,
    }
    return {name: value for name, value in (found | more).items() if value is not None}


def study(*references: Any, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "uid": "urn:oid:1.2.3",
        "endpoint": [{"reference": reference} for reference in references],
    } | more


@pytest.mark.parametrize(
    ("resource", "uid"),
    [
        ({"uid": "urn:oid:1.2.3"}, "1.2.3"),
        ({"uid": "1.2.3"}, "1.2.3"),
        (
            {"identifier": [{"system": "x"}, {"system": "urn:dicom:uid", "value": "urn:oid:1.2"}]},
            "1.2",
        ),
        ({"identifier": [5, {"system": "urn:dicom:uid", "value": "1.2"}]}, "1.2"),
        ({"identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2"}]}, "1.2"),
        ({"identifier": {"system": "urn:ietf:rfc:3986", "value": "1.2"}}, "1.2"),
        (
            {
                "identifier": [
                    {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:5"},
                    {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.3"},
                    {"system": "urn:dicom:uid", "value": "urn:oid:1.2"},
                ]
            },
            "1.2",
        ),
        ({"uid": None, "identifier": [{"system": "urn:dicom:uid", "value": "1.2"}]}, "1.2"),
    ],
)
def test_study_uids(resource: dict[str, Any], uid: str) -> None:
    assert study_uid(resource) == uid


@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    "uid",
    ["", "../1.2", "1.2/../../etc", "%2e%2e", "1.2.3\n", "1.2.3 ", "1." * 32 + "11", "1..2", ".1",
     "1.", "12", "1.2a", "\u0661.2", "1.2\x00", "urn:oid:", "urn:uuid:1.2", None, 12, 1.2, ["1.2"]],
)  # fmt: skip
def test_what_is_no_uid_is_never_asked_for(server: FaultServer, uid: object) -> None:
    for call in (
        lambda: check_uid(uid),
        lambda: study_uid({"uid": uid}),
        lambda: study_uid({"identifier": [{"system": "urn:dicom:uid", "value": uid}]}),
        lambda: study_url(server.base, uid),  # type: ignore[arg-type]  # it is the point
    ):
        with pytest.raises(errors.InvalidUID) as caught:
            call()
        assert str(caught.value).isprintable() or "\n" in str(caught.value)
    assert server.connections == 0


def test_a_study_without_a_uid() -> None:
    for resource in (
        {},
        {"identifier": []},
        {"identifier": "x"},
        {"identifier": [{"system": "y"}]},
    ):
        with pytest.raises(errors.InvalidUID):
            study_uid(resource)


@pytest.mark.fault("B14")
@given(st.text(max_size=80))
def test_a_uid_that_passes_is_safe_in_any_path(text: str) -> None:
    try:
        uid = check_uid(text)
    except errors.InvalidUID:
        return
    assert set(uid) <= set("0123456789.")
    assert ".." not in uid
    assert len(uid) <= 64


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (ADDRESS, f"{ADDRESS}/studies/1.2.3"),
        (ADDRESS + "/", f"{ADDRESS}/studies/1.2.3"),
        (f" {ADDRESS}/studies\n", f"{ADDRESS}/studies/1.2.3"),
        (f"{ADDRESS}/studies/1.2.3", f"{ADDRESS}/studies/1.2.3"),
        (f"{ADDRESS}/studies/1.2.3/", f"{ADDRESS}/studies/1.2.3"),
        (f"{ADDRESS}?key=a/b", f"{ADDRESS}/studies/1.2.3?key=a/b"),
        (f"{ADDRESS}/studies/1.2.3?k=v", f"{ADDRESS}/studies/1.2.3?k=v"),
        ("https://studies.example/x", "https://studies.example/x/studies/1.2.3"),
    ],
)
def test_study_addresses(address: str, url: str) -> None:
    assert study_url(address, "urn:oid:1.2.3") == url


def test_an_address_of_another_study() -> None:
    with pytest.raises(errors.NotDownloadable, match="another study"):
        study_url(f"{ADDRESS}/studies/1.2.4", "1.2.3")


# ------------------------------------------------------------------ references


def resolved(
    server: FaultServer, make: Make, resource: Any, included: Any = ()
) -> list[WadoEndpoint]:
    return endpoints(make(tokens=FakeTokens("abc")), resource, included, server.base)


def test_contained(server: FaultServer, make: Make) -> None:
    found = resolved(
        server, make, study("#e1", contained=[{"id": "x"}, endpoint("e0"), endpoint()])
    )
    assert found == [WadoEndpoint(ADDRESS, None, "dicom-wado-rs")]
    assert server.requests == []


@pytest.mark.parametrize(
    "reference", ["Endpoint/e1", "urn:uuid:e1", "https://h.example/r/Endpoint/e1"]
)
def test_included(server: FaultServer, make: Make, reference: str) -> None:
    included = [{"resourceType": "Patient", "id": "e1"}, endpoint("e1", address=" https://i/x ")]
    assert resolved(server, make, study(reference), included)[0].address == "https://i/x"
    assert server.requests == []


@pytest.mark.parametrize("form", ["Endpoint/e1", "{base}/Endpoint/e1", "Endpoint/e1/_history/2"])
def test_read_from_the_holder(server: FaultServer, make: Make, form: str) -> None:
    server.on(f"/fhir/{form.removeprefix('{base}/')}", send.json(endpoint()))
    assert resolved(server, make, study(form.format(base=server.base)))[0].address == ADDRESS
    assert server.requests[0].bearer == "abc"
    assert "application/fhir+json" in server.requests[0].header("Accept")


def test_the_brokers_second_reference_is_a_bare_address(server: FaultServer, make: Make) -> None:
    bare = "https://imaging-server/dicom-web/studies/1.2.3"
    found = resolved(server, make, study(bare, "#e1", contained=[endpoint()]))
    assert [each.address for each in found] == [ADDRESS, bare]
    assert resolved(server, make, study(bare))[0] == WadoEndpoint(bare, None, "dicom-wado-rs")
    assert server.requests == []


@pytest.mark.parametrize(
    ("extension", "needs"),
    [
        ([{"url": NEEDS, "valueBoolean": True}], True),
        ([{"url": "x"}, {"url": NEEDS, "valueBoolean": False}], False),
        ([{"url": NEEDS, "valueString": "true"}], None),
        ([{"url": 5}, 7], None),
        (None, None),
    ],
)
def test_requires_access_token(server, make, extension: Any, needs: bool | None) -> None:
    found = resolved(server, make, study("#e1", contained=[endpoint(extension=extension)]))
    assert found[0].requires_token is needs


@pytest.mark.fault("B12")
def test_headers_that_an_endpoint_wants_to_be_sent_are_ignored(server, make: Make) -> None:
    wants = endpoint(header=["Authorization: Bearer of-theirs", "Cookie: x"])
    assert resolved(server, make, study("#e1", contained=[wants])) == [
        WadoEndpoint(ADDRESS, None, "dicom-wado-rs")
    ]


def test_codes_of_other_versions(server: FaultServer, make: Make) -> None:
    five = endpoint(connectionType=[{"code": "ihe-iid"}, {"code": "dicom-wado-rs"}])
    assert resolved(server, make, study("#e1", contained=[five]))


@pytest.mark.parametrize(
    "kind",
    [
        {"coding": [{"system": "x", "code": "dicom-wado-rs"}]},
        {"coding": {"code": "dicom-wado-rs"}},
        [{"coding": [{"code": "ihe-iid"}]}, {"coding": [{"code": "dicom-wado-rs"}]}],
    ],
)
def test_connection_types_of_other_versions(server: FaultServer, make: Make, kind: Any) -> None:
    found = resolved(server, make, study("#e1", contained=[endpoint(connectionType=kind)]))
    assert [each.address for each in found] == [ADDRESS]


def test_endpoints_of_the_series_are_used_where_the_study_has_none(server, make) -> None:
    series = [{"endpoint": [{"reference": "#e1"}]}, {"endpoint": [{"reference": "#e1"}]}]
    resource = study(series=series, contained=[endpoint()])
    assert len(resolved(server, make, resource)) == 1


UNUSABLE = {
    "none": study(),
    "odd list": study(5, None, {"a": 1}),
    "dangling #": study("#nothing", contained=[endpoint()]),
    "dangling urn": study("urn:uuid:123"),
    "404": study("Endpoint/absent"),
    "not an Endpoint": study("Patient/1"),
    "display only": {"endpoint": [{"display": "PACS"}]},
    "off": study("#e1", contained=[endpoint(status="off")]),
    "error": study("#e1", contained=[endpoint(status="entered-in-error")]),
    "other code": study("#e1", contained=[endpoint(connectionType={"code": "dicom-wado-uri"})]),
    "no code": study("#e1", contained=[endpoint(connectionType=None)]),
    "no address": study("#e1", contained=[endpoint(address=None)]),
    "blank address": study("#e1", contained=[endpoint(address=" ")]),
    "odd address": study("#e1", contained=[endpoint(address=5)]),
    "wrong type": study("#e1", contained=[endpoint(resourceType="Patient")]),
}


@pytest.mark.fault("B13")
@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_study_without_a_usable_endpoint(server: FaultServer, make: Make, kind: str) -> None:
    with pytest.raises(errors.NotDownloadable) as caught:
        resolved(server, make, UNUSABLE[kind])
    assert str(caught.value).startswith("The study cannot be fetched: ")


@pytest.mark.fault("B13")
@pytest.mark.parametrize(
    "script",
    [send.reply(404), send.reply(403), send.json({"resourceType": "Patient"}), send.json([]),
     send.reply(200, b"<html>")],
)  # fmt: skip
def test_an_endpoint_that_cannot_be_read(server: FaultServer, make: Make, script) -> None:
    server.on("/fhir/Endpoint/e1", script)
    with pytest.raises(errors.NotDownloadable, match="Endpoint/e1"):
        resolved(server, make, study("Endpoint/e1"))
    good = study("Endpoint/e1", "#e1", contained=[endpoint()])
    assert len(resolved(server, make, good)) == 1


@pytest.mark.fault("B11", "B12")
@pytest.mark.parametrize(
    "reference",
    [
        "https://169.254.169.254/Endpoint/e1",
        "https://10.0.0.1/Endpoint/e1",
        "https://2130706433/Endpoint/e1",
    ],
)
def test_a_reference_into_another_network(server, make, reference: str) -> None:
    with pytest.raises(errors.BlockedAddress):
        resolved(server, make, study(reference))


@pytest.mark.fault("B12")
def test_a_reference_to_another_origin_needs_consent(server, sink: Sink, make: Make) -> None:
    with pytest.raises(errors.UntrustedOrigin):
        resolved(server, make, study(f"{sink.origin}/Endpoint/e1"))
    mixed = study(f"{sink.origin}/Endpoint/e1", "#e1", contained=[endpoint()])
    assert len(resolved(server, make, mixed)) == 1


def test_waiting_and_cancelling_are_not_swallowed(server: FaultServer, make: Make) -> None:
    server.on("/fhir/Endpoint/e1", send.later("99999"))
    with pytest.raises(errors.RetryAfterTooLong):
        resolved(server, make, study("Endpoint/e1"))
