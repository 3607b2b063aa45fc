"""A study on its way to disk, over real sockets: checked, resumed, shared, cancelled."""

import asyncio
import os
import threading
import time

import pytest

from s4s_notebook.connection import Connection
from s4s_notebook.connection.download import _running
from s4s_notebook.errors import (
    Cancelled,
    HTTPStatusError,
    Incomplete,
    IntegrityError,
    InvalidDICOM,
    InvalidUID,
    MalformedResponse,
    NotDownloadable,
    NotFound,
    ReauthorizationRequired,
    RetryAfterTooLong,
    Stalled,
)
from s4s_notebook.http.backend import Limits
from tests.memory import measure
from tests.store import dicom

from .conftest import quick
from .test_load import until

UID = dicom.STUDY


def contents(paths):
    return {path.stem: path.read_bytes() for path in paths}


def folder_of(me, uid=UID):
    return me.store.study(me.participant, uid)


def test_a_study_comes_to_disk_as_it_was(holder, connect):
    me = connect()
    states, told = [], []
    download = me.download(UID)
    download.subscribe(states.append)
    download.on_instance(told.append)
    study = download.result()
    assert contents(study.paths) == holder.studies[UID]
    assert sorted(told) == sorted(study.paths)
    assert states[-1].phase == "done"
    assert (states[-1].instances, states[-1].instances_expected) == (6, 6)
    assert states[-1].bytes == sum(map(len, holder.studies[UID].values()))
    late = []
    download.on_instance(late.append)
    assert sorted(late) == sorted(told), "replayed for who comes late"


def test_a_complete_study_is_given_without_a_request(holder, connect):
    connect().download(UID).result()
    before = len(holder.requests)
    me = connect()
    assert len(me.download(me.studies().iloc[0]).result().paths) == 6
    assert len(holder.requests) == before


def test_it_can_be_awaited(connect):
    async def main():
        return await connect().download(UID)

    assert len(asyncio.run(main()).paths) == 6


def test_a_503_is_waited_out_with_a_countdown(holder, connect):
    holder.busy["/wado/"] = ["0.7"]
    states = []
    began = time.monotonic()
    download = connect().download(UID)
    download.subscribe(states.append)
    download.result()
    assert time.monotonic() - began >= 0.7
    waits = [state.seconds_left for state in states if state.phase == "waiting"]
    assert waits
    assert 0 < max(waits) <= 0.7


def many(holder, count=5):
    for number in range(2, count + 1):
        uid = f"1.2.3.{number}"
        series = f"{uid}.1"
        holder.studies[uid] = {
            f"{series}.{k}": dicom.make(f"{series}.{k}", study=uid, series=series, size=20_000)
            for k in range(1, 9)
        }


@pytest.mark.fault("D18")
def test_four_studies_at_once_cross_no_bytes(holder, connect):
    many(holder)
    holder.delay = 0.01
    me = connect()
    states = []
    download = me.download(me.studies())
    download.subscribe(states.append)
    studies = download.result()
    assert len(studies) == 5
    for study in studies:
        [uid] = {path.parents[1].name for path in study.paths}
        assert contents(study.paths) == holder.studies[uid]
    assert states[-1].instances == 6 + 4 * 8
    assert me.store.verify() == []


def test_one_of_many_that_fails_leaves_the_others(holder, connect):
    many(holder, 3)
    holder.fail["/wado/studies/1.2.3.2"] = [500]
    me = connect()
    with pytest.raises(Incomplete) as caught:
        me.download(me.studies()).result()
    assert caught.value.missing == ("1.2.3.2",)
    assert sorted(len(study.paths) for study in caught.value.partial) == [6, 8]
    assert len(me.download(me.studies()).result()) == 3


