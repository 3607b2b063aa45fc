"""Waits beyond one request: every process of the user obeys them, whatever the clock says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from s4s_notebook import errors
from s4s_notebook.http import waits as module
from s4s_notebook.http.retry import WaitPolicy
from s4s_notebook.http.slots import OriginSlots
from s4s_notebook.http.waits import StoredWait, Waits, boot_id, state_folder
from s4s_notebook.task import Cancel, SystemClock
from tests.faultserver import Conversation, FakeClock, FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import Make

JSON = "application/json"
OK = send.json({"ok": True})
DAY = 86400.0


@pytest.mark.fault("K04")
@pytest.mark.parametrize("jump", [-DAY, -1.0, 1.0, DAY])
def test_a_clock_that_is_set_neither_shortens_nor_lengthens_a_wait(
    server, make: Make, clock: FakeClock, tmp_path: Path, jump: float
) -> None:
    server.on("/x", send.later("300"), OK)
    with pytest.raises(errors.RetryAfterTooLong):
        make(waits=WaitPolicy(budget=1, jitter=0.0), stored_waits=Waits(tmp_path, clock)).request(
            "GET", server.url("/x"), accept=JSON
        )
    clock.now += jump
    began = clock.up
    make(stored_waits=Waits(tmp_path, clock)).request("GET", server.url("/x"), accept=JSON)
    assert clock.up - began == pytest.approx(300)


@pytest.mark.fault("K04")
@pytest.mark.parametrize(
    ("jump", "left"), [(0.0, 300.0), (100.0, 200.0), (DAY, 0.0), (-DAY, 300.0)]
)
def test_after_a_restart_the_wall_clock_counts_up_to_what_was_asked(
    clock: FakeClock, monkeypatch, jump: float, left: float
) -> None:
    wait = StoredWait(clock.now + 300, 300.0, "an earlier boot", clock.up + 300, 503)
    clock.now, clock.up = clock.now + jump, 10.0
    assert wait.remaining(clock) == left
    monkeypatch.setattr(module, "boot_id", lambda: "")  # a system without boot ids
    assert replace(wait, boot="").remaining(clock) == left


def test_this_machine_has_a_boot_id_that_stays() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == module._BOOT_ID.read_text().strip()


@pytest.mark.fault("K03")
def test_what_is_stored_names_nothing_and_only_the_user_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "waits"
    waits = Waits(folder)
    waits.set("https://holder.example/fhir/ImagingStudy?patient=p-0815", 300, 503)
    waits.set("https://holder.example/wado/p-0815/studies/1.2.826", 300, 503)
    files = [path for path in folder.iterdir() if path.is_file()]
    assert len(files) == 3  # with the salt
    for path in files:
        text = path.name.encode() + path.read_bytes()
        for secret in (b"holder", b"p-0815", b"1.2.826", b"Imaging"):
            assert secret not in text
        assert path.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    other = Waits(tmp_path / "other")
    other.set("https://holder.example/wado/p-0815/studies/1.2.826", 300, 503)
    names = {path.name for path in (tmp_path / "other").iterdir()} - {"salt"}
    assert not names & {path.name for path in files}  # the hash is salted


@pytest.mark.fault("K03")
def test_a_study_waits_with_all_below_it_and_alone(tmp_path: Path) -> None:
    waits = Waits(tmp_path)
    study = "https://h/wado/studies/1.2.3"
    waits.set(f"{study}/series/1.4/instances/1.5", 300, 503)
    for below in ("", "/series/1.4", "/instances?limit=1", "/series/1.9/instances/1.10"):
        assert Waits(tmp_path).until(study + below) == pytest.approx(time.time() + 300, abs=2)
    for other in ("https://h/wado/studies/1.2.4", "https://h/wado", "https://i/wado/studies/1.2.3"):
        assert Waits(tmp_path).until(other) is None


def test_a_longer_wait_stays_and_what_ended_is_removed(tmp_path: Path, clock: FakeClock) -> None:
    waits = Waits(tmp_path, clock)
    waits.set("https://h/a", 300, 503)
    waits.set("https://h/a", 10, 503)
    assert Waits(tmp_path, clock).until("https://h/a") == clock.now + 300
    waits.set("https://h/b", 5, 503)
    clock.sleep(301)
    assert waits.until("https://h/a") is None
    Waits(tmp_path, clock).set("https://h/c", 5, 503)
    assert len(list(tmp_path.iterdir())) == 2  # the salt and the last wait


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"until": 1}', b"\xff", b"null"])
def test_a_damaged_file_is_no_wait(tmp_path: Path, content: bytes) -> None:
    waits = Waits(tmp_path)
    waits.set("https://h/a", 300, 503)
    [path] = [path for path in tmp_path.iterdir() if path.name != "salt"]
    path.write_bytes(content)
    assert Waits(tmp_path).until("https://h/a") is None
    path.write_text(json.dumps(dict.fromkeys(StoredWait.__slots__, "5")))
    assert Waits(tmp_path).until("https://h/a") is None


def test_a_folder_that_cannot_be_used_ends_no_request(server, make, tmp_path, caplog, clock):
    (tmp_path / "waits").symlink_to(tmp_path / "nowhere")
    server.on("/x", send.later("300"), OK)
    transport = make(stored_waits=Waits(tmp_path / "waits", clock))
    assert transport.request("GET", server.url("/x"), accept=JSON).status == 200
    assert "not stored for other processes" in caplog.text
    assert sum(clock.slept) == pytest.approx(300)


@pytest.mark.fault("K07")
@pytest.mark.parametrize("status", [400, 403, 404, 413, 500, 501])
def test_a_refusal_with_a_time_is_not_repeated_and_not_sent_before_it(
    server, make: Make, clock: FakeClock, tmp_path: Path, status: int
) -> None:
    server.on("/x", send.later("300", status=status), OK)
    first = make(stored_waits=Waits(tmp_path, clock))
    assert first.request("GET", server.url("/x"), accept=JSON).status == status
    for transport in (first, make(stored_waits=Waits(tmp_path, clock))):
        with pytest.raises(errors.RetryAfterTooLong, match="no request") as caught:
            transport.request("GET", server.url("/x?page=2"), accept=JSON)
        assert caught.value.not_before == pytest.approx(clock.now + 300)
        with (
            pytest.raises(errors.RetryAfterTooLong),
            transport.stream(server.url("/x"), accept=JSON),
        ):
            pass
    assert clock.slept == []
    assert len(server.requests) == 1
    clock.sleep(300)
    assert first.request("GET", server.url("/x"), accept=JSON).status == 200


@pytest.mark.fault("K07")
@pytest.mark.parametrize("values", [(), ("soon",), ("9" * 30,)])
def test_a_refusal_without_a_readable_time_is_not_stored(server, make, values) -> None:
    server.on("/x", send.later(*values, status=500), OK)
    transport = make()
    assert transport.request("GET", server.url("/x"), accept=JSON).status == 500
    assert transport.request("GET", server.url("/x"), accept=JSON).status == 200


@pytest.mark.fault("K07")
def test_429_is_waited_out_as_503_is_and_stored(server, make, clock, tmp_path) -> None:
    server.on("/x", send.later("300", status=429), OK)
    with pytest.raises(errors.RetryAfterTooLong):
        make(waits=WaitPolicy(budget=1, jitter=0.0), stored_waits=Waits(tmp_path, clock)).request(
            "GET", server.url("/x"), accept=JSON
        )
    transport = make(stored_waits=Waits(tmp_path, clock))
    assert transport.request("GET", server.url("/x"), accept=JSON).status == 200
    assert sum(clock.slept) == pytest.approx(300)


PROCESS = """
import sys
from s4s_notebook.connection import Connection
from s4s_notebook.errors import RetryAfterTooLong
from s4s_notebook.http.retry import WaitPolicy
with Connection(sys.argv[1], patient="p1", waits=WaitPolicy(budget=1)) as me:
    try:
        me.studies()
    except RetryAfterTooLong as error:
        print(error.not_before)
