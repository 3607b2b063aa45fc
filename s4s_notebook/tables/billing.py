"""What a claim line says for linking: which part of an examination, which side, whether it counts.

A hospital bills the technical part, a doctor the professional one (modifier 26) or, in an office,
both at once (global).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd

from .examinations import Examination

_KINDS = {
    "CARRIER": "professional", "DME": "professional", "PDE": "pharmacy",
    "INPATIENT": "inpatient", "OUTPATIENT": "outpatient",
}  # fmt: skip
_STAYS = {"inpatient", "snf", "hospice"}
_INSTITUTIONS = _STAYS | {"outpatient", "hha", "institutional"}
_HOSPITAL_PLACES = {"19", "21", "22", "23"}
_STOPPED = {"53", "73"}  # discontinued before it was done
_REPEATED = {"76", "77", "59", "XE", "XS", "XP", "XU"}
_LEFT = {"LT", "E1", "E2", "FA", "F1", "F2", "F3", "F4", "TA", "T1", "T2", "T3", "T4"}
_RIGHT = {"RT", "E3", "E4", "F5", "F6", "F7", "F8", "F9", "T5", "T6", "T7", "T8", "T9"}
_COMPOSITE = {str(number) for number in range(8004, 8009)}
_AMOUNTS = (
    "submitted_charge_amount", "allowed_charge_amount", "payer_paid_amount"
)  # fmt: skip
_CLAIMS = {"claim", "complete"}  # of ExplanationOfBenefit.use: of R4, and of early STU3 servers
_NOT_FINAL = {"cancelled", "entered-in-error", "draft"}
_MOST = 4  # studies that one line may be for


class Line:
    """A line of a claim about imaging.

    Attributes:
        row: the row of the frame.
        examination: of its code or revenue centre.
        code: what is exclusive: the code, else the revenue centre.
    """

    def __init__(self, number: int, row: dict[str, Any], examination: Examination) -> None:
        self.number = number
        self.row = row
        self.examination = examination
        self.code: str = row["hcpcs_code"] or f"revenue centre {row['revenue_center']}"
        self.modifiers = modifiers(row)
        self.kind = kind_of(row)
        self.component = self._component()
        self.sides = frozenset(
            side for side, marks in (("L", _LEFT), ("R", _RIGHT)) if marks & set(self.modifiers)
        )
        if "50" in self.modifiers:
            self.sides = frozenset("LR")

    @property
    def stopped(self) -> bool:
        """Whether the examination was stopped before it was done, and not paid."""
        return bool(_STOPPED & set(self.modifiers)) and not paid(self.row)

    @property
    def repeated(self) -> bool:
        """Whether a modifier says that it was done again, or apart from another."""
        return bool(_REPEATED & set(self.modifiers))

    @property
    def again(self) -> bool:
        """Whether it repeats an earlier examination of the same kind."""
        return bool({"76", "77"} & set(self.modifiers))

    @property
    def units(self) -> int:
        """How many studies the line may be for."""
        quantity = self.row.get("quantity")
        units = int(quantity) if quantity is not None and 1 <= quantity <= _MOST else 1
        return max(units, 2) if "50" in self.modifiers else units

    @property
    def slots(self) -> frozenset[Hashable]:
        """Which parts of a study no other line of the same code can be for."""
        components = {"global": ("technical", "professional"), "stay": ("technical",)}
        digits = {m for m in self.modifiers if m in _LEFT | _RIGHT and m not in {"LT", "RT"}}
        sides: Iterable[str] = digits or self.sides or "LR"
        return frozenset(
            (component, side)
            for component in components.get(self.component, (self.component,))
            for side in sides
        )

    def _component(self) -> str:
        center = str(self.row["revenue_center"] or "").zfill(4)
        if "26" in self.modifiers or center.startswith(("096", "097", "098")):
            return "professional"
        if "TC" in self.modifiers:
            return "technical"
        if self.kind in _STAYS:
            return "stay"
        if self.kind in _INSTITUTIONS or (not self.kind and self.row["revenue_center"]):
            return "technical"
        # A hospital bills the technical part itself: without modifier 26 it is still the reading.
        inside = str(self.row.get("place_of_service") or "") in _HOSPITAL_PLACES
        return "professional" if inside else "global"


def modifiers(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the modifiers of a line, all of them."""
    joined = row.get("modifiers")
    if joined is not None:
        return tuple(str(joined).upper().split())
    each = (row.get(f"modifier_{number}") for number in range(1, 6))
    return tuple(str(modifier).strip().upper() for modifier in each if modifier is not None)


