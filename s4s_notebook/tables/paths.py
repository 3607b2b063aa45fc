"""From declared paths to one walk over a resource.

All paths of a table become one tree, so that a resource is walked once whatever the number of
columns, and repeating elements (extensions, codings, adjudications) are looked up by their key
instead of being searched once a column. STU3 and R4 share the tree: a resource brings the
elements of its own version and the others are absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from .columns import BB, spell_out

Odd = Callable[[str, Any, str], None]
"""Told (path, value, why) of whatever does not have the shape that FHIR gives it."""
Walk = Callable[[Any, list[Any], Odd], None]

MIXED = object()
"""Stands in the currency slot of a row whose amounts are in more than one currency."""

_DIRECT = {"url", "system", "id"}  # these keys are text; the others are CodeableConcepts
_UNIQUE = {"url", "category", "type"}  # one element a key: a second one is worth a word
_OBJECT = "an object was expected"
_TWICE = "given twice with different values; the first is kept"
_STEP = re.compile(r"(\w+)(?:\[(\w+)(?:=([^\]]+))?\])?")
_CMS_SYSTEM = "https://bluebutton.cms.gov/"


class Node:
    """One element of the tree; ``slot`` where a column's value stands here."""

    def __init__(self, path: str, unique: bool = False) -> None:
        self.path = path
        self.unique = unique
        self.slot: int | None = None
        self.money = False
        self.keys: dict[str, Node] = {}
        self.nth: dict[int, Node] = {}
        self.picks: dict[str, dict[str, Node]] = {}

    @property
    def leaf(self) -> bool:
        return not (self.keys or self.nth or self.picks)

    def child(self, step: str, path: str) -> Node:
        """The node that one step of a path leads to, made when it is new."""
        match = _STEP.fullmatch(step)
        if match is None:
            raise ValueError(f"not a path step: {step!r}")
        key, selector, wanted = match.groups()
        node = self.keys.setdefault(key, Node(path, self.unique))
        if selector is None:
            return node
        if wanted is None:
            return node.nth.setdefault(int(selector), Node(path, self.unique))
        unique = self.unique or selector in _UNIQUE
        return node.picks.setdefault(selector, {}).setdefault(wanted, Node(path, unique))

    def chain(self) -> tuple[str, str | None, int, bool, bool, str] | None:
        """(outer key, inner key, slot, money, unique, path) where all that is wanted here is one
        value, one or two objects down; None where it is more."""
        keys = []
        node = self
        while len(keys) < 2 and len(node.keys) == 1 and not (node.nth or node.picks):
            key, node = next(iter(node.keys.items()))
            keys.append(key)
            if node.slot is not None and node.leaf:
                inner = keys[1] if len(keys) == 2 else None
                return keys[0], inner, node.slot, node.money, node.unique, node.path
        return None


def split(path: str) -> list[str]:
    """The steps of a path; dots within a selector do not count."""
    return re.findall(r"\w+(?:\[[^\]]*\])?", path)


def compile_paths(paths: Sequence[Sequence[str]], moneys: set[int], currency: int | None) -> Walk:
    """One walk that puts into ``row[i]`` the first value found at one of ``paths[i]``.

    Args:
        paths: for each slot the declared paths, in order of preference; abbreviated URLs allowed.
        moneys: the slots that hold the value of a Money.
        currency: the slot for the currency of all amounts of a row.
    """
    root = Node("")
    for rank in range(max(map(len, paths), default=0)):
        for slot, ranked in enumerate(paths):
            if rank < len(ranked) and not ranked[rank].startswith("("):
                _plant(root, ranked[rank], slot, slot in moneys)
    return _Writer(currency).function(root)


def _plant(root: Node, path: str, slot: int, money: bool) -> None:
    node, steps = root, split(path)
    for count, step in enumerate(split(spell_out(path)), 1):
        node = node.child(step, ".".join(steps[:count]))
    if node.slot not in {None, slot}:
        raise ValueError(f"two columns read {path}")
    node.slot, node.money = slot, money


