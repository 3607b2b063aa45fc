"""A strict streaming reader of multipart/related (RFC 2046 5.1, PS3.18 8.7).

A study is complete only when its closing boundary came and every declared length agreed; that is
the one sign of a cut transfer where a server sends neither Content-Length nor chunks. Bytes pass
through as they come: memory does not grow with a part, and nothing is searched twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import IntegrityError, MalformedResponse

Chunk = bytes | memoryview
_PARAMETER = re.compile(r'(?:\s*;)+\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;"]*)')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_AFTER = re.compile(rb"[ \t]{0,128}\r\n|--[ \t]{0,128}(?:\r\n|(?P<end>\r?\Z))")
_LOOK_AHEAD = (2, 4, 2 + 128 + 2)  # no more than it takes, as the next byte may be long in coming
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class Limits:
    """Bytes before the first and after the last boundary, bytes and lines of a part's headers,
    and parts in all."""

    preamble: int = 64 * 1024
    epilogue: int = 64 * 1024
    header_bytes: int = 16 * 1024
    headers: int = 64
    parts: int = 200_000


class Part:
    """One part: its headers by lower-case name, and its bytes, which can be read once."""

    def __init__(self, headers: dict[str, str], chunks: Iterator[Chunk]) -> None:
        self.headers = headers
        self._chunks = chunks

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; empty where none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def chunks(self) -> Iterator[Chunk]:
        """The bytes as they come. A chunk may be a memoryview; none is changed afterwards.

        Raises:
            IntegrityError: the part is cut or not as long as it said.
        """
        return self._chunks


def media_type(value: str) -> tuple[str, dict[str, str]]:
    """A Content-Type as (type/subtype in lower case, parameters by lower-case name).

    Raises:
        MalformedResponse: not parsable to its end, or a parameter twice.
    """
    kind, semicolon, rest = value.partition(";")
    rest, at, found = semicolon + rest.rstrip(" \t;"), 0, dict[str, str]()
    while at < len(rest):
        match = _PARAMETER.match(rest, at)
        name = match[1].lower() if match else ""
        if match is None or name in found:
            raise MalformedResponse("The Content-Type cannot be read.")
        text = match[2]
        found[name] = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        at = match.end()
    return kind.strip().lower(), found


class Parts:
    """The parts of a body, one after the other; a part is finished when the next is asked for.

    Args:
        content_type: the Content-Type header, with its boundary.
        chunks: the body as it comes.

    Raises:
        MalformedResponse: no usable boundary, or headers that break the format or the limits.
        IntegrityError: the body ends before its closing boundary, or a part's length is wrong.
    """

    def __init__(
        self, content_type: str, chunks: Iterable[Chunk], limits: Limits | None = None
    ) -> None:
        boundary = media_type(content_type)[1].get("boundary", "")
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedResponse("The multipart answer has no usable boundary.")
        self._limits = limits or Limits()
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._chunks = iter(chunks)
        self._data = b"\r\n"  # so that a boundary at the very beginning looks like any other
        self._at = 0
        self._closed = False

    def __iter__(self) -> Iterator[Part]:
        self._skip(self._scanned(), self._limits.preamble, "first")
        count = 0
        while not self._closed:
            count += 1
            if count > self._limits.parts:
                raise MalformedResponse(f"More than {self._limits.parts:,} parts came.")
            headers = self._headers()
            length = self._length(headers)
            part = Part(
                {name: values[-1] for name, values in headers.items()},
                self._scanned() if length is None else self._counted(length),
            )
            yield part
            for _ in part.chunks():
                pass  # what the caller did not read must still be in order
        self._skip(self._rest(), self._limits.epilogue, "last")

    @staticmethod
    def _skip(chunks: Iterator[Chunk], limit: int, which: str) -> None:
        for chunk in chunks:
            limit -= len(chunk)
            if limit < 0:
                raise MalformedResponse(f"Too much stands beside the {which} boundary.")

    def _more(self) -> bool:
        """Add the next chunk to what is unread; False at the end of the body."""
        for chunk in self._chunks:
            if len(chunk):
                unread = self._data[self._at :]
                self._data, self._at = (unread + chunk) if unread else bytes(chunk), 0
                return True
        return False

    def _peek(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end of the body."""
        while len(self._data) - self._at < count and self._more():
            pass
        return self._data[self._at : self._at + count]

    def _take(self, end: int) -> memoryview:
        view = memoryview(self._data)[self._at : end]
        self._at += len(view)
        return view

    def _rest(self) -> Iterator[Chunk]:
        yield self._take(len(self._data))
        while self._more():
            yield self._take(len(self._data))

    def _boundary(self) -> bool:
        """Whether a boundary stands here; if so it is consumed."""
        size = len(self._delimiter)
        for ahead in _LOOK_AHEAD:
            here = self._peek(size + ahead)
            after = _AFTER.match(here, size) if here.startswith(self._delimiter) else None
            whole = len(here) < size + ahead  # the body ends here, so `end` means what it says
            if after is not None and (whole or after["end"] is None):
                self._closed = here[size : size + 2] == b"--"
                self._at += after.end()
                return True
        return False

    def _counted(self, length: int) -> Iterator[Chunk]:
        """The bytes of a part that says how long it is."""
        left = length
        while left:
            if self._at == len(self._data) and not self._more():
                raise IntegrityError(f"The transfer was cut: {left:,} bytes of a part are missing.")
            view = self._take(self._at + left)
            left -= len(view)
            yield view
        if not self._boundary():
            raise IntegrityError(f"A part is not the {length:,} bytes long that it says.")

    def _scanned(self) -> Iterator[Chunk]:
        """The bytes up to the next boundary."""
        while True:
            found = self._data.find(self._delimiter, self._at)
            if found < 0:  # the last few bytes may be the beginning of a boundary
                sure = len(self._data) - len(self._delimiter) + 1
                if sure > self._at:
                    yield self._take(sure)
                if not self._more():
                    raise IntegrityError("The transfer was cut: the closing boundary is missing.")
                continue
            if found > self._at:
                yield self._take(found)
            if self._boundary():
                return
            yield self._take(self._at + 2)  # bytes that only began like a boundary

    def _headers(self) -> dict[str, list[str]]:
        if self._peek(2) == b"\r\n":
            self._at += 2
            return {}
        limit, seen = self._limits.header_bytes, 0
        while (end := self._data.find(b"\r\n\r\n", self._at + seen)) < 0:
            unread = len(self._data) - self._at
            if unread > limit + 3:  # three bytes may be those of the empty line to come
                raise MalformedResponse("The headers of a part are too long.")
            seen = max(0, unread - 3)
            if not self._more():
                raise IntegrityError("The transfer was cut within the headers of a part.")
        if end - self._at > limit:
            raise MalformedResponse("The headers of a part are too long.")
        lines = bytes(self._take(end)).split(b"\r\n")
        self._at += 4
        if len(lines) > self._limits.headers:
            raise MalformedResponse("A part has too many headers.")
        headers: dict[str, list[str]] = {}
        for line in lines:
            match = _HEADER.fullmatch(line)
            if match is None:
                raise MalformedResponse("A header of a part cannot be read.")
            headers.setdefault(match[1].decode().lower(), []).append(match[2].decode("latin-1"))
        return headers

    @staticmethod
    def _length(headers: dict[str, list[str]]) -> int | None:
        values = headers.get("content-length")
        if values is None:
            return None
        if len(values) != 1 or not _LENGTH.fullmatch(values[0]):
            raise IntegrityError("A part states its length in a way that cannot be trusted.")
        return int(values[0])
