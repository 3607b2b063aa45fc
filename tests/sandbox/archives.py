"""DICOM archives on loopback: DCMTK's dcmqrscp, and an SCP that misbehaves on purpose."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, build_context, evt

from tests.orthanc import free_port

FIND, MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.05)


def send(port: int, aet: str, files: list[Path]) -> None:
    """C-STORE files to an archive, each in its own transfer syntax."""
    entity = AE(ae_title="TESTS")
    datasets = [dcmread(file) for file in files]
    for item in {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}:
        entity.add_requested_context(*item)
    association = entity.associate("127.0.0.1", port, ae_title=aet)
    assert association.is_established
    for dataset in datasets:
        assert association.send_c_store(dataset).Status == 0x0000
    association.release()


@contextmanager
def dcmqrscp(folder: Path, store_port: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """DCMTK's archive with AE title QR; may send to S4S at ``store_port``."""
    port = free_port()
    storage = folder / "db"
    storage.mkdir(parents=True)
    config = folder / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\ns4s = (S4S, localhost, {store_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQR {storage} RW (200, 1024mb) ANY\nAETable END\n"
    )
    process = subprocess.Popen(
        ["dcmqrscp", "--config", str(config), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        yield port, process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@dataclass
class FaultyArchive:
    """An archive with scripted faults; counts C-FIND and C-MOVE requests."""

    port: int
    finds: int = 0
    moves: int = 0


@contextmanager
def faulty_archive(
    files: list[Path],
    store_port: int,
    *,
    deliver: Callable[[list[Dataset]], list[Dataset]] = lambda matches: matches,
    pause: float = 0.0,
    find_status: int | None = None,
    abort_after: int | None = None,
) -> Iterator[FaultyArchive]:
    """Run an archive that answers C-FIND correctly and C-MOVE as scripted.

    ``deliver`` selects what is sent, and the archive reports success in any case. The association
    is aborted after ``abort_after`` instances.
    """
    datasets = [dcmread(file) for file in files]
    faulty = FaultyArchive(free_port())

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        faulty.finds += 1
        if find_status is not None:
            yield find_status, None
            return
        yield from ((0xFF00, answer) for answer in answers(datasets, event.identifier))

    def move(event: Any) -> Iterator[Any]:
        faulty.moves += 1
        study_uid = event.identifier.StudyInstanceUID
        chosen = deliver([d for d in datasets if d.StudyInstanceUID == study_uid])
        pairs = {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}
        contexts = [build_context(*pair) for pair in pairs]
        yield ("127.0.0.1", store_port, {"ae_title": "S4S", "contexts": contexts})
        yield len(chosen)
        for number, dataset in enumerate(chosen):
            time.sleep(pause)
            if abort_after is not None and number >= abort_after:
                event.assoc.abort()
                return
            yield 0xFF00, dataset

    entity = AE(ae_title="BAD")
    entity.add_supported_context(FIND)
    entity.add_supported_context(MOVE)
    for context in StoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax)
    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_MOVE, move)]
    server = entity.start_server(("127.0.0.1", faulty.port), block=False, evt_handlers=handlers)
    try:
        yield faulty
    finally:
        server.shutdown()


def answers(datasets: list[Dataset], query: Dataset) -> list[Dataset]:
    """Return the C-FIND responses of a plain archive: exact matching of the UIDs."""
    level = query.QueryRetrieveLevel
    key = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
    matches: dict[str, Dataset] = {}
    for dataset in datasets:
        if all(
            str(dataset.get(name, "")) == str(query.get(name))
            for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
            if query.get(name)
        ):
            matches.setdefault(dataset[key[level]].value, dataset)
    responses = []
    for dataset in matches.values():
        answer = Dataset()
        answer.QueryRetrieveLevel = level
        for element in query:
            if element.keyword != "QueryRetrieveLevel":
                setattr(answer, element.keyword, dataset.get(element.keyword, ""))
        responses.append(answer)
    return responses
