"""Text from files, made safe to show: nothing hidden, nothing that acts."""

from __future__ import annotations

import unicodedata
from typing import Any

# Categories that a screen does not show or that change what stands around them.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(value: Any, longest: int = 200) -> str:
    """``value`` as one line of visible text.

    Control characters (NUL and escapes), direction overrides, surrogates and unassigned
    code points are written as ``\\x00`` or ``\\u202e``, and the end is cut with "…".

    >>> print(plain("gnp" + chr(0x202E) + "exe", longest=5))
    gnp\\u202ee…
    """
    text = str(value)
    cut = text[:longest]
    shown = "".join(_shown(letter) for letter in cut)
    return shown + "…" if len(text) > longest else shown


def _shown(letter: str) -> str:
    if unicodedata.category(letter) not in _UNSEEN:
        return letter
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def count(number: int, one: str, many: str = "") -> str:
    """The number with its noun.

    >>> count(1, "slice"), count(3000, "slice"), count(2, "series", "series")
    ('1 slice', '3,000 slices', '2 series')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
