"""The declaration of every column: one line per column, one file per table.

``declared/<table>.csv`` holds name, kind, unit, the paths in STU3, R4, CMS's third version and
C4BB, CMS variable, former name and meaning: one row a meaning, all spellings in it.
The flattener, the docstrings, the dtypes and :func:`dictionary` are all made from it.

A path is FHIR's own, with a selector where an element repeats::

    type.coding[system=bbcs:eob-type].code         the coding of that system
    extension[url=bb:carr_num].valueCoding.code    the extension with that url
    item.adjudication[category=bb:line_nch_pmt_amt].amount.value
    item.modifier[1].coding.code                   the second modifier, first coding
    a[category=x,y].b                              x or y, whichever comes
    a.b | c.d                                      a.b, or c.d where a.b is absent

``bb:`` stands for https://bluebutton.cms.gov/resources/variables/, ``bbcs:`` for
https://bluebutton.cms.gov/resources/codesystem/. An empty path is a value that is worked
out from others; its meaning says how.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

from ..errors import InvalidArgument

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
    "last date": "datetime64[us]",
    "instant": "datetime64[us, UTC]",
    "flag": "boolean",
}
"""What each kind of value becomes. ``ref`` is the id within a reference, ``uid`` a DICOM UID
without ``urn:oid:``, ``date`` the calendar day as written, ``last date`` the end of a
period, ``instant`` a moment in UTC."""

TIMES = {"date", "last date", "instant"}


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column.

    Attributes:
        stu3: paths in STU3, of any holder.
        r4: paths in R4; CMS's second version.
        v3: paths in CMS's third version. A bare variable stands for all the elements that CMS has
            put it in, see :func:`everywhere`.
        c4bb: paths in C4BB, the CARIN guide for payers, 1.1 to 2.2.
        formerly: the name that the column had before.
    """

    name: str
    kind: str
    unit: str
    stu3: str
    r4: str
    cms: str
    meaning: str
    v3: str = ""
    c4bb: str = ""
    formerly: str = ""
    below: str = ""

    @property
    def dtype(self) -> str:
        """The pandas dtype of the column."""
        return DTYPES[self.kind]

    @property
    def paths(self) -> tuple[str, ...]:
        """All places to look, in order of preference, STU3's and R4's together."""
        every = [*self.stu3.split("|"), *self.r4.split("|"), *self.v3_paths, *self.c4bb.split("|")]
        return tuple(dict.fromkeys(path.strip() for path in every if path.strip()))

    @property
    def v3_paths(self) -> tuple[str, ...]:
        """The places in CMS's third version, written out."""
        named = [path.strip() for path in self.v3.split("|") if path.strip()]
        return tuple(
            written
            for path in named
            for written in (
                everywhere(path, self.kind, self.below) if _VARIABLE.fullmatch(path) else (path,)
            )
        )


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")
_AMOUNT = "amount.value"
_INFO = {
    "money": (),
    "date": ("timingDate", "valueDate"),
    "last date": ("timingDate", "valueDate"),
    "int": ("valueQuantity.value", "valueInteger"),
    "number": ("valueQuantity.value", "valueDecimal"),
    "str": ("code.coding.code", "valueString"),
}
_EXTENSION = {
    "money": ("valueMoney.value",),
    "date": ("valueDate",),
    "last date": ("valueDate",),
    "int": ("valueQuantity.value", "valueInteger", "valueUnsignedInt"),
    "number": ("valueQuantity.value", "valueDecimal"),
    "str": ("valueCoding.code", "valueString", "valueIdentifier.value"),
}


def everywhere(variable: str, kind: str, below: str) -> tuple[str, ...]:
    """Return the paths at which a CMS variable may stand.

    CMS moved many from extension to supportingInfo, total and benefitBalance within a year.

    Args:
        variable: its name.
        kind: of the column, one of :data:`DTYPES`.
        below: the element that makes a row: ``item`` or nothing.
    """
    start = f"{below}." if below else ""
    paths = [f"{start}extension[url={variable}].{value}" for value in _EXTENSION[kind]]
    if kind == "money":
        paths.append(f"{start}adjudication[category={variable}].{_AMOUNT}")
    if not below:
        paths += [f"supportingInfo[category={variable}].{value}" for value in _INFO[kind]]
        balance = f"benefitBalance.financial[type={variable}]"
        if kind == "money":
            paths += [f"total[category={variable}].{_AMOUNT}", f"{balance}.usedMoney.value"]
        elif kind in {"int", "number"}:
            paths.append(f"{balance}.usedUnsignedInt")
    return tuple(paths)


