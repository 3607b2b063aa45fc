"""Assign claim lines to studies: exact day first, then score; one augmenting step; rivals.

One call is for the lines of one participant and one code. What is exclusive is a slot of a study:
the technical or the professional part of one side; a global line needs both parts. With at most a
few dozen pairs each, an assignment is made anew for every question "and without this pair?".
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field

CLOSE = 0.03
"""Costs below do not decide between two assignments."""

_EXACT = 0.1  # what the same day is worth beyond its score

Slot = tuple[int, Hashable]


@dataclass(slots=True, eq=False)
class Pair:
    """A line that may be for a study.

    Attributes:
        line: number of the line.
        study: number of the study.
        value: score with all evidence; not limited to 1.
        exact: same day.
        direct: an accession or order number says it.
        days: days apart.
        slots: which parts of the study the line is for.
        repeat: the line may share its slots with another (modifier 76, 77, 59, XE, XS, XP, XU).
        reasons: what speaks for the pair.
        rivals: pairs that would serve about as well.
    """

    line: int
    study: int
    value: float
    exact: bool
    direct: bool
    days: int
    slots: frozenset[Hashable]
    repeat: bool = False
    reasons: list[str] = field(default_factory=list)
    rivals: list[Pair] = field(default_factory=list)

    @property
    def worth(self) -> float:
        """What the pair adds to an assignment."""
        return self.value + _EXACT * self.exact + self.direct

    @property
    def taken(self) -> Iterable[Slot]:
        """The slots of its study."""
        return ((self.study, slot) for slot in self.slots)


def _order(pair: Pair) -> tuple[object, ...]:
    return (
        not pair.direct,
        not pair.exact,
        -round(pair.value, 6),
        abs(pair.days),
        len(pair.slots),
        pair.study,
        pair.line,
    )


def assign(pairs: Collection[Pair], forbidden: Collection[Pair] = ()) -> list[Pair]:
    """Return the pairs of the greedy assignment, after one augmenting step for each line."""
    ordered = sorted((pair for pair in pairs if pair not in forbidden), key=_order)
    by_line: dict[int, Pair] = {}
    by_slot: dict[Slot, Pair] = {}
    for pair in ordered:
        if pair.line not in by_line and not any(slot in by_slot for slot in pair.taken):
            _place(pair, by_line, by_slot)
    for pair in ordered:
        if pair.line not in by_line:
            _augment(pair, ordered, by_line, by_slot)
    _exchange(ordered, by_line)
    return list(by_line.values())


def _exchange(ordered: list[Pair], by_line: dict[int, Pair]) -> None:
    """Let two lines exchange their studies where that is better for both together."""
    known = {(pair.line, pair.study): pair for pair in ordered}
    for line in list(by_line):
        for other in list(by_line):
            own, its = by_line[line], by_line[other]
            if line >= other or own.slots != its.slots:
                continue
            to, back = known.get((line, its.study)), known.get((other, own.study))
            if to and back and to.worth + back.worth > own.worth + its.worth + 1e-9:
                by_line[line], by_line[other] = to, back


def _place(pair: Pair, by_line: dict[int, Pair], by_slot: dict[Slot, Pair]) -> None:
    by_line[pair.line] = pair
    by_slot.update(dict.fromkeys(pair.taken, pair))


def _augment(
    pair: Pair, ordered: list[Pair], by_line: dict[int, Pair], by_slot: dict[Slot, Pair]
) -> None:
    """Make room for a line where the one that has its study fits another as well."""
    holders = {id(by_slot[slot]): by_slot[slot] for slot in pair.taken if slot in by_slot}
    if len(holders) != 1:
        return
    (holder,) = holders.values()
    for other in ordered:
        if (
            other.line == holder.line
            and other.study != holder.study
            and other.exact >= holder.exact
            and other.direct >= holder.direct
            and not any(slot in by_slot for slot in other.taken)
        ):
            for slot in holder.taken:
                del by_slot[slot]
            _place(other, by_line, by_slot)
            _place(pair, by_line, by_slot)
            return


def solve(pairs: Collection[Pair]) -> list[Pair]:
    """Return the assignment, with the rivals of each pair.

    A pair is ambiguous if forbidding it costs the whole group less than :data:`CLOSE`; its
    rivals are the pairs that would then stand instead.
    """
    result = assign(pairs)
    total = sum(pair.worth for pair in result)
    lines: dict[int, int] = {}
    slots: dict[Slot, int] = {}
    for pair in pairs:
        lines[pair.line] = lines.get(pair.line, 0) + 1
        for slot in pair.taken:
            slots[slot] = slots.get(slot, 0) + 1
    for pair in result:
        contested = lines[pair.line] > 1 or any(slots[slot] > 1 for slot in pair.taken)
        if contested and not pair.direct:
            _find_rivals(pair, pairs, result, total)
    return result + _sharing(pairs, result)


def _find_rivals(pair: Pair, pairs: Collection[Pair], result: list[Pair], total: float) -> None:
    forbidden = [pair]
    while True:
        other = assign(pairs, forbidden)
        if total - sum(one.worth for one in other) >= CLOSE:
            return
        new = [one for one in other if one not in result and one not in forbidden]
        rivals = [one for one in new if one.line == pair.line or one.study == pair.study]
        if not rivals:
            return
        pair.rivals += [one for one in rivals if one not in pair.rivals]
        forbidden += rivals


def _sharing(pairs: Collection[Pair], result: list[Pair]) -> list[Pair]:
    """Return the pairs of repeated examinations whose images are in a study already assigned."""
    served = {pair.line for pair in result}
    shared = []
    for pair in sorted(pairs, key=_order):
        if pair.repeat and pair.exact and pair.line not in served:
            served.add(pair.line)
            pair.reasons.append("a repeated or separate examination of the same study")
            shared.append(pair)
    return shared


def extra(pairs: Collection[Pair], result: list[Pair], units: dict[int, int]) -> list[Pair]:
    """Return further pairs of lines that are for several studies of one day.

    Args:
        pairs: all pairs of the group.
        result: what :func:`solve` returned.
        units: number of the line → how many studies it may be for.
    """
    used = {slot for pair in result for slot in pair.taken}
    more: list[Pair] = []
    for pair in sorted(pairs, key=_order):
        mine = [one for one in (*result, *more) if one.line == pair.line]
        if not mine or pair in mine or len(mine) >= units.get(pair.line, 1):
            continue
        if pair.days == mine[0].days and not any(slot in used for slot in pair.taken):
            used.update(pair.taken)
            pair.reasons.append(f"the line is for {units[pair.line]}")
            more.append(pair)
    return more
