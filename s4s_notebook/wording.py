"""Text for people: safe to show, short, and the same in every message and panel."""

from __future__ import annotations

import unicodedata

# Categories that a screen does not show, or that change the text around them.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def safe_text(value: object, limit: int = 300) -> str:
    r"""Return ``value`` as one line of visible text, cut with "…" to at most ``limit`` letters.

    Control and format characters (ANSI escapes, direction overrides, NUL, lone surrogates,
    unassigned code points) come out as ``\u202e``: a holder's text reaches terminals and saved
    notebooks, where they would act.

    >>> print(safe_text("gnp" + chr(0x202E) + "exe", limit=5))
    gnp\u202e…
    """
    line = " ".join(str(value).split())
    cut = line if len(line) <= limit else line[: limit - 1] + "…"
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSEEN else c for c in cut)


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return the number with its noun.

    >>> count(1, "slice"), count(3000, "slice"), count(2, "series", "series")
    ('1 slice', '3,000 slices', '2 series')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: float) -> str:
    """Return bytes as ``31.5 MB`` (decimal, as disks and browsers count)."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def clock(seconds: float) -> str:
    """Return seconds as ``4:32`` or ``1:04:32``, rounded up: a countdown is never early."""
    total = max(0, -int(-seconds // 1))
    hours, rest = divmod(total, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
