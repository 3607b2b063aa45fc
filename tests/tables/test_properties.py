"""Order, duplication and paging change nothing; one odd value costs at most its own cell."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s4s_notebook import tables
from tests.tables import sources
from tests.tables.examples import held

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "fhir"
REAL = ("cms-bfd-v1-stu3", "cms-bfd-v2-r4", "cms-bfd-v3-r4", "hl7-r4", "hl7-stu3", "odd")
some = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=25)


@cache
def pool() -> list[dict[str, Any]]:
    """Resources of both versions: the sandbox's, and CMS's where they are beside the checkout."""
    found = held("Patient", "Coverage", "ImagingStudy")
    found += held("ExplanationOfBenefit")[::9]
    for name in REAL if SHARED.is_dir() else ():
        found += sources.read(SHARED / name)
    return found


@cache
def whole(chosen: frozenset[int]) -> dict[str, pd.DataFrame]:
    return tables.build(tables.TABLES, [pool()[n] for n in sorted(chosen)])


def same(found: dict[str, pd.DataFrame], wanted: dict[str, pd.DataFrame]) -> None:
    for name, frame in found.items():
        pd.testing.assert_frame_equal(frame, wanted[name])


@some
@given(st.data())
def test_any_subset_order_duplication_and_paging_gives_the_same_frame(data: st.DataObject) -> None:
    numbers = st.integers(0, len(pool()) - 1)
    chosen = data.draw(st.lists(numbers, max_size=40), "chosen")
    shuffled = data.draw(st.permutations(chosen + chosen[: len(chosen) // 3]), "order")
    size = data.draw(st.integers(1, 12), "page size")
    pages = [
        {
            "resourceType": "Bundle",
            "entry": [{"resource": copy.deepcopy(pool()[n])} for n in shuffled[at : at + size]],
        }
        for at in range(0, len(shuffled), size)
    ]
    same(tables.build(tables.TABLES, iter(pages)), whole(frozenset(chosen)))
    builder = tables.builder()
    for page in pages:
        builder.add([page])
    same(builder.frames(), whole(frozenset(chosen)))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values within a resource, objects and lists included."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))


def replaced(resource: dict[str, Any], path: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    made = copy.deepcopy(resource)
    owner: Any = made
    for step in path[:-1]:
        owner = owner[step]
    owner[path[-1]] = odd
    return made


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["IGNORED_FIELD", "", "1e999", "१२", "1_000", "\ud800", "2018-13-45"]),
    st.sampled_from([[], {}, [[]], [{}], [None], {"coding": 5}, {"coding": [{"code": {}}]}, [7]]),
    st.dictionaries(
        st.sampled_from(["code", "system", "value", "coding", "reference", "url"]),
        st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
        max_size=3,
    ),
)


@settings(some, max_examples=150)
@given(st.data())
def test_one_odd_value_anywhere_raises_nothing_and_costs_no_row(data: st.DataObject) -> None:
    """Whatever stands wherever: the row of the resource stays, with its dtypes."""
    resource = data.draw(st.sampled_from(pool()), "resource")
    path = data.draw(st.sampled_from([p for p in leaves(resource) if p[0] != "resourceType"]))
    made = replaced(resource, path, data.draw(ODD, "odd"))
    frames = tables.build(tables.TABLES, [made], problems := [])
    before = tables.build(tables.TABLES, [resource])
    for name in ("patients", "coverage", "studies", "benefits"):
        assert len(frames[name]) == len(before[name])
    for name, frame in frames.items():
        assert frame.dtypes.equals(before[name].dtypes)
    for problem in problems:
        assert len(problem.value) <= 80
        json.dumps(problem)


PERFORMER = {
    "performing_npi", "performing_specialty", "performing_type", "performing_participates"
}  # fmt: skip
BLOOD = {"blood_test", "blood_test_result"}
# A value from which several columns are made: all of those.
#: Columns that show one value together.
TOGETHER = ({"category", "variable"}, {"procedure_code", "procedure_codes"})
FOLLOWS = {
    "class.value": {"part", "plan_id"},
    "grouping.subPlan": {"part", "plan_id"},
    "contained.identifier.value": {"provider_number", "billing_id"},
    "contained.requester.agent.identifier.value": {"referring_npi", "npi_valid"},
    "diagnosis.diagnosisCodeableConcept.coding.code": {"code", "code_dotted", "code_given"},
    "item.modifier.coding.code": {"modifier_1", "modifiers"},
    "payment.amount.value": {"payment_amount", "payer_paid_amount"},
    "procedure.procedureCodeableConcept.coding.code": {
        *("code", "code_dotted", "code_given", "icd_version"),
    },
    "provider.identifier.value": {"provider_number", "billing_id"},
    "provider.reference": {"provider_id", "billing_id", "billing_name"},
    "status": {"status", "is_final"},
    "billablePeriod.start": {"period_start", "service_from"},
    "billablePeriod.end": {"period_end", "service_to"},
    "careTeam.provider.identifier.value": {"performing_npi", "attending_npi", "operating_npi"}
    | {"other_npi", "prescriber_npi", "referring_npi"},
    "careTeam.sequence": PERFORMER,
    "contained.address": {"endpoint", "downloadable"},
    "contained.connectionType.code": {"endpoint", "downloadable"},
    "contained.status": {"endpoint", "downloadable"},
    "deceasedDateTime": {"deceased_date", "deceased"},
    "endpoint.reference": {"endpoint", "downloadable"},
    "hospitalization.start": {"admitted", "hospice_start"},
    "identifier.value": {"downloadable", "study_uid", "clm_id", "pde_id", "unique_claim_id"},
    "item.careTeamLinkId": PERFORMER,
    "item.careTeamSequence": PERFORMER,
    "item.extension.valueReference.reference": BLOOD,
    "item.informationSequence": BLOOD,
    "item.productOrService.coding.code": {"service_code", "hcpcs_code", "ndc_code"},
    "item.quantity.value": {"quantity", "ndc_quantity"},
    "item.service.coding.code": {"service_code", "hcpcs_code", "ndc_code"},
    "item.servicedDate": {"service_from", "service_to"},
    "started": {"started", "started_date", "started_zone"},
    "series.started": {"started", "started_date"},
    "supportingInfo.category.coding.code": BLOOD,
    "supportingInfo.sequence": BLOOD,
    "supportingInfo.timingPeriod.start": {"admitted", "hospice_start"},
    "supportingInfo.valueReference.reference": BLOOD,
    "total.category.coding.code": {"primary_payer_amount", "submitted_charge_amount"},
    "type.coding.code": {"claim_type", "nch_claim_type"},
}
SCALARS = (str, int, float, bool)


def bare(path: tuple[Any, ...]) -> str:
    return ".".join(step for step in path if isinstance(step, str))


def scalar_values(resource: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Values (not keys that choose which value a column takes) apart from ids and dates that
    rows are ordered by."""
    chosen = []
    for path in leaves(resource):
        owner: Any = resource
        for step in path:
            owner = owner[step]
        keys = {"system", "url", "id", "resourceType", "lastUpdated", "versionId", "currency"}
        if isinstance(owner, SCALARS) and path[-1] not in keys and "uid" not in path:
            chosen.append(path)
    return chosen


