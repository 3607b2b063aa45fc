"""No answer is taken for evidence: other people's resources, errors, types not served, typos."""

from __future__ import annotations

import pytest

from s4s_notebook.cli.check import check
from s4s_notebook.cli.check import holder as check_requests
from s4s_notebook.connection import Connection
from s4s_notebook.errors import DiscoveryError, HTTPStatusError, Incomplete, NotFound, StoreError
from s4s_notebook.store import Store
from s4s_notebook.store.overview import IncompleteWarning

from .holder import claim


def of(patient, number):
    return claim(number, patient={"reference": f"Patient/{patient}"})


@pytest.mark.fault("J05")
@pytest.mark.parametrize("body", ["no study index is available", "Database down: no studies table"])
def test_a_500_that_speaks_of_no_study_is_an_error_and_the_next_update_finds_it(
    holder, connect, body
):
    holder.errors["ImagingStudy"] = [(500, body.encode())]
    me = connect()
    with pytest.raises(HTTPStatusError):
        me.studies()
    assert me.participant.sync_point("ImagingStudy") is None
    holder.errors["ImagingStudy"] = [(500, body.encode())]
    with pytest.raises(Incomplete):
        me.update()
    me.update()
    assert len(me.studies()) == 1


@pytest.mark.fault("J05")
def test_a_500_that_means_none_leaves_the_mark_where_it_was(holder, connect):
    holder.errors["ImagingStudy"] = [(500, b"no studies")]
    me = connect()
    frame = me.studies()
    assert (len(frame), frame.attrs["complete"]) == (0, False)
    assert me.participant.sync_point("ImagingStudy").until is None
    me.update()
    assert len(me.studies()) == 1
    before = me.participant.sync_point("ImagingStudy").until
    holder.errors["ImagingStudy"] = [(500, b"no studies")]
    me.update(full=True)
    assert len(me.studies()) == 1
    assert me.participant.sync_point("ImagingStudy").until == before


@pytest.mark.fault("J06")
def test_what_becomes_visible_minutes_after_its_time_is_found(holder, connect):
    me = connect()
    me.load().result()
    holder.claims.append(claim(70))
    holder.updated["claim-70"] = holder.now() - 540
    change = me.update().set_index("key")["change"]
    assert change["ExplanationOfBenefit/claim-70"] == "new"
    again = me.update()
    assert again.empty
    assert again.attrs["unchanged"] > 1, "it was requested again"
    assert len(me.benefits()) == 8
    with pytest.raises(ValueError, match="overlap"):
        Connection(holder.fhir, patient="p1", overlap=5)


@pytest.mark.fault("J08")
@pytest.mark.parametrize("reference", ["Patient/p2", "https://h.example/fhir/Patient/p2", "p2"])
def test_resources_of_other_people_are_not_filed_and_told(holder, connect, reference):
    holder.claims.append(claim(80, patient={"reference": reference}))
    me = connect()
    me.load().result()
    assert len(me.benefits()) == 7
    problems = me.problems()
    row = problems[problems["why"].str.contains("somebody else")]
    assert row["resource"].tolist() == ["ExplanationOfBenefit/claim-80"]
    assert row["value"].tolist() == [reference]


@pytest.mark.fault("J11")
@pytest.mark.parametrize("status", [404, 410])
def test_a_type_that_is_not_served_is_a_state(holder, connect, status):
    holder.fail["ExplanationOfBenefit"] = [status] * 9
    me = connect()
    me.load().result()
    me.update()
    assert (len(me.benefits()), len(me.studies())) == (0, 1)
    said = me.problems()["why"].str.contains("does not serve")
    assert said.sum() == 1
    holder.fail.clear()
    me.update()
    assert len(me.benefits()) == 7
    assert not me.problems()["why"].str.contains("does not serve").any()


