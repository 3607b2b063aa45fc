"""Hand-overs between two threads: in order, bounded, and never stuck."""

import queue
import threading

import pytest

from s4s_notebook.store.receive import BlockQueue


@pytest.mark.parametrize("room", [1, 2, 3, 8])
def test_all_comes_in_order_and_no_more_than_there_is_room_for(room):
    line, given, taken = BlockQueue(room), [], []

    def give():
        for number in range(200):
            line.put(number)
            given.append(number)

    thread = threading.Thread(target=give)
    thread.start()
    while len(taken) < 200:
        taken.append(line.get(timeout=10))
        # One more may have been given room for, and not be noted yet as given.
        assert len(given) - len(taken) <= room
    thread.join(10)
    assert taken == given == list(range(200))


def test_nothing_comes_within_the_time():
    with pytest.raises(queue.Empty):
        BlockQueue(1).get(timeout=0.01)
