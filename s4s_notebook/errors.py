"""Every error that this library raises on purpose.

::

    S4SError
    ├── HolderUnavailable            the holder is down, unreachable or too slow
    ├── HTTPStatusError              an answer that is neither success nor "come back later"
    │   ├── NotFound                 404, 410: unknown patient, study or page
    │   └── Forbidden                403: this approval does not cover it
    ├── DiscoveryError               the address leads to no FHIR holder
    ├── AuthorizationError
    │   ├── AuthorizationRequired    nobody has approved yet; carries the page to open
    │   ├── AccessDenied             the person declined, or the holder refused the app
    │   ├── StateMismatch            the reply belongs to another sign-in
    │   ├── LoginExpired             the reply came too late
    │   ├── TokenRefused             the code or the client was not accepted
    │   └── ReauthorizationRequired  the approval is used up; approve again
    ├── TrustError
    │   ├── UntrustedOrigin          the person has not consented to this origin
    │   └── BlockedAddress           a private, link-local or otherwise forbidden address
    ├── WaitError
    │   ├── RetryAfterTooLong        the budget ends before the holder wants us back
    │   ├── Stalled                  bytes stopped, or trickle below the floor
    │   └── Cancelled                the person pressed Cancel or ■
    ├── ContentError
    │   ├── MalformedResponse        not what the media type says: HTML, broken JSON, ...
    │   ├── PagingLoop               `next` never ends
    │   ├── IntegrityError           bytes are missing or differ from what was declared
    │   ├── Incomplete               fewer than announced; `.partial` holds what came
    │   ├── InvalidUID               not a DICOM UID (or FHIR id), so nothing was asked
    │   └── NotDownloadable          the study names no usable WADO-RS endpoint
    ├── DICOMError
    │   ├── InvalidDICOM             not a DICOM file
    │   ├── MalformedDICOM           DICOM that contradicts itself
    │   ├── PixelBudget              larger than the limit set for decoding
    │   ├── MissingCodec             names the package to install
    │   ├── DecodeFailed             the codec failed, died or hung
    │   └── NotAnImage               SR, PDF, waveform, ...: see `.tags()`
    └── StoreError
        ├── DiskProblem              full, read-only, failing
        ├── StoreLocked              another process holds it
        └── UnsafeStore              a planted link, a file that others can read

No message and no attribute ever holds a token, a code, a secret or a name of a person:
URLs are redacted when a :class:`Request` is made, not when it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Request:
    """Which call went wrong, safe to show: ``url`` is redacted by whoever makes this.

    ``status`` is the HTTP status or None when no answer came; ``attempt`` counts from 1.
    """

    method: str
    url: str
    status: int | None = None
    attempt: int = 1

    def __str__(self) -> str:
        answer = f" → {self.status}" if self.status is not None else ""
        tries = f" (try {self.attempt})" if self.attempt > 1 else ""
        return f"{self.method} {self.url}{answer}{tries}"


class S4SError(Exception):
    """The root of the tree.

    Attributes:
        problem: one sentence, what happened.
        request: the call it happened on, or None.
        hint: what to do next.
    """

    default_hint: ClassVar[str] = ""

    def __init__(self, problem: str, *, request: Request | None = None, hint: str = "") -> None:
        self.problem = problem
        self.request = request
        self.hint = hint or self.default_hint
        super().__init__(problem)

    def __str__(self) -> str:
        lines = [self.problem]
        if self.request is not None:
            lines.append(f"Request: {self.request}")
        if self.hint:
            lines.append(f"Next: {self.hint}")
        return "\n".join(lines)


class HolderUnavailable(S4SError):
    default_hint = "Check the address and your network, then call again; nothing is lost."


class HTTPStatusError(S4SError):
    """An HTTP status that the library does not know how to wait out.

    ``details`` holds the diagnostics of a FHIR OperationOutcome, at most 500 characters.
    """

    default_hint = "Show this request to the data holder if it keeps happening."

    def __init__(
        self, problem: str, *, request: Request | None = None, hint: str = "", details: str = ""
    ) -> None:
        super().__init__(problem, request=request, hint=hint)
        self.details = details


class NotFound(HTTPStatusError):
    default_hint = "Check the patient id or the study UID."


class Forbidden(HTTPStatusError):
    default_hint = "Check that the approval is for this patient, or authorise again."


class DiscoveryError(S4SError):
    default_hint = (
        "Give the FHIR base address of the holder, as in https://holder.example/fhir, "
        "or pass access_token= or patient= where it offers no sign-in."
    )


class AuthorizationError(S4SError):
    default_hint = "Authorise again."


class AuthorizationRequired(AuthorizationError):
    default_hint = "Press Authorise, or open the authorise page and call connection.finish(url)."


class AccessDenied(AuthorizationError):
    default_hint = "Nothing was shared. Authorise again if that was not what you wanted."


class StateMismatch(AuthorizationError):
    default_hint = "Use the page that belongs to this sign-in, or start a new one."


class LoginExpired(AuthorizationError):
    default_hint = "Start a new sign-in and approve within its time limit."


class TokenRefused(AuthorizationError):
    default_hint = "Start a new sign-in; if it fails again, check client_id and client_secret."


class ReauthorizationRequired(AuthorizationError):
    default_hint = "Authorise again; what was downloaded stays and is not fetched twice."


class TrustError(S4SError):
    default_hint = "Nothing was sent."


class UntrustedOrigin(TrustError):
    """``origin`` is the scheme, host and port that nobody has consented to."""

    def __init__(
        self, problem: str, *, origin: str = "", request: Request | None = None, hint: str = ""
    ) -> None:
        self.origin = origin
        super().__init__(
            problem,
            request=request,
            hint=hint
            or f"Nothing was sent. If you trust it, connect with allow_origins=[{origin!r}].",
        )


class BlockedAddress(TrustError):
    default_hint = "Nothing was sent. A holder must not lead into a private network."


class WaitError(S4SError):
    default_hint = "Call again to go on; nothing is lost."


class RetryAfterTooLong(WaitError):
    """The wait that the holder asks for does not fit the budget.

    Attributes:
        retry_after: seconds the holder asked for, or None where it gave no usable value.
        not_before: POSIX time before which no request may be made, or None.
        waited: seconds waited in all; attempts: requests made.
    """

    def __init__(
        self,
        problem: str,
        *,
        request: Request | None = None,
        hint: str = "",
        retry_after: float | None = None,
        not_before: float | None = None,
        waited: float = 0.0,
        attempts: int = 1,
    ) -> None:
        super().__init__(problem, request=request, hint=hint)
        self.retry_after = retry_after
        self.not_before = not_before
        self.waited = waited
        self.attempts = attempts


class Stalled(WaitError):
    default_hint = "Call again: only what is missing is fetched."


class Cancelled(WaitError):
    default_hint = "Call again to go on; what came so far is kept."


class ContentError(S4SError):
    default_hint = "Show this request to the data holder: its answer breaks the standard."


class MalformedResponse(ContentError):
    pass


class PagingLoop(ContentError):
    pass


class IntegrityError(ContentError):
    default_hint = "Call again: only what is missing is fetched."


class Incomplete(ContentError):
    """Some of it came, not all.

    Attributes:
        partial: what came (a DataFrame, a Study, a list), usable.
        missing: what did not, as UIDs or URLs.
    """

    default_hint = "`.partial` holds what came. Call again to fetch the rest."

    def __init__(
        self,
        problem: str,
        *,
        request: Request | None = None,
        hint: str = "",
        partial: Any = None,
        missing: tuple[str, ...] = (),
    ) -> None:
        super().__init__(problem, request=request, hint=hint)
        self.partial = partial
        self.missing = missing


class InvalidUID(ContentError):
    default_hint = "Nothing was asked. A UID has digits and dots, at most 64 characters."


class NotDownloadable(ContentError):
    default_hint = "The table's `downloadable` column says which studies can be fetched."


class DICOMError(S4SError):
    pass


class InvalidDICOM(DICOMError):
    default_hint = "For a file without the DICM prefix use read(path, force=True)."


class MalformedDICOM(DICOMError):
    default_hint = "Ask whoever made the file; `.tags()` shows what could be read."


class PixelBudget(DICOMError):
    default_hint = "Pass a larger budget if you trust the file and have the memory."


class MissingCodec(DICOMError):
    default_hint = "pip install 's4s-notebook[codecs]', then restart the kernel."


class DecodeFailed(DICOMError):
    default_hint = "The other images are not affected."


class NotAnImage(DICOMError):
    default_hint = "Use `.tags()` to read what it says."


class StoreError(S4SError):
    pass


class DiskProblem(StoreError):
    default_hint = "Free or mend the disk, then call again: only what is missing is fetched."


class StoreLocked(StoreError):
    default_hint = "Wait for the other process, or use another store folder."


class UnsafeStore(StoreError):
    default_hint = "Nothing was written. Use a folder that only you can change."
