"""Discovery against a real socket that says all kinds of things."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from s4s_notebook import errors
from s4s_notebook.smart.authorization import Login
from s4s_notebook.smart.discovery import (
    Holder,
    check_base,
    discover,
    read_configuration,
    read_statement,
)
from tests.faultserver.holder import Answer, configuration, holder, transport_to

WELL_KNOWN = "/fhir/.well-known/smart-configuration"
METADATA = "/fhir/metadata"
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
HTML = Answer(b"<html><body>Welcome</body></html>", headers={"Content-Type": "text/html"})


def statement(origin: str, **uris: Any) -> dict[str, Any]:
    uris = uris or {
        "authorize": f"{origin}/authorize",
        "token": f"{origin}/token",
        "register": f"{origin}/register",
        "manage": f"{origin}/manage",
    }
    children = [{"url": name, "valueUri": value} for name, value in uris.items()]
    extension = [{"url": OAUTH_URIS, "extension": children}]
    return {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "3.0.1",
        "rest": [{"mode": "server", "security": {"extension": extension}}],
    }


@pytest.fixture
def server():
    with holder() as server:
        yield server


def find(server, **options) -> Holder:
    with transport_to(server.base) as transport:
        return discover(transport, server.base, **options)


def test_well_known_is_asked_first_and_alone(server):
    server.on(WELL_KNOWN, Answer(configuration(server.origin)))
    found = find(server)
    assert [each.path for each in server.asked] == [WELL_KNOWN]
    assert found.source == "well-known"
    assert found.token == f"{server.origin}/token"
    assert found.revoke == f"{server.origin}/revoke"
    assert found.manage == f"{server.origin}/manage"
    assert found.pkce_methods == ("S256",)
    assert found.issuer == server.base
    assert found.imaging_base == found.base == server.base
    assert found.imaging_origins == ()
    assert "authorization" not in server.asked[0].headers
    assert found.notes == ()
    assert not found.iss_promised


@pytest.mark.parametrize("first", [Answer(b"no", 404), HTML, Answer(b"", 200), Answer([1])])
def test_then_the_capability_statement_in_that_order(server, first):
    server.on(WELL_KNOWN, first)
    server.on(METADATA, Answer(statement(server.origin)))
    found = find(server)
    assert [each.path for each in server.asked] == [WELL_KNOWN, METADATA]
    assert server.asked[1].headers["accept"].startswith("application/fhir+json, ")
    assert found.source == "metadata"
    assert found.register == f"{server.origin}/register"
    assert found.manage == f"{server.origin}/manage"
    assert found.fhir_version == "3.0.1"


@pytest.mark.fault("A05")
def test_a_capability_statement_promises_no_pkce_and_the_notes_say_so(server):
    server.on(METADATA, Answer(statement(server.origin)))
    found = find(server)
    assert found.pkce_methods is None
    assert any("does not promise PKCE" in note for note in found.notes)


def test_a_dstu2_conformance_counts(server):
    body = statement(server.origin) | {"resourceType": "Conformance", "fhirVersion": "1.0.2"}
    server.on(METADATA, Answer(body))
    assert find(server).fhir_version == "1.0.2"


def test_a_configuration_without_sign_in_is_completed_by_the_metadata(server):
    imaging = [{"url": f"{server.origin}/imaging", "capabilities": ["smart-imaging-access"]}]
    body = configuration(
        server.origin,
        authorization_endpoint=None,
        token_endpoint=None,
        issuer=None,
        associated_endpoints=imaging,
    )
    server.on(WELL_KNOWN, Answer(body))
    server.on(METADATA, Answer(statement(server.origin)))
    found = find(server)
    assert found.source == "metadata"
    assert found.token == f"{server.origin}/token"
    assert found.imaging_base == f"{server.origin}/imaging"


# ------------------------------------------------------------------ nothing there


def test_a_web_page_in_place_of_fhir_is_a_discovery_error(server):
    server.on(WELL_KNOWN, HTML)
    server.on(METADATA, HTML)
    with pytest.raises(errors.DiscoveryError, match="web page") as caught:
        find(server)
    assert "FHIR base address" in str(caught.value)
    assert caught.value.request is not None


def test_a_base_that_names_a_resource_is_told_what_to_leave_out(server):
    with transport_to(server.base) as transport, pytest.raises(errors.DiscoveryError) as caught:
        discover(transport, f"{server.base}/Patient")
    assert "Leave out /Patient" in caught.value.hint


def test_a_holder_behind_a_login_asks_for_a_token(server):
    server.on(METADATA, Answer({}, 401))
    with pytest.raises(errors.DiscoveryError) as caught:
        find(server)
    assert "access_token=" in caught.value.hint


@pytest.mark.parametrize("body", [{"resourceType": "Patient"}, {}, [], "text"])
def test_json_that_is_no_capability_statement(server, body):
    server.on(METADATA, Answer(body))
    with pytest.raises(errors.DiscoveryError, match="other than FHIR metadata"):
        find(server)


def test_fhir_without_sign_in(server):
    plain = {"resourceType": "CapabilityStatement", "fhirVersion": "3.0.1", "rest": [{}]}
    server.on(METADATA, Answer(plain))
    with pytest.raises(errors.DiscoveryError, match="offers no SMART sign-in"):
        find(server)
    found = find(server, required=False)
    assert (found.source, found.fhir_version) == ("none", "3.0.1")
    assert found.token is None


def test_not_required_and_nothing_there(server):
    found = find(server, required=False)
    assert found.source == "none"
    assert found.notes == ("No SMART metadata.",)


def test_a_holder_that_is_down():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/fhir"
    with transport_to(base) as transport, pytest.raises(errors.HolderUnavailable) as caught:
        discover(transport, base, required=False)
    assert WELL_KNOWN in str(caught.value)


def test_a_holder_that_only_fails(server):
    server.on(WELL_KNOWN, Answer(b"", 502))
    with pytest.raises(errors.HolderUnavailable):
        find(server)


def test_a_busy_holder_is_waited_for(server):
    server.on(
        WELL_KNOWN,
        Answer(b"", 503, {"Retry-After": "0"}),
        Answer(configuration(server.origin)),
    )
    assert find(server).source == "well-known"
    assert server.count(WELL_KNOWN) == 2


@pytest.mark.parametrize("target", ["https://sso.example/login", WELL_KNOWN])
def test_a_well_known_that_redirects_to_a_log_in_page_or_to_itself(server, target):
    server.on(WELL_KNOWN, Answer(b"", 302, {"Location": target}))
    server.on(METADATA, Answer(statement(server.origin)))
    assert find(server).source == "metadata"


def test_metadata_that_redirect_elsewhere_name_the_place(server):
    server.on(METADATA, Answer(b"", 302, {"Location": "https://new.example/fhir/metadata"}))
    with pytest.raises(errors.UntrustedOrigin) as caught:
        find(server)
    assert caught.value.origin == "https://new.example:443"


@pytest.mark.parametrize("base", ["holder", "https://h/fhir?x=1", "https://h/fhir#a", "", "x y"])
def test_no_web_address(server, base):
    with transport_to(server.base) as transport, pytest.raises(errors.DiscoveryError):
        discover(transport, base)
    assert server.asked == []


@pytest.mark.fault("A09")
def test_an_unencrypted_base_is_refused_and_nothing_is_sent(server):
    with transport_to(server.base) as transport, pytest.raises(errors.BlockedAddress):
        discover(transport, "http://holder.example/fhir")
    assert server.asked == []


# ------------------------------------------------------------------ addresses that are not safe


@pytest.mark.fault("A09")
@pytest.mark.parametrize(
    "address",
    [
        "http://holder.example/token",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//holder.example/token",
        "http://[",
        "https://holder.example@evil.example/token",
        "https://2130706433/token",
        "https://holder.example\\@evil.example/token",
        "https://holder.example/to ken",
        "",
        7,
    ],
)
@pytest.mark.parametrize("door", ["authorization_endpoint", "token_endpoint"])
def test_unsafe_addresses_are_refused(server, address, door):
    server.on(WELL_KNOWN, Answer(configuration(server.origin, **{door: address})))
    with pytest.raises(errors.DiscoveryError, match=door):
        find(server)
    assert len(server.asked) == 1


def test_a_remote_holder_may_not_lead_to_this_machine():
    body = configuration("https://h.example", token_endpoint="http://127.0.0.1:8080/token")
    with pytest.raises(errors.DiscoveryError, match="your own machine"):
        read_configuration(body, "https://h.example/fhir")
    with pytest.raises(errors.DiscoveryError, match="your own machine"):
        read_statement(statement("http://localhost:1"), "https://h.example/fhir")


def test_oauth_on_another_origin_may_be_asked_but_never_with_the_token(server):
    with holder() as other, transport_to(server.base) as transport:
        server.on(WELL_KNOWN, Answer(configuration(other.origin)))
        discover(transport, server.base)
        assert not transport.origins.is_trusted(other.origin)
        transport.origins.check(f"{other.origin}/token", "test")


# ------------------------------------------------------------------ issuer, imaging, odd shapes


def test_iss_promised_without_an_issuer_contradicts_itself():
    body = configuration(
        "https://h.example", issuer=None, authorization_response_iss_parameter_supported=True
    )
    with pytest.raises(errors.DiscoveryError, match="has no issuer"):
        read_configuration(body, "https://h.example/fhir")


def test_iss_promised():
    body = configuration("https://h.example", authorization_response_iss_parameter_supported=True)
    assert read_configuration(body, "https://h.example/fhir").iss_promised


@pytest.mark.fault("L02")
@pytest.mark.parametrize(
    "issuer",
    [
        "https://honest.example",
        "{origin}",
        "{origin}/fhi",
        "{origin}/fhir2",
        "{origin}/FHIR",
        "{origin}/fhir//",
        "{origin}/fhir?tenant=1",
        "{origin}/other/../fhir",
        "../",
    ],
)
def test_an_issuer_near_the_address_of_the_metadata_is_another_one(server, issuer):
    issuer = issuer.format(origin=server.origin)
    server.on(WELL_KNOWN, Answer(configuration(server.origin, issuer=issuer)))
    found = find(server)
    assert found.foreign_issuer == issuer
    assert any(issuer in note for note in found.notes)
    with pytest.raises(errors.AuthorizationError, match="cannot speak for") as caught:
        Login(found)
    assert f"allow_origins=[{issuer!r}]" in caught.value.hint
    if issuer != "../":  # what the hint says leads on
        with transport_to(server.base, allow_origins=[issuer]) as transport:
            assert Login(discover(transport, server.base)).holder.issuer == issuer
        with transport_to(server.base, allow_origins=[f"{issuer}/near"]) as transport:
            assert discover(transport, server.base).foreign_issuer == issuer


@pytest.mark.parametrize("end", ["", "/"])
def test_the_issuer_at_which_the_metadata_were_read(server, end):
    server.on(WELL_KNOWN, Answer(configuration(server.origin, issuer=f"{server.base}{end}")))
    found = find(server)
    assert (found.foreign_issuer, found.issuer) == ("", f"{server.base}{end}")
    assert Login(found).holder is found


def imaging(*places: Any, top: bool = False) -> Holder:
    capabilities = ["smart-imaging-access"] if top else []
    body = configuration(
        "https://h.example", associated_endpoints=list(places), capabilities=capabilities
    )
    return read_configuration(body, "https://h.example/fhir")


def test_imaging_on_an_associated_endpoint():
    found = imaging(
        {"url": "https://img.example/fhir/", "capabilities": ["smart-imaging-access"]},
        {"url": "https://lab.example/fhir", "capabilities": ["launch-standalone"]},
        {"url": "https://pacs.example/dicom-web", "capabilities": ["dicom-wado-rs"]},
    )
    assert found.imaging_base == "https://img.example/fhir"
    assert found.imaging_origins == ("https://img.example:443", "https://pacs.example:443")


def test_imaging_at_the_base_itself():
    found = imaging(top=True)
    assert found.imaging_base == "https://h.example/fhir"
    assert "smart-imaging-access" in found.capabilities


def test_two_imaging_bases_are_noted():
    found = imaging({"url": "https://i.example/f", "capabilities": ["smart-imaging-access"]}, top=1)
    assert found.imaging_base == "https://h.example/fhir"
    assert any("Several imaging bases" in note for note in found.notes)


@pytest.mark.parametrize("places", [["x"], [{}], [{"capabilities": "smart-imaging-access"}], "x"])
def test_odd_associated_endpoints_do_no_harm(places):
    body = configuration("https://h.example", associated_endpoints=places)
    assert read_configuration(body, "https://h.example/fhir").imaging_origins == ()


def test_an_associated_endpoint_without_an_address_is_noted():
    found = imaging({"capabilities": ["smart-imaging-access"]})
    assert any("no address" in note for note in found.notes)


def test_an_unsafe_imaging_base_is_refused():
    with pytest.raises(errors.DiscoveryError):
        imaging({"url": "http://img.example/", "capabilities": ["smart-imaging-access"]})


@pytest.mark.parametrize(
    "rest",
    [
        None,
        {},
        ["x"],
        [{"security": []}],
        [{"security": {"extension": "x"}}],
        [{"security": {"extension": [{"url": "https://h/other", "extension": [{}]}]}}],
    ],
)
def test_odd_capability_statements_have_no_sign_in(rest):
    found = read_statement({"resourceType": "CapabilityStatement", "rest": rest}, "https://h/f")
    assert (found.source, found.fhir_version) == ("none", None)


def test_the_first_of_two_extensions_counts():
    body = statement("https://a.example")
    body["rest"].append(statement("https://b.example")["rest"][0])
    found = read_statement(body, "https://a.example/fhir")
    assert found.token == "https://a.example/token"


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize(
    "name", ["cms-bb2-web-v2-r4/fhir_meta_v2.json", "cms-bcda-v1-stu3/Metadata.json"]
)
def test_real_capability_statements(shared_data, name):
    body = json.loads((shared_data / "fhir" / name).read_text())
    text = json.dumps(body).replace("http://localhost:8000", "https://sandbox.bluebutton.cms.gov")
    found = read_statement(json.loads(text), "https://sandbox.bluebutton.cms.gov/v2/fhir")
    assert found.token is not None
    assert found.token.startswith("https://sandbox.bluebutton.cms.gov/")
    assert found.fhir_version in {"3.0.2", "4.0.0", "4.0.1"}


@pytest.mark.parametrize("address", ["", "holder", "holder.example/fhir", "ftp://holder.example/"])
def test_what_is_no_web_address_is_told_before_anything_is_asked(address):
    with pytest.raises(errors.DiscoveryError, match="not a web address"):
        check_base(address)