class _Writer:
    """Writes the walk as Python source: inlined, it takes half the time of nested calls."""

    def __init__(self, currency: int | None) -> None:
        self._currency = currency
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"code_of": code_of, "note_currency": note_currency}
        self._count = 0

    def function(self, root: Node) -> Walk:
        outer, self._lines = self._lines, []
        self._write(0, "def walk(element, row, odd):")
        self._element(root, "element", 1)
        self._write(1, "return")
        source_code, self._lines = "\n".join(self._lines), outer
        made: dict[str, Any] = dict(self._names)
        exec(compile(source_code, "<walk of a table>", "exec"), made)  # noqa: S102 - our own declaration, no input
        walk: Walk = made["walk"]
        return walk

    def _write(self, depth: int, line: str) -> None:
        self._lines.append("    " * depth + line)

    def _new(self, value: Any = None) -> str:
        self._count += 1
        name = f"v{self._count}"
        if value is not None:
            self._names[name] = value
        return name

    def _element(self, node: Node, var: str, depth: int) -> None:
        """Code for one JSON object."""
        for key, sub in node.keys.items():
            value = self._new()
            self._write(depth, f"{value} = {var}.get({key!r})")
            self._write(depth, f"if {value} is not None:")
            if sub.leaf:
                self._store(repr(sub.slot), value, var, sub, depth + 1)
            else:
                self._value(sub, value, depth + 1)

    def _store(self, slot: str, value: str, owner: str, node: Node, depth: int) -> None:
        """Code that keeps a value; the first one stays."""
        self._write(depth, f"if row[{slot}] is None:")
        self._write(depth + 1, f"row[{slot}] = {value}")
        if node.money and self._currency is not None:
            self._write(depth + 1, self._note(owner, repr(node.path)))
        if node.unique:
            self._write(depth, f"elif row[{slot}] != {value}:")
            self._write(depth + 1, f"odd({node.path!r}, {value}, {_TWICE!r})")

    def _note(self, owner: str, path: str) -> str:
        cur = self._currency
        found = f"({owner}.get('code') or {owner}.get('currency'))"
        return f"if {found} != row[{cur}]: note_currency({owner}, row, {cur}, {path}, odd)"

    def _value(self, node: Node, value: str, depth: int) -> None:
        """Code for what stands at a key: an object, a list of them, or a bare value."""
        if node.nth:
            self._nth(node, value, depth)
            if not (node.keys or node.picks):
                return
        one = self._new()
        self._write(depth, f"for {one} in ({value} if type({value}) is list else ({value},)):")
        self._write(depth + 1, f"if type({one}) is dict:")
        for by, table in node.picks.items():
            self._pick(by, table, one, depth + 2)
        self._element(node, one, depth + 2)
        if node.slot is not None:
            self._write(depth + 1, f"elif type({one}) is not list and row[{node.slot}] is None:")
            self._write(depth + 2, f"row[{node.slot}] = {one}")
        self._write(depth + 1, "else:")
        self._write(depth + 2, f"odd({node.path!r}, {one}, {_OBJECT!r})")

    def _nth(self, node: Node, value: str, depth: int) -> None:
        """Code for elements that are chosen by their place."""
        many = self._new()
        self._write(depth, f"{many} = {value} if type({value}) is list else ({value},)")
        for place, sub in node.nth.items():
            one = self._new()
            self._write(depth, f"if len({many}) > {place} and {many}[{place}] is not None:")
            self._write(depth + 1, f"{one} = {many}[{place}]")
            if sub.leaf:
                self._store(repr(sub.slot), one, one, sub, depth + 1)
            else:
                self._value(sub, one, depth + 1)

    def _pick(self, by: str, table: dict[str, Node], var: str, depth: int) -> None:
        """Code that follows an object when its key is one that a column asks for."""
        follows = {w: node.chain() or self.function(node) for w, node in table.items()}
        name, key, found = self._new(follows), self._new(), self._new()
        self._write(depth, f"{key} = {var}.get({by!r})")
        if by not in _DIRECT:
            self._concept(key, name, depth)
        self._write(depth, f"{found} = {name}.get({key}) if type({key}) is str else None")
        self._write(depth, f"if {found} is not None:")
        chains = [one for one in follows.values() if type(one) is tuple]
        if len(chains) < len(follows):
            self._write(depth + 1, f"if type({found}) is not tuple: {found}({var}, row, odd)")
        if chains:
            if len(chains) < len(follows):
                self._write(depth + 1, "else:")
                depth += 1
            self._chain(found, var, any(one[3] for one in chains), depth + 1)

    def _concept(self, key: str, table: str, depth: int) -> None:
        """Code that takes the code of a concept: at once where it has a single coding."""
        self._write(
            depth,
            f"{key} = {key}['coding'][0].get('code') if type({key}) is dict"
            f" and type({key}.get('coding')) is list and len({key}['coding']) == 1"
            f" and type({key}['coding'][0]) is dict else code_of({key}, {table})",
        )

    def _chain(self, found: str, var: str, money: bool, depth: int) -> None:
        """Code that takes the one value that is wanted, one or two objects down."""
        value, owner = self._new(), self._new()
        self._write(depth, f"outer, inner, slot, money, unique, path = {found}")
        self._write(depth, f"{owner}, {value} = {var}, {var}.get(outer)")
        self._write(depth, f"if inner is not None and {value} is not None:")
        self._write(depth + 1, f"if type({value}) is dict:")
        self._write(depth + 2, f"{owner} = {value}")
        self._write(depth + 2, f"{value} = {value}.get(inner)")
        self._write(depth + 1, "else:")
        self._write(depth + 2, f"odd(path, {value}, {_OBJECT!r})")
        self._write(depth + 2, f"{value} = None")
        self._write(depth, f"if {value} is not None:")
        self._write(depth + 1, "if row[slot] is None:")
        self._write(depth + 2, f"row[slot] = {value}")
        if money and self._currency is not None:
            self._write(depth + 2, "if money:")
            self._write(depth + 3, self._note(owner, "path"))
        self._write(depth + 1, f"elif unique and row[slot] != {value}:")
        self._write(depth + 2, f"odd(path, {value}, {_TWICE!r})")


