"""Resources, marks, waits: kept once, in order, over processes and crashes."""

import threading

import pytest

from s4s_notebook.problems import Problem
from s4s_notebook.store import Entry, Run, Store

from .killed import HOLDER

RUN = Run("r1", None, "https://holder.example/fhir?page=2", 100.0, True, 1)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s") as store:
        yield store


def entry(key, version="1", **body):
    return Entry(key, version, {"resourceType": "ExplanationOfBenefit", "id": key, **body})


def test_pages_are_kept_in_order_and_newer_versions_replace(store):
    one = store.participant(HOLDER, "p1")
    one.save_page("ExplanationOfBenefit", RUN, [entry("a"), entry("b")])
    one.save_page(
        "ExplanationOfBenefit", RUN, [entry("b", "2", status="x"), entry("c")], seen=["a"]
    )
    kept = list(one.resources("ExplanationOfBenefit"))
    assert [body["id"] for body in kept] == ["a", "b", "c"]
    assert kept[1]["status"] == "x"
    assert one.versions("ExplanationOfBenefit") == {
        "a": ("1", False), "b": ("2", False), "c": ("1", False)
    }  # fmt: skip
    assert list(one.resources("Coverage")) == []
    assert list(store.participant(HOLDER, "p2").resources("ExplanationOfBenefit")) == []


@pytest.mark.fault("B05", "B15")
def test_a_search_that_was_cut_off_goes_on_and_the_mark_waits_for_its_end(store, tmp_path):
    one = store.participant(HOLDER, "p1")
    one.save_page("Coverage", RUN, [entry("a")])
    assert one.sync_point("Coverage") is None
    with Store(tmp_path / "s") as another:
        assert another.participant(HOLDER, "p1").run("Coverage") == RUN
    one.finish("Coverage", RUN._replace(next=None, pages=2), 200.0)
    assert one.run("Coverage") is None
    assert one.sync_point("Coverage") == (100.0, 200.0, 2)


def test_a_full_run_tells_what_is_no_longer_served(store):
    one = store.participant(HOLDER, "p1")
    one.save_page("Coverage", RUN, [entry("a"), entry("b")])
    one.finish("Coverage", RUN, 1.0)
    again = RUN._replace(run="r2")
    one.save_page("Coverage", again, [], seen=["a"])
    one.finish("Coverage", again, 2.0)
    assert [body["id"] for body in one.resources("Coverage")] == ["a"]
    assert [body["id"] for body in one.resources("Coverage", gone=True)] == ["b"]
    narrow = RUN._replace(run="r3", full=False)
    one.save_page("Coverage", narrow, [entry("c")])
    one.finish("Coverage", narrow, 3.0)
    assert [body["id"] for body in one.resources("Coverage")] == ["a", "c"]
    back = RUN._replace(run="r4")
    one.save_page("Coverage", back, [], seen=["a", "b", "c"])
    one.finish("Coverage", back, 4.0)
    assert [body["id"] for body in one.resources("Coverage")] == ["a", "b", "c"]


def test_problems_are_kept_once(store):
    one = store.participant(HOLDER, "p1")
    problem = Problem("Coverage/1", "Coverage.period", "soon", "not a date")
    one.save_page("Coverage", RUN, [], problems=[problem])
    one.save_page("Coverage", RUN, [], problems=[problem])
    assert one.problems() == [problem]


@pytest.mark.fault("C09")
def test_until_when_to_stay_away_is_kept_over_processes_and_clock_jumps(store, tmp_path):
    one = store.participant(HOLDER, "p1")
    one.set_wait("search:Coverage", not_before=1300.0, seconds=300.0)
    with Store(tmp_path / "s") as another:
        again = another.participant(HOLDER, "p1")
        assert again.remaining_wait("search:Coverage", now=1100.0) == 200.0
        assert again.remaining_wait("search:Coverage", now=1400.0) == 0.0
        assert again.remaining_wait("search:Other", now=1100.0) == 0.0
        # The clock was set back a day: no longer than the holder asked for.
        assert again.remaining_wait("search:Coverage", now=1300.0 - 86400) == 300.0


