"""A process that may have few files open reads, rebuilds, verifies and purges a large store.

To be run with the store's folder; prints how many participants it saw at each step.
"""

import resource
import sys
from pathlib import Path

from s4s_notebook import Store
from s4s_notebook.store import Entry, Run

PEOPLE = 60
OPEN = 50


def main(root: str) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN, OPEN))
    with Store(root) as store:
        for number in range(PEOPLE):
            person = f"p{number:02d}"
            body = {"resourceType": "Patient", "id": person}
            who = store.participant("https://holder.example/fhir", person)
            run = Run("r", None, None, None, True, 1)
            who.save_page("Patient", run, [Entry(person, "1", body)])
        print(len(store.patients()))
        assert store.verify() == []
    (Path(root) / "index.sqlite").unlink()
    with Store(root) as store:
        print(len(store.patients()))
        store.purge(patient="p07")
        print(len(store.patients()))
        store.purge("all")
        print(len(store.patients()))


if __name__ == "__main__":
    main(sys.argv[1])
