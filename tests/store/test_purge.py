"""Purged is purged: in files, record, index, quarantine and keyring, whatever goes on meanwhile."""

import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from s4s_notebook import private_files as system
from s4s_notebook.errors import DiskProblem, StoreError
from s4s_notebook.problems import Problem
from s4s_notebook.store import Entry, Receiver, Run, Store
from tests.smart.test_token_store import kind  # noqa: F401 - a fixture

from . import dicom
from .killed import HOLDER, file_study
from .test_recover import open_study


def canaries(root: Path, *words: str) -> list[Path]:
    return [
        path
        for path in root.rglob("*")
        if any(word in str(path.relative_to(root)) for word in words)
        or (path.is_file() and any(word.encode() in path.read_bytes() for word in words))
    ]


@pytest.mark.fault("F10")
@pytest.mark.parametrize("what", ["study", "patient", "all"])
def test_purge_leaves_nothing(tmp_path, what):
    root = tmp_path / "s"
    file_study(str(root), 3)
    with Store(root) as store:
        participant = store.participant(HOLDER, "p1")
        other = store.participant(HOLDER, "p2")
        body = {
            "resourceType": "ImagingStudy",
            "uid": f"urn:oid:{dicom.STUDY}",
            "description": "Canary^Name",
        }
        keep = {
            "resourceType": "ImagingStudy",
            "uid": f"urn:oid:{dicom.STUDY}7",
            "description": "Other",
        }
        run = Run("r1", None, None, 1.0, True, 1)
        entries = [Entry(dicom.STUDY, "1", body), Entry(f"{dicom.STUDY}7", "1", keep)]
        participant.save_page("ImagingStudy", run, entries)
        participant.finish("ImagingStudy", run, 1.0)
        other.save_page("ImagingStudy", run, [Entry("x", "1", {"a": "p2-data"})])
        study = open_study(store)
        with study.lock(), Receiver(study, lambda path, size: None) as receiver:
            receiver.receive(dicom.chunks(dicom.make(study="1.2.3")))
        store.token_store(HOLDER, "client", "p1", kind="file").save(
            {"refresh_token": "Canary^Name"}
        )
        assert canaries(root, "Canary^Name")
        if what == "study":
            store.token_store(HOLDER, "client", "p1", kind="file").forget()
            store.purge(study=dicom.STUDY)
            assert list(participant.resources("ImagingStudy")) == [keep]
            assert participant.sync_point("ImagingStudy") is not None
        elif what == "patient":
            store.purge(patient="p1")
            assert [p.patient for p in store.iter_participants()] == ["p2"]
        else:
            store.purge("all")
            assert list(store.iter_participants()) == []
    gone = ["Canary^Name", *([] if what == "study" else ["p1"])]
    assert canaries(root, *gone) == []
    uid = f'{dicom.STUDY}"'
    assert canaries(root, uid) == []
    assert bool(canaries(root, "p2-data")) == (what != "all")
    with Store(root) as store:  # and the store can be used on
        assert len(list(store.iter_participants())) == {"study": 2, "patient": 1, "all": 0}[what]


def test_purge_wants_to_be_told_one_thing(tmp_path):
    with Store(tmp_path / "s") as store:
        for wrong in ({}, {"patient": "a", "study": "1.2"}):
            with pytest.raises(ValueError, match="purge"):
                store.purge(**wrong)


@pytest.mark.fault("F10")
def test_a_remembered_sign_in_goes_with_its_patient(tmp_path, kind):  # noqa: F811
    with Store(tmp_path / "s") as store:
        keepers = {
            who: store.token_store(HOLDER, "client", who, kind=kind) for who in ("p1", "p2", "p3")
        }
        for who, token_store in keepers.items():
            token_store.save({"refresh_token": f"canary-{who}"})
            store.participant(HOLDER, who)
        store.purge(patient="p1")
        assert [bool(token_store.load()) for token_store in keepers.values()] == [False, True, True]
        assert [token_store.key[2] for token_store in store.remembered(HOLDER, None)] != []
        assert {token_store.key[2] for token_store in store.remembered(HOLDER, None)} == {
            "p2",
            "p3",
        }
        assert store.remembered("https://other.example", None) == []
        tokens = store.root / "tokens"
        (tokens / "torn").write_bytes(b'{"for": ["a",')
        (tokens / "odd").write_bytes(b"[]")
        (tokens / "link").symlink_to(tmp_path)
        store.purge("all")
        assert not any(token_store.load() for token_store in keepers.values() if tokens.exists())
        assert not tokens.exists()