@pytest.mark.fault("F02")
def test_a_torn_last_line_costs_itself_alone(store, tmp_path):
    one = store.participant(HOLDER, "p1")
    one.save_page("Coverage", RUN, [entry("a")])
    record = one.folder.path / "record.ndjson"
    with record.open("ab") as file:
        file.write(b'{"t":"resource","type":"Cover')
    (tmp_path / "s" / "index.sqlite").unlink()
    with Store(tmp_path / "s") as another:
        again = another.participant(HOLDER, "p1")
        assert [body["id"] for body in again.resources("Coverage")] == ["a"]
        again.save_page("Coverage", RUN, [entry("b")])
        assert [body["id"] for body in again.resources("Coverage")] == ["a", "b"]
    assert record.read_bytes().count(b"\n") == len(record.read_bytes().splitlines())


def test_a_rotten_line_in_the_middle_costs_itself_alone(store, tmp_path):
    one = store.participant(HOLDER, "p1")
    for key in "abc":
        one.save_page("Coverage", RUN, [entry(key)])
    record = one.folder.path / "record.ndjson"
    record.write_bytes(record.read_bytes().replace(b'"id":"b"', b'"id":"b\xff'))
    (tmp_path / "s" / "index.sqlite").unlink()
    with Store(tmp_path / "s") as another:
        kept = another.participant(HOLDER, "p1").resources("Coverage")
        assert [body["id"] for body in kept] == ["a", "c"]


@pytest.mark.fault("F06")
def test_another_open_store_sees_what_is_written_here(store, tmp_path):
    with Store(tmp_path / "s") as another:
        here, there = (s.participant(HOLDER, "p1") for s in (store, another))

        def write(participant, name):
            for number in range(20):
                participant.save_page("Coverage", RUN, [entry(f"{name}{number}")])

        threads = [
            threading.Thread(target=write, args=(who, name))
            for who, name in ((here, "h"), (there, "t"), (here, "x"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for participant in (here, there):
            assert len(list(participant.resources("Coverage"))) == 60


def test_a_record_cut_short_by_hand_is_read_again(store, tmp_path):
    one = store.participant(HOLDER, "p1")
    one.save_page("Coverage", RUN, [entry("a")])
    record = one.folder.path / "record.ndjson"
    short = record.read_bytes()
    one.save_page("Coverage", RUN, [entry("b")])
    record.write_bytes(short)
    with Store(tmp_path / "s") as another:
        kept = another.participant(HOLDER, "p1").resources("Coverage")
        assert [body["id"] for body in kept] == ["a"]


def test_changes_consents_and_problems_are_kept(store, tmp_path):
    one = store.participant(HOLDER, "p1")
    assert str(tmp_path) in repr(store)
    one.save_page("Coverage", RUN, [entry("a"), entry("b")])
    one.finish("Coverage", RUN, 1.0)
    again = RUN._replace(run="r2")
    changed = entry("a", "2")._replace(change="changed")
    one.save_page("Coverage", again, [changed], seen=["a"])
    one.finish("Coverage", again, 2.0)
    assert one.changes("Coverage", "r2") == [("a", "changed"), ("b", "gone")]
    assert one.changes("Coverage", "r1") == [("a", "unchanged")]
    one.consent("https://imaging.example:443")
    one.consent("https://imaging.example:443")
    one.add_problems("Coverage", [Problem("Coverage/1", "x", "y", "z")])
    (tmp_path / "s" / "index.sqlite").unlink()
    with Store(tmp_path / "s") as another:
        same = another.participant(HOLDER, "p1")
        assert same.consents() == ["https://imaging.example:443"]
        assert same.problems() == [Problem("Coverage/1", "x", "y", "z")]
        assert same.changes("Coverage", "r2") == [("a", "changed"), ("b", "gone")]
