"""Receive instances from the network into verified, recorded files.

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
from typing import Generic, NamedTuple, TypeVar

from .. import private_files as system
from ..errors import DICOMError, TruncatedDICOM
from .study_folder import PART, StoredInstance, StudyFolder, identify

_BLOCK = 1 << 20  # bytes that a writer gets at a time, in at most
_CHUNKS = 64
_QUEUED = 8  # blocks that the writer may be behind: 8 MB
_BATCH = 40  # files that are synced and recorded in one go, at least once in
_BATCH_SECONDS = 0.5
_SYNCING = 2  # at a time
_serial = itertools.count()
T = TypeVar("T")


class BlockQueue(Generic[T]):
    """A bounded queue from one thread to one other; ``put`` waits while it is full.

    Waking a thread costs more than hashing a block, above all on a virtual machine, and then the
    two fight for the interpreter. ``queue.Queue`` does so several times for an item; here a
    writer that waits is woken when there is room for several.

    Args:
        size: items that may wait.
    """

    def __init__(self, size: int) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._batch = max(1, size // 2)
        self._removed = 0
        for _ in range(size):
            self._room.put(None)

    def put(self, item: T) -> None:
        """Add an item; wait while the queue is full."""
        self._room.get()
        self._items.put(item)

    def get(self, timeout: float | None = None) -> T:
        """Return the next item. Raises queue.Empty after ``timeout`` seconds."""
        item = self._items.get(timeout=timeout)
        self._removed += 1
        if self._removed == self._batch:
            for _ in range(self._removed):
                self._room.put(None)
            self._removed = 0
        return item


class Rejected(NamedTuple):
    """An instance that was not stored and why; ``error`` is set when it was no DICOM at all."""

    sop_uid: str
    reason: str
    error: DICOMError | None = None


class _Incoming:
    """An instance that is being received, in a file with a temporary name."""

    def __init__(self, expected_uid: str | None) -> None:
        self.expected_uid = expected_uid
        self.part = f"{PART}{os.getpid()}-{next(_serial)}"
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.fd = -1

    def close(self) -> None:
        """Close the file."""
        fd, self.fd = self.fd, -1  # closed, even where the system reports that it could not
        os.close(fd)


_Checked = tuple[_Incoming, StoredInstance]
_Job = tuple[_Incoming, list[bytes | memoryview], str]  # then: "" more follows, "end", "drop"


class Receiver:
    """Stores the instances of one study. Use as a context manager, inside the study's lock.

    Leaving it waits until all is on disk; ``stored`` and ``rejected`` then list the instances.

    Args:
        study: the folder to receive into.
        on_stored: called as ``on_stored(path, size)`` for each instance once it is durable: from
            a thread of its own, in the caller's context.
    """

    def __init__(self, study: StudyFolder, on_stored: Callable[[Path, int], None]) -> None:
        self._study, self._on_stored = study, on_stored
        self._existing = study.instances()
        self._patient = study.dicom_patient
        self._error: BaseException | None = None
        self._jobs: BlockQueue[_Job | None] = BlockQueue(_QUEUED)
        self._batch: list[_Checked] = []  # for the next sync; it is due at that monotonic time
        self._due, self._begun = float("inf"), False
        self._ready: BlockQueue[list[_Checked] | None] = BlockQueue(1)
        self.stored: list[StoredInstance] = []
        self.rejected: list[Rejected] = []
        self.repeated = 0
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._syncing = ThreadPoolExecutor(_SYNCING)
        # A notebook's panel must know, by its context, in which cell's output it is shown.
        run = copy_context().run
        self._committer = threading.Thread(target=run, args=(self._commit,), daemon=True)

    @property
    def dicom_patient(self) -> str:
        """Patient ID in the files; "" while there is none."""
        return self._patient

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer.ident is not None:
            self._jobs.put(None)
            self._writer.join()
            self._ready.put(None)
            self._committer.join()
        self._syncing.shutdown()
        if kind is None:
            self._raise()

    def receive(self, chunks: Iterable[bytes | memoryview], sop_uid: str | None = None) -> None:
        """Read one instance to its end.

        What the iterator raises passes through, and nothing of that instance remains.

        Args:
            chunks: its bytes. They are referred to until they are written and must not change.
            sop_uid: the SOP Instance UID that was requested, where it was one.
        """
        if self._writer.ident is None:  # not before: a study that waits needs no threads
            self._writer.start()
            self._committer.start()
        incoming = _Incoming(sop_uid)
        block, size, end = list[bytes | memoryview](), 0, "drop"
        try:
            for chunk in chunks:
                block.append(chunk)
                size += len(chunk)
                if size >= _BLOCK or len(block) >= _CHUNKS:
                    self._raise()
                    self._jobs.put((incoming, block, ""))
                    block, size = [], 0
            end = "end"
        finally:
            self._jobs.put((incoming, block, end))
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while (job := self._next()) is not None:
            incoming, block, action = job
            try:
                if self._error is not None or action == "drop":
                    self._discard(incoming)
                else:
                    self._add(incoming, block, last=action == "end")
            except Exception as error:  # noqa: BLE001 - raised in the caller's thread; a dead writer would hang it
                self._fail(error)
                self._discard(incoming)
        self._queue_sync()

    def _next(self) -> _Job | None:
        """Return the next job; queue what is due for a sync while there is none."""
        while True:
            remaining = self._due - time.monotonic()
            try:
                if remaining > 0:
                    return self._jobs.get(timeout=None if remaining == float("inf") else remaining)
            except queue.Empty:
                pass  # it is due now
            self._queue_sync()

    def _queue_sync(self) -> None:
        if self._batch:
            self._ready.put(self._batch)
        self._batch, self._due = [], float("inf")

    def _add(self, incoming: _Incoming, block: list[bytes | memoryview], *, last: bool) -> None:
        with system.disk("writing an instance"):
            if incoming.fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                incoming.fd = self._study.folder.open(incoming.part, flags)
            for chunk in block:
                incoming.sha256.update(chunk)
                incoming.size += len(chunk)
            system.write_all(incoming.fd, *block)
        if last:
            self._check(incoming)

    def _check(self, incoming: _Incoming) -> None:
        digest = incoming.sha256.hexdigest()
        try:
            with system.disk("reading an instance back"):
                instance, reason, patient = identify(
                    incoming.fd, self._study.uid, incoming.size, digest
                )
        except DICOMError as error:
            reason = "truncated" if isinstance(error, TruncatedDICOM) else "not-dicom"
            self._reject(incoming, reason, "", error.with_traceback(None))
            return
        if not reason and incoming.expected_uid not in (None, instance.sop_uid):
            reason = "other-instance"
        if not reason and "" != patient != self._patient != "":
            reason = "other-patient"
        previous = self._existing.get(instance.sop_uid)  # of two that conflict the first remains
        if not reason and previous is None:
            self._existing[instance.sop_uid] = instance
            self._patient = self._patient or patient
        if reason:
            self._reject(incoming, reason, instance.sop_uid)
        elif previous is None:
            with system.disk("writing an instance"):
                system.start_writeback(incoming.fd)
            if not self._batch:
                # The first one without delay: a person may be waiting to see it.
                self._due = time.monotonic() + (_BATCH_SECONDS if self._begun else 0.0)
                self._begun = True
            self._batch.append((incoming, instance._replace(part=incoming.part)))
            if len(self._batch) == _BATCH:
                self._queue_sync()
        elif previous.sha256 == digest:
            self.repeated += 1
            self._discard(incoming)
        else:
            self._reject(incoming, "conflict", instance.sop_uid)

    def _reject(
        self, incoming: _Incoming, reason: str, sop_uid: str, error: DICOMError | None = None
    ) -> None:
        with system.disk("setting an instance aside"):
            incoming.close()
            self._study.quarantine(incoming.part, reason, incoming.sha256.hexdigest())
        self.rejected.append(Rejected(sop_uid, reason, error))

    def _discard(self, incoming: _Incoming) -> None:
        if incoming.fd >= 0:
            with suppress(OSError):  # a part that remains is removed by the next download
                incoming.close()
                self._study.folder.remove(incoming.part)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error

    def _commit(self) -> None:
        while (batch := self._ready.get()) is not None:
            self._store_batch(batch)

    def _store_batch(self, batch: list[_Checked]) -> None:
        files = [instance for _, instance in batch]
        try:
            with system.disk("syncing instances"):
                fds = [incoming.fd for incoming, _ in batch]
                list(self._syncing.map(_sync, (fds[at::_SYNCING] for at in range(_SYNCING))))
                self._study.folder.sync()
                self._study.record(files)
                self._study.rename_parts(files)
                for incoming, _ in batch:
                    incoming.close()  # may fail on a network's disk
            self.stored += files
            for instance in files:
                self._on_stored(self._study.file(instance), instance.size)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            for incoming, _ in batch:
                self._discard(incoming)


def _sync(fds: Iterable[int]) -> None:
    for fd in fds:
        os.fsync(fd)
