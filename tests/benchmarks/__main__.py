"""`python -m tests.benchmarks NAME`: one benchmark, with the peer and the limit in the same run."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = ("wado", "tables", "cohort", "viewer", "imaging")


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in NAMES:
        print(f"usage: python -m tests.benchmarks {{{','.join(NAMES)}}} [options]")
        return 2
    return import_module(f"tests.benchmarks.{argv[0]}").main(argv[1:]) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
