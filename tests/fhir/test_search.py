"""Searches and reads on a real socket: paging, odd Bundles, ids, marks."""

from __future__ import annotations

import json
from itertools import count
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook import errors
from s4s_notebook.fhir.resources import instant, key_of, version_of
from s4s_notebook.fhir.search import check_id, read, search, search_url
from s4s_notebook.smart.tokens import FixedToken
from tests.faultserver import FakeClock
from tests.faultserver.holder import Answer, holder, transport_to

STUDIES = "/fhir/ImagingStudy"
PATIENT = [("patient", "smart-1288992")]


@pytest.fixture
def server():
    with holder() as server:
        yield server


@pytest.fixture
def transport(server, canary):
    with transport_to(server.base, tokens=FixedToken(canary.token)) as transport:
        yield transport


def study(number, **more):
    return {"resourceType": "ImagingStudy", "id": f"s{number}"} | more


def bundle(*resources, next=None, **more):  # noqa: A002 - FHIR's word
    entries = [each if "resource" in each else {"resource": each} for each in resources]
    body = {"resourceType": "Bundle", "type": "searchset", "entry": entries} | more
    return body | ({"link": [{"relation": "next", "url": next}]} if next is not None else {})


def pages(transport, server, params=PATIENT, **options):
    return list(search(transport, server.base, "ImagingStudy", params, **options))


def ids(found):
    return [each["id"] for page in found for each in page.resources]


# ------------------------------------------------------------------ what is asked


def test_the_seeds_searches(transport, server, canary):
    server.on(STUDIES, Answer(bundle(study(1))))
    pages(transport, server)
    pages(transport, server, [*PATIENT, ("_lastUpdated", "gt2016-04-01T02:52:32.000Z")])
    assert [each.target for each in server.asked] == [
        "/fhir/ImagingStudy?patient=smart-1288992",
        "/fhir/ImagingStudy?patient=smart-1288992&_lastUpdated=gt2016-04-01T02:52:32.000Z",
    ]
    for asked in server.asked:
        assert asked.headers["accept"] == (
            "application/fhir+json, application/json+fhir;q=0.9, application/json;q=0.8"
        )
        assert asked.headers["authorization"] == f"Bearer {canary.token}"


@given(st.lists(st.tuples(st.sampled_from(["_lastUpdated", "code", "x y"]), st.text()), max_size=4))
def test_values_arrive_as_they_were_given(params):
    params = [(name, value.encode("utf-8", "ignore").decode()) for name, value in params]
    url = search_url("https://h/fhir/", "ImagingStudy", params)
    assert url.isascii()
    parts = urlsplit(url)
    assert parts.path == "/fhir/ImagingStudy"
    expected: dict[str, list[str]] = {}
    for name, value in params:
        expected.setdefault(name, []).append(value)
    assert parse_qs(parts.query, keep_blank_values=True) == expected


def test_a_zone_with_a_plus_is_encoded():
    url = search_url("https://h", "Coverage", [("_lastUpdated", "gt2016-04-01T02:52:32+01:00")])
    assert url.endswith("_lastUpdated=gt2016-04-01T02:52:32%2B01:00")


BAD_IDS = ["a/b", "a?b", "a#b", "a&b", "../x", "..", ".", "", "  ", "a\nb", "a\\b", "a,b", "a|b",
           "x" * 257, "a\u202eb", "\x00"]  # fmt: skip


@pytest.mark.fault("B14")
@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_could_change_the_request_is_refused(transport, server, bad):
    with pytest.raises(errors.InvalidUID):
        read(transport, server.base, "Patient", bad)
    for name in ("patient", "beneficiary", "subject", "_id"):
        with pytest.raises(errors.InvalidUID):
            pages(transport, server, [(name, bad)])
        if bad.strip():
            with pytest.raises(errors.InvalidUID):
                pages(transport, server, [(name, f"Patient/{bad}")])
    assert server.asked == []


