"""The status of one person's approval: one object that the sign-in and the tokens change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum


class Status(StrEnum):
    """The states of an approval; each equals its text."""

    OPEN = "open"  # the holder needs no sign-in
    NOT_AUTHORISED = "not authorised"
    WAITING = "waiting for approval"
    APPROVED = "approved"
    EXPIRED = "expired"  # nobody approved in time, or the token ended and cannot be renewed
    WITHDRAWN = "withdrawn"  # the holder no longer accepts what it had granted
    DECLINED = "declined"


USABLE = frozenset({Status.OPEN, Status.APPROVED})
OVER = frozenset({Status.EXPIRED, Status.WITHDRAWN})


class Approval:
    """Holds the status and reports each change.

    Only the owner of the current approval (its tokens) can end it: a request that fails late,
    with the tokens of an earlier approval, changes nothing.
    """

    def __init__(self) -> None:
        self._status = Status.NOT_AUTHORISED
        self._owner: object = None
        self._lock = threading.Lock()
        self._listeners: list[Callable[[str], None]] = []

    @property
    def status(self) -> Status:
        """The current status."""
        return self._status

    @property
    def usable(self) -> bool:
        """Whether requests can be made: approved, or open."""
        return self._status in USABLE

    @property
    def observed(self) -> bool:
        """Whether a panel shows the status, so that a person can approve while calls wait."""
        return bool(self._listeners)

    def on_change(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(status)`` at each change; return a function that ends it."""
        self._listeners.append(callback)

        def end() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return end

    def accept(self, owner: object, *, status: Status = Status.APPROVED) -> None:
        """Begin to use what ``owner`` (the tokens) holds."""
        with self._lock:
            self._owner = owner
        self._set(status)

    def end(self, owner: object, status: Status) -> None:
        """End the approval of ``owner``; nothing where another approval has replaced it."""
        with self._lock:
            current = owner is self._owner
        if current and self._status is Status.APPROVED:
            self._set(status)

    def sign_in(self, status: Status) -> None:
        """Set how a sign-in stands; an approval that is in use stays."""
        if not self.usable:
            self._set(status)

    def forget(self) -> None:
        """Drop the approval."""
        with self._lock:
            self._owner = None
        if self._status is not Status.OPEN:
            self._set(Status.NOT_AUTHORISED)

    def _set(self, status: Status) -> None:
        if status is self._status:
            return
        self._status = status
        for callback in list(self._listeners):
            callback(status)
