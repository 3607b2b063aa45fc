"""Which address is which origin, and who may be spoken to."""

from __future__ import annotations

import ipaddress
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook.errors import BlockedAddress, TrustError, UntrustedOrigin
from s4s_notebook.http.origins import Origins, absolute, kind, origin, parse

BASE = "https://holder.example/fhir"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (BASE, "https://holder.example:443"),
        ("https://holder.example", "https://holder.example:443"),
        ("https://HOLDER.Example:443/x", "https://holder.example:443"),
        ("https://holder.example:8443?q=1", "https://holder.example:8443"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example:443"),
        ("http://127.0.0.1:8000/fhir", "http://127.0.0.1:8000"),
        ("http://localhost/fhir#part", "http://localhost:80"),
        ("http://[::1]:8000/fhir", "http://[::1]:8000"),
        ("http://[0:0:0::1]:8000/fhir", "http://[::1]:8000"),
        ("https://8.8.8.8/x", "https://8.8.8.8:443"),
    ],
)
def test_origins(url: str, expected: str) -> None:
    assert origin(url) == expected


def test_the_target_is_kept_as_it_was_written() -> None:
    assert parse("https://h.example/a/$wado/b%2Fc?x=%C3%A4&y=+#z").target == (
        "/a/$wado/b%2Fc?x=%C3%A4&y=+"
    )
    assert parse("https://h.example?x=1").target == "/?x=1"
    assert parse("https://h.example").target == "/"


LOOK_ALIKES = [
    "https://holder.example.evil.example/",
    "https://holder.example@evil.example/",
    "https://holder.example:443@evil.example/",
    "https://user:pw@holder.example/",
    "https://holder.example:444/",
    "https://holder.example:0/",
    "https://holder.example:65536/",
    "https://holder.example:/",
    "https://holder.example\\@evil.example/",
    "https:\\\\holder.example/",
    "https:/\\holder.example/",
    "https://holder.example\\.evil.example/",
    "https://holder.example./",
    "https://h\u043elder.example/",
    "https://holder.example\uff0fevil/",
    "https://holder\u3002example/",
    "https://holder.example%2f@evil/",
    "https://holder.example%00.evil/",
    "https:///holder.example/",
    "https:holder.example/",
    "https://",
    "//holder.example/",
    "/fhir",
    "",
    " https://holder.example/",
    "https://holder.example/ x",
    "https://holder.example/\r\nHost: evil",
    "https://holder.example\t/",
    "https://holder.example/\x00",
    "https://[holder.example]/",
    "https://[::1/",
    "https://[v1.x]/",
    "https://[fe80::1%25eth0]/",
    "https://-holder.example/",
    "https://holder..example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 127 + "example/",
]


@pytest.mark.fault("B02")
@pytest.mark.parametrize("url", LOOK_ALIKES)
def test_look_alikes_are_not_the_holder(url: str) -> None:
    with pytest.raises(UntrustedOrigin) as caught:
        Origins(BASE).check(url)
    assert "pw" not in str(caught.value)
    try:
        trusted = Origins(BASE).is_trusted(url)
    except UntrustedOrigin:
        trusted = False
    assert not trusted, "the token would go there"


@pytest.mark.fault("B02", "A09")
def test_the_holder_without_encryption_is_not_the_holder() -> None:
    with pytest.raises(BlockedAddress, match="not encrypted"):
        Origins(BASE).check("http://holder.example/fhir")
    with pytest.raises(BlockedAddress):
        Origins("http://holder.example/fhir")


BLOCKED = [
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/html,x",
    "ftp://holder.example/",
    "ws://127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/",
    "https://[fd00:ec2::254]/",
    "https://10.0.0.1/",
    "https://172.16.5.5/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://[fc00::1]/",
    "https://[fe80::1]/",
    "https://127.0.0.1/",
    "https://localhost/",
    "https://x.localhost/",
    "https://127.8.9.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://0.0.0.0/",
    "https://255.255.255.255/",
    "https://224.0.0.1/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:7f00:1::]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b:1::10.0.0.1]/",
    "https://[fec0::1]/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.01/",
    "https://1.2.3.4.5/",
    "https://256.1.1.1/",
]


@pytest.mark.fault("B11")
@pytest.mark.parametrize("url", BLOCKED)
def test_addresses_into_other_networks_are_blocked(url: str) -> None:
    origins = Origins("https://8.8.8.8/fhir", confirm=lambda _: pytest.fail("nobody need be asked"))
    with pytest.raises(BlockedAddress):
        origins.check(url)


@pytest.mark.fault("B11")
def test_loopback_only_if_the_base_is_loopback() -> None:
    origins = Origins("http://127.0.0.1:8000/fhir", confirm=lambda _: True)
    assert origins.check("http://127.0.0.1:9000/").port == 9000
    assert origins.check("http://localhost:9000/").host == "localhost"
    with pytest.raises(BlockedAddress):
        origins.check("https://10.0.0.1/")


@pytest.mark.fault("B11")
def test_a_private_holder_may_lead_to_its_neighbours_once_it_is_known_where_it_is() -> None:
    origins = Origins("https://pacs.hospital.example/fhir", confirm=lambda _: True)
    origins.check("https://10.0.0.9/")
    origins.check_addresses("pacs.hospital.example", [ipaddress.ip_address("10.0.0.1")])
    origins.check("https://10.0.0.8/")
    origins.check_addresses("10.0.0.8", [ipaddress.ip_address("10.0.0.8")])
    with pytest.raises(BlockedAddress):
        origins.check("https://169.254.169.254/")
    public = Origins("https://holder.example/fhir", confirm=lambda _: True)
    public.check_addresses("holder.example", [ipaddress.ip_address("8.8.8.8")])
    with pytest.raises(BlockedAddress):
        public.check("https://10.0.0.9/")


