"""Panels for a cell's output. Loaded only in a notebook: importing this loads ipywidgets."""

from __future__ import annotations

from .browse import explore
from .connect import ask_origin, connect_panel, opened, sign_in_of
from .connect.choose import choose
from .progress import progress_panel, show_progress

__all__ = [
    "ask_origin",
    "choose",
    "connect_panel",
    "explore",
    "opened",
    "progress_panel",
    "show_progress",
    "sign_in_of",
]
