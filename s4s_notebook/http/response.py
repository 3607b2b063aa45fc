"""What came back: a whole reply or a stream, with typed errors for what is not success."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .. import errors
from . import backend as network
from . import redact
from .redact import Secret
from .retry_after import parse_date
from .watch import ConnectionBroken


class HeaderMap(dict[str, str]):
    """Headers by lower-case name; several of one name are joined, :meth:`get_all` keeps them."""

    def __init__(self, raw: network.Headers) -> None:
        self._all: dict[str, list[str]] = {}
        for name, value in raw:
            self._all.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        super().__init__({name: ", ".join(values) for name, values in self._all.items()})

    def get_all(self, name: str) -> list[str]:
        return self._all.get(name.lower(), [])


class Response:
    """A whole answer.

    Attributes:
        status: HTTP status. headers: by lower-case name. url: where it came from, not redacted.
        body: decoded bytes. date: the holder's clock as POSIX seconds, or None.
        request: the call, safe to show.
    """

    def __init__(
        self,
        status: int,
        headers: HeaderMap,
        url: str,
        body: bytes,
        date: float | None,
        request: errors.Request,
        bearer: Secret | None = None,
    ) -> None:
        self.status, self.headers, self.url = status, headers, url
        self.body, self.date, self.request = body, date, request
        self._bearer = bearer

    def __repr__(self) -> str:
        return f"<Response {self.request}, {len(self.body)} bytes>"

    def json(self) -> Any:
        """The body as JSON, parsed strictly. Raises :class:`MalformedResponse`."""
        try:
            return parse_json(self.body)
        except NotStrictError as error:
            markup = self.body.lstrip()[:1] == b"<"
            what = "a page (HTML or XML)" if markup else f"no JSON: {error}"
            raise errors.MalformedResponse(
                f"The holder answered with {what}.", request=self.request
            ) from error

    def checked(self) -> Response:
        """This reply if its status is 2xx; otherwise raises the error that fits the status."""
        if 200 <= self.status < 300:
            return self
        raise error_for(self.request, self.body, self._bearer)


class ResponseStream:
    """An answer whose body is read in pieces."""

    def __init__(
        self, answer: network.Answer, headers: HeaderMap, url: str, request: errors.Request
    ) -> None:
        self.status, self.headers, self.url, self.request = answer.status, headers, url, request
        self._answer = answer

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, up to 64 KiB at a time.

        Raises:
            IntegrityError: the connection ended before the body did.
            Stalled, Cancelled: nothing or too little came; somebody pressed Cancel.
        """
        try:
            yield from self._answer.chunks()
        except ConnectionBroken as error:
            raise errors.IntegrityError(
                f"The transfer was cut: {error}.", request=self.request
            ) from error
        except errors.S4SError as error:
            error.request = error.request or self.request
            raise


def check_length(headers: HeaderMap) -> None:
    """Refuse an answer whose end two readers could see in two places (RFC 9112 6.3)."""
    if "transfer-encoding" in headers and "content-length" in headers:
        raise errors.MalformedResponse("The answer states two different lengths.")


def check_encoding(headers: HeaderMap, *asked: str) -> str:
    """The content encoding if it was asked for; raises MalformedResponse otherwise."""
    coding = headers.get("content-encoding", "").strip().lower() or "identity"
    if coding not in ("identity", *asked):
        shown = redact.text(coding, limit=40)
        raise errors.MalformedResponse(f"The answer is encoded as {shown!r}, unasked.")
    return coding