@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    ("id_", "sent"),
    [
        ("smart-1288992", "smart-1288992"),
        ("-20140000000296--4", "-20140000000296--4"),
        ("carrier--22639159481", "carrier--22639159481"),
        ("a b+c%2e", "a%20b%2Bc%252e"),
        ("ä", "%C3%A4"),
        ("%2e%2e", "%252e%252e"),
    ],
)
def test_other_ids_are_percent_encoded(transport, server, id_, sent):
    server.on(f"/fhir/Patient/{sent}", Answer({"resourceType": "Patient", "id": id_}))
    assert read(transport, server.base, "Patient", id_)["id"] == id_
    assert server.asked[0].target == f"/fhir/Patient/{sent}"
    assert search_url("https://h", "X", [("patient", id_)]).endswith(f"patient={sent}")


@pytest.mark.fault("B14")
@given(st.text(min_size=1))
def test_an_id_stays_one_segment(text):
    try:
        url = search_url("https://h/fhir", "Coverage", [("beneficiary", check_id(text))])
    except errors.InvalidUID:
        return
    parts = urlsplit(url)
    assert (parts.path, parts.fragment) == ("/fhir/Coverage", "")
    assert parse_qs(parts.query) == {"beneficiary": [text]}


# ------------------------------------------------------------------ reading one


def test_reading_what_is_not_there(transport, server):
    outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "unknown patient"}]}
    server.on("/fhir/Patient/p", Answer(outcome, 404))
    with pytest.raises(errors.NotFound) as caught:
        read(transport, server.base, "Patient", "p")
    assert caught.value.holder_said == "unknown patient"


def test_reading_another_type(transport, server):
    server.on("/fhir/Patient/p", Answer({"resourceType": "Group"}))
    with pytest.raises(errors.MalformedResponse, match="A Group came in place of a Patient"):
        read(transport, server.base, "Patient", "p")


def test_reading_another_one(transport, server):
    server.on("/fhir/Patient/p", Answer({"resourceType": "Patient", "id": "q"}))
    with pytest.raises(errors.MalformedResponse, match="Another Patient"):
        read(transport, server.base, "Patient", "p")


# ------------------------------------------------------------------ paging


@pytest.mark.fault("B03")
def test_next_is_followed_unchanged(transport, server):
    opaque = f"/fhir/page?token={'x' * 8000}&a=%2F%2f&b"
    server.on(STUDIES, Answer(bundle(study(1), next=f"{server.origin}{opaque}")))
    server.on("/fhir/page", Answer(bundle(study(2))))
    found = pages(transport, server)
    assert ids(found) == ["s1", "s2"]
    assert server.asked[1].target == opaque
    assert [page.next for page in found] == [f"{server.origin}{opaque}", None]
    assert found[1].url == found[0].next


@pytest.mark.fault("B03")
@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("ImagingStudy?page=2", "/fhir/ImagingStudy?page=2"),
        ("?page=2", "/fhir/ImagingStudy?page=2"),
        ("/fhir/ImagingStudy?page=2", "/fhir/ImagingStudy?page=2"),
        ("/elsewhere?p=2", "/elsewhere?p=2"),
        ("./ImagingStudy/_search?p", "/fhir/ImagingStudy/_search?p"),
    ],
)
def test_a_relative_next(transport, server, link, target):
    server.on(STUDIES, Answer(bundle(study(1), next=link)), Answer(bundle(study(2))))
    path = target.partition("?")[0]
    if path != STUDIES:
        server.on(path, Answer(bundle(study(2))))
    assert ids(pages(transport, server)) == ["s1", "s2"]
    assert server.asked[1].target == target


