"""National Provider Identifiers and their kin: by an identifier's system and type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .extract import codings, meaning

_LUHN = 24  # what the prefix 80840 adds to the sum
_NPI_SYSTEMS = {"us_npi", "2.16.840.1.113883.4.6", "urn:oid:2.16.840.1.113883.4.6"}
_NPI_TYPES = {"npi", "01"}
_TAX_TYPES = {"tax", "ei", "tin", "ss", "en", "11"}
_TAX_SYSTEMS = ("113883.4.4", "113883.4.1", "us_ssn")
_NEVER_NPI = {"upin", "prn", "sl"}
_PAYERS = ("payerid", "naiccode")


class Numbers(NamedTuple):
    """What the identifiers of a provider state; None where there is nothing.

    Attributes:
        npi: National Provider Identifier.
        other: the first that is neither an NPI nor a tax id.
        payer: the same, with those of payers first.
    """

    npi: str | None = None
    other: str | None = None
    payer: str | None = None


_NOTHING = Numbers()


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


@lru_cache(1024)
def _kind(system: str, types: frozenset[str]) -> str:
    """Return what an identifier is: npi, tax, other; unstated without system and type."""
    if types & _TAX_TYPES or any(mark in system for mark in _TAX_SYSTEMS):
        return "tax"
    if types & _NEVER_NPI:
        return "other"
    if system in _NPI_SYSTEMS or types & _NPI_TYPES or "npi" in system.split("_"):
        return "npi"
    return "other" if system or types else "unstated"


def _types(identifier: Mapping[str, Any]) -> frozenset[str]:
    codes = (c.get("code") for c in codings(identifier.get("type")))
    return frozenset(meaning(code) for code in codes if type(code) is str)


_NO_TYPES: frozenset[str] = frozenset()


def _values(identifiers: Any) -> Iterator[tuple[str, frozenset[str], str]]:
    """Yield system, types and value of each identifier; zeros stand for none."""
    for identifier in objects(identifiers):
        value = identifier.get("value")
        if type(value) is str and value.strip("0 "):
            system = identifier.get("system")
            yield (
                meaning(system) if type(system) is str else "",
                _types(identifier) if "type" in identifier else _NO_TYPES,
                value.strip(),
            )


def numbers_of(identifiers: Any) -> Numbers:
    """Return what the identifiers of a provider state.

    One without system and type is an NPI if it has the form and the check digit of one.

    Args:
        identifiers: one Identifier or a list of them.
    """
    if identifiers is None:
        return _NOTHING
    npi = possible = other = None
    payers: dict[str, str] = {}
    for system, types, value in _values(identifiers):
        kind = _kind(system, types)
        if kind == "npi":
            npi = npi or value
        elif kind == "unstated" and value[0] in "12" and is_valid_npi(value):
            possible = possible or value
            continue
        if kind in {"other", "unstated"}:
            other = other or value
            for name in types or (system,):
                payers.setdefault(name, value)
    payer = next((payers[name] for name in _PAYERS if name in payers), other)
    return Numbers(npi or possible, other, payer)


def number_of(identifiers: Any, *names: str) -> str | None:
    """Return the first identifier whose type or system has one of these names."""
    for system, types, value in _values(identifiers):
        if types & set(names) or system in names:
            return value
    return None
