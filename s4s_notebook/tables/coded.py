"""Codes by what they are: which coding counts, NDC, ICD, type of bill.

Publishers change their URLs; types, systems and shapes of codes say what a value is all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .extract import codings, meaning

_NATIONAL = {
    "hcpcs": "hcpcs",
    "hcpcs_cd": "hcpcs",
    "index.html": "hcpcs",  # …/Medicare/Coding/MedHCPCSGenInfo/index.html
    "medhcpcsgeninfo": "hcpcs",
    "hcpcsreleasecodesets": "hcpcs",
    "cpt": "hcpcs",
    "urn:oid:2.16.840.1.113883.6.12": "hcpcs",
    "urn:oid:2.16.840.1.113883.6.285": "hcpcs",
    "ndc": "ndc",
    "urn:oid:2.16.840.1.113883.6.69": "ndc",
    "hippscodes": "hipps",
    "hipps": "hipps",
    "prospmedicarefeesvcpmtgen": "hipps",
    "cdt": "cdt",
    "revenuecodes": "revenue",
    "rev_cntr": "revenue",
    "clm_rev_cntr_cd": "revenue",
    "unitsofmeasure.org": "unit",
    "data_absent_reason": "absent",
    "icd_10": "icd10",
    "icd_10_cm": "icd10cm",
    "icd_10_pcs": "icd10pcs",
    "icd10": "icd10",
    "icd_9": "icd9",
    "icd9": "icd9",
    "icd_9_cm": "icd9",
    "urn:oid:2.16.840.1.113883.6.90": "icd10cm",
    "urn:oid:2.16.840.1.113883.6.4": "icd10pcs",
    "urn:oid:2.16.840.1.113883.6.103": "icd9",
    "urn:oid:2.16.840.1.113883.6.104": "icd9",
}
_HCPCS = re.compile(r"\d{4}[0-9A-Z]|[A-Z]\d{4}")
_ICD_10_FROM = "2015-10-01"


@lru_cache(1024)
def kind_of_system(system: str) -> str:
    """Return which national code system a URL stands for; empty for a local one."""
    return _NATIONAL.get(meaning(system), "")


def kind_of(coding: Mapping[str, Any]) -> str:
    """Return which national code system a coding is of; empty for a local one."""
    system = coding.get("system")
    return kind_of_system(system) if type(system) is str else ""


def is_hcpcs(code: Any) -> bool:
    """Return whether a code has the shape of CPT or HCPCS level II."""
    return type(code) is str and _HCPCS.fullmatch(code) is not None


def best(concept: Any, preferred: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Return the coding that counts: of a national system, else that the user selected, else first.

    Args:
        concept: a CodeableConcept of any shape.
        preferred: kinds of system that count before the other national ones.
    """
    found: Mapping[str, Any] = {}
    score = -1
    for coding in codings(concept):
        if coding.get("code") is None:
            continue
        kind = kind_of(coding)
        own = 8 if kind in preferred else 4 if kind else 0
        own += 1 if coding.get("userSelected") is True else 0
        if own > score and kind != "absent":
            found, score = coding, own
    return found


def is_masked(concept: Any) -> bool:
    """Return whether the payer hides a code on purpose."""
    extensions = objects(concept.get("extension")) if type(concept) is dict else []
    reasons = [e.get("valueCode") for e in extensions]
    reasons += [c.get("code") for c in codings(concept) if kind_of(c) == "absent"]
    return "masked" in reasons


# ---------------------------------------------------------------------------- drugs


def ndc_11(text: str) -> str | None:
    """Return a National Drug Code in eleven digits; None where it cannot be told.

    >>> ndc_11("0777-3105-02")
    '00777310502'
    """
    parts = [part.strip() for part in text.split("-")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    if len(parts) == 3 and [len(p) for p in parts] in ([4, 4, 2], [5, 3, 2], [5, 4, 1], [5, 4, 2]):
        code = parts[0].zfill(5) + parts[1].zfill(4) + parts[2].zfill(2)
    else:
        code = "".join(parts) if len(parts) == 1 else ""
    return code if len(code) == 11 and code.strip("0") else None


# ---------------------------------------------------------------------------- ICD and bills


class Icd(NamedTuple):
    """A code of the International Classification of Diseases."""

    code: str
    dotted: str
    version: int | None


def icd(coding: Mapping[str, Any], day: Any, procedure: bool) -> Icd | None:
    """Return a code without and with its dot, and its version.

    Args:
        coding: what holds the code.
        day: the discharge, or the last day of the claim, as text: where the system is silent.
        procedure: a procedure and not a diagnosis.
    """
    given = coding.get("code")
    if type(given) is not str or not given.strip():
        return None
    code = given.strip().upper().replace(".", "")
    kind = kind_of(coding)
    version: int | None = 9 if kind == "icd9" else 10 if kind.startswith("icd10") else None
    local = version is None and type(coding.get("system")) is str
    if version is None and not local and type(day) is str and len(day) >= 10:
        version = 10 if day[:10] >= _ICD_10_FROM else 9
    if version is None:
        return Icd(given if local else code, given if local else code, None)
    if procedure:
        after = 2 if version == 9 else len(code)
    else:
        after = 4 if version == 9 and code.startswith("E") else 3
    dotted = f"{code[:after]}.{code[after:]}" if len(code) > after else code
    return Icd(code, dotted, version)


def bill_type(texts: Iterable[Any]) -> str | None:
    """Return the type of bill in four characters from codes of three or four.

    A code of another length is handed on as it is.
    """
    known = [text for text in texts if type(text) is str and text]
    for text in known:
        if len(text) in {3, 4} and text[:2].isdigit():
            return text.zfill(4)
    return next((text for text in known if len(text) > 1), None)
