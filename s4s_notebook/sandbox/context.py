"""What the routes of one running sandbox share: its parts, refusals, and request bodies."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from .authority import Approval, Authority
from .data.archive import ArchivedStudy, SampleArchive
from .faults import Script
from .resources import ResourceStore, instant
from .settings import Personality, Settings

Handler = Callable[[Request], Awaitable[Response]]
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
MAX_BODY = 64 * 1024
MAX_FIELDS = 200


class NotReadyError(Exception):
    """The data are not ready yet.

    Attributes:
        seconds: When to try again; None when the holder does not say.
    """

    def __init__(self, seconds: float | None) -> None:
        super().__init__("not ready")
        self.seconds = seconds


class FailedRequestError(Exception):
    """The request is answered by an error.

    Attributes:
        status: HTTP status of the response.
        description: Text of the response.
        error: Error code of RFC 6750 section 3.1.
    """

    def __init__(self, status: int, description: str, error: str = "") -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.error = error


class UpstreamError(FailedRequestError):
    """The archive behind the sandbox failed."""


class DeniedError(FailedRequestError):
    """The request is refused: 401 without a valid token, 403 with one that does not suffice."""

    @property
    def headers(self) -> dict[str, str]:
        """The WWW-Authenticate header of a 401."""
        if self.status != 401:
            return {}
        details = f', error="{self.error}"' if self.error else ""
        return {"WWW-Authenticate": f'Bearer realm="s4s-sandbox"{details}'}


class BadBodyError(ValueError):
    """The body of a request is invalid; the message says why."""


class ImageSource(Protocol):
    """A source of studies and their files: the sample archive, or a PACS."""

    def study(self, study_uid: str) -> ArchivedStudy | None:
        """Return a study without fetching its images; None when there is none."""

    def ready(self, study_uid: str) -> ArchivedStudy:
        """Return a study with a path for every instance.

        Raises:
            NotReadyError: The images are being prepared.
            UpstreamError: The images cannot be fetched.
            KeyError: There is no such study.
        """

    def touch(self, study_uid: str) -> None:
        """Note that the files of a study are being read."""

    def close(self) -> None:
        """Release all files and threads."""


class StudyArchive(ImageSource, Protocol):
    """A source that lists the studies of a patient itself."""

    def listing(self, patient_id: str) -> list[tuple[ArchivedStudy, float, int]]:
        """Return each study with the POSIX time of its last change, and its version.

        Raises:
            NotReadyError: The archive cannot be reached now.
            UpstreamError: The archive failed.
        """

    def refresh(self) -> None:
        """Query the archive again at the next search."""


class PreparationDelay:
    """A delay that starts when a key is first requested; thread-safe and bounded."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._ready_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def remaining(self, key: str) -> float:
        """Return the seconds until ``key`` is ready; 0 when it is."""
        if self._seconds <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            ready_at = self._ready_at.setdefault(key, now + self._seconds)
            if len(self._ready_at) > 5_000:
                del self._ready_at[next(iter(self._ready_at))]
            return max(0.0, ready_at - now)

    def reset(self) -> None:
        """Start every delay again, as after an archive emptied its cache."""
        with self._lock:
            self._ready_at.clear()


class SampleImages:
    """The sample archive, with a delay before the images of a study are ready."""

    def __init__(self, library: SampleArchive, delay: PreparationDelay) -> None:
        self._library = library
        self._delay = delay
        self._threads: dict[str, threading.Thread] = {}

    def study(self, study_uid: str) -> ArchivedStudy | None:
        """Return a study without its images; None when there is none."""
        return self._library.study(study_uid)

    def ready(self, study_uid: str) -> ArchivedStudy:
        """Return a study with its images; see :class:`ImageSource`."""
        study = self._library.study(study_uid)
        if study is None or not study.available:
            raise KeyError(study_uid)
        remaining = self._delay.remaining(study_uid)
        if remaining > 0:
            self._start_drawing(study_uid)
            raise NotReadyError(remaining)
        return self._library.prepare(study_uid)

    def _start_drawing(self, study_uid: str) -> None:
        if study_uid not in self._threads:
            thread = threading.Thread(
                target=self._library.prepare, args=(study_uid,), name="s4s-sandbox-draw"
            )
            self._threads[study_uid] = thread
            thread.start()

    def touch(self, study_uid: str) -> None:
        """Do nothing: the sample archive removes no files."""

    def close(self) -> None:
        """Wait for the drawing threads and remove the files."""
        for thread in self._threads.values():
            thread.join()
        self._threads.clear()
        self._library.close()


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


@dataclass
class SandboxContext:
    """The parts of one running sandbox. The origins are set once the sockets are bound.

    ``log`` has the last 10,000 requests, oldest first.
    """

    settings: Settings
    personality: Personality
    resources: ResourceStore
    images: ImageSource
    authority: Authority
    archive: StudyArchive | None = None
    log: deque[Record] = field(default_factory=lambda: deque(maxlen=10_000))
    script: Script = field(default_factory=Script)
    fhir_origin: str = ""
    imaging_origin: str = ""
    ports: tuple[int, int] = (0, 0)

    @property
    def fhir_base(self) -> str:
        """FHIR base that needs a token."""
        return f"{self.fhir_origin}/api/fhir"

    @property
    def open_base(self) -> str:
        """FHIR base without sign-in."""
        return f"{self.fhir_origin}/api/open-fhir"

    def wado_base(self, patient_id: str, *, open_: bool) -> str:
        """Return the WADO-RS base of a patient, with a token or without."""
        if self.settings.wado is not None:
            return self.settings.wado
        prefix = "/open" if open_ else ""
        return f"{self.imaging_origin}{prefix}/Patient/{patient_id}/$wado-rs"

    def instant(self) -> str:
        """Return the present time as a FHIR instant with milliseconds."""
        return instant(self.settings.now())

    def retry_header(self, seconds: float | None) -> dict[str, str]:
        """Return Retry-After in seconds, rounded up unless the personality sends fractions."""
        if seconds is None or self.personality.strips_retry_after:
            return {}
        if self.personality.fractional_retry_after:
            return {"Retry-After": f"{max(0.001, seconds):.3f}"}
        return {"Retry-After": str(max(1, math.ceil(seconds)))}


def context_of(request: Request) -> SandboxContext:
    """Return the sandbox that a request was sent to."""
    context: SandboxContext = request.app.state.sandbox
    return context


def bearer_approval(request: Request, context: SandboxContext) -> Approval:
    """Return the approval of the request's bearer token (RFC 6750).

    Raises:
        DeniedError: There is no valid token.
    """
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise DeniedError(401, "a bearer token is needed")
    token = context.authority.token(secret.strip())
    if token is None:
        raise DeniedError(401, "this token is unknown, expired or revoked", "invalid_token")
    return token.approval


def outcome(severity: str, code: str, text: str) -> dict[str, Any]:
    """Return a FHIR OperationOutcome with one issue."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": text}],
    }


async def read_body(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        BadBodyError: The body is longer than 64 KB.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BadBodyError("the body is too large")
    return bytes(body)


async def read_form(request: Request) -> list[tuple[str, str]]:
    """Return the fields of an urlencoded form in order.

    Raises:
        BadBodyError: The body is no such form.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise BadBodyError("send application/x-www-form-urlencoded")
    try:
        text = (await read_body(request)).decode("ascii")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        if isinstance(error, BadBodyError):
            raise
        raise BadBodyError("this is not a form") from error
