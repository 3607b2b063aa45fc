"""Which line paid for which study: against the sandbox's truth, and the cases it must not guess."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from s4s_notebook import tables
from s4s_notebook.tables import examinations as radiology
from tests.tables import link_cohort
from tests.tables.billed import Biller
from tests.tables.examples import BB, HCPCS, claim, held, holding, study


def frames(*resources: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    made = tables.build(("studies", "benefits", "benefit_lines"), resources)
    lines = made["benefit_lines"]
    if "status" not in lines:
        status = made["benefits"][["claim_id", "status"]]
        lines = lines.merge(status, on="claim_id", how="left")
    return made["studies"], lines


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
    assert pairs == paid
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


def test_components_and_a_global_line_that_would_pay_twice() -> None:
    reading, images, both = (
        bill("71250", "2018-01-10", "a", "26"),
        bill("71250", "2018-01-10", "b", "TC"),
        bill("71250", "2018-01-10", "c"),
    )
    found = tables.link(*frames(scan(), reading, images))
    assert list(found["component"]) == ["professional", "technical"]
    assert set(found["status"]) == {"linked"}
    row = only(scan(), both)
    assert (row.component, row.status) == ("global", "linked")
    found = tables.link(*frames(scan(), reading, images, both))
    alone = found[found["status"] == "line unmatched"]
    assert list(alone["claim_id"]) == ["c"]
    assert list(alone["why"]) == ["taken"]


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


CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "link"


def case(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    path = CASES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return frames(*json.loads(path.read_text()))


def claims_of(found: pd.DataFrame, status: str = "linked") -> set[tuple[Any, ...]]:
    rows = found[found["status"] == status]
    return {(row.study_uid, row.claim_id, row.line_number) for row in rows.itertuples()}


def test_daily_films_are_each_of_their_own_day() -> None:
    found = tables.link(*case("l01-daily-films"))
    assert claims_of(found) == {(f"1.{n}", "c", n) for n in (1, 2, 3)}
    assert set(found["component"]) == {"professional"}


def test_a_follow_up_elsewhere_does_not_share_the_study() -> None:
    found = tables.link(*case("l03-followup-elsewhere"))
    assert claims_of(found) == {("1.1", "own", 1)}
    alone = found[found["status"] == "line unmatched"]
    assert list(zip(alone["claim_id"], alone["why"], strict=True)) == [("elsewhere", "taken")]


def test_a_cancelled_copy_adds_nothing() -> None:
    found = tables.link(*case("l04-cancelled-twice"))
    assert claims_of(found) == {("1.1", "final", 1)}
    alone = found[found["status"] == "line unmatched"]
    assert list(alone["why"]) == ["not final"]


def test_an_echo_is_an_ultrasound() -> None:
    assert claims_of(tables.link(*case("l05-echo"))) == {("1.1", "c", 1)}


def test_a_hospital_of_another_payer_by_its_revenue_centres() -> None:
    studies, lines = case("l07-carin-hospital")
    found = tables.link(studies, lines)
    assert claims_of(found) == {("1.1", "inst", 1), ("1.2", "inst", 2), ("1.1", "prof", 1)}
    assert list(found.set_index(["claim_id", "line_number"])["component"]) == [
        "technical",
        "professional",
        "technical",
    ]


def test_a_modifier_counts_wherever_it_stands() -> None:
    row = only_of(tables.link(*case("l09-third-modifier")))
    assert (row.status, row.component, row.modifiers) == ("linked", "professional", "59 GC 26")


def test_an_evening_study_is_of_its_own_day_where_the_zone_is_given() -> None:
    studies, lines = case("l13-utc-evening")
    found = tables.link(studies, lines, zone="America/New_York")
    assert claims_of(found) == {("1.1", "c1", 1), ("1.2", "c2", 1)}
    assert list(found["days"]) == [0, 0]
    without = tables.link(studies, lines)
    assert claims_of(without) == claims_of(found)
    first, second = (row for row in without.itertuples())
    assert first.score < second.score == 1
    assert "give zone=" in first.reasons
    with pytest.raises(ValueError, match="no time zone 'Eastern Time'"):
        tables.link(studies, lines, zone="Eastern Time")


def only_of(found: pd.DataFrame) -> Any:
    assert len(found) == 1, found
    return found.iloc[0]


def test_a_cohort_with_each_case_of_billing() -> None:
    cohort = link_cohort.Cohort(3).fill(60)
    linked = tables.link(*link_cohort.frames(cohort.resources), zone=link_cohort.ZONE)
    by_case = link_cohort.figures(cohort, link_cohort.pairs_of(linked))
    total = by_case.pop("all")
    assert total.precision >= 0.99
    assert total.recall >= 0.95
    for name, figures in by_case.items():
        assert figures.lines / total.lines >= 0.05, name
        assert figures.recall >= 0.8, name
    packaged = linked[linked["status"].eq("line unmatched") & linked["why"].isna()]
    assert packaged.empty  # each says why


def test_an_accession_number_decides_against_the_day() -> None:
    near, far = scan("1.1"), scan("1.2", started="2018-01-01T09:00:00", accession={"value": "A7"})
    claims = pd.DataFrame({"claim_id": ["c1"], "value": ["A7"]})
    studies, lines = frames(near, far, bill())
    assert claims_of(tables.link(studies, lines)) == {("1.1", "c1", 1)}
    found = tables.link(studies, lines, identifiers=claims)
    assert claims_of(found) == {("1.2", "c1", 1)}
    row = found[found["status"] == "linked"].iloc[0]
    assert (row.score, row.evidence) == (1.0, "accession")
    ordered = scan("1.2", started="2018-01-01T09:00:00", basedOn=[{"identifier": {"value": "A7"}}])
    found = tables.link(*frames(near, ordered, bill()), identifiers=claims)
    assert claims_of(found) == {("1.2", "c1", 1)}
    assert found[found["status"] == "linked"].iloc[0]["evidence"] == "order"


def test_any_code_of_the_procedure_is_evidence() -> None:
    def coded(uid: str, code: str) -> Any:
        codes = [{"code": "LOCAL1"}, {"code": code}]
        return scan(uid, procedureCode=[{"coding": codes}])

    found = tables.link(*frames(coded("1.1", "71250"), coded("1.2", "71260"), bill("71260")))
    assert claims_of(found) == {("1.2", "c1", 1)}
    assert found[found["status"] == "linked"].iloc[0]["evidence"] == "code"


@pytest.mark.parametrize(
    ("code", "revenue", "modifiers", "place", "kind", "component"),
    [
        ("71250", None, (), None, "CARRIER", "global"),
        ("71250", None, (), "22", "CARRIER", "professional"),  # inside a hospital
        ("71250", None, ("TC",), "11", "CARRIER", "technical"),
        ("71250", "0352", (), None, "OUTPATIENT", "technical"),
        ("71250", "0972", (), None, "OUTPATIENT", "professional"),
        ("71250", "0352", ("GC", "26"), None, "OUTPATIENT", "professional"),
        ("71250", "0352", (), None, "INPATIENT", "stay"),
    ],
)
def test_which_part_of_an_examination(
    code: str, revenue: Any, modifiers: Any, place: Any, kind: str, component: str
) -> None:
    studies, lines = frames(scan(), bill(code, "2018-01-10", "c1", *modifiers))
    changed = {"revenue_center": revenue, "place_of_service": place, "claim_type": kind}
    lines = lines.drop(columns="claim_kind", errors="ignore").assign(**changed)
    assert only_of(tables.link(studies, lines)).component == component


@pytest.mark.parametrize(
    ("days", "modifier", "linked"),
    [
        (-1, "26", False),
        (0, "26", True),
        (7, "26", True),
        (8, "26", False),
        (-2, "TC", False),
        (-1, "TC", True),
        (1, "TC", True),
        (2, "TC", False),
    ],
)
def test_a_reading_may_be_late_and_the_images_not(days: int, modifier: str, linked: bool) -> None:
    day = f"2018-01-{10 + days:02}"
    local = scan(started="2018-01-10T09:00:00-05:00")
    found = tables.link(*frames(local, bill("71250", day, "c1", modifier)))
    assert (list(found["status"]) == ["linked"]) is linked
    if not linked:
        assert set(found["why"].dropna()) == {"outside window"}


@pytest.mark.parametrize(
    ("words", "modifiers", "linked"),
    [
        ("CT KNEE LT", ("LT",), True),
        ("CT KNEE LT", ("RT",), False),
        ("CT KNEE LT", ("26", "XS", "RT"), False),
        ("CT KNEE", ("RT",), True),
        ("CT right knee", ("T5",), True),
        ("CT right knee", ("TA",), False),
        ("CT KNEE L", ("LT",), True),
        ("CT BILATERAL KNEES", ("LT",), True),
        ("CT L KNEE", ("RT",), False),
    ],
)
def test_sides(words: str, modifiers: Any, linked: bool) -> None:
    local = scan(words=words, started="2018-01-10T09:00:00")
    found = tables.link(*frames(local, bill("73700", "2018-01-10", "c1", *modifiers)))
    assert (list(found["status"]) == ["linked"]) is linked
    if not linked:
        assert set(found["why"].dropna()) == {"contradiction"}


def test_the_side_of_the_series_goes_before_words() -> None:
    side = {"laterality": {"code": "7771000"}, "modality": {"code": "CT"}}
    found = tables.link(*frames(scan(words="CT knee", series=[side]), bill("73700", modifier=[])))
    assert claims_of(found)
    right = bill("73700", "2018-01-10", "c1", "RT")
    found = tables.link(*frames(scan(words="CT knee", series=[side]), right))
    assert set(found["why"].dropna()) == {"contradiction"}


def test_a_reversal_cancels_its_twin_and_not_the_line_that_replaces_it() -> None:
    studies, lines = frames(scan(), bill(id_="a"), bill(id_="b"), bill(id_="c"))
    column = "payer_paid_amount"
    lines[column] = [80.0, -80.0, 95.0]
    found = tables.link(studies, lines)
    assert claims_of(found) == {("1.2.3", "c", 1)}
    assert list(found.loc[found["status"] == "line unmatched", "why"]) == ["reversed", "reversed"]


def test_a_repeat_may_share_the_study_and_prefers_the_later_one() -> None:
    first, again = bill(id_="a"), bill("71250", "2018-01-10", "b", "76")
    found = tables.link(*frames(scan(), first, again))
    assert claims_of(found) == {("1.2.3", "a", 1), ("1.2.3", "b", 1)}
    late = scan("1.3", started="2018-01-10T18:00:00Z")
    found = tables.link(*frames(scan(), late, first, again))
    assert claims_of(found) == {("1.2.3", "a", 1), ("1.3", "b", 1)}


def test_two_equal_lines_for_one_study_are_rivals() -> None:
    found = tables.link(*frames(scan(), bill(id_="a"), bill(id_="b")))
    assert list(found["status"]) == ["ambiguous", "ambiguous"]
    assert list(found["rivals"]) == [1, 1]


def test_a_line_without_a_study_gets_the_one_that_another_line_can_spare() -> None:
    """Both studies fit the later line, only one of them the earlier line."""
    evening, noon = (
        scan("1.1", started="2018-01-10T02:00:00Z"),
        scan("1.2", started="2018-01-10T15:00:00Z"),
    )
    earlier, same = bill(day="2018-01-09", id_="a"), bill(id_="b")
    found = tables.link(*frames(evening, noon, earlier, same))
    assert ("1.2", "b", 1) in claims_of(found)
    assert ("1.1", "a", 1) in claims_of(found)


def test_guidance_of_another_procedure_is_weak_evidence() -> None:
    plain = scan(modality="US", words="US abdomen")
    assert only(plain, bill("76942")).status == "weak"
    assert (
        only(scan(modality="US", words="US guided biopsy, liver"), bill("76942")).status == "linked"
    )


def test_an_add_on_needs_its_main_examination() -> None:
    echo = scan(modality="US", words="TTE complete")
    alone = tables.link(*frames(echo, bill("93320")))
    assert list(alone["why"].dropna()) == ["add-on"]
    found = tables.link(*frames(echo, bill("93306", id_="a"), bill("93320", id_="b")))
    assert {claim for _, claim, _ in claims_of(found)} == {"a", "b"}


@pytest.mark.parametrize("code", ["77427", "77385", "A9552", "R0075", "77263"])
def test_codes_without_an_image_say_so(code: str) -> None:
    found = tables.link(*frames(scan(), bill(code)))
    assert list(found["why"].dropna()) == ["not imaging"]


def test_lines_that_have_nothing_to_do_with_images_are_counted_or_listed() -> None:
    visit = frames(scan(), bill("99213"))
    found = tables.link(*visit)
    assert list(found["status"]) == ["study unmatched"]
    assert found.attrs["not_imaging"] == 1
    every = tables.link(*visit, every_line=True)
    assert list(every["why"].dropna()) == ["not imaging"]


def test_a_preauthorisation_is_no_claim() -> None:
    studies, lines = frames(scan(), bill())
    found = tables.link(studies, lines.assign(use="preauthorization"))
    assert list(found["why"].dropna()) == ["not a claim"]
    found = tables.link(studies, lines.assign(is_final=pd.array([False], dtype="boolean")))
    assert list(found["why"].dropna()) == ["not final"]
    found = tables.link(studies, lines.assign(is_final=pd.array([None], dtype="boolean")))
    assert claims_of(found)


def test_a_packaged_line_is_linked_and_says_that_it_is_paid_within_another() -> None:
    studies, lines = frames(scan(), bill())
    column = "payer_paid_amount"
    row = only_of(tables.link(studies, lines.assign(packaged="1", **{column: 0.0})))
    assert (row.status, row.packaged, row.payer_paid_amount) == ("linked", True, 0.0)
    row = only_of(tables.link(studies, lines))
    assert pd.isna(row.packaged)
