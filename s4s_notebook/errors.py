"""Every error that this library raises on purpose.

::

    S4SError
    ├── InvalidArgument              what was passed names nothing; says what to write
    │   └── OutOfRange               there is no slice or series of this number
    ├── HolderUnavailable            the holder is down, unreachable or too slow
    ├── HTTPStatusError              an answer that is neither success nor "come back later"
    │   ├── NotFound                 404, 410: unknown patient, study or page
    │   └── Forbidden                403: this approval does not cover it
    ├── DiscoveryError               the address leads to no FHIR holder
    ├── AuthorizationError
    │   ├── AuthorizationRequired    not approved yet; the message has the page to open
    │   ├── AccessDenied             the person declined, or the holder refused the app
    │   ├── StateMismatch            the reply belongs to another sign-in
    │   ├── LoginExpired             the reply arrived too late
    │   ├── TokenRefused             the code or the client was not accepted
    │   └── ReauthorizationRequired  the approval is used up; approve again
    ├── TrustError
    │   ├── UntrustedOrigin          the person has not consented to this origin
    │   └── BlockedAddress           a private, link-local or otherwise forbidden address
    ├── WaitError
    │   ├── RetryAfterTooLong        the budget ends before the time that the holder asks for
    │   ├── Stalled                  the bytes stopped, or arrive too slowly
    │   └── Cancelled                the person pressed Cancel or the interrupt button
    ├── ContentError
    │   ├── MalformedResponse        not what the media type says: HTML, broken JSON, ...
    │   ├── PagingLoop               `next` never ends
    │   ├── IntegrityError           bytes are missing or differ from what was declared
    │   ├── Incomplete               fewer than announced; `.partial` holds what arrived
    │   ├── InvalidUID               not a DICOM UID (or FHIR id); nothing was sent
    │   └── NotDownloadable          the study names no usable WADO-RS endpoint
    ├── DICOMError
    │   ├── InvalidDICOM             not a DICOM file
    │   ├── MalformedDICOM           DICOM that contradicts itself
    │   │   └── TruncatedDICOM       it ends too early; an IntegrityError too
    │   ├── PixelBudget              larger than the limit set for decoding
    │   ├── MissingCodec             names the package to install
    │   ├── DecodeFailed             the codec failed, died or hung
    │   ├── NotAnImage               SR, PDF, waveform, ...: see `.tags()`
    │   ├── AmbiguousVolume          several volumes, or none that the headers decide
    │   ├── UncertainSUV             PET whose headers do not decide the uptake value
    │   ├── InvalidRegion            a shape or mask that does not fit the pictures
    │   └── UncertainMask            contours, segments or a dose whose place is not certain
    └── StoreError
        ├── DiskProblem              full, read-only, failing
        ├── StoreLocked              another process uses it
        └── UnsafeStore              a planted link, a file that others can read

No message and no attribute ever holds a token, a code, a secret or a name of a person:
URLs are redacted when a :class:`Request` is made, not when it is shown.

In a notebook an error is shown as the person's own line, the problem, the request and the next
step; ``s4s.traceback()`` prints the whole traceback. Scripts and logs have Python's own.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar

_MOST_LINES = 8  # of an error in a notebook
_RED, _PLAIN = "\x1b[1;31m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Request:
    """A request, safe to show.

    Attributes:
        method: HTTP method.
        url: the address; the code that creates this has redacted it.
        status: HTTP status, or None without a response.
        attempt: number of the attempt, from 1.
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
        request: the request that failed, or None.
        hint: what to do next.
        holder_said: the holder's own words, escaped and cut, without the secrets that were sent;
            "" where it said nothing. They may be about a person, so no message shows them.
    """

    default_hint: ClassVar[str] = ""

    def __init__(
        self,
        problem: str,
        *,
        request: Request | None = None,
        hint: str = "",
        holder_said: str = "",
    ) -> None:
        self.problem = problem
        self.holder_said = holder_said
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

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows in place of a traceback: 8 at most."""
        problem = [line.strip() for line in str(self).splitlines() if line.strip()]
        problem[0] = f"{_RED}{type(self).__name__}{_PLAIN}: {problem[0]}"
        first = own_line(self.__traceback__)
        spare = _MOST_LINES - 1 - len(first)
        if len(problem) > spare:
            problem[spare - 3 : -2] = ["…"]
        return [*first, *problem, "The whole traceback: s4s.traceback()"]


