"""The CARIN personality: a health plan whose claims keep the guide's rules and the same facts."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from s4s_notebook import Sandbox
from s4s_notebook.sandbox.data.carin_parties import npi_of

from . import c4bb
from .conftest import get
from .test_data import required_codes
from .test_r4 import all_pages, model

TYPES = ("Patient", "Coverage", "ExplanationOfBenefit", "Practitioner", "Organization")
PATIENT = "smart-1288992"
KINDS = ("inpatient", "outpatient", "professional", "pharmacy", "oral")


@pytest.fixture(scope="module")
def plan() -> Iterator[Sandbox]:
    with Sandbox(personality="carin") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def served(plan: Sandbox) -> dict[str, dict]:
    """Every resource as served, by its reference."""
    return {
        f"{type_}/{resource['id']}": resource
        for type_ in TYPES
        for resource in all_pages(f"{plan.open_fhir_url}/{type_}?_count=100")
    }


@pytest.fixture(scope="module")
def resolve(served: dict[str, dict]) -> c4bb.Resolve:
    return lambda reference: served[reference["reference"]]


def claims_of(served: dict[str, dict], kind: str = "") -> list[dict]:
    stem = f"ExplanationOfBenefit/{kind}"
    return [resource for name, resource in served.items() if name.startswith(stem)]


def test_metadata_lists_what_is_served(plan: Sandbox) -> None:
    statement = get(f"{plan.open_fhir_url}/metadata").json()
    valid = model("CapabilityStatement").model_validate(statement)
    assert valid.fhirVersion == "4.0.1"
    assert {r["type"] for r in statement["rest"][0]["resource"]} == set(TYPES)
    assert get(f"{plan.open_fhir_url}/ImagingStudy").status == 404
    discovery = get(f"{plan.fhir_url}/.well-known/smart-configuration").json()
    assert "smart-imaging-access" not in discovery["capabilities"]
    assert "associated_endpoints" not in discovery


def test_every_resource_is_valid_r4_and_keeps_the_guides_rules(
    served: dict[str, dict], resolve: c4bb.Resolve
) -> None:
    assert len(served) >= 200
    for name, resource in served.items():
        type_ = resource["resourceType"]
        assert required_codes(model(type_).model_validate(resource), resource, type_) == [], name
        assert c4bb.problems(resource, resolve) == [], name
    assert all(len(claims_of(served, kind)) >= 6 for kind in KINDS)


def test_every_reference_leads_to_a_resource(served: dict[str, dict]) -> None:
    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("reference"), str):
                yield value["reference"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    named = {r for resource in served.values() for r in references(resource)}
    assert {r.partition("/")[0] for r in named} == set(TYPES) - {"ExplanationOfBenefit"}
    assert named <= set(served)


def test_parties_are_readable_with_a_token_that_covers_the_claims(plan: Sandbox) -> None:
    token = plan.token(PATIENT, scope="patient/ExplanationOfBenefit.rs")
    claim = get(f"{plan.fhir_url}/ExplanationOfBenefit", token=token).json()["entry"][0]["resource"]
    for reference in (claim["provider"], claim["insurer"], claim["careTeam"][0]["provider"]):
        assert get(f"{plan.fhir_url}/{reference['reference']}", token=token).status == 200
    assert get(f"{plan.fhir_url}/Patient/smart-1137192", token=token).status == 403
    own = plan.token(PATIENT, scope="patient/Patient.rs")
    assert get(f"{plan.fhir_url}/Practitioner/practitioner-1", token=own).status == 403


def luhn(npi: str) -> int:
    digits = [int(c) for c in reversed("80840" + npi)]
    return sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])


def test_npis_have_a_valid_check_digit(served: dict[str, dict]) -> None:
    assert npi_of("123456789") == "1234567893"
    numbers = [
        identifier["value"]
        for resource in served.values()
        if resource["resourceType"] in ("Practitioner", "Organization")
        for identifier in resource["identifier"]
        if identifier["system"] == "http://hl7.org/fhir/sid/us-npi"
    ]
    assert len(numbers) == len(set(numbers)) == 10
    assert all(len(n) == 10 and luhn(n) % 10 == 0 for n in numbers)


# -- the rules are seen to fail --------------------------------------------------------------------


def drop(name: str) -> Callable[[dict], None]:
    return lambda element: element.pop(name)


def each_line(change: Callable[[dict], object]) -> Callable[[dict], None]:
    return lambda claim: [change(item) for item in claim["item"]]


def without(entries: list[dict], code: str) -> list[dict]:
    return [e for e in entries if code not in c4bb.codes(e["category"])]


def drop_lines_status(item: dict) -> None:
    item["adjudication"] = without(item["adjudication"], "benefitpaymentstatus")


def drop_amounts(item: dict) -> None:
    item["adjudication"] = [a for a in item["adjudication"] if "amount" not in a]


def refer_to_an_organization(claim: dict) -> None:
    for member in claim["careTeam"]:
        member["provider"] = {"reference": "Organization/organization-3"}


def pharmacist(claim: dict) -> None:
    """A rendering practitioner, whom a pharmacy's claim calls an organization."""
    claim["careTeam"][0]["role"]["coding"][0]["code"] = "rendering"
    claim["careTeam"][0]["qualification"] = {
        "coding": [{"system": c4bb.NUCC, "code": "183500000X"}]
    }


