"""Resources: asked for once, kept, brought up to date, nothing skipped and nothing doubled."""

import asyncio
import contextlib
import gzip
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from s4s_notebook.connection import Connection
from s4s_notebook.connection.loading import query
from s4s_notebook.errors import (
    Cancelled,
    HTTPStatusError,
    Incomplete,
    NotFound,
    RetryAfterTooLong,
    S4SError,
)
from s4s_notebook.store import Store
from s4s_notebook.store.overview import IncompleteWarning
from s4s_notebook.task import SystemClock
from tests.faultserver import scripts
from tests.memory import measure

from .conftest import quick
from .holder import claim

HERE = Path(__file__).resolve().parents[2]


def ids(frame):
    return sorted(frame["claim_id"])


def test_the_first_call_asks_and_later_calls_read(holder, connect):
    me = connect()
    first = me.benefits()
    asked = len(holder.requests)
    assert len(first) == 7
    again = me.benefits()
    assert again.equals(first)
    me.benefit_lines(), me.diagnoses(), me.procedures(), me.adjudications()
    assert len(me.resources("ExplanationOfBenefit")) == 7
    assert len(holder.requests) == asked
    assert len(me.patient()) == len(me.coverage()) == len(me.studies()) == 1
    first.loc[0, "claim_id"] = "spoilt"
    assert "spoilt" not in set(me.benefits()["claim_id"])


def test_attrs_say_where_a_frame_comes_from(holder, connect):
    import json

    attrs = connect().benefits().attrs
    assert json.loads(json.dumps(attrs)) == attrs
    assert len(attrs) <= 12
    assert attrs["holder"] == holder.fhir
    assert attrs["query"] == "ExplanationOfBenefit?patient=p1"
    assert (attrs["pages"], attrs["complete"]) == (3, True)


def test_load_asks_for_all_four_and_is_awaitable(holder, connect):
    me = connect()
    phases = []

    async def main():
        loading = me.load()
        loading.subscribe(lambda state: phases.append(state.phase))
        return await loading

    assert asyncio.run(main()) is me
    assert phases[-1] == "done"
    before = len(holder.requests)
    me.patient(), me.coverage(), me.studies(), me.benefits()
    assert len(holder.requests) == before


def test_one_type_that_fails_does_not_empty_the_others(holder, connect):
    holder.fail["Coverage"] = [500]
    me = connect()
    with pytest.raises(Incomplete) as caught:
        me.load().result()
    assert caught.value.missing == ("Coverage",)
    assert caught.value.partial is me
    assert isinstance(caught.value.__cause__, HTTPStatusError)
    before = len(holder.requests)
    assert len(me.benefits()) == 7
    assert len(me.studies()) == 1
    assert len(holder.requests) == before
    assert len(me.coverage()) == 1  # and now it comes


@pytest.mark.fault("B05")
@pytest.mark.parametrize("status", [500, 404])
def test_a_page_that_fails_is_incomplete_and_the_next_call_goes_on_there(holder, connect, status):
    holder.fail["startIndex=3"] = [status]
    me = connect()
    with pytest.raises(Incomplete) as caught:
        me.benefits()
    assert ids(caught.value.partial) == ["claim-0", "claim-1", "claim-2"]
    assert caught.value.partial.attrs["complete"] is False
    assert caught.value.request.status == status
    holder.requests.clear()
    assert ids(me.benefits()) == [f"claim-{n}" for n in range(7)]
    assert all("startIndex=" in path for _, path, _ in holder.requests), holder.requests
    assert len(holder.requests) == 2


@pytest.mark.fault("B05")
def test_a_page_that_is_503_is_waited_out(holder, connect):
    holder.busy["startIndex=3"] = ["0.3"]
    began = time.monotonic()
    assert len(connect().benefits()) == 7
    assert time.monotonic() - began >= 0.3


@pytest.mark.fault("B05")
def test_a_page_address_that_the_holder_forgot_starts_the_search_again(holder, connect):
    holder.fail["startIndex=3"] = [500, 410]
    me = connect()
    with pytest.raises(Incomplete):
        me.benefits()
    assert ids(me.benefits()) == [f"claim-{n}" for n in range(7)]
    assert len(holder.asked("ExplanationOfBenefit")) == 2 + 1 + 3