def own_line(traceback: TracebackType | None) -> Sequence[str]:
    """Return the last line of the person's own code that a traceback leads through, marked."""
    shown: Sequence[str] = ()
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__") == "__main__":
            number, file = traceback.tb_lineno, frame.f_code.co_filename
            text = linecache.getline(file, number, frame.f_globals).strip()
            shown = [f"----> {number} {text}"] if text else ()
        traceback = traceback.tb_next
    return shown


class InvalidArgument(S4SError, TypeError, ValueError):
    """An argument that is unknown or names nothing; the next step says what to write."""

    default_hint = "help() of the function has its arguments."


class OutOfRange(InvalidArgument, IndexError):
    """A number of a series or slice that is not there."""


class HolderUnavailable(S4SError):
    """The holder is down, unreachable or too slow: no connection, or a 5xx that lasts."""

    default_hint = "Check the address and your network, then call again; nothing is lost."


class HTTPStatusError(S4SError):
    """An HTTP status that waiting does not help.

    Attributes:
        details: the same as ``holder_said``.
    """

    default_hint = "Show this request to the data holder if it keeps happening."

    @property
    def details(self) -> str:
        """The holder's words."""
        return self.holder_said


class NotFound(HTTPStatusError):
    """404 or 410: there is no such patient, study or page."""

    default_hint = "Check the patient id or the study UID."


class Forbidden(HTTPStatusError):
    """403: the approval (its SMART scopes, its patient) does not cover this."""

    default_hint = "Check that the approval is for this patient, or authorise again."


class DiscoveryError(S4SError):
    """The address leads to no FHIR holder: no SMART configuration, no CapabilityStatement."""

    default_hint = (
        "Give the FHIR base address of the holder, as in https://holder.example/fhir, "
        "or pass access_token= or patient= where it offers no sign-in."
    )


class AuthorizationError(S4SError):
    """Signing in failed, or its approval is no longer valid."""

    default_hint = "Authorise again."


class AuthorizationRequired(AuthorizationError):
    """No approval yet. In a script the message has the page to open."""

    default_hint = "Press Authorise, or open the authorise page and call connection.finish(url)."


class AccessDenied(AuthorizationError):
    """The person declined, or the holder refused the program (RFC 6749 §4.1.2.1)."""

    default_hint = "Nothing was shared. Authorise again if that was not what you wanted."


class StateMismatch(AuthorizationError):
    """The reply belongs to another sign-in (`state`, RFC 6749 §10.12) or holder (RFC 9207)."""

    default_hint = "Use the page that belongs to this sign-in, or start a new one."


class LoginExpired(AuthorizationError):
    """The reply arrived too late, or no sign-in waits for one."""

    default_hint = "Start a new sign-in and approve within its time limit."


class TokenRefused(AuthorizationError):
    """The holder did not accept the code or the client (RFC 6749 §5.2)."""

    default_hint = "Start a new sign-in; if it fails again, check client_id and client_secret."


class ReauthorizationRequired(AuthorizationError):
    """The approval has run out or was revoked, and cannot be renewed; approve again."""

    default_hint = "Authorise again; downloaded files are kept and not fetched twice."


class TrustError(S4SError):
    """An address that must not receive requests, or must not receive the token."""

    default_hint = "Nothing was sent."


class UntrustedOrigin(TrustError):
    """An address of an origin without consent.

    Attributes:
        origin: its scheme, host and port.
    """

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
    """The address is private, link-local or otherwise forbidden for this holder."""

    default_hint = "Nothing was sent. A holder must not lead into a private network."


class WaitError(S4SError):
    """A wait ended before the response arrived."""

    default_hint = "Call again to continue; nothing is lost."


