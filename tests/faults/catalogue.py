"""Read the page of the fault catalogue and the marks in the tests, and compare the two."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS / "faults" / "catalogue.md"
_CASE = re.compile(
    r"^### (?P<id>[A-Z]\d\d)\n\n- Stimulus: (?P<stimulus>.+)\n- Right answer: (?P<answer>.+)\n"
    r"(?:- Seen to fail: (?P<seen>.+)\n)?- Tests: (?P<tests>.+)$",
    re.MULTILINE,
)


def cases() -> dict[str, set[str]]:
    """Return the cases of the page, in order, each with the tests that it names."""
    text = PAGE.read_text("utf-8")
    return {
        match["id"]: set(re.findall(r"`([^`]+)`", match["tests"])) for match in _CASE.finditer(text)
    }


def marked() -> dict[str, set[str]]:
    """Return the tests that are marked with each case, as ``folder/test_file.py::test_name``."""
    tests: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for function, case in _marks(ast.parse(path.read_text("utf-8"))):
            name = f"{path.relative_to(TESTS).as_posix()}::{function}"
            tests.setdefault(case, set()).add(name)
    return tests


def _marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (function, case) for each ``pytest.mark.fault`` on a function or in its parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                for call in ast.walk(decorator):
                    if isinstance(call, ast.Call) and _is_fault(call.func):
                        for argument in call.args:
                            if isinstance(argument, ast.Constant):
                                yield node.name, str(argument.value)


def _is_fault(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "fault"


def write() -> None:
    """Write the tests of each case into the page."""
    tests = marked()

    def replace(match: re.Match[str]) -> str:
        names = ", ".join(f"`{name}`" for name in sorted(tests.get(match["id"], ()))) or "none"
        return match[0][: match.start("tests") - match.start()] + names

    PAGE.write_text(_CASE.sub(replace, PAGE.read_text("utf-8")), "utf-8")
