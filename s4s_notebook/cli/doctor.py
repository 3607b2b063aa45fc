"""`s4s doctor`: is this machine ready for a workshop? If not, the line that repairs it."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from .._connect import in_notebook
from .._version import __version__
from ..errors import S4SError
from ..smart.mailbox import Mailbox
from ..smart.redirect import jupyter_runtime_folder
from ..temporary import remove_leftovers

LAB = "s4s-notebook"
SERVER = "s4s_notebook.jupyter"
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
ENOUGH_MEMORY = 1 << 30
ENOUGH_DISK = 2 << 30
# Limit and use of this process's container, as Linux reports it: cgroup 2, then 1.
CONTAINER = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


class Finding(NamedTuple):
    """The state of one part: ``mend`` is the remedy when it is not ``good``.

    >>> print(Finding(False, "pandas", "2.3.3", "pip install --upgrade 'pandas>=3'"))
    ✘ pandas: 2.3.3
        → pip install --upgrade 'pandas>=3'
    """

    good: bool
    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{'✔' if self.good else '✘'} {self.what}: {self.found}"
        return line if self.good else f"{line}\n    → {self.mend}"


class Findings(list[Finding]):
    """The findings, one line per part when printed."""

    @property
    def good(self) -> bool:
        """Whether all findings are good."""
        return all(finding.good for finding in self)

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


def doctor() -> Findings:
    """Check versions, extensions, sign-in route, codecs, memory, store and sandbox.

    Make it a cell's last line, or run ``s4s doctor``. It starts a sandbox on loopback for a
    moment and asks it for its description; it reads nothing of yours.

    Returns:
        A list of findings, each with ``good``, ``what``, ``found`` and ``mend``; ``.good`` of
        the list is true when all are. It raises nothing: what fails is a finding.
    """
    return Findings(finding for part in _PARTS for finding in part())


def versions() -> Iterator[Finding]:
    """Check whether the packages that everything needs are new enough."""
    yield Finding(True, "Python", platform.python_version())
    for package, least in LEAST.items():
        required = ".".join(map(str, least))
        remedy = f"pip install --upgrade '{package}>={required}', then restart Jupyter"
        try:
            installed = version(package)
        except PackageNotFoundError:
            yield Finding(False, package, "not installed", remedy)
            continue
        numbers = tuple(int(part) for part in installed.split(".")[:3] if part.isdigit())
        yield Finding(numbers >= least, package, installed, remedy)


def lab_extension() -> Iterator[Finding]:
    """Check the extension for launcher cards, palette commands and DICOM files."""
    from jupyter_core.paths import jupyter_path

    part = "JupyterLab extension"
    files = [
        file
        for folder in jupyter_path("labextensions")
        if (file := Path(folder) / LAB / "package.json").exists()
    ]
    if not files:
        yield Finding(False, part, "not installed; notebooks work without it", _install())
        return
    try:
        installed = str(json.loads(files[0].read_text())["version"])
        disabled = _is_disabled()
    except (OSError, ValueError, KeyError) as error:
        yield Finding(False, part, f"unreadable ({type(error).__name__})", _install())
        return
    if disabled:
        remedy = f"jupyter labextension enable {LAB}, then load the page again"
        yield Finding(False, part, "disabled; notebooks work without it", remedy)
    elif installed != __version__:
        problem = f"{installed} is left over; this is s4s-notebook {__version__}"
        yield Finding(False, part, problem, _install())
    else:
        yield Finding(True, part, installed)


def _install() -> str:
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():  # an editable install does not build it
        return f"uv pip install --reinstall-package s4s-notebook {checkout}, then restart Jupyter"
    return "pip install --force-reinstall --no-deps s4s-notebook, then restart Jupyter"


def _is_disabled() -> bool:
    from jupyter_core.paths import jupyter_path
    from jupyterlab.commands import get_app_dir
    from jupyterlab_server.config import get_page_config

    settings = str(Path(get_app_dir()) / "settings")
    page: dict[str, Any] = get_page_config(jupyter_path("labextensions"), settings)
    return any(name.partition(":")[0] == LAB for name in page.get("disabledExtensions", ()))


def server_extension() -> Iterator[Finding]:
    """Check the server pages that carry a sign-in's reply to the kernel.

    The settings are read as a server reads them when it starts: the first folder that names the
    extension decides.
    """
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    part = "Jupyter server extension"
    for folder in jupyter_config_path():
        settings = ExtensionConfigManager(read_config_path=[folder])
        named: dict[str, bool] = settings.get_jpserver_extensions()  # type: ignore[no-untyped-call]
        if named.get(SERVER):
            yield Finding(True, part, "enabled")
            return
        if SERVER in named:
            problem = f"disabled in {folder}: replies have to be pasted on other machines"
            yield Finding(
                False, part, problem, f"{_enable_server(Path(folder))}, then restart Jupyter"
            )
            return
    problem = "not installed: replies have to be pasted on other machines"
    yield Finding(False, part, problem, _install())


def _enable_server(folder: Path) -> str:
    from jupyter_core.paths import jupyter_config_dir

    file = folder / "jupyter_server_config.json"
    if file.exists() and SERVER in file.read_text():  # the command does not write this one
        return f'take "{SERVER}" out of {file}'
    if folder == Path(jupyter_config_dir()):
        level = " --user"
    else:
        level = "" if folder.is_relative_to(sys.prefix) else " --system"
    return f"jupyter server extension enable{level} {SERVER}"


def sign_in() -> Iterator[Finding]:
    """Check the route by which a sign-in's reply reaches the kernel."""
    part = "Sign-in route"
    folder = jupyter_runtime_folder()
    try:
        mailbox = Mailbox(folder)
    except (S4SError, OSError) as error:
        problem = str(error).splitlines()[0]
        yield Finding(False, part, problem, f"make {folder} a folder that only you can write to")
        return
    if not os.access(mailbox.folder, os.W_OK):
        problem = f"{mailbox.folder} is read-only"
        yield Finding(False, part, problem, f"chmod u+w '{mailbox.folder}'")
    elif in_notebook() and not mailbox.has_server():
        problem = (
            "this Jupyter server does not have our pages; Authorise works on this machine only"
        )
        yield Finding(False, part, problem, "restart Jupyter; elsewhere, paste the address back")
    else:
        yield Finding(True, part, "the Jupyter server's pages")
    yield Finding(True, "Pop-ups", "Authorise is a link to press; no blocker stops that")