def test_update_asks_from_the_holders_clock_and_tells_what_changed(holder, connect):
    me = connect()
    me.load().result()
    known = holder.now()
    same = me.update()
    assert (len(same), same.attrs["unchanged"]) == (0, 10)
    holder.claims[2] = claim(2, status="active")
    holder.claims.append(claim(99))
    holder.updated = {"claim-2": known + 5, "claim-99": known + 5}
    update = me.update()
    changes = update.set_index("key")["change"]
    assert changes["ExplanationOfBenefit/claim-2"] == "changed"
    assert changes["ExplanationOfBenefit/claim-99"] == "new"
    assert (len(changes), update.attrs["unchanged"]) == (2, 9)
    assert len(me.benefits()) == 8
    narrow = [path for path in holder.asked("ExplanationOfBenefit") if "_lastUpdated=gt" in path]
    assert len(narrow) == 2


def test_a_full_update_marks_what_is_no_longer_served(holder, connect):
    me = connect()
    me.load().result()
    del holder.claims[3]
    holder.claims[0] = claim(0, status="cancelled")  # neither version nor lastUpdated
    changes = me.update(full=True).set_index("key")["change"]
    assert changes["ExplanationOfBenefit/claim-3"] == "gone"
    assert changes["ExplanationOfBenefit/claim-0"] == "changed"
    assert ids(me.benefits()) == ["claim-0", *(f"claim-{n}" for n in (1, 2, 4, 5, 6))]
    assert not me.update()["key"].str.endswith("claim-3").any()
    holder.claims.insert(3, claim(3))
    changes = me.update(full=True).set_index("key")["change"]
    assert changes["ExplanationOfBenefit/claim-3"] == "changed"
    assert len(me.benefits()) == 7


def test_an_update_that_fails_in_part_gives_the_rest(holder, connect):
    me = connect()
    me.load().result()
    holder.fail["ImagingStudy"] = [500]
    with pytest.raises(Incomplete) as caught:
        me.update()
    assert caught.value.missing == ("ImagingStudy",)
    assert caught.value.partial.attrs["unchanged"] == 9


@pytest.mark.fault("B15")
@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_the_mark_is_by_the_holders_clock_and_nothing_is_skipped(holder, connect, skew):
    holder.clock_skew = skew
    late = []

    def while_paging(path):
        # Something changes after the first page was answered: its time is by the holder's clock.
        if "startIndex=3" in path and not late:
            late.append(holder.now())
            holder.claims.append(claim(50))
            holder.updated["claim-50"] = holder.now()
            holder.claims.remove(claim(50))  # and does not show on the pages still to come

    holder.before_page = while_paging
    me = connect()
    me.benefits()
    holder.before_page = None
    upto = me.participant.sync_point("ExplanationOfBenefit").until
    assert upto <= late[0]
    assert upto > late[0] - 60
    holder.claims.append(claim(50))
    me.update()
    assert "claim-50" in ids(me.benefits())


@pytest.mark.fault("B15")
def test_a_failed_update_does_not_move_the_mark(holder, connect):
    me = connect()
    me.load().result()
    before = me.participant.sync_point("ExplanationOfBenefit")
    holder.updated = {f"claim-{n}": holder.now() + 5 for n in range(7)}
    holder.claims = [claim(n, status="active") for n in range(7)]
    holder.fail["startIndex=3"] = [500]
    with pytest.raises(Incomplete):
        me.update()
    assert me.participant.sync_point("ExplanationOfBenefit") == before
    changes = me.update()
    eob = changes[changes["resource_type"] == "ExplanationOfBenefit"]
    assert list(eob["change"]) == ["changed"] * 7, "changes of the first half are told too"
    after = me.participant.sync_point("ExplanationOfBenefit")
    assert after.retrieved > before.retrieved
    assert after.until > before.until - 1  # a Date header has whole seconds


KILLED = """
import sys, os
from s4s_notebook.store import Store
from s4s_notebook.connection import Connection
from tests.store import killed
killed.arm(int(sys.argv[3]))
with Store(sys.argv[1]) as store:
    me = Connection(sys.argv[2], patient="p1", store=store)
    me.resources("ExplanationOfBenefit")
    me._finish(me._start(__import__("s4s_notebook.connection.loading", fromlist=["x"]).Loading(
        me.session, ["ExplanationOfBenefit"], result=me, full=True)))
os._exit(0)
"""