@pytest.mark.fault("B01")
def test_next_on_another_host_gets_nothing(transport, server):
    with holder() as sink:
        server.on(STUDIES, Answer(bundle(study(1), next=f"{sink.origin}/fhir/ImagingStudy?p=2")))
        walk = search(transport, server.base, "ImagingStudy", PATIENT)
        assert ids([next(walk)]) == ["s1"]
        with pytest.raises(errors.UntrustedOrigin) as caught:
            next(walk)
        assert sink.asked == []
    assert caught.value.origin == sink.origin


@pytest.mark.fault("B02")
@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1.evil.example/x",
        "http://127.0.0.1@evil.example/x",
        "http://127.0.0.1:1/x",
        "//evil.example/x",
        "\\\\evil.example\\x",
        "/\\evil.example/x",
        "https://evil.example./x",
        "https://évil.example/x",
        "ht\ntps://evil.example/x",
        "http://evil.example/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/x",
        " ",
    ],
)
def test_look_alikes_get_nothing(transport, server, link):
    server.on(STUDIES, Answer(bundle(study(1), next=link)))
    walk = search(transport, server.base, "ImagingStudy", PATIENT)
    page = next(walk)
    assert ids([page]) == ["s1"]  # what came is kept
    with pytest.raises(errors.TrustError) as caught:
        next(walk)
    assert caught.value.request.method == "GET"
    with pytest.raises(errors.TrustError):
        pages(transport, server, start=page.next)
    assert len(server.asked) == 1


@pytest.mark.parametrize("link", [7, {"a": 1}, ["x"]])
def test_a_next_that_is_no_text(transport, server, link):
    server.on(STUDIES, Answer(bundle(study(1), next=link)))
    with pytest.raises(errors.MalformedResponse, match="no address"):
        pages(transport, server)


@pytest.mark.fault("B04")
@pytest.mark.parametrize("back_to", [1, 2, 3])
def test_a_cycle(transport, server, back_to):
    def page(asked):
        number = int(asked.query.get("page", ["1"])[0])
        target = number + 1 if number < 3 else back_to
        return Answer(bundle(study(number), next=f"{server.origin}{STUDIES}?page={target}"))

    server.on(STUDIES, page)
    walk = search(transport, server.base, "ImagingStudy", [("page", "1")])
    assert ids([next(walk), next(walk), next(walk)]) == ["s1", "s2", "s3"]
    with pytest.raises(errors.PagingLoop, match="earlier page") as caught:
        next(walk)
    assert str(caught.value.request).startswith(f"GET {server.origin}{STUDIES}?page=")
    assert len(server.asked) == 3


@pytest.mark.fault("B04")
def test_pages_without_end_that_bring_nothing_new(transport, server):
    numbers = count()
    server.on(STUDIES, lambda asked: Answer(bundle(study(1), next=f"?page={next(numbers)}")))
    with pytest.raises(errors.PagingLoop, match="nothing new"):
        pages(transport, server)
    assert len(server.asked) == 102


@pytest.mark.fault("B04")
def test_pages_without_end(transport, server):
    numbers = count()

    def page(asked):
        number = next(numbers)
        return Answer(bundle(study(number), next=f"?page={number}"))

    server.on(STUDIES, page)
    with pytest.raises(errors.PagingLoop, match="more than 25 pages"):
        pages(transport, server, max_pages=25)
    assert len(server.asked) == 25


# ------------------------------------------------------------------ a page that fails


def _five_pages(server, broken=None):
    def page(asked):
        number = int(asked.query.get("page", ["1"])[0])
        if broken and number == 3 and not broken.pop("mended", False):
            return broken["answer"]
        following = f"{server.origin}{STUDIES}?page={number + 1}" if number < 5 else None
        return Answer(bundle(study(number), next=following, total=5))

    server.on(STUDIES, page)