def codecs() -> Iterator[Finding]:
    """Check the decoders of compressed pixel data."""
    from pydicom.pixels.decoders.base import get_decoder

    missing = [name for name, uid in CODECS.items() if not get_decoder(uid).is_available]
    yield Finding(
        not missing,
        "Codecs",
        f"missing: {', '.join(missing)}" if missing else ", ".join(CODECS),
        "pip install 's4s-notebook[codecs]', then restart the kernel",
    )


def memory(root: Path = Path("/")) -> Iterator[Finding]:
    """Check the free memory."""
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
    """Return the bytes left to this process, by the limit of its container if that is less."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":") for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None  # not Linux: nothing tells it without a further dependency
    for limit, used in CONTAINER:
        try:
            available = _number(root, limit) - _number(root, used)
        except (OSError, ValueError):  # not there, or "max": no limit
            continue
        free = min(free, available)
    return free


def _number(root: Path, name: str) -> int:
    return int((root / "sys/fs/cgroup" / name).read_text())


def store() -> Iterator[Finding]:
    """Check the store's folder, its free space and its files."""
    from .._connect import STORE_FOLDER
    from ..store.store import Store

    folder = os.environ.get(STORE_FOLDER)
    part = "Store"
    try:
        with Store(folder) as opened:
            free = shutil.disk_usage(opened.root).free
            damaged = opened.verify() if folder else []
    except S4SError as error:
        remedy = error.hint if folder is None else f"set {STORE_FOLDER} to a folder that is yours"
        yield Finding(False, part, error.problem, remedy)
        return
    location = folder or "a private temporary folder"
    yield Finding(
        free >= ENOUGH_DISK, part, f"{location}, {free / 1e9:.0f} GB free", "free some disk space"
    )
    if damaged:
        yield Finding(False, "Stored files", f"{len(damaged)} damaged", "download them again")


def leftovers() -> Iterator[Finding]:
    """Remove what processes that were killed left of their temporary stores, and say so."""
    removed, stuck = remove_leftovers()
    found = f"{removed} left by killed processes, removed now" if removed else "none left behind"
    if stuck:
        found = f"{len(stuck)} left by killed processes, with data"
    remedy = f"rm -r {' '.join(shlex.quote(str(path)) for path in stuck)}"
    yield Finding(not stuck, "Temporary stores", found, remedy)


def sandbox() -> Iterator[Finding]:
    """Check that a sandbox starts and answers."""
    from ..http.client import Transport
    from ..http.origins import Origins
    from ..sandbox import SandboxServer
    from ..smart.discovery import discover

    part = "Sandbox"
    try:
        with SandboxServer() as running:
            transport = Transport(origins=Origins(running.fhir_url))
            try:
                holder = discover(transport, running.fhir_url)
            finally:
                transport.close()
    except (S4SError, OSError) as error:
        yield Finding(False, part, str(error).splitlines()[0], "let Python listen on 127.0.0.1")
        return
    yield Finding(
        holder.authorize is not None,
        part,
        "answers, and describes its sign-in",
        "pip install --force-reinstall --no-deps s4s-notebook",
    )


_PARTS: tuple[Callable[[], Iterator[Finding]], ...] = (
    versions,
    lab_extension,
    server_extension,
    sign_in,
    codecs,
    memory,
    leftovers,
    store,
    sandbox,
)
