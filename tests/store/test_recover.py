"""Killed, full, flipped, lost, shared, linked: what the store says afterwards is still true."""

import hashlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s4s_notebook.errors import DiskProblem, StoreLocked, UnsafeStore
from s4s_notebook.store import Store, study_folder

from . import dicom
from .killed import HOLDER, file_study
from .test_receive import receive_chunks

HERE = Path(__file__).resolve().parents[2]


def run(code_or_module, *args, **options):
    command = [sys.executable, *code_or_module, *map(str, args)]
    return subprocess.run(command, cwd=HERE, timeout=60, capture_output=True, text=True, **options)


def open_study(store):
    return store.study(store.participant(HOLDER, "p1"), dicom.STUDY)


def assert_sound(root: Path, count: int) -> int:
    """Oracle S: each visible file is recorded and equal to what was sent; how many there are."""
    files = dicom.study_of(count, size=2000)
    with Store(root) as store:
        study = open_study(store)
        seen = set(study.path.rglob("*.dcm"))
        assert seen == set(study.paths())
        for uid, filed in study.instances().items():
            data = study.file(filed).read_bytes()
            assert data == files[uid]
            assert filed.sha256 == hashlib.sha256(data).hexdigest()
        return len(seen)


@pytest.mark.fault("F02")
def test_killed_at_each_write_sync_and_rename(tmp_path):
    count = 3
    fatal = 0
    while True:
        fatal += 1
        root = tmp_path / str(fatal)
        done = run(["-m", "tests.store.killed"], root, fatal, count)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        before = assert_sound(root, count)
        file_study(str(root), count)
        assert assert_sound(root, count) == count
        with Store(root) as store:
            assert open_study(store).complete()
            assert store.verify() == []
            parts = [name for name in root.rglob(".*") if name.name.startswith(".part")]
            assert not parts
        assert before <= count
    assert fatal > 20, "the deadly points were not reached"


@pytest.mark.fault("F02")
def test_what_was_recorded_and_not_yet_named_is_named_afterwards(tmp_path):
    file_study(str(tmp_path / "s"), 2)
    with Store(tmp_path / "s") as store:
        study = open_study(store)
        [one, two] = study.instances().values()
        # As if the process had died between the record and the rename.
        os.rename(study.file(one), study.path / one.part)
        (study.path / ".part-9-9").write_bytes(b"torn")
        assert set(study.instances()) == {two.sop_uid}
        with study.lock():
            assert set(study.instances()) == {one.sop_uid, two.sop_uid}
        assert not (study.path / ".part-9-9").exists()


full_disk = pytest.mark.skipif(
    subprocess.run(
        ["/usr/bin/env", "unshare", "-rm", "mount", "-t", "tmpfs", "x", "/mnt"],
        capture_output=True,
        check=False,
    ).returncode
    != 0,
    reason="no user namespaces here: cannot mount a small disk",
)

FULL = """
import sys
from tests.store import dicom, killed
from s4s_notebook.store import Store
from s4s_notebook.errors import DiskProblem
root = sys.argv[1]
try:
    killed.file_study(root, 400)
except DiskProblem as error:
    print("DiskProblem", error)
else:
    print("no error")
import os
os.system(f"mount -o remount,size=64m {root}")
with Store(root) as store:
    study = store.study(store.participant(killed.HOLDER, "p1"), dicom.STUDY)
    print("complete", study.complete(), "kept", len(study.instances()))
killed.file_study(root, 400)
with Store(root) as store:
    study = store.study(store.participant(killed.HOLDER, "p1"), dicom.STUDY)
    print("then", study.complete(), len(study.instances()), store.verify())
"""