@pytest.mark.parametrize("at", ["file", "link"])
def test_something_else_in_place_of_the_tokens_does_not_stop_a_purge(tmp_path, at):
    with Store(tmp_path / "s") as store:
        tokens = store.root / "tokens"
        tokens.write_bytes(b"x") if at == "file" else tokens.symlink_to(tmp_path)
        store.purge("all")
        assert not tokens.is_symlink()
        assert not tokens.exists()


@pytest.mark.fault("F10", "F06")
@pytest.mark.parametrize("by", ["this store", "another"])
@pytest.mark.parametrize("what", ["study", "patient", "all"])
def test_a_download_that_goes_on_leaves_nothing_either(tmp_path, monkeypatch, what, by):
    """Instances come before and after the purge, good ones and one that does not belong."""
    root, elsewhere = tmp_path / "s", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    half, purged = threading.Event(), threading.Event()
    ended: list[StoreError] = []

    def download(store: Store) -> None:
        study = open_study(store)
        try:
            # The first is filed, and four more are written but not yet recorded when it happens.
            with study.lock(), Receiver(study, lambda path, size: purged.wait(20)) as receiver:
                for number in range(1, 6):
                    receiver.receive(dicom.chunks(dicom.make(dicom.sop(number))))
                while len([name for name in os.listdir(study.path) if name[0] == "."]) < 5:
                    time.sleep(0.01)
                half.set()
                assert purged.wait(20)
                for number in range(6, 200):
                    receiver.receive(dicom.chunks(dicom.make(dicom.sop(number), size=3000)))
                receiver.receive(dicom.chunks(dicom.make("1.2.3.9", study="1.2.3")))
            study.record_end(expected=1, evidence="transfer", dicom_patient="P1")
        except StoreError as error:
            ended.append(error)

    with Store(root) as store, Store(root) as other:
        thread = threading.Thread(target=download, args=(store,))
        thread.start()
        assert half.wait(20)
        purging = store if by == "this store" else other
        how = {
            "study": {"study": dicom.STUDY},
            "patient": {"patient": "p1"},
            "all": {"what": "all"},
        }
        purging.purge(**how[what])
        purged.set()
        thread.join(30)
    assert len(ended) == 1
    gone = [dicom.STUDY, "Canary^Name", "1.2.3.9", *([] if what == "study" else ["p1"])]
    assert canaries(root, *gone) == []
    assert list(elsewhere.iterdir()) == []


@pytest.mark.fault("F10")
def test_a_rejected_instance_of_a_purged_study_brings_no_folder_back(tmp_path):
    root = tmp_path / "s"
    with Store(root) as store, Store(root) as other:
        study = open_study(store)
        with study.lock():
            (study.path / ".part-1-1").write_bytes(b"x")
            other.purge(patient="p1")
            with pytest.raises(StoreError, match="removed while"):
                study.quarantine(".part-1-1", "conflict", "0" * 64)
    assert canaries(root, "p1") == []


@pytest.mark.fault("F10")
def test_a_file_that_comes_while_a_folder_is_removed_goes_too(tmp_path, monkeypatch):
    file_study(str(tmp_path / "s"), 2)
    real, came = os.rmdir, []

    def late(name, **options):
        if not came:
            came.append(name)
            fd = os.open(f"{name}/late", os.O_CREAT | os.O_WRONLY, **options)
            os.close(fd)
        real(name, **options)

    monkeypatch.setattr(os, "rmdir", late)
    with Store(tmp_path / "s") as store:
        store.purge(patient="p1")
        assert came
        assert canaries(tmp_path / "s", "p1", "late") == []


@pytest.mark.fault("F03", "F10")
def test_a_purge_that_the_disk_refuses_is_an_error_and_can_be_repeated(tmp_path, monkeypatch):
    file_study(str(tmp_path / "s"), 2)
    with Store(tmp_path / "s") as store:
        for name in ("unlink", "rmdir"):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, refusing)
                with pytest.raises(DiskProblem):
                    store.purge(patient="p1")
        store.purge(patient="p1")
    assert canaries(tmp_path / "s", "p1") == []


def refusing(*args, **options):
    raise OSError(5, "Input/output error")


def test_what_another_process_purged_is_told_as_such(tmp_path):
    root = tmp_path / "s"
    file_study(str(root), 1)
    with Store(root) as store, Store(root) as other:
        who = store.participant(HOLDER, "p1")
        other.purge(patient="p1")
        for call in (who.consents, lambda: who.consent("https://a:1"), lambda: who.resources("x")):
            with pytest.raises(StoreError, match="removed while"):
                list(call() or ())
    assert canaries(root, "p1") == []


