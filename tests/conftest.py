"""What every test has around it: canary secrets, real components, the data beside the checkout."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.faultserver.fixtures"]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NO_SKIP = os.environ.get("S4S_NO_SKIP") == "1"

# ------------------------------------------------------------------ real components

PROGRAMS = {
    "orthanc": ("Orthanc",),
    "dcmtk": ("dcmj2pnm", "dcml2pnm", "dcmqrscp"),
    "chromium": ("chromium",),
    "node": ("node",),
    "curl": ("curl",),
}


def missing(part: str) -> str | None:
    """Say what `part` lacks on this machine, or None when it is there."""
    if part == "shared-data":
        return None if SHARED.is_dir() else "the folder ../shared/data"
    absent = [program for program in PROGRAMS[part] if shutil.which(program) is None]
    return f"the program {', '.join(absent)}" if absent else None


# A shell that starts us in the background has us ignore ■ (SIGINT); some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the soaks too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Playwright's sync API leaves an event loop running, under which asyncio.run() refuses.
    items.sort(key=lambda item: "browser" in item.path.parts)
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="a soak: run with --slow"))
        for marker in item.iter_markers("needs"):
            lacks = [text for part in marker.args if (text := missing(part))]
            if lacks and not NO_SKIP:
                item.add_marker(pytest.mark.skip(reason="needs " + " and ".join(lacks)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not NO_SKIP:
        return
    for marker in item.iter_markers("needs"):
        for part in marker.args:
            if text := missing(part):
                pytest.fail(f"skipping is forbidden here, and this test needs {text}")


# ------------------------------------------------------------------ waits of one test only

os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="s4s-state-")


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give each test a state folder of its own: a port may be used again."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


# ------------------------------------------------------------------ data beside the checkout

_opened: set[str] = set()
_BESIDE = str(SHARED.parent)


def _watch_shared(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(args[0], str | Path) and str(args[0]).startswith(_BESIDE):
        _opened.add(str(args[0]))


sys.addaudithook(_watch_shared)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real FHIR data beside the checkout; mark the test needs("shared-data")."""
    return SHARED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if SHARED.is_dir():
        for folder in (SHARED, SHARED.parent / "cases"):
            files = {str(path) for path in folder.rglob("*") if path.is_file()}
            used = len(_opened & files)
            terminalreporter.write_line(f"shared {folder.name}: {used} of {len(files)} files used")


# ------------------------------------------------------------------ canaries

MARK = "cAnArY"
# A state and a client id stand in the authorise URL, which is made to be shown.
SHOWN = re.compile(rf"(?:state|client_id)(?:=|%3D)[\w.~-]*{MARK}[\w.~-]*")
_real_token = secrets.token_urlsafe


def _marked_token(nbytes: int | None = None) -> str:
    return MARK + _real_token(nbytes)


def leaks(text: str) -> bool:
    """Tell whether `text` holds a canary other than where an authorise URL shows it."""
    return MARK in SHOWN.sub("", text)


class Canary:
    """Secrets for tests. A test that finds one outside the place it belongs to has found a leak."""

    def __init__(self) -> None:
        self.token = f"{MARK}-token-{_real_token(8)}"
        self.refresh = f"{MARK}-refresh-{_real_token(8)}"
        self.code = f"{MARK}-code-{_real_token(8)}"
        self.secret = f"{MARK}-secret-{_real_token(8)}"
        self.name = f"{MARK}-name-{_real_token(8)}"
        self.allowed: set[Path] = set()

    def allow(self, path: Path) -> None:
        """Let `path` (a file or a folder) hold secrets: the test says that they belong there."""
        self.allowed.add(path.resolve())

    def allows(self, path: Path) -> bool:
        resolved = path.resolve()
        return any(place == resolved or place in resolved.parents for place in self.allowed)


class _LeakHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if leaks(text):
            self.found.append(f"{record.name} ({record.levelname})")


def _files_with_canary(folder: Path, canary: Canary) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or canary.allows(path):
            continue
        if path.stat().st_size < 64 << 20 and leaks(path.read_bytes().decode("latin-1")):
            found.append(path.name)
    return found


#: Browsers and Jupyter servers keep profiles and logs of their own, which their tests look into.
OWN_PLACES = {"browser", "jupyter", "notebooks", "binder", "widgets"}


def _temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary files, of this process and of those it starts, in a folder of this test."""
    above = request.getfixturevalue("tmp_path_factory").getbasetemp()
    folder = Path(tempfile.mkdtemp(prefix="t", dir=above))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def _mark_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the secrets marked that a process makes which the test starts."""
    known = os.environ.get("PYTHONPATH")
    places = [str(Path(__file__).parent / "canary"), *([known] if known else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))


@pytest.fixture(autouse=True)
def canary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """Mark every secret made during the test, and fail the test if one gets out.

    Looked through: all logging at DEBUG, the files under tmp_path and temporary ones (stores
    and notebooks among them), and (in `pytest_runtest_makereport`) output and traceback. What
    reaches a foreign host is counted by `tests.faultserver.Sink`.
    """
    canary = Canary()
    folders = []
    if not OWN_PLACES & set(request.path.parts):
        folders.append(_temporary(request, monkeypatch))
        _mark_children(monkeypatch)
    monkeypatch.setattr(secrets, "token_urlsafe", _marked_token)
    handler = _LeakHandler()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    if "tmp_path" in request.fixturenames:
        folders.append(request.getfixturevalue("tmp_path"))
    yield canary
    root.removeHandler(handler)
    root.setLevel(level)
    assert not handler.found, f"a secret was logged by {sorted(set(handler.found))}"
    names = [name for folder in folders for name in _files_with_canary(folder, canary)]
    assert not names, f"a secret was written to {names}"


# ------------------------------------------------------------------ fault cases

_outcomes: dict[str, dict[str, str]] = {}  # case → test → how it ended


def _record_fault(item: pytest.Item, report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome == "failed":
        for marker in item.iter_markers("fault"):
            for case in marker.args:
                _outcomes.setdefault(case, {})[item.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave word for `python -m tests.faults` of which cases ran and how they ended."""
    if _outcomes:
        # `tests/run` runs two sessions side by side, and each leaves its own.
        name = f"s4s-faults-{os.environ.get('S4S_FAULTS', 'all')}.json"
        record = session.config.rootpath / ".pytest_cache" / name
        record.parent.mkdir(exist_ok=True)
        known: dict[str, dict[str, str]] = {}
        if session.config.getoption("lf", False) and record.exists():  # once more
            known = json.loads(record.read_text())
        for case, ends in _outcomes.items():
            known.setdefault(case, {}).update(ends)
        record.write_text(json.dumps(known))


# ------------------------------------------------------------------ one look at each report


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    texts = [text for _, text in report.sections] + [report.longreprtext]
    if any(leaks(text) for text in texts):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a canary secret reached output or traceback"
        report.sections = []
    _record_fault(item, report)