@full_disk
@pytest.mark.fault("F03")
@pytest.mark.parametrize("size", ["300k", "600k", "900k", "1200k"])
def test_a_full_disk_is_an_error_and_goes_on_once_mended(tmp_path, size):
    program = f"exec {sys.executable} -c '{FULL}' {tmp_path}"
    mount = f"mount -t tmpfs -o size={size} x {tmp_path} && {program}"
    done = run_shell(["unshare", "-rm", "sh", "-c", mount])
    lines = done.stdout.splitlines()
    assert lines[0].startswith("DiskProblem"), done.stdout + done.stderr
    assert any(line.startswith("complete False kept") for line in lines), done.stdout
    assert lines[-1] == "then True 400 []", done.stdout + done.stderr


def run_shell(command):
    return subprocess.run(command, cwd=HERE, timeout=60, capture_output=True, text=True)


# Which calls of each fail, one at a time. The first mkdir is for the root, which is there already,
# and the first scandir looks for leftovers in the folder for temporary files: no failure counts.
FAILING = {
    "writev": (1, 2, 4, 7),
    "fsync": (1, 2, 4, 7),
    "replace": (1, 2, 4, 7),
    "mkdir": (2, 3, 4, 7),
    "unlink": (1, 2, 4, 7),
    "open": (1, 3, 6, 9, 12, 15, 18, 21, 24),
    "close": (1, 2, 4, 6, 8, 10, 12),
    "listdir": (1, 2),
    "scandir": (2, 3),
}


@pytest.mark.fault("F03")
@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("code", [5, 13, 28, 30])  # EIO, EACCES, ENOSPC, EROFS
def test_the_nth_call_that_fails_is_never_success(tmp_path, monkeypatch, name, code):
    real = getattr(os, name)
    for nth in FAILING[name]:
        root = tmp_path / f"{nth}"
        Store(root).close()
        calls = [0]

        def failing(*args, calls=calls, nth=nth, **options):
            if name == "close" and not stat.S_ISREG(os.fstat(args[0]).st_mode):
                return real(*args)  # only what was written to can fail to close
            calls[0] += 1
            if calls[0] == nth:
                raise OSError(code, os.strerror(code))
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            try:
                file_study(str(root), 3)
                failed = False
            except DiskProblem:
                failed = True
        assert failed or calls[0] < nth
        assert_sound(root, 3)
        file_study(str(root), 3)
        assert assert_sound(root, 3) == 3


@pytest.mark.fault("F04")
def test_a_flipped_bit_is_named_and_only_that_file_is_missing(tmp_path):
    file_study(str(tmp_path / "s"), 5)
    with Store(tmp_path / "s") as store:
        study = open_study(store)
        victim, lost, *_ = study.instances().values()
        path = study.file(victim)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        study.file(lost).unlink()
        found = {finding.sop_uid: finding.what for finding in store.verify()}
        assert found == {victim.sop_uid: "changed", lost.sop_uid: "missing"}
        assert not path.exists()
        assert not study.complete()
        assert len(study.instances()) == 3
        assert store.verify() == []
    file_study(str(tmp_path / "s"), 5)
    assert assert_sound(tmp_path / "s", 5) == 5


def spoil_nothing(path: Path) -> None:
    path.unlink()