@pytest.mark.fault("F07")
@pytest.mark.parametrize(
    "call", ["names", "sizes", "open", "size", "remove_tree", "write", "child"]
)
def test_a_closed_folder_is_never_the_working_folder(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(b"not ours")
    folder = system.Folder.root(tmp_path / "s")
    folder.close()
    given = {"names": (), "sizes": (), "write": ("x", b"ours")}.get(call, ("x",))
    with pytest.raises(StoreError, match="closed"):
        getattr(folder, call)(*given)
    assert (tmp_path / "x").read_bytes() == b"not ours"


CLAIM = {
    "resourceType": "ExplanationOfBenefit",
    "id": "claim",
    "note": f"for the study {dicom.STUDY}",
    "patient": {"reference": "Patient/p1"},
}


@pytest.mark.fault("J07")
def test_purging_a_study_leaves_claims_that_name_it_and_all_else(tmp_path):
    root = tmp_path / "s"
    file_study(str(root), 3)
    other = f"{dicom.STUDY}7"
    with Store(root) as store:
        participant = store.participant(HOLDER, "p1")
        studies = [
            {"resourceType": "ImagingStudy", "id": "s1", "uid": f"urn:oid:{dicom.STUDY}"},
            {"resourceType": "ImagingStudy", "id": "s2", "identifier": [
                {"system": "urn:dicom:uid", "value": f"urn:oid:{dicom.STUDY}"}]},
            {"resourceType": "ImagingStudy", "id": "s3", "uid": f"urn:oid:{other}",
             "description": f"compared with {dicom.STUDY}"},
        ]  # fmt: skip
        for kind, bodies in (("ImagingStudy", studies), ("ExplanationOfBenefit", [CLAIM])):
            run = Run("r1", None, None, 1.0, True, 1)
            entries = [Entry(f"{kind}/{body['id']}", "1", body) for body in bodies]
            problem = Problem(f"{kind}/{bodies[0]['id']}", "note", "x", "why")
            participant.save_page(kind, run, entries, problems=[problem])
            participant.finish(kind, run, 1.0)
        store.study(participant, other).record_end(expected=1, evidence="", dicom_patient="P1")
        participant.add_problems(
            "ImagingStudy", [Problem(f"ImagingStudy/{dicom.STUDY}", "instance", "", "set aside")]
        )
        store.purge(study=dicom.STUDY)
        assert list(participant.resources("ImagingStudy")) == studies[2:]
        assert list(participant.resources("ExplanationOfBenefit")) == [CLAIM]
        assert [p.resource for p in participant.problems()] == ["ExplanationOfBenefit/claim"]
        assert participant.sync_point("ExplanationOfBenefit") is not None
        assert participant.study_row(other).patient == "P1"
        assert participant.instance_rows(dicom.STUDY) == []
        assert not list(root.rglob("*.dcm"))
        before = participant.instance_rows(other), participant.study_row(other)
    (root / "index.sqlite").unlink()
    with Store(root) as store:
        participant = store.participant(HOLDER, "p1")
        assert list(participant.resources("ExplanationOfBenefit")) == [CLAIM]
        assert (participant.instance_rows(other), participant.study_row(other)) == before


@contextmanager
def full_disk(size):
    """A disk on which no file becomes larger than this (a limit of the process)."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.fault("J07", "F03", "F10")
@pytest.mark.parametrize("what", ["study", "patient", "all"])
@pytest.mark.parametrize("size", [0, 1 << 10, 1 << 14, 1 << 16])
def test_a_purge_that_a_full_disk_stops_goes_on_at_the_next_call(tmp_path, what, size):
    root = tmp_path / "s"
    file_study(str(root), 3)
    how = {"study": {"study": dicom.STUDY}, "patient": {"patient": "p1"}, "all": {"what": "all"}}
    with Store(root) as store:
        participant = store.participant(HOLDER, "p1")
        run = Run("r1", None, None, 1.0, True, 1)
        body = {"resourceType": "ImagingStudy", "uid": f"urn:oid:{dicom.STUDY}"}
        entries = [Entry(f"ImagingStudy/canary-{n}", "1", body) for n in range(2000)]
        participant.save_page("ImagingStudy", run, entries)
        participant.finish("ImagingStudy", run, 1.0)
        store.participant(HOLDER, "p2")
        with full_disk(size):
            for _ in range(3):
                with suppress(DiskProblem):
                    store.purge(**how[what])
        store.purge(**how[what])
        assert canaries(root, f'{dicom.STUDY}"', "canary-1", "Canary^Name") == []
        left = {"study": ["p1", "p2"], "patient": ["p2"], "all": []}[what]
        assert [p.patient for p in store.iter_participants()] == left
        store.participant(HOLDER, "p3").consent("https://a:1")  # and the store can be used on
        if what == "study":
            assert list(participant.resources("ImagingStudy")) == []
