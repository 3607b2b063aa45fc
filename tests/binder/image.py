"""What repo2docker makes of the binder folder, and its steps carried out without Docker.

`repo2docker --no-build` writes the Dockerfile and needs no Docker for that. The base image is a
list of conda packages, frozen in repo2docker; the Python packages among them are installed from
PyPI in the same versions. What cannot be shown here: conda's builds of them, and the last digit
of Python's version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.binder.machine import environment, run, virtualenv

REPO2DOCKER = "jupyter-repo2docker==2026.4.0"

PYPI_NAME = {
    "brotli-python": "brotli",
    "jupyterhub-base": "jupyterhub",
    "nbconvert-core": "nbconvert",
    "python-fastjsonschema": "fastjsonschema",
}
NOT_ON_PYPI = {"bleach-with-css", "python"}  # a package of extras; the interpreter


@dataclass(frozen=True)
class Rendered:
    """The Dockerfile, and the base image's Python version and packages (name → version)."""

    dockerfile: str
    python: str
    base: dict[str, str]

    def steps(self) -> list[str]:
        """The commands that the binder folder gives, in the order in which they are run."""
        return re.findall(r"^RUN (.*binder/.*)$", self.dockerfile, re.MULTILINE)

    def position(self, text: str) -> int:
        """Where in the Dockerfile this stands; KeyError if it does not."""
        at = self.dockerfile.find(text)
        if at < 0:
            raise KeyError(f"the Dockerfile has no {text!r}")
        return at


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def render(repository: Path, folder: Path) -> Rendered:
    """Install repo2docker in `folder` and let it read `repository`."""
    python = virtualenv(folder / "repo2docker")
    run(python, "-m", "pip", "install", "--quiet", REPO2DOCKER)
    tool = python.parent / "jupyter-repo2docker"
    dockerfile = run(tool, "--no-build", repository, cwd=folder)
    package = run(python, "-c", "import repo2docker; print(repo2docker.__path__[0])").strip()
    locks = Path(package, "buildpacks", "conda").glob("environment.py-*-linux-64.lock")
    (lock,) = [path for path in locks if _escaped(path.name) in dockerfile]
    version, base = _packages(lock.read_text())
    return Rendered(dockerfile, version, base)


def _escaped(name: str) -> str:
    """The name as repo2docker writes it into a Dockerfile."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"-{ord(match[0]):02x}", name)


def _packages(lock: str) -> tuple[str, dict[str, str]]:
    """Return the interpreter's version and the Python packages of a conda lock file."""
    found = re.findall(r"/([^/]+)-([^-/]+)-([^-/]+)\.(?:conda|tar\.bz2)#", lock)
    version = next(version for name, version, _ in found if name == "python")
    base = {
        canonical(PYPI_NAME.get(name, name)): version
        for name, version, build in found
        if build.startswith("py") and name not in NOT_ON_PYPI
    }
    return version, base


def build(rendered: Rendered, repository: Path, folder: Path, python: str) -> Path:
    """Carry out the image's steps in a fresh environment; return its interpreter.

    There is no Node on the machine, although Binder's base image has one.
    """
    inside = virtualenv(folder / "image", python)
    pins = folder / "base.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in rendered.base.items()))
    run(inside, "-m", "pip", "install", "--quiet", "--no-deps", "-r", pins)
    settings = environment(folder, inside) | {
        "KERNEL_PYTHON_PREFIX": str(inside.parent.parent),
        "NB_PYTHON_PREFIX": str(inside.parent.parent),
    }
    # The dependencies' layer is made before the repository is copied: it may need no other file.
    alone = folder / "layer"
    (alone / "binder").mkdir(parents=True)
    requirements = Path("binder", "requirements.txt")
    (alone / requirements).write_bytes((repository / requirements).read_bytes())
    for step in rendered.steps():
        print(f"  $ {step}", flush=True)
        place = alone if "requirements.txt" in step else repository
        run("bash", "-c", step, cwd=place, env=settings)
    return inside


def installed(python: Path) -> dict[str, str]:
    """Name → version of all that is installed beside this interpreter."""
    code = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    lines = run(python, "-c", code, cwd=python.parent).splitlines()
    return {canonical(name): version for name, version in (line.split() for line in lines)}


def pins(requirements: Path) -> dict[str, str]:
    """Name → version of a file of `name==version` lines; anything else is an error."""
    lines = [line.split("#")[0].strip() for line in requirements.read_text().splitlines()]
    return {canonical(name): version for name, version in (x.split("==") for x in lines if x)}
