"""What a sandbox is told when it is made."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .data.people import PEOPLE

REAL_PACS_SECONDS = 300.0  # the seed's own example
_PACS = re.compile(r"(?P<aet>[ -~]{1,16})@(?P<host>[^@:/\s]+):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Pacs:
    """A DICOM archive behind the sandbox, reached by C-FIND and C-MOVE."""

    aet: str
    host: str
    port: int
    our_aet: str = "S4S"
    store_port: int = 11112
    mrns: Mapping[str, str] = field(default_factory=dict)
    cache_bytes: int = 4 << 30

    @classmethod
    def parse(cls, text: str, **more: Any) -> Pacs:
        """``AET@host:port``; raises ValueError on anything else.

        ``mrns`` maps patient ids to the archive's PatientIDs; who is not named there is
        looked for under the record number that the Patient resource gives.
        """
        match = _PACS.fullmatch(text)
        if match is None or not 0 < int(match["port"]) < 65536:
            raise ValueError(f"{text!r} is not AET@host:port")
        return cls(match["aet"], match["host"], int(match["port"]), **more)


@dataclass(frozen=True)
class Settings:
    """All knobs, with defaults that suit tests: short waits, loopback, any free port.

    ``retry_after`` seconds pass between a study's first request and its images (0: none);
    ``search_retry_after`` the same for the first search of each kind (0: none).
    ``wado`` names a foreign WADO-RS base (say, Orthanc's) that is handed out instead of ours.
    """

    patients: tuple[str, ...] = tuple(p.id for p in PEOPLE)
    wado: str | None = None
    retry_after: float = 2.0
    search_retry_after: float = 0.0
    seed: int = 1288992
    host: str = "127.0.0.1"
    port: int = 0
    imaging_port: int = 0
    page_size: int = 20
    access_lifetime: int = 3600
    code_lifetime: int = 100
    public_url: str | None = None
    personality: str | None = None
    pacs: Pacs | None = None
    clock_skew: float = 0.0
    clock: Callable[[], float] = time.time

    def now(self) -> float:
        """The holder's clock: POSIX time, skewed when a test wants it so."""
        return self.clock() + self.clock_skew
