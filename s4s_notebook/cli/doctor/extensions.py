"""Does Jupyter know our two extensions, and how does a sign-in come back?"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..._connect import in_notebook
from ..._version import __version__
from ...errors import S4SError
from ...smart.mailbox import Mailbox
from ...smart.redirect import jupyter_runtime_folder
from .finding import Finding

LAB = "s4s-notebook"
SERVER = "s4s_notebook.jupyter"


def lab_extension() -> Iterator[Finding]:
    """Launcher cards, palette commands and DICOM files: all that is not in a cell."""
    from jupyter_core.paths import jupyter_path

    what = "JupyterLab extension"
    there = [
        file
        for place in jupyter_path("labextensions")
        if (file := Path(place) / LAB / "package.json").exists()
    ]
    if not there:
        yield Finding(False, what, "not installed; notebooks work without it", _install())
        return
    try:
        found = str(json.loads(there[0].read_text())["version"])
        disabled = _is_disabled()
    except (OSError, ValueError, KeyError) as error:
        yield Finding(False, what, f"unreadable ({type(error).__name__})", _install())
        return
    if disabled:
        mend = f"jupyter labextension enable {LAB}, then load the page again"
        yield Finding(False, what, "disabled; notebooks work without it", mend)
    elif found != __version__:
        told = f"{found} is left over; this is s4s-notebook {__version__}"
        yield Finding(False, what, told, _install())
    else:
        yield Finding(True, what, found)


def _install() -> str:
    checkout = Path(__file__).parents[3]
    if (checkout / "pyproject.toml").exists():  # an editable install does not build it
        return f"uv pip install --reinstall-package s4s-notebook {checkout}, then restart Jupyter"
    return "pip install --force-reinstall --no-deps s4s-notebook, then restart Jupyter"


def _is_disabled() -> bool:
    from jupyter_core.paths import jupyter_path
    from jupyterlab.commands import get_app_dir
    from jupyterlab_server.config import get_page_config

    settings = str(Path(get_app_dir()) / "settings")
    page: dict[str, Any] = get_page_config(jupyter_path("labextensions"), settings)
    return any(name.partition(":")[0] == LAB for name in page.get("disabledExtensions", ()))


def server_extension() -> Iterator[Finding]:
    """The pages that take a sign-in's reply to the kernel.

    Jupyter's settings are asked as a server asks them when it starts: the first folder that
    names the extension decides.
    """
    from jupyter_core.paths import jupyter_config_path
    from jupyter_server.extension.config import ExtensionConfigManager

    what = "Jupyter server extension"
    for place in jupyter_config_path():
        settings = ExtensionConfigManager(read_config_path=[place])
        named: dict[str, bool] = settings.get_jpserver_extensions()  # type: ignore[no-untyped-call]
        if named.get(SERVER):
            yield Finding(True, what, "enabled")
            return
        if SERVER in named:
            told = f"disabled in {place}: replies have to be pasted on other machines"
            yield Finding(False, what, told, f"{_enable_server(Path(place))}, then restart Jupyter")
            return
    told = "not installed: replies have to be pasted on other machines"
    yield Finding(False, what, told, _install())


def _enable_server(place: Path) -> str:
    from jupyter_core.paths import jupyter_config_dir

    file = place / "jupyter_server_config.json"
    if file.exists() and SERVER in file.read_text():  # the command does not write this one
        return f'take "{SERVER}" out of {file}'
    if place == Path(jupyter_config_dir()):
        level = " --user"
    else:
        level = "" if place.is_relative_to(sys.prefix) else " --system"
    return f"jupyter server extension enable{level} {SERVER}"


def sign_in() -> Iterator[Finding]:
    what = "Sign-in route"
    folder = jupyter_runtime_folder()
    try:
        meeting = Mailbox(folder)
    except (S4SError, OSError) as error:
        said = str(error).splitlines()[0]
        yield Finding(False, what, said, f"make {folder} a folder that only you can write to")
        return
    if not os.access(meeting.folder, os.W_OK):
        said = f"{meeting.folder} is read-only"
        yield Finding(False, what, said, f"chmod u+w '{meeting.folder}'")
    elif in_notebook() and not meeting.has_server():
        said = "this Jupyter server does not have our pages; Authorise works on this machine only"
        yield Finding(False, what, said, "restart Jupyter; elsewhere, paste the address back")
    else:
        yield Finding(True, what, "the Jupyter server's pages")
    yield Finding(True, "Pop-ups", "Authorise is a link to press; no blocker stops that")