@pytest.mark.fault("B05")
@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"", 500),
        Answer(b"<html>", 200),
        Answer(b"", 200),
        Answer(b'{"resourceType": "Bundle", "entry": [', 200),
        Answer({"resourceType": "OperationOutcome"}, 200),
        Answer(b"", 404),
        Answer(b"", 503, {"Retry-After": "99999"}),
    ],
)
def test_page_three_fails_and_the_search_goes_on_there(server, canary, answer):
    broken = {"answer": answer}
    _five_pages(server, broken)
    clock = FakeClock()
    with transport_to(server.base, tokens=FixedToken(canary.token), clock=clock) as transport:
        walk = search(transport, server.base, "ImagingStudy", [("page", "1")])
        came = [next(walk), next(walk)]
        with pytest.raises(errors.S4SError) as caught:
            next(walk)
        assert ids(came) == ["s1", "s2"]
        assert caught.value.request.method == "GET"
        broken["mended"] = True
        _five_pages(server)
        clock.sleep(99_999)  # a Retry-After holds for later calls too
        rest = pages(transport, server, start=came[-1].next)
    assert ids(came) + ids(rest) == ["s1", "s2", "s3", "s4", "s5"]
    assert server.count(STUDIES) == 3 + 3
    assert not any(page.problems for page in came + rest)


@pytest.mark.fault("B05")
def test_a_busy_page_is_waited_out(server):
    answers = iter([Answer(b"", 503, {"Retry-After": "300"})] * 2)

    def page(asked):
        if asked.query.get("page") == ["2"]:
            return next(answers, Answer(bundle(study(2))))
        return Answer(bundle(study(1), next="?page=2"))

    server.on(STUDIES, page)
    waits = []
    clock = FakeClock()
    with transport_to(server.base, clock=clock) as transport:
        found = pages(transport, server, on_wait=waits.append)
    assert ids(found) == ["s1", "s2"]
    assert clock.monotonic() >= 600
    assert {each.reason for each in waits} == {"503"}


def test_resuming_elsewhere_is_not_trusted(transport, server):
    with pytest.raises(errors.UntrustedOrigin):
        pages(transport, server, start="https://evil.example/fhir?page=2")


# ------------------------------------------------------------------ odd Bundles


def test_links_of_other_relations_are_not_followed(transport, server):
    links = [{"relation": name, "url": "?x"} for name in ("self", "first", "previous", "last")]
    page = one_page(transport, server, bundle(study(1), link=links))
    assert page.next is None


def one_page(transport, server, body):
    server.on(STUDIES, Answer(body))
    (page,) = pages(transport, server)
    return page


@pytest.mark.fault("B07")
def test_an_outcome_among_the_entries_is_reported(transport, server):
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "warning", "diagnostics": "archive offline\nsince noon"},
            {"severity": "error", "details": {"text": "one study left out"}},
        ],
    }
    page = one_page(transport, server, bundle(study(1), outcome))
    assert ids([page]) == ["s1"]
    assert page.included == ()
    assert [(each.value, each.why) for each in page.problems] == [
        ("archive offline since noon", "the holder reports: warning"),
        ("one study left out", "the holder reports: error"),
    ]
    empty = one_page(transport, server, bundle({"resourceType": "OperationOutcome"}))
    assert len(empty.problems) == 1


@pytest.mark.fault("B07")
@pytest.mark.parametrize("entry", [{}, {"fullUrl": "x"}, {"resource": None}, {"resource": "x"}])
def test_an_entry_without_a_resource_is_reported(transport, server, entry):
    body = bundle(study(1))
    body["entry"].insert(0, entry)
    page = one_page(transport, server, body)
    assert ids([page]) == ["s1"]
    (problem,) = page.problems
    assert problem.resource == "Bundle.entry[0]"
    assert "without a resource" in problem.why


@pytest.mark.fault("B07")
@pytest.mark.parametrize("entry", ["x", None, 7, []])
def test_an_entry_that_is_no_object_is_reported(transport, server, entry):
    body = bundle(study(1))
    body["entry"].append(entry)
    assert len(one_page(transport, server, body).problems) == 1


