"""Waits on the transport: never early, always ending, countable, cancellable."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
import tracemalloc
from email.utils import formatdate
from pathlib import Path

import pytest

from s4s_notebook import errors
from s4s_notebook.http.client import Exchange
from s4s_notebook.http.retry import RetryState, WaitPolicy
from s4s_notebook.http.waits import Waits
from s4s_notebook.task import Cancel, SystemClock, Waiting
from tests.faultserver import Conversation, FakeClock, FaultServer
from tests.faultserver import scripts as send
from tests.faultserver.fixtures import FakeTokens, Make

JSON = "application/json"
OK = send.json({"ok": True})


@pytest.mark.fault("C01")
def test_no_request_before_the_time_is_up(server: FaultServer, make: Make, clock) -> None:
    arrived: list[float] = []

    def note(script):
        def run(talk: Conversation) -> None:
            arrived.append(clock.now)
            script(talk)

        return run

    server.on("/x", note(send.later("300")), note(OK))
    seen: list[Waiting] = []
    history: list[Exchange] = []
    transport = make(on_exchange=history.append)
    reply = transport.request(
        "GET", server.url("/x"), params=[("patient", "p 1")], accept=JSON, on_wait=seen.append
    )
    assert reply.json() == {"ok": True}
    assert arrived[1] - arrived[0] >= 300
    first, second = server.requests
    assert (first.method, first.target, first.headers) == (
        second.method,
        second.target,
        second.headers,
    )
    assert [w.seconds_left for w in seen] == sorted([w.seconds_left for w in seen], reverse=True)
    assert seen[0].seconds_left == pytest.approx(300)
    assert seen[-1].seconds_left == 0.0
    gaps = [a.seconds_left - b.seconds_left for a, b in itertools.pairwise(seen)]
    assert max(gaps) <= 1.0
    assert {w.reason for w in seen} == {"503"}
    assert [h.status for h in history] == [503, 200]
    assert [h.waited for h in history] == [0.0, pytest.approx(300)]


@pytest.mark.fault("C01")
def test_the_countdown_is_cancelled_within_a_second(server: FaultServer, make: Make) -> None:
    server.on("/x", send.later("300"))
    cancel = Cancel()
    transport = make(clock=SystemClock())
    threading.Timer(0.3, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(errors.Cancelled):
        transport.request("GET", server.url("/x"), accept=JSON, cancel=cancel)
    assert time.monotonic() - started < 1.3
    assert len(server.requests) == 1


def test_a_cancelled_call_sends_nothing(server: FaultServer, make: Make) -> None:
    cancel = Cancel()
    cancel.set()
    assert cancel.is_set()
    assert cancel.wait(0)
    with pytest.raises(errors.Cancelled):
        make().request("GET", server.url("/x"), accept=JSON, cancel=cancel)
    assert server.requests == []


def test_cancel_in_the_last_tick_counts(server: FaultServer, make: Make, clock) -> None:
    server.on("/x", send.later("1"))
    cancel = Cancel()
    end = clock.up + 1
    clock.on_sleep = lambda: clock.up >= end and cancel.set()
    with pytest.raises(errors.Cancelled):
        make().request("GET", server.url("/x"), accept=JSON, cancel=cancel)
    assert sum(clock.slept) == pytest.approx(1)
    assert len(server.requests) == 1


@pytest.mark.fault("C01", "D15")
def test_a_silent_holder_is_cancelled_within_a_second(server: FaultServer, make: Make) -> None:
    server.on("/head", send.stall())
    server.on("/body", send.stall(send.head(200, {"Content-Length": 10})))
    for path in ("/head", "/body"):
        cancel = Cancel()
        threading.Timer(0.3, cancel.set).start()
        started = time.monotonic()
        with pytest.raises(errors.Cancelled) as caught:
            make().request("GET", server.url(path), accept=JSON, cancel=cancel)
        assert time.monotonic() - started < 1.3
        assert caught.value.request is not None


@pytest.mark.fault("C02")
def test_a_date_is_waited_for(server: FaultServer, make: Make, clock: FakeClock) -> None:
    server.on("/x", send.later(formatdate(clock.now + 90, usegmt=True)), OK)
    make().request("GET", server.url("/x"), accept=JSON)
    assert 89 <= sum(clock.slept) <= 91


@pytest.mark.fault("C03")
@pytest.mark.parametrize("value", ["0", "0.0", "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_zero_and_past_are_no_hot_loop(server, make, clock, value: str) -> None:
    server.on("/x", *[send.later(value)] * 5, OK)
    waits = WaitPolicy(floor=1.0, jitter=0.5, random=lambda: 0.9)
    make(waits=waits).request("GET", server.url("/x"), accept=JSON)
    assert sum(clock.slept) == pytest.approx(5 * 1.45)


def test_jitter_only_ever_adds() -> None:
    for at in (0.0, 0.5, 0.999):
        policy = WaitPolicy(random=lambda at=at: at)
        assert 300.0 <= policy.pause(300.0, 1) <= 305.0
        assert 1.0 <= policy.pause(0.0, 1) <= 1.05


@pytest.mark.fault("C04")
@pytest.mark.parametrize(
    "values",
    [("-1",), ("1e3",), ("1_000",), ("\u00d9\u00a3",), ("",), ()],
)
def test_an_unusable_value_backs_off(server, make, clock, values: tuple[str, ...]) -> None:
    server.on("/x", *[send.later(*values)] * 4, OK)
    make().request("GET", server.url("/x"), accept=JSON)
    assert sum(clock.slept) == pytest.approx(1 + 2 + 4 + 8)


@pytest.mark.fault("C05")
@pytest.mark.parametrize("value", ["9" * 30, "Fri, 31 Dec 9999 23:59:59 GMT", "7201"])
def test_a_wait_beyond_the_budget_ends_at_once(server, make, clock, value: str) -> None:
    server.on("/x", send.later(value))
    with pytest.raises(errors.RetryAfterTooLong) as caught:
        make().request("GET", server.url("/x"), accept=JSON)
    error = caught.value
    assert clock.slept == []
    assert len(server.requests) == 1
    assert error.retry_after is not None
    assert error.retry_after >= 7201
    assert error.not_before is not None
    assert error.not_before >= clock.now + 7201
    assert error.request is not None
    assert error.request.status == 503
    assert "7200 s" in str(error)


@pytest.mark.fault("C06")
@pytest.mark.parametrize("wrong", [-86400.0, 86400.0])
def test_a_wrong_local_clock_does_no_harm(server, make, clock, wrong: float) -> None:
    theirs = clock.now + wrong
    server.on(
        "/x",
        send.later(formatdate(theirs + 60, usegmt=True), Date=formatdate(theirs, usegmt=True)),
        OK,
    )
    make().request("GET", server.url("/x"), accept=JSON)
    assert sum(clock.slept) == pytest.approx(60)


@pytest.mark.fault("C07")
def test_eight_hours_of_503_with_a_token_that_ends_in_between(server, make, clock) -> None:
    began = clock.now

    def script(talk: Conversation) -> None:
        hours = (clock.now - began) / 3600
        if hours < 8:
            return send.later("600")(talk)
        fresh = talk.seen.bearer == f"token-{int(hours)}"
        return (OK if fresh else send.reply(401))(talk)

    class Ageing(FakeTokens):
        def bearer(self) -> str:
            return self.tokens[0] if len(server.requests) < 40 else f"token-{self.hour()}"

        def hour(self) -> int:
            return int((clock.now - began) / 3600)

        def reject(self, rejected: str) -> None:
            raise AssertionError("a new token was refused")

        def refresh(self, rejected: str, *, cancel: object = None) -> None:
            self.rejected.append(rejected)
            self.tokens[0] = f"token-{self.hour()}"

    tokens = Ageing("token-0")
    server.on("/x", script)
    transport = make(tokens=tokens, waits=WaitPolicy(budget=9 * 3600, jitter=0.0))
    assert transport.request("GET", server.url("/x"), accept=JSON).json() == {"ok": True}
    assert len(server.requests) == 49
    assert sum(clock.slept) == pytest.approx(8 * 3600)


@pytest.mark.fault("C07", "A13")
def test_a_token_that_ended_during_the_wait_is_refreshed_once(server, make, clock) -> None:
    tokens = FakeTokens("old", "new")
    server.on("/x", send.later("3600"), send.reply(401), OK)
    make(tokens=tokens).request("GET", server.url("/x"), accept=JSON)
    assert tokens.rejected == ["old"]
    assert [seen.bearer for seen in server.requests] == ["old", "old", "new"]


@pytest.mark.fault("C08")
def test_endless_503_stops_at_the_budget_and_says_how_to_resume(server, make, clock) -> None:
    server.on("/x", send.later("600"))
    transport = make()
    with pytest.raises(errors.RetryAfterTooLong) as caught:
        transport.request("GET", server.url("/x"), accept=JSON)
    assert caught.value.attempts == 13  # 12 waits of 600 s fit into two hours
    assert caught.value.waited == pytest.approx(7200)
    assert caught.value.not_before == pytest.approx(clock.now + 600)
    assert transport.stored_waits.until(server.url("/x")) == caught.value.not_before
    assert "Call again" in str(caught.value)
    server.on("/x", OK)
    assert transport.request("GET", server.url("/x"), accept=JSON).status == 200
    assert len(server.requests) == 14
    assert clock.now >= caught.value.not_before


@pytest.mark.fault("C08")
def test_a_day_of_503_on_a_fake_clock(server, make, clock) -> None:
    end = clock.now + 86400
    server.on("/x", lambda talk: (OK if clock.now >= end else send.later("600"))(talk))
    transport = make(waits=WaitPolicy(budget=2 * 86400.0, jitter=0.0))
    del clock.slept[:]
    tracemalloc.start()
    try:
        transport.request("GET", server.url("/x"), accept=JSON)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(server.requests) == 145
    assert peak < 16 << 20  # the clock of the test notes every tick; the library keeps nothing


@pytest.mark.fault("C09")
def test_a_wait_outlives_the_process(server, make: Make, clock: FakeClock, tmp_path) -> None:
    server.on("/x", send.later("300"), OK)

    class Killed(BaseException):
        pass

    def die(_: Waiting) -> None:
        raise Killed

    stored_waits = Waits(tmp_path, clock)
    with pytest.raises(Killed):
        make(stored_waits=stored_waits).request("GET", server.url("/x"), accept=JSON, on_wait=die)
    clock.now += 100  # the process is away for a while
    clock.up += 100
    slept = len(clock.slept)
    seen: list[Waiting] = []
    make(stored_waits=Waits(tmp_path, clock)).request(
        "GET", server.url("/x"), accept=JSON, on_wait=seen.append
    )
    assert sum(clock.slept[slept:]) == pytest.approx(200)
    assert seen[0].reason == "kept"
    assert len(server.requests) == 2


KILLED = """
import sys
from pathlib import Path
from s4s_notebook.http.client import Transport
from s4s_notebook.http.origins import Origins
from s4s_notebook.http.waits import Waits
url, folder = sys.argv[1:]
transport = Transport(origins=Origins(url), stored_waits=Waits(Path(folder)))
transport.request("GET", url, accept="a/b", on_wait=lambda w: print("waiting", flush=True))
"""


@pytest.mark.fault("C09")
def test_a_killed_process_leaves_its_wait_behind(server, make, tmp_path: Path) -> None:
    url = server.url("/x")
    server.on("/x", send.later("2"), OK)
    command = [sys.executable, "-c", KILLED, url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        child.kill()
    transport = make(clock=SystemClock(), stored_waits=Waits(tmp_path))
    assert transport.request("GET", url, accept="a/b").status == 200
    first, second = server.requests
    assert second.at - first.at >= 2


@pytest.mark.fault("C09")
def test_setting_the_wall_clock_ahead_shortens_no_wait(server, make, clock) -> None:
    server.on("/x", send.later("300"), OK)
    before = clock.up
    clock.on_sleep = lambda: setattr(clock, "now", clock.now + 3600)
    make().request("GET", server.url("/x"), accept=JSON)
    assert clock.up - before >= 300


def test_a_kept_wait_is_obeyed_without_waiting_when_told_not_to_wait(server, make, clock) -> None:
    transport = make()
    transport.stored_waits.set(server.url("/x"), 60.0, 503)
    with pytest.raises(errors.RetryAfterTooLong) as caught:
        transport.request("GET", server.url("/x"), accept=JSON, wait=False)
    assert caught.value.not_before == pytest.approx(clock.now + 60)
    assert server.requests == []


@pytest.mark.fault("C10")
def test_the_body_of_a_503_is_dropped(server: FaultServer, make: Make) -> None:
    endless = send.flood(send.head(503, {"Retry-After": "1"}), b"x" * 65536, 1 << 40)
    server.on("/x", endless, OK)
    started = time.monotonic()
    make().request("GET", server.url("/x"), accept=JSON)
    assert server.sent < 16 << 20  # what fits into socket buffers
    assert time.monotonic() - started < 5


@pytest.mark.fault("C10")
def test_the_slow_body_of_a_503_holds_nobody_up(server: FaultServer, make: Make) -> None:
    first = send.head(503, {"Retry-After": "1", "Content-Length": "5000"})
    server.on("/x", send.drip(first, b"x", 0.2), OK)
    started = time.monotonic()
    make().request("GET", server.url("/x"), accept=JSON)
    assert time.monotonic() - started < 5


@pytest.mark.fault("C10")
def test_one_that_waits_does_not_hold_up_the_others(server: FaultServer, make: Make) -> None:
    server.on("/busy", send.later("300"))
    server.on("/free", OK)
    transport = make(clock=SystemClock())
    cancel, waiting = Cancel(), threading.Event()
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            transport.request(
                "GET",
                server.url("/busy"),
                accept=JSON,
                cancel=cancel,
                on_wait=lambda _: waiting.set(),
            )
        except errors.Cancelled as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(5)
    assert transport.request("GET", server.url("/free"), accept=JSON).status == 200
    cancel.set()
    thread.join(2)
    assert len(ended) == 1


@pytest.mark.fault("C11")
@pytest.mark.parametrize("status", [503, 429, 408, 502, 504])
def test_statuses_that_are_repeated(server, make, clock, status: int) -> None:
    server.on("/x", send.later("30", status=status), send.later(status=status), OK)
    assert make().request("GET", server.url("/x"), accept=JSON).status == 200
    assert sum(clock.slept) == pytest.approx(30 + (2 if status in (503, 429) else 1))
    assert len(server.requests) == 3


@pytest.mark.fault("C11")
@pytest.mark.parametrize("status", [408, 502, 504])
def test_statuses_without_a_promise_are_repeated_a_few_times(server, make, status: int) -> None:
    server.on("/x", send.reply(status))
    reply = make().request("GET", server.url("/x"), accept=JSON)
    assert reply.status == status
    assert len(server.requests) == 4
    with pytest.raises(errors.HolderUnavailable, match="cannot answer now"):
        reply.checked()


@pytest.mark.fault("C11")
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.HTTPStatusError),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (410, errors.NotFound),
        (500, errors.HTTPStatusError),
    ],
)
def test_statuses_that_are_not_repeated(server, make, clock, status: int, kind: type) -> None:
    server.on("/x", send.later("1", status=status))
    reply = make().request("GET", server.url("/x"), accept=JSON)
    assert reply.status == status
    with pytest.raises(kind) as caught:
        reply.checked()
    assert caught.value.request.status == status
    with pytest.raises(kind), make().stream(server.url("/x"), accept=JSON):
        pass
    assert len(server.requests) == 2
    assert clock.slept == []


def test_a_lost_connection_after_many_503_is_still_tried_again(server, make, clock) -> None:
    server.on("/x", *[send.later("5")] * 20, b"", b"", b"", OK)
    assert make().request("GET", server.url("/x"), accept=JSON).status == 200
    server.on("/x", b"", send.reply(502), b"", send.later("5"), b"", send.reply(504), b"", OK)
    assert make().request("GET", server.url("/x"), accept=JSON).status == 200


@pytest.mark.fault("C05")
def test_an_absurd_wait_is_not_kept(server: FaultServer, make: Make) -> None:
    server.on("/x", send.later("9" * 30), OK)
    transport = make()
    with pytest.raises(errors.RetryAfterTooLong):
        transport.request("GET", server.url("/x"), accept=JSON)
    assert transport.request("GET", server.url("/x"), accept=JSON).status == 200


@pytest.mark.fault("C08", "C09")
def test_a_wait_beyond_the_budget_is_kept(server, make, clock, tmp_path) -> None:
    server.on("/x", send.later("10000"), OK)
    for _ in range(2):
        with pytest.raises(errors.RetryAfterTooLong):
            make(stored_waits=Waits(tmp_path, clock)).request("GET", server.url("/x"), accept=JSON)
    assert len(server.requests) == 1
    clock.now += 9000
    clock.up += 9000
    make(stored_waits=Waits(tmp_path, clock)).request("GET", server.url("/x"), accept=JSON)
    assert sum(clock.slept) == pytest.approx(1000)


def test_told_not_to_wait_gives_the_503_back(server: FaultServer, make: Make, clock) -> None:
    server.on("/x", send.later("300"))
    reply = make().request("GET", server.url("/x"), accept=JSON, wait=False)
    assert reply.status == 503
    assert reply.headers.get_list("Retry-After") == ["300"]
    with pytest.raises(errors.HolderUnavailable):
        reply.checked()
    assert clock.slept == []


def test_a_lost_connection_is_tried_again(server: FaultServer, make: Make, clock) -> None:
    server.on("/x", b"", send.cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", 99), OK)
    assert make().request("GET", server.url("/x"), accept=JSON).status == 200
    assert sum(clock.slept) == pytest.approx(1 + 2)


def test_a_holder_that_is_down_is_told_so(make: Make, clock: FakeClock, server) -> None:
    server.stop()
    with pytest.raises(errors.HolderUnavailable, match="refused") as caught:
        make().request("GET", server.url("/x?patient=7"), accept=JSON)
    assert caught.value.request.attempt == 4
    assert "patient=***" in str(caught.value)
    slept = len(clock.slept)
    with pytest.raises(errors.HolderUnavailable):
        make().request("GET", server.url("/x"), accept=JSON, wait=False)
    assert len(clock.slept) == slept


def test_the_systems_clock_moves_forward_in_seconds() -> None:
    clock = SystemClock()
    assert abs(clock.time() - time.time()) < 5
    before = clock.monotonic()
    clock.sleep(0.01)
    assert 0.01 <= clock.monotonic() - before < 5


def test_a_clock_without_boot_time_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SystemClock, "_boot", None)
    assert SystemClock().monotonic() <= SystemClock().monotonic()


def test_patience_without_hooks_waits_in_silence(clock: FakeClock) -> None:
    patience = RetryState(WaitPolicy(jitter=0.0), clock)
    patience.wait_stored(0.0, errors.Request("GET", "x"))
    assert clock.slept == []
    patience.wait_retry_after(errors.Request("GET", "x"), "503", ["2"], None)
    assert sum(clock.slept) == pytest.approx(2)
    assert patience.attempt == 2


@pytest.mark.slow
def test_ten_real_minutes_of_503(server: FaultServer, make: Make) -> None:
    end = time.monotonic() + 600
    server.on("/x", lambda talk: (OK if time.monotonic() >= end else send.later("60"))(talk))
    transport = make(clock=SystemClock())
    assert transport.request("GET", server.url("/x"), accept=JSON).status == 200