@pytest.mark.parametrize("type_", ["Patient", "Coverage", "ImagingStudy", "ExplanationOfBenefit"])
def test_one_odd_value_costs_at_most_its_own_cell(type_: str) -> None:
    """Each element that any resource has, once, with a value of the wrong kind."""
    whole: dict[str, dict[str, Any]] = {}
    spoilt: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {}
    seen = set()
    for number, resource in enumerate(pool()):
        if resource["resourceType"] != type_ or not resource.get("id"):
            continue
        for path in scalar_values(resource):
            if bare(path) in seen:
                continue
            seen.add(bare(path))
            odd = ({"odd": 1}, ["odd"], "IGNORED_FIELD")[len(seen) % 3]
            whole[f"{number}"] = resource
            spoilt[f"{number}.{len(seen)}"] = f"{number}", path, replaced(resource, path, odd)
    assert len(seen) > 5
    everybody = whole | {who: made for who, (_, _, made) in spoilt.items()}
    for name, found in rows_of(OF[type_], everybody).items():
        for who, (before, path, _) in spoilt.items():
            assert len(found.rows[who]) == len(found.rows[before])
            changed = {
                column
                for was, now in zip(found.rows[before], found.rows[who], strict=True)
                for column, old, new in zip(found.columns, was, now, strict=True)
                if old != new
            }
            extra = changed - FOLLOWS.get(bare(path), set())
            assert len(extra) <= 1 or extra in TOGETHER, (name, path, changed)


class Found(NamedTuple):
    """A table of many participants: its columns, and the rows of each, None for null."""

    columns: list[str]
    rows: dict[str, list[tuple[Any, ...]]]


def rows_of(names: tuple[str, ...], resources: dict[str, dict[str, Any]]) -> dict[str, Found]:
    """The tables of all resources in one go, each as if it were of a participant of its own."""
    builder = tables.builder(*names)
    for who, resource in resources.items():
        builder.add([resource], participant=who)
    made = {}
    for name, frame in builder.frames().items():
        plain = frame.astype(object).where(frame.notna(), None)
        rows: dict[str, list[tuple[Any, ...]]] = {who: [] for who in resources}
        for who, *cells in plain.itertuples(index=False, name=None):
            rows[who].append(tuple(cells))
        made[name] = Found([str(column) for column in frame.columns[1:]], rows)
    return made


OF = {
    "Patient": ("patients",),
    "Coverage": ("coverage",),
    "ImagingStudy": ("studies", "series"),
    "ExplanationOfBenefit": (
        *("benefits", "benefit_lines", "diagnoses", "procedures", "adjudications"),
    ),
}


@pytest.mark.parametrize("seed", range(10))
def test_many_odd_values_at_once(seed: int) -> None:
    """A page of nothing but trouble still gives its rows."""
    dice = random.Random(seed)
    odd = [None, True, 7, -1.5, "", "x", [], {}, [[]], [{}], "\ud800", float("nan"), 2**80]
    page = []
    for resource in pool():
        made = resource
        for _ in range(6):
            path = dice.choice([p for p in leaves(made) if p[0] not in {"resourceType", "id"}])
            made = replaced(made, path, dice.choice(odd))
        page.append(made)
    frames = tables.build(tables.TABLES, page, problems := [])
    clean = tables.build(tables.TABLES, pool())
    assert len(frames["patients"]) == len(clean["patients"])
    assert len(frames["benefits"]) >= len(clean["benefits"])
    assert problems