@pytest.mark.fault("B13")
@pytest.mark.parametrize(
    "reference", ["urn:uuid:1", "Endpoint/missing", "#other", "Patient/p1", ""]
)
def test_a_study_without_its_endpoint_fails_and_the_others_come(holder, connect, reference):
    many(holder, 3)
    holder.references["1.2.3.2"] = reference
    me = connect()
    with pytest.raises(Incomplete) as caught:
        me.download(list(me.studies()["study_uid"])).result()
    assert caught.value.missing == ("1.2.3.2",)
    assert sorted(len(study.paths) for study in caught.value.partial) == [6, 8]
    with pytest.raises(NotDownloadable, match="cannot be fetched"):
        me.download("1.2.3.2").result()


@pytest.mark.fault("D16")
@pytest.mark.parametrize("how", ["listed", "qido", "pages of two", "no count"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_after_a_reset_only_what_is_missing_is_sent(holder, connect, how, k):
    holder.lists_instances = how == "listed"
    holder.list_limit = 2 if how == "pages of two" else None
    holder.announces = how != "no count"
    holder.cut_after = k
    me = connect()
    states = []
    download = me.download(UID)
    download.subscribe(states.append)
    assert contents(download.result().paths) == holder.studies[UID]
    assert holder.sent == dict.fromkeys(holder.studies[UID], 1), "an instance was sent twice"
    assert any("are here; requesting" in state.message for state in states)


@pytest.mark.fault("D16", "D01", "K08")
@pytest.mark.parametrize("pieces", [True, False])
def test_a_cut_before_the_first_instance_is_retried_within_the_call(holder, connect, pieces):
    holder.offers_pieces = pieces
    holder.cut_after = 0
    assert contents(connect().download(UID).result().paths) == holder.studies[UID]
    assert len(holder.asked(f"/studies/{UID}")) == 2


@pytest.mark.fault("D01", "K08")
def test_cuts_without_end_are_an_error_that_leaves_nothing_behind(holder, connect):
    holder.reset_share = 1.0
    me = connect()
    with pytest.raises(IntegrityError):
        me.download(UID).result()
    assert len(holder.asked(f"/studies/{UID}")) == 4
    assert not list(me.store.root.rglob("*.dcm"))
    assert not list(me.store.root.rglob(".part-*"))
    holder.reset_share = 0.0
    assert len(me.download(UID).result().paths) == 6


@pytest.mark.fault("D16")
def test_a_holder_of_complete_studies_alone_sends_a_cut_one_again(holder, connect):
    """What that costs is written in README and SECURITY; nothing is written to disk twice."""
    holder.offers_pieces = False
    holder.cut_after = 3
    me = connect()
    states = []
    download = me.download(UID)
    download.subscribe(states.append)
    first = {}
    download.on_instance(lambda path: first.setdefault(path, path.stat().st_mtime_ns))
    assert contents(download.result().paths) == holder.studies[UID]
    assert "skipping the 3" in states[-1].message
    assert first == {path: path.stat().st_mtime_ns for path in first}, "a file was written anew"
    assert sorted(holder.sent.values()) == [1, 1, 1, 2, 2, 2]
    asked = len(holder.asked("/series/"))
    folder_of(me).paths()[0].unlink()
    assert len(me.download(UID).result().paths) == 6
    assert len(holder.asked("/series/")) == asked, "it is remembered what is not offered"


@pytest.mark.fault("D14")
@pytest.mark.parametrize("announce", [6, 5, 1, None], ids=["right", "stale", "one", "none"])
@pytest.mark.parametrize("limit", [None, 2], ids=["full list", "pages of two"])
@pytest.mark.parametrize("how", ["listed", "qido", "neither"])
def test_fewer_than_there_are_is_incomplete_and_lists_the_missing(
    holder, connect, how, limit, announce
):
    """Whatever was announced; where nothing tells of the missing one, nothing can be said."""
    holder.lists_instances = how == "listed"
    holder.offers_qidotoo = how == "qido"
    holder.announces, holder.list_limit = announce is not None, limit
    holder.announce = {UID: announce}
    gone = sorted(holder.studies[UID])[2]
    holder.drop = {gone}
    holder.cut_after = 2  # only a study that does not come in one piece makes it look at a list
    me = connect()
    if how == "neither" and announce != 6:
        assert len(me.download(UID).result().paths) == 5, "the holder gave it as complete"
        assert folder_of(me).evidence == "transfer"
        return
    with pytest.raises(Incomplete) as caught:
        me.download(UID).result()
    assert len(caught.value.partial.paths) == 5
    assert caught.value.missing == (() if how == "neither" else (gone,))
    assert "5 of 6" in caught.value.problem
    assert not folder_of(me).complete()
    holder.drop = set()
    sent = dict(holder.sent)
    assert len(me.download(UID).result().paths) == 6
    if how == "qido":
        assert dict(holder.sent) == sent | {gone: 1}, "what was here was sent again"


@pytest.mark.fault("D12")
def test_the_same_uid_twice(holder, connect, store):
    sop, data = next(iter(holder.studies[UID].items()))
    holder.extra = [data]
    me = connect()
    assert len(me.download(UID).result().paths) == 6
    store.purge(study=UID)
    me.update(full=True)
    series = sop.rpartition(".")[0]
    other = dicom.make(sop, series=series, seed=5)
    holder.extra = [other]
    study = me.download(UID).result()
    assert contents(study.paths) == holder.studies[UID]
    assert "conflict" in " ".join(me.problems()["why"])
    kept = [p.read_bytes() for p in (store.root / "quarantine").rglob("*.conflict")]
    assert kept == [other]


STRANGER = dicom.make("1.2.3.99", study="1.2.3")


@pytest.mark.fault("D13", "E01", "E06")
@pytest.mark.parametrize(
    ("stranger", "why"),
    [
        (dicom.make("1.2.3.99", study="1.2.3"), "other-study"),
        (dicom.make("1.2.3.99", patient="P2"), "other-patient"),
        (dicom.make("1.2.3.99", preamble=b"\x7fELF"), "program"),
        (dicom.make("1.2.3.99", meta_sop="1.2.3.98"), "uids-disagree"),
    ],
)
def test_what_does_not_belong_is_set_aside_and_said(holder, connect, store, stranger, why):
    replaced = sorted(holder.studies[UID])[-1]
    holder.replace = {replaced: stranger}
    holder.lists_instances = True
    me = connect()
    with pytest.raises(Incomplete) as caught:
        me.download(UID).result()
    assert why in caught.value.problem
    assert caught.value.missing == (replaced,)
    assert len(caught.value.partial.paths) == 5
    assert f"set aside: {why}" in set(me.problems()["why"])
    assert len(list((store.root / "quarantine").rglob(f"*.{why}"))) == 1
    holder.replace = {}
    assert contents(me.download(UID).result().paths) == holder.studies[UID]


@pytest.mark.fault("E02")
@pytest.mark.parametrize("data", [b"", b"x" * 131, b"\0" * 400, b"<html>" * 40])
def test_what_is_no_dicom_is_its_own_error(holder, connect, data):
    holder.replace = {sorted(holder.studies[UID])[-1]: data}
    me = connect()
    with pytest.raises(InvalidDICOM) as caught:
        me.download(UID).result()
    assert "5 instances are stored" in caught.value.problem
    assert len(list(folder_of(me).path.rglob("*.dcm"))) == 5
    holder.replace = {}
    assert len(me.download(UID).result().paths) == 6


@pytest.mark.fault("M02")
@pytest.mark.parametrize("kind", ["no DICOM", "of another study"])
def test_thousands_of_junk_parts_end_after_a_few_hundred(holder, connect, kind):
    strangers = (dicom.make(dicom.sop(n), study="1.2.9") for n in range(100, 100 + 8000))
    junk = strangers if kind == "of another study" else (b"junk %d" % n for n in range(8000))
    holder.extra = list(junk)
    me = connect()
    started = time.monotonic()
    with pytest.raises(MalformedResponse, match="Too many parts"):
        me.download(UID).result()
    assert time.monotonic() - started < 20
    aside = [path for path in (me.store.root / "quarantine").rglob("*") if path.is_file()]
    assert 300 <= len(aside) <= 400
    assert len(contents(folder_of(me).paths())) == 6  # what came before is stored
    holder.extra = []
    assert contents(me.download(UID).result().paths) == holder.studies[UID]


@pytest.mark.fault("F04")
def test_a_flipped_bit_costs_that_instance_alone(holder, connect, store):
    me = connect()
    paths = me.download(UID).result().paths
    data = bytearray(paths[2].read_bytes())
    data[-3] ^= 4
    paths[2].write_bytes(data)
    [finding] = store.verify()
    assert finding.path == paths[2]
    holder.sent.clear()
    assert contents(me.download(UID).result().paths) == holder.studies[UID]
    assert holder.sent == {finding.sop_uid: 1}


@pytest.mark.fault("C08")
def test_a_503_without_end_stops_at_the_budget_and_a_rerun_goes_on(holder, connect):
    holder.busy["/wado/"] = ["0.2"] * 100
    me = connect(waits=quick(budget=0.7))
    with pytest.raises(RetryAfterTooLong) as caught:
        me.download(UID).result()
    assert caught.value.attempts >= 3
    assert caught.value.not_before is not None
    holder.busy.clear()
    assert len(me.download(UID).result().paths) == 6


@pytest.mark.fault("C10")
def test_one_study_that_waits_does_not_hold_up_another(holder, connect):
    many(holder, 2)
    holder.busy["/wado/studies/1.2.3.2"] = ["60"]
    me = connect()
    slow, quick_one = me.download("1.2.3.2"), me.download(UID)
    assert len(quick_one.result(20).paths) == 6
    assert not slow.done()
    slow.cancel()
    with pytest.raises(Cancelled):
        slow.result(1)


@pytest.mark.parametrize("where", ["waiting", "receiving"])
def test_cancel_acts_within_a_second_and_what_came_stays(holder, connect, where):
    if where == "waiting":
        holder.busy["/wado/"] = ["60"]
    else:
        holder.delay = 0.3
    me = connect()
    download = me.download(UID)
    until(lambda: download.state.phase == where and (where == "waiting" or download.state.bytes))
    began = time.monotonic()
    download.cancel()
    with pytest.raises(Cancelled):
        download.result(5)
    assert time.monotonic() - began < 1
    assert download.state.phase == "cancelled"
    holder.busy.clear()
    holder.delay = 0
    me.participant.set_wait("x", 0, 0)


@pytest.mark.fault("G07")
def test_two_downloads_of_a_study_share_one_worker(holder, connect):
    holder.delay = 0.1
    me, other = connect(), connect()
    me.studies()
    first, second = me.download(UID), other.download(UID)
    first.cancel()  # the other one goes on
    with pytest.raises(Cancelled):
        first.result(5)
    assert len(second.result().paths) == 6
    assert set(holder.sent.values()) == {1}
    assert not _running


@pytest.mark.fault("F01", "D16")
@pytest.mark.parametrize("how", ["announced", "qido", "no pieces"])
def test_killed_when_all_had_come_nothing_is_fetched_twice(holder, connect, monkeypatch, how):
    """The last instance is filed, and the process dies before the end is written down."""
    holder.offers_pieces = how != "no pieces"
    if how == "qido":
        whole = holder.study_resource
        monkeypatch.setattr(
            holder, "study_resource", lambda uid: whole(uid) | {"numberOfInstances": None}
        )
    me = connect()
    me.download(UID).result()
    folder_of(me).record_end(expected=None, evidence="", dicom_patient="P1")
    assert len(me.download(UID).result().paths) == 6
    assert set(holder.sent.values()) == {1}
    assert folder_of(me).complete()


@pytest.mark.fault("G06", "G07")
def test_cancel_waits_for_no_study_that_another_download_follows(holder, connect):
    holder.busy["/wado/"] = ["60"]
    first, second = connect().download(UID), connect().download(UID)
    until(lambda: "waiting" == first.state.phase == second.state.phase)
    first.cancel()
    with pytest.raises(Cancelled):
        first.result(1)
    assert second.state.phase == "waiting"
    second.cancel()
    with pytest.raises(Cancelled):
        second.result(1)
    assert not _running
    assert len(holder.asked("/wado/")) == 1


@pytest.mark.parametrize("where", ["waiting", "receiving"])
def test_closing_a_connection_ends_its_downloads_and_removes_its_store(holder, where):
    many(holder)
    if where == "waiting":
        holder.busy["/wado/"] = ["60"] * 5
    else:
        holder.delay = 0.05
    me = Connection(holder.fhir, patient="p1", waits=quick())
    download = me.download(me.studies())
    until(lambda: download.state.phase == where and (where == "waiting" or download.state.bytes))
    root = me.store.root
    me.close()
    with pytest.raises(Cancelled):
        download.result(0.1)
    assert not root.exists()


@pytest.mark.fault("G07", "F06")
def test_another_process_on_the_same_study_is_waited_for(holder, connect, store):
    import subprocess
    import sys
    from pathlib import Path

    holder.delay = 0.1
    code = (
        "import sys\nfrom s4s_notebook.connection import Connection\n"
        "me = Connection(sys.argv[2], patient='p1', store=sys.argv[1])\n"
        f"print(len(me.download({UID!r}).result().paths))"
    )
    command = [sys.executable, "-c", code, str(store.root), holder.fhir]
    here = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True)
    until(lambda: holder.sent, 30)
    assert len(connect().download(UID).result().paths) == 6
    assert process.communicate(timeout=30)[0] == "6\n"
    assert set(holder.sent.values()) == {1}


@pytest.mark.fault("G06")
def test_an_interrupted_wait_leaves_the_download_going(holder, connect):
    import signal

    holder.delay = 0.2
    download = connect().download(UID)
    threading.Timer(
        0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    ).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="result"):
        download.result()
    assert time.monotonic() - began < 1
    assert len(download.result().paths) == 6
    assert set(holder.sent.values()) == {1}


