"""Reads all columns of a table from a resource in one pass.

The declared paths of a table become one tree, and the tree becomes one Python function, written
out as source: inlined, it takes half the time of nested calls, and ten thousand claims are some
eight million steps. Repeating elements (extensions, codings, adjudications) are looked up by
their key instead of being searched once a column. STU3 and R4 share the tree: a resource brings
the elements of its own version and the others are absent.

Below stands what reads single elements of a resource that may have any shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from textwrap import indent
from typing import Any, NamedTuple

from ..fhir.resources import objects
from .columns import BB, spell_out

Odd = Callable[[str, Any, str], None]
"""Told (path, value, why) of whatever does not have the shape that FHIR gives it."""
Walk = Callable[[Any, list[Any], Odd], None]

MIXED = ("in several currencies",)
"""Stands in the currency slot of a row whose amounts are in more than one currency."""

_DIRECT = {"url", "system", "id"}  # these keys are text; the others are CodeableConcepts
OBJECT = "an object was expected"
_TWICE = "given twice with different values; the first is kept"
_CMS_SYSTEM = "https://bluebutton.cms.gov/"
_UNIQUE = {"url", "category", "type"}  # one element a key: a second one is worth a word
_STEP = re.compile(r"(\w+)(?:\[(\w+)(?:=([^\]]+))?\])?")


class Chain(NamedTuple):
    """The way to a single value, one or two objects down."""

    parts: tuple[str, str | None, bool, bool]  # outer key, inner key, money, unique
    rest: tuple[int, str]  # slot, path


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

    def chain(self) -> Chain | None:
        """The way to the value, where a single one is wanted from here."""
        keys: list[str] = []
        node = self
        while len(keys) < 2 and len(node.keys) == 1 and not (node.nth or node.picks):
            key, node = next(iter(node.keys.items()))
            keys.append(key)
            if node.slot is not None and node.leaf:
                inner = keys[1] if len(keys) == 2 else None
                parts = keys[0], inner, node.money, node.unique
                return Chain(parts, (node.slot, node.path))
        return None


def tree(paths: Sequence[Sequence[str]], moneys: set[int]) -> Node:
    """The tree of all paths.

    Args:
        paths: for each slot of a row its paths, in order of preference; abbreviated URLs allowed.
        moneys: the slots that hold the value of a Money.
    """
    root = Node("")
    for rank in range(max(map(len, paths), default=0)):
        for slot, ranked in enumerate(paths):
            if rank < len(ranked) and not ranked[rank].startswith("("):
                _plant(root, ranked[rank], slot, slot in moneys)
    return root


def _plant(root: Node, path: str, slot: int, money: bool) -> None:
    steps = re.findall(r"\w+(?:\[[^\]]*\])?", path)  # dots within a selector do not count
    node = root
    for count, step in enumerate(steps, 1):
        node = node.child(spell_out(step), ".".join(steps[:count]))
    if node.slot not in {None, slot}:
        raise ValueError(f"two columns read {path}")
    node.slot, node.money = slot, money


def compile_paths(paths: Sequence[Sequence[str]], moneys: set[int], currency: int | None) -> Walk:
    """One walk that puts into ``row[i]`` the first value found at one of ``paths[i]``.

    Args:
        paths, moneys: see :func:`~s4s_notebook.tables.paths.tree`.
        currency: the slot for the currency of all amounts of a row.
    """
    return _Writer(currency).function(tree(paths, moneys))


def _within(code: str) -> str:
    return indent(code, "    ")


class _Writer:
    """Writes the walk as Python source."""

    def __init__(self, currency: int | None) -> None:
        self._currency = currency
        self._names: dict[str, Any] = {
            "code_of": code_of, "note_currency": note_currency,
            "OBJECT": OBJECT, "TWICE": _TWICE,
        }  # fmt: skip

    def function(self, root: Node) -> Walk:
        code = f"def walk(element, row, odd):\n{_within(self._element(root, 'element'))}"
        made = dict(self._names)
        exec(compile(code, "<walk>", "exec"), made)  # noqa: S102 - made from our own declaration
        walk: Walk = made["walk"]
        return walk

    def _new(self, value: Any = None) -> str:
        """A name that is not taken yet; a constant's where there is a value."""
        name = f"v{len(self._names)}"
        self._names[name] = value
        return name

    def _element(self, node: Node, var: str) -> str:
        """Code for one JSON object."""
        code = "".join(self._pick(by, table, var) for by, table in node.picks.items())
        for key, sub in node.keys.items():
            value = self._new()
            what = (
                self._store(repr(sub.slot), value, var, sub.money, sub.unique, repr(sub.path))
                if sub.leaf
                else self._value(sub, value)
            )
            code += f"{value} = {var}.get({key!r})\nif {value} is not None:\n{_within(what)}"
        return code or "pass\n"

    def _store(self, slot: str, value: str, owner: str, money: Any, unique: Any, path: str) -> str:
        """Code that keeps a value; the first one stays. ``money`` and ``unique`` are what is
        known now, or the names of variables."""
        code = f"if row[{slot}] is None:\n    row[{slot}] = {value}\n"
        if money and self._currency is not None:
            now = f"({owner}.get('code') or {owner}.get('currency')) != row[{self._currency}]"
            note = f"note_currency({owner}, row, {self._currency}, {path}, odd)"
            code += f"    if {money} and {now}: {note}\n"
        if unique:
            code += f"elif {unique} and row[{slot}] != {value}: odd({path}, {value}, TWICE)\n"
        return code

    def _value(self, node: Node, value: str) -> str:
        """Code for what stands at a key: an object, a list of them, or a bare value."""
        code = "".join(self._nth(place, sub, value) for place, sub in node.nth.items())
        if code and not (node.keys or node.picks):
            return code
        one = self._new()
        bare = (
            f"elif type({one}) is not list and row[{node.slot}] is None: row[{node.slot}] = {one}\n"
        )
        return code + (
            f"for {one} in ({value} if type({value}) is list else ({value},)):\n"
            f"    if type({one}) is dict:\n{_within(_within(self._element(node, one)))}"
            f"{'' if node.slot is None else _within(bare)}"
            f"    else: odd({node.path!r}, {one}, OBJECT)\n"
        )

    def _nth(self, place: int, node: Node, value: str) -> str:
        """Code for the element at one place of a list."""
        one = self._new()
        what = (
            self._store(repr(node.slot), one, one, False, False, repr(node.path))
            if node.leaf
            else self._value(node, one)
        )
        return (
            f"{one} = {value} if type({value}) is list else ({value},)\n"
            f"{one} = {one}[{place}] if len({one}) > {place} else None\n"
            f"if {one} is not None:\n{_within(what)}"
        )

    def _pick(self, by: str, table: dict[str, Node], var: str) -> str:
        """Code that follows an object when its key is one that a column asks for."""
        chains = {wanted: node.chain() for wanted, node in table.items()}
        parts = {chain.parts for chain in chains.values() if chain}
        same = next(iter(parts)) if len(parts) == 1 else None
        follows = {
            wanted: (chain.rest if same else chain) if chain else self.function(table[wanted])
            for wanted, chain in chains.items()
        }
        name, key, found = self._new(follows), self._new(), self._new()
        code = f"{key} = {var}.get({by!r})\n"
        if by not in _DIRECT:  # at once where the concept has a single coding
            code += (
                f"if type({key}) is dict and type({found} := {key}.get('coding')) is list"
                f" and len({found}) == 1 and type({found} := {found}[0]) is dict:"
                f" {key} = {found}.get('code')\nelse: {key} = code_of({key}, {name})\n"
            )
        code += f"{found} = {name}.get({key}) if type({key}) is str else None\n"
        condition = f"if {found} is not None"
        if not all(chains.values()):
            code += f"if callable({found}): {found}({var}, row, odd)\n"
            condition = f"el{condition}"
        return f"{code}{condition}:\n{_within(self._chain(same, found, var))}" if parts else code

    def _chain(self, same: tuple[Any, ...] | None, found: str, var: str) -> str:
        """Code that takes a single value; what all have in common is written as a constant."""
        value, owner = self._new(), self._new()
        if same is None:
            outer, inner, money, unique = "outer", "inner", "money", "unique"
            code = f"(outer, inner, money, unique), (slot, path) = {found}\n"
            deeper = " and inner is not None"
        else:
            outer, inner, money, unique = repr(same[0]), same[1] and repr(same[1]), *same[2:]
            code, deeper = f"slot, path = {found}\n", ""
        code += f"{owner}, {value} = {var}, {var}.get({outer})\n"
        if inner is not None:
            code += (
                f"if {value} is not None{deeper}:\n"
                f"    if type({value}) is dict:"
                f" {owner}, {value} = {value}, {value}.get({inner})\n"
                f"    else: {value} = odd(path, {value}, OBJECT)\n"
            )
        store = self._store("slot", value, owner, money, unique, "path")
        return f"{code}if {value} is not None:\n{_within(store)}"


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
    codings: Any = concept.get("coding")
    general = None
    ours = False
    for coding in codings if type(codings) is list else (codings,):
        code = coding.get("code") if type(coding) is dict else None
        if type(code) is not str:
            continue
        asked = wanted is None or code in wanted
        if code.startswith(BB) or str(coding.get("system")).startswith(_CMS_SYSTEM):
            if asked:
                return code
            ours = True
        elif general is None and asked:
            general = code
    return None if ours else general


def odd_id(resource: Mapping[str, Any], key: str, odd: Odd) -> None:
    """Say so where the id cannot serve as the key."""
    given = resource.get("id")
    if given is not None and given != key:
        odd("id", given, f"not usable as an id; {key} stands for it")


def usable(text: Any) -> bool:
    """Whether this can be a key: text that a column can hold."""
    return type(text) is str and bool(text) and text.isprintable()


def inner(resource: Mapping[str, Any], outer: str, inner: str) -> Any:
    found = resource.get(outer)
    return found.get(inner) if type(found) is dict else None


def listed(owner: Mapping[str, Any], element: str) -> Sequence[Any]:
    """What stands at an element, as a list, odd things included."""
    found = owner.get(element)
    return found if type(found) is list else () if found is None else (found,)


def codings(concept: Any) -> list[dict[str, Any]]:
    """Return the codings of a CodeableConcept of any shape."""
    return objects(concept.get("coding")) if type(concept) is dict else []
