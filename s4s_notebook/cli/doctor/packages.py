"""Are the packages that everything rests on new enough?"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from .finding import Finding

# The least version that is known to be safe and to work.
LEAST = {
    "jupyterlab": (4, 4),
    "jupyter-server": (2, 20),
    "ipykernel": (7, 0),
    "ipywidgets": (8, 1),
    "anywidget": (0, 9, 18),
    "httpx": (0, 28),
    "pandas": (3,),
    "pydicom": (3, 0, 2),
    "matplotlib": (3, 9),
}


def versions() -> Iterator[Finding]:
    yield Finding(True, "Python", platform.python_version())
    for package, least in LEAST.items():
        wanted = ".".join(map(str, least))
        mend = f"pip install --upgrade '{package}>={wanted}', then restart Jupyter"
        try:
            found = version(package)
        except PackageNotFoundError:
            yield Finding(False, package, "not installed", mend)
            continue
        numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdigit())
        yield Finding(numbers >= least, package, found, mend)
