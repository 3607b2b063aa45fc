"""Build the JupyterLab extension, when it is missing or older than what it is made of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

LAB = Path(__file__).resolve().parents[1]
BUILT = LAB.parent / "labextension" / "package.json"


def is_stale() -> bool:
    """Tell whether the built extension is missing or older than what it is made of."""
    if not BUILT.exists():
        return True
    if (LAB.parents[1] / "PKG-INFO").exists():
        return False  # an sdist: unpacking may have given files any date
    built = BUILT.stat().st_mtime
    made_of = [
        *LAB.glob("src/*"),
        *LAB.glob("style/*"),
        *LAB.glob("schema/*"),
        *LAB.glob("*.json"),
        *LAB.parent.glob("widgets/viewer/*.js"),
        *LAB.parent.glob("widgets/viewer/*.css"),
    ]
    return any(source.stat().st_mtime > built for source in made_of)


def build_extension() -> None:
    """Build the extension with jlpm where it is stale.

    Raises:
        RuntimeError: jlpm is missing, or the result is not where it is expected.
    """
    if not is_stale():
        return
    jlpm = shutil.which("jlpm")
    if jlpm is None:
        raise RuntimeError("Building the JupyterLab extension needs the package jupyter-builder.")
    for arguments in (["install", "--immutable"], ["build:prod"]):
        subprocess.run([jlpm, *arguments], cwd=LAB, check=True)  # noqa: S603 - our own words
    if is_stale():
        raise RuntimeError(f"The JupyterLab extension was built, but not at {BUILT}.")
