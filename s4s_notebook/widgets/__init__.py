"""Panels for a cell's output. Loaded only in a notebook: importing this loads ipywidgets."""

from __future__ import annotations

from .ask import ask_origin
from .browse import explore
from .choose import choose
from .connect import connect_panel, opened
from .progress import progress_panel, show_progress

__all__ = [
    "ask_origin",
    "choose",
    "connect_panel",
    "explore",
    "opened",
    "progress_panel",
    "show_progress",
]
