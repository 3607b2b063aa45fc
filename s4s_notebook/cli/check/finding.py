"""What a check finds: one line per requirement, and the report made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

MET, NOT_MET, NOT_OFFERED, NOT_TRIED = "met", "not met", "not offered", "not tried"


@dataclass(frozen=True)
class Finding:
    """One requirement: ``asked`` and ``came`` say what was seen, ``sentence`` why it matters."""

    requirement: str
    verdict: str
    asked: str
    came: str
    sentence: str


def frame(findings: Sequence[Finding], url: str) -> DataFrame:
    """The findings as a DataFrame, one row per requirement; all columns are text."""
    import pandas as pd

    columns = ("requirement", "verdict", "asked", "came", "sentence")
    made = pd.DataFrame(
        {name: pd.Series([getattr(f, name) for f in findings], dtype="str") for name in columns}
    )
    made.attrs["holder"] = url
    return made


def markdown(findings: Sequence[Finding], url: str) -> str:
    """The report as Markdown: a summary, what is not met, then everything."""
    counts = {v: sum(f.verdict == v for f in findings) for v in (MET, NOT_MET, NOT_OFFERED)}
    lines = [
        f"# Sync for Science imaging: {url}",
        "",
        ", ".join(f"{number} {verdict}" for verdict, number in counts.items()),
        "",
        "| requirement | verdict | asked | came |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(f.requirement)} | {_bold(f.verdict)} | {_cell(f.asked)} | {_cell(f.came)} |"
        for f in findings
    ]
    wrong = [f for f in findings if f.verdict == NOT_MET]
    if wrong:
        lines += ["", "## What the specification says", ""]
        lines += [f"- **{f.requirement}**: {f.sentence}" for f in wrong]
    return "\n".join(lines) + "\n"


def _bold(verdict: str) -> str:
    return f"**{verdict}**" if verdict == NOT_MET else verdict


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:300]
