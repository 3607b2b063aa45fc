"""`python -m tests.notebooks.room`: how much room the workshop needs on a machine like Binder's.

All notebooks run, solutions included, on a real Jupyter server that is pinned to one core and
sees no network but loopback. Every kernel stays open, as when a person goes from one notebook to
the next and closes nothing. The memory of server, kernels and sandboxes is sampled (PSS: shared
pages count once); the peak must stay below 2 GB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

from tests.notebooks.books import FOLDER, Book, workshop
from tests.notebooks.visit import KeptServer, run

LIMIT = 2 << 30  # bytes, as a Binder server has
TICK = 0.25  # seconds between samples
_INSIDE = "S4S_ROOM_WITHOUT_NETWORK"
_ELSEWHERE = ("192.0.2.1", 80)  # TEST-NET-1: leads nowhere, but takes a route to find out


@dataclass(frozen=True)
class Stay:
    """What one notebook took: its cells, seconds, and the peaks in bytes while it ran."""

    name: str
    cells: int
    seconds: float
    peak: int
    kernel: int
    errors: tuple[str, ...]


def held(pid: int) -> dict[int, int]:
    """Bytes that a process and those below it hold (PSS), by process id."""
    parent = psutil.Process(pid)
    sizes = {}
    for process in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it may just have ended
            sizes[process.pid] = process.memory_full_info().pss
    return sizes


class Sampler(Thread):
    """Looks at the memory of a process and those below it until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="sampler", daemon=True)
        self._pid, self._end = pid, Event()
        self.peak = 0
        self.peaks: dict[int, int] = {}

    def run(self) -> None:
        while not self._end.wait(TICK):
            self.sample()

    def sample(self) -> None:
        sizes = held(self._pid)
        self.peak = max(self.peak, sum(sizes.values()))
        for pid, size in sizes.items():
            self.peaks[pid] = max(size, self.peaks.get(pid, 0))

    def stop(self) -> Sampler:
        self._end.set()
        self.join()
        self.sample()
        return self


def reaches_out(address: tuple[str, int] = _ELSEWHERE) -> bool:
    """Whether there is a route to somewhere else. Nothing is sent: UDP connects in the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def shut_in(argv: Sequence[str]) -> int | None:
    """Run this again in a network of its own, with loopback only; None where that cannot be."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return None
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        return None
    again = [sys.executable, "-m", "tests.notebooks.room", *argv]
    command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *again]
    return subprocess.run(command, env={**os.environ, _INSIDE: "1"}).returncode


def measure(books: Sequence[Book], home: Path, core: int, *, close: bool = False) -> list[Stay]:
    """Run the notebooks one after the other on one server; ``close`` ends each one's kernel."""
    server = KeptServer(home)
    shutil.copytree(FOLDER, server.work / "notebooks")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited by the server and its kernels
    try:
        server.start()
    finally:
        os.sched_setaffinity(0, before)  # the sampler does not take the visitor's core
    try:
        return [_stay(server, book, close=close) for book in books]
    finally:
        server.stop()


def _stay(server: KeptServer, book: Book, *, close: bool) -> Stay:
    sampler = Sampler(server.pid)
    known = set(held(server.pid))
    sampler.start()
    began = time.monotonic()
    errors = run(server, book)
    seconds = time.monotonic() - began
    peaks = sampler.stop().peaks
    if close:
        server.end_kernels()
    kernel = sum(size for pid, size in peaks.items() if pid not in known)
    cells = sum(cell.kind == "code" for cell in book.cells)
    return Stay(book.name, cells, seconds, sampler.peak, kernel, tuple(errors))


def verdict(stays: Sequence[Stay], limit: int = LIMIT) -> list[str]:
    """What is not as it should be."""
    told = [f"{stay.name}: {error}" for stay in stays for error in stay.errors]
    peak = max((stay.peak for stay in stays), default=0)
    if not stays:
        told.append("no notebook ran")
    if peak >= limit:
        told.append(f"{_mb(peak)} at the peak, less than {_mb(limit)} wanted")
    return told


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks.room", description=__doc__)
    parser.add_argument("notebooks", nargs="*", help="their numbers (default: all)")
    parser.add_argument("--close", action="store_true", help="end each kernel with its notebook")
    given = parser.parse_args(argv)
    if _INSIDE not in os.environ:
        code = shut_in(argv)
        if code is not None:
            return code
        print("The network cannot be blocked here: that needs root, `unshare` and `ip`.")
    open_ = reaches_out()
    print(f"Network: {'open' if open_ else 'blocked but for loopback'}. Cores: one.", flush=True)
    books = [book for book in workshop() if not given.notebooks or book.number in given.notebooks]
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="s4s-room-") as folder:
        stays = measure(books, Path(folder), core, close=given.close)
    for stay in stays:
        print(
            f"  {stay.name:24} {stay.cells:3} cells {stay.seconds:6.1f} s"
            f"   its kernel {_mb(stay.kernel):>8}   all together {_mb(stay.peak):>8}"
        )
    told = verdict(stays)
    seconds, peak = sum(s.seconds for s in stays), max((s.peak for s in stays), default=0)
    print(f"{len(stays)} notebooks in {seconds:.0f} s; peak {_mb(peak)}; limit {_mb(LIMIT)}")
    for text in told:
        print(f"  NOT {text}")
    return 1 if told or (open_ and _INSIDE in os.environ) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