@pytest.mark.fault("A13")
def test_a_token_that_runs_out_midway_is_renewed_once(holder, connect, canary):
    from .test_signin import sign_in

    holder.token = canary.token
    me = connect(patient=None)
    sign_in(me)
    me.studies()
    holder.tokens.clear()
    assert len(me.download(UID).result().paths) == 6
    assert len([path for _, path, _ in holder.requests if path == "/token"]) == 2


def test_a_token_that_is_over_ends_the_download_and_keeps_what_came(holder, connect, canary):
    holder.token = canary.token
    holder.tokens = {canary.token}
    me = connect(access_token=canary.token)
    me.studies()
    holder.tokens = set()
    with pytest.raises(ReauthorizationRequired):
        me.download(UID).result()


@pytest.mark.parametrize("uid", ["../../etc", "1.2.3\n", "1" * 65, "", "%2e%2e"])
def test_what_is_no_uid_is_refused_at_once(holder, connect, uid):
    me = connect()
    before = len(holder.requests)
    with pytest.raises(InvalidUID):
        me.download(uid)
    assert len(holder.requests) == before


def test_a_study_that_is_not_this_patients_is_not_found(holder, connect):
    with pytest.raises(NotFound):
        connect().download("1.2.3.4").result()


def test_a_study_without_an_endpoint_says_so(holder, connect, monkeypatch):
    whole = holder.study_resource
    monkeypatch.setattr(
        holder,
        "study_resource",
        lambda uid: {k: v for k, v in whole(uid).items() if k != "endpoint"},
    )
    with pytest.raises(NotDownloadable):
        connect().download(UID).result()


