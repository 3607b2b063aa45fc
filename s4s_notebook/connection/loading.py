"""Asking the holder for several types at once, with countdown and Cancel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import Cancelled, Incomplete, S4SError
from ..task import Task, TaskState, Waiting
from .search_to_store import Line, sync

if TYPE_CHECKING:
    from . import Connection


class Loading(Task["Connection"]):
    """Resources on their way to the store. It starts at once; await it, or call ``result()``.

    Gives the connection. A type that fails does not stop the others.

    Raises (from ``result()`` and ``await``):
        Incomplete: some types failed; ``.missing`` names them, ``.partial`` is the connection,
            whose tables hold what came.
        S4SError: the one type asked for failed, or all of them did.
        Cancelled: calling again goes on after the last page that came.
    """

    def __init__(
        self,
        connection: Connection,
        kinds: Sequence[str],
        *,
        update: bool = False,
        full: bool = False,
    ) -> None:
        super().__init__(TaskState())
        self._connection, self._kinds = connection, tuple(kinds)
        self._update, self._full = update, full
        self._waiting: dict[str, Waiting] = {}
        self._count = 0
        self.runs: dict[str, str] = {}
        self.failed: dict[str, S4SError] = {}
        self.start()

    def _work(self) -> Connection:
        if not self._kinds:
            self._set(message="Everything is here already")
            return self._connection
        self._set(phase="asking")
        session = self._connection.session
        session.ready(self._switch, lambda text: self._set(message=text))
        self._set(phase="searching", message=f"Asking for {', '.join(self._kinds)}")
        with ThreadPoolExecutor(len(self._kinds)) as pool:
            asked = {kind: pool.submit(copy_context().run, self._one, kind) for kind in self._kinds}
        for kind, future in asked.items():
            try:
                self.runs[kind] = future.result()
            except S4SError as error:
                self.failed[kind] = error
        self._set(message=f"{self._count} resource{'' if self._count == 1 else 's'}")
        return self._end()

    def _one(self, kind: str) -> str:
        session = self._connection.session
        base = session.holder.imaging_base if kind == "ImagingStudy" else session.holder.base
        line = Line(
            session.transport, base, self._switch, lambda w: self._holds(kind, w), self._page
        )
        who = session.participant
        with who.asking(kind, self._switch.check):
            if not self._update and who.mark(kind) is not None:
                return ""  # another call brought it while this one waited
            return sync(line, who, kind, full=self._full)

    def _page(self, count: int) -> None:
        with self._guard:
            self._count += count
            self._set(message=f"{self._count} resources so far")

    def _holds(self, kind: str, waiting: Waiting) -> None:
        """Shows the longest of the waits; the other types go on meanwhile."""
        with self._guard:
            self._waiting[kind] = waiting
            if waiting.seconds_left <= 0:
                del self._waiting[kind]
            if not self._waiting:
                self._set(phase="searching", seconds_left=None)
                return
            kind, longest = max(self._waiting.items(), key=lambda each: each[1].seconds_left)
            self._show_wait(longest)
            self._state = replace(self._state, message=f"{kind} is not ready yet")

    def _end(self) -> Connection:
        for error in self.failed.values():
            if isinstance(error, Cancelled):
                raise error
        if len(self.failed) == len(self._kinds):
            raise next(iter(self.failed.values()))
        if self.failed:
            kind, error = next(iter(self.failed.items()))
            raise Incomplete(
                f"{', '.join(self.failed)} did not come ({kind}: {error.problem}).",
                request=error.request,
                hint="The other tables are here. Call again to ask for what is missing.",
                partial=self._connection,
                missing=tuple(self.failed),
            ) from error
        return self._connection
