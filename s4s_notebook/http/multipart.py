"""A strict streaming parser of multipart/related (RFC 2046 section 5.1, PS3.18 section 8.7).

A study is complete only when its closing boundary arrived and every declared length agreed: the
only sign of a cut transfer where a server sends neither Content-Length nor chunks. Bytes pass
through as they arrive: memory does not grow with a part, and nothing is searched twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ..errors import IntegrityError, MalformedResponse

Chunk = bytes | memoryview
_PARAMETER = re.compile(r'(?:\s*;)+\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;"]*)')
_SECTION = re.compile(r"([^*]+)(?:\*(0|[1-9][0-9]?))?(\*?)", re.ASCII)
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", re.ASCII)
_AFTER = re.compile(rb"[ \t]{0,128}\r\n|--[ \t]{0,128}(?:\r\n|(?P<end>\r?\Z))")
_LOOK_AHEAD = (2, 4, 2 + 128 + 2)  # bytes; as few as possible, as the next may come late
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_FOLD = re.compile(rb"\r\n[ \t]+")  # RFC 822: a header may go on in the next line
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class MultipartLimits:
    """Limits of a multipart body.

    Attributes:
        preamble: bytes before the first boundary.
        epilogue: bytes after the last boundary.
        header_bytes: bytes of a part's headers.
        headers: lines of a part's headers.
        parts: parts in all.
    """

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
        """Return the bytes as they arrive. A chunk may be a memoryview; none changes afterwards.

        Raises:
            IntegrityError: the part is cut or not of its declared length.
        """
        return self._chunks


def media_type(value: str) -> tuple[str, dict[str, str]]:
    """Return a Content-Type as (type/subtype in lower case, parameters by lower-case name).

    Raises:
        MalformedResponse: not parsable to its end, or a parameter twice.
    """
    kind, semicolon, rest = value.partition(";")
    rest, position, parameters = semicolon + rest.rstrip(" \t;"), 0, dict[str, str]()
    while position < len(rest):
        match = _PARAMETER.match(rest, position)
        name = match[1].lower() if match else ""
        if match is None or name in parameters:
            raise MalformedResponse("The Content-Type cannot be read.")
        text = match[2]
        parameters[name] = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        position = match.end()
    return kind.strip().lower(), _joined(parameters)


def _joined(parameters: dict[str, str]) -> dict[str, str]:
    """Return parameters with ``name*`` decoded and ``name*0``, ``name*1*`` joined (RFC 2231)."""
    plain = {name: text for name, text in parameters.items() if "*" not in name}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, text in parameters.items():
        if name in plain:
            continue
        match = _SECTION.fullmatch(name)
        number = int(match[2] or 0) if match else 0
        if match is None or number in sections.setdefault(match[1], {}):
            raise MalformedResponse("The Content-Type cannot be read.")
        sections[match[1]][number] = (text, bool(match[3]))
    for name, numbered in sections.items():
        if sorted(numbered) != list(range(len(numbered))):
            raise MalformedResponse("The Content-Type lacks a section of a parameter.")
        text = _decoded([numbered[number] for number in sorted(numbered)])
        if plain.setdefault(name, text) != text:
            raise MalformedResponse("The Content-Type has a parameter with two values.")
    return plain


def _decoded(sections: list[tuple[str, bool]]) -> str:
    """Return the text of the sections of a parameter; those marked are percent-encoded."""
    first, encoded = sections[0]
    charset = "us-ascii"
    if encoded:
        charset, quote, first = first.partition("'")
        _, second_quote, first = first.partition("'")
        if not (quote and second_quote):
            raise MalformedResponse("The Content-Type cannot be read.")
    octets = b"".join(
        unquote_to_bytes(text) if marked else text.encode("utf-8", "replace")
        for text, marked in [(first, encoded), *sections[1:]]
    )
    try:
        return octets.decode(charset or "us-ascii")
    except (LookupError, ValueError) as error:
        raise MalformedResponse("The Content-Type cannot be read.") from error


class Parts:
    """The parts of a body in order; a part ends when the next is requested.

    Args:
        content_type: the Content-Type header, with its boundary.
        chunks: the body as it arrives.
        limits: of the body.

    Raises:
        MalformedResponse: no usable boundary, or headers that break the format or the limits.
        IntegrityError: the body ends before its closing boundary, or a part's length is wrong.
    """

    def __init__(
        self, content_type: str, chunks: Iterable[Chunk], limits: MultipartLimits | None = None
    ) -> None:
        boundary = media_type(content_type)[1].get("boundary", "")
        if not _BOUNDARY.fullmatch(boundary):
            raise MalformedResponse("The multipart answer has no usable boundary.")
        self._limits = limits or MultipartLimits()
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._chunks = iter(chunks)
        self._data = b"\r\n"  # so that a boundary at the very beginning looks like any other
        self._position = 0
        self._closed = False

    def __iter__(self) -> Iterator[Part]:
        self._skip(self._scanned(), self._limits.preamble, "first")
        count = 0
        while not self._closed:
            count += 1
            if count > self._limits.parts:
                raise MalformedResponse(f"More than {self._limits.parts:,} parts arrived.")
            headers = self._headers()
            length = self._length(headers)
            part = Part(
                {name: values[-1] for name, values in headers.items()},
                self._scanned() if length is None else self._counted(length),
            )
            yield part
            for _ in part.chunks():
                pass  # what the caller did not read must be well-formed too
        self._skip(self._rest(), self._limits.epilogue, "last")

    @staticmethod
    def _skip(chunks: Iterator[Chunk], limit: int, which: str) -> None:
        for chunk in chunks:
            limit -= len(chunk)
            if limit < 0:
                raise MalformedResponse(f"Too many bytes beside the {which} boundary.")

    def _more(self) -> bool:
        """Append the next chunk to the unread bytes; return False at the end of the body."""
        for chunk in self._chunks:
            if len(chunk):
                unread = self._data[self._position :]
                self._data, self._position = (unread + chunk) if unread else bytes(chunk), 0
                return True
        return False

    def _peek(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer only at the end of the body."""
        while len(self._data) - self._position < count and self._more():
            pass
        return self._data[self._position : self._position + count]

    def _take(self, end: int) -> memoryview:
        view = memoryview(self._data)[self._position : end]
        self._position += len(view)
        return view

    def _rest(self) -> Iterator[Chunk]:
        yield self._take(len(self._data))
        while self._more():
            yield self._take(len(self._data))

    def _boundary(self) -> bool:
        """Consume a boundary at the current position; return whether there was one."""
        size = len(self._delimiter)
        for ahead in _LOOK_AHEAD:
            data = self._peek(size + ahead)
            after = _AFTER.match(data, size) if data.startswith(self._delimiter) else None
            at_end = len(data) < size + ahead  # only there does `end` mean the end of the body
            if after is not None and (at_end or after["end"] is None):
                self._closed = data[size : size + 2] == b"--"
                self._position += after.end()
                return True
        return False

    def _counted(self, length: int) -> Iterator[Chunk]:
        """Yield the bytes of a part with a declared length."""
        remaining = length
        while remaining:
            if self._position == len(self._data) and not self._more():
                raise IntegrityError(
                    f"The transfer was cut: {remaining:,} bytes of a part are missing."
                )
            view = self._take(self._position + remaining)
            remaining -= len(view)
            yield view
        if not self._boundary():
            raise IntegrityError(f"A part does not have its declared length of {length:,} bytes.")

    def _scanned(self) -> Iterator[Chunk]:
        """Yield the bytes up to the next boundary."""
        while True:
            start = self._data.find(self._delimiter, self._position)
            if start < 0:  # the last few bytes may be the beginning of a boundary
                certain = len(self._data) - len(self._delimiter) + 1
                if certain > self._position:
                    yield self._take(certain)
                if not self._more():
                    raise IntegrityError("The transfer was cut: the closing boundary is missing.")
                continue
            if start > self._position:
                yield self._take(start)
            if self._boundary():
                return
            yield self._take(self._position + 2)  # bytes that only began like a boundary

    def _headers(self) -> dict[str, list[str]]:
        if self._peek(2) == b"\r\n":
            self._position += 2
            return {}
        limit, searched = self._limits.header_bytes, 0
        while (end := self._data.find(b"\r\n\r\n", self._position + searched)) < 0:
            unread = len(self._data) - self._position
            if unread > limit + 3:  # three bytes may be those of the empty line to come
                raise MalformedResponse("The headers of a part are too long.")
            searched = max(0, unread - 3)
            if not self._more():
                raise IntegrityError("The transfer was cut within the headers of a part.")
        if end - self._position > limit:
            raise MalformedResponse("The headers of a part are too long.")
        block = bytes(self._take(end))
        self._position += 4
        if block.count(b"\r\n") >= self._limits.headers:
            raise MalformedResponse("A part has too many headers.")
        headers: dict[str, list[str]] = {}
        for line in _FOLD.sub(b" ", block).split(b"\r\n"):
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
