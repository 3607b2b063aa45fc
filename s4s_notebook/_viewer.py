"""The viewer that ``study.view()`` opens: registered by the package, called by lower floors.

Modules that handle studies import no widgets; the package registers a callable that does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_viewer: Callable[..., Any] | None = None


def register_viewer(viewer: Callable[..., Any] | None) -> None:
    """Set the callable that opens a study, ``viewer(study, **options)``; None removes it."""
    global _viewer
    _viewer = viewer


def open_viewer(study: Any, **options: Any) -> Any:
    """Open a study, or a download whose slices appear as they arrive, in the viewer.

    Raises:
        RuntimeError: no viewer is registered, or what it needs is not installed.
    """
    if _viewer is None:
        raise RuntimeError("No viewer is installed: reinstall s4s-notebook.")
    return _viewer(study, **options)
