"""Practitioners and organizations that claims refer to, wherever they stand.

A reference leads to a resource contained in the claim, to one of the same Bundle or store, or
carries an identifier only. Those of the second kind may come after the claim: they are filled in
when all resources are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ..fhir.resources import objects, read_reference
from .extract import codings, listed, meaning
from .npi import is_valid_npi, numbers_of
from .values import preferred
from .versions import stated_version

TYPES = ("Practitioner", "Organization", "PractitionerRole", "Location")
_CONDITIONAL = re.compile(r"[?&]identifier=([^|&]+)\|([^&]+)")
_CLAIM = "ExplanationOfBenefit"


class Provider(NamedTuple):
    """What the tables say of a practitioner or an organization; None where nothing is stated.

    Attributes:
        kind: the type of resource.
        npi: National Provider Identifier.
        name: as text.
        taxonomy: code of NUCC's provider taxonomy.
        other: an identifier that is neither an NPI nor a tax id.
        payer: the same, with those of payers first.
    """

    kind: str | None = None
    npi: str | None = None
    name: str | None = None
    taxonomy: str | None = None
    other: str | None = None
    payer: str | None = None


class Referred(NamedTuple):
    """Where a Reference leads: what stands here, and what a resource of its own may add."""

    provider: Provider
    elsewhere: str | None = None

    @property
    def has_npi(self) -> bool:
        """Whether an NPI stands here or may stand elsewhere."""
        return self.provider.npi is not None or self.elsewhere is not None


class Pending(NamedTuple):
    """A cell that a resource of its own fills: the column, the row of the claim, the reference."""

    column: str
    position: int
    reference: str
    part: str


def read_provider(resource: Mapping[str, Any]) -> Provider:
    """Return what a resource says of a provider."""
    numbers = numbers_of(resource.get("identifier"))
    kind = resource.get("resourceType")
    return Provider(
        kind if type(kind) is str else None,
        numbers.npi,
        _name(resource.get("name")),
        _taxonomy(resource),
        numbers.other,
        numbers.payer,
    )


def _name(name: Any) -> str | None:
    """Return a name, or the HumanName in use, as text."""
    if type(name) is str:
        return name or None
    for human in preferred(name):
        if type(human.get("text")) is str and human["text"]:
            return str(human["text"])
        parts = [*listed(human, "given"), *listed(human, "family")]
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


def resolve(reference: Any, contained: Mapping[str, Provider]) -> Referred:
    """Return what a Reference says of a provider, and where the rest stands.

    Args:
        reference: of any shape.
        contained: of :func:`contained_providers`.

    Returns:
        The contained provider; or identifier and display of the reference, with the text of the
        reference where a resource of its own may be among those read.
    """
    if type(reference) is not dict:
        return Referred(Provider())
    text = reference.get("reference")
    text = text.strip() if type(text) is str else ""
    if text in contained:
        return Referred(contained[text])
    numbers = numbers_of(reference.get("identifier"))
    conditional = _CONDITIONAL.search(text) if "?" in text else None
    npi = numbers.npi
    if conditional and npi is None:
        npi = numbers_of({"system": conditional[1], "value": conditional[2]}).npi
    display = reference.get("display")
    name = display if type(display) is str and display else None
    provider = Provider(kind_of(reference), npi, name, None, numbers.other, numbers.payer)
    readable = bool(text) and not text.startswith("#") and conditional is None
    return Referred(provider, text if readable else None)


def kind_of(reference: Mapping[str, Any]) -> str | None:
    """Return the type of resource that a reference names; None for a contained one."""
    stated, text = reference.get("type"), reference.get("reference")
    if type(stated) is str:
        return stated
    if type(text) is not str:
        return None
    return text.partition("?")[0] if "?" in text else read_reference(text).type or None


class _Entry(NamedTuple):
    """A provider, and the reference to the practitioner where it is the role of one."""

    version: bytes
    provider: Provider
    person: str | None


class Directory:
    """The practitioners and organizations among the resources, by participant and reference."""

    def __init__(self) -> None:
        self._providers: dict[tuple[str, str], _Entry] = {}

    def __len__(self) -> int:
        return len(self._providers)

    def add(self, participant: str, resource: Mapping[str, Any]) -> None:
        """Remember a resource; of two copies the newer, else the later one."""
        id_ = resource.get("id")
        if type(id_) is not str or not id_:
            return
        key, version = (participant, f"{resource['resourceType']}/{id_}"), stated_version(resource)
        if key not in self._providers or self._providers[key].version <= version:
            person = resource.get("practitioner")
            text = person.get("reference") if type(person) is dict else None
            entry = _Entry(version, read_provider(resource), text if type(text) is str else None)
            self._providers[key] = entry

    def find(self, participant: str, text: str) -> Provider:
        """Return the provider of a relative, absolute or urn: reference; an empty one for none.

        What a PractitionerRole does not state is taken from its practitioner.
        """
        entry = self._entry(participant, text)
        person = self._entry(participant, entry.person) if entry and entry.person else None
        if entry is None or person is None:
            return entry.provider if entry is not None else Provider()
        pairs = zip(entry.provider, person.provider, strict=True)
        return Provider(*(other if own is None else own for own, other in pairs))

    def _entry(self, participant: str, text: str) -> _Entry | None:
        reference = read_reference(text)
        types = (reference.type,) if reference.type else TYPES
        keys = ((participant, f"{type_}/{reference.id}") for type_ in types)
        found = (self._providers.get(key) for key in keys)
        return next((entry for entry in found if entry is not None), None)


def complete(frame: pd.DataFrame, notes: Mapping[Any, Any], directory: Directory) -> None:
    """Fill in the cells that resources of their own state.

    Args:
        frame: benefits or benefit_lines, as built.
        notes: by participant, type and claim the :class:`Pending` of its rows, as plain tuples.
        directory: what the resources state of providers.
    """
    if not notes or not len(directory):
        return
    values: dict[str, dict[int, Any]] = {}  # column → row → value
    for participant, first, pending in _placed(frame, notes):
        for column, position, reference, part in pending:
            provider = directory.find(participant, reference)
            value = getattr(provider, part)
            if column == "organization_npi" and provider.kind != "Organization":
                value = None
            if value is not None:
                values.setdefault(column, {}).setdefault(first + position, value)
    checks: dict[int, bool] = {}
    for column, cells in values.items():
        empty: Any = frame[column].isna().to_numpy()
        cells = {row: value for row, value in cells.items() if empty[row]}
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
) -> Iterator[tuple[str, int, tuple[tuple[str, int, str, str], ...]]]:
    """Yield participant, first row and notes of each claim that has notes."""
    claims = frame["claim_id"].tolist()
    people = frame["participant"].tolist() if "participant" in frame else [""] * len(claims)
    before = None
    for row, key in enumerate(zip(people, claims, strict=True)):
        pending = None if key == before else notes.get((key[0], _CLAIM, key[1]))
        if pending is not None:
            yield key[0], row, pending
        before = key


def complete_team(frame: pd.DataFrame, directory: Directory) -> None:
    """Fill in the members of care teams whose provider is a resource of its own.

    Args:
        frame: care_team, as built.
        directory: what the resources state of providers.
    """
    if not len(directory) or not len(frame):
        return
    people = frame["participant"].tolist() if "participant" in frame else [""] * len(frame)
    providers = [
        directory.find(person, text) if type(text) is str else Provider()
        for person, text in zip(people, frame["provider_id"].tolist(), strict=True)
    ]
    for part in ("npi", "name", "taxonomy", "kind"):
        column = "provider_kind" if part == "kind" else part
        values = [getattr(provider, part) for provider in providers]
        other = pd.Series(values, index=frame.index, dtype="str")
        frame[column] = frame[column].where(frame[column].notna(), other)
    checks = [is_valid_npi(npi if type(npi) is str else None) for npi in frame["npi"].tolist()]
    frame["npi_valid"] = pd.array(checks, dtype="boolean")


__all__ = [
    "Directory",
    "Pending",
    "Provider",
    "Referred",
    "complete",
    "complete_team",
    "contained_providers",
    "kind_of",
    "read_provider",
    "resolve",
    "taxonomy_of",
]
