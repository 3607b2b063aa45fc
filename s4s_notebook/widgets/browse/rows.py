"""The rows that the browse panel shows: filtered, sorted, a page at a time, as plain text.

Pure functions: a frame and a :class:`Query` in, text out, and the line of Python that does the
same, so that a click teaches the library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from ...wording import safe_text

PAGE = 50  # rows that travel to the browser at once
_NUMBERS = ("_count", "_amount", "_number", "quantity")
CELL = 120  # characters of a cell that are shown


@dataclass(frozen=True)
class View:
    """How one table is shown.

    ``columns`` maps column to heading; ``key`` names a row, ``day`` is what the dates filter,
    ``kind`` what the choice list filters (parts separated by a backslash, as DICOM does),
    ``words`` what the text filter looks through.
    """

    name: str
    key: str
    day: str
    kind: str
    words: tuple[str, ...]
    columns: Mapping[str, str]

    def numbers(self) -> list[bool]:
        """Return, a column each, whether it holds counts or amounts."""
        return [name.endswith(_NUMBERS) for name in self.columns]


STUDIES = View(
    "studies",
    "study_uid",
    "started_date",
    "modalities",
    ("study_uid", "modalities", "description"),
    {
        "started_date": "Date",
        "modalities": "Modality",
        "description": "Description",
        "series_count": "Series",
        "instance_count": "Images",
    },
)
BENEFITS = View(
    "benefits",
    "claim_id",
    "period_start",
    "claim_kind",
    ("claim_id", "claim_kind"),
    {
        "period_start": "From",
        "period_end": "To",
        "claim_kind": "Kind",
        "line_count": "Lines",
        "submitted_charge_amount": "Charged",
        "payer_paid_amount": "Paid",
        "currency": "Currency",
    },
)
LINES = View(
    "benefit_lines",
    "line_index",
    "service_from",
    "service_code",
    ("service_code", "service_display"),
    {
        "line_number": "Line",
        "service_from": "Date",
        "service_code": "Service",
        "service_display": "Meaning",
        "quantity": "Quantity",
        "submitted_charge_amount": "Charged",
        "allowed_charge_amount": "Allowed",
        "payer_paid_amount": "Paid",
        "currency": "Currency",
    },
)


@dataclass(frozen=True)
class Query:
    """Filter and order of the rows; empty means all."""

    text: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""
    sort: str = ""
    descending: bool = False

    @classmethod
    def from_browser(cls, content: Mapping[str, Any]) -> Query:
        """Return the query in a message of the browser; what is invalid is left out."""
        words = {name: safe_text(content.get(name) or "", 200) for name in ("text", "kind", "sort")}
        days = {name: _day(content.get(name)) for name in ("since", "until")}
        return cls(**words, **days, descending=content.get("descending") is True)


def _day(value: object) -> str:
    try:
        return date.fromisoformat(str(value or "")).isoformat()
    except ValueError:  # half typed, or not typed at all
        return ""


def filtered(frame: pd.DataFrame, view: View, query: Query) -> pd.DataFrame:
    """Return the rows that pass the query, in its order."""
    mask = pd.Series(True, index=frame.index)
    if query.kind:
        mask &= frame[view.kind].str.contains(_exact_part(query.kind)).fillna(value=False)
    if query.since:
        mask &= frame[view.day] >= pd.Timestamp(query.since)
    if query.until:
        mask &= frame[view.day] <= pd.Timestamp(query.until)
    if query.text:
        words = frame[list(view.words)].fillna("").agg(" ".join, axis=1)
        mask &= words.str.contains(query.text, case=False, regex=False)
    rows = frame[mask]
    if query.sort in view.columns:
        rows = rows.sort_values(query.sort, ascending=not query.descending, kind="stable")
    return rows


def _exact_part(kind: str) -> str:
    """Return a pattern for a complete part: CT is not OCT."""
    return rf"(?:^|\\){re.escape(kind)}(?:\\|$)"


def line_of_code(name: str, view: View, query: Query) -> str:
    """Return the Python that gives the same rows.

    >>> print(line_of_code("me", BENEFITS, Query(since="2020-01-01", sort="payer_paid_amount")))
    me.benefits().query('period_start >= "2020-01-01"').sort_values("payer_paid_amount")
    """
    days = [(">=", query.since), ("<=", query.until)]
    parts = [f'{view.day} {sign} "{day}"' for sign, day in days if day]
    code = f"{name}.{view.name}()"
    if parts:
        code += f".query({' and '.join(parts)!r})"
    if query.kind:
        pattern = _exact_part(query.kind)
        code = f"(f := {code})[f.{view.kind}.str.contains({pattern!r}).fillna(False)]"
    if query.text:
        words = f'f[{list(view.words)}].fillna("").agg(" ".join, axis=1)'
        code = f"(f := {code})[{words}.str.contains({query.text!r}, case=False, regex=False)]"
    if query.sort in view.columns:
        order = ", ascending=False" if query.descending else ""
        code += f'.sort_values("{query.sort}"{order})'
    return code


def page(rows: pd.DataFrame, view: View, offset: int) -> list[list[str]]:
    """Return at most ``PAGE`` rows from ``offset`` on: the key, then each column as text."""
    part = rows.iloc[offset : offset + PAGE]
    columns = [part[name] for name in (view.key, *view.columns)]
    return [[cell(value) for value in row] for row in zip(*columns, strict=True)]


def cell(value: Any) -> str:
    """Return one value as text: days as 2020-01-31, money with two places, nothing as ""."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.2f}"
    return safe_text(value, CELL)


