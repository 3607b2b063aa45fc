"""What `s4s doctor` says of one part."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One part looked at: ``mend`` says what to do when it is not ``good``.

    >>> print(Finding(False, "pandas", "2.3.3", "pip install --upgrade 'pandas>=3'"))
    ✘ pandas: 2.3.3
        → pip install --upgrade 'pandas>=3'
    """

    good: bool
    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{'✔' if self.good else '✘'} {self.what}: {self.found}"
        return line if self.good else f"{line}\n    → {self.mend}"


class Findings(list[Finding]):
    """What was found, one line per part; ``good`` when nothing needs mending."""

    @property
    def good(self) -> bool:
        """Whether nothing needs mending."""
        return all(finding.good for finding in self)

    def __repr__(self) -> str:
        return "\n".join(map(str, self))
