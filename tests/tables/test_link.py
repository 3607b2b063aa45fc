"""Which line paid for which study: against the sandbox's truth, and the cases it must not guess."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from s4s_notebook import tables
from s4s_notebook.tables import linking as radiology
from tests.tables.billed import Biller
from tests.tables.examples import BB, HCPCS, claim, held, holding, study


def frames(*resources: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    made = tables.build(("studies", "benefit_lines"), resources)
    return made["studies"], made["benefit_lines"]


def scan(uid: str = "1.2.3", modality: str = "CT", words: str = "CT chest", **more: Any) -> Any:
    given = {"started": "2018-01-10T09:00:00Z", "series": [{"modality": {"code": modality}}]}
    return study(uid=uid, description=words, **{**given, **more})


def bill(
    code: str = "71250", day: str = "2018-01-10", id_: str = "c1", *modifiers: str, **more: Any
) -> Any:
    service = {"coding": [{"system": HCPCS, "code": code}]}
    line = {
        "sequence": 1,
        "service": service,
        "servicedPeriod": {"start": day, "end": day},
        "modifier": [{"coding": [{"system": HCPCS, "code": m}]} for m in modifiers],
    }
    return claim(id_, item=[{**line, **more}])


def only(*resources: Any, **options: Any) -> Any:
    found = tables.link(*frames(*resources), **options)
    assert len(found) == 1, found
    return found.iloc[0]


def test_recall_and_precision_on_the_truth_of_the_sandbox() -> None:
    truth = holding().truth
    studies, lines = frames(*held("ImagingStudy", "ExplanationOfBenefit"))
    found = tables.link(studies, lines)
    linked = found[found["status"] == "linked"]
    pairs = {(row.study_uid, row.claim_id, row.line_number) for row in linked.itertuples()}
    paid = {(one.study_uid, one.claim, one.line) for one in truth.payments}
    assert len(paid) >= 25
    assert len(pairs & paid) / len(paid) >= 0.95
    assert len(pairs & paid) / len(pairs) >= 0.95
    # Those that only look like it are listed as unmatched, and so are studies nobody billed.
    alone = found[found["status"] == "line unmatched"]
    decoys = {(one.claim, one.line) for one in truth.non_matches}
    assert decoys <= {(row.claim_id, row.line_number) for row in alone.itertuples()}
    unbilled = set(found.loc[found["status"] == "study unmatched", "study_uid"])
    assert set(truth.unpaid) <= unbilled
    # And the components are the true ones.
    true = {(one.claim, one.line): one.component for one in truth.payments}
    for row in linked.itertuples():
        assert row.component == true[row.claim_id, row.line_number]


@pytest.mark.parametrize("seed", range(5))
def test_recall_and_precision_on_words_and_days_that_it_was_not_made_with(seed: int) -> None:
    """A hundred people: studies of elsewhere, unbilled ones, late bills, look-alikes."""
    cohort = Biller(random.Random(seed)).cohort(100)
    linked = tables.link(*frames(*cohort.resources)).query("status == 'linked'")
    pairs = {(row.study_uid, row.claim_id, row.line_number) for row in linked.itertuples()}
    assert len(cohort.paid) > 400
    assert len(pairs & cohort.paid) / len(cohort.paid) >= 0.95
    assert len(pairs & cohort.paid) / len(pairs) >= 0.95


def test_nothing_is_left_out() -> None:
    """Each study, and each radiology line, stands in the result."""
    studies, lines = frames(*held("ImagingStudy", "ExplanationOfBenefit"))
    found = tables.link(studies, lines)
    assert set(studies["study_uid"]) <= set(found["study_uid"])
    coded = lines[lines["hcpcs_code"].fillna("").str.match(r"7\d{4}$")]
    listed = set(zip(found["claim_id"], found["line_index"], strict=True))
    assert set(zip(coded["claim_id"], coded["line_index"], strict=True)) <= listed


def test_a_line_that_fits_two_studies_is_ambiguous() -> None:
    found = tables.link(*frames(scan("1.1"), scan("1.2"), bill()))
    assert list(found["status"]) == ["ambiguous", "ambiguous"]
    assert list(found["study_uid"]) == ["1.1", "1.2"]
    assert found["reasons"].str.contains("fits 2 studies").all()


def test_the_nearer_day_decides() -> None:
    late = scan("1.2", started="2018-01-13T09:00:00Z")
    found = tables.link(*frames(scan("1.1"), late, bill()))
    assert dict(zip(found["study_uid"], found["status"], strict=True)) == {
        "1.1": "linked",
        "1.2": "study unmatched",
    }


@pytest.mark.parametrize(
    ("day", "status", "days"),
    [
        ("2018-01-09", "linked", -1),
        ("2018-01-10", "linked", 0),
        ("2018-01-17", "linked", 7),
        ("2018-01-08", None, None),
        ("2018-01-18", None, None),
    ],
)
def test_the_window_of_days(day: str, status: Any, days: Any) -> None:
    found = tables.link(*frames(scan(), bill(day=day)))
    if status is None:
        assert sorted(found["status"]) == ["line unmatched", "study unmatched"]
    else:
        assert list(found["status"]) == [status]
        assert list(found["days"]) == [days]


def test_scores_fall_with_the_days() -> None:
    scores = [only(scan(), bill(day=f"2018-01-{day}"))["score"] for day in (10, 11, 12, 15)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0


@pytest.mark.parametrize(
    ("modality", "words", "code", "fits"),
    [
        ("CT", "CT chest", "71250", True),
        ("CT", "CT chest", "74150", False),  # the abdomen
        ("CT", "CT thoracic spine", "71250", False),  # the spine is no chest
        ("CT", "CT thoracic spine", "72128", True),
        ("CT", "", "71250", True),  # nobody says what
        ("MR", "MR brain", "70551", True),
        ("MR", "MR brain", "70544", "weak"),  # the vessels of it
        ("MR", "MR angiography, brain", "70544", True),
        ("MR", "MR angiography, brain", "70547", False),  # those of the neck
        ("CT", "CT chest", "71045", False),  # a film
        ("DX", "XR chest", "71045", True),
        ("CR", "Knee, 2 views", "73560", True),
        ("US", "US obstetric", "76805", True),
        ("NM", "Bone scan", "78306", True),
        ("MG", "Mammogram", "77067", True),
        ("MG", "Mammogram", "G0202", True),
        ("CT", "CT chest", "99213", None),  # no radiology
        ("CT", "CT chest", "93000", None),
    ],
)
def test_machine_and_part_of_the_body(modality: str, words: str, code: str, fits: Any) -> None:
    found = tables.link(*frames(scan(modality=modality, words=words), bill(code)))
    wanted = {True: ["linked"], False: ["line unmatched", "study unmatched"]}
    wanted |= {"weak": ["weak"], None: ["study unmatched"]}
    assert sorted(found["status"]) == wanted[fits]


def test_a_hospital_line_without_a_code_goes_by_its_revenue_centre() -> None:
    center = {"coding": [{"system": BB + "variables/rev_cntr", "code": "0351"}]}
    stay = claim("i1", "INPATIENT", item=[{"sequence": 1, "revenue": center}])
    row = only(scan(words="CT head", started="2018-01-03T09:00:00Z"), stay)
    assert (row.status, row.component, row.revenue_center) == ("linked", "stay", "0351")
    assert pd.isna(row.days)
    assert "within the days of the claim" in row.reasons
    found = tables.link(*frames(scan(words="CT head", started="2018-01-09T09:00:00Z"), stay))
    assert sorted(found["status"]) == ["line unmatched", "study unmatched"]


def test_an_examination_that_was_stopped_and_not_paid_is_no_pair() -> None:
    found = tables.link(*frames(scan(), bill("71250", "2018-01-10", "c1", "53")))
    assert sorted(found["status"]) == ["line unmatched", "study unmatched"]


def test_components() -> None:
    found = tables.link(
        *frames(
            scan(),
            bill("71250", "2018-01-10", "a", "26"),
            bill("71250", "2018-01-10", "b", "TC"),
            bill("71250", "2018-01-10", "c"),
        )
    )
    assert list(found["component"]) == ["professional", "technical", "global"]
    assert set(found["status"]) == {"linked"}


def test_participants_are_never_mixed() -> None:
    other = scan(patient={"reference": "Patient/other"})
    found = tables.link(*frames(other, bill()))
    assert sorted(found["status"]) == ["line unmatched", "study unmatched"]
    unknown = tables.link(*frames(scan(patient={}), bill() | {"patient": {}}))
    assert sorted(unknown["status"]) == ["line unmatched", "study unmatched"]
    builder = tables.builder("studies", "benefit_lines")
    builder.add([scan()], participant="h/Patient/1").add([bill()], participant="h/Patient/2")
    made = builder.frames()
    cohort = tables.link(made["studies"], made["benefit_lines"])
    assert cohort.columns[0] == "participant"
    assert sorted(cohort["status"]) == ["line unmatched", "study unmatched"]


def test_the_columns_never_change() -> None:
    full = tables.link(*frames(scan(), bill()))
    for empty in (frames(), frames(scan()), frames(bill())):
        found = tables.link(*empty)
        assert found.dtypes.equals(full.dtypes)


def test_weak_pairs_are_listed_as_such() -> None:
    row = only(scan(words=""), bill(day="2018-01-17"))
    assert row.status == "weak"


def test_the_order_of_the_rows_does_not_matter() -> None:
    studies, lines = frames(*held("ImagingStudy", "ExplanationOfBenefit"))
    pd.testing.assert_frame_equal(
        tables.link(studies, lines), tables.link(studies.iloc[::-1], lines.iloc[::-1])
    )


def test_the_code_table_has_no_overlaps_and_says_every_region_in_words() -> None:
    rows = radiology._rows("codes")
    ranges = [(row["first"], row["last"]) for row in rows]
    assert ranges == sorted(ranges)
    assert all(first <= last for first, last in ranges)
    assert all(last < first for (_, last), (first, _) in pairwise(ranges))
    known = {row["region"] for row in radiology._rows("words")} | {"limb", "body"}
    for row in [*rows, *radiology._rows("revenue")]:
        assert set(row["region"].split()) <= known
