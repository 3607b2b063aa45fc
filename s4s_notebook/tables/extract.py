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

Report = Callable[[str, Any, str], None]
"""Called with (path, value, why) for each value that does not have the shape of FHIR."""
Extract = Callable[[Any, list[Any], Report], None]

MIXED = ("in several currencies",)
"""Stands in the currency slot of a row whose amounts are in more than one currency."""

_DIRECT = {"url", "system", "id"}  # these keys are text; the others are CodeableConcepts
OBJECT = "an object was expected"
_TWICE = "given twice with different values; the first is kept"
_CMS_SYSTEM = "https://bluebutton.cms.gov/"
_UNIQUE_KEYS = {"url", "category", "type"}  # one element a key: a second one is a problem
_STEP = re.compile(r"(\w+)(?:\[(\w+)(?:=([^\]]+))?\])?")


class Chain(NamedTuple):
    """The way to a single value, one or two objects below."""

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
        """Whether nothing stands below."""
        return not (self.keys or self.nth or self.picks)

    def child(self, step: str, path: str) -> Node:
        """Return the node that one step of a path leads to, made when it is new."""
        match = _STEP.fullmatch(step)
        if match is None:
            raise ValueError(f"not a path step: {step!r}")
        key, selector, match_value = match.groups()
        node = self.keys.setdefault(key, Node(path, self.unique))
        if selector is None:
            return node
        if match_value is None:
            return node.nth.setdefault(int(selector), Node(path, self.unique))
        unique = self.unique or selector in _UNIQUE_KEYS
        return node.picks.setdefault(selector, {}).setdefault(match_value, Node(path, unique))

    def chain(self) -> Chain | None:
        """Return the way to the value, where a single column is read from here."""
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
    """Return the tree of all paths.

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


def compile_paths(
    paths: Sequence[Sequence[str]], moneys: set[int], currency: int | None
) -> Extract:
    """Return a function that puts into ``row[i]`` the first value at one of ``paths[i]``.

    Args:
        paths: for each slot of a row its paths, see :func:`tree`.
        moneys: the slots that hold the value of a Money.
        currency: the slot for the currency of all amounts of a row.
    """
    return _Writer(currency).function(tree(paths, moneys))


def _within(code: str) -> str:
    return indent(code, "    ")


class _Writer:
    """Writes the extraction as Python source."""

    def __init__(self, currency: int | None) -> None:
        self._currency = currency
        self._names: dict[str, Any] = {
            "code_of": code_of, "note_currency": note_currency,
            "OBJECT": OBJECT, "TWICE": _TWICE,
        }  # fmt: skip

    def function(self, root: Node) -> Extract:
        code = f"def extract(element, row, report):\n{_within(self._element(root, 'element'))}"
        made = dict(self._names)
        exec(compile(code, "<extract>", "exec"), made)  # noqa: S102 - made from our own declaration
        extract: Extract = made["extract"]
        return extract

    def _new(self, value: Any = None) -> str:
        """Return a new name; that of a constant where there is a value."""
        name = f"v{len(self._names)}"
        self._names[name] = value
        return name

    def _element(self, node: Node, var: str) -> str:
        """Return code for one JSON object."""
        code = "".join(self._pick(by, table, var) for by, table in node.picks.items())
        for key, sub in node.keys.items():
            value = self._new()
            body = (
                self._store(repr(sub.slot), value, var, sub.money, sub.unique, repr(sub.path))
                if sub.leaf
                else self._value(sub, value)
            )
            code += f"{value} = {var}.get({key!r})\nif {value} is not None:\n{_within(body)}"
        return code or "pass\n"

    def _store(self, slot: str, value: str, owner: str, money: Any, unique: Any, path: str) -> str:
        """Return code that stores a value unless the slot has one.

        ``money`` and ``unique`` are values, or the names of variables.
        """
        code = f"if row[{slot}] is None:\n    row[{slot}] = {value}\n"
        if money and self._currency is not None:
            now = f"({owner}.get('code') or {owner}.get('currency')) != row[{self._currency}]"
            note = f"note_currency({owner}, row, {self._currency}, {path}, report)"
            code += f"    if {money} and {now}: {note}\n"
        if unique:
            code += f"elif {unique} and row[{slot}] != {value}: report({path}, {value}, TWICE)\n"
        return code

    def _value(self, node: Node, value: str) -> str:
        """Return code for what stands at a key: an object, a list of them, or a bare value."""
        code = "".join(self._nth(position, sub, value) for position, sub in node.nth.items())
        if code and not (node.keys or node.picks):
            return code
        item = self._new()
        empty = f"row[{node.slot}] is None"
        bare = f"elif type({item}) is not list and {empty}: row[{node.slot}] = {item}\n"
        return code + (
            f"for {item} in ({value} if type({value}) is list else ({value},)):\n"
            f"    if type({item}) is dict:\n{_within(_within(self._element(node, item)))}"
            f"{'' if node.slot is None else _within(bare)}"
            f"    else: report({node.path!r}, {item}, OBJECT)\n"
        )

    def _nth(self, position: int, node: Node, value: str) -> str:
        """Return code for the element at one place of a list."""
        item = self._new()
        body = (
            self._store(repr(node.slot), item, item, False, False, repr(node.path))
            if node.leaf
            else self._value(node, item)
        )
        return (
            f"{item} = {value} if type({value}) is list else ({value},)\n"
            f"{item} = {item}[{position}] if len({item}) > {position} else None\n"
            f"if {item} is not None:\n{_within(body)}"
        )

    def _pick(self, by: str, table: dict[str, Node], var: str) -> str:
        """Return code that follows an object when its key is one that a column asks for."""
        chains = {key_value: node.chain() for key_value, node in table.items()}
        parts = {chain.parts for chain in chains.values() if chain}
        same = next(iter(parts)) if len(parts) == 1 else None
        follows = {
            key_value: (chain.rest if same else chain) if chain else self.function(table[key_value])
            for key_value, chain in chains.items()
        }
        name, key, rule = self._new(follows), self._new(), self._new()
        code = f"{key} = {var}.get({by!r})\n"
        if by not in _DIRECT:  # at once where the concept has a single coding
            code += (
                f"if type({key}) is dict and type({rule} := {key}.get('coding')) is list"
                f" and len({rule}) == 1 and type({rule} := {rule}[0]) is dict:"
                f" {key} = {rule}.get('code')\nelse: {key} = code_of({key}, {name})\n"
            )
        code += f"{rule} = {name}.get({key}) if type({key}) is str else None\n"
        condition = f"if {rule} is not None"
        if not all(chains.values()):
            code += f"if callable({rule}): {rule}({var}, row, report)\n"
            condition = f"el{condition}"
        return f"{code}{condition}:\n{_within(self._chain(same, rule, var))}" if parts else code

    def _chain(self, same: tuple[Any, ...] | None, chain: str, var: str) -> str:
        """Return code that takes a single value; what all share is written as a constant."""
        value, owner = self._new(), self._new()
        if same is None:
            outer, inner, money, unique = "outer", "inner", "money", "unique"
            code = f"(outer, inner, money, unique), (slot, path) = {chain}\n"
            deeper = " and inner is not None"
        else:
            outer, inner, money, unique = repr(same[0]), same[1] and repr(same[1]), *same[2:]
            code, deeper = f"slot, path = {chain}\n", ""
        code += f"{owner}, {value} = {var}, {var}.get({outer})\n"
        if inner is not None:
            code += (
                f"if {value} is not None{deeper}:\n"
                f"    if type({value}) is dict:"
                f" {owner}, {value} = {value}, {value}.get({inner})\n"
                f"    else: {value} = report(path, {value}, OBJECT)\n"
            )
        store = self._store("slot", value, owner, money, unique, "path")
        return f"{code}if {value} is not None:\n{_within(store)}"


def note_currency(
    money: dict[str, Any], row: list[Any], slot: int, path: str, report: Report
) -> None:
    """Note the currency of a Money: STU3 calls it ``code``, R4 ``currency``."""
    currency = money.get("code") or money.get("currency")
    existing = row[slot]
    if currency == existing or currency is None or existing is MIXED:
        return
    if type(currency) is not str:
        report(path, currency, "a currency is text")
    elif existing is None:
        row[slot] = currency
    else:
        row[slot] = MIXED
        report(
            path,
            currency,
            f"another currency than {existing} in the same row: no currency is given",
        )


def code_of(concept: Any, codes: dict[str, Any] | None = None) -> str | None:
    """Return the code that says what an element is about.

    CMS's R4 server gives two codings: a general one that several amounts share (``submitted``)
    and the Blue Button variable. The variable decides; the general code counts only where
    there is no variable, or amounts would be taken twice.

    Args:
        concept: a CodeableConcept.
        codes: the codes that are looked for; without it any code will do.
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
        requested = codes is None or code in codes
        if code.startswith(BB) or str(coding.get("system")).startswith(_CMS_SYSTEM):
            if requested:
                return code
            ours = True
        elif general is None and requested:
            general = code
    return None if ours else general


def report_id(resource: Mapping[str, Any], key: str, report: Report) -> None:
    """Report an id that cannot serve as the key."""
    id_ = resource.get("id")
    if id_ is not None and id_ != key:
        report("id", id_, f"not usable as an id; {key} stands for it")


def usable(text: Any) -> bool:
    """Return whether this can be a key: text that a column can hold."""
    return type(text) is str and bool(text) and text.isprintable()


def inner(resource: Mapping[str, Any], outer: str, inner: str) -> Any:
    """Return an element of an element, None where either is absent."""
    value = resource.get(outer)
    return value.get(inner) if type(value) is dict else None


def listed(owner: Mapping[str, Any], element: str) -> Sequence[Any]:
    """Return an element as a list, with values of any type."""
    value = owner.get(element)
    return value if type(value) is list else () if value is None else (value,)


def codings(concept: Any) -> list[dict[str, Any]]:
    """Return the codings of a CodeableConcept of any shape."""
    return objects(concept.get("coding")) if type(concept) is dict else []
