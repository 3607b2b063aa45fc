"""JSON as RFC 8259 and FHIR mean it, and nothing that two parsers would read in two ways."""

from __future__ import annotations

import json
import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any

orjson = import_module("orjson") if find_spec("orjson") else None

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_COLON = re.compile(rb"\\u003[aA]")


class NotStrictError(ValueError):
    """The text is no strict JSON; the message says why, without the text."""


def loads(raw: bytes) -> Any:
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
