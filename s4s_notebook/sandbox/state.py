"""What all routes of one running sandbox share."""

from __future__ import annotations

import collections
import datetime as dt
import math
import threading
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import Request

from .authority import Approval, Authority
from .data.archive import ArchivedStudy
from .holding import Holding
from .personality import Personality
from .script import Script
from .settings import Settings


class NotReadyError(Exception):
    """Come back later; ``seconds`` is the hint, None when the holder gives none."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__("not ready")
        self.seconds = seconds


class UpstreamError(Exception):
    """The archive behind failed: the status and the sentence to answer with."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Images(Protocol):
    """Where studies and their files come from: the library, or a PACS."""

    def study(self, study_uid: str) -> ArchivedStudy | None:
        """What is known of a study without moving its images; None: not held."""

    def ready(self, study_uid: str) -> ArchivedStudy:
        """The study with a path for every instance.

        Raises NotReadyError while the images are under way, UpstreamError when they cannot come,
        KeyError when the study is not held.
        """

    def touch(self, study_uid: str) -> None:
        """Somebody is reading this study's files just now."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Record:
    """One request as ``Sandbox.requests`` shows it. Secrets in the query are ``***``."""

    method: str
    path: str
    status: int
    origin: str
    token: bool
    retry_after: str | None
    time: float


class RequestLog:
    """The last 10,000 requests, oldest first; thread-safe."""

    def __init__(self) -> None:
        self._entries: collections.deque[Record] = collections.deque(maxlen=10_000)
        self._lock = threading.Lock()

    def add(self, record: Record) -> None:
        with self._lock:
            self._entries.append(record)

    def all(self) -> list[Record]:
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


class Archive(Images, Protocol):
    """A source that knows which studies a patient has, better than the sandbox does."""

    def listing(self, patient_id: str) -> list[tuple[ArchivedStudy, float, int]]:
        """Each study with the POSIX time it last changed, and its version.

        Raises NotReadyError or UpstreamError.
        """

    def refresh(self) -> None:
        """Ask anew at the next search."""


@dataclass
class State:
    """One running sandbox. The two origins are set once the sockets are bound."""

    settings: Settings
    personality: Personality
    holding: Holding
    images: Images
    authority: Authority
    archive: Archive | None = None
    log: RequestLog = field(default_factory=RequestLog)
    script: Script = field(default_factory=Script)
    fhir_origin: str = ""
    imaging_origin: str = ""

    @property
    def fhir_base(self) -> str:
        return f"{self.fhir_origin}/api/fhir"

    @property
    def open_base(self) -> str:
        return f"{self.fhir_origin}/api/open-fhir"

    def wado_base(self, patient_id: str, *, open_: bool) -> str:
        """The WADO-RS base that is handed out for a patient; opaque, as the seed's is."""
        if self.settings.wado is not None:
            return self.settings.wado
        gate = "/open" if open_ else ""
        return f"{self.imaging_origin}{gate}/Patient/{patient_id}/$wado-rs"

    def instant(self) -> str:
        """Now, as a FHIR instant with milliseconds."""
        return instant(self.settings.now())

    def retry_header(self, seconds: float | None) -> dict[str, str]:
        """Retry-After in whole seconds, rounded up, or as the personality writes it."""
        if seconds is None or self.personality.strips_retry_after:
            return {}
        if self.personality.fractional_retry_after:
            return {"Retry-After": f"{max(0.001, seconds):.3f}"}
        return {"Retry-After": str(max(1, math.ceil(seconds)))}


def instant(when: float) -> str:
    """POSIX time as a FHIR instant."""
    moment = dt.datetime.fromtimestamp(when, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class DeniedError(Exception):
    """The request may not be answered: 401 without a valid token, 403 with a wrong one."""

    def __init__(self, status: int, why: str, error: str = "") -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.error = error

    @property
    def headers(self) -> dict[str, str]:
        if self.status != 401:
            return {}
        details = f', error="{self.error}"' if self.error else ""
        return {"WWW-Authenticate": f'Bearer realm="s4s-sandbox"{details}'}


def bearer(request: Request, state: State) -> Approval:
    """The approval behind the request's token; raises DeniedError(401) when there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise DeniedError(401, "a bearer token is needed")
    held = state.authority.token(token.strip())
    if held is None:
        raise DeniedError(401, "this token is unknown, expired or revoked", "invalid_token")
    return held.approval


def state_of(request: Request) -> State:
    state: State = request.app.state.sandbox
    return state


def outcome(severity: str, code: str, text: str) -> dict[str, Any]:
    """A FHIR OperationOutcome with one issue."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": text}],
    }


NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