"""


@pytest.mark.fault("K03")
def test_a_restarted_kernel_without_a_store_still_waits(server: FaultServer) -> None:
    server.on("/fhir/metadata", send.json({"resourceType": "CapabilityStatement"}))
    server.on("/fhir/ImagingStudy", send.later("3600"))
    times = []
    for _ in range(2):
        child = subprocess.run(
            [sys.executable, "-c", PROCESS, server.base],
            check=True,
            capture_output=True,
            text=True,
        )
        times.append(float(child.stdout))
    assert times[0] == pytest.approx(times[1], abs=1)
    assert len(server.at("/fhir/ImagingStudy")) == 1
    stored = [path for path in (state_folder() / "waits").iterdir() if path.name != "salt"]
    assert len(stored) == 1


def test_the_state_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "s4s-notebook"


# ------------------------------------------------------------------ requests under way


def under_way(server: FaultServer, path: str, seconds: float, script=OK) -> list[int]:
    """Script ``path`` to answer after a while, and count how many are under way at a time."""
    counts, active, guard = list[int](), [0], threading.Lock()

    def run(talk: Conversation) -> None:
        with guard:
            active[0] += 1
            counts.append(active[0])
        talk.pause(seconds)
        with guard:
            active[0] -= 1
        script(talk)

    server.on(path, run)
    return counts


@pytest.mark.fault("K05")
@pytest.mark.parametrize("limit", [6, 2])
def test_requests_under_way_at_an_origin_are_limited_over_all_transports(
    server: FaultServer, make: Make, limit: int
) -> None:
    counts = under_way(server, "/x", 0.02)
    transports = [make(clock=SystemClock(), waits=WaitPolicy(per_origin=limit)) for _ in range(4)]
    with ThreadPoolExecutor(24) as pool:
        replies = pool.map(
            lambda n: transports[n % 4].request("GET", server.url("/x"), accept=JSON), range(48)
        )
        assert {reply.status for reply in replies} == {200}
    assert max(counts) == limit
    assert len(counts) == 48


@pytest.mark.fault("K05")
def test_long_transfers_leave_a_slot_for_a_list(server: FaultServer, make: Make) -> None:
    going = threading.Event()
    server.on("/long", lambda talk: (talk.send(send.head(200)), going.wait(10)))
    server.on("/list", OK)
    transport = make(clock=SystemClock(), waits=WaitPolicy(per_origin=3))
    cancel = Cancel()

    def transfer(_: int) -> None:
        with transport.stream(server.url("/long"), accept=JSON, cancel=cancel) as stream:
            b"".join(stream.chunks())

    with ThreadPoolExecutor(5) as pool:
        transfers = [pool.submit(transfer, number) for number in range(5)]
        while len(server.at("/long")) < 2:
            time.sleep(0.01)
        assert transport.request("GET", server.url("/list"), accept=JSON).status == 200
        assert len(server.at("/long")) == 2
        going.set()
        for future in transfers:
            future.result(10)
    assert len(server.at("/long")) == 5


def test_a_slot_is_given_back_once_in_order_and_by_whoever_gives_up() -> None:
    slots, cancel = OriginSlots(), Cancel()
    first = slots.acquire(1, long=True, cancel=None)
    order: list[str] = []

    def take(name: str) -> None:
        slot = slots.acquire(1, long=False, cancel=None)
        order.append(name)
        slot.release()

    threads = [threading.Thread(target=take, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
        while len(slots._queue) < threads.index(thread) + 1:
            time.sleep(0.001)
    cancel.set()
    with pytest.raises(errors.Cancelled):
        slots.acquire(1, long=False, cancel=cancel)
    first.release()
    first.release()
    for thread in threads:
        thread.join(5)
    assert order == ["a", "b", "c"]
    slots.acquire(1, long=False, cancel=None)  # nobody holds it: the slot is collected
    slots.acquire(1, long=False, cancel=None).release()


def test_every_way_a_response_ends_gives_its_slot_back(server, make, clock) -> None:
    page = send.frame(b"x" * 100, "length")
    server.on("/cut", send.cut(send.head(200, page[0]) + page[1], 60))
    server.on("/moved", send.redirect("/gone"))
    server.on("/gone", send.reply(404, b"no"))
    server.on("/no-http", b"SSH-2.0\r\n\r\n")
    server.on("/busy", send.later("1"), send.reply(502), OK)
    transport = make(waits=WaitPolicy(per_origin=1, jitter=0.0, tries=2))
    for path in ("/cut", "/moved", "/gone", "/no-http", "/busy"):
        for call in (transport.request, lambda _, url, **how: transport.stream(url, **how)):
            try:
                result = call("GET", server.url(path), accept=JSON)
                if hasattr(result, "__enter__"):
                    with result:
                        pass
            except errors.S4SError:
                pass
    server.on("/end", OK)
    assert transport.request("GET", server.url("/end"), accept=JSON).status == 200