def test_an_error_of_the_holder_is_given_with_its_request(holder, connect):
    holder.fail["/wado/"] = [500]
    with pytest.raises(HTTPStatusError) as caught:
        connect().download(UID).result()
    assert "/wado/studies/" in caught.value.request.url


@pytest.mark.fault("D15")
@pytest.mark.parametrize("pieces", [True, False])
def test_a_stalled_transfer_ends_and_goes_on_with_what_is_missing(holder, connect, pieces):
    holder.offers_pieces = holder.offers_qidotoo = pieces
    holder.stall_after = 3
    me = connect()
    me.studies()
    me._study_only.update([] if pieces else [f"{holder.root}/wado/studies/{UID}"])
    me.session.transport._limits = Limits(stall=0.7)
    began = time.monotonic()
    if not pieces:
        with pytest.raises(Stalled):
            me.download(UID).result(20)
        # The third came whole, but not the boundary behind it, so it does not count.
        assert len(folder_of(me).paths()) == 2
    assert len(me.download(UID).result(20).paths) == 6
    assert 0.7 < time.monotonic() - began < 4
    assert contents(folder_of(me).paths()) == holder.studies[UID]
    if pieces:
        assert sorted(holder.sent.values()) == [1, 1, 1, 1, 1, 2]


@pytest.mark.fault("M06")
def test_a_listener_that_fails_does_not_end_the_transfer(holder, connect, caplog):
    def angry(_):
        raise ValueError("a panel's fault")

    download = connect().download(UID)
    download.subscribe(angry)
    download.on_instance(angry)
    assert len(download.result().paths) == 6
    assert "callback failed" in caplog.text


