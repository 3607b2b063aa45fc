"""The log of one participant: every fact about what is on disk, one JSON line each.

The log is the truth and the index is a view of it, so a lost index costs no request. Lines are
only ever added, under a lock and with fsync before anybody relies on them; a line torn by a
crash is cut off by the next writer. What a line may say: see ``index.APPLY``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from ..private_files import Folder, disk, write_all

NAME = "record.ndjson"
Record = dict[str, Any]


def encode(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


class Journal:
    """Appends to and reads from ``record.ndjson``. Callers hold the participant's lock to write."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def size(self) -> int:
        return self._folder.size(NAME) or 0

    def append(self, records: Iterable[Record]) -> list[tuple[Record, int, int]]:
        """Add lines, synced; each comes back with its place (offset, length in bytes)."""
        placed: list[tuple[Record, int, int]] = []
        lines = bytearray()
        new = self._folder.size(NAME) is None
        with disk("writing the record of what is on disk"):
            fd = self._folder.open(NAME, os.O_RDWR | os.O_CREAT)
            try:
                start = _cut_torn_line(fd)
                for record in records:
                    line = encode(record)
                    placed.append((record, start + len(lines), len(line)))
                    lines += line + b"\n"
                os.lseek(fd, start, os.SEEK_SET)
                try:
                    write_all(fd, bytes(lines))
                    os.fsync(fd)
                except OSError:
                    # Nobody may rely on half of these lines.
                    with suppress(OSError):
                        os.ftruncate(fd, start)
                    raise
            finally:
                os.close(fd)
            if new:
                self._folder.sync()
        return placed

    def replay(self, start: int) -> Iterator[tuple[Record, int, int]]:
        """Whole lines from ``start`` on, with their places; a torn last line is left out."""
        with disk("reading the record"):
            try:
                fd = self._folder.open(NAME)
            except FileNotFoundError:
                return
            with open(fd, "rb") as lines:
                lines.seek(start)
                for line in lines:
                    if not line.endswith(b"\n"):
                        return
                    with suppress(ValueError):  # a rotten line costs itself alone
                        record = json.loads(line.decode("utf-8", "surrogatepass"))
                        if isinstance(record, dict):
                            yield record, start, len(line) - 1
                    start += len(line)

    def first(self) -> Record | None:
        """The line that says whose record this is."""
        return next((record for record, _, _ in self.replay(0)), None)

    def bodies(self, places: Iterable[tuple[int, int]]) -> Iterator[Any]:
        """The records at these places, one at a time."""
        with disk("reading the record"):
            fd = self._folder.open(NAME)
            with open(fd, "rb", buffering=1 << 18) as lines:
                for offset, length in places:
                    lines.seek(offset)
                    yield json.loads(lines.read(length).decode("utf-8", "surrogatepass"))

    def rewrite(self, edit: Callable[[Record], Record | None]) -> None:
        """Change lines, or take them out (None), in one step; nothing of them stays on disk."""
        part = f".part-{NAME}"
        with disk("rewriting the record"):
            self._folder.remove(part)
            fd = self._folder.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with open(fd, "wb") as lines:
                for record, _, _ in self.replay(0):
                    kept = edit(record)
                    if kept is not None:
                        lines.write(encode(kept) + b"\n")
                lines.flush()
                os.fsync(lines.fileno())
            self._folder.move(part, self._folder, NAME)
            self._folder.sync()


def _cut_torn_line(fd: int) -> int:
    """Where the next line starts, after cutting what a killed writer left of its last one."""
    end = os.fstat(fd).st_size
    if end == 0:
        return 0
    at, tail = end, b""
    while at > 0 and b"\n" not in tail:
        step = min(at, 1 << 16)
        at -= step
        os.lseek(fd, at, os.SEEK_SET)
        tail = os.read(fd, step)
    start = at + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
    if start != end:
        os.ftruncate(fd, start)
    return start
