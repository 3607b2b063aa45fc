"""ImagingStudy in the shapes that holders write (spec §4)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from s4s_notebook import tables
from tests.tables.examples import held, study

STUDY_UID = " | ".join(
    ["uid", "identifier[system=urn:dicom:uid].value", "identifier[system=urn:ietf:rfc:3986].value"]
)
WADO = {"connectionType": {"system": "of its version", "code": "dicom-wado-rs"}}


def endpoint(id_: str = "e", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Endpoint", "id": id_, "address": "https://a.example/w", **WADO, **more}


def refer(*references: str) -> list[dict[str, str]]:
    return [{"reference": reference} for reference in references]


@pytest.mark.parametrize(
    ("given", "downloadable", "where"),
    [
        ({}, False, None),
        ({"contained": [endpoint()], "endpoint": refer("#e")}, True, "https://a.example/w"),
        (
            # The S4S broker of 2018: a raw WADO URL beside the reference.
            {"contained": [endpoint()], "endpoint": refer("https://a.example/x/studies/1", "#e")},
            True,
            "https://a.example/w",
        ),
        (
            {
                "contained": [endpoint(connectionType={"code": "ihe-iid"}), endpoint("f")],
                "endpoint": refer("#e", "#f"),
            },
            True,
            "https://a.example/w",
        ),
        (
            {"contained": [endpoint(connectionType={"code": "ihe-iid"})], "endpoint": refer("#e")},
            False,
            None,
        ),
        ({"endpoint": refer("Endpoint/9")}, None, "Endpoint/9"),
        ({"endpoint": refer("#gone")}, None, "#gone"),
        (
            {
                "contained": [endpoint()],
                "endpoint": refer("#e"),
                "availability": "UNAVAILABLE",
            },
            False,
            "https://a.example/w",
        ),
        (
            {
                "contained": [endpoint()],
                "endpoint": refer("#e"),
                "series": [{"availability": "UNAVAILABLE"}],
            },
            False,
            "https://a.example/w",
        ),
        (
            # R5 and the SMART example: a concept, a list; endpoint at the series only.
            {
                "contained": [
                    endpoint(connectionType=[{"coding": [{"code": "dicom-wado-rs"}]}]),
                ],
                "series": [{"endpoint": refer("#e")}],
            },
            True,
            "https://a.example/w",
        ),
    ],
)
def test_downloadable_says_what_can_be_fetched(given: Any, downloadable: Any, where: Any) -> None:
    row = tables.studies([study(**given)]).iloc[0]
    assert (None if pd.isna(row.downloadable) else bool(row.downloadable)) == downloadable
    assert (None if pd.isna(row.endpoint) else row.endpoint) == where


def test_endpoints_may_come_beside_the_studies() -> None:
    page = [
        study(endpoint=refer("Endpoint/9")),
        study(uid="1.2.4", endpoint=refer("https://h.example/fhir/Endpoint/8")),
        study(uid="1.2.5", endpoint=refer("Endpoint/7")),
        endpoint("9"),
        endpoint("8", connectionType={"code": "ihe-iid"}),
    ]
    for resources in (page, page[::-1]):
        frame = tables.studies(resources).set_index("study_uid")
        assert list(frame["downloadable"].astype(object).fillna("ask")) == [True, False, "ask"]
        assert frame["endpoint"]["1.2.3"] == "https://a.example/w"
        assert frame["endpoint"]["1.2.5"] == "Endpoint/7"


@pytest.mark.parametrize(
    "given",
    [
        {"uid": "1.2.3"},
        {"uid": "urn:oid:1.2.3"},
        {"uid": None, "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}]},
        {"uid": None, "identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}},
        {"uid": None, "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.3"}]},
    ],
)
def test_the_uid_of_both_versions(given: dict[str, Any]) -> None:
    made = study(series=[{"uid": "urn:oid:1.2.3.4"}, {"uid": "1.2.3.5"}], **given)
    assert tables.studies([made])["study_uid"][0] == "1.2.3"
    series = tables.series([made])
    assert list(series["study_uid"]) == ["1.2.3", "1.2.3"]
    assert list(series["series_uid"]) == ["1.2.3.4", "1.2.3.5"]


@pytest.mark.parametrize("uid", ["1.2.3\n4", "../x", "1" * 65, "", 7, "urn:uuid:1-2"])
def test_what_is_no_uid_is_told_and_costs_no_row(uid: Any) -> None:
    problems: list[tables.Problem] = []
    frame = tables.studies([study(uid=uid)], problems)
    assert len(frame) == 1
    assert pd.isna(frame["study_uid"][0])
    assert [one.path for one in problems] == [STUDY_UID]


def test_a_study_keeps_its_day_and_its_moment() -> None:
    """Half past eleven at night in New York is the next day in UTC, not for the claim."""
    row = tables.studies([study()]).iloc[0]
    assert row.started == pd.Timestamp("2017-01-02T04:30:00Z")
    assert row.started_date == pd.Timestamp("2017-01-01")
    assert row.started_zone == "-05:00"


@pytest.mark.parametrize(
    ("started", "moment", "zone", "why"),
    [
        (
            "2018-11-14T10:15:30",
            "2018-11-14T10:15:30Z",
            None,
            "no time zone is given; UTC is taken",
        ),
        ("2018-11-14T10:15:30Z", "2018-11-14T10:15:30Z", "Z", None),
        ("2018-11-14T10:15:30.25+01:00", "2018-11-14T09:15:30.25Z", "+01:00", None),
        ("2018-11-14", "2018-11-14T00:00:00Z", None, None),
        ("2018", "2018-01-01T00:00:00Z", None, "only the year is given; its first day is taken"),
        ("IGNORED_FIELD", None, None, "not a date"),
        ("2018-02-30T00:00:00Z", None, "Z", "not a day of the calendar"),
        ("2018-11-14T25:00:00Z", None, "Z", "not a time of day"),
    ],
)
def test_times_as_holders_write_them(started: str, moment: Any, zone: Any, why: Any) -> None:
    problems: list[tables.Problem] = []
    row = tables.studies([study(started=started)], problems).iloc[0]
    assert (None if pd.isna(row.started) else row.started) == (moment and pd.Timestamp(moment))
    assert (None if pd.isna(row.started_zone) else row.started_zone) == zone
    assert (why is None and not problems) or why in {one.why for one in problems}


def test_modalities_are_joined_as_dicom_does() -> None:
    made = study(
        modalityList=[{"code": "PT"}],
        series=[{"modality": {"code": "CT"}}, {"modality": {"code": "PT"}}],
    )
    assert tables.studies([made])["modalities"][0] == "CT\\PT"
    r4 = study(modality=[{"coding": [{"code": "MR"}]}], subject={"reference": "Patient/p2"})
    del r4["patient"]
    row = tables.studies([r4]).iloc[0]
    assert (row.modalities, row.patient_id) == ("MR", "p2")


def test_series_found_in_files_complete_the_table() -> None:
    frame = tables.series(
        [
            study(series=[{"uid": "1.2.3.4", "number": 1}, {"uid": "1.2.3.5", "number": 2}]),
            study(uid="1.9", series=[]),
        ]
    )
    found = [
        {"study_uid": "1.2.3", "series_uid": "1.2.3.5", "modality": "CT", "number": 7},
        {
            "study_uid": "1.9",
            "series_uid": "1.9.1",
            "patient_id": "p1",
            "modality": "MR",
            "number": 1,
            "instance_count": 4,
        },
    ]
    done = tables.complete_series(frame, iter(found))
    assert list(done["source"]) == ["fhir", "both", "dicom"]
    assert list(done["number"]) == [1, 2, 1]
    assert list(done["modality"].fillna("")) == ["", "CT", "MR"]
    assert list(done["instance_count"].dropna()) == [4]
    assert done.dtypes.equals(frame.dtypes)
    for empty in (frame, frame.head(0)):
        pd.testing.assert_frame_equal(tables.complete_series(empty, []), empty)
    alone = tables.complete_series(frame.head(0), found)
    assert list(alone["source"]) == ["dicom", "dicom"]
    assert alone.dtypes.equals(frame.dtypes)


def test_all_that_the_sandbox_holds_can_be_fetched_but_what_it_says_it_cannot() -> None:
    frame = tables.studies(held("ImagingStudy"))
    away = frame["availability"] == "UNAVAILABLE"
    assert away.any()
    assert list(frame["downloadable"]) == list(~away)


@pytest.mark.fault("J10")
def test_two_resources_of_one_study_are_one_row_with_the_series_of_both() -> None:
    pair = [
        study(id="a", series=[{"uid": "1.2.3.4", "modality": {"code": "CT"}}]),
        study(
            id="b",
            description="corrected",
            series=[
                {"uid": "1.2.3.4", "modality": {"code": "CT"}},
                {"uid": "1.2.3.5", "modality": {"code": "PT"}},
            ],
        ),
    ]
    for resources in (pair, pair[::-1]):
        problems: list[tables.Problem] = []
        frame = tables.studies(resources, problems)
        assert len(frame) == 1
        assert frame["description"].tolist() == ["corrected"]
        assert set(frame["modalities"][0].split("\\")) >= {"CT", "PT"}
        series = tables.series(resources, problems)
        assert sorted(series["series_uid"]) == ["1.2.3.4", "1.2.3.5"]
        assert not problems
        assert frame.dtypes.equals(tables.studies([]).dtypes)
