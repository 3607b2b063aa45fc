"""What arrives is checked before it has a name."""

import contextvars
import hashlib
import os
import stat
import threading
import time

import pytest

from s4s_notebook.errors import DiskProblem, InvalidDICOM, InvalidUID
from s4s_notebook.store import Receiver, Store

from . import dicom

HOLDER = "https://holder.example/fhir"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def study(store):
    return store.study(store.participant(HOLDER, "p1"), dicom.STUDY)


def receive(study, *files, wanted=None):
    told = []
    with study.lock(), Receiver(study, lambda path, size: told.append(path)) as receiver:
        for data in files:
            receiver.receive(dicom.chunks(data), wanted)
    return receiver, told


def test_a_study_is_filed_named_hashed_and_indexed(study):
    files = dicom.study_of(7, size=3000)
    receiver, told = receive(study, *files.values())
    here = study.instances()
    assert set(here) == set(files)
    assert sorted(told) == study.paths()
    for uid, data in files.items():
        path = study.file(here[uid])
        assert path.name == f"{uid}.dcm"
        assert path.parent.name == here[uid].series_uid
        assert path.read_bytes() == data
        assert here[uid].sha256 == hashlib.sha256(data).hexdigest()
        assert here[uid].size == len(data)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not receiver.rejected
    assert not [name for name in os.listdir(study.path) if name.startswith(".")]


def test_who_is_told_hears_it_in_the_callers_context(study):
    """ipykernel 7.0 knows by it which cell a panel's message belongs to, and fails without."""
    cell = contextvars.ContextVar("cell")
    cell.set("this one")
    heard = []
    receive_chunks(
        study, dicom.chunks(dicom.make()), told=lambda *_: heard.append(cell.get("none"))
    )
    assert heard == ["this one"]


def receive_chunks(study, *streams, told=lambda path, size: None):
    with study.lock(), Receiver(study, told) as receiver:
        for chunks in streams:
            receiver.receive(chunks)
    return receiver


def quarantined(store):
    return [path for path in (store.root / "quarantine").rglob("*") if path.is_file()]


#: What file(1) calls a program, a script, a page or an archive, by its first bytes.
MAGIC = (
    *(b"MZ\x90\0", b"\x7fELF\x02", b"#!/bin/sh\n", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf"),
    *(b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"dex\n035", b"\0asm\x01"),
    *(b"<html>", b"\r\n <!DOCTYPE html>", b"<?php", b"<svg ", b"<SCRIPT>", b"%PDF-1.7"),
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"7z\xbc\xaf\x27\x1c", b"\xfd7zXZ\0"),
    *(b"Rar!\x1a\x07", b"\xd0\xcf\x11\xe0", b"!<arch>\n", b"L\0\0\0\x01\x14\x02\0"),
    *(b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"MSCF\0\0", b"\xed\xab\xee\xdb", b"\x1f\x9d"),
)


@pytest.mark.fault("E01")
@pytest.mark.parametrize("magic", MAGIC)
def test_a_program_in_the_preamble_goes_to_quarantine(store, study, magic):
    old = os.umask(0)
    try:
        receiver, _ = receive(study, dicom.make(preamble=magic), dicom.make(dicom.sop(2)))
    finally:
        os.umask(old)
    assert [(r.reason, r.sop_uid) for r in receiver.rejected] == [("program", dicom.sop(1))]
    assert set(study.instances()) == {dicom.sop(2)}
    [aside] = quarantined(store)
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert aside.suffix == ".program"


def test_other_preambles_are_common_and_pass(study):
    receiver, _ = receive(study, dicom.make(preamble=b"II*\0\x08\0\0\0"))
    assert len(receiver.stored) == 1


@pytest.mark.fault("E02")
@pytest.mark.parametrize("data", [b"", b"x" * 131, b"\0" * 132 + b"no", b"<html>" * 100])
def test_what_is_not_dicom_is_set_aside_with_its_error(store, study, data):
    receiver, told = receive(study, data)
    [rejected] = receiver.rejected
    assert isinstance(rejected.error, InvalidDICOM)
    assert rejected.reason == "not-dicom"
    assert not told
    assert not study.instances()
    assert len(quarantined(store)) == 1


@pytest.mark.fault("E06")
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (dicom.make(meta_sop="1.2.3.4"), "uids-disagree"),
        (dicom.make(meta_class="1.2.3.4"), "classes-disagree"),
        (dicom.make(study="1.2.3.4"), "other-study"),
        (dicom.make(sop="../../x"), "uid-unusable"),
        (dicom.make(series=""), "uid-unusable"),
    ],
)
def test_uids_that_disagree_go_to_quarantine(store, study, data, why):
    receiver, _ = receive(study, data)
    assert [r.reason for r in receiver.rejected] == [why]
    assert not study.instances()
    assert len(quarantined(store)) == 1


@pytest.mark.fault("E06")
def test_another_instance_than_the_one_asked_for_goes_to_quarantine(study):
    receiver, _ = receive(study, dicom.make(dicom.sop(2)), wanted=dicom.sop(1))
    assert [r.reason for r in receiver.rejected] == ["other-instance"]