@pytest.mark.fault("B15", "F01")
def test_an_update_killed_at_any_moment_skips_and_doubles_nothing(holder, connect, tmp_path):
    known = {f"claim-{n}": n for n in range(7)}
    fatal = 1
    while True:
        root = tmp_path / str(fatal)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(root), holder.fhir, str(fatal)],
            cwd=HERE, timeout=60, capture_output=True, check=False,
        )  # fmt: skip
        with Connection(holder.fhir, patient="p1", store=root, waits=quick()) as me:
            kept = [each["id"] for each in me.resources("ExplanationOfBenefit")]
            assert sorted(kept) == sorted(known), fatal
        if done.returncode == 0:
            break
        fatal += 3
    assert fatal > 20


@pytest.mark.fault("C08")
def test_503_for_ever_ends_at_the_budget_and_the_next_call_goes_on(holder, connect):
    holder.busy["startIndex=6"] = ["0.2"] * 1000
    me = connect(waits=quick(budget=1.0))
    began = time.monotonic()
    with pytest.raises(Incomplete) as caught:
        me.benefits()
    assert time.monotonic() - began < 3
    cause = caught.value.__cause__
    assert isinstance(cause, RetryAfterTooLong)
    assert cause.attempts >= 4
    assert 0.5 < cause.waited <= 1.0
    holder.busy.clear()
    holder.requests.clear()
    assert len(me.benefits()) == 7
    assert len(holder.requests) == 1


WAITS = """
import sys
from s4s_notebook.connection import Connection
with Connection(sys.argv[2], patient="p1", store=sys.argv[1]) as me:
    me.benefits()
"""


@pytest.mark.fault("C09")
def test_a_process_killed_while_waiting_leaves_the_wait_to_the_next(holder, connect, tmp_path):
    holder.busy["ExplanationOfBenefit"] = ["4"]
    root = tmp_path / "waits"
    process = subprocess.Popen([sys.executable, "-c", WAITS, str(root), holder.fhir], cwd=HERE)
    deadline = time.monotonic() + 30
    while not holder.asked("ExplanationOfBenefit") and time.monotonic() < deadline:
        time.sleep(0.02)
    refused = time.monotonic()
    time.sleep(0.5)
    process.kill()
    process.wait()
    shown = []
    with Connection(holder.fhir, patient="p1", store=root, display=shown.append) as me:
        assert len(me.benefits()) == 7
    assert time.monotonic() - refused >= 3.9
    assert len(holder.asked("ExplanationOfBenefit")) == 4
    assert shown[0].state.phase == "done"


class Jumping(SystemClock):
    """A wall clock that somebody sets back by a day."""

    back = 0.0

    def time(self):
        return super().time() - self.back


@pytest.mark.fault("C09")
def test_a_clock_that_jumps_neither_shortens_nor_stretches_a_kept_wait(holder, connect):
    clock, address = Jumping(), f"{holder.fhir}/Coverage"
    connect(clock=clock).session.transport.stored_waits.set(address, 5, 503)
    waits = connect(clock=clock).session.transport.stored_waits  # as of another process
    for back in (0, 86400, -86400):
        clock.back = back
        assert 4 < waits.get(address).remaining(clock) <= 5
        assert 4 < waits.until(address) - clock.time() <= 5


def test_cancel_ends_a_wait_within_a_second_and_what_came_stays(holder, connect):
    holder.busy["startIndex=3"] = ["60"]
    me = connect()
    loading = me.load()
    until(lambda: loading.state.phase == "waiting")
    assert 50 < loading.state.seconds_left <= 60
    began = time.monotonic()
    loading.cancel()
    with pytest.raises(Cancelled):
        loading.result(5)
    assert time.monotonic() - began < 1
    assert loading.state.phase == "cancelled"
    assert len(me.studies()) == 1
    assert len(list(me.participant.resources("ExplanationOfBenefit"))) == 3


def until(condition, limit=10):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


