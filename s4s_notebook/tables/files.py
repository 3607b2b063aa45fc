"""Tables in files of other programs: CSV read back with its dtypes, Stata, Excel."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .columns import LONG_TABLES, TABLES, TIMES, declared

_EXCEL_CELL = 32_767  # characters
_STATA_TEXT = 2_045  # bytes; longer ones are strL
_STATA_LABEL = 80  # characters
_STATA_NAME = 32
_STATA_NAMES = {"end": "_end"}  # reserved among the columns of the tables


def read_csv(name: str, path: Any) -> pd.DataFrame:
    r"""Read a table back from CSV with the dtypes that it had.

    Args:
        name: which of :data:`TABLES`.
        path: what :func:`pandas.read_csv` takes. Further columns, such as ``participant``,
            come back as text. Lines end with a line feed: on Windows write them with
            ``to_csv(path, index=False, lineterminator="\n")``.
    """
    frame = pd.read_csv(
        path, dtype="str", keep_default_na=False, na_values=[""], lineterminator="\n"
    )
    kinds = {column.name: column for column in declared(name)}
    for column in [kinds[name] for name in frame.columns if name in kinds]:
        text: Any = frame[column.name]
        if column.kind in TIMES:
            text = pd.to_datetime(text, utc=column.kind == "instant", format="ISO8601")
        elif column.kind == "flag":
            text = text.map({"True": True, "False": False})
        frame[column.name] = text.astype(column.dtype)
    return frame


def to_stata(frame: pd.DataFrame, path: Any) -> None:
    """Write a frame for Stata 14 and later (format 118, UTF-8).

    Days are Stata days, instants are in UTC, flags are 0 and 1, what is missing is missing; an
    empty text is Stata's missing text. A column of :func:`dictionary` carries its meaning as
    label. The column ``end`` is ``_end``, as Stata reserves the word.

    Args:
        frame: any of the tables, of one participant or of a store; or what was computed from it.
        path: a file name or a file open for writing bytes.

    Raises:
        ValueError: a column's name has more than 32 characters.
    """
    plain = _without_zones(frame)
    long = [name for name in plain.columns if len(str(name)) > _STATA_NAME]
    if long:
        raise ValueError(f"Stata takes names of {_STATA_NAME} characters at most: {long}")
    days: Any = {}
    zoned = set(frame.select_dtypes("datetimetz").columns)
    long_texts = []
    for name in plain.columns:
        column = plain[name]
        if isinstance(column.dtype, pd.BooleanDtype):
            plain[name] = column.astype("Int8")
        elif pd.api.types.is_datetime64_any_dtype(column.dtype):
            whole = name not in zoned and (column.dropna().dt.normalize() == column.dropna()).all()
            days[name] = "td" if whole else "tc"
        elif isinstance(column.dtype, pd.StringDtype) or column.dtype == object:
            plain[name] = texts = column.astype("str").fillna("").astype(object)
            if texts.map(lambda text: len(text.encode())).max() > _STATA_TEXT:
                long_texts.append(name)
    plain.rename(columns=_STATA_NAMES).to_stata(
        path,
        write_index=False,
        version=118,
        convert_dates={_STATA_NAMES.get(name, name): kind for name, kind in days.items()},
        convert_strl=[_STATA_NAMES.get(name, name) for name in long_texts],
        variable_labels={_STATA_NAMES.get(n, n): text for n, text in _labels(frame).items()},
    )


def to_excel(frame: pd.DataFrame, path: Any) -> None:
    """Write a frame as an Excel workbook; instants are in UTC, as Excel knows no zones.

    Text stays text: what a holder sent is never a formula or a link. Needs the extra
    ``s4s-notebook[excel]``.

    Args:
        frame: any of the tables, of one participant or of a store; or what was computed from it.
        path: a file name or a file open for writing bytes.

    Raises:
        ValueError: more rows than a sheet has (1,048,576), or a text longer than a cell may be
            (32,767 characters).
    """
    plain = _without_zones(frame)
    for name in plain.columns:
        if isinstance(plain[name].dtype, pd.StringDtype):
            longest = plain[name].str.len().max()
            if not pd.isna(longest) and longest > _EXCEL_CELL:
                raise ValueError(f"{name} has a text of {longest:,.0f} characters: use to_csv")
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    with pd.ExcelWriter(path, engine="xlsxwriter", engine_kwargs={"options": options}) as workbook:
        plain.to_excel(workbook, index=False, sheet_name=str(frame.attrs.get("table", "table")))


def _without_zones(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with instants as times in UTC without a zone."""
    zoned = frame.select_dtypes("datetimetz").columns
    return frame.assign(
        **{name: frame[name].dt.tz_convert("UTC").dt.tz_localize(None) for name in zoned}
    )


def _labels(frame: pd.DataFrame) -> dict[Any, str]:
    """Return the meaning of each column that the frame's table declares."""
    table = frame.attrs.get("table")
    columns = declared(table) if table in (*TABLES, *LONG_TABLES) else ()
    return {c.name: c.meaning[:_STATA_LABEL] for c in columns if c.name in frame}
