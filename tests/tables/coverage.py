"""`python -m tests.tables.coverage`: which payer fills which column of claims and lines.

One column for each folder of `../shared/data/fhir` with claims, one row for each column of
`benefits` and `benefit_lines`: in how many rows of a hundred it has a value. `.` means none.

`--amounts` lists each amount whose value stands in two columns of one row, although the claim
states it once.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from s4s_notebook import tables
from tests.tables import sources

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "fhir"
NAMES = ("benefits", "benefit_lines")
PARTS = {"payer_paid_amount", "payment_amount", "net_amount", "unit_price_amount"}
"""Amounts that repeat another on purpose, and those that are no adjudication."""


def payers(folder: Path = SHARED) -> dict[str, list[Any]]:
    """The resources of each source that has claims."""
    read = {path.name: sources.read(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    claims = "ExplanationOfBenefit"
    return {n: r for n, r in read.items() if any(x.get("resourceType") == claims for x in r)}


def filled(frame: pd.DataFrame) -> pd.Series[float]:
    """Return for each column the share of rows that have a value."""
    return frame.notna().mean() if len(frame) else frame.notna().sum().astype(float)


def coverage() -> dict[str, pd.DataFrame]:
    """Return for each table a frame: its columns by payer."""
    shares: dict[str, dict[str, Any]] = {name: {} for name in NAMES}
    for payer, resources in payers().items():
        for name, frame in tables.build(NAMES, resources).items():
            shares[name][payer] = filled(frame)
    return {name: pd.DataFrame(found) for name, found in shares.items()}


def repeated(resources: list[Any]) -> list[tuple[str, str, float, tuple[str, ...]]]:
    """Return table, claim, amount and columns where more columns have an amount than state it."""
    frames = tables.build((*NAMES, "adjudications"), resources)
    stated: dict[tuple[Any, ...], Counter[float]] = {}
    for row in frames["adjudications"].itertuples():
        if pd.notna(row.amount):
            line = row.line_number if row.level in {"line", "detail"} else None
            key = row.claim_id, None if pd.isna(line) else int(line)
            stated.setdefault(key, Counter())[float(row.amount)] += 1
    found = []
    for name in NAMES:
        for row in frames[name].to_dict("records"):
            number = row.get("line_number")
            key = row["claim_id"], None if number is None or pd.isna(number) else int(number)
            columns: dict[float, list[str]] = {}
            for column, value in row.items():
                if column.endswith("_amount") and column not in PARTS and pd.notna(value) and value:
                    columns.setdefault(float(value), []).append(column)
            for value, names in columns.items():
                count = stated.get(key, Counter())[value]
                if count and len(names) > count:
                    found.append((name, str(row["claim_id"]), value, tuple(names)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--amounts", action="store_true")
    if parser.parse_args().amounts:
        for payer, resources in payers().items():
            for table, claim, value, columns in repeated(resources):
                print(payer, table, claim, value, ", ".join(columns))
        return
    for name, frame in coverage().items():
        short = {payer: payer.removeprefix("cms-")[:14] for payer in frame}
        print(f"\n{name}: rows of a hundred with a value\n")
        shown = frame.rename(columns=short).map(lambda share: f"{share:.0%}" if share else ".")
        print(shown.to_string())


if __name__ == "__main__":
    main()