@pytest.mark.fault("B07")
def test_a_resource_without_a_type_is_reported(transport, server):
    page = one_page(transport, server, bundle({"resource": {"id": "x"}}, study(1)))
    assert ids([page]) == ["s1"]
    assert "without a type" in page.problems[0].why


@pytest.mark.fault("B07")
def test_a_full_url_that_stands_twice_is_reported_and_both_are_kept(transport, server):
    url = "https://h/ImagingStudy/s1"
    same = {"fullUrl": url, "resource": study(1)}
    page = one_page(transport, server, bundle(same, same))
    assert ids([page]) == ["s1", "s1"]
    assert [each.path for each in page.problems] == ["fullUrl"]
    other = {"fullUrl": url, "resource": study(1, meta={"versionId": "2"})}
    assert one_page(transport, server, bundle(same, other)).problems == ()


@pytest.mark.fault("B07")
@pytest.mark.parametrize("total", [0, 1, 3, 500])
def test_a_total_that_disagrees_is_reported(transport, server, total):
    page = one_page(transport, server, bundle(study(1), study(2), study(2), total=total))
    assert page.total == total
    (problem,) = page.problems
    assert (problem.path, problem.value) == ("total", str(total))
    assert "2 came" in problem.why


@pytest.mark.fault("B07")
def test_a_total_that_agrees_over_pages_that_overlap(transport, server):
    server.on(
        STUDIES,
        Answer(bundle(study(1), study(2), total=3, next="?page=2")),
        Answer(bundle(study(2), study(3), total=3)),
    )
    assert [page.problems for page in pages(transport, server)] == [(), ()]


@pytest.mark.fault("B07")
@pytest.mark.parametrize("total", ["3", -1, True, 1.5, []])
def test_a_total_that_is_no_count_is_reported(transport, server, total):
    page = one_page(transport, server, bundle(study(1), total=total))
    assert page.total is None
    assert "no count" in page.problems[0].why


def test_included_resources_are_kept_apart(transport, server):
    endpoint = {
        "resource": {"resourceType": "Endpoint", "id": "e"},
        "search": {"mode": "include"},
    }
    prior = {"resource": study(9), "search": {"mode": "include"}}
    bare = {"resourceType": "Patient", "id": "p"}
    page = one_page(transport, server, bundle(study(1), endpoint, prior, bare, total=1))
    assert ids([page]) == ["s1"]
    assert [each["id"] for each in page.included] == ["e", "s9", "p"]
    assert page.problems == ()


def test_another_type_that_claims_to_match_is_reported(transport, server):
    odd = {"resource": {"resourceType": "Patient", "id": "p"}, "search": {"mode": "match"}}
    page = one_page(transport, server, bundle(odd))
    assert [each["id"] for each in page.included] == ["p"]
    assert "is no ImagingStudy" in page.problems[0].why


@pytest.mark.parametrize("more", [{}, {"entry": []}, {"link": []}, {"link": "x"}, {"total": 0}])
def test_an_empty_result_is_a_page_without_resources(transport, server, more):
    page = one_page(transport, server, {"resourceType": "Bundle"} | more)
    assert (page.resources, page.included, page.problems, page.next) == ((), (), (), None)


@pytest.mark.fault("B08")
@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Sign in</body></html>",
        b"\xef\xbb\xbf" + json.dumps(bundle()).encode(),
        json.dumps(bundle(study(1, description="é")), ensure_ascii=False).encode("latin-1"),
        json.dumps(bundle()).encode("utf-16"),
        json.dumps(bundle(study(1))).encode()[:-5],
        b"[]",
        b'"Bundle"',
        b"null",
        json.dumps({"resourceType": "Patient"}).encode(),
        json.dumps({}).encode(),
        json.dumps({"resourceType": "Bundle", "entry": {}}).encode(),
    ],
)
def test_what_is_no_bundle(transport, server, body):
    server.on(STUDIES, Answer(body))
    with pytest.raises(errors.MalformedResponse) as caught:
        pages(transport, server)
    assert caught.value.request.status == 200
    assert "smart-1288992" not in str(caught.value)


