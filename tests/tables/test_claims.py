"""The traps of explanations of benefit (spec §6), one test each."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from s4s_notebook import tables
from tests.tables.examples import BB, HCPCS, amount, claim


def line(**more: Any) -> Any:
    """The one line of a carrier claim, as a row."""
    return tables.benefit_lines([claim(item=[more])]).iloc[0]


def told(resource: dict[str, Any], table: str = "benefit_lines") -> list[tuple[str, str, str]]:
    problems: list[tables.Problem] = []
    getattr(tables, table)([resource], problems)
    return [(one.path, one.value, one.why) for one in problems]


def test_a_general_code_that_two_amounts_share_doubles_nothing() -> None:
    """In R4 the rate and the total charge are both `submitted`."""
    row = line(
        adjudication=[
            amount("rev_cntr_rate_amt", 5.0, "submitted"),
            amount("rev_cntr_tot_chrg_amt", 999.85, "submitted"),
            amount("rev_cntr_pmt_amt_amt", 80.0, "submitted"),
            amount("a_variable_of_tomorrow", 7.0, "submitted"),
        ]
    )
    assert row.rate_amount == 5.0
    assert row.submitted_charge_amount == 999.85
    assert row.payer_paid_amount == 80.0
    assert row.currency == "USD"


def test_a_general_code_counts_where_there_is_no_variable() -> None:
    """The S4S sample of 2018 has `eligible` and `benefit` without a system."""
    adjudication = [
        {"category": {"coding": [{"code": "eligible"}]}, "amount": {"value": 120, "code": "USD"}},
        {"category": {"coding": [{"code": "eligpercent"}]}, "value": 0.8},
        {"category": {"coding": [{"code": "benefit"}]}, "amount": {"value": 96, "code": "USD"}},
    ]
    row = line(adjudication=adjudication)
    assert (row.allowed_charge_amount, row.payer_paid_amount) == (120.0, 96.0)
    long = tables.adjudications([claim(item=[{"adjudication": adjudication}])])
    assert list(long["variable"]) == ["eligible", "eligpercent", "benefit"]
    assert list(long["value"].dropna()) == [0.8]


def test_the_total_line_is_marked() -> None:
    def center(code: str) -> dict[str, Any]:
        return {"revenue": {"coding": [{"system": BB + "variables/rev_cntr", "code": code}]}}

    frame = tables.benefit_lines([claim(item=[center(c) for c in ("0001", "1", "0010", "0351")])])
    assert list(frame["is_total_line"]) == [True, True, False, False]


@pytest.mark.parametrize(
    ("given", "days", "source"),
    [
        (
            {"servicedPeriod": {"start": "2018-01-03", "end": "2018-01-04"}},
            ("2018-01-03", "2018-01-04"),
            "servicedPeriod",
        ),
        ({"servicedDate": "2018-01-03"}, ("2018-01-03", "2018-01-03"), "servicedDate"),
        ({}, ("2018-01-02", "2018-01-05"), "billablePeriod"),
    ],
)
def test_a_date_that_falls_back_says_so(given: Any, days: Any, source: str) -> None:
    row = line(**given)
    assert (row.service_from, row.service_to) == tuple(map(pd.Timestamp, days))
    assert row.service_date_source == source


def test_the_type_is_chosen_by_system_not_by_place() -> None:
    codings = [
        {"system": BB + "variables/nch_clm_type_cd", "code": "40"},
        {"system": "http://hl7.org/fhir/ex-claimtype", "code": "professional"},
        {"system": BB + "codesystem/eob-type", "code": "OUTPATIENT"},
    ]
    for order in (codings, codings[::-1]):
        row = tables.benefits([claim(type={"coding": order})]).iloc[0]
        assert (row.claim_type, row.claim_category, row.nch_claim_type) == (
            *("OUTPATIENT", "professional", "40"),
        )
    assert tables.benefits([claim(type={"coding": codings[:1]})])["claim_type"][0] == "OUTPATIENT"


def test_who_performed_the_line_comes_through_its_link() -> None:
    """R4 links the performer and the organization; the performer is the one."""
    team = [
        {
            "sequence": 2,
            "provider": {"identifier": {"value": "1234567893"}},
            "role": role("primary"),
        },
        {
            "sequence": 3,
            "provider": {"identifier": {"value": "1245319599"}},
            "role": role("performing"),
            "qualification": {"coding": [{"system": BB + "variables/prvdr_spclty", "code": "30"}]},
        },
    ]
    made = claim(careTeam=team, item=[{"careTeamSequence": [2, 3]}, {"careTeamLinkId": [2]}, {}])
    frame = tables.benefit_lines([made])
    # A line without links was performed by the only member of that role.
    assert list(frame["performing_npi"]) == ["1245319599", "1234567893", "1245319599"]
    assert list(frame["performing_specialty"].fillna("")) == ["30", "", "30"]
    frame = tables.benefit_lines([claim(careTeam=[*team, {**team[1], "sequence": 4}], item=[{}])])
    assert frame["performing_npi"].isna().all()


def test_the_line_says_of_what_type_its_performer_is_and_whether_one_participates() -> None:
    says = [
        {"url": BB + "variables/carr_line_prvdr_type_cd", "valueCoding": {"code": "1"}},
        {"url": BB + "variables/prtcptng_ind_cd", "valueCoding": {"code": "2"}},
        {"url": {"odd": 1}},
    ]
    team = [{"sequence": 1, "extension": says}]
    row = tables.benefit_lines([claim(careTeam=team, item=[{"careTeamLinkId": [1]}])]).iloc[0]
    assert (row.performing_type, row.performing_participates) == ("1", "2")


def test_a_line_leads_to_its_blood_test() -> None:
    """STU3 refers to it in the line, R4 through the claim's information."""
    result = BB + "variables/line_hct_hgb_rslt_num"
    kind = {"coding": [{"system": BB + "variables/line_hct_hgb_type_cd", "code": "R2"}]}
    observation = {
        "resourceType": "Observation", "id": "o", "code": kind, "valueQuantity": {"value": 33.5}
    }  # fmt: skip
    to = {"valueReference": {"reference": "#o"}}
    info = {"sequence": 4, "category": {"coding": [{"code": result}]}, **to}
    made = claim(
        contained=[{**observation, "id": "p"}, observation],
        supportingInfo=[{"sequence": 3}, info],
        item=[
            {"extension": [{"url": "other", **to}, {"url": result, **to}]},
            {"informationSequence": [4]},
            {"informationSequence": [3]},
            {"extension": [{"url": result, "valueReference": {"reference": "#nowhere"}}]},
        ],
    )
    frame = tables.benefit_lines([made])
    assert list(frame["blood_test"].fillna("")) == ["R2", "R2", "", ""]
    assert list(frame["blood_test_result"].fillna(0)) == [33.5, 33.5, 0, 0]


