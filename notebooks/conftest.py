"""So that `pytest --nbval notebooks` runs them unattended and sees what a person sees.

Nobody is there to press Approve: the sandbox's pages are walked through by program. And nbval
knows no displays that change in place (`update_display_data`), as a progress panel does when it
gives way to its last line; here the change is made to the output it has kept.
"""

from __future__ import annotations

import os
from typing import Any

import nbformat
from nbval.plugin import IPyNbFile

os.environ.setdefault("S4S_SANDBOX_APPROVE", "smart-1288992")

_receive = IPyNbFile.get_kernel_message


def _message(file: IPyNbFile, timeout: float | None = None, stream: str = "iopub") -> Any:
    shown = file.__dict__.setdefault("s4s_displays", {})
    while True:
        message = _receive(file, timeout, stream)
        content = message["content"]
        name = content.get("transient", {}).get("display_id")
        if message["msg_type"] == "display_data" and name:
            shown[name] = content["data"] = nbformat.from_dict(content["data"])
        elif message["msg_type"] == "update_display_data" and name in shown:
            shown[name].clear()
            shown[name].update(content["data"])
            continue
        return message


IPyNbFile.get_kernel_message = _message
