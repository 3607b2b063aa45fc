"""Many studies at a holder that is busy and loses connections: one call brings all of them."""

from __future__ import annotations

import queue

import pytest

from s4s_notebook.errors import Cancelled, Incomplete, RetryAfterTooLong
from tests.faultserver import FakeClock, scripts
from tests.store import dicom

from .conftest import quick
from .holder import Reply


def studies_of(count: int, instances: int) -> dict[str, dict[str, bytes]]:
    """``{Study Instance UID: {SOP Instance UID: file}}``, each study of one series."""
    made = {}
    for number in range(1, count + 1):
        study, series = f"1.2.3.{number}", f"1.2.3.{number}.1"
        made[study] = {
            f"{series}.{k}": dicom.make(f"{series}.{k}", study=study, series=series, size=2000)
            for k in range(1, instances + 1)
        }
    return made


@pytest.mark.fault("K08")
@pytest.mark.parametrize(
    "count", [20, pytest.param(200, marks=pytest.mark.slow)], ids=["20 studies", "200 studies"]
)
def test_one_call_brings_all_and_none_twice(holder, connect, count):
    """30 % of the requests are answered 503, one in ten instances is cut, also the first ones."""
    holder.studies = studies_of(count, 10)
    holder.page_size = 50
    holder.busy_share, holder.reset_share = 0.3, 0.1
    me = connect(waits=quick(budget=600.0))
    studies = me.download(me.studies()).result()
    files = {path.stem: path.read_bytes() for study in studies for path in study.paths}
    expected = {sop: data for study in holder.studies.values() for sop, data in study.items()}
    assert (len(studies), len(files)) == (count, count * 10)
    assert files == expected
    assert holder.sent == dict.fromkeys(expected, 1), "an instance was sent twice"
    busy = sum(status == 503 for _, path, status in holder.requests if "/wado/" in path)
    assert busy > count / 5
    assert len(holder.asked("/wado/")) - busy > count * 1.5, "hardly a connection was cut"


@pytest.mark.fault("K05")
@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_studies_that_wait_take_no_place(holder, connect, count):
    """All studies but the last are put off for ten minutes; the last one comes at once."""
    uids = [f"1.2.3.{1000 + number}" for number in range(count)]
    holder.studies = {
        uid: {f"{uid}.1.1": dicom.make(f"{uid}.1.1", study=uid, series=f"{uid}.1", size=2000)}
        for uid in uids
    }
    holder.busy = {f"/studies/{uid}": ["600"] for uid in uids[:-1]}
    holder.page_size = 50
    me = connect(waits=quick(budget=3600.0))
    me.studies()
    download = me.download(uids)
    arrived: queue.Queue[str] = queue.Queue()
    download.on_instance(lambda path: arrived.put(path.stem))
    assert arrived.get(timeout=60) == f"{uids[-1]}.1.1"
    assert len(holder.asked("/wado/")) == count, "a study that waits was asked again"
    download.cancel()
    with pytest.raises(Cancelled):
        download.result()


@pytest.mark.fault("K02")
@pytest.mark.parametrize("status", [503, 429, 500, 404])
def test_a_list_that_waits_is_not_answered_by_fetching_everything(holder, connect, status):
    """Two of six instances are stored; the list of instances says "in an hour"."""
    uid, clock = dicom.STUDY, FakeClock()
    holder.drop = set(list(holder.studies[uid])[2:])
    with pytest.raises(Incomplete):
        connect(clock=clock).download(uid).result()
    holder.drop, asked = set(), len(holder.asked("/wado/"))
    listing = f"/wado/studies/{uid}/instances"
    later = scripts.later("3600", status=status)
    holder.server.on(listing, later, lambda talk: Reply(holder, talk).send())
    lists = len(holder.server.at(listing))
    for _ in range(2):  # the second as a new process does
        with pytest.raises(RetryAfterTooLong) as caught:
            connect(clock=clock, waits=quick(budget=60.0)).download(uid).result()
        assert caught.value.not_before == pytest.approx(clock.now + 3600)
    assert len(holder.server.at(listing)) == lists + 1
    assert len(holder.asked("/wado/")) == asked, "the study was fetched again"
    clock.sleep(3600)
    assert len(connect(clock=clock).download(uid).result().paths) == 6
    assert max(holder.sent.values()) == 1
