"""The Jupyter server's part: it takes the browser's reply to a sign-in to the waiting kernel."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "s4s_notebook.jupyter"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Add our pages to a Jupyter server; it goes on without us where that cannot be done."""
    from .routes import add_routes

    add_routes(server)
