"""Redaction: no token, code, user name or patient id is ever shown of a request.

:func:`url` and :func:`text` make foreign text fit to be shown; :class:`Secret` holds a value that
is never shown: a token, client secret, PKCE verifier or code.
"""

from __future__ import annotations

import base64
import hmac
import html
import re
from collections.abc import Callable, Iterable
from typing import Any

# Parameters about the form of a request, not about a person.
_HARMLESS = {"_count", "_format", "_include", "_lastUpdated", "_sort", "_summary", "startIndex"}
_HARMLESS_VALUE = re.compile(r"[\w.:,*+%-]{0,64}", re.ASCII)
_PATIENT = re.compile(r"(?<![^/])Patient/(?!Patient/)[^/]+")
_PLAIN = re.compile(r"[\x21-\x7e]*")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*", re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]*)?", re.ASCII)
_SECRET = re.compile(
    r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"
    r"|\beyJ[\w-]+\.[\w-]*\.?[\w-]*"
    r"|\b(code|state|access_token|refresh_token|client_secret|token)\b(\"?\s*[=:]\s*\"?)[^\s\"&,;]+"
)


def url(address: str) -> str:
    """Return an address without userinfo and fragment; a patient's id and values become ``***``.

    Values of a few harmless parameters (``_count``, ``_lastUpdated``, ...) stay, so that a
    reader sees which page or update it was. What cannot be part of an address may be any words,
    and is hidden too.
    """
    base, _, query = address.partition("#")[0].partition("?")
    scheme, separator, rest = base.partition("://")
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    if separator:
        scheme = scheme if _SCHEME.fullmatch(scheme) else HIDDEN
        host = host if _HOST.fullmatch(host) else HIDDEN
        base = f"{scheme}://{host}{slash}{path}"
    elif not _PLAIN.fullmatch(base):
        base = HIDDEN
    redacted = text(_PATIENT.sub(f"Patient/{HIDDEN}", base), limit=300)
    return f"{redacted}?{'&'.join(_parameters(query))}" if query else redacted


def _parameters(query: str) -> Iterable[str]:
    for item in query.split("&")[:20]:
        name, _, value = item.partition("=")
        harmless = name in _HARMLESS and _HARMLESS_VALUE.fullmatch(value)
        yield f"{text(name, limit=40)}={value if harmless else '***'}"


def text(value: str, *, limit: int = 500) -> str:
    """Return foreign text fit to be shown.

    Args:
        value: any text.
        limit: the longest result, in characters.

    Returns:
        One line of printable characters.
    """
    value = value[: limit * 4]
    value = _SECRET.sub(_hide, value)
    value = "".join(c if c.isprintable() else " " for c in value)
    return value if len(value) <= limit else value[: limit - 1] + "…"


def _hide(match: re.Match[str]) -> str:
    scheme, name, equals = match.groups()
    return f"{scheme} ***" if scheme else f"{name}{equals}***" if name else "***"


HIDDEN = "***"
_PART = 6  # letters of a secret in a row that are hidden
_DRESS = re.compile(r"%([0-9A-Fa-f]{2})|&#x([0-9A-Fa-f]{1,6});|\\u([0-9A-Fa-f]{4})|(.)", re.DOTALL)


def holder_said(words: str, secrets: Iterable[Secret] = (), *, limit: int = 500) -> str:
    """Return a holder's words, escaped and cut, without the secrets that were sent to it.

    A secret is found as a part of six letters or more, percent-encoded, as base64 or hex, and
    with other signs or spaces between its letters; the words around it are hidden with it.

    >>> holder_said("no such code: s e c-r%65t<1>", [Secret("secret1")])
    'no such code: ***'
    """
    words = words[: limit * 8]
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    for match in _DRESS.finditer(words):
        code = next((group for group in match.groups()[:3] if group), None)
        letter = chr(min(int(code, 16), 0x10FFFF)) if code else match[4]
        if letter.isalnum():
            letters.append(letter.lower()[0])
            places.append(match.span())
    plain = "".join(letters)
    hidden = [False] * (len(words) + 1)
    for form in {form for secret in secrets for form in _forms(secret.reveal())}:
        width = min(_PART, len(form))
        for start in range(len(form) - width + 1):
            at = plain.find(form[start : start + width])
            while at >= 0:
                for place in range(places[at][0], places[at + width - 1][1]):
                    hidden[place] = True
                at = plain.find(form[start : start + width], at + 1)
    shown = "".join(
        HIDDEN if any(hidden[match.start() : match.end()]) else match[0]
        for match in re.finditer(r"\s+|\S+", words)
    )
    shown = re.sub(r"\*{3}(\s*\*{3})*", HIDDEN, shown)
    return html.escape(text(shown, limit=limit))


def _forms(value: str) -> Iterable[str]:
    """Yield the letters of a secret as they stand, and as base64 (at each offset) and hex."""
    raw = value.encode("utf-8", "surrogatepass")
    coded = [base64.b64encode(b"x" * offset + raw).decode()[2 * offset :] for offset in range(3)]
    for form in (value, value[::-1], raw.hex(), *coded):
        letters = "".join(c.lower()[0] for c in form if c.isalnum())
        if len(letters) >= 4:
            yield letters


class Secret:
    """Text that prints, pickles and formats as ``***``; only :meth:`reveal` returns it.

    The value lives in a closure, so neither ``vars``, nor a verbose traceback, nor a debugger's
    list of attributes holds it. ``json.dumps`` refuses it without ``default=str``. A pickled
    copy holds no more than ``***``.

    >>> token = Secret("abc")
    >>> token, f"{token}", token.reveal()
    (***, '***', 'abc')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """Return the value. Pass it on at once: a variable could show in a traceback."""
        return self._value()

    @classmethod
    def wrap(cls, value: Secret | str | None) -> Secret | None:
        """Return ``value`` as a Secret; None stays None."""
        return cls(value) if isinstance(value, str) else value

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (HIDDEN,)


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
