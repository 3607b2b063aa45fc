"""From a stream of instances to files that can be relied on.

The caller's thread reads the network; two writer threads hash and write; a third syncs in
batches, records and then names the files. A file has its name only after its bytes and its
record are on disk. Memory is bounded by the queues, however large an instance is.
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
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ..errors import DICOMError
from . import system
from .files import PART, Filed, StudyFolder, identify

_BLOCK = 256 << 10
_QUEUED = 16  # blocks a writer may be behind: 4 MB
_BATCH = 64  # files that are synced and recorded in one go, at least once in
_BATCH_SECONDS = 0.5
_WRITERS = 2
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
        self.number = next(_serial)
        self.part = f"{PART}{os.getpid()}-{self.number}"
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.fd = -1


_Job = tuple[_Arrival, bytearray, str]  # then: "" more to come, "end", "drop"


class Receiver:
    """Files instances of one study. Use as a context manager, inside the study's lock.

    Leaving it waits until all is on disk; ``filed`` and ``rejected`` then say what came.
    ``on_filed(path)`` is called from a thread of its own for each instance that can be relied on.
    """

    def __init__(self, study: StudyFolder, on_filed: Callable[[Path, int], None]) -> None:
        self._study, self._on_filed = study, on_filed
        self._have = study.instances()
        self._patient = study.dicom_patient
        self._guard = threading.Condition()
        self._unjudged: set[int] = set()
        self._error: BaseException | None = None
        self._queues = [queue.Queue[_Job | None](_QUEUED) for _ in range(_WRITERS)]
        self._ready: queue.Queue[tuple[_Arrival, Filed] | None] = queue.Queue(_BATCH)
        self._turn = 0
        self.filed: list[Filed] = []
        self.rejected: list[Rejected] = []
        self.repeated = 0
        self._writers = [
            threading.Thread(target=self._write, args=(todo,), daemon=True) for todo in self._queues
        ]
        self._syncing = ThreadPoolExecutor(_WRITERS)
        self._committer = threading.Thread(target=self._commit, daemon=True)

    @property
    def dicom_patient(self) -> str:
        return self._patient

    def __enter__(self) -> Receiver:
        for thread in (*self._writers, self._committer):
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for todo in self._queues:
            todo.put(None)
        for writer in self._writers:
            writer.join()
        self._ready.put(None)
        self._committer.join()
        self._syncing.shutdown()
        if kind is None:
            self._raise()

    def take(
        self, chunks: Iterable[bytes | bytearray | memoryview], wanted: str | None = None
    ) -> None:
        """Read one instance to its end. ``wanted`` is its SOP Instance UID where one was asked for.

        What the iterator raises passes through, and nothing of that instance stays.
        """
        arrival, todo = _Arrival(wanted), self._queues[self._turn]
        with self._guard:
            self._unjudged.add(arrival.number)
        self._turn = (self._turn + 1) % _WRITERS
        block, end = bytearray(), "drop"
        try:
            for chunk in chunks:
                block += chunk  # copied: the reader uses its buffer again
                if len(block) >= _BLOCK:
                    self._raise()
                    todo.put((arrival, block, ""))
                    block = bytearray()
            end = "end"
        finally:
            todo.put((arrival, block, end))
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self, todo: queue.Queue[_Job | None]) -> None:
        while (job := todo.get()) is not None:
            arrival, block, then = job
            try:
                if self._error is not None or then == "drop":
                    self._drop(arrival)
                else:
                    self._add(arrival, block, last=then == "end")
            except Exception as error:  # noqa: BLE001 - raised in the caller's thread; a dead writer would hang it
                self._fail(error)
                self._drop(arrival)
            if then:
                with self._guard:
                    self._unjudged.discard(arrival.number)
                    self._guard.notify_all()

    def _add(self, arrival: _Arrival, block: bytearray, *, last: bool) -> None:
        with system.disk("writing an instance"):
            if arrival.fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                arrival.fd = self._study.folder.open(arrival.part, flags)
            arrival.sha256.update(block)
            arrival.size += len(block)
            system.write_all(arrival.fd, block)
        if last:
            self._judge(arrival)

    def _judge(self, arrival: _Arrival) -> None:
        digest = arrival.sha256.hexdigest()
        try:
            filed, why, patient = identify(arrival.fd, self._study.uid, arrival.size, digest)
        except DICOMError as error:
            # Without its traceback, which would keep the file mapped.
            self._reject(arrival, "not-dicom", "", error.with_traceback(None))
            return
        with self._guard:
            # Of two that contradict each other the first to come stays, whichever writer is faster.
            while min(self._unjudged) < arrival.number:
                self._guard.wait()
            if not why and arrival.wanted not in (None, filed.sop_uid):
                why = "other-instance"
            if not why and "" != patient != self._patient != "":
                why = "other-patient"
            before = self._have.get(filed.sop_uid)
            if not why and before is None:
                self._have[filed.sop_uid] = filed
                self._patient = self._patient or patient
        if why:
            self._reject(arrival, why, filed.sop_uid)
        elif before is None:
            with system.disk("writing an instance"):
                system.start_writeback(arrival.fd)
            self._ready.put((arrival, filed._replace(part=arrival.part)))
        elif before.sha256 == digest:
            self.repeated += 1
            self._drop(arrival)
        else:
            self._reject(arrival, "conflict", filed.sop_uid)

    def _reject(
        self, arrival: _Arrival, why: str, sop_uid: str, error: DICOMError | None = None
    ) -> None:
        with system.disk("setting an instance aside"):
            os.close(arrival.fd)
            arrival.fd = -1
            self._study.set_aside(arrival.part, why, arrival.sha256.hexdigest())
        self.rejected.append(Rejected(sop_uid, why, error))

    def _drop(self, arrival: _Arrival) -> None:
        if arrival.fd >= 0:
            os.close(arrival.fd)
            arrival.fd = -1
            with suppress(OSError):  # a part that stays is removed by the next download
                self._study.folder.remove(arrival.part)

    def _fail(self, error: BaseException) -> None:
        with self._guard:
            self._error = self._error or error

    def _commit(self) -> None:
        going = True
        while going:
            batch: list[tuple[_Arrival, Filed]] = []
            end = time.monotonic() + _BATCH_SECONDS
            while len(batch) < _BATCH and (left := end - time.monotonic()) > 0:
                with suppress(queue.Empty):
                    more = self._ready.get(timeout=left)
                    if more is None:
                        going = False
                        break
                    batch.append(more)
            if batch:
                self._settle(batch)

    def _settle(self, batch: list[tuple[_Arrival, Filed]]) -> None:
        files = [filed for _, filed in batch]
        try:
            with system.disk("syncing instances"):
                list(self._syncing.map(os.fsync, [arrival.fd for arrival, _ in batch]))
                self._study.folder.sync()
                self._study.record(files)
                self._study.place(files)
            self.filed += files
            for filed in files:
                self._on_filed(self._study.file(filed), filed.size)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        for arrival, _ in batch:
            self._drop(arrival)  # closes it; its part is there only if something failed
