"""`s4s demo`: the first notebook with a sandbox, in JupyterLab or (`--check`) without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from .._connect import SANDBOX_APPROVE, SANDBOX_URL, STORE_FOLDER
from ..errors import S4SError
from ..jupyter.launcher import shipped

if TYPE_CHECKING:
    from ..sandbox import SandboxServer
    from ..store.store import Store

NOTEBOOK = "00-first-image.ipynb"
PATIENT = "smart-1288992"
FOLDER = "s4s-notebooks"
_COPIED = ".s4s-copied.json"  # the SHA-256 of each file when it was copied


def demo(*, browser: bool = True) -> int:
    """Start the sandbox, open JupyterLab on the first notebook, stop both on Ctrl-C.

    The notebooks are copied into ``s4s-notebooks`` in the working folder.
    """
    from ..sandbox import SandboxServer

    folder = own_copy(Path.cwd() / FOLDER)
    with TemporaryDirectory(prefix="s4s-demo-") as settings, SandboxServer() as sandbox:
        print(f"The notebooks are copied to {folder}")
        print(f"The sandbox, a data holder with made-up patients, is at {sandbox.fhir_url}")
        print("JupyterLab opens; choose Run > Run All Cells. Ctrl-C here ends both.")
        command = [
            *(sys.executable, "-m", "jupyter", "lab"),
            f"--ServerApp.root_dir={folder}",
            f"--LabApp.default_url=/lab/tree/{NOTEBOOK}",
            "--LabApp.news_url=None",
            *([] if browser else ["--no-browser"]),
            *(["--allow-root"] if _is_root() else []),
        ]
        environment = {
            **os.environ,
            SANDBOX_URL: sandbox.fhir_url,
            "JUPYTER_CONFIG_PATH": _quiet_settings(Path(settings)),
        }
        process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait()


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def own_copy(folder: Path) -> Path:
    """Copy the workshop's notebooks into ``folder``, and return it.

    A file that somebody has changed there stays; one that nobody has touched is brought up to date.
    """
    source, files = shipped()
    if not files:
        raise S4SError("The notebooks are not installed.", hint="Reinstall s4s-notebook.")
    record = folder / _COPIED
    copied: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    for file in files:
        name, target = file.relative_to(source).as_posix(), folder / file.relative_to(source)
        if target.exists() and _digest(target) != copied.get(name):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        copied[name] = _digest(target)
    record.write_text(json.dumps(copied))
    return folder


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _quiet_settings(folder: Path) -> str:
    """Write JupyterLab settings for the demo, and return the value of JUPYTER_CONFIG_PATH.

    No dialog about Jupyter's news, and every cell stays in the page, so that what has to be
    pressed can come into view.
    """
    settings = {
        "@jupyterlab/apputils-extension:notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        },
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    }
    (folder / "labconfig").mkdir()
    overrides = folder / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(settings))
    before = os.environ.get("JUPYTER_CONFIG_PATH", "")
    return os.pathsep.join(filter(None, [str(folder), before]))


@dataclass
class DemoReport:
    """What the check saw, line by line, and what was not as it should be."""

    failures: list[str] = field(default_factory=list)

    def say(self, text: str = "") -> None:
        """Print a line."""
        print(text)

    def require(self, condition: object, text: str) -> None:
        """Print one requirement as met or not met."""
        self.say(f"  {'ok ' if condition else 'NOT'} {text}")
        if not condition:
            self.failures.append(text)


def demo_check() -> int:
    """Run the first notebook in a real kernel against a real sandbox and judge what happened.

    Prints each call of the Sync for Science document with its status, the waits, the rows of
    each frame, the files with their size and SHA-256, and where the picture is. Returns 0 when
    all is as it should be, else 1.
    """
    from ..sandbox import SandboxServer

    report = DemoReport()
    with TemporaryDirectory(prefix="s4s-check-") as folder, SandboxServer() as sandbox:
        store = Path(folder) / "store"
        executed = _run_notebook(Path(folder), sandbox, store)
        _search_open_holder(sandbox)
        _judge_calls(report, sandbox.requests)
        _judge_store(report, store)
        _judge_picture(report, executed)
    report.say()
    if report.failures:
        report.say(f"{len(report.failures)} not as it should be:")
        for text in report.failures:
            report.say(f"  {text}")
        return 1
    report.say("All as it should be.")
    return 0


def _run_notebook(folder: Path, sandbox: SandboxServer, store: Path) -> Any:
    import nbformat
    from nbclient import NotebookClient

    source, _ = shipped()
    book = nbformat.read(source / NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    environment = {
        **os.environ,
        SANDBOX_URL: sandbox.fhir_url,
        SANDBOX_APPROVE: PATIENT,
        STORE_FOLDER: str(store),
    }
    client = NotebookClient(
        book,
        timeout=300,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env=environment)


def _search_open_holder(sandbox: SandboxServer) -> None:
    """Make the four example searches of the Imaging Data use case verbatim, without a token."""
    from ..http.client import Transport
    from ..http.origins import Origins

    base = sandbox.open_fhir_url
    transport = Transport(origins=Origins(base))
    try:
        for kind in ("ImagingStudy", "ExplanationOfBenefit"):
            for since in ("", "&_lastUpdated=gt2016-04-16"):
                url = f"{base}/{kind}?patient={PATIENT}{since}"
                transport.request("GET", url, accept="application/json+fhir").json()
    finally:
        transport.close()


@dataclass(frozen=True)
class ListedCall:
    """A call that the Sync for Science document lists, and its mark among the requests."""

    name: str
    matches: Callable[[str, str, dict[str, str]], bool]
    statuses: tuple[int, ...] = (200,)


def _search(kind: str, base: str, *, since: bool, key: str = "patient") -> Callable[..., bool]:
    def matches(method: str, path: str, query: dict[str, str]) -> bool:
        return (
            method == "GET"
            and path == f"{base}/{kind}"
            and query.get(key) == PATIENT
            and query.get("_lastUpdated", "").startswith("gt") is since
        )

    return matches


def _ends(method: str, *endings: str) -> Callable[..., bool]:
    return lambda made, path, _query: made == method and path.endswith(endings)


FHIR, OPEN = "/api/fhir", "/api/open-fhir"
CALLS = (
    ListedCall("discovery", _ends("GET", "/.well-known/smart-configuration", "/metadata")),
    ListedCall("authorise", _ends("GET", "/authorize"), (200, 302, 303)),
    ListedCall("token", _ends("POST", "/token")),
    ListedCall("GET Patient/{id}", _ends("GET", f"{FHIR}/Patient/{PATIENT}")),
    ListedCall(
        "GET Coverage?beneficiary=", _search("Coverage", FHIR, since=False, key="beneficiary")
    ),
    *(
        ListedCall(
            f"GET {kind}?patient={'&_lastUpdated=gt…' if since else ''}{where}",
            _search(kind, base, since=since),
        )
        for base, where in ((FHIR, ""), (OPEN, " on /api/open-fhir, no token"))
        for kind in ("ImagingStudy", "ExplanationOfBenefit")
        for since in (False, True)
    ),
    ListedCall("GET …/studies/{uid}", lambda made, path, _q: made == "GET" and "/studies/" in path),
)


def _judge_calls(report: DemoReport, requests: Sequence[Any]) -> None:
    report.say("Every request, in order:")
    for request in requests:
        after = f"  Retry-After: {request.retry_after}" if request.retry_after else ""
        report.say(f"  {request.status} {request.method} {request.path}{after}")
    report.say("\nThe calls of the Sync for Science document:")
    for call in CALLS:
        seen = [request for request in requests if _is(call, request)]
        good = [request for request in seen if request.status in call.statuses]
        status = ", ".join(sorted({str(request.status) for request in seen})) or "never asked"
        report.require(good, f"{call.name}: {status}")
    open_calls = [request for request in requests if urlsplit(request.path).path.startswith(OPEN)]
    report.require(
        open_calls and not any(request.token for request in open_calls),
        "no token was sent to the open holder",
    )
    _judge_waits(report, requests)


def _is(call: ListedCall, request: Any) -> bool:
    parts = urlsplit(request.path)
    return call.matches(request.method, parts.path, dict(parse_qsl(parts.query)))


def _judge_waits(report: DemoReport, requests: Sequence[Any]) -> None:
    report.say("\nThe waits:")
    refused = [request for request in requests if request.status == 503 and request.retry_after]
    report.require(refused, f"503 with Retry-After: {len(refused)}")
    for first in refused:
        again = next((r for r in requests if r.path == first.path and r.time > first.time), None)
        waited = again.time - first.time if again else 0.0
        report.require(
            again and waited >= float(first.retry_after),
            f"asked again after {waited:.2f} s; the holder had said {first.retry_after} s",
        )


def _judge_store(report: DemoReport, root: Path) -> None:
    from ..store.store import Store

    report.say("\nThe tables, read again from the store:")
    with Store(root) as store:
        for name, frame in _frames(store):
            report.require(len(frame), f"{name}: {len(frame)} rows, {frame.shape[1]} columns")
        report.say("\nThe files:")
        files = list(_files(store))
        for name, size, digest in files:
            report.say(f"      {size:>9,} bytes  {digest}  {name}")
        total = sum(size for _, size, _ in files)
        report.require(files, f"{len(files)} files, {total:,} bytes")
        findings = store.verify()
        report.require(not findings, f"hashed again from disk: {len(findings)} missing or changed")


def _files(store: Store) -> Iterator[tuple[str, int, str]]:
    """Name, size in bytes and SHA-256 of every file in the store."""
    for participant in store.iter_participants():
        for uid in participant.study_uids():
            for filed in store.study(participant, uid).instances().values():
                yield filed.name, filed.size, filed.sha256


def _frames(store: Any) -> Iterable[tuple[str, Any]]:
    for name in ("patients", "coverage", "studies", "series", "benefits", "benefit_lines"):
        yield name, getattr(store, name)()


def _judge_picture(report: DemoReport, book: Any) -> None:
    report.say("\nThe picture:")
    last = [cell for cell in book.cells if cell.cell_type == "code"][-1]
    pictures = [output for output in last.outputs if "image/png" in getattr(output, "data", {})]
    report.require(len(pictures) == 1, "one PNG is the output of the last cell")
    for picture in pictures:
        alt = picture.metadata.get("image/png", {}).get("alt", "")
        report.require(alt, f"it has alt text: {alt}")
        copy = Path(mkdtemp(prefix="s4s-picture-")) / "first-image.png"
        copy.write_bytes(base64.b64decode(picture.data["image/png"]))
        report.say(f"      a copy of it is {copy}")