def role(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://hl7.org/fhir/claimcareteamrole", "code": code}]}


@pytest.mark.parametrize(
    ("kind", "column"), [("INPATIENT", "attending_npi"), ("PDE", "prescriber_npi"), ("CARRIER", "")]
)
def test_primary_means_another_person_on_each_kind_of_claim(kind: str, column: str) -> None:
    team = [
        {
            "sequence": 1,
            "provider": {"identifier": {"value": "1234567893"}},
            "role": role("primary"),
        }
    ]
    row = tables.benefits([claim(kind=kind, careTeam=team)]).iloc[0]
    found = {name for name in row.index if name.endswith("_npi") and pd.notna(row[name])}
    assert found == ({column} if column else set())


def test_what_a_prior_payer_paid_is_not_the_total_charge() -> None:
    """So it stands on carrier claims of CMS's R4 server."""
    total = amount("clm_tot_chrg_amt", 12.5, "priorpayerpaid")
    row = tables.benefits([claim(total=[total])]).iloc[0]
    assert pd.isna(row.submitted_charge_amount)
    assert row.primary_payer_amount == 12.5
    row = tables.benefits(
        [claim(kind="INPATIENT", total=[amount("clm_tot_chrg_amt", 3, "submitted")])]
    )
    assert row["submitted_charge_amount"][0] == 3.0


def test_the_quantity_of_a_drug_is_not_that_of_the_service() -> None:
    """CMS's R4 server puts it there, and its unit among the modifiers."""
    modifier = [
        {"coding": [{"system": "http://unitsofmeasure.org", "code": "ML"}]},
        {"coding": [{"system": HCPCS, "code": "26"}]},
    ]
    units = [{"url": BB + "variables/rev_cntr_unit_cnt", "valueQuantity": {"value": 2}}]
    row = line(modifier=modifier, quantity={"value": 77}, extension=units)
    assert (row.quantity, row.ndc_quantity, row.ndc_unit) == (2.0, 77.0, "ML")
    assert row.modifier_1 == "26"
    assert pd.isna(row.modifier_2)
    row = line(modifier=modifier[1:], quantity={"value": 3})
    assert (row.quantity, row.modifier_1) == (3.0, "26")
    assert pd.isna(row.ndc_quantity)


def test_mixed_currencies_leave_the_currency_open() -> None:
    mixed = claim(
        item=[
            {
                "adjudication": [
                    amount("line_nch_pmt_amt", 1.0),
                    amount("line_coinsrnc_amt", 2.0, "", "EUR"),
                ]
            }
        ]
    )
    row = tables.benefit_lines([mixed]).iloc[0]
    assert (row.payer_paid_amount, row.coinsurance_amount) == (1.0, 2.0)
    assert pd.isna(row.currency)
    ((path, value, why),) = told(mixed)
    assert path.startswith("item[0].adjudication[category=bb:line_coinsrnc_amt]")
    assert value == "EUR"
    assert "another currency" in why


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("Patient/p1", "p1"),
        ("https://holder.example/fhir/Patient/p1", "p1"),
        ("https://holder.example/fhir/Patient/p1/_history/3", "p1"),
        ("urn:uuid:6a0e-1", "6a0e-1"),
        (" Patient/p1 ", "p1"),
        ("Patient/-20140000008325", "-20140000008325"),
        ("Patient/a b", "a b"),
    ],
)
def test_references_of_all_shapes(given: str, wanted: str) -> None:
    frame = tables.benefits([claim(patient={"reference": given})])
    assert frame["patient_id"][0] == wanted