@pytest.mark.fault("C10")
def test_one_type_that_waits_does_not_hold_up_the_others(holder, connect):
    holder.busy["ImagingStudy"] = ["60"]
    me = connect()
    loading = me.load()
    until(
        lambda: all(me._is_loaded(kind) for kind in ("Patient", "Coverage", "ExplanationOfBenefit"))
    )
    assert not loading.done()
    loading.cancel()


def test_a_timeout_leaves_the_work_going(holder, connect):
    holder.busy["ImagingStudy"] = ["1"]
    loading = connect().load()
    with pytest.raises(TimeoutError):
        loading.result(0.2)
    assert loading.result()


@pytest.mark.fault("G06")
def test_an_interrupted_call_ends_its_work_and_says_how_to_go_on(holder, connect):
    holder.busy["startIndex=3"] = ["60"]
    shown = []
    me = connect(display=shown.append)
    main = threading.main_thread().ident

    def interrupt():
        until(lambda: shown and shown[0].state.phase == "waiting")
        import signal

        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="Call again to continue"):
        me.benefits()
    assert time.monotonic() - began < 8
    until(lambda: shown[0].done(), 1)


def test_with_data_in_the_store_nothing_is_asked(holder, connect, store):
    connect().load().result()
    connect(patient="p2")  # nobody's data came for this one
    holder.requests.clear()
    me = connect(patient=None)
    assert me.patient_id == "p1"
    assert me.load().result(5) is me
    assert len(me.benefits()) == 7
    assert len(me.studies()) == 1
    assert holder.requests == []
    assert connect().update().attrs["unchanged"] == 10
    assert holder.requests


def test_problems_of_pages_and_tables_are_one_frame(holder, connect):
    holder.claims[0] = claim(0, billablePeriod={"start": "IGNORED_FIELD"})
    me = connect()
    me.load().result()
    frame = me.problems()
    assert list(frame.columns) == ["resource", "path", "value", "why"]
    assert "IGNORED_FIELD" in set(frame["value"])


def test_an_unknown_patient_is_not_found(holder, connect):
    me = connect(patient="nobody")
    with pytest.raises(NotFound):
        me.patient()


def test_a_cohort_is_one_frame(holder, connect, store):
    connect().load().result()
    with_other = store.participant("https://other.example/fhir", "p9")
    from s4s_notebook.store import Entry, Run

    body = claim(3) | {"patient": {"reference": "Patient/p9"}}
    with_other.save_page(
        "ExplanationOfBenefit", Run("r", None, None, None, True, 1), [Entry("k", "1", body)]
    )
    with pytest.warns(IncompleteWarning, match="1 of 2 participants"):
        frame = store.benefits()
    assert frame.columns[0] == "participant"
    assert len(frame) == 8
    assert set(frame["participant"]) == {
        f"{holder.fhir}/Patient/p1", "https://other.example/fhir/Patient/p9"
    }  # fmt: skip
    for name in ("patients", "coverage", "studies", "series", "benefit_lines", "diagnoses",
                 "procedures", "adjudications"):  # fmt: skip
        with pytest.warns(IncompleteWarning):
            cohort = getattr(store, name)()
        assert cohort.columns[0] == "participant"
        assert str(cohort["participant"].dtype) == "str"


def _referring(reference):
    return {
        "resourceType": "ImagingStudy", "id": "s", "uid": "urn:oid:1.2.3",
        "patient": {"reference": "Patient/p"}, "endpoint": [{"reference": reference}],
    }  # fmt: skip


def _endpoint(address):
    return {
        "resourceType": "Endpoint", "id": "9", "address": address,
        "connectionType": {"code": "dicom-wado-rs"},
    }  # fmt: skip


def _keep(who, study, endpoint=None):
    from s4s_notebook.store import Entry, Run

    beside = [("Endpoint", Entry("Endpoint/9", "1", endpoint))] if endpoint else []
    run = Run("r", None, None, None, True, 1)
    who.save_page("ImagingStudy", run, [Entry("1.2.3", "1", study)], included=beside)