def spoil_bytes(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def spoil_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def spoil_page(path: Path) -> None:
    """A page that opening does not look at: only a look at all of it tells."""
    data = bytearray(path.read_bytes())
    data[4096 * 4 : 4096 * 4 + 200] = bytes(200)
    path.write_bytes(data)


def spoil_version(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.commit()
    db.close()


@pytest.mark.fault("F05")
@pytest.mark.parametrize(
    "spoil", [spoil_nothing, spoil_bytes, spoil_middle, spoil_page, spoil_version]
)
def test_a_lost_corrupt_or_newer_index_is_made_again(tmp_path, spoil):
    root = tmp_path / "s"
    file_study(str(root), 4)
    with Store(root) as store:
        before = open_study(store).instances()
    for extra in ("index.sqlite-wal", "index.sqlite-shm"):
        (root / extra).unlink(missing_ok=True)
    spoil(root / "index.sqlite")
    with Store(root) as store:
        [participant] = store.iter_participants()
        assert (participant.holder, participant.patient) == (HOLDER, "p1")
        study = open_study(store)
        assert study.instances() == before
        assert study.complete()
        assert store.verify() == []


@pytest.mark.fault("F05")
def test_files_whose_record_is_lost_too_are_taken_in_by_what_they_say(tmp_path):
    root = tmp_path / "s"
    file_study(str(root), 4)
    with Store(root) as store:
        study = open_study(store)
        participant, before = study.participant.folder.path, set(study.instances())
        (study.paths()[0].parent / "stranger.dcm").write_bytes(b"MZ not one of ours")
    (root / "index.sqlite").unlink()
    (participant / "record.ndjson").unlink()
    with Store(root) as store:
        study = open_study(store)
        with study.lock():
            assert set(study.instances()) == before
        assert not list(root.rglob("stranger.dcm"))


@pytest.mark.fault("F05", "D13", "E01", "E06")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (dicom.make(dicom.sop(9), study="1.2.3"), "other-study"),
        (dicom.make(dicom.sop(9), patient="P2"), "other-patient"),
        (dicom.make(dicom.sop(9), meta_sop="1.2.3"), "uids-disagree"),
        (dicom.make(dicom.sop(9), preamble=b"MZ"), "program"),
        (dicom.make(dicom.sop(8)), "stranger"),
    ],
)
def test_a_file_without_a_record_is_judged_like_one_that_arrives(tmp_path, data, why):
    root = tmp_path / "s"
    file_study(str(root), 4)
    with Store(root) as store:
        study = open_study(store)
        (study.path / dicom.SERIES / f"{dicom.sop(9)}.dcm").write_bytes(data)
        with study.lock():
            assert len(study.instances()) == 4
        assert len(list((root / "quarantine").rglob(f"*.{why}"))) == 1


@pytest.mark.fault("F07")
@pytest.mark.parametrize("what", ["link", "link to nothing", "folder"])
def test_what_is_planted_beside_the_files_is_refused(tmp_path, what):
    root, outside = tmp_path / "s", tmp_path / "outside"
    outside.write_bytes(dicom.make(dicom.sop(9)))
    file_study(str(root), 1)
    with Store(root) as store:
        place = open_study(store).paths()[0].with_name(f"{dicom.sop(9)}.dcm")
    if what == "folder":
        place.mkdir()
    else:
        place.symlink_to(outside if what == "link" else tmp_path / "nothing")
    with pytest.raises((UnsafeStore, DiskProblem)):
        file_study(str(root), 2)


@pytest.mark.fault("F02")
def test_verify_names_no_file_that_only_lacks_its_name(tmp_path):
    """As when the process died between the record and the rename."""
    root = tmp_path / "s"
    file_study(str(root), 2)
    with Store(root) as store:
        study = open_study(store)
        one = next(iter(study.instances().values()))
        os.rename(study.file(one), study.path / one.part)
        assert store.verify() == []
        assert study.file(one).exists()


def test_verifying_waits_for_no_download_unless_something_is_odd(tmp_path):
    root = tmp_path / "s"
    file_study(str(root), 3)
    with Store(root) as store, Store(root) as other, open_study(other).lock():
        assert store.verify() == []
        path = open_study(store).paths()[0]
        path.write_bytes(b"rot")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(study_folder, "_LOCK_TIMEOUT", 0.2)
            with pytest.raises(StoreLocked):
                store.verify()
        assert path.exists()
    with Store(root) as store:
        assert [found.what for found in store.verify()] == ["changed"]