@pytest.mark.fault("J11")
@pytest.mark.parametrize("status", [404, 410])
def test_a_patient_that_is_gone_is_a_state(holder, connect, status):
    me = connect()
    me.load().result()
    holder.fail["/Patient/"] = [status] * 9
    me.update()
    me.update(full=True)
    assert me.problems()["why"].str.contains("no longer serves this patient").sum() == 1


@pytest.mark.fault("J12")
def test_the_frames_of_a_store_say_who_is_incomplete(holder, connect, store):
    connect().load().result()
    holder.fail["startIndex=3"] = [500]
    store.participant("https://other.example/fhir", "p9")
    with pytest.warns(IncompleteWarning, match="1 of 2 participants"):
        frame = store.benefits()
    assert (frame.attrs["complete"], frame.attrs["incomplete"]) == (False, 1)
    with pytest.raises(Incomplete) as caught:
        store.benefits(strict=True)
    assert caught.value.partial.equals(frame)
    table = store.participants()
    assert list(table.columns) == ["participant", "type", "complete", "last_update", "waits_until"]
    assert table["complete"].sum() == 4
    assert table.loc[table["complete"], "last_update"].notna().all()
    assert list(store.problems().columns) == ["participant", "resource", "path", "value", "why"]


@pytest.mark.fault("J12")
def test_a_search_that_ended_early_is_incomplete(holder, connect, store):
    holder.fail["startIndex=3"] = [500]
    with pytest.raises(Incomplete):
        connect().load().result()
    with pytest.raises(Incomplete, match="1 of 1"):
        store.benefits(strict=True)


def test_a_folder_without_participants_is_no_store(tmp_path):
    for _ in range(2):
        with Store(tmp_path / "typo") as store, pytest.raises(StoreError, match="no store"):
            store.studies()


@pytest.mark.fault("J13")
@pytest.mark.parametrize("path", ["", "/dicom-web", "/fhir/metadata"])
def test_an_address_that_is_no_fhir_base_names_the_one_that_would_do(holder, path):
    holder.metadata = {"resourceType": "CapabilityStatement", "fhirVersion": "3.0.1"}
    root = holder.fhir.removesuffix("/fhir")
    with pytest.raises(DiscoveryError) as caught:
        Connection(root + path, patient="p1")
    assert holder.fhir in caught.value.hint


@pytest.mark.fault("J14")
def test_an_empty_answer_for_a_mistyped_patient_is_an_error(holder, connect):
    holder.claims.clear()
    me = connect(patient="p11")
    for _ in range(2):
        with pytest.raises(NotFound, match="no Patient"):
            me.benefits()


@pytest.mark.fault("J14")
@pytest.mark.parametrize("patient", ["Patient/p1", " p1 ", "Patient/p1 "])
def test_a_patient_may_be_given_as_a_reference(connect, patient):
    assert connect(patient=patient).patient_id == "p1"


def test_count_is_sent_where_the_holder_takes_it(holder, connect):
    parameter = {"name": "_count", "type": "number"}
    holder.metadata = {
        "resourceType": "CapabilityStatement",
        "rest": [{"searchParam": [parameter]}],
    }
    connect().coverage()
    assert "_count=200" in holder.asked("Coverage")[0]


@pytest.mark.fault("J15")
def test_the_check_reads_650_resources_to_the_end_or_says_where_it_stopped(holder, monkeypatch):
    holder.claims = [claim(n) for n in range(650)]
    holder.page_size = 25
    found = check(holder.fhir, patient="p1").set_index("requirement")
    row = found.loc["ExplanationOfBenefit first-connection"]
    assert (row["verdict"], row["came"]) == ("met", "200 Bundle, 650 resources in all")
    monkeypatch.setattr(check_requests, "MAX_PAGES", 3)
    row = check(holder.fhir, patient="p1").set_index("requirement").loc[row.name]
    assert row["verdict"] == "not met"
    assert "75 resources in all; stopped after 3 pages" in row["came"]
