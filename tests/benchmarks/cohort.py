"""`python -m tests.benchmarks cohort`: one frame over all participants of a store.

The measure is the frame itself: what a process holds at its peak beyond what it held before,
beside the size of the frame that it made. Each step runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from s4s_notebook import Store
from s4s_notebook.store import Entry, Run
from tests.benchmarks.tables import claims, peak

A_PERSON = 10  # claims


def fill(root: Path, people: int) -> None:
    """A store with this many participants."""
    pool = claims()
    with Store(root) as store:
        for person in range(people):
            who = store.participant("https://holder.example/fhir", f"p{person:05d}")
            entries = []
            for number in range(person * A_PERSON, (person + 1) * A_PERSON):
                one = {**pool[number % len(pool)], "id": f"c{number}"}
                entries.append(Entry(one["id"], "1", one))
            run = Run("r", None, None, None, True, 1)
            who.save_page("ExplanationOfBenefit", run, entries)


def child(root: Path) -> None:
    """In a process of its own: seconds, rows, and peak memory beside the frame's."""
    with Store(root) as store:
        store.patients()  # whatever is loaded late
        started, start = peak(), time.process_time()
        frame = store.benefit_lines()
        seconds, grew = time.process_time() - start, peak() - started
    size = int(frame.memory_usage(deep=True).sum()) / 2**20
    print(json.dumps({"rows": len(frame), "seconds": seconds, "frame": size, "grew": grew}))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="cohort", description=__doc__)
    parser.add_argument("--people", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        child(options.child)
        return 0
    print("participants    lines   seconds    frame  peak growth")
    for people in options.people:
        with tempfile.TemporaryDirectory(prefix="s4s-cohort-") as name:
            root = Path(name) / "store"
            fill(root, people)
            command = [sys.executable, "-m", "tests.benchmarks", "cohort", "--child", str(root)]
            out = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(out.stdout)
        print(
            f"{people:12,}{found['rows']:9,}{found['seconds']:9.1f} s"
            f"{found['frame']:6.0f} MB{found['grew']:10.0f} MB"
        )
    return 0
