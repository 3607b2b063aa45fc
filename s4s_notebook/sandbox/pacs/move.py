"""One C-MOVE of one study in a thread of its own: progress, estimate, verdict."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from ..library import HeldStudy
from ..settings import Pacs
from ..state import NotReadyError, UpstreamError
from .association import associated, failed, park
from .receiver import Delivery, Receiver

_MODEL = "1.2.840.10008.5.1.4.1.2.2.2"  # Study Root Query/Retrieve, MOVE
_numbers = itertools.count(1)
GUESS_PER_SECOND = 60.0
LONGEST_HINT = 600.0
TRIES = 3


@dataclass
class Move:
    """A study on its way.

    ``finished`` is set when the thread is done; then either ``study`` has a path for every
    instance that C-FIND announced, or ``error`` says why not. An archive's own final status
    is not believed: some say "success" before, or without, sending everything.
    """

    pacs: Pacs
    receiver: Receiver
    announced: HeldStudy
    folder: Path
    done_callback: Callable[[Move], None]
    study: HeldStudy | None = None
    error: Exception | None = None
    finished: threading.Event = field(default_factory=threading.Event)
    _delivery: Delivery | None = None
    _started: float = field(default_factory=time.monotonic)
    _association: Any = None
    _cancelled: bool = False

    def run(self) -> None:
        """The thread's body: moves, counts, moves again what did not come."""
        try:
            self.study = self._all()
        except (NotReadyError, UpstreamError) as error:
            self.error = error
        except OSError as error:
            self.error = UpstreamError(500, f"the image cache cannot be written: {error.strerror}")
        finally:
            self.done_callback(self)
            self.finished.set()

    def _all(self) -> HeldStudy:
        wanted = {instance.uid for _, instance in self.announced.instances()}
        delivery = Delivery(self.announced.uid, self.folder)
        self._delivery = delivery
        error: Exception | None = None
        for _ in range(TRIES):
            error = self._once(delivery)
            self._settle(delivery, wanted)
            if delivery.no_space:
                raise UpstreamError(500, "the image cache is full")
            if wanted <= delivery.received.keys():
                return _with_paths(self.announced, delivery.received)
            if error is not None or self._cancelled:
                break
        if error is not None:
            raise error
        missing = len(wanted - delivery.received.keys())
        raise UpstreamError(
            502, f"the image archive sent {len(wanted) - missing} of {len(wanted)} instances"
        )

    def _once(self, delivery: Delivery) -> Exception | None:
        """One C-MOVE; returns the error it ended with instead of raising it."""
        number = next(_numbers) % 65_535 + 1
        self.receiver.expect(number, delivery)
        status: Any = None
        try:
            with associated(self.pacs, _MODEL) as association:
                self._association = association
                query = Dataset()
                query.QueryRetrieveLevel = "STUDY"
                query.StudyInstanceUID = self.announced.uid
                park(association)
                replies = association.send_c_move(query, self.pacs.our_aet, _MODEL, msg_id=number)
                for status, _ in replies:
                    if status and status.get("Status") != 0xFF00:
                        break
        except (NotReadyError, UpstreamError) as error:
            return error
        finally:
            self._association = None
            self.receiver.forget(number)
        if not status or status.get("Status") not in (0x0000, 0xB000):
            return failed(status, "sending images")
        return None

    @staticmethod
    def _settle(delivery: Delivery, wanted: set[str]) -> None:
        """Give instances that are still being written a moment to land."""
        deadline = time.monotonic() + 0.2
        while not wanted <= delivery.received.keys() and time.monotonic() < deadline:
            time.sleep(0.02)

    def seconds_left(self) -> float:
        """When to come back, from the instances that came so far; between 1 s and 10 min."""
        total = max(1, self.announced.instance_count)
        done = 0 if self._delivery is None else len(self._delivery.received)
        spent = time.monotonic() - self._started
        pace = done / spent if done and spent > 0.1 else GUESS_PER_SECOND
        return min(LONGEST_HINT, max(1.0, (total - done) / pace))

    def cancel(self) -> None:
        """Abort the association; the thread then ends by itself."""
        self._cancelled = True
        association = self._association
        if association is not None:
            association.abort()


def _with_paths(study: HeldStudy, paths: dict[str, Path]) -> HeldStudy:
    return replace(
        study,
        series=tuple(
            replace(s, instances=tuple(replace(i, path=paths[i.uid]) for i in s.instances))
            for s in study.series
        ),
    )
