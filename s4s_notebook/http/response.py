"""Responses: strict JSON, limits on size and compression, and the error that a status means."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import httpx

from .. import errors
from . import redact
from .backend import ConnectionBroken
from .redact import Secret
from .retry_after import parse_date

BUNDLE_BYTES = 32 << 20  # one page of a search, and whatever has no limit of its own
LIST_BYTES = 16 << 20  # a list of QIDO-RS
DOCUMENT_BYTES = 8 << 20  # a configuration or a CapabilityStatement
ERROR_BYTES = 64 << 10  # what comes with an error
VALUE_BYTES = 160 << 20  # what the values of one body may take in memory


@dataclass(frozen=True, eq=False)
class Response:
    """A complete response: an :class:`httpx.Response` that was read within our limits.

    Attributes:
        status: HTTP status code.
        headers: the headers; names in any case, :meth:`httpx.Headers.get_list` for repeated ones.
        url: the address that answered, after redirects. Not redacted.
        body: decoded bytes.
        date: the holder's clock as POSIX seconds, or None.
        request: the request, safe to show.
    """

    status: int
    headers: httpx.Headers = field(repr=False)
    url: str = field(repr=False)
    body: bytes = field(repr=False)
    date: float | None
    request: errors.Request
    _bearer: Secret | None = field(default=None, repr=False)
    secrets: tuple[Secret, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return f"<Response {self.request}, {len(self.body)} bytes>"

    def json(self) -> Any:
        """Return the body as strictly parsed JSON.

        Raises:
            MalformedResponse: it is not strict JSON, or its values would fill the memory.
        """
        try:
            return parse_json(self.body)
        except TooManyValuesError as error:
            raise errors.MalformedResponse(
                f"The answer was not read: {error}.", request=self.request
            ) from None
        except NotStrictError as error:
            markup = self.body.lstrip()[:1] == b"<"
            description = "a page (HTML or XML)" if markup else f"no JSON: {error}"
            raise errors.MalformedResponse(
                f"The holder answered with {description}.", request=self.request
            ) from error

    def checked(self) -> Response:
        """Return this response if its status is 2xx.

        Raises:
            S4SError: the error that fits another status.
        """
        if 200 <= self.status < 300:
            return self
        raise error_for(self.request, self.body, self._bearer, self.secrets)

    @property
    def sent(self) -> tuple[Secret, ...]:
        """The secrets that the request carried."""
        return (*self.secrets, self._bearer) if self._bearer else self.secrets


class ResponseStream:
    """A response whose body is read in pieces.

    Attributes:
        status: HTTP status code.
        headers: the headers; names in any case.
        url: the address that answered, after redirects. Not redacted.
        request: the request, safe to show.
    """

    def __init__(self, response: httpx.Response, url: str, request: errors.Request) -> None:
        self.status, self.headers = response.status_code, response.headers
        self.url, self.request = url, request
        self._response = response

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            IntegrityError: the connection ended before the body did.
            Stalled: nothing or too little arrived.
            Cancelled: the switch is set.
        """
        try:
            yield from self._response.iter_raw()
        except ConnectionBroken as error:
            raise errors.IntegrityError(
                f"The transfer was cut: {error}.", request=self.request
            ) from error
        except errors.S4SError as error:
            error.request = error.request or self.request
            raise


def check_length(headers: httpx.Headers) -> None:
    """Refuse a response with two lengths, whose end readers could place differently.

    Raises:
        MalformedResponse: both Transfer-Encoding and Content-Length (RFC 9112 section 6.3).
    """
    if "transfer-encoding" in headers and "content-length" in headers:
        raise errors.MalformedResponse("The answer states two different lengths.")


def check_encoding(headers: httpx.Headers, *accepted: str) -> str:
    """Return the content encoding.

    Raises:
        MalformedResponse: an encoding that was not requested.
    """
    encoding = headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ("identity", *accepted):
        shown = redact.text(encoding, limit=40)
        raise errors.MalformedResponse(
            f"The answer is encoded as {shown!r}, which was not requested."
        )
    return encoding