def note_currency(money: dict[str, Any], row: list[Any], slot: int, path: str, odd: Odd) -> None:
    """Note the currency of a Money: STU3 calls it ``code``, R4 ``currency``."""
    found = money.get("code") or money.get("currency")
    known = row[slot]
    if found == known or found is None or known is MIXED:
        return
    if type(found) is not str:
        odd(path, found, "a currency is text")
    elif known is None:
        row[slot] = found
    else:
        row[slot] = MIXED
        odd(path, found, f"another currency than {known} in the same row: no currency is given")


def code_of(concept: Any, wanted: dict[str, Any] | None = None) -> str | None:
    """The code that says what an element is about.

    CMS's R4 server gives two codings: a general one that several amounts share (``submitted``)
    and the Blue Button variable. The variable decides; the general code counts only where
    there is no variable, or amounts would be taken twice.

    Args:
        concept: a CodeableConcept.
        wanted: the codes that are asked for; without it any code will do.
    """
    if type(concept) is not dict:
        return None
    codings = concept.get("coding")
    general = None
    ours = False
    for coding in codings if type(codings) is list else (codings,):
        if type(coding) is not dict:
            continue
        code = coding.get("code")
        if type(code) is not str:
            continue
        if code.startswith(BB) or str(coding.get("system")).startswith(_CMS_SYSTEM):
            if wanted is None or code in wanted:
                return code
            ours = True
        elif general is None and (wanted is None or code in wanted):
            general = code
    return None if ours else general