def kinds(frame: pd.DataFrame, view: View) -> list[str]:
    """Return what the choice list offers, at most 100, in order."""
    parts: set[str] = set()
    for text in frame[view.kind].dropna().unique():
        parts.update(text.split("\\"))
    return sorted(safe_text(part, 40) for part in parts if part)[:100]


def totals(claims: pd.DataFrame) -> list[list[str]]:
    """Return kind, claims, charged, paid and currency, a row for each kind and currency."""
    groups = claims.groupby(["claim_kind", "currency"], dropna=False, sort=True)
    return [
        [
            cell(kind) or "other",
            f"{len(group):,}",
            cell(group["submitted_charge_amount"].sum(min_count=1)),  # unknown is not 0.00
            cell(group["payer_paid_amount"].sum(min_count=1)),
            cell(currency),
        ]
        for (kind, currency), group in groups
    ]


def months(claims: pd.DataFrame, most: int = 240) -> list[tuple[str, float]]:
    """Return month and sum paid, every month between the first and the last, the newest 240.

    Amounts of different currencies are not added: the commonest currency is taken.
    """
    currency = commonest_currency(claims)
    part = claims[claims["currency"] == currency].dropna(subset=["period_start"])
    if part.empty:
        return []
    sums = part.groupby(part["period_start"].dt.to_period("M"))["payer_paid_amount"].sum()
    every = pd.period_range(sums.index.min(), sums.index.max(), freq="M")[-most:]
    return [(str(month), round(float(sums.get(month, 0.0)), 2)) for month in every]


def commonest_currency(claims: pd.DataFrame) -> str:
    """Return the currency of most claims, "" where none is given."""
    currencies = claims["currency"].mode()
    return "" if currencies.empty else str(currencies.iloc[0])


def banner(patient: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """Return label and text of the patient's identity, without what is missing."""
    if patient.empty:
        return []
    row = patient.iloc[0]
    name = " ".join(part for part in (cell(row["given_name"]), cell(row["family_name"])) if part)
    facts = {
        "Patient": name,
        "Born": cell(row["birth_date"]),
        "Sex": cell(row["gender"]),
        "Id": cell(row["patient_id"]),
    }
    return [(label, text) for label, text in facts.items() if text]
