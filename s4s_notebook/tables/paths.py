"""The declared paths of a table as one tree, so that a resource is walked once.

Repeating elements (extensions, codings, adjudications) are looked up by their key instead of
being searched once a column. STU3 and R4 share the tree: a resource brings the elements of its
own version and the others are absent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .columns import spell_out

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