@pytest.mark.fault("B11")
def test_a_name_that_turns_to_another_network_is_blocked() -> None:
    origins = Origins(BASE)
    origins.check_addresses("holder.example", [ipaddress.ip_address("8.8.8.8")])
    for host in ("holder.example", "imaging.example"):
        for bad in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"):
            with pytest.raises(BlockedAddress, match=host):
                origins.check_addresses(
                    host, [ipaddress.ip_address("8.8.4.4"), ipaddress.ip_address(bad)]
                )


def test_an_address_that_the_person_wrote_down_is_allowed() -> None:
    origins = Origins(BASE, allow_origins=["http://127.0.0.1:8042", "https://imaging.example"])
    origins.check("http://127.0.0.1:8042/dicom-web")
    origins.check_addresses("127.0.0.1", [ipaddress.ip_address("127.0.0.1")])
    with pytest.raises(UntrustedOrigin):
        origins.check("http://127.0.0.1:8043/dicom-web")


@pytest.mark.parametrize(
    ("address", "expected"),
    [("8.8.8.8", "public"), ("2606:4700::1111", "public"), ("::ffff:8.8.8.8", "public"),
     ("64:ff9b::808:808", "public"), ("2002:808:808::1", "public"), ("127.0.0.1", "loopback"),
     ("10.1.1.1", "private"), ("fd00::1", "private"), ("169.254.0.1", "special"),
     ("ff02::1", "special"), ("192.0.2.1", "special"), ("::7f00:1", "special"),
     ("64:ff9b:1::a00:1", "special"), ("fec0::1", "private"), ("2001::1", "special")],
)  # fmt: skip
def test_kinds(address: str, expected: str) -> None:
    assert kind(ipaddress.ip_address(address)) == expected


@pytest.mark.fault("B12")
def test_a_new_origin_needs_consent_and_consent_is_kept() -> None:
    asked: list[str] = []
    kept: list[str] = []

    def ask(place: str) -> bool:
        asked.append(place)
        return place.startswith("https://imaging.")

    origins = Origins(BASE, confirm=ask, remember=kept.append)
    origins.check("https://imaging.example/wado/studies/1.2")
    origins.check("https://imaging.example:443/other")
    assert origins.is_trusted("https://imaging.example/x")
    for _ in range(2):
        with pytest.raises(UntrustedOrigin) as caught:
            origins.check("https://other.example/", "The study's endpoint")
    assert caught.value.origin == "https://other.example:443"
    assert "allow_origins" in str(caught.value)
    assert "The study's endpoint" in str(caught.value)
    assert asked == ["https://imaging.example:443", "https://other.example:443"]
    assert kept == ["https://imaging.example:443"]
    origins.allow("https://other.example")
    origins.check("https://other.example/")


@pytest.mark.fault("B12")
def test_with_nobody_there_a_new_origin_is_refused() -> None:
    with pytest.raises(UntrustedOrigin):
        Origins(BASE).check("https://imaging.example/wado")
    Origins(BASE, allow_origins=["https://imaging.example"]).check("https://imaging.example/wado")


def test_consent_to_talk_is_no_consent_to_the_token() -> None:
    origins = Origins(BASE)
    origins.allow("https://login.example/token", tokens=False)
    assert origins.check("https://login.example/token").host == "login.example"
    assert not origins.is_trusted("https://login.example/token")


def test_many_threads_put_one_question() -> None:
    asked: list[str] = []
    go = threading.Event()

    def ask(place: str) -> bool:
        asked.append(place)
        go.wait(5)
        return True

    origins = Origins(BASE, confirm=ask)
    threads = [
        threading.Thread(target=origins.check, args=("https://imaging.example/",)) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    origins.check(BASE)  # what is trusted goes on while the person thinks
    go.set()
    for thread in threads:
        thread.join(5)
    assert len(asked) == 1


@pytest.mark.fault("B03")
def test_links_are_resolved_and_otherwise_unchanged() -> None:
    page = "https://holder.example/fhir/ImagingStudy?patient=1"
    assert absolute(page, "?page=2") == "https://holder.example/fhir/ImagingStudy?page=2"
    assert absolute(page, "/fhir?_getpages=abc&x=%2B") == (
        "https://holder.example/fhir?_getpages=abc&x=%2B"
    )
    assert absolute(page, "ImagingStudy?p=2") == "https://holder.example/fhir/ImagingStudy?p=2"
    whole = "https://holder.example:443/fhir?q=" + "x" * 8192
    assert absolute(page, whole) == whole
    assert parse(whole).target == "/fhir?q=" + "x" * 8192


@pytest.mark.fault("B02")
@pytest.mark.parametrize(
    "link", ["//evil.example/x", "\\\\evil.example/x", "/a b", "/\u00e4", "\t/x", ""]
)
def test_links_that_lead_away_are_seen(link: str) -> None:
    origins = Origins(BASE)
    with pytest.raises(UntrustedOrigin):
        origins.check(absolute(BASE, link))


@pytest.mark.fault("B02", "B11")
@given(st.text(alphabet=st.characters(max_codepoint=0x2FFF), max_size=40))
def test_no_text_beside_the_holder_is_taken_for_the_holder(tail: str) -> None:
    origins = Origins(BASE)
    for url in ("https://holder.example" + tail, "https://" + tail, tail, tail + BASE):
        try:
            place = origins.check(url)
        except TrustError:
            continue
        assert place.origin == "https://holder.example:443"


@given(st.ip_addresses())
def test_every_address_has_a_kind(address) -> None:
    found = kind(address)
    assert found in ("public", "loopback", "private", "special")
    if found == "public":
        assert address.is_global or address.version == 6
