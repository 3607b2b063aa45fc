"""`python -m tests.faults`: which of the numbered cases of `catalogue.md` are proven.

Runs every test marked ``fault("A01")`` and prints ``proven N of 141`` with the ids still open.
With ``--last`` it reads what the last run of the whole suite recorded instead; ``--write`` only
writes the names of the tests into the page. A case is proven when at least one test that names
it passed and none failed. A page and tests that disagree are an error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.faults import catalogue

CACHE = Path(__file__).resolve().parents[2] / ".pytest_cache"
ALL = [*catalogue.cases()]


def report(outcomes: dict[str, list[str]]) -> tuple[list[str], list[str], list[str]]:
    """Sort the case ids into proven, failed and open."""
    failed = [case for case in ALL if "failed" in outcomes.get(case, ())]
    proven = [case for case in ALL if "passed" in outcomes.get(case, ()) and case not in failed]
    return proven, failed, [case for case in ALL if case not in proven and case not in failed]


def recorded() -> list[Path]:
    """What the sessions of the last run left."""
    return sorted(CACHE.glob("s4s-faults-*.json"))


def main(argv: list[str]) -> int:
    if "--write" in argv:
        catalogue.write()
        return 0
    marked = catalogue.marked()
    if set(marked) - set(ALL) or any(
        tests != marked.get(case, set()) for case, tests in catalogue.cases().items()
    ):
        print("The page and the tests disagree: python -m tests.faults --write")
        return 2
    if "--last" not in argv:
        for record in recorded():
            record.unlink()
        command = [sys.executable, "-m", "pytest", "-q", "-m", "fault"]
        subprocess.run(command, check=False, cwd=CACHE.parent)
    if not recorded():
        print("no run of the tests is recorded")
        return 2
    outcomes: dict[str, list[str]] = {}
    for record in recorded():
        for case, ends in json.loads(record.read_text()).items():
            outcomes.setdefault(case, []).extend(ends.values())
    proven, failed, still_open = report(outcomes)
    print(f"proven {len(proven)} of {len(ALL)}")
    for group in sorted({case[0] for case in ALL}):
        count = sum(case[0] == group for case in ALL)
        print(f"  {group}: {sum(case[0] == group for case in proven)} of {count}")
    if failed:
        print(f"failed: {' '.join(failed)}")
    print(f"open: {' '.join(still_open) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
