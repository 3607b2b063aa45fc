"""``Download``: one or several studies to disk, in the background.

Downloads of the same study share one :class:`StudyDownload` in this process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._viewer import open_viewer
from ..errors import AuthorizationRequired, Cancelled, Incomplete, InvalidArgument, S4SError
from ..fhir.resources import check_uid
from ..task import ENDED, TICK, Task, TaskState, Unsubscribe
from ..wording import count
from .study_download import DownloadSource, StudyDownload

if TYPE_CHECKING:
    from ..imaging import Study
    from ..imaging.windows import WindowLike

_PARALLEL = 4  # studies that are transferred, or asked for, at once
_MOST_THREADS = 500  # a study that waits for its archive keeps a thread
_INTERVAL = 0.1  # seconds between two sums of the states of many studies
_guard = threading.Lock()
_running: dict[tuple[str, ...], tuple[StudyDownload, list[Download]]] = {}


class Download(Task["Study | list[Study]"]):
    """A download of studies in the background; await it, or call :meth:`result`.

    It starts at once and gives an :class:`~s4s_notebook.imaging.Study`, or a list of them where
    several were requested. Complete studies that are on disk are given without a request. A
    second download of a study that is under way follows the first one: nothing is fetched twice.

    Raises (from ``result()`` and ``await``):
        Incomplete: ``.partial`` is what was received (a Study, or the list of the complete ones),
            ``.missing`` the UIDs of what was not.
        Cancelled: Cancel was pressed; calling again continues.
        S4SError: as the request ended; the error names it.

    Attributes:
        skipped: UIDs that the frame calls not downloadable; they were not requested.

    Implements WADO-RS retrieval (DICOM PS3.18 §10.4) as the Sync for Science, Imaging Data use case
    specifies: ``GET {Endpoint.address}/studies/{uid}``.
    """

    def __init__(self, source: DownloadSource, request: RequestedStudies) -> None:
        uids, several = request.uids, request.several
        super().__init__(TaskState(study_uid=None if several else uids[0]))
        self._source, self._uids, self._several = source, tuple(dict.fromkeys(uids)), several
        self.skipped = request.skipped
        self._downloads: dict[str, StudyDownload] = {}
        self._instance_callbacks: list[Callable[[Path], None]] = []
        self._news = threading.Event()  # the state of a study changed
        self._summed = float("-inf")
        self.start()

    def on_instance(self, callback: Callable[[Path], None]) -> Unsubscribe:
        """Call ``callback(path)`` for each instance that is verified and stored.

        For those stored already it is called at once, for others from a worker's thread.

        Returns:
            A function that ends it.
        """
        with self._guard:
            self._instance_callbacks.append(callback)
            unsubscribers = [
                download.on_instance(callback) for download in self._downloads.values()
            ]

        def unsubscribe() -> None:
            with self._guard:
                if callback in self._instance_callbacks:
                    self._instance_callbacks.remove(callback)
            for end in unsubscribers:
                end()

        return unsubscribe

    def view(
        self,
        *,
        window: WindowLike = None,
        height: int = 480,
        memory: int = 512,
        snapshot: bool = True,
    ) -> Any:
        """Open the viewer now: slices appear as they are received (see ``Study.view``)."""
        return open_viewer(self, window=window, height=height, memory=memory, snapshot=snapshot)

    def _wait_for_approval(self) -> None:
        """Wait for an approval where it is not even known whose studies these are."""
        try:
            self._source.participant()
        except AuthorizationRequired:
            self._source.prepare(self._switch, self._await_approval)

    def _work(self) -> Study | list[Study]:
        self._wait_for_approval()
        queued, failed = list(self._uids), dict[str, BaseException]()
        active: list[str] = []
        while queued or active:
            self._news.clear()
            while queued and self._has_room(active) and not self._switch.is_set():
                self._start_study(queued[0])
                active.append(queued.pop(0))
            self._show_all()
            for uid in [uid for uid in active if self._downloads[uid].state.phase in ENDED]:
                active.remove(uid)
                if (error := self._downloads[uid].state.error) is not None:
                    failed[uid] = error
            if self._switch.is_set():
                self._unfollow(cancel=True)
                # What another download follows continues, and is not waited for.
                active = [uid for uid in active if self._downloads[uid]._switch.is_set()]
                if not active:
                    break
            if active:
                self._news.wait(TICK)
        self._unfollow(cancel=False)
        self._show_all(last=True)
        if self._several:
            words = [skipped_words(self.skipped)] if self.skipped else []
            self._set(message="; ".join([count(len(self._uids), "study", "studies"), *words]))
        return self._gather(failed)

    def _has_room(self, active: Sequence[str]) -> bool:
        """Return whether another study may start: one that waits takes no transfer's place."""
        busy = sum(self._downloads[uid].state.phase != "waiting" for uid in active)
        return busy < _PARALLEL and len(active) < _MOST_THREADS

    def _start_study(self, uid: str) -> None:
        participant = self._source.participant()
        key = (str(self._source.store.root), participant.holder, participant.patient, uid)
        with _guard:
            download, followers = _running.get(key, (None, []))
            if download is None or download.done() or download._switch.is_set():
                download, followers = StudyDownload(self._source, uid), []
                _running[key] = (download, followers)
                download.start()
            followers.append(self)
        with self._guard:
            self._downloads[uid] = download
            for callback in self._instance_callbacks:
                download.on_instance(callback)
        download._observe(self._follow)

    def _follow(self, _: TaskState) -> None:
        self._news.set()
        if not (self._several or self.done()):
            self._set(**_combined(self._state, [t.state for t in self._downloads.values()]))

    def _show_all(self, *, last: bool = False) -> None:
        """Sum up the states of several studies, ten times a second at most."""
        if self._several and (last or time.monotonic() - self._summed >= _INTERVAL):
            self._set(**_combined(self._state, [t.state for t in self._downloads.values()]))
            self._summed = time.monotonic()

    def cancel(self) -> None:
        """End it within a second. A study that another download also follows continues."""
        super().cancel()

    def _unfollow(self, *, cancel: bool) -> None:
        """Stop following; remove study downloads without a follower (and cancel them)."""
        with _guard:
            for key, (download, followers) in list(_running.items()):
                if self in followers:
                    followers.remove(self)
                    if not followers:
                        del _running[key]
                        if cancel:
                            download.cancel()

    def _gather(self, failed: dict[str, BaseException]) -> Study | list[Study]:
        self._switch.check()
        for error in failed.values():
            if isinstance(error, Cancelled) or not isinstance(error, S4SError):
                raise error
        if not self._several:
            for error in failed.values():
                if isinstance(error, Incomplete):
                    error.partial = self._study(self._uids[0])
                raise error
            return self._study(self._uids[0])
        studies = [self._study(uid) for uid in self._uids if uid not in failed]
        if failed:
            error = next(iter(failed.values()))
            problem = getattr(error, "problem", error)
            raise Incomplete(
                f"{len(failed)} of {len(self._uids)} studies are not complete. One: {problem}",
                request=getattr(error, "request", None),
                partial=studies,
                missing=tuple(failed),
            ) from error
        return studies

    def _study(self, uid: str) -> Study:
        from ..imaging import Study

        download = self._downloads[uid]
        if download.state.error is None:
            return Study(later=download.result())
        return Study(later=self._source.store.study(self._source.participant(), uid).paths())


