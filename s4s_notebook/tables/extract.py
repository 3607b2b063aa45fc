"""Reads all columns of a table from a resource in one pass.

The declared paths of a table become one tree, and each node of it one closure. Repeating elements
(extensions, codings, adjudications) are looked up by what their key *means* (:func:`meaning`)
instead of being searched once a column. STU3, R4 and all payers share the tree: a resource brings
the elements of its own version and the others are absent.

Below stands what reads single elements of a resource that may have any shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
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
_MISNAMED = {("clm_tot_chrg_amt", "priorpayerpaid")}
"""A CMS variable that is wrong beside a general code: Blue Button v2 puts what a prior payer paid
for a carrier claim under the variable of the total charge. The general code counts."""
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

    def chains(self) -> tuple[Chain, ...]:
        """Return the ways to the values, where each is one or two objects below; else nothing."""
        found: list[Chain] = []
        if self.nth or self.picks or self.slot is not None:
            return ()
        for key, node in self.keys.items():
            if node.leaf and node.slot is not None:
                found.append(Chain(key, None, node.money, node.unique, node.slot, node.path))
                continue
            if node.slot is not None or node.nth or node.picks:
                return ()
            for inner, end in node.keys.items():
                if not end.leaf or end.slot is None:
                    return ()
                found.append(Chain(key, inner, end.money, end.unique, end.slot, end.path))
        return tuple(found)


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
    if "total" in root.keys and "adjudication" in root.keys:
        # Read in this order: a total counts before the adjudication of the claim's header.
        root.keys["adjudication"] = root.keys.pop("adjudication")
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
    return _Compiler(currency).element(tree(paths, moneys))


def _is_misnamed(one: str, other: str) -> bool:
    pair = meaning(one), meaning(other)
    return pair in _MISNAMED or pair[::-1] in _MISNAMED


class _Rules(dict[str, Any]):
    """What to do with a member of a list, by the text of its key as given."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        super().__init__()
        self._rules = rules
        self._pairs: dict[tuple[Any, Any], Any] = {}

    def __missing__(self, text: str) -> Any:
        rule = self._rules.get(meaning(text))
        if len(self) < 4096:
            self[text] = rule
        return rule

    def of(self, concept: Any) -> Any:
        """Return the rule of a CodeableConcept; a variable decides over a general code."""
        if type(concept) is not dict:
            return None
        listed = concept.get("coding")
        codings = listed if type(listed) is list else (listed,)
        codes = [coding.get("code") for coding in codings if type(coding) is dict]
        texts = [code for code in codes if type(code) is str]
        if len(texts) == 1:
            return self[texts[0]]
        if len(texts) != 2:
            return self._first(texts)
        pair = texts[0], texts[1]
        if pair not in self._pairs:
            rule = self._first(texts)
            if len(self._pairs) >= 4096:
                return rule
            self._pairs[pair] = rule
        return self._pairs[pair]

    def _first(self, codes: Sequence[str]) -> Any:
        variables = [code for code in codes if is_variable(code)]
        general = next((self[code] for code in codes if code not in variables), None)
        if not variables or (len(codes) == 2 and _is_misnamed(*codes)):
            return general
        return next((rule for code in variables if (rule := self[code]) is not None), None)


