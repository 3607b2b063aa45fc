"""Systems without POSIX's calls, indexes that cannot be opened, lines that make no sense."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from s4s_notebook import private_files as system
from s4s_notebook.errors import DiskProblem, StoreError, UnsafeStore
from s4s_notebook.smart.token_store import KeyringTokenStore
from s4s_notebook.store import Store, index

from .killed import HOLDER, file_study
from .test_recover import open_study


@pytest.fixture
def plain_system(monkeypatch):
    """A system that cannot open names relative to a folder, as Windows."""
    monkeypatch.setattr(system, "RELATIVE", False)
    monkeypatch.setattr(system, "_NO_FOLLOW", 0)
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    monkeypatch.delattr(os, "writev", raising=False)


def test_without_relative_names_a_study_is_filed_verified_and_purged(plain_system, tmp_path):
    root = tmp_path / "s"
    file_study(str(root), 3)
    with Store(root) as store:
        study = open_study(store)
        assert study.complete()
        assert store.verify() == []
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in study.paths())
        store.purge(patient="p1")
        assert not list(root.rglob("*.dcm"))


@pytest.mark.fault("F07")
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_without_relative_names_links_are_refused_too(plain_system, tmp_path, depth):
    root, outside = tmp_path / "s", tmp_path / "outside"
    file_study(str(root), 1)
    with Store(root) as store:
        [path] = open_study(store).paths()
    victim = [path, *path.parents][depth]
    victim.rename(outside)
    victim.symlink_to(outside)
    try:
        file_study(str(root), 2)
        refused = False
    except UnsafeStore:
        refused = True
    assert refused == (depth > 0)
    assert depth > 0 or not victim.is_symlink()


def test_without_relative_names_a_linked_record_is_refused(plain_system, tmp_path):
    root = tmp_path / "s"
    file_study(str(root), 1)
    with Store(root) as store:
        record = open_study(store).participant.folder.path / "record.ndjson"
    record.rename(tmp_path / "elsewhere")
    record.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeStore):
        file_study(str(root), 2)


@pytest.mark.fault("F08")
def test_a_root_of_somebody_else_is_refused(tmp_path, monkeypatch):
    (tmp_path / "s").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UnsafeStore):
        Store(tmp_path / "s")


SHARED = (0o770, 0o2770, 0o2755, 0o775, 0o750, 0o1777, 0o777)


@pytest.mark.fault("M05")
@pytest.mark.parametrize("mode", SHARED, ids=oct)
def test_a_folder_that_a_group_shares_keeps_its_mode(tmp_path, mode):
    shared = tmp_path / "project"
    shared.mkdir()
    (shared / "theirs.txt").write_text("of a colleague")
    shared.chmod(mode)
    file_study(str(shared), 1)
    assert stat.S_IMODE(shared.stat().st_mode) == mode
    with Store(shared) as store:  # the same one again
        assert store.root == shared / f"s4s-{os.getuid()}"
        assert [path.name for path in open_study(store).paths()]
        assert store.verify() == []
    assert sorted(os.listdir(shared)) == [store.root.name, "theirs.txt"]
    for path in (store.root, *store.root.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.fault("M05")
def test_a_store_that_was_opened_to_others_later_is_closed_and_not_left(tmp_path):
    """F08 for a store: nobody's data are hidden behind an empty new store."""
    root = tmp_path / "s"
    file_study(str(root), 1)
    root.chmod(0o770)
    with Store(root) as store:
        assert store.root == root
        assert open_study(store).paths()
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@pytest.mark.fault("M05", "F07")
def test_in_a_shared_folder_a_planted_link_or_folder_is_refused(tmp_path):
    shared, mine = tmp_path / "project", tmp_path / "mine"
    shared.mkdir()
    mine.mkdir(mode=0o755)
    shared.chmod(0o1777)
    inside = shared / f"s4s-{os.getuid()}"
    inside.symlink_to(mine)
    with pytest.raises(UnsafeStore, match="link"):
        Store(shared)
    assert (os.listdir(mine), stat.S_IMODE(mine.stat().st_mode)) == ([], 0o755)
    inside.unlink()
    if os.getuid() == 0:
        inside.mkdir()
        os.chown(inside, 12345, 12345)
        with pytest.raises(UnsafeStore, match="another user"):
            Store(shared)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_no_name_leads_out_of_a_folder(tmp_path, name):
    folder = system.Folder.root(tmp_path / "s")
    with pytest.raises(UnsafeStore):
        folder.open(name)
    folder.close()
    folder.close()


