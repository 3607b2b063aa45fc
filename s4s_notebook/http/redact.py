"""Redaction: no token, code, user name or patient id is ever shown of a request.

:func:`url` and :func:`text` make foreign text fit to be shown; :class:`Secret` holds a value that
is never shown: a token, client secret, PKCE verifier or code.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any

# Parameters about the form of a request, not about a person.
_HARMLESS = {"_count", "_format", "_include", "_lastUpdated", "_sort", "_summary", "startIndex"}
_HARMLESS_VALUE = re.compile(r"[\w.:,*+%-]{0,64}", re.ASCII)
_SECRET = re.compile(
    r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"
    r"|\beyJ[\w-]+\.[\w-]*\.?[\w-]*"
    r"|\b(code|state|access_token|refresh_token|client_secret|token)\b(\"?\s*[=:]\s*\"?)[^\s\"&,;]+"
)


def url(address: str) -> str:
    """Return an address without userinfo and fragment, with query values replaced by ``***``.

    Values of a few harmless parameters (``_count``, ``_lastUpdated``, ...) stay, so that a
    reader sees which page or update it was.
    """
    base, _, query = address.partition("#")[0].partition("?")
    scheme, separator, rest = base.partition("://")
    if separator:
        host, slash, path = rest.partition("/")
        base = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    redacted = text(base, limit=300)
    return f"{redacted}?{'&'.join(_parameters(query))}" if query else redacted


def _parameters(query: str) -> Iterable[str]:
    for item in query.split("&")[:20]:
        name, _, value = item.partition("=")
        harmless = name in _HARMLESS and _HARMLESS_VALUE.fullmatch(value)
        yield f"{text(name, limit=40)}={value if harmless else '***'}"


def text(value: str, *, limit: int = 500, secrets: Iterable[str] = ()) -> str:
    """Return foreign text fit to be shown.

    Args:
        value: any text.
        limit: the longest result, in characters.
        secrets: values to hide, besides whatever looks like a secret.

    Returns:
        One line of printable characters.
    """
    value = value[: limit * 4]
    for secret in secrets:
        value = value.replace(secret, "***")
    value = _SECRET.sub(_hide, value)
    value = "".join(c if c.isprintable() else " " for c in value)
    return value if len(value) <= limit else value[: limit - 1] + "…"


def _hide(match: re.Match[str]) -> str:
    scheme, name, equals = match.groups()
    return f"{scheme} ***" if scheme else f"{name}{equals}***" if name else "***"


HIDDEN = "***"


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
