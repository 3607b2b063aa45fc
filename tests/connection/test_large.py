"""Soaks of size, each in a process of its own so that its peak memory is its own."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from s4s_notebook.store import Store
from tests.faultserver import Conversation, FaultServer
from tests.faultserver import scripts as send
from tests.store import dicom

HERE = Path(__file__).resolve().parents[2]
UID = dicom.STUDY
PIECE = 1 << 20
CLIENT = f"""
import sys
from pathlib import Path
from s4s_notebook.connection import Connection
with Connection(sys.argv[2], patient="p1", store=sys.argv[1]) as me:
    count = len(me.download({UID!r}).result().paths)
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's, too
    print(count, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def instance(number: int, size: int) -> Iterator[bytes]:
    """A file of ``size`` bytes of pixels, made as it is sent: no two of its pieces are equal."""
    whole = dicom.make(dicom.sop(number), size=0)
    yield whole[:-4] + struct.pack("<I", size)  # the length of the pixels stands last
    noise = random.Random(number).randbytes(PIECE - 8)
    for at in range(0, size, PIECE):
        yield (struct.pack("<Q", at) + noise)[: size - at]


def study_resource(server: FaultServer, count: int) -> dict:
    endpoint = {
        "resourceType": "Endpoint",
        "id": "e",
        "status": "active",
        "connectionType": {"code": "dicom-wado-rs"},
        "address": server.url("/wado"),
    }
    return {
        "resourceType": "ImagingStudy",
        "id": "s1",
        "uid": f"urn:oid:{UID}",
        "patient": {"reference": "Patient/p1"},
        "numberOfInstances": count,
        "contained": [endpoint],
        "endpoint": [{"reference": "#e"}],
    }


@pytest.mark.slow
@pytest.mark.fault("D17")
@pytest.mark.parametrize(("count", "size"), [(5_000, 1 << 20), (1, 1 << 30)])
def test_five_gigabytes_and_a_part_of_one_take_little_memory(tmp_path, count, size):
    sent: dict[str, str] = {}

    def script(talk: Conversation) -> None:
        talk.send(send.head(200, {"Content-Type": send.MULTIPART, "Connection": "close"}))
        for number in range(1, count + 1):
            digest = hashlib.sha256()
            talk.send(b"--b0undary\r\nContent-Type: application/dicom\r\n\r\n")
            for piece in instance(number, size):
                digest.update(piece)
                talk.send(piece)
            talk.send(b"\r\n")
            sent[dicom.sop(number)] = digest.hexdigest()
        talk.send(b"--b0undary--\r\n")

    with FaultServer() as server:
        bundle = {"resourceType": "Bundle", "type": "searchset"}
        entry = [{"resource": study_resource(server, count)}]
        server.on("/fhir/ImagingStudy", send.json(bundle | {"entry": entry}))
        server.on(f"/wado/studies/{UID}", script)
        command = [sys.executable, "-c", CLIENT, str(tmp_path / "s"), server.base]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    came, peak = map(int, done.stdout.split())
    assert (came, len(sent)) == (count, count)
    assert peak < 120, f"{peak} MB"
    with Store(tmp_path / "s") as store:
        study = store.study(store.participant(server.base, "p1"), UID)
        assert {uid: filed.sha256 for uid, filed in study.instances().items()} == sent
        assert store.verify() == []
        store.purge("all")
