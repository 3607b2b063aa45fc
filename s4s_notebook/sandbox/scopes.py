"""SMART scopes of both versions: which the holder supports, and which access each grants.

A scope of version 1 ends in ``.read``; one of version 2 in some of the letters ``cruds``, of which
the sandbox grants ``r`` (read by id) and ``s`` (search).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

# The resource types that a person chooses from, in the order of the consent page.
CHOICES = ("ImagingStudy", "ExplanationOfBenefit", "Coverage", "Patient")
# Types that come with a chosen one: the resources that it refers to.
COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "Endpoint": ("ImagingStudy",),
    "Practitioner": ("ExplanationOfBenefit",),
    "Organization": ("ExplanationOfBenefit", "Coverage"),
}
VERSIONS = ("v1", "v2")
_OTHERS = ("launch/patient", "offline_access")
_PATIENT_SCOPE = re.compile(
    r"patient/(?P<type>\*|[A-Z][A-Za-z]*)\.(?P<access>read|\*|(?=.)c?r?u?d?s?)", re.ASCII
)


def supported_scopes(types: Iterable[str], versions: Sequence[str] = VERSIONS) -> tuple[str, ...]:
    """Return the scopes to list in ``scopes_supported``.

    Args:
        types: The resource types that the holder serves.
        versions: The versions of SMART whose scopes it grants: ``v1``, ``v2`` or both.
    """
    endings = [ending for version, ending in (("v1", "read"), ("v2", "rs")) if version in versions]
    names = ("*", *types)
    return (*_OTHERS, *(f"patient/{name}.{ending}" for ending in endings for name in names))


def grantable_scopes(
    requested: Iterable[str], types: Iterable[str], versions: Sequence[str] = VERSIONS
) -> tuple[str, ...]:
    """Return the scopes to grant for those that an app requests, without repetition.

    Writing is never granted: ``patient/*.cruds`` becomes ``patient/*.rs``. A scope with a query
    (``?category=…``) is not supported.
    """
    names = frozenset(types)
    granted = (_grantable(scope, names, versions) for scope in requested)
    return tuple(dict.fromkeys(scope for scope in granted if scope))


def _grantable(scope: str, types: frozenset[str], versions: Sequence[str]) -> str:
    if scope in _OTHERS:
        return scope
    match = _PATIENT_SCOPE.fullmatch(scope)
    if match is None or (match["type"] != "*" and match["type"] not in types):
        return ""
    version_1 = match["access"] in ("read", "*")
    if ("v1" if version_1 else "v2") not in versions:
        return ""
    access = "read" if version_1 else "".join(c for c in match["access"] if c in "rs")
    return f"patient/{match['type']}.{access}" if access else ""


def _parts(scope: str) -> tuple[str, str]:
    """Return the resource type and the access of a patient scope; two empty texts for another."""
    context, _, rest = scope.partition("/")
    type_, _, access = rest.partition(".")
    return (type_, access) if context == "patient" and access else ("", "")


def allows(scopes: Iterable[str], type_: str, interaction: str = "s") -> bool:
    """Return whether some granted scopes allow an interaction.

    Args:
        scopes: The granted scopes.
        type_: The resource type.
        interaction: ``r`` to read by id, ``s`` to search.
    """
    names = {"*", type_, *COMPANIONS.get(type_, ())}
    return any(
        name in names and (access == "read" or interaction in access)
        for name, access in map(_parts, scopes)
    )


def choices(scopes: Sequence[str]) -> list[str]:
    """Return the resource types that some scopes offer to the person's choice."""
    named = {_parts(scope)[0] for scope in scopes}
    return [type_ for type_ in CHOICES if type_ in named or "*" in named]


def narrowed(scopes: Sequence[str], selected: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes that remain when the person selects some resource types only."""
    offered, chosen = choices(scopes), set(selected)
    if chosen >= set(offered):
        return tuple(scopes)
    rest = [scope for scope in scopes if not _parts(scope)[0]]
    for type_ in (name for name in offered if name in chosen):
        for name, access in map(_parts, scopes):
            if name in ("*", type_):
                rest.append(f"patient/{type_}.{access}")
    for scope in scopes:
        if chosen & set(COMPANIONS.get(_parts(scope)[0], ())):
            rest.append(scope)
    return tuple(dict.fromkeys(rest))
