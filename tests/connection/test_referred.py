"""Providers and payers that claims refer to: read once, at the holder only, and never an error."""

from __future__ import annotations

import pytest

from .holder import claim

NPI = "1234567893"


def practitioner(id_, npi=NPI):
    number = {"system": "http://hl7.org/fhir/sid/us-npi", "value": npi}
    return {"resourceType": "Practitioner", "id": id_, "identifier": [number]}


def treated_by(number, *references):
    team = [{"sequence": n, "provider": {"reference": r}} for n, r in enumerate(references, 1)]
    return claim(number, careTeam=team)


def reads(holder):
    return sorted(p for kind in ("Practitioner", "Organization") for p in holder.asked(f"/{kind}/"))


def states(me):
    problems = me.problems()
    return problems[problems["resource"].isin(["Practitioner", "Organization"])]["why"].tolist()


def test_each_is_read_once_and_completes_the_care_team(holder, connect):
    absolute = f"{holder.fhir}/Practitioner/b/_history/3"
    holder.claims = [treated_by(n, "Practitioner/a", absolute, "#c", "urn:uuid:d") for n in (1, 2)]
    holder.claims[0]["insurer"] = {"reference": "Organization/o"}
    holder.readable |= {f"Practitioner/{id_}": practitioner(id_) for id_ in "ab"}
    holder.readable["Organization/o"] = {
        "resourceType": "Organization",
        "id": "o",
        "name": "Payer",
        "extension": [{"url": "urn:x", "valueCode": "y"}],
    }
    me = connect()
    team = me.table("care_team")  # reads the claims, and then the providers
    assert team["npi"].notna().sum() == 4
    me.update()
    me.update(full=True)
    assert reads(holder) == [
        f"/fhir/{p}" for p in ("Organization/o", "Practitioner/a", "Practitioner/b")
    ]
    assert set(me.table("providers")["provider_id"]) >= {"Organization/o", "Practitioner/a"}
    assert states(me) == []
    assert len(me.benefits()) == 2
    assert me.unread().equals(me.store.unread())
    assert "Organization" in set(me.unread()["resource"])  # its further content is no table's


def test_other_origins_and_other_types_are_not_requested(holder, connect):
    foreign = "http://127.0.0.1:9/fhir/Practitioner/a"
    sibling = f"{holder.root}/other/Practitioner/a"
    holder.claims = [treated_by(1, foreign, sibling, "Patient/p2", "Practitioner/../Patient/p2")]
    connect().load().result()
    assert reads(holder) == []


def test_the_option_sends_no_request(holder, connect):
    holder.claims = [treated_by(1, "Practitioner/a")]
    connect(read_referred=False).load().result()
    assert reads(holder) == []


@pytest.mark.parametrize(
    ("status", "words"), [(403, "does not cover"), (404, "does not serve"), (501, "does not serve")]
)
def test_a_refusal_is_a_state_and_not_requested_again(holder, connect, status, words):
    holder.claims = [treated_by(1, *(f"Practitioner/{n}" for n in range(9)))]
    holder.fail["/Practitioner/"] = [status] * 20
    me = connect()
    me.load().result()
    assert len(reads(holder)) == (3 if status == 404 else 1)
    assert [words in why for why in states(me)] == [True]
    before = reads(holder)
    holder.claims.append(treated_by(2, "Practitioner/10"))
    holder.updated["claim-2"] = holder.now()
    me.update()
    assert reads(holder) == before
    holder.fail.clear()
    holder.readable |= {f"Practitioner/{n}": practitioner(str(n)) for n in range(11)}
    me.update(full=True)
    assert states(me) == []
    assert me.table("care_team")["npi"].tolist() == [NPI] * 10


def test_one_that_is_absent_is_a_problem_of_its_own(holder, connect):
    holder.claims = [treated_by(1, "Practitioner/a", "Practitioner/b")]
    holder.readable |= {"Practitioner/a": practitioner("a")}
    me = connect()
    me.load().result()
    me.update(full=True)
    assert len(holder.asked("/Practitioner/b")) == 1
    problems = me.problems().set_index("resource")["why"]
    assert problems["Practitioner/b"] == "the holder does not have it"


def test_what_a_busy_holder_puts_off_is_read_at_the_next_update(holder, connect):
    holder.claims = [treated_by(1, "Practitioner/a", "Practitioner/b")]
    holder.readable |= {f"Practitioner/{id_}": practitioner(id_) for id_ in "ab"}
    holder.busy["/Practitioner/b"] = ["0.05"]
    me = connect()
    me.load().result()
    assert me.table("care_team")["npi"].notna().all()  # the Retry-After was obeyed
    holder.claims.append(treated_by(2, "Practitioner/c"))
    holder.updated["claim-2"] = holder.now()
    holder.readable["Practitioner/c"] = practitioner("c")
    holder.busy["/Practitioner/c"] = ["86400"]
    me.update()
    assert ["next update continues" in why for why in states(me)] == [True]
    assert len(me.benefits()) == 2


def test_another_resource_in_its_place_is_not_stored(holder, connect):
    holder.claims = [treated_by(1, "Practitioner/a")]
    holder.readable |= {"Practitioner/a": practitioner("b")}
    me = connect()
    me.load().result()
    assert list(me.participant.resources("Practitioner")) == []
    assert len(states(me)) == 1
