"""The declaration of every column: one line per column, one file per table.

``declared/<table>.csv`` holds name, kind, unit, STU3 path, R4 path, CMS variable and meaning.
The flattener, the docstrings, the dtypes and :func:`dictionary` are all made from it.

A path is FHIR's own, with a selector where an element repeats::

    type.coding[system=bbcs:eob-type].code         the coding of that system
    extension[url=bb:carr_num].valueCoding.code    the extension with that url
    item.adjudication[category=bb:line_nch_pmt_amt].amount.value
    item.modifier[1].coding.code                   the second modifier, first coding
    a.b | c.d                                      a.b, or c.d where a.b is absent

``bb:`` stands for https://bluebutton.cms.gov/resources/variables/, ``bbcs:`` for
https://bluebutton.cms.gov/resources/codesystem/. An empty path is a value that is worked
out from others; its meaning says how.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

BB = "https://bluebutton.cms.gov/resources/"
PREFIXES = {"bb:": BB + "variables/", "bbcs:": BB + "codesystem/"}

DTYPES = {
    "str": "str",
    "ref": "str",
    "uid": "str",
    "int": "Int64",
    "number": "float64",
    "money": "float64",
    "date": "datetime64[us]",
    "instant": "datetime64[us, UTC]",
    "flag": "boolean",
}
"""What each kind of value becomes. ``ref`` is the id within a reference, ``uid`` a DICOM UID
without ``urn:oid:``, ``date`` the calendar day as written, ``instant`` a moment in UTC."""


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; ``stu3`` and ``r4`` are paths, possibly empty."""

    name: str
    kind: str
    unit: str
    stu3: str
    r4: str
    cms: str
    meaning: str

    @property
    def dtype(self) -> str:
        """The pandas dtype of the column."""
        return DTYPES[self.kind]

    @property
    def paths(self) -> tuple[str, ...]:
        """All places to look, in order of preference, STU3's and R4's together."""
        every = [*self.stu3.split("|"), *self.r4.split("|")]
        return tuple(dict.fromkeys(path.strip() for path in every if path.strip()))


@cache
def declared(table: str) -> tuple[Column, ...]:
    """Return the columns of one table, in order."""
    text = files(__package__).joinpath("declared", f"{table}.csv").read_text("utf-8")
    return tuple(Column(**row) for row in csv.DictReader(text.splitlines()))


def dictionary(table: str) -> pd.DataFrame:
    """Return the data dictionary of one table.

    Args:
        table: its name, as in ``"benefit_lines"``.

    Returns:
        One row per column: name, dtype, unit, stu3, r4 (FHIR paths), cms (the CMS variable of
        https://resdac.org and CCW, in capitals as there), meaning. All ``str``.

    Raises:
        ValueError: there is no such table.
    """
    check(table)
    columns = declared(table)
    return pd.DataFrame(
        {
            "name": [c.name for c in columns],
            "dtype": [c.dtype for c in columns],
            "unit": [c.unit for c in columns],
            "stu3": [spell_out(c.stu3) for c in columns],
            "r4": [spell_out(c.r4) for c in columns],
            "cms": [c.cms for c in columns],
            "meaning": [c.meaning for c in columns],
        },
        dtype="str",
    )


def check(table: str) -> None:
    """Raise ValueError unless there is such a table."""
    if table not in TABLES and table not in LONG_TABLES:
        raise ValueError(f"no table {table!r}; there are {', '.join((*TABLES, *LONG_TABLES))}")


def spell_out(path: str) -> str:
    """Return the path with its abbreviated system URLs in full."""
    for short, full in PREFIXES.items():
        path = path.replace(f"={short}", f"={full}")
    return path


def describe(table: str) -> str:
    """Return the columns as lines for a docstring."""
    columns = declared(table)
    width = max(len(c.name) for c in columns)
    return "\n".join(
        f"    {c.name:{width}}  {c.dtype:19}  {c.meaning}" + (f" [{c.unit}]" if c.unit else "")
        for c in columns
    )


TABLES = (
    "patients",
    "coverage",
    "studies",
    "series",
    "benefits",
    "benefit_lines",
    "diagnoses",
    "procedures",
    "adjudications",
)
LONG_TABLES = {
    name: declared(name)
    for name in (
        "supporting_info",
        "care_team",
        "providers",
        "identifiers",
        "related",
        "insurance",
        "coverage_classes",
        "line_links",
        "details",
        "notes",
    )
}
"""Further tables, by name: one row for each member of what repeats."""
