"""`python -m tests.notebooks`: what is wrong with the workshop's texts; 0 when nothing is."""

from __future__ import annotations

import sys

from tests.notebooks import form, links, outputs
from tests.notebooks.books import workshop


def main() -> int:
    books = workshop()
    told = {
        f"form ({len(books)} notebooks)": form.complaints(books),
        "saved outputs": outputs.complaints(books),
        f"links ({len(links.files())} texts)": links.complaints(),
    }
    for what, complaints in told.items():
        print(f"{what}: {'in order' if not complaints else len(complaints)}")
        for text in complaints:
            print(f"  {text}")
    return 1 if any(told.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
