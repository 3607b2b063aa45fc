"""Practitioners and organizations that claims refer to, wherever they stand.

A reference leads to a resource contained in the claim, to one of the same Bundle or store, or
carries an identifier only. Those of the second kind may come after the claim: they are filled in
when all resources are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ..fhir.resources import objects, read_reference
from .extract import codings, meaning
from .npi import is_valid_npi, npi_of, other_id

TYPES = ("Practitioner", "Organization", "PractitionerRole", "Location")
_PAYER_TYPES = ("payerid", "naiccode")


class Provider(NamedTuple):
    """What the tables say of a practitioner or an organization."""

    kind: str
    npi: str | None
    name: str | None
    taxonomy: str | None
    other: str | None
    payer: str | None


class Pending(NamedTuple):
    """A cell that a resource of its own fills: the column, the row of the claim, the reference."""

    column: str
    position: int
    reference: str
    part: str


def read_provider(resource: Mapping[str, Any]) -> Provider:
    """Return what a resource says of a provider."""
    identifiers = resource.get("identifier")
    return Provider(
        str(resource.get("resourceType")),
        npi_of(identifiers, declared=True),
        _name(resource.get("name")),
        _taxonomy(resource),
        other_id(identifiers),
        other_id(identifiers, *_PAYER_TYPES),
    )


def _name(name: Any) -> str | None:
    if type(name) is str:
        return name or None
    for human in objects(name):
        if type(human.get("text")) is str and human["text"]:
            return str(human["text"])
        given = human.get("given")
        family = human.get("family")
        parts = [*(given if type(given) is list else [given])]
        parts += family if type(family) is list else [family]
        words = [part for part in parts if type(part) is str and part]
        if words:
            return " ".join(words)
    return None


def taxonomy_of(concept: Any) -> str | None:
    """Return the code of NUCC's provider taxonomy in a concept."""
    for coding in codings(concept):
        system, code = coding.get("system"), coding.get("code")
        if type(system) is str and type(code) is str and "taxonomy" in meaning(system):
            return code
    return None


def _taxonomy(resource: Mapping[str, Any]) -> str | None:
    owners = [q.get("code") for q in objects(resource.get("qualification"))]
    owners += [*objects(resource.get("specialty")), *objects(resource.get("type"))]
    return next((code for owner in owners if (code := taxonomy_of(owner))), None)


def contained_providers(eob: Mapping[str, Any]) -> dict[str, Provider]:
    """Return the providers contained in a claim by the reference that leads to each."""
    return {
        f"#{item['id']}": read_provider(item)
        for item in objects(eob.get("contained"))
        if item.get("resourceType") in TYPES and type(item.get("id")) is str
    }


def resolve(reference: Any, contained: Mapping[str, Provider]) -> Provider | str | None:
    """Return the provider that a Reference leads to.

    Returns:
        The provider; or the text of the reference where a resource of its own must be looked up;
        None where there is neither.
    """
    if type(reference) is not dict:
        return None
    text = reference.get("reference")
    if type(text) is str and text in contained:
        return contained[text]
    identifiers = reference.get("identifier")
    npi, other = npi_of(identifiers, declared=True), other_id(identifiers)
    display = reference.get("display")
    name = display if type(display) is str and display else None
    if type(text) is str and text and not text.startswith("#") and npi is None:
        return text
    if npi is None and other is None and name is None:
        return None
    kind = reference.get("type")
    payer = other_id(identifiers, *_PAYER_TYPES)
    return Provider(kind if type(kind) is str else "", npi, name, None, other, payer)


class Directory:
    """The practitioners and organizations among the resources, by participant and reference."""

    def __init__(self) -> None:
        self._providers: dict[tuple[str, str], Provider] = {}

    def __len__(self) -> int:
        return len(self._providers)

    def add(self, participant: str, resource: Mapping[str, Any]) -> None:
        """Remember a resource; the later of two copies stays."""
        id_ = resource.get("id")
        if type(id_) is str and id_:
            key = participant, f"{resource['resourceType']}/{id_}"
            self._providers[key] = read_provider(resource)

    def find(self, participant: str, text: str) -> Provider | None:
        """Return the provider of a relative, absolute or urn: reference."""
        reference = read_reference(text)
        if reference.type:
            return self._providers.get((participant, f"{reference.type}/{reference.id}"))
        found = (self._providers.get((participant, f"{t}/{reference.id}")) for t in TYPES)
        return next((provider for provider in found if provider is not None), None)


def complete(frame: pd.DataFrame, notes: Mapping[Any, Any], directory: Directory) -> None:
    """Fill in the cells that resources of their own say.

    Args:
        frame: benefits or benefit_lines, as built.
        notes: by participant and claim the :class:`Pending` of its rows, as plain tuples.
        directory: what the resources say of providers.
    """
    if not notes or not len(directory):
        return
    values: dict[str, dict[int, Any]] = {}  # column → row → value
    for (participant, first), pending in _placed(frame, notes):
        for column, position, reference, part in pending:
            provider = directory.find(participant, reference)
            value = None if provider is None else getattr(provider, part)
            if column == "organization_npi" and provider and provider.kind != "Organization":
                value = None
            if value is not None:
                values.setdefault(column, {})[first + position] = value
    checks: dict[int, bool] = {}
    for column, cells in values.items():
        own: Any = frame[column].isna().to_numpy()
        cells = {row: value for row, value in cells.items() if own[row]}
        _put(frame, column, cells)
        if column.endswith("_npi"):
            for row, value in cells.items():
                checks[row] = checks.get(row, True) and bool(is_valid_npi(value))
    before: Any = frame["npi_valid"].fillna(True).to_numpy(dtype=bool)
    _put(frame, "npi_valid", {row: bool(before[row]) and check for row, check in checks.items()})


def _put(frame: pd.DataFrame, column: str, cells: Mapping[int, Any]) -> None:
    if cells:
        rows: Any = list(cells)
        frame.iloc[rows, frame.columns.get_loc(column)] = list(cells.values())  # type: ignore[index]


def _placed(
    frame: pd.DataFrame, notes: Mapping[Any, Any]
) -> Iterator[tuple[tuple[str, int], tuple[tuple[str, int, str, str], ...]]]:
    """Yield the participant and the first row of each claim that has notes, and these."""
    claims = frame["claim_id"].tolist()
    people = frame["participant"].tolist() if "participant" in frame else [""] * len(claims)
    before = None
    for row, key in enumerate(zip(people, claims, strict=True)):
        if key != before and key in notes:
            yield (key[0], row), notes[key]
        before = key


__all__ = [
    "Directory",
    "Pending",
    "Provider",
    "complete",
    "contained_providers",
    "read_provider",
    "resolve",
    "taxonomy_of",
]