class _Compiler:
    """Makes closures of the tree.

    Args:
        currency: the slot for the currency of all amounts of a row.
    """

    def __init__(self, currency: int | None) -> None:
        self._currency = currency

    def element(self, node: Node) -> Extract:
        """Return the reader of one JSON object."""
        readers = [self._pick(by, table) for by, table in node.picks.items()]
        keys = self._keys(node)
        if keys is not None:
            readers.append(keys)
        if len(readers) == 1:
            return readers[0]

        def read(element: Any, row: list[Any], report: Report) -> None:
            for each in readers:
                each(element, row, report)

        return read

    def _keys(self, node: Node) -> Extract | None:
        """Return the reader of the elements that have a column below or are one."""
        leaves: Any = tuple(
            (key, sub.slot, sub.money, sub.unique, sub.path)
            for key, sub in node.keys.items()
            if sub.leaf
        )
        deeper = tuple((key, self._value(sub)) for key, sub in node.keys.items() if not sub.leaf)
        if not leaves and not deeper:
            return None
        store = self._store

        def read(element: Any, row: list[Any], report: Report) -> None:
            for key, slot, money, unique, path in leaves:
                if key in element:
                    value = element[key]
                    if row[slot] is None and not money:
                        row[slot] = value
                    elif value is not None:
                        store(element, value, row, slot, money, unique, path, report)
            for key, follow in deeper:
                if key in element:
                    value = element[key]
                    if value is not None:
                        follow(value, row, report)

        return read

    def _store(
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
        elif unique and money and row[slot] != value:
            report(path, value, _TWICE)

    def _value(self, node: Node) -> Extract:
        """Return the reader of an object, a list of them, or a bare value."""
        nth = self._nth(node) if node.nth else None
        if nth is not None and not (node.keys or node.picks):
            return nth
        slot, path = node.slot, node.path
        if nth is None and slot is None and len(node.picks) == 1:
            return self._members(node)
        inner = self.element(node)

        def read(value: Any, row: list[Any], report: Report) -> None:
            if nth is not None:
                nth(value, row, report)
            for item in value if type(value) is list else (value,):
                if type(item) is dict:
                    inner(item, row, report)
                elif slot is not None and type(item) is not list:
                    if row[slot] is None:
                        row[slot] = item
                else:
                    report(path, item, OBJECT)

        return read

    def _nth(self, node: Node) -> Extract:
        """Return the reader of elements at certain places of a list."""
        places = tuple(
            (position, sub.slot, None if sub.leaf else self._value(sub))
            for position, sub in node.nth.items()
        )

        def read(value: Any, row: list[Any], report: Report) -> None:
            items = value if type(value) is list else (value,)
            for position, slot, follow in places:
                item = items[position] if len(items) > position else None
                if item is None:
                    continue
                if follow is not None:
                    follow(item, row, report)
                elif slot is not None and row[slot] is None:
                    row[slot] = item

        return read

    def _members(self, node: Node) -> Extract:
        """Return the reader of a list whose members say by one key what they are."""
        ((by, table),) = node.picks.items()
        rules, path = self._rules(by, table), node.path
        keys = self._keys(node), tuple(node.keys)
        if by in _DIRECT:
            return _members_by_text(by, rules, keys, path)
        return _members_by_concept(by, rules, keys, path)

    def _rules(self, by: str, table: Mapping[str, Node]) -> _Rules:
        """Return for each key what reads a member: (member, row, report, list)."""
        made: dict[str, Any] = {}
        rules = _Rules(made)
        for key, sub in table.items():
            chains = sub.chains()
            made[key] = self._chains(chains, rules, by) if chains else _member(self.element(sub))
        return rules

    def _chains(self, chains: tuple[Chain, ...], rules: _Rules, by: str) -> Any:
        """Return what takes single values one or two objects below a member of a list."""
        takers = [
            self._amount(chain, rules, by) if chain.money else _single(chain) for chain in chains
        ]
        if len(takers) == 1:
            return takers[0]

        def take(member: Any, row: list[Any], report: Report, members: Any) -> None:
            for each in takers:
                each(member, row, report, members)

        return take

    def _amount(self, chain: Chain, rules: _Rules, by: str) -> Any:
        """Return what takes an amount and its currency."""
        outer, inner, _, unique, slot, path = chain
        currency = self._currency

        def take(member: Any, row: list[Any], report: Report, members: Any) -> None:
            owner = member if inner is None else member.get(outer)
            if type(owner) is not dict:
                if owner is not None:
                    report(path, owner, OBJECT)
                return
            value = owner.get(inner or outer)
            if value is None:
                return
            if row[slot] is None:
                row[slot] = value
                if currency is not None:
                    stated = owner.get("code") or owner.get("currency")
                    if stated != row[currency]:
                        note_currency(owner, row, currency, path, report)
            elif _adds(member, rules, by, members, row[slot], value):
                row[slot] += value
            elif unique and row[slot] != value:
                report(path, value, _TWICE)

        return take

    def _pick(self, by: str, table: Mapping[str, Node]) -> Extract:
        """Return the reader of an object whose key says which column it fills."""
        rules, direct = self._rules(by, table), by in _DIRECT

        def read(element: Any, row: list[Any], report: Report) -> None:
            key = element.get(by)
            rule = rules.of(key) if not direct else rules[key] if type(key) is str else None
            if rule is not None:
                rule(element, row, report, ())

        return read


def _member(read: Extract) -> Any:
    """Return the reader of an object as one of a member of a list."""

    def take(member: Any, row: list[Any], report: Report, _members: Any) -> None:
        read(member, row, report)

    return take


def _single(chain: Chain) -> Any:
    """Return what takes a value that is no amount."""
    outer, inner, _, _, slot, path = chain

    def direct(member: Any, row: list[Any], _report: Report, _members: Any) -> None:
        if row[slot] is None:
            row[slot] = member.get(outer)

    def below(member: Any, row: list[Any], report: Report, _members: Any) -> None:
        value = member.get(outer)
        if type(value) is dict:
            if row[slot] is None:
                row[slot] = value.get(inner)
        elif value is not None:
            report(path, value, OBJECT)

    return direct if inner is None else below


Keys = tuple[Extract | None, tuple[str, ...]]
"""What reads the elements that all members of a list have, and which elements those are."""


def _members_by_text(by: str, rules: _Rules, keys: Keys, path: str) -> Extract:
    """Return the reader of a list whose members are told apart by a text, such as a URL."""
    common, _ = keys

    def read(value: Any, row: list[Any], report: Report) -> None:
        members = value if type(value) is list else (value,)
        for member in members:
            if type(member) is not dict:
                report(path, member, OBJECT)
                continue
            if common is not None:
                common(member, row, report)
            text = member.get(by)
            if type(text) is str and (rule := rules[text]) is not None:
                rule(member, row, report, members)

    return read


def _members_by_concept(by: str, rules: _Rules, keys: Keys, path: str) -> Extract:
    """Return the reader of a list whose members are told apart by a CodeableConcept."""
    of, (common, names) = rules.of, keys
    first, last = (names[0], names[-1]) if names else ("", "")
    always = len(names) > 2

    def read(value: Any, row: list[Any], report: Report) -> None:
        members = value if type(value) is list else (value,)
        for member in members:
            if type(member) is not dict:
                report(path, member, OBJECT)
                continue
            if common is not None and (always or first in member or last in member):
                common(member, row, report)
            try:  # the usual shape: a single coding
                (coding,) = member[by]["coding"]
                rule = rules[coding["code"]]
            except (KeyError, TypeError, ValueError, AttributeError):
                rule = of(member.get(by))
            if rule is not None:
                rule(member, row, report, members)

    return read


def _adds(member: Any, rules: _Rules, by: str, members: Any, existing: Any, value: Any) -> bool:
    """Return whether an amount is a further one of its kind in the same list.

    Two copayments are two amounts. A CMS variable that comes twice is an error of the holder.
    """
    numbers = {int, float}
    if by in _DIRECT or type(value) not in numbers or type(existing) not in numbers:
        return False
    if any(is_variable(code) for code in codes_of(member.get(by))):
        return False
    rule = rules.of(member.get(by))
    for other in members:
        if other is member:
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


def codes_of(concept: Any) -> set[str]:
    """Return the codes of all codings of a CodeableConcept, as given."""
    return {code for c in codings(concept) if type(code := c.get("code")) is str}