def test_a_claim_without_an_id_goes_by_its_identifier_or_its_content() -> None:
    known = claim(identifier=[{"system": BB + "variables/clm_id", "value": "9001"}])
    bare = claim()
    del known["id"], bare["id"]
    frame = tables.benefits([known, bare, dict(bare), claim()])
    assert frame.attrs["duplicates"] == 1
    assert sorted(frame["claim_id"])[:2] == ["9001", "carrier-1"]
    assert frame["claim_id"].str.startswith("sha256:").sum() == 1
    assert set(tables.benefit_lines([known | {"item": [{}]}])["claim_id"]) == {"9001"}


@pytest.mark.parametrize("id_", [7, "", ["x"], {"a": 1}, "a\nb", "\ud800"])
def test_an_id_that_is_none_is_told_and_costs_no_row(id_: Any) -> None:
    odd = claim(id_=id_, item=[{}])
    frames = tables.build(("benefits", "benefit_lines"), [odd])
    assert [len(frame) for frame in frames.values()] == [1, 1]
    assert frames["benefits"]["claim_id"][0] == frames["benefit_lines"]["claim_id"][0]
    assert [path for path, _, _ in told(odd, "benefits")] == ["id"]


def test_lines_that_the_holder_added_are_lines() -> None:
    made = claim(
        item=[{"sequence": 1}],
        addItem=[{"adjudication": [amount("line_nch_pmt_amt", 4.0)]}],
    )
    frames = tables.build(("benefits", "benefit_lines", "adjudications"), [made])
    lines = frames["benefit_lines"]
    assert list(lines["line_kind"]) == ["item", "added"]
    assert list(lines["line_index"]) == [1, 2]
    assert frames["benefits"]["line_count"][0] == 2
    assert list(frames["adjudications"]["level"]) == ["added"]
    assert list(frames["adjudications"]["line_index"]) == [2]


def test_long_tables_keep_which_code_belongs_to_what() -> None:
    made = claim(
        diagnosis=[
            {"sequence": 1, "diagnosisCodeableConcept": {"coding": [{"code": "A02"}]}},
            {"sequence": 2, "diagnosisCodeableConcept": {"coding": [{"code": "B04"}]}},
        ],
        procedure=[{"sequence": 1, "date": "2018-01-03T00:00:00+00:00"}],
        item=[{"sequence": 6, "diagnosisLinkId": [2, 1]}],
        total=[amount("clm_tot_chrg_amt", 9, "submitted")],
        benefitBalance=[
            {"financial": [{"type": {"coding": [{"code": "x"}]}, "usedUnsignedInt": 3}]}
        ],
    )
    frames = tables.build(tables.TABLES, [made])
    row = frames["benefit_lines"].iloc[0]
    codes = frames["diagnoses"].set_index("sequence")["code"]
    assert codes[row.diagnosis_sequence_1] == "B04"
    assert codes[row.diagnosis_sequence_2] == "A02"
    assert frames["procedures"]["date"][0] == pd.Timestamp("2018-01-03")
    long = frames["adjudications"]
    assert list(long["level"]) == ["total", "balance"]
    assert list(long["variable"]) == ["clm_tot_chrg_amt", "x"]
    assert list(long["category"].fillna("")) == ["submitted", "x"]


def test_what_belongs_to_a_drug_comes_from_the_claim_in_r4() -> None:
    def info(about: str, **value: Any) -> dict[str, Any]:
        return {"category": {"coding": [{"code": about}]}, **value}

    made = claim(
        kind="PDE",
        item=[{}],
        supportingInfo=[
            info("dayssupply", valueQuantity={"value": 30}),
            info("refillnum", valueQuantity={"value": 0}),
            info("compoundcode", code={"coding": [{"code": "RXDINV"}]}),
        ],
    )
    row = tables.benefit_lines([made]).iloc[0]
    assert (row.days_supply, row.fill_number, row.compound_code) == (30, 0, "RXDINV")


def test_an_amount_given_twice_is_told() -> None:
    made = claim(
        item=[{"adjudication": [amount("line_nch_pmt_amt", 1), amount("line_nch_pmt_amt", 2)]}]
    )
    assert tables.benefit_lines([made])["payer_paid_amount"][0] == 1.0
    ((_, value, why),) = told(made)
    assert value == "2"
    assert "twice" in why
