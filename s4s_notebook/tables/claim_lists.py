"""What repeats within a claim: diagnoses, procedures and adjudications, as long tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .builder import Emit
from .claim_lines import line_items
from .columns import BB
from .elements import inner, listed, objects
from .rows import Rows, Table
from .walk import OBJECT, Odd, code_of

DIAGNOSES = Table("diagnoses", below="diagnosis")
PROCEDURES = Table("procedures", below="procedure")
ADJUDICATIONS = Table("adjudications", below="adjudication", by_hand=["variable", "category"])


def repeating(table: Table) -> Emit:
    """A reader for an element of the claim that is a table of its own."""

    def emit(eob: dict[str, Any], key: str, rows: Rows, odd: Odd) -> None:
        found = eob.get(table.below)
        for place, one in enumerate(
            found if type(found) is list else () if found is None else (found,)
        ):
            row = table.blank.copy()
            row[table.at["claim_id"]] = key
            row[table.at["patient_id"]] = inner(eob, "patient", "reference")
            if type(one) is dict:
                table.walk(one, row, odd)
            else:
                odd(f"{table.below}[{place}]", one, OBJECT)
            rows.add(row, place)

    return emit


def _adjudications(eob: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Path of the list, (level, line index, line number, detail index) and the list."""
    for index, (element, place, line) in enumerate(line_items(eob), 1):
        if type(line) is not dict:
            continue
        path, number = f"{element}[{place}].", line.get("sequence")
        level = "line" if element == "item" else "added"
        yield path + "adjudication", (level, index, number, None), listed(line, "adjudication")
        for nth, detail in enumerate(objects(line, "detail"), 1):
            for level, owner in (
                ("detail", detail),
                *(("subdetail", sub) for sub in objects(detail, "subDetail")),
            ):
                below = f"{path}{level}.adjudication"
                yield below, (level, index, number, nth), listed(owner, "adjudication")
    yield "adjudication", ("claim", None, None, None), listed(eob, "adjudication")
    yield "total", ("total", None, None, None), listed(eob, "total")
    for place, balance in enumerate(objects(eob, "benefitBalance")):
        used = [
            {"category": f.get("type"), "amount": f.get("usedMoney"), "value": count}
            for f in objects(balance, "financial")
            for count in (f.get("usedUnsignedInt"),)
        ]
        yield f"benefitBalance[{place}].financial", ("balance", None, None, None), used


_ADJUDICATED = tuple(
    ADJUDICATIONS.at[name]
    for name in ("level", "line_index", "line_number", "detail_index", "adjudication_index")
)


def emit_adjudications(eob: dict[str, Any], key: str, rows: Rows, odd: Odd) -> None:
    """One row per adjudication at any level, and one per ``total`` and a ``benefitBalance``."""
    patient = inner(eob, "patient", "reference")
    at = ADJUDICATIONS.at
    path, place = "", 0

    def within(below: str, value: Any, why: str) -> None:
        odd(f"{path}[{place}].{below}", value, why)

    for path, where, found in _adjudications(eob):
        for place, one in enumerate(found):
            row = ADJUDICATIONS.blank.copy()
            row[at["claim_id"]], row[at["patient_id"]] = key, patient
            for slot, value in zip(_ADJUDICATED, (*where, place + 1), strict=True):
                row[slot] = value
            if type(one) is dict:
                ADJUDICATIONS.walk(one, row, within)
                row[at["variable"]], row[at["category"]] = _variable(one.get("category"))
            else:
                odd(f"{path}[{place}]", one, OBJECT)
            rows.add(row, place)


def _variable(category: Any) -> tuple[str | None, str | None]:
    """The Blue Button variable, or the code as given; and the general code beside it."""
    codes = [code for c in objects(category, "coding") if type(code := c.get("code")) is str]
    found = code_of(category) or next(iter(codes), None)
    general = next((code for code in codes if code != found), None)
    return found and found.removeprefix(BB + "variables/").lower(), general
