"""Temporary stores of processes that are killed, for real, with SIGKILL."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from s4s_notebook import Store, temporary
from s4s_notebook.cli import doctor

FILL = """
import sys
import s4s_notebook as s4s
with s4s.Sandbox(retry_after=0) as sandbox:
    me = sandbox.connect()
    me.download(me.studies().iloc[0]).result(60)
    print(me.store.root, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder for temporary files of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def start(room: Path, program: str = FILL) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that fills a temporary store, and return it when it has."""
    environment = os.environ | {"TMPDIR": str(room)}
    environment.pop("S4S_STORE", None)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str], *, kill: bool) -> None:
    if kill:
        process.kill()
    process.communicate()


@pytest.mark.fault("L08")
@pytest.mark.parametrize("folder", [None, "named"])
def test_what_a_killed_process_left_is_removed_by_the_next_store_alone(room, folder) -> None:
    killed, leftover = start(room)
    alive, used = start(room)
    end(killed, kill=True)
    assert [*leftover.rglob("*.dcm")]
    with Store(folder and room / folder) as store:
        assert not leftover.exists()
        assert [*used.rglob("*.dcm")]
        assert store.root.exists()
    assert store.root.exists() == (folder is not None)
    end(alive, kill=False)
    assert not used.exists()


@pytest.mark.fault("L08")
def test_the_doctor_tells_of_leftovers_and_removes_them(room) -> None:
    killed, leftover = start(room)
    end(killed, kill=True)
    (finding,) = doctor.leftovers()
    assert finding.good
    assert finding.found == "1 left by killed processes, removed now"
    assert not leftover.exists()
    (finding,) = doctor.leftovers()
    assert finding.found == "none left behind"


@pytest.mark.fault("L08")
def test_images_fetched_from_a_pacs_are_no_leftover_for_long(room) -> None:
    fetched = """
import sys
from s4s_notebook.sandbox.pacs.archive import PacsArchive
from s4s_notebook.sandbox.settings import Pacs
archive = PacsArchive(Pacs("ARCHIVE", "127.0.0.1", 9, store_port=0), {})
archive.start()
(archive._folder / "image.dcm").write_bytes(b"image")
print(archive._folder, flush=True)
sys.stdin.read()
"""
    killed, leftover = start(room, fetched)
    assert (leftover / "image.dcm").exists()
    end(killed, kill=True)
    assert temporary.remove_leftovers() == (1, [])
    assert not leftover.exists()


def test_what_is_no_leftover_stays(room) -> None:
    other = room / "s4s-private-elsewhere"
    other.mkdir(mode=0o755)
    (other / "notes.txt").write_text("mine")
    empty = room / "s4s-private-new"
    empty.mkdir(mode=0o700)
    target = room / "target"
    target.mkdir(mode=0o700)
    (target / "data").write_text("x")
    (room / "s4s-private-link").symlink_to(target)
    assert temporary.remove_leftovers() == (0, [])
    assert (other / "notes.txt").exists()
    assert empty.exists()
    assert (target / "data").exists()


def test_what_cannot_be_removed_is_told(room, monkeypatch) -> None:
    killed, leftover = start(room)
    end(killed, kill=True)
    # Root may remove everything, so a disk that refuses cannot be made here for every user.
    monkeypatch.setattr(temporary.shutil, "rmtree", lambda *_, **__: None)
    (finding,) = doctor.leftovers()
    assert not finding.good
    assert finding.mend == f"rm -r {leftover}"
