"""One request on its way: what was asked for, what has happened to it, what to show of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .. import errors
from . import redact
from .retry import Cancel, Patience
from .secret import Secret


class TokenSource(Protocol):
    """Where the access token comes from."""

    def bearer(self) -> str | None:
        """The token to send now; may refresh when it is due."""

    def refresh(self, rejected: str, *, cancel: Cancel | None = None) -> None:
        """Get another token, because the holder rejected this one."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as shown in a history. Times in seconds; started is POSIX."""

    method: str
    url: str
    status: int | None
    started: float
    seconds: float
    waited: float


@dataclass
class Call:
    """One request as asked for, with what has happened to it."""

    method: str
    url: str
    patience: Patience
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    basic: Secret | None = None
    token: bool = True
    wait: bool = True
    follow: bool = True
    bearer: Secret | None = None  # what the last exchange carried
    at: str = ""  # where the last answer came from
    counted: float = 0.0  # seconds of waiting that the history has already

    def __repr__(self) -> str:
        return f"<{self.shown()}>"

    def shown(self, status: int | None = None) -> errors.Request:
        return errors.Request(
            self.method, redact.url(self.at or self.url), status, self.patience.attempt
        )
