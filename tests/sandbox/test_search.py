"""Search as the seed and STU3 have it: dates, paging, links, refusals."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook import Sandbox
from s4s_notebook.sandbox.search import BadDateError, date_matches, date_range

from .conftest import call, get

NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("held", "wanted", "fits"),
    [
        ("2016-04-16T10:00:00.000Z", "gt2016-04-16", False),  # the whole day is not "after"
        ("2016-04-17T00:00:00.000Z", "gt2016-04-16", True),
        ("2016-04-16T10:00:00.000Z", "ge2016-04-16", True),
        ("2016-04-15T23:59:59.999Z", "ge2016-04-16", False),
        ("2016-04-15T23:59:59.999Z", "lt2016-04-16", True),
        ("2016-04-16T00:00:00.000Z", "lt2016-04-16", False),
        ("2016-04-16T23:59:59.999Z", "le2016-04-16", True),
        ("2016-04-16T10:00:00.000Z", "2016-04-16", True),
        ("2016-04-16T10:00:00.000Z", "eq2016-04", True),
        ("2016-04-16T10:00:00.000Z", "eq2016", True),
        ("2016-04-16T10:00:00.000Z", "ne2016", False),
        ("2016-04-16T10:00:00.000Z", "ne2015", True),
        ("2016-04-16T10:00:00.000Z", "sa2016-04-15", True),
        ("2016-04-16T10:00:00.000Z", "eb2016-04-17", True),
        ("2016-04-16T10:00:00.000Z", "ap2016-04-20", True),
        ("1980-01-01T00:00:00.000Z", "ap2016-04-20", False),
        ("2016-04-01T02:52:32.000Z", "gt2016-04-01T02:52:32.000Z", False),
        ("2016-04-01T02:52:32.001Z", "gt2016-04-01T02:52:32.000Z", True),
        ("2016-04-01T02:52:32.500Z", "gt2016-04-01T02:52:32", False),
        ("2016-04-01T02:52:33.000Z", "gt2016-04-01T02:52:32", True),  # no zone: UTC
        ("2016-04-01T00:30:00.000Z", "lt2016-04-01T02:00:00+02:00", False),
        ("2016-03-31T23:59:00.000Z", "lt2016-04-01T02:00:00+02:00", True),
        ("2016-04-01T00:00:30.000Z", "2016-04-01T00:00", True),
    ],
)
def test_prefixes_and_precisions(held: str, wanted: str, fits: bool) -> None:
    assert date_matches(held, wanted, NOW) is fits


@pytest.mark.parametrize(
    "text",
    ["", "gt", "2016-13", "2016-02-30", "2016-4-1", "16", "0000-01-01", "\uff12\uff10\uff11\uff16",
     "2016-04-16T", "2016-04-01T02:52:32 00:00", "gt2016-04-16\n", "2016-04-01T25:00:00Z"],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(BadDateError):
        date_matches("2016-04-16T10:00:00.000Z", text, NOW)


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)))
def test_exactly_one_of_lt_eq_gt_holds_for_instants(moment: dt.datetime) -> None:
    text = moment.isoformat(timespec="milliseconds") + "Z"
    other = "2016-04-01T02:52:32.000Z"
    assert sum(date_matches(text, p + other, NOW) for p in ("lt", "eq", "gt")) == 1


@given(st.text(max_size=30))
def test_any_text_is_a_date_or_refused(text: str) -> None:
    try:
        found = date_range(text)
    except BadDateError:
        return
    assert found.low < found.high


def test_the_seeds_four_searches_need_no_token(shop: Sandbox) -> None:
    for kind in ("ImagingStudy", "ExplanationOfBenefit"):
        broad = get(
            f"{shop.open_fhir_url}/{kind}?patient=smart-1288992",
            headers={"Accept": "application/json+fhir"},
        )
        assert broad.status == 200
        assert broad.headers["content-type"].startswith("application/json+fhir")
        narrow = get(
            f"{shop.open_fhir_url}/{kind}?patient=smart-1288992&_lastUpdated=gt2016-04-16"
        ).json()
        assert 0 < narrow["total"] < broad.json()["total"]
        for entry in narrow["entry"]:
            assert entry["resource"]["meta"]["lastUpdated"] >= "2016-04-17"


def test_pages_are_whole_and_disjoint(shop: Sandbox) -> None:
    base = f"{shop.open_fhir_url}/ExplanationOfBenefit?patient=smart-1288992"
    held = {r["id"] for r in shop.resources("ExplanationOfBenefit", "smart-1288992")}
    url, seen, pages = base, [], 0
    while url:
        bundle = get(url).json()
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        assert all(link.startswith(shop.open_fhir_url) for link in links.values())
        assert bundle["total"] == len(held)
        seen += [e["resource"]["id"] for e in bundle["entry"]]
        url, pages = links.get("next", ""), pages + 1
    assert (len(seen), set(seen), pages) == (len(held), held, 3)
    last = get(links["last"]).json()
    assert {x["relation"] for x in last["link"]} == {"self", "first", "previous", "last"}


@pytest.mark.parametrize(
    ("query", "entries"),
    [
        ("_count=5", 5),
        ("_count=100000", 57),
        ("_count=0", 0),
        ("_count=-3", 0),
        ("startIndex=-5&_count=4", 4),
        ("startIndex=55", 2),
        ("startIndex=999999999", 0),
    ],
)
def test_counts_and_starts_are_clamped(shop: Sandbox, query: str, entries: int) -> None:
    url = f"{shop.open_fhir_url}/ExplanationOfBenefit?patient=smart-1288992&{query}"
    bundle = get(url).json()
    assert bundle["total"] == 57
    assert len(bundle.get("entry", [])) == entries


def test_identifier_started_and_id(shop: Sandbox) -> None:
    study = shop.resources("ImagingStudy", "smart-1288992")[0]
    uid = study["uid"]
    for value in (uid.removeprefix("urn:oid:"), f"urn:dicom:uid|{uid.removeprefix('urn:oid:')}"):
        found = get(f"{shop.open_fhir_url}/ImagingStudy?identifier={quote(value)}").json()
        assert [e["resource"]["id"] for e in found["entry"]] == [study["id"]]
    found = get(f"{shop.open_fhir_url}/ImagingStudy?_id={study['id']}").json()
    assert found["total"] == 1
    found = get(f"{shop.open_fhir_url}/ImagingStudy?patient=smart-1288992&started=2018").json()
    assert found["total"] == 2
    found = get(f"{shop.open_fhir_url}/Patient?identifier=1288992").json()
    assert found["entry"][0]["resource"]["id"] == "smart-1288992"


def test_post_search_and_include(shop: Sandbox) -> None:
    url = f"{shop.open_fhir_url}/ImagingStudy/_search"
    form = {"patient": "Patient/smart-1288992", "_include": "ImagingStudy:endpoint"}
    bundle = call("POST", url, form=form).json()
    modes = [e["search"]["mode"] for e in bundle["entry"]]
    assert modes == ["match"] * 7 + ["include"]
    assert bundle["entry"][-1]["resource"]["address"] == shop.wado_base("smart-1288992", open_=True)


def test_unknown_parameters_are_told_or_refused(shop: Sandbox) -> None:
    url = f"{shop.open_fhir_url}/ImagingStudy?patient=smart-1288992&flavour=x"
    bundle = get(url).json()
    assert bundle["entry"][-1]["search"]["mode"] == "outcome"
    assert "flavour" in bundle["entry"][-1]["resource"]["issue"][0]["diagnostics"]
    assert "flavour" not in bundle["link"][0]["url"]
    assert get(url, headers={"Prefer": "handling=strict"}).status == 400


@pytest.mark.parametrize(
    "query",
    ["_lastUpdated=gtnever", "_count=x", "startIndex=1.5", "started=gt2016-04-01T02:52:32+00:00"],
)
def test_bad_values_are_400(shop: Sandbox, query: str) -> None:
    answer = get(f"{shop.open_fhir_url}/ImagingStudy?patient=smart-1288992&{query}")
    assert answer.status == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/Observation", 404),
        ("/Patient/nobody", 404),
        ("/ImagingStudy?patient=nobody", 200),
        ("/ImagingStudy?patient=smart-9999999", 200),
        ("/.well-known/smart-configuration", 404),
        ("/Patient/../../etc/passwd", 404),
        ("/Patient/%2e%2e%2fetc", 404),
    ],
)
def test_open_base_statuses(shop: Sandbox, path: str, status: int) -> None:
    answer = get(shop.open_fhir_url + path)
    assert answer.status == status
    if status == 200:
        assert answer.json()["total"] == 0


def test_formats(shop: Sandbox) -> None:
    url = f"{shop.open_fhir_url}/Patient/smart-1288992"
    assert get(url, headers={"Accept": "application/fhir+xml"}).status == 406
    assert get(url, headers={"Accept": "text/html, */*;q=0.1"}).status == 200
    assert get(f"{url}?_format=xml").status == 406
    assert get(url).headers["etag"] == 'W/"1"'


def test_changes_show_in_periodic_update(fresh: Sandbox) -> None:
    url = f"{fresh.open_fhir_url}/ImagingStudy?patient=smart-1288992"
    mark = get(url).json()["meta"]["lastUpdated"]
    narrow = f"{url}&_lastUpdated=gt{mark}"
    assert get(narrow).json()["total"] == 0
    study = fresh.resources("ImagingStudy", "smart-1288992")[0]
    changed = fresh.put({**study, "description": "CT chest, second reading"})
    assert changed["meta"]["versionId"] == "2"
    found = get(narrow).json()
    assert [e["resource"]["description"] for e in found["entry"]] == ["CT chest, second reading"]
    fresh.remove(f"ImagingStudy/{study['id']}")
    assert get(url).json()["total"] == 6


def test_a_skewed_clock_is_skewed_everywhere() -> None:
    with Sandbox(clock_skew=-3600) as sandbox:
        answer = get(f"{sandbox.open_fhir_url}/Patient")
        sent = dt.datetime.strptime(answer.headers["date"], "%a, %d %b %Y %H:%M:%S GMT")
        said = dt.datetime.fromisoformat(answer.json()["meta"]["lastUpdated"].rstrip("Z"))
        real = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        for moment in (sent, said):
            assert 3590 < (real - moment).total_seconds() < 3610


def test_search_waits_when_asked() -> None:
    with Sandbox(search_retry_after=30) as sandbox:
        url = f"{sandbox.open_fhir_url}/ImagingStudy?patient=smart-1288992"
        first, second = get(url), get(url)
        assert (first.status, second.status) == (503, 503)
        assert 1 <= int(second.headers["retry-after"]) <= int(first.headers["retry-after"]) == 30
        assert get(f"{sandbox.open_fhir_url}/metadata").status == 200
