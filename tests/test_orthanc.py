"""A real archive: the sandbox hands out Orthanc's DICOMweb address, and what arrives is equal."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file, get_testdata_files

from s4s_notebook import Sandbox, Store, UntrustedOrigin
from tests.orthanc import orthanc

pytestmark = [pytest.mark.needs("orthanc")]
PATIENTS = ("smart-1288992", "smart-1137192", "smart-1551992")


def known_files() -> list[Path]:
    """CT_small, MR_small and dicomdirtests, which pydicom ships."""
    paths = [Path(str(get_testdata_file(name))) for name in ("CT_small.dcm", "MR_small.dcm")]
    for name in get_testdata_files("dicomdirtests/*/*/*"):
        path = Path(name)
        if path.is_file() and path.read_bytes()[128:132] == b"DICM":
            paths.append(path)
    return paths


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        server.upload(known_files())
        yield server


@pytest.fixture(scope="module")
def uploaded():
    datasets = [pydicom.dcmread(path) for path in known_files()]
    return {dataset.SOPInstanceUID: dataset for dataset in datasets}


@pytest.mark.parametrize("patient", PATIENTS)
def test_each_dataset_equals_what_was_uploaded(patient, archive, uploaded, tmp_path):
    uploaded_studies = {dataset.StudyInstanceUID for dataset in uploaded.values()}
    with (
        Sandbox(wado=archive.wado) as sandbox,
        Store(tmp_path / "store") as store,
        sandbox.connect(patient, store=store, allow_origins=[archive.url]) as me,
    ):
        studies = me.studies()
        matching = studies[studies.study_uid.isin(uploaded_studies)]
        assert len(matching) >= 1
        for uid, count in zip(matching.study_uid, matching.instance_count, strict=True):
            expected = {
                dataset.SOPInstanceUID: dataset
                for dataset in uploaded.values()
                if dataset.StudyInstanceUID == uid
            }
            assert len(expected) == count
            study = me.download(uid).result(60)
            received = {
                dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, study.paths)
            }
            assert received.keys() == expected.keys()
            for sop, dataset in received.items():
                assert dataset == expected[sop]
                assert dataset.file_meta.TransferSyntaxUID == (
                    expected[sop].file_meta.TransferSyntaxUID
                )
        assert store.verify() == []


def test_a_second_download_of_a_complete_study_asks_nothing(archive, tmp_path):
    with (
        Sandbox(wado=archive.wado) as sandbox,
        Store(tmp_path / "store") as store,
        sandbox.connect("smart-1551992", store=store, allow_origins=[archive.url]) as me,
    ):
        uid = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).StudyInstanceUID
        first = me.download(uid).result(60)
        request_count = len(me.history)
        again = me.download(uid).result(60)
        assert len(me.history) == request_count
        assert again.paths == first.paths


def test_an_archive_that_nobody_consented_to_gets_nothing(archive, tmp_path):
    with (
        Sandbox(wado=archive.wado) as sandbox,
        Store(tmp_path / "store") as store,
    ):
        token = sandbox.token("smart-1551992")
        from s4s_notebook import connect

        with connect(
            sandbox.fhir_url, access_token=token, patient="smart-1551992", store=store
        ) as me:
            uid = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).StudyInstanceUID
            with pytest.raises(UntrustedOrigin, match="consented"):
                me.download(uid).result(60)
            assert not list((tmp_path / "store").rglob("*.dcm"))
            assert len(me.studies()) > 0