def _combined(current: TaskState, states: list[TaskState]) -> dict[str, Any]:
    """Return the fields of one state for several study downloads."""
    if current.study_uid is not None:
        state = states[0]
        if state.phase in ENDED:  # the download itself ends a moment later
            state = replace(state, phase="receiving", error=None)
        return {name: getattr(state, name) for name in TaskState.__dataclass_fields__}
    phases = [state.phase for state in states]
    busy = ("receiving", "waiting", "asking", "queued")
    waits = [state.seconds_left for state in states if state.seconds_left is not None]
    expected = [state.instances_expected for state in states]
    ended = sum(phase in ENDED for phase in phases)
    return {
        "phase": next((phase for phase in busy if phase in phases), "receiving"),
        "seconds_left": min(waits, default=None),
        "attempt": max((state.attempt for state in states), default=1),
        "instances": sum(state.instances for state in states),
        "instances_expected": None if None in expected else sum(e or 0 for e in expected),
        "bytes": sum(state.bytes for state in states),
        "awaits_approval": any(state.awaits_approval for state in states),
        "rate": sum(s.rate or 0 for s in states if s.phase == "receiving") or None,
        "message": f"{ended} of {len(states)} studies have ended",
    }


class RequestedStudies(NamedTuple):
    """Study Instance UIDs, and whether several were requested (which gives a list)."""

    uids: list[str]
    several: bool
    skipped: tuple[str, ...] = ()


def requested_studies(studies: Any) -> RequestedStudies:
    """Return the studies that the argument of ``download`` names.

    Args:
        studies: a UID, a row of ``studies()``, a frame of such rows, or UIDs: a list, a column.

    Raises:
        InvalidUID: that is no study UID.
        InvalidArgument: that names no study at all.
    """
    if isinstance(studies, str):
        return RequestedStudies([check_uid(studies)], several=False)
    if hasattr(studies, "columns") and "study_uid" in studies.columns:
        return _of_frame(studies)
    if isinstance(studies, Mapping) or hasattr(studies, "iloc"):
        if "study_uid" in studies:
            return RequestedStudies([check_uid(studies["study_uid"])], several=False)
        if getattr(studies, "name", None) != "study_uid":
            raise _names_no_study(studies)
    if not isinstance(studies, Iterable):
        raise _names_no_study(studies)
    uids = list(studies)
    if not all(isinstance(uid, str) for uid in uids):
        raise _names_no_study(studies)
    return RequestedStudies([check_uid(uid) for uid in uids], several=True)


def _of_frame(frame: Any) -> RequestedStudies:
    """Return the studies of a frame, without those that it says cannot be downloaded."""
    uids = [check_uid(uid) for uid in frame["study_uid"]]
    refused = [False] * len(uids)
    if "downloadable" in frame.columns:
        refused = list((frame["downloadable"] == False).fillna(False))  # noqa: E712 - elementwise
    requested = [uid for uid, no in zip(uids, refused, strict=True) if not no]
    skipped = tuple(uid for uid, no in zip(uids, refused, strict=True) if no)
    return RequestedStudies(requested, several=True, skipped=skipped)


def skipped_words(uids: Sequence[str]) -> str:
    """Return the sentence about the studies that cannot be downloaded."""
    verb = "is" if len(uids) == 1 else "are"
    named = ", ".join(uids[:3]) + (", …" if len(uids) > 3 else "")
    return f"{count(len(uids), 'study', 'studies')} {verb} not downloadable and skipped ({named})"


def _names_no_study(studies: object) -> InvalidArgument:
    return InvalidArgument(
        f"download() takes studies; a {type(studies).__name__} without study_uid names no study.",
        hint="Write download(frame), download(frame.iloc[0]) or download(uid), "
        "with frame = me.studies().",
    )
