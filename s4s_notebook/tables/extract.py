"""Reads all columns of a table from a resource in one pass.

The declared paths of a table become one tree, and each node of it one closure. Repeating elements
(extensions, codings, adjudications) are looked up by what their key *means* (:func:`meaning`)
instead of being searched once a column. STU3, R4 and all payers share the tree: a resource brings
the elements of its own version and the others are absent.

What no column reads can be had too: with ``on_unread`` an :data:`Extract` calls
``on_unread(path, what, system, code, value)`` for each

- ``"key"``: element of an object that no column reads (its path, the value as it stands);
- ``"category"``: member of a list whose category, url, system or role no column asks for, with
  the system and the code that it stands under; ``"system"`` where the member is a coding.

It is called once for a whole subtree; values are JSON as they came. Elements that a module reads
itself (columns ``by_hand``) are reported here as well.

Below stands what reads single elements of a resource that may have any shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from ..fhir.resources import objects
from .columns import BB, spell_out

Report = Callable[[str, Any, str], None]
"""Called with (path, value, why) for each value that does not have the shape of FHIR."""
Unread = Callable[[str, str, Any, Any, Any], None]
"""Called with (path, what, system, code, value) for each subtree that no column reads."""


class Extract(Protocol):
    """Puts into a row what the declared paths lead to."""

    def __call__(
        self, element: Any, row: list[Any], report: Report, on_unread: Unread | None = None
    ) -> None:
        """Read one element."""


_Read = Callable[[Any, list[Any], Report, Any], None]

MIXED = ("in several currencies",)
"""Stands in the currency slot of a row whose amounts are in more than one currency."""

_DIRECT = {"url", "system", "id"}  # these keys are text; the others are CodeableConcepts
OBJECT = "an object was expected"
_TWICE = "given twice with different values; the first is kept"
_UNIQUE_KEYS = {"url", "category", "type"}  # one element a key: a second one is a problem
_STEP = re.compile(r"(\w+)(?:\[(\w+)(?:=([^\]]+))?\])?")
_VARIABLE = re.compile(r"[A-Z]+(-[A-Z0-9]+)+|[A-Za-z0-9]+(_[A-Za-z0-9]+)+")


@lru_cache(4096)
def meaning(text: str) -> str:
    """Return a system, url or code as it is compared.

    That is its last path segment in lower case with ``_`` for ``-``: publishers and versions
    change the rest of a URL.

    >>> meaning("https://bluebutton.cms.gov/fhir/CodeSystem/CLM-TYPE-CD")
    'clm_type_cd'
    """
    return text.rstrip("/").rsplit("/", 1)[-1].lower().replace("-", "_")


@lru_cache(4096)
def is_variable(code: str) -> bool:
    """Return whether a code is a CMS variable and not a general code, as in ``submitted``."""
    return code.startswith(BB) or bool(_VARIABLE.fullmatch(code.rsplit("/", 1)[-1]))


class Chain(NamedTuple):
    """The way to a single value, one or two objects below."""

    outer: str
    inner: str | None
    money: bool
    unique: bool
    slot: int
    path: str


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
        table = node.picks.setdefault(selector, {})
        return table.setdefault(meaning(match_value), Node(path, unique))

    def chain(self) -> Chain | None:
        """Return the way to the value, where a single column is read from here."""
        keys: list[str] = []
        node = self
        while len(keys) < 2 and len(node.keys) == 1 and not (node.nth or node.picks):
            key, node = next(iter(node.keys.items()))
            keys.append(key)
            if node.slot is not None and node.leaf:
                inner = keys[1] if len(keys) == 2 else None
                return Chain(keys[0], inner, node.money, node.unique, node.slot, node.path)
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
    several = re.search(r"=([^\]]*,[^\]]*)\]", path)
    if several is not None:
        for one in several[1].split(","):
            _plant(root, path.replace(several[1], one.strip(), 1), slot, money)
        return
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
    root = tree(paths, moneys)
    plain = _Compiler(currency, watch=False).element(root)
    watching: list[_Read] = []

    def extract(
        element: Any, row: list[Any], report: Report, on_unread: Unread | None = None
    ) -> None:
        if on_unread is None:
            plain(element, row, report, None)
            return
        if not watching:
            watching.append(_Compiler(currency, watch=True).element(root))
        watching[0](element, row, report, on_unread)

    return extract


class _Rules(dict[str, Any]):
    """What to do with a member of a list, by the text of its key as given."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, text: str) -> Any:
        rule = self._rules.get(meaning(text))
        if len(self) < 4096:
            self[text] = rule
        return rule

    def of(self, concept: Any) -> Any:
        """Return the rule of a CodeableConcept; a variable decides over a general code."""
        if type(concept) is not dict:
            return None
        general, unknown = None, False
        listed = concept.get("coding")
        for coding in listed if type(listed) is list else (listed,):
            code = coding.get("code") if type(coding) is dict else None
            if type(code) is not str:
                continue
            rule = self[code]
            if is_variable(code):
                if rule is not None:
                    return rule
                unknown = True
            elif general is None:
                general = rule
        return None if unknown else general