def newborn(claim: dict) -> None:
    for entry in claim["supportingInfo"]:
        if "admtype" in c4bb.codes(entry["category"]):
            entry["code"]["coding"][0]["code"] = "4"


def money_in_both(claim: dict) -> None:
    claim["item"][0]["adjudication"] = [a for a in claim["adjudication"] if "amount" in a]


def other_payee(claim: dict) -> None:
    claim["payee"]["type"]["coding"][0]["code"] = "other"
    del claim["payee"]["party"]


def second_site_without_line(claim: dict) -> None:
    for item in claim["item"]:
        item.pop("informationSequence", None)


def second_site_without_first(claim: dict) -> None:
    for item in claim["item"]:
        if "informationSequence" in item:
            del item["bodySite"]


def surface_without_tooth(claim: dict) -> None:
    for item in claim["item"]:
        if "subSite" in item:
            del item["bodySite"]


def secondary_is_other(claim: dict) -> None:
    claim["diagnosis"][0]["type"][0]["coding"][0]["code"] = "admitting"


def drop_last_information(claim: dict) -> None:
    claim["supportingInfo"] = without(claim["supportingInfo"], "admissionperiod")


def drop_network(claim: dict) -> None:
    claim["adjudication"] = without(claim["adjudication"], "renderingnetworkstatus")


BREAKS: dict[str, tuple[str, Callable[[dict], object]]] = {
    "identifier[uniqueclaimid]": ("professional", lambda c: c["identifier"].clear()),
    "EOB-insurance-focal": ("professional", lambda c: c["insurance"].append(c["insurance"][0])),
    "billablePeriod.start": ("pharmacy", lambda c: c["billablePeriod"].pop("start")),
    "related": (
        "professional",
        lambda c: c.update(related=[{"relationship": {}, "reference": {"value": "1"}}]),
    ),
    "EOB-payee-other-type-requires-party": ("professional", other_payee),
    "EOB-inst-careTeam-practitioner": ("inpatient", refer_to_an_organization),
    "EOB-prof-careTeam-practitioner": ("professional", refer_to_an_organization),
    "EOB-pharm-careTeam-practitioner": ("pharmacy", refer_to_an_organization),
    "EOB-pharm-careTeam-organization": ("pharmacy", pharmacist),
    "EOB-careteam-qualification": (
        "professional",
        lambda c: [m.pop("qualification", None) for m in c["careTeam"]],
    ),
    "careTeam.role": (
        "inpatient",
        lambda c: c["careTeam"][0]["role"]["coding"][0].update(code="prescribing"),
    ),
    "EOB-institutional-item-or-header-adjudication": ("inpatient", money_in_both),
    "adjudication-has-amount-type-slice": ("pharmacy", each_line(drop_amounts)),
    "item.adjudication[adjudicationamounttype]": ("pharmacy", each_line(drop("adjudication"))),
    "total[adjudicationamounttype]": ("oral", drop("total")),
    "EOB-vision-item-productorservice": (
        "professional",
        each_line(
            lambda i: i["productOrService"]["coding"][0].update(code="not-applicable"),
        ),
    ),
    "EOB-inst-pointoforigin": ("inpatient", newborn),
    "supportingInfo slices": ("inpatient", drop_last_information),
    "adjudication slices": ("professional", drop_network),
    "item.adjudication[benefitpaymentstatus]": ("professional", each_line(drop_lines_status)),
    "item.serviced": ("outpatient", each_line(drop("servicedDate"))),
    "item.location": ("professional", each_line(drop("locationCodeableConcept"))),
    "item.revenue": ("inpatient", each_line(drop("revenue"))),
    "diagnosis.type": ("professional", secondary_is_other),
    "Oral-EOB-supportinginfo-additionalbodysite-requires-line-item": (
        "oral",
        second_site_without_line,
    ),
    "Oral-line-item-with-linked-additionalbody-site-requires-bodysite": (
        "oral",
        second_site_without_first,
    ),
    "Oral-EOB-surface-subsite-requires-tooth-number": ("oral", surface_without_tooth),
}