def kind_of(row: dict[str, Any]) -> str:
    """Return the kind of claim in lower case; empty where it is not known."""
    kind = row.get("claim_kind") or row.get("claim_type") or ""
    return _KINDS.get(str(kind), str(kind).lower().replace(" ", "_"))


def paid(row: dict[str, Any]) -> float | None:
    """Return what the payer paid for a line."""
    value: float | None = row.get("payer_paid_amount")
    return value


def countable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the claims or lines that count in a sum.

    Left out are prior authorisations and estimates (``use``), and versions of a claim that are
    cancelled, void or replaced (``status``, ``is_final``, ``claim_version``). What says nothing
    of its use or version counts.

    Args:
        frame: benefits or benefit_lines.

    Returns:
        The rows, with their index.
    """
    is_claim = frame["use"].isna() | frame["use"].isin(_CLAIMS)
    void = frame["status"].isin(_NOT_FINAL) | frame["claim_version"].eq("void").fillna(value=False)
    final = frame["is_final"].fillna(value=True).astype(bool)
    return frame[is_claim & final & ~void]


def excluded(row: dict[str, Any]) -> tuple[str, str] | None:
    """Return why a line does not count, as a word or two and in words; None where it does."""
    use, status = row.get("use"), row.get("status")
    if use is not None and use not in _CLAIMS:
        return "not a claim", f"a {use}, which is no claim"
    if status in _NOT_FINAL:
        return "not final", f"the claim is {status}"
    if row.get("is_final") is False or row.get("claim_version") == "void":
        return "not final", "another version of the claim replaces this one"
    return None


def reversed_lines(rows: list[dict[str, Any]], keys: list[str]) -> set[int]:
    """Return which rows cancel each other: each negative line, and the twin that it reverses.

    The twin stands in the same claim, else in another of the same participant.
    """
    out: set[int] = set()
    twins: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    negative = []
    for number, row in enumerate(rows):
        amounts = _amounts(row)
        if any(value < 0 for value in amounts.values()):
            negative.append(number)
        elif any(amounts.values()):
            twins[_same(row, keys)].append(number)
    for number in negative:
        out.add(number)
        same = [n for n in twins[_same(rows[number], keys)] if n not in out]
        same.sort(key=lambda n: rows[n]["claim_id"] != rows[number]["claim_id"])
        twin = next((n for n in same if _opposite(rows[number], rows[n])), None)
        if twin is not None:
            out.add(twin)
    return out


def _same(row: dict[str, Any], keys: list[str]) -> tuple[Any, ...]:
    day = row["service_from"]
    return (
        *(row[key] for key in keys),
        row["hcpcs_code"],
        row["revenue_center"],
        day,
        frozenset(modifiers(row)),
    )


def _amounts(row: dict[str, Any]) -> dict[str, float]:
    return {name: row[name] for name in _AMOUNTS if row.get(name) is not None}


def _opposite(row: dict[str, Any], other: dict[str, Any]) -> bool:
    own, its = _amounts(row), _amounts(other)
    common = own.keys() & its.keys()
    return bool(common) and all(abs(own[name] + its[name]) < 0.005 for name in common)


def packaged(row: dict[str, Any]) -> bool | None:
    """Return whether the line's payment is inside that of another; None where nothing says it."""
    stated = row.get("packaged")
    if stated is None:
        composite = str(row.get("apc") or "").lstrip("0") in _COMPOSITE
        return True if composite and paid(row) == 0 else None
    return stated is True or str(stated).upper() in {"1", "N", "TRUE"}
