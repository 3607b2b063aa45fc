"""A real Orthanc with DICOMweb on loopback, for tests and benchmarks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGINS = Path("/usr/share/orthanc/plugins")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Orthanc:
    """A running server: its REST address, DICOMweb address, DICOM port and process."""

    url: str
    dicom_port: int
    process: subprocess.Popen[bytes]

    @property
    def wado(self) -> str:
        return f"{self.url}/dicom-web"

    def upload(self, files: Iterable[Path | bytes]) -> list[dict[str, Any]]:
        """Store DICOM files; returns what Orthanc says of each."""
        replies = []
        for file in files:
            body = file if isinstance(file, bytes) else file.read_bytes()
            request = urllib.request.Request(f"{self.url}/instances", data=body, method="POST")
            with urllib.request.urlopen(request, timeout=60) as reply:
                replies.append(json.load(reply))
        return replies

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as reply:
            return json.load(reply)

    def file(self, instance: str) -> bytes:
        """Return the bytes that Orthanc keeps for one of its instance ids."""
        with urllib.request.urlopen(f"{self.url}/instances/{instance}/file", timeout=60) as reply:
            body: bytes = reply.read()
            return body


@contextmanager
def orthanc(folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Orthanc]:
    """Run Orthanc with its files in `folder`; it is stopped by its process id."""
    http, dicom = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {
        "Name": "S4S tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(path) for path in PLUGINS.glob("libOrthancDicomWeb*")],
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DefaultEncoding": "Utf8",
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **(settings or {}),
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    program = shutil.which("Orthanc") or "Orthanc"
    log = (folder / "orthanc.log").open("wb")
    process = subprocess.Popen([program, str(file)], stdout=log, stderr=subprocess.STDOUT)
    try:
        server = Orthanc(f"http://127.0.0.1:{http}", dicom, process)
        _wait_until_up(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_until_up(server: Orthanc) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            server.get("/system")
        except OSError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