@pytest.mark.parametrize("rule", c4bb.CLAIM_RULES)
def test_each_rule_is_broken_by_its_own_example(
    served: dict[str, dict], resolve: c4bb.Resolve, rule: str
) -> None:
    kind, change = BREAKS[rule]
    candidates = claims_of(served, kind)
    if kind == "oral":
        candidates = [c for c in candidates if any("subSite" in i for i in c["item"])]
    claim = copy.deepcopy(candidates[0])
    change(claim)
    broken = c4bb.problems(claim, resolve)
    assert rule in broken
    # Amounts that are missing in a pharmacy's lines break the rule for lines as well.
    assert set(broken) <= {rule, "item.adjudication[adjudicationamounttype]"}


@pytest.mark.parametrize(
    ("reference", "change", "rule"),
    [
        (f"Patient/{PATIENT}", lambda r: r["identifier"].pop(0), "identifier[memberid]"),
        (f"Coverage/medical-{PATIENT}", drop("subscriberId"), "C4BB-Coverage"),
        (
            "Practitioner/practitioner-1",
            lambda r: r["identifier"].clear(),
            "Practitioner-identifier",
        ),
        ("Organization/health-plan", lambda r: r["meta"].pop("profile"), "meta-profile-version"),
        (
            "Organization/organization-1",
            lambda r: r["meta"].pop("lastUpdated"),
            "uncontained-requires-lastUpdated",
        ),
    ],
)
def test_each_rule_of_the_parties_is_broken_by_its_own_example(
    served: dict[str, dict],
    resolve: c4bb.Resolve,
    reference: str,
    change: Callable[[dict], object],
    rule: str,
) -> None:
    resource = copy.deepcopy(served[reference])
    change(resource)
    assert c4bb.problems(resource, resolve) == [rule]


# -- money, versions, and the facts of the other payer ---------------------------------------------


def sums(entries: list[dict]) -> dict[str, float]:
    amounts: dict[str, float] = defaultdict(float)
    for entry in entries:
        if "amount" in entry:
            amounts[entry["category"]["coding"][0]["code"]] += entry["amount"]["value"]
    return amounts


def test_money_adds_up_in_lines_claims_and_totals(served: dict[str, dict]) -> None:
    for claim in claims_of(served):
        lines = [a for item in claim["item"] for a in item.get("adjudication", [])]
        lists = [item.get("adjudication", []) for item in claim["item"]]
        for part in (*lists, claim["adjudication"], claim["total"]):
            money = sums(part)
            if not money:
                continue
            excess = "94" in c4bb.codes([a["reason"] for a in part if "reason" in a])
            parts = money["eligible"] + money["discount"] + money["noncovered"]
            if not excess and part is not claim["total"]:
                assert money["submitted"] == pytest.approx(parts, abs=0.011)
            liability = money["copay"] + money["coinsurance"] + money["deductible"]
            assert money["memberliability"] == pytest.approx(liability, abs=0.001)
            owed = money["benefit"] + money["memberliability"]
            assert money["eligible"] == pytest.approx(owed, abs=0.001)
            recipients = money["paidtoprovider"] + money["paidtopatient"]
            assert money["benefit"] == pytest.approx(recipients, abs=0.001)
        assert sums(claim["total"]) == pytest.approx(sums([*claim["adjudication"], *lines]))
        assert claim["payment"]["amount"]["value"] == pytest.approx(sums(claim["total"])["benefit"])
        status = next(iter(c4bb.codes(claim["payment"]["type"])))
        assert (status == "paid") == (claim["payment"]["amount"]["value"] > 0)


