"""`python -m tests.notebooks.columns`: writes the how-to page of all columns as declared."""

from __future__ import annotations

from s4s_notebook import tables
from tests.notebooks.books import FOLDER

PAGE = FOLDER / "how-to" / "columns.md"
HEAD = """# What the columns mean

In a notebook, `s4s.tables.dictionary` gives one row per column: its type, its unit, what it means,
where in FHIR it comes from (STU3 and R4), and the name that CMS has for it.

```python
import s4s_notebook as s4s

dictionary = s4s.tables.dictionary("benefit_lines")
dictionary[["name", "dtype", "unit", "meaning"]].head()
```

One column of it, looked up:

```python
dictionary.set_index("name").loc["payer_paid_amount"]
```

Every frame has all its columns, always in the same order, whatever the holder sent; what is missing
is empty, never zero. An amount has its currency beside it.

Keep a frame in a file with pandas' own writers. Parquet gives the identical frame back
(`pip install 's4s-notebook[parquet]'`); CSV forgets what is a date and what is a number, so
`s4s.tables.read_csv` tells it:

```python
import pandas as pd

frame = s4s.tables.benefits([])  # any table, of any length
frame.to_parquet("benefits.parquet")
frame.to_csv("benefits.csv", index=False)
from_parquet = pd.read_parquet("benefits.parquet")
from_csv = s4s.tables.read_csv("benefits", "benefits.csv")
from_parquet.equals(frame), from_csv.equals(frame)  # True, True
```

This page lists the same columns without their places in FHIR. It is made from the declarations:
change those, and run `python -m tests.notebooks.columns`.
"""


def page() -> str:
    """The page, one table a frame."""
    parts = [HEAD, "".join(f"- [{name}](#{name})\n" for name in tables.TABLES)]
    return "\n".join([*parts, *map(_section, tables.TABLES)])


def _section(name: str) -> str:
    rows = [
        f"| `{row.name}` | {row.dtype} | {_cell(row.unit)} | {_cell(row.meaning)} |"
        for row in tables.dictionary(name).itertuples(index=False)
    ]
    head = f"## {name}\n\n| Column | Type | Unit | Meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    """The text so that no mark of Markdown in it ends the cell or becomes one."""
    for mark in ("\\", "|", "<", "*", "_", "[", "`"):
        text = text.replace(mark, "\\" + mark)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
