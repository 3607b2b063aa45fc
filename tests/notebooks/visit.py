"""A visitor of a Jupyter server as Binder starts it: opens notebooks and runs every cell."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import websocket

from tests.browser.jupyterserver import TOKEN, JupyterServer
from tests.notebooks.books import Book

PATIENCE = 180.0  # seconds without a word from the kernel


class KeptServer(JupyterServer):
    """A plain Jupyter server in the visitor's home, on Binder by its own account."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        # Binder starts the Jupyter server, not JupyterLab's own program.
        command = ["jupyter_server" if word == "jupyterlab" else word for word in self._command]
        settings = ["BINDER_SERVICE_HOST=127.0.0.1", "S4S_SANDBOX_APPROVE=smart-1288992"]
        self._command = ["env", *settings, *command]

    def opened(self, path: str) -> str:
        """Open a notebook: its kernel's id."""
        wanted = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        request = Request(
            f"{self.url}api/sessions",
            json.dumps(wanted).encode(),
            {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=60) as reply:
            return str(json.load(reply)["kernel"]["id"])


def run(server: KeptServer, book: Book) -> list[str]:
    """Run all cells of a notebook, as *Run All* does; what went wrong, one line per error."""
    kernel = server.opened(f"notebooks/{book.name}")
    address = f"{server.url.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?token={TOKEN}"
    line = websocket.create_connection(address, timeout=PATIENCE)
    try:
        for cell in book.cells:
            if cell.kind == "code":
                for error in _execute(line, cell.source):
                    return [f"cell {cell.number}: {error}"]  # Run All stops here
    finally:
        line.close()
    return []


def _execute(line: websocket.WebSocket, source: str) -> Iterator[str]:
    """Run one cell and read all that the kernel says until it is idle again."""
    request = uuid.uuid4().hex
    content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
    header = {"msg_id": request, "msg_type": "execute_request", "username": "visitor"}
    header |= {"session": request, "version": "5.4", "date": ""}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    line.send(json.dumps({**message, "channel": "shell", "buffers": []}))
    while True:
        told = _received(line)
        if told.get("parent_header", {}).get("msg_id") != request:
            continue
        if told["msg_type"] == "error":
            yield f"{told['content']['ename']}: {told['content']['evalue'][:200]}"
        if told["msg_type"] == "status" and told["content"]["execution_state"] == "idle":
            return


def _received(line: websocket.WebSocket) -> dict[str, Any]:
    """The next message; those with pictures of a panel are binary, their JSON comes first."""
    kind, data = line.recv_data()
    if kind == websocket.ABNF.OPCODE_TEXT:
        return dict(json.loads(data))
    places = int.from_bytes(data[:4], "big")
    offsets = [int.from_bytes(data[4 + 4 * n : 8 + 4 * n], "big") for n in range(places)]
    end = offsets[1] if places > 1 else len(data)
    return dict(json.loads(data[offsets[0] : end]))
