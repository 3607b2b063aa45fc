"""Text for people: safe to show, short, the same in every panel."""

from __future__ import annotations

import unicodedata

from ..imaging.words import count as counted

__all__ = ["clock", "counted", "shown", "size"]


def shown(text: object, limit: int = 300) -> str:
    """Return ``text`` on one line, without characters that hide or turn other text.

    Control and format characters (ANSI escapes, RTL overrides, NUL, lone surrogates) come
    out as ``\\u202e``: a holder's text reaches terminals and saved notebooks, where they act.
    """
    flat = " ".join(str(text).split())
    cut = flat if len(flat) <= limit else flat[: limit - 1] + "…"
    return "".join(
        f"\\u{ord(mark):04x}" if unicodedata.category(mark) in {"Cc", "Cf", "Cs"} else mark
        for mark in cut
    )


def size(count: float) -> str:
    """Return bytes as ``31.5 MB`` (decimal, as disks and browsers count)."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def clock(seconds: float) -> str:
    """Return seconds as ``4:32`` or ``1:04:32``, rounded up: a countdown is never early."""
    whole = max(0, -int(-seconds // 1))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
