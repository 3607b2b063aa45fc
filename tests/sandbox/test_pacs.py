"""The sandbox on real archives: Orthanc, dcmqrscp, and one that breaks every promise."""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.STU3.imagingstudy import ImagingStudy
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from s4s_notebook import Sandbox
from s4s_notebook.sandbox import Pacs
from s4s_notebook.sandbox.data.archive import package_folder
from s4s_notebook.sandbox.data.catalogue import PHANTOM_STUDIES
from tests.orthanc import free_port, orthanc

from .archives import dcmqrscp, faulty_archive, send
from .conftest import get
from .test_wado_routes import parts

MRNS = {"smart-1288992": "1CT1", "smart-1137192": "98890234", "smart-1551992": "77654033"}
TESTS = package_folder()
ACCEPT = {"Accept": "multipart/related; type=application/dicom"}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Silence pynetdicom, which logs every byte at DEBUG and slows a move down tenfold."""
    caplog.set_level(logging.WARNING, logger="pynetdicom")


def files() -> list[Path]:
    matches = [TESTS / "CT_small.dcm", TESTS / "MR_small.dcm"]
    for folder in ("98892001", "98892003", "77654033"):
        matches += sorted(p for p in (TESTS / "dicomdirtests" / folder).rglob("*") if p.is_file())
    return matches


@contextmanager
def sandbox_on(aet: str, port: int, store_port: int, **more: Any) -> Iterator[Sandbox]:
    pacs = Pacs(aet, "127.0.0.1", port, store_port=store_port, mrns=MRNS, **more)
    with Sandbox(pacs=pacs, open_access=True) as sandbox:
        yield sandbox


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """The sandbox on each real archive in turn, loaded with pydicom's files."""
    store_port = free_port()
    if request.param == "orthanc":
        settings = {"DicomModalities": {"s4s": ["S4S", "127.0.0.1", store_port]}}
        with orthanc(tmp_path / "orthanc", settings) as server:
            server.upload(files())
            with sandbox_on("ORTHANC", server.dicom_port, store_port) as sandbox:
                yield sandbox
    else:
        with dcmqrscp(tmp_path / "qr", store_port) as (port, _):
            send(port, "QR", files())
            with sandbox_on("QR", port, store_port) as sandbox:
                yield sandbox


needs_both = pytest.mark.needs("orthanc", "dcmtk")


def same(received: Dataset, original: Dataset) -> bool:
    """Element by element; trailing padding is no data, and archives leave it out."""
    padding = (0xFFFC, 0xFFFC)
    mine = {e.tag: e for e in received if e.tag != padding}
    theirs = {e.tag: e for e in original if e.tag != padding}
    return mine == theirs


def get_when_ready(
    url: str, token: str | None = None, limit: float = 600.0
) -> tuple[Any, list[str]]:
    """Request until the images are ready; return the response and each Retry-After."""
    waits: list[str] = []
    deadline = time.monotonic() + limit
    while True:
        answer = get(url, token=token, headers=ACCEPT)
        if answer.status != 503 or time.monotonic() > deadline:
            return answer, waits
        waits.append(answer.headers["retry-after"])
        time.sleep(0.5)


