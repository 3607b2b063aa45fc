"""What stands in resources and in no table: every leaf is read, in a long table, ignored or unread.

The declared paths of all tables make one tree for each type of resource. A second walk over a
resource follows it; what it does not lead to is counted by its path, with the system and the code
that it stands under. ``declared/ignored.csv`` lists what is left out on purpose, with the reason:
never an amount, a code, a date, an NPI or a quantity.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import pandas as pd

from ..problems import Problem
from ..tracebacks import without_variables
from .builder import unbundled
from .columns import LONG_TABLES, TABLES, Column, declared, spell_out
from .extract import codings, is_variable, meaning

_STEP = re.compile(r"(\w+)(?:\[(\w+)(?:=([^\]]+))?\])?")
_STEPS = re.compile(r"\w+(?:\[[^\]]*\])?")
_DIRECT = ("url", "system", "id", "resourceType")
_MAX_FOUND = 4096  # texts stored for a node
READ, LONG, IGNORED, UNREAD = "read", "long", "ignored", "unread"

_TYPES = {
    "patients": "Patient",
    "coverage": "Coverage",
    "coverage_classes": "Coverage",
    "studies": "ImagingStudy",
    "series": "ImagingStudy",
}
_ALWAYS = ("resourceType", "id", "meta.versionId", "meta.lastUpdated")
"""Read of every resource: its key, and which of two copies is newer."""

_LISTS = ("item", "addItem")
_ADJUDICATED = (
    "adjudication", "total", "item.adjudication", "addItem.adjudication",
    "item.detail.adjudication", "item.detail.subDetail.adjudication",
    "addItem.detail.adjudication", "addItem.detail.subDetail.adjudication",
)  # fmt: skip
_BY_HAND = (
    "benefitBalance.financial.type.coding.code",
    "benefitBalance.financial.usedMoney.value",
    "benefitBalance.financial.usedMoney.code",
    "benefitBalance.financial.usedMoney.currency",
    "benefitBalance.financial.usedUnsignedInt",
    "contained[resourceType=Observation].code.coding.code",
    "contained[resourceType=Observation].valueQuantity.value",
    "contained.id",
    "item.noteNumber",
    "insurer.reference",
    "provider.reference",
    "careTeam.provider.reference",
    "insurer.identifier.type.coding.code",
    "provider.identifier.type.coding.code",
    "careTeam.provider.identifier.type.coding.code",
    "contained.identifier.type.coding.code",
)
"""What modules read without a path of their own in a declaration."""

_OF_ENDPOINT = ("address", "connectionType.code", "id", "status")
_ENDPOINTS = (
    *(f"contained[resourceType=Endpoint].{path}" for path in _OF_ENDPOINT),
    "endpoint.reference",
    "series.endpoint.reference",
    "series.instance.uid",
)
"""What a download reads of an ImagingStudy: where the images are, and which there are at least."""

_CLAIM = "ExplanationOfBenefit"

_PROVIDERS = ("Practitioner", "Organization", "PractitionerRole", "Location")
_ALL_CODINGS = re.compile(
    r"modifier|procedureCode|modalityList|category|(financial|identifier)\.type|careTeam\.role"
)
"""Elements of which every coding is read: the variable beside the general code, all modifiers."""


class Node:
    """An element of the tree; ``status`` where a value is read."""

    __slots__ = ("every", "found", "keys", "nth", "path", "picks", "rest", "skip", "status")

    def __init__(self, path: str) -> None:
        self.path = path
        self.status: str | None = None
        self.keys: dict[str, Node] = {}
        self.nth: dict[int, Node] = {}
        self.picks: dict[str, dict[str, Node]] = {}
        self.every = bool(_ALL_CODINGS.search(path))
        self.rest: Node | None = None
        self.skip: set[str] = set()
        """Elements known to be ignored, where they are no object and no list."""
        self.found: dict[str, Node] = {}
        """By the text that a member of a list is picked by: the node for it."""

    def child(self, step: str) -> Node:
        """Return the node that one step of a path leads to, made when it is new."""
        (found,) = _STEP.findall(step)
        key, by, value = (text or None for text in found)
        key = key or step
        path = f"{self.path}.{key}" if self.path else key
        node = self.keys.setdefault(key, Node(path))
        if by is None or by == "sequence":
            return node
        if value is None:
            return node.nth.setdefault(int(by), Node(path))
        if by in _DIRECT:
            node.keys.setdefault(by, Node(f"{path}.{by}")).status = IGNORED
        return node.picks.setdefault(by, {}).setdefault(meaning(value), Node(path))

    def plant(self, path: str, status: str) -> None:
        """Enter a declared path."""
        node = self
        for step in _STEPS.findall(spell_out(path)):
            node = node.child(step)
        if node.status != READ:
            node.status = status


def _merged(one: Node, other: Node) -> Node:
    """Return a node that leads to what either leads to."""
    node = Node(one.path)
    statuses = {one.status, other.status}
    node.status = next((s for s in (READ, LONG, IGNORED) if s in statuses), None)
    node.keys = _joined(one.keys, other.keys)
    node.nth = _joined(one.nth, other.nth)
    for by in {**one.picks, **other.picks}:
        node.picks[by] = _joined(one.picks.get(by, {}), other.picks.get(by, {}))
    return node


def _joined(one: dict[Any, Node], other: dict[Any, Node]) -> dict[Any, Node]:
    joined = {**one, **other}
    for key in one.keys() & other.keys():
        joined[key] = _merged(one[key], other[key])
    return joined


def _paths(table: str) -> Iterator[str]:
    """Yield the declared paths of a table, for each element that they hold for."""
    for path in (path for column in declared(table) for path in _of_column(column)):
        if path.startswith(("(", "contained[id=(")) or "contained[id=item" in path:
            continue
        if path.startswith("contained[id=supportingInfo"):
            continue
        several = re.search(r"=([^\]]*,[^\]]*)\]", path)
        for one in several[1].split(",") if several else ("",):
            yield path.replace(several[1], one.strip(), 1) if several else path


def _of_column(column: Column) -> Iterator[str]:
    """Yield the paths of a column; an amount is read with its currency."""
    for path in column.paths:
        yield path
        if column.kind == "money" and path.endswith(".value"):
            owner = path.removesuffix("value")
            yield from (f"{owner}currency", f"{owner}code")


def _spread(path: str, table: str) -> Iterator[str]:
    """Yield a path at every element where its table reads it."""
    if table == "adjudications" and path.startswith("adjudication."):
        yield from (f"{owner}.{path.removeprefix('adjudication.')}" for owner in _ADJUDICATED)
    elif path.startswith("item."):
        for owner in _LISTS:
            yield owner + path.removeprefix("item")
            if table == "details" and path.startswith("item.detail."):
                yield f"{owner}.detail.subDetail.{path.removeprefix('item.detail.')}"
    else:
        yield path


@cache
def _tree(resource_type: str) -> Node | None:
    """Return the tree of a type of resource; None where no table is made of it."""
    root = Node("")
    for table in (*TABLES, *LONG_TABLES):
        of = _PROVIDERS if table == "providers" else (_TYPES.get(table, _CLAIM),)
        if resource_type in of:
            _plant(root, table, READ if table in TABLES else LONG)
    if not root.keys and resource_type != "Endpoint":
        return None
    by_hand = {
        _CLAIM: _BY_HAND,
        "ImagingStudy": _ENDPOINTS,
        **dict.fromkeys(_PROVIDERS, ("identifier.type.coding.code",)),
        "Endpoint": _OF_ENDPOINT,
    }.get(resource_type, ())
    for path in (*_ALWAYS, *by_hand):
        root.plant(path, READ)
    if resource_type == _CLAIM:
        for path in _paths("providers"):
            for kind in _PROVIDERS:
                root.plant(f"contained[resourceType={kind}].{path}", LONG)
    return root


def _plant(root: Node, table: str, status: str) -> None:
    for path in _paths(table):
        for one in _spread(path, table):
            root.plant(one, status)


@cache
def _ignored_paths() -> dict[str, str]:
    """Return what is left out on purpose: a path, or ``*.`` and an element → the reason."""
    text = files(__package__).joinpath("declared", "ignored.csv").read_text("utf-8")
    return {row["path"]: row["reason"] for row in csv.DictReader(text.splitlines())}


@lru_cache(8192)
def _ignored(path: str) -> bool:
    steps, ignored = path.split("."), _ignored_paths()
    return (
        any(f"*.{'.'.join(steps[n:])}" in ignored for n in range(len(steps)))
        or any(".".join(steps[:n]) in ignored for n in range(1, len(steps) + 1))
        or any(f"*.{'.'.join(steps[n : n + 2])}.*" in ignored for n in range(len(steps)))
    )


class Kind(NamedTuple):
    """A kind of content that no table has."""

    resource: str
    path: str
    what: str
    system: str | None
    code: str | None


@dataclass(slots=True)
class Counted:
    """How often a kind of content occurs."""

    count: int = 0
    claims: int = 0
    example: str | None = None
    last: int = -1


@dataclass(slots=True)
class Leaves:
    """How many leaves were read by a column, stand in a long table, are ignored or unread."""

    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((READ, LONG, IGNORED, UNREAD), 0)
    )

    @property
    def total(self) -> int:
        """All leaves."""
        return sum(self.counts.values())


class Accountant:
    """Counts what was read of resources, and what was not."""

    def __init__(self) -> None:
        self.leaves = Leaves()
        self.kinds: dict[Kind, Counted] = {}
        self._counts = self.leaves.counts
        self._merged: dict[tuple[int, int], Node] = {}
        self._number = 0
        self._type = ""
        self._id: str | None = None

    @property
    def unread(self) -> int:
        """How many values stand in no table."""
        return self._counts[UNREAD]

    def add(self, resource: dict[str, Any]) -> None:
        """Account for one resource."""
        self._number += 1
        self._type = str(resource.get("resourceType"))
        id_ = resource.get("id")
        self._id = id_ if type(id_) is str and id_.isprintable() else None
        root = _tree(self._type)
        if root is None:
            count = sum(1 for _ in _leaves(resource, ""))
            self._record(Kind(self._type, "", "resource", None, None), count)
        else:
            self._object(resource, root)

    def _object(self, element: dict[str, Any], node: Node) -> None:
        if node.picks:
            node = self._picked(element, node)
        keys, counts = node.keys, self._counts
        for key, value in element.items():
            sub = keys.get(key)
            if sub is None:
                if key in node.skip and type(value) is not dict and type(value) is not list:
                    counts[IGNORED] += 1
                else:
                    self._unknown(node, key, value, element)
            elif type(value) is dict:
                self._object(value, sub)
            elif type(value) is list:
                self._list(key, value, sub, element)
            elif sub.status is not None:
                counts[sub.status] += 1
            elif sub.nth and 0 in sub.nth and sub.nth[0].status is not None:
                counts[sub.nth[0].status] += 1
            else:
                self._unknown(node, key, value, element, what="shape")

    def _list(self, key: str, values: list[Any], node: Node, owner: dict[str, Any]) -> None:
        seen: set[Any] = set()
        for index, value in enumerate(values):
            sub = node
            if index in node.nth:
                sub = self._joint(node, node.nth[index])
            if key == "coding" and not node.every and "code" in node.keys:
                sub = self._coding(index, value, node, seen)
            if type(value) is dict:
                self._object(value, sub)
            elif type(value) is list:
                self._list(key, value, sub, owner)
            elif sub.status is not None:
                self._counts[sub.status] += 1
            else:
                self._unknown(sub, "", value, owner, what="key" if node.nth else "shape")

    @staticmethod
    def _coding(index: int, value: Any, node: Node, seen: set[Any]) -> Node:
        """Return the node for a coding: columns take one of a list, unless by its system."""
        code = value.get("code") if type(value) is dict else None
        if index == 0 or code in seen:
            seen.add(code)
            return node
        if node.rest is None:
            node.rest = Node(node.path)
            node.rest.keys = {k: n for k, n in node.keys.items() if k != "code"}
            node.rest.picks = node.picks
        return node.rest

    def _joint(self, one: Node, other: Node) -> Node:
        key = id(one), id(other)
        if key not in self._merged:
            self._merged[key] = _merged(one, other)
        return self._merged[key]

    def _picked(self, element: dict[str, Any], node: Node) -> Node:
        """Return the node that also leads to what a column asks of this member of a list."""
        text = _only_text(element, node)
        if text is None:
            return self._pick(element, node)
        found = node.found.get(text)
        if found is None:
            found = self._pick(element, node)
            if len(node.found) < _MAX_FOUND:
                node.found[text] = found
        return found

    def _pick(self, element: dict[str, Any], node: Node) -> Node:
        result = node
        for by, table in node.picks.items():
            for text in _texts(element.get(by)):
                found = table.get(meaning(text))
                if found is not None:
                    result = self._joint(result, found)
                    break
        return result

    def _unknown(
        self, node: Node, key: str, value: Any, owner: dict[str, Any], what: str = ""
    ) -> None:
        """Count the leaves of what no path leads to."""
        path = f"{node.path}.{key}" if node.path and key else node.path or key
        system = owner.get("url") if "url" in owner else owner.get("system")
        if not what:
            what = "category" if "url" in owner else "key"
            if key == "code" and "coding" in node.path.rsplit(".", 1)[-1].lower():
                what = "coding" if node.path.endswith("coding") and "url" not in owner else what
            elif node.picks and system:
                what = "system" if "url" not in owner else "category"
        for below, leaf, parent in _leaves(value, path):
            inside = parent if parent is not None else owner
            ignored = _ignored(below)
            if ignored and parent is None and type(value) is not list:
                node.skip.add(key)
            if ignored or (below.endswith(".text") and "coding" in inside):
                self._counts[IGNORED] += 1
                continue
            kind = "reference" if below.endswith(".reference") else what
            code = _code(below, leaf, inside)
            own = inside.get("system") if code is not None and "url" not in owner else None
            named = own if type(own) is str else system
            self._record(
                Kind(self._type, below, kind, named if type(named) is str else None, code), 1
            )

    def _record(self, kind: Kind, count: int) -> None:
        self._counts[UNREAD] += count
        counted = self.kinds.setdefault(kind, Counted(example=self._id))
        counted.count += count
        if counted.last != self._number:
            counted.last = self._number
            counted.claims += 1

    def frame(self) -> pd.DataFrame:
        """Return one row per kind of content that no table has, the most frequent first."""
        rows = sorted(
            self.kinds.items(), key=lambda row: (-row[1].count, *(str(v) for v in row[0]))
        )
        data = {
            **{name: [getattr(kind, name) for kind, _ in rows] for name in Kind._fields},
            "count": [counted.count for _, counted in rows],
            "claims": [counted.claims for _, counted in rows],
            "example_id": [counted.example for _, counted in rows],
        }
        dtypes = dict.fromkeys(data, "str") | {"count": "Int64", "claims": "Int64"}
        frame = pd.DataFrame(
            {name: pd.Series(values, dtype=dtypes[name]) for name, values in data.items()}
        )
        frame.attrs["leaves"] = dict(self._counts)
        return frame

    def problem(self) -> Problem | None:
        """Return the summary for ``problems``; None where everything was read."""
        values = self._counts[UNREAD]
        if not values:
            return None
        paths = {(kind.resource, kind.path, kind.system) for kind in self.kinds}
        why = f"{len(paths)} kinds of content were not read, {values} values: see unread"
        return Problem("all resources", "", "", why)


def _only_text(element: dict[str, Any], node: Node) -> str | None:
    """Return the text that alone decides what a member of a list is; None where more may."""
    if len(node.picks) != 1:
        return None
    (by,) = node.picks
    value = element.get(by)
    if type(value) is dict:
        members = value.get("coding")
        only = members[0] if type(members) is list and len(members) == 1 else None
        value = only.get("code") if type(only) is dict else None
    return value if type(value) is str else None


def _texts(value: Any) -> list[str]:
    """Return the texts of a selector: itself, or its codes, a variable first."""
    if type(value) is str:
        return [value]
    concepts = value if type(value) is list else [value]
    codes = [c.get("code") for one in concepts for c in codings(one)]
    texts = [code for code in codes if type(code) is str]
    return sorted(texts, key=lambda code: not is_variable(code))


def _leaves(
    value: Any, path: str, parent: dict[str, Any] | None = None
) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """Yield path, value and owner of each value below that is no object and no list."""
    if type(value) is dict:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}" if path else key, value)
    elif type(value) is list:
        for item in value:
            yield from _leaves(item, path, parent)
    else:
        yield path, value, parent


_CODE = re.compile(r"[A-Za-z0-9][\w.+/-]{0,39}", re.ASCII)
_PERSONAL = re.compile(
    r"tax|ssn|_num\b|_num$|npi|_id\b|mbi|hicn|identifier|113883\.4", re.IGNORECASE
)


def _code(path: str, value: Any, owner: dict[str, Any]) -> str | None:
    """Return a value that is a code; None for text, numbers and identifiers."""
    name = path.rsplit(".", 1)[-1]
    coded = name == "code" and "value" not in owner and ("system" in owner or "display" in owner)
    if not (coded or name == "valueCode") or type(value) is not str:
        return None
    if _PERSONAL.search(str(owner.get("system", ""))) or not _CODE.fullmatch(value):
        return None
    return value


def account(resources: Iterable[Any]) -> Accountant:
    """Return what was read of resources and what was not: see :class:`Accountant`."""
    accountant = Accountant()
    for resource in unbundled(resources, lambda _problem: None):
        accountant.add(resource)
    return accountant


@without_variables
def unread(resources: Iterable[Any]) -> pd.DataFrame:
    """Return what stands in resources and in no table.

    Args:
        resources: FHIR resources or Bundles, STU3 or R4. Copies are counted as often as they
            come.

    Returns:
        One row per kind of content, the most frequent first:

        ``resource``, ``path``
            type of resource, and FHIR path without places in lists.
        ``what``
            key (no column has the element), category (of an extension or a member of a list
            that no column asks for), system, coding (beside the one that was read), reference,
            shape (not what FHIR says), or resource (no table is made of the type).
        ``system``, ``code``
            the url or system that it stands under; the value, for codes only: never for text,
            numbers or identifiers.
        ``count``, ``claims``, ``example_id``
            how many values; in how many resources; the id of one.

        ``attrs["leaves"]`` counts all values: read (by a column), long (in a long table),
        ignored (left out on purpose: ``declared/ignored.csv``) and unread.
    """
    return account(resources).frame()
