"""Every leaf of a resource is read, in a long table, left out on purpose, or unread."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from s4s_notebook import tables
from s4s_notebook.tables.unread import _ignored_paths, account
from tests.tables import sources
from tests.tables.examples import BB, amount, claim, held, study

SOURCES = sorted(
    path.name
    for path in (Path(__file__).resolve().parents[3] / "shared" / "data" / "fhir").glob("*")
)


def leaves(value: Any) -> int:
    """The values that are no object and no list, counted without the code under test."""
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list) else 1


def amounts(eob: dict[str, Any]) -> float:
    """The sum of what is adjudicated, at any level."""

    def of(adjudications: Any) -> float:
        return sum(a["amount"].get("value", 0) for a in adjudications or () if "amount" in a)

    total = of(eob.get("adjudication")) + of(eob.get("total"))
    for line in (*eob.get("item", ()), *eob.get("addItem", ())):
        total += of(line.get("adjudication"))
        for detail in line.get("detail", ()):
            total += of(detail.get("adjudication"))
            total += sum(of(sub.get("adjudication")) for sub in detail.get("subDetail", ()))
    for balance in eob.get("benefitBalance", ()):
        total += sum(f.get("usedMoney", {}).get("value", 0) for f in balance.get("financial", ()))
    return total


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("source", SOURCES)
def test_each_value_of_real_resources_is_accounted_for(source: str, shared_data: Path) -> None:
    resources = sources.read(shared_data / "fhir" / source)
    counted = account(resources)
    assert counted.leaves.total == sum(map(leaves, resources))
    frame = counted.frame()
    assert frame["count"].sum() == counted.leaves.counts["unread"]
    total = counted.leaves.total or 1
    print(source, {kind: f"{count / total:.1%}" for kind, count in counted.leaves.counts.items()})


@pytest.mark.needs("shared-data")
@pytest.mark.parametrize("source", [s for s in SOURCES if s not in {"odd", "hl7-stu3"}])
def test_no_amount_is_lost_or_doubled(source: str, shared_data: Path) -> None:
    claims = {}
    for one in sources.read(shared_data / "fhir" / source):
        if one["resourceType"] == "ExplanationOfBenefit" and "id" in one:
            claims.setdefault(one["id"], one)  # one copy of each
    frame = tables.adjudications(claims.values())
    assert frame["amount"].sum() == pytest.approx(sum(map(amounts, claims.values())), abs=0.005)


def test_the_sandbox_s_resources_are_accounted_for() -> None:
    resources = held("Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit")
    assert account(resources).leaves.total == sum(map(leaves, resources))


def unread_of(*resources: Any) -> Any:
    return tables.unread(resources).set_index("path")


def test_an_element_that_no_column_has() -> None:
    row = unread_of(claim(precedence=3)).loc["precedence"]
    assert (row.resource, row.what, row["count"], row.example_id) == (
        "ExplanationOfBenefit",
        "key",
        1,
        "carrier-1",
    )


def test_an_extension_that_no_column_asks_for() -> None:
    url = BB + "variables/a_new_one_cd"
    extension = [{"url": url, "valueCoding": {"system": url, "code": "X1"}}]
    frame = unread_of(claim(extension=extension), claim("two", extension=extension))
    row = frame.loc["extension.valueCoding.code"]
    assert (row.what, row.system, row.code, row["count"], row.claims) == (
        "category",
        url,
        "X1",
        2,
        2,
    )


def test_a_second_coding_is_unread_unless_it_repeats_the_code() -> None:
    def coded(*codes: str) -> Any:
        return claim(subType={"coding": [{"system": "urn:x", "code": code} for code in codes]})

    assert unread_of(coded("a", "a")).empty
    row = unread_of(coded("a", "b")).loc["subType.coding.code"]
    assert (row.what, row.code) == ("coding", "b")


def test_values_stand_there_for_codes_only() -> None:
    secret = "Jane Roe 123-45-6789"
    frame = tables.unread(
        [
            claim(
                extension=[
                    {"url": "urn:a", "valueString": secret},
                    {"url": "urn:b", "valueIdentifier": {"system": "urn:tax", "value": secret}},
                    {
                        "url": "urn:tax_num",
                        "valueCoding": {"system": "urn:tax_num", "code": "987654321"},
                    },
                ],
                provider={"reference": f"Practitioner/{secret}"},
                referral={"reference": "ReferralRequest/123456789"},
            )
        ]
    )
    text = frame.to_csv()
    assert secret not in text
    assert "123456789" not in text
    assert "987654321" not in text
    assert "reference" in set(frame["what"])


def test_a_type_without_a_table_is_named() -> None:
    row = tables.unread([{"resourceType": "Observation", "id": "o", "status": "final"}]).iloc[0]
    assert (row.resource, row.what, row["count"]) == ("Observation", "resource", 3)


def test_a_value_of_another_shape_is_unread() -> None:
    row = unread_of(claim(payment="none")).loc["payment"]
    assert (row.what, row["count"]) == ("shape", 1)


def test_the_summary_is_one_of_the_problems() -> None:
    problems: list[Any] = []
    frames = tables.build(("benefits",), [claim(precedence=3)], problems, report_unread=True)
    assert frames["benefits"].attrs["unread"] == 1
    assert problems[-1].why == "1 kinds of content were not read, 1 values: see unread"
    silent: list[Any] = []
    tables.build(("benefits",), [claim(), study()], silent, report_unread=True)
    assert silent == []


def test_nothing_that_matters_is_left_out_on_purpose() -> None:
    forbidden = re.compile(r"(^|\.)(code|value|amount|quantity|date|start|end|reference|currency)$")
    of_images = {"series.instance.sopClass.code", "contained.payloadType.coding.code"}
    for path, reason in _ignored_paths().items():
        assert path in of_images or not forbidden.search(path.lower()), path
        assert len(reason) > 10


def test_adjudications_of_any_category_are_read() -> None:
    lines = [{"sequence": 1, "adjudication": [amount("a_new_amount", 3.0, "submitted")]}]
    assert tables.unread([claim(item=lines)]).empty


def _resources(name: str) -> Any:
    path = Path(__file__).resolve().parents[3] / "shared" / "cases" / "tables" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return json.loads(path.read_text())


def test_a_provider_by_reference_in_the_same_bundle() -> None:
    member = tables.care_team(_resources("m05-npi-by-reference.json")).iloc[0]
    assert (member.npi, member.npi_valid, member.taxonomy) == ("1234567893", True, "2085R0202X")


def test_details_have_rows_of_their_own() -> None:
    frame = tables.details(_resources("i17-detail-level.json"))
    assert list(frame["payer_paid_amount"]) == [12.0, 30.0]
    assert list(frame["code"]) == ["Q9967", "0001"]


def test_the_long_tables_of_a_claim() -> None:
    npi = {"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567890"}
    tax = {"type": {"coding": [{"code": "TAX"}]}, "value": "1234567893"}
    role, prior, days = ({"coding": [{"code": c}]} for c in ("attending", "prior", "dayssupply"))
    eob = claim(
        identifier=[{"system": "urn:x", "value": "7"}],
        careTeam=[
            {"sequence": 1, "provider": {"identifier": npi}, "role": role},
            {"sequence": 2, "provider": {"identifier": tax}},
        ],
        related=[{"relationship": prior, "reference": {"value": "old"}}],
        insurance=[
            {"focal": False, "coverage": {"reference": "Coverage/a"}},
            {"focal": True, "coverage": {"display": "Part A"}},
        ],
        processNote=[{"number": 4, "text": "late"}],
        item=[{"sequence": 1, "diagnosisSequence": [1, 2, 3, 4, 5], "careTeamSequence": [1]}],
        supportingInfo=[{"sequence": 1, "category": days, "valueQuantity": {"value": 30}}],
    )
    made = tables.build(tables.LONG_TABLES, [eob])
    team = made["care_team"]
    assert list(team["npi"].astype(object).where(team["npi"].notna(), None)) == ["1234567890", None]
    assert team["npi_valid"].iloc[0] == False  # noqa: E712  # pandas' own False
    assert list(made["providers"]["provider_id"]) == ["npi:1234567890"]
    assert list(made["identifiers"]["value"]) == ["7"]
    assert list(made["related"]["relationship"]) == ["prior"]
    assert list(made["insurance"]["focal"]) == [False, True]
    assert list(made["notes"]["note_number"]) == [4]
    links = made["line_links"]
    assert list(links.loc[links["kind"] == "diagnosis", "sequence"]) == [1, 2, 3, 4, 5]
    assert list(made["supporting_info"]["value"]) == [30.0]
    for name in tables.LONG_TABLES:
        assert list(made[name].columns) == list(tables.dictionary(name)["name"])
        assert tables.build((name,), [])[name].dtypes.equals(made[name].dtypes)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("0777-3105-02", "00777310502"),
        ("12345-678-90", "12345067890"),
        ("12345-6789-0", "12345678900"),
        ("00777310502", "00777310502"),
        ("0777310502", None),
        ("00000000000", None),
    ],
)
def test_drug_codes_in_eleven_digits(given: str, right: Any) -> None:
    from s4s_notebook.tables.long_tables import ndc_11

    assert ndc_11(given) == right


def _with_npi(type_: str, id_: str, npi: str) -> dict[str, Any]:
    number = {"system": "http://hl7.org/fhir/sid/us-npi", "value": npi}
    return {"resourceType": type_, "id": id_, "identifier": [number]}


@pytest.mark.parametrize(
    "reference",
    [
        "Practitioner/1",
        "https://h.example/fhir/Practitioner/1",
        "Practitioner/1/_history/2",
        "urn:uuid:1",
        "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|1234567893",
    ],
)
def test_forms_of_reference_to_a_provider(reference: str) -> None:
    eob = claim(careTeam=[{"sequence": 1, "provider": {"reference": reference}}])
    bundle = [
        eob,
        _with_npi("Organization", "1", "1"),
        _with_npi("Practitioner", "1", "1234567893"),
    ]
    if reference.startswith("urn:"):
        del bundle[1]
    member = tables.care_team(bundle).iloc[0]
    assert (member.npi, member.npi_valid, member.provider_kind) == (
        "1234567893",
        True,
        "Practitioner",
    )


def test_a_provider_of_another_participant_is_not_taken() -> None:
    eob = claim(careTeam=[{"sequence": 1, "provider": {"reference": "Practitioner/1"}}])
    builder = tables.builder("care_team")
    builder.add([eob], participant="a")
    builder.add([_with_npi("Practitioner", "1", "1234567893")], participant="b")
    assert builder.frames()["care_team"]["npi"].isna().all()


def test_names_and_addresses_in_use_stand_before_former_ones() -> None:
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "name": [
            {"use": "old", "family": "Maiden"},
            {"use": "nickname", "family": "Nick"},
            {"use": "usual", "family": "Past", "period": {"end": "2001"}},
            {"use": "official", "family": "Married", "given": ["A", "B"]},
        ],
        "address": [
            {"use": "billing", "state": "NY", "postalCode": "10001"},
            {"use": "home", "state": "CA"},
        ],
    }
    row = tables.patients([patient]).iloc[0]
    assert (row.family_name, row.given_name, row.state) == ("Married", "A", "CA")
    person = {"resourceType": "Practitioner", "id": "1", "name": patient["name"]}
    assert tables.providers([person])["name"].tolist() == ["A B Married"]


def test_the_name_in_use_of_a_case() -> None:
    row = tables.patients([_resources("i12-old-name-first.json")]).iloc[0]
    assert (row.family_name, row.state, row.postal_code) == ("Married", "CA", "94305")