def read_body(response: httpx.Response, max_bytes: int) -> bytes:
    """Return the complete body, decompressed, of at most ``max_bytes``.

    The body of an error is returned empty where it cannot be read or is larger than
    ``ERROR_BYTES``: it changes no status.

    Raises:
        MalformedResponse: larger, or an encoding that was not requested.
        IntegrityError: gzip that is cut or damaged.
    """
    if response.status_code < 400:
        return _complete(response, max_bytes)
    with suppress(errors.ContentError):
        return _complete(response, min(max_bytes, ERROR_BYTES))
    return b""


def _complete(response: httpx.Response, max_bytes: int) -> bytes:
    chunks: Iterable[bytes] = response.iter_raw()
    if check_encoding(response.headers, "gzip") == "gzip":
        chunks = _gunzip(chunks)
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise errors.MalformedResponse(f"The answer is larger than {max_bytes:,} bytes.")
    return bytes(body)


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress one gzip member in bounded steps; its trailer (CRC and length) must be there.

    httpx decompresses a chunk in one step, so a few bytes could fill the memory.
    """
    decompressor = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if decompressor.eof:
                    raise errors.IntegrityError("Bytes follow the end of the gzip data.")
                yield decompressor.decompress(data, 1 << 18)
                data = decompressor.unconsumed_tail or decompressor.unused_data
    except zlib.error as error:
        raise errors.IntegrityError("The gzip data is damaged.") from error
    if not decompressor.eof:
        raise errors.IntegrityError("The gzip data is cut.")


def date_of(headers: httpx.Headers, now: float) -> float | None:
    """Return the Date header as POSIX seconds, or None."""
    return parse_date(headers.get("date", "").strip(), now=now)


def error_for(
    request: errors.Request, body: bytes, bearer: Secret | None, secrets: Sequence[Secret] = ()
) -> errors.S4SError:
    """Return the error that a status means."""
    status = request.status or 0
    secrets = [*secrets, bearer] if bearer else secrets
    said = _diagnostics(body, secrets)
    if status == 401 and bearer:
        return errors.ReauthorizationRequired(
            "The holder no longer accepts the approval.", request=request, holder_said=said
        )
    if status == 401:
        return errors.AuthorizationRequired(
            "The holder asks to sign in.", request=request, holder_said=said
        )
    if status in (408, 429, 502, 503, 504):
        return errors.HolderUnavailable(
            "The holder cannot answer now.", request=request, holder_said=said
        )
    kinds: dict[int, tuple[type[errors.HTTPStatusError], str]] = {
        403: (errors.Forbidden, "The holder forbids this."),
        404: (errors.NotFound, "The holder does not know this."),
        410: (errors.NotFound, "The holder has this no longer."),
    }
    other = f"The holder answered with status {status}."
    if 300 <= status < 400:
        other = f"The holder answered with a redirect ({status}) that is not followed."
    kind, problem = kinds.get(status, (errors.HTTPStatusError, other))
    return kind(problem, request=request, holder_said=said)


def _diagnostics(body: bytes, secrets: Sequence[Secret]) -> str:
    """Return the text of an OperationOutcome (or an OAuth error), fit to be shown."""
    try:
        outcome = parse_json(body)
    except NotStrictError:
        return ""
    if not isinstance(outcome, dict):
        return ""
    messages = [outcome.get(key) for key in ("error", "error_description", "description")]
    issues = outcome.get("issue")
    for issue in issues if isinstance(issues, list) else []:
        if isinstance(issue, dict):
            details = issue.get("details")
            text = details.get("text") if isinstance(details, dict) else None
            messages.append(issue.get("diagnostics") or text or issue.get("code"))
    text = "; ".join(message for message in messages if isinstance(message, str))
    return redact.holder_said(text, secrets)


def encode_json(value: Any) -> bytes:
    """Return a value as UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


orjson = import_module("orjson") if find_spec("orjson") else None

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_COLON = re.compile(rb"\\u003[aA]")
_UP_TO_THREE_BYTES = bytes(range(0xF0))  # the bytes of characters that UTF-8 writes in up to three


