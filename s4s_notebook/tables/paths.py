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

# The key of an element in a list, for each kind of selector.
_DIRECT = {"url", "system", "id"}
_STEP = re.compile(r"(\w+)(?:\[(\w+)(?:=([^\]]+))?\])?")
_CMS_SYSTEM = "https://bluebutton.cms.gov/"


class Node:
    """One element of the tree; ``slot`` where a column's value stands here."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.slot: int | None = None
        self.money: int | None = None
        self.keys: dict[str, Node] = {}
        self.nth: dict[int, Node] = {}
        self.picks: dict[str, dict[str, Node]] = {}
        self.unique = False

    def child(self, step: str, prefix: str) -> Node:
        """The node that one step of a path leads to, made when it is new."""
        match = _STEP.fullmatch(step)
        if match is None:
            raise ValueError(f"not a path step: {step!r}")
        key, selector, wanted = match.groups()
        node = self.keys.setdefault(key, Node(prefix))
        node.unique |= self.unique
        if selector is None:
            return node
        if wanted is None:
            chosen = node.nth.setdefault(int(selector), Node(prefix))
        else:
            chosen = node.picks.setdefault(selector, {}).setdefault(wanted, Node(prefix))
            chosen.unique = selector in {"url", "category", "type"}
        chosen.unique |= node.unique
        return chosen


def split(path: str) -> list[str]:
    """The steps of a path; dots within a selector do not count."""
    return re.findall(r"\w+(?:\[[^\]]*\])?", path)


def compile_paths(paths: Sequence[str], moneys: set[int], currency: int | None) -> Walk:
    """One walk that puts the value of ``paths[i]`` into ``row[i]``.

    Args:
        paths: declared paths, abbreviated URLs allowed.
        moneys: the slots that hold the value of a Money.
        currency: the slot for the currency of all amounts of a row.
    """
    root = Node("")
    for slot, path in enumerate(paths):
        if not path or path.startswith("("):
            continue  # worked out from others
        node = root
        steps = split(spell_out(path))
        for count, step in enumerate(steps, 1):
            node = node.child(step, ".".join(split(path)[:count]))
        node.slot = slot
        node.money = currency if slot in moneys else None
    return _element(root)


def _element(node: Node) -> Walk:
    """The walk over one JSON object."""
    plain = tuple(
        (key, sub.slot, sub.money, sub.path, sub.unique)
        for key, sub in node.keys.items()
        if sub.slot is not None and not (sub.keys or sub.nth or sub.picks)
    )
    deep = tuple(
        (key, _value(sub)) for key, sub in node.keys.items() if sub.keys or sub.nth or sub.picks
    )
    if len(plain) == 1 and not deep:
        return _single(*plain[0])

    def walk(element: Any, row: list[Any], odd: Odd) -> None:
        for key, slot, money, path, unique in plain:
            value = element.get(key)
            if value is not None:
                if row[slot] is None:
                    row[slot] = value
                    if money is not None:
                        _currency(element, row, money, path, odd)
                elif unique and row[slot] != value:
                    odd(path, value, "given twice with different values; the first is kept")
        for key, follow in deep:
            value = element.get(key)
            if value is not None:
                follow(value, row, odd)

    return walk


def _single(key: str, slot: int, money: int | None, path: str, unique: bool) -> Walk:
    """As :func:`_element`, for the many objects of which one member is wanted."""

    def walk(element: Any, row: list[Any], odd: Odd) -> None:
        value = element.get(key)
        if value is not None:
            if row[slot] is None:
                row[slot] = value
                if money is not None:
                    _currency(element, row, money, path, odd)
            elif unique and row[slot] != value:
                odd(path, value, "given twice with different values; the first is kept")

    return walk


def _currency(element: dict[str, Any], row: list[Any], slot: int, path: str, odd: Odd) -> None:
    """Note the currency of a Money: STU3 calls it ``code``, R4 ``currency``."""
    found = element.get("currency") or element.get("code")
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


def _value(node: Node) -> Walk:
    """The walk over what stands at a key: an object, a list of them, or a bare value."""
    if node.picks or node.nth:
        return _listed(node)
    one, slot, path = _element(node), node.slot, node.path

    def walk(value: Any, row: list[Any], odd: Odd) -> None:
        if type(value) is dict:
            one(value, row, odd)
        elif type(value) is list:
            for element in value:
                if type(element) is dict:
                    one(element, row, odd)
                else:
                    odd(path, element, "an object was expected")
        elif slot is not None:
            if row[slot] is None:
                row[slot] = value
        else:
            odd(path, value, "an object was expected")

    return walk


def _listed(node: Node) -> Walk:
    """The walk over a repeating element of which some are chosen by key or by place."""
    pickers = tuple(_picker(by, table) for by, table in node.picks.items())
    nth = tuple((place, _value(sub)) for place, sub in node.nth.items())
    every = _element(node) if node.keys else None
    only = pickers[0] if len(pickers) == 1 and every is None else None
    path = node.path

    def walk(value: Any, row: list[Any], odd: Odd) -> None:
        elements = value if type(value) is list else (value,)
        for place, follow in nth:
            if place < len(elements) and elements[place] is not None:
                follow(elements[place], row, odd)
        for element in elements:
            if type(element) is not dict:
                if not nth:
                    odd(path, element, "an object was expected")
            elif only is not None:
                only(element, row, odd)
            else:
                for pick in pickers:
                    pick(element, row, odd)
                if every is not None:
                    every(element, row, odd)

    return walk


def _picker(by: str, table: dict[str, Node]) -> Walk:
    """Follow an element when its key is one that a column asks for."""
    follows = {wanted: _element(node) for wanted, node in table.items()}
    if by in _DIRECT:

        def direct(element: Any, row: list[Any], odd: Odd) -> None:
            key = element.get(by)
            if type(key) is str and key in follows:
                follows[key](element, row, odd)

        return direct

    def concept(element: Any, row: list[Any], odd: Odd) -> None:
        key = code_of(element.get(by), follows)
        if key is not None:
            follows[key](element, row, odd)

    return concept


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
