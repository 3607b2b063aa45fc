"""A store that version 0.1.0 wrote, with made-up data, is read: tables, files and what goes on.

The archive holds one participant with an ImagingStudy and its Endpoint, two instances, a claim,
a search of Coverage that was cut off, a consent, a wait and a problem.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from s4s_notebook import Store
from s4s_notebook.store.overview import IncompleteWarning

from . import dicom

ARCHIVE = Path(__file__).with_name("store-0.1.zip")
HOLDER = "https://holder.example/fhir"


@pytest.fixture(params=["with its index", "with the index lost"])
def store(tmp_path, request):
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    if request.param == "with the index lost":
        (tmp_path / "index.sqlite").unlink()
    with Store(tmp_path) as store:
        yield store


def test_its_tables_are_read(store):
    studies = store.studies()
    assert studies[
        ["participant", "study_uid", "modalities", "instance_count"]
    ].values.tolist() == [[f"{HOLDER}/Patient/p1", dicom.STUDY, "CT", 2]]
    assert studies["downloadable"].tolist() == [True]
    benefits = store.benefits()
    assert benefits[["claim_type", "payer_paid_amount"]].values.tolist() == [["CARRIER", 81.5]]
    with pytest.warns(IncompleteWarning):  # its search was cut off
        coverage = store.coverage()
    assert (len(coverage), coverage.attrs["participants"]) == (0, 1)


def test_its_files_are_complete(store):
    participant = store.participant(HOLDER, "p1")
    study = store.study(participant, dicom.STUDY)
    assert (study.complete(), study.expected, len(study.paths())) == (True, 2, 2)
    assert store.verify() == []


def test_its_searches_consents_and_waits_go_on(store):
    participant = store.participant(HOLDER, "p1")
    assert participant.sync_point("ImagingStudy") == (1750000000.0, 1750000001.0, 1)
    run = participant.run("Coverage")
    assert (run.next, run.until, run.full) == (f"{HOLDER}/Coverage?page=2", 1750000003.0, True)
    assert participant.consents() == ["https://images.example"]
    assert participant.remaining_wait("search:Coverage", now=1750000070.0) == 30.0
    assert [problem.value for problem in participant.problems()] == ["y"]