@pytest.mark.parametrize("body", [b"No studies for this patient", {"error": "no imaging study"}])
def test_a_500_that_means_none_is_an_empty_page_that_says_so(transport, server, body):
    server.on(STUDIES, Answer(body, 500))
    (page,) = pages(transport, server)
    assert (page.resources, page.next) == ((), None)
    assert "read as no match" in page.problems[0].why


@pytest.mark.parametrize("body", [b"", b"the study service refused the token", {"error": "noon"}])
def test_any_other_500_is_an_error(transport, server, body):
    server.on(STUDIES, Answer(body, 500))
    with pytest.raises(errors.HTTPStatusError):
        pages(transport, server)


@pytest.mark.fault("B08")
@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_answer_says_what_it_may_mean(transport, server, body):
    server.on(STUDIES, Answer(body))
    with pytest.raises(errors.MalformedResponse, match="answer is empty") as caught:
        pages(transport, server)
    assert "call again" in caught.value.hint


def test_an_outcome_in_place_of_a_bundle_is_quoted(transport, server):
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "throttled"}]}
    server.on(STUDIES, Answer(outcome))
    with pytest.raises(errors.MalformedResponse) as caught:
        pages(transport, server)
    assert caught.value.holder_said == "throttled"


def test_a_status_that_is_no_success(transport, server):
    server.on(STUDIES, Answer({}, 403))
    with pytest.raises(errors.Forbidden):
        pages(transport, server)


# ------------------------------------------------------------------ marks and keys


def test_a_page_carries_the_holders_clock_not_ours(transport, server):
    date = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    server.on(STUDIES, Answer(bundle(study(1)), headers=date))
    (page,) = pages(transport, server)
    assert instant(page.date) == "2015-10-21T07:28:00.000Z"


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (1459479152, "2016-04-01T02:52:32.000Z"),
        (1459479152.9999, "2016-04-01T02:52:32.999Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (951782400.5, "2000-02-29T00:00:00.500Z"),
    ],
)
def test_instants_are_never_later_than_given(epoch, text):
    assert instant(epoch) == text


@given(st.floats(0, 4e9))
def test_instants_are_cut_to_milliseconds(epoch):
    from datetime import datetime

    back = datetime.fromisoformat(instant(epoch)).timestamp()
    assert -0.000001 <= epoch - back < 0.001001


def test_keys():
    assert key_of(study(1)) == "ImagingStudy/s1"
    stu3 = {"resourceType": "ImagingStudy", "uid": "urn:oid:1.2.3"}
    r4 = {
        "resourceType": "ImagingStudy",
        "identifier": [
            {"system": "urn:x", "value": "9"},
            {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"},
        ],
    }
    assert key_of(stu3) == key_of(r4) == "ImagingStudy/1.2.3"
    bare, same = {"resourceType": "Coverage", "a": 1, "b": 2}, {"b": 2, "a": 1}
    assert key_of(bare) == key_of(same | {"resourceType": "Coverage"})
    assert key_of(bare) != key_of(bare | {"a": 2})
    odd = {"system": "urn:x", "value": "9"}
    nameless = {"resourceType": "ImagingStudy", "identifier": [odd], "uid": ""}
    assert key_of(nameless).startswith("ImagingStudy/sha256-")
    assert key_of({"resourceType": "ImagingStudy", "id": 7}).startswith("ImagingStudy/sha256-")


def test_versions():
    assert version_of(study(1, meta={"versionId": "3", "lastUpdated": "2016"})) == "3 2016"
    assert version_of(study(1, meta={"lastUpdated": "2016"})) == "2016"
    for meta in ({}, {"versionId": ""}, {"versionId": 3}, "x"):
        assert version_of(study(1, meta=meta)).startswith("sha256-")
    assert version_of(study(1)) != version_of(study(1, started="2016"))