@pytest.mark.fault("F06")
def test_an_index_that_another_holds_is_not_thrown_away(tmp_path, monkeypatch):
    root = tmp_path / "s"
    file_study(str(root), 1)
    monkeypatch.setattr(index, "_BUSY", 0.1)
    other = sqlite3.connect(root / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    number = (root / "index.sqlite").stat().st_ino
    with pytest.raises(DiskProblem):
        Store(root)
    other.execute("ROLLBACK")
    other.close()
    assert (root / "index.sqlite").stat().st_ino == number
    Store(root).close()


@pytest.mark.fault("F03", "F05")
def test_an_index_that_cannot_be_made_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_TABLES", "CREATE NONSENSE")
    with pytest.raises(DiskProblem):
        Store(tmp_path / "s")
    (tmp_path / "s" / "index.sqlite").write_bytes(b"not a database, though long enough" * 100)
    with pytest.raises(DiskProblem):
        Store(tmp_path / "s")


def test_a_store_that_was_closed_says_so(tmp_path):
    store = Store(tmp_path / "s")
    participant = store.participant(HOLDER, "p1")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        participant.sync_point("Coverage")
    with pytest.raises(DiskProblem, match="closed"):
        list(store.iter_participants())


@pytest.mark.fault("F05")
@pytest.mark.parametrize(
    "line", [b"5", b"{}", b'{"t":"later version"}', b'{"t":"file"}', b'{"t":["x"]}', b"\xff\xfe",
             b'{"t":"wait","what":{"a":1},"not_before":1,"seconds":1}']
)  # fmt: skip
def test_a_line_that_makes_no_sense_costs_itself_alone(tmp_path, line):
    root = tmp_path / "s"
    file_study(str(root), 2)
    with Store(root) as store:
        record = open_study(store).participant.folder.path / "record.ndjson"
    lines = record.read_bytes().splitlines()
    record.write_bytes(b"\n".join([lines[0], line, *lines[1:]]) + b"\n")
    (root / "index.sqlite").unlink()
    with Store(root) as store:
        assert open_study(store).complete()
        assert store.verify() == []
    file_study(str(root), 3)
    with Store(root) as store:
        assert len(open_study(store).instances()) == 3


def test_half_a_transaction_is_taken_back(tmp_path):
    with Store(tmp_path / "s") as store:
        who = store.participant(HOLDER, "p1")

        def breaks():
            yield {"t": "wait", "what": "w", "not_before": 9.0, "seconds": 9.0}, 0, 5
            raise RuntimeError("half way")

        with pytest.raises(RuntimeError):
            store._index.apply(who.id, breaks())
        assert who.remaining_wait("w", 0.0) == 0.0
        store._index.apply(who.id, [])


def test_a_lock_on_a_file_that_its_holder_removed_guards_nothing(tmp_path, monkeypatch):
    import fcntl

    folder = system.Folder.root(tmp_path / "s")
    real, tries = fcntl.flock, []

    def too_late(fd, how):
        if not tries:
            (tmp_path / "s" / "x.lock").unlink()
        tries.append(fd)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    with system.lock(folder, "x.lock"):
        assert len(tries) == 2
        assert (tmp_path / "s" / "x.lock").exists()
    assert not (tmp_path / "s" / "x.lock").exists()
    folder.close()


def test_without_the_keyring_package_there_is_no_keyring(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert not KeyringTokenStore.available()


@pytest.mark.parametrize("longest", [1, 3, 4, 5, 9, 100])
@pytest.mark.parametrize("gathering", [True, False])
def test_a_write_that_stops_short_goes_on(tmp_path, monkeypatch, longest, gathering):
    """As near a full disk; and where several pieces cannot be written in one call (Windows)."""
    if gathering:
        real = os.writev
        monkeypatch.setattr(os, "writev", lambda fd, left: real(fd, [b"".join(left)[:longest]]))
    else:
        real_write = os.write
        monkeypatch.delattr(os, "writev")
        monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:longest]))
    with open(tmp_path / "file", "wb") as file:
        system.write_all(file.fileno(), b"abcd", b"", memoryview(b"ef"), b"ghi")
    assert (tmp_path / "file").read_bytes() == b"abcdefghi"


def test_a_large_store_in_a_process_that_may_have_few_files_open(tmp_path):
    command = [sys.executable, "-m", "tests.store.few_files", str(tmp_path / "s")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["60", "60", "59", "0"], ran.stderr