class _Compiler:
    """Makes closures of the tree.

    Args:
        currency: the slot for the currency of all amounts of a row.
        watch: whether what is not read is reported.
    """

    def __init__(self, currency: int | None, watch: bool) -> None:
        self._currency = currency
        self._watch = watch

    def element(self, node: Node) -> _Read:
        """Return the reader of one JSON object."""
        read = self._keys(node)
        for by, table in node.picks.items():
            read = self._both(self._pick(by, table, node.path), read)
        if self._watch:
            return self._watched(node, read)
        return read or (lambda *_: None)

    @staticmethod
    def _both(first: _Read, second: _Read | None) -> _Read:
        if second is None:
            return first

        def read(element: Any, row: list[Any], report: Report, unread: Any) -> None:
            first(element, row, report, unread)
            second(element, row, report, unread)

        return read

    @staticmethod
    def _watched(node: Node, inner: _Read | None) -> _Read:
        """Return a reader that also reports the keys that no column reads."""
        known = node.keys.keys() | node.picks.keys()
        known |= {
            chain.outer for t in node.picks.values() for n in t.values() if (chain := n.chain())
        }
        known |= {key for t in node.picks.values() for n in t.values() for key in n.keys}
        start = f"{node.path}." if node.path else ""

        def read(element: Any, row: list[Any], report: Report, unread: Any) -> None:
            if sum(key in element for key in known) != len(element):
                for key, value in element.items():
                    if key not in known:
                        unread(start + key, "key", None, None, value)
            if inner is not None:
                inner(element, row, report, unread)

        return read

    def _keys(self, node: Node) -> _Read | None:
        """Return the reader of the elements that have a column below or are one."""
        leaves = tuple(
            (key, sub.slot, sub.money, sub.unique, sub.path)
            for key, sub in node.keys.items()
            if sub.leaf and sub.slot is not None
        )
        deeper = tuple((key, self._value(sub)) for key, sub in node.keys.items() if not sub.leaf)
        store = self._again

        def read(element: Any, row: list[Any], report: Report, unread: Any) -> None:
            get = element.get
            for key, slot, money, unique, path in leaves:
                value = get(key)
                if value is not None:
                    if row[slot] is None and not money:
                        row[slot] = value
                    else:
                        store(element, value, row, slot, money, unique, path, report)
            for key, follow in deeper:
                value = get(key)
                if value is not None:
                    follow(value, row, report, unread)

        return read if leaves or deeper else None

    def _again(
        self, owner: Any, value: Any, row: list[Any], slot: Any, money: bool, unique: bool,
        path: str, report: Report,
    ) -> None:  # fmt: skip
        """Store a value unless the slot has one; note the currency of an amount."""
        currency = self._currency
        if row[slot] is None:
            row[slot] = value
            if (
                money
                and currency is not None
                and (owner.get("code") or owner.get("currency")) != row[currency]
            ):
                note_currency(owner, row, currency, path, report)
        elif unique and row[slot] != value:
            report(path, value, _TWICE)

    def _value(self, node: Node) -> _Read:
        """Return the reader of an object, a list of them, or a bare value."""
        nth = tuple((position, self._one(sub)) for position, sub in node.nth.items())
        if nth and not (node.keys or node.picks):
            return self._nth(nth)
        inner, slot, path = self.element(node), node.slot, node.path
        table = next(iter(node.picks.values()), {})
        chains = {key: sub.chain() for key, sub in table.items()}
        if not (self._watch or node.keys or nth or slot is not None) and all(chains.values()):
            by = next(iter(node.picks))
            if len(node.picks) == 1 and by not in _DIRECT:
                return self._amounts(by, chains, path)

        first = self._nth(nth) if nth else None

        def read(value: Any, row: list[Any], report: Report, unread: Any) -> None:
            if first is not None:
                first(value, row, report, unread)
            for item in value if type(value) is list else (value,):
                if type(item) is dict:
                    inner(item, row, report, unread)
                elif slot is not None and type(item) is not list:
                    if row[slot] is None:
                        row[slot] = item
                else:
                    report(path, item, OBJECT)

        return read

    def _one(self, node: Node) -> _Read:
        slot: Any = node.slot
        if not node.leaf:
            return self._value(node)

        def read(value: Any, row: list[Any], _report: Report, _unread: Any) -> None:
            if row[slot] is None:
                row[slot] = value

        return read

    @staticmethod
    def _nth(nth: Sequence[tuple[int, _Read]]) -> _Read:
        """Return the reader of elements at certain places of a list."""

        def read(value: Any, row: list[Any], report: Report, unread: Any) -> None:
            items = value if type(value) is list else (value,)
            for position, follow in nth:
                if len(items) > position and items[position] is not None:
                    follow(items[position], row, report, unread)

        return read

    def _amounts(self, by: str, chains: Mapping[str, Any], path: str) -> _Read:
        """Return the reader of a list in which each member fills one column at most."""
        rules = _Rules(chains)
        again, currency = self._chain, self._currency

        def read(value: Any, row: list[Any], report: Report, _unread: Any) -> None:
            items = value if type(value) is list else (value,)
            for item in items:
                if type(item) is not dict:
                    report(path, item, OBJECT)
                    continue
                concept: Any = item.get(by)
                try:
                    (coding,) = concept["coding"]
                    rule = rules[coding["code"]]
                except (TypeError, ValueError, KeyError, AttributeError):
                    rule = rules.of(concept)
                if rule is None:
                    continue
                outer, inner, money, _, slot, _ = rule
                owner = item.get(outer)
                if type(owner) is dict and inner is not None and row[slot] is None:
                    found = owner.get(inner)
                    if found is not None:
                        row[slot] = found
                        if (
                            money
                            and currency is not None
                            and (owner.get("code") or owner.get("currency")) != row[currency]
                        ):
                            note_currency(owner, row, currency, rule[5], report)
                elif owner is not None:
                    again(item, rule, row, report, (rules, by, items))

        return read

    def _chain(
        self, item: Any, rule: Chain, row: list[Any], report: Report, within: Any = None
    ) -> None:
        """Take a single value one or two objects below a member of a list."""
        owner, value = item, item.get(rule.outer)
        if rule.inner is not None and value is not None:
            if type(value) is dict:
                owner, value = value, value.get(rule.inner)
            else:
                report(rule.path, value, OBJECT)
                value = None
        if value is None:
            return
        if rule.money and within is not None and _adds(item, rule, row, value, *within):
            row[rule.slot] += value
        else:
            self._again(owner, value, row, rule.slot, rule.money, rule.unique, rule.path, report)

    def _pick(self, by: str, table: Mapping[str, Node], path: str) -> _Read:
        """Return the reader of an object whose key says which column it fills."""
        rules = _Rules({key: sub.chain() or self.element(sub) for key, sub in table.items()})
        direct, chain, watch = by in _DIRECT, self._chain, self._watch

        def read(element: Any, row: list[Any], report: Report, unread: Any) -> None:
            key = element.get(by)
            rule = rules.of(key) if not direct else rules[key] if type(key) is str else None
            if rule is None:
                if watch:
                    _unread_member(path, by, element, unread)
            elif type(rule) is Chain:
                chain(element, rule, row, report)
            else:
                rule(element, row, report, unread)

        return read


