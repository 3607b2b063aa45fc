"""From a stream of instances to files that can be relied on.

The caller's thread reads the network; a writer hashes and writes; a third thread syncs in batches,
records and then names the files. A file has its name only after its bytes and its record are on
disk. Memory is bounded by what may wait for the writer, however large an instance is.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from .. import private_files as system
from ..errors import DICOMError
from .filed import Filed, identify
from .files import PART, StudyFolder
from .write_queue import Line

_BLOCK = 1 << 20  # bytes that a writer gets at a time, in at most
_PIECES = 64
_QUEUED = 8  # blocks that the writer may be behind: 8 MB
_BATCH = 40  # files that are synced and recorded in one go, at least once in
_BATCH_SECONDS = 0.5
_SYNCING = 2  # at a time
_serial = itertools.count()


class Rejected(NamedTuple):
    """An instance that was not filed and why; ``error`` is set when it was no DICOM at all."""

    sop_uid: str
    why: str
    error: DICOMError | None = None


class _Arrival:
    """An instance on its way in."""

    def __init__(self, wanted: str | None) -> None:
        self.wanted = wanted
        self.part = f"{PART}{os.getpid()}-{next(_serial)}"
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.fd = -1

    def close(self) -> None:
        fd, self.fd = self.fd, -1  # gone, even where the system says that it could not
        os.close(fd)


_Judged = tuple[_Arrival, Filed]
_Job = tuple[_Arrival, list[bytes | memoryview], str]  # then: "" more to come, "end", "drop"


class Receiver:
    """Files instances of one study. Use as a context manager, inside the study's lock.

    Leaving it waits until all is on disk; ``filed`` and ``rejected`` then say what came.
    ``on_filed(path, size)`` is called for each instance that can be relied on: from a thread of
    its own, in the caller's context.
    """

    def __init__(self, study: StudyFolder, on_filed: Callable[[Path, int], None]) -> None:
        self._study, self._on_filed = study, on_filed
        self._have = study.instances()
        self._patient = study.dicom_patient
        self._error: BaseException | None = None
        self._todo: Line[_Job | None] = Line(_QUEUED)
        self._batch: list[_Judged] = []  # for the next sync; it is due at that monotonic time
        self._due, self._begun = float("inf"), False
        self._ready: Line[list[_Judged] | None] = Line(1)
        self.filed: list[Filed] = []
        self.rejected: list[Rejected] = []
        self.repeated = 0
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._syncing = ThreadPoolExecutor(_SYNCING)
        # A notebook's panel that hears of a file must know which cell's output it stands in.
        run = copy_context().run
        self._committer = threading.Thread(target=run, args=(self._commit,), daemon=True)

    @property
    def dicom_patient(self) -> str:
        return self._patient

    def __enter__(self) -> Receiver:
        self._writer.start()
        self._committer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._todo.put(None)
        self._writer.join()
        self._ready.put(None)
        self._committer.join()
        self._syncing.shutdown()
        if kind is None:
            self._raise()

    def take(self, chunks: Iterable[bytes | memoryview], wanted: str | None = None) -> None:
        """Read one instance to its end. ``wanted`` is its SOP Instance UID where one was asked for.

        Chunks are kept until they are written and must not change. What the iterator raises
        passes through, and nothing of that instance stays.
        """
        arrival = _Arrival(wanted)
        block, size, end = list[bytes | memoryview](), 0, "drop"
        try:
            for chunk in chunks:
                block.append(chunk)
                size += len(chunk)
                if size >= _BLOCK or len(block) >= _PIECES:
                    self._raise()
                    self._todo.put((arrival, block, ""))
                    block, size = [], 0
            end = "end"
        finally:
            self._todo.put((arrival, block, end))
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while (job := self._next()) is not None:
            arrival, block, then = job
            try:
                if self._error is not None or then == "drop":
                    self._drop(arrival)
                else:
                    self._add(arrival, block, last=then == "end")
            except Exception as error:  # noqa: BLE001 - raised in the caller's thread; a dead writer would hang it
                self._fail(error)
                self._drop(arrival)
        self._hand_over()

    def _next(self) -> _Job | None:
        """The next job; hands over what is due for a sync while there is none."""
        while True:
            left = self._due - time.monotonic()
            try:
                if left > 0:
                    return self._todo.get(timeout=None if left == float("inf") else left)
            except queue.Empty:
                pass  # it is due now
            self._hand_over()

    def _hand_over(self) -> None:
        if self._batch:
            self._ready.put(self._batch)
        self._batch, self._due = [], float("inf")

    def _add(self, arrival: _Arrival, block: list[bytes | memoryview], *, last: bool) -> None:
        with system.disk("writing an instance"):
            if arrival.fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                arrival.fd = self._study.folder.open(arrival.part, flags)
            for piece in block:
                arrival.sha256.update(piece)
                arrival.size += len(piece)
            system.write_all(arrival.fd, *block)
        if last:
            self._judge(arrival)

    def _judge(self, arrival: _Arrival) -> None:
        digest = arrival.sha256.hexdigest()
        try:
            with system.disk("reading an instance back"):
                filed, why, patient = identify(arrival.fd, self._study.uid, arrival.size, digest)
        except DICOMError as error:
            # Without its traceback, which would keep the file mapped.
            self._reject(arrival, "not-dicom", "", error.with_traceback(None))
            return
        if not why and arrival.wanted not in (None, filed.sop_uid):
            why = "other-instance"
        if not why and "" != patient != self._patient != "":
            why = "other-patient"
        before = self._have.get(filed.sop_uid)  # of two that contradict each other the first stays
        if not why and before is None:
            self._have[filed.sop_uid] = filed
            self._patient = self._patient or patient
        if why:
            self._reject(arrival, why, filed.sop_uid)
        elif before is None:
            with system.disk("writing an instance"):
                system.start_writeback(arrival.fd)
            if not self._batch:
                # The first of all at once: somebody may be looking for it.
                self._due = time.monotonic() + (_BATCH_SECONDS if self._begun else 0.0)
                self._begun = True
            self._batch.append((arrival, filed._replace(part=arrival.part)))
            if len(self._batch) == _BATCH:
                self._hand_over()
        elif before.sha256 == digest:
            self.repeated += 1
            self._drop(arrival)
        else:
            self._reject(arrival, "conflict", filed.sop_uid)

    def _reject(
        self, arrival: _Arrival, why: str, sop_uid: str, error: DICOMError | None = None
    ) -> None:
        with system.disk("setting an instance aside"):
            arrival.close()
            self._study.set_aside(arrival.part, why, arrival.sha256.hexdigest())
        self.rejected.append(Rejected(sop_uid, why, error))

    def _drop(self, arrival: _Arrival) -> None:
        if arrival.fd >= 0:
            with suppress(OSError):  # a part that stays is removed by the next download
                arrival.close()
                self._study.folder.remove(arrival.part)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error

    def _commit(self) -> None:
        while (batch := self._ready.get()) is not None:
            self._settle(batch)

    def _settle(self, batch: list[tuple[_Arrival, Filed]]) -> None:
        files = [filed for _, filed in batch]
        try:
            with system.disk("syncing instances"):
                fds = [arrival.fd for arrival, _ in batch]
                list(self._syncing.map(_sync, (fds[at::_SYNCING] for at in range(_SYNCING))))
                self._study.folder.sync()
                self._study.record(files)
                self._study.place(files)
                for arrival, _ in batch:
                    arrival.close()  # may fail on a network's disk
            self.filed += files
            for filed in files:
                self._on_filed(self._study.file(filed), filed.size)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            for arrival, _ in batch:
                self._drop(arrival)


def _sync(fds: Iterable[int]) -> None:
    for fd in fds:
        os.fsync(fd)
