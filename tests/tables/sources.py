"""The real resources beside the checkout, by source, and what goes wrong in reading them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def documents(folder: Path) -> Iterator[Any]:
    """Every JSON document of one source; files that are no JSON are left out, on purpose."""
    for path in sorted(folder.iterdir()):
        try:
            text = path.read_bytes().decode("utf-8-sig")
            lines = text.splitlines() if path.suffix == ".ndjson" else [text]
            yield from [json.loads(_plain(line)) for line in lines if line.strip()]
        except ValueError:
            assert path.name in NOT_JSON, path


NOT_JSON = {"ab2d_DME-Claims_invalid.json", "bcda_corrupt_gz_file.ndjson"} | {
    "dpc_eob_-20000000001809.xml"
}


def _plain(text: str) -> str:
    """The SMART example has comments in its JSON."""
    return re.sub(r"\s//[^\n]*", "", text) if "// May be" in text else text


def resources(document: Any) -> Iterator[dict[str, Any]]:
    """The resources within a document, found without the code under test."""
    if isinstance(document, dict) and isinstance(document.get("resource"), dict):
        yield from resources(document["resource"])
    elif isinstance(document, dict) and document.get("resourceType") == "Bundle":
        entries = document.get("entry")
        for entry in entries if isinstance(entries, list) else ():
            yield from resources(entry)
    elif isinstance(document, dict) and "resourceType" in document:
        yield document


def read(folder: Path) -> list[dict[str, Any]]:
    """All resources of one source."""
    return [one for document in documents(folder) for one in resources(document)]