@pytest.mark.fault("F06")
def test_two_processes_share_a_store(tmp_path):
    root = tmp_path / "s"
    command = [sys.executable, "-m", "tests.store.killed", str(root), "0", "40"]
    both = [subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert assert_sound(root, 40) == 40
    with Store(root) as store:
        assert store.verify() == []


@pytest.mark.fault("F06")
def test_many_processes_make_a_store_at_once(tmp_path):
    code = (
        "import sys, time\nfrom s4s_notebook.store import Store\n"
        "for number in range(100):\n"
        "  time.sleep(max(0, float(sys.argv[2]) + number / 50 - time.time()))\n"
        "  with Store(f'{sys.argv[1]}/{number}') as store:\n    assert store.verify() == []\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(time.time() + 2)]
    several = [subprocess.Popen(command, stderr=subprocess.PIPE, cwd=HERE) for _ in range(3)]
    said = [process.communicate(timeout=60)[1] for process in several]
    assert [process.returncode for process in several] == [0, 0, 0], said


@pytest.mark.fault("F06")
def test_a_lock_that_another_process_holds_is_waited_for_and_then_named(tmp_path):
    root = tmp_path / "s"
    file_study(str(root), 1)
    hold = (
        "import sys\nfrom tests.store import dicom,killed\n"
        "from s4s_notebook.store import Store\n"
        "s=Store(sys.argv[1])\nst=s.study(s.participant(killed.HOLDER,'p1'),dicom.STUDY)\n"
        "with st.lock():\n print('held',flush=True)\n sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", hold, str(root)]
    holder = subprocess.Popen(
        command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder, Store(root) as store:
        assert holder.stdout.readline() == "held\n"
        study = open_study(store)
        with pytest.raises(StoreLocked), study.lock(limit=0.2):
            pytest.fail("two held one lock")
        ticks = []

        def tick():
            ticks.append(1)
            if len(ticks) == 3:
                holder.kill()  # a lock goes with its process

        with study.lock(tick):
            assert len(ticks) >= 3


@pytest.mark.fault("F07")
@pytest.mark.parametrize(
    "depth", ["holder", "patient", "study", "series", "file", "record", "index", "wal"]
)
def test_a_planted_link_is_refused(tmp_path, depth):
    root, outside = tmp_path / "s", tmp_path / "outside"
    file_study(str(root), 1)
    with Store(root) as store:
        study = open_study(store)
        [path] = study.paths()
    places = {
        "holder": path.parents[3],
        "patient": path.parents[2],
        "study": path.parents[1],
        "series": path.parents[0],
        "file": path,
        "record": path.parents[2] / "record.ndjson",
        "index": root / "index.sqlite",
        "wal": root / "index.sqlite-wal",
    }
    victim = places[depth]
    if depth == "wal":
        victim.write_bytes(b"")
    shutil.move(victim, outside)
    victim.symlink_to(outside)
    before = sorted(outside.rglob("*")) if outside.is_dir() else outside.read_bytes()
    try:
        file_study(str(root), 3)
        survived = True
    except UnsafeStore:
        survived = False
    # A link in place of an instance is not followed: the instance is fetched anew.
    assert survived == (depth == "file")
    after = sorted(outside.rglob("*")) if outside.is_dir() else outside.read_bytes()
    assert after == before
    if depth == "file":
        assert not victim.is_symlink()


@pytest.mark.fault("F07")
def test_a_link_swapped_in_while_writing_is_refused(tmp_path):
    root, outside = tmp_path / "s", tmp_path / "outside"
    outside.mkdir()
    with Store(root) as store:
        study = open_study(store)

        def swapping():
            yield dicom.make()
            (study.path / dicom.SERIES).symlink_to(outside)

        with pytest.raises(UnsafeStore):
            receive_chunks(study, swapping())
    assert list(outside.iterdir()) == []


@pytest.mark.fault("F08")
def test_modes_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        file_study(str(tmp_path / "s"), 2)
    finally:
        os.umask(old)
    for path in [tmp_path / "s", *(tmp_path / "s").rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.fault("F08")
def test_a_root_that_others_can_enter_is_closed_to_them(tmp_path):
    (tmp_path / "s").mkdir()
    os.chmod(tmp_path / "s", 0o755)
    Store(tmp_path / "s").close()
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700


def test_without_a_folder_everything_goes_with_the_store():
    with Store() as store:
        root = store.root
        store.participant(HOLDER, "p1")
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert not root.exists()