def read_body(answer: network.Answer, headers: HeaderMap, max_bytes: int) -> bytes:
    """The whole body, unpacked, at most ``max_bytes`` of it.

    Raises:
        MalformedResponse: larger, or encoded in a way that was not asked for.
        IntegrityError: gzip that is cut or damaged.
    """
    chunks: Iterable[bytes] = answer.chunks()
    if check_encoding(headers, "gzip") == "gzip":
        chunks = _gunzip(chunks)
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise errors.MalformedResponse(f"The answer is larger than {max_bytes:,} bytes.")
    return bytes(body)


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack one gzip member in bounded steps; its trailer (CRC and length) must be there."""
    unpack = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if unpack.eof:
                    raise errors.IntegrityError("Bytes follow the end of the gzip data.")
                yield unpack.decompress(data, 1 << 18)
                data = unpack.unconsumed_tail or unpack.unused_data
    except zlib.error as error:
        raise errors.IntegrityError("The gzip data is damaged.") from error
    if not unpack.eof:
        raise errors.IntegrityError("The gzip data is cut.")


def date_of(headers: HeaderMap, now: float) -> float | None:
    return parse_date(headers.get("date", "").strip(), now=now)


def error_for(request: errors.Request, body: bytes, bearer: Secret | None) -> errors.S4SError:
    """The error that a status means."""
    status = request.status or 0
    details = _diagnostics(body, bearer)
    said = f" It says: {details}" if details else ""
    if status == 401 and bearer:
        return errors.ReauthorizationRequired(
            f"The holder no longer accepts the approval.{said}", request=request
        )
    if status == 401:
        return errors.AuthorizationRequired(f"The holder asks to sign in.{said}", request=request)
    if status in (408, 429, 502, 503, 504):
        return errors.HolderUnavailable(f"The holder cannot answer now.{said}", request=request)
    kinds: dict[int, tuple[type[errors.HTTPStatusError], str]] = {
        403: (errors.Forbidden, "The holder forbids this."),
        404: (errors.NotFound, "The holder does not know this."),
        410: (errors.NotFound, "The holder has this no longer."),
    }
    other = f"The holder answered with status {status}."
    if 300 <= status < 400:
        other = f"The holder answered with a redirect ({status}) that is not followed."
    kind, problem = kinds.get(status, (errors.HTTPStatusError, other))
    return kind(f"{problem}{said}", request=request, details=details)


def _diagnostics(body: bytes, bearer: Secret | None) -> str:
    """What an OperationOutcome (or an OAuth error) says, fit to be shown."""
    try:
        said = parse_json(body)
    except NotStrictError:
        return ""
    if not isinstance(said, dict):
        return ""
    found = [said.get(key) for key in ("error", "error_description", "description")]
    issues = said.get("issue")
    for issue in issues if isinstance(issues, list) else []:
        if isinstance(issue, dict):
            details = issue.get("details")
            text = details.get("text") if isinstance(details, dict) else None
            found.append(issue.get("diagnostics") or text or issue.get("code"))
    text = "; ".join(f for f in found if isinstance(f, str))
    return redact.text(text, secrets=[bearer.reveal()] if bearer else [])


def encode_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


orjson = import_module("orjson") if find_spec("orjson") else None

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_COLON = re.compile(rb"\\u003[aA]")


class NotStrictError(ValueError):
    """The text is no strict JSON; the message says why, without the text."""


def parse_json(raw: bytes) -> Any:
    """Parse UTF-8 JSON.

    Raises:
        NotStrictError: not UTF-8, a byte order mark, duplicate keys, NaN, numbers out of range,
            lone surrogates, nesting too deep, anything after the end.
    """
    if raw[:3] == b"\xef\xbb\xbf":
        raise NotStrictError("it begins with a byte order mark")
    if not raw.strip():
        raise NotStrictError("it is empty")
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
        raise NotStrictError(_why(error)) from None  # the parser's error holds the whole text


def _fast(raw: bytes) -> tuple[Any] | None:
    """orjson, where it is installed and its answer is certain to be the exact one.

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
        parse_int=_whole,
    )
    if _SURROGATE.search(raw):
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises on a lone surrogate
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictError("a key stands twice in one object")
    return found


def _refuse(constant: str) -> Any:
    raise NotStrictError(f"{constant} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotStrictError("a number is out of range")
    return number


def _whole(digits: str) -> int | float:
    """An integer, or beyond 64 bits a float, as orjson has it."""
    number = int(digits) if len(digits) <= 20 else 1 << 64
    return number if -(1 << 63) <= number < 1 << 64 else _finite(digits)


def _why(error: ValueError) -> str:
    place = getattr(error, "pos", None)
    what = str(getattr(error, "msg", "it cannot be parsed"))[:80]
    return what if place is None else f"{what} at character {place}"
