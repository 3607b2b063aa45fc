"""The measure of the room: its parts always, the whole workshop with --slow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.notebooks import room
from tests.notebooks.books import REPO

HOG = "import sys, time; kept = bytearray(64 << 20); print('up', flush=True); time.sleep(60)"


def stay(**change):
    kept = {"name": "01-a.ipynb", "cells": 3, "seconds": 1.0, "peak": 1 << 30, "kernel": 1}
    return room.Stay(**{**kept, "errors": (), **change})


def test_too_much_memory_an_error_or_no_notebook_is_not_well():
    assert room.verdict([stay()]) == []
    assert room.verdict([stay(), stay(peak=2 << 30)]) == [
        "2,048 MB at the peak, less than 2,048 MB wanted"
    ]
    assert room.verdict([stay(errors=("cell 3: KeyError: 'x'",))]) == [
        "01-a.ipynb: cell 3: KeyError: 'x'"
    ]
    assert room.verdict([]) == ["no notebook ran"]


def test_processes_below_are_counted_also_when_they_have_gone():
    command = [sys.executable, "-c", HOG]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as hog:
        assert hog.stdout.readline() == b"up\n"
        sampler = room.Sampler(os.getpid())
        sampler.sample()
        hog.kill()
    assert sampler.peaks[hog.pid] > 64 << 20
    assert sampler.peak > sampler.peaks[hog.pid]
    sampler.sample()
    assert hog.pid in sampler.peaks
    assert hog.pid not in room.held(os.getpid())


def test_a_blocked_network_is_told_from_an_open_one():
    code = "from tests.notebooks.room import reaches_out; print(reaches_out())"
    shut = ["unshare", "-n", sys.executable, "-c", code]
    done = subprocess.run(shut, cwd=REPO, capture_output=True, text=True)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip("a network of its own needs root")
    assert done.stdout == "False\n", done.stderr
    assert room.reaches_out(("127.0.0.1", 9)), "loopback is always reached"


@pytest.mark.slow
def test_the_whole_workshop_fits():
    command = [sys.executable, "-m", "tests.notebooks.room"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