@cache
def declared(table: str) -> tuple[Column, ...]:
    """Return the columns of one table, in the order in which they are read."""
    text = files(__package__).joinpath("declared", f"{table}.csv").read_text("utf-8")
    below = {"benefit_lines": "item"}.get(table, "")
    return tuple(Column(**row, below=below) for row in csv.DictReader(text.splitlines()))


@cache
def shown(table: str) -> tuple[Column, ...]:
    """Return the columns of one table in the order of a frame: what a person reads first."""
    columns = declared(table)
    first = {name: at for at, name in enumerate(_FIRST.get(table, ()))}
    last = len(columns) if first else 0
    return tuple(
        sorted(columns, key=lambda c: last if c.name in _LAST else first.get(c.name, len(first)))
    )


# What a person reads first, in that order; then the others as declared, and identifiers last.
_FIRST = {
    "patients": ("gender", "birth_date", "deceased", "city", "state"),
    "coverage": ("type", "status", "period_start", "period_end", "payor"),
    "studies": (
        *("started_date", "modalities", "description", "series_count", "instance_count"),
        *("downloadable", "body_sites", "lateralities", "reason", "availability", "started"),
    ),
    "series": (
        *("started_date", "modality", "description", "number", "instance_count", "body_site"),
        *("laterality", "availability"),
    ),
    "benefits": (
        *("period_start", "claim_kind", "billing_name", "submitted_charge_amount"),
        *("allowed_charge_amount", "payer_paid_amount", "paid_by_patient_amount", "currency"),
        *("payer_name", "is_final", "principal_diagnosis", "drg", "period_end"),
    ),
    "benefit_lines": (
        *("service_from", "claim_kind", "hcpcs_code", "modifiers", "submitted_charge_amount"),
        *("allowed_charge_amount", "payer_paid_amount", "paid_by_patient_amount", "currency"),
        *("service_display", "quantity", "revenue_center", "is_final", "service_to"),
    ),
    "diagnoses": ("code_dotted", "display", "type", "sequence", "present_on_admission"),
    "procedures": ("date", "code_dotted", "display", "type", "sequence"),
    "adjudications": ("variable", "amount", "currency", "value", "category", "display", "level"),
}
_LAST = frozenset(
    ("claim_id", "patient_id", "fhir_id", "version_id", "last_updated", "series_uid", "study_uid")
)


class WholeText(pd.DataFrame):
    """A DataFrame that a notebook shows with its texts whole; what is made of it is a plain one."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None, "display.max_columns", None):
            page: str | None = super()._repr_html_()  # type: ignore[misc] # pandas-stubs lack it
        return page and _STYLE + page


# Texts break into lines, from the left.
_STYLE = (
    "<style>.dataframe td, .dataframe th {text-align: left; white-space: pre-line; "
    "max-width: 34em; overflow-wrap: anywhere}</style>"
)


def dictionary(table: str) -> pd.DataFrame:
    """Return the data dictionary of one table.

    Args:
        table: its name, as in ``"benefit_lines"``.

    Returns:
        One row per column: name, meaning, dtype, unit, stu3, r4, v3, c4bb (FHIR paths: v3 is
        CMS's third version, C4BB the CARIN guide for payers), cms (the CMS variable of
        https://resdac.org and CCW, in capitals as there), formerly (the name before). All ``str``.

    Raises:
        ValueError: there is no such table.
    """
    check(table)
    columns = shown(table)
    return WholeText(
        {
            "name": [c.name for c in columns],
            "meaning": [c.meaning for c in columns],
            "dtype": [c.dtype for c in columns],
            "unit": [c.unit for c in columns],
            "stu3": [spell_out(c.stu3) for c in columns],
            "r4": [spell_out(c.r4) for c in columns],
            "v3": [" | ".join(c.v3_paths) for c in columns],
            "c4bb": [spell_out(c.c4bb) for c in columns],
            "cms": [c.cms for c in columns],
            "formerly": [c.formerly for c in columns],
        },
        dtype="str",
    )


def check(table: str) -> None:
    """Raise ValueError unless there is such a table."""
    if table not in TABLES and table not in LONG_TABLES:
        raise InvalidArgument(f"no table {table!r}; there are {', '.join((*TABLES, *LONG_TABLES))}")


def spell_out(path: str) -> str:
    """Return the path with its abbreviated system URLs in full."""
    for short, full in PREFIXES.items():
        path = path.replace(f"={short}", f"={full}")
    return path


def describe(table: str) -> str:
    """Return the columns as lines for a docstring."""
    columns = shown(table)
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
