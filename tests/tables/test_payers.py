"""Claims of any payer: the right value, whatever the publisher and wherever it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from s4s_notebook import tables
from tests.tables import sources
from tests.tables.coverage import payers, repeated

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "tables"
CARIN = "http://hl7.org/fhir/us/carin-bb/CodeSystem/"
HL7 = "http://terminology.hl7.org/CodeSystem/"
CPT = "http://www.ama-assn.org/go/cpt"
NPI = "http://hl7.org/fhir/sid/us-npi"
NAMES = ("benefits", "benefit_lines", "diagnoses", "adjudications", "patients")

Frames = dict[str, pd.DataFrame]


def case(name: str) -> list[Any]:
    """The resources of a case of the shared folder."""
    path = CASES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    read = json.loads(path.read_text("utf-8"))
    return read if isinstance(read, list) else [read]


def built(resources: list[Any], problems: list[tables.Problem] | None = None) -> Frames:
    return tables.build(NAMES, resources, problems)


def concept(code: str, system: str = "", **more: Any) -> dict[str, Any]:
    coding = {"system": system, "code": code, **more} if system else {"code": code, **more}
    return {"coding": [coding]}


def category(code: str, value: float | None = None, **more: Any) -> dict[str, Any]:
    amount = {} if value is None else {"amount": {"value": value, "currency": "USD"}}
    return {"category": concept(code, CARIN + "C4BBAdjudication"), **amount, **more}


def claim(kind: str = "professional", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": "e1",
        "status": "active",
        "use": "claim",
        "patient": {"reference": "Patient/p"},
        "type": concept(kind, HL7 + "claim-type"),
        **more,
    }


def line(**more: Any) -> dict[str, Any]:
    return {"sequence": 1, "productOrService": concept("70450", CPT), **more}


def amounts(row: pd.Series[Any]) -> dict[str, float]:
    """All amounts of a row that it has."""
    return {
        name.removesuffix("_amount"): row[name]
        for name in row.index
        if name.endswith("_amount") and pd.notna(row[name])
    }


# -- the cases that failed, each with one of the same kind


def check_copay(resources: list[Any]) -> None:
    row = built(resources)["benefit_lines"].iloc[0]
    assert (row.coinsurance_amount, row.copay_amount) == (40.0, 25.0)


def test_a_copay_is_no_coinsurance() -> None:
    check_copay(
        [claim(item=[line(adjudication=[category("copay", 25), category("coinsurance", 40)])])]
    )
    check_copay(case("m01-copay-as-coinsurance"))


TOTALS = {
    "submitted_charge": 500.0, "allowed_charge": 300.0, "payer_paid": 200.0,
    "paid_to_provider": 200.0, "member_liability": 100.0, "deductible": 60.0,
    "coinsurance": 25.0, "copay": 15.0, "noncovered_charge": 10.0, "paid_by_patient": 15.0,
    "primary_payer": 1.0,
}  # fmt: skip


def test_each_total_of_a_claim_has_its_column() -> None:
    row = built(case("m02-carin-claim-money"))["benefits"].iloc[0]
    assert amounts(row) == TOTALS
    assert row.payer_paid_source == "paid to provider and patient"


def test_the_header_counts_where_there_is_no_total() -> None:
    """Institutional claims may have their amounts in the adjudication of the claim."""
    header = [category("submitted", 9), category("benefit", 5), category("discount", 2)]
    row = built([claim("institutional", adjudication=header)])["benefits"].iloc[0]
    assert amounts(row) == {"submitted_charge": 9.0, "payer_paid": 5.0, "discount": 2.0}
    both = claim("institutional", adjudication=header, total=[category("submitted", 8)])
    problems: list[tables.Problem] = []
    row = built([both], problems)["benefits"].iloc[0]
    assert row.submitted_charge_amount == 8.0
    assert [one.why for one in problems] == ["given twice with different values; the first is kept"]


def test_claim_money_is_not_made_of_lines_nor_the_reverse() -> None:
    made = claim(item=[line(adjudication=[category("submitted", 9)])])
    frames = built([made])
    assert amounts(frames["benefits"].iloc[0]) == {}
    made = claim(item=[line()], total=[category("submitted", 9)])
    assert amounts(built([made])["benefit_lines"].iloc[0]) == {}


def test_the_coverage_is_the_focal_one() -> None:
    assert built(case("m03-focal-coverage"))["benefits"]["coverage_id"][0] == "this-payer"
    insurance = [
        {"focal": focal, "coverage": {"reference": f"Coverage/{name}"}}
        for focal, name in ((False, "a"), (True, "b"), (False, "c"))
    ]
    assert built([claim(insurance=insurance)])["benefits"]["coverage_id"][0] == "b"
    assert built([claim(insurance=insurance[:1])])["benefits"]["coverage_id"][0] == "a"
    problems: list[tables.Problem] = []
    unclear = built([claim(insurance=insurance[::2])], problems)["benefits"]
    assert unclear["coverage_id"].isna().all()
    assert [one.path for one in problems] == ["insurance"]


DOCTOR = {
    "resourceType": "Practitioner",
    "id": "d1",
    "identifier": [{"system": NPI, "value": "1234567893"}],
    "name": [{"use": "old", "text": "Old"}, {"family": "Roe", "given": ["Jane"]}],
}
ROLE = {
    "resourceType": "PractitionerRole",
    "id": "r1",
    "practitioner": {"reference": "Practitioner/d1"},
    "specialty": [concept("2085R0202X", "http://nucc.org/provider-taxonomy")],
}


def with_doctor(provider: dict[str, Any], **more: Any) -> dict[str, Any]:
    member = {
        "sequence": 1, "provider": provider, "role": concept("rendering", CARIN + "x"), **more
    }  # fmt: skip
    return claim(careTeam=[member], item=[line(careTeamSequence=[1])])


def test_an_npi_comes_from_the_practitioner_that_is_referred_to() -> None:
    frames = built(case("m05-npi-by-reference"))
    row = frames["benefit_lines"].iloc[0]
    assert (row.performing_npi, row.performing_taxonomy) == ("1234567893", "2085R0202X")
    assert row.npi_valid
    assert frames["benefits"]["rendering_npi"][0] == "1234567893"


@pytest.mark.parametrize(
    "reference",
    [
        "Practitioner/d1",
        "https://h.example/fhir/Practitioner/d1",
        "https://h.example/fhir/Practitioner/d1/_history/3",
        "urn:uuid:d1",
        "#d1",
        "PractitionerRole/r1",
        "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|1234567893",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_every_form_of_a_reference_leads_to_the_npi(reference: str, first: bool) -> None:
    made = with_doctor({"reference": reference})
    others = [DOCTOR, ROLE]
    if reference.startswith("#"):
        made["contained"], others = [DOCTOR], []
    resources = [*others, made] if first else [made, *others]
    frames = built(resources)
    assert frames["benefit_lines"]["performing_npi"].tolist() == ["1234567893"]
    assert frames["benefits"]["rendering_npi"].tolist() == ["1234567893"]
    assert frames["benefits"]["npi_valid"].tolist() == [True]


def test_nobody_elses_practitioner_is_taken() -> None:
    builder = tables.builder("benefit_lines", "benefits")
    builder.add([DOCTOR], participant="a").add([with_doctor({"reference": "Practitioner/d1"})], "b")
    frames = builder.frames()
    assert frames["benefit_lines"]["performing_npi"].isna().all()
    assert frames["benefits"]["npi_valid"].isna().all()


def test_the_newer_copy_of_a_practitioner_counts() -> None:
    newer = {**DOCTOR, "meta": {"versionId": "2"}}
    older = {**DOCTOR, "meta": {"versionId": "1"}, "identifier": [{"system": NPI, "value": "1"}]}
    made = with_doctor({"reference": "Practitioner/d1"})
    for copies in ([newer, older], [older, newer]):
        assert built([*copies, made])["benefit_lines"]["performing_npi"][0] == "1234567893"


@pytest.mark.parametrize(
    ("identifier", "npi"),
    [
        ({"system": NPI, "value": "1245319599"}, "1245319599"),
        ({"type": concept("NPI", HL7 + "v2-0203"), "value": "1245319599"}, "1245319599"),
        ({"type": concept("npi", CARIN + "C4BBIdentifierType"), "value": "12"}, "12"),
        ({"value": "1245319599"}, "1245319599"),  # its form and its check digit
        ({"value": "1245319598"}, None),
        ({"value": "999887777"}, None),
        ({"type": concept("TAX", HL7 + "v2-0203"), "value": "1245319599"}, None),
        ({"type": concept("SL", HL7 + "v2-0203"), "system": NPI, "value": "1245319599"}, None),
        ({"system": "urn:oid:2.16.840.1.113883.4.4", "value": "1245319599"}, None),
        ({"system": NPI, "value": "0000000000"}, None),
    ],
)
def test_an_npi_is_told_by_type_and_system(identifier: dict[str, Any], npi: str | None) -> None:
    row = built([with_doctor({"identifier": identifier})])["benefit_lines"].iloc[0]
    assert (row.performing_npi if pd.notna(row.performing_npi) else None) == npi
    if npi == "12":
        assert not row.npi_valid


def test_a_tax_number_is_in_no_table() -> None:
    resources = case("m07-taxid-as-npi")
    for frame in tables.build((*tables.TABLES, *tables.LONG_TABLES), resources).values():
        assert "999887777" not in frame.to_csv()
    assert "999887777" not in tables.unread(resources).to_csv()


def info(what: str, **value: Any) -> dict[str, Any]:
    return {"category": concept(what, CARIN + "C4BBSupportingInfoType"), **value}


def test_what_belongs_to_a_drug_is_read_of_every_payer() -> None:
    row = built(case("m09-carin-pharmacy"))["benefit_lines"].iloc[0]
    assert (row.days_supply, row.fill_number, row.compound_code) == (30, 2, "1")
    assert (row.dispense_as_written, row.brand_generic, row.prescription_origin) == ("0", "2", "3")
    stated = [
        info("dayssupply", valueQuantity={"value": 90}),
        info("refillnum", valueQuantity={"value": 1}),
        info("refillsauthorized", valueQuantity={"value": 4}),
    ]
    row = built([claim("pharmacy", supportingInfo=stated, item=[line()])])["benefit_lines"].iloc[0]
    assert (row.days_supply, row.fill_number, row.refills_authorized) == (90, 1, 4)
    row = built([claim(supportingInfo=stated, item=[line()])])["benefit_lines"].iloc[0]
    assert pd.isna(row.days_supply)  # no drug's claim


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("00777310502", "00777310502"),
        ("0777-3105-02", "00777310502"),
        ("12345-678-90", "12345067890"),
        ("12345-6789-1", "12345678901"),
        ("0777310502", None),  # ten digits: which group is short is not known
        ("000000-0000", None),
        ("00000000000", None),
    ],
)
def test_a_drug_code_has_eleven_digits_or_is_none(given: str, code: str | None) -> None:
    item = {"sequence": 1, "productOrService": concept(given, "http://hl7.org/fhir/sid/ndc")}
    row = built([claim("pharmacy", item=[item])])["benefit_lines"].iloc[0]
    assert (row.ndc_code if pd.notna(row.ndc_code) else None) == code
    assert row.ndc_given == given


def test_a_diagnosis_is_the_national_code_wherever_it_stands() -> None:
    row = built(case("m11-dx-local-first"))["diagnoses"].iloc[0]
    assert (row.code, row.code_dotted, row.icd_version) == ("I214", "I21.4", 10)
    local = {"system": "https://payer.example/dx", "code": "XYZ"}
    for system, code, dotted, version in (
        ("http://hl7.org/fhir/sid/icd-9-cm", "4280", "428.0", 9),
        ("http://hl7.org/fhir/sid/icd-9-cm", "E8121", "E812.1", 9),
        ("urn:oid:2.16.840.1.113883.6.90", "S72001A", "S72.001A", 10),
    ):
        codings = [local, {"system": system, "code": code}]
        diagnosis = [{"sequence": 1, "diagnosisCodeableConcept": {"coding": codings}}]
        row = built([claim(diagnosis=diagnosis)])["diagnoses"].iloc[0]
        assert (row.code, row.code_dotted, row.icd_version) == (code, dotted, version)


def test_a_masked_diagnosis_is_hidden_and_not_missing() -> None:
    masked = concept("masked", HL7 + "data-absent-reason")
    row = built([claim(diagnosis=[{"sequence": 1, "diagnosisCodeableConcept": masked}])])[
        "diagnoses"
    ].iloc[0]
    assert row.hidden
    assert pd.isna(row.code)


def test_a_period_ends_on_the_last_day_of_what_is_given() -> None:
    row = built(case("m13-partial-dates"))["benefits"].iloc[0]
    assert (str(row.period_start.date()), str(row.period_end.date())) == (
        *("2024-03-01", "2024-12-31"),
    )
    made = claim(item=[line(servicedDate="2024-02")])
    row = built([made])["benefit_lines"].iloc[0]
    assert (str(row.service_from.date()), str(row.service_to.date())) == (
        *("2024-02-01", "2024-02-29"),
    )


@pytest.mark.parametrize("day", ["9999-12-31", "1000-01-01", "0999-12-27"])
def test_a_day_that_stands_for_none_is_none(day: str) -> None:
    problems: list[tables.Problem] = []
    made = claim(billablePeriod={"start": "2024-01-01", "end": day})
    assert built([made], problems)["benefits"]["period_end"].isna().all()
    assert [one.why for one in problems] == ["a day that stands for no date"]


def test_every_coding_of_a_modifier_counts() -> None:
    row = built(case("m15-v3-modifiers-one-concept"))["benefit_lines"].iloc[0]
    assert row.modifiers == "59 26"
    five = [{"system": CPT, "code": code} for code in ("26", "59", "LT", "RT", "50")]
    unit = {"system": "http://unitsofmeasure.org", "code": "mL"}
    made = claim(item=[line(modifier=[{"coding": [*five[:3], unit]}, {"coding": five[2:]}])])
    row = built([made])["benefit_lines"].iloc[0]
    assert [row[f"modifier_{n}"] for n in range(1, 6)] == ["26", "59", "LT", "LT", "RT"]
    assert row.modifiers == "26 59 LT LT RT 50"


def test_two_copays_are_two_amounts() -> None:
    frames = built(case("i16-two-copays"))
    assert frames["benefit_lines"]["copay_amount"][0] == 25.0
    assert frames["adjudications"]["amount"].tolist() == [10.0, 15.0]


def test_amounts_of_details_count_once() -> None:
    frames = built(case("i17-detail-level"))
    row = frames["benefit_lines"].iloc[0]
    assert (row.payer_paid_amount, row.money_source) == (42.0, "detail")
    assert frames["adjudications"]["amount"].sum() == 42.0
    detail = [{"sequence": 1, "adjudication": [category("benefit", 7)]}]
    made = claim(item=[line(detail=detail, adjudication=[category("benefit", 9)])])
    row = built([made])["benefit_lines"].iloc[0]
    assert (row.payer_paid_amount, row.money_source) == (9.0, "line")


def test_the_name_and_address_in_use_count() -> None:
    row = built(case("i12-old-name-first"))["patients"].iloc[0]
    assert (row.family_name, row.state, row.postal_code) == ("Married", "CA", "94305")


# -- what kind of claim, and whether it counts


@pytest.mark.parametrize(
    ("kind", "subtype", "bill", "wanted"),
    [
        ("institutional", "inpatient", "0111", "INPATIENT"),
        ("institutional", "outpatient", "131", "OUTPATIENT"),
        ("institutional", "inpatient", "0211", "SNF"),
        ("institutional", "outpatient", "0329", "HHA"),
        ("institutional", "outpatient", "0811", "HOSPICE"),
        ("institutional", "", "0111", "INPATIENT"),
        ("institutional", "", "", None),
        ("professional", "", "", "PROFESSIONAL"),
        ("pharmacy", "", "", "PHARMACY"),
        ("oral", "", "", "ORAL"),
        ("vision", "", "", "VISION"),
    ],
)
def test_the_kind_of_claim_of_another_payer(
    kind: str, subtype: str, bill: str, wanted: str | None
) -> None:
    made = claim(kind)
    if subtype:
        made["subType"] = concept(subtype, CARIN + "C4BBInstitutionalClaimSubType")
    if bill:
        made["supportingInfo"] = [
            info("typeofbill", code=concept(bill, "https://www.nubc.org/CodeSystem/TypeOfBill"))
        ]
    row = built([made])["benefits"].iloc[0]
    assert (row.claim_kind if pd.notna(row.claim_kind) else None) == wanted
    if bill:
        assert row.type_of_bill == bill.zfill(4)
        assert (row.facility_type, row.service_class, row.frequency) == tuple(bill.zfill(4)[1:])


@pytest.mark.parametrize(
    ("more", "final", "version"),
    [
        ({}, True, None),
        ({"status": "cancelled"}, False, None),
        ({"related": [{"relationship": concept("replacedby")}]}, False, None),
        ({"related": [{"relationship": concept("prior")}]}, True, "replacement"),
        ({"supportingInfo": [info("typeofbill", code=concept("0137"))]}, True, "replacement"),
        ({"supportingInfo": [info("typeofbill", code=concept("0138"))]}, True, "void"),
        ({"meta": {"tag": [{"system": "x/Final-Action", "code": "NotFinalAction"}]}}, False, None),
        ({"use": "preauthorization"}, True, None),
    ],
)
def test_only_the_last_version_of_a_claim_counts(
    more: dict[str, Any], final: bool, version: str | None
) -> None:
    frames = built([claim(item=[line()], **more)])
    for name in ("benefits", "benefit_lines"):
        row = frames[name].iloc[0]
        assert row.is_final == final
        assert (row.claim_version if pd.notna(row.claim_version) else None) == version
        counts = final and version != "void" and "use" not in more
        assert len(tables.countable(frames[name])) == counts


# -- the guide's own examples


def eobs(shared_data: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((shared_data / "fhir" / "carin-1.1.0-r4").glob("*.json")):
        yield json.loads(path.read_text("utf-8"))


GUIDE: dict[str, Callable[[pd.DataFrame], int]] = {
    "billing_npi": lambda f: f["billing_npi"].notna().sum(),
    "organization_npi": lambda f: f["organization_npi"].notna().sum(),
    "payer_name": lambda f: f["payer_name"].notna().sum(),
    "payer_paid_amount": lambda f: f["payer_paid_amount"].notna().sum(),
    "submitted_charge_amount": lambda f: f["submitted_charge_amount"].notna().sum(),
    "type_of_bill": lambda f: f["type_of_bill"].notna().sum(),
    "discharge_status": lambda f: f["discharge_status"].notna().sum(),
}


@pytest.mark.needs("shared-data")
def test_the_guides_own_examples_fill_their_columns(shared_data: Path) -> None:
    frames = built(list(eobs(shared_data)))
    claims, lines = frames["benefits"], frames["benefit_lines"]
    assert {name: int(count(claims)) for name, count in GUIDE.items()} == {
        "billing_npi": 7, "organization_npi": 7, "payer_name": 7, "payer_paid_amount": 7,
        "submitted_charge_amount": 7, "type_of_bill": 2, "discharge_status": 2,
    }  # fmt: skip
    assert lines["revenue_center"].notna().sum() == 15
    assert lines["days_supply"].notna().sum() == 1
    assert lines["coinsurance_amount"].notna().sum() == 0  # they have copays
    assert lines["copay_amount"].notna().sum() == 8
    raw = [one for one in eobs(shared_data) if one["resourceType"] == "ExplanationOfBenefit"]
    assert frames["adjudications"]["amount"].sum().round(2) == round(sum(map(all_money, raw)), 2)


def all_money(element: Any) -> float:
    """Sum every Money in a resource, without the code under test."""
    if isinstance(element, list):
        return sum(map(all_money, element))
    if not isinstance(element, dict):
        return 0.0
    own = element["value"] if "currency" in element and "value" in element else 0.0
    return float(own) + sum(map(all_money, element.values()))


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("payer", ["cms-ab2d-r4", "cms-bfd-v3-r4"])
def test_every_modifier_of_cms_is_read(payer: str, shared_data: Path) -> None:
    """Counted in the JSON without the code under test."""
    raw: dict[tuple[str, int], list[str]] = {}
    resources = sources.read(shared_data / "fhir" / payer)
    for one in resources:
        for index, item in enumerate(one.get("item", ()), 1):
            for each in item.get("modifier", ()):
                codes = [
                    c["code"] for c in each["coding"] if "unitsofmeasure" not in c.get("system", "")
                ]
                raw.setdefault((one.get("id"), index), []).extend(dict.fromkeys(codes))
    lines = tables.benefit_lines(resources)
    read = {
        (row.claim_id, row.line_index): row.modifiers.split()
        for row in lines.itertuples()
        if pd.notna(row.modifiers)
    }
    assert sum(map(len, raw.values())) > 2
    assert sorted(read.values()) == sorted(codes for codes in raw.values() if codes)


@pytest.mark.needs("shared-data")
def test_the_third_version_of_cms_fills_its_columns(shared_data: Path) -> None:
    for payer in ("cms-ab2d-r4", "cms-bfd-v3-r4"):
        frame = tables.benefits(sources.read(shared_data / "fhir" / payer))
        assert frame["claim_kind"].notna().all()
        assert frame["claim_type"].notna().all()
        inpatient = frame[frame["claim_kind"] == "INPATIENT"]
        for name in ("drg", "discharge_status", "type_of_bill", "attending_npi", "admitted"):
            assert inpatient[name].notna().all(), (payer, name)
        assert inpatient["drg"].str.fullmatch("[0-9]{3}").all()
        assert inpatient["type_of_bill"].str.fullmatch("0[0-9]{2}[0-9A-Z]").all()


@pytest.mark.needs("shared-data")
def test_no_amount_stands_in_two_columns_of_one_meaning(shared_data: Path) -> None:
    assert [
        (payer, found)
        for payer, resources in payers(shared_data / "fhir").items()
        for found in repeated(resources)
    ] == []


def test_a_plan_is_a_part_of_medicare_only_where_it_is_called_so() -> None:
    def coverage(plan: str) -> dict[str, Any]:
        classes = [
            {"type": concept("group"), "value": "G1", "name": "Workers"},
            {"type": concept("plan"), "value": plan, "name": "Plan of " + plan},
        ]
        return {"resourceType": "Coverage", "id": plan.replace(" ", "-"), "class": classes}

    frame = tables.coverage([coverage("Part B"), coverage("GR5")]).set_index("coverage_id")
    assert frame["part"].fillna("").to_dict() == {"GR5": "", "Part-B": "Part B"}
    assert frame.loc["GR5", ["plan_id", "plan_name", "group_id", "group_name"]].tolist() == [
        *("GR5", "Plan of GR5", "G1", "Workers"),
    ]
