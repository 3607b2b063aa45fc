"""Downloads: one or many studies to disk, in the background, shared by all who ask for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._viewer import open_viewer
from ..errors import Cancelled, Incomplete, S4SError
from ..task import ENDED, Task, TaskState, Unsubscribe
from .study_download import Source, Transfer

if TYPE_CHECKING:
    from ..imaging import Study

__all__ = ["Download", "Source", "Task", "TaskState"]

_AT_ONCE = 4
_guard = threading.Lock()
_running: dict[tuple[str, ...], tuple[Transfer, list[Download]]] = {}


class Download(Task["Study | list[Study]"]):
    """Studies on their way to disk. It starts at once; await it, or call :meth:`result`.

    Gives an :class:`~s4s_notebook.imaging.Study`, or a list of them where many were asked for.
    Complete studies that are on disk already are given without a request. A second download of
    a study that is under way follows the first one: nothing is fetched twice.

    Raises (from ``result()`` and ``await``):
        Incomplete: ``.partial`` holds what came (a Study, or the list of those that came whole),
            ``.missing`` the UIDs of what did not.
        Cancelled: somebody pressed Cancel; calling again goes on.
        S4SError: as the request ended; the error names it.

    Implements WADO-RS retrieval (DICOM PS3.18 §10.4) as the Sync for Science imaging use case
    asks: ``GET {Endpoint.address}/studies/{uid}``.
    """

    def __init__(self, source: Source, uids: Sequence[str], *, many: bool) -> None:
        super().__init__(TaskState(study_uid=None if many else uids[0]))
        self._source, self._uids, self._many = source, tuple(dict.fromkeys(uids)), many
        self._transfers: dict[str, Transfer] = {}
        self._wishes: list[Callable[[Path], None]] = []
        self.start()

    def on_instance(self, callback: Callable[[Path], None]) -> Unsubscribe:
        """Call ``callback(path)``, from the worker's thread, for each instance once it is
        verified and filed; for those that already are, at once."""
        with self._guard:
            self._wishes.append(callback)
            ends = [each.on_instance(callback) for each in self._transfers.values()]

        def unsubscribe() -> None:
            with self._guard:
                if callback in self._wishes:
                    self._wishes.remove(callback)
            for end in ends:
                end()

        return unsubscribe

    def view(self, **options: Any) -> Any:
        """Open the viewer now: slices appear while the rest still comes (see ``Study.view``)."""
        return open_viewer(self, **options)

    def _work(self) -> Study | list[Study]:
        waiting, failed = list(self._uids), dict[str, BaseException]()
        open_: list[str] = []
        while waiting or open_:
            while waiting and len(open_) < _AT_ONCE and not self._switch.is_set():
                self._begin(waiting[0])
                open_.append(waiting.pop(0))
            for uid in [uid for uid in open_ if self._transfers[uid].done()]:
                open_.remove(uid)
                if (error := self._transfers[uid].state.error) is not None:
                    failed[uid] = error
            if self._switch.is_set():
                self._leave(cancel=True)
                # What another download follows goes on, and is not waited for.
                open_ = [uid for uid in open_ if self._transfers[uid]._switch.is_set()]
                if not open_:
                    break
            if open_:
                self._transfers[open_[0]].wait(0.05)
        self._leave(cancel=False)
        return self._gather(failed)

    def _begin(self, uid: str) -> None:
        place = self._source.participant
        key = (str(self._source.store.root), place.holder, place.patient, uid)
        with _guard:
            transfer, followers = _running.get(key, (None, []))
            if transfer is None or transfer.done() or transfer._switch.is_set():
                transfer, followers = Transfer(self._source, uid), []
                _running[key] = (transfer, followers)
                transfer.start()
            followers.append(self)
        with self._guard:
            self._transfers[uid] = transfer
            for callback in self._wishes:
                transfer.on_instance(callback)
        transfer.subscribe(self._follow)

    def _follow(self, _: TaskState) -> None:
        if not self.done():
            self._set(**_together(self._state, [t.state for t in self._transfers.values()]))

    def cancel(self) -> None:
        """End it within a second. A study that another download also follows goes on."""
        super().cancel()

    def _leave(self, *, cancel: bool) -> None:
        """Follow no transfer any more; those that nobody follows are forgotten (and cancelled)."""
        with _guard:
            for key, (transfer, followers) in list(_running.items()):
                if self in followers:
                    followers.remove(self)
                    if not followers:
                        del _running[key]
                        if cancel:
                            transfer.cancel()

    def _gather(self, failed: dict[str, BaseException]) -> Study | list[Study]:
        self._switch.check()
        for error in failed.values():
            if isinstance(error, Cancelled) or not isinstance(error, S4SError):
                raise error
        if not self._many:
            for error in failed.values():
                if isinstance(error, Incomplete):
                    error.partial = self._study(self._uids[0])
                raise error
            return self._study(self._uids[0])
        came = [self._study(uid) for uid in self._uids if uid not in failed]
        if failed:
            error = next(iter(failed.values()))
            raise Incomplete(
                f"{len(failed)} of {len(self._uids)} studies did not come whole. One: {error}",
                partial=came,
                missing=tuple(failed),
            ) from error
        return came

    def _study(self, uid: str) -> Study:
        from ..imaging import Study

        transfer = self._transfers[uid]
        if transfer.state.error is None:
            return Study(later=transfer.result())
        return Study(later=self._source.store.study(self._source.participant, uid).paths())


def _together(mine: TaskState, all_: list[TaskState]) -> dict[str, Any]:
    """One state that speaks for several transfers."""
    if mine.study_uid is not None:
        one = all_[0]
        if one.phase in ENDED:  # the download itself ends a moment later
            one = replace(one, phase="receiving", error=None)
        return {name: getattr(one, name) for name in TaskState.__dataclass_fields__}
    phases = [state.phase for state in all_]
    busy = ("receiving", "waiting", "asking", "queued")
    waits = [state.seconds_left for state in all_ if state.seconds_left is not None]
    expected = [state.instances_expected for state in all_]
    ended = sum(phase in ENDED for phase in phases)
    return {
        "phase": next((phase for phase in busy if phase in phases), "receiving"),
        "seconds_left": min(waits, default=None),
        "attempt": max(state.attempt for state in all_),
        "instances": sum(state.instances for state in all_),
        "instances_expected": None if None in expected else sum(e or 0 for e in expected),
        "bytes": sum(state.bytes for state in all_),
        "rate": sum(s.rate or 0 for s in all_ if s.phase == "receiving") or None,
        "message": f"{ended} of {len(all_)} studies have ended",
    }