def _unread_member(path: str, by: str, element: Any, unread: Unread) -> None:
    """Report a member of a list that no column asks for."""
    key = element.get(by)
    if by in _DIRECT:
        what = "system" if by == "system" else "category"
        unread(path, what, key, element.get("code"), element)
        return
    first: Any = next(iter(codings(key)), {})
    unread(path, "category", first.get("system"), first.get("code"), element)


def _adds(
    item: Any, rule: Chain, row: list[Any], value: Any, rules: _Rules, by: str, items: Any
) -> bool:
    """Return whether an amount is a further one of its kind in the same list.

    Two copayments are two amounts. A CMS variable that comes twice is an error of the holder.
    """
    codes = [coding.get("code") for coding in codings(item.get(by))]
    if any(type(code) is str and is_variable(code) for code in codes):
        return False
    numbers = {int, float}
    if type(value) not in numbers or type(row[rule.slot]) not in numbers:
        return False
    for other in items:
        if other is item:
            return False
        if type(other) is dict and rules.of(other.get(by)) is rule:
            return True
    return False


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


def code_of(concept: Any) -> str | None:
    """Return the code that says what an element is about, as :func:`meaning` spells it.

    CMS gives two codings: a general one that several amounts share (``submitted``) and the
    variable. The variable decides.
    """
    general = None
    for coding in codings(concept):
        code = coding.get("code")
        if type(code) is str:
            if is_variable(code):
                return meaning(code)
            general = general or code
    return None if general is None else meaning(general)


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


def first_code(concept: Any) -> Any:
    """Return the code of the first coding that has one, as given."""
    return next((c["code"] for c in codings(concept) if c.get("code") is not None), None)
