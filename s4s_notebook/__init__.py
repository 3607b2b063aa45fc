"""Sync for Science in a notebook: authorise, wait, browse, see.

The public names are loaded when first used, so that ``import s4s_notebook`` is quick
and a script that only needs the tables never loads a plotting library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from ._viewer import register_viewer

if TYPE_CHECKING:
    from . import errors, tables
    from ._connect import connect
    from ._sandbox import Sandbox
    from ._timeline import timeline
    from .cli.check import check
    from .cli.doctor import doctor
    from .connection import Connection
    from .connection.download import Download
    from .errors import S4SError
    from .http.retry import WaitPolicy
    from .imaging import Ellipse, Line, Polygon, Rectangle, Study, read
    from .imaging.plot import Picture
    from .store import Store
    from .tables.linking import link
    from .tracebacks import traceback
    from .widgets import explore

_HOME = {
    "Connection": ".connection",
    "Download": ".connection.download",
    "Ellipse": ".imaging",
    "Line": ".imaging",
    "Picture": ".imaging.plot",
    "Polygon": ".imaging",
    "Rectangle": ".imaging",
    "S4SError": ".errors",
    "Sandbox": "._sandbox",
    "Store": ".store",
    "Study": ".imaging",
    "WaitPolicy": ".http.retry",
    "check": ".cli.check",
    "connect": "._connect",
    "doctor": ".cli.doctor",
    "explore": ".widgets",
    "link": ".tables",
    "read": ".imaging",
    "timeline": "._timeline",
    "traceback": ".tracebacks",
}
_MODULES = ("errors", "tables")

__all__ = [
    "Connection",
    "Download",
    "Ellipse",
    "Line",
    "Picture",
    "Polygon",
    "Rectangle",
    "S4SError",
    "Sandbox",
    "Store",
    "Study",
    "WaitPolicy",
    "__version__",
    "check",
    "connect",
    "doctor",
    "errors",
    "explore",
    "link",
    "read",
    "tables",
    "timeline",
    "traceback",
]


def _view(study: Any, **options: Any) -> Any:
    """Open the viewer of the widgets, which are loaded only now."""
    try:
        viewer = import_module(".widgets.viewer", __name__)
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"The viewer needs {error.name}, which is not installed: reinstall s4s-notebook."
        ) from error
    return viewer.view(study, **options)


register_viewer(_view)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    # Every error can be caught by its short name: `except s4s.UntrustedOrigin`.
    errors = import_module(".errors", __name__)
    if isinstance(getattr(errors, name, None), type) and issubclass(
        getattr(errors, name), errors.S4SError
    ):
        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
