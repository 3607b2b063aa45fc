"""Print every image with its grey-level difference: ``python -m tests.groundtruth [part]``.

``python -m tests.groundtruth --series`` compares the series as volumes instead.
"""

from __future__ import annotations

import sys
from collections import Counter

from .compare import Row, table
from .synthetic import rows as synthetic


def line(row: Row) -> str:
    default = "-" if row.default is None else row.default
    narrow = "-" if row.narrow is None else row.narrow
    mark = "WRONG" if row.wrong else "ok"
    return (
        f"{row.name[-52:]:52} {row.what:32} {row.frames:>7} {default:>4} {narrow:>4} "
        f"{row.allowed:>4}  {mark:5} {row.oracle}{'; ' + row.note if row.note else ''}"
    )


def main(part: str = "") -> int:
    images, others = table(part)
    images += synthetic()
    print(f"{'image':52} {'what':32} {'frames':>7} {'max':>4} {'thin':>4} {'may':>4}")
    for row in images:
        print(line(row))
    print("\nNo images:")
    for name, why in others:
        print(f"{name[-52:]:52} {why}")
    wrong = [row.name for row in images if row.wrong]
    near = [row for row in images if row.worst and not row.wrong]
    why = Counter(row.note.partition(",")[0].partition(":")[0] for row in near)
    print(
        f"\n{len(images)} images: {len(images) - len(near) - len(wrong)} equal or refused for a "
        f"reason, {len(near)} within 1 ({', '.join(f'{n} {one}' for one, n in why.items())}), "
        f"{len(wrong)} wrong; {len(others)} files hold no image."
    )
    return 1 if wrong else 0


def series() -> int:
    """Print every series as volumes, beside dcm2niix, SimpleITK or what it was made from."""
    from .series import rows

    found = rows()
    print(f"{'series':48} {'ours':26} {'theirs':26}")
    for row in found:
        print(
            f"{row.name[-48:]:48} {row.ours[:26]:26} {row.theirs[:26]:26} {row.verdict}: {row.why}"
        )
    many = Counter(row.verdict for row in found)
    decided = many["equal"] + many["differs"]
    silent = [row.name for row in found if row.silent]
    print(
        f"\n{len(found)} series, {decided} that the headers decide: {many['equal']} equal "
        f"({100 * many['equal'] / max(decided, 1):.1f} %), {many['refused']} refused for the "
        f"reason shown, {many['no volume']} without a place, {many['differs']} differ, "
        f"{len(silent)} of them in silence."
    )
    return 1 if silent or many["equal"] < 0.95 * decided else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--series"]:
        sys.exit(series())
    sys.exit(main(*sys.argv[1:2]))
