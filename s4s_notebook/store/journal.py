"""The journal of one participant: a record of everything on disk, one JSON line each.

The journal is authoritative and the index is a view of it, so a lost index costs no request.
Lines are only appended, under a lock and with fsync before they are relied on; a line torn by a
crash is removed by the next writer. The types of records: see ``index.APPLY``.
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
    """Return a record as one line of JSON, without the line end."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


class Journal:
    """Appends to and reads ``record.ndjson``. To write, hold the participant's lock."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def size(self) -> int:
        """Return its bytes; 0 where there is none."""
        return self._folder.size(NAME) or 0

    def append(self, records: Iterable[Record]) -> list[tuple[Record, int, int]]:
        """Append records, synced; return each with its position (offset, length in bytes)."""
        positioned: list[tuple[Record, int, int]] = []
        lines = bytearray()
        new = self._folder.size(NAME) is None
        with disk("writing the journal"):
            fd = self._folder.open(NAME, os.O_RDWR | os.O_CREAT)
            try:
                start = _cut_torn_line(fd)
                for record in records:
                    line = encode(record)
                    positioned.append((record, start + len(lines), len(line)))
                    lines += line + b"\n"
                os.lseek(fd, start, os.SEEK_SET)
                try:
                    write_all(fd, bytes(lines))
                    os.fsync(fd)
                except OSError:
                    # Half of these lines must not be relied on.
                    with suppress(OSError):
                        os.ftruncate(fd, start)
                    raise
            finally:
                os.close(fd)
            if new:
                self._folder.sync()
        return positioned

    def replay(self, start: int) -> Iterator[tuple[Record, int, int]]:
        """Yield records from the offset ``start`` on, with positions; skip a torn last line."""
        with disk("reading the journal"):
            try:
                fd = self._folder.open(NAME)
            except FileNotFoundError:
                return
            with open(fd, "rb") as lines:
                lines.seek(start)
                for line in lines:
                    if not line.endswith(b"\n"):
                        return
                    with suppress(ValueError):  # a damaged line costs only itself
                        record = json.loads(line.decode("utf-8", "surrogatepass"))
                        if isinstance(record, dict):
                            yield record, start, len(line) - 1
                    start += len(line)

    def first(self) -> Record | None:
        """Return the first record, which names holder and patient."""
        return next((record for record, _, _ in self.replay(0)), None)

    def read(self, positions: Iterable[tuple[int, int]]) -> Iterator[Any]:
        """Yield the records at these positions, one at a time."""
        with disk("reading the journal"):
            fd = self._folder.open(NAME)
            with open(fd, "rb", buffering=1 << 18) as lines:
                for offset, length in positions:
                    lines.seek(offset)
                    yield json.loads(lines.read(length).decode("utf-8", "surrogatepass"))

    def rewrite(self, edit: Callable[[Record], Record | None]) -> None:
        """Change records, or remove them (None), in one step; nothing of them remains on disk."""
        part = f".part-{NAME}"
        with disk("rewriting the journal"):
            self._folder.remove(part)
            fd = self._folder.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                with open(fd, "wb") as lines:
                    for record, _, _ in self.replay(0):
                        edited = edit(record)
                        if edited is not None:
                            lines.write(encode(edited) + b"\n")
                    lines.flush()
                    os.fsync(lines.fileno())
            except OSError:
                with suppress(OSError):  # the room is needed
                    self._folder.remove(part)
                raise
            self._folder.move(part, self._folder, NAME)
            self._folder.sync()


def _cut_torn_line(fd: int) -> int:
    """Remove what a killed writer left of its last line; return where the next one starts."""
    end = os.fstat(fd).st_size
    if end == 0:
        return 0
    offset, tail = end, b""
    while offset > 0 and b"\n" not in tail:
        step = min(offset, 1 << 16)
        offset -= step
        os.lseek(fd, offset, os.SEEK_SET)
        tail = os.read(fd, step)
    start = offset + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
    if start != end:
        os.ftruncate(fd, start)
    return start
