"""Can this machine decode, hold, keep and serve what a workshop needs?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...errors import S4SError
from .finding import Finding

CODECS = {
    "JPEG": "1.2.840.10008.1.2.4.50",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "HTJ2K": "1.2.840.10008.1.2.4.201",
}
ENOUGH_MEMORY = 1 << 30
ENOUGH_DISK = 2 << 30
# Limit and use of this process's container, as Linux tells it: cgroup 2, then 1.
CONTAINER = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def codecs() -> Iterator[Finding]:
    from pydicom.pixels.decoders.base import get_decoder

    missing = [name for name, uid in CODECS.items() if not get_decoder(uid).is_available]
    yield Finding(
        not missing,
        "Codecs",
        f"missing: {', '.join(missing)}" if missing else ", ".join(CODECS),
        "pip install 's4s-notebook[codecs]', then restart the kernel",
    )


def memory(root: Path = Path("/")) -> Iterator[Finding]:
    free = free_memory(root)
    if free is not None:
        yield Finding(
            free >= ENOUGH_MEMORY,
            "Memory",
            f"{free / 1e9:.1f} GB free",
            "close other notebooks (Running Terminals and Kernels, Shut Down All); "
            "a large study needs about 1 GB",
        )


def free_memory(root: Path) -> int | None:
    """Bytes that this process may still take: the machine's, or its container's if less."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        facts = dict(line.split(":") for line in lines)
        free = int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None  # not Linux: nothing is known without a further dependency
    for limit, used in CONTAINER:
        try:
            left = _number(root, limit) - _number(root, used)
        except (OSError, ValueError):  # not there, or "max": no limit
            continue
        free = min(free, left)
    return free


def _number(root: Path, name: str) -> int:
    return int((root / "sys/fs/cgroup" / name).read_text())


def store() -> Iterator[Finding]:
    from ..._connect import STORE_FOLDER
    from ...store import Store

    folder = os.environ.get(STORE_FOLDER)
    what = "Store"
    try:
        with Store(folder) as opened:
            free = shutil.disk_usage(opened.root).free
            damaged = opened.verify() if folder else []
    except S4SError as error:
        mend = error.hint if folder is None else f"set {STORE_FOLDER} to a folder that is yours"
        yield Finding(False, what, error.problem, mend)
        return
    place = folder or "a private temporary folder"
    yield Finding(
        free >= ENOUGH_DISK, what, f"{place}, {free / 1e9:.0f} GB free", "free some disk space"
    )
    if damaged:
        yield Finding(False, "Stored files", f"{len(damaged)} damaged", "download them again")


def sandbox() -> Iterator[Finding]:
    from ...http.client import Transport
    from ...http.origins import Origins
    from ...sandbox import SandboxServer
    from ...smart.discovery import discover

    what = "Sandbox"
    try:
        with SandboxServer() as running:
            transport = Transport(origins=Origins(running.fhir_url))
            try:
                holder = discover(transport, running.fhir_url)
            finally:
                transport.close()
    except (S4SError, OSError) as error:
        yield Finding(False, what, str(error).splitlines()[0], "let Python listen on 127.0.0.1")
        return
    yield Finding(
        holder.authorize is not None,
        what,
        "answers, and describes its sign-in",
        "pip install --force-reinstall --no-deps s4s-notebook",
    )
