"""National Provider Identifiers and their kin: by an identifier's system and type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..fhir.resources import objects
from .extract import codings, meaning

_LUHN = 24  # what the prefix 80840 adds to the sum
_NPI_SYSTEMS = {"us_npi", "2.16.840.1.113883.4.6", "urn:oid:2.16.840.1.113883.4.6"}
_NPI_TYPES = {"npi", "01"}
_NEVER = {"tax", "ei", "tin", "ss", "upin", "prn", "sl", "en", "11"}
_NEVER_SYSTEMS = ("113883.4.4", "113883.4.1", "us_ssn")


def is_valid_npi(npi: str | None) -> bool | None:
    """Return whether the check digit is right (Luhn with the prefix 80840); None for none.

    >>> is_valid_npi("1234567893")
    True
    """
    if npi is None:
        return None
    if len(npi) != 10 or not npi.isascii() or not npi.isdigit():
        return False
    doubled = [int(d) * (2 - place % 2) for place, d in enumerate(npi)]
    return (sum(n // 10 + n % 10 for n in doubled) + _LUHN) % 10 == 0


def _types(identifier: Mapping[str, Any]) -> set[str]:
    codes = (c.get("code") for c in codings(identifier.get("type")))
    return {meaning(code) for code in codes if type(code) is str}


def _system(identifier: Mapping[str, Any]) -> str:
    system = identifier.get("system")
    return meaning(system) if type(system) is str else ""


def _values(identifiers: Any) -> Iterator[tuple[str, set[str], str]]:
    """Yield system, types and value of each identifier."""
    for identifier in objects(identifiers):
        value = identifier.get("value")
        if type(value) is str and value.strip("0 "):
            yield _system(identifier), _types(identifier), value.strip()


def npi_of(identifiers: Any, *, undeclared: bool = False) -> str | None:
    """Return the NPI among the identifiers of a provider.

    Args:
        identifiers: one Identifier or a list of them.
        undeclared: whether one without system and type may be an NPI, if its check digit is right.
    """
    possible = None
    for system, types, value in _values(identifiers):
        if types & _NEVER or any(mark in system for mark in _NEVER_SYSTEMS):
            continue
        if system in _NPI_SYSTEMS or types & _NPI_TYPES or "npi" in system.split("_"):
            return value
        if undeclared and not system and not types and value[0] in "12" and is_valid_npi(value):
            possible = possible or value
    return possible


def number_of(identifiers: Any, *names: str) -> str | None:
    """Return the first identifier whose type or system has one of these names."""
    for system, types, value in _values(identifiers):
        if types & set(names) or system in names:
            return value
    return None


def other_id(identifiers: Any, *preferred: str) -> str | None:
    """Return an identifier that is neither an NPI nor a tax id; preferred ones first."""
    others = [
        (system, types, value)
        for system, types, value in _values(identifiers)
        if not (types & (_NEVER - {"prn", "upin", "sl", "en"}))
        and not any(mark in system for mark in _NEVER_SYSTEMS)
        and not (system in _NPI_SYSTEMS or types & _NPI_TYPES or "npi" in system.split("_"))
    ]
    for name in preferred:
        for system, types, value in others:
            if name in types or name == system:
                return value
    return others[0][2] if others else None
