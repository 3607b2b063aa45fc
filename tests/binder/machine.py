"""A machine with less on it: a fresh clone, a fresh environment, and no Node on the PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
NODE = {"node", "nodejs", "npm", "npx", "yarn", "yarnpkg", "corepack", "jlpm"}


class CommandError(Exception):
    """A command did not end well; its text is the message."""


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it wrote, on both streams."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise CommandError(
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        )
    return done.stdout


def clone(folder: Path) -> Path:
    """Clone what is committed here: files that are only in the working folder stay out."""
    run("git", "clone", "--quiet", REPO, folder)
    return folder


def virtualenv(folder: Path, python: str = sys.executable) -> Path:
    """Make an empty environment and return its interpreter."""
    run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def environment(folder: Path, python: Path | None = None) -> dict[str, str]:
    """A home of its own in `folder`, no Jupyter settings, and a PATH that lacks Node.

    With `python`, its environment's commands come first on the PATH.
    """
    commands = folder / "commands"
    if not commands.exists():
        commands.mkdir(parents=True)
        _link_all_but_node(commands)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "PYTHON", "VIRTUAL_ENV", "UV_PROJECT", "COVERAGE"))
    }
    places = [str(python.parent)] if python else []
    return kept | {"HOME": str(home), "PATH": os.pathsep.join([*places, str(commands)])}


def _link_all_but_node(commands: Path) -> None:
    ours = Path(sys.executable).parent
    for place in map(Path, os.environ["PATH"].split(os.pathsep)):
        if not place.is_dir() or place == ours or "shims" in place.parts:
            continue
        for program in place.iterdir():
            link = commands / program.name
            if program.name not in NODE and not link.is_symlink():
                link.symlink_to(program)
