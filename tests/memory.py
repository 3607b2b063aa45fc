"""Measure how much memory a piece of work takes at its peak, in a process of its own.

`ru_maxrss` cannot tell: it is the peak since the process began, and a child inherits its parent's.
`VmHWM` belongs to one program, and Linux sets it back on request.

    growth, answer = measure(work, "an argument")

runs ``work("an argument")`` in a fresh interpreter. ``work`` is a function at the top of a module,
its arguments and its answer are JSON.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STATUS = Path("/proc/self/status")


def status_mib(field: str) -> float:
    """Return a size of this process, in MiB: VmRSS is what it has, VmHWM the most that it had."""
    return int(STATUS.read_text().partition(f"{field}:")[2].split()[0]) / 1024


def growth_of(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return by how many MiB this process grew at the peak of the work, and its answer."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM is VmRSS again
    before = status_mib("VmRSS")
    answer = work(*arguments)
    return status_mib("VmHWM") - before, answer


def measure(work: Callable[..., Any], *arguments: Any, timeout: float = 600) -> tuple[float, Any]:
    """Return by how many MiB a process grows at the peak of the work, and the work's answer."""
    name = f"{work.__module__}:{work.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.memory", name, json.dumps(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    growth, answer = json.loads(done.stdout.splitlines()[-1])
    return growth, answer


if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    found = getattr(importlib.import_module(module), function)
    print(json.dumps(growth_of(found, *json.loads(sys.argv[2]))))