def test_a_replaced_claim_and_its_replacement_name_each_other(served: dict[str, dict]) -> None:
    numbers = {c["identifier"][0]["value"]: c for c in claims_of(served)}
    assert len(numbers) == len(claims_of(served))
    replaced = [c for c in numbers.values() if c["status"] == "cancelled"]
    assert len(replaced) >= 10
    for earlier in replaced:
        assert c4bb.codes(earlier["related"][0]["relationship"]) == {"replacedby"}
        later = numbers[earlier["related"][0]["reference"]["value"]]
        assert later["status"] == "active"
        assert c4bb.codes(later["related"][0]["relationship"]) == {"prior"}
        assert numbers[later["related"][0]["reference"]["value"]] is earlier
        assert earlier["created"] < later["created"]
        assert [i["sequence"] for i in earlier["item"]] == [i["sequence"] for i in later["item"]]


def test_all_kinds_of_recipients_shares_and_codes_occur(served: dict[str, dict]) -> None:
    claims = claims_of(served)
    amounts = {name for c in claims for name, value in sums(c["total"]).items() if value}
    assert amounts >= {code for _, code in c4bb.AMOUNTS} - {
        "priorpayerpaid",
        "paidbypatientcash",
        "paidbypatientother",
    }
    information = {
        n for c in claims for s in c["supportingInfo"] for n in c4bb.codes(s["category"])
    }
    assert set(c4bb.SUPPORTING) == information
    assert any("detail" in item for c in claims for item in c["item"])
    assert {"paid", "denied"} <= {s for c in claims for s in c4bb.codes(c["payment"]["type"])}


def stu3_amount(item: dict, *names: str) -> float:
    for adjudication in item["adjudication"]:
        url = adjudication["category"]["coding"][0]["code"]
        if url.rpartition("/")[2] in names:
            return float(adjudication["amount"]["value"])
    raise LookupError(names)


def test_both_payers_tell_the_same_facts(served: dict[str, dict], plan: Sandbox) -> None:
    kinds = {"carrier": "professional", "pde": "pharmacy"}
    with Sandbox() as medicare:
        older, truth = medicare.resources("ExplanationOfBenefit"), medicare.truth
    for claim in older:
        kind, _, number = claim["id"].partition("-")
        other = served[f"ExplanationOfBenefit/{kinds.get(kind, kind)}-{number}"]
        assert other["patient"]["reference"] == claim["patient"]["reference"]
        assert other["billablePeriod"]["start"] == claim["billablePeriod"]["start"]
        if "amount" in claim["payment"]:
            paid = claim["payment"]["amount"]["value"]
            assert other["payment"]["amount"]["value"] == pytest.approx(paid, abs=0.011)
        for line in claim["item"]:
            if c4bb.codes(line.get("revenue")) == {"0001"}:
                continue
            twin = other["item"][line["sequence"] - 1]
            if "service" in line:
                assert c4bb.codes(twin["productOrService"]) == c4bb.codes(line["service"])
            if kind in ("carrier", "outpatient"):
                charge = stu3_amount(line, "line_sbmtd_chrg_amt", "rev_cntr_tot_chrg_amt")
                assert sums(twin["adjudication"])["submitted"] == charge
    pairs = {(p.patient_id, p.study_uid, p.component, p.line) for p in truth.payments}
    theirs = plan.truth.payments
    assert {(p.patient_id, p.study_uid, p.component, p.line) for p in theirs} == pairs
    assert all(f"ExplanationOfBenefit/{p.claim}" in served for p in theirs)


def test_the_same_seed_gives_the_same_plan(plan: Sandbox) -> None:
    with Sandbox(personality="carin") as again, Sandbox(personality="carin", seed=3) as other:
        first = plan.resources("ExplanationOfBenefit")
        assert again.resources("ExplanationOfBenefit") == first
        assert other.resources("ExplanationOfBenefit") != first
