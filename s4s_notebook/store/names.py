"""File names that a person can read and that no file system misreads."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

_LONGEST = 96
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str) -> str:
    """Return a file name for a text: itself where that is safe, else escaped, with a hash.

    ``/`` is written ``+`` and ``:`` is written ``=``; all else outside ``A-Za-z0-9._-`` is
    percent-encoded. Capitals, long, reserved and dotted names get a hash of the complete text, so
    that no two texts share a name, not even where ``A`` and ``a`` are the same file.

    >>> safe_name("smart-1288992")
    'smart-1288992'
    >>> safe_name("https://holder.example/fhir")
    'https=++holder.example+fhir'
    >>> safe_name("../../etc") != safe_name("etc")
    True
    """
    name = quote(text, safe="", errors="surrogatepass").replace("~", "%7E")
    name = name.replace("%2F", "+").replace("%3A", "=")
    plain = (
        0 < len(name) <= _LONGEST
        and name == name.lower().replace("%7e", "%7E")
        and name[0] not in ".+"
        and name[-1] != "."
        and not _RESERVED.fullmatch(name)
    )
    if plain:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: _LONGEST - 18].strip('.') or 'x'}~{digest}"