@pytest.mark.fault("M06")
def test_a_slow_listener_delays_no_transfer(holder, connect):
    going_on, states, told = threading.Event(), [], []

    def slow(state):
        states.append(state)
        going_on.wait(20)

    download = connect().download(UID)
    download.subscribe(slow)
    download.on_instance(lambda path: (going_on.wait(20), told.append(path)))
    try:
        study = download.result(15)
        assert len(study.paths) == 6
        assert len(states) == 1
        assert not told
    finally:
        going_on.set()
    until(lambda: len(told) == 6 and states[-1].phase == "done")
    assert sorted(told) == sorted(study.paths)
    assert len(states) <= 5  # states between two phases are left out


def test_series_are_completed_from_the_files(holder, connect):
    me = connect()
    assert len(me.series()) == 0
    me.download(UID).result()
    series = me.series()
    assert list(series["source"]) == ["dicom", "dicom"]
    assert sorted(series["instance_count"]) == [3, 3]
    assert set(series["modality"]) == {"CT"}


@pytest.mark.fault("E03", "E05")
def test_series_are_read_from_the_files_within_bounds(holder, connect, canary):
    """A bomb, and a number that is none: each costs its own cells."""
    bomb = dicom.make(
        f"{UID}.7.1", series=f"{UID}.7", syntax=dicom.DEFLATED, pixels=bytes(200 << 20)
    )
    odd = dicom.element(0x00200011, b"IS", canary.name.encode()[:12])
    holder.studies[UID] = {
        f"{UID}.7.1": bomb,
        f"{UID}.8.1": dicom.make(f"{UID}.8.1", series=f"{UID}.8", after_uids=odd),
    }
    me = connect()
    canary.allow(me.store.root)  # files hold what the archive sent
    me.download(UID).result()
    series = me.series().set_index("series_uid")
    assert list(series.index) == [f"{UID}.{n}" for n in (7, 8)]
    assert list(series["instance_count"]) == [1, 1]
    assert list(series["modality"].fillna("")) == ["", "CT"]
    assert series["number"].isna().all()
    told = me.problems().query("resource.str.startswith('DICOM series')")
    assert ["128 MiB" in told["why"].iloc[0], *told["why"].iloc[1:]] == [True, "not a number"]


