"""The line into a busy kernel, from the kernel's side: repeats, threads, answers in order."""

from __future__ import annotations

import threading

import pytest

from s4s_notebook.widgets.browse import ExplorePanel
from s4s_notebook.widgets.comm import Channel
from tests.browser.fakes import FakeRecord, patient, study


def test_a_repeat_is_handed_over_once_and_heard_each_time():
    handled, sent = [], []
    line = Channel(handled.append)
    line.send = lambda content, buffers=None: sent.append(content)
    for _ in range(3):
        line._receive(None, {"do": "x", "number": "1"}, None)
    assert len(handled) == 1
    assert sent == [{"heard": "1"}] * 3


def test_what_is_told_as_heard_has_been_handed_over():
    """An acknowledgement ends the browser's repeats, so it must not come before the hand-over."""
    order = []
    line = Channel(lambda _: order.append("handed over"))

    def fails(content, buffers=None):
        order.append("told")
        raise OSError("the channel is gone")

    line.send = fails
    with pytest.raises(OSError, match="gone"):
        line._receive(None, {"do": "x", "number": "1"}, None)
    assert order == ["handed over", "told"]


def test_a_repeat_on_another_thread_at_the_same_time_is_still_one():
    class Slow(list):
        """Lets the other thread in between the look and the note."""

        def __contains__(self, number):
            found = super().__contains__(number)
            both.wait(0.5) if not both.broken else None
            return found

    both = threading.Barrier(2)
    handled = []
    line = Channel(handled.append)
    line.send = lambda content, buffers=None: None
    line._seen = Slow()

    def receive():
        try:
            line._receive(None, {"do": "x", "number": "1"}, None)
        except threading.BrokenBarrierError:  # the lock kept the other one out
            line._receive(None, {"do": "x", "number": "1"}, None)

    threads = [threading.Thread(target=receive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(handled) == 1


def test_loading_is_never_told_after_ready():
    """Asked while it loads: the answer may take its time, but not overtake or be overtaken."""
    loaded, slow = threading.Event(), threading.Event()

    class Record(FakeRecord):
        def patient(self):
            loaded.wait(10)
            return super().patient()

    panel = ExplorePanel(Record([patient("Sample"), study(1)]))
    told = []

    def send(content, buffers=None):
        phase = content["state"]["phase"]
        if phase == "loading":  # between the look and the telling
            loaded.set()
            slow.wait(1)
        told.append(phase)
        if phase == "ready":
            slow.set()

    panel._line.send = send
    panel._send_state()
    assert slow.wait(10)
    assert told == ["loading", "ready"]
