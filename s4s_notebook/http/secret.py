"""A value that is never shown: tokens, client secrets, PKCE verifiers, codes."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

HIDDEN = "***"


class Secret:
    """Text that prints, pickles and formats as ``***``; only :meth:`reveal` gives it out.

    The value lives in a closure, so neither ``vars``, nor a verbose traceback, nor a debugger's
    list of attributes holds it. ``json.dumps`` refuses it unless told ``default=str``. A pickled
    copy holds no more than ``***``.

    >>> token = Secret("abc")
    >>> token, f"{token}", token.reveal()
    (***, '***', 'abc')
    """

    __slots__ = ("_give",)

    def __init__(self, value: str) -> None:
        self._give: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """The value itself. Hand it on at once: a name for it could show in a traceback."""
        return self._give()

    @classmethod
    def wrap(cls, value: Secret | str | None) -> Secret | None:
        """``value`` as a Secret; None stays None."""
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
