"""Answers to script a FaultServer with: right ones, and every wrong one of the catalogue."""

from __future__ import annotations

import json as _json
from collections.abc import Iterable
from typing import Any

from .server import Conversation, Script

MULTIPART = 'multipart/related; type="application/dicom"; boundary=b0undary'


def head(status: int, headers: dict[str, Any] | Iterable[tuple[str, Any]] = ()) -> bytes:
    pairs = headers.items() if isinstance(headers, dict) else headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode("latin-1")


def frame(body: bytes, framing: str) -> tuple[dict[str, str], bytes]:
    """Headers and bytes of a body framed by length, by chunks of 1,000, or by the close."""
    if framing == "length":
        return {"Content-Length": str(len(body))}, body
    if framing == "close":
        return {"Connection": "close"}, body
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
    return {"Transfer-Encoding": "chunked"}, chunks


def reply(
    status: int = 200, body: bytes = b"", framing: str = "length", keep: bool = True, **more: str
) -> Script:
    """A well-formed answer; `more` are headers with `_` for `-`."""

    def script(talk: Conversation) -> None:
        headers, framed = frame(body, framing)
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        talk.send(head(status, headers) + framed)
        talk.keep = keep and framing != "close"

    return script


def json(value: Any, status: int = 200, **more: str) -> Script:
    more.setdefault("Content_Type", "application/fhir+json")
    return reply(status, _json.dumps(value).encode(), **more)


def later(*values: str, status: int = 503, **more: str) -> Script:
    """ "Come back later", with that many Retry-After headers."""

    def script(talk: Conversation) -> None:
        pairs = [("Retry-After", value) for value in values]
        pairs += [(name.replace("_", "-"), value) for name, value in more.items()]
        talk.send(head(status, [*pairs, ("Content-Length", "4")]) + b"busy")
        talk.keep = True

    return script


def redirect(location: str, status: int = 302) -> Script:
    return reply(status, Location=location)


def cut(whole: bytes, at: int, reset: bool = False) -> Script:
    """The first `at` bytes, then the end of the connection."""

    def script(talk: Conversation) -> None:
        talk.send(whole[:at])
        if reset:
            talk.pause(0.05)  # a reset would otherwise take the bytes with it
            talk.reset()

    return script


def drip(first: bytes, piece: bytes, every: float) -> Script:
    """`first`, then one piece after the other, for ever."""

    def script(talk: Conversation) -> None:
        talk.send(first)
        while True:
            talk.pause(every)
            talk.send(piece)

    return script


def stall(first: bytes = b"") -> Script:
    """`first`, then nothing, for ever."""

    def script(talk: Conversation) -> None:
        if first:
            talk.send(first)
        while True:
            talk.pause(60)

    return script


def flood(first: bytes, piece: bytes, limit: int) -> Script:
    """`first`, then `piece` as fast as it goes, until `limit` bytes."""

    def script(talk: Conversation) -> None:
        talk.send(first)
        for _ in range(limit // len(piece)):
            talk.send(piece)

    return script


def multipart(
    parts: Iterable[bytes],
    *,
    boundary: bytes = b"b0undary",
    lengths: bool = True,
    kind: bytes = b"application/dicom",
) -> bytes:
    """A multipart body in proper form."""
    out = b""
    for part in parts:
        length = b"Content-Length: %d\r\n" % len(part) if lengths else b""
        out += b"--%b\r\nContent-Type: %b\r\n%b\r\n%b\r\n" % (boundary, kind, length, part)
    return out + b"--%b--\r\n" % boundary


def study(parts: Iterable[bytes], framing: str = "length", **how: Any) -> Script:
    """A study as a WADO-RS server sends it."""
    return reply(200, multipart(parts, **how), framing, Content_Type=MULTIPART)
