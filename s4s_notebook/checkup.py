"""`s4s doctor`: is this machine ready for a workshop? If not, the line that mends it."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from .errors import S4SError

# The least version that is known to be safe and to work.
LEAST = {
    "jupyterlab": (4, 4),
    "jupyter-server": (2, 20),
    "ipykernel": (7, 0),
    "ipywidgets": (8, 1),
    "anywidget": (0, 9, 18),
    "httpx": (0, 28),
    "pandas": (3,),
    "pydicom": (3, 0, 2),
    "matplotlib": (3, 9),
}
CODECS = {
    "JPEG": "1.2.840.10008.1.2.4.50",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "HTJ2K": "1.2.840.10008.1.2.4.201",
}
LAB_EXTENSION = "s4s-notebook"
ENOUGH_MEMORY = 1 << 30
ENOUGH_DISK = 2 << 30


class Finding(NamedTuple):
    """One part looked at: ``mend`` says what to do when it is not ``good``."""

    good: bool
    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{'✔' if self.good else '✘'} {self.what}: {self.found}"
        return line if self.good else f"{line}\n    → {self.mend}"


class Findings(list[Finding]):
    """What was found, one line per part; ``good`` when nothing needs mending."""

    @property
    def good(self) -> bool:
        """Whether nothing needs mending."""
        return all(finding.good for finding in self)

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


def doctor() -> Findings:
    """Look at versions, extensions, sign-in route, codecs, memory, store and sandbox.

    Make it a cell's last line, or run ``s4s doctor``. It starts a sandbox on loopback for a
    moment and asks it for its description; it reads nothing of yours.

    Returns:
        A list of findings, each with ``good``, ``what``, ``found`` and ``mend``; ``.good`` of
        the list is true when all are. It raises nothing: what fails is a finding.
    """
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        _lab_extension,
        _server_extension,
        _sign_in,
        _codecs,
        _memory,
        _store,
        _sandbox,
    )
    return Findings(finding for part in parts for finding in part())


def _versions() -> Iterator[Finding]:
    yield Finding(True, "Python", platform.python_version())
    for package, least in LEAST.items():
        wanted = ".".join(map(str, least))
        mend = f"pip install --upgrade '{package}>={wanted}', then restart Jupyter"
        try:
            found = version(package)
        except PackageNotFoundError:
            yield Finding(False, package, "not installed", mend)
            continue
        numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdigit())
        yield Finding(numbers >= least, package, found, mend)


def _lab_extension() -> Iterator[Finding]:
    from jupyter_core.paths import jupyter_path

    folders = [Path(place) / LAB_EXTENSION for place in jupyter_path("labextensions")]
    there = any((folder / "package.json").exists() for folder in folders)
    yield Finding(
        there,
        "JupyterLab extension",
        "installed" if there else "not installed (a checkout does not build it)",
        "in a clone, `pip install .` builds it; notebooks work without it",
    )


def _server_extension() -> Iterator[Finding]:
    from jupyter_core.paths import jupyter_config_path

    enabled = any(
        _enables(Path(place) / "jupyter_server_config.d" / "s4s_notebook.json")
        for place in jupyter_config_path()
    )
    yield Finding(
        enabled,
        "Jupyter server extension",
        "enabled" if enabled else "not enabled: Authorise falls back to this machine, or to paste",
        "jupyter server extension enable s4s_notebook.jupyter, then restart Jupyter",
    )


def _enables(file: Path) -> bool:
    try:
        settings = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return bool(settings["ServerApp"]["jpserver_extensions"].get("s4s_notebook.jupyter"))


def _sign_in() -> Iterator[Finding]:
    from jupyter_core.paths import jupyter_runtime_dir

    from .rendezvous import Rendezvous

    what = "Sign-in route"
    try:
        folder = Rendezvous(Path(jupyter_runtime_dir())).folder
    except (S4SError, OSError) as error:
        yield Finding(False, what, str(error).splitlines()[0], "mend the Jupyter runtime folder")
        return
    yield Finding(
        os.access(folder, os.W_OK), what, "files beside the Jupyter server", f"make {folder} yours"
    )
    yield Finding(True, "Pop-ups", "where the browser blocks them, the panel shows a link instead")


def _codecs() -> Iterator[Finding]:
    from pydicom.pixels.decoders.base import get_decoder

    missing = [name for name, uid in CODECS.items() if not get_decoder(uid).is_available]
    yield Finding(
        not missing,
        "Codecs",
        f"missing: {', '.join(missing)}" if missing else ", ".join(CODECS),
        "pip install 's4s-notebook[codecs]', then restart the kernel",
    )


def _memory() -> Iterator[Finding]:
    free = _free_memory()
    if free is not None:
        yield Finding(
            free >= ENOUGH_MEMORY,
            "Memory",
            f"{free / 1e9:.1f} GB free",
            "close other notebooks; a large study needs about 1 GB",
        )


def _free_memory() -> int | None:
    """Bytes that this process may still take: the machine's, or its container's if less."""
    try:
        facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None  # not Linux: nothing is known without a further dependency
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, limit - used)


def _store() -> Iterator[Finding]:
    from .cohort import Store
    from .start import STORE_FOLDER

    folder = os.environ.get(STORE_FOLDER)
    what = "Store"
    try:
        with Store(folder) as store:
            free = shutil.disk_usage(store.root).free
            damaged = store.verify() if folder else []
    except S4SError as error:
        yield Finding(False, what, error.problem, error.hint)
        return
    place = folder or "a private temporary folder"
    yield Finding(
        free >= ENOUGH_DISK, what, f"{place}, {free / 1e9:.0f} GB free", "free some disk space"
    )
    if damaged:
        yield Finding(False, "Stored files", f"{len(damaged)} damaged", "download them again")


def _sandbox() -> Iterator[Finding]:
    from .protocol.discovery import discover
    from .protocol.transport import Transport
    from .protocol.trust import Trust
    from .sandbox import Sandbox

    what = "Sandbox"
    try:
        with Sandbox() as sandbox:
            transport = Transport(trust=Trust(sandbox.fhir_url))
            try:
                holder = discover(transport, sandbox.fhir_url)
            finally:
                transport.close()
    except (S4SError, OSError) as error:
        yield Finding(False, what, str(error).splitlines()[0], "let Python listen on 127.0.0.1")
        return
    yield Finding(
        holder.authorize is not None,
        what,
        "answers, and describes its sign-in",
        "reinstall s4s-notebook",
    )
