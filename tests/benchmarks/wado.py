"""`python -m tests.benchmarks wado`: a study from Orthanc to disk, beside curl and dicomweb-client.

Every way runs in a process of its own, in turn, `--rounds` times. Seconds and processor time are
those of the transfer alone, without interpreter start and imports; peak memory is that of the
whole process. `ours` ends with files checked, hashed, synced and indexed; `curl` with one
raw file, synced; `dicomweb-client` with files neither checked nor hashed nor synced.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.orthanc import orthanc

STUDY = "2.25.1111111"
#: ext4 gives no inode out again within five seconds of its deletion, and passes over each of them
#: for every new file: without a pause the run after a deletion pays 0.4 ms a file for it.
RECENTLY_DELETED = 6.0

START = """
import resource, sys, time
def processor():
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)
"""
OURS = """
import s4s_notebook as s4s
fhir, wado, uid, folder = sys.argv[1:]
with s4s.Store(folder) as store:
    me = s4s.connect(fhir, patient="p1", store=store, allow_origins=[wado])
    me.resources("ImagingStudy")
    import s4s_notebook.imaging
    start, spent = time.perf_counter(), processor()
    study = me.download(uid).result()
    print(time.perf_counter() - start, processor() - spent, len(study.paths))
"""
CLIENT = """
from pathlib import Path
from dicomweb_client.api import DICOMwebClient
fhir, wado, uid, folder = sys.argv[1:]
client = DICOMwebClient(wado)
Path(folder).mkdir()
start, spent = time.perf_counter(), processor()
for number, dataset in enumerate(client.iter_study(uid)):
    dataset.save_as(f"{folder}/{number}.dcm")
print(time.perf_counter() - start, processor() - spent, number + 1)
"""
DROP = """
import httpx
fhir, wado, uid, folder = sys.argv[1:]
start, spent = time.perf_counter(), processor()
with httpx.stream("GET", f"{wado}/studies/{uid}", timeout=600,
                  headers={"Accept": 'multipart/related; type="application/dicom"'}) as reply:
    size = sum(len(chunk) for chunk in reply.iter_raw())
print(time.perf_counter() - start, processor() - spent, size)
"""
CURL = """
import subprocess
fhir, wado, uid, folder = sys.argv[1:]
start, spent = time.perf_counter(), processor()
subprocess.run(["curl", "-sS", "-o", folder, "-H",
                'Accept: multipart/related; type="application/dicom"', f"{wado}/studies/{uid}"],
               check=True)
subprocess.run(["sync", folder], check=True)
print(time.perf_counter() - start, processor() - spent, 1)
"""
WAYS = {"curl -o, sync": CURL, "httpx, dropped": DROP, "dicomweb-client": CLIENT, "ours": OURS}


@dataclass(frozen=True)
class Run:
    """One transfer: seconds, processor seconds and peak memory in MB."""

    seconds: float
    processor: float
    peak: float


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="wado", description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=512, help="rows and columns of an instance")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="s4s-wado-") as name:
        folder = Path(name)
        with orthanc(folder / "orthanc", {"StorageCompression": False}) as server:
            size = 0
            for number in range(options.instances):
                body = instance(number, options.rows)
                size += len(body)
                server.upload([body])
            with holder(server.wado, options.instances) as fhir:
                runs = measure(folder, fhir, server.wado, options.rounds)
    print(f"{options.instances} instances, {size / 1e6:.0f} MB, {options.rounds} rounds in turn")
    table(runs)
    return 0


def instance(number: int, rows: int) -> bytes:
    """Return CT instance `number` of one series: noise, so that nothing can be guessed."""
    import io

    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, f"{STUDY}.1.{number + 1}"
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    image.PatientID, image.PatientName, image.Modality = "p1", "Bench^Mark", "CT"
    image.InstanceNumber = number + 1
    image.Rows = image.Columns = rows
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 1, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    noise = np.random.default_rng(number).integers(-1000, 1000, (rows, rows), dtype="<i2")
    image.PixelData = noise.tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    out = io.BytesIO()
    image.save_as(out, enforce_file_format=True)
    return out.getvalue()


class holder:  # noqa: N801 - reads as a with-statement
    """A holder that needs no sign-in and lists the one study, with Orthanc as its WADO endpoint."""

    def __init__(self, wado: str, instances: int) -> None:
        study = {
            "resourceType": "ImagingStudy",
            "id": "s1",
            "uid": f"urn:oid:{STUDY}",
            "availability": "ONLINE",
            "patient": {"reference": "Patient/p1"},
            "numberOfSeries": 1,
            "numberOfInstances": instances,
            "contained": [
                {
                    "resourceType": "Endpoint",
                    "id": "e",
                    "status": "active",
                    "connectionType": {"code": "dicom-wado-rs"},
                    "payloadType": [{"text": "DICOM"}],
                    "address": wado,
                }
            ],
            "endpoint": [{"reference": "#e"}],
        }
        entries = [{"resource": study}]
        empty: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = entries if self.path.startswith("/fhir/ImagingStudy?") else empty
                known = "?" in self.path
                body = json.dumps(
                    {"resourceType": "Bundle", "type": "searchset", "entry": found}
                ).encode()
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "application/fhir+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing: the table is the output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/fhir"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def measure(folder: Path, fhir: str, wado: str, rounds: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, code in WAYS.items():
            place = folder / f"{WAYS[way] is OURS}-{number}-{len(way)}"
            run = one(code, fhir, wado, str(place))
            if number:  # the first round only warms the caches
                runs[way].append(run)
            subprocess.run(["rm", "-rf", str(place)], check=True)
            time.sleep(RECENTLY_DELETED)
    return runs


def one(code: str, fhir: str, wado: str, place: str) -> Run:
    command = [sys.executable, "-c", START + code, fhir, wado, STUDY, place]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"a run ended with {process.returncode}")
    seconds, processor, _ = map(float, said.split())
    return Run(seconds, processor, usage.ru_maxrss / 1024)


def table(runs: dict[str, list[Run]]) -> None:
    def middle(way: str, field: str) -> float:
        return statistics.median(getattr(run, field) for run in runs[way])

    limit, peer = middle("curl -o, sync", "seconds"), middle("dicomweb-client", "processor")
    print(f"{'':18}{'seconds':>9}{'x curl':>8}{'cpu s':>8}{'x client':>9}{'peak MB':>9}")
    for way in WAYS:
        seconds, processor = middle(way, "seconds"), middle(way, "processor")
        print(
            f"{way:18}{seconds:9.2f}{seconds / limit:8.2f}{processor:8.2f}"
            f"{processor / peer:9.2f}{middle(way, 'peak'):9.0f}"
        )