def use_study(base: str, store: str, download: bool) -> list[int]:
    """Return the rows of `series()`, and the series and files of the study, downloaded."""
    with Connection(base, patient="p1", store=store) as me:
        counts = [len(me.series())]
        if download:
            study = me.download(UID).result()
            counts += [len(study.series), len(study.paths)]
        return counts


@pytest.mark.fault("M08")
@pytest.mark.parametrize("download", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_study_of_two_thousand_series_takes_little_memory(holder, tmp_path, download):
    holder.lists_instances = True
    holder.studies[UID] = {
        f"{UID}.{n}.1": dicom.make(f"{UID}.{n}.1", series=f"{UID}.{n}") for n in range(1, 2001)
    }
    growth, counts = measure(use_study, holder.fhir, str(tmp_path / "s"), download)
    assert counts == [2000] * len(counts)
    assert growth < 256


def download_one(base: str, store: str) -> int:
    """Download the study of one file, and return the file's size."""
    with Connection(base, patient="p1", store=store) as me:
        [path] = me.download(UID).result().paths
        return os.path.getsize(path)


@pytest.mark.fault("D17")
def test_memory_does_not_grow_with_the_size_of_a_part(holder, tmp_path):
    sop = f"{UID}.1.77"
    growths = []
    for mib in (1, 160):
        holder.studies[UID] = {sop: dicom.make(sop, series=f"{UID}.1", size=mib << 20)}
        growth, size = measure(download_one, holder.fhir, str(tmp_path / f"{mib}"))
        assert size == len(holder.studies[UID][sop])
        growths.append(growth)
    assert growths[1] < growths[0] + 40, f"{growths} MiB"


def test_a_listener_may_leave(holder, connect):
    holder.delay = 0.05
    me = connect()
    states, told = [], []
    download = me.download(UID)
    leave, leave_too = download.subscribe(states.append), download.on_instance(told.append)
    leave()
    leave()
    leave_too()
    seen = len(states), len(told)
    download.result()
    assert (len(states), len(told)) == seen
    assert "done, 6 of 6 instances" in repr(download)


def test_cancel_of_many_starts_no_more(holder, connect):
    many(holder, 9)
    me, answer = connect(), threading.Event()
    studies = me.studies()
    holder.before_page = lambda _: answer.wait(10)
    download = me.download(studies)
    asked = holder.server.requests
    before = len(asked)
    until(lambda: len(asked) >= before + 4)
    download.cancel()
    answer.set()
    with pytest.raises(Cancelled):
        download.result(2)
    assert len(asked) == before + 4


def test_announced_by_series_alone(holder, connect, monkeypatch):
    holder.lists_instances = True
    whole = holder.study_resource

    def by_series(uid):
        resource = whole(uid) | {"numberOfInstances": None}
        for series in resource["series"]:
            series["numberOfInstances"] = len(series.pop("instance"))
        return resource

    monkeypatch.setattr(holder, "study_resource", by_series)
    holder.drop = {min(holder.studies[UID])}
    me = connect()
    with pytest.raises(Incomplete, match="5 of 6"):
        me.download(UID).result()
    holder.drop = set()
    assert len(me.download(UID).result().paths) == 6


def test_nothing_announced_and_all_that_was_framed_is_complete(holder, connect):
    holder.announces = False
    me = connect()
    me.download(UID).result()
    before = len(holder.requests)
    assert len(me.download(UID).result().paths) == 6
    assert len(holder.requests) == before


def test_a_second_endpoint_is_tried_where_the_first_fails(holder, connect, monkeypatch):
    whole = holder.study_resource

    def two(uid):
        resource = whole(uid)
        broken = resource["contained"][0] | {"id": "b", "address": f"{holder.root}/broken"}
        return resource | {
            "contained": [broken, *resource["contained"]],
            "endpoint": [{"reference": "#b"}, {"reference": "#e"}],
        }

    monkeypatch.setattr(holder, "study_resource", two)
    assert len(connect().download(UID).result().paths) == 6