@needs_both
def test_no_request_is_sent_before_the_reader_thread_has_paused(
    archive: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader thread leaves each wait late, as on a busy machine; it would take a response."""
    from pynetdicom.association import Association

    from s4s_notebook.sandbox.pacs import dimse

    original, pause = Association.__init__, dimse.pause_reactor
    reading: list[bool] = []

    class LateEvent(threading.Event):
        leaving = False

        def wait(self, timeout: float | None = None) -> bool:
            result = super().wait(timeout)
            self.leaving = True
            time.sleep(0.05)
            self.leaving = False
            return result

    def late(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.late_event = self._reactor_checkpoint = LateEvent()
        self._reactor_checkpoint.set()

    def watched(association: Any) -> None:
        pause(association)
        reading.append(association.late_event.leaving)

    monkeypatch.setattr(Association, "__init__", late)
    monkeypatch.setattr(dimse, "pause_reactor", watched)
    answer = get(f"{archive.open_fhir_url}/ImagingStudy?patient=smart-1551992")
    assert (answer.status, answer.json()["total"]) == (200, 2)
    assert len(reading) > 4
    assert not any(reading)


@needs_both
def test_first_connection_update_and_images(archive: Sandbox) -> None:
    url = f"{archive.open_fhir_url}/ImagingStudy?patient=smart-1137192"
    bundle = get(url).json()
    expected_files: dict[str, list[Path]] = {}
    for file in files():
        header = dcmread(file, stop_before_pixels=True)
        if header.PatientID == "98890234":
            expected_files.setdefault(header.StudyInstanceUID, []).append(file)
    studies = [e["resource"] for e in bundle["entry"]]
    assert {s["uid"].removeprefix("urn:oid:") for s in studies} == set(expected_files)
    for study in studies:
        uid = study["uid"].removeprefix("urn:oid:")
        assert study["numberOfInstances"] == len(expected_files[uid])
        assert study["modalityList"][0]["code"] in ("CT", "MR")
        ImagingStudy.model_validate(study)
    last_updated = bundle["meta"]["lastUpdated"]
    assert get(f"{url}&_lastUpdated=gt{last_updated}").json()["total"] == 0

    study = studies[0]
    uid = study["uid"].removeprefix("urn:oid:")
    address = study["contained"][0]["address"]
    answer, waits = get_when_ready(f"{address}/studies/{uid}")
    assert answer.status == 200
    assert waits
    assert all(1 <= int(wait) <= 600 for wait in waits)
    received = {d.SOPInstanceUID: d for d in (dcmread(BytesIO(p)) for p in parts(answer))}
    assert len(received) == len(expected_files[uid])
    for file in expected_files[uid]:
        original = dcmread(file)
        assert same(received[original.SOPInstanceUID], original)
    again = get(f"{address}/studies/{uid}")
    assert again.status == 200  # cached: no wait


@needs_both
def test_our_client_downloads_from_an_archive(archive: Sandbox, tmp_path: Path) -> None:
    connection = archive.connect("smart-1288992")
    studies = connection.studies()
    assert list(studies.modalities) == ["CT"]
    study = connection.download(studies.iloc[0]).result(60)
    (path,) = study.paths
    assert same(dcmread(path), dcmread(TESTS / "CT_small.dcm"))
    assert any(r.status == 503 and r.retry_after for r in archive.requests)
    connection.close()


@needs_both
def test_dicomweb_client_reads_the_cached_study(archive: Sandbox) -> None:
    from dicomweb_client.api import DICOMwebClient

    bundle = get(f"{archive.open_fhir_url}/ImagingStudy?patient=smart-1551992").json()
    study = bundle["entry"][0]["resource"]
    uid = study["uid"].removeprefix("urn:oid:")
    address = study["contained"][0]["address"]
    assert get_when_ready(f"{address}/studies/{uid}")[0].status == 200
    client = DICOMwebClient(address)
    read = client.retrieve_study(uid)
    assert len(read) == study["numberOfInstances"]
    originals = {dcmread(f, stop_before_pixels=True).SOPInstanceUID: f for f in files()}
    for dataset in read:
        assert same(dataset, dcmread(originals[dataset.SOPInstanceUID]))
    assert len(client.retrieve_study_metadata(uid)) == len(read)


@needs_both
def test_fifty_clients_one_move_and_no_leak_between_patients(archive: Sandbox) -> None:
    bundle = get(f"{archive.open_fhir_url}/ImagingStudy?patient=smart-1137192").json()
    uid = bundle["entry"][0]["resource"]["uid"].removeprefix("urn:oid:")
    own, other = archive.token("smart-1137192"), archive.token("smart-1288992")
    url = f"{archive.wado_url}/studies/{uid}"
    results: list[tuple[int, int]] = []

    def fetch(token: str) -> None:
        answer, _ = get_when_ready(url, token)
        results.append((answer.status, answer.body.count(b"DICM")))

    threads = [threading.Thread(target=fetch, args=(own if n % 5 else other,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = bundle["entry"][0]["resource"]["numberOfInstances"]
    assert sorted(set(results)) == [(200, count), (403, 0)]
    assert sum(1 for status, _ in results if status == 403) == 10


def test_mrns_with_wildcards_find_nothing() -> None:
    from s4s_notebook.sandbox.pacs.dimse import find_studies

    for mrn in ("*", "?CT1", "1CT1\\4MR1", ""):
        assert find_studies(Pacs("X", "127.0.0.1", 1), mrn, "p") == []


# -- archives that misbehave --------------------------------------------------------------

HEAD_CT = [
    TESTS / "dicomdirtests" / "77654033" / "CT2" / n for n in ("17106", "17136", "17166", "17196")
]
HEAD_CT_UID = "1.3.6.1.4.1.5962.1.1.0.0.0.1196530851.28319.0.1"


@contextmanager
def faulty(**behaviour: Any) -> Iterator[tuple[Any, Sandbox, str]]:
    store_port = free_port()
    more = behaviour.pop("pacs", {})
    chosen = behaviour.pop("files", HEAD_CT)
    with (
        faulty_archive(chosen, store_port, **behaviour) as archive,
        sandbox_on("BAD", archive.port, store_port, **more) as sandbox,
    ):
        base = sandbox.wado_base("smart-1551992", open_=True)
        yield archive, sandbox, f"{base}/studies/{HEAD_CT_UID}"


def final(url: str, limit: float = 30.0) -> Any:
    answer, _ = get_when_ready(url, limit=limit)
    assert answer.status == 200 or answer.json()["resourceType"] == "OperationOutcome"
    return answer


def test_a_true_archive_is_moved_from_once() -> None:
    with faulty(pause=0.1) as (archive, _, url):
        first = get(url)
        assert (first.status, first.headers["retry-after"]) == (503, "1")
        answers = [final(url) for _ in range(3)]
        assert [a.status for a in answers] == [200] * 3
        assert answers[0].body.count(b"DICM") == 4
        assert archive.moves == 1


def test_fewer_instances_than_announced_is_no_success() -> None:
    with faulty(deliver=lambda matches: matches[:2]) as (archive, _, url):
        answer = final(url)
        assert answer.status == 502
        assert "sent 2 of 4" in answer.json()["issue"][0]["diagnostics"]
        assert archive.moves == 3


def test_nothing_at_all_is_no_success() -> None:
    with faulty(deliver=lambda matches: []) as (_, _sandbox, url):
        assert final(url).status == 502


def test_what_came_in_the_second_try_counts() -> None:
    turns = iter([slice(0, 2), slice(2, 4)])
    with faulty(deliver=lambda matches: matches[next(turns)]) as (archive, _, url):
        answer = final(url)
        assert (answer.status, answer.body.count(b"DICM"), archive.moves) == (200, 4, 2)


def test_an_instance_of_another_study_is_refused() -> None:
    def swapped(matches: list[Dataset]) -> list[Dataset]:
        return [*matches[:3], dcmread(TESTS / "CT_small.dcm")]

    with faulty(deliver=swapped) as (_, _sandbox, url):
        answer = final(url)
        assert answer.status == 502
        assert "sent 3 of 4" in answer.json()["issue"][0]["diagnostics"]


def test_an_abort_halfway_says_come_back() -> None:
    with faulty(abort_after=2) as (_, _sandbox, url):
        assert get(url).status == 503
        time.sleep(1.0)
        answer = get(url)
        assert (answer.status, answer.headers["retry-after"]) == (503, "30")


def test_search_failures_have_their_own_status() -> None:
    for status, expected in ((0xA700, 503), (0xC001, 502)):
        with faulty(find_status=status) as (_, sandbox, url):
            listed = get(f"{sandbox.open_fhir_url}/ImagingStudy?patient=smart-1551992")
            assert listed.status == expected
            assert get(url).status == expected


def test_a_response_that_the_reader_thread_took_is_no_empty_list(monkeypatch) -> None:
    """The archive's list is received, but one entry never reaches the search: 503, not 404."""
    send_c_find = Association.send_c_find

    def lossy(self: Any, *arguments: Any) -> Iterator[Any]:
        for number, response in enumerate(send_c_find(self, *arguments)):
            if number > 0 or not lost:
                yield response

    monkeypatch.setattr(Association, "send_c_find", lossy)
    with faulty() as (_, sandbox, url):
        lost = True
        listed = get(f"{sandbox.open_fhir_url}/ImagingStudy?patient=smart-1551992")
        assert (listed.status, listed.headers["retry-after"]) == (503, "1")
        assert get(url).status == 503
        lost = False
        assert final(url).status == 200


def test_an_archive_that_is_down_or_does_not_know_us(tmp_path: Path) -> None:
    with sandbox_on("X", free_port(), free_port()) as sandbox:
        url = f"{sandbox.open_fhir_url}/ImagingStudy?patient=smart-1551992"
        answer = get(url)
        assert (answer.status, answer.headers["retry-after"]) == (503, "30")
        # What needs no archive goes on.
        assert get(f"{sandbox.open_fhir_url}/Patient/smart-1551992").status == 200


def test_an_unknown_study_is_404() -> None:
    with faulty() as (_, _sandbox, url):
        assert get(url.replace(HEAD_CT_UID, "1.2.3")).status == 404


def test_another_patients_study_is_hidden() -> None:
    with faulty() as (_, sandbox, _url):
        base = sandbox.wado_base("smart-1288992", open_=True)
        assert get(f"{base}/studies/{HEAD_CT_UID}").status == 404
        token = sandbox.token("smart-1288992")
        assert get(f"{sandbox.wado_url}/studies/{HEAD_CT_UID}", token=token).status == 403


def test_a_full_disk_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses to write more than 1 KB to any file: EFBIG, as a quota does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with faulty() as (_, _sandbox, url):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
        try:
            answer = final(url)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert answer.status == 500
        assert "cache is full" in answer.json()["issue"][0]["diagnostics"]
        assert final(url).status == 200  # the disk has space again


def test_the_cache_is_bounded_and_follows_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    import s4s_notebook.sandbox.pacs.archive as archive_module

    monkeypatch.setattr(archive_module, "IDLE_SECONDS", 0.0)
    everything = [*HEAD_CT, *sorted((TESTS / "dicomdirtests/77654033").glob("CR*/*"))]
    with faulty(files=everything, pacs={"cache_bytes": 1000}) as (archive, sandbox, url):
        film = "1.3.6.1.4.1.5962.1.1.0.0.0.1196527414.5534.0.1"
        assert final(url).status == 200
        assert final(url.replace(HEAD_CT_UID, film)).status == 200
        (folder,) = [p for p in Path(os.environ.get("TMPDIR", "/tmp")).glob("s4s-private-*")
                     if p in cache_folders(sandbox)]  # fmt: skip
        assert len(list(folder.iterdir())) == 1  # the first study made room for the second
        assert archive.moves == 2
        sandbox.forget_waits()
        assert final(url.replace(HEAD_CT_UID, film)).status == 200
        assert archive.moves == 2  # checked with C-FIND, unchanged, not moved again
    assert not folder.exists()


def cache_folders(sandbox: Sandbox) -> list[Path]:
    return [sandbox._context.archive._folder]


@pytest.mark.needs("dcmtk")
def test_killing_and_freezing_a_real_archive(tmp_path: Path, monkeypatch) -> None:
    """No wrong success, and the sandbox lives on: killed, then frozen."""
    import s4s_notebook.sandbox.pacs.dimse as dimse

    monkeypatch.setattr(dimse, "DIMSE_SECONDS", 4.0)
    store_port = free_port()
    ct = next(entry for entry in PHANTOM_STUDIES if entry.exam.key == "chest-ct")
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    paths = list(ct.write(ct.exam, drawn))
    with dcmqrscp(tmp_path / "qr", store_port) as (port, process):
        send(port, "QR", paths)
        pacs = Pacs("QR", "127.0.0.1", port, store_port=store_port)
        with Sandbox(pacs=pacs, open_access=True) as sandbox:
            url = f"{sandbox.wado_base('smart-1288992', open_=True)}/studies/{ct.exam.study_uid}"
            assert get(url).status == 503
            process.send_signal(signal.SIGSTOP)
            statuses = set()
            deadline = time.monotonic() + 8
            while time.monotonic() < deadline:
                answer = get(url)
                statuses.add(answer.status)
                if answer.status == 200:
                    assert answer.body.count(b"DICM") == 60
                    break
                time.sleep(0.3)
            assert statuses <= {503, 200}
            process.send_signal(signal.SIGCONT)
            assert final(url, limit=60).body.count(b"DICM") == 60
            sandbox.forget_waits()
            process.kill()
            process.wait()
            assert get(url).status == 503
            assert get(f"{sandbox.open_fhir_url}/Patient").status == 200


@pytest.mark.needs("orthanc")
def test_twenty_studies_at_once(tmp_path: Path) -> None:
    """Four moves run, the others wait their turn; each response is its own study, complete."""
    store_port = free_port()
    settings = {"DicomModalities": {"s4s": ["S4S", "127.0.0.1", store_port]}}
    expected_files: dict[str, int] = {}
    with orthanc(tmp_path, settings) as server:
        for number in range(20):
            for instance in range(3):
                dataset = dcmread(TESTS / "CT_small.dcm")
                dataset.StudyInstanceUID = f"1.2.826.0.1.3680043.9.7461.{number}"
                dataset.SeriesInstanceUID = f"{dataset.StudyInstanceUID}.1"
                dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{instance}"
                dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                buffer = BytesIO()
                dataset.save_as(buffer)
                server.upload([buffer.getvalue()])
            expected_files[dataset.StudyInstanceUID] = 3
        with sandbox_on("ORTHANC", server.dicom_port, store_port) as sandbox:
            base = sandbox.wado_base("smart-1288992", open_=True)
            results: dict[str, tuple[int, set[str], int]] = {}

            def fetch(uid: str) -> None:
                answer, _ = get_when_ready(f"{base}/studies/{uid}")
                read = [dcmread(BytesIO(p), stop_before_pixels=True) for p in parts(answer)]
                seen = {str(d.StudyInstanceUID) for d in read}
                results[uid] = (answer.status, seen, len(read))

            threads = [threading.Thread(target=fetch, args=(uid,)) for uid in expected_files]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert results == {uid: (200, {uid}, 3) for uid in expected_files}


@pytest.mark.needs("orthanc")
def test_orthanc_serves_the_images_of_our_studies(tmp_path: Path) -> None:
    """``Sandbox(wado=…)``: ours says where, Orthanc's own WADO-RS gives what was uploaded."""
    with orthanc(tmp_path) as server:
        server.upload([TESTS / "CT_small.dcm"])
        with Sandbox(wado=server.wado) as sandbox:
            connection = sandbox.connect("smart-1551992")
            frame = connection.studies()
            spine = frame[frame.description == "CT thoracic spine without contrast"].iloc[0]
            (path,) = connection.download(spine).result(60).paths
            assert same(dcmread(path), dcmread(TESTS / "CT_small.dcm"))
            assert not any("/studies/" in record.path for record in sandbox.requests)
            connection.close()
