"""List what the client reads from the CARIN personality: ``python -m tests.sandbox.carin_columns``.

For each table the columns that it fills, with the number of rows, and what nothing reads.
"""

from __future__ import annotations

from s4s_notebook import Sandbox


def main() -> None:
    with Sandbox(personality="carin") as plan:
        for patient in plan.patients[:3]:
            connection = plan.connect(patient)
            try:
                tables = {
                    "benefits": connection.benefits(),
                    "benefit_lines": connection.benefit_lines(),
                    "coverage": connection.coverage(),
                }
                unread = connection.unread()
            finally:
                connection.close()
            for name, frame in tables.items():
                filled = frame.notna().sum()
                columns = ", ".join(f"{column} {n}" for column, n in filled.items() if n)
                print(f"{patient}: {name}, {len(frame)} rows: {columns}\n")
            print(unread.to_string(), "\n")


if __name__ == "__main__":
    main()
