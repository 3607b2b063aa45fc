"""Panels for a cell's output. Loaded only in a notebook: importing this loads ipywidgets."""

from __future__ import annotations

from s4s_notebook.widgets.ask import ask_origin
from s4s_notebook.widgets.browse import explore
from s4s_notebook.widgets.choose import choose
from s4s_notebook.widgets.connect import connect_panel, opened
from s4s_notebook.widgets.progress import progress_panel, show_progress

__all__ = [
    "ask_origin",
    "choose",
    "connect_panel",
    "explore",
    "opened",
    "progress_panel",
    "show_progress",
]
