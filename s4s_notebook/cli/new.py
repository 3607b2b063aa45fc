"""`s4s new NAME`: a folder for a project, with a notebook, and rules that keep data out of Git."""

from __future__ import annotations

import json
from pathlib import Path

from .._version import __version__
from ..errors import InvalidArgument, StoreError

_CELLS = (
    """import s4s_notebook as s4s
me = s4s.connect(store=s4s.Store("data"))  # choose a holder; press Authorise""",
    "await me.load()",
    """studies = me.studies()
studies""",
    """ct = studies[studies.modalities.str.contains("CT") & studies.downloadable].iloc[-1]
study = await me.download(ct)
study""",
    "study.plot()",
    "study.view()",
    """lines = me.benefit_lines()
me.benefits()""",
    "s4s.link(studies, lines)",
    "me.update()",
)
_IGNORE = """# What a holder sent, and what was made of it, stays out of Git.
/data/
*.dcm
*.nii
*.nii.gz
*.parquet
*.csv
*.xlsx
*.dta
.ipynb_checkpoints/
"""
_README = """# {name}

Begin with `{name}.ipynb`. What holders send is stored in `data`, which `.gitignore` keeps out
of Git.

## Protect

- The data are of real people: keep this folder on an encrypted disk, and share it with nobody who
  has not agreed to protect it.
- A notebook stores what its cells show. Before you share one, clear its outputs:
  `jupyter nbconvert --clear-output --inplace {name}.ipynb`.
- Revoke the approval when you have what you need (`me.revoke()`); `me.store.purge("all")` deletes
  the data.

## Cite

This project uses s4s-notebook {version}. Say the version, the holder, and the day on which the data
came (`me.studies().attrs`); `CITATION.cff` of s4s-notebook has the entry for your references.
"""


def new(name: str) -> int:
    """Make the folder ``name`` with a notebook, a README and a .gitignore, and nothing else.

    Raises:
        InvalidArgument: the name is no name of a folder.
        StoreError: the folder exists, or cannot be made.
    """
    folder = Path(name)
    title = folder.name
    if not title or title.startswith(".") or any(letter in title for letter in '\\:*?"<>|\0'):
        raise InvalidArgument(
            f"{name!r} is no name for a project.", hint="Write s4s new my-project."
        )
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise StoreError(
            f"{folder} exists already; nothing was written.", hint="Choose another name."
        ) from error
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}.") from error
    (folder / f"{title}.ipynb").write_text(json.dumps(_notebook(title), indent=1) + "\n", "utf-8")
    (folder / "README.md").write_text(_README.format(name=title, version=__version__), "utf-8")
    (folder / ".gitignore").write_text(_IGNORE, "utf-8")
    print(f"Made {folder}: open {folder / title}.ipynb in JupyterLab.")
    return 0


def _notebook(title: str) -> dict[str, object]:
    head = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {title}"}
    code: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(_CELLS, 1)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [head, *code]}