def test_each_participant_of_a_cohort_has_its_own_endpoints(store):
    people = {
        "https://a.example/fhir": _endpoint("https://a.example/wado"),
        "https://b.example/fhir": _endpoint("https://b.example/wado"),
        "https://c.example/fhir": None,
    }
    for base, endpoint in reversed(people.items()):
        _keep(store.participant(base, "p"), _referring("Endpoint/9"), endpoint)
    store.participant("https://d.example/fhir", "p")  # nothing came yet
    with pytest.warns(IncompleteWarning, match="4 of 4"):
        frame = store.studies()
    assert list(frame["participant"]) == [f"{base}/Patient/p" for base in people]
    assert list(frame["endpoint"]) == [
        "https://a.example/wado", "https://b.example/wado", "Endpoint/9"
    ]  # fmt: skip
    assert list(frame["downloadable"].astype(object).fillna("ask")) == [True, True, "ask"]
    assert frame.attrs["participants"] == 4
    with pytest.warns(IncompleteWarning):
        assert len(store.series()) == 0


def test_endpoints_beside_the_studies_say_what_can_be_downloaded(holder, connect):
    me = connect()
    me.load().result()
    _keep(me.participant, _referring("Endpoint/9"), _endpoint("https://a.example/wado"))
    frame = me.studies().set_index("study_uid")
    assert frame.loc["1.2.3", "endpoint"] == "https://a.example/wado"
    assert frame.loc["1.2.3", "downloadable"]


def test_an_empty_store_has_the_columns_all_the_same(connect):
    with Store() as store:
        empty = store.benefits()
    assert len(empty) == 0
    full = connect().benefits()
    assert list(empty.columns[1:]) == list(full.columns)
    assert (empty.dtypes.iloc[1:] == full.dtypes).all()


def test_what_is_asked_for():
    assert query("Coverage", "p1") == [("beneficiary", "p1")]
    assert query("ImagingStudy", "p1", "2016-04-01T02:52:32.000Z") == [
        ("patient", "p1"), ("_lastUpdated", "gt2016-04-01T02:52:32.000Z")
    ]  # fmt: skip


@pytest.mark.parametrize("same", [True, False], ids=["one connection", "two connections"])
def test_calls_at_the_same_time_lose_nothing_and_ask_once(holder, connect, same):
    first = connect()
    second = first if same else connect()
    together = threading.Barrier(2, timeout=1)

    def meet(path):
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait()

    holder.before_page = meet
    for loading in [first.load(), second.load()]:
        loading.result()
    for me in (first, second):
        assert len(me.benefits()) == 7
        assert len(me.patient()) == len(me.studies()) == 1
    assert len(holder.asked("ExplanationOfBenefit?")) == 3  # its pages, once


def test_two_full_updates_at_the_same_time_lose_nothing(holder, connect, store):
    me = connect()
    me.load().result()
    others = [threading.Thread(target=me.update, args=(True,)) for _ in range(3)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(20)
    assert len(me.benefits()) == 7
    assert not [each for each in me.update(full=True)["change"] if each != "unchanged"]


def read_lines(base: str, store: str) -> list[str]:
    """Return how a call for claims ends, what is recorded of them, and the studies all the same."""
    with Connection(base, patient="p1", store=store) as me:
        try:
            end = f"{len(me.benefit_lines())} lines"
        except S4SError as error:
            end = f"{type(error).__name__}: {error} {error.__cause__}"
        return [end, f"{len(me.studies())} study"]


@pytest.mark.fault("M08")
@pytest.mark.parametrize(
    ("item", "limit"),
    [
        (b'{"sequence":1},', "signs of structure"),
        pytest.param(b'{"sequence":1, "note":"none"},', "larger than", marks=pytest.mark.slow),
    ],
)
def test_a_claim_of_two_million_items_is_an_error_within_bounds(holder, tmp_path, item, limit):
    items = item * 2_000_000
    body = b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":'
    body += b'"ExplanationOfBenefit","id":"1","patient":{"reference":"Patient/p1"},"item":['
    body = gzip.compress(body + items[:-1] + b"]}}]}", 1)
    address = "/fhir/ExplanationOfBenefit"
    holder.server.on(address, scripts.reply(200, body, Content_Encoding="gzip"))
    growth, ends = measure(read_lines, holder.fhir, str(tmp_path / "store"))
    assert ends[0].startswith("MalformedResponse: ")
    assert limit in ends[0]
    assert address in ends[0]
    assert ends[1] == "1 study"
    assert growth < 256