class NotStrictError(ValueError):
    """The text is not strict JSON; the message says why, without the text."""


class TooManyValuesError(NotStrictError):
    """The values of the text would take more memory than one body may."""


def check_values(raw: bytes) -> None:
    """Refuse a text whose values could take more than ``VALUE_BYTES``, before it is parsed.

    A value, and a member of an object, takes up to 96 bytes for each ``{``, ``[``, ``,`` and
    ``:`` (measured on CPython 3.11 to 3.13). A text of three bytes a list becomes thirty times
    its size; below a 40th of the limit nothing needs to be counted.

    Raises:
        TooManyValuesError: it could.
    """
    if len(raw) <= VALUE_BYTES // 40:
        return
    structure = len(raw) - len(raw.translate(None, b"{[,:"))
    if _width(raw) * len(raw) + 96 * structure > VALUE_BYTES:
        raise TooManyValuesError(
            f"{len(raw):,} bytes of JSON with {structure:,} signs of structure could take more "
            f"than {VALUE_BYTES >> 20} MiB"
        )


def _width(raw: bytes) -> int:
    """Return the most bytes that a byte of this text takes in memory (PEP 393).

    A single character beyond 16 bits makes every one of its string four bytes wide, and the
    standard library's parser has the text twice for a moment.
    """
    if raw.translate(None, _UP_TO_THREE_BYTES) or _SURROGATE.search(raw):
        return 6
    return 1 if raw.isascii() and b"\\u" not in raw else 2


def parse_json(raw: bytes) -> Any:
    """Parse UTF-8 JSON as RFC 8259 and FHIR define it, refusing what parsers read differently.

    Raises:
        TooManyValuesError: see :func:`check_values`.
        NotStrictError: not UTF-8, a byte order mark, duplicate keys, NaN, numbers out of range,
            lone surrogates, nesting too deep, anything after the end.
    """
    if raw[:3] == b"\xef\xbb\xbf":
        raise NotStrictError("it begins with a byte order mark")
    if not raw.strip():
        raise NotStrictError("it is empty")
    check_values(raw)
    try:
        fast = _fast(raw)
        return _exact(raw) if fast is None else fast[0]
    except UnicodeError as error:
        raise NotStrictError("it is not UTF-8") from error
    except RecursionError as error:
        raise NotStrictError("it is nested too deep") from error
    except NotStrictError:
        raise
    except ValueError as error:
        raise NotStrictError(_reason(error)) from None  # the parser's error holds the complete text


def _fast(raw: bytes) -> tuple[Any] | None:
    """Parse with orjson, where it is installed and its result is certain to be exact.

    orjson keeps the last of duplicate keys. Writing the value out again gives the same number of
    colons only if no key was dropped, as long as no colon is hidden in an escape.
    """
    if orjson is None or _COLON.search(raw):
        return None
    value = orjson.loads(raw)
    return (value,) if raw.count(b":") == orjson.dumps(value).count(b":") else None


def _exact(raw: bytes) -> Any:
    text = raw.decode("utf-8")
    value = json.loads(
        text,
        object_pairs_hook=_no_duplicates,
        parse_constant=_refuse,
        parse_float=_finite,
        parse_int=_integer,
    )
    if _SURROGATE.search(raw):
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises on a lone surrogate
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictError("a key occurs twice in one object")
    return members


def _refuse(constant: str) -> Any:
    raise NotStrictError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotStrictError("a number is out of range")
    return number


def _integer(digits: str) -> int | float:
    """Return an integer, or beyond 64 bits a float, as orjson does."""
    number = int(digits) if len(digits) <= 20 else 1 << 64
    return number if -(1 << 63) <= number < 1 << 64 else _finite(digits)


def _reason(error: ValueError) -> str:
    position = getattr(error, "pos", None)
    message = str(getattr(error, "msg", "it cannot be parsed"))[:80]
    return message if position is None else f"{message} at character {position}"