class RetryAfterTooLong(WaitError):
    """The wait that the holder asks for does not fit the budget.

    Attributes:
        retry_after: seconds the holder asked for, or None where it gave no usable value.
        not_before: POSIX time before which no request may be made, or None.
        waited: seconds waited in all.
        attempts: requests made.
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
    """The bytes stopped, or arrived too slowly to ever end."""

    default_hint = "Call again: only what is missing is fetched."


class Cancelled(WaitError):
    """A person pressed Cancel or the interrupt button."""

    default_hint = "Call again to continue; what arrived so far is kept."

    def _render_traceback_(self) -> list[str]:
        return [f"{self.problem} {self.hint}"]


class Stopped(KeyboardInterrupt):
    """The interrupt button or Ctrl-C; a notebook shows its one line alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class ContentError(S4SError):
    """The holder answered, but not with what was requested."""

    default_hint = "Show this request to the data holder: its answer breaks the standard."


class MalformedResponse(ContentError):
    """The body is not what its media type says: HTML, broken JSON, a broken multipart."""


class PagingLoop(ContentError):
    """A Bundle's `next` links (FHIR Search, paging) never end."""


class IntegrityError(ContentError):
    """Bytes are missing, or differ from the length or type that was declared."""

    default_hint = "Call again: only what is missing is fetched."


class Incomplete(ContentError):
    """Some of the data arrived, not all.

    Attributes:
        partial: what arrived (a DataFrame, a Study, a list), usable.
        missing: what did not, as UIDs or URLs.
    """

    default_hint = "`.partial` holds what arrived. Call again to fetch the rest."

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
    """Not a DICOM UID (PS3.5 §9.1) or FHIR id; nothing was sent."""

    default_hint = "Nothing was sent. A UID has digits and dots, at most 64 characters."


class NotDownloadable(ContentError):
    """The study names no WADO-RS Endpoint that can be used."""

    default_hint = "The table's `downloadable` column says which studies can be fetched."


class DICOMError(S4SError):
    """A DICOM file or its pixels cannot be used."""


class InvalidDICOM(DICOMError):
    """Not a DICOM file (PS3.10)."""

    default_hint = "For a file without the DICM prefix use read(path, force=True)."


class MalformedDICOM(DICOMError):
    """The DICOM file contradicts itself."""

    default_hint = "Ask the source of the file; `.tags()` shows what could be read."


class TruncatedDICOM(MalformedDICOM, IntegrityError):
    """The elements of the DICOM file do not end where the file ends (PS3.5 §7)."""

    default_hint = "Call again: only what is missing is fetched."


class PixelBudget(DICOMError):
    """The image is larger than the limit set for decoding."""

    default_hint = "Pass a larger budget if you trust the file and have the memory."


class MissingCodec(DICOMError):
    """No decoder for this transfer syntax is installed; the message names the package."""

    default_hint = "pip install 's4s-notebook[codecs]', then restart the kernel."


class DecodeFailed(DICOMError):
    """The codec failed, died or hung."""

    default_hint = "The other images are not affected."


class NotAnImage(DICOMError):
    """The object has no pixels: a report, a PDF, a waveform."""

    default_hint = "Use `.tags()` to read what it says."


class AmbiguousVolume(DICOMError):
    """The headers do not decide which volume is meant, or the slices make no regular grid."""

    default_hint = "Use `.volumes`, or `.frames` for the single pictures."


class UncertainSUV(DICOMError):
    """The headers do not decide the standardised uptake value; the attribute is named."""

    default_hint = "Use the volume's own values; `.unit` says what they are."


class InvalidRegion(DICOMError):
    """A shape or mask holds no pixel, or does not fit the pictures that are measured."""

    default_hint = "Points are (column, row) in pixels; a mask has the shape of its series."


class UncertainMask(DICOMError):
    """The headers do not decide where a segment, a contour or a dose lies on a series."""

    default_hint = "Look at both in .tags(): another frame of reference needs a registration first."


class StoreError(S4SError):
    """The store cannot be used."""


class DiskProblem(StoreError):
    """The disk is full, read-only or failing."""

    default_hint = "Free or repair the disk, then call again: only what is missing is fetched."


class StoreLocked(StoreError):
    """Another process uses the store, and did not release it in time."""

    default_hint = "Wait for the other process, or use another store folder."


class UnsafeStore(StoreError):
    """The folder belongs to another user, others can change it, or a link was planted."""

    default_hint = "Nothing was written. Use a folder that only you can change."
