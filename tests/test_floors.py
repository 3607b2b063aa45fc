"""The plan of the package: few floors, and no circle of imports anywhere."""

from __future__ import annotations

import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_no_module_imports_itself_by_way_of_others():
    # Imports inside functions and under TYPE_CHECKING count.
    graph = grimp.build_graph("s4s_notebook", cache_dir=None)
    modules = graph.modules - {"s4s_notebook"}  # loads everything lazily, and nobody imports it
    imports = {module: graph.find_modules_directly_imported_by(module) for module in modules}
    TopologicalSorter(imports).prepare()


def test_a_circle_is_reported():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": ["b"], "b": ["a"]}).prepare()


def test_there_are_at_most_seven_floors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert len(layers) <= 7
    named = {name.split(".")[1] for layer in layers for name in layer.split(" : ")}
    package = ROOT / "s4s_notebook"
    present = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    # The public names, what starts the command line, and what is no floor.
    rest = {"__init__", "__main__", "__pycache__", "_version", "lab", "labextension", "sandbox"}
    assert present - rest == named