@pytest.mark.fault("D13")
def test_another_patient_or_study_goes_to_quarantine(study):
    strangers = [dicom.make(dicom.sop(2), patient="P2"), dicom.make(dicom.sop(3), study="1.2.3")]
    receiver, _ = receive(study, dicom.make(dicom.sop(1)), *strangers)
    study.record_end(expected=None, evidence="", dicom_patient=receiver.dicom_patient)
    assert sorted(r.reason for r in receiver.rejected) == ["other-patient", "other-study"]
    again, _ = receive(study, dicom.make(dicom.sop(4), patient="P3"))
    assert [r.reason for r in again.rejected] == ["other-patient"]
    assert set(study.instances()) == {dicom.sop(1)}


@pytest.mark.fault("D12")
def test_the_same_uid_twice(store, study):
    one, other = dicom.make(seed=1), dicom.make(seed=2)
    receiver, _ = receive(study, one, one, other)
    assert receiver.repeated == 1
    assert [r.reason for r in receiver.rejected] == ["conflict"]
    [path] = study.paths()
    assert path.read_bytes() == one
    [kept] = quarantined(store)
    assert kept.read_bytes() == other
    again, _ = receive(study, one, other)
    assert (again.repeated, [r.reason for r in again.rejected]) == (1, ["conflict"])
    assert path.read_bytes() == one


def test_a_broken_stream_leaves_nothing_of_its_instance(study):
    def breaks():
        yield dicom.make(dicom.sop(2), size=600_000)[:500_000]
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        receive_chunks(study, dicom.chunks(dicom.make(dicom.sop(1))), breaks())
    assert set(study.instances()) == {dicom.sop(1)}
    assert not [name for name in os.listdir(study.path) if name.startswith(".")]


def test_what_the_listener_raises_ends_the_download_and_keeps_the_files(study):
    def angry(path, size):
        raise ValueError("listener")

    with pytest.raises(ValueError, match="listener"):
        receive_chunks(study, dicom.chunks(dicom.make()), told=angry)
    assert set(study.instances()) == {dicom.sop(1)}


@pytest.mark.parametrize("uid", ["../x", "1.2.3\n", "", "1" * 65, "%2e%2e"])
def test_what_is_no_uid_opens_no_folder(store, uid):
    with pytest.raises(InvalidUID):
        store.study(store.participant(HOLDER, "p1"), uid)
    assert not (store.root.parent / "x").exists()


def test_completeness_is_kept_and_lost_with_a_file(study):
    receive(study, *dicom.study_of(3).values())
    assert not study.complete()
    study.record_end(expected=3, evidence="transfer", dicom_patient="P1")
    assert study.complete()
    assert study.expected == 3
    study.paths()[0].unlink()
    assert not study.complete()
    assert len(study.instances()) == 2


@pytest.mark.fault("F03")
def test_after_the_disk_failed_nothing_more_is_taken(study, monkeypatch):
    """One instance larger than a block, whose writes fail: the next take says why."""
    real = os.writev

    def failing(fd, pieces):
        raise OSError(28, "No space left on device")

    def chunks():
        monkeypatch.setattr(os, "writev", failing)
        for _ in range(40):
            yield b"x" * 100_000

    with pytest.raises(DiskProblem):
        receive_chunks(study, chunks())
    monkeypatch.setattr(os, "writev", real)
    assert not study.instances()
    assert not [name for name in os.listdir(study.path) if name.startswith(".part")]


def test_a_stream_that_breaks_before_its_first_byte_leaves_nothing(study):
    def breaks():
        raise RuntimeError("cut")
        yield b""

    with pytest.raises(RuntimeError):
        receive_chunks(study, breaks())
    assert os.listdir(study.path) == []


def test_more_than_a_batch_and_files_that_come_slowly(study, monkeypatch):
    from s4s_notebook.store import receive as module

    monkeypatch.setattr(module, "_BATCH", 5)  # one at once, five, and three that are not enough
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.05)
    told = []

    def slowly():
        while len(told) < 9:  # what came is filed, though nothing follows
            time.sleep(0.01)
        yield dicom.make(dicom.sop(100))

    files = [dicom.chunks(data) for data in dicom.study_of(9).values()]
    receive_chunks(study, *files, slowly(), told=lambda path, size: told.append(path))
    assert len(study.instances()) == 10


def test_the_first_file_is_not_kept_waiting_for_others(study, monkeypatch):
    from s4s_notebook.store import receive as module

    monkeypatch.setattr(module, "_BATCH_SECONDS", 3600.0)
    first = threading.Event()

    def second():
        assert first.wait(20)
        yield dicom.make(dicom.sop(2))

    receive_chunks(study, dicom.chunks(dicom.make()), second(), told=lambda path, size: first.set())
    assert len(study.instances()) == 2


def test_what_identifies_a_file_may_stand_far_from_its_beginning(study):
    """Behind 100 KB of sequences, where a look at its beginning is not enough."""
    text = dicom.element(0x00181234, b"UT", b"x" * 100_000)
    receiver, _ = receive(study, dicom.make(before_uids=text))
    assert [filed.sop_uid for filed in receiver.stored] == [dicom.sop(1)]


def test_an_instance_of_many_blocks(study):
    data = dicom.make(size=1_500_000)
    receive_chunks(study, (memoryview(data)[at : at + 65536] for at in range(0, len(data), 65536)))
    [path] = study.paths()
    assert path.read_bytes() == data
